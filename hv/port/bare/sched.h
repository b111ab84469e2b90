// SPDX-License-Identifier: GPL-2.0-or-later
// Threads of guests, and which of them a processor runs next.
#ifndef HV_PORT_BARE_SCHED_H
#define HV_PORT_BARE_SCHED_H

#include "percpu.h"

struct guest;

enum thread_state { THREAD_NONE, THREAD_READY, THREAD_RUNNING };

// The registers that stay in the processor while the hypervisor runs.
struct thread_registers {
	u8 fx[512] __attribute__((aligned(16))); // x87 and SSE, as FXSAVE has them
	u64 dr[4];
	u64 tsc_aux;
};

// One flow of control of a guest. It has a vcpu at any time, and may change to another one that no thread has
// (HYPERCALL_VCPU).
struct thread {
	struct guest *guest;
	struct vcpu *at;
	struct thread *next; // in the queue
	u8 state;            // enum thread_state
	bool pauses;         // leaves the gate at the end of this exit, because of an interrupt
	bool asks;           // or because it wants to be the last in the queue (HYPERCALL_PAUSE)
	u64 fail_countdown;  // HYPERCALL_FAIL: so many questions of port_should_fail() to go, 0: none
	const struct cpu *loaded_in; // where its registers were loaded last
	struct thread_registers registers;
};

// t, which is new, can run. Its registers are as after a reset.
void sched_add(struct thread *t);
// The next thread for this processor, which now has it; NULL after a wait for an interrupt, when there is none. Before it runs,
// sched_load() gives it its registers.
struct thread *sched_next(void);
void sched_load(void);
// Does another thread wait for a processor?
bool sched_is_contended(void);
// This processor lets go of its thread, which goes on later, or has ended.
void sched_put_back(void);
void sched_drop(void);

// The timer of this processor, as often as needed. Call before the first sched_next(), with console keys alone to look
// after (`alone`) or with others to give way to.
void sched_start_timer(bool alone);

#endif
