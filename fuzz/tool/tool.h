// SPDX-License-Identifier: GPL-2.0-or-later
// What the commands of the umbra tool share: files, messages, exit codes, running a trace in a child process.
#ifndef FUZZ_TOOL_TOOL_H
#define FUZZ_TOOL_TOOL_H

#include <stdio.h>

#include "../trace/text.h"

enum tool_exit {
	TOOL_OK = 0,
	TOOL_FOUND = 1,    // a finding, or logs differ
	TOOL_USAGE = 2,    // wrong arguments or unreadable input; nothing was run
	TOOL_INTERNAL = 3, // the tool or an executor could not do its work
};

struct tool_command {
	const char *name, *summary;
	const char *help; // whole text of --help, starting with the usage line
	int (*run)(const struct tool_command *self, int argc, char **argv);
};
extern const struct tool_command tool_run, tool_fmt, tool_gen, tool_min, tool_sig, tool_show, tool_config,
	tool_compare, tool_finish_log, tool_docs, tool_trial, tool_draw, tool_access;

// "umbra run: <message>" and a hint at --help on stderr. Returns TOOL_USAGE.
int PRINTF_LIKE(2, 3) tool_usage(const struct tool_command *self, const char *format, ...);
// getopt_long said '?' or 'h': print help, or leave its own message. Returns the exit code.
int tool_option(const struct tool_command *self, int option);
// Decimal or 0x hex in low..high, or false with a message that names the option.
bool tool_number(const struct tool_command *self, const char *option, const char *word, u64 low, u64 high, u64 *value);

// Whole files; "-" is standard input. NULL and a message on failure.
u8 *tool_read_file(const char *path, size_t *bytes);
// path NULL or "-": standard output. False and a message on failure.
bool tool_write_file(const char *path, const void *data, size_t bytes);
// Text or binary, told apart by content; a name that ends in .trace is text. Messages as file:line: text. The text of a
// pair is refused.
bool tool_load(const char *path, struct trace *t);
// For commands that stop after an op: the one TRACE that argv must hold, and the number that `option` was given in `word`, 1 to
// the number of ops; NULL: the last. TOOL_OK, or the exit code. Free the trace either way.
int tool_load_at(const struct tool_command *self, int argc, char **argv, const char *option, const char *word,
		 struct trace *t, u64 *op);
// The text form of a whole trace, malloc'ed.
char *tool_text(const struct trace *t, size_t *bytes);

// ---- signatures ---------------------------------------------------------------------------------------
// The part of a failure that stays the same when the trace shrinks: "rule E1.15 refcount",
// "asan heap-use-after-free put_ref<set_l1e<propagate", "ubsan ...", "assert ...", "signal 11", "timeout".
#define SIGNATURE_MAX 256
void signature_of_finding(char *to, const char *finding);
// From what a dead child wrote on stderr and its wait status. False: it did not fail.
bool signature_of_child(char *to, const char *text, int status, bool timed_out);

enum child_end { CHILD_CLEAN, CHILD_FAILED, CHILD_BROKEN };
struct child_options {
	u32 timeout_seconds;
	bool check_each;
	bool pair; // it is a pair of traces
};
// Run a trace file on the host executor in a child process. CHILD_FAILED fills signature; CHILD_BROKEN: it could
// not be run, with a message.
enum child_end child_run(const char *path, const struct child_options *options, char *signature);

// The number of the first op after which a table of the guest names memory below the trace frames, 0: none. Such a
// trace is for the host executor only. Nonzero when the model could not run.
int stray_op(const void *data, size_t bytes, u32 *op);

#endif
