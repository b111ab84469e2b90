// SPDX-License-Identifier: GPL-2.0-or-later
// Guest entries into shadow entries, row by row of spec A.12 and then all bit combinations against an
// independent predicate; magic entries; the setters of spec A.13: references, flush rule, pairs of a
// 2-level guest on PAE shadows. D2 is in shadow_pin_test.c. Rules 32 to 36.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define ALL_FLAGS (AS_LEAF | PTE_NX)

static u64 out(u32 type, u64 gpte)
{
	return shadow_propagate(dom, type, (gpte_t){ gpte }, MFN_NONE).v;
}

static u64 above(u32 type, u64 gpte)
{
	return shadow_propagate(dom, type, (gpte_t){ gpte }, mfn(0x1234)).v;
}

static u64 frame(u32 n) { return mfn_mpa(fm(n)).a; }

// ---- A.12, row by row -----------------------------------------------------------------------------------

TEST(row_2_absent_entries)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_FAST));
	CHECK_EQ(out(SHADOW_L1_64, 0), UINT64_MAX);
	CHECK_EQ(out(SHADOW_L1_64, at(5, ALL_FLAGS) & ~PTE_P), UINT64_MAX);
	CHECK_EQ(out(SHADOW_L1_32, 0), UINT64_MAX);
	CHECK_EQ(above(SHADOW_L2_64, at(5, AS_TABLE) & ~PTE_P), 0);
	CHECK_EQ(above(SHADOW_L4_64, 0), 0);
	dom->shadow.opts = 0;
	CHECK_EQ(out(SHADOW_L1_64, 0), 0);
	FINISH();
}

TEST(row_3_mmio_becomes_magic_with_gfn_and_rights)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_FAST));
	spte_t s = { out(SHADOW_L1_64, hole(3, AS_LEAF)) };

	CHECK(spte_is_mmio(s) && !spte_is_gnp(s) && !spte_present(s));
	CHECK_EQ(spte_mmio_gfn(s).n, HOLE_GFN + 3);
	CHECK_EQ(s.v & (PTE_P | PTE_W | PTE_U), PTE_P | PTE_W | PTE_U);
	CHECK_EQ(s.v & BIT(3), 0);
	CHECK_EQ(s.v >> 32, UINT32_MAX);
	CHECK(dom->shadow.magic_mmio);
	CHECK_EQ(out(SHADOW_L1_64, hole(3, AS_LEAF & ~PTE_U)) & PTE_U, 0);
	CHECK_EQ(out(SHADOW_L1_64, hole(3, AS_LEAF & ~PTE_D)) & PTE_W, 0); // D21: a write must set D first
	CHECK_EQ(out(SHADOW_L1_64, hole(3, AS_LEAF & ~PTE_A)), 0);
	dom->shadow.opts = 0;
	CHECK_EQ(out(SHADOW_L1_64, hole(3, AS_LEAF)), 0);
	FINISH();
}

TEST(row_4_no_child_no_entry)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(out(SHADOW_L2_64, at(5, AS_TABLE)), 0);
	CHECK_EQ(out(SHADOW_L4_64, at(5, AS_TABLE)), 0);
	FINISH();
}

TEST(rows_5_to_7_what_passes_through)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(out(SHADOW_L1_64, at(5, ALL_FLAGS)), frame(5) | ALL_FLAGS);
	// GLOBAL, PAT, cache bits and software bits never do.
	u64 noise = PTE_G | PTE_PAT | PTE_PWT | PTE_PCD | PTE_AVL | BIT(10) | BIT(11) | BIT(52) | BIT(62);

	CHECK_EQ(out(SHADOW_L1_64, at(5, ALL_FLAGS | noise)), frame(5) | ALL_FLAGS);
	noise &= ~PTE_PAT;
	for (u32 type = SHADOW_L2_64; type <= SHADOW_L4_64; type++) {
		if (!shadow_rows[type].name)
			continue;
		CHECK_EQ(above(type, at(5, AS_TABLE | PTE_NX | noise)), mfn_mpa(mfn(0x1234)).a | ALL_FLAGS);
		// A and D are forced, so that hardware never writes there.
		CHECK_EQ(above(type, at(5, PTE_P | PTE_A)), mfn_mpa(mfn(0x1234)).a | PTE_P | PTE_A | PTE_D);
	}
	FINISH();
}

TEST(row_8_not_accessed_is_not_present)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(out(SHADOW_L1_64, at(5, AS_LEAF & ~PTE_A)), 0);
	CHECK_EQ(above(SHADOW_L3_64, at(5, AS_TABLE & ~PTE_A)), 0);
	FINISH();
}

TEST(row_9_not_dirty_is_not_writable)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(out(SHADOW_L1_64, at(5, AS_LEAF & ~PTE_D)) & (PTE_P | PTE_W | PTE_D), PTE_P);
	// A large page has D in its own entry; a table entry has none.
	CHECK_EQ(above(SHADOW_L2_64, at(0, AS_TABLE | PTE_PS)) & PTE_W, 0);
	CHECK_EQ(above(SHADOW_L2_64, at(0, AS_LEAF | PTE_PS)) & PTE_W, PTE_W);
	CHECK_EQ(above(SHADOW_L2_64, at(0, AS_TABLE)) & PTE_W, PTE_W);
	CHECK_EQ(above(SHADOW_L3_64, UINT64_C(0x40000000) | AS_TABLE | PTE_PS) & PTE_W, 0);
	FINISH();
}

TEST(row_11_tables_are_read_only)
{
	CHECK(fixture_paged(1, 0, 0));
	shadow_promote(dom, fm(5), SHADOW_L1_64);
	CHECK_EQ(out(SHADOW_L1_64, at(5, ALL_FLAGS)), frame(5) | PTE_P | PTE_U | PTE_A | PTE_NX);
	shadow_demote(dom, fm(5), SHADOW_L1_64);
	FINISH();
}

TEST(row_14_reserved_bits_are_the_guests_fault)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_FAST));
	CHECK_EQ(out(SHADOW_L1_64, at(5, AS_LEAF) | BIT(40)), 0);
	CHECK_EQ(out(SHADOW_L1_64, at(5, AS_LEAF) | BIT(51)), 0);
	CHECK_EQ(above(SHADOW_L4_64, at(5, AS_TABLE | PTE_PS)), 0);
	CHECK_EQ(above(SHADOW_L2_64, at(2, AS_LEAF | PTE_PS)), 0); // 2 MiB, misaligned
	dom->shadow.nxe = false; // as the entry of a vcpu without NXE leaves it
	CHECK_EQ(out(SHADOW_L1_64, at(5, ALL_FLAGS)), 0);
	CHECK_EQ(above(SHADOW_L4_64, at(5, AS_TABLE | PTE_NX)), 0);
	dom->shadow.nxe = true;
	FINISH();
}

TEST(two_level_guests_have_no_nx)
{
	fixture_start(1, 0, 0);
	CHECK_EQ(out(SHADOW_L1_32, (0x5000 | AS_LEAF)), 0); // no RAM there
	CHECK_EQ(above(SHADOW_L2_32, 0x00400000 | AS_LEAF | PTE_PS), mfn_mpa(mfn(0x1234)).a | AS_LEAF);
	FINISH();
}

// ---- all combinations ------------------------------------------------------------------------------------

static u64 leaf_by_the_book(u64 g, bool nxe, bool fast, bool table, bool ram)
{
	if (!(g & 1))
		return fast ? ~UINT64_C(0) : 0;
	if ((g & BIT(40)) || (!nxe && g >> 63) || !(g & PTE_A))
		return 0;
	u64 w = (g & PTE_W) && (g & PTE_D) && !table ? PTE_W : 0;

	if (!ram)
		return !fast ? 0 : UINT64_C(0xffffffff00000000) | (g >> 12 & 0xfffffff) << 4 | 1 | w | (g & PTE_U);
	return (g & UINT64_C(0xfffffff000)) | 1 | w | (g & PTE_U) | PTE_A | (w ? PTE_D : 0) | (g & PTE_NX);
}

TEST(every_combination_of_bits_of_a_leaf)
{
	static const u64 bits[] = { PTE_P, PTE_W, PTE_U, PTE_A, PTE_D, PTE_NX, BIT(40), PTE_G, PTE_PAT, PTE_PCD };

	CHECK(fixture_paged(1, 0, 0));
	shadow_promote(dom, fm(6), SHADOW_L1_64);
	for (u32 n = 0; n < 1u << ARRAY_LEN(bits); n++)
		for (u32 world = 0; world < 4; world++)
			for (u32 target = 0; target < 3; target++) {
				u64 flags = 0;
				bool nxe = world & 1, fast = world & 2;

				for (u32 i = 0; i < ARRAY_LEN(bits); i++)
					flags |= n >> i & 1 ? bits[i] : 0;
				dom->shadow.opts = fast ? SHADOW_OPT_FAST : 0;
				dom->shadow.nxe = nxe;
				u64 g = target == 2 ? hole(1, flags) : at(5 + target, flags);
				u64 want = leaf_by_the_book(g, nxe, fast, target == 1, target < 2);

				if (target < 2 && (want & 1) && want >> 32 != UINT32_MAX)
					want = frame(5 + target) | (want & ~UINT64_C(0xfffffff000));
				if (!CHECK_EQ(out(SHADOW_L1_64, g), want))
					return;
			}
	dom->shadow.nxe = true;
	shadow_demote(dom, fm(6), SHADOW_L1_64);
	FINISH();
}

// ---- magic --------------------------------------------------------------------------------------------

TEST(magic_entries_are_told_apart)
{
	spte_t gnp = { UINT64_MAX }, mmio = { UINT64_C(0xffffffff12345675) };
	spte_t plain = { 0x1000 | AS_LEAF | PTE_NX };

	CHECK(spte_is_magic(gnp) && spte_is_gnp(gnp) && !spte_is_mmio(gnp) && !spte_present(gnp));
	CHECK(spte_is_magic(mmio) && !spte_is_gnp(mmio) && spte_is_mmio(mmio) && !spte_present(mmio));
	CHECK_EQ(spte_mmio_gfn(mmio).n, 0x1234567);
	CHECK(!spte_is_magic(plain) && spte_present(plain));
	CHECK(!spte_is_magic(SPTE_EMPTY) && !spte_present(SPTE_EMPTY));
}

// No gfn makes an MMIO entry that reads as "guest not present", and hardware faults on all of them.
TEST(every_gfn_fits_a_magic_entry)
{
	fixture_start(1, 0, SHADOW_OPT_FAST);
	for (u32 i = 0; i < 28; i++)
		for (u32 k = 0; k < 2; k++) {
			u64 g = k ? BIT(i) : 0xfffffff & ~BIT(i);
			spte_t s = { out(SHADOW_L1_64, g << FRAME_SHIFT | AS_LEAF) };

			if (!mfn_is_none(p2m_lookup(&dom->p2m, gfn(g))))
				continue;
			CHECK(spte_is_mmio(s));
			CHECK_EQ(spte_mmio_gfn(s).n, g);
			CHECK(s.v & PTE_ADDR & ~(BIT(HOST_PHYS_BITS) - 1)); // reserved bits
		}
	spte_t last = { out(SHADOW_L1_64, UINT64_C(0xfffffff) << FRAME_SHIFT | AS_LEAF) };

	CHECK(spte_is_mmio(last) && !spte_is_gnp(last));
	FINISH();
}

// ---- fake entries -----------------------------------------------------------------------------------------

TEST(fake_tables_say_what_the_large_page_says)
{
	fixture_start(1, 64, 0);
	mfn_t fl1 = pool_alloc(dom, SHADOW_FL1_64, 0x200), fl2 = pool_alloc(dom, SHADOW_FL2_64, 0x40000);
	mfn_t fl1_32 = pool_alloc(dom, SHADOW_FL1_32, 0x400);

	for (u32 i = 0; i < 512; i++) {
		CHECK_EQ(shadow_fake_entry(fl1, i).v, (0x200 + (u64)i) << FRAME_SHIFT | AS_LEAF);
		CHECK_EQ(shadow_guest_entry(dom, fl2, i).v, (0x40000 + 512 * (u64)i) << FRAME_SHIFT | AS_LEAF | PTE_PS);
	}
	CHECK_EQ(shadow_fake_entry(fl1_32, 1023).v, (0x400 + 1023) << FRAME_SHIFT | AS_LEAF);
	pool_free(dom, fl1);
	pool_free(dom, fl2);
	pool_free(dom, fl1_32);
	FINISH();
}

TEST(entries_of_shadows_of_several_pages)
{
	u32 slot;

	fixture_start(1, 64, 0);
	mfn_t l2 = vc(0)->shadow.root[0], l1 = pool_alloc(dom, SHADOW_FL1_32, 0x400); // four and two pages
	u32 page_number = (u32)l2.n;

	for (u32 i = 0; i < 1024; i++) {
		if (i && i % 256 == 0)
			page_number = page_of(mfn(page_number))->sibling;
		CHECK_EQ(shadow_page_of(l2, i, &slot).n, page_number);
		CHECK_EQ(slot, 2 * (i % 256));
		CHECK_EQ(shadow_page_of(l1, i, &slot).n, i < 512 ? l1.n : page_of(l1)->sibling);
		CHECK_EQ(slot, i % 512);
	}
	pool_free(dom, l1);
	FINISH();
}

// ---- setters: level 0 -------------------------------------------------------------------------------------

static mfn_t leaf_table(void)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK(reads(vc(0), page(9)));
	return shadow_of(3, SHADOW_L1_64);
}

TEST(leaves_hold_references_and_never_ask_for_a_flush)
{
	mfn_t l1 = leaf_table();
	u32 general = page_references(fm(7)), slot = 100;
	spte_t rw = { frame(7) | AS_LEAF }, ro = { frame(7) | PTE_P | PTE_U | PTE_A };

	CHECK_EQ(shadow_set(dom, l1, slot, rw), ENTRY_CHANGED);
	CHECK_EQ(page_references(fm(7)), general + 1);
	CHECK_EQ(page_writable_count(fm(7)), 1);
	CHECK_EQ(shadow_set(dom, l1, slot, rw), 0); // nothing changes
	CHECK_EQ(shadow_set(dom, l1, slot, ro), ENTRY_CHANGED);
	CHECK_EQ(page_references(fm(7)), general + 1);
	CHECK_EQ(page_writable_count(fm(7)), 0);
	CHECK_EQ(shadow_set(dom, l1, slot, (spte_t){ UINT64_MAX }), ENTRY_CHANGED); // magic: no reference
	CHECK_EQ(page_references(fm(7)), general);
	CHECK_EQ(shadow_set(dom, l1, slot, rw), ENTRY_CHANGED);
	CHECK_EQ(shadow_set(dom, l1, slot, SPTE_EMPTY), ENTRY_CHANGED);
	CHECK_EQ(page_references(fm(7)), general);
	FINISH();
}

TEST(a_leaf_without_a_reference_is_empty)
{
	mfn_t l1 = leaf_table();
	spte_t good = { frame(7) | AS_LEAF };
	// Writable and a table; a page of the pool.
	spte_t bad[] = { { frame(3) | AS_LEAF }, { mfn_mpa(l1).a | AS_LEAF } };

	for (u32 i = 0; i < ARRAY_LEN(bad); i++) {
		u32 general = page_references(fm(3));

		CHECK_EQ(shadow_set(dom, l1, 100, good), ENTRY_CHANGED);
		CHECK_EQ(shadow_set(dom, l1, 100, bad[i]), ENTRY_CHANGED | ENTRY_ERROR);
		CHECK_EQ(shadow_read(dom, l1, 100).v, 0);
		CHECK_EQ(page_references(fm(3)), general);
		CHECK_EQ(page_writable_count(fm(7)), 0); // the old one went
		CHECK(!dom->dead);
		HEALTHY();
	}
	page_of(fm(7))->type_info = UINT32_MAX; // a full counter
	CHECK_EQ(shadow_set(dom, l1, 100, good), ENTRY_CHANGED | ENTRY_ERROR);
	page_of(fm(7))->type_info = 0;
	FINISH();
}

// ---- setters: upper levels ----------------------------------------------------------------------------------

static u64 rights(u32 n)
{
	return (n & 1 ? PTE_W : 0) | (n & 2 ? PTE_U : 0) | (n & 4 ? PTE_NX : 0);
}

// Flush exactly when something that was there may still be used and is no longer allowed (spec A.13).
TEST(the_flush_rule_for_all_pairs_of_rights)
{
	leaf_table();
	mfn_t l2 = shadow_of(2, SHADOW_L2_64), child[2];

	poke(4, 0, 0);
	poke(5, 0, 0);
	for (u32 i = 0; i < 2; i++) {
		CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(4 + i).n, MFN_NONE, &child[i]), HV_OK);
		CHECK_EQ(shadow_get(child[i]), HV_OK); // stays for the test
	}
	for (u32 was = 0; was < 9; was++)
		for (u32 now = 0; now < 17; now++) {
			// 8 is absent; 8 + 1 + n is another child with rights n.
			spte_t old = { was == 8 ? 0 : mfn_mpa(child[0]).a | PTE_P | PTE_A | PTE_D | rights(was) };
			spte_t new = { now == 8  ? 0
				       : now < 8 ? mfn_mpa(child[0]).a | PTE_P | PTE_A | PTE_D | rights(now)
						 : mfn_mpa(child[1]).a | PTE_P | PTE_A | PTE_D | rights(now - 9) };
			u32 lost = (was & 1 && !(now & 1)) || (was & 2 && !(now & 2)) || (!(was & 4) && now & 4);
			u32 want = ENTRY_CHANGED;

			(void)!shadow_set(dom, l2, 200, SPTE_EMPTY);
			(void)!shadow_set(dom, l2, 200, old);
			if (was == now)
				want = 0;
			else if (was < 8 && (now >= 8 || lost))
				want |= ENTRY_FLUSH;
			CHECK_EQ(shadow_set(dom, l2, 200, new), want);
			CHECK_EQ(refs(child[0]), 1 + (now < 8));
			CHECK_EQ(refs(child[1]), 1 + (now > 8));
			if (test_failures)
				return;
		}
	CHECK_EQ(shadow_set(dom, l2, 200, SPTE_EMPTY), ENTRY_CHANGED | ENTRY_FLUSH);
	shadow_put(dom, child[0]);
	shadow_put(dom, child[1]);
	FINISH();
}

TEST(replacing_an_entry_by_one_for_the_same_child_keeps_the_child)
{
	leaf_table();
	mfn_t l2 = shadow_of(2, SHADOW_L2_64), l1 = shadow_of(3, SHADOW_L1_64);
	spte_t entry = shadow_read(dom, l2, 0);

	CHECK_EQ(refs(l1), 1); // the entry alone: dropping first would destroy it
	CHECK_EQ(shadow_set(dom, l2, 0, (spte_t){ entry.v & ~PTE_W }), ENTRY_CHANGED | ENTRY_FLUSH);
	CHECK_EQ(shadow_of(3, SHADOW_L1_64).n, l1.n);
	CHECK_EQ(refs(l1), 1);
	CHECK_EQ(shadow_set(dom, l2, 0, entry), ENTRY_CHANGED);
	FINISH();
}

TEST(clearing_a_table_drops_every_reference)
{
	mfn_t l1 = leaf_table();
	u32 general[FIXTURE_FRAMES];

	for (u32 i = 6; i < FIXTURE_FRAMES; i++) {
		general[i] = page_references(fm(i)) - spte_present(shadow_read(dom, l1, i));
		CHECK(reads(vc(0), page(i)));
	}
	shadow_clear(dom, l1);
	for (u32 i = 6; i < FIXTURE_FRAMES; i++)
		CHECK_EQ(page_references(fm(i)), general[i]);
	for (u32 i = 0; i < 512; i++)
		CHECK_EQ(shadow_read(dom, l1, i).v, 0);
	tlb_flush(1);
	FINISH();
}

// The moment a splintered page is taken apart is remembered: INVLPG of one address is not enough then.
TEST(taking_a_fake_table_apart_is_stamped)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(2, 1, at(0, AS_LEAF | PTE_PS));
	CHECK(reads(vc(0), UINT64_C(0x200000) + page(9)));
	CHECK_EQ(dom->shadow.splinter_stamp, 0);
	poke(2, 1, 0);
	CHECK(dom->shadow.splinter_stamp != 0);
	FINISH();
}

// ---- pairs ------------------------------------------------------------------------------------------------

// spec A.2: one guest entry of 4 MiB is two shadow entries; equal rights, page 0 and page 1 of the child,
// one reference, from the even entry.
TEST(a_2_level_guest_on_pae_shadows_has_pairs)
{
	fixture_start(1, 64, 0);
	mfn_t l2 = vc(0)->shadow.root[0], child[2];

	for (u32 i = 0; i < 2; i++) {
		CHECK_EQ(table_get(dom, SHADOW_FL1_32, 0x400 * (i + 1), MFN_NONE, &child[i]), HV_OK);
		CHECK_EQ(shadow_get(child[i]), HV_OK);
	}
	static const u32 places[] = { 0, 1, 255, 256, 511, 1023 };

	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		u32 slot;
		u64 *table = host_frame(shadow_page_of(l2, places[i], &slot));
		u64 half[2] = { mfn_mpa(child[0]).a, mfn_mpa(mfn(page_of(child[0])->sibling)).a };

		CHECK_EQ(shadow_set(dom, l2, places[i], (spte_t){ half[0] | AS_LEAF }), ENTRY_CHANGED);
		CHECK_EQ(table[slot], half[0] | AS_LEAF);
		CHECK_EQ(table[slot + 1], half[1] | AS_LEAF);
		CHECK_EQ(refs(child[0]), 2);
		CHECK_EQ(shadow_set(dom, l2, places[i], (spte_t){ half[0] | AS_LEAF }), 0);
		// Fewer rights, then another child, then nothing: both halves each time.
		CHECK_EQ(shadow_set(dom, l2, places[i], (spte_t){ half[0] | (AS_LEAF & ~PTE_W) }),
			 ENTRY_CHANGED | ENTRY_FLUSH);
		CHECK_EQ(table[slot + 1], half[1] | (AS_LEAF & ~PTE_W));
		CHECK_EQ(refs(child[0]), 2);
		CHECK_EQ(shadow_set(dom, l2, places[i], (spte_t){ mfn_mpa(child[1]).a | AS_LEAF }),
			 ENTRY_CHANGED | ENTRY_FLUSH);
		CHECK_EQ(table[slot + 1], mfn_mpa(mfn(page_of(child[1])->sibling)).a | AS_LEAF);
		CHECK_EQ(refs(child[0]), 1);
		CHECK_EQ(refs(child[1]), 2);
		CHECK_EQ(shadow_set(dom, l2, places[i], SPTE_EMPTY), ENTRY_CHANGED | ENTRY_FLUSH);
		CHECK_EQ(table[slot] | table[slot + 1], 0);
		CHECK_EQ(refs(child[1]), 1);
	}
	shadow_put(dom, child[0]);
	shadow_put(dom, child[1]);
	FINISH();
}

TEST(clearing_pairs_drops_each_reference_once)
{
	fixture_start(1, 64, SHADOW_OPT_FAST);
	CHECK(reads(vc(0), UINT64_C(0x40000000)));
	CHECK(reads(vc(0), UINT64_C(0x00400000))); // a hole, through an fl1 of its own
	u32 live = dom->shadow.total_pages - dom->shadow.free_pages;

	CHECK_EQ(live, 2 * (4 + 2 + 2) + 1); // with links, and the PDPTEs
	HEALTHY();
	shadow_clear(dom, vc(0)->shadow.root[0]);
	CHECK_EQ(dom->shadow.dying.length, 2);
	drain();
	CHECK_EQ(dom->shadow.total_pages - dom->shadow.free_pages, 2 * 4 + 1);
	tlb_flush(1);
	FINISH();
}
