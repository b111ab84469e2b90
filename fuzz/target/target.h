// SPDX-License-Identifier: GPL-2.0-or-later
// What a fuzz target tells the mutator that is linked to it.
#ifndef FUZZ_TARGET_TARGET_H
#define FUZZ_TARGET_TARGET_H

#include "../../hv/base/types.h"

extern const u8 target_kind; // enum trace_kind of the guests that it runs

#endif
