// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of the p2m share: one map of its own, without a domain around it, and pages for it.
#ifndef HV_TEST_P2M_MAP_H
#define HV_TEST_P2M_MAP_H

#include "../p2m/p2m.h"

#define OWNER 1u
#define OTHER_OWNER 2u
#define LARGE_FRAMES BIT(P2M_LARGE_ORDER)
#define LEVEL_SPAN(level) BIT((level) * P2M_LEVEL_BITS)
#define GFNS BIT(P2M_GFN_BITS)

extern struct p2m map;
extern u32 map_pages; // that the map was given

// Power on, and an empty map without pages.
void map_start(void);
// Give pages until there is a root and `spare` spare pages. False: the heap is empty.
bool map_feed(u32 spare);
// As many as p2m_needs_pages() wants.
bool map_feed_change(void);
// A frame of `owner`, or a chunk for a large entry; MFN_NONE when the heap has none.
mfn_t map_frame(u32 owner);
mfn_t map_chunk(u32 owner);
// NULL, or what is wrong with the map: a broken rule, pages gone, a frame still mapped by the port.
const char *map_problem(void);
// The gfns that are no holes, by walking over the entries.
u64 map_used(void);
// The first RAM gfn at or above g, by such a walk; GFN_INVALID when there is none.
gfn_t map_next(gfn_t g);

static inline u64 map_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
