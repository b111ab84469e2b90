// SPDX-License-Identifier: GPL-2.0-or-later
// Taking access away (spec A.15) along reverse maps: write access, mappings, shadows; loaded roots; a table that is all four
// levels of itself. D4.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define DIRECT UINT64_C(0xffff800000000000)

// A second tree f10 -> f11 -> f12 behind slot `slot` of f0, whose level-3 index is `third`: all RAM there.
static void second_tree(u32 slot, u32 third)
{
	poke(0, slot, at(10, AS_TABLE));
	poke(10, third, at(11, AS_TABLE));
	poke(11, 0, at(12, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(12, i, at(i, AS_LEAF));
}

static void no_writer_is_left(u32 n)
{
	CHECK_EQ(page_writable_count(fm(n)), 0);
	for_each_shadow(dom, s)
		for (u32 i = 0; shadow_row(shadow_type_of(mfn(s)))->level == 0 && i < 512; i++) {
			spte_t e = shadow_read(dom, mfn(s), i);

			CHECK(!(spte_present(e) && (e.v & PTE_W) && spte_mfn(e).n == fm(n).n));
		}
}

// ---- write access --------------------------------------------------------------------------------------

TEST(all_mappings_in_all_tables_lose_write_access)
{
	CHECK(fixture_paged(1, 0, 0));
	second_tree(256, 1);
	poke(3, 100, at(5, AS_LEAF));
	poke(2, 1, at(0, AS_LEAF | PTE_PS));
	CHECK(writes(vc(0), page(5), 1));
	CHECK(writes(vc(0), page(100), 2));
	CHECK(writes(vc(0), DIRECT + gfn_gpa(fg(5)).a, 3));
	CHECK(writes(vc(0), UINT64_C(0x200000) + page(5), 4));
	CHECK_EQ(page_writable_count(fm(5)), 4);
	CHECK(access_remove_write(dom, fm(5)));
	no_writer_is_left(5);
	tlb_flush(dom->shadow.cpus);
	HEALTHY();
	CHECK(writes(vc(0), page(5), 5)); // faults, and is writable again
	CHECK_EQ(word(5, 0), 5);
	FINISH();
}

TEST(flush_is_asked_for_exactly_while_somebody_may_hold_a_translation)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK(!access_remove_write(dom, fm(5))); // never mapped, nothing since the last flush
	CHECK(writes(vc(0), page(5), 1));
	poke(3, 5, at(5, AS_LEAF & ~PTE_W)); // the guest took it away itself and owes a flush
	CHECK_EQ(page_writable_count(fm(5)), 0);
	CHECK(access_remove_write(dom, fm(5)));
	tlb_flush(dom->shadow.cpus);
	CHECK(!access_remove_write(dom, fm(5)));
	CHECK(!access_remove_write(dom, fm(3))); // a table already
	FINISH();
}

// So many visits as the frame has mappings, whatever else the tables hold; and none when nothing is writable.
TEST(the_cost_is_the_frames_own_mappings)
{
	CHECK(fixture_paged(1, 128, 0));
	for (u32 i = 64; i < 64 + 24; i++)
		poke(3, i, at(i & 1 ? 5 : 6, AS_LEAF));
	for (u32 maps = 1; maps <= 12; maps++) {
		for (u32 i = 0; i < 24; i++)
			CHECK(reads(vc(0), page(64 + i)));
		for (u32 i = 0; i < maps; i++)
			CHECK(writes(vc(0), page(65 + 2 * i), i));
		u64 before = dom->shadow.stats.visits, removed = dom->shadow.stats.write_removed;
		u32 writable = page_writable_count(fm(5));

		CHECK(access_remove_write(dom, fm(5)));
		tlb_flush(dom->shadow.cpus);
		CHECK(dom->shadow.stats.visits - before <= 2 * map_count(fm(5)));
		CHECK_EQ(dom->shadow.stats.write_removed - removed, writable);
		before = dom->shadow.stats.visits;
		CHECK(!access_remove_write(dom, fm(5)));
		CHECK_EQ(dom->shadow.stats.visits, before);
		no_writer_is_left(5);
	}
	CHECK(page_writable_count(fm(6)) > 0); // the others' rights stay
	FINISH();
}

TEST(all_mappings_of_a_frame_go)
{
	const struct tlb_entry *first;

	CHECK(fixture_paged(2, 0, 0));
	second_tree(256, 1);
	CHECK(writes(vc(0), page(5), 1));
	CHECK(reads(vc(1), DIRECT + gfn_gpa(fg(5)).a));
	CHECK(page_references(fm(5)) >= 3);
	access_remove_mappings(dom, fm(5));
	CHECK_EQ(page_references(fm(5)), 1);
	CHECK_EQ(page_writable_count(fm(5)), 0);
	CHECK_EQ(tlb_pages(0, &first) + tlb_pages(1, &first), 0);
	FINISH();
}

// Entries on both pages of a level-1 shadow of two.
TEST(reverse_maps_cover_shadows_of_several_pages)
{
	fixture_start(1, 64, 0);
	for (u32 i = 0; i < 3; i++)
		CHECK_EQ(domain_add_ram(dom, gfn(0x40200 + 0x100 * i)), HV_OK); // 2 MiB and more into the 4 MiB
	u64 va = UINT64_C(0x40200000);

	CHECK(writes(vc(0), va, 1));
	mfn_t m = p2m_lookup(&dom->p2m, gfn(0x40200));

	CHECK_EQ(page_writable_count(m), 1);
	CHECK(access_remove_write(dom, m));
	CHECK_EQ(page_writable_count(m), 0);
	tlb_flush(dom->shadow.cpus);
	access_remove_mappings(dom, m);
	CHECK_EQ(page_references(m), 1);
	FINISH();
}

// ---- shadows -------------------------------------------------------------------------------------------

TEST(roots_that_are_not_loaded_go_with_their_pin)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	access_remove_shadows(dom, fm(0), false);
	CHECK(!page_is_table(fm(0)));
	CHECK_EQ(dom->shadow.stats.detached, 0);
	FINISH();
}

TEST(loaded_roots_stay_unless_all_must_go)
{
	CHECK(fixture_paged(1, 0, 0));
	access_remove_shadows(dom, fm(0), false);
	CHECK(page_is_table(fm(0)));
	CHECK(!dom->dead);
	HEALTHY();
	access_remove_shadows(dom, fm(0), true);
	CHECK(!page_is_table(fm(0)));
	CHECK(shadow_root_is_detached(vc(0)));
	FINISH();
}

TEST(a_frame_without_shadows_is_left_alone)
{
	CHECK(fixture_paged(1, 0, 0));
	host_arm_failure(1); // not even a reservation is asked for
	access_remove_shadows(dom, fm(9), true);
	CHECK(!host_arm_failure(0));
	FINISH();
}

// f0 maps itself: the last page of memory is f0, reached through f0 as level 4, 3, 2 and 1.
#define SELF_SLOT 511u
#define SELF_VA UINT64_C(0xfffffffffffff000)

static void all_levels_at_once(u32 opts)
{
	CHECK(fixture_paged(1, 0, opts));
	poke(0, SELF_SLOT, at(0, AS_LEAF));
	CHECK(reads(vc(0), SELF_VA));
	CHECK_EQ(page_of(fm(0))->shadow_flags,
		 BIT(SHADOW_L4_64) | BIT(SHADOW_L3_64) | BIT(SHADOW_L2_64) | BIT(SHADOW_L1_64));
	HEALTHY();
}

// D4: removing one of its shadows takes others along; each flag is looked at afresh.
TEST(D4_a_table_that_is_all_levels_of_itself_is_unshadowed)
{
	for (u32 mode = 0; mode < 4; mode++) {
		bool all = mode & 1;

		all_levels_at_once(mode & 2 ? SHADOW_OPT_ALL : 0);
		access_remove_shadows(dom, fm(0), all);
		CHECK(!dom->dead);
		CHECK_STR(ref_check(dom), NULL);
		HEALTHY();
		if (all)
			CHECK(!page_is_table(fm(0)));
		CHECK(reads(vc(0), page(9)));
		CHECK(reads(vc(0), SELF_VA));
		FINISH();
	}
}

TEST(D4_the_same_when_it_is_not_loaded)
{
	all_levels_at_once(SHADOW_OPT_ALL);
	poke(4, 0, at(1, AS_TABLE));
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	CHECK(page_is_table(fm(0)));
	access_remove_shadows(dom, fm(0), false);
	CHECK(!page_is_table(fm(0)));
	FINISH();
}

// The guest writes its self-map through itself, at every level, and the shadows follow.
TEST(a_table_that_is_all_levels_of_itself_is_written)
{
	all_levels_at_once(SHADOW_OPT_ALL & ~SHADOW_OPT_EARLY);
	for (u32 i = 1; i < 20; i++) {
		CHECK(writes(vc(0), SELF_VA + 8 * i, at(i % 3 ? 1 : 9, AS_LEAF)));
		CHECK_EQ(word(0, i), at(i % 3 ? 1 : 9, AS_LEAF));
		HEALTHY();
	}
	CHECK(writes(vc(0), SELF_VA + 8 * SELF_SLOT, 0)); // it cuts off the branch it sits on
	CHECK_EQ(go(vc(0), CPU_READ, SELF_VA, 8, 0, 0).end, CPU_FAULT);
	FINISH();
}

TEST(forgetting_a_frame_leaves_neither_shadow_nor_mapping)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK(reads(vc(0), page(3)));
	CHECK(writes(vc(0), page(9), 1));
	shadow_forget_frame(dom, fm(3));
	CHECK(!page_is_table(fm(3)));
	CHECK_EQ(page_references(fm(3)), 1);
	shadow_forget_frame(dom, fm(9));
	CHECK_EQ(page_references(fm(9)), 1);
	FINISH();
}
