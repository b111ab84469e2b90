// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the host executor share: the run under way, its guest, one operation.
#ifndef FUZZ_EXEC_HOST_RUN_H
#define FUZZ_EXEC_HOST_RUN_H

#include "../../hv/base/report.h"
#include "../../hv/domain/donor.h"
#include "../../hv/domain/hypercall.h"
#include "../../hv/port/host/host.h"
#include "../model/model.h"
#include "exec.h"

// What the last peek or clean reported.
struct host_asked {
	bool any, clean;
	u32 dirty; // bit for each trace frame
};

// What no refused operation may change, and what has a right size after one that was not refused.
struct host_state {
	const struct domain *d; // finishing a migration replaces it
	u32 modes, pool, p2m_pages, free_pages;
	u64 mapped, dirty; // frames with a gfn; frames whose bit is set
	u64 marked;        // what the counts of log-dirty say
	u64 reclaimed;     // roots given up for want of pages so far
	bool migrating;
};

// What a log was after each of its lines: its digest.
#define HOST_LOG_LINES 4096
struct host_log {
	u32 count; // lines; those past HOST_LOG_LINES are not kept
	bool overflowed; // a count of the small geometry was full, which killed the domain
	u64 after[HOST_LOG_LINES];
};

struct host_run {
	const struct exec_options *options;
	struct trace_reader reader;
	struct trace_config config;
	struct domain *d;
	bool alive; // d exists
	struct donor own_donor, *donor; // of the guest, whichever domain it is in; the latter for all who run it
	struct model *model;
	u32 current;      // vcpu that the trace is on
	u32 number;       // of the op under way, from 1
	struct host_asked asked;
	exec_line_fn *lines; // NULL: nobody reads the log, none is made
	void *ctx;
	struct host_log *log;            // where the log is noted, NULL: nowhere
	const struct host_log *expected; // what it must be, NULL: anything
	struct obs_digest digest;
	char finding[320]; // "" when there is none
	struct report_place place; // the word of machine memory that the finding is about; mfn 0: none is known
};

// The run that the last exec_host() or exec_pair() left behind, NULL when its domain is gone. For dumps, pictures and tests.
struct host_run *host_run_last(void);

// ---- a run, step by step: host.c ------------------------------------------------------------------------
// Power on a machine with that many frames, 0: the usual number. No domain exists.
void host_run_power_on(u64 seed, u32 frames, const struct exec_options *options);
u64 host_run_seed(const void *data, size_t bytes);
// Begin a trace in a new domain. r has model, options and what becomes of the log, all else is zero. False: the guest cannot
// be built, *step says why.
bool host_run_open(struct host_run *r, const void *data, size_t bytes, const char **step);
// Execute the next op, and the one after it if that one races with it. False: nothing is left to do. May be called while an
// op of another run is half done.
bool host_run_next(struct host_run *r);
// Has it come to options->stop_after?
bool host_run_stopped(const struct host_run *r);
// After the last op: check everything, print the last lines.
void host_run_finish(struct host_run *r);
// Destroy the domain.
void host_run_close(struct host_run *r);
// All domains are gone: nothing may be left.
void host_run_power_off(struct host_run *r);
// The vcpus go on in another domain, which has taken the guest over: nothing that a processor of the old one remembers is
// valid there.
void host_run_moved(struct host_run *r, struct domain *to);

// The guest's paging mode.
static inline enum trace_mode host_mode(const struct host_run *r) { return (enum trace_mode)r->config.kind; }

// Record a finding; the first one stays. detail may be NULL.
void host_run_found(struct host_run *r, const char *rule, const char *detail);
// May no processor hold a writable translation to m? (E1.42)
bool host_never_writable(mfn_t m);
// Check everything now and record what is broken. Only tests call it.
void host_run_check(struct host_run *r);
// The same as after an op that does not concern this run: what the options ask for.
void host_run_watch(struct host_run *r);

// ---- host_guest.c -----------------------------------------------------------------------------------------
// Build the guest of a trace in a domain of its own. False: the core refused, why in *step.
bool host_guest_build(struct host_run *r, const char **step);
// The 4 KiB behind trace frame i, its own or the donor's, NULL when it was removed. A model_frame_fn; ctx is the struct domain.
const void *host_guest_frame(void *ctx, u32 i);
// The trace frames of that type, as bits.
u32 host_guest_types(const struct host_run *r, enum p2m_type type);
// Has every frame the kernel's own words? Not between the renewal of one and the kernel's stores to it.
bool host_guest_whole(const struct host_run *r);
// Hash of the log's memory line.
u64 host_guest_memory(const struct host_run *r);
// What word TRACE_KERNEL_WORD of a frame holds that is to be loaded as a root of that mode.
u64 host_kernel_word(enum trace_mode mode);
// CR3 of the root that a PAE kernel falls back to: no PDPTE but its own.
u64 host_fallback_cr3(void);
// CR4 and EFER as the guest has them in that mode; what does not choose the mode stays.
void host_mode_control(enum trace_mode mode, struct vcpu_control *c);

// ---- host_ops.c ----------------------------------------------------------------------------------------------
// Execute op on vcpu `vcpu` and say what the guest saw. No failures are armed here; with flush_auto the flush that
// follows the op is not part of it.
void host_op(struct host_run *r, u32 vcpu, const struct trace_op *op, struct obs *o);
// The flush that the guest does after op, if it does one.
void host_op_flush(struct host_run *r, u32 vcpu, const struct trace_op *op);

// One operation under way.
struct op_run {
	struct host_run *r;
	struct vcpu *v;
	const struct trace_op *op;
	struct obs *o;
};
// Answer what an access or a write to a control register ended with. False: the operation ends here.
bool op_done(struct op_run *x, const struct cpu_result *c);
bool op_wrote(struct op_run *x, enum hv_status status);
void op_answer_value(struct op_run *x, u64 value, u8 bytes);
// Note what the TLB answered for `count` pages of an access, from slot `slot` on.
void op_note_tlb(struct obs *o, u32 slot, u32 count, const struct cpu_result *c);
// A plain access of the guest kernel.
bool op_store(struct op_run *x, u64 va, u64 value, u8 bytes);
bool op_load(struct op_run *x, u64 va, u8 bytes, u64 *value);
// Instructions that follow one another, until one is not done; returns how many were. note is called for each that the
// processor began, not for those that the core went on with.
typedef void op_chain_fn(struct op_run *x, u32 k, const struct cpu_result *c);
u32 op_chain(struct op_run *x, struct cpu_access *a, u32 count, op_chain_fn *note);
// The kernel's address of a byte of a trace frame.
u64 op_direct(const struct op_run *x, u32 frame, u32 offset);

// Write the reserved bytes of a frame that is new. No part of a failure that was armed for the hypercall.
void op_restore_reserved(struct op_run *x, u32 frame);

// host_alter.c.
void op_alter(struct op_run *x);
// host_manage.c: CONTROL and what follows it.
void op_manage(struct op_run *x);
// After the model has followed an op, or a pair: NULL, or what is wrong with the dirty frames that it reported.
const char *host_check_dirty(struct host_run *r);
void host_note_state(const struct host_run *r, struct host_state *to);
// What came of the op, which nobody raced: NULL, or what is wrong with it. after: the state now.
const char *host_check_state(const struct trace_op *op, const struct obs *o, const struct host_state *before,
			     const struct host_state *after, u32 lower_bound);
// host_switch.c: operations that leave the paging mode, and writes to control registers.
void op_phys(struct op_run *x); // PHYS and REAL
void op_visit(struct op_run *x);
void op_control(struct op_run *x);
void op_badreg(struct op_run *x);
// CR4.PGE off and on, or on and off.
enum hv_status op_flush(struct vcpu *v);

#endif
