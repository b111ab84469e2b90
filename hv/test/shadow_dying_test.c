// SPDX-License-Identifier: GPL-2.0-or-later
// Deferred destruction (spec A.6, A.9): what a dead shadow is from the first moment on, what it still holds, who takes it apart
// and how much of that at a time. Rules 16, 20, 40, 43, 52; B09, B11, B41.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// f0..f3 are shadowed; then the level-3 shadow dies, and with it, later, the others.
static mfn_t l3, l2, l1;

static void dead_tree(void)
{
	CHECK(fixture_paged(1, 200, 0));
	CHECK(writes(vc(0), page(9), 1));
	CHECK(reads(vc(0), page(10)));
	l3 = shadow_of(1, SHADOW_L3_64);
	l2 = shadow_of(2, SHADOW_L2_64);
	l1 = shadow_of(3, SHADOW_L1_64);
	domain_lock(dom, BOUND_UNSHADOW);
	CHECK_EQ(shadow_set(dom, vc(0)->shadow.root[0], 0, SPTE_EMPTY), ENTRY_CHANGED | ENTRY_FLUSH);
	tlb_flush(dom->shadow.cpus);
	CHECK_EQ(dom->shadow.dying.length, 1);
}

// Let go of `n` shadows, one after the other.
static void reap(u32 n)
{
	while (n--) {
		u32 length = dom->shadow.dying.length;

		pool_reap(dom, 1);
		CHECK(dom->shadow.dying.length <= length);
	}
}

static void give_up(void)
{
	domain_unlock(dom);
	drain();
}

TEST(a_dead_shadow_is_not_found)
{
	dead_tree();
	u32 live = dom->shadow.shadow_count;

	CHECK(shadow_is_dying(l3) && !shadow_is_dying(l2) && !shadow_is_dying(l1));
	CHECK(mfn_is_none(table_find(dom, SHADOW_L3_64, (u32)fm(1).n)));
	CHECK(mfn_is_none(hash_find(dom, (u32)fm(1).n, SHADOW_L3_64)));
	CHECK_EQ(page_of(fm(1))->shadows, 0);
	CHECK_EQ(table_find(dom, SHADOW_L2_64, (u32)fm(2).n).n, l2.n); // its child lives as long as it is named
	CHECK_EQ(refs(l2), 1);
	reap(1);
	CHECK_EQ(dom->shadow.shadow_count, live - 1);
	CHECK(shadow_is_dying(l2));
	CHECK(mfn_is_none(table_find(dom, SHADOW_L2_64, (u32)fm(2).n)));
	give_up();
	FINISH();
}

// B11: the flags go with the shadow, and what shares their storage is right.
TEST(its_guest_table_is_ordinary_memory_at_once)
{
	dead_tree();
	CHECK(!page_is_table(fm(1)));
	CHECK_EQ(page_references(fm(1)), 1);
	CHECK_EQ(page_of(fm(1))->stamp, tlb_clock() - 1); // of the moment, and flushed for since
	CHECK_EQ(page_get_writable(fm(1)), HV_OK);
	page_put_writable(fm(1));
	CHECK(page_is_table(fm(3)));
	CHECK(shadow_propagate(dom, SHADOW_L1_64, (gpte_t){ at(1, AS_LEAF) }, MFN_NONE).v & PTE_W);
	give_up();
	FINISH();
}

TEST(its_table_may_leave_and_be_reused_before_it_is_taken_apart)
{
	dead_tree();
	mfn_t was = fm(1);

	shadow_forget_frame(dom, was);
	page_release(p2m_clear(&dom->p2m, fg(1)));
	CHECK(!host_frame_owned(was)); // no reference keeps it
	CHECK(shadow_is_dying(l3));
	give_up();
	CHECK_EQ(domain_add_ram(dom, fg(1)), HV_OK);
	FINISH();
}

// Level-0 entries of a dying table are mappings like any other.
TEST(its_entries_stay_in_reverse_maps_until_they_are_let_go_of)
{
	dead_tree();
	reap(2);
	CHECK(shadow_is_dying(l1) && !page_is_table(fm(3)));
	CHECK(is_mapped_by(fm(9), l1, 9));
	CHECK(is_mapped_by(fm(10), l1, 10));
	CHECK_EQ(page_writable_count(fm(9)), 1);
	CHECK_EQ(page_references(fm(9)), 2);
	(void)access_remove_write(dom, fm(9)); // reaches it there
	CHECK_EQ(page_writable_count(fm(9)), 0);
	CHECK_EQ(page_references(fm(9)), 2);
	access_remove_mappings(dom, fm(10));
	CHECK_EQ(page_references(fm(10)), 1);
	reap(1);
	CHECK_EQ(page_references(fm(9)), 1);
	CHECK_EQ(dom->shadow.dying.length, 0);
	domain_unlock(dom);
	FINISH();
}

// A frame that only a dying table maps writable becomes a table.
TEST(a_frame_that_a_dying_table_maps_is_protected)
{
	mfn_t smfn;

	dead_tree();
	reap(2);
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(9).n, MFN_NONE, &smfn), HV_OK);
	CHECK(!dom->dead && page_is_table(fm(9)));
	CHECK(!(rmap_entry(page_of(fm(9))->maps).v & PTE_W));
	table_destroy(dom, smfn);
	give_up();
	FINISH();
}

TEST(a_new_shadow_of_the_same_table_is_another_one)
{
	dead_tree();
	domain_unlock(dom); // begin again, with a dead level-1 table
	drain();
	CHECK(reads(vc(0), page(9)));
	l1 = shadow_of(3, SHADOW_L1_64);
	l2 = shadow_of(2, SHADOW_L2_64);
	domain_lock(dom, BOUND_UNSHADOW);
	CHECK(shadow_set(dom, l2, 0, SPTE_EMPTY) & ENTRY_FLUSH);
	tlb_flush(dom->shadow.cpus);
	CHECK(shadow_is_dying(l1));
	mfn_t fresh;

	CHECK_EQ(pool_reserve(dom, 2), HV_OK);
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(3).n, MFN_NONE, &fresh), HV_OK);
	CHECK(fresh.n != l1.n);
	CHECK_EQ(shadow_of(3, SHADOW_L1_64).n, fresh.n);
	CHECK_EQ(shadow_read(dom, fresh, 9).v, 0);
	CHECK(spte_present(shadow_read(dom, l1, 9)));
	CHECK(shadow_set(dom, l2, 0, (spte_t){ mfn_mpa(fresh).a | AS_LEAF }) & ENTRY_CHANGED);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL); // with a dying namesake
	domain_unlock(dom);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// A child of a dying parent can be taken over by a living one.
TEST(a_child_that_a_living_parent_takes_survives)
{
	dead_tree();
	mfn_t root = vc(0)->shadow.root[0], fresh;

	CHECK_EQ(table_get(dom, SHADOW_L3_64, (u32)fm(1).n, MFN_NONE, &fresh), HV_OK);
	CHECK(shadow_set(dom, root, 0, (spte_t){ mfn_mpa(fresh).a | AS_LEAF }) & ENTRY_CHANGED);
	CHECK(shadow_set(dom, fresh, 0, (spte_t){ mfn_mpa(l2).a | AS_LEAF }) & ENTRY_CHANGED);
	CHECK_EQ(refs(l2), 2);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	reap(1);
	CHECK_EQ(dom->shadow.dying.length, 0);
	CHECK_EQ(refs(l2), 1);
	CHECK_EQ(shadow_of(3, SHADOW_L1_64).n, l1.n);
	domain_unlock(dom);
	CHECK(writes(vc(0), page(9), 2));
	FINISH();
}

TEST(a_root_dies_and_is_loaded_again)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK(reads(vc(0), page(9)));
	mfn_t old = vc(0)->shadow.root[0];

	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	domain_lock(dom, BOUND_CR);
	shadow_unpin(dom, old);
	CHECK(shadow_is_dying(old) && !page_is_table(fm(0)));
	vc(0)->guest.cr3 = at(0, 0);
	CHECK_EQ(shadow_update_cr3(vc(0)), HV_OK);
	CHECK(vc(0)->shadow.root[0].n != old.n);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// ---- how much at a time -------------------------------------------------------------------------------------

// `count` tables of level 1, each shadow with `filled` entries, all of them dying under the lock.
static void graveyard(u32 count, u32 filled)
{
	CHECK(fixture_paged(1, CROWD_POOL(count), 0));
	CHECK(crowd(count));
	for (u32 t = 0; t < count; t++) {
		u32 index;
		mfn_t smfn = table_at(vc(0), CROWD + t * UINT64_C(0x200000), 0, &index);

		for (u32 i = 0; i < 512; i++) // entries of its own frame, as many as asked for
			CHECK((shadow_set(dom, smfn, i, i < filled ? (spte_t){ mfn_mpa(crowd_frame(t)).a | PTE_P | PTE_U | PTE_A }
								   : SPTE_EMPTY) & ENTRY_ERROR) == 0);
	}
	domain_lock(dom, BOUND_UNSHADOW);
	for (u32 t = 0; t < count; t += 512) {
		u32 index;

		shadow_clear(dom, table_at(vc(0), CROWD + t * UINT64_C(0x200000), 1, &index));
	}
	tlb_flush(dom->shadow.cpus);
	CHECK_EQ(dom->shadow.dying.length, count);
}

TEST(reaping_keeps_to_its_budget)
{
	static const u32 filled[] = { 1, 8, 30 };

	for (u32 f = 0; f < ARRAY_LEN(filled); f++)
		for (u32 budget = 1; budget <= 200; budget += 66) {
			graveyard(20, filled[f]);
			u64 before = dom->shadow.stats.visits;
			u32 free = dom->shadow.free_pages;

			pool_reap(dom, budget);
			u64 visits = dom->shadow.stats.visits - before;
			u32 gone = 20 - dom->shadow.dying.length;

			CHECK(visits >= budget || gone == 20);
			CHECK(visits < budget + filled[f] + 16); // the last one is taken apart as a whole
			CHECK_EQ(dom->shadow.free_pages, free + 2 * gone);
			CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
			give_up();
			FINISH();
		}
}

// Looking for entries in an empty table is work too: without a count of it any number of them would go in one hold.
TEST(B41_empty_tables_are_not_free_of_charge)
{
	graveyard(200, 0);
	pool_reap(dom, 50);
	CHECK(dom->shadow.dying.length >= 150);
	u64 before = dom->shadow.stats.visits;

	pool_reap(dom, UINT32_MAX);
	CHECK(dom->shadow.stats.visits - before >= 150);
	CHECK_EQ(dom->shadow.dying.length, 0);
	give_up();
	FINISH();
}

TEST(nothing_dying_costs_nothing)
{
	CHECK(fixture_paged(1, 0, 0));
	u64 before = dom->shadow.stats.visits;

	pool_reap(dom, 1000);
	CHECK_EQ(dom->shadow.stats.visits, before);
	FINISH();
}

// Each time the lock is given back a little more goes, and in the end all of it, with nobody asking. Option: reap.
TEST(giving_the_lock_back_takes_some_apart)
{
	u32 count = 4 * SHADOW_REAP_VISITS / 30 + 8, holds = 0;

	graveyard(count, 30);
	domain_breathe(dom);
	CHECK_EQ(dom->shadow.dying.length, count); // not without the option
	dom->shadow.opts |= SHADOW_OPT_REAP;
	while (dom->shadow.dying.length) {
		u32 length = dom->shadow.dying.length;
		u64 before = dom->shadow.stats.visits;

		domain_breathe(dom);
		CHECK(dom->shadow.dying.length < length);
		CHECK(dom->shadow.stats.visits - before < SHADOW_REAP_VISITS + 512 + 32);
		holds++;
	}
	CHECK(holds >= 4);
	give_up();
	FINISH();
}

// ---- reserves ---------------------------------------------------------------------------------------------------

TEST(a_reserve_takes_the_dying_first_and_no_more_of_them_than_it_needs)
{
	for (u32 want = 1; want <= 9; want += 2) {
		graveyard(8, 3);
		u32 pins = dom->shadow.pinned.length, free = dom->shadow.free_pages;
		u64 before = dom->shadow.stats.visits;

		CHECK_EQ(pool_reserve(dom, free + want), HV_OK);
		CHECK_EQ(dom->shadow.dying.length, 8 - (want + 1) / 2); // two pages each
		CHECK_EQ(dom->shadow.free_pages, free + (want + 1) / 2 * 2);
		CHECK_EQ(dom->shadow.pinned.length, pins);
		CHECK_EQ(dom->shadow.stats.reclaimed, 0);
		CHECK(dom->shadow.stats.visits - before <= (want + 1) / 2 * (3 + 16));
		give_up();
		FINISH();
	}
}

TEST(a_reserve_that_is_met_takes_none)
{
	graveyard(4, 3);
	CHECK_EQ(pool_reserve(dom, dom->shadow.free_pages), HV_OK);
	CHECK_EQ(dom->shadow.dying.length, 4);
	give_up();
	FINISH();
}

TEST(when_the_dying_are_not_enough_pins_go)
{
	graveyard(4, 3);
	u32 free = dom->shadow.free_pages, pins = dom->shadow.pinned.length;
	mfn_t root = vc(0)->shadow.root[0];

	CHECK_EQ(pool_reserve(dom, free + 4 * 2 + 1), HV_OK);
	CHECK(dom->shadow.free_pages > free + 4 * 2);
	CHECK(dom->shadow.pinned.length < pins);
	CHECK_EQ(vc(0)->shadow.root[0].n, root.n);
	CHECK(shadow_is_current(dom, root));
	give_up();
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// Under an injected "as if nothing were free" all that can go goes, whatever is dying.
TEST(pressure_leaves_nothing_dying)
{
	graveyard(8, 3);
	host_arm_failure(2); // FAIL_POOL is asked first, FAIL_RECLAIM then
	CHECK_EQ(pool_reserve(dom, 1), HV_OK);
	CHECK(host_arm_failure(0));
	CHECK_EQ(dom->shadow.dying.length, 0);
	CHECK_EQ(dom->shadow.pinned.length, 0);
	CHECK(dom->hold.exempt);
	give_up();
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// ---- the end -------------------------------------------------------------------------------------------------------

TEST(a_domain_with_many_dying_shadows_is_destroyed)
{
	graveyard(100, 40);
	domain_unlock(dom);
	CHECK_EQ(dom->shadow.dying.length, 100);
	FINISH();
}

static void destroy_twice(void)
{
	table_destroy(dom, l3);
}

TEST(the_dead_do_not_die_again)
{
	dead_tree();
	CHECK(fixture_fatal(destroy_twice));
}

// A list that lies about its elements is told.
TEST(rule_16_the_dying_list_and_its_elements_agree)
{
	dead_tree();
	u64 epoch = dom->shadow.epoch;

	page_of(l3)->epoch = epoch & UINT64_C(0xffffffffffffff);
	CHECK(shadow_check(dom, AUDIT_ALL) != NULL);
	page_of(l3)->epoch = 0;
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	page_list_remove(&dom->shadow.dying, l3);
	const char *bad = pool_check(dom);

	CHECK(bad && !strncmp(bad, "E1.16 ", 6));
	page_list_add_tail(&dom->shadow.dying, l3);
	give_up();
	FINISH();
}
