// SPDX-License-Identifier: GPL-2.0-or-later
// The code of stubs.S, by name, for probe().
#ifndef STRESS_GUEST_STUBS_H
#define STRESS_GUEST_STUBS_H

#include "layout.h"
#include "../../hv/base/types.h"

extern const u8 user_page[]; // where the page lies for ring 0

extern const u8 stub_read1[], stub_read2[], stub_read4[], stub_read8[];
extern const u8 stub_write1[], stub_write2[], stub_write4[], stub_write8[];
extern const u8 stub_push8[], stub_jump[], stub_cr3[];

// Where ring cpl finds a stub.
static inline u64 stub_at(const u8 *stub, u32 cpl)
{
	return cpl ? USER_BASE + (u64)(stub - user_page) : (u64)stub;
}

#endif
