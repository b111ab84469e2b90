// SPDX-License-Identifier: GPL-2.0-or-later
// The executors that run on the build machine, behind one interface: `host` (the hypervisor core on the
// software CPU, every checker on) in host.c, `model` (the naive reference guest, no hypervisor) in model.c.
// Callers: the command line tool (fuzz/tool) and the fuzz targets (fuzz/target).
//
// `data` is a trace in binary form. Operations are numbered from 1, so the number of an op in a log line, in a
// finding and in stop_after all count alike: stop_after = 3 runs ops 1, 2 and 3.
#ifndef FUZZ_EXEC_EXEC_H
#define FUZZ_EXEC_EXEC_H

#include <stdio.h>

#include "../../hv/base/types.h"
#include "../trace/trace.h"

struct exec_options {
	bool check_each_full; // run every checker after every op; else the cheap ones, and all at the end
	bool quiet;           // print nothing on stderr
	u32 stop_after;       // number of ops to run, 0 = all; stopped early means no memory and digest lines
	bool log_hv;          // show the hypervisor's own log lines on stderr
};

struct exec_result {
	// NULL, or the finding: a rule's name ("E1.15 refcount"), a rule and details ("E1.41 soundness: ..."), or
	// "model: ..." when the reference model does not allow an observation. Valid until the next run.
	const char *finding;
	u32 op; // number of the op at which it was found, 0: before the first op
	u32 domain; // exec_pair(): whose op that was, 0 or 1
};

// One line of the observation log, without the newline. The string is valid during the call.
typedef void exec_line_fn(void *ctx, const char *line);

// Run a trace from a fresh start. lines may be NULL. Return 0 when the trace was run (finding or not), else a
// nonzero number: the executor itself could not do its work. The state after the last op stays for the dump
// functions until the next run.
int exec_host(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	      struct exec_result *result);
int exec_model(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	       struct exec_result *result);

// Run two traces on the host in two domains of one machine. Findings are those of exec_host() and "E1.47 isolation": a
// domain's log is not what its trace gives alone, or one reaches memory of the other. The bytes are described
// in pair.h. stop_after counts the ops of each domain.
// lines[i] gets the log of domain i; it, or all of lines, may be NULL.
int exec_pair(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines[2], void *ctx,
	      struct exec_result *result);

// Hypervisor state after the last exec_host(): shadows, roots, pool. For people, no fixed format.
void exec_host_dump(FILE *to);

// What the guest could know after the last exec_model(), for `umbra show`.
struct exec_guest {
	u32 vcpus, current;
	struct {
		u64 cr0, cr3, cr4, efer;
	} vcpu[4];
	bool present[TRACE_FRAMES]; // false: removed, a hole
	bool read_only[TRACE_FRAMES], identity[TRACE_FRAMES]; // by type; a hole in an identity range
	u8 gift[TRACE_FRAMES];      // enum of trace.h: what of the donor is mapped there, GIFT_NONE: nothing
	bool log_dirty, migrating;  // log-dirty is on, a migration runs
	const char *killed;         // NULL, or why the domain died
};
void exec_model_state(struct exec_guest *to);
// The 8-byte word at index 0..511 of a trace frame, 0 when the frame is a hole.
u64 exec_model_word(u32 frame, u32 index);

#endif
