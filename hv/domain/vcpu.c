// SPDX-License-Identifier: GPL-2.0-or-later
// Control registers and EFER: what the guest may write, what follows from it, and what hardware is loaded
// with (spec F.4; APM vol. 2, 3.1 and 14.6).
#include "domain.h"

#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR4_FSGSBASE BIT(16)
#define CR4_OSXSAVE BIT(18)
// VME to DE, PSE to OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE, SMEP, SMAP. PCID, LA57 and SMX do not exist.
#define CR4_KNOWN (UINT64_C(0xfff) | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)
#define CR4_WALK (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

static bool is_paged(const struct vcpu *v)
{
	return (v->guest.cr0 & CR0_PG) != 0;
}

enum hv_status vcpu_write_cr0(struct vcpu *v, u64 value)
{
	struct vcpu_control *c = &v->guest;

	if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return HV_EINVAL;
	bool toggles = ((value ^ c->cr0) & CR0_PG) != 0;

	if (toggles && (value & CR0_PG) && (c->efer & EFER_LME) && !(c->cr4 & CR4_PAE))
		return HV_EINVAL;
	c->cr0 = value | CR0_ET;
	if (toggles)
		c->efer = (c->efer & ~EFER_LMA) | (is_paged(v) && (c->efer & EFER_LME) ? EFER_LMA : 0);
	return toggles ? shadow_update_cr3(v) : HV_OK;
}

enum hv_status vcpu_write_cr3(struct vcpu *v, u64 value)
{
	if ((v->guest.efer & EFER_LMA) && value >> GUEST_PHYS_BITS)
		return HV_EINVAL;
	v->guest.cr3 = value;
	return is_paged(v) ? shadow_update_cr3(v) : HV_OK;
}

enum hv_status vcpu_write_cr4(struct vcpu *v, u64 value)
{
	u64 changed = v->guest.cr4 ^ value;

	if ((value & ~CR4_KNOWN) || ((v->guest.efer & EFER_LMA) && !(value & CR4_PAE)))
		return HV_EINVAL;
	v->guest.cr4 = value;
	// What a walk permits may have changed: the guest's translations go, a lagging root is renewed.
	return is_paged(v) && (changed & CR4_WALK) ? shadow_update_cr3(v) : HV_OK;
}

enum hv_status vcpu_write_efer(struct vcpu *v, u64 value)
{
	struct vcpu_control *c = &v->guest;

	if ((value & ~EFER_KNOWN) || (is_paged(v) && ((value ^ c->efer) & EFER_LME)))
		return HV_EINVAL;
	c->efer = (value & ~EFER_LMA) | (c->efer & EFER_LMA);
	return HV_OK;
}

void vcpu_invlpg(struct vcpu *v, gva_t va)
{
	if (v->shadow.attached)
		shadow_invlpg(v, va);
}

void vcpu_enter(struct vcpu *v)
{
	shadow_enter(v);
}

u64 vcpu_hw_cr0(const struct vcpu *v)
{
	return (v->guest.cr0 | CR0_PG | CR0_WP | CR0_ET | CR0_NE) & ~(CR0_CD | CR0_NW);
}

u64 vcpu_hw_cr3(const struct vcpu *v)
{
	const struct shadow_vcpu *s = &v->shadow;

	hv_assert(s->attached);
	return mfn_mpa(mfn_is_none(s->roots_pae) ? s->root : s->roots_pae).a;
}

u64 vcpu_hw_cr4(const struct vcpu *v)
{
	u64 value = (v->guest.cr4 | CR4_PAE | CR4_MCE) & ~CR4_PGE;

	return is_paged(v) ? value : value & ~(CR4_SMEP | CR4_SMAP);
}

u64 vcpu_hw_efer(const struct vcpu *v)
{
	u64 mode = v->guest.efer & EFER_LMA ? EFER_LMA | EFER_LME : 0;

	return EFER_SVME | EFER_NXE | (v->guest.efer & EFER_SCE) | mode;
}

enum fault_result vcpu_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	hv_assert(v->shadow.attached);
	return v->domain->dead ? FAULT_DEAD : shadow_page_fault(v, va, error, cr2, insn);
}
