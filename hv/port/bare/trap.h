// SPDX-License-Identifier: GPL-2.0-or-later
// Descriptor tables, exceptions and interrupts of the hypervisor itself.
#ifndef HV_PORT_BARE_TRAP_H
#define HV_PORT_BARE_TRAP_H

#include "percpu.h"

// What traps.S leaves on the stack.
struct trap_frame {
	u64 gpr[15]; // rax rcx rdx rbx rbp rsi rdi r8 ... r15: without rsp
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

// GDT with a TSS, IDT, for this processor. From here on a mistake is reported instead of resetting the machine.
void trap_start(struct cpu *me);
void trap_handle(struct trap_frame *frame);

#endif
