// SPDX-License-Identifier: GPL-2.0-or-later
// See p2m_map.h. It checks nothing by itself: callers look at what it returns.
#include "p2m_map.h"

#include "../domain/domain.h"
#include "../mem/heap.h"
#include "../port/host/host.h"

struct p2m map;
u32 map_pages;

void map_start(void)
{
	host_reset(1);
	hv_start();
	p2m_start(&map, OWNER);
	map_pages = 0;
}

bool map_feed(u32 spare)
{
	mfn_t m;

	while (mfn_is_none(map.root) || map.spare.length < spare) {
		if (heap_alloc(OWNER, &m) != HV_OK)
			return false;
		p2m_give_page(&map, m);
		map_pages++;
	}
	return true;
}

bool map_feed_change(void)
{
	while (p2m_needs_pages(&map))
		if (!map_feed(map.spare.length + 1))
			return false;
	return true;
}

mfn_t map_frame(u32 owner)
{
	mfn_t m;

	return heap_alloc(owner, &m) == HV_OK ? m : MFN_NONE;
}

mfn_t map_chunk(u32 owner)
{
	mfn_t m;

	return heap_alloc_chunk(owner, P2M_LARGE_ORDER, &m) == HV_OK ? m : MFN_NONE;
}

const char *map_problem(void)
{
	if (map.tables.length + map.spare.length != map_pages)
		return "p2m pages are lost";
	if (host_maps_outstanding())
		return "a frame is still mapped";
	return p2m_check(&map);
}

u64 map_used(void)
{
	struct p2m_entry entry;
	u64 used = 0;

	for (gfn_t g = gfn(0);; g = p2m_behind(g, entry)) {
		g = p2m_next_entry(&map, g, &entry);
		if (gfn_eq(g, GFN_INVALID))
			return used;
		used += BIT(entry.order);
	}
}

gfn_t map_next(gfn_t g)
{
	struct p2m_entry entry;

	for (;; g = p2m_behind(g, entry)) {
		g = p2m_next_entry(&map, g, &entry);
		if (gfn_eq(g, GFN_INVALID) || p2m_is_ram(entry.type))
			return g;
	}
}
