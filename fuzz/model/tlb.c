// SPDX-License-Identifier: GPL-2.0-or-later
// The permissive TLB: which translations could a processor still hold?
//
// A processor reads the entries of a walk one after the other, each at some moment, and may keep
// what it read, tables and leaves alike, until a flush that covers it. So a translation may be held
// if there are moments t3 <= t2 <= t1 <= t0, none before the last such flush, at which the entries
// of the levels (four in mode 64) had values that give this translation. history[] has all values with
// their times, so the search below simply tries them:
//
//	root ---> values of L4[i] ---> values of L3[j] ---> values of L2[k] ---> values of L1[l]
//	          newest to oldest,    each not older than the one above it
//
// The four entries above the page directories of a PAE guest are part of the root: they were read when CR3 was
// loaded and what memory says since does not matter. Entries of 4 bytes are halves of the words of history[].
//
// Parts: times of flushes; the search; the questions asked of it.
//
// What a flush covers: a full flush everything; a CR3 load all but leaves with G while CR4.PGE is on
// (without a full flush CR4.PGE cannot change, nor the mode, nor CR4.PSE where it matters); INVLPG the
// whole page, large pages included, that va lies in, global or not.
//
// Cost: the product of the histories of four words, four steps when nothing changed. It gives up
// with "may be held" after SEARCH_STEPS entries, or when history before the flush was forgotten.
#include "internal.h"

#define SEARCH_STEPS 4096

struct search {
	const struct model *m;
	const struct model_vcpu *v;
	const struct paging *p;
	u64 va;
	bool only_global;
	u32 steps;
	// What to look for: a translation that allows each of these accesses.
	struct access access[3];
	u32 access_count;
	u64 gfn;       // leading there, unless gfns is set
	// Collecting instead: every gfn is noted and the search goes on.
	u64 *gfns;
	u32 gfn_count, gfn_max;
};

struct rights {
	bool w, u, nx;
};

// ---- flushes --------------------------------------------------------------------------------------------
// Last INVLPG of a page in the same region as va, of the size of a page of this level, 0 if none.
static u32 invlpg_time(const struct search *s, u32 level)
{
	const struct model_vcpu *v = s->v;
	u32 shift = s->p->level[level].shift, last = 0;

	for (u32 i = 0; i < v->invlpg_count; i++)
		if (v->invlpgs[i].page >> shift == s->va >> shift && v->invlpgs[i].time > last)
			last = v->invlpgs[i].time;
	return last;
}

static u32 later(u32 a, u32 b)
{
	return a > b ? a : b;
}

// ---- the search -------------------------------------------------------------------------------------------
static bool wanted(struct search *s, struct rights r, u64 entry, u64 gfn)
{
	for (u32 i = 0; i < s->access_count; i++) {
		if (!walk_allows(s->v, r.w, r.u, r.nx, s->access[i]))
			return false;
		if (s->access[i].write && !(entry & E_D))
			return false; // a processor walks again to set D
	}
	if (!s->gfns)
		return gfn == s->gfn;
	for (u32 i = 0; i < s->gfn_count; i++)
		if (s->gfns[i] == gfn)
			return false;
	if (s->gfn_count == s->gfn_max)
		return true;
	s->gfns[s->gfn_count++] = gfn;
	return false;
}

static bool search_table(struct search *s, u32 level, u64 gfn, u32 since, struct rights r);

// One value of an entry, which it had from `since` (or from the moment the entry above was read) to `until`.
static bool search_value(struct search *s, u32 level, u64 entry, u32 since, u32 until, struct rights r)
{
	bool nx_allowed = s->v->nxe || s->v->nxe_until >= since;

	if (s->steps-- == 0) {
		s->steps = 0;
		return true;
	}
	if (!(entry & E_P) || !(entry & E_A) || (entry & walk_reserved(s->p, level, nx_allowed)))
		return false;
	r.w = r.w && (entry & E_W);
	r.u = r.u && (entry & E_U);
	r.nx = r.nx || (entry & E_NX);
	if (!walk_is_leaf(s->p, level, entry, s->v->pse))
		return search_table(s, level - 1, (entry & E_ADDRESS) >> 12, since, r);
	if (entry & s->p->level[level].leaf_reserved)
		return false;
	if (s->only_global && !(entry & E_G))
		return false;
	if (invlpg_time(s, level) > until)
		return false;
	return wanted(s, r, entry, walk_leaf_gfn(s->p, level, entry, s->va));
}

static bool remembered(const struct model *m, u32 change)
{
	return change != 0 && m->peak - change < MODEL_CHANGES;
}

static bool search_table(struct search *s, u32 level, u64 gfn, u32 since, struct rights r)
{
	const struct model *m = s->m;
	int slot = slot_of(gfn);
	u32 index = walk_index(s->p, level, s->va), word = index * s->p->entry_bytes / 8, change, until = UINT32_MAX;
	u64 value, walked = 0; // bits that a walk may have set in a value before it was overwritten in a race

	if (slot < 0)
		return false; // no value of a hole is ever cached: not present, or all bits set
	value = walk_entry(s->p, m->word[slot][word], index);
	change = m->newest[slot][word];
	for (;;) {
		const struct model_change *c = remembered(m, change) ? &m->history[change % MODEL_CHANGES] : NULL;
		u64 old = c ? walk_entry(s->p, c->old, index) : 0;
		u32 from = c ? c->earliest : 0;

		if (until < since)
			return false;
		if (!c || old != value) { // else only the other half of the word changed
			if (search_value(s, level, value | walked, later(since, from), until, r))
				return true;
			if (c)
				until = c->time - 1;
			walked = c && c->earliest != c->time ? E_A | E_D : 0;
		}
		if (!c)
			return false;
		value = old;
		change = c->older;
	}
}

static bool search_roots(struct search *s, u32 since)
{
	const struct model_vcpu *v = s->v;
	u32 until = UINT32_MAX;

	if (later(s->m->lost, v->lost) > since)
		return true;
	since = later(since, invlpg_time(s, 0));
	for (u32 i = v->root_count; i-- > 0 && until >= since; until = v->roots[i].since - 1) {
		u64 top = walk_top(s->p, &v->roots[i], s->va);

		if (top != MODEL_ABSENT && search_table(s, s->p->top, top, later(since, v->roots[i].since),
							(struct rights){ true, true, false }))
			return true;
	}
	return false;
}

static bool search(struct search *s)
{
	s->p = paging_of(s->v->mode);
	s->steps = SEARCH_STEPS;
	s->only_global = false;
	if (search_roots(s, s->v->flushed))
		return true;
	s->only_global = true;
	return s->v->pge && search_roots(s, s->v->flushed_all);
}

// ---- questions --------------------------------------------------------------------------------------------
bool model_tlb_allows(const struct model *m, u32 vcpu, u64 va, u64 gfn, bool w, bool u, bool x)
{
	struct search s = { .m = m, .v = &m->vcpu[vcpu % MODEL_VCPUS], .va = va, .gfn = gfn };
	u32 cpl = u ? 3 : 0;

	if (w && (slot_read_only(m, slot_of(gfn)) || !watch_lets_through(m, slot_of(gfn))))
		return false;
	s.access[s.access_count++] = (struct access){ .cpl = cpl };
	if (w)
		s.access[s.access_count++] = (struct access){ .write = true, .cpl = cpl };
	if (x)
		s.access[s.access_count++] = (struct access){ .fetch = true, .cpl = cpl };
	return search(&s);
}

bool tlb_answers(const struct model *m, u32 vcpu, u64 va, u64 gfn, struct access a)
{
	struct search s = { .m = m, .v = &m->vcpu[vcpu], .va = va, .gfn = gfn, .access = { a }, .access_count = 1 };

	return search(&s);
}

u32 tlb_candidates(const struct model *m, u32 vcpu, u64 va, struct access a, u64 *gfns, u32 max, bool *any)
{
	struct search s = { .m = m, .v = &m->vcpu[vcpu], .va = va, .access = { a }, .access_count = 1,
			    .gfns = gfns, .gfn_max = max };

	*any = search(&s);
	return s.gfn_count;
}
