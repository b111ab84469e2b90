// SPDX-License-Identifier: GPL-2.0-or-later
// References: the counter's end, up-pointers (first parent alone), destruction, flags on guest frames.
// D1, D22; rules 11, 15, 16, 20, 21.
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
	info->up = 0;
	struct page_info before = *info;

	CHECK_EQ(shadow_get(dom, l1, mpa(0x1234560)), HV_ENOMEM);
	CHECK(!memcmp(&before, info, sizeof(before)));
	info->sh.count = SHADOW_COUNT_MAX - 1;
	CHECK_EQ(shadow_get(dom, l1, mpa(0x1234560)), HV_OK);
	CHECK_EQ(info->sh.count, SHADOW_COUNT_MAX);
	CHECK_EQ(info->up, 0x1234560);
	info->sh.count = count & SHADOW_COUNT_MAX;
	info->up = 0; // legal at any time (rule 21)
	FINISH();
}

TEST(up_names_the_first_parent_that_lives)
{
	tree(0);
	struct page_info *info = page_of(l1);
	u64 first = info->up;

	CHECK_EQ(first, mfn_mpa(l2).a);
	CHECK_EQ(shadow_get(dom, l1, mpa(0x777008)), HV_OK);
	CHECK_EQ(info->up, first);
	shadow_put(dom, l1, mpa(0x777008));
	CHECK_EQ(info->up, first);
	CHECK_EQ(shadow_get(dom, l1, mpa(0x777008)), HV_OK);
	shadow_put(dom, l1, mpa(first)); // the recorded one goes: nobody is named, although one is left
	CHECK_EQ(info->up, 0);
	CHECK_EQ(info->sh.count, 1);
	CHECK_EQ(shadow_get(dom, l1, mpa(first)), HV_OK);
	CHECK_EQ(info->up, first);
	shadow_put(dom, l1, mpa(0x777008));
	FINISH();
}

TEST(a_slot_is_no_parent)
{
	tree(0);
	page_of(l1)->up = 0;
	CHECK_EQ(shadow_get(dom, l1, mpa(0)), HV_OK);
	CHECK_EQ(page_of(l1)->up, 0);
	shadow_put(dom, l1, mpa(0));
	FINISH();
}

// D1: types that are pinnable never use `up`, whose storage is the links of the pinned list; types that
// are not do. Level-3 tables are one or the other.
TEST(D1_up_is_for_types_that_are_not_pinnable)
{
	tree(SHADOW_OPT_LINUX_L3);
	CHECK(pinned(l3));
	CHECK(page_of(l2)->up && page_of(l1)->up);
	struct page_info before = *page_of(l3);

	CHECK_EQ(shadow_get(dom, l3, mpa(0x777008)), HV_OK);
	before.sh.count++;
	CHECK(!memcmp(&before, page_of(l3), sizeof(before)));
	shadow_put(dom, l3, mpa(page_of(l3)->up)); // looks like its own link: still no change of it
	before.sh.count--;
	CHECK(!memcmp(&before, page_of(l3), sizeof(before)));
	CHECK_STR(pin_check(dom), NULL);
	FINISH();

	tree(0);
	CHECK(!pinned(l3));
	CHECK_EQ(page_of(l3)->up, mfn_mpa(l4).a);
	CHECK_EQ(page_of(l2)->up, mfn_mpa(l3).a);
	FINISH();
}

TEST(the_last_reference_takes_the_tree_along)
{
	tree(0);
	u32 general = page_references(fm(3));
	u32 free = dom->shadow.free_pages;

	CHECK(page_is_table(fm(1)) && page_is_table(fm(2)) && page_is_table(fm(3)));
	CHECK_EQ(shadow_set(dom, l4, 0, SPTE_EMPTY), ENTRY_CHANGED | ENTRY_FLUSH);
	CHECK(mfn_is_none(shadow_of(1, SHADOW_L3_64)));
	CHECK(mfn_is_none(shadow_of(2, SHADOW_L2_64)));
	CHECK(mfn_is_none(shadow_of(3, SHADOW_L1_64)));
	CHECK(!page_is_table(fm(1)) && !page_is_table(fm(2)) && !page_is_table(fm(3)));
	CHECK(page_references(fm(3)) < general);
	CHECK_EQ(dom->shadow.free_pages, free + 3);
	FINISH();
}

static void put_once_too_often(void)
{
	shadow_put(dom, l1, mpa(0));
	shadow_put(dom, l1, mpa(0));
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
