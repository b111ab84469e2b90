// SPDX-License-Identifier: GPL-2.0-or-later
// The page tables.
//
// root 0, root 1: [0] -> l3 [0] -> l2 [n] -> large pages: physical = virtual
//                 [1] -> window l3 [0] -> window l2 [region] -> tables of the regions, made by their owners
//                 [510] -> this root itself
#include "hammer.h"

#define FLAGS (PTE_P | PTE_W)
#define DIRECT_BYTES 0x1000000u
#define SELF 510u
#define SELF_L1 UINT64_C(0xffffff0000000000) // there the entries of first-level tables are an array
#define SELF_L2 (SELF_L1 + ((u64)SELF << 30)) // and there those of second-level tables
#define LINEAR (BIT(48) - 1)

static u64 next_table = TABLES_AT;
static u64 *roots[2], *window_l2, *direct_l3;

u64 *map_new_table(void)
{
	u64 *table = (u64 *)next_table;

	if (next_table == TABLES_END)
		guest_panic("no room for page tables");
	next_table += FRAME_BYTES;
	for (u32 i = 0; i < ENTRIES; i++)
		table[i] = 0;
	return table;
}

static u64 *new_below(u64 *entry)
{
	u64 *table = map_new_table();

	*entry = (u64)table | FLAGS;
	return table;
}

void map_start(void)
{
	u64 *l2;

	roots[0] = map_new_table();
	roots[1] = map_new_table();
	direct_l3 = new_below(&roots[0][0]);
	l2 = new_below(direct_l3);
	for (u64 at = 0; at < DIRECT_BYTES; at += BIT(21))
		l2[at >> 21] = at | FLAGS | PTE_PS;
	window_l2 = new_below(new_below(&roots[0][1]));
	for (u32 n = 0; n < 2; n++) {
		roots[n][0] = roots[0][0];
		roots[n][1] = roots[0][1];
		roots[n][SELF] = (u64)roots[n] | FLAGS;
	}
	cpu_set_cr3((u64)roots[0]);
}

void map_device(u64 at)
{
	new_below(&direct_l3[at >> 30])[at >> 21 & (ENTRIES - 1)] = (at & ~(BIT(21) - 1)) | FLAGS | PTE_PCD | PTE_PS;
}

u64 map_root(u32 n)
{
	return (u64)roots[n];
}

volatile u64 *map_region_entry(struct worker *w, u32 region)
{
	if (pick(&w->row, 2))
		return &window_l2[region];
	return (u64 *)(SELF_L2 + ((region_at(region, 0) & LINEAR) >> 21) * sizeof(u64));
}

volatile u64 *map_entry(struct worker *w, u32 region, u32 index)
{
	if (pick(&w->row, 2))
		return (u64 *)(window_l2[region] & PTE_ADDR) + index;
	return (u64 *)(SELF_L1 + ((region_at(region, index) & LINEAR) >> FRAME_SHIFT) * sizeof(u64));
}

void entry_write(struct worker *w, volatile u64 *entry, u64 value)
{
	u64 old;

	switch (pick(&w->row, 4)) {
	case 0:
		(void)__atomic_exchange_n(entry, value, __ATOMIC_SEQ_CST);
		break;
	case 1:
		old = *entry;
		while (!cpu_cas_word((u64)entry, &old, value))
			cpu_pause(); // A or D were set in between
		break;
	case 2: // first not present, as a careful kernel does
		*(volatile u32 *)entry = 0;
		((volatile u32 *)entry)[1] = (u32)(value >> 32);
		*(volatile u32 *)entry = (u32)value;
		break;
	default:
		*entry = value;
	}
}
