// SPDX-License-Identifier: GPL-2.0-or-later
// A bump pointer over frames never used plus a LIFO list of freed ones. O(1); restarting costs the
// number of frames that were touched, not the number that exist.
#include "heap.h"

#include "../base/report.h"
#include "../port.h"
#include "tlb.h"

static struct page_list freed;
static u64 touched; // frames [page_first, page_first + touched) have been handed out at least once
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
	freed = (struct page_list){ 0 };
	touched = used = 0;
	tlb_start();
}

enum hv_status heap_alloc(u32 owner, mfn_t *out)
{
	mfn_t m;

	if (port_should_fail(FAIL_HEAP))
		return HV_ENOMEM;
	m = page_list_pop(&freed);
	if (mfn_is_none(m)) {
		if (touched == page_count)
			return HV_ENOMEM;
		m = mfn(page_first + touched++);
	}
	used++;
	port_frame_allocated(m);

	struct page_info *p = page_of(m);
	u32 stale = tlb_stale_mask(TLB_ALL_CPUS, p->stamp);

	if (stale)
		tlb_flush(stale);
	*p = (struct page_info){ .owner = owner };
	if (owner) {
		p->count_info = PAGE_ALLOCATED | 1;
		p->back = BACK_NONE;
	}
	*out = m;
	return HV_OK;
}

void heap_free(mfn_t m)
{
	struct page_info *p = page_of(m);

	hv_assert(used && !(p->count_info & ~PAGE_ALLOCATED));
	*p = (struct page_info){ .stamp = tlb_clock() };
	page_list_add_head(&freed, m);
	port_frame_freed(m);
	used--;
}

u64 heap_used(void)
{
	return used;
}

u64 heap_touched(void)
{
	return touched;
}

const char *heap_check(void)
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
