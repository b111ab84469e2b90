// SPDX-License-Identifier: GPL-2.0-or-later
// Roots: loading CR3 (order, failures), PDPTEs, detached roots, INVLPG. D5, D6, D7 (its 2-level part), D15;
// rules 25, 37 to 40.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

TEST(loading_takes_two_references_and_drops_the_old_slot)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(4, 0, at(1, AS_TABLE));
	mfn_t old = vc(0)->shadow.root[0];
	u32 old_general = page_references(fm(0)), general = page_references(fm(4));

	CHECK_EQ(refs(old), 2); // slot and pin
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	CHECK_EQ(refs(old), 1);
	CHECK_EQ(vc(0)->shadow.root[0].n, shadow_of(4, SHADOW_L4_64).n);
	CHECK_EQ(refs(vc(0)->shadow.root[0]), 2);
	CHECK_EQ(pinned_at(0), vc(0)->shadow.root[0].n);
	CHECK_EQ(page_references(fm(0)), old_general - 1); // CR3's hold moved
	CHECK_EQ(page_references(fm(4)), general + 2);     // shadow and CR3
	CHECK_EQ(vcpu_hw_cr3(vc(0)), mfn_mpa(vc(0)->shadow.root[0]).a);
	FINISH();
}

// D5: the old reference goes last; else the tree of an unpinned root would be lost by reloading it.
TEST(D5_reloading_the_same_cr3_keeps_the_tree)
{
	for (u32 was_pinned = 0; was_pinned < 2; was_pinned++) {
		CHECK(fixture_paged(1, 0, 0));
		CHECK(reads(vc(0), page(9)));
		mfn_t root = vc(0)->shadow.root[0], l3 = shadow_of(1, SHADOW_L3_64);
		u64 faults = dom->shadow.stats.faults;

		if (!was_pinned)
			shadow_unpin(dom, root);
		CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		CHECK_EQ(vc(0)->shadow.root[0].n, root.n);
		CHECK_EQ(shadow_of(1, SHADOW_L3_64).n, l3.n);
		CHECK_EQ(refs(root), 2);
		CHECK(pinned(root));
		CHECK(reads(vc(0), page(9)));
		CHECK_EQ(dom->shadow.stats.faults, faults);
		FINISH();
	}
}

// D6: a failed reference leaves the slot; what teardown gives back was taken.
TEST(D6_a_failed_reference_leaves_the_slot)
{
	CHECK(fixture_paged(1, 0, 0));
	poke(4, 0, at(1, AS_TABLE));
	CHECK_EQ(load_cr3(vc(0), 4), HV_OK);
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	mfn_t loaded = vc(0)->shadow.root[0], full = shadow_of(4, SHADOW_L4_64);
	u32 general = page_references(fm(4)), general0 = page_references(fm(0));

	page_of(full)->sh.count = SHADOW_COUNT_MAX;
	CHECK_EQ(load_cr3(vc(0), 4), HV_EDEAD);
	CHECK(dom->dead);
	CHECK_STR(dom->death, "shadow references");
	CHECK_EQ(vc(0)->shadow.root[0].n, loaded.n);
	CHECK_EQ(vc(0)->shadow.guest_root[0].n, fm(0).n);
	CHECK_EQ(refs(loaded), 2);
	CHECK_EQ(page_references(fm(4)), general);
	CHECK_EQ(page_references(fm(0)), general0);
	page_of(full)->sh.count = 1;
	FINISH();
}

TEST(a_failed_hold_of_the_guest_root_leaves_the_slot)
{
	CHECK(fixture_paged(1, 0, 0));
	mfn_t loaded = vc(0)->shadow.root[0];
	u32 count = page_of(fm(4))->count_info;

	page_of(fm(4))->count_info = PAGE_ALLOCATED | PAGE_COUNT_MASK;
	CHECK_EQ(load_cr3(vc(0), 4), HV_EDEAD);
	CHECK_EQ(vc(0)->shadow.root[0].n, loaded.n);
	page_of(fm(4))->count_info = count;
	FINISH();
}

// Every fallible step of a load fails once: the root is loaded all the same, or the domain is killed.
TEST(a_failed_pin_loads_all_the_same)
{
	bool failed = true, pin_failed = false;

	for (u32 k = 1; failed; k++) {
		CHECK(fixture_paged(1, 0, 0));
		host_arm_failure(k);
		enum hv_status status = load_cr3(vc(0), 4);

		failed = host_arm_failure(0);
		CHECK(status == HV_OK || (failed && status == HV_EDEAD && dom->dead));
		HEALTHY();
		mfn_t root = vc(0)->shadow.root[0];

		if (status == HV_OK && !pinned(root)) { // rule 25: at the head unless the pin failed
			CHECK(failed);
			pin_failed = true;
			CHECK_EQ(refs(root), 1);
			CHECK_EQ(load_cr3(vc(0), 0), HV_OK); // not cached: gone with the slot
			CHECK(mfn_is_none(shadow_of(4, SHADOW_L4_64)));
		} else if (status == HV_OK) {
			CHECK_EQ(pinned_at(0), root.n);
		}
		FINISH();
	}
	CHECK(pin_failed);
}

TEST(cr3_without_ram_kills_and_leaves_the_slot)
{
	CHECK(fixture_paged(1, 0, 0));
	mfn_t loaded = vc(0)->shadow.root[0];

	CHECK_EQ(vcpu_write_cr3(vc(0), hole(0, 0)), HV_EDEAD);
	CHECK_STR(dom->death, "wild cr3");
	CHECK_EQ(vc(0)->shadow.root[0].n, loaded.n);
	CHECK_STR(fixture_end(), NULL);
}

TEST(reclaim_during_a_load_with_the_pool_at_its_minimum)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
	while (dom->shadow.free_pages > 3) // leave three: a load wants as many
		pool_alloc(dom, SHADOW_ROOTS_PAE, 0);
	for (u32 n = 4; n < 9; n++) {
		CHECK_EQ(load_cr3(vc(0), n), HV_OK);
		CHECK_EQ(vc(0)->shadow.root[0].n, shadow_of(n, SHADOW_L4_64).n);
		CHECK_STR(pin_check(dom), NULL);
		CHECK_STR(ref_check(dom), NULL);
	}
	CHECK(dom->shadow.stats.reclaimed > 0);
	CHECK(!dom->dead);
}

// ---- unpaged, PDPTEs -------------------------------------------------------------------------------------

TEST(D7_unpaged_vcpus_run_on_four_pdptes)
{
	fixture_start(2, 0, 0);
	for (u32 i = 0; i < 2; i++) {
		u64 hw = vcpu_hw_cr3(vc(i));
		mfn_t page_number = vc(i)->shadow.root[0];
		const u64 *pdptes = host_frame(mpa_mfn(mpa(hw)));

		CHECK_EQ(hw & 31, 0);
		CHECK_EQ(hw >> 32, 0);
		CHECK_EQ(hw, mfn_mpa(vc(i)->shadow.roots_pae).a);
		for (u32 k = 0; k < 512; k++) {
			CHECK_EQ(pdptes[k], k < 4 ? mfn_mpa(page_number).a | PTE_P : 0);
			if (k < 4)
				page_number = mfn(page_of(page_number)->sibling);
		}
	}
	CHECK_EQ(vc(0)->shadow.root[0].n, vc(1)->shadow.root[0].n); // one identity table, one shadow
	CHECK(vc(0)->shadow.roots_pae.n != vc(1)->shadow.roots_pae.n);
	FINISH();
}

TEST(mode_changes_renew_all_of_the_root)
{
	fixture_start(1, 0, 0);
	fixture_tree();
	CHECK_EQ(long_mode(vc(0), 0), HV_OK); // sets NXE, which blows all tables: not this time
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_WP), HV_OK);
	mfn_t identity = vc(0)->shadow.root[0];
	u32 free = dom->shadow.free_pages;

	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG | CR0_WP), HV_OK);
	CHECK(mfn_is_none(vc(0)->shadow.roots_pae));
	CHECK_EQ(vc(0)->shadow.mode, PT_MODE_64);
	CHECK_EQ(dom->shadow.free_pages, free + 1); // the page of the PDPTEs
	HEALTHY();
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_WP), HV_OK);
	CHECK_EQ(vc(0)->shadow.mode, PT_MODE_32);
	CHECK_EQ(vc(0)->shadow.root[0].n, identity.n); // still pinned
	CHECK(!mfn_is_none(vc(0)->shadow.roots_pae));
	CHECK(writes(vc(0), UINT64_C(0x40000000) + page(9), 0x77));
	CHECK_EQ(word(9, 0), 0x77);
	FINISH();
}

TEST(detaching_a_vcpu_leaves_nothing)
{
	CHECK(fixture_paged(2, 0, 0));
	u32 general = page_references(fm(0));

	shadow_detach(vc(1));
	CHECK(mfn_is_none(vc(1)->shadow.root[0]) && !vc(1)->shadow.attached);
	CHECK_EQ(page_references(fm(0)), general - 1);
	shadow_detach(vc(1)); // nothing more to forget
	CHECK_EQ(page_references(fm(0)), general - 1);
	FINISH();
}

// ---- detached roots --------------------------------------------------------------------------------------

static void detach_both(void)
{
	CHECK(fixture_paged(2, 0, 0));
	CHECK(reads(vc(0), page(9)));
	CHECK(reads(vc(1), page(9)));
	shadow_remove_all(dom, fm(0)); // the root that both have loaded
}

TEST(a_loaded_root_that_must_go_is_detached)
{
	detach_both();
	CHECK(!page_is_table(fm(0)));
	CHECK(mfn_is_none(shadow_of(0, SHADOW_L4_64)));
	CHECK(shadow_root_is_detached(vc(0)) && shadow_root_is_detached(vc(1)));
	CHECK_EQ(vc(0)->shadow.root[0].n, vc(1)->shadow.root[0].n);
	CHECK_EQ(refs(vc(0)->shadow.root[0]), 2);
	CHECK_EQ(dom->shadow.stats.detached, 2);
	HEALTHY();
	CHECK(reads(vc(0), page(10))); // filled on demand
	CHECK(shadow_root_is_detached(vc(0)));
	u64 emulated = dom->shadow.stats.emulated;

	CHECK(writes(vc(0), page(0) + 8 * 7, at(1, AS_TABLE))); // the guest's root is ordinary memory now
	CHECK_EQ(dom->shadow.stats.emulated, emulated);
	CHECK_EQ(word(0, 7), at(1, AS_TABLE));
	CHECK(reads(vc(0), BIT(39) * 7 + page(9))); // an entry that was not there before is found
	FINISH();
}

TEST(every_flush_of_the_guest_attaches_again)
{
	for (u32 how = 0; how < 4; how++) {
		detach_both();
		CHECK(writes(vc(0), page(0), 0)); // the only upper entry: lags in the detached root
		host_set_cpu(0);
		if (how == 0)
			CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		else if (how == 1)
			vcpu_invlpg(vc(0), gva(page(9)));
		else if (how == 2)
			CHECK_EQ(vcpu_write_cr4(vc(0), vc(0)->guest.cr4 ^ CR4_PGE), HV_OK);
		else
			CHECK_EQ(vcpu_write_cr4(vc(0), vc(0)->guest.cr4 ^ CR4_SMEP), HV_OK);
		CHECK(!shadow_root_is_detached(vc(0)));
		CHECK(shadow_root_is_detached(vc(1)));
		CHECK(page_is_table(fm(0)));
		CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).end, CPU_FAULT); // f0 maps nothing any more
		HEALTHY();
		CHECK_EQ(load_cr3(vc(1), 0), HV_OK);
		CHECK_EQ(refs(vc(1)->shadow.root[0]), 3);
		FINISH();
	}
}

TEST(detached_roots_survive_blow_and_reclaim)
{
	detach_both();
	shadow_blow_tables(dom);
	CHECK(shadow_root_is_detached(vc(0)));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(pool_reserve(dom, dom->shadow.total_pages - 2), HV_OK);
	CHECK(reads(vc(1), page(9)));
	FINISH();
}

TEST(a_detached_root_does_not_outlive_its_slots)
{
	detach_both();
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK(!mfn_is_none(shadow_of(0, SHADOW_DETACHED_64)));
	CHECK_EQ(load_cr3(vc(1), 0), HV_OK);
	CHECK(mfn_is_none(shadow_of(0, SHADOW_DETACHED_64)));
	FINISH();
}

// ---- invlpg ---------------------------------------------------------------------------------------------

static bool holds(u32 cpu, u64 va)
{
	const struct tlb_entry *e;
	u32 n = tlb_pages(cpu, &e);

	for (u32 i = 0; i < n; i++)
		if (e[i].va == va)
			return true;
	return false;
}

#define SUPER UINT64_C(0x200000)

static void three_pages(void)
{
	CHECK(fixture_paged(2, 0, 0));
	poke(2, 1, at(0, AS_LEAF | PTE_PS));
	CHECK(reads(vc(0), page(9)));
	CHECK(reads(vc(0), page(10)));
	CHECK(reads(vc(0), SUPER + page(9)));
	CHECK(reads(vc(1), page(9)));
	host_set_cpu(0);
}

TEST(D15_invlpg_of_a_small_page_drops_that_page)
{
	three_pages();
	vcpu_invlpg(vc(0), gva(page(9) + 5));
	CHECK(!holds(0, page(9)));
	CHECK(holds(0, page(10)) && holds(0, SUPER + page(9)));
	CHECK(holds(1, page(9))); // this processor alone
	FINISH();
}

TEST(D15_invlpg_of_a_splintered_page_drops_all_its_pieces)
{
	three_pages();
	CHECK(reads(vc(0), SUPER + page(10)));
	vcpu_invlpg(vc(0), gva(SUPER));
	CHECK(!holds(0, SUPER + page(9)) && !holds(0, SUPER + page(10)));
	FINISH();
}

TEST(invlpg_after_the_splintered_page_is_gone)
{
	three_pages();
	host_frame(fm(2))[1] = 0;
	u32 result = write_validate(dom, fm(2), 8, 8); // the table goes; the flush is still owed by the guest

	CHECK(result & ENTRY_FLUSH);
	poke(2, 1, at(3, AS_TABLE)); // an ordinary table takes its place
	tlb_add_page(0, &(struct tlb_entry){ .va = SUPER + page(9), .mfn = fm(9).n,
					     .generation = host_frame_generation(fm(9)) });
	vcpu_invlpg(vc(0), gva(SUPER)); // another piece of the same large page
	CHECK(!holds(0, SUPER + page(9)));
	FINISH();
}

TEST(invlpg_with_holes_above_drops_everything)
{
	static const u64 places[] = { BIT(39), BIT(30), UINT64_C(0x400000) };

	for (u32 i = 0; i < ARRAY_LEN(places); i++) {
		three_pages();
		vcpu_invlpg(vc(0), gva(places[i]));
		CHECK(!holds(0, page(9))); // nothing is known of that address: the safe answer
		FINISH();
	}
}

TEST(invlpg_without_a_root_is_nothing)
{
	CHECK(fixture_paged(1, 0, 0));
	shadow_detach(vc(0));
	vcpu_invlpg(vc(0), gva(0));
	CHECK_STR(fixture_end(), NULL);
}
