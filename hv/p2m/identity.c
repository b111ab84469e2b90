// SPDX-License-Identifier: GPL-2.0-or-later
// Identity ranges: gfns that are devices of the machine, so that the frame number is the gfn (fuzz/bugs/B46.patch, B47.patch).
//
// A range is cut into the largest entries that fit, so only its two ends need tables: its cost does not follow from its
// length, but from the tables that others have made inside it. Ends are exclusive everywhere.
#include "table.h"

static u64 clamp(gfn_t g)
{
	return gfn_in_range(g) ? g.n : BIT(P2M_GFN_BITS);
}

// Is there anything but holes and identity pages at [from, end) in this level-0 table?
static bool leaf_in_use(mfn_t table, u64 from, u64 end)
{
	const u64 *words = port_map(table);
	bool in_use = false;

	for (u64 g = from; g < end && !in_use; g++) {
		u64 entry = words[p2m_index(g, 0)];

		in_use = entry && p2m_entry_type(entry) != P2M_MMIO_DIRECT;
	}
	port_unmap(words);
	return in_use;
}

enum hv_status p2m_identity_check(struct p2m *p2m, gfn_t first, gfn_t end)
{
	u64 from = clamp(first), to = clamp(end);

	if (first.n > end.n)
		return HV_EINVAL;
	if (from == to)
		return HV_OK;
	if (from < page_first + page_count && to > page_first)
		return HV_EINVAL;
	for (u64 g = from, next; g < to && !mfn_is_none(p2m->root); g = next) {
		struct p2m_place p = p2m_find(p2m, g);

		p2m->visits += p.level ? 1 : P2M_ENTRIES;
		next = p2m_end_of(g, p.level ? p.level : 1);
		if (p.level ? p.entry && p2m_entry_type(p.entry) != P2M_MMIO_DIRECT
			    : leaf_in_use(p.table, g, next < to ? next : to))
			return HV_EBUSY;
	}
	return HV_OK;
}

gfn_t p2m_identity_reach(struct p2m *p2m, gfn_t first, gfn_t end)
{
	u64 g = clamp(first), to = clamp(end);

	u64 last = p2m->visits + P2M_IDENTITY_VISITS;

	if (mfn_is_none(p2m->root))
		return end;
	while (g < to && p2m->visits < last) {
		u32 level = p2m_find(p2m, g).level;

		p2m->visits += level ? 1 : P2M_ENTRIES;
		g = p2m_end_of(g, level ? level : 1);
	}
	return g < to ? gfn(g) : end;
}

// The level of the largest entry that begins at g and ends at `end` or before.
static u32 largest(u64 g, u64 end)
{
	u32 level = 0;

	while (level < P2M_TOP && !(g & (p2m_span(level + 1) - 1)) && end - g >= p2m_span(level + 1))
		level++;
	return level;
}

// Tables that are missing before an entry can begin at g.
static u32 pages_to_cut(const struct p2m *p2m, u64 g)
{
	if (g >> P2M_GFN_BITS)
		return 0;
	u32 level = largest(g, UINT64_MAX), found = p2m_find(p2m, g).level;

	return found > level ? found - level : 0;
}

u32 p2m_identity_pages(const struct p2m *p2m, gfn_t first, gfn_t end)
{
	if (first.n >= end.n)
		return 0;
	if (mfn_is_none(p2m->root))
		return 2 * P2M_TOP;
	return pages_to_cut(p2m, clamp(first)) + pages_to_cut(p2m, clamp(end));
}

// A table of `level`, and all below it, that no entry names any more. What they map has no m2p.
static void free_tree(struct p2m *p2m, mfn_t table, u32 level)
{
	mfn_t path[P2M_LEVELS];
	u32 from[P2M_LEVELS];

	path[level] = table;
	from[level] = 0;
	for (u32 k = level;;) {
		u32 i = k ? from[k] : P2M_ENTRIES;
		u64 entry = 0;

		while (i < P2M_ENTRIES && !p2m_is_table(k, entry = p2m_entry_read(path[k], i)))
			i++;
		if (i < P2M_ENTRIES) {
			from[k--] = i + 1;
			path[k] = p2m_entry_mfn(entry);
			from[k] = 0;
			continue;
		}
		p2m->visits += P2M_ENTRIES;
		p2m_table_free(p2m, path[k]);
		if (k++ == level)
			return;
	}
}

// At most 2 * P2M_LEVELS * P2M_ENTRIES turns. Tables that may be empty afterwards are those of the two ends.
static void fill(struct p2m *p2m, u64 first, u64 end, bool on)
{
	for (u64 g = first; g < end; p2m->visits++) {
		u32 level = largest(g, end), index = p2m_index(g, level);
		struct p2m_place p = p2m_find(p2m, g);

		if (p.level >= level && (p.entry != 0) == on) { // as wanted already, and not in smaller pieces
			g = p2m_end_of(g, p.level);
			continue;
		}
		mfn_t table = p2m_table_for(p2m, g, level);
		u64 old = p2m_entry_read(table, index);

		p2m_entry_write(table, index, on ? p2m_entry_make(mfn(g), P2M_MMIO_DIRECT, level) : 0);
		if (p2m_is_table(level, old))
			free_tree(p2m, p2m_entry_mfn(old), level - 1);
		g += p2m_span(level);
	}
	if (on)
		return;
	p2m_prune(p2m, first);
	p2m_prune(p2m, end - 1);
}

enum hv_status p2m_identity(struct p2m *p2m, gfn_t first, gfn_t end, bool on)
{
	enum hv_status status = p2m_identity_check(p2m, first, end);
	u64 from = clamp(first), to = clamp(end);

	if (status != HV_OK || from == to)
		return status;
	if (mfn_is_none(p2m->root) || p2m->spare.length < p2m_identity_pages(p2m, first, end))
		return HV_ENOMEM;
	p2m->changes++;
	fill(p2m, from, to, on);
	if (on && to - 1 > p2m->max_mapped)
		p2m->max_mapped = to - 1;
	for (u32 i = 0; i < P2M_RECENT; i++) {
		u64 region = (u64)p2m->recent[i].region << P2M_LEVEL_BITS;

		if (p2m->recent[i].entry && region < to && region + P2M_ENTRIES > from)
			p2m_remember(p2m, region);
	}
	return HV_OK;
}
