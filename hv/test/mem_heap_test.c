// SPDX-License-Identifier: GPL-2.0-or-later
// The frame heap: order, owners, exhaustion, chunks, lazy flushes before a frame is reused, its lock, accounting.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

static void start(void)
{
	host_reset(1);
	hv_start();
}

static mfn_t take(u32 owner)
{
	mfn_t m = MFN_NONE;

	CHECK_EQ(heap_alloc(owner, &m), HV_OK);
	return m;
}

TEST(frames_come_in_order_then_last_freed_first)
{
	start();
	mfn_t a = take(0), b = take(0), c = take(0);

	CHECK_EQ(a.n, HOST_FIRST_MFN);
	CHECK_EQ(b.n, a.n + 1);
	CHECK_EQ(c.n, b.n + 1);
	heap_free(a);
	heap_free(b);
	CHECK_STR(heap_check(), NULL);
	CHECK_EQ(take(0).n, b.n);
	CHECK_EQ(take(0).n, a.n);
	CHECK_EQ(take(0).n, c.n + 1);
	CHECK_EQ(heap_used(), 4);
	CHECK_EQ(heap_touched(), 4);
}

TEST(the_view_of_a_frame_depends_on_its_owner)
{
	start();
	mfn_t pool = take(0), guest = take(7);

	CHECK_EQ(page_of(pool)->count_info, 0); // rule 4
	CHECK_EQ(page_of(pool)->owner, 0);
	CHECK_EQ(page_of(guest)->owner, 7);
	CHECK_EQ(page_of(guest)->count_info, PAGE_ALLOCATED | 1);
	CHECK_EQ(page_of(guest)->back, BACK_NONE);
	CHECK_EQ(p2m_gfn_of(guest).n, GFN_INVALID.n);
}

TEST(the_heap_ends)
{
	mfn_t m = mfn(77);

	start();
	for (u32 i = 0; i < HOST_FRAMES; i++)
		take(0);
	CHECK_EQ(heap_alloc(0, &m), HV_ENOMEM);
	CHECK_EQ(m.n, 77);
	heap_free(mfn(HOST_FIRST_MFN + 5));
	CHECK_EQ(take(1).n, HOST_FIRST_MFN + 5);
	CHECK_STR(heap_check(), NULL);
}

TEST(an_injected_failure_changes_nothing)
{
	mfn_t m;

	start();
	take(0);
	host_arm_failure(1);
	CHECK_EQ(heap_alloc(0, &m), HV_ENOMEM);
	CHECK(host_arm_failure(0));
	CHECK_EQ(heap_used(), 1);
	CHECK_STR(heap_check(), NULL);
}

// A frame whose last user may still be in a TLB is flushed before it gets a new owner, once.
TEST(a_frame_is_flushed_before_it_is_reused)
{
	struct tlb_entry e = { .va = 0x1000 };
	const struct tlb_entry *first;

	start();
	tlb_cpu_active(0);
	mfn_t m = take(0);

	e.mfn = m.n;
	tlb_add_page(0, &e);
	heap_free(m);
	CHECK_EQ(tlb_pages(0, &first), 1);
	CHECK_EQ(take(0).n, m.n);
	CHECK_EQ(tlb_pages(0, &first), 0);
	heap_free(m);
	tlb_flush(1);
	tlb_add_page(0, &e); // of something else, made after the flush
	CHECK_EQ(take(0).n, m.n);
	CHECK_EQ(tlb_pages(0, &first), 1); // no needless flush
}

// ---- chunks -------------------------------------------------------------------------------------------------

static enum hv_status chunk(u32 owner, u32 order, mfn_t *first)
{
	enum hv_status status = heap_alloc_chunk(owner, order, first);

	CHECK_STR(heap_check(), NULL);
	CHECK_EQ(host_locks_held(), 0);
	return status;
}

TEST(a_chunk_is_frames_in_a_row_from_an_aligned_one)
{
	for (u32 order = 0; order <= 8; order++)
		for (u32 before = 0; before < 4; before++) {
			mfn_t m = MFN_NONE;

			start();
			for (u32 i = 0; i < before; i++)
				take(1);
			u64 next = HOST_FIRST_MFN + before, first = (next + BIT(order) - 1) & ~(BIT(order) - 1);

			CHECK_EQ(chunk(7, order, &m), HV_OK);
			CHECK_EQ(m.n, first);
			CHECK_EQ(heap_used(), before + BIT(order));
			CHECK_EQ(heap_touched(), first + BIT(order) - HOST_FIRST_MFN);
			for (u64 i = 0; i < BIT(order); i++) {
				CHECK(host_frame_owned(mfn(m.n + i)));
				CHECK_EQ(page_of(mfn(m.n + i))->owner, 7);
				CHECK_EQ(page_of(mfn(m.n + i))->count_info, PAGE_ALLOCATED | 1);
				CHECK_EQ(p2m_gfn_of(mfn(m.n + i)).n, GFN_INVALID.n);
			}
			for (; next < first; next++) // those that were skipped come next, in order
				CHECK_EQ(take(0).n, next);
			CHECK_EQ(take(0).n, first + BIT(order));
			CHECK_STR(heap_check(), NULL);
		}
}

TEST(frames_that_were_skipped_come_behind_those_that_were_freed)
{
	mfn_t m, a;

	start();
	a = take(0);
	heap_free(a);
	CHECK_EQ(chunk(0, 2, &m), HV_OK);
	CHECK_EQ(m.n, HOST_FIRST_MFN + 4);
	CHECK_EQ(page_of(m)->count_info, 0); // rule 4
	CHECK_EQ(take(0).n, a.n);
	for (u32 i = 1; i < 4; i++)
		CHECK_EQ(take(0).n, HOST_FIRST_MFN + i);
	heap_free(mfn(m.n + 2)); // each frame goes alone
	CHECK_EQ(take(0).n, m.n + 2);
	CHECK_STR(heap_check(), NULL);
}

TEST(chunks_end_where_the_fresh_frames_do)
{
	u32 all = (u32)__builtin_ctz(HOST_FRAMES);
	mfn_t m = mfn(77);

	start();
	CHECK_EQ(chunk(1, all - 1, &m), HV_OK);
	CHECK_EQ(chunk(1, all - 1, &m), HV_OK);
	CHECK_EQ(m.n, HOST_FIRST_MFN + HOST_FRAMES / 2);
	m = mfn(77);
	CHECK_EQ(chunk(1, 0, &m), HV_ENOMEM);
	page_of(mfn(HOST_FIRST_MFN + 3))->count_info = 0;
	heap_free(mfn(HOST_FIRST_MFN + 3));
	CHECK_EQ(chunk(1, 0, &m), HV_ENOMEM); // not from those that were used
	CHECK_EQ(m.n, 77);
	start();
	take(0);
	CHECK_EQ(chunk(1, all, &m), HV_ENOMEM); // too few behind the alignment; none was skipped
	CHECK_EQ(chunk(1, 31, &m), HV_ENOMEM);
	CHECK_EQ(heap_touched(), 1);
	CHECK_EQ(heap_used(), 1);
	host_arm_failure(1);
	CHECK_EQ(chunk(1, 1, &m), HV_ENOMEM);
	CHECK(host_arm_failure(0));
	CHECK_EQ(heap_touched(), 1);
}

// ---- the lock -----------------------------------------------------------------------------------------------

TEST(nothing_of_the_heap_keeps_its_lock)
{
	mfn_t m;

	start();
	m = take(1);
	CHECK_EQ(host_locks_held(), 0);
	page_of(m)->count_info = 0;
	heap_free(m);
	CHECK_EQ(host_locks_held(), 0);
	heap_used();
	heap_touched();
	CHECK_EQ(heap_alloc(0, &m), HV_OK);
	page_of(m)->count_info = 1;
	heap_free(take(0));
	CHECK_STR(heap_check(), NULL);
	page_of(mfn(HOST_FIRST_MFN + 1))->owner = 3; // free: not sound, and said so
	CHECK(heap_check());
	CHECK_EQ(host_locks_held(), 0);
	CHECK_STR(host_finding_rule(), NULL);
}

static mfn_t held;

static void free_with_references(void)
{
	heap_free(held);
}

TEST(a_frame_with_references_cannot_be_freed)
{
	start();
	held = take(1);
	CHECK(fixture_fatal(free_with_references));
}

TEST(starting_again_is_a_fresh_start)
{
	start();
	take(0);
	take(0);
	start();
	CHECK_EQ(heap_used(), 0);
	CHECK_EQ(heap_touched(), 0);
	CHECK_EQ(take(0).n, HOST_FIRST_MFN);
	CHECK_STR(heap_check(), NULL);
}
