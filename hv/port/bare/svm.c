// SPDX-License-Identifier: GPL-2.0-or-later
// SVM without nested paging (spec F): start-up, VMCBs, the way in and out, events.
//
// Parts: start-up; VMCBs; entry; the current instruction; events.
// Control registers are never kept here: before every VMRUN they are what the core says. ASIDs are fixed,
// one for each vcpu of a guest, and a flush is TLB_CONTROL = 1 at the next entry on that processor; that is more than needed (it drops
// all ASIDs) and right on every processor. flush.c has what processors ask of each other.
#include "svm.h"

#include "../../base/mem.h"
#include "console.h"
#include "cost.h"
#include "flush.h"

#define CPUID_SVM BIT(2) // leaf 8000_0001 ECX
#define SVM_LEAF 0x8000000au
#define VM_CR_SVMDIS BIT(4)
#define IOPM_BYTES 12288u
#define MSRPM_BYTES 8192u
#define COM1 0x3f8u
#define COM1_PORTS 8u
#define DR7_GD BIT(13)

static u8 io_permissions[IOPM_BYTES] __attribute__((aligned(4096)));
static u8 io_permissions_com1[IOPM_BYTES] __attribute__((aligned(4096))); // and COM1 is open
static u8 msr_permissions[MSRPM_BYTES] __attribute__((aligned(4096)));
// By processor: where VMRUN saves, and what VMLOAD gives back to the host.
static u8 host_save[CPUS_MAX][FRAME_BYTES] __attribute__((aligned(4096)));
static struct vmcb host_vmcb[CPUS_MAX] __attribute__((aligned(4096)));
#define SVM_VCPUS (GUESTS_MAX * DOMAIN_VCPUS_MAX)
static struct vmcb vmcbs[SVM_VCPUS] __attribute__((aligned(4096)));
static struct svm_vcpu vcpus[SVM_VCPUS];

void svm_world_switch(u64 gpr[GPR_COUNT], u64 guest_vmcb, u64 host_vmcb_at); // vmrun.S

static u64 address_of(const void *p)
{
	return (u64)(uintptr_t)p;
}

// ---- start-up ------------------------------------------------------------------------------------

// Two bits per MSR, read and write, in one 2 KiB block for each of three ranges (APM vol. 2, 15.11).
static void msr_pass_through(u32 msr)
{
	u32 base = msr < 0x2000 ? 0 : 0x800;
	u32 bit = (msr & 0x1fff) * 2;

	msr_permissions[base + bit / 8] &= (u8)~(3u << bit % 8);
}

void svm_cpu_start(u32 index)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, address_of(host_save[index]));
	__asm__ volatile("vmsave %0" : : "a"(address_of(&host_vmcb[index])) : "memory"); // with the GS base
}

const char *svm_start(void)
{
	static const u32 guest_msrs[] = {
		MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_STAR, MSR_LSTAR, MSR_CSTAR,
		MSR_SFMASK, MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	};

	if (cpuid(0x80000000, 0).eax < SVM_LEAF || !(cpuid(0x80000001, 0).ecx & CPUID_SVM))
		return "the processor has no SVM";
	if (msr_read(MSR_VM_CR) & VM_CR_SVMDIS)
		return "the firmware has locked SVM off";
	if (cpuid(SVM_LEAF, 0).ebx <= DOMAIN_VCPUS_MAX)
		return "the processor has too few ASIDs";
	svm_cpu_start(0);
	__builtin_memset(io_permissions, 0xff, sizeof(io_permissions));
	__builtin_memset(io_permissions_com1, 0xff, sizeof(io_permissions_com1));
	for (u32 port = COM1; port < COM1 + COM1_PORTS; port++)
		io_permissions_com1[port / 8] &= (u8)~(1u << port % 8);
	__builtin_memset(msr_permissions, 0xff, sizeof(msr_permissions));
	for (u32 i = 0; i < ARRAY_LEN(guest_msrs); i++)
		msr_pass_through(guest_msrs[i]);
	return NULL;
}

void svm_describe(void)
{
	struct cpuid vendor = cpuid(0, 0), features = cpuid(SVM_LEAF, 0);
	char name[13] = { 0 };

	mem_copy(name, &vendor.ebx, 4);
	mem_copy(name + 4, &vendor.edx, 4);
	mem_copy(name + 8, &vendor.ecx, 4);
	console_line("umbra: cpu %s signature 0x%x, %u physical address bits, SVM revision %u, %u ASIDs, "
		     "features 0x%x", name, cpuid(1, 0).eax, port_phys_bits(), features.eax & 0xff,
		     features.ebx, features.edx);
}

// ---- VMCBs ---------------------------------------------------------------------------------------

static const struct vmcb_segment flat_code = { 0x10, 0xc9b, UINT32_MAX, 0 };
static const struct vmcb_segment flat_data = { 0x18, 0xc93, UINT32_MAX, 0 };
// Type 9, available: QEMU stops at the next change of privilege when a 32-bit guest's is busy.
static const struct vmcb_segment empty_tss = { 0, 0x089, 0xffff, 0 };
static const struct vmcb_segment empty_ldt = { 0, 0x082, 0xffff, 0 };

static void set_intercepts(struct vmcb *b)
{
	b->intercept_cr_read = b->intercept_cr_write = BIT(0) | BIT(3) | BIT(4);
	b->intercept_exception = SVM_EXCEPTIONS;
	b->intercept1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT | INTERCEPT_RDPMC |
			INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPG |
			INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_TASK_SWITCH |
			INTERCEPT_SHUTDOWN;
	b->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
			INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |
			INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV;
}

void svm_vcpu_start(struct vcpu *v, u32 guest)
{
	u32 slot = guest * DOMAIN_VCPUS_MAX + v->id;
	struct svm_vcpu *s = &vcpus[slot];
	struct vmcb *b = &vmcbs[slot];

	mem_zero(s, sizeof(*s));
	mem_zero(b, sizeof(*b));
	s->vmcb = b;
	s->pat = PAT_RESET;
	v->port = s;
	set_intercepts(b);
	b->iopm = address_of(guest ? io_permissions : io_permissions_com1);
	b->msrpm = address_of(msr_permissions);
	b->asid = 1 + v->id; // 0 is the host. Those of other guests are the same: they go when the thread changes
	// Interrupts of the machine do not obey the flags of the guest: they make it exit.
	b->virtual_interrupt = VIRTUAL_INTR_MASKING;
	b->es = b->ss = b->ds = b->fs = b->gs = flat_data;
	b->cs = flat_code;
	b->tr = empty_tss;
	b->ldtr = empty_ldt;
	b->gdtr.limit = b->idtr.limit = 0;
	b->rflags = RFLAGS_RESERVED;
	b->dr6 = 0xffff0ff0;
	b->dr7 = 0x400;
	b->pat = PAT_RESET;
}

void svm_vcpu_continue(const struct vcpu *from, struct vcpu *to)
{
	struct svm_vcpu *s = svm_of(to);
	const struct svm_vcpu *was = svm_of(from);
	u32 asid = s->vmcb->asid;

	mem_copy(s->gpr, was->gpr, sizeof(s->gpr));
	*s->vmcb = *was->vmcb;
	s->vmcb->asid = asid;
	s->pat = was->pat;
	s->interrupted = was->interrupted;
	s->started = true;
	flush_here(this_cpu());
}

// ---- entry ---------------------------------------------------------------------------------------

void svm_prepare(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;

	b->cr0 = vcpu_hw_cr0(v);
	b->cr3 = vcpu_hw_cr3(v);
	b->cr4 = vcpu_hw_cr4(v);
	b->efer = vcpu_hw_efer(v);
	b->clean = 0;
	s->started = true;
	b->rax = s->gpr[GPR_RAX];
	b->rsp = s->gpr[GPR_RSP];
}

// For the run loop alone, which is short.
__attribute__((always_inline)) bool svm_enter(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;
	struct cpu *me = this_cpu();
	u64 before, after;

	if (!flush_enter_guest(me))
		return false;
	b->tlb_control = me->flush ? TLB_CONTROL_FLUSH_ALL : 0;
	me->flush = false;

	before = tsc_read();
	cost_entering(before);
	svm_world_switch(s->gpr, address_of(b), address_of(&host_vmcb[me->index]));
	after = tsc_read();
	cost_left(after);
	flush_left_guest(me);
	me->beats++;
	s->counters.guest_cycles += after - before;

	s->gpr[GPR_RAX] = b->rax;
	s->gpr[GPR_RSP] = b->rsp;
	s->interrupted = b->exit_int_info & EVENT_VALID ? b->exit_int_info : 0;
	b->event_inject = 0;
	s->counters.exits++;
	if (b->exit_code < VMEXIT_COUNT)
		s->counters.by_reason[b->exit_code]++;
	return true;
}

// ---- the current instruction -----------------------------------------------------------------------

u64 svm_rflags(const struct vcpu *v)
{
	const struct svm_vcpu *s = svm_of(v);

	return s->step == STEP_TRAP ? (s->vmcb->rflags & ~RFLAGS_TF) | s->step_tf : s->vmcb->rflags;
}

u32 svm_code_bits(const struct vcpu *v)
{
	u32 attributes = svm_of(v)->vmcb->cs.attributes;

	if ((v->guest.efer & EFER_LMA) && (attributes & SEGMENT_L))
		return 64;
	// Real mode ignores the bit; a guest that entered it with 32-bit segments keeps using them.
	return attributes & SEGMENT_DB ? 32 : 16;
}

void svm_decode_state(const struct vcpu *v, struct decode_state *state)
{
	const struct svm_vcpu *s = svm_of(v);
	const struct vmcb *b = s->vmcb;

	state->gpr = s->gpr;
	state->rip = b->rip;
	state->rflags = svm_rflags(v);
	state->segment = b->segment;
	state->code_bits = (u8)svm_code_bits(v);
	state->stack_bits = b->ss.attributes & SEGMENT_DB ? 32 : 16;
	state->cpl = b->cpl == 3 ? 3 : 0; // what paging distinguishes
	state->sse = !(v->guest.cr0 & (CR0_EM | CR0_TS)) && (v->guest.cr4 & CR4_OSFXSR);
}

void svm_advance(struct vcpu *v, u32 length)
{
	struct vmcb *b = svm_of(v)->vmcb;

	b->rip += length;
	if (svm_code_bits(v) != 64)
		b->rip = (u32)b->rip;
	b->interrupt_shadow = 0;
	if (length)
		b->rflags &= ~RFLAGS_RF;
	if (b->rflags & RFLAGS_TF) {
		b->dr6 |= BIT(14); // BS: single step
		svm_inject(v, VECTOR_DB, NO_ERROR);
	}
}

// ---- events --------------------------------------------------------------------------------------

static bool is_contributory(u32 vector)
{
	return vector == 0 || (vector >= 10 && vector <= 13);
}

// Delivering `first` met `second`: does that make a double fault (APM vol. 2, 8.2.9)?
static bool makes_double_fault(u32 first, u32 second)
{
	if (first == VECTOR_PF)
		return second == VECTOR_PF || is_contributory(second);
	return is_contributory(first) && is_contributory(second);
}

void svm_inject(struct vcpu *v, u32 vector, s64 error)
{
	struct svm_vcpu *s = svm_of(v);
	u64 first = s->interrupted;

	hv_assert(s->step == STEP_NONE || s->step == STEP_OVER);

	if (first && EVENT_TYPE(first) == EVENT_TYPE_EXCEPTION) {
		u32 was = EVENT_VECTOR(first);

		if (was == VECTOR_DF && (vector == VECTOR_PF || is_contributory(vector))) {
			domain_crash(v->domain, "triple fault");
			return;
		}
		if (makes_double_fault(was, vector)) {
			vector = VECTOR_DF;
			error = 0;
		}
	}
	if (vector == VECTOR_DB)
		s->vmcb->dr7 &= ~DR7_GD; // as its delivery does, or does not when it is injected
	s->vmcb->event_inject = vector | EVENT_TYPE_EXCEPTION << 8 | EVENT_VALID;
	if (error != NO_ERROR && (v->guest.cr0 & CR0_PE)) // real mode has no error codes
		s->vmcb->event_inject |= EVENT_HAS_ERROR | (u64)error << 32;
}

void svm_set_cr2(struct vcpu *v, u64 cr2)
{
	svm_of(v)->vmcb->cr2 = cr2;
}

// Software interrupts, INT3 and INTO left RIP at their instruction: it runs again and raises them anew.
void svm_resume_event(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	u32 vector = EVENT_VECTOR(s->interrupted);
	bool from_instruction = EVENT_TYPE(s->interrupted) == EVENT_TYPE_SOFTWARE ||
				(EVENT_TYPE(s->interrupted) == EVENT_TYPE_EXCEPTION && (vector == 3 || vector == 4));

	if (s->interrupted && !from_instruction && !(s->vmcb->event_inject & EVENT_VALID))
		s->vmcb->event_inject = s->interrupted;
}
