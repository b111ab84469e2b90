// SPDX-License-Identifier: GPL-2.0-or-later
// One descriptor per machine frame, the references on it, and lists of frames.
//
// A frame is, at any time, exactly one of: free in the heap; a frame of a domain (guest RAM and what the
// hypervisor keeps on its behalf); a p2m page; a page of a shadow pool, free there or part of a shadow.
// The last kind uses the shadow view of the descriptor (spec A.3).
//
// Invariants (E.1):
//   4   pool pages have owner == 0 and count_info == 0
//   11  PAGE_IS_TABLE set <=> shadow_flags != 0
//   18  count_info explains every general reference; 19 type_info every writable mapping
//   22  a frame is on at most one list; lists are consistent
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
		u64 up; // machine address of one parent entry (types that use up-pointers)
	};
	u32 count_info; // guest view: general references and PAGE_* flags. Shadow view: must be 0
	u32 owner;      // domain number + 1. Shadow view: must be 0, so that a shadow never looks owned
	union {
		u32 type_info;   // guest view: number of writable mappings
		u32 next_shadow; // shadow view, head page: hash chain
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
	u32 back;    // guest view: gfn (m2p). Shadow view: gmfn that is shadowed, or base gfn of a fake table
	u32 sibling; // shadow view: next page of the same shadow, 0 after the last
};
_Static_assert(sizeof(struct page_info) == 32, "descriptor size is part of the frame table arithmetic");

#define PAGE_ALLOCATED (UINT32_C(1) << 31) // the owner's own reference is counted
#define PAGE_IS_TABLE (UINT32_C(1) << 30)  // shadowed as a page table: no writable mapping may exist
#define PAGE_COUNT_MASK (PAGE_IS_TABLE - 1)
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

// ---- references on a domain's frames (spec E.1 rules 18, 19) ------------------------------------

// One more general reference for `owner`. HV_EINVAL: the frame is not that owner's. HV_ENOMEM: the
// counter is full.
enum hv_status page_get(mfn_t m, u32 owner) MUST_CHECK;
// Drop one; the last one returns the frame to the heap.
void page_put(mfn_t m);

// One more writable mapping. HV_EINVAL: the frame is a page table. HV_ENOMEM: the counter is full.
enum hv_status page_get_writable(mfn_t m) MUST_CHECK;
// Drop one. The last one stamps the frame: until each processor has flushed, some TLB may still hold it.
void page_put_writable(mfn_t m);

static inline bool page_is_table(mfn_t m) { return (page_of(m)->count_info & PAGE_IS_TABLE) != 0; }
static inline u32 page_writable_count(mfn_t m) { return page_of(m)->type_info; }
static inline u32 page_references(mfn_t m) { return page_of(m)->count_info & PAGE_COUNT_MASK; }

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
