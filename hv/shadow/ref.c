// SPDX-License-Identifier: GPL-2.0-or-later
// Life and death of shadows: reference counts, pins, and the flags on guest frames.
//
// A shadow lives while something refers to it: a parent entry, a vcpu's slot, or its pin (spec A.6).
// The pinned list is an LRU of roots: head = most recently loaded (spec A.8).
//
// Invariants (E.1): 15 count = parents + slots + pinned; 16 count > 0; 18, 19 references on guest frames;
// 20 all entries that name a frame or shadow are in its reverse map; 22 to 24 pinned list.
// All operations O(1); the checks walk every table.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/heap.h"
#include "../mem/tlb.h"
#include "control.h"
#include "private.h"

enum hv_status shadow_get(mfn_t smfn)
{
	struct page_info *page = page_of(smfn);

	hv_assert(page->sh.head && page->sh.type);
	if (page->sh.count == SHADOW_COUNT_MAX)
		return HV_ENOMEM;
	page->sh.count++;
	return HV_OK;
}

void shadow_put(struct domain *d, mfn_t smfn)
{
	struct page_info *page = page_of(smfn);

	hv_assert(page->sh.head && page->sh.count);
	if (--page->sh.count == 0)
		table_destroy(d, smfn);
}

enum hv_status shadow_pin(struct domain *d, mfn_t smfn)
{
	struct page_info *page = page_of(smfn);

	hv_assert(shadow_pinnable(d, page->sh.type));
	if (page->sh.pinned) {
		page_list_remove(&d->shadow.pinned, smfn);
		page_list_add_head(&d->shadow.pinned, smfn);
		return HV_OK;
	}
	if (port_should_fail(FAIL_PIN) || shadow_get(smfn) != HV_OK)
		return HV_ENOMEM;
	page->sh.pinned = 1;
	page_list_add_head(&d->shadow.pinned, smfn);
	if (d->shadow.pinned.length > SHADOW_PINNED_MAX)
		shadow_unpin(d, mfn(d->shadow.pinned.tail)); // the coldest: whoever walks the list has that many steps at most
	return HV_OK;
}

void shadow_unpin(struct domain *d, mfn_t smfn)
{
	struct page_info *page = page_of(smfn);

	hv_assert(shadow_pinnable(d, page->sh.type));
	if (!page->sh.pinned)
		return;
	page->sh.pinned = 0;
	page_list_remove(&d->shadow.pinned, smfn);
	shadow_put(d, smfn);
}

void shadow_promote(struct domain *d, mfn_t gmfn, u32 type)
{
	struct page_info *page = page_of(gmfn);

	(void)d;
	hv_assert(!page->type_info);
	if (!page_is_table(gmfn)) {
		page_set_flags(gmfn, PAGE_IS_TABLE);
		page->shadow_flags = 0;
	}
	hv_assert(!(page->shadow_flags & BIT(type)));
	page->shadow_flags |= (u32)BIT(type);
}

void shadow_demote(struct domain *d, mfn_t gmfn, u32 type)
{
	struct page_info *page = page_of(gmfn);

	(void)d;
	hv_assert(page_is_table(gmfn) && (page->shadow_flags & BIT(type)));
	page->shadow_flags &= ~(u32)BIT(type);
	if (!page->shadow_flags) {
		page->stamp = tlb_clock(); // the storage of the flags is the frame's time stamp again
		page_clear_flags(gmfn, PAGE_IS_TABLE);
	}
}

// ---- checks ----------------------------------------------------------------------------------------

static u32 *parents;  // by frame: references that tables, slots and pins hold on a shadow
static u32 *general;  // by frame: references that level-1 entries, shadows and roots hold on a guest frame
static u32 *writable; // by frame: writable level-1 entries
static u32 *named;    // by frame: entries that name it, of any level

void ref_check_start(void)
{
	hv_assert(page_first + page_count <= RMAP_FRAMES_MAX);
	parents = port_boot_alloc((size_t)page_count * sizeof(u32));
	general = port_boot_alloc((size_t)page_count * sizeof(u32));
	writable = port_boot_alloc((size_t)page_count * sizeof(u32));
	named = port_boot_alloc((size_t)page_count * sizeof(u32));
}

static const char *count_entries(const struct domain *d, mfn_t smfn, u32 type)
{
	const struct shadow_row *row = shadow_row(type);
	u32 step = shadow_fanout(row); // the first entry of a pair carries the reference

	bool dying = shadow_is_dying(smfn), current = shadow_is_current(d, smfn);

	for (u32 n = (u32)smfn.n; n; n = page_of(mfn(n))->sibling) {
		const spte_t *table = port_map(mfn(n));
		const char *bad = NULL;

		for (u32 i = 0; !bad && (i = mem_next_nonzero(table, i, SPTES_PER_PAGE)) < SPTES_PER_PAGE; i += step) {
			i -= i % step;
			if (!spte_present(table[i]))
				continue;
			mfn_t target = spte_mfn(table[i]);

			if (!mfn_valid(target))
				bad = broken("E1.32 %s entry names frame 0x%llx", row->name,
					     (unsigned long long)target.n);
			else if (row->level) {
				const struct page_info *child = page_of(target);

				if (page_owner(target) || page_pool(target) != d->owner || child->count_info || !child->sh.head ||
				    (child->sh.type != row->child && child->sh.type != row->child_fake) ||
				    !child->sh.type)
					bad = broken("E1.17 %s entry %u names 0x%llx, not a child", row->name, i,
						     (unsigned long long)target.n);
				else if (shadow_is_dying(target) || (!dying && current && !shadow_is_current(d, target)))
					bad = broken("E1.40 %s entry %u names 0x%llx, which is gone", row->name, i,
						     (unsigned long long)target.n);
				parents[target.n - page_first]++;
				named[target.n - page_first]++;
			} else {
				if (page_owner(target) != d->owner)
					bad = broken("E1.5 %s entry %u maps 0x%llx, not the domain's", row->name, i,
						     (unsigned long long)target.n);
				general[target.n - page_first]++;
				named[target.n - page_first]++;
				writable[target.n - page_first] += (table[i].v & PTE_W) != 0;
			}
			bad = report_at(bad, n, i);
		}
		port_unmap(table);
		if (bad)
			return bad;
	}
	return NULL;
}

static const char *compare_shadow(u32 n)
{
	const struct page_info *page = page_of(mfn(n));
	const struct shadow_row *row = shadow_row(page->sh.type);
	u32 count;

	if (page->sh.count != parents[n - page_first])
		return broken("E1.15 refcount: %s 0x%x has %u, expected %u", row->name, n, page->sh.count,
			      parents[n - page_first]);
	if (!page->sh.count != shadow_is_dying(mfn(n)))
		return broken("E1.16 %s 0x%x is a zombie", row->name, n);
	const char *bad = rmap_check(mfn(n), named[n - page_first], &count);

	if (!bad && count != named[n - page_first])
		bad = broken("E1.20 reverse map of %s 0x%x: %u entries of %u", row->name, n, count, named[n - page_first]);
	return bad;
}

static const char *compare_frame(const struct domain *d, u64 n)
{
	const struct page_info *page = page_of(mfn(n));

	if (page_owner(mfn(n)) != d->owner || page_pool(mfn(n)))
		return NULL;
	u32 info = page_count_info(mfn(n)), count; // holders come and go
	u32 expect = general[n - page_first] + ((info & PAGE_ALLOCATED) != 0) + (info & PAGE_HOLDS_MASK) / PAGE_HOLD;

	if ((info & PAGE_COUNT_MASK) != expect)
		return broken("E1.18 references: 0x%llx has %u, expected %u", (unsigned long long)n,
			      info & PAGE_COUNT_MASK, expect);
	if (page->type_info != writable[n - page_first])
		return broken("E1.19 writable maps: 0x%llx has %u, expected %u", (unsigned long long)n,
			      page->type_info, writable[n - page_first]);
	const char *bad = rmap_check(mfn(n), named[n - page_first], &count);

	if (!bad && count != named[n - page_first])
		bad = broken("E1.20 reverse map of 0x%llx: %u entries of %u", (unsigned long long)n, count,
			     named[n - page_first]);
	return bad;
}

const char *ref_check(const struct domain *d)
{
	const char *bad = NULL;
	u64 touched = heap_touched();

	mem_zero(parents, touched * sizeof(u32));
	mem_zero(general, touched * sizeof(u32));
	mem_zero(writable, touched * sizeof(u32));
	mem_zero(named, touched * sizeof(u32));
	for_each_shadow(d, n) {
		const struct page_info *page = page_of(mfn(n));

		if (bad)
			return bad;
		bad = count_entries(d, mfn(n), page->sh.type);
		parents[n - page_first] += page->sh.pinned;
		if (!shadow_row(page->sh.type)->fake && !shadow_is_dying(mfn(n)))
			general[page->back - page_first]++;
	}
	for (u32 i = 0; i < d->vcpu_count; i++) {
		const struct shadow_vcpu *s = &d->vcpu[i].shadow;

		for (u32 k = 0; k < SHADOW_SLOTS; k++) {
			if (!mfn_is_none(s->root[k]))
				parents[s->root[k].n - page_first]++;
			if (!mfn_is_none(s->guest_root[k]))
				general[s->guest_root[k].n - page_first]++;
		}
	}
	for_each_shadow(d, n)
		if (!bad)
			bad = report_at(compare_shadow((u32)n), n, REPORT_PAGE);
	for (u64 n = page_first; n < page_first + touched && !bad; n++)
		bad = report_at(compare_frame(d, n), n, REPORT_PAGE);
	return bad;
}

const char *pin_check(const struct domain *d)
{
	const char *bad = page_list_check(&d->shadow.pinned, "E1.22 pinned list");
	u32 pinned = 0;

	if (bad)
		return bad;
	for (u32 n = d->shadow.pinned.head; n; n = page_of(mfn(n))->list.next) {
		const struct page_info *page = page_of(mfn(n));

		if (page_owner(mfn(n)) || page_pool(mfn(n)) != d->owner || !page->sh.type || !page->sh.head)
			return broken("E1.24 pinned list: 0x%x is not a shadow", n);
		if (!page->sh.pinned)
			return broken("E1.22 pinned list: 0x%x is not pinned", n);
		if (!shadow_pinnable(d, page->sh.type))
			return broken("E1.23 pinned list: %s 0x%x", shadow_row(page->sh.type)->name, n);
	}
	for_each_shadow(d, n)
		pinned += page_of(mfn(n))->sh.pinned;
	if (pinned != d->shadow.pinned.length)
		return broken("E1.22 pinned list: %u elements, %u pinned shadows", d->shadow.pinned.length, pinned);
	return NULL;
}
