// SPDX-License-Identifier: GPL-2.0-or-later
// One instruction of the guest on hardware, with more rights than the shadows give it (spec A.14, end of the fallback).
//
// For an instruction that nobody here can decode and that needs what no shadow may grant: a table writable while it
// translates the access itself, a read-only page under CR0.WP=0, or memory where there is none. It runs alone:
//
//   step_start(): the shadows of its page are made, then the entries on the way are overwritten behind the back of all
//                 accounting -> FAULT_STEP
//   step_fault(): it touches another page: everything is taken back, the new page joins, all pages are granted again
//   shadow_step_done(): everything is taken back, and what it may have written is brought up to date
//
//   va -> l4 --------> l3 --------> l2 --------> l1 --------> frame of a table: W
//         W if the guest's tables deny writing, and WP=0      scratch page in a hole
//
// Between grant and taking back, references, dirty shadows and TLBs are not as the rules (E.1) have them: nothing else of the
// core may run. All of it is slow: each page costs a walk and a chain per fault, each table 512 entries at the end.
//
// Parts: granting and taking back; the pages; the answers.
//
// Invariants (E.1): 43 such an instruction ends too; 45 memory is as after it; all rules hold again when the step is over.
#include "../base/mem.h"
#include "../mem/tlb.h"
#include "private.h"

#define TRIES 4   // a page's shadows may push out those of another, or the guest's tables change
#define FAULTS 32 // no instruction takes more

bool shadow_stepping(const struct domain *d)
{
	return __atomic_load_n(&d->shadow.stepping, __ATOMIC_SEQ_CST);
}

static void set_stepping(struct domain *d, bool stepping)
{
	__atomic_store_n(&d->shadow.stepping, stepping, __ATOMIC_SEQ_CST);
}

// ---- granting and taking back -------------------------------------------------------------------------

static u64 entry_exchange(u64 at, u64 value)
{
	u8 *table = port_map(mpa_mfn(mpa(at)));
	void *entry = table + (at & (FRAME_BYTES - 1));
	u64 old = __atomic_exchange_n((u64 *)entry, value, __ATOMIC_ACQ_REL);

	port_unmap(table);
	return old;
}

static u64 entry_read(u64 at)
{
	const u8 *table = port_map(mpa_mfn(mpa(at)));
	const void *entry = table + (at & (FRAME_BYTES - 1));
	u64 value = __atomic_load_n((const u64 *)entry, __ATOMIC_RELAXED);

	port_unmap(table);
	return value;
}

// Where the processor finds its entries for va, level 0 first. Where hardware has three levels the top one is PDPTEs,
// which have no rights. False: the way ends early.
static bool find_entries(const struct vcpu *v, gva_t va, u64 at[PT_LEVELS_MAX], u32 *levels)
{
	const struct shadow_vcpu *s = &v->shadow;
	const struct pt_mode *mode = row_shadow(shadow_row(shadow_root_type[s->mode]));
	mfn_t table = mfn_is_none(s->roots_pae) ? s->root[0] : s->roots_pae;

	*levels = mode->levels;
	for (u32 level = mode->levels; level-- > 0;) {
		at[level] = mfn_mpa(table).a + pt_index(mode, level, va.a) * sizeof(spte_t);
		spte_t entry = { entry_read(at[level]) };

		if (level && !spte_present(entry))
			return false;
		table = spte_mfn(entry);
	}
	return true;
}

static void overwrite(struct shadow_step_page *p, u32 level, u64 at, u64 value)
{
	p->at[level] = at;
	p->old[level] = entry_exchange(at, value);
}

// Must another page stand in for what is there: a hole, a device, another domain's frame, RAM that drops stores?
static bool needs_scratch(const struct domain *d, const struct shadow_step_page *p)
{
	struct p2m_entry e = p2m_get(&d->p2m, p->target);

	return !p2m_is_ram(e.type) || (e.type == P2M_RAM_RO && p->access.write);
}

// Let the processor do to the page what its access asks for. False: its shadows are not there.
static bool grant(struct vcpu *v, struct shadow_step_page *p)
{
	mfn_t target = domain_frame(v->domain, p->target);
	bool hole = needs_scratch(v->domain, p), write = p->access.write;
	bool needed = hole || (write && (p->readonly || page_is_table(target)));
	u64 at[PT_LEVELS_MAX], leaf;
	u32 levels;

	if (!find_entries(v, p->va, at, &levels))
		return false;
	leaf = entry_read(at[0]);
	if (hole)
		leaf = mfn_mpa(p->scratch).a | PTE_P | PTE_A | PTE_NX | (p->user ? PTE_U : 0);
	else if (!spte_present((spte_t){ leaf }) || !mfn_eq(spte_mfn((spte_t){ leaf }), target))
		return false;
	if (!needed)
		return true;
	for (u32 level = 0; level < PT_LEVELS_MAX; level++)
		p->at[level] = 0;
	p->granted = true;
	overwrite(p, 0, at[0], leaf | (write ? PTE_W | PTE_D : 0));
	for (u32 level = 1; write && p->readonly && level < (levels == 3 ? 2 : levels); level++)
		overwrite(p, level, at[level], entry_read(at[level]) | PTE_W);
	return true;
}

// Put every entry back as it was, last first: pages may share entries. ran: then what the instruction may have written counts.
static void take_back(struct vcpu *v, bool ran)
{
	struct shadow_step *s = &v->shadow.step;
	struct domain *d = v->domain;

	for (u32 i = s->count; i-- > 0;)
		for (u32 level = 0; s->page[i].granted && level < PT_LEVELS_MAX; level++)
			if (s->page[i].at[level])
				entry_exchange(s->page[i].at[level], s->page[i].old[level]);
	tlb_flush(d->shadow.cpus);
	for (u32 i = 0; i < s->count; i++) {
		struct shadow_step_page *p = &s->page[i];
		mfn_t target = domain_frame(d, p->target);

		if (ran && p->granted && p->access.write && !needs_scratch(d, p))
			write_validate_and_flush(d, target, 0, FRAME_BYTES);
		p->granted = false;
	}
}

// ---- the pages ---------------------------------------------------------------------------------------

static bool same_kind(struct pt_access a, struct pt_access b)
{
	return a.fetch == b.fetch && a.user == b.user;
}

// The page of an access; a write includes reading. NULL: too many.
static struct shadow_step_page *page_for(struct shadow_step *s, gva_t va, struct pt_access access)
{
	u64 address = va.a & ~(u64)(FRAME_BYTES - 1);

	for (u32 i = 0; i < s->count; i++)
		if (s->page[i].va.a == address && same_kind(s->page[i].access, access)) {
			s->page[i].access.write |= access.write;
			return &s->page[i];
		}
	if (s->count == SHADOW_STEP_PAGES)
		return NULL;
	s->page[s->count] = (struct shadow_step_page){ .va = gva(address), .access = access };
	return &s->page[s->count++];
}

enum made {
	MADE,
	MADE_RETRY,
	MADE_DENIED, // by the guest's tables: *error
	MADE_CODE,   // code in a hole
	MADE_DEAD,
};

// What reads of the page find.
static void fill_scratch(const struct domain *d, const struct shadow_step_page *p)
{
	mfn_t from = p2m_get(&d->p2m, p->target).frame;

	if (!mfn_valid(from))
		return; // nothing answers: zeroes
	const void *source = port_map(from);
	void *to = port_map(p->scratch);

	mem_copy(to, source, FRAME_BYTES);
	port_unmap(to);
	port_unmap(source);
}

// The guest's walk of a page and its shadows.
static enum made make(struct vcpu *v, struct shadow_step_page *p, u32 *error)
{
	struct domain *d = v->domain;
	struct pt_regime regime;
	struct pt_walk walk;

	shadow_regime(v, &regime);
	if (d->shadow.dirty.on && pool_reserve_or_kill(d, 0) != HV_OK)
		return MADE_DEAD;
	shadow_walk(d, &regime, p->va, p->access, &walk);
	if (!walk.ok) {
		*error = walk.error;
		return walk.error == PT_WALK_RETRY ? MADE_RETRY : MADE_DENIED;
	}
	p->target = walk.target;
	p->readonly = !walk.writable;
	p->user = walk.user;
	if (mfn_is_none(domain_frame(d, p->target)) && p->access.fetch)
		return MADE_CODE;
	if (needs_scratch(d, p)) {
		if (mfn_is_none(p->scratch) && pool_reserve_or_kill(d, 1) != HV_OK)
			return MADE_DEAD;
		if (mfn_is_none(p->scratch))
			p->scratch = pool_alloc(d, SHADOW_ROOTS_PAE, 0); // one page that no table refers to
		fill_scratch(d, p);
	}
	switch (fault_build(v, p->va, &regime, &walk, p->access.write)) {
	case CHAIN_DONE: return MADE;
	case CHAIN_RETRY: return MADE_RETRY;
	default: return MADE_DEAD;
	}
}

static void drop_page(struct domain *d, struct shadow_step *s, u32 i)
{
	if (!mfn_is_none(s->page[i].scratch))
		pool_free(d, s->page[i].scratch);
	s->page[i] = s->page[--s->count];
}

// Make the shadows of all pages first, which takes rights away, then grant. MADE_DENIED, MADE_CODE: that is so of `wanted`.
// That another page is denied now is the doing of the instruction itself: it will see when it gets there again.
static enum made grant_all(struct vcpu *v, gva_t wanted, struct pt_access access, u32 *error)
{
	struct shadow_step *s = &v->shadow.step;
	u32 cause = 0;

	for (u32 tries = 0; tries < TRIES && (!tries || domain_may_retry(v->domain)); tries++) {
		bool complete = true;

		for (u32 i = 0; i < s->count; i++) {
			enum made made = make(v, &s->page[i], &cause);
			bool is_wanted = s->page[i].va.a == wanted.a && same_kind(s->page[i].access, access);

			if (made == MADE_DEAD || domain_is_dead(v->domain))
				return MADE_DEAD;
			if (made == MADE_DENIED || made == MADE_CODE) {
				*error = cause;
				if (is_wanted)
					return made;
				drop_page(v->domain, s, i--);
			}
			complete = complete && made != MADE_RETRY;
		}
		for (u32 i = 0; i < s->count; i++)
			complete = complete && grant(v, &s->page[i]);
		if (complete)
			return MADE;
		take_back(v, false);
	}
	return MADE_RETRY;
}

static void finish(struct vcpu *v)
{
	struct shadow_step *s = &v->shadow.step;

	take_back(v, true);
	while (s->count)
		drop_page(v->domain, s, s->count - 1);
	s->faults = 0;
	set_stepping(v->domain, false);
}

// ---- the answers ------------------------------------------------------------------------------------

// The page joins the step, which begins with its first one.
static enum fault_result join(struct vcpu *v, gva_t va, struct pt_access access, u32 *error)
{
	struct shadow_step *s = &v->shadow.step;
	struct shadow_step_page *p = page_for(s, va, access);

	if (!p || s->faults++ == FAULTS) {
		domain_crash(v->domain, p ? "one instruction faults for ever" : "an instruction touches too many pages");
		return FAULT_DEAD;
	}
	switch (grant_all(v, p->va, access, error)) {
	case MADE:
		return FAULT_STEP;
	case MADE_DENIED:
		return FAULT_INJECT;
	case MADE_CODE:
		return FAULT_INJECT_GP; // what such a fetch executes raises it: see mem/hole.h
	case MADE_RETRY:
		domain_crash(v->domain, "an instruction cannot be stepped");
		break;
	case MADE_DEAD:
		break;
	}
	return FAULT_DEAD;
}

static enum fault_result answer(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2)
{
	if (step_under_way(v))
		take_back(v, true);
	enum fault_result result = domain_is_dead(v->domain) ? FAULT_DEAD : join(v, va, access, error);

	if (result != FAULT_STEP)
		finish(v); // the instruction will not go on
	v->domain->stepper = result == FAULT_STEP ? port_cpu() + 1 : 0;
	*cr2 = va;
	return result;
}

enum fault_result step_start(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2)
{
	hv_assert(!shadow_stepping(v->domain));
	domain_charge(v->domain, BOUND_STEP); // no longer an emulation
	set_stepping(v->domain, true);
	tlb_flush(v->domain->shadow.cpus); // from now on no other vcpu is entered; those that run are thrown out
	return answer(v, va, access, error, cr2);
}

enum fault_result step_fault(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2)
{
	hv_assert(step_under_way(v));
	return answer(v, va, access, error, cr2);
}

void shadow_step_done(struct vcpu *v)
{
	if (step_under_way(v))
		finish(v);
	v->domain->stepper = 0;
}
