// SPDX-License-Identifier: GPL-2.0-or-later
// The access test's space: which states there are, and how one becomes ops.
//
// Parts: the tables of each mode; values of entries; states; writing a state.
//
// One address leads through a table of each level to the data frame f4; entry `index` of frame `frame` is the one of
// that level. A second address, the twin, leaves the first at one level and comes back to the same table below, or to
// the same large page, with all rights:
//
//   mode 64:   f0[0] -> f1[0] -> f2[0] -> f3[4] -> f4      twin of level 1: f2[1] -> f3[4] -> f4
//   mode pae:         f0[258] -> f1[0] -> f2[4] -> f4      (PDPTE 2; a twin of it is PDPTE 3)
//   mode 32:                     f0[0] -> f1[4] -> f4
//
// Large pages start at f0, which lies at a boundary of 1 GiB: their page 4 is f4 too.
//
// States are, for every setting of the control bits: all pairs of values of levels 0 and 1; then for each level all
// values of its entry alone, with every bit that a trace knows. Each access of a state is done on entries as the state
// has them, then again on what the first one left behind, cached or set; and once more, on entries as the state has
// them, after the twin's address was used in the same way.
#include "access.h"

#include <stdlib.h>

#define DATA 4 // frame and index in the last table
#define OFFSET 8

#define P BIT(0)
#define W BIT(1)
#define U BIT(2)
#define A BIT(5)
#define D BIT(6)
#define PS BIT(7)
#define NX BIT(63)
#define R51 BIT(51)
#define PATL BIT(12)
#define P36 BIT(13)
#define R21 BIT(21)
#define PERMISSIVE (P | W | U | A | D)

// ---- the tables of each mode ----------------------------------------------------------------------------
struct entry_place {
	u8 frame;
	u16 index;
	u64 va; // of a twin: the address that leads through it
};

static const struct layout {
	u64 va;
	u8 top;
	u8 leafs;      // highest level with large pages
	bool latched;  // the top level is read when CR3 is written, and has no rights
	u32 control;   // mask of control bits that are varied
	u32 start;     // control bits of a fresh guest
	u64 bits[2];   // entry bits of the product, levels 0 and 1
	u64 high;      // further bits of level 1 for large pages
	struct entry_place level[ACCESS_LEVELS], twin[ACCESS_LEVELS];
} layouts[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = {
		.va = DATA << 12, .top = 3, .leafs = 2, .control = 1 << CTL_WP | 1 << CTL_NXE | 1 << CTL_SMEP | 1 << CTL_SMAP,
		.start = 1 << CTL_WP | 1 << CTL_NXE,
		.bits = { PERMISSIVE | PS | NX | R51, PERMISSIVE | PS | NX | R51 },
		.level = { { 3, DATA, 0 }, { 2, 0, 0 }, { 1, 0, 0 }, { 0, 0, 0 } },
		.twin = { { 0 }, { 2, 1, BIT(21) | DATA << 12 }, { 1, 1, BIT(30) | DATA << 12 }, { 0, 1, BIT(39) | DATA << 12 } },
	},
	[TRACE_MODE_PAE] = {
		.va = 2 * BIT(30) | DATA << 12, .top = 2, .leafs = 1, .latched = true,
		.control = 1 << CTL_WP | 1 << CTL_NXE | 1 << CTL_SMEP | 1 << CTL_SMAP,
		.start = 1 << CTL_WP | 1 << CTL_NXE,
		.bits = { PERMISSIVE | PS | NX | R51, PERMISSIVE | PS | NX | R51 },
		.level = { { 2, DATA, 0 }, { 1, 0, 0 }, { 0, 258, 0 } },
		.twin = { { 0 }, { 1, 1, 2 * BIT(30) | BIT(21) | DATA << 12 }, { 0, 259, 3 * BIT(30) | DATA << 12 } },
	},
	[TRACE_MODE_32] = {
		.va = DATA << 12, .top = 1, .leafs = 1,
		.control = 1 << CTL_WP | 1 << CTL_NXE | 1 << CTL_SMEP | 1 << CTL_SMAP | 1 << CTL_PSE,
		.start = 1 << CTL_WP | 1 << CTL_NXE | 1 << CTL_PSE,
		.bits = { PERMISSIVE | PS, PERMISSIVE | PS }, .high = PATL | P36 | R21,
		.level = { { 1, DATA, 0 }, { 0, 0, 0 } },
		.twin = { { 0 }, { 0, 1, BIT(22) | DATA << 12 } },
	},
};

static const struct layout *layout_of(const struct access_space *space)
{
	return &layouts[space->mode];
}

// The frame that a level's entry names, when it is no large page.
static u8 below(const struct layout *l, u32 level)
{
	return level ? l->level[level - 1].frame : DATA;
}

static struct access_entry permissive(const struct layout *l, u32 level)
{
	return (struct access_entry){ below(l, level), level == l->top && l->latched ? P : PERMISSIVE };
}

// The value n of the bits of a mask: bit k of n is the k-th bit that is set in the mask.
static u64 spread(u64 mask, u32 n)
{
	u64 value = 0;

	for (; mask; mask &= mask - 1, n >>= 1)
		if (n & 1)
			value |= mask & -mask;
	return value;
}

// ---- values of entries ----------------------------------------------------------------------------------
static void set_add(struct access_set *set, u8 target, u64 flags)
{
	if ((set->count & (set->count - 1)) == 0) {
		set->entry = realloc(set->entry, (set->count ? 2 * set->count : 1) * sizeof(*set->entry));
		if (!set->entry)
			abort();
	}
	set->entry[set->count++] = (struct access_entry){ target, flags };
}

// All combinations of the bits. A large page is aligned; with targets = 3 bit 12 (PAT) and bit 13 (reserved) are set in
// turn too: frames f1 and f2.
static void set_fill(struct access_set *set, const struct layout *l, u32 level, u64 bits, u8 targets)
{
	for (u32 n = 0; n < 1u << __builtin_popcountll(bits); n++) {
		u64 flags = spread(bits, n);
		bool large = level && level <= l->leafs && (flags & PS);

		if (!large && !(flags & l->high))
			set_add(set, below(l, level), flags);
		for (u8 target = 0; large && target < targets; target++)
			set_add(set, target, flags);
	}
}

static u64 all_flags(enum trace_mode mode, u32 level)
{
	u64 bits = 0;

	for (u32 i = 0; i < TRACE_FLAGS; i++)
		bits |= trace_modes[mode].flag[i].bit;
	return level ? bits : bits & ~layouts[mode].high; // in a 4 KiB entry those are address bits
}

// ---- states ---------------------------------------------------------------------------------------------
void access_space_make(struct access_space *space, enum trace_mode mode)
{
	const struct layout *l = &layouts[mode];

	*space = (struct access_space){ .mode = mode, .controls = 1u << __builtin_popcount(l->control) };
	set_fill(&space->product[0], l, 0, l->bits[0], 1);
	set_fill(&space->product[1], l, 1, l->bits[1] | l->high, 1);
	space->per_control = (u64)space->product[0].count * space->product[1].count;
	for (u32 level = 0; level <= l->top; level++) {
		set_fill(&space->own[level], l, level, all_flags(mode, level), l->high ? 1 : 3);
		space->per_control += space->own[level].count;
	}
	space->states = space->controls * space->per_control;
}

void access_space_free(struct access_space *space)
{
	for (u32 i = 0; i < 2; i++)
		free(space->product[i].entry);
	for (u32 i = 0; i < ACCESS_LEVELS; i++)
		free(space->own[i].entry);
	*space = (struct access_space){ .mode = space->mode };
}

// What a state wants: control bits, the entry of each level, and at which level the twin branches off.
struct state {
	u32 control;
	u32 twin_level;
	struct access_entry entry[ACCESS_LEVELS];
};

static void decode(const struct access_space *space, u64 number, struct state *s)
{
	const struct layout *l = layout_of(space);
	u32 setting = (u32)(number / space->per_control);
	u64 n = number % space->per_control, pairs = (u64)space->product[0].count * space->product[1].count;
	u32 level = 0;

	// One control bit changes from a setting to the next.
	*s = (struct state){ .control = (u32)spread(l->control, setting ^ setting >> 1), .twin_level = 1 };
	for (u32 i = 0; i <= l->top; i++)
		s->entry[i] = permissive(l, i);
	if (n < pairs) {
		s->entry[0] = space->product[0].entry[n % space->product[0].count];
		s->entry[1] = space->product[1].entry[n / space->product[0].count];
		return;
	}
	for (n -= pairs; n >= space->own[level].count; level++)
		n -= space->own[level].count;
	s->entry[level] = space->own[level].entry[n];
	s->twin_level = level ? level : 1;
}

// The same table or large page with all rights.
static struct access_entry twin_of(const struct layout *l, const struct state *s)
{
	u32 level = s->twin_level;
	struct access_entry entry = s->entry[level];

	if (level == l->top && l->latched)
		entry.flags = P;
	else
		entry.flags = PERMISSIVE | (level <= l->leafs ? entry.flags & (PS | (l->high & ~R21)) : 0);
	return entry;
}

// ---- writing a state ------------------------------------------------------------------------------------
void access_writer_start(struct access_writer *w, const struct access_space *space, const struct trace_config *config)
{
	const struct layout *l = layout_of(space);

	w->space = space;
	w->trace.count = 0;
	w->trace.config = *config;
	w->accesses = 0;
	w->control = l->start;
	for (u32 i = 0; i < ACCESS_PLACES; i++)
		w->place[i].known = w->place[i].touched = false;
}

static struct trace_op new_op(const struct access_writer *w, enum trace_code code)
{
	return (struct trace_op){ .mode = (u8)w->space->mode, .code = (u8)code };
}

static void write_control(struct access_writer *w, u32 want)
{
	for (u32 bit = 0; bit < CTL_COUNT; bit++) {
		struct trace_op op = new_op(w, OP_CTL);

		if (!((w->control ^ want) >> bit & 1))
			continue;
		op.ctl = (u8)bit;
		op.on = want >> bit & 1;
		trace_append(&w->trace, &op);
	}
	w->control = want;
}

// True: something was written.
static bool write_entry(struct access_writer *w, u32 place, const struct entry_place *at, struct access_entry want)
{
	struct trace_op op = new_op(w, OP_PTE);

	if (w->place[place].known && w->place[place].frame == at->frame && w->place[place].index == at->index &&
	    w->place[place].entry.target == want.target && w->place[place].entry.flags == want.flags)
		return false;
	op.frame = at->frame;
	op.index = at->index;
	op.target = want.target;
	op.flags = want.flags;
	trace_append(&w->trace, &op);
	w->place[place].known = true;
	w->place[place].frame = at->frame;
	w->place[place].index = at->index;
	w->place[place].entry = want;
	return true;
}

// Entries as the guest sees them: which bits did accesses set? Those with A and D have nothing to tell, unless all is
// asked.
static void look(struct access_writer *w, const struct state *s, bool all)
{
	const struct layout *l = layout_of(w->space);

	for (u32 level = 0; level <= l->top; level++) {
		struct trace_op op = new_op(w, OP_PEEK);
		u64 flags = s->entry[level].flags;
		bool walked = (flags & P) && (~flags & (A | D)) && !(l->latched && level == l->top);
		bool tells = all ? flags != permissive(l, level).flags : walked;

		if (!w->place[level].touched || !tells)
			continue;
		op.frame = l->level[level].frame;
		op.index = l->level[level].index;
		trace_append(&w->trace, &op);
		w->place[level].touched = false;
	}
}

// Bring memory to what the state wants. Nothing is written that is as it should be.
static void settle(struct access_writer *w, const struct state *s)
{
	const struct layout *l = layout_of(w->space);
	struct trace_op reload = new_op(w, OP_RELOAD);
	bool stale = false;

	for (u32 level = l->top + 1u; level-- > 0;)
		stale |= write_entry(w, level, &l->level[level], s->entry[level]) && level == l->top;
	stale |= write_entry(w, ACCESS_LEVELS, &l->twin[s->twin_level], twin_of(l, s)) && s->twin_level == l->top;
	if (stale && l->latched)
		trace_append(&w->trace, &reload);
}

// An access may have set A in an entry of this level that lacks it, and a store D in one that maps a page.
static void note_access(struct access_writer *w, u32 place, u32 level, bool store)
{
	const struct layout *l = layout_of(w->space);
	u64 flags = w->place[place].entry.flags;
	bool leaf = level == 0 || (level <= l->leafs && (flags & PS));

	w->place[place].touched = true;
	if (level == l->top && l->latched)
		return;
	if ((flags & P) && (!(flags & A) || (store && leaf && !(flags & D))))
		w->place[place].known = false;
}

static const struct kind {
	u8 code, cpl, ac;
} kinds[] = {
	{ OP_READ, 0, 0 },  { OP_READ, 0, 1 },  { OP_READ, 3, 0 },  { OP_READ, 3, 1 },
	{ OP_EXEC, 0, 0 },  { OP_EXEC, 0, 1 },  { OP_EXEC, 3, 0 },  { OP_EXEC, 3, 1 },
	{ OP_WRITE, 0, 0 }, { OP_WRITE, 0, 1 }, { OP_WRITE, 3, 0 }, { OP_WRITE, 3, 1 },
};

static void write_access(struct access_writer *w, const struct state *s, const struct kind *kind, u64 va)
{
	struct trace_op op = new_op(w, (enum trace_code)kind->code);
	const struct layout *l = layout_of(w->space);
	bool store = kind->code == OP_WRITE;

	op.cpl = kind->cpl;
	op.ac = kind->ac;
	op.va = kind->code == OP_EXEC ? va : va + OFFSET;
	op.bytes = kind->code == OP_EXEC ? 0 : 4;
	op.value = store ? 0x5a5a5a5a : 0;
	trace_append(&w->trace, &op);
	w->accesses++;
	for (u32 level = 0; level <= l->top; level++)
		note_access(w, level, level, store);
	note_access(w, ACCESS_LEVELS, s->twin_level, store);
}

void access_writer_add(struct access_writer *w, u64 number)
{
	const struct layout *l = layout_of(w->space);
	struct state s;

	decode(w->space, number, &s);
	write_control(w, s.control);
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++) {
		settle(w, &s);
		write_access(w, &s, &kinds[i], l->va);
		write_access(w, &s, &kinds[i], l->va);
		look(w, &s, false);
		settle(w, &s);
		write_access(w, &s, &kinds[i], l->twin[s.twin_level].va);
		write_access(w, &s, &kinds[i], l->va);
		look(w, &s, i + 1 == ARRAY_LEN(kinds));
	}
}
