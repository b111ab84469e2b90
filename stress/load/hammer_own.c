// SPDX-License-Identifier: GPL-2.0-or-later
// What a worker does in its own regions. No other worker ever uses an address there, so a flush of its own is enough for
// what concerns translations alone. A table, though, may still be walked by any processor (early walks) until all have
// flushed: only then its page becomes something else.
#include "hammer.h"

#define FLAGS (PTE_P | PTE_W)
#define TREE_PAGES 8u

enum { KIND_NONE, KIND_READ, KIND_WRITE, KIND_AGAIN, KIND_RAISE, KIND_COUNT };

static u64 *tree_tables[WORKERS][2], *split_table[WORKERS];
static u32 tree_turn[WORKERS];

void own_start(struct worker *w)
{
	*map_region_entry(w, REGION_SLICE + w->id) = (u64)map_new_table() | FLAGS;
	for (u32 n = 0; n < 2; n++)
		scrap_fill(tree_tables[w->id][n] = map_new_table());
	scrap_fill(split_table[w->id] = map_new_table());
	*map_region_entry(w, REGION_SPLIT + w->id) = DATA_AT | FLAGS | PTE_PS;
}

// ---- one page -----------------------------------------------------------------------------------
static void flush_page(struct worker *w, u64 va)
{
	if (pick(&w->row, 8))
		cpu_invlpg(va);
	else
		flush_own(w);
}

// More rights, no flush: the processor may fault once for what it remembers, and forgets it by that.
static void raise(struct worker *w, volatile u64 *entry, u64 va, u32 page)
{
	u64 value = 0;

	(void)touch_load(va, &value);
	if (value != page_mark(page))
		hammer_mismatch(w, "an address shows another page: address, contents", va, value);
	__atomic_fetch_or(entry, PTE_W, __ATOMIC_SEQ_CST);
	(void)touch_store(va + sizeof(u64), 0);
	expect_store(w, va, page, STORE_SLICE);
	expect_bits(w, entry, PTE_A | PTE_D);
}

void own_slice(struct worker *w)
{
	u32 index = pick(&w->row, ENTRIES), page = pick(&w->row, DATA_PAGES), kind = pick(&w->row, KIND_COUNT);
	u64 va = region_at(REGION_SLICE + w->id, index);
	volatile u64 *entry = map_entry(w, REGION_SLICE + w->id, index);
	bool was_present = entry_read(entry) & PTE_P, is_written = kind != KIND_READ && kind != KIND_RAISE;

	entry_write(w, entry, kind == KIND_NONE ? 0 : data_at(page) | (is_written ? FLAGS : PTE_P));
	if (was_present) // what is not present is not in a TLB
		flush_page(w, va);
	w->sum = fold(w->sum, kind << 16 | page);
	if (kind == KIND_NONE) {
		expect_fault(w, va, false, 0);
		expect_fault(w, va, true, PF_W);
		return;
	}
	expect_page(w, va, page);
	expect_bits(w, entry, PTE_A);
	if (kind == KIND_RAISE) {
		raise(w, entry, va, page);
		return;
	}
	if (kind == KIND_READ) {
		expect_fault(w, va, true, PF_P | PF_W);
		expect_bits(w, entry, PTE_A);
		return;
	}
	expect_store(w, va, page, STORE_SLICE);
	expect_bits(w, entry, PTE_A | PTE_D);
	if (kind == KIND_AGAIN) {
		__atomic_fetch_and(entry, ~(PTE_A | PTE_D), __ATOMIC_SEQ_CST);
		flush_page(w, va);
		expect_page(w, va, page);
		expect_bits(w, entry, PTE_A);
		expect_store(w, va, page, STORE_SLICE);
		expect_bits(w, entry, PTE_A | PTE_D);
	}
}

// ---- a table ------------------------------------------------------------------------------------
static void use_tree(struct worker *w, const u32 *index, const u32 *page)
{
	for (u32 n = 0; n < TREE_PAGES; n++) {
		u64 va = region_at(REGION_TREE + w->id, index[n]);
		volatile u64 *entry = map_entry(w, REGION_TREE + w->id, index[n]);

		expect_bits(w, entry, 0);
		expect_page(w, va, page[n]);
		expect_bits(w, entry, PTE_A);
		expect_store(w, va, page[n], STORE_TREE);
		expect_bits(w, entry, PTE_A | PTE_D);
		expect_fault(w, va + FRAME_BYTES, true, PF_W);
	}
}

void own_tree(struct worker *w)
{
	u32 region = REGION_TREE + w->id, index[TREE_PAGES], page[TREE_PAGES];
	u64 *old = tree_tables[w->id][tree_turn[w->id] & 1], *new = tree_tables[w->id][~tree_turn[w->id] & 1];

	tree_turn[w->id]++;
	scrap_check(w, new);
	for (u32 i = 0; i < ENTRIES; i++)
		new[i] = 0;
	for (u32 n = 0; n < TREE_PAGES; n++) {
		index[n] = ENTRIES / TREE_PAGES * n + pick(&w->row, ENTRIES / TREE_PAGES - 1); // no two in a row
		page[n] = pick(&w->row, DATA_PAGES);
		new[index[n]] = data_at(page[n]) | FLAGS;
		w->sum = fold(w->sum, page[n]);
	}
	if (pick(&w->row, 2)) {
		entry_write(w, map_region_entry(w, region), 0);
		flush_all(w);
		expect_fault(w, region_at(region, index[0]), false, 0);
		scrap_fill(old);
		entry_write(w, map_region_entry(w, region), (u64)new | FLAGS);
	} else {
		entry_write(w, map_region_entry(w, region), (u64)new | FLAGS);
		flush_all(w);
		scrap_fill(old);
	}
	use_tree(w, index, page);
	scrap_check(w, old);
}

// ---- a large page -------------------------------------------------------------------------------
static void use_split(struct worker *w, u32 page)
{
	u64 va = region_at(REGION_SPLIT + w->id, page);

	expect_page(w, va, page);
	expect_store(w, va, page, STORE_SPLIT);
}

void own_split(struct worker *w)
{
	u32 region = REGION_SPLIT + w->id, page = pick(&w->row, DATA_PAGES), other = pick(&w->row, DATA_PAGES);
	volatile u64 *large = map_region_entry(w, region), *small;
	u64 *table = split_table[w->id];

	expect_page(w, region_at(region, page), page);
	use_split(w, other);
	expect_bits(w, large, PTE_A | PTE_D);
	scrap_check(w, table);
	for (u32 i = 0; i < ENTRIES; i++)
		table[i] = data_at(i) | FLAGS;
	entry_write(w, large, (u64)table | FLAGS);
	flush_own(w);
	small = map_entry(w, region, page);
	expect_bits(w, small, 0);
	use_split(w, page);
	expect_bits(w, small, PTE_A | PTE_D);
	entry_write(w, small, data_at(other) | PTE_P);
	cpu_invlpg(region_at(region, page));
	expect_page(w, region_at(region, page), other);
	expect_fault(w, region_at(region, page), true, PF_P | PF_W);
	entry_write(w, large, DATA_AT | FLAGS | PTE_PS);
	flush_all(w);
	expect_bits(w, large, 0);
	expect_page(w, region_at(region, other), other);
	expect_bits(w, large, PTE_A);
	use_split(w, page);
	expect_bits(w, large, PTE_A | PTE_D);
	scrap_fill(table);
	w->sum = fold(w->sum, page << 16 | other);
}
