// SPDX-License-Identifier: GPL-2.0-or-later
// The physmap against a flat array: set, clear, lookup, next, the way back, tables built from spare pages,
// bounds. D18: pages are checked before they are used.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define OWNER 1

static struct p2m map;

static void feed(void)
{
	mfn_t m;

	while (p2m_needs_pages(&map)) {
		if (!CHECK_EQ(heap_alloc(OWNER, &m), HV_OK))
			return;
		p2m_give_page(&map, m);
	}
}

static mfn_t ram(void)
{
	mfn_t m = MFN_NONE;

	CHECK_EQ(heap_alloc(OWNER, &m), HV_OK);
	return m;
}

static void start(void)
{
	host_reset(1);
	hv_start();
	p2m_start(&map, OWNER);
}

TEST(an_empty_map_is_all_holes)
{
	start();
	CHECK(mfn_is_none(p2m_lookup(&map, gfn(0))));
	CHECK(mfn_is_none(p2m_lookup(&map, gfn(1) )));
	CHECK_EQ(p2m_next(&map, gfn(0)).n, GFN_INVALID.n);
	CHECK(p2m_needs_pages(&map));
	feed();
	CHECK(!p2m_needs_pages(&map));
	CHECK_EQ(map.tables.length, 1);
	CHECK_EQ(map.spare.length, P2M_TABLES_MAX);
	CHECK(mfn_is_none(p2m_lookup(&map, gfn(0))));
	CHECK_STR(p2m_check(&map), NULL);
}

// gfns at every boundary of a level, and both ends of the range.
static const u64 places[] = { 0, 1, 511, 512, 513, 0x3ffff, 0x40000, 0x40001, 0x7ffffff, 0x8000000, 0xfffffff };

TEST(D18_every_place_maps_and_unmaps_with_tables_from_spare_pages)
{
	mfn_t m[ARRAY_LEN(places)];

	start();
	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		feed();
		m[i] = ram();
		u32 tables = map.tables.length;

		p2m_set(&map, gfn(places[i]), m[i]);
		CHECK(map.tables.length - tables <= P2M_TABLES_MAX);
		CHECK_STR(p2m_check(&map), NULL);
		for (u32 k = 0; k < ARRAY_LEN(places); k++)
			CHECK_EQ(p2m_lookup(&map, gfn(places[k])).n, k <= i ? m[k].n : 0);
		CHECK_EQ(p2m_gfn_of(m[i]).n, places[i]);
		CHECK_EQ(map.max_mapped, places[i]);
	}
	CHECK(mfn_is_none(p2m_lookup(&map, gfn(2))));
	CHECK(mfn_is_none(p2m_lookup(&map, gfn(0x10000000)))); // above 28 bits
	CHECK(mfn_is_none(p2m_lookup(&map, GFN_INVALID)));
	gfn_t g = gfn(0);

	for (u32 i = 0; i < ARRAY_LEN(places); i++, g = gfn(g.n + 1)) {
		g = p2m_next(&map, g);
		CHECK_EQ(g.n, places[i]);
	}
	CHECK_EQ(p2m_next(&map, g).n, GFN_INVALID.n);
	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		CHECK_EQ(p2m_clear(&map, gfn(places[i])).n, m[i].n);
		CHECK(mfn_is_none(p2m_lookup(&map, gfn(places[i]))));
		CHECK_EQ(p2m_gfn_of(m[i]).n, GFN_INVALID.n);
		CHECK_STR(p2m_check(&map), NULL);
	}
	CHECK_EQ(map.mapped, 0);
	CHECK_EQ(map.max_mapped, 0xfffffff); // a high-water mark: never lower than any mapped gfn
}

TEST(next_finds_every_frame_of_a_dense_map)
{
	start();
	feed();
	for (u32 i = 0; i < 700; i += 3) {
		feed();
		p2m_set(&map, gfn(0x200 + i), ram());
	}
	u32 found = 0;

	for (gfn_t g = p2m_next(&map, gfn(0)); !gfn_eq(g, GFN_INVALID); g = p2m_next(&map, gfn(g.n + 1)))
		CHECK_EQ(g.n, 0x200 + 3 * (u64)found++);
	CHECK_EQ(found, (700 + 2) / 3);
	CHECK_EQ(map.mapped, found);
}

TEST(a_page_that_is_handed_over_is_cleared)
{
	start();
	mfn_t m = ram();

	host_frame(m)[3] = ~UINT64_C(0);
	p2m_give_page(&map, m);
	CHECK_EQ(host_frame(m)[3], 0);
	CHECK_EQ(map.root.n, m.n);
}

TEST(bounds_of_guest_frames)
{
	CHECK(gfn_in_range(gfn(0)));
	CHECK(gfn_in_range(gfn(0xfffffff)));
	CHECK(!gfn_in_range(gfn(0x10000000)));
	CHECK(!gfn_in_range(GFN_INVALID));
}

static void set_twice(void)
{
	p2m_set(&map, gfn(5), ram());
	p2m_set(&map, gfn(5), ram());
}

static void set_foreign(void)
{
	mfn_t m = MFN_NONE;

	if (heap_alloc(OWNER + 1, &m) == HV_OK)
		p2m_set(&map, gfn(6), m);
}

static void set_alias(void)
{
	mfn_t m = ram();

	p2m_set(&map, gfn(7), m);
	p2m_set(&map, gfn(8), m);
}

static void clear_hole(void)
{
	p2m_set(&map, gfn(7), ram());
	p2m_clear(&map, gfn(6));
}

TEST(callers_that_break_the_contract_are_stopped)
{
	void (*wrong[])(void) = { set_twice, set_foreign, set_alias, clear_hole };

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		start();
		feed();
		CHECK(fixture_fatal(wrong[i]) != NULL);
	}
}
