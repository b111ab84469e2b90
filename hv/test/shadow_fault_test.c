// SPDX-License-Identifier: GPL-2.0-or-later
// Page faults, branch by branch of spec A.16: magic entries, what is injected and with which error code,
// the chain of shadows, prefetch, changes at the yield point. D21; rules 43, 44, 46.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"


static void start(u32 vcpus, u32 opts)
{
	CHECK(fixture_paged(vcpus, 64, opts));
	poke(2, 1, at(5, AS_TABLE));
}

// The guest takes #PF with this error code.
static void denied(struct cpu_result r, u32 error, u64 cr2)
{
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.vector, 14);
	CHECK_EQ(r.error, error);
	CHECK_EQ(r.cr2, cr2);
}

// ---- error codes --------------------------------------------------------------------------------------

// The same access against the same entry, with magic entries in place or not: the guest sees no difference
// and never a reserved bit that is not its own (rule 44).
TEST(error_codes_come_from_the_guests_tables)
{
	static const struct { u64 flags; u32 read, write, user, fetch; } cases[] = {
		// 0 = granted. Codes without the access's own bits, which are added below.
		{ 0, 0x20, 0x20, 0x20, 0x20 }, // 0x20: P = 0
		{ AS_LEAF, 0, 0, 0, 0 },
		{ AS_LEAF & ~PTE_W, 0, PF_P, 0, 0 },
		{ AS_LEAF & ~PTE_U, 0, 0, PF_P, 0 },
		{ AS_LEAF | PTE_NX, 0, 0, 0, PF_P },
		{ AS_LEAF | BIT(44), PF_P | PF_RSVD, PF_P | PF_RSVD, PF_P | PF_RSVD, PF_P | PF_RSVD },
		{ PTE_P, 0, PF_P, PF_P, 0 },
	};

	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL)
		for (u32 c = 0; c < ARRAY_LEN(cases); c++)
			for (u32 again = 0; again < 3; again++) { // the second time entries may be magic
				u32 code[4] = { cases[c].read, cases[c].write, cases[c].user, cases[c].fetch };
				static const u32 own[4] = { 0, PF_W, PF_U, PF_I };
				static const u8 kind[4] = { CPU_READ, CPU_WRITE, CPU_READ, CPU_FETCH };

				if (!again) {
					start(1, opts);
					CHECK(reads(vc(0), page(8))); // prefetches
					u64 entry = cases[c].flags ? at(9, cases[c].flags) : 0;

					CHECK(writes(vc(0), page(3) + 8 * 20, entry));
				}
				for (u32 a = 0; a < 4; a++) {
					struct cpu_result r = go(vc(0), kind[a], page(20) + 4, 1, a == 2 ? 3 : 0, 0);

					if (!code[a])
						CHECK_EQ(r.end, CPU_DONE);
					else
						denied(r, (code[a] & ~0x20u) | own[a], page(20) + 4);
				}
				HEALTHY();
				if (again == 2)
					CHECK_STR(fixture_end(), NULL);
				if (test_failures)
					return;
			}
}

TEST(the_fetch_bit_depends_on_what_the_guest_enabled)
{
	start(1, SHADOW_OPT_ALL);
	denied(go(vc(0), CPU_FETCH, page(20), 1, 0, 0), PF_I, page(20));
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME | EFER_SCE), HV_OK);
	denied(go(vc(0), CPU_FETCH, page(20), 1, 0, 0), 0, page(20));
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_SMEP), HV_OK);
	denied(go(vc(0), CPU_FETCH, page(20), 1, 0, 0), PF_I, page(20));
	FINISH();
}

TEST(smep_and_smap_bind_the_supervisor)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		start(1, opts);
		CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_SMEP | CR4_SMAP), HV_OK);
		denied(go(vc(0), CPU_FETCH, page(9), 1, 0, 0), PF_P | PF_I, page(9));
		denied(go(vc(0), CPU_READ, page(9), 8, 0, 0), PF_P, page(9));
		denied(go(vc(0), CPU_WRITE, page(3) + 0x800, 8, 0, 0), PF_P | PF_W, page(3) + 0x800);
		CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 3, 0).end, CPU_DONE);
		CHECK_EQ(go(vc(0), CPU_FETCH, page(9), 1, 3, 0).end, CPU_DONE);
		FINISH();
	}
}

// ---- the fast path -------------------------------------------------------------------------------------

TEST(an_entry_known_to_be_absent_is_answered_without_a_walk)
{
	start(1, SHADOW_OPT_FAST | SHADOW_OPT_PREFETCH);
	CHECK(reads(vc(0), page(9)));
	CHECK(spte_is_gnp(spte_at(vc(0), page(20), 0)));
	u64 fast = dom->shadow.stats.fast;

	denied(go(vc(0), CPU_WRITE, page(20), 8, 3, 0), PF_W | PF_U, page(20));
	CHECK_EQ(dom->shadow.stats.fast, fast + 1);
	FINISH();
}

TEST(mmio_known_as_such_is_emulated_without_a_walk)
{
	start(1, SHADOW_OPT_FAST);
	poke(3, 20, hole(0, AS_LEAF));
	CHECK(writes(vc(0), page(20), 1)); // the slow way, which leaves a magic entry
	CHECK(spte_is_mmio(spte_at(vc(0), page(20), 0)));
	u64 fast = dom->shadow.stats.fast;

	struct cpu_result r = go(vc(0), CPU_READ, page(20), 8, 0, 0);

	CHECK(r.end == CPU_DONE && r.emulated && r.value[0] == HOLE_WORD);
	CHECK_EQ(dom->shadow.stats.fast, fast + 1);
	FINISH();
}

// D21: the rights kept in a magic entry, and those above it, are tested before anything is emulated; a store
// that must set D goes the slow way.
TEST(D21_rights_hold_on_known_mmio)
{
	static const u64 leaf[] = { AS_LEAF, AS_LEAF & ~PTE_U, AS_LEAF & ~PTE_W, AS_LEAF & ~PTE_D, PTE_P | PTE_A };
	static const u64 upper[] = { AS_TABLE, AS_TABLE & ~PTE_U, AS_TABLE & ~PTE_W, AS_TABLE | PTE_NX };

	for (u32 opts = 0; opts <= SHADOW_OPT_FAST; opts += SHADOW_OPT_FAST)
		for (u32 i = 0; i < ARRAY_LEN(leaf); i++)
			for (u32 k = 0; k < ARRAY_LEN(upper); k++)
				for (u32 cpl = 0; cpl <= 3; cpl += 3)
					for (u32 write = 0; write < 2; write++) {
						bool user = leaf[i] & upper[k] & PTE_U;
						bool w = leaf[i] & upper[k] & PTE_W;
						bool ok = (cpl == 0 || user) && (!write || w);

						start(1, opts);
						poke(5, 0, hole(0, leaf[i]));
						poke(2, 1, at(5, upper[k]));
						CHECK(reads(vc(0), OTHER)); // the kernel touches it first
						struct cpu_result r = go(vc(0), write ? CPU_WRITE : CPU_READ, OTHER, 8,
									 (u8)cpl, 1);

						if (ok)
							CHECK_EQ(r.end, CPU_DONE);
						else
							denied(r, (u32)(PF_P | (write ? PF_W : 0) | (cpl ? PF_U : 0)),
							       OTHER);
						CHECK_EQ((word(5, 0) & PTE_D) != 0, (leaf[i] & PTE_D) || (ok && write));
						FINISH();
						if (test_failures)
							return;
					}
}

TEST(D21_smap_holds_on_known_mmio)
{
	start(1, SHADOW_OPT_FAST);
	poke(3, 20, hole(0, AS_LEAF));
	CHECK(reads(vc(0), page(20)));
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_SMAP), HV_OK);
	denied(go(vc(0), CPU_READ, page(20), 8, 0, 0), PF_P, page(20));
	FINISH();
}

TEST(fetches_from_a_hole_execute_the_hole)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_FAST; opts += SHADOW_OPT_FAST) {
		start(1, opts);
		poke(3, 20, hole(0, AS_LEAF));
		for (u32 i = 0; i < 2; i++) {
			struct cpu_result r = go(vc(0), CPU_FETCH, page(20), 1, 0, 0);

			CHECK_EQ(r.end, CPU_FAULT);
			CHECK_EQ(r.vector, 13);
			CHECK(reads(vc(0), page(20))); // leaves a magic entry
		}
		poke(3, 20, hole(0, AS_LEAF | PTE_NX));
		denied(go(vc(0), CPU_FETCH, page(20), 1, 0, 0), PF_P | PF_I, page(20));
		FINISH();
	}
}

// A reserved-bit fault from an entry that is no longer magic: another processor was faster.
TEST(a_raced_magic_fault_is_looked_at_again)
{
	u32 error = PF_P | PF_RSVD;

	start(1, SHADOW_OPT_FAST | SHADOW_OPT_PREFETCH);
	CHECK(reads(vc(0), page(8)));
	CHECK_EQ(fault(vc(0), page(9), &error), FAULT_FIXED);
	error = PF_P | PF_RSVD | PF_U;
	poke(3, 9, at(9, AS_LEAF & ~PTE_U));
	CHECK_EQ(fault(vc(0), page(9), &error), FAULT_INJECT);
	CHECK_EQ(error, PF_P | PF_U);
	error = PF_P | PF_RSVD;
	CHECK_EQ(fault(vc(0), BIT(40), &error), FAULT_INJECT); // no shadow at all on the way
	CHECK_EQ(error, 0);
	FINISH();
}

TEST(unpaged_guests_reach_ram_and_holes_and_no_faults)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		fixture_start(1, 64, opts);
		for (u32 i = 0; i < 3; i++) {
			u64 ram = gfn_gpa(fg(i)).a;

			CHECK(writes(vc(0), ram, 0x10 + i));
			CHECK_EQ(word(i, 0), 0x10 + i);
			CHECK_EQ(go(vc(0), CPU_READ, ram, 8, 3, 0).value[0], 0x10 + i);
			CHECK_EQ(go(vc(0), CPU_READ, 0x1000 * i, 8, 0, 0).value[0], HOLE_WORD);
			CHECK(writes(vc(0), UINT64_C(0xfffff000) - 0x1000 * i, 1));
		}
		CHECK_EQ(dom->shadow.stats.injected, 0);
		FINISH();
	}
}

// ---- A and D -----------------------------------------------------------------------------------------------

TEST(accessed_and_dirty_exactly_as_needed)
{
	start(1, SHADOW_OPT_ALL);
	poke(0, 0, at(1, AS_TABLE & ~PTE_A));
	poke(1, 0, at(2, AS_TABLE & ~PTE_A));
	poke(2, 0, at(3, AS_TABLE & ~PTE_A));
	for (u32 i = 8; i < 12; i++)
		poke(3, i, at(i, AS_TABLE & ~PTE_A));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(word(0, 0) & (PTE_A | PTE_D), PTE_A);
	CHECK_EQ(word(1, 0) & (PTE_A | PTE_D), PTE_A);
	CHECK_EQ(word(2, 0) & (PTE_A | PTE_D), PTE_A);
	CHECK_EQ(word(3, 9), at(9, AS_TABLE));
	CHECK_EQ(word(3, 10), at(10, AS_TABLE & ~PTE_A)); // prefetch touches nothing
	CHECK(!(spte_at(vc(0), page(9), 0).v & PTE_W));
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(word(3, 9), at(9, AS_LEAF));
	CHECK(spte_at(vc(0), page(9), 0).v & PTE_W);
	poke(3, 11, at(11, PTE_P | PTE_U));
	denied(go(vc(0), CPU_WRITE, page(11), 8, 0, 0), PF_P | PF_W, page(11));
	CHECK_EQ(word(3, 11), at(11, PTE_P | PTE_U)); // denied: the leaf stays
	FINISH();
}

// At the first byte of a page the walk is done in two steps. One entry on the way lacks A, the others have all they need.
TEST(every_entry_on_the_way_gets_a_at_the_start_of_a_page_too)
{
	for (u32 n = 0; n < 3; n++)
		for (u32 granted = 0; granted < 2; granted++)
			for (u32 write = 0; write < 2; write++) {
				start(1, SHADOW_OPT_ALL);
				poke(n, 0, at(n + 1, AS_TABLE & ~PTE_A));
				struct cpu_result r = go(vc(0), write ? CPU_WRITE : CPU_READ, page(granted ? 9 : 40), 8, 0, 1);

				CHECK_EQ(r.end, granted ? CPU_DONE : CPU_FAULT);
				CHECK_EQ(word(n, 0), at(n + 1, AS_TABLE));
				FINISH();
			}
	start(1, 0); // a page of 1 GiB gets A before it is known to be misaligned: see pt/mode.h
	poke(1, 2, at(3, AS_LEAF & ~(PTE_A | PTE_D)) | PTE_PS);
	denied(go(vc(0), CPU_READ, UINT64_C(2) << 30, 8, 0, 0), PF_P | PF_RSVD, UINT64_C(2) << 30);
	CHECK_EQ(word(1, 2), at(3, AS_LEAF & ~PTE_D) | PTE_PS);
	FINISH();
}

// ---- prefetch ----------------------------------------------------------------------------------------------

static u32 filled(u32 from)
{
	u32 n = 0;

	while (n < 512 && spte_at(vc(0), OTHER + page(from + n), 0).v)
		n++;
	return n;
}

TEST(prefetch_looks_at_32_entries_and_no_further)
{
	for (u32 on = 0; on < 2; on++) {
		start(1, on ? SHADOW_OPT_PREFETCH : 0);
		for (u32 i = 0; i < 512; i++)
			poke(5, i, at(8 + i % 8, AS_LEAF));
		CHECK(reads(vc(0), OTHER + page(100)));
		CHECK_EQ(filled(100), on ? SHADOW_PREFETCH_SPAN : 1);
		CHECK_EQ(spte_at(vc(0), OTHER + page(99), 0).v, 0);
		CHECK(reads(vc(0), OTHER + page(500))); // to the end of the table
		CHECK_EQ(filled(500) >= 12, on);
		FINISH();
	}
}

TEST(prefetch_stops_where_the_guest_would_see_it)
{
	static const u64 stop[] = { AS_LEAF & ~PTE_A, AS_LEAF & ~PTE_D };

	for (u32 s = 0; s < ARRAY_LEN(stop); s++) {
		start(1, SHADOW_OPT_PREFETCH);
		for (u32 i = 0; i < 64; i++)
			poke(5, i, at(8, i == 10 ? stop[s] : AS_LEAF));
		CHECK(reads(vc(0), OTHER + page(4)));
		CHECK_EQ(filled(4), 6);
		CHECK_EQ(spte_at(vc(0), OTHER + page(11), 0).v, 0);
		CHECK_EQ(word(5, 10), at(8, stop[s]));
		FINISH();
	}
	start(1, SHADOW_OPT_PREFETCH); // and at an entry that is there
	for (u32 i = 0; i < 64; i++)
		poke(5, i, at(8 + i % 4, AS_LEAF));
	CHECK(reads(vc(0), OTHER + page(20)));
	CHECK_EQ(shadow_set(dom, shadow_of(5, SHADOW_L1_64), 30, SPTE_EMPTY), ENTRY_CHANGED);
	CHECK(reads(vc(0), OTHER + page(10)));
	CHECK_EQ(filled(10), 20);
	FINISH();
}

TEST(prefetch_of_large_pages_ends_with_the_page)
{
	start(1, SHADOW_OPT_PREFETCH | SHADOW_OPT_FAST);
	poke(2, 2, at(0, AS_LEAF | PTE_PS));
	CHECK(reads(vc(0), UINT64_C(0x400000)));
	u32 n = 0;

	while (n < 512 && spte_at(vc(0), UINT64_C(0x400000) + page(n), 0).v)
		n++;
	CHECK_EQ(n, SHADOW_PREFETCH_SPAN); // RAM, then holes
	CHECK(spte_is_mmio(spte_at(vc(0), UINT64_C(0x400000) + page(20), 0)));
	FINISH();
}

// ---- the chain ----------------------------------------------------------------------------------------------

TEST(a_table_is_write_protected_before_it_is_read_as_one)
{
	start(1, 0);
	CHECK(writes(vc(0), page(5) + 0x10, 0)); // f5 is ordinary memory, mapped writable
	CHECK_EQ(page_writable_count(fm(5)), 1);
	CHECK(writes(vc(0), page(5), at(9, AS_LEAF)));
	CHECK(reads(vc(0), OTHER));
	CHECK(page_is_table(fm(5)));
	CHECK_EQ(page_writable_count(fm(5)), 0);
	struct cpu_result r = go(vc(0), CPU_WRITE, page(5), 8, 0, at(10, AS_LEAF));

	CHECK(r.end == CPU_DONE && r.emulated);
	CHECK_EQ(spte_mfn(spte_at(vc(0), OTHER, 0)).n, fm(10).n);
	FINISH();
}

TEST(the_pool_at_its_minimum_serves_every_fault)
{
	CHECK(fixture_paged(4, 0, SHADOW_OPT_ALL));
	CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
	for (u32 i = 0; i < 8; i++)
		poke(2, 1 + i, at(8 + i, AS_TABLE)); // f8..f15 are tables, all empty but one entry
	for (u32 i = 0; i < 8; i++)
		poke(8 + i, 0, at(4, AS_LEAF));
	for (u32 round = 0; round < 4; round++)
		for (u32 i = 0; i < 8; i++) {
			CHECK(writes(vc(round), UINT64_C(0x200000) * (1 + i), round * 8 + i));
			CHECK_EQ(word(4, 0), round * 8 + i);
		}
	FINISH();
}

TEST(a_failed_reservation_kills_and_says_why)
{
	start(1, 0);
	host_arm_failure(1);
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).end, CPU_DEAD);
	CHECK(host_arm_failure(0));
	CHECK_STR(dom->death, "out of shadow memory");
	u32 error = 0;

	CHECK_EQ(fault(vc(0), page(9), &error), FAULT_DEAD); // and so it stays
	FINISH();
}

// A second entry leads to a level-1 table whose counter is full.
TEST(a_full_counter_in_the_chain_kills_and_leaks_nothing)
{
	start(1, 0);
	CHECK(reads(vc(0), page(9)));
	mfn_t l1 = shadow_of(3, SHADOW_L1_64);

	raw(2, 7, at(3, AS_TABLE));
	page_of(l1)->sh.count = SHADOW_COUNT_MAX;
	CHECK_EQ(go(vc(0), CPU_READ, UINT64_C(0x200000) * 7 + page(9), 8, 0, 0).end, CPU_DEAD);
	CHECK_STR(dom->death, "shadow references");
	page_of(l1)->sh.count = 1;
	FINISH();
}

// Rights of a large page are kept above the small entries that stand for it.
TEST(a_large_page_gets_its_d_when_it_is_written)
{
	start(1, 0);
	poke(2, 2, at(0, (AS_LEAF | PTE_PS) & ~PTE_D));
	CHECK(reads(vc(0), UINT64_C(0x400000) + page(9)));
	CHECK(!(spte_at(vc(0), UINT64_C(0x400000) + page(9), 1).v & PTE_W));
	CHECK(writes(vc(0), UINT64_C(0x400000) + page(9), 5));
	CHECK_EQ(word(2, 2), at(0, AS_LEAF | PTE_PS));
	CHECK_EQ(word(9, 0), 5);
	FINISH();
}

// A detached root lags: that its entry is there says nothing about what is in it.
TEST(entries_of_a_detached_root_are_brought_up_to_date)
{
	start(1, 0);
	poke(0, 0, at(1, AS_TABLE & ~PTE_W));
	poke(0, 1, at(1, AS_TABLE));
	shadow_remove_all(dom, fm(0));
	CHECK(shadow_root_is_detached(vc(0)));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(go(vc(0), CPU_WRITE, page(9), 8, 0, 1).error, PF_P | PF_W);
	struct cpu_result r = go(vc(0), CPU_WRITE, BIT(39) + page(0), 8, 0, at(1, AS_TABLE));

	CHECK(r.end == CPU_DONE && !r.emulated);
	CHECK(writes(vc(0), page(9), 6));
	FINISH();
}

// ---- what the processor says of its translations ------------------------------------------------------------------

static struct cpu_result stale(enum cpu_kind kind, u64 va)
{
	struct cpu_access a = { .kind = kind, .va = va, .bytes = 8, .pick = TLB_OLDEST, .data = { 7 } };
	struct cpu_result r;

	cpu_access(vc(0), &a, &r);
	return r;
}

// Whoever follows the guest's tables must know which pages were walked for and which were not.
TEST(what_the_core_did_was_not_taken_from_a_tlb)
{
	start(1, 0);
	poke(3, 17, hole(0, AS_LEAF));
	poke(3, 16, at(9, AS_LEAF));
	CHECK(writes(vc(0), page(16), 1));
	CHECK(stale(CPU_WRITE, page(16)).from_tlb[0]);
	struct cpu_result r = stale(CPU_WRITE, page(17) - 4);

	CHECK(r.end == CPU_DONE && r.emulated);
	CHECK(!r.from_tlb[0] && !r.from_tlb[1]);
	CHECK(writes(vc(0), page(3) + 8 * 16, 0)); // no flush: the processor may still use what it has
	CHECK(stale(CPU_WRITE, page(16)).from_tlb[0]);
	r = stale(CPU_RMW, page(17) - 4); // page 16 by the TLB, but the hole brings in the core, which finds it absent
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.cr2, page(17) - 4);
	CHECK_EQ(r.error, 0);
	CHECK(!r.from_tlb[0]);
	FINISH();
}

// The second page of an operand gets no A and D for an operand whose first page is denied, not even where it is at address 0.
TEST(the_second_page_behind_4_gib_is_not_touched_in_vain)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = 0xfffffffc, .bytes = 8, .pick = TLB_OLDEST, .data = { 7 } };
	struct cpu_result r;

	CHECK(fixture_start(1, 64, 0));
	poke(4, 0, at(2, PTE_P)); // PDPTEs 0 and 3: f2 -> f3 maps the first pages, f6 -> f7 the last
	poke(4, 3, at(6, PTE_P));
	poke(2, 0, at(3, AS_TABLE));
	poke(6, 511, at(7, AS_TABLE));
	poke(3, 0, hole(0, AS_LEAF & ~(PTE_A | PTE_D)));
	poke(3, 7, at(7, AS_LEAF));
	poke(7, 511, at(9, AS_LEAF));
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
	CHECK_EQ(vcpu_write_cr3(vc(0), at(4, 0)), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG | CR0_WP), HV_OK);
	CHECK(writes(vc(0), 0xfffff000, 1));
	CHECK(writes(vc(0), page(7) + 8 * 511, at(9, AS_LEAF & ~PTE_W))); // no flush
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_W);
	CHECK_EQ(r.cr2, 0xfffffffc);
	CHECK_EQ(word(3, 0), hole(0, AS_LEAF & ~(PTE_A | PTE_D)));
	FINISH();
}

TEST(what_a_first_attempt_used_does_not_count)
{
	start(1, 0);
	poke(3, 511, at(9, AS_LEAF));
	poke(5, 0, at(10, AS_LEAF));
	CHECK(writes(vc(0), page(511), 1));
	CHECK(writes(vc(0), page(5) + 0x100, 1)); // f5 becomes a table only later, and then all TLBs are flushed
	CHECK(writes(vc(0), page(3) + 8 * 511, 0));
	CHECK(stale(CPU_WRITE, page(511)).from_tlb[0]);
	struct cpu_result r = stale(CPU_WRITE, OTHER - 4);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.cr2, OTHER - 4);
	CHECK_EQ(r.faults, 2);
	CHECK(!r.from_tlb[0]);
	FINISH();
}

// ---- another vcpu at the yield point ------------------------------------------------------------------------

static void unmap_9(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 9, 0)); }
static void move_9(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 9, at(10, AS_LEAF))); }
static void protect_9(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 9, at(9, AS_LEAF & ~PTE_W))); }
static void cut_l2(void *context) { (void)context; CHECK(writes(vc(1), page(2), 0)); }
static void move_l2(void *context) { (void)context; CHECK(writes(vc(1), page(1), at(6, AS_TABLE))); }
static void blow(void *context) { (void)context; shadow_blow_tables(dom); }
static void unshadow_root(void *context) { (void)context; shadow_remove_all(dom, fm(0)); }
static void renew_9(void *context) { (void)context; CHECK_EQ(physmap_renew(dom, fg(9)), HV_OK); }
static void remove_9(void *context) { (void)context; CHECK_EQ(physmap_remove(dom, fg(9)), HV_OK); }

static struct cpu_result store_while(void (*other)(void *))
{
	start(2, SHADOW_OPT_ALL);
	host_arm_race(1, other, NULL);
	struct cpu_result r = go(vc(0), CPU_WRITE, page(9), 8, 0, 0x5555);

	host_arm_race(0, NULL, NULL);
	return r;
}

TEST(tables_that_change_after_the_walk_are_walked_again)
{
	denied(store_while(unmap_9), PF_W, page(9));
	CHECK_EQ(word(9, 0), 0);
	FINISH();
	denied(store_while(protect_9), PF_W | PF_P, page(9));
	FINISH();
	denied(store_while(cut_l2), PF_W, page(9));
	FINISH();
	denied(store_while(move_l2), PF_W, page(9));
	FINISH();
	CHECK_EQ(store_while(move_9).end, CPU_DONE);
	CHECK_EQ(word(10, 0), 0x5555);
	CHECK_EQ(word(9, 0), 0);
	FINISH();
}

TEST(shadows_and_frames_that_change_after_the_walk)
{
	CHECK_EQ(store_while(blow).end, CPU_DONE);
	CHECK_EQ(word(9, 0), 0x5555);
	FINISH();
	CHECK_EQ(store_while(unshadow_root).end, CPU_DONE);
	CHECK_EQ(word(9, 0), 0x5555);
	FINISH();
	CHECK_EQ(store_while(renew_9).end, CPU_DONE);
	CHECK_EQ(word(9, 0), 0x5555);
	FINISH();
	CHECK_EQ(store_while(remove_9).end, CPU_DONE); // swallowed by the hole
	CHECK(mfn_is_none(fm(9)));
	FINISH();
}
