// SPDX-License-Identifier: GPL-2.0-or-later
// Shadows by (key, type).
//
// The shadows of a guest frame hang on the frame itself, one of a type at most: finding one takes as many steps as there are types.
// Fake tables, which stand for parts of large pages, have no frame of their own: they are hashed by their base gfn. Guests choose
// gfns: the hash has a salt, a hit moves to the front, and a chain has SHADOW_CHAIN_MAX elements at most, of which one gives way to
// the next. Removing one takes no steps.
//
//   frame.shadows -> l1_64 -> l2_64        bucket[hash(gfn, type)] -> fl1 -> fl1 -> fl2
//
// Invariants (E.1): 9 every shadow is found exactly once, where it belongs; 10, 11 flags on frames agree; 12 no duplicates,
// chains end, shadow_count agrees; 14 large-page keys are aligned.
#include "../base/report.h"
#include "../mem/heap.h"
#include "private.h"

static u32 bucket_of(const struct domain *d, u32 key, u32 type)
{
	u32 k = d->shadow.salt + type;

	for (u32 i = 0; i < 4; i++)
		k = k * 65599 + (key >> (8 * i) & 0xff);
	return k % SHADOW_HASH_BUCKETS;
}

static bool is(const struct page_info *page, u32 key, u32 type)
{
	return page->back == key && page->sh.type == type;
}

// Where the chain of (key, type) begins.
static u32 *head_of(struct domain *d, u32 key, u32 type)
{
	return shadow_row(type)->fake ? &d->shadow.bucket[bucket_of(d, key, type)] : &page_of(mfn(key))->shadows;
}

// Chains go both ways, so that removing never searches. What comes before shadow n, 0 for the first: kept with its page of links,
// since its own `list` may be in use.
static u32 *before(u32 n)
{
	return &page_of(mfn(page_of(mfn(n))->links))->back;
}

static void put_first(u32 *head, u32 n)
{
	page_of(mfn(n))->next_shadow = *head;
	if (*head)
		*before(*head) = n;
	*head = n;
}

// *link leads to frame n.
static void take_out(u32 *link, u32 n)
{
	struct page_info *page = page_of(mfn(n));

	*link = page->next_shadow;
	if (page->next_shadow)
		*before(page->next_shadow) = *before(n);
	page->next_shadow = 0;
	*before(n) = 0;
}

mfn_t hash_find(struct domain *d, u32 key, u32 type)
{
	u32 *head = head_of(d, key, type), *link = head;

	for (u32 n = *head; n; n = *link) {
		struct page_info *page = page_of(mfn(n));

		d->shadow.stats.visits++;
		if (is(page, key, type)) {
			if (link != head) {
				take_out(link, n);
				put_first(head, n);
			}
			return mfn(n);
		}
		link = &page->next_shadow;
	}
	return MFN_NONE;
}

void hash_insert(struct domain *d, u32 key, u32 type, mfn_t smfn)
{
	put_first(head_of(d, key, type), (u32)smfn.n);
	d->shadow.shadow_count++;
}

void hash_remove(struct domain *d, u32 key, u32 type, mfn_t smfn)
{
	u32 prev = *before((u32)smfn.n), *link = prev ? &page_of(mfn(prev))->next_shadow : head_of(d, key, type);

	hv_assert(*link == smfn.n);
	take_out(link, (u32)smfn.n);
	d->shadow.shadow_count--;
}

mfn_t hash_crowded(struct domain *d, u32 key, u32 type, mfn_t spare)
{
	mfn_t coldest = MFN_NONE;
	u32 length = 0;

	for (u32 n = *head_of(d, key, type); n; n = page_of(mfn(n))->next_shadow, length++) {
		d->shadow.stats.visits++;
		if (n != spare.n)
			coldest = mfn(n);
	}
	return length < SHADOW_CHAIN_MAX ? MFN_NONE : coldest;
}

// ---- checks ----------------------------------------------------------------------------------------

u64 shadow_next(const struct domain *d, u64 n)
{
	for (u64 end = page_first + heap_touched(); n < end; n++) {
		const struct page_info *page = page_of(mfn(n));

		if (page_pool(mfn(n)) == d->owner && page->sh.head && page->sh.type < SHADOW_TYPE_COUNT &&
		    shadow_rows[page->sh.type].name)
			return n;
	}
	return 0;
}

// How often does the chain from *head lead to frame n? Chains that do not end are cut.
static u32 times_in_chain(u32 head, u64 n, u32 limit)
{
	u32 times = 0;

	for (; head && mfn_valid(mfn(head)) && limit; head = page_of(mfn(head))->next_shadow, limit--)
		times += head == n;
	return times;
}

static const char *check_one(const struct domain *d, u64 n)
{
	const struct page_info *page = page_of(mfn(n));
	const struct shadow_row *row = &shadow_rows[page->sh.type];
	u32 head, limit = d->shadow.shadow_count + 1;

	if (!row->fake && (!mfn_valid(mfn(page->back)) || page_owner(mfn(page->back)) != d->owner))
		return broken("E1.9 hash: 0x%llx shadows 0x%x, not the domain's", (unsigned long long)n, page->back);
	head = row->fake ? d->shadow.bucket[bucket_of(d, page->back, page->sh.type)] : page_of(mfn(page->back))->shadows;
	if (times_in_chain(head, n, limit) != 1)
		return broken("E1.9 hash: %s 0x%llx is not where it belongs", row->name, (unsigned long long)n);
	for (u32 other = head; other && limit; other = page_of(mfn(other))->next_shadow, limit--)
		if (other != n && is(page_of(mfn(other)), page->back, page->sh.type))
			return broken("E1.12 hash: two shadows of 0x%x as %s", page->back, row->name);
	if (row->fake) {
		// A 2-level or 4-level large page of the level above, or a part of a larger one.
		u64 frames = pt_leaf_frames(row_guest(row), row->level + 1u);

		if (page->back & (frames - 1))
			return broken("E1.14 %s key 0x%x is not aligned", row->name, page->back);
	}
	return NULL;
}

static bool has_links(const struct domain *d, u32 n)
{
	mfn_t links = mfn(page_of(mfn(n))->links);

	return mfn_valid(links) && page_pool(links) == d->owner;
}

// A chain leads to shadows alone, and ends.
static const char *check_chain(const struct domain *d, u32 head, bool fake, u32 *count)
{
	for (u32 n = head, prev = 0; n; prev = n, n = page_of(mfn(n))->next_shadow) {
		if (!mfn_valid(mfn(n)) || page_pool(mfn(n)) != d->owner || !page_of(mfn(n))->sh.head ||
		    page_of(mfn(n))->sh.type >= SHADOW_TYPE_COUNT || !shadow_rows[page_of(mfn(n))->sh.type].name ||
		    shadow_rows[page_of(mfn(n))->sh.type].fake != fake || shadow_is_dying(mfn(n)))
			return broken("E1.9 hash: 0x%x behind 0x%x is no shadow", n, prev);
		if (has_links(d, n) && *before(n) != prev) // without: see pool_check()
			return broken("E1.12 hash: back link of 0x%x", n);
		if (++*count > d->shadow.shadow_count)
			return broken("E1.12 hash: more than %u shadows", d->shadow.shadow_count);
	}
	return NULL;
}

// A frame of the guest: its flags say which shadows hang on it, detached roots apart.
static const char *check_frame(const struct domain *d, mfn_t m, u32 *count)
{
	const struct page_info *page = page_of(m);
	u32 flags = page_is_table(m) ? page->shadow_flags : 0, types = 0;
	const char *bad = check_chain(d, page->shadows, false, count);

	if (bad)
		return bad;
	if (page_is_table(m) && !flags)
		return broken("E1.11 0x%llx is a table without flags", (unsigned long long)m.n);
	if (page_is_table(m) && page->type_info)
		return broken("E1.35 0x%llx is a table mapped writable", (unsigned long long)m.n);
	for (u32 n = page->shadows; n; n = page_of(mfn(n))->next_shadow)
		if (shadow_rows[page_of(mfn(n))->sh.type].protects)
			types |= (u32)BIT(page_of(mfn(n))->sh.type);
	if (types != flags)
		return broken("E1.10 flags: 0x%llx has 0x%x, its shadows are 0x%x", (unsigned long long)m.n, flags, types);
	return NULL;
}

const char *hash_check(const struct domain *d)
{
	const char *bad = NULL;
	u32 found = 0, live = 0;

	for (u32 b = 0; b < SHADOW_HASH_BUCKETS && !bad; b++)
		bad = check_chain(d, d->shadow.bucket[b], true, &found);
	for (u64 n = page_first; n < page_first + heap_touched() && !bad; n++)
		if (page_owner(mfn(n)) == d->owner && !page_pool(mfn(n)))
			bad = check_frame(d, mfn(n), &found);
	for_each_shadow(d, n) {
		if (bad)
			return bad;
		if (shadow_is_dying(mfn(n)))
			continue;
		live++;
		bad = check_one(d, n);
	}
	if (!bad && (found != d->shadow.shadow_count || live != found))
		bad = broken("E1.12 hash: %u shadows found, %u live, counted %u", found, live, d->shadow.shadow_count);
	return bad;
}
