// SPDX-License-Identifier: GPL-2.0-or-later
// Random operations and seeded traces.
//
// Parts: the random source; random arguments; a random op; chains of tables; scenes; the generator.
//
// Uniformly random entries almost never form a walk of four present levels. The generator therefore works in
// scenes of a few ops: build a chain root -> L3 -> L2 -> L1 -> page, load it, use it, edit one of its links and
// use it again. Frames keep to a role most of the time and break it often enough that tables alias each other,
// map themselves, and get written as data. A quarter of the ops are single random ones, to spoil the plan.
//
// It models nothing: when the plan and the guest drift apart, the ops are merely less useful.
#include "gen.h"

// ---- random source -------------------------------------------------------------
// A Weyl sequence, scrambled by two rounds of multiply and shift.
u64 trace_rng_next(struct trace_rng *rng)
{
	u64 x = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 29) * UINT64_C(0xa0761d6478bd642f);
	return x ^ x >> 32;
}

u32 trace_rng_below(struct trace_rng *rng, u32 n)
{
	return (u32)((trace_rng_next(rng) >> 32) * n >> 32);
}

static bool chance(struct trace_rng *rng, u32 percent)
{
	return trace_rng_below(rng, 100) < percent;
}

// ---- random arguments -------------------------------------------------------------
#define PRESENT (trace_flags[0].bit)
#define WRITE (trace_flags[1].bit)
#define USER (trace_flags[2].bit)
#define LARGE (trace_flags[7].bit)
#define ALL_RIGHTS (PRESENT | WRITE | USER)

static u64 random_flags(struct trace_rng *rng)
{
	u32 dice = trace_rng_below(rng, 100);
	u64 flags = ALL_RIGHTS;

	if (dice < 50)
		return flags;
	if (dice < 65) // fewer rights
		return PRESENT | (trace_rng_next(rng) & (WRITE | USER));
	if (dice < 90) { // one or two bits toggled
		flags ^= trace_flags[trace_rng_below(rng, TRACE_FLAGS)].bit;
		if (chance(rng, 40))
			flags ^= trace_flags[trace_rng_below(rng, TRACE_FLAGS)].bit;
		return flags;
	}
	if (dice < 94)
		return 0;
	for (u32 i = 0; i < TRACE_FLAGS; i++)
		if (chance(rng, 50))
			flags ^= trace_flags[i].bit;
	return flags;
}

// CR3 with a hole kills the domain and ends the trace: rarely.
static u8 random_target(struct trace_rng *rng, bool root)
{
	u32 dice = trace_rng_below(rng, 400);

	if (dice < (root ? 392u : 360u))
		return (u8)trace_rng_below(rng, TRACE_FRAMES);
	if (root)
		return dice < 399 ? TRACE_TARGET_FAR : TRACE_TARGET_HOLE0;
	return (u8)(TRACE_FRAMES + trace_rng_below(rng, TRACE_TARGET_COUNT - TRACE_FRAMES));
}

static u64 random_how(struct trace_rng *rng, const struct trace_config *config)
{
	u64 cpl = chance(rng, 40) ? 3 : 0, stale = 0;

	if (!config->flush_auto && chance(rng, 30))
		stale = 1 + trace_rng_below(rng, 3);
	return cpl | stale << 8;
}

void trace_random_arg(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op,
		      const struct trace_arg *arg)
{
	u64 value;

	switch (arg->type) {
	case ARG_FLAGS:
		value = random_flags(rng);
		break;
	case ARG_TARGET:
		value = random_target(rng, op->code == OP_CR3);
		break;
	case ARG_HOW:
		value = random_how(rng, config);
		break;
	case ARG_VCPU:
		value = trace_rng_below(rng, config->vcpus);
		break;
	case ARG_SWITCH: // most control bits are better left as they start
		value = (u64)chance(rng, 60);
		break;
	default:
		value = trace_arg_decode(op, arg, (u32)trace_rng_next(rng) & 0xffff);
		break;
	}
	trace_set_field(op, arg, value);
	trace_normalise(op);
}

static void random_args(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		trace_random_arg(rng, config, op, &info->arg[i]);
}

// ---- a random op -------------------------------------------------------------
static u8 random_code(struct trace_rng *rng)
{
	u32 total = 0, dice;
	u8 code = 0;

	for (u32 i = 0; i < OP_COUNT; i++)
		total += trace_ops[i].weight;
	dice = trace_rng_below(rng, total);
	while (dice >= trace_ops[code].weight)
		dice -= trace_ops[code++].weight;
	return code;
}

static void random_attributes(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	if (chance(rng, 3))
		op->fail_nth = (u8)(1 + trace_rng_below(rng, chance(rng, 80) ? 4 : TRACE_NTH_MAX));
	if (config->vcpus > 1 && chance(rng, 5))
		op->race_nth = (u8)(1 + trace_rng_below(rng, 3));
}

void trace_random_op(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	*op = (struct trace_op){ .code = random_code(rng) };
	random_args(rng, config, op);
	random_attributes(rng, config, op);
}

// ---- chains of tables -------------------------------------------------------------
static void push(struct trace_gen *g, const struct trace_op *op)
{
	if (g->queue_end < GEN_QUEUE)
		g->queue[g->queue_end++] = *op;
}

// Frames f0 to f2 are roots, f3 to f5 L3, f6 to f8 L2, f9 to f11 L1, the others data: mostly.
static u8 role_frame(struct trace_gen *g, u32 depth)
{
	if (chance(&g->rng, depth == 4 ? 35 : 15))
		return (u8)trace_rng_below(&g->rng, TRACE_FRAMES);
	return (u8)(3 * depth + trace_rng_below(&g->rng, depth == 4 ? 4 : 3));
}

static bool index_settable(u32 index)
{
	struct trace_op op = { .code = OP_PTE };
	u32 raw;

	return trace_arg_encode(&op, &trace_ops[OP_PTE].arg[1], index, &raw);
}

// An address every index of which an op can store to.
static u64 random_page(struct trace_gen *g, u16 *index)
{
	const struct trace_op read = { .code = OP_EXEC };
	u64 va;
	u32 i;

	do {
		va = trace_arg_decode(&read, &trace_ops[OP_EXEC].arg[0], (u32)trace_rng_next(&g->rng) & 0xffff);
		for (i = 0; i < 4; i++) {
			index[i] = (u16)(va >> trace_va_parts[i].shift & 0x1ff);
			if (!index_settable(index[i]))
				break;
		}
	} while (i < 4);
	return va;
}

static void push_link(struct trace_gen *g, const struct trace_gen_chain *c, u32 step, u64 flags)
{
	struct trace_op op = { .code = OP_PTE, .frame = c->table[step], .index = c->index[step], .flags = flags };

	if (chance(&g->rng, 6))
		op.code = OP_PHYS;
	op.target = step + 1u == c->levels ? c->leaf : c->table[step + 1];
	push(g, &op);
}

static u64 link_flags(struct trace_gen *g)
{
	return chance(&g->rng, 85) ? ALL_RIGHTS : random_flags(&g->rng) | PRESENT;
}

static struct trace_gen_chain new_chain(struct trace_gen *g)
{
	struct trace_gen_chain c = { .levels = 4 };
	u32 dice = trace_rng_below(&g->rng, 100);

	c.va = random_page(g, c.index);
	if (dice < 30)
		c.levels = dice < 10 ? 2 : 3;
	c.root = c.table[0] = chance(&g->rng, 60) ? g->cr3[g->current] : role_frame(g, 0);
	for (u32 i = 1; i < c.levels; i++) // now and then a table is its own child
		c.table[i] = chance(&g->rng, 7) ? c.table[i - 1] : role_frame(g, i);
	c.leaf = role_frame(g, 4);
	if (c.levels < 4 && chance(&g->rng, 75)) // only f0 and the holes are aligned for a large page
		c.leaf = chance(&g->rng, 75) ? 0 : TRACE_TARGET_HOLE1;
	else if (chance(&g->rng, 5))
		c.leaf = random_target(&g->rng, false);
	return c;
}

// A chain that was built before, if possible one under the root that is loaded.
static const struct trace_gen_chain *pick_chain(struct trace_gen *g)
{
	const struct trace_gen_chain *c = NULL;

	for (u32 i = 0; i < 5; i++) {
		c = &g->known[trace_rng_below(&g->rng, g->known_count)];
		if (c->root == g->cr3[g->current])
			break;
	}
	return c;
}

// ---- scenes -------------------------------------------------------------
static void push_root(struct trace_gen *g, u8 root)
{
	push(g, &(struct trace_op){ .code = OP_CR3, .target = root });
}

static void push_use(struct trace_gen *g, const struct trace_gen_chain *c)
{
	static const u8 uses[] = { OP_READ, OP_READ, OP_WRITE, OP_WRITE, OP_WRITE, OP_SET, OP_EXEC, OP_SWEEP, OP_PUSH };
	struct trace_op op = { .code = uses[trace_rng_below(&g->rng, ARRAY_LEN(uses))] };
	u64 offset;

	random_args(&g->rng, &g->config, &op);
	offset = op.va & (FRAME_BYTES - 1);
	op.va = c->va | offset;
	push(g, &op);
}

static void scene_map(struct trace_gen *g)
{
	struct trace_gen_chain c = new_chain(g);
	bool load_first = chance(&g->rng, 30);
	u64 leaf_flags = link_flags(g) | (c.levels < 4 ? LARGE : 0);

	if (load_first && c.root != g->cr3[g->current])
		push_root(g, c.root);
	for (u32 i = 0; i < c.levels; i++)
		push_link(g, &c, i, i + 1u == c.levels ? leaf_flags : link_flags(g));
	if (!load_first && c.root != g->cr3[g->current] && chance(&g->rng, 80))
		push_root(g, c.root);
	for (u32 n = 1 + trace_rng_below(&g->rng, 2); n; n--)
		push_use(g, &c);
	g->known[g->known_next++ % GEN_KNOWN] = c;
	if (g->known_count < GEN_KNOWN)
		g->known_count++;
}

static void scene_use(struct trace_gen *g)
{
	const struct trace_gen_chain *c = pick_chain(g);

	if (c->root != g->cr3[g->current] && chance(&g->rng, 60))
		push_root(g, c->root);
	if (chance(&g->rng, 35)) // mend what other scenes have broken
		for (u32 i = 0; i < c->levels; i++)
			push_link(g, c, i, ALL_RIGHTS | (i + 1u == c->levels && c->levels < 4 ? LARGE : 0));
	push_use(g, c);
}

// Change one link, perhaps tell the TLB, and look.
static void scene_edit(struct trace_gen *g)
{
	const struct trace_gen_chain *c = pick_chain(g);
	u32 step = trace_rng_below(&g->rng, c->levels);
	struct trace_op op = { .code = OP_PTE };

	if (chance(&g->rng, 20))
		op.code = chance(&g->rng, 50) ? OP_HALF : OP_CAS;
	random_args(&g->rng, &g->config, &op);
	op.frame = c->table[step];
	op.index = c->index[step];
	trace_normalise(&op);
	if (chance(&g->rng, 60))
		op.target = step + 1u == c->levels ? c->leaf : c->table[step + 1];
	if (step + 1u == c->levels && c->levels < 4 && chance(&g->rng, 70))
		op.flags |= LARGE;
	push(g, &op);
	if (!g->config.flush_auto && chance(&g->rng, 60)) {
		static const u8 drops[] = { OP_INVLPG, OP_INVLPG, OP_RELOAD, OP_FLUSH };
		struct trace_op drop = { .code = drops[trace_rng_below(&g->rng, ARRAY_LEN(drops))] };

		if (drop.code == OP_INVLPG)
			drop.va = c->va;
		push(g, &drop);
	}
	push_use(g, c);
}

static void scene_random(struct trace_gen *g)
{
	struct trace_op op;

	trace_random_op(&g->rng, &g->config, &op);
	// An address out of the blue is hardly ever mapped.
	if (op.va && g->known_count && chance(&g->rng, 70))
		op.va = pick_chain(g)->va | (op.va & (FRAME_BYTES - 1));
	push(g, &op);
}

// ---- the generator -------------------------------------------------------------
void trace_gen_start(struct trace_gen *g, u64 seed, const struct trace_config *config, bool plain)
{
	*g = (struct trace_gen){ .rng = { seed }, .config = *config, .plain = plain };
}

static void next_scene(struct trace_gen *g)
{
	u32 dice = trace_rng_below(&g->rng, 100);

	g->queue_at = g->queue_end = 0;
	if (g->known_count == 0 || dice < 12)
		scene_map(g);
	else if (dice < 34)
		scene_use(g);
	else if (dice < 46)
		scene_edit(g);
	else
		scene_random(g);
}

// A CR3 without RAM behind it ends the trace.
static bool op_is_wild(const struct trace_gen *g, const struct trace_op *op)
{
	if (op->code != OP_CR3 || op->target == TRACE_TARGET_FAR)
		return false;
	return op->target >= TRACE_FRAMES || g->removed >> op->target & 1;
}

static void note_effect(struct trace_gen *g, const struct trace_op *op)
{
	if (op->code == OP_CR3 && op->target < TRACE_FRAMES)
		g->cr3[g->current] = op->target;
	else if (op->code == OP_VCPU)
		g->current = op->vcpu % g->config.vcpus;
	else if (op->code == OP_REMOVE)
		g->removed |= 1u << op->frame;
	else if (op->code == OP_RENEW)
		g->removed &= ~(1u << op->frame);
}

// Should this op be left out?
static bool unwanted(struct trace_gen *g, const struct trace_op *op)
{
	if (g->plain && trace_op_class((enum trace_code)op->code) & OP_NOT_METAL)
		return true;
	return op_is_wild(g, op) && (g->plain || chance(&g->rng, 98));
}

void trace_gen_next(struct trace_gen *g, struct trace_op *op)
{
	do {
		if (g->queue_at == g->queue_end)
			next_scene(g);
		*op = g->queue[g->queue_at++];
	} while (unwanted(g, op));
	if (g->plain)
		op->fail_nth = op->race_nth = 0;
	else if (!op->fail_nth && !op->race_nth)
		random_attributes(&g->rng, &g->config, op);
	note_effect(g, op);
}
