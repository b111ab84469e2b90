// SPDX-License-Identifier: GPL-2.0-or-later
// Guest writes that the core carries out: every size, offset and split over pages, compare-exchange, holes,
// CR0.WP = 0, what makes a table lose its shadows instead, and what another vcpu does meanwhile. All guest
// RAM is compared with an array to which the same store was done. D11, D12, D23; rule 45.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PATTERN UINT64_C(0x8877665544332211)

static void start(u32 vcpus, u32 opts)
{
	CHECK(fixture_spare_table(vcpus, opts));
}

// ---- the array -------------------------------------------------------------------------------------------

static void same(void)
{
	CHECK_EQ(ram_differs(), -1);
	HEALTHY();
}

static const u8 sizes[] = { 1, 2, 4, 8 };

// ---- stores ---------------------------------------------------------------------------------------------

static void store_everywhere(u32 opts)
{
	static const u32 tables[] = { 5, 3, 2, 1 }; // a leaf table; and three that the store itself goes through

	for (u32 t = 0; t < ARRAY_LEN(tables); t++) {
		start(1, opts);
		CHECK(reads(vc(0), page(9)));
		for (u32 s = 0; s < ARRAY_LEN(sizes); s++)
			for (u32 offset = 0x100; offset < 0x110; offset++) {
				u64 va = page(tables[t]) + offset;

				ram_take();
				struct cpu_result r = go(vc(0), CPU_WRITE, va, sizes[s], 0, PATTERN + offset);
				u64 value = PATTERN + offset;

				CHECK_EQ(r.end, CPU_DONE);
				CHECK(r.emulated);
				memcpy(guest_ram + va, &value, sizes[s]);
				same();
				if (test_failures)
					return;
			}
		FINISH();
	}
}

TEST(stores_of_all_sizes_at_all_offsets)
{
	store_everywhere(0);
	store_everywhere(SHADOW_OPT_ALL);
}

// D23: a store over two pages is two writes, whatever the two frames are.
TEST(D23_stores_over_two_pages)
{
	static const u32 first[] = { 4, 5, 2, 1, 3 }; // plain+table, table+plain, table+table twice, table+plain

	for (u32 f = 0; f < ARRAY_LEN(first); f++)
		for (u32 s = 1; s < ARRAY_LEN(sizes); s++)
			for (u32 before = 1; before < sizes[s]; before++) {
				u64 va = page(first[f] + 1) - before, value = PATTERN;

				start(1, SHADOW_OPT_ALL);
				poke(3, 0, at(0, AS_LEAF)); // the entry that the split over f2 and f3 hits
				ram_take();
				struct cpu_result r = go(vc(0), CPU_WRITE, va, sizes[s], 0, value);

				CHECK_EQ(r.end, CPU_DONE);
				CHECK(r.emulated);
				memcpy(guest_ram + va, &value, sizes[s]);
				same();
				FINISH();
				if (test_failures)
					return;
			}
}

TEST(a_store_whose_second_page_is_denied_stores_nothing)
{
	start(1, 0);
	poke(3, 6, 0);
	CHECK(reads(vc(0), page(5)));
	ram_take();
	struct cpu_result r = go(vc(0), CPU_WRITE, page(6) - 4, 8, 0, PATTERN);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.vector, 14);
	CHECK_EQ(r.error, PF_W);
	CHECK_EQ(r.cr2, page(6)); // the first byte that cannot be reached
	same();
	FINISH();
}

// ---- what validation makes of a store ---------------------------------------------------------------------

TEST(upper_entries_follow_existing_shadows_and_are_never_made)
{
	start(1, 0);
	mfn_t l2 = shadow_of(2, SHADOW_L2_64), l1 = shadow_of(5, SHADOW_L1_64);

	CHECK(writes(vc(0), page(2) + 8 * 9, at(5, AS_TABLE)));
	CHECK_EQ(spte_mfn(shadow_read(dom, l2, 9)).n, l1.n);
	CHECK_EQ(refs(l1), 2);
	CHECK(writes(vc(0), page(2) + 8 * 9, at(7, AS_TABLE)));
	CHECK_EQ(shadow_read(dom, l2, 9).v, 0);
	CHECK(!page_is_table(fm(7)));
	CHECK_EQ(refs(l1), 1);
	FINISH();
}

TEST(a_store_that_takes_rights_away_flushes_the_domain)
{
	const struct tlb_entry *first;

	start(2, 0);
	CHECK(writes(vc(1), OTHER + page(9), 1));
	CHECK(tlb_pages(1, &first));
	CHECK(writes(vc(0), page(2) + 8, at(5, AS_TABLE & ~PTE_W)));
	CHECK_EQ(tlb_pages(1, &first), 0);
	CHECK_EQ(go(vc(1), CPU_WRITE, OTHER + page(9), 8, 0, 1).end, CPU_FAULT);
	FINISH();
}

TEST(a_leaf_that_cannot_be_had_unshadows_the_table)
{
	start(1, 0);
	page_of(fm(8))->type_info = UINT32_MAX; // no writable mapping of f8 is possible
	CHECK(writes(vc(0), page(5) + 8 * 100, at(8, AS_LEAF)));
	CHECK(!page_is_table(fm(5)));
	CHECK(!dom->dead);
	page_of(fm(8))->type_info = 0;
	FINISH();
}

// ---- compare-exchange ----------------------------------------------------------------------------------------

static void exchange(u64 va, u32 bytes, bool match)
{
	u64 old[2] = { 0 }, expect[2], data[2] = { PATTERN, ~PATTERN }, seen[2] = { 0 };

	ram_take();
	memcpy(old, guest_ram + va, bytes);
	memcpy(expect, old, sizeof(old));
	if (!match)
		((u8 *)expect)[bytes - 1] ^= 0x40; // the last byte decides
	struct cpu_result r = go_pair(vc(0), va, bytes, expect[0], expect[1], data[0], data[1]);

	CHECK_EQ(r.end, CPU_DONE);
	CHECK(r.emulated);
	CHECK_EQ(r.matched, match);
	memcpy(seen, r.value, bytes);
	CHECK_EQ(seen[0], old[0]);
	CHECK_EQ(seen[1], old[1]);
	if (match)
		memcpy(guest_ram + va, data, bytes);
	same();
}

TEST(D11_compare_exchange_of_all_sizes_and_places)
{
	for (u32 match = 0; match < 2; match++)
		for (u32 s = 0; s < ARRAY_LEN(sizes); s++) {
			start(1, 0);
			for (u32 offset = 0x100; offset < 0x108; offset++)
				exchange(page(5) + offset, sizes[s], match);
			for (u32 before = 1; before < sizes[s]; before++) { // past the end of the page
				exchange(page(6) - before, sizes[s], match);
				exchange(page(5) - before, sizes[s], match);
			}
			FINISH();
		}
}

TEST(D11_sixteen_bytes_are_aligned_or_refused)
{
	for (u32 match = 0; match < 2; match++) {
		start(1, 0);
		exchange(page(5) + 0x100, 16, match);
		exchange(page(6) - 16, 16, match);
		exchange(page(3) + 0x200, 16, match); // a table on its own path
		FINISH();
	}
	start(1, 0);
	for (u32 offset = 1; offset < 16; offset++) {
		ram_take();
		struct cpu_result r = go_pair(vc(0), page(5) + 0xff0 + offset, 16, 0, 0, 1, 1);

		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.vector, 13);
		CHECK_EQ(r.error, 0);
		same();
	}
	FINISH();
}

// A compare that fails stores nothing and validates nothing, but it is a write access: A and D are set.
TEST(a_miss_needs_the_right_to_write_and_marks_the_page)
{
	start(1, 0);
	poke(3, 5, at(5, AS_LEAF & ~(PTE_D | PTE_A)));
	struct cpu_result r = go_pair(vc(0), page(5) + 0x100, 8, 1, 0, 2, 0);

	CHECK(r.end == CPU_DONE && !r.matched);
	CHECK_EQ(word(3, 5), at(5, AS_LEAF));
	CHECK(writes(vc(0), page(3) + 8 * 5, at(5, AS_LEAF & ~PTE_W)));
	r = go_pair(vc(0), page(5) + 0x100, 8, 1, 0, 2, 0);
	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_W);
	FINISH();
}

// ---- holes ----------------------------------------------------------------------------------------------

TEST(holes_read_as_the_pattern_and_swallow_stores)
{
	for (u32 fast = 0; fast < 2; fast++) {
		start(1, fast ? SHADOW_OPT_ALL : 0);
		ram_take();
		for (u32 s = 0; s < ARRAY_LEN(sizes); s++)
			for (u32 offset = 0; offset < 8; offset++) {
				u64 want = sizes[s] == 8 ? HOLE_WORD : HOLE_WORD & (BIT(8 * sizes[s]) - 1);
				struct cpu_result r = go(vc(0), CPU_READ, page(17) + offset, sizes[s], 0, 0);

				CHECK_EQ(r.end, CPU_DONE);
				CHECK_EQ(r.value[0], want);
				r = go(vc(0), CPU_WRITE, page(17) + offset, sizes[s], 0, PATTERN);
				CHECK_EQ(r.end, CPU_DONE);
				r = go_pair(vc(0), page(17) + offset, sizes[s], want, 0, PATTERN, 0);
				CHECK(r.end == CPU_DONE && r.matched && r.value[0] == want);
				r = go_pair(vc(0), page(17) + offset, sizes[s], want ^ 1, 0, PATTERN, 0);
				CHECK(r.end == CPU_DONE && !r.matched);
			}
		same();
		CHECK(dom->shadow.stats.mmio > 0);
		FINISH();
	}
}

TEST(stores_and_loads_over_ram_and_a_hole)
{
	for (u32 before = 1; before < 8; before++) {
		u64 value = PATTERN;

		start(1, SHADOW_OPT_ALL);
		ram_take();
		CHECK_EQ(go(vc(0), CPU_WRITE, page(17) - before, 8, 0, value).end, CPU_DONE);
		memcpy(guest_ram + page(7) - before, &value, before); // page 16 is f6
		same();
		struct cpu_result r = go(vc(0), CPU_READ, page(17) - before, 8, 0, 0);
		u64 want = (HOLE_WORD << 8 * before) | (PATTERN & (BIT(8 * before) - 1));

		CHECK_EQ(r.end, CPU_DONE);
		CHECK_EQ(r.value[0], want);
		FINISH();
	}
}

// ---- CR0.WP = 0 -----------------------------------------------------------------------------------------

TEST(without_wp_supervisor_stores_to_read_only_pages_are_done)
{
	start(1, SHADOW_OPT_ALL);
	CHECK_EQ(go(vc(0), CPU_WRITE, page(18), 8, 0, 7).end, CPU_FAULT);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
	ram_take();
	for (u32 i = 0; i < 3; i++) {
		struct cpu_result r = go(vc(0), CPU_WRITE, page(18) + 8 * i, 8, 0, PATTERN + i);
		u64 value = PATTERN + i;

		CHECK(r.end == CPU_DONE && r.emulated);
		memcpy(guest_ram + page(9) + 8 * i, &value, 8);
	}
	u64 dirty = at(9, AS_LEAF & ~PTE_W);

	memcpy(guest_ram + page(3) + 8 * 18, &dirty, 8); // D is set, W is not
	same();
	CHECK(!(spte_at(vc(0), page(18), 0).v & PTE_W));
	struct cpu_result r = go(vc(0), CPU_WRITE, page(18), 8, 3, 7);

	CHECK_EQ(r.end, CPU_FAULT); // users are bound by W all the same
	CHECK_EQ(r.error, PF_P | PF_W | PF_U);
	r = go(vc(0), CPU_PUSH, page(18), 8, 0, 0x99);
	CHECK(r.end == CPU_DONE && word(9, 0) == 0x99);
	FINISH();
}

// ---- unshadow instead --------------------------------------------------------------------------------------

TEST(a_user_store_unshadows)
{
	start(1, 0);
	struct cpu_result r = go(vc(0), CPU_WRITE, page(5) + 0x100, 8, 3, PATTERN);

	CHECK(r.end == CPU_DONE && !r.emulated);
	CHECK_EQ(word(5, 0x20), PATTERN);
	CHECK(!page_is_table(fm(5)));
	FINISH();
}

TEST(a_push_unshadows)
{
	start(1, 0);
	struct cpu_result r = go(vc(0), CPU_PUSH, page(5) + 0x100, 8, 0, PATTERN);

	CHECK(r.end == CPU_DONE && !r.emulated);
	CHECK_EQ(word(5, 0x20), PATTERN);
	CHECK(!page_is_table(fm(5)));
	FINISH();
}

TEST(an_emulator_that_declines_unshadows)
{
	start(1, 0);
	CHECK(reads(vc(0), page(5)));
	host_arm_failure(1); // the first question: hardware has mapped the table, no chain is reserved
	struct cpu_result r = go(vc(0), CPU_WRITE, page(5) + 0x100, 8, 0, PATTERN);

	CHECK(host_arm_failure(0));
	CHECK(r.end == CPU_DONE && !r.emulated);
	CHECK(!page_is_table(fm(5)));
	CHECK_EQ(word(5, 0x20), PATTERN);
	FINISH();
}

// A store to a table that the store itself needs as a table cannot wait for the table to go: it would be
// shadowed again at once, for ever (rule 43).
TEST(rule_43_stores_through_a_table_to_itself_end)
{
	static const u8 kinds[] = { CPU_WRITE, CPU_PUSH };

	for (u32 n = 0; n < 4; n++)
		for (u32 k = 0; k < 2; k++)
			for (u32 cpl = 0; cpl <= 3; cpl += 3) {
				start(1, SHADOW_OPT_ALL);
				ram_take();
				u64 va = page(n) + 0x800, value = PATTERN;
				struct cpu_result r = go(vc(0), kinds[k], va, 8, (u8)cpl, value);

				CHECK_EQ(r.end, CPU_DONE);
				memcpy(guest_ram + va, &value, 8);
				same();
				FINISH();
			}
}

TEST(an_unknown_instruction_unshadows)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(5) + 0x100, .bytes = 8, .unknown = true, .data = { PATTERN } };
	struct cpu_result r;

	start(1, 0);
	cpu_access(vc(0), &a, &r);
	CHECK(r.end == CPU_DONE && !r.emulated && !r.stepped);
	CHECK(!page_is_table(fm(5)));
	CHECK_EQ(word(5, 0x20), PATTERN);
	FINISH();
}

// ---- early unshadow -----------------------------------------------------------------------------------------

static bool zero(u64 va, u32 bytes)
{
	return go(vc(0), CPU_WRITE, va, bytes, 0, 0).end == CPU_DONE;
}

TEST(two_zeroes_running_unshadow_a_table)
{
	static const u8 big[] = { 4, 8 };

	for (u32 i = 0; i < 2; i++) {
		start(1, SHADOW_OPT_EARLY);
		CHECK(zero(page(5) + 0x100, big[i]));
		CHECK(page_is_table(fm(5)));
		CHECK(zero(page(5) + 0x108, big[i]));
		CHECK(!page_is_table(fm(5)));
		CHECK_EQ(dom->shadow.stats.early_unshadows, 1);
		FINISH();
	}
}

static void nothing_between(void) {}
static void another_frame_between(void) { CHECK(zero(page(2) + 0x800, 8)); }
static void a_number_between(void) { CHECK(writes(vc(0), page(5) + 0x200, 2)); }
static void a_fault_between(void) { CHECK(go(vc(0), CPU_READ, page(40), 8, 0, 0).end == CPU_FAULT); }
static void a_fill_between(void) { CHECK(reads(vc(0), OTHER + page(12))); }
static void mmio_between(void) { CHECK(reads(vc(0), page(17))); }
// What the first zero made absent: the magic entry answers when there are any.
static void a_fast_fault_between(void)
{
	CHECK(go(vc(0), CPU_READ, OTHER + page(32), 8, 0, 0).end == CPU_FAULT);
}

static u64 early_after(u32 opts, void (*between)(void))
{
	start(1, opts | SHADOW_OPT_EARLY);
	(void)reads(vc(0), page(17));
	shadow_unpin(dom, vc(0)->shadow.root[0]);
	CHECK(zero(page(5) + 0x100, 8));
	between();
	CHECK(zero(page(5) + 0x108, 8));
	u64 seen = dom->shadow.stats.early_unshadows;

	FINISH();
	return seen;
}

// spec A.14: the memory of the first write is reset at fixed faults, MMIO, fast or not, and at faults that
// the guest gets.
TEST(something_between_the_zeroes_forgets_the_first)
{
	for (u32 fast = 0; fast < 2; fast++) {
		u32 opts = fast ? SHADOW_OPT_FAST : 0;

		CHECK_EQ(early_after(opts, nothing_between), 1);
		CHECK_EQ(early_after(opts, another_frame_between), 0);
		CHECK_EQ(early_after(opts, a_number_between), 0);
		CHECK_EQ(early_after(opts, a_fault_between), 0);
		CHECK_EQ(early_after(opts, a_fill_between), 0);
		CHECK_EQ(early_after(opts, mmio_between), 0);
		CHECK_EQ(early_after(opts, a_fast_fault_between), 0);
	}
}

TEST(small_zeroes_roots_and_the_option_off_do_not_unshadow)
{
	start(1, SHADOW_OPT_EARLY);
	for (u32 i = 0; i < 4; i++)
		CHECK(zero(page(5) + 0x100 + 2 * i, 2));
	CHECK(page_is_table(fm(5)));
	for (u32 i = 0; i < 4; i++) // a root: f0 is loaded
		CHECK(zero(page(0) + 0x100 + 8 * i, 8));
	CHECK(page_is_table(fm(0)));
	CHECK_EQ(dom->shadow.stats.early_unshadows, 0);
	FINISH();
	start(1, 0);
	for (u32 i = 0; i < 4; i++)
		CHECK(zero(page(5) + 0x100 + 8 * i, 8));
	CHECK(page_is_table(fm(5)));
	FINISH();
}

// ---- another vcpu meanwhile ---------------------------------------------------------------------------------

// Yield points that a store to the shadowed f5 comes by.
enum { WALKED = 1, FETCH = 2, TRANSLATED = 3 };

static void remove_f5(void *context) { (void)context; CHECK_EQ(physmap_remove(dom, fg(5)), HV_OK); }
static void swap_f5(void *context) { (void)context; CHECK_EQ(physmap_swap(dom, fg(5), fg(8)), HV_OK); }
static void renew_f5(void *context) { (void)context; CHECK_EQ(physmap_renew(dom, fg(5)), HV_OK); }
static void unshadow_f5(void *context) { (void)context; shadow_remove_all(dom, fm(5)); }
static void blow(void *context) { (void)context; shadow_blow_tables(dom); }
static void remap_5(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 5, at(8, AS_LEAF))); }
static void unmap_5(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 5, 0)); }
static void protect_5(void *context)
{
	(void)context;
	CHECK(writes(vc(1), page(3) + 8 * 5, at(5, AS_LEAF & ~PTE_W)));
}
// The instruction that is fetched is another one by now: it writes to a plain frame.
static void another_instruction(void *context)
{
	(void)context;
	CHECK_EQ(go(vc(0), CPU_WRITE, page(9) + 0x10, 8, 0, 0x4242).end, CPU_DONE);
}
static void an_unknown_instruction(void *context)
{
	(void)context;
	CHECK_EQ(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end, CPU_DONE);
}

static struct cpu_result store_while(u32 yield, void (*other)(void *))
{
	start(2, SHADOW_OPT_ALL);
	raw(8, 0x20, 0x1111);
	host_arm_race(yield, other, NULL);
	struct cpu_result r = go(vc(0), CPU_WRITE, page(5) + 0x100, 8, 0, PATTERN);

	host_arm_race(0, NULL, NULL);
	return r;
}

TEST(D12_the_frame_leaves_or_changes_hands)
{
	for (u32 yield = WALKED; yield <= TRANSLATED; yield++) {
		CHECK_EQ(store_while(yield, remove_f5).end, CPU_DONE); // into the hole
		CHECK(mfn_is_none(fm(5)));
		FINISH();
		CHECK_EQ(store_while(yield, swap_f5).end, CPU_DONE);
		CHECK_EQ(word(5, 0x20), PATTERN); // what is behind f5 now
		CHECK(word(8, 0x20) != PATTERN);
		FINISH();
		CHECK_EQ(store_while(yield, renew_f5).end, CPU_DONE);
		CHECK_EQ(word(5, 0x20), PATTERN);
		CHECK_EQ(word(5, 0), 0);
		FINISH();
	}
}

TEST(D12_the_table_stops_being_one)
{
	for (u32 yield = WALKED; yield <= TRANSLATED; yield++) {
		CHECK_EQ(store_while(yield, unshadow_f5).end, CPU_DONE);
		CHECK_EQ(word(5, 0x20), PATTERN);
		FINISH();
		CHECK_EQ(store_while(yield, blow).end, CPU_DONE);
		CHECK_EQ(word(5, 0x20), PATTERN);
		FINISH();
	}
}

TEST(D12_the_mapping_changes)
{
	for (u32 yield = WALKED; yield <= FETCH; yield++) {
		struct cpu_result r = store_while(yield, remap_5);

		CHECK_EQ(r.end, CPU_DONE);
		CHECK_EQ(word(8, 0x20), PATTERN);
		CHECK(word(5, 0x20) != PATTERN);
		FINISH();
		r = store_while(yield, unmap_5);
		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_W);
		CHECK_EQ(r.cr2, page(5) + 0x100);
		FINISH();
		r = store_while(yield, protect_5);
		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_W | PF_P);
		FINISH();
	}
	// After the translation the store may be done as it was translated.
	CHECK_EQ(store_while(TRANSLATED, unmap_5).end, CPU_DONE);
	CHECK_EQ(word(5, 0x20), PATTERN);
	FINISH();
}

TEST(D12_the_instruction_changes)
{
	struct cpu_result r = store_while(FETCH, another_instruction);

	CHECK_EQ(r.end, CPU_DONE);
	CHECK(r.emulated);
	CHECK_EQ(word(9, 2), 0x4242); // a plain frame is written like any other
	CHECK(word(5, 0x20) != PATTERN);
	CHECK(page_is_table(fm(5)));
	FINISH();
	r = store_while(FETCH, an_unknown_instruction);
	CHECK_EQ(r.end, CPU_DONE);
	CHECK(!r.emulated);
	CHECK_EQ(word(5, 0x20), PATTERN);
	FINISH();
}

// ---- from outside -------------------------------------------------------------------------------------------

TEST(the_hypervisors_own_stores_are_followed)
{
	start(1, 0);
	mfn_t l1 = shadow_of(5, SHADOW_L1_64);

	poke(5, 9, 0);
	CHECK_EQ(shadow_read(dom, l1, 9).v, 0);
	u64 entries[2] = { at(10, AS_LEAF), at(11, AS_LEAF) };

	CHECK_EQ(domain_write(dom, gpa(at(4, 0) + FRAME_BYTES - 8), entries, 16), HV_OK); // f4's end, f5's start
	CHECK_EQ(word(5, 0), at(11, AS_LEAF));
	CHECK_EQ(spte_mfn(shadow_read(dom, l1, 0)).n, fm(11).n);
	FINISH();
}
