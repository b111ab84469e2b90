// SPDX-License-Identifier: GPL-2.0-or-later
// Test of the reference model's dirty frames: which ones a hypervisor must report under log-dirty, which it may, and what
// clean, peek, switching and races do to that.
#include "check.h"

// va 0.0.0.n is f4 + n for n = 0 to 3, all rights, A and D set.
static void watched(void)
{
	start(2, false);
	map_tables();
	for (u32 i = 0; i < 4; i++)
		pte(3, i, 4 + i, P | W | U | A | D);
	step(OP(.code = OP_READ, .bytes = 1)); // A in the upper tables
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY));
}

static void look(u8 what, u32 count, u32 must, u32 may)
{
	struct obs o = step(OP(.code = OP_CONTROL, .what = what, .count = (u16)count));
	bool clean = what == ASK_CLEAN;

	CHECK(o.status == HV_OK);
	CHECK_OK(model_check_dirty(&model, must, clean));
	CHECK_OK(model_check_dirty(&model, must | may, clean));
	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		u32 bit = 1u << i;

		if (must & bit)
			CHECK_RULE(model_check_dirty(&model, must & ~bit, clean), "E1.48 dirty: f");
		else if (!(may & bit))
			CHECK_RULE(model_check_dirty(&model, must | bit, clean), "E1.48 dirty: a ");
	}
}

static void clean(u32 count, u32 must, u32 may)
{
	look(ASK_CLEAN, count, must, may);
}
static void peeked(u32 must, u32 may)
{
	look(ASK_PEEK, 16, must, may);
}

#define F(n) (1u << (n))
#define TABLES (F(0) | F(1) | F(2) | F(3))

// ---- what makes dirty -----------------------------------------------------------------------------------
static void test_writers(void)
{
	static const struct { struct trace_op op; u32 must, may; } rows[] = {
		{ { .code = OP_PTE, .frame = 9, .target = 4, .flags = P }, F(9), 0 },
		{ { .code = OP_PTE, .frame = 3, .target = 4, .flags = P | W | U | A | D }, 0, F(3) }, // as it was
		{ { .code = OP_CAS, .frame = 9, .bytes = 8, .on = true, .target = 4 }, F(9), 0 },
		{ { .code = OP_CAS, .frame = 9, .bytes = 8, .target = 4 }, 0, F(9) }, // it misses
		{ { .code = OP_PEEK, .frame = 9 }, 0, 0 },
		{ { .code = OP_ZERO, .frame = 9 }, 0, F(9) },
		{ { .code = OP_COPY, .frame = 9, .from = 3 }, F(9), 0 },
		{ { .code = OP_PHYS, .frame = 9, .target = 4, .flags = P }, F(9), 0 },
		{ { .code = OP_READ, .bytes = 1 }, 0, TABLES },
		{ { .code = OP_EXEC, .va = 0x1000 }, 0, TABLES },
		{ { .code = OP_SWEEP, .count = 3 }, 0, TABLES },
		{ { .code = OP_WRITE, .va = 0x1010, .bytes = 2, .value = 0x101 }, F(5), TABLES },
		{ { .code = OP_WRITE, .va = 0x1010, .bytes = 2 }, 0, F(5) | TABLES },
		{ { .code = OP_WRITE, .va = 0x1fff, .bytes = 2, .value = 0x101 }, F(5) | F(6), TABLES },
		{ { .code = OP_WRITE, .va = 0x3fff, .bytes = 2, .value = 0x101 }, 0, F(7) | TABLES }, // faults on the next page
		{ { .code = OP_WRITE, .va = 0x4000, .bytes = 2, .value = 0x101 }, 0, TABLES },
		{ { .code = OP_PUSH, .va = 0x1010, .value = 1 }, F(5), TABLES },
		{ { .code = OP_SET, .va = 0x1010, .target = 4 }, F(5), TABLES },
		{ { .code = OP_ALTER, .va = 0x1ff8, .insn = INS_REP_STOS, .bytes = 8, .target = 4 }, F(5) | F(6), TABLES },
		{ { .code = OP_ALTER, .va = 0x1010, .insn = INS_LOCK_OR, .bytes = 8 }, 0, F(5) | TABLES },
		{ { .code = OP_ALTER, .va = 0x1010, .insn = INS_LOCK_INC, .bytes = 8 }, F(5), TABLES },
		{ { .code = OP_VISIT, .mode = TRACE_MODE_PAE, .frame = 9, .bytes = 1, .va = 0x80000000 }, F(9), 0 },
		{ { .code = OP_RENEW, .frame = 9 }, 0, F(9) },
		{ { .code = OP_RENEW, .frame = 3 }, F(3), 0 },
		{ { .code = OP_REMOVE, .frame = 9 }, 0, F(9) },
		{ { .code = OP_SWAP, .frame = 9, .from = 3 }, F(9) | F(3), 0 },
		{ { .code = OP_SWAP, .frame = 9, .from = 10 }, 0, F(9) | F(10) },
		{ { .code = OP_MOVE, .frame = 3, .from = 10 }, F(10), F(3) },
		{ { .code = OP_BALLOON, .frame = 9, .count = 2 }, 0, F(9) | F(10) },
		{ { .code = OP_BALLOON, .frame = 9, .count = 2, .on = true }, 0, F(9) | F(10) }, // they are there
		{ { .code = OP_RETYPE, .frame = 9, .what = TYPE_RO }, 0, 0 },
		{ { .code = OP_UNSHADOW, .frame = 9 }, 0, 0 },
		{ { .code = OP_BLOW }, 0, 0 },
		{ { .code = OP_POOL, .count = 40 }, 0, 0 },
		{ { .code = OP_RELOAD }, 0, 0 },
		{ { .code = OP_IDENTITY, .value = TRACE_HOLE0_GFN, .count = 1, .on = true }, 0, 0 },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		watched();
		step(rows[i].op);
		peeked(rows[i].must, rows[i].may);
		clean(16, rows[i].must, rows[i].may);
		clean(16, 0, 0);
	}
}

// A and D bits that a walk sets are writes, a store to a read-only frame is at most an attempt.
static void test_walks_and_read_only(void)
{
	watched();
	pte(3, 0, 4, P | W | U);
	clean(16, F(3), 0);
	step(OP(.code = OP_READ, .bytes = 1));
	clean(16, F(3), TABLES);
	step(OP(.code = OP_WRITE, .bytes = 1));
	clean(16, F(3), TABLES | F(4));
	step(OP(.code = OP_RETYPE, .frame = 4, .what = TYPE_RO));
	step(OP(.code = OP_WRITE, .bytes = 1, .value = 1));
	clean(16, 0, TABLES | F(4));
	step(OP(.code = OP_BALLOON, .frame = 8, .count = 2));
	step(OP(.code = OP_BALLOON, .frame = 7, .count = 3, .on = true));
	clean(16, F(8) | F(9), F(7));
	step(OP(.code = OP_REMOVE, .frame = 4));
	step(OP(.code = OP_FOREIGN, .frame = 4, .what = 1));
	clean(16, 0, F(4));
	step(OP(.code = OP_WRITE, .bytes = 1, .value = 1));
	pte(4, 1, 9, P);
	clean(16, 0, TABLES);
	step(OP(.code = OP_FOREIGN, .frame = 4));
	pte(4, 1, 9, P);
	clean(16, 0, F(4));
}

// ---- what makes clean -------------------------------------------------------------------------------------
static void test_short_cleans(void)
{
	for (u32 count = 1; count < 20; count++) {
		u32 asked = count < 16 ? F(count) - 1 : 0xffff, all = F(2) | F(6) | F(7) | F(15);

		watched();
		pte(2, 7, 9, P);
		pte(6, 7, 9, P);
		pte(7, 7, 9, P);
		pte(15, 7, 9, P);
		look(ASK_PEEK, count, all & asked, 0);
		clean(count, all & asked, 0);
		peeked(all & ~asked, 0);
		pte(6, 7, 8, P);
		clean(16, (all & ~asked) | F(6), 0);
		peeked(0, 0);
	}
}

// Ranges that begin elsewhere: the frames from WHO's on, as many as are asked for.
static void test_other_beginnings(void)
{
	for (u32 who = WHO_FROM; who < WHO_COUNT; who++)
		for (u32 count = 1; count < 100; count += 3) {
			struct trace_op op = OP(.code = OP_CONTROL, .what = ASK_CLEAN, .count = (u16)count, .who = (u8)who);
			u64 first = trace_ask_first(&op);
			u32 asked = 0;

			watched();
			for (u32 i = 8; i < TRACE_FRAMES; i++)
				pte(i, 0, 4, P);
			for (u64 g = first; g - first < count; g++)
				if (g >= TRACE_F0_GFN + 8 && g < TRACE_F0_GFN + TRACE_FRAMES)
					asked |= F(g - TRACE_F0_GFN);
			CHECK(step(op).status == (first < TRACE_GFNS && first + count <= TRACE_GFNS ? HV_OK : HV_EINVAL));
			if (asked)
				CHECK_RULE(model_check_dirty(&model, 0, true), "E1.48 dirty: f");
			CHECK_OK(model_check_dirty(&model, asked, true));
			peeked(0xff00 & ~asked, 0);
		}
}

static void test_switching(void)
{
	watched();
	pte(9, 0, 4, P);
	CHECK_OK(model_check_dirty(&model, 0xffff, false)); // no question, no answer
	CHECK(step(OP(.code = OP_CONTROL, .what = ASK_CLEAN)).status == HV_EINVAL);
	CHECK_OK(model_check_dirty(&model, 0xffff, true));
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY_OFF));
	pte(9, 0, 5, P);
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY));
	peeked(0, 0);
	pte(8, 0, 5, P);
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY)); // refused: it is on
	peeked(F(8), 0);
}

// A translation that a store would go through is a hole while its frame is clean.
static void test_write_hole(void)
{
	watched();
	CHECK(!model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, false, false, false));
	step(OP(.code = OP_WRITE, .bytes = 1));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	clean(4, 0, TABLES);
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	clean(5, 0, F(4));
	CHECK(!model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY_OFF));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	step(OP(.code = OP_MIGRATE, .what = TRACE_STEP_START));
	CHECK(!model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	step(OP(.code = OP_WRITE, .bytes = 1));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	step(OP(.code = OP_MIGRATE, .what = TRACE_STEP_ROUND));
	CHECK(!model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	step(OP(.code = OP_MIGRATE, .what = TRACE_STEP_FINISH));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
}

// ---- races ------------------------------------------------------------------------------------------------
static void race(struct trace_op a, struct trace_op b)
{
	const struct obs ok = { .kind = OBS_OK }, done = { .kind = OBS_STATUS, .status = HV_OK };

	CHECK_OK(model_follow_race(&model, &a, a.code == OP_CONTROL ? &done : &ok, &b, 1, b.code == OP_CONTROL ? &done : &ok));
}

// The store may have come before the clean or after it; what changed before the pair must be reported in any case.
static void test_races(void)
{
	const struct trace_op store = { .code = OP_PTE, .frame = 9, .target = 4, .flags = P };
	const struct trace_op ask = { .code = OP_CONTROL, .what = ASK_CLEAN, .count = 16 };

	for (u32 first = 0; first < 2; first++) {
		watched();
		pte(8, 0, 4, P);
		race(first ? ask : store, first ? store : ask);
		CHECK_OK(model_check_dirty(&model, F(8), true));
		CHECK_OK(model_check_dirty(&model, F(8) | F(9), true));
		CHECK_RULE(model_check_dirty(&model, F(9), true), "E1.48 dirty: f8");
		peeked(0, 0xffff);
		clean(16, 0, 0xffff);
		peeked(0, 0);
	}
	watched();
	race(store, OP(.code = OP_PTE, .frame = 8, .target = 4, .flags = P));
	clean(16, F(8) | F(9), 0xffff);
	watched();
	race(store, OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY_OFF));
	step(OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY));
	peeked(0, 0);
}

int main(void)
{
	test_writers();
	test_walks_and_read_only();
	test_short_cleans();
	test_other_beginnings();
	test_switching();
	test_write_hole();
	test_races();
	return check_report();
}
