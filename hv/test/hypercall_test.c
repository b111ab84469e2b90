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
	static const u64 numbers[] = { 0, HYPERCALL_FAIL, HYPERCALL_VCPU, HYPERCALL_EXIT, 11, 4096, UINT64_MAX };

	CHECK(fixture_paged(1, 0, 0));
	for (u32 i = 0; i < ARRAY_LEN(numbers); i++) // FAIL, VCPU and EXIT are the port's
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
