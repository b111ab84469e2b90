// SPDX-License-Identifier: GPL-2.0-or-later
// The code of accesses.S, and doing one access of it as a probe.
#ifndef STRESS_GUEST_ACCESSES_H
#define STRESS_GUEST_ACCESSES_H

#include "../../fuzz/trace/trace.h"
#include "probe.h"

extern const u8 code_read1[], code_read2[], code_read4[], code_read8[];
extern const u8 code_write1[], code_write2[], code_write4[], code_write8[];
extern const u8 code_push[], code_jump[], code_cr0[], code_cr3[], code_cr4[], code_msr[];

// ALTER: a piece of code for each instruction and size, and what its MOVS copies.
struct piece {
	u8 insn, bytes;
	u16 start, end; // offsets in user_page; end is where its INT3 lies
};
extern u8 user_page[], operand[];

// Where ring cpl finds a place of that page.
static inline u64 user_at(const u8 *place, u32 cpl)
{
	return cpl ? (u64)USER_BASE + (u64)(place - user_page) : (u64)(uintptr_t)place;
}
// Is it the code of an instruction that ALTER has in that size? NULL if not.
const struct piece *access_piece(u32 insn, u32 bytes);

// Run code in ring cpl, with the registers that are in `probe`. True: it got through; else the fault is in o.
bool access_run(const u8 *code, u32 cpl, bool ac, struct obs *o);
// A load and a store of 1, 2, 4 or 8 bytes.
bool access_load(u64 va, u32 bytes, u32 cpl, bool ac, u64 *value, struct obs *o);
bool access_store(u64 va, u32 bytes, u32 cpl, bool ac, u64 value, struct obs *o);
bool access_push(u64 va, u32 cpl, bool ac, u64 value, struct obs *o);
// On metal, does a load there touch two pages? QEMU loads what lies in the first before it translates the second, which
// shows when the one holds the entry of the other: A is not set yet. What is to be compared translates both first, as
// Umbra makes QEMU do. A load for nothing that goes before has that effect; access_load() does that itself.
bool access_is_split(u64 va, u32 bytes);
// Fetch and run what lies at va. In a hole that is zeros, an `add %al, (AX)`, which ends in #GP.
void access_jump(u64 va, u32 cpl, bool ac, struct obs *o);
// Write a control register or EFER.
bool access_control(const u8 *code, u64 value, struct obs *o);

#endif
