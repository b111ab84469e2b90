// SPDX-License-Identifier: GPL-2.0-or-later
// Observation logs as files: what compare and finish-log read.
#ifndef FUZZ_TOOL_LOG_H
#define FUZZ_TOOL_LOG_H

#include "tool.h"

// What the hypervisor's console says when it kills the guest; stress/boot.sh puts it into the log.
#define LOG_KILLED "umbra: guest killed: "

struct log_line {
	const char *text;
	u32 number;        // of the op
	u8 code;           // enum trace_code
};
struct log {
	char name[64];
	char *data;
	struct log_line *line;
	size_t count;
	const char *killed;          // REASON of `umbra: guest killed: REASON`, NULL if there is no such line
	const char *memory, *digest; // NULL if the line is missing
	bool metal;                  // no hypervisor answered: only the guest's ops count
};

// Read a log. False: it cannot be read, and the user has been told.
bool log_read(struct log *log, const char *path);
void log_free(struct log *log);
// The digest line that fits the lines, at most OBS_LINE_MAX bytes.
void log_digest(const struct log *log, char *line);
// Does the printed digest fit, has each op one line? Prints what is wrong. Sorts the lines by op.
bool log_check(struct log *log);
int log_by_number(const void *a, const void *b);

#endif
