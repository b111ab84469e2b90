// SPDX-License-Identifier: GPL-2.0-or-later
// Control registers and EFER: what the guest may write, what follows from it, and what hardware is loaded
// with (spec F.4; APM vol. 2, 3.1 and 14.6).
#include "../mem/tlb.h"
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

// Does control state *c make a PAE guest, whose PDPTEs CR3 latches?
static bool is_pae(const struct vcpu_control *c)
{
	return (c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA);
}

// Take over new control state whose CR3 is loaded, as MOV CR3 does and turning paging on. HV_EINVAL: a PDPTE raises
// #GP, nothing has changed.
static enum hv_status load_root(struct vcpu *v, const struct vcpu_control *c)
{
	u64 pdpte[SHADOW_SLOTS] = { 0 };

	if (is_pae(c)) {
		enum hv_status status = shadow_read_pdptes(v, c->cr3, pdpte);

		if (status == HV_EINVAL)
			return HV_EINVAL;
		if (status != HV_OK) {
			domain_crash(v->domain, "wild cr3"); // hardware would load garbage
			return HV_EDEAD;
		}
	}
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		v->shadow.pdpte[i] = pdpte[i];
	v->guest = *c;
	return shadow_update_cr3(v);
}

static enum hv_status write_cr0(struct vcpu *v, u64 value)
{
	struct vcpu_control c = v->guest;

	if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return HV_EINVAL;
	bool toggles = ((value ^ c.cr0) & CR0_PG) != 0;

	if (toggles && (value & CR0_PG) && (c.efer & EFER_LME) && !(c.cr4 & CR4_PAE))
		return HV_EINVAL;
	c.cr0 = value | CR0_ET;
	if (!toggles) {
		v->guest = c;
		return HV_OK;
	}
	c.efer = (c.efer & ~EFER_LMA) | ((value & CR0_PG) && (c.efer & EFER_LME) ? EFER_LMA : 0);
	return load_root(v, &c);
}

static enum hv_status write_cr3(struct vcpu *v, u64 value)
{
	struct vcpu_control c = v->guest;

	if ((c.efer & EFER_LMA) && value >> GUEST_PHYS_BITS)
		return HV_EINVAL;
	c.cr3 = value;
	if (is_paged(v))
		return load_root(v, &c);
	v->guest = c;
	return HV_OK;
}

static enum hv_status write_cr4(struct vcpu *v, u64 value)
{
	struct vcpu_control c = v->guest;
	u64 changed = c.cr4 ^ value;

	if ((value & ~CR4_KNOWN) || ((c.efer & EFER_LMA) && !(value & CR4_PAE)))
		return HV_EINVAL;
	c.cr4 = value;
	if (is_paged(v) && (changed & CR4_PAE))
		return load_root(v, &c); // 2 to 3 levels or back
	v->guest = c;
	// What a walk permits may have changed: the guest's translations go, a lagging root is renewed. PDPTEs stay latched.
	return is_paged(v) && (changed & CR4_WALK) ? shadow_update_cr3(v) : HV_OK;
}

static enum hv_status write_efer(struct vcpu *v, u64 value)
{
	struct vcpu_control *c = &v->guest;

	if ((value & ~EFER_KNOWN) || (is_paged(v) && ((value ^ c->efer) & EFER_LME)))
		return HV_EINVAL;
	c->efer = (value & ~EFER_LMA) | (c->efer & EFER_LMA);
	return HV_OK;
}

// Control state belongs to the lock: others ask which frames are loaded.
static enum hv_status locked(struct vcpu *v, enum hv_status (*write)(struct vcpu *v, u64 value), u64 value)
{
	domain_lock(v->domain, BOUND_CR);
	enum hv_status status = write(v, value);

	domain_unlock(v->domain);
	return status;
}

enum hv_status vcpu_write_cr0(struct vcpu *v, u64 value) { return locked(v, write_cr0, value); }
enum hv_status vcpu_write_cr3(struct vcpu *v, u64 value) { return locked(v, write_cr3, value); }
enum hv_status vcpu_write_cr4(struct vcpu *v, u64 value) { return locked(v, write_cr4, value); }
enum hv_status vcpu_write_efer(struct vcpu *v, u64 value) { return locked(v, write_efer, value); }

void vcpu_invlpg(struct vcpu *v, gva_t va)
{
	domain_lock(v->domain, BOUND_CR);
	if (v->shadow.attached)
		shadow_invlpg(v, va);
	domain_unlock(v->domain);
}

// Does another vcpu run an instruction with rights that the shadows do not give?
static bool must_wait(const struct vcpu *v)
{
	return shadow_stepping(v->domain) && !v->shadow.step.count;
}

enum hv_status vcpu_enter(struct vcpu *v)
{
	enum hv_status status = HV_OK;

	if (shadow_may_enter(v) && !domain_is_dead(v->domain) && v->shadow.attached)
		return HV_OK;
	domain_lock(v->domain, BOUND_ENTER);
	if (domain_is_dead(v->domain) || !v->shadow.attached)
		status = HV_EDEAD;
	else if (must_wait(v))
		status = HV_EBUSY;
	else
		shadow_enter(v);
	domain_unlock(v->domain);
	return status;
}

void vcpu_leave(struct vcpu *v)
{
	u32 cpu = UINT32_C(1) << port_cpu();

	tlb_flush(cpu); // first: whoever does not find it in the mask relies on that
	__atomic_fetch_and(&v->domain->shadow.cpus, ~cpu, __ATOMIC_SEQ_CST);
}

u64 vcpu_hw_cr0(const struct vcpu *v)
{
	return (v->guest.cr0 | CR0_PG | CR0_WP | CR0_ET | CR0_NE) & ~(CR0_CD | CR0_NW);
}

u64 vcpu_hw_cr3(const struct vcpu *v)
{
	const struct shadow_vcpu *s = &v->shadow;

	hv_assert(s->attached);
	return mfn_mpa(mfn_is_none(s->roots_pae) ? s->root[0] : s->roots_pae).a;
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

void vcpu_step_done(struct vcpu *v)
{
	if (!v->shadow.step.count) // its own affair: no lock is needed to see that there is none
		return;
	domain_lock(v->domain, BOUND_STEP);
	shadow_step_done(v);
	domain_unlock(v->domain);
}

enum fault_result vcpu_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	enum fault_result result = FAULT_DEAD;

	domain_lock(v->domain, v->shadow.step.count ? BOUND_STEP : BOUND_WALK);
	hv_assert(v->shadow.attached);
	if (!domain_is_dead(v->domain))
		result = shadow_page_fault(v, va, error, cr2, insn);
	domain_unlock(v->domain);
	return result;
}
