// SPDX-License-Identifier: GPL-2.0-or-later
// The host port against what processors do, and each of its checkers against a broken state.
//
//  1. the walk: hand-made tables, every combination of leaf bits, access and control bits
//  2. three-level roots
//  3. the TLB model: what it keeps, what an access picks, rule E1.42
//  4. accesses: load and store apart, sixteen bytes, AC, the ends of the address space
//  5. arena, locks, who slips into a guest, scheduler, injected failures, liveness
//
// link: hv/test/fixture.c
#include "test.h"

#include "../port/host/arena.h"
#include "fixture.h"

// ---- a machine without a core: frames by number, a vcpu whose root is one of them -------------------

static struct domain bare;
static struct vcpu *v = &bare.vcpu[0];

static mfn_t frame(u32 n) { return mfn(HOST_FIRST_MFN + n); }

static u64 entry(u32 n, u64 flags) { return mfn_mpa(frame(n)).a | flags; }

static void set(u32 table, u32 index, u64 value) { host_frame(frame(table))[index] = value; }

static u64 get(u32 table, u32 index) { return host_frame(frame(table))[index]; }

#define ALL (PTE_P | PTE_W | PTE_U)
#define VA UINT64_C(0x7f8080604000) // indices 255, 2, 3, 4
#define L1_INDEX 4

// Frames 1 to 4 are the tables for VA, top first; frame 5 is its page, 6 and 7 are spare.
static void build(void)
{
	mfn_t first;
	u32 count;

	host_reset(7);
	port_frames(&first, &count);
	page_first = first.n;
	page_count = count;
	page_table = port_boot_alloc((size_t)count * sizeof(*page_table));
	for (u32 n = 1; n <= 7; n++) {
		port_frame_allocated(frame(n));
		memset(host_frame(frame(n)), 0, FRAME_BYTES);
		page_of(frame(n))->sh.type = SHADOW_L4_64;
	}
	bare = (struct domain){ .vcpu_count = 1 };
	v->domain = &bare;
	v->shadow.attached = true;
	v->shadow.root[0] = frame(1);
	v->guest = (struct vcpu_control){ .cr0 = CR0_PE | CR0_PG | CR0_WP, .cr4 = CR4_PAE,
					  .efer = EFER_LME | EFER_LMA | EFER_NXE };
	set(1, 255, entry(2, ALL));
	set(2, 2, entry(3, ALL));
	set(3, 3, entry(4, ALL));
	set(4, L1_INDEX, entry(5, ALL));
}

static struct cpu_walk walk(enum cpu_kind kind, u8 cpl)
{
	struct cpu_walk w;

	cpu_walk(v, VA + 8, kind, cpl, true, &w);
	return w;
}

// ---- 1. the walk --------------------------------------------------------------------------------------

TEST(a_read_sets_accessed_on_every_level)
{
	build();
	struct cpu_walk w = walk(CPU_READ, 0);

	CHECK(w.granted);
	CHECK_EQ(w.page.mfn, frame(5).n);
	CHECK_EQ(w.page.va, VA);
	CHECK_EQ(w.table.mfn, frame(4).n);
	CHECK_EQ(w.table.va, VA & ~(BIT(21) - 1));
	CHECK(!w.page.dirty);
	CHECK_EQ(get(1, 255), entry(2, ALL | PTE_A));
	CHECK_EQ(get(2, 2), entry(3, ALL | PTE_A));
	CHECK_EQ(get(3, 3), entry(4, ALL | PTE_A));
	CHECK_EQ(get(4, L1_INDEX), entry(5, ALL | PTE_A));
}

TEST(a_write_sets_dirty_on_the_leaf_alone)
{
	build();
	CHECK(walk(CPU_WRITE, 3).page.dirty);
	CHECK_EQ(get(3, 3), entry(4, ALL | PTE_A));
	CHECK_EQ(get(4, L1_INDEX), entry(5, ALL | PTE_A | PTE_D));
}

TEST(a_walk_that_is_denied_leaves_the_leaf_alone)
{
	build();
	set(4, L1_INDEX, entry(5, PTE_P | PTE_U));
	CHECK(!walk(CPU_WRITE, 3).granted);
	CHECK_EQ(get(4, L1_INDEX), entry(5, PTE_P | PTE_U));
	CHECK_EQ(get(3, 3), entry(4, ALL | PTE_A));
}

// What the manual says of one leaf, in its own words. 0: granted; else the error code plus 1 << 8.
static u32 expected(u64 leaf, enum cpu_kind kind, u8 cpl, bool smep, bool smap)
{
	bool store = kind == CPU_WRITE, fetch = kind == CPU_FETCH, user = cpl == 3;
	u32 error = 0x100 | (store ? 2 : 0) | (user ? 4 : 0) | (fetch ? 16 : 0);

	if (!(leaf & PTE_P))
		return error;
	if (leaf & BIT(40))
		return error | 1 | 8;
	if (user && !(leaf & PTE_U))
		return error | 1;
	if (store && !(leaf & PTE_W))
		return error | 1; // WP is always on
	if (fetch && (leaf & PTE_NX))
		return error | 1;
	if (!user && (leaf & PTE_U) && (fetch ? smep : smap))
		return error | 1;
	return 0;
}

TEST(every_leaf_and_every_access_agree_with_the_manual)
{
	static const u64 bits[5] = { PTE_P, PTE_W, PTE_U, PTE_NX, BIT(40) };
	static const enum cpu_kind kinds[3] = { CPU_READ, CPU_WRITE, CPU_FETCH };

	for (u32 n = 0; n < 32 * 3 * 2 * 4; n++) {
		u64 leaf = 0;
		enum cpu_kind kind = kinds[n / 32 % 3];
		u8 cpl = n / 96 % 2 ? 3 : 0;
		bool smep = n / 192 & 1, smap = n / 192 & 2;

		for (u32 i = 0; i < 5; i++)
			leaf |= n >> i & 1 ? bits[i] : 0;
		build();
		v->guest.cr4 |= (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
		set(4, L1_INDEX, entry(5, leaf));

		struct cpu_walk w = walk(kind, cpl);

		if (!CHECK_EQ(w.granted ? 0 : w.error | 0x100, expected(leaf, kind, cpl, smep, smap)))
			printf("  leaf 0x%llx kind %d cpl %u\n", (unsigned long long)leaf, kind, cpl);
	}
}

TEST(rights_of_all_levels_count)
{
	build();
	set(2, 2, entry(3, PTE_P | PTE_U));
	CHECK(!walk(CPU_WRITE, 3).granted);
	CHECK(!walk(CPU_READ, 0).page.w);
	build();
	set(1, 255, entry(2, PTE_P | PTE_W));
	CHECK_EQ(walk(CPU_READ, 3).error, PF_P | PF_U);
	build();
	set(3, 3, entry(4, ALL | PTE_NX));
	CHECK(!walk(CPU_FETCH, 0).granted);
}

TEST(what_the_core_must_not_build_is_a_finding)
{
	build();
	set(3, 3, entry(900, ALL));
	CHECK(!walk(CPU_READ, 0).granted);
	CHECK_STR(host_finding_rule(), "E1.40 dangling");
	build();
	set(3, 3, entry(4, ALL | PTE_PS));
	CHECK(!walk(CPU_READ, 0).granted);
	CHECK_STR(host_finding_rule(), "E1.32 reserved bits");
	build();
	set(2, 2, entry(3, ALL | BIT(40)));
	CHECK(!walk(CPU_READ, 0).granted);
	CHECK_STR(host_finding_rule(), "E1.32 reserved bits");
}

// ---- 2. three-level roots -----------------------------------------------------------------------------

// Frame 6 holds four PDPTEs, all of them to the level-2 table in frame 3.
static void build_pae(void)
{
	build();
	v->guest = (struct vcpu_control){ .cr0 = CR0_PE };
	v->shadow.roots_pae = frame(6);
	for (u32 i = 0; i < 4; i++)
		set(6, i, entry(3, PTE_P));
}

static struct cpu_walk walk_low(u64 va)
{
	struct cpu_walk w;

	cpu_walk(v, va, CPU_WRITE, 3, true, &w);
	return w;
}

TEST(three_levels_walk_from_the_pdpte_of_the_address)
{
	build_pae();
	for (u64 i = 0; i < 4; i++)
		CHECK(walk_low(i << 30 | (VA & 0x3fffffff)).granted);
	set(6, 2, 0);
	CHECK(walk_low(UINT64_C(1) << 30 | (VA & 0x3fffffff)).granted);
	struct cpu_walk w = walk_low(UINT64_C(2) << 30 | (VA & 0x3fffffff));

	CHECK(!w.granted);
	CHECK_EQ(w.error, PF_W | PF_U);
	set(4, L1_INDEX, entry(5, ALL | BIT(52))); // free for software in long mode only
	CHECK_EQ(walk_low(VA & 0x3fffffff).error, PF_P | PF_W | PF_U | PF_RSVD);
	CHECK(!host_finding_rule());
}

TEST(a_pdpte_that_vmrun_refuses_is_a_finding)
{
	build_pae();
	set(6, 3, entry(3, PTE_P | PTE_W));
	CHECK(!walk_low(0).granted);
	CHECK_STR(host_finding_rule(), "E1.37 l3table");
}

// ---- 3. the TLB model -----------------------------------------------------------------------------------

static struct cpu_result touch(enum cpu_kind kind, enum tlb_pick pick)
{
	struct cpu_access a = { .kind = kind, .va = VA, .bytes = 1, .pick = pick, .data = { 0x55 } };
	struct cpu_result r;

	cpu_access(v, &a, &r);
	return r;
}

TEST(an_access_picks_the_translation_that_it_was_told_to)
{
	build();
	*(u8 *)host_frame(frame(5)) = 5;
	*(u8 *)host_frame(frame(6)) = 6;
	*(u8 *)host_frame(frame(7)) = 7;
	CHECK_EQ(touch(CPU_READ, TLB_FRESH).value[0], 5);
	set(4, L1_INDEX, entry(6, ALL));
	CHECK_EQ(touch(CPU_READ, TLB_FRESH).value[0], 6);
	set(4, L1_INDEX, entry(7, ALL));
	CHECK_EQ(touch(CPU_READ, TLB_NEWEST).value[0], 6);
	CHECK_EQ(touch(CPU_READ, TLB_OLDEST).value[0], 5);
	CHECK(touch(CPU_READ, TLB_OLDEST).from_tlb[0]);
	CHECK_EQ(touch(CPU_READ, TLB_OLDEST).tlb_mfn[0], frame(5).n);
	struct cpu_result fresh = touch(CPU_READ, TLB_FRESH);

	CHECK_EQ(fresh.value[0], 7);
	CHECK(!fresh.from_tlb[0]);
}

TEST(a_store_does_not_use_an_entry_without_dirty)
{
	build();
	touch(CPU_READ, TLB_FRESH);
	CHECK(!touch(CPU_WRITE, TLB_OLDEST).from_tlb[0] || (get(4, L1_INDEX) & PTE_D));
	CHECK(get(4, L1_INDEX) & PTE_D);
	CHECK(touch(CPU_WRITE, TLB_OLDEST).from_tlb[0]);
}

TEST(a_cached_table_is_walked_after_its_parent_has_gone)
{
	build();
	touch(CPU_READ, TLB_FRESH);
	set(3, 3, 0);
	*(u8 *)host_frame(frame(6)) = 6;
	// Another page of the same 2 MiB: no translation of its own, but the table is known.
	set(4, 5, entry(6, ALL));

	struct cpu_access a = { .kind = CPU_READ, .va = VA + FRAME_BYTES, .bytes = 1, .pick = TLB_OLDEST };
	struct cpu_result r;

	cpu_access(v, &a, &r);
	CHECK_EQ(r.end, CPU_DONE);
	CHECK_EQ(r.value[0], 6);
	CHECK(r.from_tlb[0]);
	CHECK(get(4, 5) & PTE_A);
}

static u32 pages(u32 cpu)
{
	const struct tlb_entry *first;

	return tlb_pages(cpu, &first);
}

TEST(only_the_flush_that_covers_it_drops_an_entry)
{
	struct tlb_entry e = { .va = VA, .mfn = 1 }, table = { .va = VA & ~(BIT(21) - 1), .mfn = 2 };
	const struct tlb_entry *first;

	host_reset(1);
	for (u32 cpu = 0; cpu < 3; cpu++) {
		tlb_add_page(cpu, &e);
		tlb_add_table(cpu, &table);
	}
	port_tlb_flush(1u << 1);
	CHECK_EQ(pages(0), 1);
	CHECK_EQ(pages(1), 0);
	CHECK_EQ(tlb_tables(1, &first), 0);
	host_set_cpu(2);
	port_tlb_flush_va(gva(VA + FRAME_BYTES)); // same region, other page
	CHECK_EQ(pages(2), 1);
	CHECK_EQ(tlb_tables(2, &first), 0);
	port_tlb_flush_va(gva(VA + 0xfff));
	CHECK_EQ(pages(2), 0);
	CHECK_EQ(pages(0), 1);
}

TEST(entries_collapse_and_the_oldest_gives_way)
{
	struct tlb_entry e = { .va = 0, .mfn = 1 };
	const struct tlb_entry *first;

	host_reset(1);
	for (u64 i = 0; i < TLB_PAGES_MAX; i++) {
		e.va = i << FRAME_SHIFT;
		tlb_add_page(0, &e);
	}
	e.va = 0;
	tlb_add_page(0, &e); // is there: becomes the newest
	CHECK_EQ(tlb_pages(0, &first), TLB_PAGES_MAX);
	CHECK_EQ(first[0].va, FRAME_BYTES);
	CHECK_EQ(first[TLB_PAGES_MAX - 1].va, 0);
	e.w = true;
	tlb_add_page(0, &e); // differs: pushes the oldest out
	CHECK_EQ(tlb_pages(0, &first), TLB_PAGES_MAX);
	CHECK_EQ(first[0].va, 2 * FRAME_BYTES);
}

TEST(news_are_told_once)
{
	struct tlb_entry e = { .va = VA, .mfn = 1 };

	host_reset(1);
	tlb_add_page(0, &e);
	CHECK(tlb_next_news(0));
	CHECK(!tlb_next_news(0));
	tlb_add_page(0, &e);
	CHECK(!tlb_next_news(0));
	e.u = true;
	tlb_add_page(0, &e);
	CHECK(tlb_next_news(0));
}

static bool forbid_5(mfn_t m) { return mfn_eq(m, frame(5)); }

static bool starts_with(const char *text, const char *head)
{
	return text && strncmp(text, head, strlen(head)) == 0;
}

TEST(rule_42_sees_each_kind_of_hole)
{
	build();
	touch(CPU_READ, TLB_FRESH);
	CHECK(starts_with(tlb_check(0, forbid_5), "E1.42 write hole: a TLB may write"));
	set(4, L1_INDEX, entry(5, PTE_P | PTE_U));
	tlb_drop_all(0);
	touch(CPU_READ, TLB_FRESH);
	CHECK_STR(tlb_check(0, forbid_5), NULL);
	port_frame_freed(frame(5));
	CHECK(starts_with(tlb_check(0, forbid_5), "E1.42 write hole: a TLB reaches a frame that was given up"));
	port_frame_allocated(frame(5));
	CHECK(starts_with(tlb_check(0, forbid_5), "E1.42 write hole: a TLB reaches a frame that has a new owner"));
	tlb_drop_va(0, VA);
	CHECK_STR(tlb_check(0, forbid_5), NULL);
	touch(CPU_READ, TLB_FRESH);
	port_tlb_flush_va(gva(VA));
	set(4, L1_INDEX + 1, entry(6, PTE_P));
	struct cpu_access a = { .kind = CPU_READ, .va = VA + FRAME_BYTES, .bytes = 1 };
	struct cpu_result r;

	cpu_access(v, &a, &r);
	port_frame_freed(frame(4));
	CHECK_STR(tlb_check(0, forbid_5), NULL); // a freed table is intact until it has a new owner
	port_frame_allocated(frame(4));
	CHECK(starts_with(tlb_check(0, forbid_5), "E1.42 write hole: a TLB walks"));
}

// ---- 4. accesses -----------------------------------------------------------------------------------------

static struct cpu_result access(struct cpu_access a)
{
	struct cpu_result r;

	cpu_access(v, &a, &r);
	return r;
}

// What reads first may read through a stale entry and write through a fresh one, and says so for each.
TEST(the_load_and_the_store_are_translated_apart)
{
	struct cpu_access a = { .kind = CPU_RMW, .va = VA, .bytes = 8, .alu = ALU_ADD, .pick = TLB_OLDEST, .data = { 3 } };

	build();
	set(5, 0, 100);
	set(6, 0, 200);
	touch(CPU_READ, TLB_FRESH);
	set(4, L1_INDEX, entry(6, ALL));
	struct cpu_result r = access(a);

	CHECK(r.end == CPU_DONE && !r.emulated && r.done == 1);
	CHECK_EQ(r.value[0], 100);
	CHECK_EQ(get(5, 0), 100);
	CHECK_EQ(get(6, 0), 103);
	CHECK(r.from_tlb[0] && r.tlb_mfn[0] == frame(5).n);
	CHECK(r.from_tlb[2] && r.tlb_mfn[2] == frame(6).n); // from a table that was known
	CHECK(!r.from_tlb[1] && !r.from_tlb[3]);
	a.pick = TLB_FRESH;
	r = access(a);
	CHECK(r.value[0] == 103 && get(6, 0) == 106);
	CHECK(!r.from_tlb[0] && !r.from_tlb[2]);
	CHECK_EQ(r.tlb_mfn[2], frame(6).n);
}

TEST(a_compare_that_fails_writes_the_old_value_back)
{
	struct cpu_access a = { .kind = CPU_CMPXCHG, .va = VA + 8, .bytes = 8, .data = { 7 }, .expect = { 1 } };

	build();
	set(5, 1, 2);
	struct cpu_result r = access(a);

	CHECK(r.end == CPU_DONE && !r.matched && r.value[0] == 2);
	CHECK_EQ(get(5, 1), 2);
	CHECK(get(4, L1_INDEX) & PTE_D);
	set(6, 1, 9);
	a.pick = TLB_OLDEST;
	tlb_drop_va(0, VA); // and remember f5 without D
	set(4, L1_INDEX, entry(5, ALL));
	access((struct cpu_access){ .va = VA, .bytes = 1 });
	set(4, L1_INDEX, entry(6, ALL));
	CHECK(!access(a).matched);
	CHECK_EQ(get(6, 1), 2); // what was read of the one goes to the other
	a.expect[0] = 2;
	CHECK(access(a).matched);
	CHECK_EQ(get(6, 1), 7);
}

TEST(each_operation_computes_what_its_instruction_does)
{
	static const struct { enum insn_alu alu; u8 before, operand, after; } cases[] = {
		{ ALU_XCHG, 0xa5, 0x55, 0x55 }, { ALU_AND, 0xa5, 0xf0, 0xa0 }, { ALU_OR, 0xa5, 0x0f, 0xaf },
		{ ALU_XOR, 0xa5, 0xff, 0x5a },  { ALU_ADD, 0xa5, 0x60, 0x05 }, { ALU_SUB, 0xa5, 0xa6, 0xff },
		{ ALU_BTS, 0xa4, 0, 0xa5 },     { ALU_BTR, 0xa5, 7, 0x25 },    { ALU_BTC, 0xa5, 6, 0xe5 },
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		build();
		set(5, 0, 0x1100 | cases[i].before); // one byte changes, and no other
		struct cpu_result r = access((struct cpu_access){ .kind = CPU_RMW, .va = VA, .bytes = 1,
								   .alu = (u8)cases[i].alu,
								   .data = { cases[i].operand } });

		CHECK_EQ(r.end, CPU_DONE);
		CHECK_EQ(r.value[0], cases[i].before);
		CHECK_EQ(get(5, 0), 0x1100 | cases[i].after);
	}
}

TEST(sixteen_bytes_cross_a_page_and_pairs_must_not_be_misaligned)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = VA + 0xffc, .bytes = 16,
				.data = { 0x1111111122222222, 0x3333333344444444 } };

	build();
	set(4, L1_INDEX + 1, entry(6, ALL));
	CHECK_EQ(access(a).end, CPU_DONE);
	CHECK_EQ(get(5, 511) >> 32, 0x22222222);
	CHECK_EQ(get(6, 0), 0x4444444411111111);
	CHECK_EQ(get(6, 1), 0x33333333);
	a.kind = CPU_CMPXCHG;
	for (a.va = VA + 1; a.va < VA + 16; a.va++) {
		struct cpu_result r = access(a);

		CHECK(r.end == CPU_FAULT && r.vector == 13 && !r.error);
	}
	CHECK_EQ(access(a).end, CPU_DONE);
}

TEST(ac_opens_user_pages_to_data_accesses_under_smap)
{
	struct cpu_access a = { .va = VA, .bytes = 1, .ac = true };

	build();
	v->guest.cr4 |= CR4_SMAP | CR4_SMEP;
	CHECK_EQ(access(a).end, CPU_DONE);
	CHECK(walk(CPU_READ, 0).granted); // AC stays what it was
	a.kind = CPU_RMW;
	CHECK_EQ(access(a).end, CPU_DONE);
	a.pick = TLB_NEWEST;
	CHECK_EQ(access(a).end, CPU_DONE);
	CHECK(!walk(CPU_FETCH, 0).granted);
	v->rflags_ac = false;
	CHECK(!walk(CPU_READ, 0).granted);
}

TEST(addresses_wrap_at_4_gib_outside_long_mode)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = 0xfffffffe, .bytes = 4, .data = { 0xddccbbaa } };

	build_pae();
	set(3, 511, entry(4, ALL));
	set(3, 0, entry(4, ALL));
	set(4, 511, entry(5, ALL));
	set(4, 0, entry(7, ALL));
	set(6, 3, entry(3, PTE_P));
	CHECK_EQ(access(a).end, CPU_DONE);
	CHECK_EQ(get(5, 511) >> 48, 0xbbaa);
	CHECK_EQ(get(7, 0), 0xddcc);
	a = (struct cpu_access){ .va = BIT(47) | UINT64_C(0xfffffffe), .bytes = 4 }; // no address is not canonical
	CHECK_EQ(access(a).value[0], 0xddccbbaa);
	a.pick = TLB_OLDEST;
	CHECK(access(a).from_tlb[1]);
	CHECK(!host_finding_rule());
	build(); // in long mode the first page is walked, then the second raises #GP
	set(4, L1_INDEX, 0);
	a = (struct cpu_access){ .va = BIT(47) - 2, .bytes = 4 };
	set(1, 255, entry(2, ALL));
	set(2, 511, entry(3, ALL));
	set(3, 511, entry(4, ALL));
	set(4, 511, entry(5, ALL));
	struct cpu_result r = access(a);

	CHECK(r.end == CPU_FAULT && r.vector == 13);
	CHECK(get(4, 511) & PTE_A);
}

// ---- 5. arena, locks, scheduler, failures, liveness --------------------------------------------------

TEST(a_fresh_frame_is_junk_and_a_freed_one_keeps_its_words)
{
	host_reset(1);
	port_frame_allocated(frame(9));
	CHECK(get(9, 0) & PTE_P);
	CHECK(!host_frame_owned(mfn(get(9, 511) >> FRAME_SHIFT)));
	set(9, 3, 0x1234);
	port_frame_freed(frame(9));
	CHECK(!host_frame(frame(9)));
	CHECK_EQ(arena_load(arena_word(frame(9), 3)), 0x1234);
	port_frame_allocated(frame(9));
	CHECK(get(9, 3) != 0x1234);
	CHECK_EQ(host_frame_generation(frame(9)), 2);
	host_reset(1);
	CHECK_EQ(host_frames_owned(), 0);
	CHECK_EQ(host_frame_generation(frame(9)), 0);
}

static void give_twice(void)
{
	port_frame_allocated(frame(9));
	port_frame_allocated(frame(9));
}

static void free_nobodys(void) { port_frame_freed(frame(10)); }
static void map_outside(void) { port_map(frame(HOST_FRAMES)); }
static void unmap_unmapped(void) { port_unmap(arena_word(frame(1), 0)); }
static void drain_boot(void) { port_boot_alloc((size_t)1 << 40); }

TEST(misuse_of_machine_memory_stops_everything)
{
	host_reset(1);
	CHECK(fixture_fatal(give_twice));
	host_reset(1);
	CHECK(fixture_fatal(free_nobodys));
	CHECK(fixture_fatal(map_outside));
	CHECK(fixture_fatal(unmap_unmapped));
	CHECK(fixture_fatal(drain_boot));
}

TEST(maps_are_counted)
{
	host_reset(1);
	void *a = port_map(frame(1)), *b = port_map(frame(1));

	CHECK(a == b);
	CHECK_EQ(host_maps_outstanding(), 2);
	port_unmap(a);
	CHECK_EQ(host_maps_outstanding(), 1);
	port_unmap(b);
	CHECK_EQ(host_maps_outstanding(), 0);
}

TEST(rule_53_sees_each_misuse_of_a_lock)
{
	struct hv_lock lock = { 0 };

	host_reset(1);
	port_lock(&lock, __func__);
	CHECK_EQ(lock.holder, 1);
	CHECK_EQ(host_locks_held(), 1);
	port_unlock(&lock);
	CHECK_EQ(host_locks_held(), 0);
	CHECK(!host_finding_rule());

	port_lock(&lock, __func__);
	port_lock(&lock, __func__); // taken twice
	CHECK_STR(host_finding_rule(), "E1.53 lock");

	host_reset(1);
	lock.holder = 0;
	port_unlock(&lock); // not held
	CHECK_STR(host_finding_rule(), "E1.53 lock");

	host_reset(1);
	port_lock(&lock, __func__);
	host_set_cpu(1);
	port_unlock(&lock); // somebody else's
	CHECK_STR(host_finding_rule(), "E1.53 lock");

	host_reset(1);
	lock.holder = 0;
	port_lock(&lock, __func__);
	port_yield(YIELD_FAULT_WALKED); // others may run, but we hold it
	CHECK_STR(host_finding_rule(), "E1.53 lock");
}

// Who could be entered when the lock was taken must be flushed if that is over when it is given back.
TEST(rule_41_sees_who_slips_into_a_guest)
{
	CHECK(fixture_paged(1, 0, 0) && fixture_another(1, 0, 0));
	domain_lock(dom, BOUND_READ); // a machine that ends with a lock held hides nothing from the next one
	for (u32 flushed = 0; flushed < 3; flushed++) {
		CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
		host_set_cpu(cpu_of(vc(1)));
		CHECK_EQ(vcpu_enter(vc(1)), HV_OK);
		host_set_cpu(cpu_of(vc(0)));
		domain_lock(dom, BOUND_CR);
		if (flushed == 1)
			tlb_flush(dom->shadow.cpus); // too early
		dom->shadow.stepping = true;
		if (flushed == 2)
			tlb_flush(dom->shadow.cpus);
		domain_unlock(dom);
		CHECK_STR(host_finding_rule(), flushed == 2 ? NULL : "E1.41 soundness");
		dom->shadow.stepping = false;
		host_finding_clear();
		FINISH();
	}
}

static u32 ran;

static void run_other(void *context)
{
	ran++;
	host_set_cpu(3);
	CHECK(!port_should_fail(FAIL_HEAP)); // the failure is the interrupted operation's
	*(u32 *)context = ran;
}

TEST(the_scheduler_switches_at_the_point_that_was_named)
{
	u32 seen = 0;

	host_reset(1);
	ran = 0;
	host_set_cpu(1);
	host_arm_race(2, run_other, &seen);
	host_arm_failure(1);
	port_yield(YIELD_FAULT_WALKED);
	CHECK_EQ(ran, 0);
	port_yield(YIELD_EMULATE_FETCH);
	CHECK_EQ(seen, 1);
	CHECK_EQ(port_cpu(), 1);
	CHECK(port_should_fail(FAIL_HEAP));
	port_yield(YIELD_EMULATE_FETCH);
	CHECK_EQ(ran, 1);
}

TEST(the_question_that_was_named_fails)
{
	host_reset(1);
	CHECK(!port_should_fail(FAIL_POOL));
	host_arm_failure(3);
	CHECK(!port_should_fail(FAIL_POOL));
	CHECK(!port_should_fail(FAIL_PIN));
	CHECK(port_should_fail(FAIL_HEAP));
	CHECK(!port_should_fail(FAIL_HEAP));
	CHECK(host_arm_failure(0)); // it was delivered
	CHECK(!host_arm_failure(0));
}

TEST(entropy_follows_the_seed)
{
	host_reset(5);
	u64 a = port_entropy(), b = port_entropy();

	CHECK(a != b);
	host_reset(5);
	CHECK_EQ(port_entropy(), a);
	host_reset(6);
	CHECK(port_entropy() != a);
}

// Another vcpu changes the leaf between walk and lock, every time: the fault can never be fixed.
#define UNUSED_LEAF (PTE_P | PTE_W | PTE_U)
static void move_the_leaf(void *context)
{
	static u32 to = 5;

	to ^= 5 ^ 6;
	poke(3, 5, at(to, UNUSED_LEAF));
	host_arm_race(1, move_the_leaf, context);
}

TEST(rule_43_sees_an_access_that_never_ends)
{
	if (!CHECK(fixture_paged(1, 0, 0)))
		return;
	CHECK(reads(vc(0), page(5)));
	poke(3, 5, at(5, UNUSED_LEAF));
	host_arm_race(1, move_the_leaf, NULL);

	struct cpu_result r = go(vc(0), CPU_READ, page(5), 1, 0, 0);

	host_arm_race(0, NULL, NULL);
	CHECK_EQ(r.end, CPU_STUCK);
	CHECK_STR(host_finding_rule(), "E1.43 liveness");
	host_finding_clear();
	CHECK(reads(vc(0), page(5)));
	FINISH();
}

TEST(a_spurious_fault_is_invisible)
{
	if (!CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL)))
		return;
	CHECK(writes(vc(0), page(5) + 8, 0x77));
	struct cpu_access a = { .kind = CPU_READ, .va = page(5) + 8, .bytes = 8, .pick = TLB_SPURIOUS };
	struct cpu_result r;

	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.end, CPU_DONE);
	CHECK_EQ(r.value[0], 0x77);
	CHECK_EQ(r.faults, 1);
	FINISH();
}
