// SPDX-License-Identifier: GPL-2.0-or-later
// The shortcuts around emulated stores (spec A.14, 7 to 9; A.19): what each one saves, when it must not be taken, and that
// none of them shows. Rules 30, 33, 45, 47.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PATTERN UINT64_C(0x8877665544332211)

// f5 is a shadowed table that no access to the first 2 MiB goes through; page 16 is f5 again, 17 a hole.
static void start(u32 vcpus, u32 opts)
{
	CHECK(fixture_paged(vcpus, 64, opts));
	poke(3, 16, at(5, AS_LEAF));
	poke(3, 17, hole(0, AS_LEAF));
	poke(5, 1, at(9, AS_LEAF));
	poke(2, 1, at(5, AS_TABLE));
	CHECK(reads(vc(0), OTHER + page(1)));
	CHECK(page_is_table(fm(5)));
}

// Entries that the core looks at while fn runs.
static u64 visits(struct cpu_result (*fn)(void))
{
	u64 before = dom->shadow.stats.visits;
	struct cpu_result r = fn();

	CHECK(r.end == CPU_DONE && r.emulated);
	return dom->shadow.stats.visits - before;
}

// ---- skip_verify: an entry that was and is not present -----------------------------------------------------------

static struct cpu_result store_at(u64 offset, u32 bytes, u64 value)
{
	return go(vc(0), CPU_WRITE, page(5) + offset, bytes, 0, value);
}
static struct cpu_result absent(void) { return store_at(0x100, 8, 2); }
static struct cpu_result becomes_present(void) { return store_at(0x108, 8, at(9, AS_LEAF)); }
static struct cpu_result changes(void) { return store_at(0x108, 8, at(10, AS_LEAF)); }
static struct cpu_result becomes_absent(void) { return store_at(0x108, 8, 0); }
static struct cpu_result low_half(void) { return store_at(0x110, 4, 2); }
static struct cpu_result high_half(void) { return store_at(0x114, 4, 2); }
static struct cpu_result two_entries(void) { return store_at(0x124, 8, 2); }

// With magic entries a store that was looked at leaves a mark: "not present".
TEST(only_whole_absent_entries_are_not_looked_at)
{
	static const struct { struct cpu_result (*run)(void); u32 index; } stores[] = {
		{ absent, 0x20 }, { becomes_absent, 0x21 }, { low_half, 0x22 }, { high_half, 0x22 }, { two_entries, 0x24 },
		{ two_entries, 0x25 },
	};

	for (u32 on = 0; on < 2; on++)
		for (u32 i = 0; i < ARRAY_LEN(stores); i++) {
			start(1, SHADOW_OPT_FAST | (on ? SHADOW_OPT_SKIP_VERIFY : 0));
			mfn_t l1 = shadow_of(5, SHADOW_L1_64);

			CHECK(becomes_present().emulated);
			CHECK(changes().emulated);
			CHECK_EQ(spte_mfn(shadow_read(dom, l1, 0x21)).n, fm(10).n);
			CHECK(stores[i].run().emulated);
			CHECK_EQ(spte_is_gnp(shadow_read(dom, l1, stores[i].index)), !on || i);
			HEALTHY();
			CHECK(stores[i].run().emulated); // the mark stays right
			FINISH();
		}
	start(1, SHADOW_OPT_SKIP_VERIFY);
	for (u32 i = 0; i < ARRAY_LEN(stores); i++)
		CHECK(stores[i].run().emulated);
	FINISH();
}

// A frame that is a 4-byte table for one vcpu and an 8-byte table for another: no store is one entry of both.
TEST(frames_of_two_widths_are_always_looked_at)
{
	start(2, SHADOW_OPT_SKIP_VERIFY | SHADOW_OPT_FAST);
	host_set_cpu(1);
	CHECK_EQ(vcpu_write_cr0(vc(1), CR0_PE), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(1), 0), HV_OK);
	CHECK_EQ(vcpu_write_cr4(vc(1), CR4_PSE), HV_OK);
	poke(7, 0, at(5, AS_TABLE)); // f7 is a page directory: entry 0 is f5, so that its 4-byte entry 2 maps page 2
	CHECK_EQ(vcpu_write_cr3(vc(1), at(7, 0)), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(1), CR0_PE | CR0_PG | CR0_WP), HV_OK);
	CHECK_EQ(go(vc(1), CPU_READ, page(2), 4, 0, 0).end, CPU_DONE);
	CHECK(reads(vc(0), OTHER + page(1)));
	CHECK_EQ(page_of(fm(5))->shadow_flags, BIT(SHADOW_L1_32) | BIT(SHADOW_L1_64));
	CHECK(store_at(0x100, 8, 0).emulated); // entry 0x20 of one, 0x40 and 0x41 of the other
	CHECK(spte_is_gnp(shadow_read(dom, shadow_of(5, SHADOW_L1_64), 0x20)));
	CHECK(spte_is_gnp(shadow_read(dom, shadow_of(5, SHADOW_L1_32), 0x40)));
	CHECK(spte_is_gnp(shadow_read(dom, shadow_of(5, SHADOW_L1_32), 0x41)));
	// 8 bytes whose lowest bit stays clear, and a 4-byte entry in the middle appears.
	CHECK(store_at(0x100, 8, at(9, AS_LEAF) << 32).emulated);
	CHECK_EQ(go(vc(1), CPU_READ, page(0x41), 4, 0, 0).end, CPU_DONE);
	HEALTHY();
	CHECK(store_at(0x100, 8, 0).emulated);
	CHECK_EQ(go(vc(1), CPU_READ, page(0x41), 4, 0, 0).end, CPU_FAULT);
	host_set_cpu(0);
	FINISH();
}

// ---- fast_emulate: where the last one went ---------------------------------------------------------------------

static struct cpu_result first_store(void) { return store_at(0x300, 8, at(9, AS_LEAF)); }
static struct cpu_result next_store(void) { return store_at(0x308, 8, at(9, AS_LEAF)); }

TEST(the_second_store_needs_no_chain_of_shadows)
{
	for (u32 on = 0; on < 2; on++) {
		start(1, on ? SHADOW_OPT_FAST_EMULATE : 0);
		u64 first = visits(first_store), next = visits(next_store); // the first one finds nothing mapped

		CHECK(2 * next < first);
		HEALTHY();
		CHECK(writes(vc(0), OTHER + page(0x61), 0x77));
		CHECK_EQ(word(9, 0), 0x77);
		FINISH();
	}
}

// Each of these comes between two stores of the row, or at the point where the second is fetched.
static void nothing(void *context) { (void)context; }
static void remap_5(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 5, at(8, AS_LEAF))); }
static void unmap_5(void *context) { (void)context; CHECK(writes(vc(1), page(3) + 8 * 5, 0)); }
static void protect_5(void *context)
{
	(void)context;
	CHECK(writes(vc(1), page(3) + 8 * 5, at(5, AS_LEAF & ~PTE_W)));
}
static void clean_5(void *context)
{
	(void)context;
	CHECK(writes(vc(1), page(3) + 8 * 5, at(5, AS_LEAF & ~(PTE_D | PTE_A))));
}
static void unmap_above(void *context) { (void)context; CHECK(writes(vc(1), page(2), 0)); }
static void move_above(void *context)
{
	(void)context;
	poke(6, 5, at(8, AS_LEAF));
	poke(2, 0, at(6, AS_TABLE));
}
// Other frames behind the same entries, while f5 stays a table by another way.
static void swap_above(void *context)
{
	(void)context;
	poke(10, 1, at(5, AS_TABLE));
	poke(1, 1, at(10, AS_TABLE));
	CHECK(reads(vc(1), BIT(30) + OTHER + page(1)));
	poke(7, 5, at(8, AS_LEAF));
	poke(6, 0, at(7, AS_TABLE));
	poke(6, 1, at(5, AS_TABLE));
	CHECK_EQ(physmap_swap(dom, fg(2), fg(6)), HV_OK);
}
static void unshadow_5(void *context) { (void)context; shadow_remove_all(dom, fm(5)); }
static void blow(void *context) { (void)context; shadow_blow_tables(dom); }
static void remove_5(void *context) { (void)context; CHECK_EQ(physmap_remove(dom, fg(5)), HV_OK); }
static void swap_5(void *context) { (void)context; CHECK_EQ(physmap_swap(dom, fg(5), fg(8)), HV_OK); }

static const struct between {
	void (*run)(void *context);
	u32 ends, error; // in what the second store ends
	u32 frame;       // that it goes to, as f5 was named then
} betweens[] = {
	{ nothing, CPU_DONE, 0, 5 },        { remap_5, CPU_DONE, 0, 8 },
	{ unmap_5, CPU_FAULT, PF_W, 0 },    { protect_5, CPU_FAULT, PF_P | PF_W, 0 },
	{ clean_5, CPU_DONE, 0, 5 },        { unmap_above, CPU_FAULT, PF_W, 0 },
	{ move_above, CPU_DONE, 0, 8 },     { unshadow_5, CPU_DONE, 0, 5 },
	{ swap_above, CPU_DONE, 0, 8 },
	{ blow, CPU_DONE, 0, 5 },           { remove_5, CPU_DONE, 0, 0 },
	{ swap_5, CPU_DONE, 0, 5 },
};

// The rights of a cached read-only translation make the fault look like that of the row; what it leads to is up to the
// tables as they are.
TEST(whatever_changes_between_two_stores_counts)
{
	for (u32 opts = 0; opts < 2; opts++)
		for (u32 inside = 0; inside < 2; inside++)
			for (u32 i = 0; i < ARRAY_LEN(betweens); i++) {
				const struct between *b = &betweens[i];
				struct cpu_access a = { .kind = CPU_WRITE, .va = page(5) + 0x308, .bytes = 8,
							.pick = TLB_SPURIOUS, .data = { PATTERN } };
				struct cpu_result r;

				start(2, opts ? SHADOW_OPT_ALL : SHADOW_OPT_FAST_EMULATE);
				CHECK(first_store().emulated);
				if (inside) // the point where the fault of the row fetches its instruction
					host_arm_race(1, b->run, NULL);
				else
					b->run(NULL);
				host_set_cpu(0);
				cpu_access(vc(0), &a, &r);
				host_arm_race(0, NULL, NULL);
				if (!CHECK_EQ(r.end, b->ends))
					printf("case %u, inside %u\n", i, inside);
				if (r.end == CPU_FAULT) {
					CHECK_EQ(r.error, b->error);
					CHECK_EQ(r.cr2, page(5) + 0x308);
				} else if (b->frame) {
					CHECK_EQ(word(b->frame, 0x61), PATTERN);
				}
				if (b->run == clean_5)
					CHECK_EQ(word(3, 5), at(5, AS_LEAF));
				FINISH();
				if (test_failures)
					return;
			}
}

TEST(control_bits_of_the_moment_count)
{
	start(1, SHADOW_OPT_FAST_EMULATE);
	poke(3, 5, at(5, AS_LEAF & ~(PTE_W | PTE_U)));
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
	CHECK(first_store().emulated);
	CHECK(next_store().emulated);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG | CR0_WP), HV_OK);
	CHECK_EQ(next_store().error, PF_P | PF_W);
	poke(3, 5, at(5, AS_LEAF));
	CHECK(first_store().emulated);
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE | CR4_SMAP), HV_OK);
	CHECK_EQ(next_store().error, PF_P | PF_W);
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(5) + 0x308, .bytes = 8, .ac = true, .data = { PATTERN } };
	struct cpu_result r;

	cpu_access(vc(0), &a, &r);
	CHECK(r.end == CPU_DONE && r.emulated);
	a.ac = false;
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.error, PF_P | PF_W);
	CHECK_EQ(go(vc(0), CPU_WRITE, page(5) + 0x308, 8, 3, 1).end, CPU_DONE); // users: the frame is taken for no table
	CHECK(!page_is_table(fm(5)));
	FINISH();
}

// PDPTEs are no part of any table that is looked at: those latched when CR3 was loaded count.
TEST(latched_pdptes_of_the_moment_count)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(5) + 0x308, .bytes = 8, .pick = TLB_SPURIOUS,
				.data = { PATTERN } };
	struct cpu_result r;

	CHECK(fixture_start(1, 64, SHADOW_OPT_FAST_EMULATE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(3, i, at(i, AS_LEAF));
	poke(4, 0, at(2, PTE_P));    // PDPTE 0 -> f2 -> f3: page 5 is f5, a table
	poke(2, 0, at(3, AS_TABLE));
	poke(2, 1, at(5, AS_TABLE));
	poke(6, 0, at(7, AS_TABLE)); // f6 -> f7: page 5 is f8
	poke(6, 1, at(5, AS_TABLE));
	poke(7, 5, at(8, AS_LEAF));
	poke(5, 1, at(9, AS_LEAF));
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
	CHECK_EQ(vcpu_write_cr3(vc(0), at(4, 0)), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG | CR0_WP), HV_OK);
	CHECK(reads(vc(0), OTHER + page(1)));
	CHECK(first_store().emulated);
	poke(4, 0, at(6, PTE_P));
	CHECK(next_store().emulated); // not yet
	CHECK_EQ(word(5, 0x61), at(9, AS_LEAF));
	CHECK_EQ(vcpu_write_cr3(vc(0), at(4, 0)), HV_OK);
	CHECK(reads(vc(0), OTHER + page(1)));
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.end, CPU_DONE);
	CHECK_EQ(word(8, 0x61), PATTERN);
	CHECK_EQ(word(5, 0x61), at(9, AS_LEAF));
	FINISH();
}

// Pushes, crossings and unknown instructions go their own ways even in a row.
TEST(other_instructions_break_the_row)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(5) + 0x308, .bytes = 8, .unknown = true };
	struct cpu_result r;

	start(1, SHADOW_OPT_FAST_EMULATE);
	CHECK(first_store().emulated);
	cpu_access(vc(0), &a, &r);
	CHECK(r.end == CPU_DONE && !r.emulated && !page_is_table(fm(5)));
	FINISH();
	start(1, SHADOW_OPT_FAST_EMULATE);
	CHECK(first_store().emulated);
	CHECK(!go(vc(0), CPU_PUSH, page(5) + 0x308, 8, 0, 1).emulated);
	CHECK(!page_is_table(fm(5)));
	FINISH();
	start(1, SHADOW_OPT_FAST_EMULATE);
	CHECK(first_store().emulated);
	CHECK(go(vc(0), CPU_WRITE, page(6) - 3, 8, 0, PATTERN).emulated);
	CHECK_EQ(word(6, 0) & 0xffffffffff, PATTERN >> 24);
	FINISH();
}

// ---- again: the instructions that follow ---------------------------------------------------------------------------

// A chain of stores to consecutive entries, 4 bytes each. Nobody follows the last.
static struct cpu_access chain[8];
static struct cpu_result run_chain(u32 count)
{
	struct cpu_result r;

	for (u32 i = 0; i < count; i++)
		chain[i].then = i + 1 < count ? &chain[i + 1] : NULL;
	cpu_access(vc(0), chain, &r);
	return r;
}

static void make_chain(u64 va)
{
	for (u32 i = 0; i < ARRAY_LEN(chain); i++)
		chain[i] = (struct cpu_access){ .kind = CPU_WRITE, .va = va + 4 * i, .bytes = 4, .data = { 0x100 + 2 * i } };
}

static u32 half(u32 n, u32 index) { return ((u32 *)host_frame(fm(n)))[index]; }

TEST(up_to_three_more_stores_are_done_at_once)
{
	for (u32 on = 0; on <= SHADOW_OPT_AGAIN; on += SHADOW_OPT_AGAIN)
		for (u32 count = 1; count <= 6; count++) {
			start(1, on);
			make_chain(page(5) + 0x100);
			struct cpu_result r = run_chain(count);
			u32 done = !on ? 1 : count < 4 ? count : 4;

			CHECK(r.end == CPU_DONE && r.emulated);
			CHECK_EQ(r.done, done);
			CHECK_EQ(dom->shadow.stats.emulated, done);
			for (u32 i = 0; i < 6; i++)
				CHECK_EQ(half(5, 0x40 + i), i < done ? 0x100 + 2 * i : 0);
			FINISH();
		}
}

static u32 done_with(void (*change)(void), u32 opts)
{
	start(1, opts | SHADOW_OPT_AGAIN);
	make_chain(page(5) + 0x100);
	change();
	struct cpu_result r = run_chain(3);

	CHECK(r.end == CPU_DONE && r.emulated);
	for (u32 i = 0; i < 3; i++)
		CHECK(i < r.done || chain[i].kind != CPU_WRITE || (chain[i].va & 0xfff) < 0x100 ||
		      half(5, (chain[i].va & 0xfff) / 4) != chain[i].data[0]);
	FINISH();
	return r.done;
}

static void unchanged(void) {}
static void second_elsewhere(void) { chain[1].va = page(9) + 0x104; }
static void second_in_another_table(void) { chain[1].va = page(3) + 0x900; }
static void second_at_another_va(void) { chain[1].va = page(16) + 0x104; } // f5 too, but the page differs
static void third_elsewhere(void) { chain[2].va = page(9) + 0x108; }
static void second_crosses(void) { chain[1].va = page(6) - 2; }
static void second_is_a_load(void) { chain[1].kind = CPU_READ; }
static void second_is_a_push(void) { chain[1].kind = CPU_PUSH; }
static void second_is_unknown(void) { chain[1].unknown = true; }
static void second_is_a_users(void) { chain[1].cpl = 3; }
static void second_is_bigger(void) { chain[1].bytes = 16; }
static void first_computes(void)
{
	chain[0].kind = CPU_RMW;
	chain[0].alu = ALU_OR;
}
static void zeroes(void) { chain[0].data[0] = chain[1].data[0] = 0; }

TEST(what_follows_must_be_a_store_to_the_same_page)
{
	CHECK_EQ(done_with(unchanged, 0), 3);
	CHECK_EQ(done_with(second_elsewhere, 0), 1);
	CHECK_EQ(done_with(second_in_another_table, 0), 1);
	CHECK_EQ(done_with(second_at_another_va, 0), 1);
	CHECK_EQ(done_with(third_elsewhere, 0), 2);
	CHECK_EQ(done_with(second_crosses, 0), 1);
	CHECK_EQ(done_with(second_is_a_load, 0), 1);
	CHECK_EQ(done_with(second_is_a_push, 0), 1);
	CHECK_EQ(done_with(second_is_unknown, 0), 1);
	CHECK_EQ(done_with(second_is_a_users, 0), 1);
	CHECK_EQ(done_with(second_is_bigger, 0), 3);
	CHECK_EQ(done_with(first_computes, 0), 3);
	CHECK_EQ(done_with(unchanged, SHADOW_OPT_ALL), 3);
}

// Two zeroes unshadow the frame: what follows is a plain store, for hardware.
TEST(a_frame_that_stops_being_a_table_ends_the_row)
{
	start(1, SHADOW_OPT_AGAIN | SHADOW_OPT_EARLY);
	make_chain(page(5) + 0x100);
	zeroes();
	CHECK_EQ(run_chain(4).done, 2);
	CHECK(!page_is_table(fm(5)));
	CHECK_EQ(dom->shadow.stats.early_unshadows, 1);
	FINISH();
}

// The first store takes away what the second goes through, or another vcpu does meanwhile.
TEST(what_follows_is_translated_afresh)
{
	start(1, SHADOW_OPT_ALL);
	make_chain(page(3) + 8 * 3); // the entry of the very page that is written to
	chain[0].data[0] = 0;
	CHECK_EQ(run_chain(3).done, 1);
	CHECK_EQ(half(3, 7), 0);
	FINISH();
	for (u32 yield = 4; yield <= 5; yield++) {
		start(2, SHADOW_OPT_AGAIN);
		make_chain(page(5) + 0x100);
		host_arm_race(yield, unmap_5, NULL);
		CHECK_EQ(run_chain(3).done, yield - 3);
		host_arm_race(0, NULL, NULL);
		FINISH();
	}
}

TEST(results_of_the_first_instruction_survive_the_others)
{
	start(1, SHADOW_OPT_ALL);
	make_chain(page(5) + 0x100);
	first_computes();
	poke(5, 0x20, 0x40);
	struct cpu_result r = run_chain(4);

	CHECK_EQ(r.done, 4);
	CHECK_EQ(r.value[0], 0x40);
	CHECK_EQ(half(5, 0x40), 0x140);
	chain[0].kind = CPU_CMPXCHG;
	chain[0].expect[0] = 0x140;
	r = run_chain(4);
	CHECK(r.matched && r.value[0] == 0x140 && r.done == 4);
	FINISH();
}

// ---- rule 47: nothing of it shows -----------------------------------------------------------------------------------

static u64 seed;
static u32 random_below(u32 n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (u32)(seed >> 33) % n;
}

// Present, absent, read-only, clean, a hole: what a kernel writes into tables, leaves and, now and then, anything.
static u64 random_entry(void)
{
	static const u64 flags[] = { AS_LEAF, AS_LEAF & ~PTE_W, AS_LEAF & ~(PTE_A | PTE_D), AS_LEAF & ~PTE_U, PTE_P | PTE_A,
				     AS_LEAF | PTE_NX, 0, 2, AS_LEAF | PTE_PS };
	u64 f = flags[random_below(ARRAY_LEN(flags))];

	return random_below(8) ? at(random_below(FIXTURE_FRAMES), f) : random_below(2) ? hole(0, f) : 0;
}

// One random access: rows of stores to few frames, mostly to entries that are in use.
static struct cpu_access random_access(void)
{
	static const u8 kinds[] = { CPU_WRITE, CPU_WRITE, CPU_WRITE, CPU_WRITE, CPU_READ, CPU_RMW, CPU_CMPXCHG, CPU_PUSH };
	static const u8 sizes[] = { 1, 2, 4, 8, 8, 8, 8, 8 };
	struct cpu_access a = { .kind = (enum cpu_kind)kinds[random_below(ARRAY_LEN(kinds))] };
	u64 index = random_below(24), low = random_below(8) ? 0 : random_below(8);

	a.bytes = sizes[random_below(ARRAY_LEN(sizes))];
	a.va = (random_below(4) ? 0 : OTHER) + page(random_below(7) + 2) + index * 8 + low;
	a.cpl = random_below(16) ? 0 : 3;
	a.alu = (u8)random_below(ALU_SUB + 1);
	a.unknown = !random_below(8);
	a.data[0] = random_entry();
	a.expect[0] = random_below(2) ? random_entry() : 0;
	return a;
}

struct seen {
	u32 end, error;
	u64 cr2, value;
	bool matched;
};

// Runs the same accesses with some options. Every access starts with clean TLBs, so that what it sees is the tables.
#define STEPS 120
static void run_random(u64 number, u32 opts, struct seen seen[STEPS], u8 *memory)
{
	seed = number;
	start(1, opts);
	for (u32 i = 0; i < STEPS; i++) {
		struct cpu_access a = random_access(), b = random_access();
		bool row = !random_below(2);
		struct cpu_result r;

		b.kind = CPU_WRITE; // as the second half of an entry would come
		b.va = (a.va & ~UINT64_C(7)) ^ 8;
		b.unknown = false;
		b.cpl = a.cpl;
		a.then = row ? &b : NULL;
		CHECK_EQ(vcpu_write_cr3(vc(0), vc(0)->guest.cr3), HV_OK);
		cpu_access(vc(0), &a, &r);
		seen[i] = (struct seen){ r.end, r.error, r.cr2, r.value[0], r.matched };
		if (r.end == CPU_DONE && row && r.done < 2) {
			CHECK_EQ(vcpu_write_cr3(vc(0), vc(0)->guest.cr3), HV_OK);
			cpu_access(vc(0), &b, &r);
		}
		CHECK(r.end == CPU_DONE || r.end == CPU_FAULT);
		if (!CHECK_STR(fixture_problem(), NULL))
			break;
	}
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		memcpy(memory + i * FRAME_BYTES, host_frame(fm(i)), FRAME_BYTES);
	FINISH();
}

TEST(rule_47_no_option_shows)
{
	static u8 plain[FIXTURE_FRAMES * FRAME_BYTES], memory[FIXTURE_FRAMES * FRAME_BYTES];
	static struct seen expected[STEPS], seen[STEPS];

	for (u64 number = 1; number <= 60 && !test_failures; number++) {
		run_random(number, 0, expected, plain);
		for (u32 k = 0; k < 10; k++) {
			u32 opts = k == 8 ? SHADOW_OPT_ALL : k == 9 ? SHADOW_OPT_ALL & ~SHADOW_OPT_EARLY : (u32)BIT(k);

			run_random(number, opts, seen, memory);
			for (u32 i = 0; i < STEPS; i++)
				if (memcmp(&seen[i], &expected[i], sizeof(seen[i])) && test_fail(__FILE__, __LINE__))
					printf("seed %u, options 0x%x, access %u\n", (u32)number, opts, i);
			if (memcmp(plain, memory, sizeof(plain)) && test_fail(__FILE__, __LINE__))
				printf("seed %u, options 0x%x: memory\n", (u32)number, opts);
		}
	}
}
