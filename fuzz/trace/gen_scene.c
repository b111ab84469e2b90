// SPDX-License-Identifier: GPL-2.0-or-later
// Seeded traces.
//
// Parts: chains of tables; storing links; accesses; scenes; the generator.
//
// Uniformly random entries almost never form a walk of present levels. The generator therefore works in scenes of a
// few ops: build a chain root -> ... -> page, load it, use it, edit one of its links and use it again, open a window
// through which a table is data, visit another paging mode; those of gen_manage.c besides. Frames keep to a role most of
// the time and break it often enough that tables alias each other, map themselves, and get written as data. A third of the
// ops are single random ones, to spoil the plan.
//
// Before most accesses it looks at its picture of the guest and mends what would make them fault. The rest is left as
// the dice fell: a bit more than half of all accesses go through.
#include "gen_scene.h"

#define PRESENT UINT64_C(1)
#define WRITE UINT64_C(2)
#define USER UINT64_C(4)
#define LARGE UINT64_C(0x80)
#define ALL_RIGHTS (PRESENT | WRITE | USER)

static bool chance(struct trace_gen *g, u32 percent)
{
	return trace_rng_chance(&g->rng, percent);
}

static u32 below(struct trace_gen *g, u32 n)
{
	return trace_rng_below(&g->rng, n);
}

static enum trace_mode home(const struct trace_gen *g)
{
	return (enum trace_mode)g->config.kind;
}

static u8 root_of(const struct trace_gen *g)
{
	return g->picture.cr3[g->picture.current];
}

// A CR3 without RAM behind it ends the trace.
static bool op_is_wild(const struct trace_gen *g, const struct trace_op *op)
{
	if (op->code == OP_VISIT)
		return g->picture.removed >> op->frame & 1;
	if (op->code != OP_CR3 || (op->target == TRACE_TARGET_FAR && op->mode == TRACE_MODE_64))
		return false;
	if (trace_root_is_high(op->target) && op->mode != TRACE_MODE_64)
		return g->picture.removed >> (op->target - TRACE_TARGET_COUNT) & 1;
	return op->target >= TRACE_FRAMES || g->picture.removed >> op->target & 1;
}

static bool unwanted(struct trace_gen *g, const struct trace_op *op)
{
	if (g->plain && trace_op_class((enum trace_code)op->code) & OP_NOT_METAL)
		return true;
	return op_is_wild(g, op) && (g->plain || chance(g, 98));
}

// Every op of a scene comes through here.
void gen_push(struct trace_gen *g, struct trace_op op)
{
	if (op.code != OP_VISIT)
		op.mode = (u8)home(g);
	trace_normalise(&op);
	if (g->queue_end == GEN_QUEUE || unwanted(g, &op))
		return;
	if (g->plain)
		op.fail_nth = op.race_nth = 0;
	else if (!op.fail_nth && !op.race_nth)
		trace_random_attributes(&g->rng, &g->config, &op);
	picture_apply(&g->picture, &op);
	g->queue[g->queue_end++] = op;
}

struct trace_op gen_random_op(struct trace_gen *g, u8 code)
{
	struct trace_op op = { .mode = (u8)home(g), .code = code };

	trace_random_args(&g->rng, &g->config, &op);
	return op;
}

// ---- chains of tables -------------------------------------------------------------
// Roots first, then a few frames for each level below, the rest is data: mostly.
static u8 role_frame(struct trace_gen *g, enum trace_mode mode, u32 depth)
{
	u32 levels = trace_modes[mode].va_parts - 1u, each = levels == 2 ? 5 : 3;

	if (chance(g, depth == levels ? 30 : 12))
		return (u8)below(g, TRACE_FRAMES);
	return (u8)(each * depth + below(g, depth == levels ? TRACE_FRAMES - each * levels : each));
}

static bool index_settable(enum trace_mode mode, u32 index)
{
	const struct trace_op op = { .mode = (u8)mode, .code = OP_PTE };
	u32 raw;

	return trace_arg_encode(&op, &trace_ops[OP_PTE].arg[1], index, &raw);
}

// Can a guest whose own mode is `own` store this entry of a table for `mode` with its entry ops?
static bool index_storable(enum trace_mode own, enum trace_mode mode, u32 index)
{
	u32 bytes = trace_entry_bytes(mode), own_bytes = trace_entry_bytes(own);

	return index * bytes % own_bytes == 0 && index_settable(own, index * bytes / own_bytes);
}

// PDPTEs 2 and 3 are entries 258 and 259 of the root's frame.
static u16 entry_index(enum trace_mode mode, u32 step, u32 index)
{
	return (u16)(mode == TRACE_MODE_PAE && step == 0 ? 256 + index : index);
}

// An address every index of which an op can store to.
static void random_place(struct trace_gen *g, struct trace_gen_chain *c)
{
	const struct trace_op page = { .mode = c->mode, .code = OP_EXEC };
	const struct trace_mode_info *mode = &trace_modes[c->mode];

	for (u32 tries = 0; tries < 64; tries++) {
		u32 i;

		c->va = trace_arg_decode(&page, &trace_ops[OP_EXEC].arg[0], (u32)trace_rng_next(&g->rng) & 0xffff);
		for (i = 0; i < c->levels; i++) {
			c->index[i] = entry_index((enum trace_mode)c->mode, i,
						  (u32)(c->va >> mode->va[i].shift & mode->va[i].mask));
			if (!index_storable(home(g), (enum trace_mode)c->mode, c->index[i]))
				break;
		}
		if (i == c->levels)
			return;
	}
}

// Percentages of chains that end in a large page: of the size of a level-1 entry, of a level-2 entry.
static u8 levels_of_chain(struct trace_gen *g, enum trace_mode mode)
{
	u32 levels = trace_modes[mode].va_parts - 1u, dice = below(g, 100);

	if (mode == TRACE_MODE_64 && dice < 9)
		return (u8)(levels - 2);
	return (u8)(levels - (dice < 27 ? 1 : 0));
}

static struct trace_gen_chain new_chain(struct trace_gen *g, enum trace_mode mode)
{
	u8 levels = levels_of_chain(g, mode), root = root_of(g);
	struct trace_gen_chain c = { .mode = (u8)mode, .levels = levels };

	c.large = levels < trace_modes[mode].va_parts - 1u;
	random_place(g, &c);
	c.root = mode == home(g) && root != PICTURE_NO_ROOT && chance(g, 65) ? root : role_frame(g, mode, 0);
	c.table[0] = c.root;
	for (u32 i = 1; i < levels; i++) // now and then a table is its own child
		c.table[i] = chance(g, 6) ? c.table[i - 1] : role_frame(g, mode, i);
	c.leaf = role_frame(g, mode, trace_modes[mode].va_parts - 1u);
	if (c.large && chance(g, 85)) // only f0 and the holes are aligned for a large page
		c.leaf = chance(g, 75) ? 0 : chance(g, 50) ? TRACE_TARGET_HOLE0 : TRACE_TARGET_HOLE1;
	else if (chance(g, 4))
		c.leaf = (u8)below(g, TRACE_TARGET_COUNT);
	return c;
}

static void remember(struct trace_gen_chains *list, const struct trace_gen_chain *c)
{
	list->chain[list->next++ % GEN_KNOWN] = *c;
	if (list->count < GEN_KNOWN)
		list->count++;
}

// A chain that was built before, if possible one under the root that is loaded.
const struct trace_gen_chain *gen_pick_chain(struct trace_gen *g)
{
	const struct trace_gen_chain *c = NULL;

	for (u32 i = 0; i < 6; i++) {
		c = &g->known.chain[below(g, g->known.count)];
		if (c->root == root_of(g))
			break;
	}
	return c;
}

// ---- storing links -------------------------------------------------------------
static u8 link_target(const struct trace_gen_chain *c, u32 step)
{
	return step + 1u == c->levels ? c->leaf : c->table[step + 1];
}

// The flags that a link should have for everything to be allowed below it.
u64 gen_link_full(const struct trace_gen_chain *c, u32 step)
{
	if (c->mode == TRACE_MODE_PAE && step == 0)
		return PRESENT;
	return ALL_RIGHTS | (c->large && step + 1u == c->levels ? LARGE : 0);
}

static u64 link_flags(struct trace_gen *g, const struct trace_gen_chain *c, u32 step)
{
	u64 full = gen_link_full(c, step);

	if (chance(g, c->mode == TRACE_MODE_PAE && step == 0 ? 97 : 80))
		return full;
	return trace_random_flags(&g->rng, home(g)) | PRESENT | (full & LARGE);
}

// One link by any of the ops that store entries: whole, as two halves, by compare and exchange, without paging.
void gen_push_link(struct trace_gen *g, const struct trace_gen_chain *c, u32 step, u64 flags)
{
	u32 index = c->index[step] * trace_entry_bytes((enum trace_mode)c->mode) / trace_entry_bytes(home(g));
	struct trace_op op = { .code = OP_PTE, .frame = c->table[step], .index = (u16)index, .flags = flags,
			       .target = link_target(c, step) };
	u32 dice = below(g, 100);

	if (dice < 3) {
		op.code = OP_PHYS;
	} else if (dice < 6) {
		op.code = OP_REAL;
	} else if (dice < 16) {
		op.code = OP_HALF;
		op.on = dice < 14; // the usual order: what makes it present comes last
		gen_push(g, op);
		op.on = !op.on;
	} else if (dice < 20 && home(g) != TRACE_MODE_64) {
		op.code = OP_CAS;
		op.on = true;
		op.bytes = (u8)trace_entry_bytes(home(g));
	}
	gen_push(g, op);
}

static void push_root(struct trace_gen *g, u8 root)
{
	gen_push(g, (struct trace_op){ .code = root == root_of(g) ? OP_RELOAD : OP_CR3, .target = root });
}

static u64 entry_of_link(struct trace_gen *g, const struct trace_gen_chain *c, u32 step)
{
	return picture_entry(&g->picture, (enum trace_mode)c->mode, c->table[step], c->index[step]);
}

// What a chain's links are by now, brought back to what they were meant to be.
static void push_mend(struct trace_gen *g, const struct trace_gen_chain *c)
{
	for (u32 i = 0; i < c->levels; i++) {
		struct trace_op want = { .mode = c->mode, .target = link_target(c, i), .flags = gen_link_full(c, i) };
		u64 ignored = c->mode == TRACE_MODE_PAE && i == 0 ? 0xe18 : 0xf78;

		if (g->picture.foreign >> c->table[i] & 1)
			gen_push(g, (struct trace_op){ .code = OP_FOREIGN, .frame = c->table[i], .what = GIFT_NONE });
		if (g->picture.removed >> c->table[i] & 1)
			gen_push(g, (struct trace_op){ .code = OP_RENEW, .frame = c->table[i] });
		if (g->picture.read_only >> c->table[i] & 1 && chance(g, 80))
			gen_push(g, (struct trace_op){ .code = OP_RETYPE, .frame = c->table[i], .what = TYPE_RW });
		if ((entry_of_link(g, c, i) ^ trace_entry(&want)) & ~ignored)
			gen_push_link(g, c, i, want.flags);
	}
	if (c->mode != home(g))
		return;
	if (c->root != root_of(g) || picture_root_is_old(&g->picture))
		push_root(g, c->root);
}

// ---- accesses -------------------------------------------------------------
// Let the op ask for what it would be given: another privilege, AC, an offset inside the page, fewer pages.
static void adapt(struct trace_gen *g, struct trace_op *op)
{
	static const u16 inside[] = { 0, 8, 0x10, 0x40, 0x7f8, 0x810, 0xff0 };
	const struct trace_op drawn = *op;

	for (u32 round = 0; round < 3; round++) {
		if (round == 1 && op->code != OP_EXEC && op->code != OP_SWEEP)
			op->va = (op->va & ~(u64)(FRAME_BYTES - 1)) | inside[below(g, ARRAY_LEN(inside))];
		if (round == 2 && op->code == OP_SWEEP)
			op->count = 1;
		trace_normalise(op);
		if (op->code == OP_VISIT) {
			if (picture_allows(&g->picture, op))
				return;
			continue;
		}
		for (u32 how = 0; how < 4; how++) {
			op->cpl = (how & 1) != (drawn.cpl == 3) ? 3 : 0;
			op->ac = drawn.ac || how >> 1;
			if (picture_allows(&g->picture, op))
				return;
		}
	}
	*op = drawn;
}

// Control bits that forbid what all rights allow.
static void push_controls(struct trace_gen *g)
{
	static const struct {
		u8 ctl;
		bool on;
	} usual[] = { { CTL_SMAP, false }, { CTL_SMEP, false }, { CTL_NXE, true } };
	bool *ctl = g->picture.ctl;

	for (u32 i = 0; i < ARRAY_LEN(usual); i++)
		if (ctl[usual[i].ctl] != usual[i].on && chance(g, 15))
			gen_push(g, (struct trace_op){ .code = OP_CTL, .ctl = usual[i].ctl, .on = usual[i].on });
	if (home(g) == TRACE_MODE_32 && !ctl[CTL_PSE] && chance(g, 60))
		gen_push(g, (struct trace_op){ .code = OP_CTL, .ctl = CTL_PSE, .on = true });
}

// An access somewhere in the last page of a chain; mend: percentage of those that would fault to be made good.
static void push_access(struct trace_gen *g, const struct trace_gen_chain *c, struct trace_op op, u32 mend)
{
	op.va = c->va | (op.va & (FRAME_BYTES - 1));
	trace_normalise(&op);
	if (!picture_allows(&g->picture, &op) && chance(g, mend)) {
		adapt(g, &op);
		if (!picture_allows(&g->picture, &op)) {
			push_mend(g, c);
			push_controls(g);
			adapt(g, &op);
		}
	}
	gen_push(g, op);
}

void gen_push_use(struct trace_gen *g, const struct trace_gen_chain *c, u32 mend)
{
	static const u8 uses[] = { OP_READ, OP_READ, OP_READ,  OP_WRITE, OP_WRITE, OP_WRITE,
				   OP_SET,  OP_EXEC, OP_SWEEP, OP_PUSH,  OP_ALTER, OP_ALTER };

	push_access(g, c, gen_random_op(g, uses[below(g, ARRAY_LEN(uses))]), mend);
}

// ---- scenes -------------------------------------------------------------
static void push_links(struct trace_gen *g, const struct trace_gen_chain *c)
{
	for (u32 i = 0; i < c->levels; i++)
		gen_push_link(g, c, i, link_flags(g, c, i));
}

static void scene_map(struct trace_gen *g)
{
	struct trace_gen_chain c = new_chain(g, home(g));
	bool load_first = chance(g, 30);

	if (load_first && c.root != root_of(g))
		push_root(g, c.root);
	push_links(g, &c);
	if ((c.root != root_of(g) || picture_root_is_old(&g->picture)) && chance(g, 85))
		push_root(g, c.root);
	for (u32 n = 1 + below(g, 2); n; n--)
		gen_push_use(g, &c, 45);
	remember(&g->known, &c);
}

static void scene_use(struct trace_gen *g)
{
	const struct trace_gen_chain *c = gen_pick_chain(g);

	if (c->root != root_of(g) && chance(g, 60))
		push_root(g, c->root);
	gen_push_use(g, c, 55);
}

// Neighbours of a chain's last entry: several pages in a row, for sweeps, strings and what crosses a page.
static void scene_run(struct trace_gen *g)
{
	struct trace_gen_chain c = *gen_pick_chain(g);
	u32 shift = trace_modes[c.mode].va[c.levels - 1].shift, n = 2 + below(g, 4), first = c.index[c.levels - 1];
	struct trace_op op;

	if (first + n > 8 || (home(g) == TRACE_MODE_PAE && c.levels == 1))
		return;
	push_mend(g, &c);
	for (u32 i = 1; i < n; i++) {
		c.index[c.levels - 1] = (u16)(first + i);
		if (chance(g, 70) && c.leaf < TRACE_FRAMES)
			c.leaf = (u8)((c.leaf + 1) % TRACE_FRAMES);
		gen_push_link(g, &c, c.levels - 1u, link_flags(g, &c, c.levels - 1u));
	}
	c.va += chance(g, 50) ? 0 : UINT64_C(1) << shift;
	op = gen_random_op(g, chance(g, 40) ? OP_SWEEP : chance(g, 50) ? OP_ALTER : OP_WRITE);
	if (op.code == OP_SWEEP)
		op.count = (u16)(1 + below(g, n));
	else
		op.va = 0xff0 | (op.va & 15);
	if (op.code == OP_ALTER && chance(g, 50))
		op.insn = chance(g, 50) ? INS_REP_STOS : INS_REP_MOVS;
	push_access(g, &c, op, 60);
}

// Change one link, perhaps tell the TLB, and look.
static void scene_edit(struct trace_gen *g)
{
	static const u8 drops[] = { OP_INVLPG, OP_INVLPG, OP_RELOAD, OP_FLUSH };
	const struct trace_gen_chain c = *gen_pick_chain(g);
	u32 step = below(g, c.levels);
	struct trace_op op = gen_random_op(g, chance(g, 75) ? OP_PTE : chance(g, 50) ? OP_HALF : OP_CAS);

	op.frame = c.table[step];
	op.index = c.index[step];
	if (c.mode == TRACE_MODE_PAE && step == 0)
		op.flags = chance(g, 97) ? op.flags & PRESENT : op.flags;
	if (chance(g, 60))
		op.target = link_target(&c, step);
	if (c.large && step + 1u == c.levels && chance(g, 70))
		op.flags |= LARGE;
	gen_push(g, op);
	if (picture_root_is_old(&g->picture) && chance(g, 50))
		push_root(g, root_of(g));
	if (!g->config.flush_auto && chance(g, 60)) {
		struct trace_op drop = { .code = drops[below(g, ARRAY_LEN(drops))] };

		if (drop.code == OP_INVLPG)
			drop.va = c.va;
		gen_push(g, drop);
	}
	gen_push_use(g, &c, 25);
}

// A second chain whose page is a table of the first: entries are read and changed through it, by all kinds of
// instructions, as an operating system does.
static void scene_window(struct trace_gen *g)
{
	static const u8 codes[] = { OP_SET, OP_SET, OP_ALTER, OP_ALTER, OP_ALTER, OP_READ, OP_WRITE, OP_PUSH };
	const struct trace_gen_chain seen = *gen_pick_chain(g);
	u32 step = below(g, seen.levels), entry_bytes = trace_entry_bytes(home(g)), at = seen.index[step] * entry_bytes;
	struct trace_gen_chain c = new_chain(g, home(g));

	if (c.large)
		return;
	c.root = c.table[0] = seen.root;
	c.leaf = seen.table[step];
	push_mend(g, &c);
	remember(&g->known, &c);
	for (u32 n = 1 + below(g, 3); n; n--) {
		struct trace_op op = gen_random_op(g, codes[below(g, ARRAY_LEN(codes))]);

		if (chance(g, 70))
			op.va = at;
		if (op.bytes && chance(g, 60))
			op.bytes = (u8)entry_bytes;
		if (chance(g, 50)) {
			op.target = link_target(&seen, step);
			op.flags = gen_link_full(&seen, step) ^
				   (chance(g, 50) ? trace_random_flags(&g->rng, home(g)) & ~PRESENT : 0);
		}
		push_access(g, &c, op, 65);
		if (chance(g, 50))
			gen_push_use(g, &seen, 30);
	}
}

// Tables for another mode, and an access through them.
static void scene_visit(struct trace_gen *g)
{
	enum trace_mode mode = (enum trace_mode)((home(g) + 1 + below(g, TRACE_MODE_COUNT)) % TRACE_MODE_COUNT);
	struct trace_op op = gen_random_op(g, OP_VISIT);
	struct trace_gen_chain c;

	if (g->visits.count && chance(g, 50)) {
		c = g->visits.chain[below(g, g->visits.count)];
	} else {
		c = chance(g, 30) && g->known.count ? *gen_pick_chain(g) : new_chain(g, mode);
		push_links(g, &c);
		remember(&g->visits, &c);
	}
	op.mode = c.mode;
	op.frame = c.root;
	trace_random_arg(&g->rng, &g->config, &op, &trace_ops[OP_VISIT].arg[2]);
	push_access(g, &c, op, 55);
}

static void scene_random(struct trace_gen *g)
{
	struct trace_op op;

	trace_random_op(&g->rng, &g->config, &op);
	// An address out of the blue is hardly ever mapped.
	if (op.va && op.code != OP_VISIT && g->known.count && chance(g, 75))
		push_access(g, gen_pick_chain(g), op, 30);
	else
		gen_push(g, op);
}

// ---- the generator -------------------------------------------------------------
const char *const trace_focus_names[FOCUS_COUNT] = { "shadow", "control", "migrate", "p2m", "smp" };

void trace_gen_start(struct trace_gen *g, u64 seed, const struct trace_config *config, bool plain)
{
	*g = (struct trace_gen){ .rng = { seed }, .config = *config, .plain = plain };
	picture_start(&g->picture, config);
	if (plain)
		g->before = g->picture;
}

static void next_scene(struct trace_gen *g)
{
	static const struct {
		void (*scene)(struct trace_gen *g);
		u8 percent[FOCUS_COUNT];
	} scenes[] = {
		{ scene_map, { 9, 9, 9, 9, 9 } },
		{ scene_use, { 23, 18, 14, 18, 18 } },
		{ scene_run, { 5, 4, 4, 4, 3 } },
		{ scene_edit, { 11, 8, 9, 9, 9 } },
		{ scene_window, { 7, 5, 7, 7, 5 } },
		{ scene_visit, { 4, 3, 3, 3, 2 } },
		{ scene_random, { 32, 22, 22, 22, 22 } },
		{ scene_ask, { 1, 12, 1, 1, 1 } },
		{ scene_watch, { 2, 15, 4, 2, 2 } },
		{ scene_migrate, { 1, 1, 22, 1, 1 } },
		{ scene_physmap, { 4, 2, 4, 23, 2 } },
		{ scene_share, { 1, 1, 1, 1, 26 } },
	};
	u32 dice = below(g, 100), i = 0;

	if (g->plain)
		g->picture = g->before;
	g->queue_at = g->queue_end = 0;
	while (dice >= scenes[i].percent[g->focus])
		dice -= scenes[i++].percent[g->focus];
	if (g->known.count == 0)
		scene_map(g);
	else
		scenes[i].scene(g);
}

void trace_gen_next(struct trace_gen *g, struct trace_op *op)
{
	if (g->pending)
		picture_apply(&g->before, &g->queue[g->queue_at - 1]);
	while (g->queue_at == g->queue_end)
		next_scene(g);
	*op = g->queue[g->queue_at++];
	g->pending = g->plain;
}

// The frame that the op would have made a table, TRACE_FRAMES if none.
static u32 new_table(struct trace_gen *g, const struct trace_op *op)
{
	const struct trace_picture *p = &g->before;
	u32 root = p->cr3[p->current];

	switch (op->code) {
	case OP_RELOAD:
	case OP_PHYS:
	case OP_REAL:
		for (u32 i = 258; op->mode == TRACE_MODE_PAE && root != PICTURE_NO_ROOT && i < 260; i++) {
			u64 gfn = picture_entry(p, TRACE_MODE_PAE, root, i) >> FRAME_SHIFT;

			if (gfn - TRACE_F0_GFN < TRACE_FRAMES && below(g, 2))
				return (u32)(gfn - TRACE_F0_GFN);
		}
		return op->code == OP_RELOAD ? TRACE_FRAMES : op->target;
	case OP_PTE:
	case OP_HALF:
	case OP_CAS:
	case OP_SET:
	case OP_ALTER:
	case OP_CR3:
		return op->target;
	default:
		return TRACE_FRAMES;
	}
}

// What makes an op unwelcome is junk in a table, as a rule. Without it the same plan works next time.
void trace_gen_refuse(struct trace_gen *g)
{
	const struct trace_op *op = &g->queue[g->queue_at - 1];
	u32 frame = new_table(g, op);

	g->pending = false;
	g->queue_at = g->queue_end = 0;
	g->picture = g->before;
	if (frame < TRACE_FRAMES && chance(g, 70))
		gen_push(g, (struct trace_op){ .code = OP_ZERO, .frame = (u8)frame });
}

