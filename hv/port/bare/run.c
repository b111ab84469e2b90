// SPDX-License-Identifier: GPL-2.0-or-later
// The run loop, the hypercalls that belong to the port, and the report at the end.
//
// Parts: what a panic says about the guest; hypercalls; the end; the loop.
// One guest in the life of the image. The exit code says whether hypervisor and guest are well; a guest
// that was killed by a healthy hypervisor is a pass, and its reason is on the console.
#include "run.h"

#include "../../base/fmt.h"
#include "../../domain/hypercall.h"
#include "../../mem/heap.h"
#include "../../mem/tlb.h"
#include "boot.h"
#include "console.h"
#include "cost.h"
#include "cpu.h"
#include "panic.h"
#include "svm_step.h"

static struct vcpu *current;
static u64 heap_at_start;
static u64 entered_at; // TSC before the first VMRUN

static void log_guest_state(void)
{
	const struct svm_vcpu *s = svm_of(current);
	const struct vmcb *b = s->vmcb;

	console_line("guest: vcpu %u exit 0x%llx info 0x%llx 0x%llx event 0x%llx, %llu exits", current->id,
		     (unsigned long long)b->exit_code, (unsigned long long)b->exit_info1,
		     (unsigned long long)b->exit_info2, (unsigned long long)b->exit_int_info,
		     (unsigned long long)svm_counters.exits);
	console_line("guest: rip=%llx rsp=%llx rflags=%llx cs=%x cpl=%u rax=%llx cr2=%llx%s",
		     (unsigned long long)b->rip, (unsigned long long)b->rsp, (unsigned long long)b->rflags,
		     b->cs.selector, b->cpl, (unsigned long long)b->rax, (unsigned long long)b->cr2,
		     s->step != STEP_NONE ? " stepping" : "");
	console_line("guest: cr0=%llx cr3=%llx cr4=%llx efer=%llx, hardware %llx %llx %llx %llx",
		     (unsigned long long)current->guest.cr0, (unsigned long long)current->guest.cr3,
		     (unsigned long long)current->guest.cr4, (unsigned long long)current->guest.efer,
		     (unsigned long long)b->cr0, (unsigned long long)b->cr3, (unsigned long long)b->cr4,
		     (unsigned long long)b->efer);
}

// ---- the end -------------------------------------------------------------------------------------------

// TSC cycles in one millisecond, measured against channel 2 of the interval timer (1193182 Hz).
static u64 cycles_per_ms(void)
{
	const u32 ticks = 1193 * 4; // 4 ms
	u8 gate = port_in8(0x61) & 0xfc;
	u64 start;

	port_out8(0x61, gate);
	port_out8(0x43, 0xb0); // channel 2, both bytes, one-shot
	port_out8(0x42, (u8)ticks);
	port_out8(0x42, (u8)(ticks >> 8));
	port_out8(0x61, gate | 1);
	start = tsc_read();
	for (u32 wait = 0; !(port_in8(0x61) & 0x20) && wait < 10000000; wait++)
		cpu_pause();
	return (tsc_read() - start) / 4;
}

static void log_counters(void)
{
	u64 per_ms = cycles_per_ms();
	char text[CONSOLE_LINE_MAX - 16];
	size_t at = 0;

	if (!per_ms)
		per_ms = 1;
	console_line("umbra: exits=%llu faults=%llu guest_ms=%llu first_guest_instruction_us=%llu",
		     (unsigned long long)svm_counters.exits, (unsigned long long)svm_counters.faults,
		     (unsigned long long)(svm_counters.guest_cycles / per_ms),
		     (unsigned long long)((entered_at - boot_tsc) * 1000 / per_ms));
	for (u32 i = 0; i < VMEXIT_COUNT; i++) {
		const char *name = exit_name(i);

		if (!svm_counters.by_reason[i])
			continue;
		if (name)
			at += fmt(text + at, sizeof(text) - at, " %s=%llu", name,
				  (unsigned long long)svm_counters.by_reason[i]);
		else
			at += fmt(text + at, sizeof(text) - at, " exit_0x%x=%llu", i,
				  (unsigned long long)svm_counters.by_reason[i]);
	}
	console_line("umbra: exits by reason:%s", at ? text : " none");
}

static _Noreturn void finish(struct domain *d, enum exit_code code)
{
	const struct shadow_stats stats = d->shadow.stats;
	const char *bad;

	svm_step_end(current);
	bad = hv_check(d, true);
	if (bad) {
		console_line("umbra: check failed: %s", bad);
		code = EXIT_FAIL;
	}
	bad = domain_destroy(d);
	if (bad) {
		console_line("umbra: teardown failed: %s", bad);
		code = EXIT_FAIL;
	}
	if (heap_used() != heap_at_start) {
		console_line("umbra: leak: %lld frames", (long long)(heap_used() - heap_at_start));
		code = EXIT_FAIL;
	}
	console_line("umbra: shadow faults=%llu fixed=%llu injected=%llu emulated=%llu fast=%llu reclaimed=%llu",
		     (unsigned long long)stats.faults, (unsigned long long)stats.fixed,
		     (unsigned long long)stats.injected, (unsigned long long)stats.emulated,
		     (unsigned long long)stats.fast, (unsigned long long)stats.reclaimed);
	log_counters();
	cost_report();
	console_line("umbra: %s", code == EXIT_PASS ? "pass" : "FAIL");
	exit_machine(code);
}

// ---- hypercalls ------------------------------------------------------------------------------------------

// A vcpu that never ran starts with the control state of vcpu 0.
static enum hv_status start_vcpu(struct vcpu *v)
{
	const struct vcpu_control like = v->domain->vcpu[0].guest;
	enum hv_status status = vcpu_write_efer(v, like.efer); // paging is off: LME may change

	if (status == HV_OK)
		status = vcpu_write_cr4(v, like.cr4);
	if (status == HV_OK)
		status = vcpu_write_cr3(v, like.cr3);
	return status == HV_OK ? vcpu_write_cr0(v, like.cr0) : status;
}

static enum hv_status switch_vcpu(u64 n)
{
	struct domain *d = current->domain;
	struct vcpu *to = &d->vcpu[n < d->vcpu_count ? n : 0];
	enum hv_status status = HV_OK;

	if (n >= d->vcpu_count)
		return HV_EINVAL;
	if (to == current)
		return HV_OK;
	if (!svm_of(to)->started)
		status = start_vcpu(to);
	if (status != HV_OK)
		return status;
	svm_vcpu_continue(current, to);
	current = to;
	return HV_OK;
}

static void handle_hypercall(void)
{
	struct vcpu *v = current;
	struct svm_vcpu *s = svm_of(v);
	u64 mask = svm_code_bits(v) == 64 ? UINT64_MAX : UINT32_MAX;
	u64 number = s->gpr[GPR_RAX] & mask, arg0 = s->gpr[GPR_RDI] & mask, arg1 = s->gpr[GPR_RSI] & mask;
	enum hv_status status = HV_OK;

	if (s->vmcb->cpl) { // for kernels only
		svm_inject(v, VECTOR_UD, NO_ERROR);
		return;
	}
	svm_advance(v, 3); // 0F 01 D9; prefixes are not part of the ABI
	if (number == HYPERCALL_EXIT) {
		console_line("umbra: guest exits with %llu", (unsigned long long)arg0);
		finish(v->domain, arg0 ? EXIT_FAIL : EXIT_PASS);
	}
	if (number == HYPERCALL_FAIL)
		fail_arm(arg0);
	else if (number == HYPERCALL_VCPU)
		status = switch_vcpu(arg0);
	else
		status = hypercall(v, number, arg0, arg1);
	svm_of(current)->gpr[GPR_RAX] = status;
}

// ---- the loop ----------------------------------------------------------------------------------------------

static _Noreturn void entry_failed(void)
{
	console_line("umbra: SVM entry failure");
	log_guest_state();
	exit_machine(EXIT_SVM_ENTRY);
}

// All checkers, but not in the middle of a step: tables may be writable then. The time is not the exit's.
static void check(struct domain *d)
{
	u64 start = tsc_read();
	const char *bad = svm_step_is_under_way(current) ? NULL : hv_check(d, true);

	if (bad)
		port_fatal(bad);
	cost_exclude(tsc_read() - start);
}

_Noreturn void run_guest(struct domain *d, u64 heap_before, u32 check_every)
{
	heap_at_start = heap_before;
	current = &d->vcpu[0];
	panic_context = log_guest_state;
	entered_at = tsc_read();
	while (!d->dead) {
		vcpu_enter(current);
		svm_enter(current);
		if (svm_of(current)->vmcb->exit_code == VMEXIT_INVALID)
			entry_failed();
		svm_step_note_exit(current);
		if (svm_of(current)->vmcb->exit_code == VMEXIT_HLT) {
			// No interrupt will ever come: the guest has stopped without saying that it is done.
			console_line("umbra: guest halted");
			log_guest_state();
			finish(d, EXIT_FAIL);
		}
		if (svm_of(current)->vmcb->exit_code == VMEXIT_VMMCALL)
			handle_hypercall();
		else
			exit_handle(current);
		svm_resume_event(current);

		if (check_every && svm_counters.exits % check_every == 0)
			check(d);
	}
	console_line("umbra: guest killed: %s", d->death);
	log_guest_state();
	finish(d, EXIT_PASS);
}
