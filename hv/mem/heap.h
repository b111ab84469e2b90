// SPDX-License-Identifier: GPL-2.0-or-later
// The frame heap: every frame that is not in use by somebody. It has a lock of its own, the innermost one: all
// functions below may be called with a domain's lock held, and none waits for another processor while it holds the heap's.
#ifndef HV_MEM_HEAP_H
#define HV_MEM_HEAP_H

#include "page.h"

// Take over the port's frames and set up the frame table. Frames are handed out in ascending order
// first, then last freed first: the same calls give the same frames on every run.
void heap_start(void);

// A frame for `owner` (domain number + 1) with one general reference, contents junk. owner 0: a pool
// page, all fields zero. Before the frame is handed out, processors that may still hold a translation
// to it are flushed. HV_ENOMEM when there is none, or when the port injects that.
enum hv_status heap_alloc(u32 owner, mfn_t *out) MUST_CHECK;
// 1 << order frames in a row, the first one's number a multiple of 1 << order; each of them as heap_alloc() gives it and freed
// alone. They come from frames that were never handed out: HV_ENOMEM when what is left of those is too short, or when the
// port injects that. Frames skipped for the alignment go behind the freed ones. O(1 << order).
enum hv_status heap_alloc_chunk(u32 owner, u32 order, mfn_t *first) MUST_CHECK;
// Give back a frame: no references, on no list.
void heap_free(mfn_t m);

u64 heap_used(void);       // frames handed out now
u64 heap_touched(void);    // frames [page_first, page_first + this) were handed out, or skipped, since heap_start()
const char *heap_check(void); // E1.52 accounting of free frames

#endif
