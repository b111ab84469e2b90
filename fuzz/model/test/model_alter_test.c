// SPDX-License-Identifier: GPL-2.0-or-later
// Test of `alter` in the reference model: results and flags against the processor that runs this test, then the
// accesses that an instruction does.
//
// The oracle executes the real instruction on a variable, in all sizes, and reads RFLAGS with LAHF and SETO. LAHF
// gives CF, PF, AF, ZF and SF in their places of the low byte.
#include "../internal.h"
#include "check.h"

static const u64 f0 = TRACE_F0_GFN;

// ---- the oracle -----------------------------------------------------------------------------------------
struct real {
	u64 memory[2], reg;
	u32 flags;
};

static u32 rflags(u64 ax)
{
	return (u32)(ax >> 8 & 0xff) | (ax & 1 ? 0x800 : 0);
}

#define READ_FLAGS "; lahf; seto %%al"

// An instruction with a register operand: type is that of the operand, prefix "" or "lock; ".
#define WITH_REGISTER(text, type)                                                                                 \
	do {                                                                                                      \
		type memory = (type)r->memory[0], reg = (type)operand;                                            \
		u64 ax;                                                                                           \
		__asm__ volatile(text " %[reg], %[memory]" READ_FLAGS                                             \
				 : [memory] "+m"(memory), [reg] "+q"(reg), "=&a"(ax) : : "cc");                  \
		r->memory[0] = memory;                                                                            \
		r->reg = reg;                                                                                     \
		r->flags = rflags(ax);                                                                            \
	} while (0)
#define ALONE(text, type)                                                                                         \
	do {                                                                                                      \
		type memory = (type)r->memory[0];                                                                 \
		u64 ax;                                                                                           \
		__asm__ volatile(text " %[memory]" READ_FLAGS : [memory] "+m"(memory), "=&a"(ax) : : "cc");      \
		r->memory[0] = memory;                                                                            \
		r->flags = rflags(ax);                                                                            \
	} while (0)
// The accumulator is 0 before: what is compared with.
#define COMPARE(text, type)                                                                                       \
	do {                                                                                                      \
		type memory = (type)r->memory[0], reg = (type)operand;                                            \
		u64 ax = 0, old;                                                                                  \
		__asm__ volatile(text " %[reg], %[memory]; mov %%rax, %[old]" READ_FLAGS                          \
				 : [memory] "+m"(memory), [old] "=&r"(old), "+&a"(ax) : [reg] "q"(reg) : "cc");  \
		r->memory[0] = memory;                                                                            \
		r->reg = old;                                                                                     \
		r->flags = rflags(ax);                                                                            \
	} while (0)

#define SIZES(name, body, text)                                                                                   \
	static void name(u32 bytes, u64 operand, struct real *r)                                                  \
	{                                                                                                         \
		(void)operand;                                                                                    \
		if (bytes == 1)                                                                                   \
			body(text "b", u8);                                                                       \
		else if (bytes == 2)                                                                              \
			body(text "w", u16);                                                                      \
		else if (bytes == 4)                                                                              \
			body(text "l", u32);                                                                      \
		else                                                                                              \
			body(text "q", u64);                                                                      \
	}
// There are no bit tests of bytes.
#define BIT_SIZES(name, body, text)                                                                               \
	static void name(u32 bytes, u64 operand, struct real *r)                                                  \
	{                                                                                                         \
		if (bytes == 2)                                                                                   \
			body(text "w", u16);                                                                      \
		else if (bytes == 4)                                                                              \
			body(text "l", u32);                                                                      \
		else                                                                                              \
			body(text "q", u64);                                                                      \
	}
#define WITH_LOCK(make, name, body, text) make(real_##name, body, text) make(real_lock_##name, body, "lock; " text)

SIZES(real_xchg, WITH_REGISTER, "xchg")
SIZES(real_xadd, WITH_REGISTER, "xadd")
WITH_LOCK(SIZES, cas, COMPARE, "cmpxchg")
WITH_LOCK(SIZES, and, WITH_REGISTER, "and")
WITH_LOCK(SIZES, or, WITH_REGISTER, "or")
WITH_LOCK(SIZES, xor, WITH_REGISTER, "xor")
WITH_LOCK(SIZES, add, WITH_REGISTER, "add")
WITH_LOCK(SIZES, sub, WITH_REGISTER, "sub")
WITH_LOCK(SIZES, inc, ALONE, "inc")
WITH_LOCK(SIZES, dec, ALONE, "dec")
WITH_LOCK(BIT_SIZES, bts, WITH_REGISTER, "bts")
WITH_LOCK(BIT_SIZES, btr, WITH_REGISTER, "btr")
WITH_LOCK(BIT_SIZES, btc, WITH_REGISTER, "btc")

static void (*const real[INS_COUNT])(u32, u64, struct real *) = {
	[INS_XCHG] = real_xchg, [INS_CAS] = real_cas, [INS_AND] = real_and, [INS_OR] = real_or, [INS_XOR] = real_xor,
	[INS_ADD] = real_add, [INS_SUB] = real_sub, [INS_INC] = real_inc, [INS_DEC] = real_dec, [INS_BTS] = real_bts,
	[INS_BTR] = real_btr, [INS_BTC] = real_btc, [INS_LOCK_CAS] = real_lock_cas, [INS_LOCK_AND] = real_lock_and,
	[INS_LOCK_OR] = real_lock_or, [INS_LOCK_XOR] = real_lock_xor, [INS_LOCK_ADD] = real_lock_add,
	[INS_LOCK_SUB] = real_lock_sub, [INS_LOCK_INC] = real_lock_inc, [INS_LOCK_DEC] = real_lock_dec,
	[INS_LOCK_BTS] = real_lock_bts, [INS_LOCK_BTR] = real_lock_btr, [INS_LOCK_BTC] = real_lock_btc,
	[INS_XADD] = real_xadd,
};

static void real_cas16(u64 operand, struct real *r)
{
	__attribute__((aligned(16))) u64 memory[2] = { r->memory[0], r->memory[1] };
	u64 ax = 0, dx = 0;
	bool equal;

	__asm__ volatile("lock; cmpxchg16b %[memory]; sete %[equal]"
			 : [memory] "+m"(memory), [equal] "=q"(equal), "+&a"(ax), "+&d"(dx)
			 : "b"(operand), "c"(operand) : "cc");
	CHECK(equal || (ax == r->memory[0] && dx == r->memory[1])); // what the guest observes is the old contents
	r->memory[0] = memory[0];
	r->memory[1] = memory[1];
	r->flags = equal ? 0x40 : 0;
}

// ---- results and flags ------------------------------------------------------------------------------------
static bool reports_old(u32 insn)
{
	return insn == INS_XCHG || insn == INS_CAS || insn == INS_LOCK_CAS || insn == INS_XADD;
}

static bool is_bit_test(u32 insn)
{
	return (insn >= INS_BTS && insn <= INS_BTC) || (insn >= INS_LOCK_BTS && insn <= INS_LOCK_BTC);
}

static bool is_step(u32 insn)
{
	return insn == INS_INC || insn == INS_DEC || insn == INS_LOCK_INC || insn == INS_LOCK_DEC;
}

static u64 cut(u64 value, u32 bytes)
{
	return bytes == 8 ? value : value & ((UINT64_C(1) << 8 * bytes) - 1);
}

static void one_result(u32 insn, u32 bytes, u64 before, u64 operand)
{
	struct trace_op op = { .code = OP_ALTER, .insn = (u8)insn, .bytes = (u8)bytes };
	u64 old[2] = { cut(before, bytes), 0 };
	u64 input = is_bit_test(insn) ? operand % (8 * bytes) : is_step(insn) ? 1 : cut(operand, bytes);
	struct real want = { .memory = { old[0], 0 } };
	struct alu got;

	real[insn](bytes, input, &want);
	alu_run((u8)insn, bytes, old, input, &got);
	CHECK(got.memory[0] == want.memory[0] && got.memory[1] == 0);
	CHECK(got.flags == (want.flags & trace_alter_flags(&op)));
	CHECK(got.reported[0] == (reports_old(insn) ? old[0] : 0) && got.reported[1] == 0);
	if (insn == INS_XCHG || insn == INS_XADD)
		CHECK(want.reg == old[0]);
	if (insn == INS_CAS || insn == INS_LOCK_CAS)
		CHECK(cut(want.reg, bytes) == old[0]);
}

static const u64 edges[] = {
	0, 1, 2, 3, 0x0f, 0x10, 0x11, 0x7f, 0x80, 0x81, 0xf0, 0xff, 0x100, 0x7fff, 0x8000, 0x8001, 0xffff, 0x10000,
	0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, UINT64_C(0x100000000), UINT64_C(0x7fffffffffffffff),
	UINT64_C(0x8000000000000000), UINT64_C(0x8000000000000001), UINT64_C(0xffffffffffffffff),
	UINT64_C(0xaaaaaaaaaaaaaaaa), UINT64_C(0x5555555555555555), UINT64_C(0x0123456789abcdef),
	UINT64_C(0xcccccccccccccccc), UINT64_C(0x40004067), UINT64_C(0x8000000040005001), 37, 63,
};

static void test_results(void)
{
	u32 tried = 0;

	for (u32 insn = 0; insn < INS_COUNT; insn++) {
		const struct trace_op op = { .insn = (u8)insn };

		CHECK(trace_alter_reads(&op) == !!real[insn]);
		for (u32 bytes = 1; real[insn] && bytes <= 8; bytes *= 2) {
			if (bytes == 1 && is_bit_test(insn))
				continue;
			tried++;
			for (u32 i = 0; i < ARRAY_LEN(edges); i++)
				for (u32 k = 0; k < ARRAY_LEN(edges); k++)
					one_result(insn, bytes, edges[i], edges[k]);
			for (u32 k = 0; k < 64 && is_bit_test(insn); k++)
				one_result(insn, bytes, UINT64_C(0x5a5aa5a50ff0f00f), k);
		}
	}
	CHECK(tried == 24 * 4 - 6);
	// All pairs of bytes of the sums.
	for (u32 i = 0; i < 256; i++)
		for (u32 k = 0; k < 256; k++) {
			one_result(INS_ADD, 1, i, k);
			one_result(INS_SUB, 1, i, k);
		}
}

static void test_results_16(void)
{
	for (u32 i = 0; i < 4; i++) {
		u64 old[2] = { i & 1 ? 0 : 7, i & 2 ? 0 : UINT64_C(0x8000000000000000) };
		struct real want = { .memory = { old[0], old[1] } };
		struct alu got;

		real_cas16(0x1122334455667788, &want);
		alu_run(i & 1 ? INS_CAS : INS_LOCK_CAS, 16, old, 0x1122334455667788, &got);
		CHECK(got.memory[0] == want.memory[0] && got.memory[1] == want.memory[1] && got.flags == want.flags);
		CHECK(got.reported[0] == old[0] && got.reported[1] == old[1]);
	}
}

// ---- accesses -------------------------------------------------------------------------------------------
static struct obs alter(u8 insn, u64 va, u8 bytes, u8 target, u64 flags)
{
	return step(OP(.code = OP_ALTER, .insn = insn, .va = va, .bytes = bytes, .target = target, .flags = flags));
}

static void start_mapped(u64 leaf0, u64 leaf1)
{
	start(2, false);
	map_tables();
	pte(3, 0, 4, leaf0);
	pte(3, 1, 5, leaf1);
}

static void test_stores(void)
{
	struct obs o;

	start_mapped(P | W, P | W);
	for (u8 insn = INS_MOV; insn <= INS_SSE; insn++) {
		pte(4, 1, 0, 0);
		o = alter(insn, 8, 8, 6, P | NX);
		CHECK(o.kind == OBS_ALTER && o.value[0] == 0 && o.error == 0 && peek(4, 1) == (NX | 0x40006001));
	}
	o = alter(INS_MOV, 0x11, 2, 6, P | W);
	CHECK(o.kind == OBS_ALTER && peek(4, 2) == (NX | 0x40600301));
	alter(INS_SSE, 0x40, 16, 7, P);
	CHECK(peek(4, 8) == 0x40007001 && peek(4, 9) == 0x40007001 && peek(4, 10) == 0);
	alter(INS_SSE, 0x4c, 16, 9, P); // not aligned
	CHECK(peek(4, 9) == UINT64_C(0x4000900140007001) && peek(4, 10) == UINT64_C(0x4000900100000000) &&
	      peek(4, 11) == 0);
	o = alter(INS_REP_STOS, 0x80, 4, 8, P);
	CHECK(o.kind == OBS_ALTER && peek(4, 16) == UINT64_C(0x4000800140008001) && peek(4, 17) == 0x40008001);
}

// Elements one after the other: what was stored before the fault stays.
static void test_rep(void)
{
	struct obs o;

	start_mapped(P | W, 0);
	o = alter(INS_REP_STOS, 0xff0, 8, 8, P);
	CHECK(o.kind == OBS_FAULT && o.vector == 14 && o.error == 2 && o.cr2 == 0x1000);
	CHECK(peek(4, 510) == 0x40008001 && peek(4, 511) == 0x40008001);
	// The second element crosses: nothing of it is stored, its first page has D.
	start_mapped(P | W, P);
	o = alter(INS_REP_MOVS, 0xff4, 8, 8, P);
	CHECK(o.kind == OBS_FAULT && o.error == 3 && o.cr2 == 0x1000);
	CHECK(peek(4, 510) == UINT64_C(0x4000800100000000) && peek(4, 511) == 0);
	CHECK((peek(3, 0) & D) && !(peek(3, 1) & A));
	start_mapped(P | W, P | W);
	o = alter(INS_REP_MOVS, 0xff4, 8, 8, P);
	CHECK(o.kind == OBS_ALTER && peek(5, 1) == 0);
	CHECK(peek(4, 511) == UINT64_C(0x4000800100000000) && peek(5, 0) == UINT64_C(0x4000800100000000));
}

static void test_change(void)
{
	struct obs o;

	start_mapped(P | W, P | W);
	pte(4, 1, 0, 0xff);
	o = alter(INS_XADD, 8, 4, 0, W);
	CHECK(o.kind == OBS_ALTER && o.bytes == 4 && o.value[0] == 0x400000ff && peek(4, 1) == 0x40000101);
	CHECK(o.error == 0x10); // 0x01 has an odd number of ones; no carry out
	o = alter(INS_LOCK_AND, 8, 1, 0, P);
	CHECK(o.kind == OBS_ALTER && o.value[0] == 0 && o.error == 0x44 && peek(4, 1) == 0x40000100);
	o = alter(INS_CAS, 8, 8, 9, P | W);
	CHECK(o.value[0] == 0x40000100 && o.error == 0 && peek(4, 1) == 0x40000100);
	o = alter(INS_CAS, 16, 8, 9, P | W);
	CHECK(o.value[0] == 0 && o.error == 0x40 && peek(4, 2) == 0x40009003);
	o = alter(INS_LOCK_BTS, 24, 4, 0, W | PS);
	CHECK(o.kind == OBS_ALTER && o.error == 0 && peek(4, 3) == 2);
	o = alter(INS_LOCK_CAS, 0x20, 16, 9, P);
	CHECK(o.bytes == 16 && o.error == 0x40 && peek(4, 4) == 0x40009001 && peek(4, 5) == 0x40009001);
	o = alter(INS_CAS, 0x18, 16, 9, P);
	CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 && peek(4, 3) == 2);
	// Over two pages.
	o = alter(INS_XCHG, 0xffe, 4, 8, P);
	CHECK(o.value[0] == 0 && peek(4, 511) == UINT64_C(0x8001000000000000) && peek(5, 0) == 0x4000);
	o = alter(INS_SUB, 0xffe, 4, 0, U);
	CHECK(peek(4, 511) == UINT64_C(0x7ffd000000000000) && peek(5, 0) == 0x4000 && o.error == 0x10);
	// A hole reads 0 and swallows the store.
	pte(3, 0, TRACE_TARGET_HOLE0, P | W);
	o = alter(INS_INC, 8, 8, 0, 0);
	CHECK(o.kind == OBS_ALTER && o.error == 0);
	o = alter(INS_XADD, 8, 8, 0, U);
	CHECK(o.kind == OBS_ALTER && o.value[0] == 0);
}

// The read comes first: its faults do not say W, and it sets A but not D. Then the store is tried.
static void test_read_then_store(void)
{
	struct obs o;

	start_mapped(P, P | W);
	o = alter(INS_ADD, 8, 4, 0, P);
	CHECK(o.kind == OBS_FAULT && o.error == 3 && o.cr2 == 8 && (peek(3, 0) & (A | D)) == A && peek(4, 1) == 0);
	pte(3, 0, 4, 0);
	o = alter(INS_ADD, 8, 4, 0, P);
	CHECK(o.kind == OBS_FAULT && o.error == 0 && o.cr2 == 8);
	// Both pages are read before either is tried for the store.
	start_mapped(P, P | W);
	o = alter(INS_BTC, 0xffe, 4, 0, P);
	CHECK(o.kind == OBS_FAULT && o.error == 3 && o.cr2 == 0xffe && (peek(3, 1) & (A | D)) == A);
	start_mapped(P, 0);
	o = alter(INS_BTC, 0xffe, 4, 0, P);
	CHECK(o.kind == OBS_FAULT && o.error == 0 && o.cr2 == 0x1000 && (peek(3, 0) & A));
	// A cas that does not match stores all the same: D.
	start_mapped(P | W, 0);
	pte(4, 1, 0, P);
	alter(INS_CAS, 8, 8, 9, P);
	CHECK((peek(3, 0) & D) && peek(4, 1) == 0x40000001);
	// Its own leaf: the read sets A in it before the value is taken, the store D.
	start_mapped(P | W, 0);
	pte(3, 2, 3, P | W);
	o = alter(INS_XCHG, 0x2010, 8, 9, P);
	CHECK(o.value[0] == (0x40003000 | P | W | A | D) && peek(3, 2) == 0x40009001);
}

static void test_rights(void)
{
	struct trace_op op = { .code = OP_ALTER, .insn = INS_OR, .va = 8, .bytes = 4, .flags = P };
	struct obs o;

	start_mapped(P | W | U, 0);
	ctl(CTL_SMAP, true);
	o = step(op);
	CHECK(o.kind == OBS_FAULT && o.error == 1); // by the read
	op.insn = INS_MOV;
	o = step(op);
	CHECK(o.kind == OBS_FAULT && o.error == 3);
	op.ac = 1;
	CHECK(step(op).kind == OBS_ALTER);
	op.insn = INS_OR;
	CHECK(step(op).kind == OBS_ALTER);
	op.cpl = 3;
	op.ac = 0;
	CHECK(step(op).kind == OBS_ALTER);
	pte(3, 0, 4, P | W);
	o = step(op);
	CHECK(o.kind == OBS_FAULT && o.error == 5);
	// AC has no say in what SMEP and the other accesses look at.
	pte(3, 0, 4, P | W | U);
	ctl(CTL_SMEP, true);
	CHECK(step(OP(.code = OP_EXEC, .ac = 1)).error == 0x11);
	CHECK(step(OP(.code = OP_READ, .va = 8, .bytes = 1, .ac = 1)).kind == OBS_VALUE);
	CHECK(step(OP(.code = OP_WRITE, .va = 8, .bytes = 1, .ac = 1)).kind == OBS_OK);
	CHECK(step(OP(.code = OP_SET, .va = 8, .ac = 1)).kind == OBS_OK);
	CHECK(step(OP(.code = OP_PUSH, .va = 8, .ac = 1)).kind == OBS_OK);
	CHECK(step(OP(.code = OP_SWEEP, .count = 1, .ac = 1)).count == 1);
	CHECK(step(OP(.code = OP_READ, .va = 8, .bytes = 1)).error == 1);
}

// In 32-bit guests operands are cut, entries have 4 bytes, and 8 bytes come from SSE and CMPXCHG8B alone.
static void test_modes(void)
{
	struct obs o;

	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 0, 1, P | W);
	pte(1, 0, 4, P | W);
	alter(INS_SSE, 8, 8, 5, P | 0x2000);
	CHECK(peek(4, 2) == 0x40007001 && peek(4, 3) == 0);
	o = alter(INS_LOCK_CAS, 16, 8, 5, P);
	CHECK(o.error == 0x40 && peek(4, 4) == 0x40005001 && peek(4, 5) == 0);
	alter(INS_REP_STOS, 24, 4, 6, P);
	CHECK(peek(4, 6) == 0x40006001 && peek(4, 7) == 0x40006001 && peek(4, 8) == 0x40006001 && peek(4, 9) == 0);
	start_mode(TRACE_MODE_PAE, 1, false);
	pte(0, 258, 1, P);
	pte(1, 0, 2, P | W);
	pte(2, 0, 4, P | W);
	step(OP(.code = OP_RELOAD));
	alter(INS_SSE, 0x80000008, 8, 5, P | NX);
	CHECK(peek(4, 1) == (NX | 0x40005001));
}

// ---- lock-step --------------------------------------------------------------------------------------------
#define SEEN(...) ((struct obs){ __VA_ARGS__ })

static const char *follow(struct trace_op op, struct obs seen)
{
	return model_follow(&model, &op, &seen);
}

static void test_follow(void)
{
	const struct trace_op add = { .code = OP_ALTER, .insn = INS_ADD, .va = 8, .bytes = 4, .flags = 0x55 };
	struct obs seen = { .kind = OBS_ALTER, .error = 4 };

	start_mapped(P | W, P | W);
	CHECK_OK(follow(add, seen)); // 0x55: four ones
	start_mapped(P | W, P | W);
	seen.error = 0;
	CHECK_RULE(follow(add, seen), "E1.41 soundness");
	start_mapped(P | W, P | W);
	seen.emulated = true;
	CHECK_RULE(follow(add, seen), "E1.45 emulated write");
	start_mapped(P | W, P | W);
	seen = (struct obs){ .kind = OBS_ALTER, .value = { 1 }, .error = 4 };
	CHECK_RULE(follow(add, seen), "E1.41 soundness");
	start_mapped(P | W, 0);
	CHECK_RULE(follow(add, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 2, .cr2 = 8)), "E1.44 ");
}

// The read may come from an old translation, the store from the walk: which old value counts depends on who did it.
static void test_follow_stale_read(void)
{
	const struct trace_op xchg = { .code = OP_ALTER, .insn = INS_XCHG, .va = 8, .bytes = 1, .flags = 0x99 };
	struct obs seen = { .kind = OBS_ALTER, .bytes = 1, .from_tlb = { true }, .tlb_gfn = { TRACE_F0_GFN + 4 } };

	for (u32 i = 0; i < 4; i++) {
		start_mapped(P, 0);
		pte(4, 1, 0, 0x44);
		pte(5, 1, 0, 0x55);
		step(OP(.code = OP_READ, .va = 8, .bytes = 1));
		pte(3, 0, 5, P | W);
		seen.emulated = i & 1;
		seen.value[0] = i & 2 ? 0x55 : 0x44;
		if (i == 0 || i == 3)
			CHECK_OK(follow(xchg, seen));
		else
			CHECK_RULE(follow(xchg, seen), i ? "E1.4" : "");
		if (i == 0 || i == 3)
			CHECK(peek(5, 1) == 0x40000099 && peek(4, 1) == 0x40000044);
	}
	// Slot 2 is the store's; a read's translation without D does not serve it.
	start_mapped(P, 0);
	step(OP(.code = OP_READ, .va = 8, .bytes = 1));
	pte(3, 0, 5, P | W);
	seen = SEEN(.kind = OBS_ALTER, .from_tlb = { false, false, true }, .tlb_gfn = { 0, 0, TRACE_F0_GFN + 4 });
	CHECK_RULE(follow(xchg, seen), "E1.41 soundness: a TLB maps 0x8 to gfn 0x40004 for write");
	start_mapped(P | W, 0);
	step(OP(.code = OP_WRITE, .va = 8, .bytes = 1));
	pte(3, 0, 5, P);
	CHECK_OK(follow(xchg, seen));
	CHECK(peek(4, 1) == 0x99 && peek(3, 0) == (0x40005000 | P | A)); // read by the walk, stored through the TLB
}

static void test_follow_rep(void)
{
	struct trace_op stos = { .code = OP_ALTER, .insn = INS_REP_STOS, .va = 0xff0, .bytes = 8, .flags = P, .target = 9 };
	struct obs seen = { .kind = OBS_ALTER, .tlb_gfn = { 0, 0, 0, 0, TRACE_F0_GFN + 5, 0 } };

	start_mapped(P | W, P | W);
	step(OP(.code = OP_WRITE, .va = 0x1008, .bytes = 1));
	pte(3, 1, 6, P | W);
	seen.from_tlb[4] = true;
	CHECK_OK(follow(stos, seen));
	CHECK(peek(5, 0) == 0x40009001 && peek(6, 0) == 0 && !(peek(3, 1) & A) && peek(4, 511) == 0x40009001);
	// Its second page is slot 5.
	start_mapped(P | W, P | W);
	step(OP(.code = OP_WRITE, .va = 0x1008, .bytes = 1));
	pte(3, 1, 6, P | W);
	seen = SEEN(.kind = OBS_ALTER, .from_tlb = { [5] = true }, .tlb_gfn = { [5] = TRACE_F0_GFN + 5 });
	stos.va = 0xfec;
	CHECK_OK(follow(stos, seen));
	CHECK(peek(5, 0) == 0 && peek(5, 1) == 0); // 0xfec, 0xff4, 0xffc: four bytes of the last lie at 0x1000
	CHECK(peek(6, 0) == 0);
}

static void test_follow_kills(void)
{
	// Instructions that no emulator knows, and holes, are no excuse: the core steps them.
	static const struct { u8 insn, target; u64 flags; u8 fails; } cases[] = {
		{ INS_XADD, TRACE_TARGET_HOLE0, P | W, 0 }, { INS_XADD, 4, P | W, 0 },
		{ INS_XADD, TRACE_TARGET_HOLE0, P, 0 },	   { INS_ADD, TRACE_TARGET_HOLE0, P | W, 0 },
		{ INS_ADD, 4, P | W, 3 },		   { INS_MOV, TRACE_TARGET_HOLE0, P | W, 0 },
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		start_mapped(P | W, 0);
		pte(3, 0, cases[i].target, cases[i].flags);
		CHECK_RULE(follow(OP(.code = OP_ALTER, .insn = cases[i].insn, .va = 8, .bytes = 4,
				     .fail_nth = cases[i].fails),
				  SEEN(.kind = OBS_KILLED, .reason = "instruction cannot be emulated")),
			   "E1.43 liveness");
	}
	// Half in a hole.
	start_mapped(P | W, P | W);
	pte(3, 1, TRACE_TARGET_HOLE0, P | W);
	CHECK_RULE(follow(OP(.code = OP_ALTER, .insn = INS_XADD, .va = 0xffe, .bytes = 4),
			  SEEN(.kind = OBS_KILLED, .reason = "instruction cannot be emulated")), "E1.43 liveness");
}

// ---- races ------------------------------------------------------------------------------------------------
static const char *race(struct trace_op a, struct obs seen_a, struct trace_op b, struct obs seen_b)
{
	return model_follow_race(&model, &a, &seen_a, &b, 1, &seen_b);
}

static void test_races(void)
{
	const struct trace_op add = { .code = OP_ALTER, .insn = INS_LOCK_ADD, .va = 8, .bytes = 8, .flags = 0x10 };
	const struct trace_op look = { .code = OP_PEEK, .frame = 4, .index = 1 };
	const struct trace_op xchg = { .code = OP_ALTER, .insn = INS_XCHG, .va = 8, .bytes = 8, .flags = 0x30 };
	const struct trace_op move = { .code = OP_PTE, .frame = 3, .target = 5, .flags = P | W };
	const struct obs ok = { .kind = OBS_OK };
	u64 entry = f0 << 12;

	// Before or after.
	for (u32 i = 0; i < 3; i++) {
		static const u64 values[3] = { 0, 0x10, 0x11 };
		struct obs seen_a = { .kind = OBS_ALTER }, seen_b = { .kind = OBS_VALUE, .value = { values[i] } };

		start_mapped(P | W, P | W);
		CHECK_RULE(race(add, seen_a, look, seen_b), i < 2 ? NULL : "E1.4");
		CHECK(peek(4, 1) == 0x10);
	}
	// One of two exchanges sees the other's value.
	for (u32 i = 0; i < 3; i++) {
		struct obs first = { .kind = OBS_ALTER }, second = { .kind = OBS_ALTER, .value = { entry | 0x30 } };

		start_mapped(P | W, P | W);
		CHECK_RULE(race(xchg, i == 1 ? second : first, xchg, i == 0 ? second : first), i < 2 ? NULL : "E1.4");
	}
	// The page moves between the read and the store: read here and stored there, or all of it there.
	for (u32 i = 0; i < 3; i++) {
		static const u64 values[3] = { 0x44, 0x55, 0x99 };
		struct obs seen = { .kind = OBS_ALTER, .value = { UINT64_C(0x40000000) | values[i] } };

		start_mapped(P | W, P | W);
		pte(4, 1, 0, 0x44);
		pte(5, 1, 0, 0x55);
		if (i < 2)
			CHECK_OK(race(xchg, seen, move, ok));
		else
			CHECK_RULE(race(xchg, seen, move, ok), "E1.4");
	}
	// The store's translation marks the page's entry, then it is taken away, and the store alone is tried again.
	start_mapped(P | W, P | W);
	pte(3, 2, 3, P | W);
	CHECK_OK(race(add, SEEN(.kind = OBS_FAULT, .vector = 14, .error = 2, .cr2 = 8),
		      OP(.code = OP_ALTER, .insn = INS_XCHG, .va = 0x2000, .bytes = 8),
		      SEEN(.kind = OBS_ALTER, .value = { (f0 + 4) << 12 | P | W | A | D })));
	// In the middle of a REP.
	start_mapped(P | W, P | W);
	CHECK_OK(race(OP(.code = OP_ALTER, .insn = INS_REP_STOS, .va = 8, .bytes = 8, .flags = 0x10),
		      SEEN(.kind = OBS_ALTER),
		      OP(.code = OP_ALTER, .insn = INS_XCHG, .va = 16, .bytes = 8, .flags = 0x20),
		      SEEN(.kind = OBS_ALTER, .value = { 0 })));
	CHECK(peek(4, 1) == (entry | 0x10) && peek(4, 2) == (entry | 0x10) && peek(4, 3) == (entry | 0x10));
}

int main(void)
{
	test_results();
	test_results_16();
	test_stores();
	test_rep();
	test_change();
	test_read_then_store();
	test_rights();
	test_modes();
	test_follow();
	test_follow_stale_read();
	test_follow_rep();
	test_follow_kills();
	test_races();
	return check_report();
}
