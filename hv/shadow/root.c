// SPDX-License-Identifier: GPL-2.0-or-later
// Roots: what a vcpu's CR3 loads, and the regime in which its guest walks run (spec A.8, A.17).
//
// A vcpu has four slots. Long mode and 2-level guests load one root, the shadow of the table that CR3 names. PAE guests
// load up to four: the tables that the PDPTEs name, latched when CR3 was written. Their table is not shadowed and
// may hold anything else (spec A.1). Unpaged vcpus run on shadows of an identity table that the hypervisor keeps: 2
// levels of 4 MiB pages. Hardware gets the level-4 shadow, or a page with four PDPTEs of its own:
//
//   64:  slot 0 -> l4_64 = hardware CR3
//   pae: slot 0..3 -> l2_pae ---------------> PDPTE 0..3
//   32:  slot 0 -> l2_32, a chain of 4 pages -> PDPTE 0..3
//
// A frame that must become writable while it is loaded in CR3 gets a *detached* root instead: a root that
// is filled from the guest's table on demand but does not write-protect it. Its entries may lag behind
// until the guest flushes, which is what the architecture allows of cached upper-level entries; every
// guest flush on that vcpu (CR3 write, CR4.PGE, INVLPG) attaches the proper shadow again.
//
// Invariants (E.1): 37 PDPTEs; 38, 39 slots; 40 nothing loaded is free.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/tlb.h"
#include "private.h"

#define CR3_PAE UINT64_C(0xffffffe0) // where the four PDPTEs are

mfn_t shadow_root_of(const struct vcpu *v, gva_t va)
{
	return v->shadow.root[v->shadow.mode == PT_MODE_PAE ? pt_index(&pt_modes[PT_MODE_PAE], 2, va.a) : 0];
}

static mfn_t frame_of(const void *context, gfn_t g)
{
	return domain_frame(context, g);
}

static void marked(void *context, mfn_t table)
{
	dirty_mark_frame(context, table);
}

void shadow_regime(const struct vcpu *v, struct pt_regime *regime)
{
	const struct pt_mode *mode = &pt_modes[v->shadow.mode];
	bool paged = (v->guest.cr0 & CR0_PG) != 0;

	*regime = (struct pt_regime){
		.mode = mode,
		.root = v->shadow.mode == PT_MODE_PAE ? MFN_NONE : v->shadow.guest_root[0],
		.pdpte = v->shadow.mode == PT_MODE_PAE ? v->shadow.pdpte : NULL,
		.pse = !paged || (v->guest.cr4 & CR4_PSE),
		.wp = (v->guest.cr0 & CR0_WP) != 0,
		.nxe = mode->has_nx && (v->guest.efer & EFER_NXE),
		.smep = paged && (v->guest.cr4 & CR4_SMEP),
		.smap = paged && (v->guest.cr4 & CR4_SMAP),
		.ac = v->rflags_ac,
		.phys_bits = GUEST_PHYS_BITS,
		.frame_of = frame_of,
		.marked = marked, // always: a regime is kept, and log-dirty may be switched on meanwhile
		.context = v->domain,
	};
}

bool root_is_current(const struct vcpu *v, const struct pt_regime *regime)
{
	return v->shadow.attached && (regime->pdpte || mfn_eq(regime->root, v->shadow.guest_root[0]));
}

bool shadow_root_is_detached(const struct vcpu *v)
{
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		if (!mfn_is_none(v->shadow.root[i]) && !shadow_row(shadow_type_of(v->shadow.root[i]))->detached)
			return true;
	return false;
}

static u64 read_pdpte(mfn_t table, u64 at)
{
	const u64 *page = port_map(table);
	u64 entry = __atomic_load_n(&page[(at & (FRAME_BYTES - 1)) / sizeof(u64)], __ATOMIC_RELAXED); // the guest may write it now

	port_unmap(page);
	return entry;
}

enum hv_status shadow_read_pdptes(const struct vcpu *v, u64 cr3, u64 pdpte[SHADOW_SLOTS])
{
	u64 at = cr3 & CR3_PAE;
	mfn_t table = domain_frame(v->domain, gpa_gfn(gpa(at)));

	if (mfn_is_none(table))
		return HV_ENOENT;
	for (u32 i = 0; i < SHADOW_SLOTS; i++) {
		pdpte[i] = read_pdpte(table, at + i * sizeof(u64));
		if (pt_pdpte_reserved((gpte_t){ pdpte[i] }, GUEST_PHYS_BITS))
			return HV_EINVAL;
	}
	return HV_OK;
}

// ---- slots -----------------------------------------------------------------------------------------

// Outside of long mode CR3 has 32 bits, whatever a 64-bit guest left above them.
static u64 cr3_address(const struct vcpu *v)
{
	u64 cr3 = v->guest.cr3 & PTE_ADDR;

	return (v->guest.cr0 & CR0_PG) && !(v->guest.efer & EFER_LMA) ? (u32)cr3 : cr3;
}

gfn_t shadow_cr3_gfn(const struct vcpu *v)
{
	return v->shadow.attached ? gpa_gfn(gpa(cr3_address(v))) : GFN_INVALID;
}

// The tables that the slots must be loaded with, and their mode. False: CR3 names no RAM.
static bool guest_roots(const struct vcpu *v, u8 *mode, mfn_t gmfn[SHADOW_SLOTS])
{
	const struct domain *d = v->domain;

	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		gmfn[i] = MFN_NONE;
	*mode = PT_MODE_32;
	if (!(v->guest.cr0 & CR0_PG)) {
		gmfn[0] = d->shadow.identity;
		return true;
	}
	if (!(v->guest.efer & EFER_LMA) && (v->guest.cr4 & CR4_PAE)) {
		*mode = PT_MODE_PAE;
		for (u32 i = 0; i < SHADOW_SLOTS; i++)
			if (v->shadow.pdpte[i] & PTE_P)
				gmfn[i] = domain_frame(d, gpa_gfn(gpa(v->shadow.pdpte[i] & PTE_ADDR)));
		return true;
	}
	if (v->guest.efer & EFER_LMA)
		*mode = PT_MODE_64;
	gmfn[0] = domain_frame(d, gpa_gfn(gpa(cr3_address(v))));
	return !mfn_is_none(gmfn[0]);
}

static void put_root(struct domain *d, mfn_t gmfn, mfn_t smfn)
{
	if (mfn_is_none(smfn))
		return;
	shadow_put(d, smfn);
	page_put(gmfn);
}

// A referenced shadow of a referenced root. Anything but HV_OK: the domain was killed, nothing is held.
static enum hv_status get_root(struct domain *d, u32 type, mfn_t gmfn, mfn_t *smfn)
{
	if (page_get(gmfn, d->owner) != HV_OK) {
		domain_crash(d, "references to a guest root");
		return HV_EDEAD;
	}
	if (table_get(d, type, (u32)gmfn.n, MFN_NONE, smfn) == HV_OK) {
		if (shadow_get(*smfn) == HV_OK)
			return HV_OK;
		domain_crash(d, "shadow references");
	}
	page_put(gmfn);
	return HV_EDEAD;
}

// The PDPTEs for hardware, of a mode that has 3-level shadows: a page for each.
static __attribute__((noinline)) void fill_pdptes(struct vcpu *v)
{
	struct shadow_vcpu *s = &v->shadow;
	const struct shadow_row *row = shadow_row(shadow_root_type[s->mode]);

	if (mfn_is_none(s->roots_pae))
		s->roots_pae = pool_alloc(v->domain, SHADOW_ROOTS_PAE, 0);
	hv_assert(mfn_mpa(s->roots_pae).a >> 32 == 0); // hardware CR3 holds 32 bits outside long mode
	u64 *pdptes = port_map(s->roots_pae);
	mfn_t page = s->root[0];

	for (u32 i = 0; i < SHADOW_SLOTS; i++) {
		if (shadow_pages(row) == 1)
			page = s->root[i];
		__atomic_store_n(&pdptes[i], mfn_is_none(page) ? 0 : mfn_mpa(page).a | PTE_P, __ATOMIC_RELEASE);
		if (shadow_pages(row) > 1)
			page = mfn(page_of(page)->sibling);
	}
	port_unmap(pdptes);
}

static void rewrite_pdptes(struct vcpu *v)
{
	if (row_shadow(shadow_row(shadow_root_type[v->shadow.mode]))->levels == 3) {
		fill_pdptes(v);
	} else if (!mfn_is_none(v->shadow.roots_pae)) {
		pool_free(v->domain, v->shadow.roots_pae);
		v->shadow.roots_pae = MFN_NONE;
	}
}

// Take the roots, all or none, then load the slots; the old ones go only now (spec A.8). Pages have been reserved. attach: detached
// roots give way to proper ones; otherwise the mode is the same as before.
static enum hv_status load_slots(struct vcpu *v, u8 mode, const mfn_t gmfn[SHADOW_SLOTS], bool attach)
{
	struct domain *d = v->domain;
	u32 type = shadow_root_type[mode], slots = mode == PT_MODE_PAE || v->shadow.mode == PT_MODE_PAE ? SHADOW_SLOTS : 1;
	mfn_t smfn[SHADOW_SLOTS];
	bool stale = false, kept[SHADOW_SLOTS];

	// One flush for all.
	for (u32 i = 0; i < slots; i++) {
		kept[i] = mfn_eq(gmfn[i], v->shadow.guest_root[i]) &&
			  (mfn_is_none(gmfn[i]) || !attach || shadow_type_of(v->shadow.root[i]) == type);
		stale |= !kept[i] && !mfn_is_none(gmfn[i]) && access_remove_write(d, gmfn[i]);
	}
	if (stale)
		tlb_flush(d->shadow.cpus);
	for (u32 i = 0; i < slots; i++) {
		smfn[i] = kept[i] ? v->shadow.root[i] : MFN_NONE;
		if (kept[i] || mfn_is_none(gmfn[i]) || get_root(d, type, gmfn[i], &smfn[i]) == HV_OK)
			continue;
		while (i--)
			if (!kept[i])
				put_root(d, gmfn[i], smfn[i]);
		return HV_EDEAD; // the slots stay as they are
	}
	for (u32 i = 0; i < slots; i++) {
		mfn_t old_guest = v->shadow.guest_root[i], old = v->shadow.root[i];

		if (!mfn_is_none(smfn[i]) && shadow_type_of(smfn[i]) == type && shadow_pin(d, smfn[i]) != HV_OK)
			d->shadow.stats.pins_failed++; // not cached once it is unloaded, nothing else
		if (kept[i])
			continue;
		v->shadow.root[i] = smfn[i];
		v->shadow.guest_root[i] = gmfn[i];
		put_root(d, old_guest, old);
	}
	if (!v->shadow.attached || v->shadow.mode != mode) { // its own processor looks at them without the lock
		v->shadow.mode = mode;
		v->shadow.attached = true;
	}
	rewrite_pdptes(v);
	return HV_OK;
}

static enum hv_status update_cr3(struct vcpu *v)
{
	struct domain *d = v->domain;
	mfn_t gmfn[SHADOW_SLOTS];
	u8 mode;

	if (!guest_roots(v, &mode, gmfn)) {
		domain_crash(d, "wild cr3");
		return HV_EDEAD;
	}
	root_adopt_control(v, mode);
	d->shadow.served = v->id;

	// Reclaim comes first: it may empty any shadow that is looked up below (spec A.9). One page is for PDPTEs.
	u32 roots = mode == PT_MODE_PAE ? SHADOW_SLOTS : 1;

	if (pool_reserve_or_kill(d, roots * shadow_pool_pages(shadow_row(shadow_root_type[mode])) + 1) != HV_OK)
		return HV_EDEAD;
	return load_slots(v, mode, gmfn, true);
}

// A vcpu that is about to be entered asks without the lock: see shadow_may_enter().
static bool made_for(const bool *control)
{
	return __atomic_load_n(control, __ATOMIC_RELAXED);
}

// What the shadows must be made for so that v can run on them.
static void wanted_control(const struct vcpu *v, u8 mode, bool *want_nxe, bool *want_pse)
{
	bool nxe = (v->guest.efer & EFER_NXE) != 0, pse = (v->guest.cr4 & CR4_PSE) != 0;

	if (!pt_modes[mode].has_nx)
		nxe = made_for(&v->domain->shadow.nxe);
	if (mode != PT_MODE_32 || !(v->guest.cr0 & CR0_PG))
		pse = made_for(&v->domain->shadow.pse);
	*want_nxe = nxe;
	*want_pse = pse;
}

void root_adopt_control(struct vcpu *v, u8 mode)
{
	struct shadow_domain *s = &v->domain->shadow;
	bool nxe, pse;

	wanted_control(v, mode, &nxe, &pse);
	if (s->nxe == nxe && s->pse == pse)
		return;
	__atomic_store_n(&s->nxe, nxe, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->pse, pse, __ATOMIC_SEQ_CST);
	shadow_blow_tables(v->domain); // its flush throws out who has just been entered under the old ones
}

static void enter(struct vcpu *v)
{
	u32 cpu = port_cpu();

	tlb_cpu_active(cpu);
	__atomic_fetch_or(&v->domain->shadow.cpus, UINT32_C(1) << cpu, __ATOMIC_SEQ_CST);
}

bool shadow_may_enter(const struct vcpu *v)
{
	const struct shadow_domain *s = &v->domain->shadow;
	bool nxe, pse;

	if (!(__atomic_load_n(&s->cpus, __ATOMIC_SEQ_CST) >> port_cpu() & 1) || __atomic_load_n(&s->stepping, __ATOMIC_SEQ_CST))
		return false;
	wanted_control(v, v->shadow.mode, &nxe, &pse);
	return made_for(&s->nxe) == nxe && made_for(&s->pse) == pse;
}

void shadow_enter(struct vcpu *v)
{
	enter(v);
	root_adopt_control(v, v->shadow.mode);
}

enum hv_status shadow_update_cr3(struct vcpu *v)
{
	enter(v);
	enum hv_status status = update_cr3(v);

	tlb_flush(UINT32_C(1) << port_cpu());
	return status;
}

void shadow_detach(struct vcpu *v)
{
	struct shadow_vcpu *s = &v->shadow;

	if (!mfn_is_none(s->roots_pae))
		pool_free(v->domain, s->roots_pae);
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		put_root(v->domain, s->guest_root[i], s->root[i]);
	struct shadow_vcpu kept = { .mode = s->mode };

	mem_copy(kept.pdpte, s->pdpte, sizeof(kept.pdpte)); // what CR3 was loaded with stays so
	*s = kept;
	tlb_flush(v->domain->shadow.cpus);
}

// Move one slot to a detached root. False: the domain was killed.
static bool detach_slot(struct vcpu *v, u32 slot, u32 type)
{
	struct domain *d = v->domain;
	mfn_t old = v->shadow.root[slot], smfn;

	if (table_get(d, type, (u32)v->shadow.guest_root[slot].n, MFN_NONE, &smfn) != HV_OK)
		return false;
	if (shadow_get(smfn) != HV_OK) {
		domain_crash(d, "shadow references");
		return false;
	}
	// Another vcpu may have been on it since before this one flushed last: start empty.
	shadow_clear(d, smfn);
	v->shadow.root[slot] = smfn;
	d->shadow.stats.detached++;
	shadow_put(d, old);
	return true;
}

void root_detach_from(struct domain *d, mfn_t gmfn)
{
	for (u32 n = 0; n < d->vcpu_count; n++) {
		struct vcpu *v = &d->vcpu[n];
		bool moved = false;

		for (u32 i = 0; i < SHADOW_SLOTS; i++) {
			if (mfn_is_none(v->shadow.root[i]) || !mfn_eq(v->shadow.guest_root[i], gmfn))
				continue;
			u32 type = shadow_row(shadow_type_of(v->shadow.root[i]))->detached;

			if (type && !detach_slot(v, i, type))
				return;
			moved |= type != 0;
		}
		if (moved)
			rewrite_pdptes(v);
	}
}

void root_drop(struct domain *d, mfn_t gmfn)
{
	for (u32 n = 0; n < d->vcpu_count; n++) {
		struct shadow_vcpu *s = &d->vcpu[n].shadow;

		if (s->mode != PT_MODE_PAE)
			continue;
		for (u32 i = 0; i < SHADOW_SLOTS; i++) {
			mfn_t old = s->root[i];

			if (mfn_is_none(old) || !mfn_eq(s->guest_root[i], gmfn))
				continue;
			s->root[i] = s->guest_root[i] = MFN_NONE;
			rewrite_pdptes(&d->vcpu[n]);
			put_root(d, gmfn, old);
		}
	}
}

#define P2M_CHANGE_FRAMES 2 // how many frames one operation may put behind gfns that PDPTEs name

enum hv_status shadow_prepare_p2m_change(struct domain *d)
{
	enum hv_status status = pool_keep(d, 1, d->shadow.dirty.on ? P2M_CHANGE_FRAMES * DIRTY_PATH : 0);

	return status == HV_OK ? pool_reserve(d, P2M_CHANGE_FRAMES * shadow_pool_pages(shadow_row(SHADOW_L2_PAE))) : status;
}

static mfn_t slot_table(const struct domain *d, u32 n)
{
	return d->vcpu[n / SHADOW_SLOTS].shadow.guest_root[n % SHADOW_SLOTS];
}

// Do more slots name one table of [first, first + count) than its shadow can count beside its pin? Those on a detached root do
// not count there so far.
static bool overflows(const struct domain *d, gfn_t first, u64 count)
{
	u32 slots = d->vcpu_count * SHADOW_SLOTS;

	for (u32 i = 0; i < slots && slots >= SHADOW_COUNT_MAX; i++) {
		mfn_t table = slot_table(d, i);
		u32 same = 0;

		if (mfn_is_none(table) || p2m_gfn_of(table).n - first.n >= count)
			continue;
		for (u32 k = 0; k < slots; k++)
			same += mfn_eq(slot_table(d, k), table);
		if (same >= SHADOW_COUNT_MAX)
			return true;
	}
	return false;
}

enum hv_status shadow_prepare_reload(struct domain *d, gfn_t first, u64 count)
{
	u32 pages = 0;

	for (u32 n = 0; n < d->vcpu_count; n++)
		for (u32 i = 0; i < SHADOW_SLOTS && d->vcpu[n].shadow.attached; i++)
			if (!mfn_is_none(d->vcpu[n].shadow.root[i]))
				pages += shadow_pool_pages(shadow_row(shadow_root_type[d->vcpu[n].shadow.mode]));
	if (overflows(d, first, count)) {
		domain_crash(d, "shadow references");
		return HV_EDEAD;
	}
	return pool_reserve(d, pages);
}

// Do the slots still hold what CR3 or the latched PDPTEs name?
static bool slots_current(const struct vcpu *v)
{
	mfn_t gmfn[SHADOW_SLOTS];
	u8 mode;

	if (!v->shadow.attached || !guest_roots(v, &mode, gmfn))
		return true;
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		if (!mfn_eq(gmfn[i], v->shadow.guest_root[i]))
			return false;
	return true;
}

enum hv_status shadow_prepare_filling(struct domain *d)
{
	enum hv_status status = pool_keep(d, 0, d->shadow.dirty.on ? DIRTY_RESERVE : 0);
	u32 empty = 0;

	for (u32 n = 0; n < d->vcpu_count; n++) {
		const struct vcpu *v = &d->vcpu[n];
		mfn_t gmfn[SHADOW_SLOTS];
		u8 mode;

		if (slots_current(v) || !guest_roots(v, &mode, gmfn))
			continue;
		for (u32 i = 0; i < SHADOW_SLOTS; i++)
			empty += !mfn_eq(gmfn[i], v->shadow.guest_root[i]);
	}
	if (status == HV_OK && empty)
		status = pool_reserve(d, empty * shadow_pool_pages(shadow_row(SHADOW_L2_PAE)));
	return status;
}

void shadow_ram_added(struct domain *d, gfn_t g)
{
	dirty_ram_added(d, g);
}

void shadow_p2m_changed(struct domain *d, bool hole_filled)
{
	if (hole_filled && d->shadow.magic_mmio) {
		shadow_blow_tables(d); // any shadow may hold a magic entry for the hole (spec A.12)
		d->shadow.magic_mmio = false;
	}
	for (u32 n = 0; n < d->vcpu_count; n++) {
		struct vcpu *v = &d->vcpu[n];
		mfn_t gmfn[SHADOW_SLOTS];
		u8 mode;

		if (slots_current(v) || !guest_roots(v, &mode, gmfn))
			continue;
		if (load_slots(v, mode, gmfn, false) != HV_OK)
			break;
		tlb_flush(d->shadow.cpus);
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
	// One guest large page is many hardware translations, and its table may be gone already, freed
	// without a flush. Only a present chain of ordinary tables allows to flush a single page.
	mfn_t smfn = shadow_root_of(v, va);
	bool single = tlb_stale_mask(self, d->shadow.splinter_stamp) == 0 && !mfn_is_none(smfn);

	while (single && shadow_row(shadow_type_of(smfn))->level) {
		const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
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
}

// ---- checks ----------------------------------------------------------------------------------------

static const char *check_pdptes(const struct vcpu *v)
{
	const struct shadow_vcpu *s = &v->shadow;
	const u64 *pdptes = port_map(s->roots_pae);
	bool one_page = shadow_pages(shadow_row(shadow_root_type[s->mode])) == 1;
	u32 n = (u32)s->root[0].n;
	const char *bad = NULL;

	for (u32 i = 0; i < SHADOW_SLOTS && !bad; i++) {
		if (one_page)
			n = (u32)s->root[i].n;
		if ((pdptes[i] & ~PTE_A) != (n ? (u64)n << FRAME_SHIFT | PTE_P : 0)) // QEMU sets A
			bad = report_at(broken("E1.37 pdpte %u of vcpu %u is 0x%llx", i, v->id,
					       (unsigned long long)pdptes[i]), s->roots_pae.n, i);
		if (!one_page)
			n = page_of(mfn(n))->sibling;
	}
	port_unmap(pdptes);
	return bad;
}

static const char *check_slot(const struct vcpu *v, u32 i)
{
	mfn_t root = v->shadow.root[i], gmfn = v->shadow.guest_root[i];

	if (mfn_is_none(root))
		return mfn_is_none(gmfn) ? NULL : broken("E1.39 vcpu %u: slot %u has no shadow", v->id, i);
	if (!mfn_valid(root) || page_owner(root) || page_pool(root) != v->domain->owner || !page_of(root)->sh.head || !page_of(root)->sh.count)
		return broken("E1.40 vcpu %u: root 0x%llx is not live", v->id, (unsigned long long)root.n);
	const struct shadow_row *row = shadow_row(shadow_type_of(root));

	if (!shadow_is_current(v->domain, root))
		return broken("E1.39 vcpu %u: slot %u has %s from before the last blow", v->id, i, row->name);
	if (!row->root || page_of(root)->back != gmfn.n)
		return broken("E1.39 vcpu %u: slot %u has %s of 0x%x, guest root 0x%llx", v->id, i, row->name,
			      page_of(root)->back, (unsigned long long)gmfn.n);
	if (row->guest_mode != v->shadow.mode || (i && v->shadow.mode != PT_MODE_PAE))
		return broken("E1.38 vcpu %u: slot %u has %s in mode %s", v->id, i, row->name,
			      pt_modes[v->shadow.mode].name);
	return NULL;
}

static const char *check_vcpu(const struct domain *d, const struct vcpu *v)
{
	const struct shadow_vcpu *s = &v->shadow;
	const char *bad = NULL;

	for (u32 i = 0; i < SHADOW_SLOTS && !bad; i++)
		bad = report_at(s->attached || mfn_is_none(s->root[i]) ? check_slot(v, i)
									 : broken("E1.38 vcpu %u: slot", v->id),
				s->root[i].n, REPORT_PAGE);
	if (bad)
		return bad;
	if (!s->attached)
		return mfn_is_none(s->roots_pae) ? NULL : broken("E1.38 vcpu %u: slot", v->id);
	if ((row_shadow(shadow_row(shadow_root_type[s->mode]))->levels == 3) == mfn_is_none(s->roots_pae))
		return broken("E1.38 vcpu %u: PDPTEs and root disagree", v->id);
	if (domain_is_dead(d))
		return NULL; // a failed CR3 load leaves the old roots
	mfn_t gmfn[SHADOW_SLOTS];
	u8 mode;
	bool same = guest_roots(v, &mode, gmfn) && mode == s->mode;

	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		same = same && mfn_eq(gmfn[i], s->guest_root[i]);
	if (!same)
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
