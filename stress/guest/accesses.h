// SPDX-License-Identifier: GPL-2.0-or-later
// The code of accesses.S, by name, for probe().
#ifndef STRESS_GUEST_ACCESSES_H
#define STRESS_GUEST_ACCESSES_H

#include "layout.h"
#include "../../hv/base/types.h"

extern const u8 user_page[]; // where the page lies for ring 0

extern const u8 code_read1[], code_read2[], code_read4[], code_read8[];
extern const u8 code_write1[], code_write2[], code_write4[], code_write8[];
extern const u8 code_push8[], code_jump[], code_cr3[];

// Where ring cpl finds a piece of that code.
static inline u64 code_at(const u8 *code, u32 cpl)
{
	return cpl ? USER_BASE + (u64)(code - user_page) : (u64)code;
}

#endif
