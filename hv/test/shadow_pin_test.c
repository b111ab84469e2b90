// SPDX-License-Identifier: GPL-2.0-or-later
// The pinned list: order, what is touched by which operation, failures, and the heuristic that gives up
// pinning level-3 tables (spec A.8); the limit of the list. D2; rules 22 to 29; B41.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// Root tables in f4, f5, ... over the tree of f1.
static void make_root(u32 n)
{
	poke(n, 0, at(1, AS_TABLE));
}

static void three_roots(void)
{
	CHECK(fixture_paged(1, 0, 0));
	for (u32 n = 4; n < 7; n++) {
		make_root(n);
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
	}
}

static u32 root(u32 n)
{
	return (u32)shadow_of(n, SHADOW_L4_64).n;
}

TEST(the_list_is_an_lru_of_loads)
{
	three_roots();
	CHECK_EQ(pinned_at(0), root(6)); // rule 25
	CHECK_EQ(pinned_at(1), root(5));
	CHECK_EQ(pinned_at(2), root(4));
	CHECK_EQ(pinned_at(3), root(0));
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	CHECK_EQ(pinned_at(0), root(4));
	CHECK_EQ(pinned_at(1), root(6)); // rule 26: the others keep their order
	CHECK_EQ(pinned_at(2), root(5));
	CHECK_EQ(pinned_at(3), root(0));
	FINISH();
}

TEST(pinning_holds_one_reference_and_pinning_again_none)
{
	three_roots();
	mfn_t cold = mfn(root(4));

	CHECK_EQ(refs(cold), 1);
	CHECK_EQ(shadow_pin(dom, cold), HV_OK);
	CHECK_EQ(refs(cold), 1);
	CHECK_EQ(pinned_at(0), cold.n);
	CHECK_EQ(refs(mfn(root(6))), 2); // slot and pin
	FINISH();
}

TEST(unpinning_drops_the_reference_and_clears_the_links)
{
	three_roots();
	mfn_t loaded = mfn(root(6));

	shadow_unpin(dom, loaded);
	CHECK_EQ(refs(loaded), 1);
	CHECK(!pinned(loaded));
	CHECK(!page_of(loaded)->list.next && !page_of(loaded)->list.prev); // ready for the dying list
	HEALTHY();
	shadow_unpin(dom, loaded); // nothing to do
	CHECK_EQ(refs(loaded), 1);
	mfn_t cold = mfn(root(5));

	shadow_unpin(dom, cold); // the last reference: it is gone
	CHECK(mfn_is_none(shadow_of(5, SHADOW_L4_64)));
	FINISH();
}

TEST(a_pin_that_overflows_changes_nothing)
{
	three_roots();
	mfn_t loaded = mfn(root(6));

	shadow_unpin(dom, loaded);
	page_of(loaded)->sh.count = SHADOW_COUNT_MAX;
	struct page_info before = *page_of(loaded);
	struct page_list list = dom->shadow.pinned;

	CHECK_EQ(shadow_pin(dom, loaded), HV_ENOMEM);
	CHECK(!memcmp(&before, page_of(loaded), sizeof(before)));
	CHECK(!memcmp(&list, &dom->shadow.pinned, sizeof(list)));
	page_of(loaded)->sh.count = 1;
	CHECK_EQ(shadow_pin(dom, loaded), HV_OK);
	FINISH();
}

TEST(an_injected_pin_failure_is_the_same)
{
	three_roots();
	mfn_t loaded = mfn(root(6));

	shadow_unpin(dom, loaded);
	host_arm_failure(1);
	CHECK_EQ(shadow_pin(dom, loaded), HV_ENOMEM);
	CHECK(host_arm_failure(0));
	CHECK(!pinned(loaded));
	CHECK_EQ(refs(loaded), 1);
	FINISH();
}

static void pin_a_level_1_table(void)
{
	CHECK(reads(vc(0), page(9)));
	(void)!shadow_pin(dom, shadow_of(3, SHADOW_L1_64));
}

static void unpin_a_level_3_table(void)
{
	CHECK(reads(vc(0), page(9)));
	shadow_unpin(dom, shadow_of(1, SHADOW_L3_64));
}

TEST(only_pinnable_types_are_pinned)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(fixture_fatal(pin_a_level_1_table));
	CHECK(fixture_paged(1, 0, 0)); // without the option level 3 is not pinnable
	CHECK(fixture_fatal(unpin_a_level_3_table));
}

// ---- set_l4e ------------------------------------------------------------------------------------------

TEST(rule_29_level_3_tables_are_pinned_when_they_are_linked)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(reads(vc(0), page(9)));
	mfn_t l3 = shadow_of(1, SHADOW_L3_64);

	CHECK(pinned(l3));
	CHECK_EQ(refs(l3), 2);
	CHECK_EQ(pinned_at(0), l3.n);
	// A context switch of early Linux: one entry rewritten; the old tree survives in the pin.
	poke(0, 0, 0);
	CHECK_EQ(shadow_of(1, SHADOW_L3_64).n, l3.n);
	CHECK_EQ(refs(l3), 1);
	HEALTHY();
	poke(0, 0, at(1, AS_TABLE)); // validation finds the shadow again
	CHECK_EQ(spte_mfn(shadow_read(dom, vc(0)->shadow.root[0], 0)).n, l3.n);
	FINISH();
}

// D2: a failed pin must not look like a failed reference, nor the other way round. Every fallible step of one
// fault fails once; one of them is the pin.
TEST(D2_a_failed_pin_is_ignored)
{
	bool failed = true, pin_failed = false;

	for (u32 k = 1; failed; k++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
		host_arm_failure(k);
		bool done = reads(vc(0), page(9));

		failed = host_arm_failure(0);
		CHECK(done || (failed && dom->dead));
		if (done) {
			mfn_t l3 = shadow_of(1, SHADOW_L3_64);

			CHECK_EQ(refs(l3), 1 + pinned(l3)); // its parent, its pin
			CHECK(pinned(l3) || failed);
			pin_failed = pin_failed || !pinned(l3);
		}
		FINISH();
	}
	CHECK(pin_failed);
}

TEST(D2_a_failed_reference_is_fatal_and_installs_nothing)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(reads(vc(0), page(9)));
	mfn_t root4 = vc(0)->shadow.root[0], l3 = shadow_of(1, SHADOW_L3_64);
	u32 count = refs(l3);

	CHECK_EQ(shadow_read(dom, root4, 1).v, 0);
	page_of(l3)->sh.count = SHADOW_COUNT_MAX;
	u32 result = shadow_set(dom, root4, 1, (spte_t){ mfn_mpa(l3).a | AS_LEAF });

	CHECK_EQ(result, ENTRY_ERROR);
	CHECK_EQ(shadow_read(dom, root4, 1).v, 0);
	CHECK_EQ(refs(l3), SHADOW_COUNT_MAX);
	CHECK(dom->dead);
	page_of(l3)->sh.count = count & SHADOW_COUNT_MAX;
	FINISH();
}

// ---- the heuristic --------------------------------------------------------------------------------------

static u32 pinned_of_type(u32 type)
{
	u32 n = 0;

	for (u32 i = 0; pinned_at(i); i++)
		n += shadow_type_of(mfn(pinned_at(i))) == type;
	return n;
}

// With v vcpus the flag survives while at most 2v level-4 tables are pinned; it goes when number 2v + 2 is
// about to be shadowed, with 2v + 1 pinned.
TEST(rule_28_level_3_pins_end_exactly_at_2v_plus_2_roots)
{
	for (u32 v = 1; v <= 3; v++) {
		CHECK(fixture_paged(v, 0, SHADOW_OPT_LINUX_L3));
		CHECK(reads(vc(0), page(9)));
		u32 roots = 1; // f0

		for (u32 n = 4; roots < 2 * v + 1; n++, roots++) {
			make_root(n);
			CHECK_EQ(load_cr3(vc(0), n), HV_OK);
			CHECK_EQ(pinned_of_type(SHADOW_L4_64), roots + 1);
			CHECK(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3);
			CHECK_EQ(pinned_of_type(SHADOW_L3_64), 1);
		}
		CHECK_EQ(load_cr3(vc(0), 0), HV_OK); // one that is shadowed already is no new one
		CHECK(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3);
		HEALTHY();
		make_root(11);
		CHECK_EQ(load_cr3(vc(0), 11), HV_OK);
		CHECK(!(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3));
		CHECK_EQ(pinned_of_type(SHADOW_L3_64), 0);
		CHECK_EQ(pinned_of_type(SHADOW_L4_64), 2 * v + 2);
		mfn_t l3 = shadow_of(1, SHADOW_L3_64); // it lives in its parent f0, which is in its list

		CHECK(!mfn_is_none(l3) && is_mapped_by(l3, shadow_of(0, SHADOW_L4_64), 0));
		HEALTHY();
		// There is no way back but a new domain.
		shadow_blow_tables(dom);
		CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		CHECK(reads(vc(0), page(9)));
		CHECK(!(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3));
		CHECK(!pinned(shadow_of(1, SHADOW_L3_64)));
		FINISH();
	}
}

TEST(level_3_tables_without_a_parent_go_with_the_flag)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(reads(vc(0), page(9)));
	poke(0, 0, 0);
	CHECK(!mfn_is_none(shadow_of(1, SHADOW_L3_64)));
	for (u32 n = 4; n < 7; n++)
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
	CHECK(!(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3));
	CHECK(mfn_is_none(shadow_of(1, SHADOW_L3_64)));
	drain();
	CHECK(mfn_is_none(shadow_of(3, SHADOW_L1_64)));
	FINISH();
}

// After the switch such a table is found as before: D1 and B04 were about a pointer that was not.
TEST(after_the_switch_level_3_tables_are_found_by_their_parents)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(reads(vc(0), page(9)));
	for (u32 n = 4; n < 7; n++)
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
	u64 before = dom->shadow.stats.unshadowed;

	shadow_remove_all(dom, fm(1));
	CHECK(!page_is_table(fm(1)));
	CHECK_EQ(dom->shadow.stats.unshadowed, before + 1);
	FINISH();
}

TEST(without_the_option_nothing_is_counted)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL & ~SHADOW_OPT_LINUX_L3));
	for (u32 n = 4; n < 9; n++)
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
	CHECK_EQ(dom->shadow.opt_flags & SHADOW_OPT_LINUX_L3, 0);
	CHECK_EQ(pinned_of_type(SHADOW_L3_64), 0);
	FINISH();
}

// ---- the limit -------------------------------------------------------------------------------------------

#define MORE 5

// New RAM at g, whose first entry is that.
static bool table_with(gfn_t g, u64 entry)
{
	return domain_add_ram(dom, g) == HV_OK && domain_write(dom, gfn_gpa(g), &entry, sizeof(entry)) == HV_OK;
}

// Roots beyond f0: the n-th is a frame of its own that leads to f1.
static bool load_root(struct vcpu *v, u32 n)
{
	gfn_t g = gfn(CROWD_GFN + n);

	if (mfn_is_none(crowd_frame(n)) && !table_with(g, at(1, AS_TABLE)))
		return false;
	host_set_cpu(cpu_of(v));
	return vcpu_write_cr3(v, gfn_gpa(g).a) == HV_OK;
}

static mfn_t nth_root(u32 n)
{
	return hash_find(dom, (u32)crowd_frame(n).n, SHADOW_L4_64);
}

static void as_many_roots_as_can_be(u32 vcpus)
{
	CHECK(fixture_paged(vcpus, 2 * SHADOW_PINNED_MAX + 100, 0));
	while (dom->shadow.pinned.tail) // f0, and what came before paging
		shadow_unpin(dom, mfn(dom->shadow.pinned.tail));
	for (u32 n = 0; n < SHADOW_PINNED_MAX; n++)
		CHECK(load_root(vc(0), n));
	CHECK_EQ(dom->shadow.pinned.length, SHADOW_PINNED_MAX);
	CHECK_EQ(dom->shadow.pinned.tail, nth_root(0).n);
}

TEST(beyond_the_limit_the_coldest_pin_goes)
{
	as_many_roots_as_can_be(1);
	for (u32 n = 0; n < MORE; n++) {
		CHECK(load_root(vc(0), SHADOW_PINNED_MAX + n));
		CHECK_EQ(dom->shadow.pinned.length, SHADOW_PINNED_MAX);
		CHECK_EQ(dom->shadow.pinned.head, nth_root(SHADOW_PINNED_MAX + n).n); // rule 25
		CHECK_EQ(dom->shadow.pinned.tail, nth_root(n + 1).n);                // rules 26, 27
		CHECK(mfn_is_none(nth_root(n)));
		CHECK(!page_is_table(crowd_frame(n)));
	}
	HEALTHY();
	CHECK(load_root(vc(0), 0)); // once more: it is made anew
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(dom->shadow.pinned.head, nth_root(0).n);
	FINISH();
}

TEST(loading_a_pinned_root_again_costs_nobody_the_pin)
{
	as_many_roots_as_can_be(1);
	for (u32 n = 0; n < MORE; n++)
		CHECK(load_root(vc(0), n));
	CHECK_EQ(dom->shadow.pinned.length, SHADOW_PINNED_MAX);
	for (u32 n = 0; n < SHADOW_PINNED_MAX; n++)
		CHECK(pinned(nth_root(n)));
	FINISH();
}

// A vcpu's slot holds what the list has let go of.
TEST(the_coldest_may_be_loaded_elsewhere)
{
	as_many_roots_as_can_be(2);
	CHECK(load_root(vc(1), 0)); // hot again, and stays there
	for (u32 n = 1; n < SHADOW_PINNED_MAX + MORE; n++)
		CHECK(load_root(vc(0), n));
	mfn_t loaded = nth_root(0);

	CHECK(!pinned(loaded));
	CHECK_EQ(refs(loaded), 1);
	CHECK_EQ(vc(1)->shadow.root[0].n, loaded.n);
	CHECK(reads(vc(1), page(9)));
	HEALTHY();
	CHECK(load_root(vc(1), 1));
	CHECK(mfn_is_none(nth_root(0)));
	FINISH();
}

// Level-3 tables count too, and going beyond by one of them must not hurt the table that names it.
TEST(level_3_pins_are_limited_too)
{
	CHECK(fixture_paged(1, 8 * SHADOW_PINNED_MAX > 3000 ? 2300 : 8 * SHADOW_PINNED_MAX, SHADOW_OPT_LINUX_L3));
	u32 tables = SHADOW_PINNED_MAX + MORE, group = SHADOW_COUNT_MAX < 100 ? SHADOW_COUNT_MAX - 1 : 512;
	u64 last = 0;

	for (u32 n = 0; n < tables; n++) { // each in turn at the same place of f0
		gfn_t parent = gfn(CROWD_GFN + n), below = gfn(CROWD_GFN + 0x4000 + n / group);

		if (n % group == 0) // the counter of one below them may be narrow
			CHECK(table_with(below, at(3, AS_TABLE)));
		CHECK(table_with(parent, gfn_gpa(below).a | AS_TABLE));
		poke(0, 1, gfn_gpa(parent).a | AS_TABLE);
		CHECK(reads(vc(0), (UINT64_C(1) << 39) + page(9)));
		CHECK(dom->shadow.pinned.length <= SHADOW_PINNED_MAX);
		last = n;
		if (n % 16 == 0)
			HEALTHY();
	}
	CHECK_EQ(dom->shadow.pinned.length, SHADOW_PINNED_MAX);
	CHECK(pinned(hash_find(dom, (u32)crowd_frame((u32)last).n, SHADOW_L3_64)));
	FINISH();
}

// Whoever walks the list has that many steps at most: a reserve that nothing but pins can meet, and a blow.
TEST(B41_walks_of_the_list_are_as_long_as_its_limit)
{
	as_many_roots_as_can_be(1);
	most_visits();
	domain_lock(dom, BOUND_POOL);
	CHECK_EQ(pool_reserve(dom, dom->shadow.total_pages - 10), HV_OK);
	domain_unlock(dom);
	CHECK_STR(bound_check(dom), NULL);
	u64 most = most_visits();

	CHECK(most >= SHADOW_PINNED_MAX && most <= SHADOW_PINNED_MAX * (1 + SHADOW_SCAN_VISITS + 1) + 512 + SHADOW_REAP_VISITS);
	FINISH();

	as_many_roots_as_can_be(1);
	most_visits();
	domain_lock(dom, BOUND_BLOW);
	shadow_blow_tables(dom);
	domain_unlock(dom);
	CHECK_STR(bound_check(dom), NULL);
	CHECK(most_visits() <= SHADOW_PINNED_MAX + 512 + SHADOW_REAP_VISITS + 2 * 512);
	FINISH();
}
