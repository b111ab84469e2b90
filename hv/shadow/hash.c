// SPDX-License-Identifier: GPL-2.0-or-later
// Shadows by (key, type): key is the shadowed machine frame, or the base gfn of a large page. Chains run
// through page_info.next_shadow; a hit moves to the front. Costs 1 + shadows/buckets on average.
//
// Invariants (E.1): 9 every shadow is here exactly once, in its bucket; 12 no duplicates, chains end,
// shadow_count agrees; 13 hash_walking is false when nothing runs; 14 large-page keys are aligned.
#include "../base/report.h"
#include "../mem/heap.h"
#include "private.h"

static u32 bucket_of(u32 key, u32 type)
{
	u32 k = type;

	for (u32 i = 0; i < 4; i++)
		k = k * 65599 + (key >> (8 * i) & 0xff);
	return k % SHADOW_HASH_BUCKETS;
}

static bool is(const struct page_info *page, u32 key, u32 type)
{
	return page->back == key && page->sh.type == type;
}

mfn_t hash_find(struct domain *d, u32 key, u32 type)
{
	u32 *head = &d->shadow.bucket[bucket_of(key, type)];
	u32 *link = head;

	for (u32 n = *head; n; n = *link) {
		struct page_info *page = page_of(mfn(n));

		d->shadow.stats.visits++;
		if (is(page, key, type)) {
			if (link != head && !d->shadow.hash_walking) {
				*link = page->next_shadow;
				page->next_shadow = *head;
				*head = n;
			}
			return mfn(n);
		}
		link = &page->next_shadow;
	}
	return MFN_NONE;
}

void hash_insert(struct domain *d, u32 key, u32 type, mfn_t smfn)
{
	u32 *head = &d->shadow.bucket[bucket_of(key, type)];

	page_of(smfn)->next_shadow = *head;
	*head = (u32)smfn.n;
	d->shadow.shadow_count++;
}

void hash_remove(struct domain *d, u32 key, u32 type, mfn_t smfn)
{
	u32 *link = &d->shadow.bucket[bucket_of(key, type)];

	while (*link != smfn.n) {
		d->shadow.stats.visits++;
		hv_assert(*link);
		link = &page_of(mfn(*link))->next_shadow;
	}
	*link = page_of(smfn)->next_shadow;
	page_of(smfn)->next_shadow = 0;
	d->shadow.shadow_count--;
}

bool hash_foreach(struct domain *d, u64 type_mask, hash_visit_fn *fn, void *context)
{
	bool stopped = false;

	hv_assert(!d->shadow.hash_walking);
	d->shadow.hash_walking = true;
	for (u32 b = 0; b < SHADOW_HASH_BUCKETS && !stopped; b++) {
		u32 next;

		for (u32 n = d->shadow.bucket[b]; n && !stopped; n = next) {
			next = page_of(mfn(n))->next_shadow;
			if (BIT(shadow_type_of(mfn(n))) & type_mask)
				stopped = fn(d, mfn(n), context);
		}
	}
	d->shadow.hash_walking = false;
	return stopped;
}

static const char *check_one(const struct domain *d, u32 n, u32 bucket)
{
	const struct page_info *page = page_of(mfn(n));
	const struct shadow_row *row;

	if (page->sh.type >= SHADOW_TYPE_COUNT || !shadow_rows[page->sh.type].name || !page->sh.head)
		return broken("E1.9 hash: 0x%x is no shadow", n);
	row = &shadow_rows[page->sh.type];
	if (bucket_of(page->back, page->sh.type) != bucket)
		return broken("E1.9 hash: 0x%x in the wrong bucket", n);
	for (u32 other = page->next_shadow, left = d->shadow.shadow_count; other && left; // a ring ends, too
	     other = page_of(mfn(other))->next_shadow, left--)
		if (is(page_of(mfn(other)), page->back, page->sh.type))
			return broken("E1.12 hash: two shadows of 0x%x as %s", page->back, row->name);
	if (row->fake) {
		// A 2-level or 4-level large page of the level above, or a part of a larger one.
		u64 frames = pt_leaf_frames(row_guest(row), row->level + 1u);

		if (page->back & (frames - 1))
			return broken("E1.14 %s key 0x%x is not aligned", row->name, page->back);
		return NULL;
	}
	if (!mfn_valid(mfn(page->back)) || page_of(mfn(page->back))->owner != d->owner)
		return broken("E1.9 hash: 0x%x shadows 0x%x, not the domain's", n, page->back);
	const struct page_info *guest = page_of(mfn(page->back));

	if (row->protects && (!(guest->count_info & PAGE_IS_TABLE) || !(guest->shadow_flags & BIT(page->sh.type))))
		return broken("E1.10 flags: 0x%x lacks %s", page->back, row->name);
	return NULL;
}

const char *hash_check(const struct domain *d)
{
	u32 seen = 0, flagged = 0, flags = 0;

	if (d->shadow.hash_walking)
		return broken("E1.13 hash_walking at rest");
	for (u32 b = 0; b < SHADOW_HASH_BUCKETS; b++) {
		for (u32 n = d->shadow.bucket[b]; n; n = page_of(mfn(n))->next_shadow) {
			if (++seen > d->shadow.shadow_count)
				return broken("E1.12 hash: more than %u shadows", d->shadow.shadow_count);
			const char *bad = check_one(d, n, b);

			if (bad)
				return bad;
			flagged += shadow_rows[shadow_type_of(mfn(n))].protects;
		}
	}
	if (seen != d->shadow.shadow_count)
		return broken("E1.12 hash: %u shadows, counted %u", seen, d->shadow.shadow_count);
	// Every flag on a guest frame was matched above if the totals agree: no duplicates exist.
	for (u64 n = page_first; n < page_first + heap_touched(); n++) {
		const struct page_info *page = page_of(mfn(n));

		if (page->owner != d->owner)
			continue;
		bool table = (page->count_info & PAGE_IS_TABLE) != 0;

		if (table && !page->shadow_flags)
			return broken("E1.11 0x%llx is a table without flags", (unsigned long long)n);
		if (table && page->type_info)
			return broken("E1.35 0x%llx is a table mapped writable", (unsigned long long)n);
		if (table)
			for (flags = page->shadow_flags; flags; flags &= flags - 1)
				flagged--;
	}
	if (flagged)
		return broken("E1.10 flags: %d more shadows than flags on frames", (int)flagged);
	return NULL;
}
