// SPDX-License-Identifier: GPL-2.0-or-later
// The hypercalls that change the domain: numbers, arguments, results. What they do is tested where it is
// done. D13.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

static u32 lines;
static char last_line[128];

static void sink(const char *line)
{
	lines++;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

TEST(unknown_numbers_are_refused)
{
	static const u64 numbers[] = { 0, HYPERCALL_FAIL, HYPERCALL_VCPU, HYPERCALL_EXIT,
					HYPERCALL_START, HYPERCALL_PAUSE, HYPERCALL_FOREIGN, HYPERCALL_DONOR, HYPERCALL_DONOR + 1, 4096, UINT64_MAX };

	CHECK(fixture_paged(1, 0, 0));
	for (u32 i = 0; i < ARRAY_LEN(numbers); i++) // those with a name are the port's
		CHECK_EQ(hypercall(vc(0), numbers[i], 1, 2), HV_EINVAL);
	FINISH();
}

TEST(check_says_what_is_broken)
{
	CHECK(fixture_paged(1, 0, 0));
	host_log_sink = sink;
	lines = 0;
	CHECK_EQ(hypercall(vc(0), HYPERCALL_CHECK, 0, 0), HV_OK);
	CHECK_EQ(lines, 0);
	dom->shadow.total_pages++;
	CHECK_EQ(hypercall(vc(0), HYPERCALL_CHECK, 0, 0), HV_ECHECK);
	CHECK_EQ(lines, 1);
	CHECK(!strncmp(last_line, "E1.1 ", 5));
	dom->shadow.total_pages--;
	host_log_sink = NULL;
	FINISH();
}

TEST(unshadow_and_blow)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, fg(3).n, 0), HV_OK);
	CHECK(!page_is_table(fm(3)));
	CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, fg(3).n, 0), HV_OK); // nothing to drop
	CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, fg(0).n, 0), HV_OK); // loaded
	CHECK(!page_is_table(fm(0)));
	CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, HOLE_GFN, 0), HV_ENOENT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, UINT64_MAX, 0), HV_ENOENT);
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BLOW, 0, 0), HV_OK);
	drain(); // it was held by a table that is dying
	CHECK(!page_is_table(fm(3)));
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

TEST(D13_pool_sizes)
{
	CHECK(fixture_paged(1, 0, 0));
	u32 bound = shadow_lower_bound(dom);

	CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, 0, 0), HV_EBUSY);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, BIT(32), 0), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, bound + 9, 0), HV_OK);
	CHECK_EQ(dom->shadow.total_pages, bound + 9);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, 1, 0), HV_OK);
	CHECK_EQ(dom->shadow.total_pages, bound);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, UINT32_MAX, 0), HV_ENOMEM);
	CHECK_EQ(dom->shadow.total_pages, bound);
	FINISH();
}

TEST(frames)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(8, 0, 8);
	poke(9, 0, 9);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_SWAP, fg(8).n, fg(9).n), HV_OK);
	CHECK_EQ(word(8, 0), 9);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RENEW, fg(8).n, 0), HV_OK);
	CHECK_EQ(word(8, 0), 0);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_REMOVE, fg(8).n, 0), HV_OK);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_REMOVE, fg(8).n, 0), HV_ENOENT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_SWAP, fg(8).n, fg(9).n), HV_ENOENT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RENEW, fg(8).n, 0), HV_OK);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RENEW, BIT(P2M_GFN_BITS), 0), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RENEW, UINT64_MAX, 0), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_REMOVE, fg(0).n, 0), HV_EBUSY);
	FINISH();
}

// How arguments are packed; what the calls do is tested in physmap_test.c.
TEST(changes_of_the_physmap)
{
	gfn_t to = gfn(HOLE_GFN), device = gfn(0xfee00);

	CHECK(fixture_paged(1, 0, 0));
	poke(9, 0, 0x99);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RETYPE, fg(9).n, P2M_RAM_RO), HV_OK);
	CHECK_EQ(p2m_get(&dom->p2m, fg(9)).type, P2M_RAM_RO);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RETYPE, fg(9).n, P2M_MMIO_DIRECT), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RETYPE, fg(9).n, P2M_TYPE_COUNT), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RETYPE, fg(9).n, BIT(32) | P2M_RAM_RW), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_RETYPE, to.n, P2M_RAM_RO), HV_ENOENT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_MOVE, fg(9).n, to.n), HV_OK);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_MOVE, fg(9).n, to.n), HV_ENOENT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_MOVE, to.n, UINT64_MAX), HV_EINVAL);
	CHECK_EQ(p2m_get(&dom->p2m, to).type, P2M_RAM_RO);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_IDENTITY, device.n, 3 << 1 | 1), HV_OK);
	CHECK_EQ(p2m_get(&dom->p2m, gfn(device.n + 2)).type, P2M_MMIO_DIRECT);
	CHECK_EQ(p2m_get(&dom->p2m, gfn(device.n + 3)).type, P2M_HOLE);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_IDENTITY, device.n, 2 << 1), HV_OK);
	CHECK_EQ(p2m_get(&dom->p2m, gfn(device.n + 1)).type, P2M_HOLE);
	CHECK_EQ(p2m_get(&dom->p2m, gfn(device.n + 2)).type, P2M_MMIO_DIRECT);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_IDENTITY, fg(0).n, 1 << 1 | 1), HV_EBUSY);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_IDENTITY, UINT64_MAX, 1 << 1 | 1), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_IDENTITY, 0, UINT64_MAX), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BALLOON, fg(10).n, 2 << 1), HV_OK);
	CHECK_EQ(p2m_get(&dom->p2m, fg(11)).type, P2M_HOLE);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BALLOON, fg(9).n, 3 << 1 | 1), HV_OK);
	CHECK_EQ(p2m_get(&dom->p2m, fg(11)).type, P2M_RAM_RW);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BALLOON, fg(9).n, (PHYSMAP_BALLOON_MAX + 1) << 1), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BALLOON, fg(9).n, BIT(33)), HV_EINVAL); // 2^32 frames are not none
	CHECK_EQ(hypercall(vc(0), HYPERCALL_BALLOON, fg(0).n, 1 << 1), HV_EBUSY);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_LARGE, to.n, 0), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_LARGE, fg(3).n, 0), P2M_LARGE_ORDER > 4 ? HV_EINVAL : HV_OK);
	FINISH();
}

TEST(audit_levels)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(dom->audit, AUDIT_ALL);
	for (u32 mask = 0; mask <= AUDIT_ALL; mask++) {
		CHECK_EQ(hypercall(vc(0), HYPERCALL_AUDIT, mask, 0), HV_OK);
		CHECK_EQ(dom->audit, mask);
		dom->shadow.total_pages++;
		CHECK_EQ(hypercall(vc(0), HYPERCALL_CHECK, 0, 0), mask & AUDIT_HASH_FULL ? HV_ECHECK : HV_OK);
		dom->shadow.total_pages--;
	}
	CHECK_EQ(hypercall(vc(0), HYPERCALL_AUDIT, AUDIT_ALL + 1, 0), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_AUDIT, BIT(32), 0), HV_EINVAL);
	CHECK_EQ(dom->audit, AUDIT_ALL);
	FINISH();
}

TEST(a_dead_domain_gets_no_answers)
{
	CHECK(fixture_paged(1, 0, 0));
	domain_crash(dom, "test");
	for (u64 number = 0; number <= HYPERCALL_DONOR + 1; number++)
		CHECK_EQ(hypercall(vc(0), number, fg(9).n, 2), HV_EDEAD);
	CHECK_EQ(p2m_get(&dom->p2m, fg(9)).type, P2M_RAM_RW);
	CHECK_STR(fixture_end(), NULL);
}

// Each fallible step of an unshadow of a loaded root fails once: done, or the domain is killed and says why.
TEST(unshadow_with_each_step_failing)
{
	bool failed = true;

	for (u32 k = 1; failed; k++) {
		CHECK(fixture_paged(2, 0, 0));
		CHECK(reads(vc(0), page(9)));
		host_arm_failure(k);
		enum hv_status status = hypercall(vc(0), HYPERCALL_UNSHADOW, fg(0).n, 0);

		failed = host_arm_failure(0);
		CHECK_EQ(status, dom->dead ? HV_EDEAD : HV_OK);
		if (dom->dead) {
			CHECK(failed);
			CHECK_STR(dom->death, "out of shadow memory");
		} else {
			CHECK(!page_is_table(fm(0)));
			CHECK(reads(vc(1), page(9)));
		}
		FINISH();
	}
}

TEST(the_signature_fits_three_registers)
{
	CHECK_EQ(strlen(HYPERCALL_SIGNATURE), 12);
}
