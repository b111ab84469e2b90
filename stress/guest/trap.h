// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions, and probes: pieces of code that are allowed to fault.
#ifndef STRESS_GUEST_TRAP_H
#define STRESS_GUEST_TRAP_H

#include "../../hv/base/types.h"

#define TRAP_BP 3
#define TRAP_UD 6
#define TRAP_DF 8
#define TRAP_GP 13
#define TRAP_PF 14

// What a probe left behind. rax is also an input: the code starts with it.
struct probe_result {
	u64 rax, rdx;
	u64 vector, error, rip;
	u64 cr2; // of the last page fault, not necessarily of this probe
};
extern struct probe_result probe_result;

// Load the interrupt table and the task state.
void trap_init(void);

// Jump to rip in ring cpl with these registers; returns at the first exception. Code that got
// through ends with INT3.
void probe(u64 rip, u64 cpl, u64 rsp, u64 rdi, u64 rsi);

#endif
