// SPDX-License-Identifier: GPL-2.0-or-later
// Probes: pieces of code that are allowed to fault. Shared by C and by trap_*.S, which says how it is done.
#ifndef STRESS_GUEST_PROBE_H
#define STRESS_GUEST_PROBE_H

#include "layout.h"

// Offsets in struct probe.
#define PROBE_AX 0
#define PROBE_BX 8
#define PROBE_CX 16
#define PROBE_DX 24
#define PROBE_SI 32
#define PROBE_DI 40
#define PROBE_XMM0 48
#define PROBE_FLAGS 64
#define PROBE_CODE 72
#define PROBE_STACK 80
#define PROBE_CS 88
#define PROBE_SS 92
#define PROBE_VECTOR 96
#define PROBE_ERROR 104
#define PROBE_CR2 112

#ifndef __ASSEMBLER__
#include "../../hv/base/types.h"

#define TRAP_BP 3
#define TRAP_DF 8
#define TRAP_GP 13
#define TRAP_PF 14

// Registers that code starts with, and what they hold at its end. 32-bit code has the low halves.
struct probe {
	u64 ax, bx, cx, dx, si, di;
	u64 xmm0[2];
	u64 flags;
	u64 code, stack; // stack: rings 1 and 3, and all of 64-bit code
	u32 cs, ss;
	u64 vector, error; // of the exception that ended it
	u64 cr2;           // of the last page fault, not necessarily of this probe
};
_Static_assert(offsetof(struct probe, xmm0) == PROBE_XMM0 && offsetof(struct probe, flags) == PROBE_FLAGS &&
		       offsetof(struct probe, code) == PROBE_CODE && offsetof(struct probe, cs) == PROBE_CS &&
		       offsetof(struct probe, ss) == PROBE_SS && offsetof(struct probe, vector) == PROBE_VECTOR &&
		       offsetof(struct probe, cr2) == PROBE_CR2,
	       "assembly uses it");
extern struct probe probe;

// Run probe.code with those registers; returns at the first exception. Code that got through ends with INT3.
void probe_run(void);
#endif

#endif
