// SPDX-License-Identifier: GPL-2.0-or-later
#include "places.h"

#include <string.h>

#include "fixture.h"

#define PLACES 2048u
static struct place {
	u64 gfn;
	struct p2m_entry entry;
	u8 bytes[FRAME_BYTES];
} places[PLACES];
static u32 places_used;

void places_take(void)
{
	struct p2m_entry e;

	places_used = 0;
	for (gfn_t g = p2m_next_entry(&dom->p2m, gfn(0), &e); !gfn_eq(g, GFN_INVALID) && places_used < PLACES;
	     g = p2m_next_entry(&dom->p2m, e.type == P2M_MMIO_DIRECT ? p2m_behind(g, e) : gfn(g.n + 1), &e)) {
		struct place *p = &places[places_used++];

		p->gfn = g.n;
		p->entry = e;
		if (p2m_is_ram(e.type))
			memcpy(p->bytes, host_frame(e.frame), FRAME_BYTES);
	}
}

const char *places_differ(void)
{
	u32 was = places_used;
	u64 ram = 0;

	for (u32 i = 0; i < places_used; i++) {
		const struct place *p = &places[i];
		struct p2m_entry e = p2m_get(&dom->p2m, gfn(p->gfn));

		if (e.type != p->entry.type)
			return "a type";
		if (p2m_is_ram(e.type) && memcmp(p->bytes, host_frame(e.frame), FRAME_BYTES) != 0)
			return "contents";
		if (e.type == P2M_MMIO_DIRECT ? e.order != p->entry.order : e.type == P2M_FOREIGN && !mfn_eq(e.frame, p->entry.frame))
			return "an entry";
		ram += p2m_is_ram(e.type);
	}
	if (dom->p2m.mapped != ram)
		return "how much is mapped";
	places_take();
	return places_used == was ? NULL : "how much is there";
}

