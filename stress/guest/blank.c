// SPDX-License-Identifier: GPL-2.0-or-later
// The trace's world has no RAM below f0: loads there give zero, stores are lost. A PC has RAM there, and
// page-table entries made of odd bytes do point there. So on metal that RAM is kept zero: whatever the
// guest stores is cleared before its next operation.
//
// Where a store can land is known well enough without walking the guest's tables. An entry of one or two
// bytes, or one whose low bytes were overwritten, names a page below 640 KiB. A large page at 0 leads to
// what the address adds: bits 12 to 20, or 12 to 29. Few trace addresses add 2 MiB times 2 (l2_set in
// fuzz/trace/ops.c), which is where the kernel lies.
// Cost: about 330 stores after each store of the guest. What is left out: entries that point elsewhere
// below 1 GiB and are stored through, then read; ROM below 1 MiB and the devices below 4 GiB.
#include "blank.h"

#include "cpu.h"
#include "layout.h"

#define LOW_END 0xa0000u        // conventional memory of a PC
#define HIGH_START 0x3fe00000u  // firmware works at the end of RAM
#define HIGH_END 0x40000000u    // f0

static u64 kept_start, kept_end; // the kernel and its module; kept_end = 0: not on metal

static void clear(u64 from, u64 to)
{
	for (u64 at = from; at < to; at += 8)
		cpu_store8(KERNEL_BASE + at, 0);
}

void blank_start(u64 busy_end)
{
	extern const u8 kernel_start[];

	kept_start = (u64)kernel_start - KERNEL_BASE;
	kept_end = busy_end;
	clear(0, LOW_END);
	clear(HIGH_START, HIGH_END);
}

static void forget_word(u64 at)
{
	at &= ~(u64)7;
	if (at < kept_start || at >= kept_end)
		cpu_store8(KERNEL_BASE + at, 0);
}

void blank_after_store(u64 va)
{
	if (!kept_end)
		return;
	for (u32 byte = 0; byte < 8; byte += 7) { // the first and the last that may have been stored
		u64 at = va + byte;

		for (u64 page = 0; page < LOW_END; page += FRAME_BYTES)
			forget_word(page + (at & (FRAME_BYTES - 1)));
		forget_word(at & (BIT(21) - 1));
		forget_word(at & (BIT(30) - 1));
	}
}
