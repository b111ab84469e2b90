// SPDX-License-Identifier: GPL-2.0-or-later
// The page-fault path (spec A.16).
//
//   a store like the last emulated one -> emulate at once
//   fast path: a magic entry answers without a guest walk
//   guest walk (sets A and D); denied -> the guest's own fault
//   [yield: the lock is given back, other vcpus may run]
//   reserve; chain of shadows from the root to level 0; the walk still holds? ; level-0 entry; neighbours
//   a write that met a table, a read-only page under WP=0, or a hole -> emulate (write.c)
//   while an instruction is stepped: step.c
//
// Cost: one chain (at most three new tables), one entry and SHADOW_PREFETCH_SPAN - 1 neighbours, apart
// from what reserving and write-protecting cost.
#include "../mem/tlb.h"
#include "private.h"

static struct pt_access access_of(u32 error)
{
	return (struct pt_access){ .write = error & PF_W, .user = error & PF_U, .fetch = error & PF_I };
}

// Pages that one chain below the root can need.
static u32 chain_pages(const struct pt_mode *guest, const struct pt_mode *shadow)
{
	u32 pages = 0;

	for (u32 level = 0; level + 1 < guest->levels; level++)
		pages += 2 * pt_shadow_pages(guest, shadow, level); // with links
	return pages;
}

static void drop_if_unused(struct domain *d, mfn_t smfn)
{
	if (!page_of(smfn)->sh.count)
		table_destroy(d, smfn);
}

// Does a shadow entry lead where the walk went? The shadow of a protected table is never behind the guest's entries, so
// there is nothing to bring up to date. Not so for a large page (its child has another type), whose D may just have been set,
// and for a detached root, which can lag.
static bool leads_along(const struct shadow_row *row, spte_t entry, const struct pt_walk *walk)
{
	if (!row->protects || !spte_present(entry))
		return false;
	const struct page_info *child = page_of(spte_mfn(entry));

	return child->sh.type == row->child && child->back == walk->table[row->level - 1].n;
}

// Follow or make the child of one upper entry. The guest entry is read after its table was protected.
static enum chain descend(struct vcpu *v, mfn_t *smfn, gva_t va, const struct pt_walk *walk)
{
	struct domain *d = v->domain;
	u32 type = shadow_type_of(*smfn), child_type, child_key;
	const struct shadow_row *row = shadow_row(type);
	u32 index = pt_index(row_guest(row), row->level, va.a);
	spte_t now = shadow_read(d, *smfn, index);
	mfn_t child = MFN_NONE;

	if (leads_along(row, now, walk)) { // the usual case
		*smfn = spte_mfn(now);
		return CHAIN_DONE;
	}
	gpte_t gpte = shadow_guest_entry(d, *smfn, index);

	if (!(gpte.v & PTE_P) || !table_child(d, type, gpte, &child_type, &child_key))
		return CHAIN_RETRY;
	if (spte_present(now)) { // no need to ask the hash
		const struct page_info *page = page_of(spte_mfn(now));

		if (page->sh.type == child_type && page->back == child_key)
			child = spte_mfn(now);
	}
	if (mfn_is_none(child) && table_get(d, child_type, child_key, *smfn, &child) != HV_OK)
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
	u32 slot, end, type = shadow_type_of(smfn);
	const struct shadow_row *row = shadow_row(type);

	if (!(d->shadow.opts & SHADOW_OPT_PREFETCH))
		return;
	spte_t *shadow = port_map(shadow_page_of(smfn, index, &slot));
	const void *guest = row->fake ? NULL : port_map(mfn(page_of(smfn)->back));

	end = slot + SHADOW_PREFETCH_SPAN < SPTES_PER_PAGE ? slot + SHADOW_PREFETCH_SPAN : SPTES_PER_PAGE;
	while (++index, ++slot < end && !shadow[slot].v) {
		gpte_t gpte = guest ? pt_read(row_guest(row), guest, index) : shadow_fake_entry(smfn, index);
		bool wants_bits = !(gpte.v & PTE_A) || ((gpte.v & PTE_W) && !(gpte.v & PTE_D));

		if ((gpte.v & PTE_P) && wants_bits)
			break;
		spte_t want = shadow_propagate(d, type, gpte, MFN_NONE);

		d->shadow.stats.visits++;
		if (!spte_present(want)) // takes no reference, and an empty entry holds none
			__atomic_store_n(&shadow[slot].v, want.v, __ATOMIC_RELEASE);
		else if (rmap_is_full(spte_mfn(want)) || (shadow_set(d, smfn, index, want) & ENTRY_ERROR))
			break; // full: it could push out the very entry that the guest waits for
	}
	if (guest)
		port_unmap(guest);
	port_unmap(shadow);
}

enum chain fault_build(struct vcpu *v, gva_t va, const struct pt_regime *regime, const struct pt_walk *walk, bool write)
{
	struct domain *d = v->domain;
	mfn_t smfn;

	root_adopt_control(v, v->shadow.mode); // another vcpu may have run since this one was entered
	d->shadow.served = v->id;
	// Before any shadow is looked at: reclaim may empty the very root we run on (spec A.9).
	if (pool_reserve_or_kill(d, chain_pages(regime->mode, row_shadow(shadow_row(shadow_root_type[v->shadow.mode])))) != HV_OK)
		return CHAIN_DEAD;
	smfn = shadow_root_of(v, va);
	if (mfn_is_none(smfn))
		return CHAIN_RETRY;
	while (shadow_row(shadow_type_of(smfn))->level) {
		enum chain step = descend(v, &smfn, va, walk);

		if (step != CHAIN_DONE)
			return step;
	}
	// All tables are protected now (a detached root and holes never are). Had another vcpu changed them
	// between the walk and the protection, what the walk allowed may be wrong.
	if (!pt_walk_current(regime, va, walk))
		return CHAIN_RETRY;
	if (write)
		write_note(d, walk->target);
	u32 index = pt_index(regime->mode, 0, va.a);
	spte_t want = shadow_propagate(d, shadow_type_of(smfn), shadow_guest_entry(d, smfn, index), MFN_NONE);

	if (shadow_set(d, smfn, index, want) & ENTRY_ERROR)
		return CHAIN_RETRY;
	prefetch(d, smfn, index); // option: prefetch
	return CHAIN_DONE;
}

// The magic entry that hardware ran into, if it was one, with the rights above it folded in.
static spte_t magic_at(struct vcpu *v, gva_t va, u64 *rights)
{
	mfn_t smfn = shadow_root_of(v, va);

	*rights = PTE_W | PTE_U;
	while (!mfn_is_none(smfn)) {
		const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
		spte_t entry = shadow_read(v->domain, smfn, pt_index(row_guest(row), row->level, va.a));

		*rights &= entry.v;
		if (row->level == 0)
			return spte_is_magic(entry) ? entry : SPTE_EMPTY;
		if (!spte_present(entry))
			return SPTE_EMPTY;
		smfn = spte_mfn(entry);
	}
	return SPTE_EMPTY;
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
	spte_t entry = magic_at(v, va, &rights);

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

// Must the core do what it finds at a page: a write to a table or to RAM that drops it, a write that CR0.WP=0 allows, anything
// where there is no RAM?
static bool needs_emulation(const struct domain *d, const struct pt_access *access, const struct pt_walk *walk)
{
	struct p2m_entry e = p2m_get(&d->p2m, walk->target);

	if (access->fetch)
		return false;
	return !p2m_is_ram(e.type) ||
	       (access->write && (e.type == P2M_RAM_RO || page_is_table(e.frame) || !walk->writable));
}

// Is va the second page of an operand, and one that the core must deal with? The processor may have had the first page from
// a TLB, and the core, which translates both, may be denied it: then nothing of the second may have got A or D (rule 46).
static bool is_second_page(struct vcpu *v, gva_t va, const struct shadow_walked *walked, struct hv_insn *insn)
{
	if (!walked->walk.ok || !needs_emulation(v->domain, &walked->access, &walked->walk))
		return false;
	domain_unlock(v->domain);
	port_fetch_insn(v, insn);
	domain_lock(v->domain, BOUND_WALK);
	if (domain_is_dead(v->domain) || !root_is_current(v, &walked->regime))
		return true; // whoever goes on looks again
	u64 before = va.a - insn->va.a;

	if (v->shadow.mode != PT_MODE_64)
		before &= UINT32_MAX; // operands wrap at 4 GiB
	return insn->kind != INSN_UNKNOWN && before && before < insn->bytes;
}

// Has a walk that set nothing found A and D wherever it would have set them? Then it need not be done again.
static bool is_marked(const struct shadow_walked *walked)
{
	const struct pt_mode *mode = walked->regime.mode;
	const struct pt_walk *walk = &walked->walk;
	u64 last = walk->entry[walk->lowest].v, marks = PTE_A;

	for (u32 level = walk->lowest + 1; level + mode->latched < mode->levels; level++)
		marks &= walk->entry[level].v;
	if (!walk->ok) // the entry that it ended at stays as it is
		return marks && !mode->level[walk->lowest].early_a;
	return (marks & last) && (!walked->access.write || (last & PTE_D));
}

// The guest's tables grant the access: make the shadows grant it too, or do what hardware cannot.
static enum fault_result serve(struct vcpu *v, gva_t va, struct shadow_walked *walked, u32 *error, gva_t *cr2,
			       struct hv_insn *insn)
{
	const struct pt_walk *walk = &walked->walk;
	struct domain *d = v->domain;
	bool write = walked->access.write;
	mfn_t target = domain_frame(d, walk->target);
	bool hole = mfn_is_none(target), table = !hole && page_is_table(target);
	// A write to a table that hardware has mapped already: the emulator needs nothing more.
	enum chain chain = table && write && (*error & PF_P) ? CHAIN_DONE : fault_build(v, va, &walked->regime, walk, write);

	table = !hole && page_is_table(target); // building shadows makes tables
	struct write_fault w = { .va = va, .walked = walked, .table = table && write ? target : MFN_NONE };

	if (chain != CHAIN_DONE)
		return chain == CHAIN_DEAD ? FAULT_DEAD : FAULT_FIXED;
	if (!table || !write)
		v->shadow.last_write_zero = false; // anything between two zeroes to a table ends the row (spec A.14)
	if (hole && walked->access.fetch)
		return FAULT_INJECT_GP; // HOLE_WORD executes as ADD %al,(%rax): see mem/hole.h
	w.own_table = table && passes(walk, walked->regime.mode, target);
	// CR0.WP=0: hardware always runs with WP=1.
	if (hole || (write && (table || !walk->writable || p2m_get(&d->p2m, walk->target).type == P2M_RAM_RO)))
		return write_emulate(v, &w, error, cr2, insn);
	return FAULT_FIXED;
}

// walked has access and regime.
static enum fault_result slow_path(struct vcpu *v, gva_t va, struct shadow_walked *walked, u32 *error, gva_t *cr2,
				   struct hv_insn *insn)
{
	const struct pt_walk *walk = &walked->walk;
	struct domain *d = v->domain;
	bool write = walked->access.write, starts_page = !(va.a & (FRAME_BYTES - 1));

	if (starts_page)
		pt_walk(&walked->regime, va, walked->access, false, &walked->walk);
	if (starts_page && is_second_page(v, va, walked, insn)) {
		if (domain_is_dead(d) || !root_is_current(v, &walked->regime))
			return FAULT_FIXED;
		mfn_t target = domain_frame(d, walk->target);
		bool table = !mfn_is_none(target) && page_is_table(target) && write;
		struct write_fault second = { .va = va, .walked = walked, .table = table ? target : MFN_NONE,
					      .own_table = table && passes(walk, walked->regime.mode, target) };

		return write_emulate(v, &second, error, cr2, insn);
	}
	if (!starts_page || !is_marked(walked)) {
		if (d->shadow.dirty.on && pool_reserve_or_kill(d, 0) != HV_OK)
			return FAULT_DEAD;
		shadow_walk(d, &walked->regime, va, walked->access, &walked->walk);
	}
	if (!walk->ok) {
		v->shadow.last_write_zero = false;
		*error = walk->error;
		return walk->error == PT_WALK_RETRY ? FAULT_FIXED : FAULT_INJECT;
	}
	walked->page = (va.a & ~(u64)(FRAME_BYTES - 1)) | 1;
	domain_unlock(d);
	port_yield(YIELD_FAULT_WALKED);
	domain_lock(d, BOUND_BUILD);
	if (domain_is_dead(d))
		return FAULT_DEAD;
	return root_is_current(v, &walked->regime) ? serve(v, va, walked, error, cr2, insn) : FAULT_FIXED;
}

// Answer a fault that is no part of a step.
static enum fault_result page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	enum fault_result result = FAULT_FIXED;
	enum fast fast = FAST_NO;
	struct shadow_walked walked;
	bool done = false;

	done = write_emulate_like_last(v, va, *error, insn, &result); // option: fast_emulate
	if (done)
		return result;
	fast = fast_path(v, va, *error); // option: fast
	walked.page = 0;
	walked.access = access_of(*error);
	shadow_regime(v, &walked.regime);
	if (fast == FAST_NO)
		return slow_path(v, va, &walked, error, cr2, insn);
	v->shadow.last_write_zero = false;
	v->domain->shadow.stats.fast++;
	if (fast == FAST_MMIO)
		return write_emulate(v, &(struct write_fault){ .va = va, .walked = &walked }, error, cr2, insn);
	*error = not_present_error(&walked.regime, *error);
	return FAULT_INJECT;
}

enum fault_result shadow_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	struct shadow_stats *stats = &v->domain->shadow.stats;
	enum fault_result result;

	stats->faults++;
	*cr2 = va;
	if (step_under_way(v)) {
		result = step_fault(v, va, access_of(*error), error, cr2);
	} else {
		hv_assert(!shadow_stepping(v->domain));
		result = page_fault(v, va, error, cr2, insn);
	}
	if (domain_is_dead(v->domain))
		return FAULT_DEAD;
	stats->fixed += result == FAULT_FIXED;
	v->domain->shadow.dirty.faults += v->domain->shadow.dirty.on && result == FAULT_FIXED;
	stats->injected += result == FAULT_INJECT;
	return result;
}
