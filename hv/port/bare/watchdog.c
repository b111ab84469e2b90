// SPDX-License-Identifier: GPL-2.0-or-later
// Each processor counts `beats` when it has left its guest, when it looks for something to do, and when it gives back the last lock that
// it holds: what takes long, such as a round of a migration, does that between its pieces. A count that has not moved for too long
// means that the processor takes no interrupts, has its guest entered by nobody, and will not come back. Two look for that:
//
//   the processor itself   in a non-maskable interrupt, which the interval timer sends all of them through the I/O APIC. It comes
//                          whatever is held off, whatever lock is held; a guest exits for it
//   each of the others     with its own tick, for one that does not take even that: GIF is clear, or there is no such timer
//
// A processor that waits for another looks at the clock itself, and goes on waiting as long as somebody works, in pieces, on what was
// begun before. Checkers look at all memory in one hold: they have WATCHDOG_CHECK times as long.
//
// What nobody sees: all processors that are left with GIF clear (vmrun.S has it clear for some thirty instructions without a loop), and
// a loop without end that gives its locks back.
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

// Others may be looking at `limit` now: they read it once.
void watchdog_stop(void)
{
	__atomic_store_n(&nmis_most, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&limit, 0, __ATOMIC_RELAXED);
}

// ---- what long tasks say -------------------------------------------------------------------------------

void watchdog_check_begins(void)
{
	this_cpu()->patience = WATCHDOG_CHECK;
}

void watchdog_check_ends(void)
{
	struct cpu *me = this_cpu();

	me->patience = 0;
	me->beats++;
}

static u32 patience_with(const struct cpu *c)
{
	u32 times = __atomic_load_n(&c->patience, __ATOMIC_RELAXED);

	return times ? times : 1;
}

// ---- waiting -------------------------------------------------------------------------------------------

static u64 beats_of(const struct cpu *c)
{
	return __atomic_load_n(&c->beats, __ATOMIC_RELAXED);
}

static u64 looks_of(const struct cpu *c)
{
	return __atomic_load_n(&c->looks, __ATOMIC_RELAXED);
}

void watchdog_wait_start(struct watchdog_wait *w, const char *what)
{
	w->since = tsc_read();
	w->what = what;
	for (u32 i = 0; i < cpu_count; i++) {
		w->looks[i] = looks_of(&cpus[i]);
		w->beats[i] = beats_of(&cpus[i]);
	}
}

// Has another processor been at work since we last asked, on what it was doing when the wait began? Nothing that it began later is
// waited for. *times: how many limits it may take to the next piece.
static bool somebody_works(struct watchdog_wait *w, u32 *times)
{
	bool works = false;

	*times = 1;
	for (u32 i = 0; i < cpu_count; i++) {
		u64 beats = beats_of(&cpus[i]);
		u32 patience = patience_with(&cpus[i]);

		if (i == this_cpu()->index || looks_of(&cpus[i]) != w->looks[i])
			continue;
		works |= beats != w->beats[i];
		w->beats[i] = beats;
		*times = patience > *times ? patience : *times;
	}
	return works;
}

void watchdog_wait(struct watchdog_wait *w)
{
	u64 now = tsc_read(), most = __atomic_load_n(&limit, __ATOMIC_RELAXED);
	u32 times;

	cpu_pause();
	if (!most)
		return;
	this_cpu()->waits++;
	if (now - w->since <= most)
		return;
	if (somebody_works(w, &times))
		w->since = now;
	else if (now - w->since > most * times)
		port_fatal(w->what);
}

// ---- watching ------------------------------------------------------------------------------------------

// A function of its own, so that the backtrace shows it. Interrupts are held off, as everywhere. Locks that come and go inside
// a hold are no sign of life.
static void __attribute__((noinline)) get_stuck(u32 cpu)
{
	static struct hv_lock held[CPUS_MAX], inner[CPUS_MAX];

	port_lock(&held[cpu], __func__);
	for (;;) {
		port_lock(&inner[cpu], __func__);
		port_unlock(&inner[cpu]);
	}
}

#define WHY_BYTES 64
static void say_why(char why[WHY_BYTES], u32 cpu)
{
	fmt(why, WHY_BYTES, "watchdog: processor %u is stuck", cpu);
}

// Moves while c is well.
static u64 pulse_of(const struct cpu *c)
{
	return beats_of(c) + __atomic_load_n(&c->waits, __ATOMIC_RELAXED);
}

static void look_at(struct cpu *me, const struct cpu *other, u64 now)
{
	u64 most = __atomic_load_n(&limit, __ATOMIC_RELAXED);
	u64 pulse = pulse_of(other), seen_at = me->seen_at[other->index];
	char why[WHY_BYTES];

	if (pulse != me->seen[other->index] || !seen_at) {
		me->seen[other->index] = pulse;
		me->seen_at[other->index] = now;
	} else if (most && now - seen_at > most * patience_with(other)) {
		say_why(why, other->index);
		port_fatal(why);
	}
}

void watchdog_tick(struct cpu *me)
{
	u64 now = tsc_read();

	if (me->index == wedged || wedged == WATCHDOG_WEDGE_ALL)
		get_stuck(me->index);
	for (u32 i = 0; i < cpu_count; i++)
		if (i != me->index)
			look_at(me, &cpus[i], now);
}

void watchdog_nmi(const struct trap_frame *frame)
{
	struct cpu *me = this_cpu();
	u32 most = __atomic_load_n(&nmis_most, __ATOMIC_RELAXED);
	char why[WHY_BYTES];

	if (pulse_of(me) != me->nmi_pulse) {
		me->nmi_pulse = pulse_of(me);
		me->nmis = 0;
	} else if (most && ++me->nmis / patience_with(me) > most) {
		say_why(why, me->index);
		panic_stuck(frame, why);
	}
}
