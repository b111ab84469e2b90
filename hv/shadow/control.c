// SPDX-License-Identifier: GPL-2.0-or-later
// Shadow paging on and off, and the one place that runs all checkers (spec A.5, A.18 teardown).
#include "../base/report.h"
#include "../mem/heap.h"
#include "../mem/tlb.h"
#include "control.h"
#include "private.h"

void domain_crash(struct domain *d, const char *reason)
{
	const char *none = NULL;

	(void)__atomic_compare_exchange_n(&d->death, &none, reason, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	__atomic_store_n(&d->dead, true, __ATOMIC_RELEASE);
}

// A 2-level table of 4 MiB pages that maps all of 32-bit space onto itself.
static enum hv_status make_identity(struct domain *d)
{
	const struct pt_mode *mode = &pt_modes[PT_MODE_32];
	enum hv_status status = heap_alloc(d->owner, &d->shadow.identity);

	if (status != HV_OK)
		return status;
	u32 *table = port_map(d->shadow.identity);

	for (u32 i = 0; i < pt_entries(mode, 1); i++)
		table[i] = i << mode->level[1].shift | (u32)(PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS);
	port_unmap(table);
	return HV_OK;
}

static void drop_identity(struct domain *d)
{
	if (mfn_is_none(d->shadow.identity))
		return;
	page_release(d->shadow.identity);
	d->shadow.identity = MFN_NONE;
}

// Test mode is the enable bit alone; the others build on one another. Log-dirty needs none of them and goes with all.
bool shadow_modes_fit(u32 modes)
{
	if (modes == MODE_LOGDIRTY)
		return true;
	modes &= ~MODE_LOGDIRTY;
	if (!(modes & MODE_ENABLE) || modes & ~MODE_HVM)
		return false;
	if ((modes & MODE_TRANSLATE) && !(modes & MODE_REFCOUNTS))
		return false;
	return !(modes & MODE_EXTERNAL) || (modes & MODE_TRANSLATE);
}

enum hv_status shadow_enable(struct domain *d, u32 modes, u32 opts, u32 pool_pages)
{
	struct shadow_domain *s = &d->shadow;
	u32 given = s->total_pages; // spec A.5: it stays
	bool more = true;

	if (s->modes || !shadow_modes_fit(modes) || ((modes & MODE_LOGDIRTY) && modes != MODE_LOGDIRTY))
		return HV_EINVAL;
	*s = (struct shadow_domain){ .opts = opts & SHADOW_OPT_ALL, .epoch = 1, .salt = (u32)port_entropy(), .free = s->free,
				     .total_pages = s->total_pages, .free_pages = s->free_pages, .stats = s->stats };
	if (modes & MODE_REFCOUNTS)
		s->opt_flags = opts & SHADOW_OPT_LINUX_L3; // full modes only (spec A.8)
	if (port_phys_bits() >= 52)
		s->opts &= ~SHADOW_OPT_FAST; // magic entries need address bits that are reserved (spec A.12)
	enum hv_status status = HV_OK;

	pool_pages = pool_pages > given ? pool_pages : given;
	pool_pages = pool_pages > shadow_lower_bound(d) ? pool_pages : shadow_lower_bound(d);
	if (modes & MODE_TRANSLATE)
		pool_pages += P2M_TABLES_MAX + 1; // the p2m, so that the pool is never below what it was given
	while (status == HV_OK && more) {
		status = shadow_resize(d, pool_pages, &more);
		domain_breathe(d);
	}
	if (status == HV_OK && (modes & MODE_TRANSLATE))
		status = shadow_feed_p2m(d);
	if (status == HV_OK && (modes & MODE_TRANSLATE))
		status = make_identity(d);
	if (status == HV_OK && (modes & MODE_LOGDIRTY))
		status = shadow_dirty_start(d);
	if (status != HV_OK) {
		domain_unlock(d);
		shadow_disable(d, given); // in the reverse order
		domain_lock(d, BOUND_POOL);
		return status;
	}
	s->enabled = true;
	s->modes = modes;
	return HV_OK;
}

static bool free_p2m_pages(struct domain *d, struct page_list *list)
{
	for (u32 i = 0; list->length && i < SHADOW_TEARDOWN_BATCH; i++) {
		mfn_t m = page_list_pop(list);

		hv_assert(page_references(m) == 1);
		page_describe(m, (struct page_info){ 0 });
		d->shadow.p2m_pages--;
		heap_free(m);
	}
	return !list->length;
}

// Give up guest RAM from g on. False: there is more, *g says where.
static bool free_ram(struct domain *d, gfn_t *g)
{
	struct p2m_entry e;

	for (u64 end = d->p2m.visits + SHADOW_TEARDOWN_BATCH; d->p2m.visits < end;) {
		*g = p2m_next_entry(&d->p2m, *g, &e);
		if (gfn_eq(*g, GFN_INVALID))
			return true;
		e = p2m_clear_entry(&d->p2m, *g);
		for (u64 k = 0; p2m_is_ram(e.type) && k < BIT(e.order); k++)
			page_release(mfn(e.frame.n + k));
		if (e.type == P2M_FOREIGN)
			page_unhold(e.frame);
	}
	return false;
}

void shadow_disable(struct domain *d, u32 keep)
{
	struct shadow_domain *s = &d->shadow;
	gfn_t g = gfn(0);

	domain_lock(d, BOUND_STEP);
	for (u32 i = 0; i < d->vcpu_count; i++)
		shadow_step_done(&d->vcpu[i]); // a domain may be killed in the middle of one
	domain_unlock(d);
	domain_lock(d, BOUND_TEARDOWN);
	bool more;

	shadow_dirty_stop(d, &more);
	s->modes = 0; // from here on nobody else finds anything to do
	s->enabled = false;
	for (u32 i = 0; i < d->vcpu_count; i++)
		shadow_detach(&d->vcpu[i]);
	shadow_blow_tables(d); // nothing is loaded: without pins every shadow goes
	while (s->dying.length) {
		domain_breathe(d);
		pool_reap(d, SHADOW_TEARDOWN_BATCH * SPTES_PER_PAGE);
	}
	domain_breathe(d);
	while (more) {
		shadow_dirty_stop(d, &more);
		domain_breathe(d);
	}
	while (!free_ram(d, &g))
		domain_breathe(d);
	domain_breathe(d);
	hv_assert(s->free_pages == s->total_pages);
	while (!pool_give_back(d, SHADOW_TEARDOWN_BATCH, keep))
		domain_breathe(d);
	drop_identity(d);
	while (!free_p2m_pages(d, &d->p2m.tables) || !free_p2m_pages(d, &d->p2m.spare))
		domain_breathe(d);
	p2m_start(&d->p2m, d->owner);
	*s = (struct shadow_domain){ .stats = s->stats, .free = s->free, .total_pages = s->total_pages,
				     .free_pages = s->free_pages }; // as if it had never been on
	domain_unlock(d);
}

void shadow_teardown(struct domain *d) { shadow_disable(d, 0); }

// alone: no other domain exists, whose processors would change frames meanwhile.
const char *shadow_check_torn_down(const struct domain *d, bool alone)
{
	const struct shadow_domain *s = &d->shadow;
	const char *bad = bound_check(d);

	if (s->total_pages || s->free_pages || s->p2m_pages || s->shadow_count || s->free.length || s->pinned.length ||
	    s->dying.length || s->dirty.nodes)
		return broken("E1.52 after teardown: total %u free %u p2m %u shadows %u dirty %u", s->total_pages,
			      s->free_pages, s->p2m_pages, s->shadow_count, s->dirty.nodes);
	if (bad)
		return bad;
	for (u64 n = page_first; alone && n < page_first + heap_touched(); n++) {
		const struct page_info *page = page_of(mfn(n));
		u32 info = page_count_info(mfn(n));

		if ((page->owner && page->owner != PAGE_OWNER_GONE) || page->pool)
			return broken("E1.52 after teardown: frame 0x%llx is not back", (unsigned long long)n);
		if (page->owner == PAGE_OWNER_GONE && (info & PAGE_COUNT_MASK) != (info & PAGE_HOLDS_MASK) / PAGE_HOLD)
			return broken("E1.52 frame 0x%llx has no owner and %u references, %u holds", (unsigned long long)n,
				      info & PAGE_COUNT_MASK, page_holds(mfn(n)));
	}
	return alone ? heap_check() : NULL;
}

static const char *check_counters(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;

	if (s->free.length != s->free_pages || s->free_pages > s->total_pages)
		return broken("E1.2 pool: free %u, list %u, total %u", s->free_pages, s->free.length, s->total_pages);
	if (s->pinned.length > s->shadow_count || s->pinned.length > SHADOW_PINNED_MAX)
		return broken("E1.22 pinned list: %u elements, %u shadows", s->pinned.length, s->shadow_count);
	if (s->opt_flags & ~s->opts)
		return broken("E1.28 option flags 0x%x outside 0x%x", s->opt_flags, s->opts);
	if (s->enabled != (s->modes != 0) || (s->enabled && !shadow_modes_fit(s->modes)))
		return broken("E1.51 modes 0x%x", s->modes);
	if ((s->modes & MODE_TRANSLATE) && (mfn_is_none(s->identity) || mfn_is_none(d->p2m.root)))
		return broken("E1.51 shadow paging on without its tables");
	const char *bad = dirty_check_mode(d);

	return bad ? bad : bound_check(d);
}

// The structural rules come first: what follows walks those structures.
const char *shadow_check(const struct domain *d, u32 audit)
{
	const char *bad = check_counters(d);

	if (!bad)
		bad = root_check(d);
	if (!bad && (audit & (AUDIT_HASH | AUDIT_HASH_FULL)))
		bad = hash_check(d);
	if (!bad && (audit & (AUDIT_HASH | AUDIT_HASH_FULL)))
		bad = pin_check(d);
	if (!bad && (audit & AUDIT_HASH_FULL))
		bad = pool_check(d);
	if (!bad && (audit & AUDIT_HASH_FULL))
		bad = ref_check(d);
	if (!bad && (audit & (AUDIT_ENTRIES | AUDIT_ENTRIES_FULL)))
		bad = entry_check(d, audit);
	if (!bad && (audit & AUDIT_HASH_FULL))
		bad = dirty_check(d);
	return bad;
}
