// SPDX-License-Identifier: GPL-2.0-or-later
// The frame table: references, contents and lists. Every operation is O(1); only page_list_check() walks.
#include "page.h"

#include "../base/mem.h"
#include "../base/report.h"
#include "../port.h"
#include "heap.h"
#include "tlb.h"

struct page_info *page_table;
u64 page_first, page_count;

// Whoever has no lock of the owner's domain may hold and release a frame too: count_info changes in one step.
// more: 1, or that and PAGE_HOLD.
static enum hv_status get(mfn_t m, u32 owner, u32 more)
{
	struct page_info *p = page_of(m);
	u32 old = __atomic_load_n(&p->count_info, __ATOMIC_RELAXED);

	do {
		if (page_owner(m) != owner || !(old & PAGE_COUNT_MASK))
			return HV_EINVAL;
		if ((old & PAGE_COUNT_MASK) == PAGE_COUNT_MASK ||
		    (more > PAGE_HOLD && (old & PAGE_HOLDS_MASK) == PAGE_HOLDS_MASK))
			return HV_ENOMEM;
	} while (!__atomic_compare_exchange_n(&p->count_info, &old, old + more, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return HV_OK;
}

static void put(mfn_t m, u32 less)
{
	struct page_info *p = page_of(m);

	hv_assert(page_owner(m) && page_references(m) && (less < PAGE_HOLD || page_holds(m)));
	if ((__atomic_sub_fetch(&p->count_info, less, __ATOMIC_ACQ_REL) & PAGE_COUNT_MASK) == 0) {
		hv_assert(!page_count_info(m) && !p->type_info && !p->maps);
		heap_free(m);
	}
}

enum hv_status page_get(mfn_t m, u32 owner) { return get(m, owner, 1); }

enum hv_status page_hold_again(mfn_t m)
{
	enum hv_status status = page_hold(m, page_owner(m));

	return status == HV_EINVAL ? page_hold(m, PAGE_OWNER_GONE) : status; // it has given the frame up just now: only once
}
void page_put(mfn_t m) { put(m, 1); }
enum hv_status page_hold(mfn_t m, u32 owner) { return get(m, owner, PAGE_HOLD | 1); }
void page_unhold(mfn_t m) { put(m, PAGE_HOLD | 1); }

void page_release(mfn_t m)
{
	hv_assert((page_count_info(m) & PAGE_ALLOCATED) && page_of(m)->back == BACK_NONE); // rule 56: no gfn leads there any more
	__atomic_store_n(&page_of(m)->owner, PAGE_OWNER_GONE, __ATOMIC_RELAXED);
	page_clear_flags(m, PAGE_ALLOCATED);
	page_put(m);
}

void page_copy(mfn_t to, mfn_t from)
{
	void *target = port_map(to);
	const void *source = port_map(from);

	mem_copy(target, source, FRAME_BYTES);
	port_unmap(source);
	port_unmap(target);
}

enum hv_status page_get_writable(mfn_t m)
{
	struct page_info *p = page_of(m);

	if (page_is_table(m))
		return HV_EINVAL;
	if (p->type_info == UINT32_MAX)
		return HV_ENOMEM;
	p->type_info++;
	return HV_OK;
}

void page_put_writable(mfn_t m)
{
	struct page_info *p = page_of(m);

	hv_assert(p->type_info && !page_is_table(m));
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
	p->list.next = p->list.prev = 0;
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
