// SPDX-License-Identifier: GPL-2.0-or-later
// What a checker says: one text at a time, in one buffer, cut when it is too long. And what an assertion says.
// link: hv/test/fixture.c
#include "test.h"

#include "../base/report.h"
#include "fixture.h"

TEST(a_report_is_the_formatted_text)
{
	CHECK_STR(broken("E1.15 refcount: 0x%x has %u", 0x12, 3), "E1.15 refcount: 0x12 has 3");
}

TEST(the_next_report_takes_the_place_of_the_last)
{
	const char *first = broken("E1.1 one");
	const char *second = broken("E1.2 two");

	CHECK(first == second);
	CHECK_STR(first, "E1.2 two");
}

TEST(a_long_report_is_cut)
{
	char longest[400];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	CHECK_EQ(strlen(broken("%s", longest)), 159);
}

static void fail_assertion(void)
{
	hv_assert(1 + 1 == 3);
}

TEST(a_failed_assertion_names_place_and_condition)
{
	const char *why = fixture_fatal(fail_assertion);

	CHECK(why && strstr(why, "assertion failed: 1 + 1 == 3"));
	CHECK(why && strstr(why, "base_report_test.c:"));
}

TEST(every_status_has_a_name)
{
	for (u32 i = 0; i < HV_STATUS_COUNT; i++)
		CHECK(hv_status_name((enum hv_status)i)[0] != '?');
	CHECK_STR(hv_status_name((enum hv_status)HV_STATUS_COUNT), "?");
	CHECK_STR(hv_status_name(HV_ENOMEM), "enomem");
}

TEST(a_place_belongs_to_the_last_text)
{
	CHECK(report_at(NULL, 0x12, 3) == NULL);
	CHECK_STR(report_at(broken("E1.30 entry"), 0x12, 3), "E1.30 entry");
	CHECK_EQ(report_place().mfn, 0x12);
	CHECK_EQ(report_place().slot, 3);
	CHECK(report_at(NULL, 0x13, 4) == NULL);
	CHECK_EQ(report_place().mfn, 0x12);
	broken("E1.1 no place");
	CHECK_EQ(report_place().mfn, 0);
}
