// SPDX-License-Identifier: GPL-2.0-or-later
// What all workers do in the same regions. Changes are made under a lock; loads come at any time. A sequence number, odd
// while a change is under way, tells a reader whether what it saw must be exact: when the number was the same and even
// before and after, every worker had flushed what the last change took away.
//
// Parts: slots, which are pages; the grove, which is one table full of pages.
// Stores are made under the lock alone, so a D bit that nobody's store has earned is a mistake, and so is a missing one.
#include "hammer.h"

#define FLAGS (PTE_P | PTE_W)
#define SLOTS 32u
#define GROVE_PAGES 64u
#define READS 256u
#define READ_SLOTS 4u

static struct slot {
	u32 lock, sequence;
	u32 page;
	bool dirty;
	u64 entry; // as it was written
} __attribute__((aligned(64))) slots[SLOTS];

static struct {
	u32 lock, sequence, turn;
	u32 page[GROVE_PAGES]; // all of them once the first table is there
	u64 *table[2];
} grove;

void shared_start(struct worker *w)
{
	*map_region_entry(w, REGION_SLOTS) = (u64)map_new_table() | FLAGS;
	for (u32 n = 0; n < 2; n++)
		scrap_fill(grove.table[n] = map_new_table());
}

static u32 sequence_read(u32 *sequence)
{
	return __atomic_load_n(sequence, __ATOMIC_SEQ_CST);
}

static void sequence_step(u32 *sequence)
{
	__atomic_add_fetch(sequence, 1, __ATOMIC_SEQ_CST);
}

// A load at any time. exact(): it was not disturbed, and `present` and `page` were in force.
static void read_any(struct worker *w, u64 va, u32 *sequence, const u32 *page, const u64 *entry)
{
	u32 before = sequence_read(sequence), want = __atomic_load_n(page, __ATOMIC_SEQ_CST);
	bool present = !entry || (__atomic_load_n(entry, __ATOMIC_SEQ_CST) & PTE_P);
	u64 value = 0;
	u32 got = touch_load(va, &value);
	bool exact = before % 2 == 0 && sequence_read(sequence) == before;

	if (got ? got != TOUCH_FAULT : !is_page_mark(value))
		hammer_mismatch(w, "a shared load: outcome, contents", got, value);
	if (exact && (got != 0) == present)
		hammer_mismatch(w, "a shared load: address, outcome", va, got);
	if (exact && !got && value != page_mark(want))
		hammer_mismatch(w, "a shared address shows another page: address, contents", va, value);
}

// ---- slots --------------------------------------------------------------------------------------
// Many loads of few slots, without a flush in between: translations get old enough to be wrong.
void shared_slot_read(struct worker *w)
{
	u32 first = pick(&w->row, SLOTS);

	for (u32 i = 0; i < READS; i++) {
		u32 n = (first + i % READ_SLOTS) % SLOTS;
		struct slot *slot = &slots[n];

		read_any(w, region_at(REGION_SLOTS, n), &slot->sequence, &slot->page, &slot->entry);
	}
}

// Nobody but the lock's holder changes an entry or stores.
static void check_slot(struct worker *w, const struct slot *slot, volatile u64 *entry)
{
	u64 have = entry_read(entry);

	if (without_ad(have) != slot->entry || (!(have & PTE_P) && have))
		hammer_mismatch(w, "an entry has changed: wanted, entry", slot->entry, have);
	if ((have & PTE_P) && ((have & PTE_D) != 0) != slot->dirty)
		hammer_mismatch(w, "wrong D: wanted, entry", slot->dirty, have);
}

static void change_slot(struct worker *w, struct slot *slot, volatile u64 *entry, u32 page, u64 flags)
{
	u64 old = slot->entry, new = flags ? data_at(page) | flags : 0;
	bool same_page = (old & PTE_ADDR) == (new & PTE_ADDR);
	// From not present to present, and from less to more, nobody needs to be told.
	bool tell = (old & PTE_P) && !(same_page && (new & PTE_W));

	sequence_step(&slot->sequence);
	entry_write(w, entry, new);
	if (tell)
		flush_all(w);
	slot->page = page;
	slot->entry = new;
	slot->dirty = false;
	sequence_step(&slot->sequence);
}

static void use_slot(struct worker *w, struct slot *slot, volatile u64 *entry, u64 va)
{
	u64 ignored;

	if (!(slot->entry & PTE_P)) {
		expect_fault(w, va, false, 0);
		expect_fault(w, va, true, PF_W);
		return;
	}
	expect_page(w, va, slot->page);
	if (slot->entry & PTE_W) {
		// What another page table entry left in the TLB may fault once, and may hold a D that this one lacks.
		cpu_invlpg(va);
		expect_store(w, va, slot->page, STORE_SLOT);
		slot->dirty = true;
	} else {
		expect_fault(w, va, true, PF_P | PF_W);
	}
	if (pick(&w->row, 4) == 0) {
		__atomic_fetch_and(entry, ~PTE_A, __ATOMIC_SEQ_CST);
		flush_all(w);
		(void)touch_load(va, &ignored);
		if (!(entry_read(entry) & PTE_A))
			hammer_mismatch(w, "an access without A: address, entry", va, entry_read(entry));
	}
}

void shared_slot(struct worker *w)
{
	static const u64 rights[] = { 0, PTE_P, FLAGS, FLAGS };
	u32 n = pick(&w->row, SLOTS), page = pick(&w->row, DATA_PAGES);
	u64 flags = rights[pick(&w->row, ARRAY_LEN(rights))];
	bool keep_page = pick(&w->row, 4) == 0;
	struct slot *slot = &slots[n];
	volatile u64 *entry = map_entry(w, REGION_SLOTS, n);

	lock_take(w, &slot->lock);
	check_slot(w, slot, entry);
	change_slot(w, slot, entry, keep_page ? slot->page : page, flags);
	use_slot(w, slot, entry, region_at(REGION_SLOTS, n));
	check_slot(w, slot, entry);
	lock_give(&slot->lock);
}

// ---- the grove ----------------------------------------------------------------------------------
static bool grove_is_there(void)
{
	return sequence_read(&grove.sequence) > 1;
}

void shared_grove_read(struct worker *w)
{
	u32 n = pick(&w->row, GROVE_PAGES);

	for (u32 i = 0; i < READS && grove_is_there(); i++)
		read_any(w, region_at(REGION_GROVE, n), &grove.sequence, &grove.page[n], NULL);
}

static void plant(struct worker *w, u64 *table)
{
	for (u32 i = 0; i < ENTRIES; i++)
		table[i] = 0;
	for (u32 n = 0; n < GROVE_PAGES; n++)
		table[n] = data_at(mix(w->row + n) % DATA_PAGES) | FLAGS;
}

static void replace_grove(struct worker *w, u64 *new)
{
	if (pick(&w->row, 2)) {
		entry_write(w, map_region_entry(w, REGION_GROVE), 0);
		flush_all(w);
		entry_write(w, map_region_entry(w, REGION_GROVE), (u64)new | FLAGS);
	} else {
		entry_write(w, map_region_entry(w, REGION_GROVE), (u64)new | FLAGS);
		flush_all(w);
	}
}

void shared_grove(struct worker *w)
{
	u64 *old, *new;
	u32 n = pick(&w->row, GROVE_PAGES);

	lock_take(w, &grove.lock);
	old = grove.table[grove.turn & 1];
	new = grove.table[~grove.turn & 1];
	grove.turn++;
	scrap_check(w, new);
	plant(w, new);
	sequence_step(&grove.sequence);
	replace_grove(w, new);
	for (u32 i = 0; i < GROVE_PAGES; i++)
		grove.page[i] = (u32)((new[i] & PTE_ADDR) - DATA_AT) >> FRAME_SHIFT;
	sequence_step(&grove.sequence);
	scrap_fill(old);
	expect_page(w, region_at(REGION_GROVE, n), grove.page[n]);
	expect_store(w, region_at(REGION_GROVE, n), grove.page[n], STORE_GROVE);
	expect_bits(w, map_entry(w, REGION_GROVE, n), PTE_A | PTE_D);
	expect_fault(w, region_at(REGION_GROVE, GROVE_PAGES + n), false, 0);
	scrap_check(w, old);
	lock_give(&grove.lock);
}
