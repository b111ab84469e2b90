// SPDX-License-Identifier: GPL-2.0-or-later
// References: the counter's end, underflow, what the last one takes along, flags on guest frames. D22; rules 11, 15, 16.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// Shadows of f1 (L3), f2 (L2), f3 (L1) made by one access.
static mfn_t l4, l3, l2, l1;

static void tree(u32 opts)
{
	CHECK(fixture_paged(1, 0, opts));
	CHECK(reads(vc(0), page(9)));
	l4 = shadow_of(0, SHADOW_L4_64);
	l3 = shadow_of(1, SHADOW_L3_64);
	l2 = shadow_of(2, SHADOW_L2_64);
	l1 = shadow_of(3, SHADOW_L1_64);
	CHECK(!mfn_is_none(l4) && !mfn_is_none(l3) && !mfn_is_none(l2) && !mfn_is_none(l1));
}

TEST(a_full_counter_refuses_without_a_trace)
{
	tree(0);
	struct page_info *info = page_of(l1);
	u32 count = info->sh.count;

	info->sh.count = SHADOW_COUNT_MAX;
	struct page_info before = *info;

	CHECK_EQ(shadow_get(l1), HV_ENOMEM);
	CHECK(!memcmp(&before, info, sizeof(before)));
	info->sh.count = SHADOW_COUNT_MAX - 1;
	CHECK_EQ(shadow_get(l1), HV_OK);
	CHECK_EQ(info->sh.count, SHADOW_COUNT_MAX);
	info->sh.count = count & SHADOW_COUNT_MAX;
	FINISH();
}

TEST(the_last_reference_takes_the_tree_along)
{
	tree(0);
	u32 general = page_references(fm(3));
	u32 free = dom->shadow.free_pages, live = dom->shadow.shadow_count;

	CHECK(page_is_table(fm(1)) && page_is_table(fm(2)) && page_is_table(fm(3)));
	CHECK_EQ(shadow_set(dom, l4, 0, SPTE_EMPTY), ENTRY_CHANGED | ENTRY_FLUSH);
	tlb_flush(dom->shadow.cpus);
	CHECK(mfn_is_none(shadow_of(1, SHADOW_L3_64)) && !page_is_table(fm(1))); // at once
	CHECK_EQ(shadow_of(2, SHADOW_L2_64).n, l2.n);                              // the rest little by little
	CHECK_EQ(dom->shadow.shadow_count, live - 1);
	CHECK_EQ(dom->shadow.free_pages, free);
	HEALTHY();
	drain();
	CHECK(mfn_is_none(shadow_of(2, SHADOW_L2_64)));
	CHECK(mfn_is_none(shadow_of(3, SHADOW_L1_64)));
	CHECK(!page_is_table(fm(2)) && !page_is_table(fm(3)));
	CHECK(page_references(fm(3)) < general);
	CHECK_EQ(dom->shadow.free_pages, free + 3 * 2);
	CHECK_EQ(dom->shadow.shadow_count, live - 3);
	FINISH();
}

static void put_once_too_often(void)
{
	shadow_put(dom, l1);
	shadow_put(dom, l1);
}

TEST(underflow_stops_everything)
{
	tree(0);
	CHECK(fixture_fatal(put_once_too_often));
}

// ---- flags of guest frames -------------------------------------------------------------------------------

TEST(flags_live_in_the_stamp_and_the_stamp_comes_back)
{
	fixture_start(1, 0, 0);
	struct page_info *info = page_of(fm(5));

	info->stamp = 12345;
	shadow_promote(dom, fm(5), SHADOW_L1_64);
	CHECK_EQ(info->shadow_flags, BIT(SHADOW_L1_64)); // not the old stamp's bits
	shadow_promote(dom, fm(5), SHADOW_L4_64);
	CHECK_EQ(info->shadow_flags, BIT(SHADOW_L1_64) | BIT(SHADOW_L4_64));
	shadow_demote(dom, fm(5), SHADOW_L1_64);
	CHECK(page_is_table(fm(5)));
	tlb_flush(1);
	shadow_demote(dom, fm(5), SHADOW_L4_64);
	CHECK(!page_is_table(fm(5)));
	CHECK_EQ(info->stamp, tlb_clock());
	FINISH();
}

static void promote_writable(void)
{
	shadow_promote(dom, fm(5), SHADOW_L1_64);
}

static void promote_twice(void)
{
	shadow_promote(dom, fm(5), SHADOW_L1_64);
	shadow_promote(dom, fm(5), SHADOW_L1_64);
}

static void demote_never_promoted(void)
{
	shadow_demote(dom, fm(5), SHADOW_L1_64);
}

static void demote_another_type(void)
{
	shadow_promote(dom, fm(5), SHADOW_L1_64);
	shadow_demote(dom, fm(5), SHADOW_L2_64);
}

// D22: the checks are there in every build and have no effects.
TEST(D22_promotion_and_demotion_check_their_conditions)
{
	void (*wrong[])(void) = { promote_twice, demote_never_promoted, demote_another_type };

	fixture_start(1, 0, 0);
	page_of(fm(5))->type_info = 1;
	CHECK(fixture_fatal(promote_writable));
	CHECK_EQ(page_of(fm(5))->type_info, 1);
	CHECK(!page_is_table(fm(5)));
	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		fixture_start(1, 0, 0);
		CHECK(fixture_fatal(wrong[i]));
	}
}
