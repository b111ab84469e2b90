// SPDX-License-Identifier: GPL-2.0-or-later
// Donors: what their frames hold, what deeds do to what is mapped, who goes first, and every step failing once. Rules 18, 47, 50, 52.
// link: hv/test/fixture.c
#include "test.h"

#include "../domain/donor.h"
#include "../domain/migrate.h"
#include "fixture.h"

static struct donor donor;

static enum hv_status lend(gfn_t g, u64 gift) { return donor_hypercall(&donor, dom, HYPERCALL_FOREIGN, g.n, gift + 1); }
static enum hv_status take_back(gfn_t g) { return donor_hypercall(&donor, dom, HYPERCALL_FOREIGN, g.n, 0); }
static enum hv_status deed(u64 what, u64 gift) { return donor_hypercall(&donor, dom, HYPERCALL_DONOR, what, gift); }
static gfn_t hole_gfn(u32 n) { return gfn(HOLE_GFN + n); }

static bool begin(void)
{
	donor = (struct donor){ 0 };
	return fixture_paged(2, 0, SHADOW_OPT_ALL);
}

// All of the frame at g is gift `gift`, renewed so often.
static bool holds(gfn_t g, u32 gift, u32 generation)
{
	u64 words[DONOR_WORDS];
	u32 i = 0;

	if (domain_read(dom, gfn_gpa(g), words, sizeof(words)) != HV_OK)
		return false;
	while (i < DONOR_WORDS && words[i] == donor_word(gift, generation, i))
		i++;
	return i == DONOR_WORDS;
}

static void finish(void)
{
	HEALTHY();
	if (donor.d)
		CHECK_STR(hv_check(donor.d, true), NULL);
	CHECK_STR(donor_finish(&donor), NULL);
	CHECK_STR(donor_finish(&donor), NULL);
	HEALTHY();
	FINISH();
}

TEST(words_say_which_gift_it_is_and_lead_to_frames)
{
	for (u32 gift = 0; gift < DONOR_FRAMES; gift++)
		for (u32 n = 0; n < 20; n++)
			for (u32 i = 0; i < DONOR_WORDS; i++) {
				u64 word = donor_word(gift, n, i), high = i & 1 ? (u64)n << 17 | gift << 13 | i << 1 : 0;

				CHECK_EQ(word >> 32, high);
				CHECK_EQ((word & UINT32_MAX) >> FRAME_SHIFT, FIXTURE_GFN + (i + gift + n) % 16);
				CHECK_EQ(word & 0xfff, (n & 1) << 11 | gift << 9 | 0x67);
			}
}

TEST(arguments_are_checked)
{
	CHECK(begin());
	CHECK_EQ(donor_hypercall(&donor, dom, HYPERCALL_PAUSE, 0, 0), HV_EINVAL);
	CHECK_EQ(lend(hole_gfn(0), DONOR_FRAMES), HV_EINVAL);
	CHECK_EQ(lend(hole_gfn(0), UINT64_MAX - 1), HV_EINVAL);
	CHECK_EQ(deed(DONOR_DEED_COUNT, 0), HV_EINVAL);
	CHECK_EQ(deed(UINT64_MAX, 0), HV_EINVAL);
	CHECK_EQ(deed(DONOR_DROP, DONOR_FRAMES), HV_EINVAL);
	CHECK_EQ(deed(DONOR_RENEW, BIT(32)), HV_EINVAL);
	CHECK_EQ(deed(DONOR_END, 1), HV_EINVAL);
	CHECK_EQ(take_back(hole_gfn(0)), HV_ENOENT);
	CHECK(!donor.d);
	CHECK_EQ(lend(gfn(BIT(P2M_GFN_BITS)), 0), HV_EINVAL);
	CHECK_EQ(lend(gfn(BIT(32) + HOLE_GFN), 0), HV_EINVAL);
	CHECK_EQ(lend(fg(3), 0), HV_EBUSY);
	finish();
}

TEST(a_gift_stays_what_it_was)
{
	CHECK(begin());
	for (u32 i = 0; i < DONOR_FRAMES; i++)
		CHECK_EQ(lend(hole_gfn(i), i), HV_OK);
	CHECK_EQ(deed(DONOR_RENEW, 1), HV_OK);
	CHECK_EQ(deed(DONOR_DROP, 2), HV_OK);
	CHECK_EQ(deed(DONOR_DROP, 2), HV_ENOENT);
	CHECK_EQ(donor_given_up(&donor), 4);
	for (u32 i = 0; i < DONOR_FRAMES; i++)
		CHECK(holds(hole_gfn(i), i, 0));
	CHECK_EQ(lend(hole_gfn(4), 2), HV_ENOENT);
	CHECK_EQ(lend(hole_gfn(4), 1), HV_OK);
	CHECK(holds(hole_gfn(4), 1, 1));
	CHECK_EQ(deed(DONOR_END, 0), HV_OK);
	CHECK_EQ(lend(hole_gfn(5), 2), HV_OK);
	CHECK(holds(hole_gfn(5), 2, 1) && holds(hole_gfn(2), 2, 0) && holds(hole_gfn(4), 1, 1));
	mfn_t m = p2m_get(&dom->p2m, hole_gfn(1)).frame;

	CHECK_EQ(page_holds(m), 1);
	CHECK_EQ(take_back(hole_gfn(1)), HV_OK);
	CHECK(!host_frame_owned(m));
	CHECK_EQ(take_back(hole_gfn(1)), HV_ENOENT);
	finish();
}

// Holds of a frame are left over for whom has to have them: instructions under way, the copy of a migration.
TEST(a_gift_is_not_mapped_as_often_as_it_can_be_held)
{
	u64 sent;

	CHECK(begin());
	for (u32 i = 0; i < PAGE_FOREIGN_MAX; i++)
		CHECK_EQ(lend(hole_gfn(i), 0), HV_OK);
	CHECK_EQ(lend(hole_gfn(PAGE_FOREIGN_MAX), 0), HV_ENOMEM);
	CHECK_EQ(lend(hole_gfn(PAGE_FOREIGN_MAX), 1), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(migrate_round(dom, &sent), HV_OK);
	CHECK_EQ(page_holds(p2m_get(&dom->p2m, hole_gfn(0)).frame), 2 * PAGE_FOREIGN_MAX);
	poke(3, 40, gfn_gpa(hole_gfn(0)).a | AS_LEAF);
	CHECK_EQ(go(vc(0), CPU_READ, page(40), 8, 0, 0).value[0], donor_word(0, 0, 0));
	CHECK_EQ(migrate_cancel(dom), HV_OK);
	CHECK_EQ(take_back(hole_gfn(7)), HV_OK);
	CHECK_EQ(lend(hole_gfn(PAGE_FOREIGN_MAX + 1), 0), HV_OK);
	finish();
}

TEST(rule_52_the_guest_may_go_first)
{
	CHECK(begin());
	CHECK_EQ(lend(hole_gfn(0), 0), HV_OK);
	CHECK_EQ(lend(hole_gfn(1), 0), HV_OK);
	CHECK_EQ(lend(hole_gfn(2), 1), HV_OK);
	CHECK_EQ(deed(DONOR_DROP, 1), HV_OK);
	CHECK_STR(domain_destroy(dom), NULL);
	dom = donor.d;
	CHECK_STR(hv_check(dom, true), NULL);
	donor.d = NULL;
	CHECK_STR(fixture_end(), NULL);
}

// The copy has the same frames, those too that nobody owns any more.
TEST(gifts_go_along_with_a_migration)
{
	struct domain *to;

	CHECK(begin());
	for (u32 i = 0; i < 3; i++)
		CHECK_EQ(lend(hole_gfn(i), i), HV_OK);
	CHECK_EQ(deed(DONOR_DROP, 1), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_MIGRATE, MIGRATE_ROUND, 0), HV_OK);
	CHECK_EQ(deed(DONOR_END, 0), HV_OK);
	CHECK_EQ(lend(hole_gfn(3), 0), HV_OK);
	CHECK_EQ(take_back(hole_gfn(0)), HV_OK);
	CHECK_EQ(migrate_finish(dom, &to, NULL), HV_OK);
	CHECK_STR(domain_destroy(dom), NULL);
	dom = to;
	CHECK(holds(hole_gfn(1), 1, 0) && holds(hole_gfn(2), 2, 0) && holds(hole_gfn(3), 0, 1));
	CHECK_EQ(p2m_get(&dom->p2m, hole_gfn(0)).type, P2M_HOLE);
	finish();
}

// Nothing has changed after a failure, and then it works.
TEST(rule_50_each_step_fails_once)
{
	for (u32 what = 0; what < 5; what++) {
		bool failed = true;

		for (u32 k = 1; failed; k++) {
			CHECK(begin());
			if (what)
				CHECK_EQ(lend(hole_gfn(0), 0), HV_OK);
			for (u32 again = 0; again < 2; again++) {
				host_arm_failure(again ? 0 : k);
				enum hv_status status = what == 0   ? lend(hole_gfn(0), 0)
							: what == 1 ? lend(hole_gfn(1), 0)
							: what == 2 ? take_back(hole_gfn(0))
								    : deed(what - 3, 0);

				failed = host_arm_failure(0) || again;
				CHECK(status == HV_OK || (!again && status == HV_ENOMEM));
				if (status == HV_OK)
					break;
				CHECK_EQ(p2m_get(&dom->p2m, hole_gfn(0)).type, what ? P2M_FOREIGN : P2M_HOLE);
				CHECK(!donor.generation[0] && !donor.state && !donor_given_up(&donor));
				HEALTHY();
			}
			CHECK_EQ(donor.generation[0], what == 3);
			CHECK(!what || what == 2 || holds(hole_gfn(0), 0, 0));
			finish();
		}
	}
}

// ---- two at once -----------------------------------------------------------------------------------------------

static enum hv_status inner[3];

static void all_deeds(void *context)
{
	(void)context;
	for (u32 i = 0; i < 3; i++)
		inner[i] = deed((DONOR_END + i) % DONOR_DEED_COUNT, 0); // the end first
}

// The domain stays while a gift of it is being mapped; the gift need not, but nobody gets to see one that is being filled.
TEST(a_gift_is_given_up_while_it_is_mapped)
{
	for (u32 k = 1; k <= 4; k++) {
		CHECK(begin());
		CHECK_EQ(deed(DONOR_RENEW, 3), HV_OK); // the domain is there
		host_arm_point(k, all_deeds, NULL);
		enum hv_status status = lend(hole_gfn(0), 0);

		host_arm_point(0, NULL, NULL);
		CHECK(inner[0] == HV_EBUSY && inner[1] == HV_EBUSY);
		CHECK_EQ(inner[2], HV_OK);
		CHECK_EQ(status, k == 1 ? HV_ENOENT : HV_OK);
		CHECK(k == 1 || holds(hole_gfn(0), 0, 0));
		CHECK_EQ(donor.generation[0], 0);
		finish();
	}
}

static void map_and_drop(void *context)
{
	(void)context;
	inner[0] = lend(hole_gfn(0), 0);
	inner[1] = deed(DONOR_DROP, 0);
	inner[2] = deed(DONOR_END, 0);
}

TEST(one_deed_at_a_time)
{
	for (u32 what = 0; what < DONOR_DEED_COUNT; what++) {
		CHECK(begin());
		CHECK_EQ(deed(DONOR_RENEW, 3), HV_OK);
		host_arm_point(1, map_and_drop, NULL);
		CHECK_EQ(deed(what, 0), HV_OK);
		host_arm_point(0, NULL, NULL);
		for (u32 i = 0; i < 3; i++)
			CHECK_EQ(inner[i], HV_EBUSY);
		CHECK_EQ(donor.state, 0);
		finish();
	}
}
