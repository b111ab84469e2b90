// SPDX-License-Identifier: GPL-2.0-or-later
// Test of `visit` in the reference model: from each mode to each mode, with tables written by hand.
#include "../internal.h"
#include "check.h"

static const u64 f0 = TRACE_F0_GFN;

// One way from the root f4 to data in f7, in each mode; f8 holds the entry that the way ends at.
static const struct way {
	u64 va;
	u32 root_at; // where the root's entry lies in f4
	u32 tables;  // below the root: f5, f6, and f8 last
} ways[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = { .va = 0, .root_at = 0, .tables = 3 },
	[TRACE_MODE_32] = { .va = 0, .root_at = 0, .tables = 1 },
	[TRACE_MODE_PAE] = { .va = 0x80000000, .root_at = 0x810, .tables = 2 },
};

static void poke(u32 frame, u32 at, u64 value)
{
	memory_store(&model, f0 + frame, at, 8, value);
}

static void lay_out(enum trace_mode mode)
{
	u64 table = P | (mode == TRACE_MODE_PAE ? 0 : W | U), at = ways[mode].root_at;
	u32 frame = 4;

	for (u32 i = 0; i < ways[mode].tables; i++) {
		u32 next = i + 1 == ways[mode].tables ? 8 : 5 + i;

		poke(frame, (u32)at, (f0 + next) << 12 | table);
		frame = next;
		table = P | W | U;
		at = 0;
	}
	poke(8, 0, (f0 + 7) << 12 | P | W);
	poke(7, 8, 0x1122334455667788);
}

static struct obs go(enum trace_mode mode, u64 offset, bool store, u32 bytes, u64 value)
{
	return step(OP(.code = OP_VISIT, .mode = (u8)mode, .frame = 4, .va = ways[mode].va + offset, .on = store,
		       .bytes = (u8)bytes, .value = value));
}

static u64 word(u32 frame, u32 at)
{
	return memory_load(&model, f0 + frame, at, 8);
}

static void one_visit(enum trace_mode home, enum trace_mode mode)
{
	u64 reserved;
	struct obs o;

	start_mode(home, 1, false);
	lay_out(mode);
	reserved = word(4, TRACE_RESERVED_AT);
	o = go(mode, 8, false, 4, 0);
	CHECK(o.kind == OBS_VALUE && o.value[0] == 0x55667788 && o.bytes == 4);
	CHECK((word(8, 0) & (A | D)) == A && (word(4, ways[mode].root_at) & A) == (mode == TRACE_MODE_PAE ? 0 : A));
	o = go(mode, 9, true, 2, 0x5a5a);
	CHECK(o.kind == OBS_OK && word(7, 8) == 0x11223344555a5a88 && (word(8, 0) & (A | D)) == (A | D));
	o = go(mode, 0xfff, false, 2, 0);
	CHECK(o.kind == OBS_FAULT && o.vector == 14 && o.error == 0 && o.cr2 == ways[mode].va + 0x1000);
	poke(8, 0, (f0 + 7) << 12 | P);
	o = go(mode, 8, true, 1, 0x99);
	CHECK(o.kind == OBS_FAULT && o.error == 3 && o.cr2 == ways[mode].va + 8);
	CHECK(word(4, TRACE_RESERVED_AT) == reserved && word(4, TRACE_EXEC_AT) == TRACE_INT3);
	// And home: the same root, mode and control bits.
	CHECK(model.vcpu[0].mode == home && model.vcpu[0].root == f0 && model.vcpu[0].pse == (home == TRACE_MODE_32));
	CHECK(model.vcpu[0].wp && model.vcpu[0].nxe && !model.vcpu[0].pge && !model.dead);
	// A hole below, and a frame that is one.
	poke(8, 0, TRACE_HOLE0_GFN << 12 | P | W);
	CHECK(go(mode, 8, true, 4, 0x99).kind == OBS_OK && go(mode, 8, false, 4, 0).value[0] == 0);
	CHECK(step(OP(.code = OP_REMOVE, .frame = 4)).status == HV_OK);
	o = go(mode, 8, false, 4, 0);
	CHECK(o.kind == OBS_KILLED && strcmp(o.reason, "wild cr3") == 0);
}

static void test_all_ways(void)
{
	for (u32 home = 0; home < TRACE_MODE_COUNT; home++)
		for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++)
			one_visit((enum trace_mode)home, (enum trace_mode)mode);
}

// Control bits go with the guest, as far as the mode has them; CR4.PSE is on in mode 32.
static void test_controls(void)
{
	struct obs o;

	start_mode(TRACE_MODE_64, 1, false);
	lay_out(TRACE_MODE_PAE);
	poke(8, 0, (f0 + 7) << 12 | P | NX);
	CHECK(go(TRACE_MODE_PAE, 8, false, 1, 0).kind == OBS_VALUE);
	ctl(CTL_NXE, false);
	o = go(TRACE_MODE_PAE, 8, false, 1, 0);
	CHECK(o.kind == OBS_FAULT && o.error == 9);
	ctl(CTL_WP, false);
	poke(8, 0, (f0 + 7) << 12 | P);
	CHECK(go(TRACE_MODE_PAE, 8, true, 1, 0).kind == OBS_OK);
	poke(8, 0, (f0 + 7) << 12 | P | U);
	CHECK(go(TRACE_MODE_PAE, 8, true, 1, 0).kind == OBS_OK);
	ctl(CTL_SMAP, true);
	CHECK(go(TRACE_MODE_PAE, 8, false, 1, 0).error == 1);
	start_mode(TRACE_MODE_32, 1, false);
	ctl(CTL_PSE, false);
	poke(4, 0, f0 << 12 | P | W | PS);
	poke(5, 0x20, 0x77);
	o = go(TRACE_MODE_32, 0x5020, false, 1, 0);
	CHECK(o.kind == OBS_VALUE && o.value[0] == 0x77 && !model.vcpu[0].pse);
	// Bits 52 to 62 are free in mode 64 alone.
	start_mode(TRACE_MODE_PAE, 1, false);
	lay_out(TRACE_MODE_64);
	poke(8, 0, (f0 + 7) << 12 | P | UINT64_C(0x7ff0000000000000));
	CHECK(go(TRACE_MODE_64, 8, false, 1, 0).kind == OBS_VALUE);
	lay_out(TRACE_MODE_PAE);
	poke(8, 0, (f0 + 7) << 12 | P | UINT64_C(1) << 52);
	CHECK(go(TRACE_MODE_PAE, 8, false, 1, 0).error == 9);
}

// Invalid PDPTEs in the frame: the kernel does not go, so nothing is flushed and nothing is latched.
static void test_invalid(void)
{
	for (u32 home = 0; home < TRACE_MODE_COUNT; home++) {
		u64 reserved;
		struct obs o;

		start_mode((enum trace_mode)home, 1, false);
		lay_out(TRACE_MODE_PAE);
		poke(4, 0x818, P | W);
		reserved = word(4, TRACE_RESERVED_AT);
		o = go(TRACE_MODE_PAE, 8, false, 1, 0);
		CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 && word(4, TRACE_RESERVED_AT) == reserved);
		CHECK(model.vcpu[0].root == f0 && model.vcpu[0].mode == home);
	}
	start_mode(TRACE_MODE_PAE, 1, false);
	poke(0, 0x810, P | W); // home's root has become invalid, which nobody knows yet
	poke(4, 0x818, P | W);
	CHECK(go(TRACE_MODE_PAE, 8, false, 1, 0).vector == 13 && model.vcpu[0].root == f0);
}

// The root that the guest comes home to may be the frame that it visited, and may have become invalid meanwhile.
static void test_home(void)
{
	struct obs o;

	for (u32 home = 0; home < TRACE_MODE_COUNT; home++)
		for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++) {
			start_mode((enum trace_mode)home, 1, false);
			step(OP(.code = OP_CR3, .target = 4));
			lay_out((enum trace_mode)mode);
			o = go((enum trace_mode)mode, 8, false, 4, 0);
			CHECK(o.kind == OBS_VALUE && o.value[0] == 0x55667788 && model.vcpu[0].root == f0 + 4);
		}
	// What the visited access did is done; what it saw is lost.
	start_mode(TRACE_MODE_PAE, 1, false);
	lay_out(TRACE_MODE_64);
	poke(0, 0x810, P | W);
	o = go(TRACE_MODE_64, 8, true, 1, 0x99);
	CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 && o.cr2 == 0 && word(7, 8) == 0x1122334455667799);
	CHECK(model.vcpu[0].root == MODEL_K3_GFN && model.vcpu[0].mode == TRACE_MODE_PAE);
	// From there again, and back.
	o = go(TRACE_MODE_64, 8, false, 1, 0);
	CHECK(o.kind == OBS_VALUE && o.value[0] == 0x99 && model.vcpu[0].root == MODEL_K3_GFN);
	// The store itself breaks the root at home: f8's way leads to f0.
	start_mode(TRACE_MODE_PAE, 1, false);
	lay_out(TRACE_MODE_32);
	poke(8, 0, f0 << 12 | P | W);
	o = go(TRACE_MODE_32, 0x810, true, 1, 0x03);
	CHECK(o.kind == OBS_FAULT && o.vector == 13 && model.vcpu[0].root == MODEL_K3_GFN && word(0, 0x810) == 3);
}

// Everything that was cached is gone, global or not; nothing of the visit is cached at home.
static void test_flushes(void)
{
	start_mode(TRACE_MODE_64, 1, false);
	map_tables();
	ctl(CTL_PGE, true);
	pte(3, 0, 9, P | G);
	step(OP(.code = OP_READ, .bytes = 1, .va = 0));
	pte(3, 0, 10, P | G);
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 9, false, false, false));
	lay_out(TRACE_MODE_32);
	CHECK(go(TRACE_MODE_32, 8, false, 1, 0).kind == OBS_VALUE);
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 9, false, false, false));
	CHECK(!model_tlb_allows(&model, 0, 0, f0 + 7, false, false, false));
	step(OP(.code = OP_READ, .bytes = 1, .va = 0));
	CHECK(model_tlb_allows(&model, 0, 0, f0 + 10, false, false, false));
}

// In lock-step: an access that a TLB answered has no right to old translations.
static void test_follow(void)
{
	struct trace_op op = { .code = OP_VISIT, .mode = TRACE_MODE_32, .frame = 4, .va = 8, .bytes = 1 };
	struct obs seen = { .kind = OBS_VALUE, .value = { 0x88 } };

	start_mode(TRACE_MODE_PAE, 1, false);
	lay_out(TRACE_MODE_32);
	CHECK_OK(model_follow(&model, &op, &seen));
	seen.value[0] = 0x89;
	CHECK_RULE(model_follow(&model, &op, &seen), "E1.41 soundness");
	start_mode(TRACE_MODE_32, 1, false);
	step(OP(.code = OP_CR3, .target = 4));
	lay_out(TRACE_MODE_32);
	step(OP(.code = OP_READ, .bytes = 1, .va = 8));
	pte(8, 0, 9, P);
	seen = (struct obs){ .kind = OBS_VALUE, .value = { 0x88 }, .from_tlb = { true }, 
			      .tlb_gfn = { TRACE_F0_GFN + 7 } };
	CHECK_RULE(model_follow(&model, &op, &seen), "E1.41 soundness: a TLB");
}

int main(void)
{
	test_all_ways();
	test_controls();
	test_invalid();
	test_home();
	test_flushes();
	test_follow();
	return check_report();
}
