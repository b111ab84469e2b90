// SPDX-License-Identifier: GPL-2.0-or-later
// The pinned list: order, what is touched by which operation, failures, and the heuristic that gives up
// pinning level-3 tables (spec A.8). D2; rules 22 to 29.
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
	CHECK_EQ(page_of(loaded)->up, 0); // no garbage in the union should the type use `up` one day
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
		// The level-3 table lived in its parent f0; its `up` starts at 0.
		mfn_t l3 = shadow_of(1, SHADOW_L3_64);

		CHECK(!mfn_is_none(l3) && page_of(l3)->up == 0);
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
	CHECK(mfn_is_none(shadow_of(3, SHADOW_L1_64)));
	FINISH();
}

// After the switch such a table has no `up`: it is found by looking through the roots.
TEST(after_the_switch_level_3_tables_are_found_by_scanning)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_LINUX_L3));
	CHECK(reads(vc(0), page(9)));
	for (u32 n = 4; n < 7; n++)
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
	CHECK_EQ(page_of(shadow_of(1, SHADOW_L3_64))->up, 0);
	u64 scans = dom->shadow.stats.unshadow_scan;

	shadow_remove_all(dom, fm(1));
	CHECK(!page_is_table(fm(1)));
	CHECK_EQ(dom->shadow.stats.unshadow_scan, scans + 1);
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
