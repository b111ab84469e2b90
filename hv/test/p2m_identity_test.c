// SPDX-License-Identifier: GPL-2.0-or-later
// Identity ranges: every pair of ends around the boundaries of every level, on an empty map and over what is there, with RAM
// inside and beside, with as many pages as are asked for and one fewer. fuzz/bugs/B46.patch, B47.patch; D18.
// link: hv/test/p2m_map.c
#include "test.h"

#include "../mem/heap.h"
#include "../port/host/host.h"
#include "p2m_map.h"

#define SOUND() CHECK_STR(map_problem(), NULL)
#define MEMORY_FIRST HOST_FIRST_MFN // the machine has memory in [MEMORY_FIRST, MEMORY_END)
#define MEMORY_END (HOST_FIRST_MFN + HOST_FRAMES)

// Ends of ranges: one before, at, and one behind boundaries of all levels, all above the memory of the machine.
static u64 point[128];
static u32 points;

static void add_points(u64 at)
{
	for (u64 p = at - 1; p <= at + 1; p++)
		point[points++] = p;
}

static void make_points(void)
{
	points = 0;
	for (u32 level = 1; level < P2M_LEVELS; level++) {
		u64 first = (0x2000 + LEVEL_SPAN(level)) & ~(LEVEL_SPAN(level) - 1);

		add_points(first);
		if (first + LEVEL_SPAN(level) < GFNS)
			add_points(first + LEVEL_SPAN(level));
	}
	add_points(GFNS);
	point[points++] = GFN_INVALID.n;
}

static u64 cut(u64 g)
{
	return g < GFNS ? g : GFNS;
}

static enum hv_status identity(u64 first, u64 end, bool on)
{
	return p2m_identity(&map, gfn(first), gfn(end), on);
}

// Exactly [first, end) is there, or everything but that of [all, all_end).
static bool equals(u64 first, u64 end)
{
	bool good = true;

	for (u32 i = 0; i < points && good; i++)
		for (u64 g = point[i] - 1; g != point[i] + 2 && good; g++) {
			struct p2m_entry e = p2m_get(&map, gfn(g));
			bool in = g >= first && g < cut(end);

			good = e.type == (in ? P2M_MMIO_DIRECT : P2M_HOLE) && e.frame.n == (in ? g : 0) &&
			       mfn_is_none(p2m_lookup(&map, gfn(g)));
			if (!good)
				CHECK_EQ(g, in);
		}
	good = good && map_used() == cut(end) - cut(first);
	if (!good)
		printf("after [0x%llx, 0x%llx)\n", (unsigned long long)first, (unsigned long long)end);
	return CHECK(good);
}

TEST(B47_every_pair_of_ends_around_every_boundary)
{
	make_points();
	map_start();
	CHECK(map_feed(2 * P2M_LEVELS));
	for (u32 i = 0; i < points; i++)
		for (u32 k = 0; k < points; k++) {
			u64 first = point[i], end = point[k];
			u32 asked = p2m_identity_pages(&map, gfn(first), gfn(end)), spare = map.spare.length;

			CHECK(asked <= 2 * (P2M_LEVELS - 1));
			CHECK_EQ(p2m_identity_reach(&map, gfn(first), gfn(end)).n, end); // nothing is in the way
			if (first > end) {
				CHECK_EQ(identity(first, end, true), HV_EINVAL);
				CHECK_EQ(map_used(), 0);
				continue;
			}
			CHECK_EQ(identity(first, end, true), HV_OK);
			CHECK(spare - map.spare.length <= asked);
			if (!equals(first, end))
				return;
			SOUND();
			CHECK_EQ(map.mapped, 0);
			CHECK_EQ(identity(first, end, true), HV_OK); // again: nothing to do
			CHECK_EQ(identity(first, end, false), HV_OK);
			CHECK_EQ(map.tables.length, 1);
			if (!equals(0, 0))
				return;
		}
	SOUND();
}

// A range taken out of a larger one: everything else stays, from its own base (B46).
TEST(B46_a_part_taken_out_leaves_the_rest_as_it_was)
{
	make_points();
	u64 all = point[0] - 3;

	for (u32 i = 0; i < points; i++)
		for (u32 k = i; k < points; k++) {
			u64 first = cut(point[i]), end = cut(point[k]);

			map_start();
			CHECK(map_feed(4 * P2M_LEVELS));
			CHECK_EQ(identity(all, GFNS, true), HV_OK);
			u32 asked = p2m_identity_pages(&map, gfn(first), gfn(end)), spare = map.spare.length;

			CHECK_EQ(identity(first, end, false), HV_OK);
			CHECK(spare <= map.spare.length + asked);
			bool good = map_used() == GFNS - all - (end - first);

			for (u32 n = 0; n < points; n++)
				for (u64 g = cut(point[n]) - 2; g < GFNS && g < point[n] + 2; g++) {
					bool in = g >= all && (g < first || g >= end);
					struct p2m_entry e = p2m_get(&map, gfn(g));

					good = good && e.type == (in ? P2M_MMIO_DIRECT : P2M_HOLE) && e.frame.n == (in ? g : 0);
				}
			if (!CHECK(good)) {
				printf("without [0x%llx, 0x%llx)\n", (unsigned long long)first, (unsigned long long)end);
				return;
			}
			SOUND();
			CHECK_EQ(identity(all, GFNS, true), HV_OK); // and in again: the pieces are one range as before
			CHECK_EQ(map_used(), GFNS - all);
			CHECK(map.spare.length >= spare);
			SOUND();
		}
}

TEST(D18_a_page_too_few_changes_nothing)
{
	make_points();
	for (u32 i = 0; i < points; i++)
		for (u32 k = i + 1; k < points; k++) {
			u64 first = point[i], end = point[k];

			map_start();
			CHECK_EQ(p2m_identity_pages(&map, gfn(first), gfn(end)), 2 * (P2M_LEVELS - 1)); // without a root
			CHECK_EQ(identity(first, end, true), cut(first) == cut(end) ? HV_OK : HV_ENOMEM);
			CHECK(map_feed(0));
			u32 asked = p2m_identity_pages(&map, gfn(first), gfn(end));

			if (asked) {
				CHECK(map_feed(asked - 1));
				CHECK_EQ(identity(first, end, true), HV_ENOMEM);
				CHECK_EQ(map_used(), 0);
				CHECK_EQ(map.max_mapped, 0);
				CHECK_EQ(map.tables.length, 1);
			}
			CHECK(map_feed(asked));
			CHECK_EQ(identity(first, end, true), HV_OK);
			SOUND();
		}
}

TEST(reversed_empty_and_out_of_range)
{
	map_start();
	CHECK(map_feed(2 * P2M_LEVELS));
	for (u32 on = 0; on < 2; on++) {
		CHECK_EQ(identity(0, 0, on), HV_OK);
		CHECK_EQ(identity(MEMORY_FIRST, MEMORY_FIRST, on), HV_OK); // empty: its place does not matter
		CHECK_EQ(identity(GFNS, GFNS, on), HV_OK);
		CHECK_EQ(identity(GFNS, GFNS + 1, on), HV_OK); // all of it is cut off
		CHECK_EQ(identity(GFNS + 5, GFN_INVALID.n, on), HV_OK);
		CHECK_EQ(identity(GFNS + 1, GFNS, on), HV_EINVAL);
		CHECK_EQ(identity(GFN_INVALID.n, 0, on), HV_EINVAL);
		CHECK_EQ(identity(1, 0, on), HV_EINVAL);
		CHECK_EQ(map_used(), 0);
		CHECK_EQ(map.tables.length, 1);
	}
	CHECK_EQ(identity(MEMORY_END, GFN_INVALID.n, true), HV_OK);
	CHECK_EQ(map_used(), GFNS - MEMORY_END);
	CHECK_EQ(map.max_mapped, GFNS - 1);
	SOUND();
}

TEST(memory_of_the_machine_is_no_device)
{
	const u64 ends[] = { 0, MEMORY_FIRST - 1, MEMORY_FIRST, MEMORY_FIRST + 1, MEMORY_END - 1, MEMORY_END, MEMORY_END + 1,
			     GFNS };

	map_start();
	CHECK(map_feed(2 * P2M_LEVELS));
	for (u32 i = 0; i < ARRAY_LEN(ends); i++)
		for (u32 k = i; k < ARRAY_LEN(ends); k++) {
			bool outside = i == k || ends[k] <= MEMORY_FIRST || ends[i] >= MEMORY_END;

			CHECK_EQ(p2m_identity_check(&map, gfn(ends[i]), gfn(ends[k])), outside ? HV_OK : HV_EINVAL);
			CHECK_EQ(identity(ends[i], ends[k], true), outside ? HV_OK : HV_EINVAL);
			CHECK_EQ(map_used(), outside ? ends[k] - ends[i] : 0);
			CHECK_EQ(identity(ends[i], ends[k], false), outside ? HV_OK : HV_EINVAL);
			SOUND();
		}
}

// Something at [at, at + count): only ranges without any of it are taken.
static void try_around(u64 at, u64 count, u32 type)
{
	const u64 ends[] = { at - 2, at - 1, at, at + 1, at + count - 1, at + count, at + count + 1, at + count + 2 };

	for (u32 i = 0; i < ARRAY_LEN(ends); i++)
		for (u32 k = 0; k < ARRAY_LEN(ends); k++)
			for (u32 on = 0; on < 2; on++) {
				bool apart = ends[k] <= at || ends[i] >= at + count;
				enum hv_status want = ends[i] > ends[k] ? HV_EINVAL : apart || ends[i] == ends[k] ? HV_OK : HV_EBUSY;
				u64 used = want == HV_OK ? cut(ends[k]) - cut(ends[i]) : 0;

				CHECK(map_feed(p2m_identity_pages(&map, gfn(ends[i]), gfn(ends[k]))));
				CHECK_EQ(p2m_identity_check(&map, gfn(ends[i]), gfn(ends[k])), want);
				CHECK_EQ(identity(ends[i], ends[k], on), want);
				CHECK_EQ(map_used(), count + (on ? used : 0));
				CHECK_EQ(p2m_get(&map, gfn(at)).type, type);
				CHECK_EQ(p2m_get(&map, gfn(at + count - 1)).type, type);
				if (on && want == HV_OK)
					CHECK_EQ(identity(ends[i], ends[k], false), HV_OK);
				SOUND();
			}
}

TEST(what_is_there_is_busy)
{
	for (u32 level = 1; level < P2M_LEVELS; level++)
		for (u64 off = 0; off < 3; off++)
			for (u32 foreign = 0; foreign < 2; foreign++) {
				u64 at = ((0x2000 + LEVEL_SPAN(level)) & ~(LEVEL_SPAN(level) - 1)) + off - 1;
				u32 type = foreign ? P2M_FOREIGN : P2M_RAM_RO;

				map_start();
				CHECK(map_feed_change());
				p2m_set_range(&map, gfn(at), 0, map_frame(foreign ? OTHER_OWNER : OWNER), type);
				try_around(at, 1, type);
				CHECK_EQ(identity(MEMORY_END, GFNS, true), HV_EBUSY);
			}
	map_start();
	mfn_t chunk = map_chunk(OWNER);

	CHECK(map_feed_change());
	p2m_set_range(&map, gfn(0x4000), P2M_LARGE_ORDER, chunk, P2M_RAM_LOGDIRTY);
	try_around(0x4000, LARGE_FRAMES, P2M_RAM_LOGDIRTY);
}

// In the way of a large entry are tables of single pages: they go, and their pages come back.
TEST(small_pieces_make_room_for_large_ones)
{
	u64 at = (0x2000 + LEVEL_SPAN(2)) & ~(LEVEL_SPAN(2) - 1);

	map_start();
	for (u64 i = 0; i < 10; i++) {
		CHECK(map_feed(2 * P2M_LEVELS));
		CHECK_EQ(identity(at + i * LARGE_FRAMES + i, at + i * LARGE_FRAMES + i + 3, true), HV_OK);
	}
	CHECK_EQ(map.tables.length, P2M_LEVELS - 1 + 10);
	CHECK(map_feed_change());
	mfn_t ram = map_frame(OWNER);

	p2m_set(&map, gfn(at + LEVEL_SPAN(2)), ram); // has a shortcut, and keeps it
	u32 tables = map.tables.length;

	CHECK_EQ(identity(at, at + LEVEL_SPAN(2), true), HV_OK);
	CHECK_EQ(map.tables.length, tables - 11); // one entry of level 2
	CHECK_EQ(p2m_get(&map, gfn(at + 77)).order, 2 * P2M_LEVEL_BITS);
	CHECK_EQ(p2m_lookup(&map, gfn(at + LEVEL_SPAN(2))).n, ram.n);
	SOUND();
	CHECK_EQ(p2m_clear(&map, gfn(at + 77)).n, at + 77); // shatters both levels
	CHECK_EQ(p2m_get(&map, gfn(at + 76)).order, 0);
	CHECK_EQ(p2m_get(&map, gfn(at + LARGE_FRAMES * 8)).order, P2M_LARGE_ORDER);
	CHECK_EQ(map_used(), LEVEL_SPAN(2));
	SOUND();
	p2m_clear_entry(&map, gfn(at + LARGE_FRAMES * 8 + 5));
	CHECK_EQ(map_used(), LEVEL_SPAN(2) - LARGE_FRAMES);
	SOUND();
}

TEST(pages_that_were_taken_out_one_by_one_are_coalesced)
{
	map_start();
	CHECK(map_feed(2 * P2M_LEVELS));
	CHECK_EQ(identity(0x4000, 0x4000 + LARGE_FRAMES - 1, true), HV_OK);
	CHECK(!p2m_coalesce(&map, gfn(0x4000)));
	CHECK_EQ(identity(0x4000 + LARGE_FRAMES - 1, 0x4000 + LARGE_FRAMES, true), HV_OK);
	CHECK_EQ(p2m_get(&map, gfn(0x4000)).order, 0);
	CHECK(p2m_coalesce(&map, gfn(0x4001)));
	CHECK_EQ(p2m_get(&map, gfn(0x4000)).order, P2M_LARGE_ORDER);
	CHECK_EQ(p2m_get(&map, gfn(0x4003)).frame.n, 0x4003);
	SOUND();
}

// The shortcut of a region follows what the range does to its entry, and is not touched by a range beside it.
TEST(shortcuts_follow_a_range_over_any_part_of_their_region)
{
	const u64 ends[] = { 0, 1, LARGE_FRAMES / 2, LARGE_FRAMES - 1, LARGE_FRAMES, LARGE_FRAMES + 1, 2 * LARGE_FRAMES };

	for (u32 i = 0; i < ARRAY_LEN(ends); i++)
		for (u32 k = 0; k < ARRAY_LEN(ends); k++)
			for (u32 large = 0; large < 2; large++) {
				u64 at = 0x4000, first = at - LARGE_FRAMES / 2 + ends[i], end = first + ends[k];

				map_start();
				CHECK(map_feed(4 * P2M_LEVELS));
				CHECK_EQ(identity(at, at + LARGE_FRAMES - 1, true), HV_OK);
				p2m_set_range(&map, gfn(at + LARGE_FRAMES - 1), 0, mfn(at + LARGE_FRAMES - 1), P2M_MMIO_DIRECT);
				if (large)
					CHECK(p2m_coalesce(&map, gfn(at)));
				CHECK_EQ(identity(first, end, false), HV_OK);
				for (u64 g = at - 1; g <= at + LARGE_FRAMES; g++) {
					bool in = g >= at && g < at + LARGE_FRAMES && (g < first || g >= end);

					CHECK_EQ(p2m_get(&map, gfn(g)).frame.n, in ? g : 0);
				}
				SOUND();
				CHECK_EQ(identity(at - 1, at + LARGE_FRAMES + 1, true), HV_OK);
				CHECK_EQ(map_used(), LARGE_FRAMES + 2);
				SOUND();
			}
}

// A range with more tables in it than one call may look at is worked off in pieces.
TEST(pieces_are_bounded_and_give_the_whole)
{
	u64 at = 64 * LARGE_FRAMES + 0x4000, end = at + 200 * LARGE_FRAMES + 1;
	u32 pieces = 0;

	map_start();
	for (u64 i = 0; i < 200; i++) {
		CHECK(map_feed(2 * P2M_LEVELS));
		CHECK_EQ(identity(at + i * LARGE_FRAMES + 1, at + i * LARGE_FRAMES + 2, true), HV_OK);
	}
	CHECK_EQ(p2m_identity_reach(&map, gfn(at), gfn(end)).n, at + 64 * LARGE_FRAMES);
	CHECK_EQ(p2m_identity_reach(&map, gfn(at), gfn(at + 5)).n, at + 5);
	CHECK_EQ(p2m_identity_reach(&map, gfn(at), gfn(at)).n, at);
	for (gfn_t g = gfn(at), next; g.n < end; g = next, pieces++) {
		next = p2m_identity_reach(&map, g, gfn(end));
		CHECK(next.n > g.n && next.n <= end);
		CHECK(map_feed(p2m_identity_pages(&map, g, next)));
		CHECK_EQ(identity(g.n, next.n, true), HV_OK);
	}
	CHECK_EQ(pieces, 4);
	CHECK_EQ(map_used(), end - at);
	SOUND();
	CHECK_EQ(identity(at, end, false), HV_OK);
	CHECK_EQ(map.tables.length, 1);
	SOUND();
}
