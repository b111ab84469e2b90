// SPDX-License-Identifier: GPL-2.0-or-later
// p2m and m2p. In this order:
//  1. pages of the p2m
//  2. the way down: where it ends, with tables built and large entries shattered, and what is pruned behind it
//  3. lookups
//  4. changes of one entry
//  5. walks
// Identity ranges are in identity.c, the audit in check.c.
//
// A table goes back to the spare pages when its last entry does, so that the tables in use follow from what is mapped.
// Cost: lookups O(1) in regions that the shortcuts know, else O(levels); changes O(levels + one table + frames of the entry).
#include "../base/mem.h"
#include "table.h"

_Static_assert(P2M_LEVELS >= 2 && P2M_ENTRIES * sizeof(u64) <= FRAME_BYTES, "tables are pages, and level 1 has shortcuts");
_Static_assert(P2M_TYPE_COUNT <= P2M_TYPE_MASK + 1, "a type fits into its bits");
_Static_assert(P2M_GFN_BITS < 32, "m2p and shortcuts hold gfns in 32 bits");

// ---- 1. pages of the p2m ------------------------------------------------------------------------------------

void p2m_start(struct p2m *p2m, u32 owner)
{
	*p2m = (struct p2m){ .owner = owner, .visits = p2m->visits };
}

static void zero_page(mfn_t page)
{
	void *at = port_map(page);

	mem_zero(at, FRAME_BYTES);
	port_unmap(at);
}

void p2m_give_page(struct p2m *p2m, mfn_t page)
{
	if (mfn_is_none(p2m->root)) {
		zero_page(page);
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

mfn_t p2m_take_page(struct p2m *p2m)
{
	mfn_t page = page_list_pop(&p2m->spare);

	hv_assert(!mfn_is_none(page)); // the caller has asked p2m_needs_pages() or p2m_identity_pages(), or gave it
	return page;
}

static mfn_t table_new(struct p2m *p2m)
{
	mfn_t page = p2m_take_page(p2m);

	zero_page(page);
	page_list_add_tail(&p2m->tables, page);
	return page;
}

void p2m_table_free(struct p2m *p2m, mfn_t table)
{
	page_list_remove(&p2m->tables, table);
	page_list_add_tail(&p2m->spare, table);
}

static bool table_is_empty(struct p2m *p2m, mfn_t table, u32 near)
{
	const u64 *words = port_map(table);
	u32 used = mem_next_nonzero(words, near, P2M_ENTRIES);

	p2m->visits += used - near + 1;
	if (used == P2M_ENTRIES) {
		used = mem_next_nonzero(words, 0, near);
		p2m->visits += used;
		used = used == near ? P2M_ENTRIES : used;
	}
	port_unmap(words);
	return used == P2M_ENTRIES;
}

// ---- 2. the way down ----------------------------------------------------------------------------------------

struct p2m_place p2m_find(const struct p2m *p2m, u64 g)
{
	struct p2m_place p = { .table = p2m->root, .level = P2M_TOP };

	for (;; p.level--) {
		p.entry = p2m_entry_read(p.table, p2m_index(g, p.level));
		if (!p2m_is_table(p.level, p.entry))
			return p;
		p.table = p2m_entry_mfn(p.entry);
	}
}

// A table of entries that map what `entry`, a large one of `level`, does: frames count from its own base, whatever gfn is the
// reason (fuzz/bugs/B46.patch). m2p stays as it is.
static mfn_t shatter(struct p2m *p2m, u32 level, u64 entry)
{
	mfn_t page = table_new(p2m);
	u64 *words = port_map(page), base = p2m_entry_mfn(entry).n;

	for (u32 i = 0; i < P2M_ENTRIES; i++)
		words[i] = p2m_entry_make(mfn(base + i * p2m_span(level - 1)), p2m_entry_type(entry), level - 1);
	port_unmap(words);
	p2m->visits += P2M_ENTRIES;
	return page;
}

mfn_t p2m_table_for(struct p2m *p2m, u64 g, u32 level)
{
	mfn_t table = p2m->root;

	for (u32 k = P2M_TOP; k > level; k--) {
		u64 entry = p2m_entry_read(table, p2m_index(g, k));

		if (!p2m_is_table(k, entry)) {
			entry = mfn_mpa(entry ? shatter(p2m, k, entry) : table_new(p2m)).a | PTE_P;
			p2m_entry_write(table, p2m_index(g, k), entry);
		}
		table = p2m_entry_mfn(entry);
	}
	return table;
}

void p2m_prune(struct p2m *p2m, u64 g)
{
	mfn_t path[P2M_LEVELS];
	u32 level = P2M_TOP;

	path[P2M_TOP] = p2m->root;
	for (u64 entry; p2m_is_table(level, entry = p2m_entry_read(path[level], p2m_index(g, level))); level--)
		path[level - 1] = p2m_entry_mfn(entry);
	for (; level < P2M_TOP && table_is_empty(p2m, path[level], p2m_index(g, level)); level++) {
		p2m_entry_write(path[level + 1], p2m_index(g, level + 1), 0);
		p2m_table_free(p2m, path[level]);
	}
}

u64 p2m_region_entry(const struct p2m *p2m, u64 g)
{
	mfn_t table = p2m->root;

	for (u32 level = P2M_TOP;; level--) {
		u64 entry = p2m_entry_read(table, p2m_index(g, level));

		if (level == 1)
			return entry;
		if (!p2m_is_table(level, entry))
			return 0;
		table = p2m_entry_mfn(entry);
	}
}

void p2m_remember(struct p2m *p2m, u64 g)
{
	u32 region = p2m_region(g), slot = p2m_recent_slot(region);
	u64 entry = p2m_region_entry(p2m, g);

	if (entry) {
		p2m->recent[slot].region = region;
		p2m->recent[slot].entry = entry;
	} else if (p2m->recent[slot].region == region) {
		p2m->recent[slot].entry = 0;
	}
}

// ---- 3. lookups ---------------------------------------------------------------------------------------------

// Does a shortcut lead to the level-0 entry of g? What nearly every lookup takes.
static inline bool shortcut(const struct p2m *p2m, gfn_t g, u64 *entry)
{
	u32 region = p2m_region(g.n), slot = p2m_recent_slot(region);
	u64 above = p2m->recent[slot].entry;

	if (p2m->recent[slot].region != region || !p2m_is_table(1, above) || g.n > p2m->max_mapped)
		return false;
	*entry = p2m_entry_read(p2m_entry_mfn(above), p2m_index(g.n, 0));
	return true;
}

static inline struct p2m_entry entry_of(u64 entry, u32 level, gfn_t g)
{
	if (!entry)
		return (struct p2m_entry){ .type = P2M_HOLE };
	return (struct p2m_entry){ mfn(p2m_entry_mfn(entry).n + (g.n & (p2m_span(level) - 1))), (u8)p2m_entry_type(entry),
				   (u8)(level * P2M_LEVEL_BITS) };
}

// Without a level-0 table at hand: large entries, and regions that no shortcut knows.
static __attribute__((noinline)) struct p2m_entry get_slow(const struct p2m *p2m, gfn_t g)
{
	u32 region = p2m_region(g.n), slot = p2m_recent_slot(region);

	if (g.n > p2m->max_mapped || mfn_is_none(p2m->root))
		return entry_of(0, 0, g);
	if (p2m->recent[slot].entry & P2M_PTE_LARGE && p2m->recent[slot].region == region)
		return entry_of(p2m->recent[slot].entry, 1, g);
	struct p2m_place p = p2m_find(p2m, g.n);

	return entry_of(p.entry, p.level, g);
}

struct p2m_entry p2m_get(const struct p2m *p2m, gfn_t g)
{
	u64 entry;

	return shortcut(p2m, g, &entry) ? entry_of(entry, 0, g) : get_slow(p2m, g);
}

mfn_t p2m_lookup(const struct p2m *p2m, gfn_t g)
{
	u64 entry;

	if (shortcut(p2m, g, &entry))
		return p2m_is_ram(p2m_entry_type(entry)) ? p2m_entry_mfn(entry) : MFN_NONE;
	struct p2m_entry found = get_slow(p2m, g);

	return p2m_is_ram(found.type) ? found.frame : MFN_NONE;
}

gfn_t p2m_gfn_of(mfn_t m)
{
	const struct page_info *page = page_of(m);

	return page->owner && page->back != BACK_NONE ? gfn(page->back) : GFN_INVALID;
}

// ---- 4. changes of one entry ----------------------------------------------------------------------------------

// May the frame get an entry of this type?
static bool frame_fits(const struct p2m *p2m, mfn_t m, enum p2m_type type)
{
	if (type == P2M_MMIO_DIRECT)
		return !mfn_valid(m);
	const struct page_info *page = page_of(m);

	if (type == P2M_FOREIGN)
		return page_owner(m) && page_owner(m) != p2m->owner;
	return page->owner == p2m->owner && page->back == BACK_NONE;
}

void p2m_set_range(struct p2m *p2m, gfn_t g, u32 order, mfn_t m, enum p2m_type type)
{
	u32 level = order / P2M_LEVEL_BITS;
	u64 last = g.n + BIT(order) - 1;

	hv_assert((order == 0 || order == P2M_LARGE_ORDER) && !((g.n | m.n) & (BIT(order) - 1)));
	hv_assert(gfn_in_range(gfn(last)) && !mfn_is_none(p2m->root));
	hv_assert(type > P2M_HOLE && type < P2M_TYPE_COUNT && (type != P2M_MMIO_DIRECT || m.n == g.n));
	for (u64 i = 0; i < BIT(order); i++)
		hv_assert(frame_fits(p2m, mfn(m.n + i), type));
	struct p2m_place p = p2m_find(p2m, g.n);

	hv_assert(p.level >= level && !p.entry); // tables are never empty: one below would mean that something is there
	p2m->changes++;
	p2m_entry_write(p2m_table_for(p2m, g.n, level), p2m_index(g.n, level), p2m_entry_make(m, type, level));
	p2m->visits += BIT(order);
	if (p2m_is_ram(type)) {
		for (u64 i = 0; i < BIT(order); i++)
			page_of(mfn(m.n + i))->back = (u32)(g.n + i);
		p2m->mapped += BIT(order);
	}
	if (last > p2m->max_mapped)
		p2m->max_mapped = last;
	p2m_remember(p2m, g.n);
}

void p2m_set(struct p2m *p2m, gfn_t g, mfn_t m)
{
	p2m_set_range(p2m, g, 0, m, P2M_RAM_RW);
}

void p2m_set_type(struct p2m *p2m, gfn_t g, enum p2m_type type)
{
	struct p2m_entry was = p2m_get(p2m, g);

	hv_assert(p2m_is_ram(was.type) && p2m_is_ram(type));
	if (was.type == type)
		return;
	p2m_entry_write(p2m_table_for(p2m, g.n, 0), p2m_index(g.n, 0), p2m_entry_make(was.frame, type, 0));
	p2m_remember(p2m, g.n);
}

// Empty the entry of g, its first gfn, in a table of `level`; it maps m and the frames behind it.
static void take_out(struct p2m *p2m, gfn_t g, mfn_t table, u32 level, mfn_t m, u32 type)
{
	p2m->changes++;
	p2m_entry_write(table, p2m_index(g.n, level), 0);
	p2m->visits += p2m_is_ram(type) ? p2m_span(level) : 1;
	if (p2m_is_ram(type)) {
		for (u64 i = 0; i < p2m_span(level); i++) {
			hv_assert(page_of(mfn(m.n + i))->back == g.n + i);
			page_of(mfn(m.n + i))->back = BACK_NONE;
		}
		p2m->mapped -= p2m_span(level);
	}
	p2m_prune(p2m, g.n);
	p2m_remember(p2m, g.n);
}

mfn_t p2m_clear(struct p2m *p2m, gfn_t g)
{
	struct p2m_entry was = p2m_get(p2m, g);

	hv_assert(was.type != P2M_HOLE);
	take_out(p2m, g, p2m_table_for(p2m, g.n, 0), 0, was.frame, was.type);
	return was.frame;
}

struct p2m_entry p2m_clear_entry(struct p2m *p2m, gfn_t g)
{
	gfn_t first = gfn(g.n & ~(BIT(p2m_get(p2m, g).order) - 1));
	struct p2m_entry was = p2m_get(p2m, first);

	hv_assert(was.type != P2M_HOLE);
	take_out(p2m, first, p2m_find(p2m, first.n).table, was.order / P2M_LEVEL_BITS, was.frame, was.type);
	return was;
}

bool p2m_coalesce(struct p2m *p2m, gfn_t g)
{
	if (!gfn_in_range(g) || mfn_is_none(p2m->root))
		return false;
	struct p2m_place p = p2m_find(p2m, g.n);
	const u64 *words = port_map(p.table);
	u64 first = words[0];
	bool good = p.level == 0 && first && !(p2m_entry_mfn(first).n & (P2M_ENTRIES - 1));

	for (u32 i = 1; i < P2M_ENTRIES && good; i++)
		good = words[i] == first + ((u64)i << FRAME_SHIFT);
	p2m->visits += P2M_ENTRIES;
	port_unmap(words);
	if (!good)
		return false;
	p2m_entry_write(p2m_table_for(p2m, g.n, 1), p2m_index(g.n, 1),
			p2m_entry_make(p2m_entry_mfn(first), p2m_entry_type(first), 1));
	p2m_table_free(p2m, p.table);
	p2m_remember(p2m, g.n);
	return true;
}

// ---- 5. walks -------------------------------------------------------------------------------------------------

gfn_t p2m_next_entry(const struct p2m *p2m, gfn_t g, struct p2m_entry *entry)
{
	while (!mfn_is_none(p2m->root) && g.n <= p2m->max_mapped) {
		mfn_t table = p2m->root;

		for (u32 level = P2M_TOP;; level--) {
			u32 from = p2m_index(g.n, level);
			const u64 *words = port_map(table);
			u32 i = mem_next_nonzero(words, from, P2M_ENTRIES); // holes are zero
			u64 word = i < P2M_ENTRIES ? words[i] : 0;

			port_unmap(words);
			if (i != from) // to the first gfn of the next entry in use, or behind the table
				g = gfn((g.n / p2m_span(level) - from + i) * p2m_span(level));
			if (i == P2M_ENTRIES)
				break;
			if (!p2m_is_table(level, word)) {
				*entry = entry_of(word, level, g);
				return g;
			}
			table = p2m_entry_mfn(word);
		}
	}
	return GFN_INVALID;
}
