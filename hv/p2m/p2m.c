// SPDX-License-Identifier: GPL-2.0-or-later
// p2m and m2p. Entries carry the frame, P and the p2m type in the software bits. Tables are never given
// back before teardown: their number is bounded by the gfns that were ever mapped.
#include "p2m.h"

#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/heap.h"
#include "../port.h"
#include "../pt/mode.h"

#define TYPE_SHIFT 9

static const struct pt_mode *const shape = &pt_modes[PT_MODE_64];
_Static_assert(P2M_GFN_BITS <= 36, "four levels of nine bits");
_Static_assert(P2M_TABLES_MAX == 3, "levels below the root");

void p2m_start(struct p2m *p2m, u32 owner)
{
	*p2m = (struct p2m){ .owner = owner };
}

void p2m_give_page(struct p2m *p2m, mfn_t page)
{
	void *at = port_map(page);

	mem_zero(at, FRAME_BYTES);
	port_unmap(at);
	if (mfn_is_none(p2m->root)) {
		p2m->root = page;
		page_list_add_tail(&p2m->tables, page);
	} else {
		page_list_add_tail(&p2m->spare, page);
	}
}

bool p2m_needs_pages(const struct p2m *p2m)
{
	return mfn_is_none(p2m->root) || p2m->spare.length < P2M_TABLES_MAX;
}

static u64 *entry_at(mfn_t table, gfn_t g, u32 level)
{
	return (u64 *)port_map(table) + pt_index(shape, level, g.n << FRAME_SHIFT);
}

static mfn_t leaf_of(mfn_t table, gfn_t g)
{
	const u64 *at = entry_at(table, g, 0);
	u64 entry = *at;

	port_unmap(at);
	return entry & PTE_P ? mpa_mfn(mpa(entry & PTE_ADDR)) : MFN_NONE;
}

static u32 region_of(gfn_t g)
{
	return (u32)(g.n >> shape->level[0].bits);
}

static u32 recent_slot(u32 region)
{
	return (region ^ region >> 7) & (P2M_RECENT - 1);
}

mfn_t p2m_lookup(const struct p2m *p2m, gfn_t g)
{
	mfn_t table = p2m->root;

	if (mfn_is_none(table) || g.n > p2m->max_mapped)
		return MFN_NONE;
	u32 region = region_of(g), slot = recent_slot(region);

	if (p2m->recent[slot].table && p2m->recent[slot].region == region)
		return leaf_of(mfn(p2m->recent[slot].table), g);
	for (u32 level = shape->levels - 1; level > 0; level--) {
		const u64 *at = entry_at(table, g, level);
		u64 entry = *at;

		port_unmap(at);
		if (!(entry & PTE_P))
			return MFN_NONE;
		table = mpa_mfn(mpa(entry & PTE_ADDR));
	}
	return leaf_of(table, g);
}

// The leaf entry of g, mapped; builds missing tables from spare pages.
static u64 *leaf_entry(struct p2m *p2m, gfn_t g)
{
	mfn_t table = p2m->root;

	for (u32 level = shape->levels - 1; level > 0; level--) {
		u64 *at = entry_at(table, g, level);

		if (!(*at & PTE_P)) {
			mfn_t page = page_list_pop(&p2m->spare);

			hv_assert(!mfn_is_none(page));
			page_list_add_tail(&p2m->tables, page);
			*at = mfn_mpa(page).a | PTE_P;
		}
		table = mpa_mfn(mpa(*at & PTE_ADDR));
		port_unmap(at);
	}
	u32 region = region_of(g), slot = recent_slot(region);

	p2m->recent[slot].region = region;
	p2m->recent[slot].table = (u32)table.n;
	return entry_at(table, g, 0);
}

void p2m_set(struct p2m *p2m, gfn_t g, mfn_t m)
{
	hv_assert(gfn_in_range(g) && !p2m_needs_pages(p2m));
	struct page_info *page = page_of(m);

	hv_assert(page->owner == p2m->owner && page->back == BACK_NONE);
	u64 *at = leaf_entry(p2m, g);

	hv_assert(!(*at & PTE_P));
	*at = mfn_mpa(m).a | PTE_P | (u64)P2M_RAM_RW << TYPE_SHIFT;
	port_unmap(at);
	page->back = (u32)g.n;
	if (g.n > p2m->max_mapped)
		p2m->max_mapped = g.n;
	p2m->mapped++;
}

mfn_t p2m_clear(struct p2m *p2m, gfn_t g)
{
	u64 *at = leaf_entry(p2m, g);
	mfn_t m = mpa_mfn(mpa(*at & PTE_ADDR));

	hv_assert(*at & PTE_P);
	*at = 0;
	port_unmap(at);
	hv_assert(page_of(m)->back == g.n);
	page_of(m)->back = BACK_NONE;
	p2m->mapped--;
	return m;
}

gfn_t p2m_gfn_of(mfn_t m)
{
	const struct page_info *page = page_of(m);

	return page->owner && page->back != BACK_NONE ? gfn(page->back) : GFN_INVALID;
}

gfn_t p2m_next(const struct p2m *p2m, gfn_t g)
{
	while (!mfn_is_none(p2m->root) && g.n <= p2m->max_mapped) {
		mfn_t table = p2m->root;

		for (u32 level = shape->levels - 1;; level--) {
			u64 step = pt_leaf_frames(shape, level);
			u32 entries = pt_entries(shape, level), from = pt_index(shape, level, g.n << FRAME_SHIFT);
			const u64 *words = port_map(table);
			u32 i = mem_next_nonzero(words, from, entries); // absent entries are zero
			u64 entry = i < entries ? words[i] : 0;

			port_unmap(words);
			if (i != from) // to the first gfn of the next entry in use, or behind the table
				g = gfn((g.n / step - from + i) * step);
			if (i == entries)
				break;
			if (level == 0)
				return g;
			table = mpa_mfn(mpa(entry & PTE_ADDR));
		}
	}
	return GFN_INVALID;
}

const char *p2m_check(const struct p2m *p2m)
{
	const char *bad = page_list_check(&p2m->tables, "E1.56 p2m tables");
	u64 mapped = 0;

	if (!bad)
		bad = page_list_check(&p2m->spare, "E1.56 p2m spare pages");
	if (bad)
		return bad;
	for (gfn_t g = p2m_next(p2m, gfn(0)); !gfn_eq(g, GFN_INVALID); g = p2m_next(p2m, gfn(g.n + 1))) {
		mfn_t m = p2m_lookup(p2m, g);

		if (!mfn_valid(m) || page_of(m)->owner != p2m->owner)
			return broken("E1.5 p2m maps 0x%llx, which is not the domain's", (unsigned long long)m.n);
		if (page_of(m)->back != g.n)
			return broken("E1.56 m2p of 0x%llx is 0x%x, p2m says 0x%llx", (unsigned long long)m.n,
				      page_of(m)->back, (unsigned long long)g.n);
		mapped++;
	}
	for (u64 n = page_first; n < page_first + heap_touched(); n++) {
		const struct page_info *page = page_of(mfn(n));

		if (page->owner != p2m->owner || page->back == BACK_NONE)
			continue;
		if (!mfn_eq(p2m_lookup(p2m, gfn(page->back)), mfn(n)))
			return broken("E1.56 p2m of 0x%x is not 0x%llx", page->back, (unsigned long long)n);
	}
	if (mapped != p2m->mapped)
		return broken("E1.56 p2m counts %llu frames, has %llu", (unsigned long long)p2m->mapped,
			      (unsigned long long)mapped);
	return NULL;
}
