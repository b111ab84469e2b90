// SPDX-License-Identifier: GPL-2.0-or-later
// The host executor: a trace on the hypervisor core, with every checker watching.
//
//  1. findings
//  2. checks at a quiescent point: the port's own, the core's, the TLBs'
//  3. one op, or two that race, in lock-step with the reference model
//  4. the run: power-on, ops, memory, teardown. What is left of it is shown by host_show.c
//  5. one trace alone. Two at once are in host_pair.c
//
// Cost: about ten microseconds for the start, one or two for a usual op with its checks. Nothing is
// allocated; state is static: one machine at a time.
#include "host_run.h"

#include "../../hv/mem/heap.h"

#include <string.h>

static struct host_run *last; // the run that was begun or went on last
static u32 under_way;         // ops that are half done

struct host_run *host_run_last(void)
{
	return last && last->alive ? last : NULL;
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
	fprintf(stderr, "finding: op %u: the core stopped\n", last ? last->number : 0);
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
	// An op of another domain that is half done may have maps.
	if (!host_finding_rule() && under_way < 2 && host_maps_outstanding())
		host_finding("E1.52 leak", "%u maps were not undone", host_maps_outstanding());
	if (host_finding_rule())
		host_run_found(r, host_finding_rule(), host_finding_detail());
	return !r->finding[0];
}

bool host_never_writable(mfn_t m)
{
	return page_is_table(m) || gfn_eq(p2m_gfn_of(m), GFN_INVALID);
}

// Rules 41 and 47 for one cached translation: the guest's tables lead there, and what is there is the guest's own.
static void check_entry(struct host_run *r, u32 vcpu, const struct tlb_entry *e, const char *how)
{
	u64 g = p2m_gfn_of(mfn(e->mfn)).n;
	bool foreign = page_of(mfn(e->mfn))->owner != r->d->owner;
	char detail[160];

	if (!foreign && model_tlb_allows(r->model, vcpu, e->va, g, e->w, e->u, !e->nx))
		return;
	snprintf(detail, sizeof(detail), "vcpu %u %s 0x%llx -> gfn 0x%llx%s%s%s%s%s", vcpu, how,
		 (unsigned long long)e->va, (unsigned long long)g, foreign ? " of somebody else" : "", e->w ? " W" : "",
		 e->u ? " U" : "", e->nx ? " NX" : "", e->dirty ? " D" : "");
	host_run_found(r, foreign ? "E1.47 isolation" : "E1.41 soundness", detail);
}

// What the processor would reach from a level-0 table that it remembers, and nobody else may know. In all modes that is
// a table of 512 entries for 2 MiB: shadows have three or four levels.
static void check_table(struct host_run *r, u32 vcpu, const struct tlb_entry *table)
{
	for (u32 i = 0; i < FRAME_BYTES / sizeof(u64) && !r->finding[0]; i++) {
		struct tlb_entry e;

		if (!cpu_table_entry(table, i, &e))
			continue;
		if (!host_frame_owned(mfn(e.mfn)))
			host_run_found(r, "E1.42 write hole", "a table in a TLB leads to a frame that was given up");
		else if (e.w && host_never_writable(mfn(e.mfn)))
			host_run_found(r, "E1.42 write hole",
				       "a table in a TLB leads to a page table or a removed frame");
		else
			check_entry(r, vcpu, &e, "remembers a table with");
	}
}

// Everything that this processor holds must still be allowed.
static void check_held(struct host_run *r, u32 vcpu)
{
	u32 cpu = host_cpu_of(&r->d->vcpu[vcpu]);
	const struct tlb_entry *e;

	for (u32 i = 0, n = tlb_pages(cpu, &e); i < n && !r->finding[0]; i++)
		check_entry(r, vcpu, e + i, "holds");
	for (u32 i = 0, n = tlb_tables(cpu, &e); i < n && !r->finding[0]; i++)
		check_table(r, vcpu, e + i);
}

static void check_tlbs(struct host_run *r, bool held)
{
	for (u32 vcpu = 0; vcpu < r->config.vcpus && !r->finding[0]; vcpu++) {
		u32 cpu = host_cpu_of(&r->d->vcpu[vcpu]);
		const struct tlb_entry *e;
		const char *bad = tlb_check(cpu, host_never_writable);

		if (bad)
			host_run_found(r, bad, NULL);
		while (!r->finding[0] && (e = tlb_next_news(cpu)))
			check_entry(r, vcpu, e, "got");
		if (held)
			check_held(r, vcpu);
	}
}

// held: what is cached since earlier ops may have become illegal now, look at all of it.
static bool check_quiescent(struct host_run *r, bool full, bool held)
{
	const char *bad;

	if (!check_port(r))
		return false;
	bad = hv_check(r->d, full);
	if (!bad && r->donor->d)
		bad = hv_check(r->donor->d, full);
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

void host_run_watch(struct host_run *r)
{
	check_quiescent(r, r->options->check_each_full, r->options->check_each_full);
}

// ---- 3. ops -------------------------------------------------------------------------------------------


struct race {
	struct host_run *r;
	const struct trace_op *op;
	u32 vcpu;
	struct obs seen;
	bool ran;
};

// Is a vcpu on its way to a root that its CR3 does not name yet? With paging off all of it counts, later its low half.
static bool between_roots(const struct domain *d)
{
	for (u32 i = 0; i < d->vcpu_count; i++)
		if (!(d->vcpu[i].guest.cr0 & CR0_PG) && d->vcpu[i].guest.cr3 >> 32)
			return true;
	return false;
}

// While an instruction is stepped, tables hold entries that are nobody's; after a RENEW the guest's kernel first puts its
// own words back: the other op waits for the next point. A dead domain runs nothing.
static void race_now(void *context)
{
	struct race *race = context;

	if (race->r->d->dead)
		return;
	if (shadow_stepping(race->r->d) || !host_guest_whole(race->r) || between_roots(race->r->d)) {
		host_arm_point(1, race_now, race);
		return;
	}
	race->ran = true;
	host_op(race->r, race->vcpu, race->op, &race->seen);
	host_op_flush(race->r, race->vcpu, race->op);
}

// The log has one more line, and must be as expected.
static void note_line(struct host_run *r, const char *line)
{
	const struct host_log *expected = r->expected;
	u32 n = r->log->count++;
	char detail[OBS_LINE_MAX + 64];

	if (n >= HOST_LOG_LINES)
		return;
	r->log->after[n] = r->digest.all;
	// How full the small counters are depends on what others have blown.
	r->log->overflowed |= MODEL_ALLOW_REF_OVERFLOW && strstr(line, " killed shadow references");
	if (!expected || (n < expected->count && expected->after[n] == r->digest.all))
		return;
	r->expected = NULL; // all that follows differs too
	if (host_machine_was_full() || r->log->overflowed || expected->overflowed)
		return; // what one has the other lacks
	snprintf(detail, sizeof(detail), "the trace alone does not print \"%s\"", line);
	host_run_found(r, "E1.47 isolation", detail);
}

// A line of the log. op NULL: the memory line.
static void emit_line(struct host_run *r, const struct trace_op *op, const char *line, size_t bytes)
{
	obs_digest_add(&r->digest, op, line, bytes);
	if (r->log)
		note_line(r, line);
	if (r->lines)
		r->lines(r->ctx, line);
}

static void emit(struct host_run *r, const struct trace_op *op, const struct obs *o)
{
	char line[OBS_LINE_MAX];

	if (r->lines || r->log)
		emit_line(r, op, line, obs_line(line, r->number, op, o));
}

// May the op run while another is half done? Not if it moves the trace to another vcpu, changes control registers of
// all, or is about control registers that a point in the middle of an op must not see half written; nor for the last step of
// a migration, in which no vcpu runs.
static bool may_interleave(const struct trace_op *op)
{
	return op->code != OP_VCPU && op->code != OP_CTL && op->code != OP_VISIT && op->code != OP_BADREG &&
	       !(op->code == OP_MIGRATE && trace_step(op) == TRACE_STEP_FINISH);
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
	if (race->ran) {
		const struct model_types types = { .read_only = host_guest_types(r, P2M_RAM_RO),
						   .identity = host_guest_types(r, P2M_MMIO_DIRECT),
						   .watching = r->d->shadow.dirty.on, .given_up = donor_given_up(r->donor) };

		model_know_types(r->model, &types);
		return model_follow_race_memory(r->model, op, seen, race->op, race->vcpu, &race->seen,
						host_guest_frame, r->d);
	}
	return model_follow(r->model, op, seen);
}

// After which ops a translation that was allowed before may be illegal: flushes by the guest, and changes
// of the physmap. All others only add to what a processor may hold.
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
	case OP_CONTROL:
	case OP_MIGRATE:
	case OP_RETYPE:
	case OP_MOVE:
	case OP_BALLOON:
	case OP_IDENTITY:
	case OP_LARGE:
	case OP_FOREIGN:
		return true;
	default:
		return r->config.flush_auto;
	}
}

// Pages that reclaim took from tables in use may be other tables now, which no processor may remember as what they were.
static bool reuses(const struct host_state *before, const struct host_state *after)
{
	return after->reclaimed && after->free_pages != before->free_pages;
}

// One op of the trace, and the next one if it ran inside.
static void step(struct host_run *r, const struct trace_op *op)
{
	struct trace_op next;
	struct race race = { .r = r, .op = &next, .vcpu = (r->current + 1) % r->config.vcpus };
	u32 vcpu = r->current;
	struct host_state before, after;
	const char *bad;
	struct obs o;

	r->number++;
	host_note_state(r, &before);
	if (may_race(r, op, &next))
		host_arm_point(trace_race_point(op), race_now, &race);
	host_arm_failure(op->fail_nth);
	host_op(r, vcpu, op, &o);
	host_arm_failure(0);
	host_arm_point(0, NULL, NULL);
	host_op_flush(r, vcpu, op);
	host_arm_other(0, NULL, NULL);
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
	host_note_state(r, &after);
	bad = follow(r, op, &o, &race);
	if (!bad && !race.ran)
		bad = host_check_state(op, &o, &before, &after, shadow_lower_bound(r->d));
	if (!bad)
		bad = host_check_dirty(r);
	for (u32 i = 0; i < r->config.vcpus && !bad; i++)
		bad = model_check_latched(r->model, i, r->d->vcpu[i].shadow.pdpte);
	if (bad && op->code == OP_CHECK && hv_check(r->d, true)) // the hypervisor told the guest that a rule is broken: which?
		found_in_core(r, hv_check(r->d, true));
	else if (bad)
		host_run_found(r, bad, NULL);
	else
		check_quiescent(r, r->options->check_each_full || op->code == OP_CHECK,
				r->options->check_each_full || makes_illegal(r, op) || op->fail_nth ||
					reuses(&before, &after) || (race.ran && makes_illegal(r, &next)));
}

// ---- 4. the run ---------------------------------------------------------------------------------------

u64 host_run_seed(const void *data, size_t bytes)
{
	const u8 *at = data;
	u64 h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ at[i]) * UINT64_C(0x100000001b3);
	return h;
}

void host_run_power_on(u64 seed, u32 frames, const struct exec_options *options)
{
	host_reset(seed);
	if (frames)
		host_set_frames(frames);
	host_fatal_note = note_fatal;
	host_log_sink = options->log_hv ? show_hv_line : NULL;
	under_way = 0;
	hv_start();
}

bool host_run_open(struct host_run *r, const void *data, size_t bytes, const char **step)
{
	last = r;
	trace_open(&r->reader, data, bytes);
	r->config = r->reader.config;
	obs_digest_start(&r->digest);
	if (!host_guest_build(r, step))
		return false;
	r->alive = true;
	model_start(r->model, &r->config);
	check_port(r);
	return true;
}

bool host_run_next(struct host_run *r)
{
	struct host_run *outer = last;
	struct trace_op op;

	if (r->finding[0] || r->d->dead || host_run_stopped(r) || !trace_next(&r->reader, &op))
		return false;
	last = r;
	under_way++;
	step(r, &op);
	under_way--;
	if (!r->finding[0])
		last = outer;
	return true;
}

bool host_run_stopped(const struct host_run *r)
{
	return r->options->stop_after && r->number >= r->options->stop_after;
}

static void last_lines(struct host_run *r)
{
	char line[OBS_LINE_MAX];

	if (!r->d->dead)
		emit_line(r, NULL, line, obs_memory_line(line, host_guest_memory(r)));
	obs_digest_line(line, &r->digest);
	if (r->lines)
		r->lines(r->ctx, line);
	if (r->log && r->expected && r->expected->count != r->log->count && !r->log->overflowed && !r->expected->overflowed)
		host_run_found(r, "E1.47 isolation", "the trace alone prints more");
}

void host_run_finish(struct host_run *r)
{
	const char *bad;

	if (!check_quiescent(r, true, true))
		return;
	bad = r->d->dead ? NULL : model_compare_memory(r->model, host_guest_frame, r->d);
	if (bad)
		host_run_found(r, bad, NULL);
	if (!r->finding[0] && (r->lines || r->log))
		last_lines(r);
}

static void forget_tlbs(const struct domain *d)
{
	for (u32 i = 0; i < d->vcpu_count; i++)
		tlb_drop_all(host_cpu_of(&d->vcpu[i]));
}

void host_run_close(struct host_run *r)
{
	const char *bad;

	forget_tlbs(r->d); // the vcpus will not run again
	host_set_cpu(host_cpu_of(&r->d->vcpu[0]));
	bad = domain_destroy(r->d);
	r->alive = false;
	if (!bad)
		bad = donor_finish(r->donor);
	if (bad)
		host_run_found(r, bad, NULL);
	check_port(r);
}

void host_run_moved(struct host_run *r, struct domain *to)
{
	forget_tlbs(r->d);
	forget_tlbs(to);
	r->d = to;
	host_set_cpu(host_cpu_of(&to->vcpu[r->current]));
}

void host_run_power_off(struct host_run *r)
{
	if (host_frames_owned())
		host_finding("E1.52 leak", "%u frames have an owner after the domain is gone",
			     host_frames_owned());
	if (check_port(r))
		host_reset(0); // clean up within the run that made the mess: coverage must not tell of the run before
}

// ---- 5. one trace alone -----------------------------------------------------------------------------------

int exec_host(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	      struct exec_result *result)
{
	static struct host_run run;
	static struct model reference;
	struct host_run *r = &run;
	const char *what;

	*result = (struct exec_result){ 0 };
	*r = (struct host_run){ .options = options, .model = &reference, .lines = lines, .ctx = ctx };
	host_run_power_on(host_run_seed(data, bytes), 0, options);
	if (!host_run_open(r, data, bytes, &what)) {
		if (!options->quiet)
			fprintf(stderr, "umbra: the guest cannot be built: %s\n", what);
		return 1;
	}
	while (host_run_next(r))
		;
	// Whoever stops early wants to look at the state.
	if (!r->finding[0] && !host_run_stopped(r))
		host_run_finish(r);
	if (!r->finding[0] && !host_run_stopped(r))
		host_run_close(r);
	if (!r->finding[0] && !host_run_stopped(r))
		host_run_power_off(r);
	result->finding = r->finding[0] ? r->finding : NULL;
	result->op = r->number;
	return 0;
}
