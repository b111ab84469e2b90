// SPDX-License-Identifier: GPL-2.0-or-later
// The page-fault path (spec A.16).
//
//   fast path: a magic entry answers without a guest walk
//   guest walk (sets A and D); denied -> the guest's own fault
//   [yield: other vcpus may run]
//   lock; reserve; chain of shadows from the root to level 0; the walk still holds? ; level-0 entry;
//   neighbours; unlock
//   a write that met a table, a read-only page under WP=0, or a hole -> emulate
//
// Cost: one chain (at most three new tables), one entry and SHADOW_PREFETCH_SPAN - 1 neighbours, apart
// from what reserving and write-protecting cost.
#include "../mem/tlb.h"
#include "private.h"

// What became of building the shadows for an address.
enum chain {
	CHAIN_DONE,
	CHAIN_RETRY, // the guest's tables changed meanwhile
	CHAIN_DEAD,
};

static struct pt_access access_of(u32 error)
{
	return (struct pt_access){ .write = error & PF_W, .user = error & PF_U, .fetch = error & PF_I };
}

// Pages that one chain below the root can need.
static u32 chain_pages(const struct pt_mode *guest, const struct pt_mode *shadow)
{
	u32 pages = 0;

	for (u32 level = 0; level + 1 < guest->levels; level++)
		pages += pt_shadow_pages(guest, shadow, level);
	return pages;
}

static void drop_if_unused(struct domain *d, mfn_t smfn)
{
	if (!page_of(smfn)->sh.count)
		table_destroy(d, smfn);
}

// Follow or make the child of one upper entry. The guest entry is read after its table was protected.
static enum chain descend(struct vcpu *v, mfn_t *smfn, gva_t va)
{
	struct domain *d = v->domain;
	u32 type = shadow_type_of(*smfn), child_type, child_key;
	const struct shadow_row *row = shadow_row(type);
	u32 index = pt_index(row_guest(row), row->level, va.a);
	gpte_t gpte = shadow_guest_entry(*smfn, index);
	spte_t now = shadow_read(d, *smfn, index);
	mfn_t child = MFN_NONE;

	if (!(gpte.v & PTE_P) || !table_child(d, type, gpte, &child_type, &child_key))
		return CHAIN_RETRY;
	if (spte_present(now)) { // the usual case: no need to ask the hash
		const struct page_info *page = page_of(spte_mfn(now));

		if (page->sh.type == child_type && page->back == child_key)
			child = spte_mfn(now);
	}
	if (mfn_is_none(child) && table_get(v, child_type, child_key, va, &child) != HV_OK)
		return CHAIN_DEAD;
	spte_t want = shadow_propagate(d, type, gpte, child);

	if (!spte_present(want)) {
		drop_if_unused(d, child);
		return CHAIN_RETRY;
	}
	u32 result = shadow_set(d, *smfn, index, want);

	if (result & ENTRY_FLUSH)
		tlb_flush(d->shadow.cpus);
	if (result & ENTRY_ERROR) {
		drop_if_unused(d, child);
		return CHAIN_DEAD;
	}
	*smfn = child;
	return CHAIN_DONE;
}

// Fill neighbours that the guest has ready, up to the end of the table (spec A.16, prefetch).
static void prefetch(struct domain *d, mfn_t smfn, u32 index)
{
	u32 end = (index / SPTES_PER_PAGE + 1) * SPTES_PER_PAGE;

	if (end > index + SHADOW_PREFETCH_SPAN)
		end = index + SHADOW_PREFETCH_SPAN;
	while (++index < end) {
		gpte_t gpte = shadow_guest_entry(smfn, index);
		bool wants_bits = (gpte.v & PTE_P) && (!(gpte.v & PTE_A) || ((gpte.v & PTE_W) && !(gpte.v & PTE_D)));

		if (shadow_read(d, smfn, index).v || wants_bits)
			return;
		if (shadow_set(d, smfn, index,
			       shadow_propagate(d, shadow_type_of(smfn), gpte, MFN_NONE)) & ENTRY_ERROR)
			return;
	}
}

static enum chain build(struct vcpu *v, gva_t va, const struct pt_regime *regime, const struct pt_walk *walk)
{
	struct domain *d = v->domain;
	mfn_t smfn;

	root_adopt_nxe(v, v->shadow.mode); // another vcpu may have run since this one was entered
	// Before any shadow is looked at: reclaim may empty the very root we run on (spec A.9).
	if (pool_reserve_or_kill(d, chain_pages(regime->mode, row_shadow(shadow_row(shadow_type_of(v->shadow.root))))) != HV_OK)
		return CHAIN_DEAD;
	smfn = v->shadow.root;
	while (shadow_row(shadow_type_of(smfn))->level) {
		enum chain step = descend(v, &smfn, va);

		if (step != CHAIN_DONE)
			return step;
	}
	// All tables are protected now (a detached root and holes never are). Had another vcpu changed them
	// between the walk and the protection, what the walk allowed may be wrong.
	if (!pt_walk_current(regime, va, walk))
		return CHAIN_RETRY;
	u32 index = pt_index(regime->mode, 0, va.a);
	spte_t want = shadow_propagate(d, shadow_type_of(smfn), shadow_guest_entry(smfn, index), MFN_NONE);

	if (shadow_set(d, smfn, index, want) & ENTRY_ERROR)
		return CHAIN_RETRY;
	if (d->shadow.opts & SHADOW_OPT_PREFETCH)
		prefetch(d, smfn, index);
	return CHAIN_DONE;
}

// The magic entry that hardware ran into, if it was one, with the rights above it folded in.
static spte_t magic_at(struct vcpu *v, gva_t va, u64 *rights)
{
	mfn_t smfn = v->shadow.root;

	*rights = PTE_W | PTE_U;
	for (;;) {
		const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
		spte_t entry = shadow_read(v->domain, smfn, pt_index(row_guest(row), row->level, va.a));

		*rights &= entry.v;
		if (row->level == 0)
			return spte_is_magic(entry) ? entry : SPTE_EMPTY;
		if (!spte_present(entry))
			return SPTE_EMPTY;
		smfn = spte_mfn(entry);
	}
}

enum fast { FAST_NO, FAST_NOT_PRESENT, FAST_MMIO };

// A reserved-bit fault on a magic entry. The rights kept in it are tested: what they do not grant goes
// the slow way (spec A.20 D21).
static enum fast fast_path(struct vcpu *v, gva_t va, u32 error)
{
	struct pt_access access = access_of(error);
	enum fast result = FAST_NO;
	u64 rights;

	if (!(error & PF_RSVD) || !(v->domain->shadow.opts & SHADOW_OPT_FAST))
		return FAST_NO;
	// What a lagging root leads to may no longer be what the guest tables say of this address.
	if (shadow_root_is_detached(v))
		return FAST_NO;
	shadow_lock(v->domain, __func__);
	spte_t entry = magic_at(v, va, &rights);

	shadow_unlock(v->domain);
	if (spte_is_gnp(entry))
		result = FAST_NOT_PRESENT;
	else if (spte_is_mmio(entry) && !access.fetch && (!access.write || (rights & PTE_W)) &&
		 (access.user ? (rights & PTE_U) != 0 : !(rights & PTE_U) || !(v->guest.cr4 & CR4_SMAP)))
		result = FAST_MMIO;
	return result;
}

// Is `frame` one of the tables that the walk went through?
static bool passes(const struct pt_walk *walk, const struct pt_mode *mode, mfn_t frame)
{
	for (u32 level = walk->lowest; level < mode->levels; level++)
		if (mfn_eq(walk->table[level], frame))
			return true;
	return false;
}

static u32 not_present_error(const struct pt_regime *regime, u32 error)
{
	error &= PF_W | PF_U | PF_I;
	return regime->nxe || regime->smep ? error : error & ~(u32)PF_I;
}

static enum fault_result slow_path(struct vcpu *v, gva_t va, const struct pt_regime *regime, u32 *error,
				   gva_t *cr2, struct hv_insn *insn)
{
	struct domain *d = v->domain;
	struct pt_access access = access_of(*error);
	struct pt_walk walk;

	pt_walk(regime, va, access, true, &walk);
	if (!walk.ok) {
		v->shadow.last_write_zero = false;
		*error = walk.error;
		return walk.error == PT_WALK_RETRY ? FAULT_FIXED : FAULT_INJECT;
	}
	port_yield(YIELD_FAULT_WALKED);
	shadow_lock(d, __func__);
	enum chain chain = build(v, va, regime, &walk);
	mfn_t target = domain_frame(d, walk.target);
	bool hole = mfn_is_none(target), table = !hole && page_is_table(target);

	shadow_unlock(d);
	if (chain != CHAIN_DONE)
		return chain == CHAIN_DEAD ? FAULT_DEAD : FAULT_FIXED;
	if (!table || !access.write)
		v->shadow.last_write_zero = false; // anything between two zeroes to a table ends the row (spec A.14)
	if (hole && access.fetch)
		return FAULT_INJECT_GP; // HOLE_WORD executes as ADD %al,(%rax): see mem/hole.h
	if (hole)
		return write_emulate(v, MFN_NONE, false, error, cr2, insn);
	if (access.write && table)
		return write_emulate(v, target, passes(&walk, regime->mode, target), error, cr2, insn);
	if (access.write && !walk.writable) // WP=0: hardware always runs with WP=1
		return write_emulate(v, MFN_NONE, false, error, cr2, insn);
	return FAULT_FIXED;
}

enum fault_result shadow_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	struct shadow_stats *stats = &v->domain->shadow.stats;
	enum fault_result result;
	struct pt_regime regime;

	stats->faults++;
	*cr2 = va;
	shadow_regime(v, &regime);
	enum fast fast = fast_path(v, va, *error);

	if (fast != FAST_NO)
		v->shadow.last_write_zero = false;
	switch (fast) {
	case FAST_NOT_PRESENT:
		*error = not_present_error(&regime, *error);
		stats->fast++;
		result = FAULT_INJECT;
		break;
	case FAST_MMIO:
		stats->fast++;
		result = write_emulate(v, MFN_NONE, false, error, cr2, insn);
		break;
	default:
		result = slow_path(v, va, &regime, error, cr2, insn);
	}
	if (v->domain->dead)
		return FAULT_DEAD;
	stats->fixed += result == FAULT_FIXED;
	stats->injected += result == FAULT_INJECT;
	return result;
}
