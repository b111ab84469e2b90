// SPDX-License-Identifier: GPL-2.0-or-later
// umbra run: execute traces on one of the executors of the build machine and print the observation logs.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "../exec/exec.h"
#include "tool.h"

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	puts(line);
}

typedef int exec_fn(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
		    struct exec_result *result);

static int run_one(const char *path, exec_fn *exec, const struct exec_options *options)
{
	struct exec_result result = { 0 };
	char signature[SIGNATURE_MAX];
	struct trace t = { 0 };
	size_t bytes;
	u8 *data;
	int status;

	if (!tool_load(path, &t))
		return TOOL_USAGE;
	data = trace_encode(&t, &bytes);
	trace_free(&t);
	status = exec(data, bytes, options, options->quiet ? NULL : print_line, NULL, &result);
	free(data);
	fflush(stdout);
	if (status) {
		fprintf(stderr, "umbra: the executor failed on %s (%d)\n", path, status);
		return TOOL_INTERNAL;
	}
	if (!result.finding)
		return TOOL_OK;
	signature_of_finding(signature, result.finding);
	fprintf(stderr, "finding: op %u: %s\nsignature: %s\n", result.op, result.finding, signature);
	return TOOL_FOUND;
}

static int run_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "on", required_argument, NULL, 'e' },
		{ "check", required_argument, NULL, 'c' },
		{ "ops", required_argument, NULL, 'n' },
		{ "hv-log", no_argument, NULL, 'l' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct exec_options exec_options = { .check_each_full = true };
	exec_fn *exec = NULL;
	int option, worst = TOOL_OK;
	u64 n;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'e' && !strcmp(optarg, "host"))
			exec = exec_host;
		else if (option == 'e' && !strcmp(optarg, "model"))
			exec = exec_model;
		else if (option == 'e')
			return tool_usage(self, "--on: expected host or model, found '%s'", optarg);
		else if (option == 'c' && (!strcmp(optarg, "each") || !strcmp(optarg, "end")))
			exec_options.check_each_full = !strcmp(optarg, "each");
		else if (option == 'c')
			return tool_usage(self, "--check: expected each or end, found '%s'", optarg);
		else if (option == 'n' && !tool_number(self, "--ops", optarg, 1, 0xffffffff, &n))
			return TOOL_USAGE;
		else if (option == 'n')
			exec_options.stop_after = (u32)n;
		else if (option == 'l')
			exec_options.log_hv = true;
		else if (option == 'q')
			exec_options.quiet = true;
		else
			return tool_option(self, option);
	}
	if (!exec)
		return tool_usage(self, "expected --on host or --on model");
	if (optind == argc)
		return tool_usage(self, "expected at least one TRACE");
	for (int i = optind; i < argc; i++) {
		bool many = argc - optind > 1;
		int code;

		if (many && !exec_options.quiet)
			printf("# %s\n", argv[i]);
		code = run_one(argv[i], exec, &exec_options);
		if (many && code == TOOL_FOUND)
			fprintf(stderr, "replay: umbra run --on %s %s\n", exec == exec_host ? "host" : "model", argv[i]);
		worst = code > worst ? code : worst;
	}
	return worst;
}

const struct tool_command tool_run = {
	"run", "run traces and print their observation logs",
	"usage: umbra run --on host|model [--check each|end] [--ops N] [--hv-log] [--quiet] TRACE...\n"
	"\n"
	"Run each trace from a fresh start and print what the guest saw, one line for each op, then the digests.\n"
	"\n"
	"  --on host      the hypervisor core on the software processor\n"
	"  --on model     the reference guest, without hypervisor\n"
	"  --check each   run every checker after every op (default)\n"
	"  --check end    cheap checks after every op, all at the end\n"
	"  --ops N        stop after op N\n"
	"  --hv-log       show the hypervisor's own messages\n"
	"  --quiet        print findings only\n"
	"\n"
	"A finding is printed on standard error as `finding: op N: TEXT` and `signature: KIND TEXT`, and makes the\n"
	"exit status 1.\n",
	run_run,
};
