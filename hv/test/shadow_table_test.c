// SPDX-License-Identifier: GPL-2.0-or-later
// Making, finding and destroying shadows: keys, promotion with write access revoked first, failures, what a
// guest entry names. D16.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

TEST(a_table_is_found_by_frame_and_type)
{
	mfn_t smfn, again;

	CHECK(fixture_paged(1, 0, 0));
	u32 key = (u32)fm(9).n;

	CHECK(mfn_is_none(table_find(dom, SHADOW_L1_64, key)));
	CHECK_EQ(table_get(dom, SHADOW_L1_64, key, MFN_NONE, &smfn), HV_OK);
	CHECK(page_is_table(fm(9)));
	CHECK_EQ(table_find(dom, SHADOW_L1_64, key).n, smfn.n);
	CHECK(mfn_is_none(table_find(dom, SHADOW_L2_64, key)));
	CHECK_EQ(table_get(dom, SHADOW_L1_64, key, MFN_NONE, &again), HV_OK);
	CHECK_EQ(again.n, smfn.n);
	CHECK_EQ(table_get(dom, SHADOW_L2_64, key, MFN_NONE, &again), HV_OK); // another type of the same frame
	CHECK(again.n != smfn.n);
	CHECK_EQ(page_of(fm(9))->shadow_flags, BIT(SHADOW_L1_64) | BIT(SHADOW_L2_64));
	u32 general = page_references(fm(9));

	table_destroy(dom, smfn);
	CHECK_EQ(page_references(fm(9)), general - 1);
	CHECK(page_is_table(fm(9)));
	table_destroy(dom, again);
	CHECK(!page_is_table(fm(9)));
	CHECK(mfn_is_none(hash_find(dom, key, SHADOW_L2_64)));
	FINISH();
}

TEST(write_access_goes_before_a_frame_becomes_a_table)
{
	const struct tlb_entry *first;
	mfn_t smfn;

	CHECK(fixture_paged(2, 0, 0));
	CHECK(writes(vc(0), page(9), 1));
	CHECK(writes(vc(1), page(9), 2));
	CHECK(tlb_pages(0, &first) && tlb_pages(1, &first));
	CHECK_EQ(page_writable_count(fm(9)), 1);
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(9).n, MFN_NONE, &smfn), HV_OK);
	CHECK_EQ(page_writable_count(fm(9)), 0);
	CHECK_EQ(tlb_pages(0, &first), 0); // both may have held it
	CHECK_EQ(tlb_pages(1, &first), 0);
	CHECK(!(spte_at(vc(0), page(9), 0).v & PTE_W));
	CHECK(spte_present(spte_at(vc(0), page(9), 0))); // reading goes on
	table_destroy(dom, smfn);
	FINISH();
}

TEST(a_frame_that_cannot_be_protected_kills)
{
	mfn_t smfn;

	CHECK(fixture_paged(1, 0, 0));
	page_of(fm(9))->type_info = 1; // a writable mapping that nobody knows of
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(9).n, MFN_NONE, &smfn), HV_ENOMEM);
	CHECK(dom->dead);
	CHECK(!page_is_table(fm(9)));
	page_of(fm(9))->type_info = 0;
	FINISH();

	CHECK(fixture_paged(1, 0, 0));
	u32 count = page_of(fm(9))->count_info, free = dom->shadow.free_pages;

	page_of(fm(9))->count_info = PAGE_ALLOCATED | PAGE_COUNT_MASK;
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(9).n, MFN_NONE, &smfn), HV_ENOMEM);
	CHECK(dom->dead);
	CHECK(!page_is_table(fm(9)));
	CHECK_EQ(dom->shadow.free_pages, free);
	page_of(fm(9))->count_info = count;
	FINISH();
}

TEST(fake_tables_touch_no_guest_frame)
{
	mfn_t smfn;

	CHECK(fixture_paged(1, 0, 0));
	u32 general = page_references(fm(0));

	CHECK_EQ(table_get(dom, SHADOW_FL1_64, (u32)fg(0).n, MFN_NONE, &smfn), HV_OK);
	CHECK_EQ(page_of(smfn)->back, fg(0).n); // a gfn, not a frame
	CHECK_EQ(page_references(fm(0)), general);
	table_destroy(dom, smfn);
	FINISH();
}

TEST(D16_what_an_entry_names)
{
	u32 type, key;

	CHECK(fixture_paged(1, 0, 0));
	CHECK(table_child(dom, SHADOW_L4_64, (gpte_t){ at(5, AS_TABLE) }, &type, &key));
	CHECK_EQ(type, SHADOW_L3_64);
	CHECK_EQ(key, fm(5).n);
	CHECK(!table_child(dom, SHADOW_L4_64, (gpte_t){ hole(0, AS_TABLE) }, &type, &key));
	CHECK(table_child(dom, SHADOW_L2_64, (gpte_t){ at(0, AS_LEAF | PTE_PS) }, &type, &key));
	CHECK_EQ(type, SHADOW_FL1_64);
	CHECK_EQ(key, fg(0).n);
	CHECK(table_child(dom, SHADOW_L2_64, (gpte_t){ at(0, AS_LEAF | PTE_PS | PTE_PAT_LARGE) }, &type, &key));
	CHECK_EQ(key, fg(0).n); // the same key whatever the memory type (spec A.10)
	CHECK(table_child(dom, SHADOW_L3_64, (gpte_t){ at(0, AS_LEAF | PTE_PS) }, &type, &key));
	CHECK_EQ(type, SHADOW_FL2_64);
	CHECK(table_child(dom, SHADOW_FL2_64, (gpte_t){ at(0, AS_LEAF | PTE_PS) }, &type, &key));
	CHECK_EQ(type, SHADOW_FL1_64);
	CHECK(table_child(dom, SHADOW_L2_32, (gpte_t){ 0x00800000 | AS_LEAF | PTE_PS }, &type, &key));
	CHECK_EQ(type, SHADOW_FL1_32);
	CHECK_EQ(key, 0x800);
	CHECK(table_child(dom, SHADOW_L2_64, (gpte_t){ hole(0, AS_TABLE) & ~PTE_PS }, &type, &key) == false);
	FINISH();
}

static void destroy_referenced(void)
{
	table_destroy(dom, vc(0)->shadow.root[0]);
}

TEST(live_tables_are_not_destroyed)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK(fixture_fatal(destroy_referenced));
}

// Shadows of 1 GiB and 2 MiB pages nest: L3 -> fl2 -> fl1, and go together.
TEST(large_pages_are_splintered_and_go_with_their_parent)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(1, 1, at(0, AS_LEAF | PTE_PS)); // 1 GiB at va 1 GiB
	CHECK(writes(vc(0), UINT64_C(0x40000000) + page(9), 0x1234));
	CHECK_EQ(word(9, 0), 0x1234);
	mfn_t fl2 = hash_find(dom, (u32)fg(0).n, SHADOW_FL2_64), fl1 = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64);

	CHECK(!mfn_is_none(fl2) && !mfn_is_none(fl1));
	CHECK_EQ(page_of(fl2)->maps, rmap_number(shadow_of(1, SHADOW_L3_64), 1));
	CHECK_EQ(page_of(fl1)->maps, rmap_number(fl2, 0));
	HEALTHY();
	poke(1, 1, 0);
	CHECK(mfn_is_none(hash_find(dom, (u32)fg(0).n, SHADOW_FL2_64)));
	drain();
	CHECK(mfn_is_none(hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64)));
	FINISH();
}

TEST(a_large_page_in_two_places_has_one_shadow)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(2, 1, at(0, AS_LEAF | PTE_PS));
	poke(2, 2, at(0, AS_LEAF | PTE_PS | PTE_PAT_LARGE));
	CHECK(writes(vc(0), UINT64_C(0x200000) + page(9), 1));
	CHECK(writes(vc(0), UINT64_C(0x400000) + page(9), 2));
	mfn_t fl1 = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64);

	CHECK_EQ(refs(fl1), 2);
	mfn_t l2 = shadow_of(2, SHADOW_L2_64);

	CHECK(map_count(fl1) == 2 && is_mapped_by(fl1, l2, 1) && is_mapped_by(fl1, l2, 2));
	poke(2, 1, 0);
	CHECK_EQ(refs(fl1), 1);
	CHECK(map_count(fl1) == 1 && is_mapped_by(fl1, l2, 2));
	CHECK(writes(vc(0), UINT64_C(0x400000) + page(9), 3));
	FINISH();
}
