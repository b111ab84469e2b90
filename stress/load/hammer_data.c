// SPDX-License-Identifier: GPL-2.0-or-later
// Checked accesses to data pages through the window, and what the pages hold at the end.
#include "hammer.h"

#define WORDS (FRAME_BYTES / sizeof(u64))
#define WORKER_WORDS 8u // from one worker's words to the next one's

_Static_assert(STORE_COUNT <= WORKER_WORDS, "a worker's words fit");

static u32 offset_of(u32 id, enum store k)
{
	return (u32)sizeof(u64) * (WORKER_WORDS * (1 + id) + k);
}

void data_start(void)
{
	for (u32 page = 0; page < DATA_PAGES; page++) {
		volatile u64 *at = (u64 *)data_at(page);

		for (u32 i = 0; i < WORDS; i++)
			at[i] = 0;
		at[0] = page_mark(page);
	}
}

void expect_page(struct worker *w, u64 va, u32 page)
{
	u64 value = 0;
	u32 got = touch_load(va, &value);

	if (got)
		hammer_mismatch(w, "a load faults: address, outcome", va, got);
	if (value != page_mark(page))
		hammer_mismatch(w, "an address shows another page: address, contents", va, value);
}

void expect_store(struct worker *w, u64 va, u32 page, enum store k)
{
	u32 offset = offset_of(w->id, k);
	u64 was = 0, value = mix(w->row ^ page);
	u32 got = touch_load(va + offset, &was);

	if (got || was != w->stored[page][k])
		hammer_mismatch(w, "a store was lost: address, contents", va + offset, was);
	got = touch_store(va + offset, value);
	if (got)
		hammer_mismatch(w, "a store faults: address, outcome", va + offset, got);
	w->stored[page][k] = value;
	was = *(volatile u64 *)(data_at(page) + offset);
	if (was != value)
		hammer_mismatch(w, "a store went elsewhere: address, contents in the direct map", va + offset, was);
}

void expect_fault(struct worker *w, u64 va, bool write, u64 error)
{
	u64 ignored;
	u32 got = write ? touch_store(va, 0) : touch_load(va, &ignored);

	if (got != (TOUCH_FAULT | (u32)error))
		hammer_mismatch(w, "wrong outcome of an access: address, outcome", va, got);
}

void expect_bits(struct worker *w, volatile u64 *entry, u64 bits)
{
	u64 have = entry_read(entry);

	if ((have & (PTE_A | PTE_D)) != bits)
		hammer_mismatch(w, "wrong A and D: wanted bits, entry", bits, have);
}

static u64 word_at_end(const struct worker *workers, u32 page, u32 i)
{
	u32 id = i / WORKER_WORDS - 1, k = i % WORKER_WORDS;

	if (i < WORKER_WORDS)
		return i ? 0 : page_mark(page);
	return id < WORKERS && k < STORE_COUNT ? workers[id].stored[page][k] : 0;
}

u64 data_check(const struct worker *workers)
{
	u64 sum = 0;

	for (u32 page = 0; page < DATA_PAGES; page++)
		for (u32 i = 0; i < WORDS; i++) {
			u64 value = ((volatile u64 *)data_at(page))[i];

			if (value != word_at_end(workers, page, i))
				hammer_mismatch(&workers[0], "at the end: page << 16 | word, contents", page << 16 | i, value);
			if (i < WORKER_WORDS || i % WORKER_WORDS < STORE_FIXED_COUNT)
				sum = fold(sum, value);
		}
	return sum;
}

void scrap_fill(u64 *table)
{
	for (u32 i = 0; i < ENTRIES; i++)
		table[i] = mix((u64)table + i);
}

void scrap_check(struct worker *w, u64 *table)
{
	for (u32 i = 0; i < ENTRIES; i++)
		if (((volatile u64 *)table)[i] != mix((u64)table + i))
			hammer_mismatch(w, "a former table has changed: address, contents", (u64)&table[i], table[i]);
}
