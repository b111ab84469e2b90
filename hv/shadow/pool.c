// SPDX-License-Identifier: GPL-2.0-or-later
// The pool that shadows live in (spec A.9): allocation, reclaim, resizing.
//
// Free pages keep their contents, since paging-structure caches may still walk them; they are flushed
// lazily, when a page is reused. Reclaim unpins roots from the cold end of the pinned list, then empties
// loaded roots. A shadow of several pages is a chain through page_info.sibling; the pages need not be
// adjacent.
//
// Invariants (E.1): 1, 2 accounting; 4 no owner and no references on pool pages; 6 complete shadows;
// 7 pool_alloc() after pool_reserve() never fails; 8 the pool is not below its minimum.
// Reserve costs the number of pinned shadows plus the entries of what they take along.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/heap.h"
#include "../mem/tlb.h"
#include "private.h"

#define P2M_KEEP 1 // pages above the minimum that feeding the p2m leaves in the pool

static u32 minimum(const struct domain *d)
{
	return SHADOW_MIN_BASE + SHADOW_MIN_PER_VCPU * d->vcpu_count;
}

u32 shadow_lower_bound(const struct domain *d)
{
	return (minimum(d) + (u32)(d->p2m.mapped / 256) + 3) & ~3u;
}

// Empty the loaded roots: their tables go, the roots themselves stay hashed, promoted and loaded.
static void unhook(struct domain *d, struct vcpu *v)
{
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		if (!mfn_is_none(v->shadow.root[i]))
			shadow_clear(d, v->shadow.root[i]);
}

// Are there enough? Under pressure (an injected failure) not before all that can go is gone.
static bool enough(const struct domain *d, u32 pages, bool pressed)
{
	return !pressed && d->shadow.free_pages >= pages;
}

enum hv_status pool_reserve(struct domain *d, u32 pages)
{
	struct shadow_domain *s = &d->shadow;

	if (port_should_fail(FAIL_POOL))
		return HV_ENOMEM;
	bool pressed = port_should_fail(FAIL_RECLAIM);

	if (enough(d, pages, pressed))
		return HV_OK;
	for (u32 n = s->pinned.tail, prev; n; n = prev) {
		prev = page_of(mfn(n))->list.prev; // unpinning destroys n at most: never another pinned shadow
		shadow_unpin(d, mfn(n));
		s->stats.reclaimed++;
		if (enough(d, pages, pressed))
			return HV_OK;
	}
	// The vcpu that is being served comes last: what it has it needs, and would have to make again for ever.
	for (u32 i = 1; i <= d->vcpu_count && !enough(d, pages, pressed); i++)
		unhook(d, &d->vcpu[(s->served + i) % d->vcpu_count]);
	tlb_flush(s->cpus); // loaded tables changed in place: every processor of the domain may use them
	return s->free_pages >= pages ? HV_OK : HV_ENOMEM;
}

enum hv_status pool_reserve_or_kill(struct domain *d, u32 pages)
{
	enum hv_status status = pool_reserve(d, pages);

	if (status != HV_OK)
		domain_crash(d, "out of shadow memory");
	return status;
}

// A free page is about to be written: nobody may still walk it for the table that it was.
static void flush_stale(const struct domain *d, mfn_t m)
{
	u32 stale = tlb_stale_mask(d->shadow.cpus, page_of(m)->free_stamp);

	if (stale)
		tlb_flush(stale);
}

mfn_t pool_alloc(struct domain *d, u32 type, u32 back)
{
	u32 pages = type == SHADOW_ROOTS_PAE ? 1 : shadow_pages(shadow_row(type));
	mfn_t head = MFN_NONE, last = MFN_NONE;

	hv_assert(d->shadow.free_pages >= pages);
	for (u32 i = 0; i < pages; i++) {
		mfn_t m = page_list_pop(&d->shadow.free);
		struct page_info *page = page_of(m);

		flush_stale(d, m);
		void *at = port_map(m);

		mem_zero(at, FRAME_BYTES);
		port_unmap(at);
		*page = (struct page_info){ .back = i ? 0 : back };
		page->sh.type = type & 31;
		page->sh.head = i == 0;
		if (i)
			page_of(last)->sibling = (u32)m.n;
		else
			head = m;
		last = m;
	}
	d->shadow.free_pages -= pages;
	return head;
}

void pool_free(struct domain *d, mfn_t smfn)
{
	hv_assert(page_of(smfn)->sh.head && !page_of(smfn)->sh.count && !page_of(smfn)->sh.pinned);
	for (u32 i = 0; i < d->vcpu_count; i++)
		if (mfn_eq(d->vcpu[i].shadow.last_writable_l1, smfn))
			d->vcpu[i].shadow.last_writable_l1 = MFN_NONE;
	for (u32 n = (u32)smfn.n, next; n; n = next) {
		next = page_of(mfn(n))->sibling;
		*page_of(mfn(n)) = (struct page_info){ .free_stamp = tlb_clock() };
		page_list_add_head(&d->shadow.free, mfn(n));
		d->shadow.free_pages++;
	}
}

// Move `count` pages from the heap to the pool. HV_ENOMEM: none moved.
static enum hv_status grow(struct domain *d, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		mfn_t m;

		if (heap_alloc(0, &m) != HV_OK) {
			while (i--) {
				heap_free(page_list_pop(&d->shadow.free));
				d->shadow.free_pages--;
				d->shadow.total_pages--;
			}
			return HV_ENOMEM;
		}
		page_list_add_head(&d->shadow.free, m);
		d->shadow.free_pages++;
		d->shadow.total_pages++;
	}
	return HV_OK;
}

static void give_back_one(struct domain *d)
{
	mfn_t m = page_list_pop(&d->shadow.free);

	flush_stale(d, m); // the heap's next owner writes what a stale walk would read as entries
	d->shadow.free_pages--;
	d->shadow.total_pages--;
	heap_free(m);
}

static enum hv_status resize(struct domain *d, u32 pages)
{
	if (pages == 0 && d->shadow.enabled)
		return HV_EBUSY;
	if (pages < shadow_lower_bound(d))
		pages = shadow_lower_bound(d);
	if (d->shadow.total_pages < pages)
		return grow(d, pages - d->shadow.total_pages);
	while (d->shadow.total_pages > pages) {
		if (pool_reserve(d, 1) != HV_OK)
			return HV_ENOMEM;
		give_back_one(d);
	}
	return HV_OK;
}

void pool_give_back_all(struct domain *d)
{
	hv_assert(d->shadow.free_pages == d->shadow.total_pages);
	while (d->shadow.total_pages)
		give_back_one(d);
}

enum hv_status shadow_set_allocation(struct domain *d, u32 pages)
{
	shadow_lock(d, __func__);
	enum hv_status status = resize(d, pages);

	shadow_unlock(d);
	return status;
}

enum hv_status shadow_feed_p2m(struct domain *d)
{
	enum hv_status status = HV_OK;

	shadow_lock(d, __func__);
	while (status == HV_OK && p2m_needs_pages(&d->p2m)) {
		if (port_should_fail(FAIL_P2M) ||
		    (d->shadow.total_pages <= minimum(d) + P2M_KEEP && grow(d, 1) != HV_OK)) {
			status = HV_ENOMEM;
			break;
		}
		status = pool_reserve(d, 1);
		if (status != HV_OK)
			break;
		mfn_t m = page_list_pop(&d->shadow.free);

		flush_stale(d, m);
		*page_of(m) = (struct page_info){ .count_info = PAGE_ALLOCATED | 1, .owner = d->owner,
						  .back = BACK_NONE };
		d->shadow.free_pages--;
		d->shadow.total_pages--;
		d->shadow.p2m_pages++;
		p2m_give_page(&d->p2m, m);
	}
	shadow_unlock(d);
	return status;
}

void pool_blow(struct domain *d)
{
	for (u32 n = d->shadow.pinned.tail, prev; n; n = prev) {
		prev = page_of(mfn(n))->list.prev;
		shadow_unpin(d, mfn(n));
	}
	for (u32 i = 0; i < d->vcpu_count; i++)
		unhook(d, &d->vcpu[i]);
	tlb_flush(d->shadow.cpus);
}

void shadow_blow_tables(struct domain *d)
{
	shadow_lock(d, __func__);
	pool_blow(d);
	shadow_unlock(d);
}

const char *pool_check(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;
	const char *bad = page_list_check(&s->free, "E1.2 free list");
	u32 live = 0;

	if (bad)
		return bad;
	if (s->free.length != s->free_pages)
		return broken("E1.2 free_pages is %u, the list has %u", s->free_pages, s->free.length);
	for (u32 n = s->free.head; n; n = page_of(mfn(n))->list.next) {
		const struct page_info *page = page_of(mfn(n));

		if (page->owner || page->count_info)
			return broken("E1.4 free pool page 0x%x has an owner", n);
		if (page->sh.type || page->sh.head || page->sh.count || page->sh.pinned || page->back || page->sibling)
			return broken("E1.2 free pool page 0x%x is in use", n);
	}
	for (u32 b = 0; b < SHADOW_HASH_BUCKETS; b++)
		for (u32 n = s->bucket[b]; n; n = page_of(mfn(n))->next_shadow) {
			const struct shadow_row *row = shadow_row(shadow_type_of(mfn(n)));
			u32 pages = 0;

			for (u32 m = n; m; m = page_of(mfn(m))->sibling, pages++) {
				const struct page_info *page = page_of(mfn(m));

				if (page->owner || page->count_info)
					return broken("E1.4 shadow page 0x%x has an owner", m);
				if (page->sh.type != shadow_type_of(mfn(n)) || page->sh.head != (m == n) ||
				    (m != n && (page->sh.count || page->sh.pinned)) || pages > 4)
					return broken("E1.6 %s 0x%x: page 0x%x", row->name, n, m);
			}
			if (pages != shadow_pages(row))
				return broken("E1.6 %s 0x%x has %u pages", row->name, n, pages);
			live += pages;
		}
	for (u32 i = 0; i < d->vcpu_count; i++)
		live += !mfn_is_none(d->vcpu[i].shadow.roots_pae);
	if (s->total_pages != s->free_pages + live)
		return broken("E1.1 pool: total %u, free %u + live %u", s->total_pages, s->free_pages, live);
	if (s->p2m_pages != d->p2m.tables.length + d->p2m.spare.length)
		return broken("E1.1 pool: %u p2m pages, the p2m has %u", s->p2m_pages,
			      d->p2m.tables.length + d->p2m.spare.length);
	if (s->enabled && !d->dead && s->total_pages < minimum(d))
		return broken("E1.8 pool: %u pages, the minimum is %u", s->total_pages, minimum(d));
	return NULL;
}
