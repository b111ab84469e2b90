// SPDX-License-Identifier: GPL-2.0-or-later
// Each processor counts `beats` with each tick of its timer that its run loop gets to see. With its own tick it looks at the others:
// one whose count has not moved for too long takes no interrupts, has its guest entered by nobody, and will not come back.
//
// What it cannot see: all processors stuck at once, and the only processor of a machine.
// Cost: a tick reads one word of each other processor.
#include "watchdog.h"

#include "../../base/fmt.h"
#include "timer.h"

static u64 limit; // cycles, 0: none
static u32 wedged = CPUS_MAX;

void watchdog_start(u32 seconds, u32 wedge)
{
	limit = seconds * 1000 * timer_cycles_per_ms();
	wedged = wedge;
}

void watchdog_wait(const struct watchdog_wait *w)
{
	cpu_pause();
	if (limit && tsc_read() - w->since > limit)
		port_fatal(w->what);
}

// A function of its own, so that the backtrace shows it. Interrupts are held off, as everywhere.
static void __attribute__((noinline)) get_stuck(void)
{
	for (;;)
		cpu_pause();
}

static void look_at(struct cpu *me, const struct cpu *other, u64 now)
{
	static char why[64];
	u64 beats = __atomic_load_n(&other->beats, __ATOMIC_RELAXED), seen_at = me->seen_at[other->index];

	if (beats != me->seen[other->index] || !seen_at) {
		me->seen[other->index] = beats;
		me->seen_at[other->index] = now;
	} else if (limit && now - seen_at > limit) {
		fmt(why, sizeof(why), "watchdog: processor %u is stuck", other->index);
		port_fatal(why);
	}
}

void watchdog_tick(struct cpu *me)
{
	u64 now = tsc_read();

	if (me->index == wedged)
		get_stuck();
	for (u32 i = 0; i < cpu_count; i++)
		if (i != me->index)
			look_at(me, &cpus[i], now);
}
