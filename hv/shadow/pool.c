// SPDX-License-Identifier: GPL-2.0-or-later
// The pool that shadows live in (spec A.9): allocation, reclaim, resizing.
//
// Free pages keep their contents, since paging-structure caches may still walk them; they are flushed
// lazily, when a page is reused. Reclaim takes dying shadows apart, unpins roots from the cold end of the pinned list, then
// empties loaded roots. A shadow of several pages is a chain through page_info.sibling; the pages need not be
// adjacent. Beside each page of entries stands one with their links (rmap.c).
//
// Invariants (E.1): 1, 2 accounting; 4 no owner and no references on pool pages; 6 complete shadows;
// 7 pool_alloc() after pool_reserve() never fails; 8 the pool is not below its lower bound while any mode is on.
// Rule 8 has no exceptions here: resizing stops at the lower bound; what raises it (RAM that is added, p2m tables under log-dirty)
// makes the pool grow first, or fails; a page for the p2m is taken from what lies above it, or from the heap.
// Each dying shadow gives two pages at least for the entries of one table, so a reserve of n pages looks at n / 2 tables, the
// pinned list and the loaded roots at most.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/heap.h"
#include "../mem/tlb.h"
#include "private.h"

static u32 minimum(const struct domain *d)
{
	return SHADOW_MIN_BASE + SHADOW_MIN_PER_VCPU * d->vcpu_count;
}

// What the log-dirty bitmap can take from it, while there is one.
static u32 kept(const struct domain *d)
{
	return d->shadow.dirty.on ? d->shadow.dirty.nodes_max + DIRTY_RESERVE : d->shadow.dirty.nodes;
}

// With so many gfns of RAM, and so many pages for the log-dirty bitmap.
static u32 bound_with(const struct domain *d, u64 mapped, u32 nodes)
{
	return (minimum(d) + (u32)(mapped / 256) + nodes + 3) & ~3u;
}

u32 shadow_lower_bound(const struct domain *d)
{
	return bound_with(d, d->p2m.mapped, kept(d));
}

// Empty the loaded roots: their tables go, the roots themselves stay hashed, promoted and loaded.
static void unhook(struct domain *d, struct vcpu *v)
{
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		if (!mfn_is_none(v->shadow.root[i])) {
			shadow_clear(d, v->shadow.root[i]);
			page_of(v->shadow.root[i])->epoch = d->shadow.epoch;
		}
}

// Take one dying shadow apart. Looking for entries costs something where there are none, too.
static void reap_one(struct domain *d)
{
	mfn_t smfn = page_list_pop(&d->shadow.dying);

	d->shadow.stats.visits += shadow_pages(shadow_row(shadow_type_of(smfn))) * SHADOW_SCAN_VISITS;
	shadow_clear(d, smfn); // what it held last dies in turn
	pool_free(d, smfn);
}

void pool_reap(struct domain *d, u32 visits)
{
	u64 end = d->shadow.stats.visits + visits;

	while (d->shadow.dying.length && d->shadow.stats.visits < end)
		reap_one(d);
}

// Are there enough, maybe after dying shadows were taken apart? Under pressure (an injected failure) not before all that can
// go is gone.
static bool enough(struct domain *d, u32 pages, bool pressed)
{
	while (d->shadow.dying.length && (pressed || d->shadow.free_pages < pages))
		reap_one(d);
	return !pressed && d->shadow.free_pages >= pages;
}

enum hv_status pool_reserve(struct domain *d, u32 pages)
{
	struct shadow_domain *s = &d->shadow;

	if (port_should_fail(FAIL_POOL))
		return HV_ENOMEM;
	bool pressed = port_should_fail(FAIL_RECLAIM);

	if (s->dirty.on)
		pages += DIRTY_RESERVE;
	d->hold.exempt |= pressed; // reclaims more than anybody asked for
	if (enough(d, pages, pressed))
		return HV_OK;
	for (u32 n = s->pinned.tail, prev; n; n = prev) {
		prev = page_of(mfn(n))->list.prev; // unpinning destroys n at most: never another pinned shadow
		s->stats.visits++;
		shadow_unpin(d, mfn(n));
		s->stats.reclaimed++;
		if (enough(d, pages, pressed))
			return HV_OK;
	}
	// The vcpu that is being served comes last: what it has it needs, and would have to make again for ever.
	for (u32 i = 1; i <= d->vcpu_count && !enough(d, pages, pressed); i++)
		unhook(d, &d->vcpu[(s->served + i) % d->vcpu_count]);
	tlb_flush(s->cpus); // loaded tables changed in place: every processor of the domain may use them
	(void)enough(d, pages, pressed);
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

// A free page, junk in it, for a part of a shadow.
static mfn_t take_page(struct domain *d, u32 type)
{
	mfn_t m = page_list_pop(&d->shadow.free);

	flush_stale(d, m);
	page_describe(m, (struct page_info){ .pool = d->owner & 0xff });
	page_of(m)->sh.type = type & 31;
	d->shadow.free_pages--;
	return m;
}

mfn_t pool_alloc(struct domain *d, u32 type, u32 back)
{
	const struct shadow_row *row = shadow_rows[type].name ? shadow_row(type) : NULL;
	mfn_t head = MFN_NONE, last = MFN_NONE;

	hv_assert(d->shadow.free_pages >= (row ? shadow_pool_pages(row) : 1));
	for (u32 i = 0; i < (row ? shadow_pages(row) : 1); i++) {
		mfn_t m = take_page(d, type);
		struct page_info *page = page_of(m);
		void *at = port_map(m);

		mem_zero(at, FRAME_BYTES);
		port_unmap(at);
		page->sh.head = i == 0;
		if (row)
			page->links = (u32)take_page(d, SHADOW_LINKS).n;
		if (i) {
			page_of(last)->sibling = (u32)m.n;
			page->back = (u32)head.n;
		} else {
			head = m;
		}
		last = m;
	}
	page_of(head)->back = back;
	page_of(head)->epoch = d->shadow.epoch;
	return head;
}

static void free_page(struct domain *d, u32 n)
{
	page_describe(mfn(n), (struct page_info){ .free_stamp = tlb_clock(), .pool = d->owner & 0xff });
	page_list_add_head(&d->shadow.free, mfn(n));
	d->shadow.free_pages++;
}

void pool_free(struct domain *d, mfn_t smfn)
{
	hv_assert(page_of(smfn)->sh.head && !page_of(smfn)->sh.count && !page_of(smfn)->sh.pinned);
	for (u32 n = (u32)smfn.n, next; n; n = next) {
		next = page_of(mfn(n))->sibling;
		if (page_of(mfn(n))->links)
			free_page(d, page_of(mfn(n))->links);
		free_page(d, n);
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
		__atomic_store_n(&page_of(m)->pool, d->owner & 0xff, __ATOMIC_RELAXED);
		page_list_add_head(&d->shadow.free, m);
		d->shadow.free_pages++;
		d->shadow.total_pages++;
	}
	return HV_OK;
}

enum hv_status pool_keep(struct domain *d, u32 frames, u32 nodes)
{
	u32 need = bound_with(d, d->p2m.mapped + frames, kept(d) + nodes);

	return need > d->shadow.total_pages ? grow(d, need - d->shadow.total_pages) : HV_OK;
}

static void give_back_one(struct domain *d)
{
	mfn_t m = page_list_pop(&d->shadow.free);

	flush_stale(d, m); // the heap's next owner writes what a stale walk would read as entries
	d->shadow.free_pages--;
	d->shadow.total_pages--;
	heap_free(m);
}

enum hv_status shadow_resize_back(struct domain *d, u32 pages, bool *more)
{
	struct shadow_domain *s = &d->shadow;

	*more = false;
	if (s->modes && pages < shadow_lower_bound(d))
		pages = shadow_lower_bound(d); // it has risen since
	if (s->total_pages < pages) {
		u32 lacking = pages - s->total_pages;

		*more = lacking > SHADOW_RESIZE_BATCH;
		return grow(d, *more ? SHADOW_RESIZE_BATCH : lacking);
	}
	for (u32 i = 0; i < SHADOW_RESIZE_BATCH && s->total_pages > pages; i++) {
		if (pool_reserve(d, 1) != HV_OK)
			return HV_ENOMEM;
		give_back_one(d);
	}
	*more = s->total_pages > pages;
	return HV_OK;
}

enum hv_status shadow_resize(struct domain *d, u32 pages, bool *more)
{
	*more = false;
	if (pages == 0 && d->shadow.enabled)
		return HV_EBUSY;
	return shadow_resize_back(d, pages < shadow_lower_bound(d) ? shadow_lower_bound(d) : pages, more);
}

bool pool_give_back(struct domain *d, u32 pages, u32 keep)
{
	while (d->shadow.total_pages > keep && pages--)
		give_back_one(d);
	return d->shadow.total_pages <= keep;
}

enum hv_status shadow_feed_p2m_one(struct domain *d)
{
	if (port_should_fail(FAIL_P2M) || pool_reserve(d, 1) != HV_OK ||
	    (d->shadow.total_pages <= shadow_lower_bound(d) && grow(d, 1) != HV_OK))
		return HV_ENOMEM;
	mfn_t m = page_list_pop(&d->shadow.free);

	flush_stale(d, m);
	page_describe(m, (struct page_info){ .count_info = PAGE_ALLOCATED | 1, .owner = d->owner, .back = BACK_NONE,
					   .pool = d->owner & 0xff });
	d->shadow.free_pages--;
	d->shadow.total_pages--;
	d->shadow.p2m_pages++;
	p2m_give_page(&d->p2m, m);
	return HV_OK;
}

enum hv_status shadow_feed_p2m(struct domain *d)
{
	enum hv_status status = HV_OK;

	while (status == HV_OK && p2m_needs_pages(&d->p2m))
		status = shadow_feed_p2m_one(d);
	return status;
}

void shadow_unfeed_p2m(struct domain *d, u32 total, u32 p2m)
{
	struct shadow_domain *s = &d->shadow;

	for (; s->p2m_pages > p2m && d->p2m.spare.length; s->p2m_pages--, s->total_pages++)
		free_page(d, (u32)p2m_take_page(&d->p2m).n);
	if (s->modes && total < shadow_lower_bound(d))
		total = shadow_lower_bound(d); // somebody else has come to rely on more since (rule 8)
	while (s->total_pages > total && s->free_pages)
		give_back_one(d);
}

void shadow_blow_tables(struct domain *d)
{
	d->shadow.epoch++; // what is still referred to, by dying shadows alone, is emptied should it be met again
	for (u32 n = d->shadow.pinned.tail, prev; n; n = prev) {
		prev = page_of(mfn(n))->list.prev;
		d->shadow.stats.visits++;
		shadow_unpin(d, mfn(n));
	}
	for (u32 i = 0; i < d->vcpu_count; i++)
		unhook(d, &d->vcpu[i]);
	tlb_flush(d->shadow.cpus);
}

static const char *check_free(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;
	const char *bad = page_list_check(&s->free, "E1.2 free list");

	if (!bad)
		bad = page_list_check(&s->dying, "E1.2 dying list");
	if (bad)
		return bad;
	if (s->free.length != s->free_pages)
		return broken("E1.2 free_pages is %u, the list has %u", s->free_pages, s->free.length);
	for (u32 n = s->free.head; n; n = page_of(mfn(n))->list.next) {
		const struct page_info *page = page_of(mfn(n));

		if (page_owner(mfn(n)) || page->count_info)
			return broken("E1.4 free pool page 0x%x has an owner", n);
		if (page->sh.type || page->sh.head || page->sh.count || page->sh.pinned || page->back || page->sibling ||
		    page->links || page->maps || page_pool(mfn(n)) != d->owner)
			return broken("E1.2 free pool page 0x%x is in use", n);
	}
	for (u32 n = s->dying.head; n; n = page_of(mfn(n))->list.next)
		if (!shadow_is_dying(mfn(n)) || page_of(mfn(n))->sh.count || page_of(mfn(n))->sh.pinned)
			return broken("E1.16 dying list: 0x%x is alive", n);
	return NULL;
}

// All pages of one shadow. *pages: how many, those of links included.
static const char *check_pages(const struct domain *d, u64 head, u32 *pages)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(mfn(head)));
	u32 seen = 0;

	for (u32 m = (u32)head; m; m = page_of(mfn(m))->sibling) {
		const struct page_info *page = page_of(mfn(m)), *links;

		if (page_owner(mfn(m)) || page_pool(mfn(m)) != d->owner || page->count_info)
			return broken("E1.4 shadow page 0x%x has an owner", m);
		if (page->sh.type != shadow_type_of(mfn(head)) || page->sh.head != (m == head) ||
		    (m != head && (page->sh.count || page->sh.pinned || page->back != head)) || ++seen > 4)
			return broken("E1.6 %s 0x%llx: page 0x%x", row->name, (unsigned long long)head, m);
		links = mfn_valid(mfn(page->links)) ? page_of(mfn(page->links)) : NULL;
		if (!links || page_owner(mfn(page->links)) || page_pool(mfn(page->links)) != d->owner ||
		    links->sh.type != SHADOW_LINKS)
			return broken("E1.6 %s 0x%llx: links 0x%x", row->name, (unsigned long long)head, page->links);
	}
	if (seen != shadow_pages(row))
		return broken("E1.6 %s 0x%llx has %u pages", row->name, (unsigned long long)head, seen);
	*pages += shadow_pool_pages(row);
	return NULL;
}

const char *pool_check(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;
	const char *bad = check_free(d);
	u32 live = s->dirty.nodes, owned = 0, p2m_pages = 0, dying = 0;

	for_each_shadow(d, n) {
		if (bad)
			return bad;
		bad = check_pages(d, n, &live);
		dying += shadow_is_dying(mfn(n));
	}
	if (bad)
		return bad;
	if (dying != s->dying.length)
		return broken("E1.16 dying list: %u elements, %u dying shadows", s->dying.length, dying);
	for (u32 i = 0; i < d->vcpu_count; i++)
		live += !mfn_is_none(d->vcpu[i].shadow.roots_pae);
	for (u64 n = page_first; n < page_first + heap_touched(); n++) {
		bool pooled = page_pool(mfn(n)) == d->owner;
		u32 owner = page_owner(mfn(n));

		owned += pooled && !owner;
		p2m_pages += pooled && owner == d->owner;
	}
	if (s->total_pages != s->free_pages + live || s->total_pages != owned)
		return broken("E1.1 pool: total %u, free %u + live %u, frames %u", s->total_pages, s->free_pages, live, owned);
	if (s->p2m_pages != d->p2m.tables.length + d->p2m.spare.length || s->p2m_pages != p2m_pages)
		return broken("E1.1 pool: %u p2m pages, the p2m has %u, frames %u", s->p2m_pages,
			      d->p2m.tables.length + d->p2m.spare.length, p2m_pages);
	if (s->modes && s->total_pages < shadow_lower_bound(d))
		return broken("E1.8 pool: %u pages, the lower bound is %u", s->total_pages, shadow_lower_bound(d));
	return NULL;
}
