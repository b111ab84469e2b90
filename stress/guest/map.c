// SPDX-License-Identifier: GPL-2.0-or-later
// Pages in the page table that shows the trace frames: one that can be moved, and the trace's own. A half has no
// other way to memory outside of the image that all three modes share.
#include "map.h"

#include "cpu.h"
#include "serial.h"

#define PAGE 0x63u // P W A D

extern u8 pages[]; // the page table

static void show(u32 slot, u32 page)
{
	cpu_store4((word_t)pages + slot * trace_entry_bytes(MODE), page | PAGE);
}

const void *map_trace(u32 start, u32 end)
{
	u32 slots = FRAME_BYTES / trace_entry_bytes(MODE), slot = SLOT_TRACE;

	for (u32 page = start & ~(FRAME_BYTES - 1); page < end; page += FRAME_BYTES) {
		if (slot == slots)
			guest_panic("the trace is too long: it has to fit beside the frames in one page table");
		show(slot++, page);
	}
	return (const void *)((word_t)FRAMES_BASE + SLOT_TRACE * FRAME_BYTES + (start & (FRAME_BYTES - 1)));
}

u64 map_window(u32 physical)
{
	static u32 shown;
	u64 at = (u64)FRAMES_BASE + SLOT_WINDOW * FRAME_BYTES;
	u32 page = physical & ~(FRAME_BYTES - 1);

	if (page != shown || !page) {
		show(SLOT_WINDOW, page);
		cpu_invlpg(at);
		shown = page;
	}
	return at + (physical & (FRAME_BYTES - 1));
}
