// SPDX-License-Identifier: GPL-2.0-or-later
// The last words of the hypervisor.
#ifndef HV_PORT_BARE_PANIC_H
#define HV_PORT_BARE_PANIC_H

#include "trap.h"

// Report an exception of the hypervisor with registers and backtrace, and leave with EXIT_PANIC.
_Noreturn void panic_trap(const struct trap_frame *frame);
// More lines for the screen, before the backtrace: what was going on. Set by the run loop.
extern void (*panic_context)(void);

#endif
