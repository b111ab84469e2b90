// SPDX-License-Identifier: GPL-2.0-or-later
// The umbra command line tool: one binary for everything that is done to traces on the build machine.
//
// Parts: the list of commands; help; dispatch. Each command lives in the file of its name (the small ones share
// fmt.c); file and message helpers are in file.c.
#include <string.h>

#include "pair.h"

static const struct tool_command *const commands[] = {
	&tool_run, &tool_fmt, &tool_gen, &tool_min, &tool_sig, &tool_show, &tool_config, &tool_compare,
	&tool_finish_log, &tool_docs, &tool_trial, &tool_draw, &tool_access, &tool_pair,
};

static void print_help(FILE *to)
{
	fputs("usage: umbra COMMAND [ARGUMENT...]\n\n", to);
	for (u32 i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\numbra COMMAND --help tells more. Traces are text or binary, as `umbra docs` describes; - is standard\n"
	      "input. Exit status: 0 fine, 1 a finding or a difference, 2 wrong usage or bad input, 3 internal error.\n",
	      to);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_help(stdout);
		return TOOL_OK;
	}
	for (u32 i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(name, commands[i]->name)) {
			int code = commands[i]->run(commands[i], argc - 1, argv + 1);

			if (fflush(stdout) || ferror(stdout)) {
				fputs("umbra: cannot write to standard output\n", stderr);
				return TOOL_INTERNAL;
			}
			return code;
		}
	fprintf(stderr, "umbra: no command '%s'; umbra --help lists them\n", name);
	return TOOL_USAGE;
}
