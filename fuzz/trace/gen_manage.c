// SPDX-License-Identifier: GPL-2.0-or-later
// Scenes in which the hypervisor manages the domain while the guest goes on: control operations, log-dirty, migration,
// the physmap; and scenes of several processors.
//
// Parts: ops; control; log-dirty; migration; the physmap; processors.
//
// What an operator does once means little. What matters is what the guest does between two such steps, so that every scene
// here mixes its steps with uses of chains that the generator knows.
#include "gen_scene.h"

static bool chance(struct trace_gen *g, u32 percent)
{
	return trace_rng_chance(&g->rng, percent);
}

static u32 below(struct trace_gen *g, u32 n)
{
	return trace_rng_below(&g->rng, n);
}

// ---- ops --------------------------------------------------------------------------------------------------
static void ask(struct trace_gen *g, enum trace_ask what, u32 count)
{
	gen_push(g, (struct trace_op){ .code = OP_CONTROL, .what = (u8)what, .count = (u16)count,
					 .who = (u8)(chance(g, 70) ? WHO_OPERATOR : WHO_FROM + below(g, TRACE_FROMS)) });
}

static void migrate(struct trace_gen *g, enum trace_step step)
{
	gen_push(g, (struct trace_op){ .code = OP_MIGRATE, .what = (u8)step });
}

static u8 late_round(struct trace_gen *g)
{
	return (u8)(chance(g, 20) ? TRACE_STEP_ROUND : TRACE_STEP_COUNT + below(g, TRACE_STEP_WORDS - TRACE_STEP_COUNT));
}

// The op that comes next runs inside the last one that was pushed since the queue ended at `at`, on another processor.
static void race(struct trace_gen *g, u32 at, u32 percent, u32 points)
{
	if (g->queue_end > at && !g->plain && g->config.vcpus > 1 && chance(g, percent))
		g->queue[g->queue_end - 1].race_nth = (u8)(1 + below(g, points));
}

static void random_op(struct trace_gen *g)
{
	struct trace_op op;

	trace_random_op(&g->rng, &g->config, &op);
	gen_push(g, op);
}

// The guest goes on: it uses what it has mapped, changes its tables, or does anything.
static void go_on(struct trace_gen *g, u32 steps)
{
	while (steps--) {
		const struct trace_gen_chain *c = gen_pick_chain(g);
		u32 step = below(g, c->levels);

		if (chance(g, 70))
			gen_push_use(g, c, 60);
		else if (chance(g, 60))
			gen_push_link(g, c, step, gen_link_full(c, step));
		else
			random_op(g);
	}
}

// A frame that a chain goes through or leads to, else any.
static u8 busy_frame(struct trace_gen *g)
{
	const struct trace_gen_chain *c = gen_pick_chain(g);

	if (chance(g, 15))
		return (u8)below(g, TRACE_FRAMES);
	if (c->leaf < TRACE_FRAMES && chance(g, 50))
		return c->leaf;
	return c->table[below(g, c->levels)];
}

// ---- control ----------------------------------------------------------------------------------------------
// Mostly what has to be refused.
void scene_ask(struct trace_gen *g)
{
	for (u32 n = 1 + below(g, 4); n; n--) {
		gen_push(g, gen_random_op(g, chance(g, 80) ? OP_CONTROL : OP_AUDIT));
		if (chance(g, 40))
			go_on(g, 1);
	}
}

// ---- log-dirty --------------------------------------------------------------------------------------------
static u32 odd_count(struct trace_gen *g)
{
	static const u16 counts[] = { 16, 16, 16, 16, 1, 2, 3, 7, 8, 15, 17, 64, 65, 510, 0, TRACE_ASK_MAX };

	return counts[below(g, ARRAY_LEN(counts))];
}

void scene_watch(struct trace_gen *g)
{
	if (g->picture.migrating)
		migrate(g, chance(g, 50) ? TRACE_STEP_FINISH : TRACE_STEP_CANCEL);
	if (!g->picture.watching)
		ask(g, ASK_LOGDIRTY, 0);
	for (u32 n = 1 + below(g, 5); n; n--) {
		go_on(g, 1 + below(g, 3));
		ask(g, chance(g, 70) ? ASK_CLEAN : ASK_PEEK, odd_count(g));
		if (chance(g, 15))
			gen_push(g, gen_random_op(g, chance(g, 50) ? OP_BLOW : OP_POOL));
	}
	go_on(g, 1);
	ask(g, ASK_PEEK, 16);
	if (chance(g, 40))
		ask(g, chance(g, 80) ? ASK_LOGDIRTY_OFF : ASK_OFF, 0);
}

// ---- migration --------------------------------------------------------------------------------------------
void scene_migrate(struct trace_gen *g)
{
	if (g->picture.watching)
		ask(g, ASK_LOGDIRTY_OFF, 0);
	if (!g->picture.migrating)
		migrate(g, TRACE_STEP_START);
	for (u32 n = below(g, 4); n; n--) {
		u32 at = g->queue_end;

		go_on(g, 1 + below(g, 3));
		race(g, at, 15, 4); // the round in the middle of what the guest does
		gen_push(g, (struct trace_op){ .code = OP_MIGRATE, .what = late_round(g) });
		race(g, at, 60, TRACE_NTH_MAX); // and what it does in the middle of the round
		if (chance(g, 20))
			scene_physmap(g);
		if (chance(g, 10))
			ask(g, (enum trace_ask)below(g, ASK_COUNT), odd_count(g));
	}
	go_on(g, 1);
	migrate(g, chance(g, 85) ? TRACE_STEP_FINISH : (enum trace_step)below(g, TRACE_STEP_COUNT));
	go_on(g, 2);
}

// ---- the physmap ------------------------------------------------------------------------------------------
static void retype(struct trace_gen *g)
{
	struct trace_op op = { .code = OP_RETYPE, .frame = busy_frame(g), .what = (u8)below(g, TYPE_COUNT) };

	gen_push(g, op);
	go_on(g, 1 + below(g, 3));
	op.what = TYPE_RW;
	if (chance(g, 60))
		gen_push(g, op);
}

// There and back, with a look at both places.
static void move(struct trace_gen *g)
{
	struct trace_op op = { .code = OP_MOVE, .frame = busy_frame(g), .from = (u8)below(g, TRACE_FRAMES) };
	u8 frame = op.frame;

	gen_push(g, op);
	go_on(g, 1);
	op.frame = op.from;
	op.from = frame;
	if (chance(g, 60))
		gen_push(g, op);
	else if (chance(g, 60))
		gen_push(g, (struct trace_op){ .code = OP_RENEW, .frame = frame });
	go_on(g, 1);
}

static void balloon(struct trace_gen *g)
{
	struct trace_op op = { .code = OP_BALLOON, .frame = busy_frame(g), .count = (u16)(1 + below(g, 4)) };

	gen_push(g, op);
	go_on(g, 1);
	if (chance(g, 30))
		gen_push(g, gen_random_op(g, OP_IDENTITY));
	op.on = true;
	if (chance(g, 75))
		gen_push(g, op);
	go_on(g, 1);
}

// On, tried from one side and from the other, and off.
static void identity(struct trace_gen *g)
{
	struct trace_op op = gen_random_op(g, OP_IDENTITY);

	op.on = true;
	gen_push(g, op);
	if (chance(g, 50))
		gen_push(g, gen_random_op(g, OP_IDENTITY));
	go_on(g, 1);
	op.on = false;
	gen_push(g, op);
}

// A frame of the donor in the place of one in use, while the donor goes on and the hypervisor tries the place.
static void foreign(struct trace_gen *g)
{
	static const u8 codes[] = { OP_DONOR, OP_DONOR, OP_FOREIGN, OP_RENEW, OP_MOVE, OP_SWAP, OP_BALLOON, OP_RETYPE, OP_UNSHADOW, OP_MIGRATE };
	struct trace_op op = { .code = OP_FOREIGN, .frame = busy_frame(g), .what = (u8)(1 + below(g, TRACE_GIFTS)) }, other;

	gen_push(g, (struct trace_op){ .code = OP_REMOVE, .frame = op.frame });
	gen_push(g, op);
	for (u32 n = 1 + below(g, 3); n; n--) {
		go_on(g, 1);
		other = gen_random_op(g, codes[below(g, ARRAY_LEN(codes))]);
		other.frame = chance(g, 60) ? op.frame : other.frame;
		gen_push(g, other);
	}
	go_on(g, 1);
	op.what = GIFT_NONE;
	if (chance(g, 70))
		gen_push(g, op);
	if (chance(g, 70))
		gen_push(g, (struct trace_op){ .code = OP_RENEW, .frame = op.frame });
}

void scene_physmap(struct trace_gen *g)
{
	static void (*const parts[])(struct trace_gen *) = { retype, retype, move, balloon, identity, foreign };

	parts[below(g, ARRAY_LEN(parts))](g);
	if (chance(g, 20))
		gen_push(g, gen_random_op(g, OP_LARGE));
}

// ---- processors -------------------------------------------------------------------------------------------
// Every processor under the same root, and each uses the same chain while another works on it.
void scene_share(struct trace_gen *g)
{
	const struct trace_gen_chain c = *gen_pick_chain(g);
	u32 home = g->picture.current;

	for (u32 i = 0; i < g->config.vcpus; i++) {
		gen_push(g, (struct trace_op){ .code = OP_VCPU, .vcpu = (u8)((home + i) % g->config.vcpus) });
		gen_push(g, (struct trace_op){ .code = OP_CR3, .target = c.root });
		gen_push_use(g, &c, 60);
	}
	for (u32 n = 1 + below(g, 3); n; n--) {
		static const u8 codes[] = { OP_UNSHADOW, OP_BLOW, OP_ZERO, OP_INVLPG, OP_RENEW, OP_SWAP, OP_CONTROL, OP_RETYPE, OP_SET };
		struct trace_op op = gen_random_op(g, codes[below(g, ARRAY_LEN(codes))]);
		u32 at = g->queue_end;

		gen_push_use(g, &c, 40);
		race(g, at, 100, 4);
		op.va = op.code == OP_SET ? c.va | (op.va & (FRAME_BYTES - 1)) : op.code == OP_INVLPG ? c.va : 0;
		op.frame = chance(g, 70) ? c.table[below(g, c.levels)] : op.frame;
		gen_push(g, op);
		gen_push_use(g, &c, 40);
		if (chance(g, 50))
			gen_push(g, (struct trace_op){ .code = OP_VCPU, .vcpu = (u8)below(g, g->config.vcpus) });
	}
}
