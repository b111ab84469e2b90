// SPDX-License-Identifier: GPL-2.0-or-later
// The frame table: references, writable mappings, lists. The lists are compared with an array that a naive
// model keeps.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

static mfn_t m[8];

static void frames(void)
{
	host_reset(1);
	hv_start();
	for (u32 i = 0; i < ARRAY_LEN(m); i++)
		CHECK_EQ(heap_alloc(1, &m[i]), HV_OK);
}

TEST(a_descriptor_has_48_bytes_and_shares_storage_as_documented)
{
	CHECK_EQ(sizeof(struct page_info), 48);
	CHECK_EQ(offsetof(struct page_info, shadows), offsetof(struct page_info, list));
	CHECK_EQ(offsetof(struct page_info, shadow_flags), offsetof(struct page_info, sh));
	CHECK_EQ(offsetof(struct page_info, shadow_flags), offsetof(struct page_info, stamp));
	CHECK_EQ(offsetof(struct page_info, next_shadow), offsetof(struct page_info, type_info));
	CHECK(SHADOW_COUNT_MAX == (1u << SHADOW_COUNT_BITS) - 1);
}

TEST(references_count_for_the_owner_alone)
{
	frames();
	CHECK_EQ(page_references(m[0]), 1);
	CHECK_EQ(page_get(m[0], 1), HV_OK);
	CHECK_EQ(page_references(m[0]), 2);
	CHECK_EQ(page_get(m[0], 2), HV_EINVAL);
	CHECK_EQ(page_references(m[0]), 2);
	page_put(m[0]);
	page_of(m[0])->count_info &= ~PAGE_ALLOCATED;
	page_put(m[0]);
	CHECK(!host_frame_owned(m[0]));
	CHECK_EQ(page_get(m[0], 0), HV_EINVAL); // a free frame has no references to add to
}

TEST(a_full_reference_counter_refuses_and_stays)
{
	frames();
	page_of(m[0])->count_info = PAGE_ALLOCATED | PAGE_COUNT_MASK;
	CHECK_EQ(page_get(m[0], 1), HV_ENOMEM);
	CHECK_EQ(page_of(m[0])->count_info, PAGE_ALLOCATED | PAGE_COUNT_MASK);
	page_of(m[0])->count_info = PAGE_ALLOCATED | (PAGE_COUNT_MASK - 1);
	CHECK_EQ(page_get(m[0], 1), HV_OK);
}

TEST(writable_mappings_and_table_use_exclude_each_other)
{
	frames();
	CHECK_EQ(page_get_writable(m[0]), HV_OK);
	CHECK_EQ(page_writable_count(m[0]), 1);
	tlb_cpu_active(0);
	page_put_writable(m[0]);
	CHECK_EQ(page_of(m[0])->stamp, tlb_clock()); // the last writable mapping went now
	page_of(m[0])->count_info |= PAGE_IS_TABLE;
	CHECK(page_is_table(m[0]));
	CHECK_EQ(page_get_writable(m[0]), HV_EINVAL);
	page_of(m[1])->type_info = UINT32_MAX;
	CHECK_EQ(page_get_writable(m[1]), HV_ENOMEM);
	CHECK_EQ(page_writable_count(m[1]), UINT32_MAX);
}

// Flags are changed in one step beside the count, which others change at any time.
TEST(flags_and_count_do_not_disturb_each_other)
{
	frames();
	page_set_flags(m[0], PAGE_IS_TABLE);
	CHECK_EQ(page_get(m[0], 1), HV_OK);
	CHECK_EQ(page_count_info(m[0]), PAGE_ALLOCATED | PAGE_IS_TABLE | 2);
	page_clear_flags(m[0], PAGE_IS_TABLE);
	page_put(m[0]);
	CHECK_EQ(page_count_info(m[0]), PAGE_ALLOCATED | 1);
}

TEST(what_the_owner_releases_goes_with_the_last_holder)
{
	frames();
	CHECK_EQ(page_get(m[0], 1), HV_OK);
	page_release(m[0]);
	CHECK(host_frame_owned(m[0]));
	CHECK_EQ(page_references(m[0]), 1);
	page_put(m[0]);
	CHECK(!host_frame_owned(m[0]));
	page_release(m[1]);
	CHECK(!host_frame_owned(m[1]));
	CHECK_STR(heap_check(), NULL);
}

static void release_twice(void)
{
	CHECK_EQ(page_get(m[0], 1), HV_OK);
	page_release(m[0]);
	page_release(m[0]);
}

static void put_last_of_mapped(void)
{
	page_clear_flags(m[0], PAGE_ALLOCATED);
	page_of(m[0])->maps = 1;
	page_put(m[0]);
}

TEST(a_frame_that_somebody_maps_is_not_freed)
{
	frames();
	CHECK(fixture_fatal(put_last_of_mapped));
	frames();
	CHECK(fixture_fatal(release_twice));
}

static void put_below_zero(void)
{
	page_put_writable(m[0]);
}

static void put_foreign(void)
{
	page_of(m[0])->owner = 0;
	page_put(m[0]);
}

static void put_last_of_allocated(void)
{
	page_put(m[0]);
}

TEST(underflow_stops_everything)
{
	frames();
	CHECK(fixture_fatal(put_below_zero));
	frames();
	CHECK(fixture_fatal(put_foreign));
	frames();
	CHECK(fixture_fatal(put_last_of_allocated));
}

// ---- lists -----------------------------------------------------------------------------------------

static struct page_list list;
static u32 model[ARRAY_LEN(m)], model_length;

static void same_as_model(void)
{
	u32 n = list.head;

	CHECK_STR(page_list_check(&list, "list"), NULL);
	CHECK_EQ(list.length, model_length);
	for (u32 i = 0; i < model_length; i++) {
		if (!CHECK_EQ(n, m[model[i]].n))
			return;
		n = page_of(mfn(n))->list.next;
	}
	CHECK_EQ(n, 0);
}

static void model_insert(u32 place, u32 frame)
{
	memmove(model + place + 1, model + place, (model_length - place) * sizeof(*model));
	model[place] = frame;
	model_length++;
}

static void model_take(u32 place)
{
	model_length--;
	memmove(model + place, model + place + 1, (model_length - place) * sizeof(*model));
}

// Every sequence of five operations out of: add at head, add at tail, pop, remove by place.
TEST(lists_do_what_an_array_does)
{
	frames();
	for (u32 script = 0; script < 6 * 6 * 6 * 6 * 6 * 6; script++) {
		u32 rest = script, fresh = 0;

		list = (struct page_list){ 0 };
		model_length = 0;
		for (u32 step = 0; step < 6; step++, rest /= 6) {
			u32 op = rest % 6;

			if (op == 0) {
				page_list_add_head(&list, m[fresh]);
				model_insert(0, fresh++);
			} else if (op == 1) {
				page_list_add_tail(&list, m[fresh]);
				model_insert(model_length, fresh++);
			} else if (op == 2) {
				mfn_t popped = page_list_pop(&list);

				CHECK_EQ(popped.n, model_length ? m[model[0]].n : 0);
				if (model_length)
					model_take(0);
			} else if (op - 3 < model_length) {
				page_list_remove(&list, m[model[op - 3]]);
				CHECK_EQ(page_of(m[model[op - 3]])->shadows, 0); // no garbage for a frame's shadows
				model_take(op - 3);
			}
			same_as_model();
			if (test_failures)
				return;
		}
	}
}

TEST(a_broken_list_is_told)
{
	frames();
	list = (struct page_list){ 0 };
	for (u32 i = 0; i < 3; i++)
		page_list_add_tail(&list, m[i]);
	list.length = 2;
	CHECK(strstr(page_list_check(&list, "E1.22 list"), "E1.22 list: longer than 2") != NULL);
	list.length = 4;
	CHECK(strstr(page_list_check(&list, "E1.22 list"), "3 of 4") != NULL);
	list.length = 3;
	list.tail = (u32)m[0].n;
	CHECK(strstr(page_list_check(&list, "E1.22 list"), "tail") != NULL);
	list.tail = (u32)m[2].n;
	page_of(m[1])->list.prev = 0;
	CHECK(strstr(page_list_check(&list, "E1.22 list"), "back link") != NULL);
	page_of(m[1])->list.prev = (u32)m[0].n;
	page_of(m[2])->list.next = (u32)m[0].n; // a ring
	CHECK(page_list_check(&list, "E1.22 list") != NULL);
	page_of(m[2])->list.next = 5; // outside memory
	CHECK(strstr(page_list_check(&list, "E1.22 list"), "link to 0x5") != NULL);
}
