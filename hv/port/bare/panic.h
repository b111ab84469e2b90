// SPDX-License-Identifier: GPL-2.0-or-later
// The last words of the hypervisor.
#ifndef HV_PORT_BARE_PANIC_H
#define HV_PORT_BARE_PANIC_H

#include "trap.h"

// Report an exception of the hypervisor with registers and backtrace, and leave with EXIT_PANIC.
_Noreturn void panic_trap(const struct trap_frame *frame);
// A non-maskable interrupt. It comes from a panic elsewhere, which stops all processors; others mean nothing to us.
void panic_nmi(const struct trap_frame *frame);
// More lines about a processor: what was going on there. Set by the run loop.
extern void (*panic_context)(const struct cpu *c);

#endif
