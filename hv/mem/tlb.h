// SPDX-License-Identifier: GPL-2.0-or-later
// When was which processor flushed? A logical clock lets frames remember their last use, so that a
// flush is done only when somebody may really still hold a translation (spec A.9, lazy flush).
#ifndef HV_MEM_TLB_H
#define HV_MEM_TLB_H

#include "../base/types.h"

#define TLB_ALL_CPUS UINT32_MAX

void tlb_start(void);
// Now. A frame stamped with it may be in TLBs of processors not flushed later than this.
u32 tlb_clock(void);
// The processors of cpu_mask that ran a guest and have not flushed since `stamp`.
u32 tlb_stale_mask(u32 cpu_mask, u32 stamp);
// Flush all guest translations of cpu_mask and remember that.
void tlb_flush(u32 cpu_mask);
// A processor enters the books when it first runs a guest.
void tlb_cpu_active(u32 cpu);

#endif
