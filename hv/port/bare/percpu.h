// SPDX-License-Identifier: GPL-2.0-or-later
// What each physical processor has for itself. The GS base leads to it from the first C function on.
//
// Only the processor itself writes here, but for the fields that say otherwise.
#ifndef HV_PORT_BARE_PERCPU_H
#define HV_PORT_BARE_PERCPU_H

#include "../../mem/frame.h"
#include "../../port.h"
#include "cpu.h"

#define CPUS_MAX 4

struct thread;
struct trap_frame;

struct cpu {
	struct cpu *self; // first: %gs:0
	u32 index, apic_id;
	bool online;

	// flush.c. A request is a count: it is answered when flush_done has reached it.
	u32 flush_wanted; // others add to it
	u32 flush_done;
	bool in_guest;    // from before the last look at flush_wanted until after #VMEXIT
	bool flush;       // drop all guest translations at the next VMRUN

	// Page of guest code whose translation we know as a TLB would, + 1 for CPL 3, + 2; 0: none. And where it lies.
	u64 code_page;
	mfn_t code_frame;

	struct thread *thread; // what runs here, NULL when idle
	const struct thread *loaded; // whose registers were loaded last (sched.c)
	bool ticked;           // the timer has gone off and nobody has looked yet
	u64 entropy;

	// For the watchdog and for panics.
	u32 locks;               // held
	u64 looks;               // times that it looked for something to do
	u64 beats;               // and those at which it had left its guest, or gave back its last lock
	u64 waits;               // turns of waiting for another, which has a limit of its own
	u32 patience;            // in a check: it may stand still for so many limits. 0: for one
	u64 seen[CPUS_MAX];      // pulses of the others (watchdog.c) when they last moved,
	u64 seen_at[CPUS_MAX];   // and the TSC then
	const struct hv_lock *wants; // lock that it waits for, NULL: none
	const char *wants_where;
	u64 nmi_pulse;           // its own when the last non-maskable interrupt that saw them move came,
	u32 nmis;                // and how many came since
	u32 stopped;             // 1: by a panic; it will not go on
};

extern struct cpu cpus[CPUS_MAX];
extern u32 cpu_count; // online ones: cpus[0] to cpus[cpu_count - 1]

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__("mov %%gs:0, %0" : "=r"(c));
	return c;
}

// From here on this_cpu() is &cpus[index].
static inline void percpu_start(u32 index)
{
	cpus[index].self = &cpus[index];
	cpus[index].index = index;
	msr_write(MSR_GS_BASE, (u64)(uintptr_t)&cpus[index]);
}

// Let the processor take interrupts that are pending. Everything else runs with them held off. GIF is set already, but QEMU may have
// lost that (vmrun.S).
static inline void percpu_take_interrupts(void)
{
	__asm__ volatile("stgi; sti; nop; cli" : : : "memory");
}

#endif
