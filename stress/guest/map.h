// SPDX-License-Identifier: GPL-2.0-or-later
// The pages that a half can show behind the trace frames.
#ifndef STRESS_GUEST_MAP_H
#define STRESS_GUEST_MAP_H

#include "../../hv/base/types.h"

// Show the trace, which lies at these physical addresses; panics when it does not fit.
const void *map_trace(u32 start, u32 end);

// Where any physical memory is seen, until the next call.
u64 map_window(u32 physical);

#endif
