// SPDX-License-Identifier: GPL-2.0-or-later
// Page-table churn: slots of the window get other pages, rights or nothing, and what the slot then does is checked:
// contents, faults and their error codes, A and D. The guest flushes exactly where the architecture asks for it.
#include "load.h"

enum { KIND_NONE, KIND_READ, KIND_WRITE, KIND_WRITE_AGAIN, KIND_COUNT };

static void expect_fault(u32 got, u64 error, u32 slot)
{
	if (got != (TOUCH_FAULT | (u32)error))
		load_mismatch("wrong outcome of an access: slot, outcome", slot, got);
}

static void expect_bits(u32 slot, u64 bits)
{
	u64 have = *map_window_entry(slot);

	if ((have & (PTE_A | PTE_D)) != bits)
		load_mismatch("wrong A and D: slot, entry", slot, have);
}

static u64 expect_first_word(u32 slot, u32 page)
{
	u64 value = 0;
	u32 got = touch_load(window_at(slot), &value);

	if (got)
		load_mismatch("a load faults: slot, outcome", slot, got);
	if (value != set_first_word(page))
		load_mismatch("a slot shows another page: slot, value", slot, value);
	return value;
}

static void set_slot(u32 slot, u64 value)
{
	volatile u64 *entry = map_window_entry(slot);
	bool flush = *entry & PTE_P; // what is not present is not in a TLB

	*entry = value;
	if (flush)
		cpu_invlpg(window_at(slot));
}

static u64 change_slot(u32 slot, u32 page, u32 kind)
{
	u64 at = window_at(slot), value, ignored;

	if (kind == KIND_NONE) {
		set_slot(slot, 0);
		expect_fault(touch_load(at, &ignored), 0, slot);
		expect_fault(touch_store(at, 0), PF_W, slot);
		return slot;
	}
	set_slot(slot, area_at(page) | PTE_P | (kind == KIND_READ ? 0 : PTE_W));
	value = expect_first_word(slot, page);
	expect_bits(slot, PTE_A);
	if (kind == KIND_READ) {
		expect_fault(touch_store(at, 0), PF_P | PF_W, slot);
		expect_bits(slot, PTE_A);
		return value;
	}
	set_write(page, at);
	expect_bits(slot, PTE_A | PTE_D);
	if (kind == KIND_WRITE_AGAIN) {
		*map_window_entry(slot) &= ~(PTE_A | PTE_D);
		cpu_invlpg(at);
		set_write(page, at);
		expect_bits(slot, PTE_A | PTE_D);
	}
	return fold(value, set_first_word(page));
}

u64 window_churn(u64 *row)
{
	u64 sum = 0, ignored;
	u32 slot = 0;

	for (u32 n = 0; n < config.churn; n++) {
		slot = pick(row, WINDOW_SLOTS);
		sum = fold(sum, change_slot(slot, pick(row, config.set), pick(row, KIND_COUNT)));
	}
	if (load_round % 4 == 3) {
		map_window_swap();
		expect_fault(touch_load(window_at(slot), &ignored), 0, slot);
	}
	return sum;
}
