// SPDX-License-Identifier: GPL-2.0-or-later
// Epochs (spec A.9, blow): what was made before a blow and is still referred to, by the dying alone, is emptied before anybody
// uses it, whichever way it is met: on a fault, when a write is validated, as a root. No stale entry comes back.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// f0 is a root that was left, f4 the loaded one, empty: both lead to f1. All under the lock.
static mfn_t l4, l3, l2, l1;

static void find_tree(void)
{
	l3 = shadow_of(1, SHADOW_L3_64);
	l2 = shadow_of(2, SHADOW_L2_64);
	l1 = shadow_of(3, SHADOW_L1_64);
}

static void tree_of_a_root_that_was_left(u32 opts)
{
	CHECK(fixture_paged(2, 300, opts));
	poke(3, 4, 0);
	CHECK(writes(vc(0), page(9), 1));
	CHECK(reads(vc(0), page(10)));
	l4 = vc(0)->shadow.root[0];
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	CHECK_EQ(load_cr3(vc(1), 4), HV_OK);
	find_tree();
}


static void blow_under_lock(void)
{
	domain_lock(dom, BOUND_BLOW);
	shadow_blow_tables(dom);
}

TEST(a_blow_empties_what_is_loaded_and_ages_the_rest)
{
	tree_of_a_root_that_was_left(0);
	u64 epoch = dom->shadow.epoch;
	mfn_t root = vc(0)->shadow.root[0];

	blow_under_lock();
	CHECK_EQ(dom->shadow.epoch, epoch + 1);
	CHECK_EQ(dom->shadow.pinned.length, 0);
	CHECK(shadow_is_current(dom, root));
	CHECK(shadow_is_dying(l4));
	CHECK(!shadow_is_dying(l3) && !shadow_is_current(dom, l3)); // the dying root names it
	CHECK(!shadow_is_current(dom, l2) && !shadow_is_current(dom, l1));
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	drain();
	CHECK(mfn_is_none(shadow_of(1, SHADOW_L3_64)));
	FINISH();
}

TEST(blows_follow_one_another)
{
	tree_of_a_root_that_was_left(SHADOW_OPT_ALL);
	for (u32 i = 0; i < 5; i++) {
		blow_under_lock();
		shadow_blow_tables(dom);
		domain_unlock(dom);
		HEALTHY();
		poke(4, 0, i & 1 ? 0 : at(1, AS_TABLE));
		HEALTHY();
		CHECK_EQ(reads(vc(0), page(9)), !(i & 1));
	}
	FINISH();
}

// ---- the ways in ---------------------------------------------------------------------------------------

// Every table on the way is made anew from the guest's tables as it is met.
TEST(descending_empties_what_is_old)
{
	tree_of_a_root_that_was_left(0);
	raw(4, 0, at(1, AS_TABLE)); // absent so far
	blow_under_lock();
	// Old ones hold what they held.
	CHECK(spte_present(shadow_read(dom, l1, 9)) && spte_present(shadow_read(dom, l1, 10)));
	domain_unlock(dom); // the fault takes the lock
	if (!mfn_is_none(shadow_of(1, SHADOW_L3_64))) // taken apart already: nothing old is left to be met
		CHECK(!shadow_is_current(dom, shadow_of(1, SHADOW_L3_64)));
	CHECK(reads(vc(0), page(10)));
	find_tree();
	CHECK(shadow_is_current(dom, l3) && shadow_is_current(dom, l2) && shadow_is_current(dom, l1));
	CHECK(spte_present(shadow_read(dom, l1, 10)));
	CHECK_EQ(shadow_read(dom, l1, 9).v, 0);
	FINISH();
}

TEST(getting_a_table_empties_it_when_it_is_old)
{
	mfn_t got;

	tree_of_a_root_that_was_left(0);
	blow_under_lock();
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(3).n, MFN_NONE, &got), HV_OK);
	CHECK_EQ(got.n, l1.n);
	CHECK(shadow_is_current(dom, l1));
	for (u32 i = 0; i < 512; i++)
		CHECK_EQ(shadow_read(dom, l1, i).v, 0);
	CHECK_EQ(table_get(dom, SHADOW_L2_64, (u32)fm(2).n, MFN_NONE, &got), HV_OK);
	CHECK_EQ(got.n, l2.n);
	CHECK_EQ(shadow_read(dom, l2, 0).v, 0);
	CHECK(shadow_is_dying(l1)); // its last parent let go of it
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	drain();
	FINISH();
}

// A guest's write puts an entry for a table whose shadow is old into a shadow that is in use.
TEST(validation_links_nothing_that_is_old)
{
	tree_of_a_root_that_was_left(0);
	blow_under_lock();
	raw(4, 0, at(1, AS_TABLE));
	shadow_validate_write(dom, fm(4), 0, 8);
	spte_t e = shadow_read(dom, vc(0)->shadow.root[0], 0);

	CHECK(!spte_present(e) || shadow_is_current(dom, spte_mfn(e)));
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	CHECK_EQ(dom->dead, false);
	domain_unlock(dom);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// The same one level further down, and for a table that is old itself: whatever is written there is gone before its next use.
TEST(validation_of_what_is_old_itself)
{
	tree_of_a_root_that_was_left(0);
	blow_under_lock();
	raw(2, 1, at(3, AS_TABLE));
	shadow_validate_write(dom, fm(2), 8, 8);
	raw(3, 9, at(11, AS_LEAF));
	shadow_validate_write(dom, fm(3), 72, 8);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	poke(4, 0, at(1, AS_TABLE));
	CHECK(writes(vc(0), page(9), 0x77));
	CHECK_EQ(word(11, 0), 0x77);
	FINISH();
}

// An old root that somebody still refers to is loaded.
TEST(loading_an_old_root_empties_it)
{
	tree_of_a_root_that_was_left(0);
	CHECK_EQ(shadow_get(l4), HV_OK); // as a parent would, in a table that is its own parent
	blow_under_lock();
	CHECK(!shadow_is_dying(l4) && !shadow_is_current(dom, l4));
	vc(0)->guest.cr3 = at(0, 0);
	CHECK_EQ(shadow_update_cr3(vc(0)), HV_OK);
	CHECK_EQ(vc(0)->shadow.root[0].n, l4.n);
	CHECK(shadow_is_current(dom, l4));
	CHECK_EQ(shadow_read(dom, l4, 0).v, 0);
	CHECK(shadow_is_dying(l3));
	shadow_put(dom, l4);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// f0 is all levels of itself, and left: what is old there is found as level 3, 2 and 1.
TEST(a_table_that_is_all_levels_of_itself_is_blown)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(fixture_paged(1, 100, opts));
		poke(0, 511, at(0, AS_LEAF));
		CHECK(reads(vc(0), UINT64_C(0xfffffffffffff000)));
		blow_under_lock();
		CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
		raw(0, 511, at(0, AS_LEAF) | PTE_AVL);
		shadow_validate_write(dom, fm(0), 511 * 8, 8);
		CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
		domain_unlock(dom);
		CHECK(reads(vc(0), UINT64_C(0xfffffffffffff000)));
		CHECK(reads(vc(0), page(9)));
		FINISH();
	}
}

// ---- magic -------------------------------------------------------------------------------------------------

// f3's entry 20 is a hole and its shadow says so by a magic entry. RAM comes: the entry must not be found any more, by whichever
// way its table comes into use again.
static void magic_in_the_old_tree(void)
{
	tree_of_a_root_that_was_left(SHADOW_OPT_ALL & ~SHADOW_OPT_LINUX_L3);
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	poke(3, 20, hole(0, AS_LEAF));
	CHECK(reads(vc(0), page(20)));
	find_tree();
	CHECK(spte_is_mmio(shadow_read(dom, l1, 20)));
	CHECK(dom->shadow.magic_mmio);
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
}

static void is_ram_now(void)
{
	CHECK(writes(vc(0), page(20), 0x1234));
	u64 *frame = host_frame(p2m_lookup(&dom->p2m, gfn(HOLE_GFN)));

	CHECK(frame && *frame == 0x1234);
	CHECK_EQ(go(vc(0), CPU_READ, page(20), 8, 0, 0).value[0], 0x1234);
}

TEST(no_stale_magic_entry_survives_a_filled_hole)
{
	for (u32 way = 0; way < 3; way++) {
		magic_in_the_old_tree();
		if (way == 0) // the guest's write links the old tree before the blow has been worked off
			raw(4, 0, at(1, AS_TABLE));
		CHECK_EQ(domain_add_ram(dom, gfn(HOLE_GFN)), HV_OK);
		if (way == 1)
			poke(4, 0, at(1, AS_TABLE));
		if (way == 2)
			CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		is_ram_now();
		FINISH();
	}
}

// The same, while nothing of the old tree has been let go of when the guest's write is validated.
TEST(no_stale_magic_entry_comes_back_by_validation)
{
	magic_in_the_old_tree();
	domain_lock(dom, BOUND_PHYSMAP);
	mfn_t m;

	CHECK_EQ(shadow_feed_p2m(dom), HV_OK);
	CHECK_EQ(heap_alloc(dom->owner, &m), HV_OK);
	memset(host_frame(m), 0, FRAME_BYTES);
	p2m_set(&dom->p2m, gfn(HOLE_GFN), m);
	shadow_ram_added(dom, gfn(HOLE_GFN));
	shadow_p2m_changed(dom, true);
	CHECK(spte_is_mmio(shadow_read(dom, l1, 20)));
	raw(4, 0, at(1, AS_TABLE));
	shadow_validate_write(dom, fm(4), 0, 8);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	is_ram_now();
	FINISH();
}

// With nothing done by hand: what dies is left alone until pages are needed, so the old tree is whole when the guest writes.
TEST(no_stale_magic_entry_comes_back_out_of_the_dying)
{
	CHECK(fixture_paged(2, 400, SHADOW_OPT_ALL & ~SHADOW_OPT_LINUX_L3 & ~SHADOW_OPT_REAP));
	poke(3, 4, 0);
	CHECK_EQ(load_cr3(vc(1), 4), HV_OK);
	poke(3, 20, hole(0, AS_LEAF));
	CHECK(reads(vc(0), page(20)));
	find_tree();
	CHECK(spte_is_mmio(shadow_read(dom, l1, 20)));
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	HEALTHY();
	CHECK_EQ(domain_add_ram(dom, gfn(HOLE_GFN)), HV_OK);
	CHECK_EQ(shadow_of(1, SHADOW_L3_64).n, l3.n);
	CHECK(!shadow_is_current(dom, l3));
	poke(4, 0, at(1, AS_TABLE));
	is_ram_now();
	FINISH();
}

// ---- controls ------------------------------------------------------------------------------------------------

// Entries made for EFER.NXE off are wrong with it on, and the other way round: B30's relative.
TEST(old_tables_do_not_keep_the_meaning_of_nx)
{
	tree_of_a_root_that_was_left(0);
	poke(3, 12, at(12, AS_LEAF | PTE_NX));
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK(reads(vc(0), page(12)));
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_LMA | EFER_SCE), HV_OK);
	host_set_cpu(0);
	CHECK_EQ(vcpu_enter(vc(0)), HV_OK);
	CHECK_EQ(go(vc(0), CPU_READ, page(12), 8, 0, 0).end, CPU_FAULT);
	CHECK(reads(vc(0), page(9)));
	HEALTHY();
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE), HV_OK);
	CHECK_EQ(vcpu_enter(vc(0)), HV_OK);
	CHECK(reads(vc(0), page(12)));
	FINISH();
}

// And the guest would see it: the entry must fault now, for a reserved bit.
TEST(what_nx_meant_does_not_come_back_by_validation)
{
	tree_of_a_root_that_was_left(0);
	poke(3, 12, at(12, AS_LEAF | PTE_NX));
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK(reads(vc(0), page(12)));
	find_tree();
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	domain_lock(dom, BOUND_ENTER);
	vc(0)->guest.efer &= ~EFER_NXE;
	vc(1)->guest.efer &= ~EFER_NXE;
	root_adopt_control(vc(0), vc(0)->shadow.mode);
	CHECK(!shadow_is_current(dom, l1) && spte_present(shadow_read(dom, l1, 12)));
	raw(4, 0, at(1, AS_TABLE));
	shadow_validate_write(dom, fm(4), 0, 8);
	domain_unlock(dom);
	struct cpu_result r = go(vc(0), CPU_READ, page(12), 8, 0, 0);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_RSVD);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// Rule 40: a table in use must not name one that is old; and roots in slots are never old.
TEST(what_is_old_in_use_is_told)
{
	tree_of_a_root_that_was_left(0);
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK(reads(vc(0), page(9)));
	find_tree();
	page_of(l2)->epoch = (dom->shadow.epoch + 1) & UINT64_C(0xffffffffffffff);
	const char *bad = ref_check(dom);

	CHECK(bad && !strncmp(bad, "E1.40 ", 6));
	page_of(l2)->epoch = dom->shadow.epoch & UINT64_C(0xffffffffffffff);
	page_of(l4)->epoch = (dom->shadow.epoch + 1) & UINT64_C(0xffffffffffffff);
	bad = root_check(dom);
	CHECK(bad && !strncmp(bad, "E1.39 ", 6));
	page_of(l4)->epoch = dom->shadow.epoch & UINT64_C(0xffffffffffffff);
	FINISH();
}
