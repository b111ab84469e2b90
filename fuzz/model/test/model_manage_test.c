// SPDX-License-Identifier: GPL-2.0-or-later
// Test of the reference model under a hypervisor that manages it: read-only frames, what moves and what comes and goes,
// identity ranges, control operations, migration.
#include "check.h"

static u8 status(struct trace_op op)
{
	struct obs o = step(op);

	return CHECK(o.kind == OBS_STATUS) ? o.status : 0xff;
}

static u8 ask(u8 what, u32 count, u8 who)
{
	return status(OP(.code = OP_CONTROL, .what = what, .count = (u16)count, .who = who));
}
static u8 migrate(u8 to)
{
	return status(OP(.code = OP_MIGRATE, .what = to));
}
static u8 retype(u32 frame, u8 type)
{
	return status(OP(.code = OP_RETYPE, .frame = (u8)frame, .what = type));
}
static u8 move(u32 from, u32 to)
{
	return status(OP(.code = OP_MOVE, .frame = (u8)from, .from = (u8)to));
}
static u8 frame_op(u8 code, u32 frame, u32 other)
{
	return status(OP(.code = code, .frame = (u8)frame, .from = (u8)other));
}
static u8 balloon(bool up, u32 frame, u32 count)
{
	return status(OP(.code = OP_BALLOON, .frame = (u8)frame, .count = (u16)count, .on = up));
}
static u8 identity(bool on, u64 first, u32 count)
{
	return status(OP(.code = OP_IDENTITY, .value = first, .count = (u16)count, .on = on));
}
static bool is_ram(u32 frame)
{
	return model.present >> frame & 1;
}

// ---- read-only frames -----------------------------------------------------------------------------------
// va 0.0.0.n is f4 + n for n = 0 to 3, all rights.
static void map_pages(void)
{
	start(1, false);
	map_tables();
	for (u32 i = 0; i < 4; i++)
		pte(3, i, 4 + i, P | W | U);
}

static void test_stores_are_lost(void)
{
	static const struct trace_op ops[] = {
		{ .code = OP_PTE, .frame = 4, .index = 2, .target = 7, .flags = P },
		{ .code = OP_HALF, .frame = 4, .index = 2, .target = 7, .flags = NX, .on = true },
		{ .code = OP_ZERO, .frame = 4 },
		{ .code = OP_COPY, .frame = 4, .from = 0 },
		{ .code = OP_PHYS, .frame = 4, .index = 2, .target = 7, .flags = P },
		{ .code = OP_REAL, .frame = 4, .index = 2, .target = 7, .flags = P },
		{ .code = OP_WRITE, .va = 0x10, .bytes = 8, .value = 5 },
		{ .code = OP_WRITE, .va = 0x11, .bytes = 1, .value = 5, .cpl = 3 },
		{ .code = OP_SET, .va = 0x10, .target = 7, .flags = P },
		{ .code = OP_PUSH, .va = 0x10, .value = 5 },
		{ .code = OP_ALTER, .va = 0x10, .insn = INS_REP_STOS, .bytes = 8, .target = 7, .flags = P },
		{ .code = OP_ALTER, .va = 0x10, .insn = INS_SSE, .bytes = 16, .target = 7, .flags = P },
	};
	u64 was;

	for (u32 i = 0; i < ARRAY_LEN(ops); i++) {
		map_pages();
		pte(4, 2, 9, P | W | G);
		was = peek(4, 2);
		CHECK(retype(4, TYPE_RO) == HV_OK);
		CHECK(step(ops[i]).kind == (ops[i].code == OP_ALTER ? OBS_ALTER : OBS_OK));
		CHECK(peek(4, 2) == was);
		CHECK(retype(4, TYPE_RW) == HV_OK);
		CHECK(step(ops[i]).kind == (ops[i].code == OP_ALTER ? OBS_ALTER : OBS_OK));
		CHECK(peek(4, 2) != was);
	}
}

// They answer as if they had stored.
static void test_changes_answer_as_usual(void)
{
	struct obs o;

	map_pages();
	pte(4, 2, 9, P | W);
	retype(4, TYPE_RO);
	o = step(OP(.code = OP_CAS, .frame = 4, .index = 2, .bytes = 8, .on = true, .target = 7));
	CHECK(o.kind == OBS_CAS && o.matched && o.value[0] == (UINT64_C(0x40009000) | P | W));
	o = step(OP(.code = OP_CAS, .frame = 4, .index = 2, .bytes = 8, .on = true, .target = 7));
	CHECK(o.matched && o.value[0] == (UINT64_C(0x40009000) | P | W));
	o = step(OP(.code = OP_ALTER, .va = 0x10, .insn = INS_XADD, .bytes = 4, .flags = 4));
	CHECK(o.kind == OBS_ALTER && o.value[0] == (UINT64_C(0x40009000) | P | W));
	o = step(OP(.code = OP_ALTER, .va = 0x10, .insn = INS_LOCK_AND, .bytes = 4, .flags = UINT32_MAX));
	CHECK(o.kind == OBS_ALTER && (o.error & 0x40)); // the result would be 0
	o = step(OP(.code = OP_ALTER, .va = 0x20, .insn = INS_CAS, .bytes = 8, .target = 7));
	CHECK(o.value[0] == 0 && (o.error & 0x40));
	CHECK(peek(4, 2) == (UINT64_C(0x40009000) | P | W) && peek(4, 4) == 0);
}

static void test_half_of_an_operand_is_lost(void)
{
	struct obs o;

	map_pages();
	retype(5, TYPE_RO);
	step(OP(.code = OP_WRITE, .va = 0xffc, .bytes = 8, .value = UINT64_C(0x1111111122222222)));
	CHECK(peek(4, 511) == UINT64_C(0x2222222200000000) && peek(5, 0) == 0);
	step(OP(.code = OP_WRITE, .va = 0x1ffc, .bytes = 8, .value = UINT64_C(0x1111111122222222)));
	CHECK(peek(5, 511) == 0 && peek(6, 0) == 0x11111111);
	o = step(OP(.code = OP_ALTER, .va = 0xffc, .insn = INS_OR, .bytes = 8, .flags = P | W));
	CHECK(o.kind == OBS_ALTER && peek(4, 511) == UINT64_C(0x2222222300000000) && peek(5, 0) == 0);
}

// Walks set A and D in tables that the guest cannot store to.
static void test_walks_go_on(void)
{
	map_pages();
	for (u32 i = 0; i < 4; i++)
		CHECK(retype(i, TYPE_RO) == HV_OK); // a root can be retyped
	step(OP(.code = OP_WRITE, .va = 0x10, .bytes = 1, .value = 5));
	CHECK((peek(3, 0) & (A | D)) == (A | D) && (peek(0, 0) & A) && peek(4, 2) == 5);
	pte(3, 0, 5, P | W | U);
	CHECK((peek(3, 0) & ~(u64)0xfff) == 0x40004000);
}

// The frame does not take the way to the other mode's kernel.
static void test_visit(void)
{
	struct obs o;

	start(1, false);
	pte(5, 258, 6, P);
	retype(5, TYPE_RO);
	o = step(OP(.code = OP_VISIT, .mode = TRACE_MODE_PAE, .frame = 5, .va = 0x80000000, .bytes = 1));
	CHECK(o.kind == OBS_FAULT && o.vector == 13);
	o = step(OP(.code = OP_VISIT, .mode = TRACE_MODE_32, .frame = 5, .va = 0, .bytes = 1));
	CHECK(o.kind == OBS_FAULT && o.vector == 13);
	o = step(OP(.code = OP_VISIT, .mode = TRACE_MODE_64, .frame = 5, .va = 0, .bytes = 1)); // it is there already
	CHECK(o.kind == OBS_FAULT && o.vector == 14);
	CHECK(model.word[5][TRACE_KERNEL_WORD] == model_kernel_word(TRACE_MODE_64) && model.vcpu[0].root == TRACE_F0_GFN);
	retype(5, TYPE_LOGDIRTY);
	o = step(OP(.code = OP_VISIT, .mode = TRACE_MODE_PAE, .frame = 5, .va = 0x80000000, .bytes = 1));
	CHECK(o.kind == OBS_FAULT && o.vector == 14);
}

// No processor may hold a translation that a store would go through.
static void test_no_writable_translation(void)
{
	struct obs seen = { .kind = OBS_OK };
	struct trace_op write = { .mode = TRACE_MODE_64, .code = OP_WRITE, .va = 0x10, .bytes = 1, .value = 5 };

	map_pages();
	step(write);
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	retype(4, TYPE_RO);
	CHECK(!model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, true, false, false));
	CHECK(model_tlb_allows(&model, 0, 0x10, TRACE_F0_GFN + 4, false, false, false));
	seen.from_tlb[0] = true;
	seen.tlb_gfn[0] = TRACE_F0_GFN + 4;
	CHECK_RULE(model_follow(&model, &write, &seen), "E1.42 no write hole");
}

// ---- types ------------------------------------------------------------------------------------------------
static bool takes_stores(u32 frame)
{
	u64 was = peek(frame, 1);
	bool takes;

	pte(frame, 1, 9, was & P ? 0 : P);
	takes = peek(frame, 1) != was;
	return takes;
}

static void test_types_travel(void)
{
	start(1, true);
	CHECK(retype(3, TYPE_RO) == HV_OK && !takes_stores(3) && takes_stores(4));
	CHECK(frame_op(OP_SWAP, 3, 4) == HV_OK && takes_stores(3) && !takes_stores(4));
	CHECK(move(4, 6) == HV_OK && !takes_stores(6) && !is_ram(4));
	CHECK(frame_op(OP_RENEW, 4, 0) == HV_OK && takes_stores(4));
	CHECK(frame_op(OP_RENEW, 6, 0) == HV_OK && takes_stores(6));
	CHECK(retype(6, TYPE_RO) == HV_OK && balloon(false, 6, 1) == HV_OK && balloon(true, 6, 1) == HV_OK && takes_stores(6));
	CHECK(retype(6, TYPE_RO) == HV_OK && move(7, 6) == HV_OK && takes_stores(6));
	CHECK(retype(6, TYPE_LOGDIRTY) == HV_OK && takes_stores(6));
	CHECK(retype(7, TYPE_RW) == HV_ENOENT);
}

// ---- what comes and goes ----------------------------------------------------------------------------------
static void test_move(void)
{
	start(2, true);
	pte(3, 5, 9, P);
	pte(4, 5, 8, P);
	CHECK(move(3, 4) == HV_OK && !is_ram(3) && peek(4, 5) == (UINT64_C(0x40009000) | P) && peek(3, 5) == 0);
	CHECK(model.word[4][TRACE_KERNEL_WORD] == model_kernel_word(TRACE_MODE_64));
	CHECK(move(3, 4) == HV_ENOENT && move(3, 3) == HV_ENOENT && move(4, 4) == HV_OK);
	CHECK(move(0, 5) == HV_EBUSY && move(5, 0) == HV_EBUSY && move(0, 0) == HV_EBUSY && move(3, 0) == HV_EBUSY);
	CHECK(move(4, 3) == HV_OK && is_ram(3) && !is_ram(4)); // into a hole
}

static void test_balloon(void)
{
	start(1, true);
	step(OP(.code = OP_CR3, .target = 5));
	pte(6, 5, 9, P);
	pte(8, 5, 9, P);
	CHECK(balloon(false, 4, 3) == HV_EBUSY && is_ram(4) && is_ram(6));
	CHECK(balloon(false, 6, 2) == HV_OK && !is_ram(6) && !is_ram(7) && is_ram(8));
	CHECK(balloon(false, 6, 10) == HV_OK && !is_ram(15)); // holes in it
	CHECK(balloon(false, 6, 11) == HV_EINVAL && balloon(true, 0, 17) == HV_EINVAL && balloon(true, 15, 2) == HV_EINVAL);
	CHECK(balloon(false, 5, 0) == HV_OK && balloon(true, 15, 0) == HV_OK && is_ram(5) && !is_ram(15));
	pte(4, 5, 9, P);
	CHECK(balloon(true, 4, 5) == HV_OK && is_ram(8) && !is_ram(9) && peek(6, 5) == 0 && peek(4, 5) != 0);
	CHECK(model.word[7][TRACE_KERNEL_WORD] == model_kernel_word(TRACE_MODE_64) &&
	      model.word[7][TRACE_KERNEL_WORD + 1] == TRACE_INT3);
}

static void test_identity(void)
{
	start(1, true);
	CHECK(identity(true, TRACE_F0_GFN, 0) == HV_OK); // nothing in it
	CHECK(identity(true, TRACE_F0_GFN - 2, 2) == HV_OK && identity(true, TRACE_F0_GFN - 2, 3) == HV_EBUSY);
	CHECK(identity(true, TRACE_F0_GFN + 16, 3) == HV_OK && identity(true, TRACE_F0_GFN + 15, 1) == HV_EBUSY);
	CHECK(identity(false, TRACE_F0_GFN + 15, 4) == HV_EBUSY);
	CHECK(identity(true, UINT64_C(0x10000000) - 1, 4) == HV_OK && identity(false, UINT64_C(0x10000000), 0) == HV_EINVAL);
	CHECK(balloon(false, 12, 4) == HV_OK);
	CHECK(identity(true, TRACE_F0_GFN + 13, 2) == HV_OK && identity(true, TRACE_F0_GFN + 13, 1) == HV_OK);
	CHECK(frame_op(OP_RENEW, 13, 0) == HV_EBUSY && frame_op(OP_RENEW, 15, 0) == HV_OK && frame_op(OP_RENEW, 12, 0) == HV_OK);
	CHECK(move(12, 14) == HV_EBUSY && move(14, 12) == HV_ENOENT && balloon(true, 12, 2) == HV_EBUSY);
	CHECK(frame_op(OP_REMOVE, 13, 0) == HV_ENOENT && frame_op(OP_SWAP, 12, 13) == HV_ENOENT && retype(13, TYPE_RO) == HV_ENOENT);
	CHECK(balloon(false, 12, 3) == HV_EBUSY && is_ram(12) && balloon(false, 12, 1) == HV_OK && !is_ram(12));
	CHECK(identity(false, TRACE_F0_GFN + 14, 1) == HV_OK && balloon(true, 14, 1) == HV_OK);
	CHECK(balloon(true, 13, 1) == HV_EBUSY && identity(false, TRACE_F0_GFN + 12, 2) == HV_OK && balloon(true, 12, 2) == HV_OK);
}

// ---- large entries ----------------------------------------------------------------------------------------
static const char *large_seen(u8 answer)
{
	struct obs seen = { .kind = OBS_STATUS, .status = answer };

	return model_follow(&model, &OP(.code = OP_LARGE, .frame = 3), &seen);
}

static void test_large(void)
{
#ifdef HV_GEOMETRY_SMALL
	const char *refused = NULL, *ok = NULL, *invalid = "E1.50";
#else
	const char *refused = "E1.50", *ok = "E1.50", *invalid = NULL; // there are no 512 frames of RAM
#endif
	start(1, true);
	CHECK_RULE(large_seen(HV_OK), ok);
	start(1, true);
	CHECK_RULE(large_seen(HV_ENOMEM), refused);
	start(1, true);
	CHECK_RULE(large_seen(HV_EINVAL), invalid);
	for (u8 answer = HV_OK; answer <= HV_EINVAL; answer++) {
		start(1, true);
		retype(8, TYPE_RO);
		CHECK_RULE(large_seen(answer), answer == HV_EINVAL ? NULL : "E1.50");
		start(1, true);
		retype(8, TYPE_LOGDIRTY); // nobody knows whether it still is
		CHECK_RULE(large_seen(answer), answer == HV_EINVAL ? NULL : ok);
		start(1, true);
		retype(8, TYPE_LOGDIRTY);
		balloon(false, 15, 1);
		CHECK_RULE(large_seen(answer), answer == HV_EINVAL ? NULL : "E1.50");
	}
}

// While one large entry is made another call is told to wait; who moves or retypes frames meanwhile spoils it.
static const char *large_races(struct trace_op other, u8 large, u8 answer, bool large_is_outside)
{
	const struct trace_op op = { .code = OP_LARGE, .frame = 3 };
	struct obs seen = { .kind = OBS_STATUS, .status = large }, seen_other = { .kind = OBS_STATUS, .status = answer };

	if (other.code == OP_PTE)
		seen_other = (struct obs){ .kind = OBS_OK };
	start(2, true);
	return large_is_outside ? model_follow_race(&model, &op, &seen, &other, 1, &seen_other)
				: model_follow_race(&model, &other, &seen_other, &op, 1, &seen);
}

static void test_large_races(void)
{
#ifdef HV_GEOMETRY_SMALL
	const char *refused = NULL;
#else
	const char *refused = "E1.50";
#endif
	const struct trace_op renew = { .code = OP_RENEW, .frame = 9 }, store = { .code = OP_PTE, .frame = 9, .target = 4, .flags = P };
	const struct trace_op again = { .code = OP_LARGE, .frame = 9 }, blow = { .code = OP_BLOW };

	CHECK_RULE(large_races(renew, HV_EBUSY, HV_OK, true), refused);
	CHECK_RULE(large_races(renew, HV_EBUSY, HV_OK, false), "E1.50");
	CHECK_RULE(large_races(store, HV_EBUSY, HV_OK, true), "E1.50");
	CHECK_RULE(large_races(blow, HV_EBUSY, HV_OK, true), "E1.50");
	CHECK_RULE(large_races(again, HV_EBUSY, HV_OK, true), "E1.50"); // the one outside goes on
	CHECK_RULE(large_races(again, refused ? HV_EINVAL : HV_OK, HV_EBUSY, true), refused);
	CHECK_RULE(large_races(again, HV_OK, HV_OK, true), refused);
}

// ---- control and migration --------------------------------------------------------------------------------
static void test_control(void)
{
	static const u8 fixed[] = { ASK_TEST, ASK_TRANSLATE, ASK_ENABLE };
	static const u8 together[] = { 4, 5, 6, 7, 14, 15, 30, 31 }; // with log-dirty among them

	start(1, true);
	for (u8 what = 0; what < ASK_COUNT; what++)
		CHECK(ask(what, 1, WHO_SELF) == HV_EINVAL && ask(what, 1, WHO_ABSENT) == HV_ENOENT);
	for (u32 on = 0; on < 2; on++) {
		for (u32 i = 0; i < ARRAY_LEN(fixed); i++)
			CHECK(ask(fixed[i], 27, 0) == HV_EINVAL);
		CHECK(ask(ASK_GET, 0, 0) == HV_OK && ask(ASK_BLOW, 0, 0) == HV_OK && ask(ASK_BLOW_ALL, 0, 0) == HV_OK);
		CHECK(ask(ASK_SET, 0, 0) == HV_EINVAL && ask(ASK_SET, 1, 0) == HV_OK && ask(ASK_SET, 511, 0) == HV_ENOMEM);
		CHECK(ask(ASK_PEEK, 0, 0) == HV_EINVAL && ask(ASK_CLEAN, 511, 0) == HV_EINVAL);
		CHECK(ask(ASK_PEEK, 1, 0) == (on ? HV_OK : HV_EINVAL) && ask(ASK_CLEAN, 510, 0) == (on ? HV_OK : HV_EINVAL));
		CHECK(ask(ASK_LOGDIRTY, 0, 0) == (on ? HV_EINVAL : HV_OK));
	}
	CHECK(ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_OK && ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_EINVAL);
	CHECK(ask(ASK_LOGDIRTY, 0, 0) == HV_OK && ask(ASK_OFF, 0, 0) == HV_EINVAL && ask(ASK_OFF, 0, 0) == HV_EINVAL);
	CHECK(ask(ASK_PEEK, 1, 0) == HV_EINVAL && ask(ASK_LOGDIRTY, 0, 0) == HV_OK);
	CHECK(ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_OK);
	for (u16 mask = 0, n = 0; mask < 512; mask++) {
		bool log = n < ARRAY_LEN(together) && mask == together[n];

		n += log;
		CHECK(ask(ASK_ENABLE, mask, 0) == (log ? HV_OK : HV_EINVAL));
		CHECK(ask(ASK_LOGDIRTY_OFF, 0, 0) == (log ? HV_OK : HV_EINVAL));
	}
}

static void test_migration(void)
{
	start(2, true);
	CHECK(migrate(TRACE_STEP_ROUND) == HV_ENOENT && migrate(TRACE_STEP_FINISH) == HV_ENOENT && migrate(TRACE_STEP_CANCEL) == HV_ENOENT);
	for (u32 end = TRACE_STEP_FINISH; end <= TRACE_STEP_CANCEL; end++) {
		CHECK(migrate(TRACE_STEP_START) == HV_OK && migrate(TRACE_STEP_START) == HV_EBUSY && migrate(TRACE_STEP_ROUND) == HV_OK);
		CHECK(ask(ASK_LOGDIRTY, 0, 0) == HV_EBUSY && ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_EBUSY && ask(ASK_OFF, 0, 0) == HV_EBUSY);
		CHECK(ask(ASK_PEEK, 1, 0) == HV_EBUSY && ask(ASK_CLEAN, 16, 0) == HV_EBUSY && ask(ASK_CLEAN, 0, 0) == HV_EINVAL);
		CHECK(ask(ASK_PEEK, 1, WHO_ABSENT) == HV_ENOENT && ask(ASK_GET, 0, 0) == HV_OK && ask(ASK_BLOW, 0, 0) == HV_OK);
		pte(3, 1, 4, P);
		CHECK(migrate((u8)end) == HV_OK && migrate(TRACE_STEP_ROUND) == HV_ENOENT && peek(3, 1) == (UINT64_C(0x40004000) | P));
		CHECK(ask(ASK_PEEK, 1, 0) == HV_EINVAL && ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_EINVAL);
	}
}

// ---- the donor ------------------------------------------------------------------------------------------
static u8 foreign(u32 frame, u32 what)
{
	return status(OP(.code = OP_FOREIGN, .frame = (u8)frame, .what = (u8)what));
}
static u8 donor(u32 deed)
{
	return status(OP(.code = OP_DONOR, .what = (u8)deed));
}
static u64 load(u64 page, u64 offset)
{
	return step(OP(.code = OP_READ, .va = va_of(0, 0, 0, page, offset), .bytes = 8)).value[0];
}

// What a hypervisor would have of the model, with these words at f4.
static u64 lent[MODEL_WORDS];

static const void *frame_of(void *ctx, u32 i)
{
	(void)ctx;
	return i == 4 ? lent : model.word[i];
}

// The words that the ABI of the hypervisor promises, spelled out.
static void test_gifts_are_read(void)
{
	map_pages();
	CHECK(foreign(4, 2) == HV_EBUSY && frame_op(OP_REMOVE, 4, 0) == HV_OK && foreign(4, GIFT_NONE) == HV_ENOENT);
	CHECK(foreign(4, 2) == HV_OK && foreign(4, 2) == HV_EBUSY && !is_ram(4));
	CHECK(load(0, 0) == 0x40001267 && load(0, 8) == UINT64_C(0x200240002267) && load(0, 0x38) == UINT64_C(0x200e40008267));
	CHECK(peek(4, 511) == UINT64_C(0x23fe40000267) && load(0, 0xffc) == UINT64_C(0x000023fe)); // and f5, which has nothing
	for (u32 i = 0; i < 2; i++) {
		struct obs o = step(OP(.code = OP_ALTER, .va = va_of(0, 0, 0, 0, 8), .insn = INS_XADD, .bytes = 8, .flags = P));

		CHECK(o.kind == OBS_ALTER && o.value[0] == UINT64_C(0x200240002267));
		step(OP(.code = OP_WRITE, .va = va_of(0, 0, 0, 0, 8), .bytes = 8, .value = 1));
		step(OP(.code = OP_ZERO, .frame = 4));
		pte(4, 1, 9, P);
		CHECK(donor(DEED_RENEW + 1 + i) == HV_OK);
	}
	step(OP(.code = OP_COPY, .frame = 5, .from = 4));
	CHECK(load(1, 8) == UINT64_C(0x200240002267) && load(1, 0x800) == model_kernel_word(TRACE_MODE_64));
	CHECK(foreign(4, GIFT_NONE) == HV_OK && load(0, 8) == 0 && foreign(4, 2) == HV_OK);
	CHECK(load(0, 0) == 0x40002a67 && load(0, 8) == UINT64_C(0x2200240003a67)); // renewed once
	for (u32 i = 0; i < MODEL_WORDS; i++)
		lent[i] = model_word(&model, 4, i);
	CHECK_OK(model_compare_memory(&model, frame_of, NULL));
	lent[256] ^= 1; // where frames of its own have words that nobody can change
	CHECK_RULE(model_compare_memory(&model, frame_of, NULL), "E1.45 memory: word 256 of the donor's frame at f4 is 0x");
}

static void test_what_the_donor_does(void)
{
	start(1, true);
	for (u32 i = 4; i < 8; i++)
		CHECK(frame_op(OP_REMOVE, i, 0) == HV_OK && foreign(i, i - 3) == HV_OK);
	CHECK(donor(DEED_DROP + 2) == HV_OK && donor(DEED_DROP + 2) == HV_ENOENT && peek(6, 0) == 0x40002467);
	CHECK(foreign(6, GIFT_NONE) == HV_OK && foreign(6, 3) == HV_ENOENT && peek(6, 0) == 0);
	CHECK(donor(DEED_RENEW + 2) == HV_OK && foreign(6, 3) == HV_OK && peek(6, 0) == 0x40003c67);
	CHECK(donor(DEED_DROP) == HV_OK && donor(DEED_END) == HV_OK && donor(DEED_END) == HV_OK && donor(DEED_DROP) == HV_OK);
	CHECK(peek(4, 0) == 0x40000067 && peek(6, 0) == 0x40003c67 && foreign(4, GIFT_NONE) == HV_OK && foreign(4, 1) == HV_ENOENT);
	CHECK(foreign(4, 3) == HV_OK && peek(4, 0) == 0x40005c67);
}

static void test_a_gift_is_no_ram(void)
{
	start(2, true);
	map_tables();
	pte(3, 1, 4, P | W | U);
	CHECK(frame_op(OP_REMOVE, 9, 0) == HV_OK && foreign(9, 1) == HV_OK);
	CHECK(frame_op(OP_UNSHADOW, 9, 0) == HV_ENOENT && frame_op(OP_REMOVE, 9, 0) == HV_ENOENT && frame_op(OP_SWAP, 9, 4) == HV_ENOENT);
	CHECK(retype(9, TYPE_RO) == HV_ENOENT && move(9, 4) == HV_ENOENT && move(4, 9) == HV_EBUSY && move(9, 9) == HV_EBUSY);
	CHECK(frame_op(OP_RENEW, 9, 0) == HV_EBUSY && balloon(true, 8, 3) == HV_EBUSY && balloon(false, 9, 1) == HV_EBUSY);
	CHECK(identity(true, TRACE_F0_GFN + 9, 1) == HV_EBUSY && identity(false, TRACE_F0_GFN + 9, 1) == HV_EBUSY);
	CHECK(frame_op(OP_LARGE, 9, 0) == HV_EINVAL && !is_ram(9) && peek(9, 0) == 0x40000067);
	CHECK(ask(ASK_LOGDIRTY, 0, 0) == HV_OK && ask(ASK_LOGDIRTY_OFF, 0, 0) == HV_OK);
	for (u32 end = TRACE_STEP_FINISH; end <= TRACE_STEP_CANCEL; end++)
		CHECK(migrate(TRACE_STEP_START) == HV_OK && donor(DEED_DROP) == (end == TRACE_STEP_FINISH ? HV_OK : HV_ENOENT) &&
		      migrate((u8)end) == HV_OK && peek(9, 0) == 0x40000067);
	// An entry there would lead to f6. Nobody walks there, nobody runs there, nobody makes it a root.
	pte(2, 1, 9, P | W | U);
	CHECK(step(OP(.code = OP_READ, .va = va_of(0, 0, 1, 6, 0), .bytes = 8)).error == 0);
	CHECK(step(OP(.code = OP_READ, .va = va_of(0, 0, 1, 6, 0), .bytes = 8)).vector == 14);
	pte(3, 2, 9, P | W | U);
	CHECK(step(OP(.code = OP_EXEC, .va = va_of(0, 0, 0, 2, 0))).vector == 13);
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++)
		CHECK(step(OP(.code = OP_VISIT, .mode = (u8)mode, .frame = 9, .bytes = 4)).vector == 13);
	CHECK(step(OP(.code = OP_READ, .va = va_of(0, 0, 0, 2, 0), .bytes = 8)).value[0] == 0x40000067);
	CHECK(step(OP(.code = OP_CR3, .target = 9)).kind == OBS_KILLED);
}

// While one vcpu is at it, the other may be told so, and nothing has happened. Nobody may be without that.
static void test_two_at_the_donor(void)
{
	const struct obs ok = { .kind = OBS_STATUS }, busy = { .kind = OBS_STATUS, .status = HV_EBUSY };
	const struct trace_op renew = OP(.code = OP_DONOR, .what = DEED_RENEW), map = OP(.code = OP_FOREIGN, .frame = 4, .what = 1);
	const struct trace_op none = OP(.code = OP_FOREIGN, .frame = 4), audit = OP(.code = OP_AUDIT);

	for (u32 i = 0; i < 2; i++) {
		start(2, true);
		frame_op(OP_REMOVE, 4, 0);
		CHECK_OK(model_follow_race(&model, i ? &map : &renew, &ok, i ? &renew : &map, 1, &busy));
		CHECK(peek(4, 0) == (i ? 0x40000067 : 0) && foreign(5 - i, 1) == HV_EBUSY);
		CHECK(model.manage.generation[0] == 1 - i);
	}
	start(2, true);
	CHECK_RULE(model_follow_race(&model, &renew, &ok, &none, 1, &busy), "E1.50 control operation");
	start(2, true);
	CHECK_RULE(model_follow_race(&model, &audit, &ok, &renew, 1, &busy), "E1.50 control operation");
	start(2, true);
	CHECK_RULE(model_follow(&model, &renew, &busy), "E1.50 control operation");
}

// A refusal is allowed when a failure was armed, and changes nothing.
static void test_refusals(void)
{
	const struct trace_op ops[] = {
		OP(.code = OP_CONTROL, .what = ASK_LOGDIRTY), OP(.code = OP_MIGRATE, .what = TRACE_STEP_START),
		OP(.code = OP_BALLOON, .frame = 4, .count = 2), OP(.code = OP_RETYPE, .frame = 4, .what = TYPE_RO),
		OP(.code = OP_MOVE, .frame = 4, .from = 5), OP(.code = OP_DONOR, .what = DEED_DROP),
		OP(.code = OP_IDENTITY, .value = TRACE_HOLE0_GFN, .count = 1, .on = true),
	};
	const struct obs seen = { .kind = OBS_STATUS, .status = HV_ENOMEM };

	for (u32 i = 0; i < ARRAY_LEN(ops); i++) {
		struct trace_op op = ops[i];

		start(1, true);
		pte(4, 1, 9, P);
		CHECK_RULE(model_follow(&model, &op, &seen), "E1.50 control operation");
		start(1, true);
		pte(4, 1, 9, P);
		op.fail_nth = 1;
		CHECK_OK(model_follow(&model, &op, &seen));
		CHECK(peek(4, 1) != 0 && takes_stores(4) && !model.manage.watching && !model.manage.migrating);
	}
}

int main(void)
{
	test_stores_are_lost();
	test_changes_answer_as_usual();
	test_half_of_an_operand_is_lost();
	test_walks_go_on();
	test_visit();
	test_no_writable_translation();
	test_types_travel();
	test_move();
	test_balloon();
	test_identity();
	test_large();
	test_large_races();
	test_control();
	test_migration();
	test_gifts_are_read();
	test_what_the_donor_does();
	test_a_gift_is_no_ram();
	test_two_at_the_donor();
	test_refusals();
	return check_report();
}
