// SPDX-License-Identifier: GPL-2.0-or-later
// Reverse maps: who maps a guest frame, which entries name a shadow.
//
//   guest frame m            shadow s (head page)
//     maps -> entry -> ...     maps -> entry -> entry
//             |                        |
//             level-0 entries          entries of its parents
//
// An entry is known by a number: frame of its page * 512 + slot. Its two links lie at the same slot of the companion page
// (page_info.links) that each page of a shadow has, so adding and removing never need memory and never search. The head's
// `prev` is the last entry: it is the oldest, and the first to give way when a frame has SHADOW_MAPS_MAX mappings. Of entries
// that come in pairs the first is meant.
//
// Invariants (E.1): 20 an entry is in the list of what it names, and in no other; lists are consistent.
// All operations O(1).
#include "../base/report.h"
#include "private.h"

struct links {
	u32 next, prev; // next: 0 after the last. prev: of the first, the last
};
_Static_assert(sizeof(struct links) * SPTES_PER_PAGE == FRAME_BYTES, "one page of links for one page of entries");

static struct links *links_map(u32 entry)
{
	return (struct links *)port_map(mfn(page_of(rmap_page(entry))->links)) + rmap_slot(entry);
}

static void set_next(u32 entry, u32 next)
{
	struct links *l = links_map(entry);

	l->next = next;
	port_unmap(l);
}

static void set_prev(u32 entry, u32 prev)
{
	struct links *l = links_map(entry);

	l->prev = prev;
	port_unmap(l);
}

static struct links links_of(u32 entry)
{
	const struct links *at = links_map(entry);
	struct links l = *at;

	port_unmap(at);
	return l;
}

void rmap_add(mfn_t target, u32 entry)
{
	struct page_info *page = page_of(target);
	struct links *l = links_map(entry);

	l->next = page->maps;
	l->prev = entry;
	if (page->maps) {
		struct links *first = links_map(page->maps);

		l->prev = first->prev;
		first->prev = entry;
		port_unmap(first);
	}
	port_unmap(l);
	page->maps = entry;
}

void rmap_remove(mfn_t target, u32 entry)
{
	struct page_info *page = page_of(target);
	struct links l = links_of(entry);

	hv_assert(page->maps);
	if (page->maps == entry)
		page->maps = l.next;
	else
		set_next(l.prev, l.next);
	if (l.next)
		set_prev(l.next, l.prev);
	else if (page->maps)
		set_prev(page->maps, l.prev);
}

u32 rmap_next(u32 entry)
{
	return links_of(entry).next;
}

u32 rmap_oldest(mfn_t target)
{
	return links_of(page_of(target)->maps).prev;
}

// Walk one list as far as it is sound: *count entries.
const char *rmap_check(mfn_t target, u32 limit, u32 *count)
{
	unsigned long long n = target.n;
	u32 first = page_of(target)->maps, prev = 0;

	*count = 0;
	for (u32 entry = first; entry; prev = entry, entry = rmap_next(entry)) {
		mfn_t page = rmap_page(entry);

		if (!mfn_valid(page) || page_owner(page) || !page_of(page)->sh.type || !page_of(page)->links)
			return broken("E1.20 reverse map of 0x%llx: entry in 0x%llx", n, (unsigned long long)page.n);
		spte_t s = rmap_entry(entry);

		if (!spte_present(s) || !mfn_eq(spte_mfn(s), target))
			return broken("E1.20 reverse map of 0x%llx: entry %u of 0x%llx names another frame", n,
				      rmap_slot(entry), (unsigned long long)page.n);
		if (++*count > limit)
			return broken("E1.20 reverse map of 0x%llx: more than %u entries", n, limit);
		if (prev && links_of(entry).prev != prev)
			return broken("E1.20 reverse map of 0x%llx: back link", n);
	}
	if (first && rmap_oldest(target) != prev)
		return broken("E1.20 reverse map of 0x%llx: last entry", n);
	return NULL;
}

spte_t rmap_entry(u32 entry)
{
	const spte_t *table = port_map(rmap_page(entry));
	spte_t s = table[rmap_slot(entry)];

	port_unmap(table);
	return s;
}
