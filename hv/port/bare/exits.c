// SPDX-License-Identifier: GPL-2.0-or-later
// What each exit does (spec F.3). Handlers change the guest's registers, ask the core, or inject an
// exception; a guest's mistake never ends in more than that or in domain_crash().
//
// Parts: names; page faults; control registers; INVLPG; MSRs, CPUID, ports; the switch.
#include "cost.h"
#include "guest.h"
#include "run.h"
#include "svm_step.h"

#define CR0_LMSW 0xfu // the bits that LMSW writes; it cannot clear PE

const char *exit_name(u32 reason)
{
	static const struct {
		u32 reason;
		const char *name;
	} rows[] = {
		{ VMEXIT_CR0_READ, "read_cr0" },   { VMEXIT_CR3_READ, "read_cr3" },
		{ VMEXIT_CR4_READ, "read_cr4" },   { VMEXIT_CR0_WRITE, "write_cr0" },
		{ VMEXIT_CR3_WRITE, "write_cr3" }, { VMEXIT_CR4_WRITE, "write_cr4" },
		{ VMEXIT_DEBUG, "debug" }, { VMEXIT_PAGE_FAULT, "page_fault" },
		{ VMEXIT_INTR, "intr" }, { VMEXIT_NMI, "nmi" },
		{ VMEXIT_CPUID, "cpuid" },         { VMEXIT_HLT, "hlt" },     { VMEXIT_INVLPG, "invlpg" },
		{ VMEXIT_IOIO, "io" },             { VMEXIT_MSR, "msr" },     { VMEXIT_SHUTDOWN, "shutdown" },
		{ VMEXIT_VMMCALL, "vmmcall" },     { VMEXIT_WBINVD, "wbinvd" },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].reason == reason)
			return rows[i].name;
	return NULL;
}

static void inject_gp(struct vcpu *v)
{
	svm_inject(v, VECTOR_GP, 0);
}

// ---- page faults -----------------------------------------------------------------------------------

// The core says that it has put things right, or has done so for one step. When the very next exit is a fault of the
// same instruction again, and so on for longer than any string instruction faults its way through memory, the guest will
// never get on.
#define FIXED_REPEAT_MAX (1u << 18)
static void note_again(struct vcpu *v, const struct vmcb *b)
{
	struct svm_vcpu *s = svm_of(v);
	u64 exits = s->counters.exits - s->counters.by_reason[VMEXIT_INTR] - s->counters.by_reason[VMEXIT_NMI]; // those are not its own
	bool same = b->rip == s->fault_rip && exits == s->fault_exit + 1;

	s->fault_repeats = same ? s->fault_repeats + 1 : 0;
	s->fault_rip = b->rip;
	s->fault_exit = exits;
	if (s->fault_repeats > FIXED_REPEAT_MAX)
		domain_crash(v->domain, "one instruction faults for ever");
}

static void handle_page_fault(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;
	gva_t va = gva(b->exit_info2), cr2 = va;
	u32 error = (u32)b->exit_info1;
	struct hv_insn insn = { 0 };
	u64 mmio = v->domain->shadow.stats.mmio;
	enum fault_result result;

	s->counters.faults++;
	s->emulated = 0;
	s->fetched = false;
	// AC counts for explicit supervisor accesses alone: from CPL 3 they are implicit (tables of the CPU).
	v->rflags_ac = (b->rflags & RFLAGS_AC) && (b->cpl != 3 || (error & PF_U));
	result = vcpu_page_fault(v, va, &error, &cr2, &insn);
	if (s->step == STEP_OVER || (result != FAULT_FIXED && result != FAULT_STEP))
		svm_step_end(v);
	switch (result) {
	case FAULT_FIXED:
		note_again(v, b);
		cost_classify(s->emulated ? COST_PT_WRITE : COST_FIXED);
		break;
	case FAULT_STEP:
		note_again(v, b);
		svm_step_start(v);
		break;
	case FAULT_DEAD:
		break;
	case FAULT_EMULATED:
		guest_complete(v, &insn);
		if (insn.kind != INSN_READ && v->domain->shadow.stats.mmio == mmio)
			cost_classify(COST_PT_WRITE);
		break;
	case FAULT_INJECT:
		svm_set_cr2(v, cr2.a);
		svm_inject(v, VECTOR_PF, error);
		break;
	case FAULT_INJECT_GP:
		inject_gp(v);
		break;
	}
}

// ---- control registers -----------------------------------------------------------------------------

// Decode the instruction behind an exit. False: it cannot be; the domain has been killed.
static bool decode_exit(struct vcpu *v, struct decoded *d)
{
	guest_decode(v, d);
	if (d->length)
		return true;
	domain_crash(v->domain, "unknown instruction at an intercept");
	return false;
}

static void finish_write(struct vcpu *v, enum hv_status status, u32 length)
{
	if (status == HV_OK)
		svm_advance(v, length);
	else if (status == HV_EINVAL)
		inject_gp(v);
	// HV_EDEAD: the run loop ends
}

static void write_cr0(struct vcpu *v, u64 value, u32 length)
{
	bool on = value & CR0_PG, changes = ((value ^ v->guest.cr0) & CR0_PG) != 0;
	bool to_long = on && changes && (v->guest.efer & EFER_LME);

	// The core does not know about CS.L: paging cannot be left from 64-bit code, nor can long mode begin with it set.
	if ((!on && svm_code_bits(v) == 64) || (to_long && (svm_of(v)->vmcb->cs.attributes & SEGMENT_L)))
		inject_gp(v);
	else
		finish_write(v, vcpu_write_cr0(v, value), length);
}

static void handle_lmsw(struct vcpu *v, const struct decoded *d)
{
	u64 keep = v->guest.cr0 & ~(u64)(CR0_LMSW & ~CR0_PE);
	u16 value = (u16)svm_of(v)->gpr[d->gpr];

	if (d->has_memory && !guest_copy(v, d->insn.va, false, &value, sizeof(value)))
		return;
	write_cr0(v, keep | (value & CR0_LMSW), d->length);
}

static void handle_cr_write(struct vcpu *v)
{
	struct decoded d;
	u64 value;

	if (!decode_exit(v, &d))
		return;
	value = gpr_read(svm_of(v)->gpr, d.gpr, d.gpr_bytes ? d.gpr_bytes : 8, false);
	if (d.op == DECODE_CLTS)
		write_cr0(v, v->guest.cr0 & ~CR0_TS, d.length);
	else if (d.op == DECODE_LMSW)
		handle_lmsw(v, &d);
	else if (d.op == DECODE_MOV_TO_CR && d.control == 0)
		write_cr0(v, value, d.length);
	else if (d.op == DECODE_MOV_TO_CR && d.control == 3)
		finish_write(v, vcpu_write_cr3(v, value), d.length);
	else if (d.op == DECODE_MOV_TO_CR && d.control == 4 && !(value & feature_cr4_denied()))
		finish_write(v, vcpu_write_cr4(v, value), d.length);
	else if (d.op == DECODE_MOV_TO_CR && d.control == 4)
		inject_gp(v);
	else
		domain_crash(v->domain, "unknown instruction at a control register write");
}

static void handle_cr_read(struct vcpu *v)
{
	struct decoded d;
	u64 value;

	if (!decode_exit(v, &d))
		return;
	value = d.control == 3 ? v->guest.cr3 : d.control == 4 ? v->guest.cr4 : v->guest.cr0;
	if (d.op == DECODE_SMSW && d.has_memory) {
		u16 word = (u16)v->guest.cr0;

		if (!guest_copy(v, d.insn.va, true, &word, sizeof(word)))
			return;
	} else if (d.op == DECODE_SMSW || d.op == DECODE_MOV_FROM_CR) {
		gpr_write(svm_of(v)->gpr, d.gpr, d.gpr_bytes, false, value);
	} else {
		domain_crash(v->domain, "unknown instruction at a control register read");
		return;
	}
	svm_advance(v, d.length);
}

static void handle_invlpg(struct vcpu *v)
{
	struct decoded d;

	if (!decode_exit(v, &d))
		return;
	if (d.op != DECODE_INVLPG) {
		domain_crash(v->domain, "unknown instruction at INVLPG");
		return;
	}
	vcpu_invlpg(v, d.insn.va);
	svm_advance(v, d.length);
}

// ---- MSRs, CPUID, ports ------------------------------------------------------------------------------

static void handle_msr(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	u32 msr = (u32)s->gpr[GPR_RCX];
	u64 value = s->gpr[GPR_RDX] << 32 | (u32)s->gpr[GPR_RAX];
	struct decoded d;

	if (!decode_exit(v, &d))
		return;
	if (s->vmcb->exit_info1 ? !feature_msr_write(v, msr, value) : !feature_msr_read(v, msr, &value)) {
		inject_gp(v);
		return;
	}
	if (!s->vmcb->exit_info1) {
		s->gpr[GPR_RAX] = (u32)value;
		s->gpr[GPR_RDX] = value >> 32;
	}
	svm_advance(v, d.length);
}

static void handle_cpuid(struct vcpu *v)
{
	u64 *gpr = svm_of(v)->gpr;
	struct cpuid r = feature_cpuid(v, (u32)gpr[GPR_RAX], (u32)gpr[GPR_RCX]);
	struct decoded d;

	if (!decode_exit(v, &d))
		return;
	gpr[GPR_RAX] = r.eax;
	gpr[GPR_RBX] = r.ebx;
	gpr[GPR_RCX] = r.ecx;
	gpr[GPR_RDX] = r.edx;
	svm_advance(v, d.length);
}

// The serial port is the only device: see serial.c. Elsewhere reads give ones and writes vanish. String forms are skipped
// whole, memory unchanged.
static void handle_io(struct vcpu *v, struct serial *serial)
{
	struct svm_vcpu *s = svm_of(v);
	u64 info = s->vmcb->exit_info1, value = UINT64_MAX;
	u32 reg = IOIO_PORT(info) - SERIAL_FIRST;

	if ((info & IOIO_STRING) && (info & IOIO_REP))
		s->gpr[GPR_RCX] = 0;
	if (reg < SERIAL_PORTS && IOIO_BYTES(info) == 1 && !(info & IOIO_STRING)) {
		if (info & IOIO_IN)
			value = serial_read(serial, reg);
		else
			serial_write(serial, reg, (u8)s->gpr[GPR_RAX]);
	}
	if ((info & IOIO_IN) && !(info & IOIO_STRING))
		gpr_write(s->gpr, GPR_RAX, IOIO_BYTES(info), false, value);
	svm_advance(v, (u32)(s->vmcb->exit_info2 - s->vmcb->rip));
}

static void handle_skipped(struct vcpu *v)
{
	struct decoded d;

	if (decode_exit(v, &d))
		svm_advance(v, d.length);
}

// ---- the switch --------------------------------------------------------------------------------------

void exit_handle(struct thread *t)
{
	struct vcpu *v = t->at;
	u64 code = svm_of(v)->vmcb->exit_code;

	switch (code) {
	case VMEXIT_PAGE_FAULT:
		handle_page_fault(v);
		break;
	case VMEXIT_CR0_READ: case VMEXIT_CR3_READ: case VMEXIT_CR4_READ:
		handle_cr_read(v);
		break;
	case VMEXIT_CR3_WRITE:
		cost_classify(COST_CR3);
		handle_cr_write(v);
		break;
	case VMEXIT_CR0_WRITE: case VMEXIT_CR4_WRITE:
		handle_cr_write(v);
		break;
	case VMEXIT_INVLPG:
		handle_invlpg(v);
		break;
	case VMEXIT_MSR:
		handle_msr(v);
		break;
	case VMEXIT_CPUID:
		handle_cpuid(v);
		break;
	case VMEXIT_IOIO:
		handle_io(v, &t->guest->serial);
		break;
	case VMEXIT_INVD: case VMEXIT_WBINVD: // memory is coherent with or without it
		handle_skipped(v);
		break;
	case VMEXIT_INTR: case VMEXIT_NMI: case VMEXIT_SMI: case VMEXIT_INIT:
		t->pauses = true; // the run loop lets the processor take it
		break;
	case VMEXIT_INTN: case VMEXIT_IRET:
		break; // it was the end of a step, and runs again
	case VMEXIT_RDPMC:
		inject_gp(v);
		break;
	case VMEXIT_INVLPGA: case VMEXIT_VMRUN: case VMEXIT_VMLOAD: case VMEXIT_VMSAVE: case VMEXIT_STGI:
	case VMEXIT_CLGI: case VMEXIT_SKINIT: case VMEXIT_MONITOR: case VMEXIT_MWAIT: case VMEXIT_MWAIT_ARMED:
	case VMEXIT_XSETBV:
		svm_inject(v, VECTOR_UD, NO_ERROR);
		break;
	case VMEXIT_SHUTDOWN:
		domain_crash(v->domain, "triple fault");
		break;
	case VMEXIT_TASK_SWITCH:
		domain_crash(v->domain, "hardware task switch");
		break;
	case VMEXIT_MACHINE_CHECK:
		port_fatal("machine check");
	default:
		if (code >= VMEXIT_EXCEPTION && code < VMEXIT_EXCEPTION + 32) {
			svm_step_handle_exception(v);
			t->pauses = true; // #DB and #AC may come again before any interrupt does
		} else {
			domain_crash(v->domain, "unknown exit");
		}
		break;
	}
}
