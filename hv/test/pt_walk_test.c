// SPDX-License-Identifier: GPL-2.0-or-later
// The guest walker, enumerated: every combination of the bits of one entry at each level, of the rights of
// all levels together, of access and of control bits, against a predicate written from the manual's words
// (APM vol. 2, 5.3 to 5.6, 8.4.2) that shares nothing with the walker. Accessed and dirty bits are compared
// exactly: all bytes of the tables. Then lost races, tables in holes, and walks that are no longer current.
//
// Writes that another processor makes between the walker's read and its compare-exchange are played by a
// page fault: the table is read-only for this process, and the handler changes the entry.
// link: hv/test/fixture.c
#include "test.h"

#include <signal.h>
#include <sys/mman.h>

#include "fixture.h"

#define PHYS 40
#define M13 BIT(13)              // address bit 13: misaligned in a large page
#define TABLE_GFN(level) (0x1000 + 0x100 * (u64)(level))
#define LARGE_GFN UINT64_C(0x8000000) // aligned to 1 GiB

// A walk of all four levels; va picks another index at each.
static const u64 va = UINT64_C(0x0000aa0123456789) & ~UINT64_C(0x800000000000);
static mfn_t table[4];

static mfn_t frame_of(const void *context, gfn_t g)
{
	(void)context;
	u64 level = ((g.n & ~UINT64_C(2)) - TABLE_GFN(0)) / 0x100; // bit 13 of the address is under test

	return level < 3 ? table[level] : MFN_NONE;
}

static u64 *entry_word(u32 mode, u32 level)
{
	u32 index = pt_index(&pt_modes[mode], level, va);

	return host_frame(table[level]) + (mode == PT_MODE_32 ? index / 2 : index);
}

static u64 get(u32 mode, u32 level)
{
	u64 w = *entry_word(mode, level);

	return mode != PT_MODE_32 ? w : pt_index(&pt_modes[mode], level, va) & 1 ? w >> 32 : w & UINT32_MAX;
}

static void put(u32 mode, u32 level, u64 entry)
{
	u64 *w = entry_word(mode, level);

	if (mode != PT_MODE_32)
		*w = entry;
	else if (pt_index(&pt_modes[mode], level, va) & 1)
		*w = (*w & UINT32_MAX) | entry << 32;
	else
		*w = (*w & ~(u64)UINT32_MAX) | entry;
}

static void start(void)
{
	host_reset(1);
	hv_start();
	for (u32 level = 0; level < 4; level++) {
		CHECK_EQ(heap_alloc(1, &table[level]), HV_OK);
		memset(host_frame(table[level]), 0, FRAME_BYTES);
	}
}

// ---- the predicate -----------------------------------------------------------------------------------

struct world {
	bool wp, nxe, smep, smap, ac, pse;
	bool write, fetch, user;
};

struct want {
	bool ok;
	u32 error, leaf;
	u64 target, after[4];
};

static bool is_page(u32 mode, u32 level, u64 e, const struct world *w)
{
	return level == 0 || ((e & PTE_PS) && (mode == PT_MODE_64 ? level <= 2 : level == 1 && (mode == PT_MODE_PAE || w->pse)));
}

static bool forbidden_bits(u32 mode, u32 level, u64 e, const struct world *w)
{
	if (mode == PT_MODE_32)
		return level == 1 && w->pse && (e & PTE_PS) && (e & BIT(21));
	if (e & BIT(PHYS))
		return true;
	if (mode == PT_MODE_PAE && (e & BIT(52)))
		return true;
	if (!w->nxe && (e & PTE_NX))
		return true;
	if (level == 3)
		return e & PTE_PS;
	return level > 0 && (e & PTE_PS) && (e & M13);
}

static void predict(u32 mode, const u64 *e, const struct world *w, struct want *want)
{
	u32 levels = mode == PT_MODE_64 ? 4 : 2; // PAE: below the latched entry, which has no say
	u32 code = (w->write ? 2u : 0) | (w->user ? 4u : 0) | (w->fetch && (w->nxe || w->smep) ? 16u : 0);
	bool all_w = true, all_u = true, any_nx = false;

	*want = (struct want){ .ok = false };
	memcpy(want->after, e, sizeof(want->after));
	for (u32 level = levels; level-- > 0;) {
		if (!(e[level] & 1)) {
			want->error = code;
			return;
		}
		// An entry of 1 GiB is marked as it is reached, whatever it is good for (see pt/mode.h).
		if (mode == PT_MODE_64 && level == 2 && !(e[level] & BIT(PHYS)) && (w->nxe || !(e[level] & PTE_NX)))
			want->after[level] |= PTE_A;
		if (forbidden_bits(mode, level, e[level], w)) {
			want->error = code | 9;
			return;
		}
		all_w = all_w && (e[level] & PTE_W);
		all_u = all_u && (e[level] & PTE_U);
		any_nx = any_nx || (mode != PT_MODE_32 && (e[level] & PTE_NX));
		if (is_page(mode, level, e[level], w)) {
			u64 bytes = level == 0 ? 12 : mode == PT_MODE_32 ? 22 : level == 1 ? 21 : 30;
			u64 base = e[level] & UINT64_C(0xffffffffff000) & ~(BIT(bytes) - 1);

			want->leaf = level;
			want->target = (base | (va & (BIT(bytes) - 1))) >> 12;
			if (w->user)
				want->ok = all_u && (!w->write || all_w) && !(w->fetch && any_nx);
			else if (w->fetch)
				want->ok = !any_nx && !(w->smep && all_u);
			else
				want->ok = (!w->write || all_w || !w->wp) && !(w->smap && all_u && !w->ac);
			if (want->ok)
				want->after[level] |= PTE_A | (w->write ? PTE_D : 0);
			else
				want->error = code | 1;
			return;
		}
		want->after[level] |= PTE_A;
	}
}

// ---- comparison --------------------------------------------------------------------------------------

// What CR3 was loaded with: only the one for va leads anywhere.
static const u64 pdpte[4] = { TABLE_GFN(1) << FRAME_SHIFT | PTE_P, 0, 0, 0 };

static bool compare(u32 mode, const u64 *e, const struct world *w)
{
	struct pt_regime regime = { .mode = &pt_modes[mode], .root = mode == PT_MODE_PAE ? MFN_NONE : table[mode == PT_MODE_32 ? 1 : 3],
				    .wp = w->wp, .nxe = w->nxe, .smep = w->smep, .smap = w->smap, .ac = w->ac,
				    .pse = w->pse,
				    .pdpte = mode == PT_MODE_PAE ? pdpte : NULL, .phys_bits = PHYS, .frame_of = frame_of };
	struct pt_access access = { .write = w->write, .fetch = w->fetch, .user = w->user };
	u32 levels = mode == PT_MODE_64 ? 4 : 2;
	struct want want;
	struct pt_walk walk;

	for (u32 level = 0; level < levels; level++)
		put(mode, level, e[level]);
	predict(mode, e, w, &want);
	for (u32 set_ad = 0; set_ad < 2; set_ad++) { // first a walk that may not change anything
		bool same = true;

		pt_walk(&regime, gva(va), access, set_ad, &walk);
		same = walk.ok == want.ok && (want.ok ? walk.target.n == want.target && walk.leaf_level == want.leaf
						      : walk.error == want.error);
		for (u32 level = 0; level < levels; level++)
			same = same && get(mode, level) == (set_ad ? want.after[level] : e[level]);
		if (!same) {
			if (test_fail(__FILE__, __LINE__))
				printf("mode %u entries %llx %llx %llx %llx wp%d nxe%d smep%d smap%d ac%d w%d x%d u%d: "
				       "ok%d error %x\n", mode, (unsigned long long)e[3], (unsigned long long)e[2],
				       (unsigned long long)e[1], (unsigned long long)e[0], w->wp, w->nxe, w->smep,
				       w->smap, w->ac, w->write, w->fetch, w->user, walk.ok, walk.error);
			return false;
		}
	}
	CHECK(pt_walk_current(&regime, gva(va), &walk));
	return true;
}

// All accesses under all control bits. 2-level guests have no NXE.
static bool all_worlds(u32 mode, const u64 *e)
{
	for (u32 bits = 0; bits < (mode == PT_MODE_32 ? 64 : 32); bits++)
		for (u32 access = 0; access < 6; access++) {
			struct world w = { bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32,
					   access % 3 == 1, access % 3 == 2, access >= 3 };

			if (mode == PT_MODE_32 && w.nxe)
				continue;
			if (mode == PT_MODE_32 && !w.pse && (e[1] & PTE_PS) && (e[1] & BIT(21)))
				continue; // a table elsewhere
			if (!compare(mode, e, &w))
				return false;
		}
	return true;
}

static u64 address_of(u32 level, u64 flags)
{
	u64 g = level == 0 || ((flags & PTE_PS) && level < 3) ? LARGE_GFN : TABLE_GFN(level - 1);

	return g << FRAME_SHIFT | flags;
}

TEST(one_entry_at_each_level_all_bits)
{
	static const u64 bits[] = { PTE_P, PTE_W, PTE_U, PTE_NX, PTE_PS, PTE_A, PTE_D, BIT(PHYS), M13 };

	start();
	for (u32 level = 0; level < 4; level++)
		for (u32 n = 0; n < 1u << ARRAY_LEN(bits); n++) {
			u64 e[4], flags = 0;

			for (u32 i = 0; i < ARRAY_LEN(bits); i++)
				flags |= n >> i & 1 ? bits[i] : 0;
			for (u32 k = 0; k < 4; k++)
				e[k] = address_of(k, PTE_P | PTE_W | PTE_U);
			e[level] = address_of(level, flags);
			if (!all_worlds(PT_MODE_64, e))
				return;
		}
}

// W, U and NX of all levels together, with the leaf at level 0, 1 or 2.
TEST(rights_of_all_levels_together)
{
	start();
	for (u32 leaf = 0; leaf < 3; leaf++)
		for (u32 n = 0; n < 1u << 3 * (4 - leaf); n++) {
			u64 e[4] = { 0 };

			for (u32 k = leaf; k < 4; k++) {
				u32 r = n >> 3 * (k - leaf);

				e[k] = address_of(k, PTE_P | (r & 1 ? PTE_W : 0) | (r & 2 ? PTE_U : 0) |
							     (r & 4 ? PTE_NX : 0) | (k == leaf && k ? PTE_PS : 0));
			}
			if (!all_worlds(PT_MODE_64, e))
				return;
		}
}

// The latched PDPTE is not among the entries: it has no rights, no accessed bit, and nothing in it is checked here.
TEST(pae_all_bits_of_both_tables)
{
	static const u64 bits[] = { PTE_P, PTE_W, PTE_U, PTE_NX, PTE_PS, PTE_A, PTE_D, BIT(PHYS), BIT(52), M13 };

	start();
	for (u32 level = 0; level < 2; level++)
		for (u32 n = 0; n < 1u << ARRAY_LEN(bits); n++) {
			u64 e[4] = { address_of(0, PTE_P | PTE_W | PTE_U), address_of(1, PTE_P | PTE_W | PTE_U) }, flags = 0;

			for (u32 i = 0; i < ARRAY_LEN(bits); i++)
				flags |= n >> i & 1 ? bits[i] : 0;
			e[level] = address_of(level, flags);
			if (!all_worlds(PT_MODE_PAE, e))
				return;
		}
}

TEST(latched_entries_decide_and_absent_ones_deny)
{
	u64 latched[4] = { 0, TABLE_GFN(1) << FRAME_SHIFT | PTE_P, 0, UINT64_C(0xdead000) | PTE_P };
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_PAE], .pdpte = latched, .wp = true, .phys_bits = PHYS,
				    .frame_of = frame_of };
	struct pt_access access = { .write = true };
	struct pt_walk walk;

	start();
	put(PT_MODE_PAE, 1, address_of(1, PTE_P | PTE_W));
	put(PT_MODE_PAE, 0, address_of(0, PTE_P | PTE_W));
	pt_walk(&regime, gva(va & UINT32_MAX), access, true, &walk);
	CHECK(!walk.ok); // PDPTE 0 is absent
	CHECK_EQ(walk.error, PF_W);
	CHECK_EQ(walk.lowest, 2);
	latched[va >> 30 & 3] = latched[1];
	pt_walk(&regime, gva(va & UINT32_MAX), access, true, &walk);
	CHECK(walk.ok);
	CHECK(pt_walk_current(&regime, gva(va & UINT32_MAX), &walk));
	latched[va >> 30 & 3] = latched[3]; // another table was latched since
	CHECK(!pt_walk_current(&regime, gva(va & UINT32_MAX), &walk));
	pt_walk(&regime, gva(va & UINT32_MAX), access, true, &walk); // in a hole
	CHECK(!walk.ok);
	CHECK_EQ(walk.error, PF_W);
}

// Reserved bits of a PDPTE: everything but P, PWT, PCD, the three free ones, and the address.
TEST(pdpte_reserved_bits)
{
	for (u32 bit = 0; bit < 64; bit++) {
		bool free_bit = bit == 0 || bit == 3 || bit == 4 || (bit >= 9 && bit < PHYS);

		CHECK_EQ(pt_pdpte_reserved((gpte_t){ PTE_P | BIT(bit) }, PHYS), !free_bit);
		CHECK(bit == 0 || !pt_pdpte_reserved((gpte_t){ BIT(bit) }, PHYS)); // absent: nothing is
	}
}

TEST(two_levels_all_bits)
{
	static const u64 bits[] = { PTE_P, PTE_W, PTE_U, PTE_PS, PTE_A, PTE_D, BIT(21) };

	start();
	for (u32 level = 0; level < 2; level++)
		for (u32 n = 0; n < 1u << ARRAY_LEN(bits); n++) {
			u64 e[4] = { 0 }, flags = 0;

			for (u32 i = 0; i < ARRAY_LEN(bits); i++)
				flags |= n >> i & 1 ? bits[i] : 0;
			e[0] = (0x12345 & ~BIT(9)) << FRAME_SHIFT | PTE_P | PTE_W | PTE_U;
			e[1] = TABLE_GFN(0) << FRAME_SHIFT | PTE_P | PTE_W | PTE_U;
			// A table, or a 4 MiB page; bit 21 belongs to no address in the first.
			if (level == 0)
				e[0] = (0x12345 & ~BIT(9)) << FRAME_SHIFT | flags;
			else if (flags & PTE_PS)
				e[1] = TABLE_GFN(0) << FRAME_SHIFT | flags; // aligned to 4 MiB too
			else if (!(flags & BIT(21)))
				e[1] = TABLE_GFN(0) << FRAME_SHIFT | flags;
			if (!all_worlds(PT_MODE_32, e))
				return;
		}
}

TEST(the_size_of_a_page_decides_what_the_address_means)
{
	struct pt_walk walk;
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .root = MFN_NONE, .phys_bits = PHYS,
				    .frame_of = frame_of };

	start();
	regime.root = table[3];
	put(PT_MODE_64, 3, address_of(3, AS_TABLE));
	put(PT_MODE_64, 2, address_of(2, AS_LEAF | PTE_PS | PTE_PAT_LARGE));
	pt_walk(&regime, gva(va), (struct pt_access){ 0 }, false, &walk);
	CHECK(walk.ok);
	CHECK_EQ(walk.target.n, LARGE_GFN + (va >> 12 & 0x3ffff));
	CHECK_EQ(walk.lowest, 2);
}

// ---- tables in holes -----------------------------------------------------------------------------------

TEST(a_table_in_a_hole_reads_as_the_hole)
{
	struct pt_walk walk;
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .phys_bits = PHYS, .frame_of = frame_of };

	start();
	regime.root = table[3];
	put(PT_MODE_64, 3, UINT64_C(0x7777000) | AS_TABLE); // nothing is there
	pt_walk(&regime, gva(va), (struct pt_access){ .write = true }, true, &walk);
	CHECK(!walk.ok);
	CHECK_EQ(walk.lowest, 2);
	CHECK_EQ(walk.entry[2].v, HOLE_WORD);
	CHECK_EQ(walk.error, HOLE_WORD & PTE_P ? PF_P | PF_RSVD | PF_W : PF_W);
	CHECK(pt_walk_current(&regime, gva(va), &walk));
	regime.root = MFN_NONE;
	pt_walk(&regime, gva(va), (struct pt_access){ 0 }, true, &walk);
	CHECK(!walk.ok);
	CHECK_EQ(walk.lowest, 3);
}

// ---- races -------------------------------------------------------------------------------------------

static struct {
	u32 level;     // the table that traps
	u64 value;     // what the other processor stores there
	bool again;    // trap each time the walker comes by
	u32 trapped;
} race;

static void protect(int rights)
{
	mprotect(host_frame(table[race.level]), FRAME_BYTES, rights);
}

static void other_processor(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	protect(PROT_READ | PROT_WRITE);
	race.trapped++;
	put(PT_MODE_64, race.level, race.value ^ (race.trapped & 1 ? 0 : PTE_AVL));
}

static mfn_t trapping_frame_of(const void *context, gfn_t g)
{
	mfn_t m = frame_of(context, g);

	if (race.again && mfn_eq(m, table[race.level]))
		protect(PROT_READ);
	return m;
}

static void run_race(u64 value, bool again, struct pt_access access, struct pt_walk *walk)
{
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .root = table[3], .wp = true, .nxe = true,
				    .phys_bits = PHYS, .frame_of = trapping_frame_of };
	struct sigaction trap = { .sa_sigaction = other_processor, .sa_flags = SA_SIGINFO }, before;

	for (u32 level = 0; level < 4; level++)
		put(PT_MODE_64, level, address_of(level, PTE_P | PTE_W | PTE_U));
	race.value = value;
	race.again = again;
	race.trapped = 0;
	sigaction(SIGSEGV, &trap, &before);
	protect(PROT_READ);
	pt_walk(&regime, gva(va), access, true, walk);
	protect(PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &before, NULL);
}

// D20: the other processor's update survives, and the walk goes by what is there now.
TEST(D20_a_lost_race_starts_the_walk_again)
{
	struct pt_access write = { .write = true };
	struct pt_walk walk;

	for (race.level = 0; race.level < 4; race.level++) {
		start();
		u64 other = address_of(race.level, PTE_P | PTE_W | PTE_U | PTE_AVL);

		run_race(other, false, write, &walk);
		CHECK_EQ(race.trapped, 1);
		CHECK(walk.ok);
		CHECK_EQ(get(PT_MODE_64, race.level), other | PTE_A | (race.level ? 0 : PTE_D));
		// The other processor takes the page away: no bit is set in what it wrote, no right survives.
		run_race(0, false, write, &walk);
		CHECK(!walk.ok);
		CHECK_EQ(walk.error, PF_W);
		CHECK_EQ(walk.lowest, race.level);
		CHECK_EQ(get(PT_MODE_64, race.level), 0);
		// It takes the right to write.
		run_race(address_of(race.level, PTE_P | PTE_U), false, write, &walk);
		CHECK(!walk.ok);
		CHECK_EQ(walk.error, PF_W | PF_P);
		CHECK_EQ(get(PT_MODE_64, 0) & PTE_D, 0);
	}
}

TEST(a_race_lost_again_and_again_ends)
{
	struct pt_walk walk;

	race.level = 0;
	start();
	run_race(address_of(0, PTE_P | PTE_W | PTE_U | PTE_AVL), true, (struct pt_access){ .user = true }, &walk);
	CHECK(!walk.ok);
	CHECK_EQ(walk.error, PT_WALK_RETRY);
	CHECK(race.trapped >= 2 && race.trapped <= 16);
}

// Memory changed by the callback between two levels: the walk uses what it reads, when it reads it.
static mfn_t changing_frame_of(const void *context, gfn_t g)
{
	mfn_t m = frame_of(context, g);

	if (mfn_eq(m, table[0]))
		put(PT_MODE_64, 0, address_of(0, PTE_P | PTE_U)); // read-only now
	return m;
}

TEST(a_table_that_changes_while_the_walk_comes_down)
{
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .wp = true, .phys_bits = PHYS,
				    .frame_of = changing_frame_of };
	struct pt_walk walk;

	start();
	regime.root = table[3];
	for (u32 level = 0; level < 4; level++)
		put(PT_MODE_64, level, address_of(level, PTE_P | PTE_W | PTE_U));
	pt_walk(&regime, gva(va), (struct pt_access){ .write = true }, true, &walk);
	CHECK(!walk.ok);
	CHECK_EQ(walk.error, PF_P | PF_W);
	CHECK_EQ(get(PT_MODE_64, 0), address_of(0, PTE_P | PTE_U));
}

// ---- is a walk still current? --------------------------------------------------------------------------

static mfn_t moved;

static mfn_t moved_frame_of(const void *context, gfn_t g)
{
	mfn_t m = frame_of(context, g);

	return mfn_eq(m, moved) ? MFN_NONE : m;
}

TEST(every_change_of_what_was_read_is_seen)
{
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .phys_bits = PHYS, .frame_of = moved_frame_of };
	struct pt_walk walk;

	start();
	moved = mfn(1);
	regime.root = table[3];
	for (u32 level = 0; level < 4; level++)
		put(PT_MODE_64, level, address_of(level, PTE_P | PTE_W | PTE_U));
	pt_walk(&regime, gva(va), (struct pt_access){ .write = true }, true, &walk);
	CHECK(walk.ok && pt_walk_current(&regime, gva(va), &walk));
	for (u32 level = 0; level < 4; level++)
		for (u32 bit = 0; bit < 64; bit++) {
			u64 e = get(PT_MODE_64, level);

			put(PT_MODE_64, level, e ^ BIT(bit));
			CHECK(!pt_walk_current(&regime, gva(va), &walk));
			put(PT_MODE_64, level, e);
		}
	for (u32 level = 0; level < 3; level++) {
		moved = table[level];
		CHECK(!pt_walk_current(&regime, gva(va), &walk));
	}
	moved = mfn(1);
	CHECK(pt_walk_current(&regime, gva(va), &walk));
	regime.root = table[0];
	CHECK(!pt_walk_current(&regime, gva(va), &walk));
}

// A walk that ended early says nothing about the levels below.
TEST(a_short_walk_is_current_down_to_its_lowest_entry)
{
	struct pt_regime regime = { .mode = &pt_modes[PT_MODE_64], .phys_bits = PHYS, .frame_of = frame_of };
	struct pt_walk walk;

	start();
	regime.root = table[3];
	for (u32 level = 0; level < 4; level++)
		put(PT_MODE_64, level, address_of(level, level == 1 ? 0 : PTE_P));
	pt_walk(&regime, gva(va), (struct pt_access){ 0 }, true, &walk);
	CHECK_EQ(walk.lowest, 1);
	put(PT_MODE_64, 0, 0);
	CHECK(pt_walk_current(&regime, gva(va), &walk));
	put(PT_MODE_64, 1, PTE_P);
	CHECK(!pt_walk_current(&regime, gva(va), &walk));
}
