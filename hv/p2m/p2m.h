// SPDX-License-Identifier: GPL-2.0-or-later
// The physmap of a domain: guest frame -> machine frame and its type, and back through page_info.back (m2p).
//
// A tree of machine pages that no processor ever walks, its pages taken from the shadow pool (spec A.11). An entry of
// level k stands for 1 << (k * P2M_LEVEL_BITS) guest frames: a hole, a table of the level below, or a mapping of all of
// them (order k * P2M_LEVEL_BITS). Mappings of domains have order 0 or P2M_LARGE_ORDER; identity ranges have any.
// Invariants:
//   5   RAM entries map frames of the domain, foreign ones frames of another, identity ones nothing that the heap has
//   56a a RAM entry maps gfn to mfn  <=>  m2p[mfn] = gfn, on frames of the domain
//   56b max_mapped >= every gfn that is no hole; mapped is the number of RAM gfns
//   56c every table is named by one entry and, but for the root, has one
//   56d recent[] repeats entries of level 1
#ifndef HV_P2M_P2M_H
#define HV_P2M_P2M_H

#include "../base/status.h"
#include "../mem/page.h"

#define P2M_GFN_BITS 28
#define GUEST_PHYS_BITS (P2M_GFN_BITS + FRAME_SHIFT) // what the guest's CPUID says, whatever the processor has
#define P2M_LEVELS ((P2M_GFN_BITS + P2M_LEVEL_BITS - 1) / P2M_LEVEL_BITS)
#define P2M_LARGE_ORDER P2M_LEVEL_BITS // a large entry maps 1 << P2M_LARGE_ORDER frames
#define P2M_TABLES_MAX P2M_LEVELS      // pages that one change can need: tables below the root for a new place, one to shatter

enum p2m_type {
	P2M_HOLE,         // nothing: accesses are MMIO without a device
	P2M_RAM_RW,
	P2M_RAM_RO,       // the guest's stores vanish
	P2M_RAM_LOGDIRTY, // RAM_RW that nobody has written to since log-dirty asked
	P2M_MMIO_DIRECT,  // identity: mfn == gfn, not memory of the machine. No m2p
	P2M_FOREIGN,      // a frame of another domain, read-only, never mapped by shadows. No m2p
	P2M_TYPE_COUNT
};

struct p2m_entry {
	mfn_t frame; // behind the gfn that was asked for; MFN_NONE for a hole
	u8 type;     // enum p2m_type
	u8 order;    // the entry that holds it maps 1 << order frames; 0 for a hole
};

#define P2M_RECENT 32u // a power of two

struct p2m {
	mfn_t root;
	struct page_list spare;  // pages to become tables, junk in them
	struct page_list tables; // pages in use, the root among them
	u64 max_mapped;          // all gfns above are holes. A high-water mark
	u64 mapped;              // number of RAM gfns
	u32 owner;               // domain number + 1
	u64 visits;              // entries that changes, and checks before them, looked at (hv/shadow/lock.h)
	u64 changes;             // of where gfns lead, counted, and by hv/domain those of types that the guest is not the reason of
	// Shortcuts: the level-1 entry (a table, or a large mapping) of a region of 1 << P2M_LEVEL_BITS gfns, for regions that
	// were changed lately. entry 0: unused.
	struct { u32 region; u64 entry; } recent[P2M_RECENT];
};

// Start an empty map for `owner`. The first spare page becomes the root: p2m_give_page() one before.
void p2m_start(struct p2m *p2m, u32 owner);
// Hand over a pool page (contents arbitrary) for later tables; take a spare one back. Tables that are no longer needed become
// spare pages again: tables.length + spare.length changes here alone.
void p2m_give_page(struct p2m *p2m, mfn_t page);
mfn_t p2m_take_page(struct p2m *p2m);
// False: the spare pages serve any one p2m_set(), p2m_set_range(), p2m_set_type() or p2m_clear(); also a swap (p2m_clear() of
// two RAM pages, p2m_set() at both gfns) and a move (p2m_clear() of a RAM page, p2m_set() at another gfn). Those cannot fail.
bool p2m_needs_pages(const struct p2m *p2m);

// Machine frame behind g if that is RAM; MFN_NONE for all else, gfns out of range too. O(1) by a shortcut, else O(levels).
mfn_t p2m_lookup(const struct p2m *p2m, gfn_t g);
// Whatever is at g; a hole out of range. O(1) by a shortcut, else O(levels).
struct p2m_entry p2m_get(const struct p2m *p2m, gfn_t g);

static inline bool p2m_is_ram(u32 type) { return type - P2M_RAM_RW <= P2M_RAM_LOGDIRTY - P2M_RAM_RW; }

// ---- changes: none of them fails, see p2m_needs_pages() -------------------------------------------------
// What shadows and TLBs know of the gfns is the caller's to drop.

// Map the 1 << order gfns from g on, all holes, to the frames from m on. order is 0 or P2M_LARGE_ORDER; g and m are
// multiples of 1 << order. RAM: frames of the domain that map nowhere, m2p follows. Identity: m is g. O(1 << order).
void p2m_set_range(struct p2m *p2m, gfn_t g, u32 order, mfn_t m, enum p2m_type type);
// One page of P2M_RAM_RW.
void p2m_set(struct p2m *p2m, gfn_t g, mfn_t m);
// Give the RAM page g another RAM type. A large entry is shattered.
void p2m_set_type(struct p2m *p2m, gfn_t g, enum p2m_type type);
// Make g, which is none, a hole. A large entry is shattered. Returns the frame that was there; its m2p is cleared.
mfn_t p2m_clear(struct p2m *p2m, gfn_t g);
// Make all that the entry of g maps holes, and return it, frame being that of the first gfn (g rounded down to 1 << order).
// Never needs a page: for teardown. g is no hole.
struct p2m_entry p2m_clear_entry(struct p2m *p2m, gfn_t g);
// Replace the table of level 0 that holds g by a large entry, if its pages allow it: one type, frames in a row and
// aligned. The table becomes a spare page. False: they do not, and nothing changed. O(1 << P2M_LARGE_ORDER).
bool p2m_coalesce(struct p2m *p2m, gfn_t g);

// ---- identity ranges (fuzz/bugs/B46.patch, B47.patch) -------------------------------------------------------------------

// [first, end): holes become P2M_MMIO_DIRECT, or with `on` false such pages become holes. end is exclusive; what lies above
// the gfn range is cut off. HV_OK and nothing to do for an empty range. HV_EINVAL: reversed, or a frame of it is memory of
// the machine. HV_EBUSY: a gfn of it is RAM or foreign. HV_ENOMEM: fewer spare pages than p2m_identity_pages(). All that is
// known before anything changes. The inside of the range is made of the largest entries that fit.
enum hv_status p2m_identity(struct p2m *p2m, gfn_t first, gfn_t end, bool on) MUST_CHECK;
// The same answers but HV_ENOMEM, and nothing changes: for a range that is worked off in pieces.
enum hv_status p2m_identity_check(struct p2m *p2m, gfn_t first, gfn_t end) MUST_CHECK;
// Spare pages that p2m_identity() asks for: at most 2 * (P2M_LEVELS - 1), whatever the range.
u32 p2m_identity_pages(const struct p2m *p2m, gfn_t first, gfn_t end);
// How much of a range one call may take so that its work is bounded: the end of a piece [first, ...) for which no more than
// P2M_IDENTITY_VISITS entries, and those of one table, are looked at. Beyond `first` unless the range is empty.
#define P2M_IDENTITY_VISITS (UINT32_C(64) << P2M_LEVEL_BITS)
gfn_t p2m_identity_reach(struct p2m *p2m, gfn_t first, gfn_t end);

// ---- the way back, and walks ------------------------------------------------------------------------------

// m2p: the gfn that m is mapped at as RAM, GFN_INVALID if none.
gfn_t p2m_gfn_of(mfn_t m);

// The first gfn at or above g that is no hole, and what is there; GFN_INVALID when there is none. p2m_behind() of it is where a
// walk over entries goes on.
gfn_t p2m_next_entry(const struct p2m *p2m, gfn_t g, struct p2m_entry *entry);
static inline gfn_t p2m_behind(gfn_t g, struct p2m_entry entry) { return gfn((g.n | (BIT(entry.order) - 1)) + 1); }

static inline bool gfn_in_range(gfn_t g) { return g.n >> P2M_GFN_BITS == 0; }

// E1.4 for p2m pages, E1.5 for what the p2m maps, E1.56. O(entries + RAM frames + frames of the machine in use).
const char *p2m_check(const struct p2m *p2m);

#endif
