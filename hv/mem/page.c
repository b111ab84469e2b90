// SPDX-License-Identifier: GPL-2.0-or-later
// The frame table: references and lists. Every operation is O(1); only page_list_check() walks.
#include "page.h"

#include "../base/report.h"
#include "heap.h"
#include "tlb.h"

struct page_info *page_table;
u64 page_first, page_count;

enum hv_status page_get(mfn_t m, u32 owner)
{
	struct page_info *p = page_of(m);

	if (p->owner != owner || !(p->count_info & PAGE_COUNT_MASK))
		return HV_EINVAL;
	if ((p->count_info & PAGE_COUNT_MASK) == PAGE_COUNT_MASK)
		return HV_ENOMEM;
	p->count_info++;
	return HV_OK;
}

void page_put(mfn_t m)
{
	struct page_info *p = page_of(m);

	hv_assert(p->owner && (p->count_info & PAGE_COUNT_MASK));
	if ((--p->count_info & PAGE_COUNT_MASK) == 0) {
		hv_assert(!(p->count_info & (PAGE_ALLOCATED | PAGE_IS_TABLE)) && !p->type_info);
		heap_free(m);
	}
}

enum hv_status page_get_writable(mfn_t m)
{
	struct page_info *p = page_of(m);

	if (p->count_info & PAGE_IS_TABLE)
		return HV_EINVAL;
	if (p->type_info == UINT32_MAX)
		return HV_ENOMEM;
	p->type_info++;
	return HV_OK;
}

void page_put_writable(mfn_t m)
{
	struct page_info *p = page_of(m);

	hv_assert(p->type_info && !(p->count_info & PAGE_IS_TABLE));
	if (--p->type_info == 0)
		p->stamp = tlb_clock();
}

void page_list_add_head(struct page_list *list, mfn_t m)
{
	struct page_info *p = page_of(m);

	p->list.prev = 0;
	p->list.next = list->head;
	if (list->head)
		page_of(mfn(list->head))->list.prev = (u32)m.n;
	else
		list->tail = (u32)m.n;
	list->head = (u32)m.n;
	list->length++;
}

void page_list_add_tail(struct page_list *list, mfn_t m)
{
	struct page_info *p = page_of(m);

	p->list.next = 0;
	p->list.prev = list->tail;
	if (list->tail)
		page_of(mfn(list->tail))->list.next = (u32)m.n;
	else
		list->head = (u32)m.n;
	list->tail = (u32)m.n;
	list->length++;
}

void page_list_remove(struct page_list *list, mfn_t m)
{
	struct page_info *p = page_of(m);

	hv_assert(list->length);
	if (p->list.prev)
		page_of(mfn(p->list.prev))->list.next = p->list.next;
	else {
		hv_assert(list->head == m.n);
		list->head = p->list.next;
	}
	if (p->list.next)
		page_of(mfn(p->list.next))->list.prev = p->list.prev;
	else {
		hv_assert(list->tail == m.n);
		list->tail = p->list.prev;
	}
	list->length--;
	p->up = 0;
}

mfn_t page_list_pop(struct page_list *list)
{
	mfn_t m = mfn(list->head);

	if (!mfn_is_none(m))
		page_list_remove(list, m);
	return m;
}

const char *page_list_check(const struct page_list *list, const char *rule)
{
	u32 seen = 0, prev = 0;

	for (u32 n = list->head; n; n = page_of(mfn(n))->list.next) {
		if (!mfn_valid(mfn(n)))
			return broken("%s: link to 0x%x", rule, n);
		if (page_of(mfn(n))->list.prev != prev)
			return broken("%s: back link of 0x%x", rule, n);
		if (++seen > list->length)
			return broken("%s: longer than %u", rule, list->length);
		prev = n;
	}
	if (list->tail != prev || seen != list->length)
		return broken("%s: %u of %u elements, tail 0x%x", rule, seen, list->length, list->tail);
	return NULL;
}
