// SPDX-License-Identifier: GPL-2.0-or-later
// The audit of the p2m: a map with everything in it is sound; each rule names what is broken by hand.
// link: hv/test/p2m_map.c
#include "test.h"

#include "../mem/heap.h"
#include "../p2m/table.h"
#include "../port/host/host.h"
#include "p2m_map.h"

#define PAGE_GFN (64 * LARGE_FRAMES + 3)  // P2M_RAM_RW
#define RO_GFN (PAGE_GFN + 1)             // P2M_RAM_RO
#define FOREIGN_GFN (PAGE_GFN + 2)        // P2M_FOREIGN
#define LARGE_GFN (66 * LARGE_FRAMES)     // P2M_RAM_LOGDIRTY, large
#define DEVICE_GFN (70 * LARGE_FRAMES)    // identity, one large entry and one page
#define FAR_GFN (GFNS - LEVEL_SPAN(2))    // identity, one entry of level 2

static mfn_t page, ro, foreign, chunk, pool;

static void build(void)
{
	map_start();
	chunk = map_chunk(OWNER);
	page = map_frame(OWNER);
	ro = map_frame(OWNER);
	foreign = map_frame(OTHER_OWNER);
	pool = map_frame(0);
	CHECK(map_feed(3 * P2M_LEVELS + 4));
	p2m_set(&map, gfn(PAGE_GFN), page);
	p2m_set_range(&map, gfn(RO_GFN), 0, ro, P2M_RAM_RO);
	p2m_set_range(&map, gfn(FOREIGN_GFN), 0, foreign, P2M_FOREIGN);
	p2m_set_range(&map, gfn(LARGE_GFN), P2M_LARGE_ORDER, chunk, P2M_RAM_LOGDIRTY);
	CHECK_EQ(p2m_identity(&map, gfn(DEVICE_GFN), gfn(DEVICE_GFN + LARGE_FRAMES + 1), true), HV_OK);
	CHECK_EQ(p2m_identity(&map, gfn(FAR_GFN), gfn(GFNS), true), HV_OK);
	CHECK_STR(map_problem(), NULL);
}

// The entry at which the way to g ends, or with `level` the one of that level above it, as host memory.
static u64 *entry(u64 g)
{
	struct p2m_place p = p2m_find(&map, g);

	return host_frame(p.table) + p2m_index(g, p.level);
}

static u64 *entry_above(u64 g, u32 level)
{
	mfn_t table = map.root;

	for (u32 k = P2M_TOP; k > level; k--)
		table = p2m_entry_mfn(host_frame(table)[p2m_index(g, k)]);
	return host_frame(table) + p2m_index(g, level);
}

static u64 spare_page(void) { return mfn_mpa(mfn(map.spare.head)).a; }
static void rename_to(u64 g, mfn_t m) { *entry(g) = (*entry(g) & ~PTE_ADDR) | mfn_mpa(m).a; }
static void retype(u64 g, u32 type) { *entry(g) = (*entry(g) & ~(P2M_TYPE_MASK << P2M_TYPE_SHIFT)) | (u64)type << P2M_TYPE_SHIFT; }

// One break each. Those that touch an entry of level 1 forget the shortcuts, which would be the first to differ.
static void spare_owned(void) { page_of(mfn(map.spare.tail))->owner = OTHER_OWNER; }
static void table_counted(void) { page_of(mfn(map.tables.tail))->count_info++; }
static void root_of_pool(void) { page_of(map.root)->owner = 0; }
static void maps_pool(void) { rename_to(PAGE_GFN, pool); }
static void maps_others(void) { rename_to(PAGE_GFN, foreign); }
static void maps_nothing(void) { rename_to(PAGE_GFN, mfn(3)); }
static void foreign_own(void) { rename_to(FOREIGN_GFN, ro); }
static void foreign_pool(void) { rename_to(FOREIGN_GFN, pool); }
static void foreign_nothing(void) { rename_to(FOREIGN_GFN, mfn(3)); }
static void ram_as_foreign(void) { retype(PAGE_GFN, P2M_FOREIGN); }
static void foreign_as_ram(void) { retype(FOREIGN_GFN, P2M_RAM_RW); }
static void ram_as_device(void) { retype(PAGE_GFN, P2M_MMIO_DIRECT); }
static void device_as_ram(void) { retype(DEVICE_GFN + LARGE_FRAMES, P2M_RAM_RW); }
static void device_shifted(void) { rename_to(DEVICE_GFN + LARGE_FRAMES, mfn(DEVICE_GFN + LARGE_FRAMES + 1)); }
static void device_is_memory(void)
{
	p2m_entry_write(p2m_table_for(&map, HOST_FIRST_MFN, 0), p2m_index(HOST_FIRST_MFN, 0),
			p2m_entry_make(mfn(HOST_FIRST_MFN), P2M_MMIO_DIRECT, 0));
}
static void m2p_wrong(void) { page_of(page)->back++; }
static void m2p_lost(void) { page_of(page)->back = BACK_NONE; }
static void m2p_in_large(void) { page_of(mfn(chunk.n + LARGE_FRAMES - 1))->back = BACK_NONE; }
static void m2p_of_nothing(void)
{
	mfn_t m = map_frame(OWNER);

	page_of(m)->back = PAGE_GFN + 3;
}
static void m2p_alias(void)
{
	mfn_t m = map_frame(OWNER);

	page_of(m)->back = PAGE_GFN;
}
static void m2p_outside(void)
{
	mfn_t m = map_frame(OWNER);

	page_of(m)->back = UINT32_MAX - 1;
}
static void m2p_of_table(void) { page_of(mfn(map.tables.tail))->back = PAGE_GFN; }
static void two_frames(void) { rename_to(PAGE_GFN, ro); }
static void maps_table(void) { rename_to(PAGE_GFN, map.root); }
static void count_up(void) { map.mapped++; }
static void count_large(void) { map.mapped -= LARGE_FRAMES; }
static void highest_low(void) { map.max_mapped = FAR_GFN + LEVEL_SPAN(2) - 2; }
static void highest_high(void) { map.max_mapped = GFNS; }
static void no_type(void) { retype(PAGE_GFN, P2M_HOLE); }
static void odd_type(void) { retype(PAGE_GFN, P2M_TYPE_COUNT); }
static void not_present(void) { *entry(PAGE_GFN) &= ~PTE_P; }
static void strange_bit(void) { *entry(PAGE_GFN) |= PTE_NX; }
static void large_page(void) { *entry(PAGE_GFN) |= P2M_PTE_LARGE; }
static void ram_of_level_2(void) { retype(FAR_GFN, P2M_RAM_RW); }
static void large_crooked(void) { rename_to(LARGE_GFN, mfn(chunk.n + 1)); }
static void large_shifted(void) { rename_to(LARGE_GFN, mfn(chunk.n + LARGE_FRAMES)); }
static void table_strange(void) { *entry_above(PAGE_GFN, P2M_TOP) |= PTE_W; }
static void table_outside(void) { *entry_above(PAGE_GFN, 1) = mfn_mpa(mfn(3)).a | PTE_P; }
static void table_twice(void) { *entry_above(PAGE_GFN + LARGE_FRAMES, 1) = *entry_above(PAGE_GFN, 1); }
static void table_last(void) { *entry_above(FAR_GFN, 2) = *entry_above(PAGE_GFN, 1); }
static void table_circle(void) { *entry_above(PAGE_GFN + LARGE_FRAMES, 1) = mfn_mpa(map.root).a | PTE_P; }
static void table_lost(void)
{
	*entry_above(PAGE_GFN, 1) = 0;
	memset(map.recent, 0, sizeof(map.recent));
}
static void table_empty(void)
{
	u64 *above = entry_above(PAGE_GFN + LARGE_FRAMES, 1);

	*above = spare_page() | PTE_P;
	memset(host_frame(mfn(map.spare.head)), 0, FRAME_BYTES);
	page_list_add_tail(&map.tables, page_list_pop(&map.spare));
}
static void shortcut_stale(void) { p2m_table_free(&map, p2m_find(&map, PAGE_GFN).table); }
static void shortcut_of_hole(void)
{
	map.recent[p2m_recent_slot(5)].region = 5;
	map.recent[p2m_recent_slot(5)].entry = *entry_above(PAGE_GFN, 1);
}
static void shortcut_misplaced(void)
{
	u32 region = p2m_region(PAGE_GFN), slot = p2m_recent_slot(region);

	map.recent[slot ^ 1] = map.recent[slot];
}
static void shortcut_outside(void)
{
	u32 region = UINT32_MAX;

	map.recent[p2m_recent_slot(region)].region = region;
	map.recent[p2m_recent_slot(region)].entry = 1;
}
static void tables_loose(void) { page_of(mfn(map.tables.tail))->list.prev = 9; }
static void spare_loose(void) { page_of(mfn(map.spare.tail))->list.prev = 9; }
static void spare_length(void) { map.spare.length++; }

static const struct {
	const char *rule;
	void (*breaks)(void);
} rows[] = {
	{ "E1.4 p2m page", spare_owned },
	{ "E1.4 p2m page", table_counted },
	{ "E1.4 p2m page", root_of_pool },
	{ "E1.5 p2m maps", maps_pool },
	{ "E1.5 p2m maps", maps_others },
	{ "E1.5 p2m maps", maps_nothing },
	{ "E1.5 p2m maps", foreign_own },
	{ "E1.5 p2m maps", foreign_pool },
	{ "E1.5 p2m maps", foreign_nothing },
	{ "E1.5 p2m maps", ram_as_foreign },
	{ "E1.5 p2m maps", foreign_as_ram },
	{ "E1.5 p2m has", ram_as_device },
	{ "E1.5 p2m maps", device_as_ram },
	{ "E1.5 p2m has", device_shifted },
	{ "E1.5 p2m has", device_is_memory },
	{ "E1.56 m2p of", m2p_wrong },
	{ "E1.56 m2p of", m2p_lost },
	{ "E1.56 m2p of", m2p_in_large },
	{ "E1.56 p2m of", m2p_of_nothing },
	{ "E1.56 p2m of", m2p_alias },
	{ "E1.56 p2m of", m2p_outside },
	{ "E1.56 m2p of p2m page", m2p_of_table },
	{ "E1.56 m2p of", two_frames },
	{ "E1.56 m2p of", maps_table },
	{ "E1.56 p2m counts", count_up },
	{ "E1.56 p2m counts", count_large },
	{ "E1.56 p2m maps", highest_low },
	{ "E1.56 p2m: 0x", highest_high },
	{ "E1.56 p2m entry", no_type },
	{ "E1.56 p2m entry", odd_type },
	{ "E1.56 p2m entry", not_present },
	{ "E1.56 p2m entry", strange_bit },
	{ "E1.56 p2m entry", large_page },
	{ "E1.56 p2m entry", ram_of_level_2 },
	{ "E1.56 p2m maps", large_crooked },
	{ "E1.5", large_shifted },
	{ "E1.56 p2m entry", table_strange },
	{ "E1.56 p2m has a table", table_outside },
	{ "E1.56 m2p of", table_twice }, // found at another gfn
	{ "E1.56 p2m reaches more", table_last },
	{ "E1.56", table_circle },
	{ "E1.56 p2m: its", table_lost },
	{ "E1.56 p2m table", table_empty },
	{ "E1.56 p2m", shortcut_stale },
	{ "E1.56 p2m shortcut", shortcut_of_hole },
	{ "E1.56 p2m shortcut", shortcut_misplaced },
	{ "E1.56 p2m shortcut", shortcut_outside },
	{ "E1.56 p2m tables", tables_loose },
	{ "E1.56 p2m spare pages", spare_loose },
	{ "E1.56 p2m spare pages", spare_length },
};

TEST(every_rule_has_a_canary)
{
	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		build();
		rows[i].breaks();
		const char *bad = p2m_check(&map);

		if (!CHECK(bad && strncmp(bad, rows[i].rule, strlen(rows[i].rule)) == 0))
			printf("row %u: %s, expected %s\n", i, bad ? bad : "nothing", rows[i].rule);
		CHECK_EQ(host_maps_outstanding(), 0);
	}
}

// As many tables are reached as there are, but one of them twice instead of another: foreign frames alone can do that unseen,
// they have no m2p.
TEST(a_table_reached_twice_is_seen_although_the_number_is_right)
{
	build();
	p2m_set_range(&map, gfn(LARGE_GFN - 1), 0, foreign, P2M_FOREIGN); // a table of its own
	page_list_add_tail(&map.tables, page_list_pop(&map.spare));
	CHECK(p2m_check(&map));
	*entry_above(LARGE_GFN + LARGE_FRAMES, 1) = *entry_above(LARGE_GFN - 1, 1);
	const char *bad = p2m_check(&map);

	CHECK(bad && strncmp(bad, "E1.56 p2m: its", 14) == 0);
}

TEST(an_audit_of_a_map_without_pages)
{
	map_start();
	CHECK_STR(p2m_check(&map), NULL);
	map.mapped = 1;
	CHECK(p2m_check(&map));
}
