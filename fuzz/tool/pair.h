// SPDX-License-Identifier: GPL-2.0-or-later
// Pairs of traces (fuzz/exec/pair.h) in memory, and their text form:
//
//   pair late at_once second_first   the flags that are set
//   schedule 0 1 0:3                 turns: a domain, and at which point an op of the other comes in; may be repeated
//   domain hvm64 ...                 the first trace, then the second, each from its header line on
//   domain hvm32 ...
#ifndef FUZZ_TOOL_PAIR_H
#define FUZZ_TOOL_PAIR_H

#include "../exec/pair.h"
#include "tool.h"

struct pair_file {
	u32 flags;
	u8 schedule[PAIR_SCHEDULE_MAX];
	size_t turns;
	struct trace trace[PAIR];
};

// Text or binary, told apart by content; a name that ends in .pair is text. Messages as file:line: text. Zero-initialise.
bool pair_load(const char *path, struct pair_file *p);
void pair_free(struct pair_file *p);
// malloc'ed.
u8 *pair_encode(const struct pair_file *p, size_t *bytes);
char *pair_text(const struct pair_file *p, size_t *bytes);

// pair_min.c. Make a failing pair small, text to `to`. An exit code.
int pair_minimise(struct pair_file *p, const char *path, const char *to, const struct child_options *child);

extern const struct tool_command tool_pair;

#endif
