// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that nobody here can decode, where taking the shadows away does not help: they run on hardware, one at a
// time. In all three paging modes: tables of the own walk, holes, read-only pages without WP, several pages at once, what
// comes in between, and what is left behind (nothing). D12; rules 15, 19, 30, 42, 43, 45.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PATTERN UINT64_C(0x8877665544332211)

// ---- a guest in any mode ------------------------------------------------------------------------------------

static enum pt_mode_id mode;

static void put(u32 n, u32 index, u64 entry)
{
	u32 bytes = pt_modes[mode].entry_bytes;

	if (domain_write(dom, gpa(at(n, index * bytes)), &entry, bytes) != HV_OK)
		port_fatal("cannot write to a frame");
}

// f0 is the root (PAE: four PDPTEs), with tables f1.. below it. f3 maps page i to fi for the first sixteen pages and two
// holes behind them, f5 what OTHER starts with: nothing.
static u64 other;
static bool start(enum pt_mode_id m, u32 vcpus, u32 opts)
{
	bool ok = fixture_start(vcpus, 0, opts);

	mode = m;
	other = m == PT_MODE_32 ? 0x400000 : 0x200000;
	if (m == PT_MODE_64)
		put(0, 0, at(1, AS_TABLE));
	if (m == PT_MODE_PAE)
		put(0, 0, at(2, PTE_P));
	if (m == PT_MODE_64)
		put(1, 0, at(2, AS_TABLE));
	put(m == PT_MODE_32 ? 0 : 2, 0, at(3, AS_TABLE));
	put(m == PT_MODE_32 ? 0 : 2, 1, at(5, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		put(3, i, at(i, AS_LEAF));
	for (u32 i = 0; i < 2; i++)
		put(3, FIXTURE_FRAMES + i, hole(i, AS_LEAF));
	for (u32 i = 0; i < vcpus; i++)
		ok = ok && vcpu_write_cr4(vc(i), m == PT_MODE_32 ? CR4_PSE : CR4_PAE) == HV_OK &&
		     vcpu_write_efer(vc(i), EFER_NXE | (m == PT_MODE_64 ? EFER_LME : 0)) == HV_OK &&
		     load_cr3(vc(i), 0) == HV_OK && vcpu_write_cr0(vc(i), CR0_PE | CR0_PG | CR0_WP) == HV_OK;
	host_set_cpu(0);
	return CHECK(ok);
}

static u32 root_table(void) { return mode == PT_MODE_PAE ? 2 : 0; }

static bool never_writable(mfn_t m) { return page_is_table(m); }

#define CLEAN()                                                                \
	do {                                                                   \
		CHECK_STR(tlb_check(0, never_writable), NULL);                 \
		CHECK(!shadow_stepping(dom));                                  \
		HEALTHY();                                                     \
	} while (0)

// ---- accesses of unknown instructions -------------------------------------------------------------------------

static struct cpu_result unknown(enum cpu_kind kind, u64 va, u32 bytes, u8 cpl, u64 data)
{
	struct cpu_access a = { .kind = kind, .va = va, .bytes = (u8)bytes, .cpl = cpl, .alu = ALU_ADD,
				.unknown = true, .data = { data } };
	struct cpu_result r;

	host_set_cpu(0);
	cpu_access(vc(0), &a, &r);
	return r;
}

static void same(void)
{
	CHECK_EQ(ram_differs(), -1);
	CLEAN();
}

static void stepped(struct cpu_result r)
{
	CHECK_EQ(r.end, CPU_DONE);
	CHECK(r.stepped);
	CHECK(!r.emulated);
	CHECK(!dom->dead);
}

// ---- tables of its own walk ----------------------------------------------------------------------------------

TEST(rule_43_a_table_on_the_own_path_is_written_in_every_mode)
{
	static const u32 sizes[] = { 1, 2, 4, 8 };

	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL)
			for (u32 t = 0; t < 2; t++)
				for (u32 s = 0; s < ARRAY_LEN(sizes); s++) {
					start((enum pt_mode_id)m, 1, opts);
					u64 va = page(t ? 3 : root_table()) + 0x402, value = PATTERN, old = 0;

					ram_take();
					struct cpu_result r = unknown(CPU_WRITE, va, sizes[s], 0, value);

					stepped(r);
					memcpy(guest_ram + va, &value, sizes[s]);
					same();
					memcpy(&old, guest_ram + va, sizes[s]);
					value += old;
					r = unknown(CPU_RMW, va, sizes[s], 0, PATTERN);
					stepped(r);
					CHECK_EQ(r.value[0], old);
					memcpy(guest_ram + va, &value, sizes[s]);
					same();
					FINISH();
					if (test_failures)
						return;
				}
}

// What it wrote counts at once: an entry appears, moves, goes.
TEST(rule_30_shadows_follow_what_was_stepped)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++) {
		start((enum pt_mode_id)m, 1, SHADOW_OPT_ALL);
		u32 bytes = pt_modes[m].entry_bytes;
		u64 va = page(3) + 20 * bytes;

		CHECK_EQ(go(vc(0), CPU_READ, page(20), 1, 0, 0).end, CPU_FAULT);
		stepped(unknown(CPU_WRITE, va, bytes, 0, at(9, AS_LEAF)));
		CHECK(writes(vc(0), page(20), 0x1234));
		CHECK_EQ(word(9, 0), 0x1234);
		stepped(unknown(CPU_WRITE, va, bytes, 0, at(10, AS_LEAF & ~PTE_W)));
		CHECK_EQ(go(vc(0), CPU_WRITE, page(20), 1, 0, 0).error, PF_P | PF_W);
		stepped(unknown(CPU_WRITE, va, bytes, 0, 0));
		CHECK_EQ(go(vc(0), CPU_READ, page(20), 1, 0, 0).error, 0);
		// The one below the root gives way to an empty one, as long as it is not needed for this very access.
		stepped(unknown(CPU_WRITE, page(root_table()) + bytes * (m == PT_MODE_64), bytes, 0,
				m == PT_MODE_64 ? 0 : at(3, AS_TABLE)));
		CLEAN();
		FINISH();
	}
}

TEST(another_table_loses_its_shadows_first)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++) {
		start((enum pt_mode_id)m, 1, 0);
		put(5, 0, at(9, AS_LEAF));
		CHECK_EQ(go(vc(0), CPU_READ, other, 1, 0, 0).end, CPU_DONE);
		CHECK(page_is_table(fm(5)));
		struct cpu_result r = unknown(CPU_WRITE, page(5) + 0x100, 4, 0, PATTERN);

		CHECK(r.end == CPU_DONE && !r.stepped && !r.emulated);
		CHECK(!page_is_table(fm(5)));
		CLEAN();
		FINISH();
	}
}

TEST(users_step_too)
{
	start(PT_MODE_64, 1, SHADOW_OPT_ALL);
	stepped(unknown(CPU_WRITE, page(3) + 0x800, 8, 3, PATTERN));
	CHECK_EQ(word(3, 0x100), PATTERN);
	put(3, 3, at(3, AS_LEAF & ~PTE_U));
	CHECK_EQ(unknown(CPU_WRITE, page(3) + 0x800, 8, 3, 1).error, PF_P | PF_W | PF_U);
	CLEAN();
	FINISH();
}

// Each of two pages is a table that the other's walk needs: taking shadows away would go on for ever.
TEST(rule_43_two_pages_that_need_each_other)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
			start((enum pt_mode_id)m, 1, opts);
			u32 last = pt_entries(&pt_modes[m], 0) - 1;
			u64 va = other - 4, value = PATTERN;

			put(3, last, at(5, AS_LEAF)); // the last page of f3's region is f5, the first of f5's is f3
			put(5, 0, at(3, AS_LEAF));
			ram_take();
			struct cpu_result r = unknown(CPU_WRITE, va, 8, 0, value);

			stepped(r);
			memcpy(guest_ram + page(6) - 4, &value, 4);
			memcpy(guest_ram + page(3), (u8 *)&value + 4, 4);
			same();
			FINISH();
		}
}

// ---- holes --------------------------------------------------------------------------------------------------

TEST(in_holes_there_are_zeroes_and_stores_vanish)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
			start((enum pt_mode_id)m, 1, opts);
			ram_take();
			for (u32 again = 0; again < 2; again++) {
				struct cpu_result r = unknown(CPU_READ, page(16) + 4, 8, 0, 0);

				stepped(r);
				CHECK_EQ(r.value[0], HOLE_WORD);
				stepped(unknown(CPU_WRITE, page(16) + 4, 8, 3, PATTERN));
				r = unknown(CPU_RMW, page(17) - 4, 8, 0, PATTERN); // two holes
				stepped(r);
				CHECK_EQ(r.value[0], HOLE_WORD);
			}
			same();
			FINISH();
		}
}

TEST(over_ram_and_a_hole_and_over_a_table_and_a_hole)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 f = 3; f <= 9; f += 6) {
			u64 old = 0, value = PATTERN;

			start((enum pt_mode_id)m, 1, SHADOW_OPT_ALL);
			put(3, 15, at(f, AS_LEAF));
			ram_take();
			memcpy(&old, guest_ram + page(f + 1) - 3, 3);
			struct cpu_result r = unknown(CPU_RMW, page(16) - 3, 8, 0, PATTERN);

			stepped(r);
			CHECK_EQ(r.value[0], old);
			value += old;
			memcpy(guest_ram + page(f + 1) - 3, &value, 3);
			same();
			FINISH();
		}
}

// The load is done, the store is denied: the fault is the guest's, and the step is over.
TEST(what_the_guest_denies_ends_the_step)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		start(PT_MODE_64, 1, opts);
		put(3, 16, hole(0, AS_LEAF & ~(PTE_W | PTE_D)));
		ram_take();
		struct cpu_result r = unknown(CPU_RMW, page(16), 8, 0, 1);

		CHECK(r.end == CPU_FAULT && r.stepped);
		CHECK_EQ(r.vector, 14);
		CHECK_EQ(r.error, PF_P | PF_W);
		CHECK_EQ(r.cr2, page(16));
		same();
		put(3, 4, 0);
		ram_take();
		r = unknown(CPU_WRITE, page(4) - 4, 8, 0, PATTERN); // f3 is on the way, and the next page is absent
		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_W);
		CHECK_EQ(r.cr2, page(4));
		same();
		FINISH();
	}
}

TEST(code_in_a_hole_is_not_stepped)
{
	start(PT_MODE_64, 1, 0);
	struct cpu_result r = go(vc(0), CPU_FETCH, page(16), 1, 0, 0);

	CHECK(r.end == CPU_FAULT && r.vector == 13 && !r.stepped);
	CLEAN();
	FINISH();
}

// ---- CR0.WP = 0 ------------------------------------------------------------------------------------------------

TEST(read_only_pages_are_written_without_wp)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 upper = 0; upper < 2; upper++)
			for (u32 f = 3; f <= 9; f += 6) { // a table, and a plain frame
				u64 value = PATTERN, va;

				start((enum pt_mode_id)m, 1, SHADOW_OPT_ALL);
				va = other + page(1) - 4;
				put(5, 0, at(f, upper ? AS_LEAF : AS_LEAF & ~PTE_W));
				put(5, 1, at(10, AS_LEAF & ~(upper ? 0 : PTE_W)));
				if (upper)
					put(root_table() + (m == PT_MODE_64 ? 2 : 0), 1, at(5, AS_TABLE & ~PTE_W));
				CHECK_EQ(unknown(CPU_WRITE, va, 8, 0, 1).error, PF_P | PF_W);
				CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
				ram_take();
				struct cpu_result r = unknown(CPU_WRITE, va, 8, 0, value);

				stepped(r);
				memcpy(guest_ram + page(f + 1) - 4, &value, 4);
				memcpy(guest_ram + page(10), (u8 *)&value + 4, 4);
				if (!upper) { // D has been set
					put(5, 0, at(f, AS_LEAF & ~PTE_W));
					memcpy(guest_ram + page(5), host_frame(fm(5)), 32);
				}
				same();
				CHECK(!(spte_at(vc(0), other, upper).v & PTE_W));
				CHECK_EQ(unknown(CPU_WRITE, va, 8, 3, 1).error, PF_P | PF_W | PF_U);
				FINISH();
			}
}

TEST(smap_is_held_against_a_step_unless_ac_is_set)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(3) + 0x800, .bytes = 8, .unknown = true,
				.data = { PATTERN } };
	struct cpu_result r;

	start(PT_MODE_64, 1, SHADOW_OPT_ALL);
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_SMAP), HV_OK);
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.error, PF_P | PF_W);
	a.ac = true;
	cpu_access(vc(0), &a, &r);
	stepped(r);
	CHECK_EQ(word(3, 0x100), PATTERN);
	CLEAN();
	FINISH();
}

// ---- the end of the address space ----------------------------------------------------------------------------

// Outside long mode an operand goes on at 0; its fault is reported there.
TEST(operands_wrap_at_4_gib)
{
	for (u32 m = PT_MODE_32; m <= PT_MODE_PAE; m++)
		for (u32 in_hole = 0; in_hole < 2; in_hole++) {
			u64 value = PATTERN, va = 0xfffffffc;
			u32 last = pt_entries(&pt_modes[m], 0) - 1;
			struct cpu_access a = { .kind = CPU_WRITE, .va = va, .bytes = 8, .data = { value } };
			struct cpu_result r;

			start((enum pt_mode_id)m, 1, SHADOW_OPT_ALL);
			if (m == PT_MODE_PAE)
				put(0, 3, at(6, PTE_P));
			put(m == PT_MODE_PAE ? 6 : 0, last, at(5, AS_TABLE));
			put(5, last, in_hole ? hole(3, AS_LEAF) : at(9, AS_LEAF));
			put(3, 0, 0);
			CHECK_EQ(load_cr3(vc(0), 0), HV_OK);
			cpu_access(vc(0), &a, &r);
			CHECK_EQ(r.end, CPU_FAULT);
			CHECK_EQ(r.error, PF_W);
			CHECK_EQ(r.cr2, 0);
			put(3, 0, at(10, AS_LEAF));
			cpu_access(vc(0), &a, &r);
			CHECK_EQ(r.end, CPU_DONE);
			CHECK_EQ(r.emulated, in_hole);
			CHECK_EQ(word(10, 0), value >> 32);
			put(3, 0, at(3, AS_LEAF)); // a table behind the end
			a.unknown = true;
			a.data[0] = 0;
			ram_take();
			cpu_access(vc(0), &a, &r);
			stepped(r);
			memset(guest_ram + page(3), 0, 4);
			if (!in_hole)
				memset(guest_ram + page(10) - 4, 0, 4);
			same();
			FINISH();
		}
}

// ---- under the hood -----------------------------------------------------------------------------------------------

static void refused_validate(void) { shadow_validate_write(dom, fm(5), 0, 8); }

// One step by hand: what is granted, that everything is as before afterwards, that nothing else may run.
TEST(grants_are_taken_back_exactly)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++) {
		u32 error = PF_P | PF_W;

		start((enum pt_mode_id)m, 2, 0);
		CHECK(reads(vc(0), page(3)));
		CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE); // leaves what nobody can decode
		spte_t before = spte_at(vc(0), page(3), 0);
		u32 references = page_references(fm(3)), writable = page_writable_count(fm(3));

		CHECK_EQ(fault(vc(0), page(3), &error), FAULT_STEP);
		CHECK(shadow_stepping(dom));
		CHECK_EQ(spte_at(vc(0), page(3), 0).v, before.v | PTE_W | PTE_D);
		CHECK_EQ(page_references(fm(3)), references);
		CHECK_EQ(page_writable_count(fm(3)), writable);
		CHECK_EQ(vcpu_enter(vc(0)), HV_OK);
		CHECK(fixture_fatal(refused_validate));
		error = 0;
		CHECK_EQ(fault(vc(0), page(16), &error), FAULT_STEP); // a hole, read
		spte_t scratch = spte_at(vc(0), page(16), 0);

		CHECK((scratch.v & (PTE_P | PTE_W)) == PTE_P && host_frame_owned(spte_mfn(scratch)));
		CHECK_EQ(spte_at(vc(0), page(3), 0).v, before.v | PTE_W | PTE_D);
		error = PF_P | PF_W;
		CHECK_EQ(fault(vc(0), page(16), &error), FAULT_STEP); // and written
		CHECK_EQ(spte_at(vc(0), page(16), 0).v, scratch.v | PTE_W | PTE_D);
		vcpu_step_done(vc(0));
		CHECK_EQ(spte_at(vc(0), page(3), 0).v, before.v);
		CHECK_EQ(spte_at(vc(0), page(16), 0).v, 0);
		CLEAN();
		vcpu_step_done(vc(0)); // without one: nothing
		vcpu_step_done(vc(1));
		CLEAN();
		FINISH();
	}
}

// Upper entries are shared by pages: what was granted last goes first.
TEST(shared_upper_entries_come_back)
{
	u32 error = PF_P | PF_W;

	start(PT_MODE_64, 1, 0);
	put(1, 0, at(2, AS_TABLE & ~PTE_W));
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
	CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE);
	for (u32 i = 8; i < 12; i++) {
		error = PF_P | PF_W;
		CHECK_EQ(fault(vc(0), page(i), &error), FAULT_STEP);
	}
	CHECK(spte_at(vc(0), page(8), 2).v & PTE_W);
	CHECK(spte_at(vc(0), page(11), 0).v & PTE_W);
	vcpu_step_done(vc(0));
	CHECK(!(spte_at(vc(0), page(8), 2).v & PTE_W));
	for (u32 i = 8; i < 12; i++)
		CHECK_EQ(spte_at(vc(0), page(i), 0).v & PTE_ADDR, mfn_mpa(fm(i)).a);
	CLEAN();
	FINISH();
}

TEST(code_in_a_hole_ends_a_step)
{
	u32 error = PF_P | PF_W;

	start(PT_MODE_64, 1, SHADOW_OPT_ALL);
	CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE);
	CHECK_EQ(fault(vc(0), page(3), &error), FAULT_STEP);
	error = PF_I;
	CHECK_EQ(fault(vc(0), page(9), &error), FAULT_STEP); // ordinary code belongs to the instruction
	CHECK(shadow_stepping(dom));
	error = PF_I;
	CHECK_EQ(fault(vc(0), page(16), &error), FAULT_INJECT_GP);
	CLEAN();
	FINISH();
}

TEST(an_instruction_that_never_ends_kills)
{
	u32 error = 0;

	start(PT_MODE_64, 1, SHADOW_OPT_ALL);
	for (u32 i = 18; i < 18 + SHADOW_STEP_PAGES; i++)
		put(3, i, hole(i, AS_LEAF));
	CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE);
	for (u32 i = 0; i < SHADOW_STEP_PAGES; i++) {
		error = 0;
		CHECK_EQ(fault(vc(0), page(16 + i), &error), FAULT_STEP);
	}
	error = 0;
	CHECK_EQ(fault(vc(0), page(9), &error), FAULT_DEAD);
	CHECK_STR(dom->death, "an instruction touches too many pages");
	CHECK(!shadow_stepping(dom));
	FINISH();
	start(PT_MODE_64, 1, 0);
	CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE);
	for (u32 i = 0; i < 32; i++) {
		error = PF_P | PF_W;
		CHECK_EQ(fault(vc(0), page(3), &error), FAULT_STEP);
	}
	error = PF_P | PF_W;
	CHECK_EQ(fault(vc(0), page(3), &error), FAULT_DEAD);
	CHECK_STR(dom->death, "one instruction faults for ever");
	FINISH();
}

// Whatever fails inside: the instruction is done, or the domain dies and says why. The smallest pool is enough without.
TEST(rule_43_failures_and_pressure_inside_a_step)
{
	for (u32 m = 0; m < PT_MODE_COUNT; m++)
		for (u32 nth = 0; nth < 15; nth++) {
			u64 value = PATTERN;

			start((enum pt_mode_id)m, 1, SHADOW_OPT_ALL);
			put(3, 15, at(3, AS_LEAF));
			ram_take();
			host_arm_failure(nth);
			struct cpu_result r = unknown(CPU_WRITE, page(16) - 4, 8, 0, value);

			host_arm_failure(0);
			if (r.end == CPU_DEAD) {
				CHECK(nth);
				CHECK_STR(dom->death, "out of shadow memory");
			} else {
				stepped(r);
				memcpy(guest_ram + page(4) - 4, &value, 4);
				same();
			}
			CHECK(!shadow_stepping(dom));
			FINISH();
		}
}

// Four pages, each below a level-3 table of its own, with a pool that cannot hold all the chains and more.
TEST(rule_43_distant_pages_with_the_smallest_pool)
{
	u32 error;

	start(PT_MODE_64, 4, SHADOW_OPT_ALL & ~SHADOW_OPT_PREFETCH);
	CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
	for (u32 i = 0; i < 4; i++)
		put(0, 1 + i, at(1, AS_TABLE)); // the same tables at other addresses
	put(3, 16, at(3, AS_LEAF));
	CHECK(go(vc(0), CPU_FETCH, page(9), 1, 0, 0).end == CPU_DONE);
	for (u32 i = 0; i < 4; i++) {
		error = PF_W;
		CHECK_EQ(fault(vc(0), ((u64)i << 39) + page(i), &error), FAULT_STEP);
	}
	for (u32 i = 0; i < 4; i++)
		CHECK(spte_at(vc(0), ((u64)i << 39) + page(i), 0).v & PTE_W);
	vcpu_step_done(vc(0));
	CLEAN();
	FINISH();
}

// A root that is written through itself while another vcpu runs on it.
TEST(rule_42_other_processors_lose_what_they_saw_of_it)
{
	const struct tlb_entry *first;

	start(PT_MODE_64, 2, SHADOW_OPT_ALL);
	CHECK(writes(vc(1), page(9), 1));
	CHECK(tlb_pages(1, &first));
	stepped(unknown(CPU_WRITE, page(2), 8, 0, at(3, AS_TABLE & ~PTE_W)));
	CHECK_EQ(tlb_pages(1, &first), 0);
	CHECK_EQ(go(vc(1), CPU_WRITE, page(9), 8, 0, 1).error, PF_P | PF_W);
	host_set_cpu(0);
	FINISH();
}

TEST(a_detached_root_is_stepped_on_as_well)
{
	start(PT_MODE_64, 1, SHADOW_OPT_ALL);
	shadow_remove_all(dom, fm(0));
	CHECK(shadow_root_is_detached(vc(0)));
	stepped(unknown(CPU_WRITE, page(3) + 0x800, 8, 0, PATTERN));
	CHECK_EQ(word(3, 0x100), PATTERN);
	struct cpu_result r = unknown(CPU_WRITE, page(0) + 0x800, 8, 0, PATTERN); // it is no table now

	CHECK(r.end == CPU_DONE && !r.stepped);
	CLEAN();
	FINISH();
}

// Unpaged guests: everything but RAM is a hole.
TEST(unpaged_guests_step_in_holes)
{
	CHECK(fixture_start(1, 0, SHADOW_OPT_ALL));
	struct cpu_result r = unknown(CPU_RMW, 0x1000, 4, 0, 5);

	stepped(r);
	CHECK_EQ(r.value[0], HOLE_WORD);
	CLEAN();
	FINISH();
}

static void unmap_3(void *context)
{
	(void)context;
	CHECK_EQ(go(vc(1), CPU_WRITE, page(3) + 8 * 3, 8, 0, 0).end, CPU_DONE);
}

// Between the fault and the step another vcpu takes the page away.
TEST(a_step_starts_from_the_tables_as_they_are_then)
{
	for (u32 yield = 1; yield <= 2; yield++) {
		start(PT_MODE_64, 2, SHADOW_OPT_ALL);
		host_arm_race(yield, unmap_3, NULL);
		struct cpu_result r = unknown(CPU_WRITE, page(3) + 0x800, 8, 0, PATTERN);

		host_arm_race(0, NULL, NULL);
		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_W);
		CHECK_EQ(r.cr2, page(3) + 0x800);
		CLEAN();
		FINISH();
	}
}
