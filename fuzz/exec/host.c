// SPDX-License-Identifier: GPL-2.0-or-later
// The host executor: a trace on the hypervisor core, with every checker watching.
//
//  1. findings
//  2. checks at a quiescent point: the port's own, the core's, the TLBs'
//  3. one op, or two that race, in lock-step with the reference model
//  4. the run: power-on, ops, memory, teardown. What is left of it is shown by host_show.c
//
// Cost: about ten microseconds for the start, one or two for a usual op with its checks. Nothing is
// allocated; state is static: one run at a time.
#include "host_run.h"

#include "../../hv/mem/heap.h"

#include <string.h>

static struct host_run run;
static struct model reference;
static bool alive; // run.d exists

struct host_run *host_run_last(void)
{
	return alive ? &run : NULL;
}

// ---- 1. findings ----------------------------------------------------------------------------------------

void host_run_found(struct host_run *r, const char *rule, const char *detail)
{
	if (r->finding[0])
		return;
	snprintf(r->finding, sizeof(r->finding), detail && detail[0] ? "%s: %s" : "%s", rule, detail);
}

// A checker of the core may know which word it is about.
static void found_in_core(struct host_run *r, const char *bad)
{
	if (!r->finding[0])
		r->place = report_place();
	host_run_found(r, bad, NULL);
}

// The core is about to stop the process: say where.
static void note_fatal(void)
{
	fprintf(stderr, "finding: op %u: the core stopped\n", run.number);
}

static void show_hv_line(const char *line)
{
	fprintf(stderr, "hv: %s\n", line);
}

// ---- 2. checks ----------------------------------------------------------------------------------------

static bool check_port(struct host_run *r)
{
	if (!host_finding_rule() && host_locks_held())
		host_finding("E1.53 lock", "%u locks held at a quiescent point", host_locks_held());
	if (!host_finding_rule() && host_maps_outstanding())
		host_finding("E1.52 leak", "%u maps were not undone", host_maps_outstanding());
	if (host_finding_rule())
		host_run_found(r, host_finding_rule(), host_finding_detail());
	return !r->finding[0];
}

static bool never_writable(mfn_t m)
{
	return page_is_table(m) || gfn_eq(p2m_gfn_of(m), GFN_INVALID);
}

// Rule 41 for one cached translation.
static void check_entry(struct host_run *r, u32 cpu, const struct tlb_entry *e, const char *how)
{
	u64 g = p2m_gfn_of(mfn(e->mfn)).n;
	char detail[160];

	if (model_tlb_allows(r->model, cpu, e->va, g, e->w, e->u, !e->nx))
		return;
	snprintf(detail, sizeof(detail), "vcpu %u %s 0x%llx -> gfn 0x%llx%s%s%s%s", cpu, how,
		 (unsigned long long)e->va, (unsigned long long)g, e->w ? " W" : "", e->u ? " U" : "",
		 e->nx ? " NX" : "", e->dirty ? " D" : "");
	host_run_found(r, "E1.41 soundness", detail);
}

// What the processor would reach from a level-0 table that it remembers, and nobody else may know. In all modes that is
// a table of 512 entries for 2 MiB: shadows have three or four levels.
static void check_table(struct host_run *r, u32 cpu, const struct tlb_entry *table)
{
	for (u32 i = 0; i < FRAME_BYTES / sizeof(u64) && !r->finding[0]; i++) {
		struct tlb_entry e;

		if (!cpu_table_entry(table, i, &e))
			continue;
		if (!host_frame_owned(mfn(e.mfn)))
			host_run_found(r, "E1.42 write hole", "a table in a TLB leads to a frame that was given up");
		else if (e.w && never_writable(mfn(e.mfn)))
			host_run_found(r, "E1.42 write hole",
				       "a table in a TLB leads to a page table or a removed frame");
		else
			check_entry(r, cpu, &e, "remembers a table with");
	}
}

// Everything that this processor holds must still be allowed.
static void check_held(struct host_run *r, u32 cpu)
{
	const struct tlb_entry *e;

	for (u32 i = 0, n = tlb_pages(cpu, &e); i < n && !r->finding[0]; i++)
		check_entry(r, cpu, e + i, "holds");
	for (u32 i = 0, n = tlb_tables(cpu, &e); i < n && !r->finding[0]; i++)
		check_table(r, cpu, e + i);
}

static void check_tlbs(struct host_run *r, bool held)
{
	for (u32 cpu = 0; cpu < r->config.vcpus && !r->finding[0]; cpu++) {
		const struct tlb_entry *e;
		const char *bad = tlb_check(cpu, never_writable);

		if (bad)
			host_run_found(r, bad, NULL);
		while (!r->finding[0] && (e = tlb_next_news(cpu)))
			check_entry(r, cpu, e, "got");
		if (held)
			check_held(r, cpu);
	}
}

// held: what is cached since earlier ops may have become illegal now, look at all of it.
static bool check_quiescent(struct host_run *r, bool full, bool held)
{
	const char *bad;

	if (!check_port(r))
		return false;
	bad = hv_check(r->d, full);
	if (bad)
		found_in_core(r, bad);
	// The TLBs of a dead domain are never used again, and the model has stopped.
	if (!r->d->dead)
		check_tlbs(r, held);
	return !r->finding[0];
}

void host_run_check(struct host_run *r)
{
	check_quiescent(r, true, true);
}

// ---- 3. ops -------------------------------------------------------------------------------------------

struct race {
	struct host_run *r;
	const struct trace_op *op;
	u32 vcpu;
	struct obs seen;
	bool ran;
};

static void race_now(void *context)
{
	struct race *race = context;

	race->ran = true;
	host_op(race->r, race->vcpu, race->op, &race->seen);
	host_op_flush(race->r, race->vcpu, race->op);
}

static void emit(struct host_run *r, const struct trace_op *op, const struct obs *o)
{
	char line[OBS_LINE_MAX];

	if (!r->lines)
		return;
	obs_digest_add(&r->digest, op, line, obs_line(line, r->number, op, o));
	r->lines(r->ctx, line);
}

// May the op run while another is half done? Not if it moves the trace to another vcpu, changes control registers of
// all, or is about control registers that a point in the middle of an op must not see half written.
static bool may_interleave(const struct trace_op *op)
{
	return op->code != OP_VCPU && op->code != OP_CTL && op->code != OP_VISIT && op->code != OP_BADREG;
}

// The op that runs inside this one on another vcpu is the next. A check needs a point where no op is half done.
static bool may_race(struct host_run *r, const struct trace_op *op, struct trace_op *next)
{
	struct trace_reader ahead = r->reader;

	if (!op->race_nth || r->config.vcpus < 2 || !may_interleave(op))
		return false;
	if (r->options->stop_after && r->number >= r->options->stop_after)
		return false;
	return trace_next(&ahead, next) && may_interleave(next) && next->code != OP_CHECK;
}

static const char *follow(struct host_run *r, const struct trace_op *op, const struct obs *seen,
			  const struct race *race)
{
	if (race->ran)
		return model_follow_race_memory(r->model, op, seen, race->op, race->vcpu, &race->seen,
						host_guest_frame, r->d);
	return model_follow(r->model, op, seen);
}

// After which ops a translation that was allowed before may be illegal: flushes by the guest, and changes
// of the physmap. All others only add to what a processor may hold; an armed failure can make the core reuse
// tables, and then what is held is looked at too.
static bool makes_illegal(const struct host_run *r, const struct trace_op *op)
{
	switch (op->code) {
	case OP_PHYS:
	case OP_REAL:
	case OP_VISIT:
	case OP_CR3:
	case OP_RELOAD:
	case OP_INVLPG:
	case OP_FLUSH:
	case OP_CTL:
	case OP_SWAP:
	case OP_RENEW:
	case OP_REMOVE:
		return true;
	default:
		return r->config.flush_auto;
	}
}

// One op of the trace, and the next one if it ran inside.
static void step(struct host_run *r, const struct trace_op *op)
{
	struct trace_op next;
	struct race race = { .r = r, .op = &next, .vcpu = (r->current + 1) % r->config.vcpus };
	u32 vcpu = r->current;
	const char *bad;
	struct obs o;

	r->number++;
	if (may_race(r, op, &next))
		host_arm_race(op->race_nth, race_now, &race);
	host_arm_failure(op->fail_nth);
	host_op(r, vcpu, op, &o);
	host_arm_failure(0);
	host_arm_race(0, NULL, NULL);
	host_op_flush(r, vcpu, op);
	if (r->d->dead && o.kind != OBS_KILLED)
		o = (struct obs){ .kind = OBS_KILLED, .reason = r->d->death };
	emit(r, op, &o);
	if (race.ran) {
		struct trace_op same;

		trace_next(&r->reader, &same);
		r->number++;
		if (!r->d->dead)
			emit(r, &next, &race.seen);
	}
	if (!check_port(r))
		return;
	bad = follow(r, op, &o, &race);
	for (u32 i = 0; i < r->config.vcpus && !bad; i++)
		bad = model_check_latched(r->model, i, r->d->vcpu[i].shadow.pdpte);
	if (bad && op->code == OP_CHECK && hv_check(r->d, true)) // the hypervisor told the guest that a rule is broken: which?
		found_in_core(r, hv_check(r->d, true));
	else if (bad)
		host_run_found(r, bad, NULL);
	else
		check_quiescent(r, r->options->check_each_full,
				r->options->check_each_full || makes_illegal(r, op) || op->fail_nth ||
					(race.ran && makes_illegal(r, &next)));
}

// ---- 4. the run ---------------------------------------------------------------------------------------

static u64 seed_of(const u8 *data, size_t bytes)
{
	u64 h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void last_lines(struct host_run *r)
{
	char line[OBS_LINE_MAX];

	if (!r->d->dead) {
		obs_digest_add(&r->digest, NULL, line, obs_memory_line(line, host_guest_memory(r)));
		r->lines(r->ctx, line);
	}
	obs_digest_line(line, &r->digest);
	r->lines(r->ctx, line);
}

static void tear_down(struct host_run *r)
{
	const char *bad;

	tlb_reset(); // the vcpus will not run again
	host_set_cpu(0);
	bad = domain_destroy(r->d);
	alive = false;
	if (bad)
		host_run_found(r, bad, NULL);
	if (check_port(r) && host_frames_owned()) {
		host_finding("E1.52 leak", "%u frames have an owner after the domain is gone",
			     host_frames_owned());
		check_port(r);
	}
}

static void finish(struct host_run *r)
{
	const char *bad;

	if (!check_quiescent(r, true, true))
		return;
	bad = r->d->dead ? NULL : model_compare_memory(r->model, host_guest_frame, r->d);
	if (bad)
		host_run_found(r, bad, NULL);
	if (!r->finding[0] && r->lines)
		last_lines(r);
}

int exec_host(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	      struct exec_result *result)
{
	struct host_run *r = &run;
	const char *what;
	struct trace_op op;
	bool stopped;

	*result = (struct exec_result){ 0 };
	*r = (struct host_run){ .options = options, .model = &reference, .lines = lines, .ctx = ctx };
	alive = false;
	host_reset(seed_of(data, bytes));
	host_fatal_note = note_fatal;
	host_log_sink = options->log_hv ? show_hv_line : NULL;
	trace_open(&r->reader, data, bytes);
	r->config = r->reader.config;
	obs_digest_start(&r->digest);
	if (!host_guest_build(r, &what)) {
		if (!options->quiet)
			fprintf(stderr, "umbra: the guest cannot be built: %s\n", what);
		return 1;
	}
	alive = true;
	model_start(r->model, &r->config);
	if (!check_port(r))
		goto out;
	while (!r->finding[0] && !r->d->dead &&
	       (!options->stop_after || r->number < options->stop_after) && trace_next(&r->reader, &op))
		step(r, &op);
	stopped = options->stop_after && r->number >= options->stop_after;
	if (!r->finding[0] && !stopped)
		finish(r);
	// Whoever stops early wants to look at the state.
	if (!r->finding[0] && !stopped)
		tear_down(r);
	if (!r->finding[0] && !stopped)
		host_reset(0); // clean up within the run that made the mess: coverage must not tell of the run before
out:
	result->finding = r->finding[0] ? r->finding : NULL;
	result->op = r->number;
	return 0;
}

