// SPDX-License-Identifier: GPL-2.0-or-later
// Test of the reference model as a machine: rights, errors and A/D of the walk by enumeration,
// every operation's effect, holes, large pages, control operations.
//
// The predicate for rights is written here a second time, case by case from the APM (vol. 2, 5.6).
#include "check.h"

// ---- rights, errors, A and D --------------------------------------------------------------------------
enum kind { READ, WRITE, FETCH };

struct state {
	bool wp, nxe, smep, smap;
};

static bool may(enum kind kind, u32 cpl, u64 upper, u64 leaf, struct state s)
{
	bool user = (upper & U) && (leaf & U), writable = (upper & W) && (leaf & W);
	bool no_fetch = (upper & NX) || (leaf & NX);

	if (cpl == 3)
		return user && (kind == READ || (kind == WRITE && writable) || (kind == FETCH && !no_fetch));
	if (kind == FETCH)
		return !no_fetch && !(user && s.smep);
	if (user && s.smap)
		return false;
	return kind == READ || writable || !s.wp;
}

// Walk of one table entry and a leaf below it (everything else grants). 0: granted. reached: the leaf was read.
static u32 walk_error(enum kind kind, u32 cpl, u64 upper, u64 leaf, struct state s, bool *reached)
{
	u32 base = (kind == WRITE ? 2 : 0) + (cpl == 3 ? 4 : 0) + (kind == FETCH && (s.nxe || s.smep) ? 16 : 0);
	u64 both[2] = { upper, leaf };

	for (u32 i = 0; i < 2; i++) {
		*reached = i == 1;
		if (!(both[i] & P))
			return base | 0x100; // not zero even if base is
		if ((both[i] & NX) && !s.nxe)
			return base | 9;
	}
	return may(kind, cpl, upper, leaf, s) ? 0 : base | 1;
}

static u64 entry_bits(u32 code)
{
	return (code & 1 ? P : 0) | (code & 2 ? W : 0) | (code & 4 ? U : 0) | (code & 8 ? NX : 0);
}

static struct obs do_access(enum kind kind, u32 cpl)
{
	u8 code = kind == READ ? OP_READ : kind == WRITE ? OP_WRITE : OP_EXEC;

	return step(OP(.code = code, .cpl = (u8)cpl, .bytes = 1, .va = kind == FETCH ? 0 : 0x10));
}

// Tables f0 -> f1 -> f2 -> f3 -> f4; the leaf is at `leaf_level`, the entry under test above it at
// `upper_level`. Large leaves map f0.
static void one_right(u32 upper_level, u32 leaf_level, u64 upper, u64 leaf, enum kind kind, u32 cpl, struct state s)
{
	bool reached, early = leaf_level == 2, a_leaf;
	u32 error = walk_error(kind, cpl, upper, leaf, s, &reached);
	struct model_walk walk;
	u64 leaf_now, upper_now;
	struct obs o;

	pte(3 - upper_level, 0, 4 - upper_level, upper);
	pte(3 - leaf_level, 0, leaf_level ? 0 : 4, leaf | (leaf_level ? PS : 0));
	model_walk(&model, 0, kind == FETCH ? 0x808 : 0x10, kind == WRITE, kind == FETCH, cpl, &walk);
	o = do_access(kind, cpl);
	upper_now = peek(3 - upper_level, 0);
	leaf_now = peek(3 - leaf_level, 0);
	CHECK(walk.canonical && walk.ok == !error && (walk.ok || walk.error == (error & 31)));
	if (error)
		CHECK(o.kind == OBS_FAULT && o.vector == 14 && o.error == (error & 31) &&
		      o.cr2 == (kind == FETCH ? 0x808 : 0x10));
	else
		CHECK(o.kind == (kind == READ ? OBS_VALUE : OBS_OK) && walk.gfn == TRACE_F0_GFN + (leaf_level ? 0 : 4));
	CHECK(!!(upper_now & A) == ((upper & P) && !((upper & NX) && !s.nxe)));
	a_leaf = !error || (early && reached && (leaf & P) && !((leaf & NX) && !s.nxe));
	CHECK(!!(leaf_now & A) == a_leaf);
	CHECK(!!(leaf_now & D) == (!error && kind == WRITE));
	CHECK(((upper_now ^ upper) & (P | W | U | D | NX)) == 0 && ((leaf_now ^ leaf) & (P | W | U | NX)) == 0);
}

static void test_rights(void)
{
	static const u32 shapes[5][2] = { { 3, 0 }, { 2, 0 }, { 1, 0 }, { 2, 1 }, { 3, 2 } };

	for (u32 shape = 0; shape < 5; shape++) {
		start(1, false);
		map_tables();
		for (u32 controls = 0; controls < 16; controls++) {
			struct state s = { controls & 1, controls & 2, controls & 4, controls & 8 };

			ctl(CTL_WP, s.wp);
			ctl(CTL_NXE, s.nxe);
			ctl(CTL_SMEP, s.smep);
			ctl(CTL_SMAP, s.smap);
			for (u32 bits = 0; bits < 256; bits++)
				for (u32 access = 0; access < 6; access++)
					one_right(shapes[shape][0], shapes[shape][1], entry_bits(bits & 15),
						  entry_bits(bits >> 4), (enum kind)(access / 2), access & 1 ? 3 : 0, s);
		}
	}
}

// ---- reserved bits and large pages --------------------------------------------------------------------
static u32 read_error(u64 va)
{
	struct obs o = step(OP(.code = OP_READ, .bytes = 1, .va = va));

	return o.kind == OBS_FAULT ? o.error | 0x80 : 0;
}

static void test_reserved(void)
{
	start(1, false);
	map_tables();
	pte(3, 0, 4, P);
	CHECK(read_error(0) == 0);
	pte(0, 0, 1, P | PS);
	CHECK(read_error(0) == 0x89 && !(peek(0, 0) & A));
	pte(0, 0, 1, P | W | U);
	pte(1, 0, TRACE_TARGET_FAR, P);
	CHECK(read_error(0) == 0x89 && !(peek(1, 0) & A) && (peek(0, 0) & A));
	pte(1, 0, TRACE_TARGET_FAR, 0);
	CHECK(read_error(0) == 0x80); // not present wins
	pte(1, 0, 2, P | R51);
	CHECK(read_error(0) == 0x89);
	pte(1, 0, 2, P | UINT64_C(0x7ff0000000000000)); // bits 52 to 62 are free
	CHECK(read_error(0) == 0);
	pte(3, 0, 4, P | PS | G); // PAT at 4 KiB
	CHECK(read_error(0) == 0);
	// 2 MiB: f1 has bit 12, which is PAT; f2 has bit 13.
	pte(2, 0, 1, P | PS);
	CHECK(read_error(0x5000) == 0 && (peek(2, 0) & A));
	pte(2, 0, 2, P | PS);
	CHECK(read_error(0) == 0x89 && !(peek(2, 0) & A));
	// 1 GiB: hole0 has bit 28. A is set before alignment is looked at, but not with an address too wide.
	pte(1, 0, TRACE_TARGET_HOLE0, P | PS);
	CHECK(read_error(0) == 0x89 && (peek(1, 0) & A));
	pte(1, 0, TRACE_TARGET_FAR, P | PS);
	CHECK(read_error(0) == 0x89 && !(peek(1, 0) & A));
	pte(1, 0, TRACE_TARGET_HOLE1, P | PS);
	CHECK(read_error(0) == 0);
	// A table in a hole reads as empty.
	pte(1, 0, TRACE_TARGET_HOLE0, P);
	CHECK(read_error(0) == 0x80 && (peek(1, 0) & A));
}

static void test_large(void)
{
	struct model_walk walk;
	struct obs o;

	start(1, false);
	map_tables();
	pte(1, 2, 1, P | W | U | PS); // 1 GiB from f0, PAT set
	step(OP(.code = OP_WRITE, .va = va_of(0, 2, 0, 5, 8), .bytes = 8, .value = 0x1122334455667788));
	CHECK(peek(5, 1) == 0x1122334455667788);
	CHECK(peek(1, 2) == (UINT64_C(0x40001000) | P | W | U | PS | A | D));
	pte(2, 3, 0, P | U | PS); // 2 MiB from f0
	o = step(OP(.code = OP_READ, .va = va_of(0, 0, 3, 5, 9), .bytes = 2, .cpl = 3));
	CHECK(o.kind == OBS_VALUE && o.value[0] == 0x6677 && o.bytes == 2);
	model_walk(&model, 0, va_of(0, 0, 3, 15, 0), false, false, 3, &walk);
	CHECK(walk.ok && walk.gfn == TRACE_F0_GFN + 15 && walk.ram && walk.level == 1 && !walk.w && walk.u);
	model_walk(&model, 0, va_of(0, 0, 3, 16, 0), false, false, 3, &walk);
	CHECK(walk.ok && !walk.ram && walk.gfn == TRACE_F0_GFN + 16);
}

// ---- accesses -----------------------------------------------------------------------------------------
static void test_crossing(void)
{
	struct obs o;

	start(1, false);
	map_tables();
	pte(3, 0, 4, P | W | U);
	pte(3, 1, 5, P | W | U);
	o = step(OP(.code = OP_WRITE, .va = 0xffd, .bytes = 8, .value = 0x8877665544332211));
	CHECK(o.kind == OBS_OK && peek(4, 511) == UINT64_C(0x3322110000000000) && peek(5, 0) == 0x8877665544);
	o = step(OP(.code = OP_READ, .va = 0xfff, .bytes = 4));
	CHECK(o.value[0] == 0x66554433);
	// The second page denies: nothing stored, the first page's leaf has A and D all the same.
	pte(3, 0, 4, P | W | U);
	pte(3, 1, 5, P | U);
	o = step(OP(.code = OP_PUSH, .va = 0xffc, .value = ~UINT64_C(0)));
	CHECK(o.kind == OBS_FAULT && o.vector == 14 && o.error == 3 && o.cr2 == 0x1000);
	CHECK(peek(4, 511) == UINT64_C(0x3322110000000000) && (peek(3, 0) & (A | D)) == (A | D) && !(peek(3, 1) & A));
	// Both deny: the first page's fault, and the second is not walked.
	pte(3, 0, 4, 0);
	o = step(OP(.code = OP_READ, .va = 0xffc, .bytes = 8, .cpl = 3));
	CHECK(o.kind == OBS_FAULT && o.error == 4 && o.cr2 == 0xffc && !(peek(3, 1) & A));
	// Half in a hole, and the same frame twice.
	pte(3, 0, TRACE_TARGET_HOLE0, P | W);
	pte(3, 1, 5, P | W);
	step(OP(.code = OP_WRITE, .va = 0xffc, .bytes = 8, .value = 0x0102030405060708));
	o = step(OP(.code = OP_READ, .va = 0xffc, .bytes = 8));
	CHECK(o.value[0] == 0x0102030400000000);
	pte(3, 0, 5, P | W);
	step(OP(.code = OP_SET, .va = 0xffc, .target = 4, .flags = P | NX));
	CHECK(peek(5, 511) == UINT64_C(0x4000400100000000) && peek(5, 0) == UINT64_C(0x8880000000));
}

static void test_exec_and_sweep(void)
{
	struct obs o;

	start(1, false);
	map_tables();
	for (u32 i = 0; i < 4; i++)
		pte(3, i, 4 + i, P | U);
	CHECK(step(OP(.code = OP_EXEC, .va = 0x1000, .cpl = 3)).kind == OBS_OK && !(peek(3, 1) & D));
	pte(3, 5, TRACE_TARGET_HOLE1, P | U);
	o = step(OP(.code = OP_EXEC, .va = 0x5000));
	CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 && (peek(3, 5) & A));
	pte(4, 0, 0, 0x11);
	pte(5, 0, 0, 0x22);
	o = step(OP(.code = OP_SWEEP, .va = 0, .count = 2));
	CHECK(o.kind == OBS_SWEEP && o.count == 2 && o.vector == 0);
	CHECK(o.value[0] == ((UINT64_C(0xcbf29ce484222325) ^ 0x11) * UINT64_C(0x100000001b3) ^ 0x22) *
				    UINT64_C(0x100000001b3));
	o = step(OP(.code = OP_SWEEP, .va = 0, .count = 16, .cpl = 3));
	CHECK(o.kind == OBS_SWEEP && o.count == 4 && o.vector == 14 && o.error == 4 && o.cr2 == 0x4000);
	// Into the gap between the canonical halves.
	pte(0, 255, 1, P);
	pte(1, 511, 2, P);
	pte(2, 511, 3, P);
	pte(3, 510, 4, P);
	pte(3, 511, 4, P);
	o = step(OP(.code = OP_SWEEP, .va = va_of(255, 511, 511, 510, 0), .count = 3));
	CHECK(o.count == 2 && o.vector == 13 && o.error == 0);
	// Over the top, to address 0.
	pte(0, 511, 1, P);
	o = step(OP(.code = OP_SWEEP, .va = va_of(511, 511, 511, 511, 0), .count = 2));
	CHECK(o.count == 2 && o.vector == 0);
}

static void test_direct_map(void)
{
	struct obs o;

	start(1, false);
	pte(3, 7, 4, P | W | NX);
	CHECK(peek(3, 7) == (NX | UINT64_C(0x40004003)));
	step(OP(.code = OP_HALF, .frame = 3, .index = 7, .target = 5, .flags = P | NX));
	CHECK(peek(3, 7) == (NX | UINT64_C(0x40005001)));
	step(OP(.code = OP_HALF, .frame = 3, .index = 7, .on = true, .target = 18));
	CHECK(peek(3, 7) == UINT64_C(0x10040005001));
	step(OP(.code = OP_PHYS, .frame = 3, .index = 7, .target = 1, .flags = P | NX));
	CHECK(peek(3, 7) == (NX | UINT64_C(0x40001001)));
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 7, .bytes = 4, .on = true, .target = 2, .flags = W));
	CHECK(o.kind == OBS_CAS && o.matched && o.value[0] == 0x40001001 && peek(3, 7) == (NX | UINT64_C(0x40002002)));
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 7, .bytes = 8, .on = false, .target = 9));
	CHECK(!o.matched && o.value[0] == (NX | UINT64_C(0x40002002)) && peek(3, 7) == o.value[0]);
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 6, .bytes = 16, .on = true, .target = 9, .flags = P));
	CHECK(o.matched && o.value[0] == 0 && o.value[1] == (NX | UINT64_C(0x40002002)));
	CHECK(peek(3, 6) == 0x40009001 && peek(3, 7) == 0x40009001);
	step(OP(.code = OP_COPY, .frame = 4, .from = 3));
	CHECK(peek(4, 6) == 0x40009001 && peek(4, 256) == peek(3, 256) && peek(4, 257) == TRACE_INT3);
	step(OP(.code = OP_ZERO, .frame = 3));
	CHECK(peek(3, 6) == 0 && peek(3, 256) == (MODEL_K3_GFN << 12 | 0x27) && peek(3, 257) == TRACE_INT3 && peek(4, 7) == 0x40009001);
}

// ---- control registers and control operations ---------------------------------------------------------
static void test_registers(void)
{
	struct model_walk walk;
	struct obs o;

	start(2, false);
	map_tables();
	pte(3, 0, 4, P | W);
	pte(5, 0, 6, P); // f5 is another root, which maps nothing
	o = step(OP(.code = OP_CR3, .target = 18));
	CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0);
	CHECK(step(OP(.code = OP_CR3, .target = 5)).kind == OBS_OK);
	CHECK(read_error(0) == 0x80);
	CHECK(step(OP(.code = OP_VCPU, .vcpu = 3)).kind == OBS_OK && model.current == 1);
	CHECK(read_error(0) == 0);
	model_walk(&model, 0, 0, false, false, 0, &walk);
	CHECK(!walk.ok && walk.level == 2); // f6 is empty
	model_step_on(&model, 0, &OP(.code = OP_CR3, .target = 0), &o);
	CHECK(model.current == 1 && model.vcpu[0].root == TRACE_F0_GFN);
	o = step(OP(.code = OP_CR3, .target = 17));
	CHECK(o.kind == OBS_KILLED && strcmp(o.reason, "wild cr3") == 0);
}

static u32 status(u8 code, u8 frame, u8 from)
{
	struct obs o = step(OP(.code = code, .frame = frame, .from = from));

	return o.kind == OBS_STATUS ? o.status : 99;
}

static void test_control(void)
{
	struct obs o;
	u64 hash;

	start(2, false);
	hash = model_memory_hash(&model);
	pte(3, 0, 4, P);
	pte(5, 0, 6, P);
	CHECK(status(OP_SWAP, 3, 5) == HV_OK && peek(3, 0) == 0x40006001 && peek(5, 0) == 0x40004001);
	CHECK(status(OP_SWAP, 0, 3) == HV_EBUSY && status(OP_SWAP, 3, 3) == HV_OK && status(OP_SWAP, 0, 0) == HV_EBUSY);
	CHECK(status(OP_RENEW, 0, 0) == HV_EBUSY && status(OP_REMOVE, 0, 0) == HV_EBUSY);
	CHECK(status(OP_REMOVE, 3, 0) == HV_OK && status(OP_REMOVE, 3, 0) == HV_ENOENT);
	CHECK(status(OP_SWAP, 3, 4) == HV_ENOENT && status(OP_SWAP, 4, 3) == HV_ENOENT);
	CHECK(status(OP_UNSHADOW, 3, 0) == HV_ENOENT && status(OP_UNSHADOW, 4, 0) == HV_OK);
	CHECK(status(OP_SWAP, 3, 3) == HV_ENOENT && status(OP_SWAP, 0, 3) == HV_EBUSY);
	// A removed frame is a hole.
	CHECK(peek(3, 0) == 0 && peek(3, 257) == 0);
	pte(3, 0, 4, P);
	o = step(OP(.code = OP_CAS, .frame = 3, .bytes = 8, .on = true, .target = 4));
	CHECK(o.matched && o.value[0] == 0 && peek(3, 0) == 0);
	o = step(OP(.code = OP_CAS, .frame = 3, .bytes = 16, .on = false, .target = 4));
	CHECK(!o.matched && o.value[0] == 0 && o.value[1] == 0);
	o = step(OP(.code = OP_CR3, .target = 3));
	CHECK(o.kind == OBS_KILLED);
	CHECK(status(OP_RENEW, 3, 0) == HV_OK && peek(3, 256) == (MODEL_K3_GFN << 12 | 0x27) && peek(3, 257) == TRACE_INT3);
	CHECK(status(OP_RENEW, 5, 0) == HV_OK && model_memory_hash(&model) == hash);
	CHECK(status(OP_CHECK, 0, 0) == HV_OK && status(OP_POOL, 0, 0) == HV_OK && status(OP_BLOW, 0, 0) == HV_OK);
}

// ---- start --------------------------------------------------------------------------------------------
static void test_start(void)
{
	static struct model fresh;
	struct trace_config config = { .vcpus = 1, .pool_pages = 64 };
	bool same = true;

	start(4, true);
	map_tables();
	status(OP_REMOVE, 9, 0);
	step(OP(.code = OP_ZERO, .frame = 2));
	model_start(&model, &config);
	model_start(&fresh, &config);
	for (u32 i = 0; i < MODEL_SLOTS; i++)
		same = same && memcmp(model.word[i], fresh.word[i], sizeof(fresh.word[i])) == 0 &&
		       memcmp(model.newest[i], fresh.newest[i], sizeof(fresh.newest[i])) == 0;
	CHECK(same && model.present == fresh.present && model.current == 0);
	CHECK(memcmp(&model.vcpu[0].root, &fresh.vcpu[0].root, 8) == 0 && model.vcpu[0].wp && model.vcpu[0].nxe);
	// The direct map of the start state leads where the contract says, whatever the mode was before.
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++) {
		start_mode((enum trace_mode)mode, 1, false);
		for (u32 i = 0; i < TRACE_FRAMES; i++) {
			struct model_walk walk;

			model_walk(&model, 0, trace_direct((enum trace_mode)mode) + i * 4096, true, false, 0, &walk);
			CHECK(walk.ok && walk.gfn == TRACE_F0_GFN + i && walk.dirty && !walk.u && !walk.nx);
		}
	}
}

int main(void)
{
	test_start();
	test_rights();
	test_reserved();
	test_large();
	test_crossing();
	test_exec_and_sweep();
	test_direct_map();
	test_registers();
	test_control();
	return check_report();
}
