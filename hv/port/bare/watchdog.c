// SPDX-License-Identifier: GPL-2.0-or-later
// Each processor counts `beats` when it has left its guest and when it looks for something to do. A count that has not moved for
// too long means that the processor takes no interrupts, has its guest entered by nobody, and will not come back. Two look for that:
//
//   the processor itself   in a non-maskable interrupt, which the interval timer sends all of them through the I/O APIC. It comes
//                          whatever is held off, whatever lock is held; a guest exits for it
//   each of the others     with its own tick, for one that does not take even that: GIF is clear, or there is no such timer
//
// What nobody sees: all processors that are left with GIF clear. vmrun.S has it clear for some thirty instructions without a loop.
// Cost: a word of each other processor every 10 ms, and 18 interrupts in a second.
#include "watchdog.h"

#include "../../base/fmt.h"
#include "apic.h"
#include "console.h"
#include "panic.h"
#include "timer.h"

static u64 limit;     // cycles, 0: none
static u32 nmis_most; // without a beat between them, 0: any number
static u32 wedged = CPUS_MAX;

void watchdog_start(u32 seconds, u32 wedge)
{
	struct acpi_input input;

	wedged = wedge;
	if (!seconds)
		return;
	if (cpu_count > 1) // measuring takes a while, and alone there is nobody to wait for
		limit = timer_cycles_per_ms() * 1000 * seconds;
	nmis_most = seconds < UINT32_MAX / TIMER_BEATS ? seconds * TIMER_BEATS : UINT32_MAX;
	if (acpi_timer_input(&input)) {
		timer_start_beating();
		apic_route_nmi(input, cpu_count);
	} else {
		console_line("umbra: no I/O APIC: no processor watches over itself");
	}
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

#define WHY_BYTES 64
static void say_why(char why[WHY_BYTES], u32 cpu)
{
	fmt(why, WHY_BYTES, "watchdog: processor %u is stuck", cpu);
}

static void look_at(struct cpu *me, const struct cpu *other, u64 now)
{
	u64 beats = __atomic_load_n(&other->beats, __ATOMIC_RELAXED), seen_at = me->seen_at[other->index];
	char why[WHY_BYTES];

	if (beats != me->seen[other->index] || !seen_at) {
		me->seen[other->index] = beats;
		me->seen_at[other->index] = now;
	} else if (limit && now - seen_at > limit) {
		say_why(why, other->index);
		port_fatal(why);
	}
}

void watchdog_tick(struct cpu *me)
{
	u64 now = tsc_read();

	if (me->index == wedged || wedged == WATCHDOG_WEDGE_ALL)
		get_stuck();
	for (u32 i = 0; i < cpu_count; i++)
		if (i != me->index)
			look_at(me, &cpus[i], now);
}

void watchdog_nmi(const struct trap_frame *frame)
{
	struct cpu *me = this_cpu();
	char why[WHY_BYTES];

	if (me->beats != me->nmi_beats) {
		me->nmi_beats = me->beats;
		me->nmis = 0;
	} else if (nmis_most && ++me->nmis > nmis_most) {
		say_why(why, me->index);
		panic_stuck(frame, why);
	}
}
