// SPDX-License-Identifier: GPL-2.0-or-later
// The host port with several processors: the points at which another one comes in, a TLB for each, machines of any size.
#include "test.h"

#include "../mem/page.h"
#include "../port/host/host.h"

#define VA UINT64_C(0x7f8080604000)

static mfn_t frame(u32 n) { return mfn(HOST_FIRST_MFN + n); }

// ---- points -------------------------------------------------------------------------------------------

static u32 ran;

static void lock_twice(void)
{
	static struct hv_lock outer, inner;

	port_lock(&outer, __func__);
	port_lock(&inner, __func__);
	port_unlock(&inner);
	port_unlock(&outer);
}

static void count_and_check(void *context)
{
	CHECK_EQ(host_locks_held(), 0);
	++*(u32 *)context;
}

// Locks inside others are no points; what is armed for yields alone does not count locks.
TEST(every_outermost_lock_is_two_points)
{
	for (u32 k = 1; k <= 6; k++) {
		u32 ran_at = 0, yields = 0;

		host_reset(1);
		ran = 0;
		host_arm_point(k, count_and_check, &ran);
		lock_twice();
		ran_at += ran && k <= 2;
		port_yield(YIELD_FAULT_WALKED);
		ran_at += ran && k <= 3;
		lock_twice();
		CHECK_EQ(ran, k <= 5);
		CHECK_EQ(ran_at, k <= 2 ? 2 : k == 3 ? 1 : 0);
		host_arm_race(1, count_and_check, &yields);
		lock_twice();
		CHECK_EQ(yields, 0);
		port_yield(YIELD_FAULT_WALKED);
		CHECK_EQ(yields, 1);
		CHECK(!host_finding_rule());
	}
}

static u32 order;

static void note_first(void *context)
{
	*(u32 *)context = ++order;
}

static void again_at_the_next(void *context)
{
	if (++*(u32 *)context < 3)
		host_arm_point(1, again_at_the_next, context);
}

TEST(two_operations_wait_and_one_may_wait_longer)
{
	u32 same = 0, other = 0, calls = 0;

	host_reset(1);
	order = 0;
	host_arm_other(2, note_first, &other);
	host_arm_point(2, note_first, &same);
	lock_twice();
	CHECK_EQ(same, 1);
	CHECK_EQ(other, 2);
	host_arm_point(1, again_at_the_next, &calls); // it arms itself anew from inside
	lock_twice();
	CHECK_EQ(calls, 2);
	lock_twice();
	CHECK_EQ(calls, 3);
	lock_twice();
	CHECK_EQ(calls, 3);
}

// ---- processors and machines ------------------------------------------------------------------------------

TEST(processors_of_all_domains_have_a_tlb)
{
	struct domain fourth = { .number = DOMAINS_MAX - 1 };
	struct vcpu last = { .domain = &fourth, .id = DOMAIN_VCPUS_MAX - 1 };
	struct tlb_entry e = { .va = VA, .mfn = frame(5).n };
	const struct tlb_entry *first;

	host_reset(7);
	CHECK_EQ(host_cpu_of(&last), HOST_CPUS - 1);
	for (u32 cpu = 0; cpu < HOST_CPUS; cpu++)
		tlb_add_page(cpu, &e);
	port_tlb_flush(1u << (HOST_CPUS - 1) | 2);
	for (u32 cpu = 0; cpu < HOST_CPUS; cpu++)
		CHECK_EQ(tlb_pages(cpu, &first), cpu != 1 && cpu != HOST_CPUS - 1);
}

TEST(drops_are_counted_and_additions_are_not)
{
	struct tlb_entry e = { .va = VA, .mfn = frame(5).n };

	host_reset(7);
	u32 before = tlb_drops(2);

	tlb_add_page(2, &e);
	tlb_drop_all(1);
	CHECK_EQ(tlb_drops(2), before);
	tlb_drop_va(2, 0);
	CHECK_EQ(tlb_drops(2), before + 1);
	port_tlb_flush(4);
	CHECK_EQ(tlb_drops(2), before + 2);
}

TEST(a_machine_can_be_larger_and_tells_when_it_is_full)
{
	mfn_t first;
	u32 count;

	host_reset(1);
	port_frames(&first, &count);
	CHECK_EQ(count, HOST_FRAMES);
	host_set_frames(HOST_FRAMES + 5);
	port_frames(&first, &count);
	CHECK_EQ(count, HOST_FRAMES + 5);
	CHECK(!host_machine_was_full());
	port_frame_allocated(frame(HOST_FRAMES + 4));
	CHECK(host_frame(frame(HOST_FRAMES + 4)) != NULL);
	CHECK(host_frame(frame(HOST_FRAMES + 5)) == NULL);
	CHECK(host_machine_was_full());
	host_reset(1);
	CHECK(host_frame(frame(HOST_FRAMES + 4)) == NULL);
	CHECK(!host_machine_was_full());
}
