// SPDX-License-Identifier: GPL-2.0-or-later
// Taking access away from the guest (spec A.15): write access before a frame becomes a table or is to be seen dirty, all
// mappings before it leaves the p2m, shadows when a frame stops being a table.
//
// Everything goes along reverse maps: the cost is the number of entries that name the frame or the shadow, whatever else there
// is (SHADOW_MAPS_MAX, SHADOW_PARENTS_MAX).
#include "../mem/tlb.h"
#include "private.h"

bool access_remove_write(struct domain *d, mfn_t gmfn)
{
	for (u32 entry = page_of(gmfn)->maps; entry && page_writable_count(gmfn); entry = rmap_next(entry)) {
		spte_t s = rmap_entry(entry);

		d->shadow.stats.visits++;
		if (!(s.v & PTE_W))
			continue;
		// At level 0 nothing is left to flush by the setter: the caller flushes for the frame.
		(void)shadow_set_at(d, rmap_page(entry), rmap_slot(entry), (spte_t){ s.v & ~(PTE_W | PTE_D) });
		d->shadow.stats.write_removed++;
	}
	// The stamp of the last writable mapping's end tells who may still hold one, this time or earlier.
	return !page_is_table(gmfn) && tlb_stale_mask(d->shadow.cpus, page_of(gmfn)->stamp) != 0;
}

void shadow_write_protect(struct domain *d, mfn_t gmfn)
{
	if (access_remove_write(d, gmfn))
		tlb_flush(d->shadow.cpus);
}

void access_remove_entries(struct domain *d, mfn_t target)
{
	for (u32 entry; (entry = page_of(target)->maps) != 0;)
		(void)shadow_set_at(d, rmap_page(entry), rmap_slot(entry), SPTE_EMPTY); // the caller flushes
}

void access_remove_mappings(struct domain *d, mfn_t gmfn)
{
	access_remove_entries(d, gmfn);
	tlb_flush(d->shadow.cpus);
}

void shadow_unmap_frame(struct domain *d, mfn_t gmfn)
{
	access_remove_mappings(d, gmfn);
}

// ---- shadows ---------------------------------------------------------------------------------------

static bool shadowed_as(mfn_t gmfn, u32 type)
{
	return page_is_table(gmfn) && (page_of(gmfn)->shadow_flags & BIT(type));
}

// Removing one shadow can take others of the same frame along (a table that maps itself): the flags are
// looked at afresh for each type, roots first.
static void remove_type(struct domain *d, mfn_t gmfn, u32 type, bool all)
{
	if (!shadowed_as(gmfn, type))
		return;
	mfn_t smfn = table_find(d, type, (u32)gmfn.n);

	if (shadow_pinnable(d, type))
		shadow_unpin(d, smfn);
	// A parent may be a shadow of the same frame and hold the last reference: one entry at a time.
	while (shadowed_as(gmfn, type) && page_of(smfn)->maps) {
		u32 entry = page_of(smfn)->maps;

		(void)shadow_set_at(d, rmap_page(entry), rmap_slot(entry), SPTE_EMPTY); // access_remove_shadows() flushes
	}
	if (all && shadowed_as(gmfn, type) && shadow_rows[type].root)
		root_detach_from(d, gmfn);
	d->shadow.stats.unshadowed += !shadowed_as(gmfn, type);
}

void access_remove_shadows(struct domain *d, mfn_t gmfn, bool all)
{
	if (!page_is_table(gmfn))
		return;
	if (all && pool_reserve_or_kill(d, ROOT_DETACH_PAGES) != HV_OK) // should detached roots be needed
		return;
	for (u32 level = PT_LEVELS_MAX; level-- > 0;)
		for (u32 type = 1; type < SHADOW_TYPE_COUNT; type++)
			if (shadow_rows[type].protects && shadow_rows[type].level == level)
				remove_type(d, gmfn, type, all);
	tlb_flush(d->shadow.cpus);
	if (all && page_is_table(gmfn))
		domain_crash(d, "a table cannot be unshadowed");
}

void shadow_remove_all(struct domain *d, mfn_t gmfn)
{
	access_remove_shadows(d, gmfn, true);
}

void shadow_forget_frame(struct domain *d, mfn_t gmfn)
{
	root_drop(d, gmfn);
	access_remove_shadows(d, gmfn, false);
	hv_assert(!page_is_table(gmfn)); // only a root in CR3 could remain
	access_remove_mappings(d, gmfn);
}
