// SPDX-License-Identifier: GPL-2.0-or-later
// The type table against spec A.1 and A.2, written out once more, and its agreement with itself.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

static const struct expected {
	u32 type, pages, fanout, entries, level;
	bool protects, root, pinnable;
} expected[] = {
	{ SHADOW_L1_32, 2, 1, 1024, 0, true, false, false },
	{ SHADOW_FL1_32, 2, 1, 1024, 0, false, false, false },
	{ SHADOW_L2_32, 4, 2, 1024, 1, true, true, true },
	{ SHADOW_L1_PAE, 1, 1, 512, 0, true, false, false },
	{ SHADOW_FL1_PAE, 1, 1, 512, 0, false, false, false },
	{ SHADOW_L2_PAE, 1, 1, 512, 1, true, true, true },
	{ SHADOW_L1_64, 1, 1, 512, 0, true, false, false },
	{ SHADOW_FL1_64, 1, 1, 512, 0, false, false, false },
	{ SHADOW_L2_64, 1, 1, 512, 1, true, false, false },
	{ SHADOW_FL2_64, 1, 1, 512, 1, false, false, false },
	{ SHADOW_L3_64, 1, 1, 512, 2, true, false, true },
	{ SHADOW_L4_64, 1, 1, 512, 3, true, true, true },
	{ SHADOW_DETACHED_64, 1, 1, 512, 3, false, true, false },
	{ SHADOW_DETACHED_32, 4, 2, 1024, 1, false, true, false },
	{ SHADOW_DETACHED_PAE, 1, 1, 512, 1, false, true, false },
};

TEST(rows_are_those_of_the_spec)
{
	u32 rows = 0;

	for (u32 t = 0; t < SHADOW_TYPE_COUNT; t++)
		rows += shadow_rows[t].name != NULL;
	CHECK_EQ(rows, ARRAY_LEN(expected));
	for (u32 i = 0; i < ARRAY_LEN(expected); i++) {
		const struct expected *e = &expected[i];
		const struct shadow_row *row = shadow_row(e->type);

		CHECK_EQ(shadow_pages(row), e->pages);
		CHECK_EQ(shadow_fanout(row), e->fanout);
		CHECK_EQ(shadow_entries(row), e->entries);
		CHECK_EQ(row->level, e->level);
		CHECK_EQ(row->protects, e->protects);
		CHECK_EQ(row->root, e->root);
		CHECK_EQ(row->pinnable, e->pinnable);
		CHECK(row->fake ? !row->protects : true);
		CHECK(shadow_pages(row) * 512 == shadow_entries(row) * shadow_fanout(row));
	}
}

TEST(numbers_of_the_types_of_the_spec_fit_flags_and_descriptor)
{
	CHECK_EQ(SHADOW_L1_32, 1);
	CHECK_EQ(SHADOW_FL1_32, 2);
	CHECK_EQ(SHADOW_L2_32, 3);
	CHECK(SHADOW_TYPE_COUNT <= 32);
	for (u32 i = 0; i < ARRAY_LEN(expected); i++)
		CHECK(expected[i].type && expected[i].type < 32);
}

TEST(children_are_one_level_down_in_the_same_family)
{
	for (u32 i = 0; i < ARRAY_LEN(expected); i++) {
		const struct shadow_row *row = shadow_row(expected[i].type);
		const u8 children[] = { row->child, row->child_fake };

		for (u32 k = 0; k < 2; k++) {
			if (!children[k])
				continue;
			const struct shadow_row *child = shadow_row(children[k]);

			CHECK_EQ(child->level + 1, row->level);
			CHECK_EQ(child->guest_mode, row->guest_mode);
			CHECK_EQ(child->shadow_mode, row->shadow_mode);
			CHECK_EQ(child->fake, k == 1);
			CHECK(!child->root);
		}
		if (row->level == 0)
			CHECK(!row->child && !row->child_fake);
	}
}

// spec A.8: level-3 tables are pinnable while the option is in force.
TEST(what_can_be_pinned)
{
	fixture_start(1, 0, SHADOW_OPT_ALL);
	for (u32 on = 0; on < 2; on++) {
		dom->shadow.opt_flags = on ? SHADOW_OPT_LINUX_L3 : 0;
		for (u32 i = 0; i < ARRAY_LEN(expected); i++) {
			u32 t = expected[i].type;

			CHECK_EQ(shadow_pinnable(dom, t), t == SHADOW_L3_64 ? on : expected[i].pinnable);
		}
	}
	dom->shadow.opt_flags = SHADOW_OPT_LINUX_L3;
	FINISH();
}

static void ask_for_nothing(void)
{
	shadow_row(SHADOW_NONE);
}

static void ask_beyond(void)
{
	shadow_row(SHADOW_TYPE_COUNT);
}

TEST(types_that_do_not_exist_stop_everything)
{
	CHECK(fixture_fatal(ask_for_nothing));
	CHECK(fixture_fatal(ask_beyond));
}
