// SPDX-License-Identifier: GPL-2.0-or-later
// Making, finding and destroying shadows of tables (spec A.6, A.7, A.8, A.16 "get and create").
//
// A shadow dies when its last reference goes: nobody finds it any more and its guest table may be written to, at once. What it
// holds itself, up to a whole tree, is let go of later, a little at a time (pool_reap()).
#include "../mem/tlb.h"
#include "private.h"

mfn_t table_find(struct domain *d, u32 type, u32 key)
{
	// Cheap test first: the frame's own flags.
	if (shadow_row(type)->protects && !(page_is_table(mfn(key)) && (page_of(mfn(key))->shadow_flags & BIT(type))))
		return MFN_NONE;
	mfn_t smfn = hash_find(d, key, type);

	hv_assert(!shadow_row(type)->protects || !mfn_is_none(smfn));
	return smfn;
}

bool table_child(struct domain *d, u32 type, gpte_t gpte, u32 *child_type, u32 *child_key)
{
	const struct shadow_row *row = shadow_row(type);
	gfn_t g = pt_entry_gfn(row_guest(row), row->level, gpte);

	if (pt_is_leaf(row_guest(row), row->level, gpte)) {
		*child_type = row->child_fake;
		*child_key = (u32)g.n;
		return gfn_in_range(g);
	}
	mfn_t m = domain_frame(d, g);

	*child_type = row->child;
	*child_key = (u32)m.n;
	return !mfn_is_none(m);
}

// A guest that uses many level-4 tables switches address spaces by CR3: its level-3 tables need no pins
// (spec A.8). Runs when a level-4 table is about to be shadowed.
static void reconsider_l3_pins(struct domain *d)
{
	u32 pinned_l4 = 0;

	if (!(d->shadow.opt_flags & SHADOW_OPT_LINUX_L3))
		return;
	d->shadow.stats.visits += d->shadow.pinned.length;
	for (u32 n = d->shadow.pinned.head; n; n = page_of(mfn(n))->list.next)
		pinned_l4 += shadow_type_of(mfn(n)) == SHADOW_L4_64;
	if (pinned_l4 <= 2 * d->vcpu_count)
		return;
	for (u32 n = d->shadow.pinned.head, next; n; n = next) {
		next = page_of(mfn(n))->list.next; // unpinning an L3 never destroys another pinned shadow
		if (shadow_type_of(mfn(n)) == SHADOW_L3_64)
			shadow_unpin(d, mfn(n));
	}
	d->shadow.opt_flags &= ~SHADOW_OPT_LINUX_L3;
}

// A new shadow of a guest table: write-protected first, referenced.
static enum hv_status claim(struct domain *d, const struct shadow_row *row, mfn_t table)
{
	if (row->protects) {
		if (access_remove_write(d, table))
			tlb_flush(d->shadow.cpus);
		if (page_writable_count(table)) {
			domain_crash(d, "write access to a table remains");
			return HV_ENOMEM;
		}
	}
	if (page_get(table, d->owner) == HV_OK)
		return HV_OK;
	domain_crash(d, "references to a guest table");
	return HV_ENOMEM;
}

// Room in the hash for one more fake table: who gives way loses its entries.
static void make_room(struct domain *d, u32 key, u32 type, mfn_t parent)
{
	mfn_t coldest = hash_crowded(d, key, type, parent);

	if (mfn_is_none(coldest))
		return;
	access_remove_entries(d, coldest);
	d->shadow.splinter_stamp = tlb_clock();
	tlb_flush(d->shadow.cpus);
	d->shadow.stats.evicted++;
}

enum hv_status table_get(struct domain *d, u32 type, u32 key, mfn_t parent, mfn_t *out)
{
	const struct shadow_row *row = shadow_row(type);
	mfn_t smfn = table_find(d, type, key);

	if (mfn_is_none(smfn)) {
		if (type == SHADOW_L4_64)
			reconsider_l3_pins(d);
		if (row->fake)
			make_room(d, key, type, parent);
		else if (claim(d, row, mfn(key)) != HV_OK)
			return HV_ENOMEM;
		smfn = pool_alloc(d, type, key);
		if (row->protects)
			shadow_promote(d, mfn(key), type);
		hash_insert(d, key, type, smfn);
	}
	shadow_renew(d, smfn);
	*out = smfn;
	return HV_OK;
}

void table_destroy(struct domain *d, mfn_t smfn)
{
	struct page_info *page = page_of(smfn);
	u32 type = page->sh.type, key = page->back;
	const struct shadow_row *row = shadow_row(type);

	hv_assert(!page->sh.pinned && !page->sh.count && !page->maps && !shadow_is_dying(smfn));
	hash_remove(d, key, type, smfn); // first: nobody may find a shadow of a frame that is not flagged
	if (row->protects)
		shadow_demote(d, mfn(key), type);
	page->epoch = 0;
	page_list_add_tail(&d->shadow.dying, smfn);
	if (!row->fake)
		page_put(mfn(key));
}
