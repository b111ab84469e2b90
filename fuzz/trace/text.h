// SPDX-License-Identifier: GPL-2.0-or-later
// Traces in memory, and their text form. Hosted: the tool, the tests and the mutator use it.
#ifndef FUZZ_TRACE_TEXT_H
#define FUZZ_TRACE_TEXT_H

#include "ops.h"

// A whole trace. Zero-initialise; trace_free() gives the storage back. Running out of memory ends the process:
// every user is a command line tool.
struct trace {
	struct trace_config config;
	struct trace_op *op;
	size_t count, room;
};
void trace_free(struct trace *t);
void trace_append(struct trace *t, const struct trace_op *op);
bool trace_op_equal(const struct trace_op *a, const struct trace_op *b);
bool trace_config_equal(const struct trace_config *a, const struct trace_config *b);

// Binary form. trace_decode() replaces what t held; trace_encode() returns malloc'ed bytes.
void trace_decode(struct trace *t, const void *data, size_t bytes);
u8 *trace_encode(const struct trace *t, size_t *bytes);

// Text form. One line without newline; returns its length, below TRACE_TEXT_MAX.
#define TRACE_TEXT_MAX 256
size_t trace_print_header(char *to, const struct trace_config *config);
size_t trace_print_op(char *to, const struct trace_op *op);
// One argument alone, as trace_print_op() would print it.
size_t trace_print_arg(char *to, const struct trace_op *op, const struct trace_arg *arg);

// What is wrong with a text: "expected X, found Y", and on which line.
struct trace_error {
	size_t line;
	char text[640];
};
// Replaces what t held. False and *error when the text is not a trace; t is then freed.
bool trace_parse(struct trace *t, const char *text, size_t bytes, struct trace_error *error);
// An option mask, as the header line and --opts have it.
bool trace_parse_opts(const char *word, u32 *opts);
#define TRACE_OPTS_EXPECTED \
	"all, none, a mask up to 0xff, or names joined with + (reap early fast prefetch linux_l3 skip_verify " \
	"fast_emulate again)"

// True when the first line that is not blank or a comment starts with "domain".
bool trace_is_text(const void *data, size_t bytes);

// "f0 f1 ... hole0": every value that the kind of argument allows, for messages and the manual. What depends on the
// paging mode is that of op->mode.
size_t trace_list_values(char *to, size_t room, const struct trace_op *op, const struct trace_arg *arg);

#endif
