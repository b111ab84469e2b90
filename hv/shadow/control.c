// SPDX-License-Identifier: GPL-2.0-or-later
// Shadow paging on and off, and the one place that runs all checkers (spec A.5, A.18 teardown).
#include "../base/report.h"
#include "../mem/heap.h"
#include "../mem/tlb.h"
#include "control.h"
#include "private.h"

void domain_crash(struct domain *d, const char *reason)
{
	if (!d->dead)
		d->death = reason;
	d->dead = true;
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
	page_of(d->shadow.identity)->count_info &= ~PAGE_ALLOCATED;
	page_put(d->shadow.identity);
	d->shadow.identity = MFN_NONE;
}

enum hv_status shadow_enable(struct domain *d, u32 opts, u32 pool_pages)
{
	struct shadow_domain *s = &d->shadow;

	hv_assert(!s->enabled);
	*s = (struct shadow_domain){ .opts = opts & SHADOW_OPT_ALL, .opt_flags = opts & SHADOW_OPT_LINUX_L3 };
	if (port_phys_bits() >= 52)
		s->opts &= ~SHADOW_OPT_FAST; // magic entries need address bits that are reserved (spec A.12)
	enum hv_status status = shadow_set_allocation(d, pool_pages);

	if (status == HV_OK)
		status = shadow_feed_p2m(d);
	if (status == HV_OK)
		status = make_identity(d);
	if (status != HV_OK) {
		shadow_teardown(d);
		return status;
	}
	s->enabled = true;
	return HV_OK;
}

static void free_p2m_pages(struct domain *d, struct page_list *list)
{
	while (list->length) {
		mfn_t m = page_list_pop(list);

		hv_assert(page_references(m) == 1);
		*page_of(m) = (struct page_info){ 0 };
		d->shadow.p2m_pages--;
		heap_free(m);
	}
}

void shadow_teardown(struct domain *d)
{
	struct shadow_domain *s = &d->shadow;

	s->enabled = false;
	for (u32 i = 0; i < d->vcpu_count; i++) {
		shadow_step_done(&d->vcpu[i]); // a domain may be killed in the middle of one
		shadow_detach(&d->vcpu[i]);
	}
	shadow_blow_tables(d); // nothing is loaded: without pins every shadow goes
	pool_give_back_all(d);
	drop_identity(d);
	for (gfn_t g = p2m_next(&d->p2m, gfn(0)); !gfn_eq(g, GFN_INVALID); g = p2m_next(&d->p2m, gfn(g.n + 1))) {
		mfn_t m = p2m_clear(&d->p2m, g);

		page_of(m)->count_info &= ~PAGE_ALLOCATED;
		page_put(m);
	}
	free_p2m_pages(d, &d->p2m.tables);
	free_p2m_pages(d, &d->p2m.spare);
	p2m_start(&d->p2m, d->owner);
}

const char *shadow_check_torn_down(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;

	if (s->total_pages || s->free_pages || s->p2m_pages || s->shadow_count || s->free.length || s->pinned.length)
		return broken("E1.52 after teardown: total %u free %u p2m %u shadows %u", s->total_pages,
			      s->free_pages, s->p2m_pages, s->shadow_count);
	if (heap_used())
		return broken("E1.52 after teardown: %llu frames are not back", (unsigned long long)heap_used());
	return heap_check();
}

static const char *check_counters(const struct domain *d)
{
	const struct shadow_domain *s = &d->shadow;

	if (s->lock.holder)
		return broken("E1.53 lock held by cpu %u in %s", s->lock.holder - 1, s->lock.where);
	if (s->free.length != s->free_pages || s->free_pages > s->total_pages)
		return broken("E1.2 pool: free %u, list %u, total %u", s->free_pages, s->free.length, s->total_pages);
	if (s->hash_walking)
		return broken("E1.13 hash_walking at rest");
	if (s->pinned.length > s->shadow_count)
		return broken("E1.22 pinned list: %u elements, %u shadows", s->pinned.length, s->shadow_count);
	if (s->opt_flags & ~s->opts)
		return broken("E1.28 option flags 0x%x outside 0x%x", s->opt_flags, s->opts);
	if (s->enabled && (mfn_is_none(s->identity) || mfn_is_none(d->p2m.root)))
		return broken("E1.51 shadow paging on without its tables");
	return NULL;
}

// The structural rules come first: what follows walks those structures.
const char *shadow_check(const struct domain *d, bool full)
{
	const char *bad = check_counters(d);

	if (!bad)
		bad = root_check(d);
	if (!full || bad)
		return bad;
	bad = hash_check(d);
	if (!bad)
		bad = pool_check(d);
	if (!bad)
		bad = pin_check(d);
	if (!bad)
		bad = ref_check(d);
	if (!bad)
		bad = entry_check(d);
	return bad;
}
