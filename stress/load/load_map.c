// SPDX-License-Identifier: GPL-2.0-or-later
// The page tables: all RAM one to one in 4 KiB pages, and the window.
//
// root [0] -> l3 [0] -> l2 [n] -> tables of 4 KiB pages
//      [1] -> window l3 [0] -> window l2 [0] -> one of two tables
//
// The window's two tables take turns. The one that is not linked is data: it holds a pattern, and whoever still takes it
// for a table, sets an A bit in it, say, is found out at the next turn.
#include "load.h"

#define ENTRIES 512u
#define FLAGS (PTE_P | PTE_W)

static u64 next_table = TABLES_AT;
static u64 *window_l2, *window_table[2];
static u32 turn;

static u64 *new_table(void)
{
	u64 *table = (u64 *)next_table;

	if (next_table == AREA_AT)
		guest_panic("no room for page tables");
	next_table += FRAME_BYTES;
	for (u32 i = 0; i < ENTRIES; i++)
		table[i] = 0;
	return table;
}

static u64 *new_below(u64 *entry)
{
	u64 *table = new_table();

	*entry = (u64)table | FLAGS;
	return table;
}

static u64 pattern(u32 table, u32 i)
{
	return mix((u64)turn << 32 ^ table << 16 ^ i);
}

static void fill_pattern(u32 n)
{
	for (u32 i = 0; i < ENTRIES; i++)
		window_table[n][i] = pattern(n, i);
}

void map_start(void)
{
	u64 *root = new_table(), *l2 = new_below(new_below(root)), *table = NULL;

	for (u64 at = 0; at < (u64)config.ram_mib << 20; at += FRAME_BYTES) {
		u32 index = (u32)(at >> FRAME_SHIFT);

		if (index % ENTRIES == 0)
			table = new_below(&l2[index / ENTRIES]);
		table[index % ENTRIES] = at | FLAGS;
	}
	window_l2 = new_below(new_below(&root[1]));
	window_table[0] = new_below(window_l2);
	window_table[1] = new_table();
	fill_pattern(1);
	cpu_set_cr3((u64)root);
}

volatile u64 *map_entry(u32 page)
{
	u32 index = (AREA_AT >> FRAME_SHIFT) + page;

	// The tables of the area follow each other, behind root, l3, l2.
	return (u64 *)(u64)(TABLES_AT + 3 * FRAME_BYTES) + index;
}

volatile u64 *map_window_entry(u32 slot)
{
	return &window_table[turn & 1][slot];
}

void map_window_swap(void)
{
	u32 old = turn & 1, new = old ^ 1;

	for (u32 i = 0; i < ENTRIES; i++)
		if (window_table[new][i] != pattern(new, i))
			load_mismatch("a former table has changed: entry, value", i, window_table[new][i]);
	*(volatile u64 *)window_l2 = 0;
	cpu_set_cr3(cpu_cr3());
	turn++;
	fill_pattern(old);
	for (u32 i = 0; i < ENTRIES; i++)
		window_table[new][i] = 0;
	*(volatile u64 *)window_l2 = (u64)window_table[new] | FLAGS;
}
