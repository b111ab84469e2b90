// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the host executor share: the run under way, its guest, one operation.
#ifndef FUZZ_EXEC_HOST_RUN_H
#define FUZZ_EXEC_HOST_RUN_H

#include "../../hv/domain/hypercall.h"
#include "../../hv/port/host/host.h"
#include "../model/model.h"
#include "exec.h"

struct host_run {
	const struct exec_options *options;
	struct trace_reader reader;
	struct trace_config config;
	struct domain *d;
	struct model *model;
	u32 current;      // vcpu that the trace is on
	u32 number;       // of the op under way, from 1
	exec_line_fn *lines; // NULL: nobody reads the log, none is made
	void *ctx;
	struct obs_digest digest;
	char finding[320]; // "" when there is none
};

// Record a finding; the first one stays. detail may be NULL.
void host_run_found(struct host_run *r, const char *rule, const char *detail);

// host_guest.c: build the guest of a trace in a fresh machine. False: the core refused, why in *step.
bool host_guest_build(struct host_run *r, const char **step);
// The 4 KiB behind trace frame i, NULL when it was removed. A model_frame_fn; ctx is the struct domain.
const void *host_guest_frame(void *ctx, u32 i);
// Hash of the log's memory line.
u64 host_guest_memory(const struct host_run *r);

// host_ops.c: execute op on vcpu `vcpu` and say what the guest saw. No failures are armed here; with
// flush_auto the flush that follows the op is not part of it.
void host_op(struct host_run *r, u32 vcpu, const struct trace_op *op, struct obs *o);
// The flush that the guest does after op, if it does one.
void host_op_flush(struct host_run *r, u32 vcpu, const struct trace_op *op);

#endif
