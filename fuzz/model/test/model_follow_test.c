// SPDX-License-Identifier: GPL-2.0-or-later
// Test of the reference model as a judge: permissive TLB, lock-step, races, comparison of memory.
//
// Directed cases; the random runs are in model_random_test.c, large pages and entries of the other modes in
// model_modes_test.c.
#include "check.h"

static const u64 f0 = TRACE_F0_GFN;

// ---- what flushes drop ----------------------------------------------------------------------------------
static struct obs read_at(u64 va)
{
	return step(OP(.code = OP_READ, .va = va, .bytes = 1));
}
static struct obs write_at(u64 va)
{
	return step(OP(.code = OP_WRITE, .va = va, .bytes = 1, .value = 0));
}
static bool held(u64 va, u32 frame)
{
	return model_tlb_allows(&model, model.current, va, f0 + frame, false, false, false);
}

static void test_nothing_before_a_walk(void)
{
	start(1, false);
	map_tables();
	pte(3, 0, 4, P | W);
	CHECK(!held(0, 4)); // A is clear
	pte(3, 0, 4, P | W | A);
	CHECK(!held(0, 4)); // and above
	read_at(0);
	CHECK(held(0, 4) && !held(0, 5) && !held(0x1000, 4));
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, true, false, false)); // no D
	write_at(0);
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, true, false, true));
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, false, true, false)); // no U at the leaf
	CHECK(model_tlb_allows(&model, 0, trace_direct(TRACE_MODE_64) + 9 * 4096, f0 + 9, true, false, true));
	CHECK(!model_tlb_allows(&model, 0, trace_direct(TRACE_MODE_64) + 9 * 4096, f0 + 8, false, false, false));
}

static void test_stale_and_flushes(void)
{
	static const struct { u8 code; u64 va; bool drops, drops_global; } flushes[] = {
		{ OP_PEEK, 0, false, false },       { OP_INVLPG, 0x1000, false, false },
		{ OP_INVLPG, 0, true, true },       { OP_RELOAD, 0, true, false },
		{ OP_CR3, 0, true, false },         { OP_FLUSH, 0, true, true },
		{ OP_PHYS, 0, true, true },
	};

	for (u32 i = 0; i < ARRAY_LEN(flushes); i++) {
		for (u32 global = 0; global < 3; global++) { // 1: G but PGE off, 2: G and PGE
			start(2, false);
			map_tables();
			ctl(CTL_PGE, global == 2);
			pte(3, 0, 4, P | W | (global ? G : 0));
			write_at(0);
			pte(3, 0, 5, P | (global ? G : 0));
			CHECK(held(0, 4) && !held(0, 5));
			read_at(0);
			CHECK(held(0, 4) && held(0, 5));
			CHECK(model_tlb_allows(&model, 1, 0, f0 + 4, true, false, false)); // shared tables
			step(OP(.code = flushes[i].code, .va = flushes[i].va, .frame = 9));
			CHECK(held(0, 4) != (global == 2 ? flushes[i].drops_global : flushes[i].drops));
			CHECK(held(0, 5));
			CHECK(model_tlb_allows(&model, 1, 0, f0 + 4, true, false, false)); // another vcpu's flush
		}
	}
	// Toggling PGE is a full flush, on every vcpu that changes.
	ctl(CTL_PGE, false);
	CHECK(!held(0, 4) && held(0, 5) && !model_tlb_allows(&model, 1, 0, f0 + 4, false, false, false));
}

static void test_upper_levels(void)
{
	start(1, false);
	map_tables();
	pte(3, 0, 4, P);
	read_at(0);
	// A new table f6 with another leaf; the table entry may be old or new, each with its own leaf.
	pte(6, 0, 7, P);
	pte(2, 0, 6, P);
	read_at(0);
	CHECK(held(0, 4) && held(0, 7));
	// A leaf that was never behind the table while the table was in use.
	pte(3, 0, 8, P | A);
	CHECK(held(0, 8)); // the old table entry may still be cached
	step(OP(.code = OP_INVLPG, .va = 0));
	CHECK(held(0, 7) && !held(0, 4) && !held(0, 8));
	step(OP(.code = OP_FLUSH));
	// Order in time: f3[1] had its value only before f2[0] pointed to f3 for the first time since the flush.
	pte(3, 1, 9, P | A);
	pte(3, 1, 0, 0);
	pte(2, 0, 3, P | A);
	CHECK(!held(0x1000, 9));
	// The old root keeps global leaves only.
	start(1, false);
	map_tables();
	ctl(CTL_PGE, true);
	pte(3, 0, 4, P | G);
	pte(3, 1, 4, P);
	read_at(0);
	read_at(0x1000);
	step(OP(.code = OP_CR3, .target = 9));
	CHECK(held(0, 4) && !held(0x1000, 4));
	step(OP(.code = OP_FLUSH));
	CHECK(!held(0, 4));
}

static void test_large_pages(void)
{
	start(1, false);
	map_tables();
	pte(2, 0, 0, P | W | U | PS);
	read_at(0x3000);
	CHECK(held(0x3000, 3) && held(0x4000, 4));
	pte(2, 0, 5, P);
	CHECK(held(0x3000, 3));
	step(OP(.code = OP_INVLPG, .va = 0x9000)); // anywhere in the large page
	CHECK(!held(0x3000, 3) && !held(0x4000, 4));
}

static void test_rights_of_entries(void)
{
	start(1, false);
	map_tables();
	ctl(CTL_WP, false);
	pte(3, 0, 4, P | U);
	write_at(0);
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, true, false, false)); // supervisor, WP=0
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, true, true, false)); // would let CPL 3 write
	ctl(CTL_WP, true);
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, true, false, false));
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, false, true, true));
	ctl(CTL_SMAP, true);
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, false, true, true)); // hardware looks at U itself
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, false, false, false));
	ctl(CTL_SMAP, false);
	// NX as cached: an entry with NX can be cached only while NXE is on, and keeps its meaning.
	pte(3, 1, 4, P | NX);
	read_at(0x1000);
	ctl(CTL_NXE, false);
	CHECK(held(0x1000, 4) && !model_tlb_allows(&model, 0, 0x1000, f0 + 4, false, false, true));
	step(OP(.code = OP_FLUSH));
	CHECK(!held(0x1000, 4));
}

static void test_forgetting(void)
{
	start(1, false);
	map_tables();
	pte(3, 0, 4, P);
	read_at(0);
	step(OP(.code = OP_FLUSH));
	for (u32 i = 0; i < MODEL_CHANGES + 10; i++)
		pte(7, 0, i & 1 ? 4 : 5, P);
	CHECK(held(0, 9)); // anything goes
	step(OP(.code = OP_FLUSH));
	CHECK(held(0, 4) && !held(0, 9));
	// Too many roots.
	for (u32 i = 0; i < MODEL_ROOTS + 2; i++)
		step(OP(.code = OP_CR3, .target = (u8)(i % 2)));
	CHECK(!held(0, 9)); // without PGE only the present root counts
	step(OP(.code = OP_CR3, .target = 0));
	CHECK(held(0, 4));
}

// Frames of a model as an executor's memory.
static const void *frame_of(void *ctx, u32 i)
{
	const struct model *m = ctx;

	return m->present >> i & 1 ? m->word[i] : NULL;
}

static struct model twin;

// ---- lock-step --------------------------------------------------------------------------------------------
static const char *follow(struct trace_op op, struct obs seen)
{
	return model_follow(&model, &op, &seen);
}
#define SEEN(...) ((struct obs){ __VA_ARGS__ })

static void start_mapped(void)
{
	start(2, false);
	map_tables();
	pte(3, 0, 4, P | U);
	pte(4, 1, 0, 0x55);
}

static void test_follow_rules(void)
{
	const struct trace_op read = { .code = OP_READ, .va = 8, .bytes = 1, .cpl = 3 };
	const struct trace_op write = { .code = OP_WRITE, .va = 8, .bytes = 1, .cpl = 3 };
	const struct trace_op check_op = { .code = OP_CHECK };

	start_mapped();
	CHECK_OK(follow(read, SEEN(.kind = OBS_VALUE, .value = { 0x55 })));
	CHECK_RULE(follow(read, SEEN(.kind = OBS_VALUE, .value = { 0x56 })), "E1.41 ");
	CHECK_RULE(follow(read, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 5, .cr2 = 8)), "E1.44 ");
	CHECK_RULE(follow(write, SEEN(.kind = OBS_OK)), "E1.41 ");
	CHECK_OK(follow(write, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 7, .cr2 = 8)));
	CHECK_RULE(follow(write, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 6, .cr2 = 8)), "E1.44 ");
	CHECK_RULE(follow(write, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 7, .cr2 = 9)), "E1.44 ");
	CHECK_RULE(follow(write, SEEN(.kind = OBS_FAULT, .vector = 13)), "E1.44 ");
	CHECK_RULE(follow(OP(.code = OP_PEEK, .frame = 4, .index = 1), SEEN(.kind = OBS_VALUE)), "E1.45 memory");
	CHECK_RULE(follow(OP(.code = OP_CAS, .frame = 4, .index = 1, .bytes = 8), SEEN(.kind = OBS_CAS)),
		   "E1.45 emulated write");
	CHECK_OK(follow(check_op, SEEN(.kind = OBS_STATUS)));
	CHECK_RULE(follow(check_op, SEEN(.kind = OBS_STATUS, .status = HV_ECHECK)), "model: check failed");
}

static void test_follow_failures(void)
{
	const struct trace_op swap = { .code = OP_SWAP, .frame = 4, .from = 5 };
	struct trace_op failing = swap, read = { .code = OP_READ, .va = 8, .bytes = 1 };

	start_mapped();
	CHECK_RULE(follow(swap, SEEN(.kind = OBS_STATUS, .status = HV_ENOMEM)), "E1.50 ");
	start_mapped();
	failing.fail_nth = 2;
	CHECK_OK(follow(failing, SEEN(.kind = OBS_STATUS, .status = HV_ENOMEM)));
	CHECK(peek(4, 1) == UINT64_C(0x40000055) && peek(5, 1) == 0);
	CHECK_OK(follow(failing, SEEN(.kind = OBS_STATUS)));
	CHECK(peek(4, 1) == 0 && peek(5, 1) == UINT64_C(0x40000055));
	// Kills.
	CHECK_RULE(follow(read, SEEN(.kind = OBS_KILLED, .reason = "out of shadow memory")), "E1.43 ");
	CHECK_RULE(follow(read, SEEN(.kind = OBS_VALUE)), "model: an operation after");
	start_mapped();
	read.fail_nth = 1;
	CHECK_OK(follow(read, SEEN(.kind = OBS_KILLED, .reason = "out of shadow memory")));
	start_mapped();
	CHECK_RULE(follow(read, SEEN(.kind = OBS_KILLED, .reason = "wild cr3")), "E1.43 ");
	start_mapped();
	CHECK_RULE(follow(OP(.code = OP_CR3, .target = 16), SEEN(.kind = OBS_OK)), "E1.44 ");
	start_mapped();
	CHECK_OK(follow(OP(.code = OP_CR3, .target = 16), SEEN(.kind = OBS_KILLED, .reason = "wild cr3")));
	start_mapped();
	CHECK_RULE(follow(OP(.code = OP_VCPU), SEEN(.kind = OBS_KILLED, .reason = "shadow references")),
		   MODEL_ALLOW_REF_OVERFLOW ? NULL : "E1.43 ");
}

static void test_follow_tlb(void)
{
	const struct trace_op read = { .code = OP_READ, .va = 8, .bytes = 1 };
	const struct obs from_f4 = { .kind = OBS_VALUE, .value = { 0x55 }, .from_tlb = { true },
				     .tlb_gfn = { TRACE_F0_GFN + 4 } };

	start_mapped();
	CHECK_RULE(follow(read, from_f4), "E1.41 "); // never walked
	start_mapped();
	read_at(0);
	pte(3, 0, 5, P | U);
	CHECK_OK(follow(read, from_f4));
	CHECK(!(peek(3, 0) & A)); // the walk did not take place
	CHECK_RULE(follow(OP(.code = OP_WRITE, .va = 8, .bytes = 1),
			  SEEN(.kind = OBS_OK, .from_tlb = { true }, .tlb_gfn = { f0 + 4 })), "E1.41 ");
	start_mapped();
	read_at(0);
	step(OP(.code = OP_REMOVE, .frame = 4));
	CHECK_RULE(follow(read, SEEN(.kind = OBS_VALUE, .from_tlb = { true }, .tlb_gfn = { f0 + 4 })), "E1.42 ");
	start(1, true); // the guest flushes by itself
	map_tables();
	pte(3, 0, 4, P | U);
	read_at(0);
	pte(3, 0, 5, P | U);
	CHECK_RULE(follow(read, SEEN(.kind = OBS_VALUE, .from_tlb = { true }, .tlb_gfn = { f0 + 4 })), "E1.41 ");
}

// A sweep over two pages, each with an old and a new frame; the hash tells which were used.
static void test_follow_sweep(void)
{
	static const u8 bytes[4] = { 0x01, 0x02, 0x03, 0x04 };

	for (u32 used = 0; used < 5; used++) {
		u64 hash = UINT64_C(0xcbf29ce484222325);
		struct obs seen = { .kind = OBS_SWEEP, .count = 2 };

		start(1, false);
		map_tables();
		for (u32 i = 0; i < 4; i++)
			pte(4 + i, 0, 0, bytes[i]);
		for (u32 i = 0; i < 4; i++) {
			pte(3, i & 1, 4 + i, P);
			read_at(i & 1 ? 0x1000 : 0);
		}
		hash = (hash ^ bytes[used & 1 ? 2 : 0]) * UINT64_C(0x100000001b3);
		hash = (hash ^ bytes[used & 2 ? 3 : 1]) * UINT64_C(0x100000001b3);
		seen.value[0] = hash ^ (used == 4);
		seen.value[1] = 3;
		if (used < 4)
			CHECK_OK(follow(OP(.code = OP_SWEEP, .count = 2), seen));
		else
			CHECK_RULE(follow(OP(.code = OP_SWEEP, .count = 2), seen), "E1.41 ");
	}
}

// ---- memory -----------------------------------------------------------------------------------------------
static void test_memory(void)
{
	struct trace_config config = { .vcpus = 1 };

	start(1, false);
	model_start(&twin, &config);
	CHECK_OK(model_compare_memory(&model, frame_of, &twin));
	twin.word[3][7] = A;
	CHECK_RULE(model_compare_memory(&model, frame_of, &twin), "E1.46 memory: f3[7] is 0x20, model has 0x0");
	twin.word[3][7] = P;
	CHECK_RULE(model_compare_memory(&model, frame_of, &twin), "E1.45 memory: f3[7] is 0x1, model has 0x0");
	CHECK_OK(model_compare_touched(&model, frame_of, &twin));
	CHECK(peek(3, 7) == 0);
	CHECK_RULE(model_compare_touched(&model, frame_of, &twin), "E1.45 memory");
	twin.present &= ~(1u << 9);
	model_adopt_memory(&model, frame_of, &twin);
	CHECK(peek(3, 7) == P && peek(9, 257) == 0 && !(model.present >> 9 & 1));
	CHECK_OK(model_compare_memory(&model, frame_of, &twin));
	twin.present |= 1u << 9;
	CHECK_RULE(model_compare_memory(&model, frame_of, &twin), "E1.45 memory: f9 is RAM, the model has a hole");
	// In mode 32 the entry of 4 bytes is named, and A and D are those of either half.
	config.kind = TRACE_HVM32;
	start_mode(TRACE_MODE_32, 1, false);
	twin.started = false;
	model_start(&twin, &config);
	twin.word[3][7] = (u64)A << 32;
	CHECK_RULE(model_compare_memory(&model, frame_of, &twin), "E1.46 memory: f3[15] is 0x20, model has 0x0");
	twin.word[3][7] = D | (u64)P << 32;
	CHECK_RULE(model_compare_memory(&model, frame_of, &twin), "E1.45 memory: f3[14] is 0x40, model has 0x0");
	twin.started = false;
}

// ---- races ------------------------------------------------------------------------------------------------
static const char *race(struct trace_op a, struct obs seen_a, struct trace_op b, struct obs seen_b)
{
	return model_follow_race(&model, &a, &seen_a, &b, 1, &seen_b);
}

static void test_races(void)
{
	const struct trace_op read = { .code = OP_READ, .va = 8, .bytes = 1 };
	const struct trace_op unmap = { .code = OP_PTE, .frame = 3 };
	const struct trace_op phys = { .code = OP_PHYS, .frame = 6, .target = 4, .flags = P | NX };
	const struct trace_op look = { .code = OP_PEEK, .frame = 6 };
	const struct obs ok = { .kind = OBS_OK };

	for (u32 i = 0; i < 3; i++) {
		struct obs seen = i == 0   ? SEEN(.kind = OBS_VALUE, .value = { 0x55 })
				  : i == 1 ? SEEN(.kind = OBS_FAULT, .vector = 14, .error = 0, .cr2 = 8)
					   : SEEN(.kind = OBS_FAULT, .vector = 14, .error = 1, .cr2 = 8);
		start_mapped();
		if (i < 2)
			CHECK_OK(race(read, seen, unmap, ok));
		else
			CHECK_RULE(race(read, seen, unmap, ok), "E1.44 ");
		CHECK(!(peek(3, 0) & P) && model.current == 0);
	}
	// Between the halves of a store.
	for (u32 i = 0; i < 4; i++) {
		static const u64 values[4] = { 0, 0x40004001, NX | 0x40004001, NX };

		start(2, false);
		if (i < 3)
			CHECK_OK(race(phys, ok, look, SEEN(.kind = OBS_VALUE, .value = { values[i] })));
		else
			CHECK_RULE(race(phys, ok, look, SEEN(.kind = OBS_VALUE, .value = { values[i] })), "E1.45 ");
		CHECK(peek(6, 0) == (NX | UINT64_C(0x40004001)));
	}
	// In the middle of a page of stores.
	start(2, false);
	pte(6, 0, 4, P);
	pte(6, 511, 4, P);
	CHECK_OK(race(OP(.code = OP_ZERO, .frame = 6), ok, OP(.code = OP_COPY, .frame = 7, .from = 6), ok));
	// Between the load of one page of a sweep and the walk for the next: page 0 is the table f3 itself.
	start(2, false);
	map_tables();
	pte(3, 0, 3, P | W | A | D);
	pte(3, 1, 4, P);
	CHECK_OK(race(OP(.code = OP_SWEEP, .count = 2),
		      SEEN(.kind = OBS_SWEEP, .count = 1, .vector = 14, .cr2 = 0x1000,
			   .value = { (UINT64_C(0xcbf29ce484222325) ^ (P | W | A | D)) * UINT64_C(0x100000001b3) }),
		      OP(.code = OP_ZERO, .frame = 3), ok));
	// The first order tried removes the frame and must be taken back.
	start(2, false);
	pte(6, 0, 4, P);
	CHECK_OK(race(look, SEEN(.kind = OBS_VALUE, .value = { 0x40004001 }), OP(.code = OP_REMOVE, .frame = 6),
		      SEEN(.kind = OBS_STATUS)));
	CHECK(peek(6, 257) == 0);
	// A cas that loses.
	start_mapped();
	CHECK_OK(race(OP(.code = OP_CAS, .frame = 6, .bytes = 8, .on = true, .target = 4),
		      SEEN(.kind = OBS_CAS, .value = { 0x40000055 }), OP(.code = OP_PTE, .frame = 6, .flags = 0x55), ok));
	CHECK(peek(6, 0) == 0x40000055);
}

// A PAE guest stores an entry as two halves, the high one first; a guest of mode 32 in one piece.
static void test_race_halves(void)
{
	static const struct { enum trace_mode mode; u64 seen; bool allowed; } cases[] = {
		{ TRACE_MODE_PAE, 0, true },           { TRACE_MODE_PAE, NX, true },
		{ TRACE_MODE_PAE, 0x40004001, false }, { TRACE_MODE_PAE, NX | 0x40004001, true },
		{ TRACE_MODE_64, NX, false },          { TRACE_MODE_64, NX | 0x40004001, true },
		{ TRACE_MODE_32, 0x40000000, false },  { TRACE_MODE_32, 0x40004001, true },
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		u8 mode = (u8)cases[i].mode;
		struct trace_op store = { .mode = mode, .code = OP_PTE, .frame = 6, .target = 4, .flags = P | NX };
		struct trace_op look = { .mode = mode, .code = OP_PEEK, .frame = 6 };
		struct obs seen = { .kind = OBS_VALUE, .value = { cases[i].seen } };

		start_mode(cases[i].mode, 2, false);
		CHECK_RULE(race(store, SEEN(.kind = OBS_OK), look, seen), cases[i].allowed ? NULL : "E1.45 memory");
	}
	// A page of zeroes goes by 4 bytes there.
	start_mode(TRACE_MODE_PAE, 2, false);
	pte(6, 7, 4, P | NX);
	CHECK_OK(race(OP(.mode = TRACE_MODE_PAE, .code = OP_ZERO, .frame = 6), SEEN(.kind = OBS_OK),
		      OP(.mode = TRACE_MODE_PAE, .code = OP_PEEK, .frame = 6, .index = 7),
		      SEEN(.kind = OBS_VALUE, .value = { NX })));
	start(2, false);
	pte(6, 7, 4, P | NX);
	CHECK_RULE(race(OP(.code = OP_ZERO, .frame = 6), SEEN(.kind = OBS_OK), OP(.code = OP_PEEK, .frame = 6, .index = 7),
			SEEN(.kind = OBS_VALUE, .value = { NX })), "E1.45 memory");
	// PDPTEs are latched after the stores of `phys`, whatever the other vcpu did to them meanwhile.
	for (u32 i = 0; i < 2; i++) {
		struct trace_op phys = { .mode = TRACE_MODE_PAE, .code = OP_PHYS, .frame = 9 };
		struct trace_op spoil = { .mode = TRACE_MODE_PAE, .code = OP_PTE, .index = 258, .flags = P | W };

		start_mode(TRACE_MODE_PAE, 2, false);
		CHECK_OK(race(phys, i ? SEEN(.kind = OBS_FAULT, .vector = 13) : SEEN(.kind = OBS_OK), spoil,
			      SEEN(.kind = OBS_OK)));
	}
}

// Memory decides: a's store goes where its translation led, although b has changed the table since.
static void test_race_memory(void)
{
	const struct trace_op write = { .code = OP_WRITE, .va = 8, .bytes = 1, .value = 0x77 };
	const struct trace_op move = { .code = OP_PTE, .frame = 3, .target = 5, .flags = P | W };
	const struct obs ok = { .kind = OBS_OK };
	struct trace_config config = { .vcpus = 2 };

	for (u32 i = 0; i < 5; i++) {
		u64 entry = move.flags | (f0 + 5) << 12;

		start(2, false);
		map_tables();
		pte(3, 0, 4, P | W);
		model_start(&twin, &config);
		model_adopt_memory(&twin, frame_of, &model);
		for (u32 level = 0; level < 3; level++)
			twin.word[level][0] |= A;
		// 0: b first. 1: b between, or a first, then the entry lost A and D. 2: a first and started over.
		// 3: A and D that nothing set. 4: stored twice.
		twin.word[3][0] = i == 1 || i == 4 ? entry : entry | A | D;
		twin.word[i == 1 ? 4 : 5][1] = 0x77;
		if (i == 3)
			twin.word[9][0] = P;
		if (i == 4)
			twin.word[4][1] = 0x77;
		twin.dirty = ~0u;
		if (i < 3)
			CHECK_OK(model_follow_race_memory(&model, &write, &ok, &move, 1, &ok, frame_of, &twin));
		else
			CHECK_RULE(model_follow_race_memory(&model, &write, &ok, &move, 1, &ok, frame_of, &twin), "E1.4");
		if (i < 3)
			CHECK_OK(model_compare_memory(&model, frame_of, &twin));
	}
}

// The order that the model takes for real may be another than the one that was: what a TLB may hold must not depend on it.
static void test_race_leaves_open(void)
{
	const struct trace_op read = { .code = OP_READ, .va = 8, .bytes = 1 };
	const struct trace_op narrow = { .code = OP_PTE, .frame = 3, .target = 4, .flags = P | A };
	const struct obs seen = { .kind = OBS_VALUE, .value = { 0x55 } };

	start_mapped(); // f3[0] has U and no A: only the read sets it there
	CHECK_OK(race(read, seen, narrow, SEEN(.kind = OBS_OK)));
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, false, true, false) && held(0, 4));
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, true, true, false) && !held(0, 5));
	step(OP(.code = OP_INVLPG, .va = 0));
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, false, true, false) && held(0, 4));
	start_mapped();
	step(read);
	step(narrow); // one after the other there is no doubt
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 4, false, true, false));
	start_mapped();
	step(narrow);
	step(read);
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 4, false, true, false));
	// A flush that raced with a store drops what was certainly there before.
	start_mapped();
	step(read);
	pte(3, 0, 5, P);
	CHECK_OK(race(OP(.code = OP_INVLPG, .va = 0), SEEN(.kind = OBS_OK),
		      OP(.code = OP_PTE, .frame = 3, .target = 6, .flags = P), SEEN(.kind = OBS_OK)));
	CHECK(!held(0, 4) && held(0, 5));
}

// A PDPTE that is stored while the other vcpu loads CR3: which value was read does not show.
static void test_race_latches(void)
{
	const struct trace_op store = { .mode = TRACE_MODE_PAE, .code = OP_PTE, .index = 258, .target = 2, .flags = P };
	const struct trace_op reload = { .mode = TRACE_MODE_PAE, .code = OP_RELOAD };
	const u64 before[4] = { MODEL_K2_GFN << 12 | P, TRACE_INT3, 0, 0 };
	const struct obs ok = { .kind = OBS_OK };

	for (u32 i = 0; i < 3; i++) {
		u64 after[4] = { before[0], before[1], (f0 + 2) << 12 | P, 0 };

		start_mode(TRACE_MODE_PAE, 2, false);
		CHECK_OK(model_check_latched(&model, 0, before));
		CHECK_RULE(model_check_latched(&model, 0, after), "E1.39 latched PDPTEs: vcpu 0 has 0x40002001 for");
		pte(2, 0, 3, P);
		pte(3, 0, 4, P);
		CHECK_OK(race(store, ok, reload, ok));
		CHECK_OK(model_check_latched(&model, 0, before));
		if (i == 2)
			after[2] = (f0 + 5) << 12 | P;
		CHECK_RULE(model_check_latched(&model, 1, i ? after : before), i < 2 ? NULL : "E1.39 ");
		if (i == 2)
			continue;
		// From now on it is known.
		step(OP(.code = OP_VCPU, .vcpu = 1));
		CHECK_OK(model_check_latched(&model, 1, i ? after : before));
		CHECK_RULE(model_check_latched(&model, 1, i ? before : after), "E1.39 ");
		CHECK(step(OP(.code = OP_READ, .va = 0x80000000, .bytes = 1)).kind == (i ? OBS_VALUE : OBS_FAULT));
	}
	start(2, false);
	CHECK_OK(model_check_latched(&model, 0, before));
}

int main(void)
{
	test_nothing_before_a_walk();
	test_stale_and_flushes();
	test_upper_levels();
	test_large_pages();
	test_rights_of_entries();
	test_forgetting();
	test_follow_rules();
	test_follow_failures();
	test_follow_tlb();
	test_follow_sweep();
	test_memory();
	test_races();
	test_race_halves();
	test_race_leaves_open();
	test_race_latches();
	test_race_memory();
	return check_report();
}
