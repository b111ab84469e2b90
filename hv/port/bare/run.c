// SPDX-License-Identifier: GPL-2.0-or-later
// The run loop of a processor, and how guests and the machine end.
//
// Parts: what is said about a guest; the end of a guest and of the machine; the loop; start.
// Nothing here is held from one exit to the next: what vcpus of a guest have in common is the core's, under its locks.
// The exit code says whether hypervisor and guests are well; a guest that was killed by a healthy hypervisor is a pass, and
// its reason is on the console. With several guests the worst code counts.
#include "run.h"

#include "../../base/fmt.h"
#include "../../mem/heap.h"
#include "apic.h"
#include "boot.h"
#include "console.h"
#include "cost.h"
#include "operator.h"
#include "panic.h"
#include "svm_step.h"
#include "timer.h"
#include "watchdog.h"

_Static_assert(BOOT_GUESTS_MAX <= GUESTS_MAX, "a place for each guest");
struct guest guests[GUESTS_MAX];
u32 run_burials;
u32 guest_count;
static u32 guests_left;
static u32 check_interval;
static u64 heap_at_start;
static u64 entered_at; // TSC before the first VMRUN

// ---- what is said about a guest ------------------------------------------------------------------------

void guest_line(const struct guest *g, const char *format, ...)
{
	char text[CONSOLE_LINE_MAX - 16];
	va_list args;

	va_start(args, format);
	fmt_va(text, sizeof(text), format, args);
	va_end(args);
	if (guest_count > 1)
		console_line("umbra: %u: %s", g->number, text);
	else
		console_line("umbra: %s", text);
}

void run_log_thread(const struct thread *t)
{
	const struct vcpu *v = t->at;
	const struct svm_vcpu *s = svm_of(v);
	const struct vmcb *b = s->vmcb;
	char name[16];

	if (guest_count > 1)
		fmt(name, sizeof(name), "guest %u", t->guest->number);
	else
		fmt(name, sizeof(name), "guest");
	console_line("%s: vcpu %u exit 0x%llx info 0x%llx 0x%llx event 0x%llx, %llu exits", name, v->id,
		     (unsigned long long)b->exit_code, (unsigned long long)b->exit_info1,
		     (unsigned long long)b->exit_info2, (unsigned long long)b->exit_int_info,
		     (unsigned long long)s->counters.exits);
	console_line("%s: rip=%llx rsp=%llx rflags=%llx cs=%x cpl=%u rax=%llx cr2=%llx%s", name,
		     (unsigned long long)b->rip, (unsigned long long)b->rsp, (unsigned long long)b->rflags,
		     b->cs.selector, b->cpl, (unsigned long long)b->rax, (unsigned long long)b->cr2,
		     s->step != STEP_NONE ? " stepping" : "");
	console_line("%s: cr0=%llx cr3=%llx cr4=%llx efer=%llx, hardware %llx %llx %llx %llx", name,
		     (unsigned long long)v->guest.cr0, (unsigned long long)v->guest.cr3,
		     (unsigned long long)v->guest.cr4, (unsigned long long)v->guest.efer,
		     (unsigned long long)b->cr0, (unsigned long long)b->cr3, (unsigned long long)b->cr4,
		     (unsigned long long)b->efer);
}

static void log_current_thread(const struct cpu *c)
{
	if (c->thread)
		run_log_thread(c->thread);
}

// ---- the end -------------------------------------------------------------------------------------------

static void add_counters(struct svm_counters *sum, const struct svm_counters *c)
{
	sum->exits += c->exits;
	sum->faults += c->faults;
	sum->guest_cycles += c->guest_cycles;
	for (u32 i = 0; i < VMEXIT_COUNT; i++)
		sum->by_reason[i] += c->by_reason[i];
}

static void log_counters(const struct guest *g, const struct svm_counters *c)
{
	u64 per_ms = timer_cycles_per_ms();
	char text[CONSOLE_LINE_MAX - 48];
	size_t at = 0;

	guest_line(g, "exits=%llu faults=%llu guest_ms=%llu first_guest_instruction_us=%llu run_ms=%llu",
		   (unsigned long long)c->exits, (unsigned long long)c->faults,
		   (unsigned long long)(c->guest_cycles / per_ms),
		   (unsigned long long)((entered_at - boot_tsc) * 1000 / per_ms),
		   (unsigned long long)((tsc_read() - entered_at) / per_ms));
	for (u32 i = 0; i < VMEXIT_COUNT; i++) {
		const char *name = exit_name(i);

		if (!c->by_reason[i])
			continue;
		if (name)
			at += fmt(text + at, sizeof(text) - at, " %s=%llu", name, (unsigned long long)c->by_reason[i]);
		else
			at += fmt(text + at, sizeof(text) - at, " exit_0x%x=%llu", i,
				  (unsigned long long)c->by_reason[i]);
	}
	guest_line(g, "exits by reason:%s", at ? text : " none");
}

// Its last thread has ended, and nobody else is inside or comes in: d is ours alone.
static void finish_guest(struct guest *g)
{
	static struct svm_counters sums[GUESTS_MAX]; // too much for a stack
	struct svm_counters *sum = &sums[g->number];
	struct domain *d = g->d;
	const struct shadow_stats stats = d->shadow.stats;

	watchdog_check_begins(); // the teardown of the last guest looks at all memory, too
	const char *bad = hv_check(d, true);

	if (bad) {
		guest_line(g, "check failed: %s", bad);
		g->code = EXIT_FAIL;
	}
	for (u32 i = 0; i < d->vcpu_count; i++)
		add_counters(sum, &svm_of(&d->vcpu[i])->counters);
	g->d = NULL;
	bad = domain_destroy(d);
	if (!bad)
		bad = donor_finish(&g->donor);
	watchdog_check_ends();
	if (bad) {
		guest_line(g, "teardown failed: %s", bad);
		g->code = EXIT_FAIL;
	}
	serial_finish(&g->serial);
	guest_line(g, "shadow faults=%llu fixed=%llu injected=%llu emulated=%llu fast=%llu reclaimed=%llu",
		   (unsigned long long)stats.faults, (unsigned long long)stats.fixed,
		   (unsigned long long)stats.injected, (unsigned long long)stats.emulated,
		   (unsigned long long)stats.fast, (unsigned long long)stats.reclaimed);
	log_counters(g, sum);
}

static _Noreturn void finish_machine(void)
{
	enum exit_code code = EXIT_PASS;
	struct watchdog_wait wait;

	watchdog_wait_start(&wait, "a migration does not end");
	while (__atomic_load_n(&run_burials, __ATOMIC_SEQ_CST))
		watchdog_wait(&wait);
	for (u32 i = 0; i < guest_count; i++)
		if (guests[i].code > code)
			code = guests[i].code;
	if (heap_used() != heap_at_start) {
		console_line("umbra: leak: %lld frames", (long long)(heap_used() - heap_at_start));
		code = EXIT_FAIL;
	}
	cost_report();
	console_line("umbra: %s", code == EXIT_PASS ? "pass" : "FAIL");
	exit_machine(code);
}

bool run_end_guest(struct guest *g, enum exit_code code)
{
	port_lock(&g->lock, __func__);
	bool first = !g->over, others = g->threads > 1;

	if (first)
		g->code = code;
	__atomic_store_n(&g->over, true, __ATOMIC_SEQ_CST);
	port_unlock(&g->lock);
	if (others)
		run_kick_others();
	return first;
}

void run_kick_others(void)
{
	for (u32 i = 0; i < cpu_count; i++)
		if (i != this_cpu()->index)
			apic_send(cpus[i].apic_id, VECTOR_KICK);
}

// The last thread of g is inside, and stays; the operator may be at work on g.
static void be_alone(struct guest *g)
{
	while (!guest_pause(g, 1)) { // whoever has it stand still waits for us
		guest_go_out(g);
		guest_wait_to_come_in(g);
	}
}

// A vcpu that halts is done: no interrupt will ever come. The last one has stopped without saying that the guest is done.
static void end_thread(struct thread *t)
{
	struct guest *g = t->guest;

	svm_step_end(t->at);
	vcpu_leave(t->at);
	port_lock(&g->lock, __func__);
	bool last = --g->threads == 0;

	sched_drop();
	port_unlock(&g->lock);
	if (last && !g->over) {
		guest_line(g, "guest halted");
		run_log_thread(t);
		g->code = EXIT_FAIL;
	}
	if (last) {
		be_alone(g);
		finish_guest(g);
		guest_resume(g);
	}
	guest_go_out(g);
	if (last && __atomic_sub_fetch(&guests_left, 1, __ATOMIC_ACQ_REL) == 0)
		finish_machine();
}

// ---- the loop ----------------------------------------------------------------------------------------------

// What the guest leaves to be audited, but not in the middle of a step: tables may be writable then. Other vcpus may run; to change
// anything they need the lock. The time is not the exit's.
static void check(const struct thread *t)
{
	u64 start = tsc_read();

	if (svm_step_is_under_way(t->at))
		return;
	watchdog_check_begins();
	const char *bad = hv_audit(t->guest->d);

	watchdog_check_ends();
	if (bad)
		port_fatal(bad);
	cost_exclude(tsc_read() - start);
}

// Is there anything more to do for this thread? Who waits for a step of it may have the lock that run_end_guest() takes.
static bool may_go_on(const struct thread *t)
{
	struct guest *g = t->guest;

	if (domain_is_dead(g->d)) {
		svm_step_end(t->at);
		if (run_end_guest(g, EXIT_PASS)) {
			guest_line(g, "guest killed: %s", g->d->death);
			run_log_thread(t);
		}
	}
	return !__atomic_load_n(&g->over, __ATOMIC_RELAXED);
}

// False: the vcpu has halted.
static bool handle_exit(struct thread *t)
{
	u64 code = svm_of(t->at)->vmcb->exit_code;

	if (code == VMEXIT_INVALID || code == VMEXIT_INVALID_QEMU) {
		domain_crash(t->guest->d, "the processor refuses its state");
		return true;
	}
	svm_step_note_exit(t->at);
	if (code == VMEXIT_HLT)
		return false;
	if (code == VMEXIT_VMMCALL)
		hypercall_handle(t);
	else
		exit_handle(t);
	svm_resume_event(t->at);
	if (check_interval && svm_of(t->at)->counters.exits % check_interval == 0)
		check(t);
	return true;
}

// What a tick of the timer is for, but for the time slice. Was there one?
static bool look_around(struct cpu *me)
{
	bool ticked = me->ticked;

	me->ticked = false;
	me->looks++;
	me->beats++;
	if (!ticked)
		return false;
	watchdog_tick(me);
	if (me->index == 0)
		operator_poll();
	return true;
}

// There is an interrupt, or t has asked for it. Does another thread get the processor now?
static bool gives_way(struct thread *t, struct cpu *me)
{
	bool asked = t->asks;

	t->pauses = t->asks = false;
	percpu_take_interrupts();
	return (look_around(me) || asked) && sched_is_contended();
}

// The state of v as the processor will have it. Other vcpus may be changing its roots at this moment. False: not now.
static bool prepare(struct vcpu *v)
{
	bool shared = cpu_count > 1;

	if (shared)
		domain_lock(v->domain, BOUND_READ);
	bool attached = v->shadow.attached;

	if (attached)
		svm_prepare(v);
	if (shared)
		domain_unlock(v->domain);
	return attached;
}

// Enter and leave the guest once. False: t has ended.
static bool run_once(struct thread *t)
{
	enum hv_status status = vcpu_enter(t->at);

	if (status == HV_EDEAD)
		domain_crash(t->guest->d, "a vcpu has no page tables"); // unless it is dead: then for another reason
	if (status != HV_OK || !prepare(t->at) || !svm_enter(t->at)) {
		cpu_pause(); // soon: another vcpu is in the middle of a step, or there was a flush
		return true;
	}
	return handle_exit(t);
}

// Run t until it has ended or gives way to another.
static void run_thread(struct thread *t, struct cpu *me)
{
	struct guest *g = t->guest;

	if (!guest_come_in(g)) {
		sched_put_back();
		return;
	}
	sched_load();
	while (may_go_on(t) && run_once(t)) {
		if (!t->pauses)
			continue;
		if (!gives_way(t, me) && !guest_is_paused(g))
			continue;
		vcpu_leave(t->at); // such exits have ended a step
		guest_go_out(g);
		sched_put_back();
		return;
	}
	end_thread(t);
}

_Noreturn void run_guests(void)
{
	struct cpu *me = this_cpu();

	if (!cost_enabled)
		sched_start_timer(cpu_count == 1 && guest_count == 1);
	for (;;) {
		struct thread *t = sched_next();

		if (t)
			run_thread(t, me);
		(void)look_around(me);
	}
}

// ---- start ------------------------------------------------------------------------------------------------

void run_add(struct domain *d)
{
	struct guest *g = &guests[guest_count];
	struct thread *t = &g->thread[0];

	g->d = d;
	g->number = guest_count++;
	g->code = EXIT_PASS;
	g->threads = 1;
	guests_left++;
	serial_start(&g->serial, g->number);
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++)
		g->thread[i].guest = g;
	t->at = &d->vcpu[0];
	sched_add(t);
}

void run_start(u64 heap_before, u32 check_every)
{
	heap_at_start = heap_before;
	check_interval = check_every;
	panic_context = log_current_thread;
	if (!cost_enabled) // it would be measured, too
		watchdog_start(boot.watchdog, boot.wedge);
	if (cpu_count > 1)
		sched_start_timer(false); // measures the clock of all of them
	entered_at = tsc_read();
}
