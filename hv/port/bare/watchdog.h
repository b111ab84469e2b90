// SPDX-License-Identifier: GPL-2.0-or-later
// Notices a processor that is stuck, and turns it into a panic that shows every processor.
#ifndef HV_PORT_BARE_WATCHDOG_H
#define HV_PORT_BARE_WATCHDOG_H

#include "percpu.h"

#define WATCHDOG_SECONDS 10 // standard
#define WATCHDOG_WEDGE_ALL UINT32_MAX

// Call once, before the other processors go. seconds: how long a processor may stand still, 0: for ever. wedge: the processor
// that gets stuck on purpose, for tests, or WATCHDOG_WEDGE_ALL; CPUS_MAX: none. Measures the clock if there are several.
void watchdog_start(u32 seconds, u32 wedge);
// Called with each tick of the timer: looks at the other processors.
void watchdog_tick(struct cpu *me);
// A non-maskable interrupt: looks at this processor. Takes no lock and changes nothing that others read, unless it panics.
void watchdog_nmi(const struct trap_frame *frame);

// A loop that waits for another processor: port_fatal(what) when it takes too long.
struct watchdog_wait {
	u64 since;
	const char *what;
};
static inline void watchdog_wait_start(struct watchdog_wait *w, const char *what)
{
	w->since = tsc_read();
	w->what = what;
}
void watchdog_wait(const struct watchdog_wait *w);

#endif
