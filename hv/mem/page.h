// SPDX-License-Identifier: GPL-2.0-or-later
// One descriptor per machine frame, the references on it, and lists of frames.
//
// A frame is, at any time, exactly one of: free in the heap; a frame of a domain (guest RAM and what the
// hypervisor keeps on its behalf); a p2m page; a page of a shadow pool, free there or part of a shadow.
// The last kind uses the shadow view of the descriptor (spec A.3).
//
// Invariants (E.1):
//   4   pool pages have owner == 0 and count_info == 0, and say whose pool they are of
//   11  PAGE_IS_TABLE set <=> shadow_flags != 0
//   18  count_info explains every general reference; 19 type_info every writable mapping
//   20  maps leads to all shadow entries that name the frame (hv/shadow/rmap.c)
//   22  a frame is on at most one list; lists are consistent
//
// A frame's own fields belong to who holds its owner's lock (hv/domain), a pool page's to who holds that of its pool's domain. A frame
// becomes a domain's, or its pool's, and stops being so under that lock alone: whoever holds it may ask of any frame whether it is one
// (page_owner(), page_pool()), and only if so looks at the rest. count_info alone is changed by others too, one atomic step at a time.
#ifndef HV_MEM_PAGE_H
#define HV_MEM_PAGE_H

#include "../base/assert.h"
#include "../base/status.h"
#include "../geometry.h"
#include "frame.h"

struct page_info {
	union {
		struct {
			u32 next, prev; // frame numbers; 0 ends the list
		} list;
		u32 shadows; // guest view with PAGE_IS_TABLE: its first shadow, the others behind it by next_shadow
	};
	u32 count_info; // guest view: general references and PAGE_* flags. Shadow view: must be 0
	u32 owner;      // domain number + 1. Shadow view: must be 0, so that a shadow never looks owned
	union {
		u32 type_info;   // guest view: number of writable mappings
		u32 next_shadow; // shadow view, head page: the frame's next shadow, or next in the hash chain of a fake table
		u32 free_stamp;  // free page of a pool: TLB clock when it was freed
	};
	union {
		u32 stamp;        // free in the heap, or guest view without PAGE_IS_TABLE: TLB clock of the last use
		u32 shadow_flags; // guest view with PAGE_IS_TABLE: bit t set: shadowed as type t
		struct {          // shadow view while part of a shadow
			u32 type : 5;
			u32 pinned : 1;
			u32 head : 1;
			u32 count : SHADOW_COUNT_BITS;
		} sh;
	};
	u32 back;    // guest view: gfn (m2p). Shadow view: gmfn that is shadowed, or base gfn of a fake table; not the head: the head;
	             // links of a head: what comes before it in its chain
	u32 sibling; // shadow view: next page of the same shadow, 0 after the last
	u32 maps;    // guest view: the shadow entries that map it. Shadow view, head page: the entries that name it
	u32 links;   // shadow view: the page with the links of this page's entries
	u64 epoch : 56; // shadow view, head page: blow that its entries were made after (spec A.9), 0: it is dying
	u8 pool;        // shadow view: domain number + 1 whose pool has the page. No bit field: who has no lock reads it
};
_Static_assert(sizeof(struct page_info) == 48, "descriptor size is part of the frame table arithmetic");

#define PAGE_ALLOCATED (UINT32_C(1) << 31) // the owner's own reference is counted
#define PAGE_IS_TABLE (UINT32_C(1) << 30)  // shadowed as a page table: no writable mapping may exist
#define PAGE_HOLD (UINT32_C(1) << 20)      // one hold: a general reference that no table of the owner explains
#define PAGE_HOLDS_MASK (PAGE_IS_TABLE - PAGE_HOLD)
#define PAGE_COUNT_MASK (PAGE_HOLD - 1)     // general references, holds included
#define PAGE_FOREIGN_MAX (PAGE_HOLDS_MASK / PAGE_HOLD / 4) // holds from which on no domain maps a frame of another anew
#define PAGE_OWNER_GONE UINT32_MAX          // its owner has given it up, but somebody holds it still
#define SHADOW_COUNT_MAX ((UINT32_C(1) << SHADOW_COUNT_BITS) - 1)
#define BACK_NONE UINT32_MAX

extern struct page_info *page_table; // indexed by frame number - page_first
extern u64 page_first, page_count;   // the port's frames

static inline bool mfn_valid(mfn_t m) { return m.n - page_first < page_count; }

static inline struct page_info *page_of(mfn_t m)
{
	hv_assert(mfn_valid(m));
	return &page_table[m.n - page_first];
}

// The frame changes hands: its descriptor becomes `to`. The owner is written at once, and the pool: others ask for them at any time.
static inline void page_describe(mfn_t m, struct page_info to)
{
	struct page_info *p = page_of(m);

	__atomic_store_n(&p->owner, to.owner, __ATOMIC_RELAXED);
	p->list = to.list;
	p->count_info = to.count_info;
	p->type_info = to.type_info;
	p->stamp = to.stamp;
	p->back = to.back;
	p->sibling = to.sibling;
	p->maps = to.maps;
	p->links = to.links;
	p->epoch = to.epoch;
	__atomic_store_n(&p->pool, to.pool, __ATOMIC_RELAXED);
}

// ---- references on a domain's frames (spec E.1 rules 18, 19) ------------------------------------

// One more general reference for `owner`. HV_EINVAL: the frame is not that owner's. HV_ENOMEM: the
// counter is full.
enum hv_status page_get(mfn_t m, u32 owner) MUST_CHECK;
// Drop one; the last one returns the frame to the heap.
void page_put(mfn_t m);
// Drop the owner's own: the frame is the heap's as soon as nobody holds it. Until then it has no owner.
void page_release(mfn_t m);
// The same as page_get() and page_put() for who is no table: an instruction under way, a migration, another domain's p2m.
// Audits of the owner can tell, at any time: both counts change in one step.
enum hv_status page_hold(mfn_t m, u32 owner) MUST_CHECK;
// One hold more on a frame that the caller sees held, whoever owns it by now. HV_ENOMEM: the counter is full.
enum hv_status page_hold_again(mfn_t m) MUST_CHECK;
void page_unhold(mfn_t m);

// Copy the contents of frame `from` to frame `to`.
void page_copy(mfn_t to, mfn_t from);

static inline void page_set_flags(mfn_t m, u32 flags)
{
	__atomic_fetch_or(&page_of(m)->count_info, flags, __ATOMIC_RELAXED);
}
static inline void page_clear_flags(mfn_t m, u32 flags)
{
	__atomic_fetch_and(&page_of(m)->count_info, ~flags, __ATOMIC_RELAXED);
}

// One more writable mapping. HV_EINVAL: the frame is a page table. HV_ENOMEM: the counter is full.
enum hv_status page_get_writable(mfn_t m) MUST_CHECK;
// Drop one. The last one stamps the frame: until each processor has flushed, some TLB may still hold it.
void page_put_writable(mfn_t m);

// Of any frame: it may be another domain's, and given up at any time. Relaxed: the lock of who is asked for orders all that is said of it.
static inline u32 page_owner(mfn_t m) { return __atomic_load_n(&page_of(m)->owner, __ATOMIC_RELAXED); }
static inline u32 page_pool(mfn_t m) { return __atomic_load_n(&page_of(m)->pool, __ATOMIC_RELAXED); }
static inline u32 page_count_info(mfn_t m) { return __atomic_load_n(&page_of(m)->count_info, __ATOMIC_RELAXED); }
static inline bool page_is_table(mfn_t m) { return (page_count_info(m) & PAGE_IS_TABLE) != 0; }
static inline u32 page_writable_count(mfn_t m) { return page_of(m)->type_info; }
static inline u32 page_references(mfn_t m) { return page_count_info(m) & PAGE_COUNT_MASK; }
static inline u32 page_holds(mfn_t m) { return (page_count_info(m) & PAGE_HOLDS_MASK) / PAGE_HOLD; }

// ---- lists ---------------------------------------------------------------------------------------

struct page_list {
	u32 head, tail; // frame numbers, 0 when empty
	u32 length;
};
void page_list_add_head(struct page_list *list, mfn_t m);
void page_list_add_tail(struct page_list *list, mfn_t m);
void page_list_remove(struct page_list *list, mfn_t m);
// First element, removed; MFN_NONE when empty.
mfn_t page_list_pop(struct page_list *list);
// NULL, or the rule broken by the links of this list. rule is the name to report.
const char *page_list_check(const struct page_list *list, const char *rule);

#endif
