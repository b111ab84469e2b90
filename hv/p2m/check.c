// SPDX-License-Identifier: GPL-2.0-or-later
// The audit of p2m and m2p, both ways (spec A.11): every entry on the way from the root down, every frame of the domain on
// the way back. It trusts no entry before it has looked at what that names, and ends when the tables are more than there are.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/heap.h"
#include "table.h"

typedef unsigned long long number; // as formats want it

static const char *check_frame(const struct p2m *p2m, u64 g, mfn_t m, u32 type)
{
	const struct page_info *page = mfn_valid(m) ? page_of(m) : NULL;

	if (type == P2M_FOREIGN)
		return page && page_owner(m) && page_owner(m) != p2m->owner
			       ? NULL
			       : broken("E1.5 p2m maps 0x%llx, which is not another domain's", (number)m.n);
	if (!page || page_owner(m) != p2m->owner)
		return broken("E1.5 p2m maps 0x%llx, which is not the domain's", (number)m.n);
	if (page->back != g)
		return broken("E1.56 m2p of 0x%llx is 0x%x, p2m says 0x%llx", (number)m.n, page->back, (number)g);
	return NULL;
}

// An entry that is no table, for the gfns from g on; counts RAM.
static const char *check_entry(const struct p2m *p2m, u64 g, u32 level, u64 entry, u64 *mapped)
{
	u32 type = p2m_entry_type(entry);
	mfn_t m = p2m_entry_mfn(entry);
	u64 last = g + p2m_span(level) - 1;
	const char *bad = NULL;

	if (entry != p2m_entry_make(m, type, level) || type == P2M_HOLE || type >= P2M_TYPE_COUNT ||
	    (level > 1 && type != P2M_MMIO_DIRECT))
		return broken("E1.56 p2m entry of 0x%llx at level %u is 0x%llx", (number)g, level, (number)entry);
	if (m.n & (p2m_span(level) - 1))
		return broken("E1.56 p2m maps 0x%llx to 0x%llx, large and not aligned", (number)g, (number)m.n);
	if (last > p2m->max_mapped)
		return broken("E1.56 p2m maps 0x%llx, above 0x%llx", (number)last, (number)p2m->max_mapped);
	if (type == P2M_MMIO_DIRECT) {
		if (m.n != g || (g < page_first + page_count && last >= page_first))
			return broken("E1.5 p2m has 0x%llx as identity of 0x%llx", (number)m.n, (number)g);
		return NULL;
	}
	for (u64 i = 0; g + i <= last && !bad; i++)
		bad = check_frame(p2m, g + i, mfn(m.n + i), type);
	if (p2m_is_ram(type))
		*mapped += p2m_span(level);
	return bad;
}

// p2m pages are frames of the domain that nobody else refers to.
static const char *check_page(const struct p2m *p2m, mfn_t m)
{
	if (!mfn_valid(m))
		return broken("E1.56 p2m has a table at 0x%llx", (number)m.n);
	const struct page_info *page = page_of(m);

	if (page_owner(m) != p2m->owner || page_count_info(m) != (PAGE_ALLOCATED | 1))
		return broken("E1.4 p2m page 0x%llx: owner %u, count 0x%x", (number)m.n, page_owner(m), page_count_info(m));
	if (page->back != BACK_NONE)
		return broken("E1.56 m2p of p2m page 0x%llx is 0x%x", (number)m.n, page->back);
	return NULL;
}

// Frame numbers to summands: two sets of tables with one sum are the same set. So no table is reached twice, without a mark
// on each.
static u64 mix(u64 n)
{
	n *= UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ n >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return n ^ n >> 29;
}

// All that the root leads to. *sum: of mix() over the tables.
static const char *check_tree(const struct p2m *p2m, u64 *mapped, u64 *sum)
{
	struct { mfn_t table; u64 first; u32 from, used; } at[P2M_LEVELS];
	const char *bad = check_page(p2m, p2m->root);
	u32 tables = 1;

	at[P2M_TOP].table = p2m->root;
	at[P2M_TOP].first = at[P2M_TOP].from = at[P2M_TOP].used = 0;
	*sum = mix(p2m->root.n);
	for (u32 level = P2M_TOP; !bad;) {
		const u64 *words = port_map(at[level].table);
		u32 i = mem_next_nonzero(words, at[level].from, P2M_ENTRIES);
		u64 entry = i < P2M_ENTRIES ? words[i] : 0, g = at[level].first + i * p2m_span(level);

		port_unmap(words);
		if (i == P2M_ENTRIES) {
			if (level == P2M_TOP)
				return NULL;
			if (!at[level].used)
				return broken("E1.56 p2m table 0x%llx is empty", (number)at[level].table.n);
			level++;
			continue;
		}
		at[level].from = i + 1;
		at[level].used++;
		if (!p2m_is_table(level, entry)) {
			bad = check_entry(p2m, g, level, entry, mapped);
			continue;
		}
		if (++tables > p2m->tables.length)
			return broken("E1.56 p2m reaches more than its %u tables", p2m->tables.length);
		if (entry & ~(PTE_ADDR | PTE_P))
			return broken("E1.56 p2m entry of 0x%llx names a table by 0x%llx", (number)g, (number)entry);
		bad = check_page(p2m, p2m_entry_mfn(entry));
		level--;
		at[level].table = p2m_entry_mfn(entry);
		at[level].first = g;
		at[level].from = at[level].used = 0;
		*sum += mix(at[level].table.n);
	}
	return bad;
}

static const char *check_spare(const struct p2m *p2m)
{
	const char *bad = NULL;

	for (u32 n = p2m->spare.head; n && !bad; n = page_of(mfn(n))->list.next)
		bad = check_page(p2m, mfn(n));
	return bad;
}

static const char *check_recent(const struct p2m *p2m)
{
	for (u32 i = 0; i < P2M_RECENT; i++) {
		u64 g = (u64)p2m->recent[i].region << P2M_LEVEL_BITS, entry = p2m->recent[i].entry;

		if (entry && (mfn_is_none(p2m->root) || p2m_recent_slot(p2m->recent[i].region) != i || !gfn_in_range(gfn(g)) ||
			      p2m_region_entry(p2m, g) != entry))
			return broken("E1.56 p2m shortcut to 0x%llx is stale", (number)g);
	}
	return NULL;
}

// From the frames back. What the p2m says of them is sound by now.
static const char *check_back(const struct p2m *p2m)
{
	u64 end = page_first + heap_touched();

	for (u64 n = page_first; n < end; n++) {
		const struct page_info *page = page_of(mfn(n));

		if (page_owner(mfn(n)) != p2m->owner || page->back == BACK_NONE)
			continue;
		if (!mfn_eq(p2m_lookup(p2m, gfn(page->back)), mfn(n)))
			return broken("E1.56 p2m of 0x%x is not 0x%llx", page->back, (number)n);
	}
	return NULL;
}

const char *p2m_check(const struct p2m *p2m)
{
	const char *bad = page_list_check(&p2m->tables, "E1.56 p2m tables");
	u64 mapped = 0, sum = 0, listed = 0;

	if (!bad)
		bad = page_list_check(&p2m->spare, "E1.56 p2m spare pages");
	if (!bad)
		bad = check_spare(p2m);
	if (!bad && !mfn_is_none(p2m->root))
		bad = check_tree(p2m, &mapped, &sum);
	if (bad)
		return bad;
	for (u32 n = p2m->tables.head; n; n = page_of(mfn(n))->list.next)
		listed += mix(n);
	if (listed != sum)
		return broken("E1.56 p2m: its %u tables are not those that the root leads to", p2m->tables.length);
	if (mapped != p2m->mapped)
		return broken("E1.56 p2m counts %llu frames, has %llu", (number)p2m->mapped, (number)mapped);
	if (!gfn_in_range(gfn(p2m->max_mapped)))
		return broken("E1.56 p2m: 0x%llx as highest gfn", (number)p2m->max_mapped);
	bad = check_recent(p2m);
	return bad ? bad : check_back(p2m);
}
