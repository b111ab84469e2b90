// SPDX-License-Identifier: GPL-2.0-or-later
// umbra compare: do the observation logs of several executors tell the same story?
//
// Parts: comparing op by op; the report; the command. Logs are read in log.c.
//
// Only lines of the log format count; whatever else a serial console carries is skipped. A garbled line cannot hide
// that way, because each log's digests are recomputed from the lines that were read. A log named `metal` is held to
// the guest's ops only: there is no hypervisor under it that could have answered the others.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "tool.h"

#define LOGS_MAX 8

// ---- comparing op by op -------------------------------------------------------------
static bool is_control(const struct log_line *line)
{
	return trace_op_class((enum trace_code)line->code) & OP_IS_CONTROL;
}

static const struct log_line *line_of(const struct log *log, u32 number)
{
	const struct log_line key = { .number = number };

	return log->count ? bsearch(&key, log->line, log->count, sizeof(key), log_by_number) : NULL;
}

// Must these two agree about the op?
static bool agree(const struct log *a, const struct log *b, const struct log_line *x, const struct log_line *y)
{
	if ((a->metal || b->metal) && x && y && is_control(x) && is_control(y) && x->code == y->code)
		return true;
	if ((a->metal || b->metal) && ((!x && y && is_control(y)) || (!y && x && is_control(x))))
		return true;
	if (!x || !y)
		return x == y;
	return !strcmp(x->text, y->text);
}

// The lowest op number on which any two logs differ, 0 if none.
static u32 first_difference(const struct log *logs, u32 count)
{
	u32 first = 0;

	for (u32 i = 0; i < count; i++)
		for (u32 j = 0; j < count; j++)
			for (size_t k = 0; i != j && k < logs[i].count; k++) {
				const struct log_line *x = &logs[i].line[k];

				if (first && x->number >= first)
					break;
				if (!agree(&logs[i], &logs[j], x, line_of(&logs[j], x->number)))
					first = x->number;
			}
	return first;
}

static bool memory_differs(const struct log *logs, u32 count)
{
	for (u32 i = 1; i < count; i++) {
		const char *a = logs[0].memory, *b = logs[i].memory;

		if (a && b ? strcmp(a, b) != 0 : a != b)
			return true;
	}
	return false;
}

// ---- the report -------------------------------------------------------------
#define CONTEXT 3

static void print_row(const struct log *logs, u32 count, u32 number)
{
	u32 shown = 0;

	for (u32 i = 0; i < count; i++) {
		const struct log_line *line = line_of(&logs[i], number);

		if (number == 0)
			printf("  %-10s %s\n", logs[i].name, logs[i].memory ? logs[i].memory : "(no memory line)");
		else
			printf("  %-10s %s\n", logs[i].name, line ? line->text : "(no line)");
		shown++;
	}
	if (shown)
		putchar('\n');
}

static bool all_same(const struct log *logs, u32 count, u32 number)
{
	const struct log_line *x = line_of(&logs[0], number);

	for (u32 i = 1; i < count; i++) {
		const struct log_line *y = line_of(&logs[i], number);

		if (!x || !y || strcmp(x->text, y->text))
			return false;
	}
	return x != NULL;
}

static void report(const struct log *logs, u32 count, u32 number, const struct trace *t)
{
	char text[TRACE_TEXT_MAX];

	printf("op %u differs", number);
	if (t && number <= t->count) {
		trace_print_op(text, &t->op[number - 1]);
		printf(": %s", text);
	}
	printf("\n\n");
	for (u32 n = number > CONTEXT ? number - CONTEXT : 1; n < number; n++) {
		if (all_same(logs, count, n))
			printf("  %-10s %s\n\n", "all", line_of(&logs[0], n)->text);
		else
			print_row(logs, count, n);
	}
	print_row(logs, count, number);
}

// ---- the command -------------------------------------------------------------
static int compare(struct log *logs, u32 count, const struct trace *t)
{
	bool sound = true;
	u32 number;

	for (u32 i = 0; i < count; i++)
		sound = log_check(&logs[i]) && sound;
	number = first_difference(logs, count);
	if (number) {
		report(logs, count, number, t);
		return TOOL_FOUND;
	}
	if (!sound)
		return TOOL_FOUND;
	if (memory_differs(logs, count)) {
		printf("every op agrees, memory at the end differs\n\n");
		print_row(logs, count, 0);
		return TOOL_FOUND;
	}
	printf("equal: %zu ops, %s\n", logs[0].count, logs[0].digest);
	return TOOL_OK;
}

// Names from a list, else the file's name without folder and ending.
static void name_log(struct log *log, const char *path, const char **names)
{
	if (*names && **names) {
		size_t n = strcspn(*names, ",");

		snprintf(log->name, sizeof(log->name), "%.*s", (int)n, *names);
		*names += n + ((*names)[n] == ',');
	} else {
		const char *base = strrchr(path, '/');

		snprintf(log->name, sizeof(log->name), "%.60s", base ? base + 1 : path);
		if (strrchr(log->name, '.') > log->name)
			*strrchr(log->name, '.') = 0;
	}
	log->metal = !strcmp(log->name, "metal");
}

static int compare_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "names", required_argument, NULL, 'n' },
		{ "trace", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static struct log logs[LOGS_MAX];
	const char *names = NULL, *trace_path = NULL;
	struct trace t = { 0 };
	u32 count, given = 1;
	int option, code;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			names = optarg;
		else if (option == 't')
			trace_path = optarg;
		else
			return tool_option(self, option);
	}
	count = (u32)(argc - optind);
	if (count < 2 || count > LOGS_MAX)
		return tool_usage(self, "expected 2 to %d LOGs", LOGS_MAX);
	for (const char *c = names; c && *c; c++)
		given += *c == ',';
	if (names && given != count)
		return tool_usage(self, "--names: expected %u names, found %u", count, given);
	if (trace_path && !tool_load(trace_path, &t))
		return TOOL_USAGE;
	for (u32 i = 0; i < count; i++) {
		name_log(&logs[i], argv[optind + (int)i], &names);
		if (!log_read(&logs[i], argv[optind + (int)i]))
			return TOOL_USAGE;
	}
	code = compare(logs, count, trace_path ? &t : NULL);
	for (u32 i = 0; i < count; i++)
		log_free(&logs[i]);
	trace_free(&t);
	return code;
}

const struct tool_command tool_compare = {
	"compare", "find the first op on which observation logs differ",
	"usage: umbra compare [--names A,B,...] [--trace TRACE] LOG LOG...\n"
	"\n"
	"Compare logs of `umbra run` or of the guest's serial line, op by op, and show the first difference side by\n"
	"side with the three ops before it. Lines in another format are skipped; each log's digests are computed anew\n"
	"and have to fit. A log named metal is compared on guest ops only, not on those that need a hypervisor. Names\n"
	"default to the files' names without ending. --trace adds the text of the op. Exit status 1: logs differ, a\n"
	"digest is wrong or missing.\n",
	compare_run,
};
