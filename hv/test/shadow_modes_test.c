// SPDX-License-Identifier: GPL-2.0-or-later
// Shadows of 2-level and PAE guests: pairs of entries, tables of several pages, large pages with and without
// CR4.PSE, the four latched roots. Rules 6, 15, 25, 36 to 39; D7; spec A.2, A.17, F.4.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PAGED (CR0_PE | CR0_PG | CR0_WP)
#define DIRECTORY 1
#define TABLE 2
#define MIB UINT64_C(0x100000)

// A 4-byte entry of frame n.
static void poke4(u32 n, u32 index, u64 value)
{
	u32 entry = (u32)value;

	CHECK_EQ(domain_write(dom, gpa(at(n, 0) + index * 4u), &entry, sizeof(entry)), HV_OK);
}

static u32 word4(u32 n, u32 index)
{
	return (u32)(word(n, index / 2) >> index % 2 * 32);
}

// f1 is the page directory, its first entry names f2, which maps page i to fi.
static bool two_levels(u32 vcpus, u32 opts)
{
	if (!fixture_start(vcpus, 0, opts))
		return false;
	poke4(DIRECTORY, 0, at(TABLE, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke4(TABLE, i, at(i, AS_LEAF));
	for (u32 i = 0; i < vcpus; i++)
		if (load_cr3(vc(i), DIRECTORY) != HV_OK || vcpu_write_cr4(vc(i), CR4_PSE) != HV_OK ||
		    vcpu_write_cr0(vc(i), PAGED) != HV_OK)
			return false;
	host_set_cpu(0);
	return true;
}

// CR3 = f0 with four PDPTEs in its first entries, all of them name f1 unless changed; f1[0] names f2.
static bool pae(u32 vcpus, u32 opts)
{
	if (!fixture_start(vcpus, 0, opts))
		return false;
	poke(0, 0, at(DIRECTORY, PTE_P));
	poke(DIRECTORY, 0, at(TABLE, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(TABLE, i, at(i, AS_LEAF));
	for (u32 i = 0; i < vcpus; i++)
		if (load_cr3(vc(i), 0) != HV_OK || vcpu_write_cr4(vc(i), CR4_PAE) != HV_OK ||
		    vcpu_write_efer(vc(i), EFER_NXE) != HV_OK || vcpu_write_cr0(vc(i), PAGED) != HV_OK)
			return false;
	host_set_cpu(0);
	return true;
}

static enum cpu_end touch(u64 va, enum cpu_kind kind)
{
	return go(vc(0), kind, va, 4, 0, 0x5a).end;
}

static u32 chain_length(mfn_t smfn)
{
	u32 pages = 0;

	for (u32 n = (u32)smfn.n; n; n = page_of(mfn(n))->sibling)
		pages++;
	return pages;
}

// ---- 2 levels --------------------------------------------------------------------------------------

TEST(a_pair_names_the_two_pages_of_one_table_and_counts_once)
{
	CHECK(two_levels(1, 0));
	CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
	mfn_t root = vc(0)->shadow.root[0], table = shadow_of(TABLE, SHADOW_L1_32);
	const u64 *entries = host_frame(root);

	CHECK_EQ(chain_length(root), 4);
	CHECK_EQ(chain_length(table), 2);
	CHECK_EQ(refs(table), 1);
	CHECK_EQ(entries[0] >> FRAME_SHIFT, table.n);
	CHECK_EQ(entries[1] >> FRAME_SHIFT, page_of(table)->sibling);
	CHECK_EQ(entries[0] & 0xfff & ~(PTE_A | PTE_D), entries[1] & 0xfff & ~(PTE_A | PTE_D));
	CHECK_EQ(page_of(mfn(page_of(table)->sibling))->sh.count, 0);
	CHECK_EQ(vcpu_hw_cr3(vc(0)), mfn_mpa(vc(0)->shadow.roots_pae).a);
	FINISH();
}

// Entry 511 lies in the first page of a level-1 shadow, 512 in the second; directory entries 255, 256 likewise.
TEST(entries_on_both_sides_of_page_boundaries)
{
	static const u32 edges[] = { 0, 255, 256, 511, 512, 767, 768, 1023 };

	CHECK(two_levels(1, SHADOW_OPT_ALL));
	for (u32 i = 0; i < ARRAY_LEN(edges); i++) {
		u64 high = (u64)edges[i] * 4 * MIB;

		poke4(DIRECTORY, edges[i], at(TABLE, AS_TABLE));
		for (u32 k = 0; k < ARRAY_LEN(edges); k++) {
			u64 va = high + page(edges[k]);
			u32 target = 3 + (i + k) % 8;

			if (edges[i] == 1023 && edges[k] == 1023)
				continue; // the end of the address space
			poke4(TABLE, edges[k], at(target, AS_LEAF));
			vcpu_invlpg(vc(0), gva(va));
			CHECK(go(vc(0), CPU_WRITE, va + 16, 4, 0, i * 8 + k).end == CPU_DONE);
			CHECK_EQ(word4(target, 4), i * 8 + k);
		}
		HEALTHY();
		// Clearing a directory entry empties both halves of its pair.
		poke4(DIRECTORY, edges[i], 0);
		vcpu_invlpg(vc(0), gva(high));
		CHECK_EQ(touch(high, CPU_READ), CPU_FAULT);
		CHECK_EQ(touch(high + 2 * MIB, CPU_READ), CPU_FAULT);
	}
	FINISH();
}

TEST(four_mib_pages_are_splintered_into_two_pages_of_entries)
{
	CHECK(two_levels(1, 0));
	poke4(DIRECTORY, 3, at(0, AS_LEAF | PTE_PS));
	CHECK_EQ(go(vc(0), CPU_WRITE, 12 * MIB + page(9) + 8, 4, 0, 77).end, CPU_DONE);
	CHECK_EQ(word4(9, 2), 77);
	mfn_t fake = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_32);

	CHECK(!mfn_is_none(fake));
	CHECK_EQ(chain_length(fake), 2);
	CHECK_EQ(refs(fake), 1);
	CHECK_EQ(touch(14 * MIB, CPU_READ), CPU_DONE); // a hole behind the RAM: reads as one, through the second page
	HEALTHY();
	poke4(DIRECTORY, 3, 0);
	vcpu_invlpg(vc(0), gva(12 * MIB)); // one page for the guest, 1024 for hardware
	CHECK_EQ(touch(12 * MIB + page(9), CPU_READ), CPU_FAULT);
	CHECK_EQ(touch(14 * MIB, CPU_READ), CPU_FAULT);
	FINISH();
}

// A PDE bit 13 is address bit 32: the page is not where the low bits say. Bit 21 is reserved.
TEST(pse36)
{
	CHECK(two_levels(1, SHADOW_OPT_ALL));
	poke4(DIRECTORY, 3, at(0, AS_LEAF | PTE_PS | BIT(13)));
	struct cpu_result r = go(vc(0), CPU_READ, 12 * MIB + page(9), 4, 0, 0);

	CHECK_EQ(r.end, CPU_DONE);
	CHECK_EQ(r.value[0], (u32)HOLE_WORD);
	poke4(DIRECTORY, 3, at(0, AS_LEAF | PTE_PS | BIT(21)));
	vcpu_invlpg(vc(0), gva(12 * MIB));
	r = go(vc(0), CPU_READ, 12 * MIB, 4, 0, 0);
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_RSVD);
	FINISH();
}

// Without CR4.PSE bit 7 of a directory entry means nothing; what was made before the change goes.
TEST(pse_off_makes_a_table_of_a_large_page)
{
	CHECK(two_levels(2, SHADOW_OPT_ALL));
	poke4(DIRECTORY, 3, at(0, AS_LEAF | PTE_PS)); // f0 as a table: empty
	poke4(0, 5, at(6, AS_LEAF));
	CHECK_EQ(go(vc(0), CPU_WRITE, 12 * MIB + page(5), 4, 0, 1).end, CPU_DONE);
	CHECK_EQ(word4(5, 0), 1); // 4 MiB page: f5
	CHECK_EQ(vcpu_write_cr4(vc(0), 0), HV_OK);
	CHECK_EQ(go(vc(0), CPU_WRITE, 12 * MIB + page(5), 4, 0, 2).end, CPU_DONE);
	CHECK_EQ(word4(6, 0), 2); // through f0[5]: f6
	CHECK_EQ(touch(12 * MIB + page(7), CPU_READ), CPU_FAULT);
	HEALTHY();
	// The other vcpu still has PSE: each gets what its own register says, whatever the other ran with.
	CHECK_EQ(go(vc(1), CPU_WRITE, 12 * MIB + page(5), 4, 0, 3).end, CPU_DONE);
	CHECK_EQ(word4(5, 0), 3);
	CHECK_EQ(go(vc(0), CPU_WRITE, 12 * MIB + page(5), 4, 0, 4).end, CPU_DONE);
	CHECK_EQ(word4(6, 0), 4);
	CHECK_EQ(vcpu_write_cr0(vc(1), CR0_PE), HV_OK); // unpaged: the identity table's large pages are no matter of CR4
	CHECK_EQ(go(vc(1), CPU_READ, at(5, 0), 4, 0, 0).value[0], 3);
	FINISH();
}

// The directory as a table of itself: every entry of it is an l2_32 and an l1_32 entry at once.
TEST(a_recursive_directory_has_two_shadows)
{
	CHECK(two_levels(1, SHADOW_OPT_ALL));
	poke4(DIRECTORY, 511, at(DIRECTORY, AS_TABLE));
	u64 window = UINT64_C(511) * 4 * MIB;

	CHECK_EQ(go(vc(0), CPU_READ, window + page(511), 4, 0, 0).value[0], word4(DIRECTORY, 0));
	CHECK_EQ(page_of(fm(DIRECTORY))->shadow_flags, BIT(SHADOW_L2_32) | BIT(SHADOW_L1_32));
	HEALTHY();
	CHECK_EQ(go(vc(0), CPU_WRITE, window + page(511) + 4 * 7, 4, 0, at(TABLE, AS_TABLE)).end, CPU_DONE);
	CHECK_EQ(word4(DIRECTORY, 7) & ~PTE_A, at(TABLE, AS_TABLE) & ~PTE_A);
	HEALTHY();
	CHECK_EQ(touch(28 * MIB + page(9), CPU_READ), CPU_DONE); // through the new entry
	FINISH();
}

// A loaded directory that must be writable: a detached root until the guest flushes.
TEST(loaded_roots_detach_and_come_back)
{
	for (u32 three = 0; three < 2; three++) {
		CHECK(three ? pae(1, 0) : two_levels(1, 0));
		CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
		CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, fg(DIRECTORY).n, 0), HV_OK);
		CHECK(shadow_root_is_detached(vc(0)));
		CHECK_EQ(shadow_type_of(vc(0)->shadow.root[0]), three ? SHADOW_DETACHED_PAE : SHADOW_DETACHED_32);
		CHECK(!page_is_table(fm(DIRECTORY)));
		HEALTHY();
		CHECK_EQ(touch(page(9), CPU_WRITE), CPU_DONE);
		HEALTHY();
		CHECK_EQ(vcpu_write_cr3(vc(0), vc(0)->guest.cr3), HV_OK);
		CHECK(!shadow_root_is_detached(vc(0)));
		CHECK(page_is_table(fm(DIRECTORY)));
		CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
		FINISH();
	}
}

// ---- PAE -------------------------------------------------------------------------------------------

TEST(pdptes_are_latched_by_cr3_alone)
{
	CHECK(pae(1, SHADOW_OPT_ALL));
	u64 second = UINT64_C(1) << 30;

	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_FAULT);
	CHECK(mfn_is_none(vc(0)->shadow.root[1]));
	poke(0, 1, at(DIRECTORY, PTE_P));
	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_FAULT); // not yet
	vcpu_invlpg(vc(0), gva(second));
	CHECK_EQ(vcpu_write_cr4(vc(0), vc(0)->guest.cr4 ^ CR4_PGE), HV_OK);
	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_FAULT); // nor by that
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_DONE);
	poke(0, 1, 0);
	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_DONE); // still latched
	HEALTHY();
	// D7: the slot of an absent PDPTE is empty, nothing of the old address space stays.
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK(mfn_is_none(vc(0)->shadow.root[1]));
	CHECK_EQ(host_frame(vc(0)->shadow.roots_pae)[1], 0);
	CHECK_EQ(touch(second + page(9), CPU_READ), CPU_FAULT);
	// The table of PDPTEs itself may be written like any page (spec A.1).
	CHECK(!page_is_table(fm(0)));
	FINISH();
}

// Four different roots: slot 3 first on the pinned list; equal ones collapse (rule 25).
TEST(four_roots_are_pinned_in_order)
{
	CHECK(pae(1, 0));
	for (u32 i = 0; i < 4; i++)
		poke(0, i, at(4 + i, PTE_P));
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	for (u32 i = 0; i < 4; i++) {
		mfn_t root = shadow_of(4 + i, SHADOW_L2_PAE);

		CHECK_EQ(vc(0)->shadow.root[i].n, root.n);
		CHECK_EQ(refs(root), 2);
		CHECK_EQ(pinned_at(3 - i), root.n);
		CHECK_EQ(host_frame(vc(0)->shadow.roots_pae)[i], mfn_mpa(root).a | PTE_P);
	}
	HEALTHY();
	for (u32 i = 0; i < 4; i++)
		poke(0, i, at(5, PTE_P));
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK_EQ(refs(shadow_of(5, SHADOW_L2_PAE)), 5);
	CHECK_EQ(pinned_at(0), shadow_of(5, SHADOW_L2_PAE).n);
	FINISH();
}

// Reserved bits raise #GP and change nothing; holes are empty slots; PDPTEs may lie at any 32 bytes.
TEST(what_a_pdpte_may_hold)
{
	CHECK(pae(1, SHADOW_OPT_ALL));
	struct vcpu before = *vc(0);

	for (u32 bit = 1; bit < 64; bit++) {
		poke(3, 4, at(DIRECTORY, PTE_P));
		poke(3, 5, hole(0, PTE_P | BIT(bit)));
		poke(3, 6, BIT(bit)); // not present: anything
		bool bad = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= GUEST_PHYS_BITS;

		CHECK_EQ(vcpu_write_cr3(vc(0), at(3, 32)), bad ? HV_EINVAL : HV_OK);
		if (bad) {
			CHECK(!memcmp(&before.guest, &vc(0)->guest, sizeof(before.guest)));
			CHECK(!memcmp(before.shadow.root, vc(0)->shadow.root, sizeof(before.shadow.root)));
			CHECK(!memcmp(before.shadow.pdpte, vc(0)->shadow.pdpte, sizeof(before.shadow.pdpte)));
		} else {
			CHECK_EQ(vc(0)->shadow.root[0].n, shadow_of(DIRECTORY, SHADOW_L2_PAE).n);
			CHECK(mfn_is_none(vc(0)->shadow.root[1]));
			CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
			CHECK_EQ(touch((UINT64_C(1) << 30) + page(9), CPU_READ), CPU_FAULT);
		}
		HEALTHY();
		CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		before = *vc(0);
	}
	CHECK_EQ(vcpu_write_cr3(vc(0), hole(0, 0)), HV_EDEAD);
	CHECK_STR(dom->death, "wild cr3");
	CHECK_STR(fixture_end(), NULL);
}

// The frame behind a latched PDPTE goes, comes back, is exchanged: the slots follow.
TEST(slots_follow_the_p2m)
{
	CHECK(pae(2, SHADOW_OPT_ALL));
	poke(0, 3, at(DIRECTORY, PTE_P));
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
	CHECK_EQ(physmap_remove(dom, fg(DIRECTORY)), HV_OK);
	CHECK(mfn_is_none(vc(0)->shadow.root[0]) && mfn_is_none(vc(0)->shadow.root[3]));
	CHECK(mfn_is_none(vc(1)->shadow.root[0]));
	HEALTHY();
	CHECK_EQ(touch(page(9), CPU_READ), CPU_FAULT);
	CHECK_EQ(physmap_renew(dom, fg(DIRECTORY)), HV_OK);
	HEALTHY();
	CHECK_EQ(touch(page(9), CPU_READ), CPU_FAULT); // zeroes
	poke(DIRECTORY, 0, at(TABLE, AS_TABLE));
	CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
	poke(5, 0, at(TABLE, AS_TABLE));
	CHECK_EQ(physmap_swap(dom, fg(DIRECTORY), fg(5)), HV_OK);
	HEALTHY();
	CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
	CHECK_EQ(physmap_swap(dom, fg(0), fg(5)), HV_EBUSY); // the table of PDPTEs is in CR3
	FINISH();
}

TEST(nx_exists_in_pae)
{
	CHECK(pae(1, 0));
	poke(TABLE, 9, at(9, AS_LEAF) | PTE_NX);
	CHECK_EQ(touch(page(9), CPU_READ), CPU_DONE);
	struct cpu_result r = go(vc(0), CPU_FETCH, page(9), 1, 0, 0);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_I);
	CHECK_EQ(vcpu_write_efer(vc(0), 0), HV_OK); // now the bit is reserved
	CHECK_EQ(vcpu_write_cr3(vc(0), vc(0)->guest.cr3), HV_OK);
	r = go(vc(0), CPU_READ, page(9), 4, 0, 0);
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_RSVD);
	FINISH();
}

// One frame as tables of all modes: every write to it keeps every shadow of it right.
TEST(one_frame_with_shadows_of_three_modes)
{
	CHECK(pae(3, SHADOW_OPT_ALL));
	host_set_cpu(1);
	CHECK_EQ(vcpu_write_cr0(vc(1), CR0_PE), HV_OK);
	poke(4, 0, at(5, AS_TABLE));
	poke(5, 0, at(DIRECTORY, AS_TABLE));
	CHECK_EQ(long_mode(vc(1), 4), HV_OK);
	host_set_cpu(2);
	CHECK_EQ(vcpu_write_cr0(vc(2), CR0_PE), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(2), 0), HV_OK);
	CHECK_EQ(vcpu_write_cr4(vc(2), CR4_PSE), HV_OK);
	CHECK_EQ(load_cr3(vc(2), DIRECTORY), HV_OK); // 8-byte entries read as pairs of 4-byte ones
	CHECK_EQ(vcpu_write_cr0(vc(2), PAGED), HV_OK);
	for (u32 i = 0; i < 3; i++)
		CHECK_EQ(go(vc(i), CPU_READ, page(i == 2 ? 18 : 9), 4, 0, 0).end, CPU_DONE);
	CHECK_EQ(page_of(fm(DIRECTORY))->shadow_flags, BIT(SHADOW_L2_PAE) | BIT(SHADOW_L2_64) | BIT(SHADOW_L2_32));
	CHECK_EQ(page_of(fm(TABLE))->shadow_flags, BIT(SHADOW_L1_PAE) | BIT(SHADOW_L1_64) | BIT(SHADOW_L1_32));
	HEALTHY();
	host_set_cpu(0);
	CHECK_EQ(go(vc(0), CPU_WRITE, page(TABLE) + 9 * 8, 8, 0, at(10, AS_LEAF)).end, CPU_DONE);
	HEALTHY();
	for (u32 i = 0; i < 3; i++)
		vcpu_invlpg(vc(i), gva(page(i == 2 ? 18 : 9)));
	host_set_cpu(2);
	vcpu_invlpg(vc(2), gva(page(18)));
	CHECK_EQ(go(vc(2), CPU_WRITE, page(18), 4, 0, 99).end, CPU_DONE);
	CHECK_EQ(word4(10, 0), 99);
	FINISH();
}

// Every fallible step of a four-root load fails once: loaded whole, or killed with the old roots in place.
TEST(a_load_of_four_roots_is_all_or_nothing)
{
	bool failed = true;

	for (u32 k = 1; failed; k++) {
		CHECK(pae(1, SHADOW_OPT_ALL));
		for (u32 i = 0; i < 4; i++)
			poke(3, i, at(4 + i, PTE_P));
		mfn_t old = vc(0)->shadow.root[0];

		host_arm_failure(k);
		enum hv_status status = load_cr3(vc(0), 3);

		failed = host_arm_failure(0);
		CHECK(status == HV_OK || (failed && status == HV_EDEAD && dom->dead));
		for (u32 i = 0; i < 4; i++)
			CHECK_EQ(vc(0)->shadow.guest_root[i].n,
				 status == HV_OK ? fm(4 + i).n : i ? 0 : fm(DIRECTORY).n);
		CHECK(status == HV_OK || vc(0)->shadow.root[0].n == old.n);
		FINISH();
	}
}
