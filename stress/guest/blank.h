// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps memory that the trace's world does not have looking like a hole, on metal.
#ifndef STRESS_GUEST_BLANK_H
#define STRESS_GUEST_BLANK_H

#include "../../hv/base/types.h"

// Clear what firmware and loader left. The image and its module keep their memory, which ends at
// busy_end (physical); the loader's information block is gone. At most once.
void blank_start(u32 busy_end);

// The guest may have stored some of these bytes at va: forget what landed in such memory. Does nothing
// before blank_start().
void blank_after_store(u64 va, u32 bytes);

#endif
