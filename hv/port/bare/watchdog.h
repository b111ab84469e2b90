// SPDX-License-Identifier: GPL-2.0-or-later
// Notices a processor that is stuck, and turns it into a panic that shows every processor.
#ifndef HV_PORT_BARE_WATCHDOG_H
#define HV_PORT_BARE_WATCHDOG_H

#include "percpu.h"

#define WATCHDOG_SECONDS 10 // standard

// seconds: how long a processor may stand still, 0: for ever. wedge: the processor that gets stuck on purpose, for tests;
// CPUS_MAX: none. Measures the clock.
void watchdog_start(u32 seconds, u32 wedge);
// Called with each tick of the timer: looks at the other processors.
void watchdog_tick(struct cpu *me);

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
