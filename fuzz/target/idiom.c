// SPDX-License-Identifier: GPL-2.0-or-later
// Idioms: runs of ops that belong together.
//
// Parts: saying ops; a place: tables and an address that agree; idioms of every mode; idioms of the hypervisor; idioms of
// some modes; the entry.
//
// Why: a random op rarely reaches deep state. A mapping takes several stores that agree with each other and a CR3
// load, so the mutator writes such runs whole and lets coverage pick among them. They say nothing about any one bug:
// each is a thing that guests do.
//
// Cost: some dozens of random numbers. Not thread-safe.
#include "idiom.h"

#include <string.h>

static struct trace_rng *rng;
static struct trace_config *config;
static struct trace_op *idiom;
static u32 idiom_count;

static u32 below(u32 n)
{
	return trace_rng_below(rng, n);
}

static bool one_in(u32 n)
{
	return below(n) == 0;
}

// ---- saying ops -----------------------------------------------------------------------------------
#define P UINT64_C(1)
#define W UINT64_C(2)
#define U UINT64_C(4)
#define A UINT64_C(0x20)
#define D UINT64_C(0x40)
#define PS UINT64_C(0x80)
#define TABLE (P | W | U)

static enum trace_mode home(void)
{
	return (enum trace_mode)config->kind;
}

static void say(struct trace_op op)
{
	if (op.code != OP_VISIT)
		op.mode = (u8)home();
	trace_normalise(&op);
	if (idiom_count < IDIOM_OPS_MAX)
		idiom[idiom_count++] = op;
}

static struct trace_op random_op_of(u32 code)
{
	struct trace_op op = { .mode = (u8)home(), .code = (u8)code };

	trace_random_args(rng, config, &op);
	return op;
}

static void say_code(u32 code)
{
	say(random_op_of(code));
}

static void say_pte(u32 frame, u32 index, u32 target, u64 flags)
{
	say((struct trace_op){ .code = OP_PTE, .frame = (u8)frame, .index = (u16)index, .target = (u8)target,
			       .flags = flags });
}

static void say_cr3(u32 frame)
{
	say((struct trace_op){ .code = OP_CR3, .target = (u8)frame });
}

static void say_vcpu(u32 vcpu)
{
	say((struct trace_op){ .code = OP_VCPU, .vcpu = (u8)(vcpu % config->vcpus) });
}

// What was said last has a step that fails.
static void may_fail(void)
{
	if (idiom_count)
		idiom[idiom_count - 1].fail_nth = trace_random_nth(rng);
}

static void say_ctl(enum trace_ctl ctl, bool on)
{
	say((struct trace_op){ .code = OP_CTL, .ctl = (u8)ctl, .on = on });
}

// A load, store, fetch or entry store at va, at either privilege.
static void say_access(u64 va)
{
	static const u8 codes[] = { OP_READ, OP_WRITE, OP_WRITE, OP_SET, OP_EXEC, OP_PUSH, OP_ALTER };
	struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

	op.va = op.code == OP_EXEC ? va & ~UINT64_C(0xfff) : va;
	op.cpl = one_in(2) ? 3 : 0;
	say(op);
}

// ---- a place --------------------------------------------------------------------------------------
// Where an idiom works: a virtual address, the tables on its way, and what it maps.
static struct place {
	enum trace_mode mode;
	u32 top;      // level of the root
	u32 table[4]; // frame of the table of level k, 0 = last
	u32 index[4]; // entry there
	u32 leaf;
	u64 va;
} place;

static bool index_settable(u32 index)
{
	const struct trace_op op = { .mode = (u8)home(), .code = OP_PTE };
	u32 raw;

	return trace_arg_encode(&op, &trace_ops[OP_PTE].arg[1], index, &raw);
}

// Low indices mostly: two idioms are to meet.
static u32 pick_index(const struct trace_va_part *part)
{
	u32 n = 1u << part->bits, common = part->shift > FRAME_SHIFT ? 2 : n, index;

	do
		index = part->set[below(one_in(3) ? n : common)];
	while (part->mask > 3 && !index_settable(index));
	return index;
}

static void pick_place(void)
{
	const struct trace_mode_info *mode = &trace_modes[home()];
	u32 base = below(TRACE_FRAMES);

	place.mode = home();
	place.top = mode->va_parts - 2u;
	place.va = 0;
	for (u32 level = 0; level <= place.top; level++) {
		const struct trace_va_part *part = &mode->va[place.top - level];
		u32 index = pick_index(part);

		place.va |= (u64)index << part->shift;
		place.index[level] = place.mode == TRACE_MODE_PAE && level == 2 ? 256 + index : index;
		// now and then two levels share a frame
		place.table[level] = one_in(12) ? base : (base + place.top - level) % TRACE_FRAMES;
	}
	place.leaf = one_in(4) ? below(TRACE_TARGET_COUNT) : (base + place.top + 1 + below(3)) % TRACE_FRAMES;
	if (place.va & BIT(47))
		place.va |= ~(BIT(48) - 1);
}

static u32 root(void)
{
	return place.table[place.top];
}

// The table whose shadow is the vcpu's root: a PAE guest's CR3 names PDPTEs.
static u32 top_table(void)
{
	return place.mode == TRACE_MODE_PAE ? place.table[1] : root();
}

// A frame of the place: what it maps, or one of its tables.
static u32 any_frame(void)
{
	return one_in(2) ? place.leaf % TRACE_FRAMES : place.table[below(place.top + 1)];
}

// The entry behind the place's in its last table, and the page that it maps.
static u32 next_slot(void)
{
	return (place.index[0] + 1) & 7;
}

static u64 next_page(void)
{
	return (place.va & ~UINT64_C(0x7fff)) | (u64)next_slot() << FRAME_SHIFT;
}

// PDPTEs have no rights.
static u64 level_flags(u32 level, u64 flags)
{
	return place.mode == TRACE_MODE_PAE && level == 2 ? flags & P : flags;
}

static void say_link(u32 level, u32 target, u64 flags)
{
	say_pte(place.table[level], place.index[level], target, level_flags(level, flags));
}

static void say_chain(u32 down_to)
{
	for (u32 level = place.top; level > down_to; level--)
		say_link(level, place.table[level - 1], TABLE);
}

// After a change of the root: a PAE guest sees it only then.
static void say_reload(void)
{
	if (place.mode == TRACE_MODE_PAE)
		say((struct trace_op){ .code = OP_RELOAD });
}

// The lowest level but 0 whose entries can be large pages is 1 in every mode.
static bool has_level_2_pages(void)
{
	return place.mode == TRACE_MODE_64;
}

// ---- idioms of every mode ---------------------------------------------------------------------------
static void idiom_chain(void)
{
	say_chain(0);
	say_link(0, place.leaf, one_in(3) ? P | U : TABLE);
	say_cr3(root());
	say_access(place.va);
	say_access(place.va);
}

// One frame seen twice: as data through one entry, as a table through another.
static void idiom_alias(void)
{
	u32 table = place.table[below(place.top + 1)];

	idiom_chain();
	say_pte(place.table[0], next_slot(), table, TABLE);
	say((struct trace_op){ .code = OP_SET, .va = next_page(), .target = (u8)below(TRACE_TARGET_COUNT), .flags = TABLE });
	say_access(place.va);
}

// A table maps itself, and the guest writes its tables through that window.
static void idiom_recursive(void)
{
	const struct trace_mode_info *mode = &trace_modes[place.mode];
	u32 slot = below(2), self = top_table();
	u64 window = place.mode == TRACE_MODE_PAE ? place.va & ~(BIT(30) - 1) : 0;

	for (u32 i = place.mode == TRACE_MODE_PAE ? 1 : 0; i <= place.top; i++)
		window |= (u64)slot << mode->va[i].shift;
	say_chain(0);
	say_link(0, place.leaf, TABLE);
	say_pte(self, slot, self, one_in(3) ? P | W : TABLE);
	say_cr3(root());
	for (u32 n = 1 + below(3); n; n--) {
		struct trace_op op = random_op_of(one_in(2) ? OP_SET : one_in(2) ? OP_ALTER : OP_READ);

		op.va = window | (op.va & (FRAME_BYTES - 1));
		op.cpl = one_in(3) ? 3 : 0;
		if (one_in(2)) {
			op.target = (u8)below(TRACE_FRAMES);
			op.flags = TABLE;
		}
		say(op);
	}
	say_access(window);
	say_access(place.va);
}

// fork and exit: copy a table, take write access away, then clear a run of entries.
static void idiom_fork(void)
{
	u32 child = below(TRACE_FRAMES), n = 2 + below(6);

	idiom_chain();
	say((struct trace_op){ .code = OP_COPY, .frame = (u8)child, .from = (u8)place.table[0] });
	for (u32 i = 0; i < n; i++)
		say_pte(place.table[0], i, place.leaf, P | U);
	if (one_in(2))
		say_link(1, child, TABLE);
	say_access(place.va);
	for (u32 i = 0; i < n; i++)
		say_pte(one_in(2) ? child : place.table[0], i, 0, 0);
	if (one_in(2))
		say((struct trace_op){ .code = OP_ZERO, .frame = (u8)place.table[below(place.top + 1)] });
}

// Processes: two roots in turn, perhaps on two vcpus, that share their lower tables.
static void idiom_ping_pong(void)
{
	u32 other = (root() + 7) % TRACE_FRAMES, rounds = 2 + below(4);

	idiom_chain();
	say_pte(other, place.index[place.top], place.table[place.top - 1], level_flags(place.top, TABLE));
	for (u32 i = 0; i < rounds; i++) {
		if (one_in(2))
			say((struct trace_op){ .code = OP_VCPU, .vcpu = (u8)below(TRACE_VCPUS_MAX) });
		say_cr3(i & 1 ? root() : other);
		say_access(place.va);
	}
}

// A large page becomes a table and a large page again.
static void idiom_superpage(void)
{
	static const u8 large[] = { 0, TRACE_TARGET_HOLE0, TRACE_TARGET_HOLE1, 1 };
	u32 level = has_level_2_pages() ? 1 + below(2) : 1;

	say_chain(level);
	say_link(level, large[below(ARRAY_LEN(large))], TABLE | PS);
	say_cr3(root());
	say_access(place.va);
	if (place.mode == TRACE_MODE_32 && one_in(3)) // now PS means nothing, then it does again
		say_ctl(CTL_PSE, false);
	say_link(level, place.table[level - 1], TABLE);
	if (level == 2)
		say_link(1, place.table[0], TABLE);
	say_link(0, place.leaf, TABLE);
	say((struct trace_op){ .code = OP_INVLPG, .va = place.va });
	say_access(place.va);
	say_link(level, 0, TABLE | PS);
	say_access(place.va);
	if (place.mode == TRACE_MODE_32 && one_in(2)) {
		say_ctl(CTL_PSE, true);
		say_access(place.va);
	}
}

// Protection changes and what must be seen after each, with and without the flush between.
static void idiom_protect(void)
{
	idiom_chain();
	for (u32 i = 0, n = 2 + below(4); i < n; i++) {
		say_link(0, place.leaf, trace_random_flags(rng, place.mode));
		if (one_in(2))
			say((struct trace_op){ .code = OP_INVLPG, .va = place.va });
		if (one_in(4))
			say_code(OP_CTL);
		say_access(place.va);
	}
}

// Many tables in use, a small pool, and failures: reclaim works for its living.
static void idiom_pressure(void)
{
	for (u32 i = 0, n = 2 + below(3); i < n; i++) {
		pick_place();
		idiom_chain();
		if (one_in(2))
			may_fail();
	}
	for (u32 n = 1 + below(2); n; n--) {
		say_code(one_in(2) ? OP_POOL : one_in(2) ? OP_BLOW : OP_UNSHADOW);
		if (one_in(2))
			may_fail();
		say_access(place.va);
	}
}

// The hypervisor moves or takes away a frame that is mapped or is a table.
static void idiom_move(void)
{
	static const u8 codes[] = { OP_SWAP, OP_RENEW, OP_REMOVE, OP_UNSHADOW };
	struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

	idiom_chain();
	op.frame = (u8)(one_in(2) ? place.table[below(place.top)] : place.leaf % TRACE_FRAMES);
	if (place.mode != TRACE_MODE_64 && one_in(3)) { // or even the root, which CR3 names with its low half alone
		op.frame = (u8)root();
		say_cr3(TRACE_TARGET_COUNT + root());
	}
	say(op);
	say_access(place.va);
	if (op.code == OP_REMOVE) {
		say((struct trace_op){ .code = OP_RENEW, .frame = op.frame });
		say_access(place.va);
	}
}

// Another vcpu acts in the middle of a fault or of an emulated write, mostly on what that is about.
static void idiom_race(void)
{
	static const u8 codes[] = { OP_UNSHADOW, OP_CR3, OP_BLOW, OP_SWAP,   OP_RENEW,   OP_REMOVE,
				    OP_SET,      OP_ZERO, OP_ALTER, OP_RETYPE, OP_BALLOON, OP_CONTROL };

	u32 level = below(place.top), frame;

	if (config->vcpus < 2)
		config->vcpus = 2;
	idiom_chain();
	say_vcpu(1);
	say_cr3(root());
	if (one_in(2))
		say_access(place.va);
	else
		say_link(level, below(8), TABLE);
	idiom[idiom_count - 1].race_nth = trace_random_nth(rng);
	frame = one_in(2) ? place.table[level] : any_frame();
	if (one_in(2)) {
		say_link(below(place.top + 1), below(8), one_in(2) ? 0 : TABLE);
	} else {
		struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

		if (op.code == OP_ALTER)
			op.va = place.va;
		else if (op.code != OP_SET)
			op.frame = (u8)frame;
		say(op);
	}
	say_access(place.va);
}

// Processors under one root, each with the place in its TLB, while one of them needs tables that there may be no room for.
static void idiom_together(void)
{
	u32 shared = root(), top = top_table();
	u64 va = place.va;

	if (config->vcpus < 2)
		config->vcpus = 2;
	idiom_chain();
	for (u32 i = 0; i < config->vcpus; i++) {
		say_vcpu(i);
		say_cr3(shared);
		say_access(va);
	}
	for (u32 n = 1 + below(3); n; n--) {
		u32 level = one_in(2);

		if (!one_in(3)) { // tables that are new, or all of them again
			pick_place();
			place.table[place.mode == TRACE_MODE_PAE ? 1 : place.top] = top;
			place.table[place.top] = shared;
			say_chain(level);
			say_link(level, level ? one_in(2) ? 0 : TRACE_TARGET_HOLE0 : place.leaf, TABLE | (level ? PS : 0));
			if (one_in(2))
				say_reload();
			say_access(place.va);
		} else {
			say_cr3(shared);
		}
		if (!one_in(3))
			may_fail();
		say_access(va);
		say_vcpu(below(config->vcpus));
		say_access(one_in(2) ? va : place.va);
	}
}

// A root loses its shadow while it is in use, and the guest goes on: changes the way below it, flushes or does not, and
// looks at the place and at the page behind it, where nothing is.
static void idiom_detach(void)
{
	static const u8 drops[] = { OP_INVLPG, OP_RELOAD, OP_FLUSH };

	if (one_in(2) && config->vcpus < 2)
		config->vcpus = 2;
	idiom_chain();
	say_access(next_page());
	for (u32 n = 2 + below(3); n; n--) {
		u32 level = one_in(2) ? place.top : below(place.top + 1);
		struct trace_op drop = { .code = drops[below(ARRAY_LEN(drops))] };

		if (one_in(2)) {
			say_vcpu(below(config->vcpus));
			say_cr3(root());
		}
		if (!one_in(4))
			say((struct trace_op){ .code = OP_UNSHADOW, .frame = (u8)top_table() });
		say_access(one_in(2) ? place.va : next_page());
		say_link(level, level && one_in(2) ? place.table[level - 1] : below(TRACE_FRAMES), one_in(2) ? TABLE : P | U);
		say_access(one_in(2) ? place.va : next_page());
		if (drop.code == OP_INVLPG)
			drop.va = place.va;
		if (one_in(3))
			say(drop);
	}
}

// A table mapped as data, and a burst of stores to it by one address: what emulation of several instructions, and a
// remembered walk, are for. Now and then what the burst goes through changes in its middle.
static void idiom_burst(void)
{
	u32 level = below(place.top), slot = next_slot(), bytes = trace_entry_bytes(place.mode);
	u64 window = next_page();
	u32 at = place.index[level] * bytes;

	idiom_chain();
	say_pte(place.table[0], slot, place.table[level], TABLE);
	for (u32 n = 2 + below(6); n; n--) {
		struct trace_op op = random_op_of(one_in(3) ? OP_SET : OP_ALTER);

		op.va = window | (one_in(3) ? op.va & (FRAME_BYTES - 1) : at);
		op.cpl = one_in(6) ? 3 : 0;
		if (!one_in(3)) {
			op.target = (u8)(level ? place.table[level - 1] : place.leaf);
			op.flags = one_in(2) ? TABLE : trace_random_flags(rng, place.mode);
		}
		say(op);
		if (one_in(5))
			say_access(place.va);
		if (one_in(8))
			say_pte(place.table[0], slot, one_in(2) ? below(TRACE_FRAMES) : place.table[level],
				one_in(2) ? P | U : TABLE);
	}
	say_access(place.va);
}

// An entry in two halves, in either order, with a look between them.
static void idiom_halves(void)
{
	u32 level = below(place.top + 1);

	idiom_chain();
	for (u32 n = 1 + below(3); n; n--) {
		struct trace_op op = {
			.code = one_in(4) ? OP_REAL : OP_HALF,
			.frame = (u8)place.table[level],
			.index = (u16)place.index[level],
			.target = (u8)(one_in(2) || !level ? below(TRACE_TARGET_COUNT) : place.table[level - 1]),
			.flags = level_flags(level, one_in(2) ? TABLE : trace_random_flags(rng, place.mode))
		};

		op.on = op.code == OP_HALF && one_in(2);
		say(op);
		if (one_in(2))
			say_access(place.va);
		op.on = op.code == OP_HALF && !op.on;
		say(op);
		if (level == place.top)
			say_reload();
		say_access(place.va);
	}
}

// Unpaged, another mode, and back; the tables of the guest's own mode have to be as they were.
static void idiom_visit(void)
{
	struct trace_op op = random_op_of(OP_VISIT);

	idiom_chain();
	op.frame = (u8)(one_in(3) ? op.frame : root());
	say(op);
	say_access(place.va);
	op.frame = (u8)place.table[below(place.top + 1)];
	op.on = !op.on;
	say(op);
	say_access(place.va);
}

// ---- idioms of the hypervisor -------------------------------------------------------------------------
static void say_ask(enum trace_ask what, u32 count)
{
	say((struct trace_op){ .code = OP_CONTROL, .what = (u8)what, .count = (u16)count,
			       .who = (u8)(one_in(3) ? WHO_FROM + below(TRACE_FROMS) : WHO_OPERATOR) });
}

static void say_migrate(enum trace_step step)
{
	say((struct trace_op){ .code = OP_MIGRATE, .what = (u8)step });
}

static void say_frame(enum trace_code code, u32 frame, u32 other)
{
	say((struct trace_op){ .code = (u8)code, .frame = (u8)frame, .from = (u8)(other % TRACE_FRAMES) });
}

static void say_type(u32 frame, enum trace_type type)
{
	say((struct trace_op){ .code = OP_RETYPE, .frame = (u8)frame, .what = (u8)type });
}

// Memory and tables change, in one of the ways in which a hypervisor has to notice.
static void say_change(void)
{
	if (one_in(3))
		say_link(below(place.top + 1), place.leaf, TABLE);
	else
		say_access(place.va | (one_in(4) ? 0xffc : 0));
}

// More roots and tables than the pool has room for: what reclaim takes is needed again. Entries may have A and D, so that a
// first store to a frame comes late.
static void idiom_crowd(void)
{
	u32 level = has_level_2_pages() ? 2 : 1, first = below(TRACE_FRAMES);
	const struct place shared = place;
	u64 flags = one_in(2) ? TABLE : TABLE | A | D;

	if (one_in(2))
		config->pool_pages = TRACE_POOL_MIN + below(120);
	if (one_in(2))
		say_ask(ASK_LOGDIRTY, 0);
	for (u32 n = 4 + below(12); n; n--)
		say_cr3((first + n) % TRACE_FRAMES);
	say_cr3(root());
	for (u32 n = 4 + below(8); n; n--) {
		bool large = one_in(2);

		pick_place();
		memcpy(place.table, shared.table, sizeof(place.table));
		place.table[0] = below(TRACE_FRAMES);
		for (u32 i = place.top; i > (large ? level : 0); i--)
			say_link(i, place.table[i - 1], flags);
		if (large)
			say_link(level, one_in(2) ? TRACE_TARGET_HOLE1 : 0, flags | PS);
		else
			say_link(0, below(TRACE_FRAMES), flags);
		say_access(place.va);
	}
	say_ask(ASK_CLEAN, 16);
}

// Log-dirty: changes between peeks and cleans of odd sizes.
static void idiom_watch(void)
{
	static const u16 counts[] = { 16, 16, 16, 1, 5, 15, 17, 64, 0, TRACE_ASK_MAX };

	idiom_chain();
	say_ask(ASK_LOGDIRTY, 0);
	for (u32 n = 1 + below(4); n; n--) {
		say_change();
		if (one_in(3) && idiom_count)
			idiom[idiom_count - 1].race_nth = config->vcpus > 1 ? trace_random_nth(rng) : 0;
		say_ask(one_in(4) ? ASK_PEEK : ASK_CLEAN, counts[below(ARRAY_LEN(counts))]);
	}
	if (one_in(2))
		say_frame(one_in(2) ? OP_RENEW : OP_MOVE, place.leaf % TRACE_FRAMES, below(TRACE_FRAMES));
	say_change();
	say_ask(ASK_CLEAN, 16);
	say_ask(ASK_PEEK, 16);
	if (one_in(2))
		say_ask(ASK_LOGDIRTY_OFF, 0);
}

// What comes next runs inside the last op.
static void race_last(u32 points)
{
	if (idiom_count && config->vcpus > 1)
		idiom[idiom_count - 1].race_nth = (u8)(1 + below(points));
}

// A migration with changes before, between and after its rounds.
static void idiom_migrate(void)
{
	idiom_chain();
	if (one_in(2)) { // what races runs under the same root
		config->vcpus = config->vcpus < 2 ? 2 : config->vcpus;
		say((struct trace_op){ .code = OP_VCPU, .vcpu = 1 });
		say_cr3(root());
	}
	say_migrate(TRACE_STEP_START);
	for (u32 n = below(4); n; n--) {
		u32 frame = any_frame();
		bool back = one_in(2);

		say_change();
		if (one_in(6))
			race_last(4);
		if (back)
			say((struct trace_op){ .code = OP_BALLOON, .frame = (u8)frame, .count = 1 });
		say_migrate(one_in(3) ? TRACE_STEP_ROUND : (enum trace_step)(TRACE_STEP_COUNT + below(TRACE_STEP_WORDS - TRACE_STEP_COUNT)));
		if (!one_in(3)) { // the guest changes memory in the middle of the round
			race_last(TRACE_NTH_MAX);
			if (back)
				say_frame(OP_RENEW, frame, 0);
			else
				say_change();
		}
		if (one_in(4))
			say_type(any_frame(), (enum trace_type)below(TYPE_COUNT));
	}
	say_change();
	say_migrate(one_in(6) ? TRACE_STEP_CANCEL : TRACE_STEP_FINISH);
	if (one_in(3))
		may_fail();
	say_access(place.va);
	say_change();
}

// Read-only frames: data, tables, half of an operand, and what stores to them.
static void idiom_read_only(void)
{
	u32 frame = any_frame();

	idiom_chain();
	say_type(frame, one_in(4) ? TYPE_LOGDIRTY : TYPE_RO);
	for (u32 n = 1 + below(3); n; n--) {
		say_change();
		if (one_in(4))
			say_frame(OP_SWAP, frame, below(TRACE_FRAMES));
	}
	say_type(frame, TYPE_RW);
	say_change();
}

// Frames go and come back, elsewhere or empty, with a range of the machine's own in between.
static void idiom_balloon(void)
{
	struct trace_op op = { .code = OP_BALLOON, .frame = (u8)any_frame(), .count = (u16)(1 + below(3)) };
	u32 to = below(TRACE_FRAMES);

	idiom_chain();
	if (one_in(3))
		say_frame(OP_LARGE, 0, 0);
	if (one_in(2)) {
		say_frame(OP_MOVE, op.frame, to);
		say_access(place.va);
		say_frame(OP_MOVE, to, op.frame);
	} else {
		say(op);
		if (one_in(3))
			say((struct trace_op){ .code = OP_IDENTITY, .value = TRACE_F0_GFN + 14 + below(3), .count = 1 + (u16)below(3),
					       .on = true });
		say_access(place.va);
		op.on = true;
		say(op);
	}
	say_link(0, place.leaf, TABLE);
	say_access(place.va);
}

static void say_foreign(u32 frame, u32 what)
{
	say((struct trace_op){ .code = OP_FOREIGN, .frame = (u8)frame, .what = (u8)what });
}

// What the owner of a gift may do to it while somebody has it mapped.
static void say_deed(u32 gift)
{
	u32 what = one_in(4) ? below(DEED_COUNT) : one_in(4) ? DEED_END : one_in(2) ? DEED_DROP + gift : DEED_RENEW + gift;

	say((struct trace_op){ .code = OP_DONOR, .what = (u8)what });
}

// A frame of another domain in the place of what is mapped, or of a table, that its owner gives up meanwhile.
static void idiom_foreign(void)
{
	u32 frame = any_frame(), gift = below(TRACE_GIFTS);

	idiom_chain();
	say_frame(OP_REMOVE, frame, 0);
	say_foreign(frame, 1 + gift);
	if (one_in(3) && idiom_count)
		idiom[idiom_count - 1].race_nth = (u8)(config->vcpus > 1 ? 1 + below(4) : 0);
	for (u32 n = 1 + below(3); n; n--) {
		say_deed(gift);
		say_change();
	}
	if (one_in(3)) {
		say_migrate(TRACE_STEP_START);
		say_deed(gift);
		say_migrate(TRACE_STEP_FINISH);
		say_access(place.va);
	}
	say_foreign(frame, one_in(4) ? 1 + gift : GIFT_NONE);
	if (one_in(2))
		say_frame(OP_RENEW, frame, 0);
	say_access(place.va);
}

// ---- idioms of some modes ---------------------------------------------------------------------------
// PDPTEs: both slots, absent, equal, changed with and without the load that makes it effective.
static void idiom_slots(void)
{
	u64 other = place.va ^ BIT(30);

	idiom_chain();
	for (u32 n = 2 + below(4); n; n--) {
		u32 slot = 258 + below(2);
		u64 flags = one_in(4) ? 0 : one_in(16) ? trace_random_flags(rng, place.mode) : P;

		say_pte(root(), slot, one_in(2) ? place.table[1] : below(TRACE_FRAMES), flags);
		if (one_in(3))
			say_access(one_in(2) ? place.va : other);
		if (!one_in(3))
			say((struct trace_op){ .code = one_in(2) ? OP_RELOAD : OP_CR3, .target = (u8)root() });
		say_access(one_in(2) ? place.va : other);
	}
}

// ---- the entry --------------------------------------------------------------------------------------
u32 idiom_make(struct trace_rng *random, struct trace_config *of, struct trace_op to[IDIOM_OPS_MAX])
{
	static void (*const idioms[])(void) = {
		idiom_chain,     idiom_chain,     idiom_alias,   idiom_recursive, idiom_fork,
		idiom_ping_pong, idiom_superpage, idiom_protect, idiom_pressure,  idiom_move,
		idiom_race,      idiom_burst,     idiom_burst,   idiom_halves,    idiom_visit,
		idiom_together,  idiom_detach,    idiom_crowd,
		idiom_watch,     idiom_migrate,   idiom_read_only, idiom_balloon, idiom_foreign,
		idiom_slots, // the last: not for every mode
	};
	u32 count = ARRAY_LEN(idioms) - (of->kind == TRACE_HVMPAE ? 0 : 1);

	rng = random;
	config = of;
	idiom = to;
	idiom_count = 0;
	pick_place();
	idioms[below(count)]();
	return idiom_count;
}
