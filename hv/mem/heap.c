// SPDX-License-Identifier: GPL-2.0-or-later
// A bump pointer over frames never used plus a LIFO list of freed ones. O(1), a chunk O(its frames); restarting costs
// the number of frames that were touched, not the number that exist.
//
// heap_lock guards the list and the counts, and what the port knows about who has a frame. A frame that has left the list
// belongs to the caller alone, so the flush before its reuse, for which other processors are waited, needs no lock.
#include "heap.h"

#include "../base/report.h"
#include "../port.h"
#include "tlb.h"

static struct hv_lock heap_lock;
static struct page_list freed;
static u64 touched; // frames [page_first, page_first + touched) have been handed out or skipped at least once
static u64 used;

void heap_start(void)
{
	mfn_t first;
	u32 count;

	port_frames(&first, &count);
	hv_assert(first.n >= 1 && count && first.n + count <= UINT32_MAX);
	page_first = first.n;
	page_count = count;
	page_table = port_boot_alloc((size_t)count * sizeof(struct page_info));
	heap_lock = (struct hv_lock){ 0 };
	freed = (struct page_list){ 0 };
	touched = used = 0;
	tlb_start();
}

// The descriptor of a frame that `owner` gets now.
static void hand_out(mfn_t m, u32 owner)
{
	struct page_info guest = { .owner = owner, .count_info = PAGE_ALLOCATED | 1, .back = BACK_NONE };

	page_describe(m, owner ? guest : (struct page_info){ 0 });
}

// The next free frame, off the list; MFN_NONE when there is none.
static mfn_t take(void)
{
	port_lock(&heap_lock, __func__);
	mfn_t m = page_list_pop(&freed);

	if (mfn_is_none(m) && touched < page_count)
		m = mfn(page_first + __atomic_fetch_add(&touched, 1, __ATOMIC_RELAXED));
	if (!mfn_is_none(m)) {
		used++;
		port_frame_allocated(m);
	}
	port_unlock(&heap_lock);
	return m;
}

enum hv_status heap_alloc(u32 owner, mfn_t *out)
{
	if (port_should_fail(FAIL_HEAP))
		return HV_ENOMEM;
	mfn_t m = take();

	if (mfn_is_none(m))
		return HV_ENOMEM;
	u32 stale = tlb_stale_mask(TLB_ALL_CPUS, page_of(m)->stamp);

	if (stale)
		tlb_flush(stale);
	hand_out(m, owner);
	*out = m;
	return HV_OK;
}

enum hv_status heap_alloc_chunk(u32 owner, u32 order, mfn_t *first)
{
	hv_assert(order < 32);
	if (port_should_fail(FAIL_HEAP))
		return HV_ENOMEM;
	port_lock(&heap_lock, __func__);
	u64 next = page_first + touched, start = (next + BIT(order) - 1) & ~(BIT(order) - 1);
	bool enough = start + BIT(order) <= page_first + page_count;

	if (enough) {
		for (; next < start; next++) // not used so far: behind those that may still be in a cache
			page_list_add_tail(&freed, mfn(next));
		for (; next < start + BIT(order); next++) { // nobody had them: no TLB knows them
			port_frame_allocated(mfn(next));
			hand_out(mfn(next), owner);
		}
		__atomic_store_n(&touched, next - page_first, __ATOMIC_RELAXED);
		used += BIT(order);
		*first = mfn(start);
	}
	port_unlock(&heap_lock);
	return enough ? HV_OK : HV_ENOMEM;
}

void heap_free(mfn_t m)
{
	hv_assert(!(page_count_info(m) & ~PAGE_ALLOCATED));
	port_lock(&heap_lock, __func__);
	hv_assert(used);
	page_describe(m, (struct page_info){ .stamp = tlb_clock() });
	page_list_add_head(&freed, m);
	port_frame_freed(m);
	used--;
	port_unlock(&heap_lock);
}

u64 heap_used(void)
{
	port_lock(&heap_lock, __func__);
	u64 count = used;

	port_unlock(&heap_lock);
	return count;
}

u64 heap_touched(void)
{
	return __atomic_load_n(&touched, __ATOMIC_RELAXED); // for checks, frame by frame
}

static const char *check_locked(void)
{
	const char *bad = page_list_check(&freed, "E1.52 heap list");

	if (bad)
		return bad;
	if (used + freed.length != touched)
		return broken("E1.52 heap: %llu used + %u free != %llu touched", (unsigned long long)used,
			      freed.length, (unsigned long long)touched);
	for (u32 n = freed.head; n; n = page_of(mfn(n))->list.next) {
		const struct page_info *p = page_of(mfn(n));

		if (p->count_info || p->owner || p->type_info)
			return broken("E1.52 heap: free frame 0x%x has references", n);
	}
	return NULL;
}

const char *heap_check(void)
{
	port_lock(&heap_lock, __func__);
	const char *bad = check_locked();

	port_unlock(&heap_lock);
	return bad;
}
