// SPDX-License-Identifier: GPL-2.0-or-later
// The physmap: set, clear, types, large entries, lookup, next, the way back, pages, bounds; and long random runs against a
// flat array, every gfn of which is compared after every change. D18: pages are checked before they are used.
// link: hv/test/fixture.c
// link: hv/test/p2m_map.c
#include "test.h"

#include "fixture.h"
#include "p2m_map.h"

#define SOUND() CHECK_STR(map_problem(), NULL)

static mfn_t ram(void)
{
	mfn_t m = map_frame(OWNER);

	CHECK(!mfn_is_none(m));
	return m;
}

static void is(u64 g, u32 type, u64 frame, u32 order)
{
	struct p2m_entry entry = p2m_get(&map, gfn(g));

	CHECK_EQ(entry.type, type);
	CHECK_EQ(entry.frame.n, frame);
	CHECK_EQ(entry.order, order);
	CHECK_EQ(p2m_lookup(&map, gfn(g)).n, p2m_is_ram(type) ? frame : 0);
}

// ---- one page at a time -------------------------------------------------------------------------------------

TEST(an_empty_map_is_all_holes)
{
	map_start();
	for (u32 fed = 0; fed < 2; fed++) {
		is(0, P2M_HOLE, 0, 0);
		is(1, P2M_HOLE, 0, 0);
		is(GFNS - 1, P2M_HOLE, 0, 0);
		is(GFNS, P2M_HOLE, 0, 0);
		is(GFN_INVALID.n, P2M_HOLE, 0, 0);
		CHECK_EQ(map_next(gfn(0)).n, GFN_INVALID.n);
		CHECK(!p2m_coalesce(&map, gfn(0)));
		CHECK_EQ(p2m_needs_pages(&map), !fed);
		CHECK(map_feed_change());
		SOUND();
	}
	CHECK_EQ(map.tables.length, 1);
	CHECK_EQ(map.spare.length, P2M_TABLES_MAX);
}

TEST(which_types_are_ram)
{
	for (u32 type = 0; type < P2M_TYPE_COUNT; type++)
		CHECK_EQ(p2m_is_ram(type), type == P2M_RAM_RW || type == P2M_RAM_RO || type == P2M_RAM_LOGDIRTY);
}

// gfns at every boundary of a level in both geometries, and both ends of the range.
static const u64 places[] = { 0, 1, 15, 16, 17, 255, 256, 511, 512, 513, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x40001,
			      0x7ffffff, 0x8000000, 0xfffffff };

TEST(D18_every_place_maps_and_unmaps_with_tables_from_spare_pages)
{
	mfn_t m[ARRAY_LEN(places)];

	map_start();
	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		CHECK(map_feed_change());
		m[i] = ram();
		u32 tables = map.tables.length;

		p2m_set(&map, gfn(places[i]), m[i]);
		CHECK(map.tables.length - tables < P2M_LEVELS);
		SOUND();
		for (u32 k = 0; k < ARRAY_LEN(places); k++)
			is(places[k], k <= i ? P2M_RAM_RW : P2M_HOLE, k <= i ? m[k].n : 0, 0);
		CHECK_EQ(p2m_gfn_of(m[i]).n, places[i]);
		CHECK_EQ(map.max_mapped, places[i]);
	}
	is(2, P2M_HOLE, 0, 0);
	is(GFNS, P2M_HOLE, 0, 0);
	is(GFN_INVALID.n, P2M_HOLE, 0, 0);
	gfn_t g = gfn(0);

	for (u32 i = 0; i < ARRAY_LEN(places); i++, g = gfn(g.n + 1)) {
		g = map_next(g);
		CHECK_EQ(g.n, places[i]);
	}
	CHECK_EQ(map_next(g).n, GFN_INVALID.n);
	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		CHECK_EQ(p2m_clear(&map, gfn(places[i])).n, m[i].n);
		is(places[i], P2M_HOLE, 0, 0);
		CHECK_EQ(p2m_gfn_of(m[i]).n, GFN_INVALID.n);
		SOUND();
	}
	CHECK_EQ(map.mapped, 0);
	CHECK_EQ(map.tables.length, 1);             // those that were left empty are spare again
	CHECK_EQ(map.max_mapped, 0xfffffff);        // a high-water mark: never lower than any gfn in use
}

TEST(next_finds_every_frame_of_a_dense_map)
{
	map_start();
	for (u32 i = 0; i < 600; i += 3) {
		CHECK(map_feed_change());
		p2m_set(&map, gfn(0x200 + i), ram());
	}
	CHECK(map_feed(2 * P2M_LEVELS));
	CHECK_EQ(p2m_identity(&map, gfn(0x100), gfn(0x200), true), HV_OK); // not RAM: map_next() has nothing to do with it
	u32 found = 0;

	for (gfn_t g = map_next(gfn(0)); !gfn_eq(g, GFN_INVALID); g = map_next(gfn(g.n + 1)))
		CHECK_EQ(g.n, 0x200 + 3 * (u64)found++);
	CHECK_EQ(found, 600 / 3);
	CHECK_EQ(map.mapped, found);
	CHECK_EQ(map_used(), found + 0x100);
}

TEST(a_page_that_is_handed_over_is_cleared)
{
	map_start();
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

TEST(types_change_in_place)
{
	map_start();
	CHECK(map_feed_change());
	mfn_t m = ram(), foreign = map_frame(OTHER_OWNER);
	u32 tables;

	p2m_set(&map, gfn(0x100), m);
	p2m_set_range(&map, gfn(0x101), 0, foreign, P2M_FOREIGN);
	tables = map.tables.length;
	for (u32 type = P2M_RAM_RW; type <= P2M_RAM_LOGDIRTY; type++)
		for (u32 then = P2M_RAM_RW; then <= P2M_RAM_LOGDIRTY; then++) {
			p2m_set_type(&map, gfn(0x100), type);
			p2m_set_type(&map, gfn(0x100), then);
			is(0x100, then, m.n, 0);
			is(0x101, P2M_FOREIGN, foreign.n, 0);
			SOUND();
		}
	CHECK_EQ(p2m_gfn_of(m).n, 0x100);
	CHECK_EQ(p2m_gfn_of(foreign).n, GFN_INVALID.n);
	CHECK_EQ(map.mapped, 1);
	CHECK_EQ(map.tables.length, tables);
	CHECK_EQ(p2m_clear(&map, gfn(0x101)).n, foreign.n);
	CHECK_EQ(p2m_gfn_of(foreign).n, GFN_INVALID.n);
	SOUND();
}

// ---- large entries ------------------------------------------------------------------------------------------

#define RUN (64 * LARGE_FRAMES) // where the tests have one, in the middle of a table of level 1

static mfn_t run_of(enum p2m_type type)
{
	map_start();
	mfn_t m = map_chunk(OWNER);

	CHECK(!mfn_is_none(m) && !(m.n & (LARGE_FRAMES - 1)));
	CHECK(map_feed_change());
	p2m_set_range(&map, gfn(RUN), P2M_LARGE_ORDER, m, type);
	return m;
}

TEST(a_large_entry_maps_all_of_its_frames)
{
	mfn_t m = run_of(P2M_RAM_RO);

	CHECK_EQ(map.tables.length, P2M_LEVELS - 1);
	CHECK_EQ(map.mapped, LARGE_FRAMES);
	CHECK_EQ(map.max_mapped, RUN + LARGE_FRAMES - 1);
	for (u64 i = 0; i < LARGE_FRAMES; i++) {
		is(RUN + i, P2M_RAM_RO, m.n + i, P2M_LARGE_ORDER);
		CHECK_EQ(p2m_gfn_of(mfn(m.n + i)).n, RUN + i);
		CHECK_EQ(map_next(gfn(RUN + i)).n, RUN + i);
	}
	is(RUN - 1, P2M_HOLE, 0, 0);
	is(RUN + LARGE_FRAMES, P2M_HOLE, 0, 0);
	CHECK(!p2m_coalesce(&map, gfn(RUN))); // it is one
	SOUND();
	struct p2m_entry was = p2m_clear_entry(&map, gfn(RUN + LARGE_FRAMES / 2));

	CHECK_EQ(was.frame.n, m.n);
	CHECK_EQ(was.type, P2M_RAM_RO);
	CHECK_EQ(was.order, P2M_LARGE_ORDER);
	for (u64 i = 0; i < LARGE_FRAMES; i++) {
		is(RUN + i, P2M_HOLE, 0, 0);
		CHECK_EQ(p2m_gfn_of(mfn(m.n + i)).n, GFN_INVALID.n);
	}
	CHECK_EQ(map.mapped, 0);
	CHECK_EQ(map.tables.length, 1);
	SOUND();
}

// fuzz/bugs/B46.patch: what the other pages of a large entry map does not depend on which one is the reason to shatter it.
TEST(shattering_keeps_every_other_page)
{
	for (u64 at = 0; at < LARGE_FRAMES; at += at + 2 < LARGE_FRAMES && at > 2 ? LARGE_FRAMES / 8 - 1 : 1)
		for (u32 how = 0; how < 2; how++) {
			mfn_t m = run_of(P2M_RAM_LOGDIRTY);
			u32 spare = map.spare.length;

			if (how == 0)
				p2m_set_type(&map, gfn(RUN + at), P2M_RAM_RW);
			else
				CHECK_EQ(p2m_clear(&map, gfn(RUN + at)).n, m.n + at);
			CHECK_EQ(map.spare.length, spare - 1);
			for (u64 i = 0; i < LARGE_FRAMES; i++) {
				bool gone = i == at && how == 1;

				is(RUN + i, gone ? P2M_HOLE : i == at ? P2M_RAM_RW : P2M_RAM_LOGDIRTY, gone ? 0 : m.n + i, 0);
				CHECK_EQ(p2m_gfn_of(mfn(m.n + i)).n, gone ? GFN_INVALID.n : RUN + i);
			}
			CHECK_EQ(map.mapped, LARGE_FRAMES - how);
			SOUND();
			CHECK(!p2m_coalesce(&map, gfn(RUN)));
			if (how == 0)
				p2m_set_type(&map, gfn(RUN + at), P2M_RAM_LOGDIRTY);
			else
				p2m_set_range(&map, gfn(RUN + at), 0, mfn(m.n + at), P2M_RAM_LOGDIRTY);
			CHECK(p2m_coalesce(&map, gfn(RUN + at)));
			CHECK_EQ(map.spare.length, spare);
			is(RUN + at, P2M_RAM_LOGDIRTY, m.n + at, P2M_LARGE_ORDER);
			SOUND();
		}
}

TEST(the_type_that_a_large_entry_has_does_not_shatter_it)
{
	mfn_t m = run_of(P2M_RAM_RW);

	p2m_set_type(&map, gfn(RUN + 3), P2M_RAM_RW);
	is(RUN + 3, P2M_RAM_RW, m.n + 3, P2M_LARGE_ORDER);
	SOUND();
}

TEST(only_what_a_large_entry_can_say_is_coalesced)
{
	mfn_t m = run_of(P2M_RAM_RW), other = ram();

	p2m_clear(&map, gfn(RUN));
	CHECK(!p2m_coalesce(&map, gfn(RUN))); // a hole at the beginning
	p2m_set(&map, gfn(RUN), other);
	CHECK(!p2m_coalesce(&map, gfn(RUN))); // another frame
	p2m_clear(&map, gfn(RUN));
	p2m_set_range(&map, gfn(RUN), 0, m, P2M_RAM_RO);
	CHECK(!p2m_coalesce(&map, gfn(RUN))); // another type
	p2m_set_type(&map, gfn(RUN), P2M_RAM_RW);
	CHECK(!p2m_coalesce(&map, gfn(RUN - 1))); // holes
	CHECK(!p2m_coalesce(&map, gfn(GFNS)));
	mfn_t last = p2m_clear(&map, gfn(RUN + LARGE_FRAMES - 1));

	CHECK(!p2m_coalesce(&map, gfn(RUN))); // a hole at the end
	p2m_set(&map, gfn(RUN + LARGE_FRAMES - 1), last);
	SOUND();
	CHECK(p2m_coalesce(&map, gfn(RUN + 7)));
	SOUND();
}

TEST(frames_in_a_row_from_one_that_is_not_aligned_stay_pages)
{
	map_start();
	mfn_t m = map_chunk(OWNER), behind = ram();

	CHECK_EQ(behind.n, m.n + LARGE_FRAMES);
	CHECK(map_feed_change());
	for (u64 i = 0; i < LARGE_FRAMES; i++)
		p2m_set(&map, gfn(RUN + i), mfn(m.n + 1 + i));
	CHECK(!p2m_coalesce(&map, gfn(RUN)));
	SOUND();
}

// What p2m_needs_pages() promises, with large entries at every place and no page more.
TEST(D18_one_feeding_is_enough_for_a_swap_and_for_a_move)
{
	mfn_t m = run_of(P2M_RAM_RW), other = ram();

	p2m_set(&map, gfn(9), other);
	CHECK(map_feed_change());
	while (map.spare.length > P2M_TABLES_MAX) {
		page_list_pop(&map.spare);
		map_pages--;
	}
	CHECK_EQ(p2m_clear(&map, gfn(RUN + 1)).n, m.n + 1);
	p2m_set(&map, gfn(GFNS - 1), mfn(m.n + 1)); // nothing near it is mapped
	SOUND();
	CHECK_EQ(map.spare.length, 0);
	p2m_clear(&map, gfn(GFNS - 1));
	CHECK_EQ(map.spare.length, P2M_TABLES_MAX - 1);
	p2m_set(&map, gfn(RUN + 1), mfn(m.n + 1));
	CHECK(p2m_coalesce(&map, gfn(RUN)));
	p2m_clear(&map, gfn(RUN));
	p2m_clear(&map, gfn(9));
	p2m_set(&map, gfn(RUN), other);
	p2m_set(&map, gfn(9), m);
	SOUND();
}

// ---- against a flat array -------------------------------------------------------------------------------------

// Two regions on each side of a boundary of level 2.
#define WINDOW (4 * LARGE_FRAMES)
#define BASE (LEVEL_SPAN(2) * 3 - 2 * LARGE_FRAMES)
#define CHUNKS (P2M_LEVEL_BITS > 4 ? 1u : 6u)
#define SINGLES 40u
#define RUN_OPS (P2M_LEVEL_BITS > 4 ? 5000u : 20000u)

static struct { u8 type; u64 frame; } flat[WINDOW];
static u64 seed;
static mfn_t chunks[CHUNKS], singles[SINGLES], others[SINGLES];

static u32 draw(u64 below)
{
	return (u32)(map_random(&seed) % below);
}

// A place in the window, mostly near a boundary of regions; WINDOW at times when that is allowed.
static u64 draw_place(bool end)
{
	u64 at = draw(3) ? draw(5) * LARGE_FRAMES + draw(5) - 2 : draw(WINDOW);

	return at < WINDOW ? at : end ? WINDOW : draw(WINDOW);
}

static u64 flat_ram(void)
{
	u64 count = 0;

	for (u32 i = 0; i < WINDOW; i++)
		count += p2m_is_ram(flat[i].type);
	return count;
}

static bool flat_equal(void)
{
	u64 used = 0;
	bool good = true;

	for (u32 i = 0; i < WINDOW && good; i++) {
		struct p2m_entry e = p2m_get(&map, gfn(BASE + i));

		used += flat[i].type != P2M_HOLE;
		good = e.type == flat[i].type && e.frame.n == flat[i].frame &&
		       p2m_lookup(&map, gfn(BASE + i)).n == (p2m_is_ram(e.type) ? e.frame.n : 0);
		if (!good && CHECK_EQ(e.type, flat[i].type))
			CHECK_EQ(e.frame.n, flat[i].frame);
	}
	return good && CHECK_EQ(map_used(), used) && CHECK_EQ(map.mapped, flat_ram()) && SOUND();
}

static void flat_put(u64 at, u64 count, u32 type, u64 frame)
{
	for (u64 i = 0; i < count; i++) {
		flat[at + i].type = (u8)type;
		flat[at + i].frame = type == P2M_HOLE ? 0 : frame + i;
	}
}

static bool flat_holes(u64 at, u64 count)
{
	for (u64 i = 0; i < count; i++)
		if (flat[at + i].type != P2M_HOLE)
			return false;
	return true;
}

static bool chunk_is_free(mfn_t m)
{
	for (u64 i = 0; i < LARGE_FRAMES; i++)
		if (!gfn_eq(p2m_gfn_of(mfn(m.n + i)), GFN_INVALID))
			return false;
	return true;
}

static void random_set(void)
{
	u64 at = draw_place(false);
	mfn_t m = draw(4) ? singles[draw(SINGLES)] : mfn(chunks[draw(CHUNKS)].n + at % LARGE_FRAMES);
	u32 type = draw(8) ? P2M_RAM_RW + draw(3) : P2M_FOREIGN;

	if (type == P2M_FOREIGN)
		m = others[draw(SINGLES)];
	if (flat[at].type != P2M_HOLE || (p2m_is_ram(type) && !gfn_eq(p2m_gfn_of(m), GFN_INVALID)))
		return;
	p2m_set_range(&map, gfn(BASE + at), 0, m, type);
	flat_put(at, 1, type, m.n);
}

// All of a region: as a large entry, or page by page and then mostly coalesced.
static void random_set_large(void)
{
	u64 at = draw(4) * LARGE_FRAMES;
	mfn_t m = chunks[draw(CHUNKS)];
	u32 type = P2M_RAM_RW + draw(3);

	if (!flat_holes(at, LARGE_FRAMES) || !chunk_is_free(m))
		return;
	flat_put(at, LARGE_FRAMES, type, m.n);
	if (draw(2)) {
		p2m_set_range(&map, gfn(BASE + at), P2M_LARGE_ORDER, m, type);
		return;
	}
	for (u64 i = 0; i < LARGE_FRAMES; i++)
		p2m_set_range(&map, gfn(BASE + at + i), 0, mfn(m.n + i), type);
	if (draw(4))
		CHECK(p2m_coalesce(&map, gfn(BASE + at + draw(LARGE_FRAMES))));
}

static void random_clear(bool whole)
{
	u64 at = draw_place(false), count = 1;

	if (flat[at].type == P2M_HOLE)
		return;
	if (whole) {
		u32 order = p2m_get(&map, gfn(BASE + at)).order;
		struct p2m_entry was = p2m_clear_entry(&map, gfn(BASE + at));

		count = BIT(order);
		at &= ~(count - 1);
		CHECK_EQ(was.order, order);
		CHECK_EQ(was.frame.n, flat[at].frame);
		CHECK_EQ(was.type, flat[at].type);
	} else {
		CHECK_EQ(p2m_clear(&map, gfn(BASE + at)).n, flat[at].frame);
	}
	flat_put(at, count, P2M_HOLE, 0);
}

static void random_type(void)
{
	u64 at = draw_place(false);
	u32 type = P2M_RAM_RW + draw(3);

	if (!p2m_is_ram(flat[at].type))
		return;
	p2m_set_type(&map, gfn(BASE + at), type);
	flat[at].type = (u8)type;
}

static void random_coalesce(void)
{
	u64 at = draw(4) * LARGE_FRAMES;
	bool can = flat[at].type != P2M_HOLE && flat[at].frame % LARGE_FRAMES == 0 && !p2m_get(&map, gfn(BASE + at)).order;

	for (u64 i = 1; i < LARGE_FRAMES; i++)
		can = can && flat[at + i].type == flat[at].type && flat[at + i].frame == flat[at].frame + i;
	CHECK_EQ(p2m_coalesce(&map, gfn(BASE + at + draw(LARGE_FRAMES))), can);
}

static void random_identity(void)
{
	u64 first = draw_place(true), end = draw_place(true);
	enum hv_status want = first > end ? HV_EINVAL : HV_OK;
	bool on = draw(2);

	for (u64 i = first; i < end; i++)
		if (flat[i].type != P2M_HOLE && flat[i].type != P2M_MMIO_DIRECT)
			want = HV_EBUSY;
	CHECK(map_feed(p2m_identity_pages(&map, gfn(BASE + first), gfn(BASE + end))));
	CHECK_EQ(p2m_identity(&map, gfn(BASE + first), gfn(BASE + end), on), want);
	if (want == HV_OK)
		flat_put(first, end - first, on ? P2M_MMIO_DIRECT : P2M_HOLE, BASE + first);
}

static void random_op(void)
{
	switch (draw(16)) {
	case 0: case 1: case 2: random_set(); break;
	case 3: case 4: random_set_large(); break;
	case 5: case 6: random_clear(false); break;
	case 7: case 8: random_clear(true); break;
	case 9: case 10: random_type(); break;
	case 11: random_coalesce(); break;
	default: random_identity(); break;
	}
}

TEST(random_changes_against_a_flat_array)
{
	u32 spare_most = 0;

	map_start();
	seed = 88172645463325252u;
	memset(flat, 0, sizeof(flat));
	for (u32 i = 0; i < CHUNKS; i++)
		chunks[i] = map_chunk(OWNER);
	for (u32 i = 0; i < SINGLES; i++) {
		singles[i] = ram();
		others[i] = map_frame(OTHER_OWNER);
	}
	for (u32 i = 0; i < RUN_OPS; i++) {
		if (!CHECK(map_feed_change()))
			return;
		random_op();
		if (!flat_equal()) {
			printf("after change %u\n", i);
			return;
		}
		spare_most = map.spare.length > spare_most ? map.spare.length : spare_most;
	}
	CHECK(map_pages < 40); // what it needed once served it ever after
	CHECK(spare_most < map_pages);
	for (u32 i = 0; i < WINDOW; i++)
		if (flat[i].type != P2M_HOLE && p2m_get(&map, gfn(BASE + i)).type != P2M_HOLE)
			p2m_clear_entry(&map, gfn(BASE + i));
	CHECK_EQ(map.tables.length, 1);
	CHECK_EQ(map_used(), 0);
	SOUND();
}

// ---- callers that break the contract --------------------------------------------------------------------------

static void set_twice(void) { p2m_set(&map, gfn(5), ram()); p2m_set(&map, gfn(5), ram()); }
static void set_not_ours(void) { p2m_set(&map, gfn(6), map_frame(OTHER_OWNER)); }
static void set_alias(void)
{
	mfn_t m = ram();

	p2m_set(&map, gfn(7), m);
	p2m_set(&map, gfn(8), m);
}
static void set_outside(void) { p2m_set(&map, gfn(GFNS), ram()); }
static void set_a_hole(void) { p2m_set_range(&map, gfn(5), 0, ram(), P2M_HOLE); }
static void set_no_type(void) { p2m_set_range(&map, gfn(5), 0, ram(), P2M_TYPE_COUNT); }
static void set_own_as_foreign(void) { p2m_set_range(&map, gfn(5), 0, ram(), P2M_FOREIGN); }
static void set_free_as_foreign(void) { p2m_set_range(&map, gfn(5), 0, mfn(HOST_FIRST_MFN + 900), P2M_FOREIGN); }
static void set_identity_elsewhere(void) { p2m_set_range(&map, gfn(5), 0, mfn(6), P2M_MMIO_DIRECT); }
static void set_identity_memory(void)
{
	p2m_set_range(&map, gfn(HOST_FIRST_MFN), 0, mfn(HOST_FIRST_MFN), P2M_MMIO_DIRECT);
}
static void set_odd_order(void) { p2m_set_range(&map, gfn(0), 1, map_chunk(OWNER), P2M_RAM_RW); }
static void set_large_crooked(void) { p2m_set_range(&map, gfn(1), P2M_LARGE_ORDER, map_chunk(OWNER), P2M_RAM_RW); }
static void set_large_over_a_page(void)
{
	mfn_t m = map_chunk(OWNER);

	p2m_set(&map, gfn(RUN + 3), ram());
	p2m_set_range(&map, gfn(RUN), P2M_LARGE_ORDER, m, P2M_RAM_RW);
}
static void set_into_large(void)
{
	p2m_set_range(&map, gfn(RUN), P2M_LARGE_ORDER, map_chunk(OWNER), P2M_RAM_RW);
	p2m_set(&map, gfn(RUN + 3), ram());
}
static void set_without_pages(void)
{
	while (map.spare.length)
		page_list_pop(&map.spare);
	p2m_set(&map, gfn(5), ram());
}
static void clear_hole(void) { p2m_set(&map, gfn(7), ram()); p2m_clear(&map, gfn(6)); }
static void clear_hole_entry(void) { p2m_set(&map, gfn(7), ram()); p2m_clear_entry(&map, gfn(6)); }
static void type_of_hole(void) { p2m_set_type(&map, gfn(6), P2M_RAM_RO); }
static void type_to_foreign(void) { p2m_set(&map, gfn(7), ram()); p2m_set_type(&map, gfn(7), P2M_FOREIGN); }
static void clear_with_wrong_m2p(void)
{
	mfn_t m = ram();

	p2m_set(&map, gfn(7), m);
	page_of(m)->back = 8;
	p2m_clear(&map, gfn(7));
}

TEST(callers_that_break_the_contract_are_stopped)
{
	void (*wrong[])(void) = { set_twice, set_not_ours, set_alias, set_outside, set_a_hole, set_no_type,
		set_own_as_foreign, set_free_as_foreign, set_identity_elsewhere, set_identity_memory, set_odd_order,
		set_large_crooked, set_large_over_a_page, set_into_large, set_without_pages, clear_hole,
		clear_hole_entry, type_of_hole, type_to_foreign, clear_with_wrong_m2p };

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		map_start();
		CHECK(map_feed_change());
		const char *why = fixture_fatal(wrong[i]);

		if (!CHECK(why && strstr(why, "p2m.c")))
			printf("%u: %s\n", i, why ? why : "nothing");
	}
}
