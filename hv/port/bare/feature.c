// SPDX-License-Identifier: GPL-2.0-or-later
// The processor that a guest sees: the real one without what needs more of us than page tables.
//
// Hidden: SVM and nested features, PCID, XSAVE and all that needs it (AVX and up), protection keys and
// shadow stacks, 57-bit addresses, the APIC and MTRRs, MONITOR, performance counters.
// Parts: CPUID; CR4; MSRs. Everything here is a filter over the real CPUID or a constant: the guest's
// view never changes while it runs, but for OSXSAVE-like bits, which are always clear.
#include "guest.h"

#include "../../base/mem.h"
#include "../../domain/hypercall.h"

#define HYPERVISOR_LEAF 0x40000000u

#define LEAF1_ECX_HIDDEN \
	(BIT(2) /* DS64 */ | BIT(3) /* MONITOR */ | BIT(4) /* DS-CPL */ | BIT(5) /* VMX */ | BIT(6) /* SMX */ | \
	 BIT(12) /* FMA */ | BIT(15) /* PDCM */ | BIT(17) /* PCID */ | BIT(21) /* X2APIC */ | \
	 BIT(24) /* TSC deadline */ | BIT(26) /* XSAVE */ | BIT(27) /* OSXSAVE */ | BIT(28) /* AVX */ | \
	 BIT(29) /* F16C */)
#define LEAF1_ECX_HYPERVISOR BIT(31)
#define LEAF1_EDX_HIDDEN \
	(BIT(9) /* APIC */ | BIT(12) /* MTRR */ | BIT(21) /* DS */ | BIT(22) /* ACPI */ | BIT(28) /* HTT */)
#define LEAF7_EBX_SHOWN \
	(BIT(0) /* FSGSBASE */ | BIT(3) /* BMI1 */ | BIT(7) /* SMEP */ | BIT(8) /* BMI2 */ | BIT(9) /* ERMS */ | \
	 BIT(18) /* RDSEED */ | BIT(19) /* ADX */ | BIT(20) /* SMAP */ | BIT(23) /* CLFLUSHOPT */ | \
	 BIT(24) /* CLWB */ | BIT(29) /* SHA */)
#define EXTENDED1_ECX_HIDDEN \
	(BIT(2) /* SVM */ | BIT(3) /* extended APIC */ | BIT(10) /* IBS */ | BIT(11) /* XOP */ | \
	 BIT(12) /* SKINIT */ | BIT(13) /* WDT */ | BIT(15) /* LWP */ | BIT(16) /* FMA4 */ | \
	 BIT(23) /* PerfCtrExtCore */ | BIT(24) /* PerfCtrExtNB */ | BIT(29) /* MONITORX */)
#define EXTENDED1_EDX_HIDDEN (BIT(9) /* APIC */ | BIT(12) /* MTRR */)
#define LINEAR_BITS 48u

#define CR4_VME BIT(0)
#define CR4_PVI BIT(1)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PCE BIT(8)
#define CR4_UMIP BIT(11)
#define CR4_FSGSBASE BIT(16)
#define CR4_OSXSAVE BIT(18)

// ---- CPUID ---------------------------------------------------------------------------------------

static struct cpuid hypervisor_leaf(void)
{
	struct cpuid r = { .eax = HYPERVISOR_LEAF };

	mem_copy(&r.ebx, HYPERCALL_SIGNATURE, 4);
	mem_copy(&r.ecx, &HYPERCALL_SIGNATURE[4], 4);
	mem_copy(&r.edx, &HYPERCALL_SIGNATURE[8], 4);
	return r;
}

struct cpuid feature_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf)
{
	struct cpuid r = cpuid(leaf, subleaf);
	const struct cpuid nothing = { 0 };

	if (leaf >> 16 == HYPERVISOR_LEAF >> 16)
		return leaf == HYPERVISOR_LEAF ? hypervisor_leaf() : nothing;
	switch (leaf) {
	case 1:
		r.ebx = (r.ebx & 0xffff) | v->id << 24; // one logical processor, its number
		r.ecx = (r.ecx & ~(u32)LEAF1_ECX_HIDDEN) | (u32)LEAF1_ECX_HYPERVISOR;
		r.edx &= ~(u32)LEAF1_EDX_HIDDEN;
		return r;
	case 7:
		r.eax = 0;
		r.ebx = subleaf ? 0 : r.ebx & (u32)LEAF7_EBX_SHOWN;
		r.ecx = r.edx = 0;
		return r;
	case 5: case 6: case 0xa: case 0xb: case 0xd: case 0xf: case 0x10: case 0x12: case 0x14: case 0x1f:
	case 0x8000000a:
		return nothing;
	case 0x80000001:
		r.ecx &= ~(u32)EXTENDED1_ECX_HIDDEN;
		r.edx &= ~(u32)EXTENDED1_EDX_HIDDEN;
		return r;
	case 0x80000008:
		r.eax = GUEST_PHYS_BITS | LINEAR_BITS << 8;
		r.ebx = r.ecx = r.edx = 0;
		return r;
	default:
		// Leaves that we know nothing about tell nothing.
		return (leaf >= 0x18 && leaf < 0x80000000) || leaf > 0x80000008 ? nothing : r;
	}
}

// ---- CR4 -----------------------------------------------------------------------------------------

u64 feature_cr4_denied(void)
{
	u32 leaf1_edx = cpuid(1, 0).edx, leaf7_ebx = cpuid(0, 0).eax >= 7 ? cpuid(7, 0).ebx : 0;
	u64 denied = CR4_UMIP | CR4_OSXSAVE | CR4_PCIDE;
	const struct {
		u32 word;
		u64 feature, cr4;
	} rows[] = {
		{ leaf1_edx, BIT(1), CR4_VME | CR4_PVI }, { leaf1_edx, BIT(2), CR4_DE },
		{ leaf1_edx, BIT(3), CR4_PSE },           { leaf1_edx, BIT(13), CR4_PGE },
		{ leaf7_ebx, BIT(0), CR4_FSGSBASE },      { leaf7_ebx, BIT(7), CR4_SMEP },
		{ leaf7_ebx, BIT(20), CR4_SMAP },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++)
		if (!(rows[i].word & rows[i].feature))
			denied |= rows[i].cr4;
	return denied;
}

// ---- MSRs ----------------------------------------------------------------------------------------

bool feature_has_tsc_aux(void)
{
	static u8 known; // + 1

	if (!known)
		known = cpuid(0x80000001, 0).edx & BIT(27) ? 2 : 1;
	return known == 2;
}

// MSRs that kernels touch without asking CPUID: reads give 0, writes do nothing.
static bool is_ignored(u32 msr)
{
	switch (msr) {
	case MSR_APIC_BASE:
	case 0x8b:       // microcode revision
	case MSR_MTRR_CAP:
	case 0x179:      // machine check: no banks
	case 0x17a:
	case 0x1a0:      // miscellaneous enables
	case 0x1d9:      // debug control
	case 0xc0010010: // SYSCFG
	case 0xc0010015: // HWCR
	case 0xc001001f: // northbridge configuration
	case MSR_VM_CR:
	case 0xc0011029: // DE_CFG
		return true;
	default:
		return (msr >= 0x200 && msr < 0x270) || msr == 0x2ff; // MTRRs
	}
}

static bool is_pat_valid(u64 value)
{
	for (u32 i = 0; i < 8; i++) {
		u32 type = (u32)(value >> 8 * i) & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

bool feature_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_EFER:
		*value = v->guest.efer;
		return true;
	case MSR_PAT:
		*value = svm_of(v)->pat;
		return true;
	case MSR_TSC:
		*value = tsc_read() + svm_of(v)->vmcb->tsc_offset;
		return true;
	case MSR_TSC_AUX: // not used by us: the guest's value is in the processor
		if (!feature_has_tsc_aux())
			return false;
		*value = msr_read(MSR_TSC_AUX);
		return true;
	default:
		*value = 0;
		return is_ignored(msr);
	}
}

bool feature_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_EFER:
		// HV_EDEAD cannot come from here; the run loop would notice a dead domain anyway.
		return vcpu_write_efer(v, value) != HV_EINVAL;
	case MSR_PAT:
		// Kept for the guest to read; without nested paging it has no effect (spec F.4).
		if (is_pat_valid(value))
			svm_of(v)->pat = value;
		return is_pat_valid(value);
	case MSR_TSC:
		svm_of(v)->vmcb->tsc_offset = value - tsc_read();
		return true;
	case MSR_TSC_AUX:
		if (value >> 32 || !feature_has_tsc_aux())
			return false;
		msr_write(MSR_TSC_AUX, value);
		return true;
	default:
		return is_ignored(msr);
	}
}
