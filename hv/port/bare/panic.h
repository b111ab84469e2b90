// SPDX-License-Identifier: GPL-2.0-or-later
// The last words of the hypervisor.
#ifndef HV_PORT_BARE_PANIC_H
#define HV_PORT_BARE_PANIC_H

#include "trap.h"

// Report an exception of the hypervisor with registers and backtrace, and leave with EXIT_PANIC.
_Noreturn void panic_trap(const struct trap_frame *frame);
// A non-maskable interrupt. If there is a panic elsewhere it has come from there, or may as well: this processor stops, and does
// not return.
void panic_nmi(const struct trap_frame *frame);
// The watchdog, in a non-maskable interrupt: this processor stands still. Returns when that is because it panics.
void panic_stuck(const struct trap_frame *frame, const char *why);
// More lines about a processor: what was going on there. Set by the run loop.
extern void (*panic_context)(const struct cpu *c);

#endif
