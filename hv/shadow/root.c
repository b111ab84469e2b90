// SPDX-License-Identifier: GPL-2.0-or-later
// Roots: what a vcpu's CR3 loads, and the regime in which its guest walks run (spec A.8, A.17).
//
// Unpaged vcpus run on shadows of an identity table that the hypervisor keeps: 2 levels of 4 MiB pages,
// so with 3-level shadows below four PDPTEs. Long mode loads the shadow of the guest's level-4 table.
//
// A frame that must become writable while it is loaded in CR3 gets a *detached* root instead: a root that
// is filled from the guest's table on demand but does not write-protect it. Its entries may lag behind
// until the guest flushes, which is what the architecture allows of cached upper-level entries; every
// guest flush on that vcpu (CR3 write, CR4.PGE, INVLPG) attaches the proper shadow again.
//
// Invariants (E.1): 37 PDPTEs; 38, 39 slots; 40 nothing loaded is free.
#include "../base/report.h"
#include "../mem/tlb.h"
#include "private.h"

static mfn_t frame_of(const void *context, gfn_t g)
{
	return p2m_lookup(context, g);
}

void shadow_regime(const struct vcpu *v, struct pt_regime *regime)
{
	const struct pt_mode *mode = &pt_modes[v->shadow.mode];
	bool paged = (v->guest.cr0 & CR0_PG) != 0;

	*regime = (struct pt_regime){
		.mode = mode,
		.root = v->shadow.guest_root,
		.wp = (v->guest.cr0 & CR0_WP) != 0,
		.nxe = mode->has_nx && (v->guest.efer & EFER_NXE),
		.smep = paged && (v->guest.cr4 & CR4_SMEP),
		.smap = paged && (v->guest.cr4 & CR4_SMAP),
		.ac = v->rflags_ac,
		.phys_bits = GUEST_PHYS_BITS,
		.frame_of = frame_of,
		.context = &v->domain->p2m,
	};
}

bool shadow_root_is_detached(const struct vcpu *v)
{
	return v->shadow.attached && shadow_type_of(v->shadow.root) == SHADOW_DETACHED_64;
}

// Put a referenced root into the slot; the old one goes only now (spec A.8).
static void load_slot(struct vcpu *v, mfn_t guest_root, mfn_t root)
{
	struct shadow_vcpu *s = &v->shadow;
	mfn_t old_root = s->root, old_guest = s->guest_root;
	bool had = s->attached;

	s->root = root;
	s->guest_root = guest_root;
	s->attached = true;
	if (had) {
		shadow_put(v->domain, old_root, mpa(0));
		page_put(old_guest);
	}
}

// The four PDPTEs: one for each page of a 2-level guest's level-2 shadow.
static void rewrite_pdptes(struct vcpu *v)
{
	struct shadow_vcpu *s = &v->shadow;
	bool three_levels = row_shadow(shadow_row(shadow_type_of(s->root)))->levels == 3;

	if (!three_levels) {
		if (!mfn_is_none(s->roots_pae))
			pool_free(v->domain, s->roots_pae);
		s->roots_pae = MFN_NONE;
		return;
	}
	if (mfn_is_none(s->roots_pae))
		s->roots_pae = pool_alloc(v->domain, SHADOW_ROOTS_PAE, 0);
	hv_assert(mfn_mpa(s->roots_pae).a >> 32 == 0); // hardware CR3 holds 32 bits outside long mode
	u64 *pdptes = port_map(s->roots_pae);
	mfn_t page = s->root;

	for (u32 i = 0; i < 4; i++) {
		pdptes[i] = mfn_mpa(page).a | PTE_P;
		page = mfn(page_of(page)->sibling);
	}
	port_unmap(pdptes);
}

// Which table CR3 names, in which mode. HV_ENOENT: no RAM there. HV_EINVAL: a mode without shadows.
static enum hv_status guest_root(const struct vcpu *v, u8 *mode, mfn_t *gmfn)
{
	const struct domain *d = v->domain;

	if (!(v->guest.cr0 & CR0_PG)) {
		*mode = PT_MODE_32;
		*gmfn = d->shadow.identity;
		return HV_OK;
	}
	if (!(v->guest.efer & EFER_LMA))
		return HV_EINVAL;
	*mode = PT_MODE_64;
	*gmfn = domain_frame(d, gpa_gfn(gpa(v->guest.cr3 & PTE_ADDR)));
	return mfn_is_none(*gmfn) ? HV_ENOENT : HV_OK;
}

static enum hv_status update_cr3(struct vcpu *v)
{
	struct domain *d = v->domain;
	mfn_t gmfn, smfn;
	u8 mode;
	enum hv_status status = guest_root(v, &mode, &gmfn);

	if (status != HV_OK) {
		domain_crash(d, status == HV_ENOENT ? "wild cr3" : "paging mode without shadows");
		return HV_EDEAD;
	}
	u32 type = mode == PT_MODE_64 ? SHADOW_L4_64 : SHADOW_L2_32;

	root_adopt_nxe(v, mode);

	// Reclaim comes first: it may empty any shadow that is looked up below (spec A.9).
	if (pool_reserve_or_kill(d, shadow_pages(shadow_row(type)) + 1) != HV_OK)
		return HV_EDEAD;
	if (page_get(gmfn, d->owner) != HV_OK) {
		domain_crash(d, "references to a guest root");
		return HV_EDEAD;
	}
	// The old shadow is still loaded: guesses of where gmfn is mapped walk it.
	if (table_get(v, type, (u32)gmfn.n, gva(0), &smfn) != HV_OK) {
		page_put(gmfn);
		return HV_EDEAD;
	}
	if (shadow_get(d, smfn, mpa(0)) != HV_OK) {
		domain_crash(d, "shadow references"); // the slot stays as it is
		page_put(gmfn);
		return HV_EDEAD;
	}
	if (shadow_pin(d, smfn) != HV_OK)
		d->shadow.stats.pins_failed++; // not cached once it is unloaded, nothing else
	load_slot(v, gmfn, smfn);
	v->shadow.mode = mode;
	rewrite_pdptes(v);
	return HV_OK;
}

void root_adopt_nxe(struct vcpu *v, u8 mode)
{
	struct shadow_domain *s = &v->domain->shadow;
	bool nxe = (v->guest.efer & EFER_NXE) != 0;

	if (!pt_modes[mode].has_nx || s->nxe == nxe)
		return;
	pool_blow(v->domain);
	s->nxe = nxe;
}

static void enter(struct vcpu *v)
{
	u32 cpu = port_cpu();

	tlb_cpu_active(cpu);
	v->domain->shadow.cpus |= UINT32_C(1) << cpu;
}

void shadow_enter(struct vcpu *v)
{
	shadow_lock(v->domain, __func__);
	enter(v);
	root_adopt_nxe(v, v->shadow.mode);
	shadow_unlock(v->domain);
}

enum hv_status shadow_update_cr3(struct vcpu *v)
{
	struct domain *d = v->domain;

	shadow_lock(d, __func__);
	enter(v);
	enum hv_status status = update_cr3(v);

	tlb_flush(UINT32_C(1) << port_cpu());
	shadow_unlock(d);
	return status;
}

void shadow_detach(struct vcpu *v)
{
	struct shadow_vcpu *s = &v->shadow;

	shadow_lock(v->domain, __func__);
	if (!mfn_is_none(s->roots_pae))
		pool_free(v->domain, s->roots_pae);
	if (s->attached) {
		shadow_put(v->domain, s->root, mpa(0));
		page_put(s->guest_root);
	}
	*s = (struct shadow_vcpu){ .mode = s->mode };
	tlb_flush(v->domain->shadow.cpus);
	shadow_unlock(v->domain);
}

void root_detach_from(struct domain *d, mfn_t gmfn)
{
	for (u32 i = 0; i < d->vcpu_count; i++) {
		struct vcpu *v = &d->vcpu[i];
		mfn_t smfn;

		if (!v->shadow.attached || !mfn_eq(v->shadow.guest_root, gmfn) ||
		    shadow_type_of(v->shadow.root) != SHADOW_L4_64)
			continue;
		if (table_get(v, SHADOW_DETACHED_64, (u32)gmfn.n, gva(0), &smfn) != HV_OK)
			return;
		if (shadow_get(d, smfn, mpa(0)) != HV_OK) {
			domain_crash(d, "shadow references");
			return;
		}
		mfn_t old = v->shadow.root;

		// Another vcpu may have been on it since before this one flushed last: start empty.
		shadow_clear(d, smfn);
		v->shadow.root = smfn;
		d->shadow.stats.detached++;
		shadow_put(d, old, mpa(0));
	}
}

void shadow_invlpg(struct vcpu *v, gva_t va)
{
	struct domain *d = v->domain;
	u32 self = UINT32_C(1) << port_cpu();

	if (shadow_root_is_detached(v)) { // upper entries may lag too: start over
		(void)shadow_update_cr3(v);
		return;
	}
	shadow_lock(d, __func__);
	// One guest large page is many hardware translations, and its table may be gone already, freed
	// without a flush. Only a present chain of ordinary tables allows to flush a single page.
	mfn_t smfn = v->shadow.root;
	bool single = tlb_stale_mask(self, d->shadow.splinter_stamp) == 0;

	for (const struct shadow_row *row = shadow_row(shadow_type_of(smfn)); single && row->level;
	     row = shadow_row(shadow_type_of(smfn))) {
		spte_t entry = shadow_read(d, smfn, pt_index(row_guest(row), row->level, va.a));

		single = spte_present(entry);
		if (single) {
			smfn = spte_mfn(entry);
			single = !shadow_row(shadow_type_of(smfn))->fake;
		}
	}
	if (single)
		port_tlb_flush_va(va);
	else
		tlb_flush(self);
	shadow_unlock(d);
}

// ---- checks ----------------------------------------------------------------------------------------

static const char *check_pdptes(const struct vcpu *v)
{
	const u64 *pdptes = port_map(v->shadow.roots_pae);
	u32 n = (u32)v->shadow.root.n;
	const char *bad = NULL;

	for (u32 i = 0; i < 4 && !bad; i++, n = page_of(mfn(n))->sibling)
		if ((pdptes[i] & ~PTE_A) != ((u64)n << FRAME_SHIFT | PTE_P))
			bad = broken("E1.37 pdpte %u of vcpu %u is 0x%llx", i, v->id, (unsigned long long)pdptes[i]);
	port_unmap(pdptes);
	return bad;
}

static const char *check_vcpu(const struct domain *d, const struct vcpu *v)
{
	const struct shadow_vcpu *s = &v->shadow;

	if (!s->attached)
		return mfn_is_none(s->root) && mfn_is_none(s->roots_pae) ? NULL
									  : broken("E1.38 vcpu %u: slot", v->id);
	if (!mfn_valid(s->root) || page_of(s->root)->owner || !page_of(s->root)->sh.head ||
	    !page_of(s->root)->sh.count)
		return broken("E1.40 vcpu %u: root 0x%llx is not live", v->id, (unsigned long long)s->root.n);
	const struct shadow_row *row = shadow_row(shadow_type_of(s->root));

	if (!row->root || page_of(s->root)->back != s->guest_root.n)
		return broken("E1.39 vcpu %u: %s of 0x%x, guest root 0x%llx", v->id, row->name,
			      page_of(s->root)->back, (unsigned long long)s->guest_root.n);
	if ((row_shadow(row)->levels == 3) != !mfn_is_none(s->roots_pae))
		return broken("E1.38 vcpu %u: PDPTEs and root disagree", v->id);
	if (!mfn_is_none(s->last_writable_l1) &&
	    (page_of(s->last_writable_l1)->owner ||
	     !(BIT(shadow_type_of(s->last_writable_l1)) & SHADOW_MASK_L1)))
		return broken("E1.55 vcpu %u: writable hint", v->id);
	if (d->dead)
		return NULL; // a failed CR3 load leaves the old root
	u8 mode;
	mfn_t gmfn;

	if (guest_root(v, &mode, &gmfn) != HV_OK || !mfn_eq(gmfn, s->guest_root) || mode != s->mode)
		return broken("E1.39 vcpu %u: CR3 0x%llx is not what is loaded", v->id,
			      (unsigned long long)v->guest.cr3);
	return mfn_is_none(s->roots_pae) ? NULL : check_pdptes(v);
}

const char *root_check(const struct domain *d)
{
	const char *bad = NULL;

	for (u32 i = 0; i < d->vcpu_count && !bad; i++)
		bad = check_vcpu(d, &d->vcpu[i]);
	return bad;
}
