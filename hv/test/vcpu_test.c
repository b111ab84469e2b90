// SPDX-License-Identifier: GPL-2.0-or-later
// Control registers: what the guest may write, what it reads back, what hardware runs with (spec F.4), and
// switches between unpaged and 64-bit mode.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PAGED (CR0_PE | CR0_PG | CR0_WP)
#define ET BIT(4)

TEST(cr0_rules)
{
	static const u64 wrong[] = { CR0_PG, CR0_PG | CR0_WP, CR0_PE | CR0_NW, BIT(32) | CR0_PE, BIT(63) };

	CHECK(fixture_paged(1, 0, 0));
	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		struct vcpu_control before = vc(0)->guest;

		CHECK_EQ(vcpu_write_cr0(vc(0), wrong[i]), HV_EINVAL);
		CHECK(!memcmp(&before, &vc(0)->guest, sizeof(before)));
	}
	CHECK_EQ(vcpu_write_cr0(vc(0), PAGED | CR0_CD | CR0_NW), HV_OK);
	CHECK_EQ(vc(0)->guest.cr0, PAGED | CR0_CD | CR0_NW | ET);
	CHECK_EQ(vcpu_hw_cr0(vc(0)) & (CR0_CD | CR0_NW), 0);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK); // WP off: hardware keeps it
	CHECK(vcpu_hw_cr0(vc(0)) & CR0_WP);
	FINISH();
}

TEST(long_mode_needs_pae)
{
	CHECK(fixture_start(1, 0, 0));
	fixture_tree();
	CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_EINVAL);
	CHECK_EQ(vc(0)->guest.efer & EFER_LMA, 0);
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK);
	CHECK_EQ(vc(0)->guest.efer & EFER_LMA, EFER_LMA);
	CHECK_EQ(vcpu_write_cr4(vc(0), 0), HV_EINVAL); // PAE stays while LMA
	CHECK_EQ(vcpu_write_efer(vc(0), 0), HV_EINVAL); // LME stays while PG
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_NXE), HV_OK);
	CHECK_EQ(vc(0)->guest.efer, EFER_LME | EFER_LMA | EFER_NXE); // LMA is not the guest's to write
	FINISH();
}

// Through all paging modes and back over the same frames; what each mode grants is looked up in its own format.
TEST(all_paging_modes_in_turn)
{
	CHECK(fixture_start(1, 0, SHADOW_OPT_ALL));
	fixture_tree();
	poke(5, 256, at(6, PTE_P));                // PDPTE 0 of CR3 = f5 + 0x800: f6 is a level-2 table
	poke(6, 0, at(3, AS_TABLE));
	poke(7, 0, at(8, AS_TABLE) | at(8, AS_TABLE) << 32); // 4-byte entries 0 and 1
	poke(8, 4, at(9, AS_LEAF));                // page 8 -> f9
	for (u32 round = 0; round < 3; round++) {
		CHECK(go(vc(0), CPU_READ, at(9, 0), 4, 0, 0).end == CPU_DONE); // unpaged
		HEALTHY();
		CHECK_EQ(vcpu_write_cr3(vc(0), at(7, 0)), HV_OK);
		CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PSE), HV_OK);
		CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK); // 2 levels
		CHECK_EQ(vc(0)->shadow.mode, PT_MODE_32);
		CHECK(go(vc(0), CPU_WRITE, page(8), 4, 0, round).end == CPU_DONE);
		CHECK_EQ(word(9, 0), round);
		HEALTHY();
		CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
		CHECK_EQ(vcpu_write_cr3(vc(0), at(5, 0) + 0x800), HV_OK);
		CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
		CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK); // 3 levels
		CHECK_EQ(vc(0)->shadow.mode, PT_MODE_PAE);
		CHECK(writes(vc(0), page(9) + 8, round));
		CHECK_EQ(word(9, 1), round);
		HEALTHY();
		CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
		CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME), HV_OK);
		CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
		CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK); // 4 levels
		CHECK_EQ(vc(0)->shadow.mode, PT_MODE_64);
		CHECK(writes(vc(0), page(9) + 16, round));
		CHECK_EQ(word(9, 2), round);
		HEALTHY();
		CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
		CHECK_EQ(vcpu_write_efer(vc(0), 0), HV_OK);
		CHECK_EQ(vcpu_write_cr4(vc(0), 0), HV_OK);
	}
	FINISH();
}

// MOV CR4 changes the number of levels while paging is on: the same CR3 names a page directory, then PDPTEs.
TEST(pae_is_turned_on_and_off_while_paging)
{
	CHECK(fixture_start(1, 0, 0));
	fixture_tree();
	poke(5, 0, at(6, PTE_P)); // low half: PDE 0; the whole: PDPTE 0, both name f6
	poke(6, 0, at(9, AS_LEAF));
	CHECK_EQ(load_cr3(vc(0), 5), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK);
	CHECK_EQ(vc(0)->shadow.mode, PT_MODE_32);
	CHECK(go(vc(0), CPU_READ, 0, 4, 0, 0).end == CPU_DONE);
	poke(5, 0, at(6, PTE_P)); // the walk has set A, which a PDPTE must not have
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
	CHECK_EQ(vc(0)->shadow.mode, PT_MODE_PAE);
	CHECK_EQ(vc(0)->shadow.root[0].n, shadow_of(6, SHADOW_L2_PAE).n);
	HEALTHY();
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PSE), HV_OK);
	CHECK_EQ(vc(0)->shadow.mode, PT_MODE_32);
	CHECK(go(vc(0), CPU_READ, 0, 4, 0, 0).end == CPU_DONE);
	HEALTHY();
	poke(5, 0, at(6, PTE_P | PTE_W)); // no PDPTE: #GP, and all as before
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_EINVAL);
	CHECK_EQ(vc(0)->guest.cr4, CR4_PSE);
	FINISH();
}

// Every value of the bits that decide: #GP exactly where the manual says so (spec F.4), else the value is there.
TEST(control_registers_exhaustively)
{
	static const u64 cr0_bits[] = { CR0_PE, CR0_PG, CR0_NW, CR0_CD, CR0_WP, BIT(32) };
	static const u64 cr4_bits[] = { CR4_PAE, CR4_PSE, CR4_PGE, CR4_PCIDE, CR4_SMEP, CR4_SMAP, BIT(12), BIT(31) };

	for (u32 start = 0; start < 5; start++) // off, 2 levels, PAE, 4 levels, LME waiting
		for (u32 n = 0; n < 64 + 256 + 8; n++) {
			u64 value = 0;
			bool lme = start >= 3, paged = start >= 1 && start <= 3, pae = start >= 2, bad;
			enum hv_status status;

			CHECK(fixture_start(1, 0, 0));
			fixture_tree();
			CHECK_EQ(vcpu_write_cr3(vc(0), at(4, 0)), HV_OK);
			CHECK_EQ(vcpu_write_cr4(vc(0), pae ? CR4_PAE : 0), HV_OK);
			CHECK_EQ(vcpu_write_efer(vc(0), lme ? EFER_LME : 0), HV_OK);
			if (paged)
				CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK);
			struct vcpu_control before = vc(0)->guest;

			if (n < 64) {
				for (u32 i = 0; i < ARRAY_LEN(cr0_bits); i++)
					value |= n >> i & 1 ? cr0_bits[i] : 0;
				bad = (value & BIT(32)) || ((value & CR0_PG) && !(value & CR0_PE)) ||
				      ((value & CR0_NW) && !(value & CR0_CD));
				status = vcpu_write_cr0(vc(0), value);
				CHECK(bad || vc(0)->guest.cr0 == (value | ET));
				CHECK(bad || !!(vc(0)->guest.efer & EFER_LMA) == (lme && (value & CR0_PG)));
			} else if (n < 64 + 256) {
				for (u32 i = 0; i < ARRAY_LEN(cr4_bits); i++)
					value |= (n - 64) >> i & 1 ? cr4_bits[i] : 0;
				bad = (value & (CR4_PCIDE | BIT(12) | BIT(31))) || (start == 3 && !(value & CR4_PAE));
				status = vcpu_write_cr4(vc(0), value);
				CHECK(bad || vc(0)->guest.cr4 == value);
			} else {
				value = ((n & 1) ? EFER_NXE : 0) | ((n & 2) ? EFER_LME : 0) | ((n & 4) ? BIT(16) : 0);
				bad = (value & BIT(16)) || (paged && !!(value & EFER_LME) != lme);
				status = vcpu_write_efer(vc(0), value);
				CHECK(bad || (vc(0)->guest.efer & ~EFER_LMA) == value);
			}
			CHECK_EQ(status, bad ? HV_EINVAL : HV_OK);
			CHECK(!bad || !memcmp(&before, &vc(0)->guest, sizeof(before)));
			FINISH();
		}
}

TEST(cr3_rules)
{
	CHECK(fixture_paged(1, 0, 0));
	mfn_t root = vc(0)->shadow.root[0];

	for (u32 bit = HOST_PHYS_BITS; bit < 64; bit++) {
		CHECK_EQ(vcpu_write_cr3(vc(0), at(0, 0) | BIT(bit)), HV_EINVAL);
		CHECK_EQ(vc(0)->guest.cr3, at(0, 0));
	}
	CHECK_EQ(vcpu_write_cr3(vc(0), at(0, 0) | PTE_PWT | PTE_PCD), HV_OK); // low bits are no address
	CHECK_EQ(vc(0)->guest.cr3, at(0, 0) | PTE_PWT | PTE_PCD);
	CHECK_EQ(vc(0)->shadow.root[0].n, root.n);
	HEALTHY();
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK); // unpaged: a number like any other
	CHECK_EQ(vcpu_write_cr3(vc(0), hole(3, 0)), HV_OK);
	CHECK_EQ(vc(0)->guest.cr3, hole(3, 0));
	CHECK(!dom->dead);
	CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_EDEAD); // until it is used
	CHECK_STR(dom->death, "wild cr3");
	CHECK_STR(fixture_end(), NULL);
}

TEST(cr4_rules)
{
	CHECK(fixture_paged(1, 0, 0));
	for (u32 bit = 0; bit < 64; bit++) {
		bool known = bit < 12 || bit == 16 || bit == 18 || bit == 20 || bit == 21;
		u64 before = vc(0)->guest.cr4;

		CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | BIT(bit)), known ? HV_OK : HV_EINVAL);
		CHECK_EQ(vc(0)->guest.cr4, known ? CR4_PAE | BIT(bit) : before);
	}
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_PCIDE), HV_EINVAL); // PCID is hidden
	FINISH();
}

TEST(efer_rules)
{
	CHECK(fixture_paged(1, 0, 0));
	for (u32 bit = 0; bit < 64; bit++) {
		bool known = bit == 0 || bit == 8 || bit == 10 || bit == 11;

		CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | BIT(bit)), known ? HV_OK : HV_EINVAL);
	}
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_SVME), HV_EINVAL);
	FINISH();
}

TEST(hardware_runs_with_what_shadows_need)
{
	for (u32 paged = 0; paged < 2; paged++) {
		CHECK(paged ? fixture_paged(1, 0, 0) : fixture_start(1, 0, 0));
		CHECK_EQ(vcpu_write_cr4(vc(0), (paged ? CR4_PAE : 0) | CR4_SMEP | CR4_SMAP | CR4_PGE | CR4_PSE), HV_OK);
		u64 cr0 = vcpu_hw_cr0(vc(0)), cr4 = vcpu_hw_cr4(vc(0)), efer = vcpu_hw_efer(vc(0));

		CHECK_EQ(cr0 & (CR0_PE | CR0_PG | CR0_WP), CR0_PE | CR0_PG | CR0_WP);
		CHECK_EQ(cr4 & (CR4_PAE | CR4_MCE), CR4_PAE | CR4_MCE);
		CHECK_EQ(cr4 & CR4_PGE, 0);
		CHECK_EQ(cr4 & (CR4_SMEP | CR4_SMAP), paged ? CR4_SMEP | CR4_SMAP : 0);
		CHECK_EQ(efer & (EFER_NXE | EFER_SVME), EFER_NXE | EFER_SVME);
		CHECK_EQ(efer & (EFER_LMA | EFER_LME), paged ? EFER_LMA | EFER_LME : 0);
		CHECK_EQ(efer & EFER_SCE, paged ? EFER_SCE : 0);
		CHECK_EQ(vcpu_hw_cr3(vc(0)) & (FRAME_BYTES - 1), 0);
		FINISH();
	}
}

TEST(real_mode_runs_paged)
{
	CHECK(fixture_start(1, 0, 0));
	CHECK_EQ(vcpu_write_cr0(vc(0), 0), HV_OK); // PE off: paged real mode
	CHECK_EQ(vcpu_hw_cr0(vc(0)) & (CR0_PE | CR0_PG), CR0_PG);
	FINISH();
}

static bool cached(u32 cpu)
{
	const struct tlb_entry *first;

	return tlb_pages(cpu, &first) != 0;
}

// What a walk permits has changed, or the guest asked for it: its translations go, those of others stay.
TEST(writes_that_flush)
{
	for (u32 how = 0; how < 6; how++) {
		CHECK(fixture_paged(2, 0, 0));
		CHECK(reads(vc(0), page(9)));
		CHECK(reads(vc(1), page(9)));
		CHECK(cached(0) && cached(1));
		host_set_cpu(0);
		static const u64 toggles[] = { CR4_PGE, CR4_SMEP, CR4_SMAP, CR4_PSE };

		if (how < 4)
			CHECK_EQ(vcpu_write_cr4(vc(0), vc(0)->guest.cr4 ^ toggles[how]), HV_OK);
		else if (how == 4)
			CHECK_EQ(vcpu_write_cr3(vc(0), vc(0)->guest.cr3), HV_OK);
		else
			CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
		CHECK(!cached(0) && cached(1));
		FINISH();
	}
}

TEST(nxe_changes_what_entries_mean)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	poke(3, 9, at(9, AS_LEAF | PTE_NX));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_SCE), HV_OK);
	struct cpu_result r = go(vc(0), CPU_READ, page(9), 8, 0, 0);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_RSVD);
	HEALTHY();
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_SCE | EFER_NXE), HV_OK);
	CHECK(reads(vc(0), page(9)));
	FINISH();
}

// EFER.NXE is a vcpu's own: where it is off, NX in an entry is a reserved bit, whatever another vcpu has and
// whatever shadows they share (rules 41, 44).
TEST(rule_41_nxe_is_a_vcpus_own)
{
	CHECK(fixture_paged(2, 0, 0));
	poke(3, 9, at(9, AS_LEAF | PTE_NX));
	host_set_cpu(cpu_of(vc(1)));
	CHECK_EQ(vcpu_write_efer(vc(1), EFER_LME | EFER_SCE), HV_OK);
	CHECK(reads(vc(0), page(9)));
	struct cpu_result r = go(vc(1), CPU_READ, page(9), 8, 0, 0);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_RSVD);
	FINISH();
}

TEST(there_and_back_between_unpaged_and_64_bit)
{
	CHECK(fixture_start(2, 0, SHADOW_OPT_ALL));
	fixture_tree();
	for (u32 round = 0; round < 3; round++) {
		host_set_cpu(0);
		CHECK_EQ(long_mode(vc(0), 0), HV_OK);
		HEALTHY();
		CHECK(writes(vc(0), page(9), 0x100 + round));
		CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
		CHECK_EQ(vc(0)->guest.efer & (EFER_LMA | EFER_LME), EFER_LME);
		HEALTHY();
		u64 gpa9 = gfn_gpa(fg(9)).a;

		CHECK_EQ(go(vc(0), CPU_READ, gpa9, 4, 0, 0).value[0], 0x100 + round);
		// A table that is still shadowed is written unpaged: two halves, as a PHYS op does.
		u64 entry = at(10 + round, AS_LEAF), where = gfn_gpa(fg(3)).a + 8 * 9;

		CHECK_EQ(go(vc(0), CPU_WRITE, where, 4, 0, entry & UINT32_MAX).end, CPU_DONE);
		CHECK_EQ(go(vc(0), CPU_WRITE, where + 4, 4, 0, entry >> 32).end, CPU_DONE);
		CHECK_EQ(vcpu_write_cr0(vc(0), PAGED), HV_OK);
		CHECK(writes(vc(0), page(9), 0x200 + round));
		CHECK_EQ(word(10 + round, 0), 0x200 + round);
		CHECK(writes(vc(0), page(3) + 8 * 9, at(9, AS_LEAF)));
	}
	FINISH();
}

// ---- entering -----------------------------------------------------------------------------------------------

TEST(a_dead_domain_is_not_entered)
{
	CHECK(fixture_paged(2, 0, 0));
	CHECK_EQ(vcpu_enter(vc(0)), HV_OK);
	domain_crash(dom, "test");
	CHECK_EQ(vcpu_enter(vc(0)), HV_EDEAD);
	CHECK_EQ(vcpu_enter(vc(1)), HV_EDEAD);
	u32 error = PF_P | PF_W;

	CHECK_EQ(fault(vc(1), page(9), &error), FAULT_DEAD);
	CHECK_STR(fixture_end(), NULL);
}

// While one vcpu runs an instruction with rights that shadows do not give, no other one is entered; its own domain alone.
TEST(nobody_is_entered_beside_a_step)
{
	CHECK(fixture_paged(3, 0, 0));
	struct domain *stepping = dom;

	CHECK(fixture_another(1, 0, 0));
	struct domain *other = dom;

	dom = stepping;
	CHECK(reads(vc(1), page(3)));
	CHECK_EQ(go(vc(1), CPU_FETCH, page(9), 1, 0, 0).end, CPU_DONE); // leaves what nobody can decode
	u32 error = PF_P | PF_W;

	CHECK_EQ(fault(vc(1), page(3), &error), FAULT_STEP);
	for (u32 again = 0; again < 2; again++) {
		CHECK_EQ(vcpu_enter(vc(0)), HV_EBUSY);
		CHECK_EQ(vcpu_enter(vc(1)), HV_OK);
		CHECK_EQ(vcpu_enter(vc(2)), HV_EBUSY);
		CHECK_EQ(vcpu_enter(&other->vcpu[0]), HV_OK);
	}
	vcpu_step_done(vc(1));
	for (u32 i = 0; i < 3; i++)
		CHECK_EQ(vcpu_enter(vc(i)), HV_OK);
	HEALTHY();
	CHECK_STR(domain_destroy(other), NULL);
	FINISH();
}
