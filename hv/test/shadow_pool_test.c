// SPDX-License-Identifier: GPL-2.0-or-later
// The pool: stages of a reservation, the order in which it reclaims (rule 27), what it flushes, growing and
// shrinking, accounting (rules 1, 2, 8), pages for the p2m. D3, D10, D13.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define ROOTS 5

// Root tables f4..f8, each leads to the tree of f1; loaded in order, so f8 is the hottest and loaded.
static void roots(void)
{
	for (u32 i = 0; i < ROOTS; i++) {
		poke(4 + i, 0, at(1, AS_TABLE));
		poke(3, 4 + i, 0); // no tree maps a root: nothing has to be revoked
		CHECK_EQ(load_cr3(vc(0), 4 + i), HV_OK);
	}
}

static u32 snapshot(u32 *list, u32 room)
{
	u32 n = 0;

	while (n < room && pinned_at(n)) {
		list[n] = pinned_at(n);
		n++;
	}
	return n;
}

TEST(stage_0_enough_is_free)
{
	u32 before[16], after[16];

	fixture_paged(1, 0, 0);
	roots();
	u32 n = snapshot(before, 16), free = dom->shadow.free_pages;

	CHECK_EQ(pool_reserve(dom, free), HV_OK);
	CHECK_EQ(snapshot(after, 16), n);
	CHECK(!memcmp(before, after, n * sizeof(u32)));
	CHECK_EQ(dom->shadow.stats.reclaimed, 0);
	FINISH();
}

TEST(stage_1_unpins_a_suffix_of_the_list_and_no_more_than_needed)
{
	for (u32 want = 1; want < ROOTS; want++) {
		u32 before[16], after[16];

		fixture_paged(1, 0, 0);
		roots();
		u32 n = snapshot(before, 16), free = dom->shadow.free_pages;

		CHECK(n >= ROOTS);
		CHECK_EQ(pool_reserve(dom, free + want), HV_OK);
		CHECK(dom->shadow.free_pages >= free + want);
		u32 left = snapshot(after, 16);

		CHECK(left < n);
		CHECK(!memcmp(before, after, left * sizeof(u32))); // rule 27, and 26 for those that stay
		CHECK_EQ(dom->shadow.stats.reclaimed, n - left);
		CHECK_EQ(n - left, (want + 1) / 2); // a root and its links each
		CHECK(!dom->dead);
		FINISH();
	}
}

// What is loaded is emptied in place when nothing else helps; every processor of the domain is flushed,
// not only those of the vcpus that were visited (D3).
TEST(D3_stage_2_empties_loaded_roots_and_flushes_the_whole_domain)
{
	struct tlb_entry e = { .va = 0x5000 };
	const struct tlb_entry *first;

	fixture_paged(2, 0, 0);
	CHECK(reads(vc(0), page(4)));
	CHECK(reads(vc(1), page(5)));
	CHECK(spte_present(spte_at(vc(0), page(4), 0)));
	mfn_t root = vc(0)->shadow.root[0];

	e.mfn = fm(5).n;
	e.generation = host_frame_generation(fm(5));
	tlb_add_page(0, &e);
	tlb_add_page(1, &e);
	u32 loaded = 2; // both vcpus run on the shadow of f0, which has a page of links

	CHECK_EQ(pool_reserve(dom, dom->shadow.total_pages - loaded), HV_OK);
	CHECK_EQ(dom->shadow.free_pages, dom->shadow.total_pages - loaded);
	CHECK_EQ(vc(0)->shadow.root[0].n, root.n);
	CHECK_EQ(shadow_of(0, SHADOW_L4_64).n, root.n); // stays hashed, promoted, loaded
	CHECK(page_is_table(fm(0)));
	CHECK_EQ(shadow_read(dom, root, 0).v, 0);
	CHECK(!pinned(root));
	CHECK_EQ(refs(root), 2);
	CHECK_EQ(tlb_pages(0, &first), 0);
	CHECK_EQ(tlb_pages(1, &first), 0);
	CHECK(reads(vc(0), page(4))); // and the guest goes on
	FINISH();
}

TEST(stage_3_nothing_left_kills)
{
	fixture_paged(1, 0, 0);
	CHECK_EQ(pool_reserve_or_kill(dom, dom->shadow.total_pages + 1), HV_ENOMEM);
	CHECK(dom->dead);
	CHECK_STR(dom->death, "out of shadow memory");
	FINISH();
}

TEST(an_injected_failure_kills_before_anything_is_reclaimed)
{
	fixture_paged(1, 0, 0);
	roots();
	u32 pins = dom->shadow.pinned.length;

	host_arm_failure(1);
	CHECK_EQ(pool_reserve_or_kill(dom, 1), HV_ENOMEM);
	CHECK(host_arm_failure(0));
	CHECK(dom->dead);
	CHECK_EQ(dom->shadow.pinned.length, pins);
	FINISH();
}

// ---- pages -------------------------------------------------------------------------------------------

TEST(pages_are_zero_and_complete_when_they_become_a_shadow)
{
	fixture_start(1, 0, 0);
	u32 free = dom->shadow.free_pages;
	mfn_t smfn = pool_alloc(dom, SHADOW_L2_32, 0x1234);
	u32 n = (u32)smfn.n, links = 0;

	CHECK_EQ(dom->shadow.free_pages, free - 8);
	for (u32 i = 0; i < 4; i++, n = page_of(mfn(n))->sibling) {
		const struct page_info *info = page_of(mfn(n));

		CHECK_EQ(info->sh.type, SHADOW_L2_32);
		CHECK_EQ(info->sh.head, i == 0);
		CHECK_EQ(info->back, i ? smfn.n : 0x1234);
		CHECK_EQ(info->pool, dom->owner);
		CHECK_EQ(info->count_info | info->owner, 0); // rule 4
		CHECK(info->links && info->links != links);
		links = info->links;
		CHECK_EQ(page_of(mfn(links))->sh.type, SHADOW_LINKS);
		CHECK(!page_of(mfn(links))->sh.head);
		CHECK_EQ(page_of(mfn(links))->pool, dom->owner);
		CHECK_EQ(page_of(mfn(links))->count_info | page_of(mfn(links))->owner, 0);
		for (u32 k = 0; k < 512; k++)
			CHECK_EQ(host_frame(mfn(n))[k], 0);
	}
	CHECK_EQ(n, 0);
	pool_free(dom, smfn);
	CHECK_EQ(dom->shadow.free_pages, free);
	FINISH();
}

// Free pages keep what they held: caches of upper entries may still walk them. The flush comes at reuse.
TEST(freed_pages_keep_their_contents_and_are_flushed_at_reuse)
{
	struct tlb_entry e = { .va = 0 };
	const struct tlb_entry *first;

	fixture_paged(1, 0, 0);
	mfn_t smfn = pool_alloc(dom, SHADOW_FL1_64, 0x200);

	host_frame(smfn)[7] = 0x77;
	e.mfn = smfn.n;
	tlb_add_table(0, &e);
	pool_free(dom, smfn);
	CHECK_EQ(host_frame(smfn)[7], 0x77);
	CHECK_EQ(tlb_tables(0, &first), 1);
	CHECK_EQ(pool_alloc(dom, SHADOW_FL1_64, 0x200).n, smfn.n);
	CHECK_EQ(host_frame(smfn)[7], 0);
	CHECK_EQ(tlb_tables(0, &first), 0);
	pool_free(dom, smfn);
	FINISH();
}

static void alloc_without_reserve(void)
{
	while (true)
		pool_alloc(dom, SHADOW_FL1_64, 0);
}

static void free_in_use(void)
{
	pool_free(dom, vc(0)->shadow.root[0]);
}

TEST(rule_7_and_live_shadows_are_asserted)
{
	fixture_start(1, 0, 0);
	CHECK(fixture_fatal(alloc_without_reserve));
	fixture_start(1, 0, 0);
	CHECK(fixture_fatal(free_in_use));
}

// ---- sizes -------------------------------------------------------------------------------------------

TEST(D13_a_pool_of_nothing_is_refused_while_shadows_are_on)
{
	fixture_paged(1, 0, 0);
	u32 total = dom->shadow.total_pages;

	CHECK_EQ(domain_resize_pool(dom, 0), HV_EBUSY);
	CHECK_EQ(dom->shadow.total_pages, total);
	FINISH();
}

TEST(sizes_are_raised_to_the_lower_bound)
{
	for (u32 vcpus = 1; vcpus <= DOMAIN_VCPUS_MAX; vcpus++) {
		fixture_start(vcpus, 0, 0);
		u32 bound = shadow_lower_bound(dom);

		CHECK_EQ(bound % 4, 0);
		CHECK(bound >= SHADOW_MIN_BASE + SHADOW_MIN_PER_VCPU * vcpus);
		CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
		CHECK_EQ(dom->shadow.total_pages, bound);
		CHECK_EQ(domain_resize_pool(dom, bound + 7), HV_OK);
		CHECK_EQ(dom->shadow.total_pages, bound + 7);
		CHECK_EQ(dom->shadow.free_pages, bound + 7 - 2 * 4 - vcpus); // one root of four pages, PDPTEs for each
		FINISH();
	}
}

TEST(shrinking_reclaims_what_it_needs)
{
	fixture_paged(1, 0, 0);
	u32 bound = shadow_lower_bound(dom);

	CHECK_EQ(domain_resize_pool(dom, bound + 6), HV_OK);
	roots();
	CHECK(reads(vc(0), page(9)));
	mfn_t taken[256];
	u32 n = 0;

	while (dom->shadow.free_pages && n < ARRAY_LEN(taken)) // nothing is free
		taken[n++] = pool_alloc(dom, SHADOW_ROOTS_PAE, 0); // of one page
	CHECK_EQ(domain_resize_pool(dom, bound + 6 - 3), HV_OK);
	CHECK_EQ(dom->shadow.total_pages, bound + 3);
	CHECK(!dom->dead);
	while (n)
		pool_free(dom, taken[--n]);
	FINISH();
}

TEST(growing_is_all_or_nothing)
{
	fixture_paged(1, 0, 0);
	u32 total = dom->shadow.total_pages, free = dom->shadow.free_pages;

	for (u32 k = 1; k <= 5; k++) { // rule 50
		host_arm_failure(k);
		CHECK_EQ(domain_resize_pool(dom, total + 5), HV_ENOMEM);
		CHECK(host_arm_failure(0));
		CHECK_EQ(dom->shadow.total_pages, total);
		CHECK_EQ(dom->shadow.free_pages, free);
		HEALTHY();
	}
	CHECK_EQ(domain_resize_pool(dom, HOST_FRAMES + 1), HV_ENOMEM);
	CHECK_EQ(dom->shadow.total_pages, total);
	CHECK_EQ(domain_resize_pool(dom, total + 5), HV_OK);
	CHECK(!dom->dead);
	FINISH();
}

// A control operation that fails must leave the domain as it was: above all, alive.
TEST(rule_50_a_shrink_that_fails_does_not_kill)
{
	bool failed = true, refused = false;

	for (u32 k = 1; failed; k++) {
		fixture_paged(1, 0, 0);
		u32 bound = shadow_lower_bound(dom);

		CHECK_EQ(domain_resize_pool(dom, bound + 5), HV_OK);
		host_arm_failure(k);
		enum hv_status status = domain_resize_pool(dom, bound);

		failed = host_arm_failure(0);
		CHECK(status == HV_OK || (failed && status == HV_ENOMEM));
		refused = refused || status == HV_ENOMEM;
		CHECK(!dom->dead);
		CHECK_EQ(dom->shadow.total_pages, status == HV_OK ? bound : bound + 5);
		FINISH();
	}
	CHECK(refused);
}

TEST(shrinking_flushes_what_may_still_be_walked)
{
	struct tlb_entry e = { .va = 0 };
	const struct tlb_entry *first;

	fixture_paged(1, 0, 0);
	u32 bound = shadow_lower_bound(dom);

	CHECK_EQ(domain_resize_pool(dom, bound + 1), HV_OK);
	mfn_t smfn = pool_alloc(dom, SHADOW_FL1_64, 0x200);

	e.mfn = smfn.n;
	e.generation = host_frame_generation(smfn);
	tlb_add_table(0, &e);
	pool_free(dom, smfn);
	CHECK_EQ(domain_resize_pool(dom, bound), HV_OK); // gives back the page freed last
	CHECK(!host_frame_owned(smfn));
	CHECK_EQ(tlb_tables(0, &first), 0);
	FINISH();
}

// ---- blow ----------------------------------------------------------------------------------------------

TEST(blow_leaves_loaded_roots_and_nothing_else)
{
	fixture_paged(2, 0, SHADOW_OPT_ALL);
	roots();
	CHECK(reads(vc(0), page(9)));
	CHECK(reads(vc(1), page(9)));
	shadow_blow_tables(dom);
	drain();
	CHECK_EQ(dom->shadow.pinned.length, 0);
	CHECK_EQ(dom->shadow.shadow_count, 2); // f8 on vcpu 0, f0 on vcpu 1
	CHECK_EQ(dom->shadow.free_pages, dom->shadow.total_pages - 2 * 2);
	CHECK_EQ(shadow_read(dom, vc(0)->shadow.root[0], 0).v, 0);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

TEST(D10_blow_with_nothing_loaded)
{
	fixture_paged(2, 0, SHADOW_OPT_ALL);
	CHECK(reads(vc(0), page(9)));
	shadow_detach(vc(0));
	shadow_detach(vc(1));
	shadow_blow_tables(dom);
	drain();
	CHECK_EQ(dom->shadow.shadow_count, 0);
	CHECK_EQ(dom->shadow.free_pages, dom->shadow.total_pages);
	dom->vcpu_count = 0; // and a domain without vcpus
	shadow_blow_tables(dom);
	CHECK_STR(fixture_end(), NULL);
}

// ---- the p2m's pages -------------------------------------------------------------------------------------

TEST(rule_8_pages_for_the_p2m_leave_the_pool_at_its_lower_bound)
{
	fixture_start(1, 0, 0);
	for (u64 g = 0; g < UINT64_C(0x10000000); g += UINT64_C(0x400000)) {
		if (heap_used() > 600)
			break;
		CHECK_EQ(domain_add_ram(dom, gfn(g)), HV_OK);
		CHECK(dom->shadow.total_pages >= shadow_lower_bound(dom));
		CHECK_EQ(dom->shadow.p2m_pages, dom->p2m.tables.length + dom->p2m.spare.length);
	}
	FINISH();
}

#define RAM_FRAMES (HOST_FRAMES > 2200 ? 1100u : HOST_FRAMES / 2 - 100)

// RAM raises the lower bound, p2m tables do under log-dirty, and so does RAM by one more node of the bitmap.
TEST(rule_8_the_pool_grows_with_its_lower_bound)
{
	for (u32 log_dirty = 0; log_dirty < 2 && !test_failures; log_dirty++) {
		fixture_start(1, 0, 0);
		domain_lock(dom, BOUND_DIRTY);
		if (log_dirty)
			CHECK_EQ(shadow_dirty_start(dom), HV_OK);
		domain_unlock(dom);
		u32 before = dom->shadow.total_pages;

		for (u32 i = 0; i < RAM_FRAMES && !test_failures; i++) {
			CHECK_EQ(domain_add_ram(dom, gfn(UINT64_C(0x60000) + i)), HV_OK);
			CHECK(dom->shadow.total_pages >= shadow_lower_bound(dom));
		}
		CHECK(dom->shadow.total_pages > before || RAM_FRAMES < 1024);
		HEALTHY();
		for (u64 i = 0; i < 64 && !test_failures; i++) {
			CHECK_EQ(physmap_identity(dom, gfn((UINT64_C(0x10000) << i % 8) + 77 * i), 12345, true), HV_OK);
			CHECK(dom->shadow.total_pages >= shadow_lower_bound(dom));
		}
		CHECK_EQ(physmap_balloon(dom, gfn(0x70000), PHYSMAP_BALLOON_MAX, true), HV_OK);
		CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
		CHECK_EQ(dom->shadow.total_pages, shadow_lower_bound(dom));
		FINISH();
	}
}

// Every step of adding RAM far away, which needs new tables, fails once: the domain is as before and lives.
TEST(rule_50_feeding_the_p2m_fails_cleanly)
{
	bool failed = true;
	u32 refused = 0;

	for (u32 k = 1; failed; k++) {
		fixture_start(1, 0, 0);
		CHECK_EQ(domain_add_ram(dom, gfn(0)), HV_OK); // uses spare pages up
		CHECK(p2m_needs_pages(&dom->p2m));
		u32 pages = dom->shadow.total_pages, tables = dom->shadow.p2m_pages;
		u64 used = heap_used();
		u64 mapped = dom->p2m.mapped;

		host_arm_failure(k);
		enum hv_status status = domain_add_ram(dom, gfn(0x8000000));

		failed = host_arm_failure(0);
		CHECK(status == HV_OK || (failed && status == HV_ENOMEM));
		refused += status == HV_ENOMEM;
		CHECK_EQ(dom->p2m.mapped, status == HV_OK ? mapped + 1 : mapped);
		if (status != HV_OK) {
			CHECK_EQ(dom->shadow.total_pages, pages);
			CHECK_EQ(dom->shadow.p2m_pages, tables);
			CHECK_EQ(heap_used(), used);
		}
		CHECK(!dom->dead);
		FINISH();
	}
	CHECK(refused > 0);
}
