// SPDX-License-Identifier: GPL-2.0-or-later
// Time: short waits, and how fast the TSC counts.
#ifndef HV_PORT_BARE_TIMER_H
#define HV_PORT_BARE_TIMER_H

#include "../../base/types.h"

// At most 50000. One processor at a time.
void timer_wait_us(u32 us);
// TSC cycles in one millisecond, at least 1. Measured once, which takes 4 ms: one processor at a time.
u64 timer_cycles_per_ms(void);
// From here on the output of channel 0 has an edge TIMER_BEATS times in a second, as slowly as it can.
#define TIMER_BEATS 18u
void timer_start_beating(void);

#endif
