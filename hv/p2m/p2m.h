// SPDX-License-Identifier: GPL-2.0-or-later
// The physmap of a domain: guest frame -> machine frame, and back through page_info.back (m2p).
//
// A four-level table of machine pages in the processor's own format, its pages taken from the shadow
// pool (spec A.11). Invariants:
//   56a p2m[gfn] = mfn  <=>  m2p[mfn] = gfn, on frames of the domain
//   56b max_mapped >= every mapped gfn
#ifndef HV_P2M_P2M_H
#define HV_P2M_P2M_H

#include "../base/status.h"
#include "../mem/page.h"

#define P2M_GFN_BITS 28
#define GUEST_PHYS_BITS (P2M_GFN_BITS + FRAME_SHIFT) // what the guest's CPUID says, whatever the processor has
#define P2M_TABLES_MAX 3 // tables that one new mapping can need beside the root

enum p2m_type {
	P2M_HOLE = 0,   // nothing: accesses are MMIO without a device
	P2M_RAM_RW = 1,
};

#define P2M_RECENT 32u // a power of two

struct p2m {
	mfn_t root;
	struct page_list spare;  // zeroed pages ready to become tables
	struct page_list tables; // pages in use, the root among them
	u64 max_mapped;          // no gfn above is mapped
	u64 mapped;              // number of mapped gfns
	u32 owner;               // domain number + 1
	// Level-0 tables by the 2 MiB region of gfns that they hold, as far as p2m_set() met them: shortcuts. Tables stay until
	// teardown, so none goes stale.
	struct { u32 region, table; } recent[P2M_RECENT];
};

// Start an empty map for `owner`. The first spare page becomes the root: p2m_give_page() one before.
void p2m_start(struct p2m *p2m, u32 owner);
// Hand over a pool page (contents arbitrary) for later tables.
void p2m_give_page(struct p2m *p2m, mfn_t page);
// True while a p2m_set() of any gfn could run out of spare pages.
bool p2m_needs_pages(const struct p2m *p2m);

// Machine frame behind g; MFN_NONE for holes and for gfns out of range. O(levels).
mfn_t p2m_lookup(const struct p2m *p2m, gfn_t g);

// Map g -> m and m2p[m] = g. g is in range and a hole, m maps nowhere, p2m_needs_pages() is false.
void p2m_set(struct p2m *p2m, gfn_t g, mfn_t m);
// Make g a hole. g is mapped. Returns the frame that was there; its m2p is cleared.
mfn_t p2m_clear(struct p2m *p2m, gfn_t g);

// m2p: the gfn that m is mapped at, GFN_INVALID if none.
gfn_t p2m_gfn_of(mfn_t m);

// The first mapped gfn at or above g; GFN_INVALID when there is none. For walks over all of the map.
gfn_t p2m_next(const struct p2m *p2m, gfn_t g);

static inline bool gfn_in_range(gfn_t g) { return g.n >> P2M_GFN_BITS == 0; }

// E1.5 (no pool page mapped) and E1.56. O(mapped frames).
const char *p2m_check(const struct p2m *p2m);

#endif
