// SPDX-License-Identifier: GPL-2.0-or-later
// The flush clock. It saturates: at its end every stamp counts as stale, which costs flushes and never
// loses one. Processors flush one another at any time, so a flush takes its time before it begins: a frame that was given up
// while it went on counts as not flushed.
#include "tlb.h"

#include "../port.h"

#define CPUS 32

// All of them are changed by any processor, one atomic step at a time.
static u32 clock_now;
static u32 flushed_at[CPUS];
static u32 active;

static u32 read(const u32 *at)
{
	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

// The value only grows.
static void raise(u32 *at, u32 value)
{
	u32 old = read(at);

	while (old < value && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static u32 tick(void)
{
	// As many processors may be here at once: none of them gets beyond the end.
	if (read(&clock_now) >= UINT32_MAX - CPUS) {
		__atomic_store_n(&clock_now, UINT32_MAX, __ATOMIC_SEQ_CST);
		return UINT32_MAX;
	}
	return __atomic_add_fetch(&clock_now, 1, __ATOMIC_SEQ_CST);
}

void tlb_start(void)
{
	clock_now = 1;
	active = 0;
	for (u32 i = 0; i < CPUS; i++)
		flushed_at[i] = 0;
}

u32 tlb_clock(void)
{
	return read(&clock_now);
}

u32 tlb_stale_mask(u32 cpu_mask, u32 stamp)
{
	u32 stale = 0;

	for (u32 mask = cpu_mask & read(&active); mask; mask &= mask - 1) {
		u32 cpu = (u32)__builtin_ctz(mask);

		if (read(&flushed_at[cpu]) <= stamp)
			stale |= UINT32_C(1) << cpu;
	}
	return stale;
}

void tlb_flush(u32 cpu_mask)
{
	cpu_mask &= read(&active);
	if (!cpu_mask)
		return;
	u32 begun = tick();

	port_tlb_flush(cpu_mask);
	for (u32 mask = cpu_mask; mask; mask &= mask - 1)
		raise(&flushed_at[__builtin_ctz(mask)], begun);
}

void tlb_cpu_active(u32 cpu)
{
	u32 bit = UINT32_C(1) << cpu;

	if (read(&active) & bit)
		return;
	raise(&flushed_at[cpu], tick()); // its TLB is empty now: as good as a flush
	__atomic_fetch_or(&active, bit, __ATOMIC_SEQ_CST);
}
