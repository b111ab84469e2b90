// SPDX-License-Identifier: GPL-2.0-or-later
// One queue of ready threads for all processors; each takes the first and puts it back as the last when its time slice,
// one tick of the timer, is over and another waits. A thread may run on any processor.
//
// Parts: registers; the timer; the queue.
// What changes with the thread: x87 and SSE registers, DR0 to DR3, TSC_AUX; the translations in the TLB, which are those of
// another vcpu or of this one as it was when it last ran here. Registers are saved when a thread is put back, since another
// processor may take it, and loaded unless they are still here: the thread ran here last, and nobody's were loaded since.
// That happens all the time, while a guest is paused or others end, and FXRSTOR has a price in QEMU: see vmrun.S.
// Cost: O(1), one lock, and an interrupt for a processor that sleeps.
#include "sched.h"

#include "../../base/mem.h"
#include "apic.h"
#include "flush.h"
#include "guest.h"

#define SLICE_MS 10

static struct hv_lock lock;
static struct thread *first, *last;
static u32 sleeping; // processors
static bool timer_is_slow;

// ---- registers ---------------------------------------------------------------------------------------

#define FX_CONTROL_RESET 0x037fu // all exceptions masked, 64-bit mantissa
#define FX_MXCSR 24
#define FX_MXCSR_RESET 0x1f80u

static void registers_reset(struct thread_registers *r)
{
	mem_zero(r, sizeof(*r));
	r->fx[0] = (u8)FX_CONTROL_RESET;
	r->fx[1] = (u8)(FX_CONTROL_RESET >> 8);
	r->fx[FX_MXCSR] = (u8)FX_MXCSR_RESET;
	r->fx[FX_MXCSR + 1] = (u8)(FX_MXCSR_RESET >> 8);
}

static void registers_save(struct thread_registers *r)
{
	__asm__ volatile("fxsave64 %0" : "=m"(r->fx));
	__asm__ volatile("mov %%dr0, %0" : "=r"(r->dr[0]));
	__asm__ volatile("mov %%dr1, %0" : "=r"(r->dr[1]));
	__asm__ volatile("mov %%dr2, %0" : "=r"(r->dr[2]));
	__asm__ volatile("mov %%dr3, %0" : "=r"(r->dr[3]));
	if (feature_has_tsc_aux())
		r->tsc_aux = msr_read(MSR_TSC_AUX);
}

// Unless an exception is pending, FXRSTOR leaves the x87 instruction and data pointers as they are (CVE-2006-1056): the next
// guest would see where the last one had code and data. A load of our own puts others there.
static void x87_forget(void)
{
	static const u32 zero;

	__asm__ volatile("fnclex; emms; fildl %0" : : "m"(zero));
}

static void registers_load(const struct thread_registers *r)
{
	x87_forget();
	__asm__ volatile("fxrstor64 %0" : : "m"(r->fx));
	__asm__ volatile("mov %0, %%dr0" : : "r"(r->dr[0]));
	__asm__ volatile("mov %0, %%dr1" : : "r"(r->dr[1]));
	__asm__ volatile("mov %0, %%dr2" : : "r"(r->dr[2]));
	__asm__ volatile("mov %0, %%dr3" : : "r"(r->dr[3]));
	if (feature_has_tsc_aux())
		msr_write(MSR_TSC_AUX, r->tsc_aux);
}

// Is t's state in this processor, and nowhere newer?
static bool registers_are_here(const struct cpu *me, const struct thread *t)
{
	return me->loaded == t && t->loaded_in == me;
}

// ---- the timer ---------------------------------------------------------------------------------------

void sched_start_timer(bool alone)
{
	timer_is_slow = alone;
	apic_timer(alone ? 0 : SLICE_MS);
}

// ---- the queue ---------------------------------------------------------------------------------------

// The caller has the lock.
static void append(struct thread *t)
{
	t->state = THREAD_READY;
	t->next = NULL;
	if (last)
		last->next = t;
	else
		first = t;
	last = t;
	if (!sleeping)
		return;
	u32 cpu = (u32)__builtin_ctz(sleeping);

	sleeping &= ~(1u << cpu);
	if (cpu != this_cpu()->index)
		apic_send(cpus[cpu].apic_id, VECTOR_KICK);
}

void sched_add(struct thread *t)
{
	t->fail_countdown = 0;
	t->pauses = t->asks = false;
	registers_reset(&t->registers);
	t->loaded_in = NULL; // whoever used this place before
	port_lock(&lock, __func__);
	append(t);
	port_unlock(&lock);
	if (timer_is_slow && this_cpu()->thread) // it is not alone any more
		sched_start_timer(false);
}

struct thread *sched_next(void)
{
	struct cpu *me = this_cpu();

	port_lock(&lock, __func__);
	struct thread *t = first;

	if (t) {
		first = t->next;
		if (!first)
			last = NULL;
		t->state = THREAD_RUNNING;
		sleeping &= ~(1u << me->index);
	} else {
		sleeping |= 1u << me->index;
	}
	port_unlock(&lock);
	if (!t) {
		__asm__ volatile("stgi; sti; hlt; cli" : : : "memory"); // what came up since the look at the queue is pending
		return NULL;
	}
	me->thread = t;
	flush_here(me);
	return t;
}

void sched_load(void)
{
	struct cpu *me = this_cpu();
	struct thread *t = me->thread;

	if (registers_are_here(me, t))
		return;
	registers_load(&t->registers);
	me->loaded = t;
	t->loaded_in = me;
}

bool sched_is_contended(void)
{
	return __atomic_load_n(&first, __ATOMIC_RELAXED) != NULL;
}

void sched_put_back(void)
{
	struct cpu *me = this_cpu();
	struct thread *t = me->thread;

	if (registers_are_here(me, t)) // else it did not get to run
		registers_save(&t->registers);
	me->thread = NULL;
	port_lock(&lock, __func__);
	append(t);
	port_unlock(&lock);
}

void sched_drop(void)
{
	struct cpu *me = this_cpu();

	__atomic_store_n(&me->thread->state, THREAD_NONE, __ATOMIC_RELEASE);
	me->thread = NULL;
}
