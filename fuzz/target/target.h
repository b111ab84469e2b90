// SPDX-License-Identifier: GPL-2.0-or-later
// What a fuzz target tells the mutator that is linked to it.
#ifndef FUZZ_TARGET_TARGET_H
#define FUZZ_TARGET_TARGET_H

#include "../trace/gen.h"

extern const int target_kind;               // enum trace_kind of the guests that it runs; -1: what their headers say
extern const enum trace_focus target_focus; // which ops it is there for. FOCUS_SMP: inputs are pairs, see pair_mutate.h

#endif
