// SPDX-License-Identifier: GPL-2.0-or-later
// The flush clock. It saturates: at its end every stamp counts as stale, which costs flushes and never
// loses one.
#include "tlb.h"

#include "../port.h"

#define CPUS 32

static u32 clock_now;
static u32 flushed_at[CPUS];
static u32 active;

void tlb_start(void)
{
	clock_now = 1;
	active = 0;
}

u32 tlb_clock(void)
{
	return clock_now;
}

u32 tlb_stale_mask(u32 cpu_mask, u32 stamp)
{
	u32 stale = 0;

	for (u32 mask = cpu_mask & active; mask; mask &= mask - 1) {
		u32 cpu = (u32)__builtin_ctz(mask);

		if (flushed_at[cpu] <= stamp)
			stale |= UINT32_C(1) << cpu;
	}
	return stale;
}

void tlb_flush(u32 cpu_mask)
{
	cpu_mask &= active;
	if (!cpu_mask)
		return;
	port_tlb_flush(cpu_mask);
	if (clock_now != UINT32_MAX)
		clock_now++;
	for (u32 mask = cpu_mask; mask; mask &= mask - 1)
		flushed_at[__builtin_ctz(mask)] = clock_now;
}

void tlb_cpu_active(u32 cpu)
{
	u32 bit = UINT32_C(1) << cpu;

	if (!(active & bit)) {
		active |= bit; // its TLB is empty now: as good as a flush
		if (clock_now != UINT32_MAX)
			clock_now++;
		flushed_at[cpu] = clock_now;
	}
}
