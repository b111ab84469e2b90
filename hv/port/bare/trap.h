// SPDX-License-Identifier: GPL-2.0-or-later
// Descriptor tables and exceptions of the hypervisor itself.
#ifndef HV_PORT_BARE_TRAP_H
#define HV_PORT_BARE_TRAP_H

#include "../../base/types.h"

// What traps.S leaves on the stack.
struct trap_frame {
	u64 gpr[15]; // rax rcx rdx rbx rbp rsi rdi r8 ... r15: without rsp
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

// GDT with a TSS, IDT. From here on a mistake is reported instead of resetting the machine.
void trap_start(void);
void trap_handle(struct trap_frame *frame);

// Non-maskable interrupts taken by the hypervisor; they are counted and otherwise ignored.
extern u64 trap_nmi_count;

#endif
