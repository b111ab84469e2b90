// SPDX-License-Identifier: GPL-2.0-or-later
// The trace's world has no RAM below f0: loads there give zero, stores are lost. A PC has RAM there, and
// page-table entries made of odd bytes do point there. So on metal that RAM is kept zero: whatever the
// guest stores is cleared before its next operation.
//
// Where a store can land is known well enough without walking the guest's tables. An entry of one or two
// bytes, or one whose low bytes were overwritten, names a page below 640 KiB. A large page at 0 leads to
// what the address adds: bits 12 to 20, 12 to 21, or 12 to 29. The image lies where few do (layout.h).
// Cost: about 170 stores after each store of the guest. What is left out: entries that point elsewhere
// below 1 GiB and are stored through, then read; ROM below 1 MiB and the devices below 4 GiB.
#include "blank.h"

#include "cpu.h"
#include "map.h"

#define LOW_END 0xa0000u        // conventional memory of a PC
#define HIGH_START 0x3fe00000u  // firmware works at the end of RAM
#define HIGH_END 0x40000000u    // f0

static u32 kept_end; // behind the image and the trace; 0: not on metal

static void clear(u32 from, u32 to)
{
	for (u32 at = from; at < to; at += 8)
		cpu_store8(map_window(at), 0);
}

void blank_start(u32 busy_end)
{
	kept_end = busy_end;
	clear(0, LOW_END);
	clear(HIGH_START, HIGH_END);
}

static void forget_word(u64 at)
{
	if (at < CROSS_AT || at >= kept_end)
		cpu_store8(map_window((u32)at), 0);
}

void blank_after_store(u64 va, u32 bytes)
{
	if (!kept_end)
		return;
	for (u64 at = va & ~(u64)7; at < va + bytes; at += 8) {
		for (u64 page = 0; page < LOW_END; page += FRAME_BYTES)
			forget_word(page + (at & (FRAME_BYTES - 1)));
		forget_word(at & (BIT(21) - 1));
		forget_word(at & (BIT(22) - 1));
		forget_word(at & (BIT(30) - 1));
	}
}
