// SPDX-License-Identifier: GPL-2.0-or-later
// The flush clock: who is stale since when, only active processors, what reaches the port.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

static void start(void)
{
	host_reset(1);
	hv_start();
}

static bool cached(u32 cpu)
{
	const struct tlb_entry *first;

	return tlb_pages(cpu, &first) != 0;
}

static void cache(u32 cpu)
{
	struct tlb_entry e = { .va = 0x5000, .mfn = HOST_FIRST_MFN };

	tlb_add_page(cpu, &e);
}

TEST(nobody_is_stale_before_anybody_ran)
{
	start();
	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, tlb_clock()), 0);
	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, UINT32_MAX), 0);
}

TEST(a_stamp_is_stale_until_each_processor_has_flushed)
{
	start();
	tlb_cpu_active(0);
	tlb_cpu_active(2);
	u32 stamp = tlb_clock();

	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, stamp), 5);
	CHECK_EQ(tlb_stale_mask(4, stamp), 4);
	tlb_flush(1);
	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, stamp), 4);
	tlb_flush(4);
	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, stamp), 0);
	CHECK_EQ(tlb_stale_mask(TLB_ALL_CPUS, tlb_clock()), 5); // stamped now: both may hold newer ones
}

TEST(a_processor_that_starts_holds_nothing_older)
{
	start();
	tlb_cpu_active(0);
	u32 stamp = tlb_clock();

	tlb_cpu_active(1);
	CHECK_EQ(tlb_stale_mask(2, stamp), 0);
	tlb_cpu_active(1); // once more: no news
	CHECK_EQ(tlb_stale_mask(2, tlb_clock()), 2);
}

TEST(flushes_reach_active_processors_alone)
{
	start();
	tlb_cpu_active(1);
	cache(0);
	cache(1);
	cache(2);
	tlb_flush(TLB_ALL_CPUS & ~2u);
	CHECK(cached(0) && cached(1) && cached(2));
	tlb_flush(TLB_ALL_CPUS);
	CHECK(cached(0) && !cached(1) && cached(2)); // the others never ran: nothing there is real
}

TEST(stamps_of_the_same_moment_as_the_flush_are_stale)
{
	start();
	tlb_cpu_active(0);
	tlb_flush(1);
	u32 now = tlb_clock();

	CHECK_EQ(tlb_stale_mask(1, now), 1); // made after the flush, as far as anybody knows
	CHECK_EQ(tlb_stale_mask(1, now - 1), 0);
}
