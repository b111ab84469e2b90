// SPDX-License-Identifier: GPL-2.0-or-later
// Making, finding and destroying shadows of tables (spec A.6, A.7, A.8, A.16 "get and create").
#include "../mem/tlb.h"
#include "private.h"

mfn_t table_find(struct domain *d, u32 type, u32 key)
{
	if (shadow_row(type)->protects) { // cheap test first: the frame's own flags
		const struct page_info *page = page_of(mfn(key));

		if (!(page->count_info & PAGE_IS_TABLE) || !(page->shadow_flags & BIT(type)))
			return MFN_NONE;
	}
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

enum hv_status table_get(struct vcpu *v, u32 type, u32 key, gva_t va, mfn_t *out)
{
	struct domain *d = v->domain;
	const struct shadow_row *row = shadow_row(type);
	mfn_t smfn = table_find(d, type, key);

	if (mfn_is_none(smfn)) {
		if (type == SHADOW_L4_64)
			reconsider_l3_pins(d);
		if (row->protects) {
			if (access_remove_write(d, v, mfn(key), row->level + 1u, va))
				tlb_flush(d->shadow.cpus);
			if (page_writable_count(mfn(key))) {
				domain_crash(d, "write access to a table remains");
				return HV_ENOMEM;
			}
		}
		if (!row->fake && page_get(mfn(key), d->owner) != HV_OK) {
			domain_crash(d, "references to a guest table");
			return HV_ENOMEM;
		}
		smfn = pool_alloc(d, type, key);
		if (row->protects)
			shadow_promote(d, mfn(key), type);
		hash_insert(d, key, type, smfn);
	}
	*out = smfn;
	return HV_OK;
}

void table_destroy(struct domain *d, mfn_t smfn)
{
	u32 type = shadow_type_of(smfn), key = page_of(smfn)->back;
	const struct shadow_row *row = shadow_row(type);

	hv_assert(!page_of(smfn)->sh.pinned && !page_of(smfn)->sh.count);
	hash_remove(d, key, type, smfn); // first: nobody may find a shadow of a frame that is not flagged
	if (row->protects)
		shadow_demote(d, mfn(key), type);
	shadow_clear(d, smfn); // recursion goes down one level at a time: at most four deep
	if (!row->fake)
		page_put(mfn(key));
	pool_free(d, smfn);
}
