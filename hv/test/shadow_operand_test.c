// SPDX-License-Identifier: GPL-2.0-or-later
// Operands of emulated instructions beside plain stores: read, compute and write, sixteen bytes, alignment; which access of
// an instruction faults, and how. All guest RAM is compared with an array to which the same was done. D11, D23; rule 45.
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

// ---- read, compute, write ------------------------------------------------------------------------------------

// What the operations do, written down once more.
static u64 computed(enum insn_alu alu, u64 old, u64 operand)
{
	switch (alu) {
	case ALU_AND: return old & operand;
	case ALU_OR: return old | operand;
	case ALU_XOR: return old ^ operand;
	case ALU_ADD: return old + operand;
	case ALU_SUB: return old - operand;
	case ALU_BTS: return old | UINT64_C(1) << operand;
	case ALU_BTR: return old & ~(UINT64_C(1) << operand);
	case ALU_BTC: return old ^ UINT64_C(1) << operand;
	default: return operand;
	}
}

static struct cpu_result rmw(u64 va, u32 bytes, enum insn_alu alu, u64 operand)
{
	struct cpu_access a = { .kind = CPU_RMW, .va = va, .bytes = (u8)bytes, .alu = (u8)alu, .data = { operand } };
	struct cpu_result r;

	cpu_access(vc(0), &a, &r);
	return r;
}

static void rmw_is_right(u64 va, u32 bytes, enum insn_alu alu)
{
	u64 operand = alu >= ALU_BTS ? 8 * bytes - 3 : PATTERN, old = 0, new;

	ram_take();
	memcpy(&old, guest_ram + va, bytes);
	new = computed(alu, old, operand);
	struct cpu_result r = rmw(va, bytes, alu, operand);

	CHECK(r.end == CPU_DONE && r.emulated);
	CHECK_EQ(r.value[0], old);
	CHECK_EQ(r.value[1], 0);
	memcpy(guest_ram + va, &new, bytes);
	same();
}

TEST(read_compute_write_of_all_kinds_sizes_and_places)
{
	static const u32 tables[] = { 5, 3, 2 };

	for (u32 t = 0; t < ARRAY_LEN(tables); t++)
		for (u32 alu = ALU_XCHG; alu <= ALU_BTC; alu++) {
			start(1, alu & 1 ? SHADOW_OPT_ALL & ~SHADOW_OPT_EARLY : 0);
			CHECK(reads(vc(0), page(9)));
			poke(5, 0x20, 0xfedcba9876543210);
			poke(5, 0x21, 0x0123456789abcdef);
			for (u32 s = 0; s < ARRAY_LEN(sizes) && !test_failures; s++)
				for (u32 offset = 0x100; offset < 0x108; offset++)
					rmw_is_right(page(tables[t]) + offset, sizes[s], (enum insn_alu)alu);
			FINISH();
			if (test_failures)
				return;
		}
}

TEST(read_compute_write_over_two_pages)
{
	static const u32 first[] = { 4, 5, 2, 1 }; // plain+table, table+plain, table+table twice

	for (u32 f = 0; f < ARRAY_LEN(first); f++)
		for (u32 s = 1; s < ARRAY_LEN(sizes); s++)
			for (u32 before = 1; before < sizes[s]; before++) {
				start(1, SHADOW_OPT_ALL);
				rmw_is_right(page(first[f] + 1) - before, sizes[s], ALU_XOR);
				FINISH();
				if (test_failures)
					return;
			}
}

// The load comes first, over both pages: its fault says read and sets no D anywhere. Then the store.
TEST(the_load_of_both_pages_comes_before_the_store)
{
	u64 clean = at(5, AS_LEAF & ~(PTE_A | PTE_D));

	for (u32 emulated = 0; emulated < 2; emulated++) {
		u32 n = emulated ? 5 : 7; // f5 is a table, f7 is not
		u64 va = page(n + 1) - 4;

		start(1, 0);
		clean = at(n, AS_LEAF & ~(PTE_A | PTE_D));
		poke(3, n, clean);
		poke(3, n + 1, 0);
		struct cpu_result r = rmw(va, 8, ALU_ADD, 1);

		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, 0);
		CHECK_EQ(r.cr2, page(n + 1));
		CHECK_EQ(word(3, n), clean | PTE_A);
		poke(3, n + 1, at(9, AS_LEAF & ~(PTE_W | PTE_A | PTE_D)));
		ram_take();
		r = rmw(va, 8, ALU_ADD, 1);
		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_P | PF_W);
		CHECK_EQ(r.cr2, page(n + 1));
		CHECK_EQ(word(3, n), clean | PTE_A | PTE_D);
		CHECK_EQ(word(3, n + 1) & (PTE_A | PTE_D), PTE_A); // read, not written
		FINISH();
	}
}

TEST(the_core_keeps_that_order)
{
	start(1, 0);
	poke(3, 17, hole(0, AS_LEAF & ~(PTE_A | PTE_D)));
	poke(3, 18, 0);
	struct cpu_result r = rmw(page(18) - 4, 8, ALU_ADD, 1); // the hole brings the core in, the page behind it is absent

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, 0);
	CHECK_EQ(r.cr2, page(18));
	CHECK_EQ(word(3, 17), hole(0, AS_LEAF & ~PTE_D));
	FINISH();
}

TEST(every_page_is_translated_with_the_rights_of_the_instruction)
{
	start(1, 0);
	poke(3, 17, hole(0, AS_LEAF));
	poke(3, 18, at(9, AS_LEAF & ~PTE_U));
	struct cpu_result r = go(vc(0), CPU_WRITE, page(18) - 4, 8, 3, PATTERN);

	CHECK_EQ(r.end, CPU_FAULT);
	CHECK_EQ(r.error, PF_P | PF_W | PF_U);
	CHECK_EQ(r.cr2, page(18));
	CHECK_EQ(go(vc(0), CPU_WRITE, page(18) - 4, 8, 0, PATTERN).end, CPU_DONE);
	FINISH();
}

TEST(in_a_hole_the_load_is_what_faults_and_the_store_needs_w)
{
	for (u32 fast = 0; fast < 2; fast++) {
		start(1, fast ? SHADOW_OPT_ALL : 0);
		for (u32 again = 0; again < 2; again++) {
			struct cpu_result r = rmw(page(17) + 8, 8, ALU_OR, 5);

			CHECK(r.end == CPU_DONE && r.emulated && r.value[0] == HOLE_WORD);
		}
		poke(3, 17, hole(0, AS_LEAF & ~(PTE_W | PTE_D)));
		struct cpu_result r = rmw(page(17) + 8, 8, ALU_OR, 5);

		CHECK_EQ(r.end, CPU_FAULT);
		CHECK_EQ(r.error, PF_P | PF_W);
		CHECK_EQ(word(3, 17), hole(0, AS_LEAF & ~(PTE_W | PTE_D)));
		poke(3, 17, hole(0, AS_LEAF));
		poke(3, 16, at(5, AS_LEAF)); // a table before the hole
		ram_take();
		r = rmw(page(17) - 3, 8, ALU_XCHG, PATTERN);
		CHECK(r.end == CPU_DONE && r.emulated);
		CHECK_EQ(r.value[0], 0);
		u64 value = PATTERN;

		memcpy(guest_ram + page(6) - 3, &value, 3);
		same();
		FINISH();
	}
}

TEST(zeroes_by_computation_count_as_zeroes)
{
	start(1, SHADOW_OPT_EARLY);
	poke(5, 0x20, 0x40);
	poke(5, 0x22, 0x40);
	CHECK_EQ(rmw(page(5) + 0x110, 8, ALU_OR, 0).end, CPU_DONE); // what is written is no zero
	CHECK_EQ(rmw(page(5) + 0x110, 8, ALU_OR, 0).end, CPU_DONE);
	CHECK(page_is_table(fm(5)));
	CHECK_EQ(rmw(page(5) + 0x100, 8, ALU_SUB, 0x40).end, CPU_DONE);
	CHECK(page_is_table(fm(5)));
	CHECK_EQ(rmw(page(5) + 0x108, 4, ALU_XCHG, 0).end, CPU_DONE);
	CHECK(!page_is_table(fm(5)));
	CHECK_EQ(dom->shadow.stats.early_unshadows, 1);
	FINISH();
}

// ---- sixteen bytes ---------------------------------------------------------------------------------------

TEST(sixteen_bytes_are_stored_anywhere)
{
	static const u32 tables[] = { 5, 3, 2 }; // and what lies before them

	for (u32 t = 0; t < ARRAY_LEN(tables); t++)
		for (u32 offset = 0; offset < 32 && !test_failures; offset++) {
			u64 data[2] = { PATTERN, at(9, AS_LEAF) };
			struct cpu_access a = { .kind = CPU_WRITE, .va = page(tables[t]) - 16 + offset, .bytes = 16,
						.data = { data[0], data[1] } };
			struct cpu_result r;

			start(1, t ? SHADOW_OPT_ALL : 0);
			ram_take();
			cpu_access(vc(0), &a, &r);
			CHECK_EQ(r.end, CPU_DONE);
			CHECK(r.emulated || !offset);
			memcpy(guest_ram + a.va, data, 16);
			same();
			FINISH();
		}
}

static void a_misaligned_instruction(void *context)
{
	(void)context;
	CHECK_EQ(go_pair(vc(0), page(9) + 8, 16, 0, 0, 0, 0).vector, 13);
}

// The processor refuses it by itself: this one has been put there by somebody else after the fault.
TEST(the_core_refuses_misaligned_operands)
{
	start(2, 0);
	ram_take();
	host_arm_race(2, a_misaligned_instruction, NULL);
	struct cpu_result r = go(vc(0), CPU_WRITE, page(5) + 0x100, 8, 0, PATTERN);

	host_arm_race(0, NULL, NULL);
	CHECK(r.end == CPU_FAULT && r.vector == 13 && !r.error);
	same();
	FINISH();
}
