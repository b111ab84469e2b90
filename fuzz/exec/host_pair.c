// SPDX-License-Identifier: GPL-2.0-or-later
// Two traces in two domains of one machine, each in lock-step with a model of its own: what one does, the other must not see.
//
//  1. each trace alone: its log is what must come out again
//  2. the schedule: who goes next, and whose op runs inside whose
//  3. the pair: both built, run, checked and destroyed, in the order that the input says
//
// A log can be compared where it has one right answer: the guest flushes after each change of a mapping, nothing is made to
// fail and no op races with another of the same domain. Other traces may see more or fewer translations that a processor
// still holds, or a failure at another step; the model judges them, as it does every log.
//
// The input's form is described in pair.h. Cost: up to three runs. State is static: two models of half a MiB each.
#include "host_run.h"
#include "pair.h"

#define PAIR_FRAMES (2 * HOST_FRAMES)

// ---- 1. each trace alone ----------------------------------------------------------------------------------

static bool has_one_answer(const u8 *data, size_t bytes)
{
	struct trace_reader reader;
	struct trace_op op;

	trace_open(&reader, data, bytes);
	while (trace_next(&reader, &op))
		if (op.race_nth || op.fail_nth)
			return false;
	return reader.config.flush_auto;
}

// Run a trace in a machine of its own and keep its log. False: its guest cannot be built. r may have a finding.
static bool run_alone(struct host_run *r, const u8 *data, size_t bytes)
{
	const char *step;

	host_run_power_on(host_run_seed(data, bytes), PAIR_FRAMES, r->options);
	if (!host_run_open(r, data, bytes, &step)) {
		if (!r->options->quiet)
			fprintf(stderr, "umbra: the guest cannot be built: %s\n", step);
		return false;
	}
	while (host_run_next(r))
		;
	if (!r->finding[0] && !host_run_stopped(r))
		host_run_finish(r);
	if (!r->finding[0])
		host_run_close(r);
	if (!r->finding[0])
		host_run_power_off(r);
	return true;
}

// ---- 2. the schedule --------------------------------------------------------------------------------------

struct pair {
	struct host_run run[PAIR];
	struct pair_input in;
	size_t step;       // of the schedule
	bool ended[PAIR];  // the trace is over
	bool opened[PAIR];
	u32 inner;         // the domain whose op comes in
};

// Does the next op of a run reach into other domains?
static bool reaches_out(const struct host_run *r)
{
	struct trace_reader ahead = r->reader;
	struct trace_op op;

	return trace_next(&ahead, &op) && op.code == OP_CONTROL && op.what == ASK_BLOW_ALL;
}

// An op of the other domain comes in while one of this is half done. While an instruction is stepped, nothing may reach into
// this domain: such an op waits for the next point.
static void other_now(void *context)
{
	struct pair *p = context;
	struct host_run *r = &p->run[p->inner];

	if (!p->opened[p->inner] || p->ended[p->inner])
		return;
	if (shadow_stepping(p->run[1 - p->inner].d) && reaches_out(r))
		host_arm_other(1, other_now, p);
	else
		p->ended[p->inner] = !host_run_next(r);
}

// Who executes its next op, and at which point of it one of the other comes in, 0: none.
static u32 next_turn(struct pair *p, u32 *point)
{
	u8 turn = p->step < p->in.schedule_bytes ? p->in.schedule[p->step] : p->step & 1 ? PAIR_TURN_SECOND : 0;
	u32 who = turn & PAIR_TURN_SECOND ? 1 : 0;

	p->step++;
	*point = turn & PAIR_TURN_POINT;
	return p->ended[who] ? 1 - who : who;
}

// ---- 3. the pair --------------------------------------------------------------------------------------------

static bool pair_found(struct pair *p, struct exec_result *result)
{
	for (u32 i = 0; i < PAIR && !result->finding; i++)
		if (p->run[i].finding[0])
			*result = (struct exec_result){ p->run[i].finding, p->run[i].number, i };
	return result->finding != NULL;
}

// False: there is no room for the guest.
static bool open_one(struct pair *p, u32 i)
{
	const char *step;

	p->opened[i] = host_run_open(&p->run[i], p->in.trace[i], p->in.trace_bytes[i], &step);
	p->ended[i] = !p->opened[i];
	return p->opened[i];
}

static void close_one(struct pair *p, u32 i)
{
	struct host_run *r = &p->run[i];

	if (!r->alive)
		return;
	host_run_finish(r);
	if (!r->finding[0])
		host_run_close(r);
}

// The ops of both, until both traces are over or something is found.
static void run_both(struct pair *p, struct exec_result *result)
{
	while (!pair_found(p, result) && !(p->ended[0] && p->ended[1])) {
		u32 point, who = next_turn(p, &point);

		if (!p->opened[who] && !open_one(p, who))
			continue;
		p->inner = 1 - who;
		host_arm_other(point, other_now, p);
		p->ended[who] = !host_run_next(&p->run[who]);
		host_arm_other(0, NULL, NULL);
		if (!pair_found(p, result) && p->run[1 - who].alive)
			host_run_watch(&p->run[1 - who]);
		for (u32 i = 0; i < PAIR && (p->in.flags & PAIR_DIES_AT_ONCE); i++)
			if (p->ended[i] && !pair_found(p, result) && !host_run_stopped(&p->run[i]))
				close_one(p, i);
	}
}

static void run_pair(struct pair *p, u64 seed, struct exec_result *result)
{
	u32 dies_first = p->in.flags & PAIR_SECOND_DIES_FIRST ? 1 : 0;

	host_run_power_on(seed, PAIR_FRAMES, p->run[0].options);
	open_one(p, 0);
	if (!(p->in.flags & PAIR_SECOND_IS_LATE))
		open_one(p, 1);
	run_both(p, result);
	if (host_run_stopped(&p->run[0]) || host_run_stopped(&p->run[1]))
		return; // whoever stops early wants to look at the state
	if (!pair_found(p, result))
		close_one(p, dies_first);
	if (!pair_found(p, result))
		close_one(p, 1 - dies_first);
	if (!pair_found(p, result))
		host_run_power_off(&p->run[0]);
	pair_found(p, result);
}

int exec_pair(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines[PAIR], void *ctx,
	      struct exec_result *result)
{
	static struct model model[PAIR];
	static struct host_log alone[PAIR], together[PAIR];
	static struct pair p;

	*result = (struct exec_result){ 0 };
	p = (struct pair){ .in = pair_open(data, bytes) };
	for (u32 i = 0; i < PAIR; i++) {
		struct host_run *r = &p.run[i];

		alone[i].count = together[i].count = 0;
		*r = (struct host_run){ .options = options, .model = &model[i], .log = &alone[i] };
		if (has_one_answer(p.in.trace[i], p.in.trace_bytes[i]) && !run_alone(r, p.in.trace[i], p.in.trace_bytes[i]))
			return 1;
		if (pair_found(&p, result))
			return 0;
		*r = (struct host_run){ .options = options, .model = &model[i], .log = &together[i],
					.expected = alone[i].count ? &alone[i] : NULL,
					.lines = lines ? lines[i] : NULL, .ctx = ctx };
	}
	run_pair(&p, host_run_seed(data, bytes), result);
	return 0;
}
