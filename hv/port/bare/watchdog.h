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
// The machine is done: no processor needs to go on. From anywhere, also when it was never started.
void watchdog_stop(void);
// Called with each tick of the timer: looks at the other processors.
void watchdog_tick(struct cpu *me);
// A non-maskable interrupt: looks at this processor. Takes no lock and changes nothing that others read, unless it panics.
void watchdog_nmi(const struct trap_frame *frame);

// A loop that waits for another processor: port_fatal(what) when it takes too long, and no processor has been at work meanwhile on what
// it was doing when the wait began.
struct watchdog_wait {
	u64 since;
	const char *what;
	u64 looks[CPUS_MAX], beats[CPUS_MAX]; // of all processors, when the wait began and when they were last seen
};
void watchdog_wait_start(struct watchdog_wait *w, const char *what);
void watchdog_wait(struct watchdog_wait *w);

// This processor checks all memory in between, in one hold: it may stand still WATCHDOG_CHECK times as long. Not nested.
#define WATCHDOG_CHECK 10u
void watchdog_check_begins(void);
void watchdog_check_ends(void);

#endif
