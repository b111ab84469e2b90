// SPDX-License-Identifier: GPL-2.0-or-later
// Test of the reference model in the paging modes beside 64: walks by enumeration, latched PDPTEs, large pages,
// accesses through the direct map, control registers, and the TLB.
//
// The prediction of a walk is written here a second time, without tables and loops, once for each mode (APM vol. 2,
// 5.2 and 5.6).
#include "check.h"

static const u64 f0 = TRACE_F0_GFN;
static const u32 two_gib = 0x80000000; // PDPTE 2 of a PAE root

// ---- walks by enumeration -----------------------------------------------------------------------------------
enum kind { READ, WRITE, FETCH };

struct state {
	bool wp, nxe, smep, smap, pse;
};

struct how {
	enum kind kind;
	u32 cpl;
	bool ac;
};

struct prediction {
	u32 error; // with 0x100 for a fault, 0: granted
	u64 gfn;
	bool upper_a, leaf_a, leaf_d; // of the entries: upper is the page directory's, leaf the page table's
	bool large;
};

static bool may(struct how h, bool user, bool writable, bool no_fetch, struct state s)
{
	if (h.cpl == 3)
		return user && (h.kind == READ || (h.kind == WRITE && writable) || (h.kind == FETCH && !no_fetch));
	if (h.kind == FETCH)
		return !no_fetch && !(user && s.smep);
	if (user && s.smap && !h.ac)
		return false;
	return h.kind == READ || writable || !s.wp;
}

static void predict_large(struct prediction *to, u32 base, bool bad, bool allowed, struct how h)
{
	to->large = true;
	to->error = bad ? base | 9 : allowed ? 0 : base | 1;
	to->upper_a = !to->error;
	to->leaf_d = !to->error && h.kind == WRITE;
}

static void predict_small(struct prediction *to, u32 base, bool present, bool bad, bool allowed, struct how h)
{
	to->upper_a = true;
	to->error = !present ? base : bad ? base | 9 : allowed ? 0 : base | 1;
	to->leaf_a = !to->error;
	to->leaf_d = !to->error && h.kind == WRITE;
}

static u32 base_of(struct how h, bool with_i)
{
	return 0x100 | (h.kind == WRITE ? 2 : 0) | (h.cpl == 3 ? 4 : 0) | (h.kind == FETCH && with_i ? 16 : 0);
}

static bool bad_pae(u64 entry, struct state s)
{
	return entry & 0x7fffff0000000000 || (!s.nxe && entry >> 63);
}

// va is 0x80000000 plus less than a page; the entries are those of PD[0] and PT[0].
static struct prediction predict_pae(u64 upper, u64 leaf, struct how h, struct state s)
{
	struct prediction to = { .error = 0 };
	u32 base = base_of(h, s.nxe || s.smep);

	if (!(upper & 1)) {
		to.error = base;
	} else if (bad_pae(upper, s)) {
		to.error = base | 9;
	} else if (upper & 0x80) {
		to.gfn = (upper & 0xffffe00000) >> 12;
		predict_large(&to, base, upper & 0x1fe000, may(h, upper & 4, upper & 2, upper >> 63, s), h);
	} else {
		to.gfn = (leaf & 0xfffffff000) >> 12;
		predict_small(&to, base, leaf & 1, bad_pae(leaf, s),
			      may(h, upper & leaf & 4, upper & leaf & 2, (upper | leaf) >> 63, s), h);
	}
	return to;
}

// va is below 4 KiB.
static struct prediction predict_32(u64 upper, u64 leaf, struct how h, struct state s)
{
	struct prediction to = { .error = 0 };
	u32 base = base_of(h, s.smep); // NXE means nothing

	if (!(upper & 1)) {
		to.error = base;
	} else if ((upper & 0x80) && s.pse) {
		to.gfn = (upper >> 22 << 10) + ((upper >> 13 & 255) << 20);
		predict_large(&to, base, upper >> 21 & 1, may(h, upper & 4, upper & 2, false, s), h);
	} else {
		to.gfn = leaf >> 12;
		predict_small(&to, base, leaf & 1, false, may(h, upper & leaf & 4, upper & leaf & 2, false, s), h);
	}
	return to;
}

static struct obs do_access(u64 va, struct how h)
{
	u8 code = h.kind == READ ? OP_READ : h.kind == WRITE ? OP_WRITE : OP_EXEC;

	return step(OP(.code = code, .cpl = (u8)h.cpl, .ac = h.ac, .bytes = 1, .va = h.kind == FETCH ? va : va + 0x10));
}

static u32 pd; // frame of the page directory; f0 is the page table, so that a directory entry can map f0 large

// Both entries are stored afresh, which clears A and D. A store through a large page lands at f0 + 0x10, no entry that
// is looked at.
static void one_walk(u64 va, u64 upper, u64 leaf, struct how h, struct state s)
{
	struct prediction want = model.config.kind == TRACE_HVMPAE ? predict_pae(upper, leaf, h, s)
								   : predict_32(upper, leaf, h, s);
	u64 at = h.kind == FETCH ? va + 0x808 : va + 0x10, upper_now, leaf_now;
	struct model_walk walk;
	struct obs o;

	if (want.upper_a && !want.large && (upper & 0xfffffffffff000) != f0 << 12)
		return; // the special bit is part of an address: that of another table
	pte(pd, 0, 0, upper - (f0 << 12));
	pte(0, 0, 0, leaf - (f0 << 12));
	model_walk(&model, 0, at, h.kind == WRITE, h.kind == FETCH, h.cpl, &walk);
	o = do_access(va, h);
	upper_now = peek(pd, 0);
	leaf_now = peek(0, 0);
	if (!h.ac)
		CHECK(walk.canonical && walk.ok == !want.error &&
		      (walk.ok ? walk.gfn == want.gfn : walk.error == (want.error & 31)));
	if (want.error)
		CHECK(o.kind == OBS_FAULT && o.vector == 14 && o.error == (want.error & 31) && o.cr2 == at);
	else if (h.kind == FETCH && want.gfn - f0 >= TRACE_FRAMES)
		CHECK(o.kind == OBS_FAULT && o.vector == 13);
	else
		CHECK(o.kind == (h.kind == READ ? OBS_VALUE : OBS_OK));
	CHECK((upper_now ^ upper) == ((want.upper_a ? A : 0u) | (want.large && want.leaf_d ? D : 0u)));
	CHECK((leaf_now ^ leaf) == (want.large ? 0 : (want.leaf_a ? A : 0u) | (want.leaf_d ? D : 0u)));
}

static void set_state(struct state s)
{
	ctl(CTL_WP, s.wp);
	ctl(CTL_NXE, s.nxe);
	ctl(CTL_SMEP, s.smep);
	ctl(CTL_SMAP, s.smap);
	ctl(CTL_PSE, s.pse);
}

static u64 entry_of(u32 code, u64 special, u64 target)
{
	return target << 12 | (code & 1 ? P : 0) | (code & 2 ? W : 0) | (code & 4 ? U : 0) | (code & 8 ? PS : 0) |
	       special;
}

static void all_accesses(u64 va, u64 upper, u64 leaf, struct state s)
{
	for (u32 access = 0; access < 8; access++) {
		struct how h = { (enum kind)(access / 2 % 3), access & 1 ? 3 : 0, access >= 6 };

		one_walk(va, upper, leaf, h, s);
	}
}

// Two levels of entries: every mix of P, W, U and PS in both, with one special bit in one of them. The directory's entry
// names f0, the page table, whose entry names f4.
static void all_entries(u64 va, const u64 *special, u32 specials, struct state s)
{
	for (u32 bits = 0; bits < 256; bits++)
		for (u32 i = 0; i < specials; i++) {
			all_accesses(va, entry_of(bits & 15, special[i], f0), entry_of(bits >> 4, 0, f0 + 4), s);
			if (i)
				all_accesses(va, entry_of(bits & 15, 0, f0), entry_of(bits >> 4, special[i], f0 + 4), s);
		}
}

static void test_walks_pae(void)
{
	static const u64 special[] = { 0, NX, R51, UINT64_C(1) << 52, UINT64_C(1) << 62, UINT64_C(1) << 40,
				       UINT64_C(1) << 39, 0x2000, PAT, 0x100000, G };

	start_mode(TRACE_MODE_PAE, 1, false);
	pd = 2;
	pte(1, 258, pd, P);
	CHECK(step(OP(.code = OP_CR3, .target = 1)).kind == OBS_OK);
	for (u32 controls = 0; controls < 32; controls++) {
		struct state s = { controls & 1, controls & 2, controls & 4, controls & 8, controls & 16 };

		set_state(s);
		all_entries(two_gib, special, s.pse ? 1 : ARRAY_LEN(special), s);
	}
}

static void test_walks_32(void)
{
	static const u64 special[] = { 0, 0x200000, 0x2000, 0x100000, PAT, G };

	start_mode(TRACE_MODE_32, 1, false);
	pd = 1;
	step(OP(.code = OP_CR3, .target = 1));
	for (u32 controls = 0; controls < 32; controls++) {
		struct state s = { controls & 1, controls & 2, controls & 4, controls & 8, controls & 16 };

		set_state(s);
		all_entries(0, special, ARRAY_LEN(special), s);
	}
}

// ---- large pages --------------------------------------------------------------------------------------------
static void test_large_32(void)
{
	struct model_walk walk;
	struct obs o;

	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 3, 1, P | W | U | PS); // f1: bit 12 is PAT, so 4 MiB from f0
	o = step(OP(.code = OP_WRITE, .va = 0xc05008, .bytes = 8, .value = 0x1122334455667788));
	CHECK(o.kind == OBS_OK && peek(5, 2) == 0x55667788 && peek(5, 3) == 0x11223344);
	CHECK(peek(0, 3) == (0x40001000u | P | W | U | PS | A | D));
	model_walk(&model, 0, 0xfff000, false, false, 3, &walk);
	CHECK(walk.ok && walk.level == 1 && walk.gfn == 0x403ff && !walk.ram);
	// PSE36: f2 sets bit 13, which is address bit 32; f15 bits 13 to 15; bit 20 is address bit 39.
	pte(0, 3, 2, P | PS);
	model_walk(&model, 0, 0xc05000, false, false, 0, &walk);
	CHECK(walk.ok && walk.gfn == 0x140005);
	pte(0, 3, 15, P | PS | 0x100000);
	model_walk(&model, 0, 0xc05000, false, false, 0, &walk);
	CHECK(walk.ok && walk.gfn == 0x8740005);
	CHECK(step(OP(.code = OP_READ, .va = 0xc05000, .bytes = 4)).value[0] == 0); // a hole
	pte(0, 3, 0, P | PS | 0x200000);
	o = step(OP(.code = OP_READ, .va = 0xc05000, .bytes = 4, .cpl = 3));
	CHECK(o.kind == OBS_FAULT && o.error == 0xd && !(peek(0, 3) & A));
	// With PSE off it names a table: f0 | bit 21 is a hole, all absent.
	ctl(CTL_PSE, false);
	o = step(OP(.code = OP_READ, .va = 0xc05000, .bytes = 4, .cpl = 3));
	CHECK(o.kind == OBS_FAULT && o.error == 4 && (peek(0, 3) & A));
}

// ---- latched PDPTEs -----------------------------------------------------------------------------------------
static u32 read_error(u64 va)
{
	struct obs o = step(OP(.code = OP_READ, .bytes = 1, .va = va));

	return o.kind == OBS_FAULT ? o.error | 0x80 : 0;
}

// f0's PDPTE 2 -> f2; f2[0] -> f3 -> f4, and f5[0] -> f6 -> f7: a second directory.
static void start_latched(u32 vcpus)
{
	start_mode(TRACE_MODE_PAE, vcpus, false);
	pte(0, 258, 2, P);
	pte(2, 0, 3, P | W | U);
	pte(3, 0, 4, P | W | U);
	pte(5, 0, 6, P | W | U);
	pte(6, 0, 7, P | W | U);
	pte(4, 0, 0, 0x44);
	pte(7, 0, 0, 0x77);
}

static u64 value_at(u64 va)
{
	struct obs o = step(OP(.code = OP_READ, .bytes = 1, .va = va));

	return o.kind == OBS_VALUE ? o.value[0] : ~UINT64_C(0);
}

static void test_latched_when(void)
{
	static const struct { u8 code; bool latches; } ops[] = {
		{ OP_PEEK, false },  { OP_INVLPG, false }, { OP_FLUSH, false }, { OP_READ, false }, { OP_BLOW, false },
		{ OP_RELOAD, true }, { OP_CR3, true },     { OP_PHYS, true },   { OP_REAL, true },  { OP_VISIT, true },
	};

	for (u32 i = 0; i < ARRAY_LEN(ops); i++) {
		start_latched(1);
		CHECK(read_error(two_gib) == 0x80); // the start loaded it absent
		step(OP(.code = OP_RELOAD));
		CHECK(value_at(two_gib) == 0x44);
		pte(0, 258, 5, P);
		CHECK(value_at(two_gib) == 0x44);
		step(OP(.code = ops[i].code, .va = two_gib, .bytes = 1, .frame = 9, .mode = TRACE_MODE_PAE));
		CHECK(value_at(two_gib) == (ops[i].latches ? 0x77 : 0x44));
		CHECK(peek(0, 258) == (0x40005000 | P)); // no A
	}
	// Control bits, and another vcpu's load.
	start_latched(2);
	step(OP(.code = OP_RELOAD));
	pte(0, 258, 5, P);
	for (u32 i = 0; i < 2 * CTL_COUNT; i++)
		ctl((u8)(i / 2), i % 2 == (i / 2 <= CTL_NXE)); // each is changed and changed back
	step(OP(.code = OP_VCPU, .vcpu = 1));
	step(OP(.code = OP_RELOAD));
	CHECK(value_at(two_gib) == 0x77);
	step(OP(.code = OP_VCPU, .vcpu = 0));
	CHECK(value_at(two_gib) == 0x44);
	// flush=auto flushes, and latches nothing.
	start_mode(TRACE_MODE_PAE, 1, true);
	pte(0, 258, 2, P);
	CHECK(read_error(two_gib) == 0x80);
}

// A PDPTE that is not what the present one was: absent, another gigabyte, a hole, a removed directory.
static void test_latched_what(void)
{
	struct model_walk walk;

	start_latched(1);
	pte(0, 259, 5, P | 8 | 16 | 0xe00); // PWT, PCD and the software's bits are free
	step(OP(.code = OP_RELOAD));
	CHECK(value_at(two_gib) == 0x44 && value_at(0xc0000000) == 0x77);
	model_walk(&model, 0, 0x40000000, false, false, 0, &walk);
	CHECK(!walk.ok && walk.error == 0 && walk.level == 2); // INT3 is absent
	pte(0, 258, 0, 0);
	pte(0, 259, TRACE_TARGET_HOLE1, P);
	CHECK(value_at(0xc0000000) == 0x77);
	step(OP(.code = OP_RELOAD));
	CHECK(read_error(two_gib) == 0x80 && read_error(0xc0000000) == 0x80);
	// A directory that is removed reads as a hole, though its PDPTE is latched.
	start_latched(1);
	step(OP(.code = OP_RELOAD));
	CHECK(step(OP(.code = OP_REMOVE, .frame = 2)).status == HV_OK && read_error(two_gib) == 0x80);
	// Rights are those of the two levels below: a PDPTE has none, so user and write come through.
	start_latched(1);
	step(OP(.code = OP_RELOAD));
	CHECK(step(OP(.code = OP_WRITE, .va = two_gib, .bytes = 1, .value = 1, .cpl = 3)).kind == OBS_OK);
}

static void test_reserved_pdptes(void)
{
	for (u32 which = 258; which < 260; which++)
		for (u32 bit = 1; bit < 64; bit++) {
			bool bad = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 40;
			struct obs o;

			start_latched(1);
			step(OP(.code = OP_RELOAD));
			pte(1, which, 0, UINT64_C(1) << bit); // not present: free
			CHECK(step(OP(.code = OP_CR3, .target = 1)).kind == OBS_OK && read_error(two_gib) == 0x80);
			step(OP(.code = OP_CR3, .target = 0));
			pte(1, which, 0, UINT64_C(1) << bit | P);
			o = step(OP(.code = OP_CR3, .target = 1));
			CHECK(bad ? o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 : o.kind == OBS_OK);
			CHECK(model.vcpu[0].root == f0 + (bad ? 0 : 1));
			if (bad)
				CHECK(value_at(two_gib) == 0x44); // nothing has changed
		}
	// Writing the same value back is a load like any other.
	start_latched(1);
	step(OP(.code = OP_RELOAD));
	pte(0, 258, 5, P | W);
	CHECK(step(OP(.code = OP_RELOAD)).vector == 13 && value_at(two_gib) == 0x44);
}

// Paging goes off and on again with a root that raises #GP.
static void test_lost_root(void)
{
	static const u8 codes[] = { OP_PHYS, OP_REAL, OP_VISIT };
	struct model_walk walk;

	for (u32 i = 0; i < ARRAY_LEN(codes); i++) {
		struct obs o;

		start_latched(2);
		step(OP(.code = OP_RELOAD));
		pte(0, 258, 2, P | U);
		o = step(OP(.code = codes[i], .frame = 9, .index = 7, .target = 3, .flags = P, .bytes = 1,
			    .mode = TRACE_MODE_32));
		CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0 && o.cr2 == 0);
		CHECK(codes[i] == OP_VISIT || peek(9, 7) == (0x40003000 | P)); // the stores were made
		CHECK(model.vcpu[0].root == MODEL_K3_GFN && model.vcpu[1].root == f0);
		CHECK(read_error(two_gib) == 0x80 && read_error(0xc0000000) == 0x80);
		model_walk(&model, 0, trace_direct(TRACE_MODE_PAE), true, false, 0, &walk);
		CHECK(walk.ok && walk.gfn == f0); // the kernel is still there
		// f0 is still the other vcpu's root; without that it may be exchanged.
		CHECK(step(OP(.code = OP_SWAP, .frame = 0, .from = 9)).status == HV_EBUSY);
		step(OP(.code = OP_VCPU, .vcpu = 1));
		CHECK(step(OP(.code = OP_CR3, .target = 12)).kind == OBS_OK);
		step(OP(.code = OP_VCPU, .vcpu = 0));
		CHECK(step(OP(.code = OP_RELOAD)).kind == OBS_OK && model.vcpu[0].root == MODEL_K3_GFN);
		CHECK(step(OP(.code = OP_CR3, .target = 0)).vector == 13 && model.vcpu[0].root == MODEL_K3_GFN);
		CHECK(step(OP(.code = OP_PHYS, .frame = 0, .index = 258, .target = 2, .flags = P)).kind == OBS_OK);
		CHECK(model.vcpu[0].root == MODEL_K3_GFN && read_error(two_gib) == 0x80);
		CHECK(step(OP(.code = OP_CR3, .target = 0)).kind == OBS_OK && value_at(two_gib) == 0x44);
		step(OP(.code = OP_CR3, .target = 13));
		CHECK(step(OP(.code = OP_SWAP, .frame = 0, .from = 9)).status == HV_OK);
	}
}

// ---- accesses through the direct map ------------------------------------------------------------------------
static void test_direct_map_32(void)
{
	struct obs o;

	start_mode(TRACE_MODE_32, 1, false);
	pte(3, 7, 4, P | W | 0x2000);
	CHECK(peek(3, 7) == 0x40006003 && peek(3, 6) == 0);
	CHECK(step(OP(.code = OP_PEEK, .frame = 3, .index = 7)).bytes == 4);
	step(OP(.code = OP_HALF, .frame = 3, .index = 7, .target = 5, .flags = U));
	CHECK(peek(3, 7) == 0x40005004);
	step(OP(.code = OP_HALF, .frame = 3, .index = 7, .on = true, .target = 18, .flags = P));
	CHECK(peek(3, 7) == 0x90005004);
	step(OP(.code = OP_PHYS, .frame = 3, .index = 6, .target = 1, .flags = P));
	step(OP(.code = OP_REAL, .frame = 3, .index = 1023, .target = 2, .flags = P));
	CHECK(peek(3, 6) == 0x40001001 && peek(3, 7) == 0x90005004 && peek(3, 1023) == 0x40002001);
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 7, .bytes = 4, .on = true, .target = 2, .flags = W));
	CHECK(o.kind == OBS_CAS && o.matched && o.value[0] == 0x90005004 && peek(3, 7) == 0x40002002);
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 6, .bytes = 8, .on = false, .target = 9));
	CHECK(!o.matched && o.value[0] == UINT64_C(0x4000200240001001) && peek(3, 6) == 0x40001001);
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 6, .bytes = 8, .on = true, .target = 9, .flags = P));
	CHECK(o.matched && peek(3, 6) == 0x40009001 && peek(3, 7) == 0x40009001);
	step(OP(.code = OP_COPY, .frame = 4, .from = 3));
	CHECK(peek(4, 7) == 0x40009001 && peek(4, 512) == (MODEL_K2_GFN << 12 | 0x27) &&
	      peek(4, 513) == (MODEL_K1_GFN << 12 | 0x27) && peek(4, 514) == 0xcccccccc && peek(4, 515) == 0xcccccccc);
	step(OP(.code = OP_ZERO, .frame = 4));
	CHECK(peek(4, 7) == 0 && peek(4, 511) == 0 && peek(4, 513) == (MODEL_K1_GFN << 12 | 0x27));
	CHECK(step(OP(.code = OP_RENEW, .frame = 3)).status == HV_OK && peek(3, 512) == (MODEL_K2_GFN << 12 | 0x27));
	// Stores through a virtual address: an entry of 4 bytes, a push of 4, 8 bytes at once.
	pte(0, 0, 1, P | W);
	pte(1, 0, 4, P | W);
	step(OP(.code = OP_SET, .va = 8, .target = 9, .flags = P));
	step(OP(.code = OP_PUSH, .va = 16, .value = 0x5a5a5a5a));
	step(OP(.code = OP_WRITE, .va = 0x20, .bytes = 8, .value = UINT64_C(0x6161616162626262)));
	CHECK(peek(4, 2) == 0x40009001 && peek(4, 3) == 0 && peek(4, 4) == 0x5a5a5a5a && peek(4, 5) == 0);
	CHECK(peek(4, 8) == 0x62626262 && peek(4, 9) == 0x61616161);
}

static void test_direct_map_pae(void)
{
	struct obs o;

	start_mode(TRACE_MODE_PAE, 1, false);
	pte(3, 7, 4, P | W | NX);
	CHECK(peek(3, 7) == (NX | 0x40004003));
	step(OP(.code = OP_HALF, .frame = 3, .index = 7, .on = true, .target = 18));
	CHECK(peek(3, 7) == UINT64_C(0x10040004003));
	step(OP(.code = OP_REAL, .frame = 3, .index = 7, .target = 1, .flags = P | NX));
	CHECK(peek(3, 7) == (NX | 0x40001001));
	o = step(OP(.code = OP_CAS, .frame = 3, .index = 7, .bytes = 8, .on = true, .target = 2, .flags = W));
	CHECK(o.matched && o.value[0] == (NX | 0x40001001) && peek(3, 7) == 0x40002002);
	step(OP(.code = OP_COPY, .frame = 4, .from = 3));
	CHECK(peek(4, 7) == 0x40002002 && peek(4, 256) == (MODEL_K2_GFN << 12 | 1) && peek(4, 257) == TRACE_INT3);
	pte(0, 258, 1, P);
	pte(1, 0, 2, P | W);
	pte(2, 0, 4, P | W);
	step(OP(.code = OP_RELOAD));
	step(OP(.code = OP_SET, .va = two_gib + 8, .target = 9, .flags = P | NX));
	step(OP(.code = OP_PUSH, .va = two_gib + 16, .value = 0x5a5a5a5a));
	CHECK(peek(4, 1) == (NX | 0x40009001) && peek(4, 2) == 0x5a5a5a5a);
}

// ---- control registers --------------------------------------------------------------------------------------
static void test_registers(void)
{
	static const enum trace_mode modes[2] = { TRACE_MODE_32, TRACE_MODE_PAE };

	for (u32 i = 0; i < 2; i++)
		for (u32 target = 16; target < TRACE_TARGET_COUNT; target++) {
			struct obs o;

			start_mode(modes[i], 1, false);
			o = step(OP(.code = OP_CR3, .target = (u8)target));
			CHECK(o.kind == OBS_KILLED && strcmp(o.reason, "wild cr3") == 0);
		}
	for (u32 frame = 0; frame < TRACE_FRAMES; frame++) {
		struct obs o;

		start_mode(TRACE_MODE_64, 1, false); // there is no RAM so far up
		o = step(OP(.code = OP_CR3, .target = (u8)(TRACE_TARGET_COUNT + frame)));
		CHECK(o.kind == OBS_KILLED && strcmp(o.reason, "wild cr3") == 0);
		for (u32 i = 0; i < 2; i++) {
			start_mode(modes[i], 1, false);
			CHECK(step(OP(.code = OP_CR3, .target = (u8)(TRACE_TARGET_COUNT + frame))).kind == OBS_OK);
			CHECK(model.vcpu[0].root == TRACE_F0_GFN + frame);
			CHECK(step(OP(.code = OP_REMOVE, .frame = (u8)frame)).status == HV_EBUSY);
			CHECK(step(OP(.code = OP_CR3, .target = (u8)((frame + 1) % TRACE_FRAMES))).kind == OBS_OK);
			CHECK(step(OP(.code = OP_REMOVE, .frame = (u8)frame)).status == HV_OK);
			o = step(OP(.code = OP_CR3, .target = (u8)(TRACE_TARGET_COUNT + frame)));
			CHECK(o.kind == OBS_KILLED && strcmp(o.reason, "wild cr3") == 0);
		}
	}
	start_mode(TRACE_MODE_PAE, 1, false); // a PDPTE with reserved bits leaves the kernel with its own root
	pte(3, 258, 4, P | W);
	CHECK(step(OP(.code = OP_CR3, .target = TRACE_TARGET_COUNT + 3)).vector == 13 && model.vcpu[0].root == MODEL_K3_GFN);
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++)
		for (u32 bad = 0; bad < BAD_COUNT; bad++) {
			struct model_vcpu before;
			struct obs o;

			start_mode((enum trace_mode)mode, 1, false);
			before = model.vcpu[0];
			o = step(OP(.code = OP_BADREG, .bad = (u8)bad));
			CHECK(o.kind == OBS_FAULT && o.vector == 13 && o.error == 0);
			CHECK(memcmp(&before, &model.vcpu[0], sizeof(before)) == 0);
		}
}

// Sweeps that run out of the trace's space, over the top of the address space, and into the kernel's.
static void test_sweep(void)
{
	struct obs o;

	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 1023, 1, P);
	for (u32 i = 1020; i < 1024; i++)
		pte(1, i, 4, P);
	o = step(OP(.code = OP_SWEEP, .va = 0xffffc000, .count = 16));
	CHECK(o.count == 4 && o.vector == 14 && o.error == 0 && o.cr2 == 0);
	pte(0, 511, 1, P);
	o = step(OP(.code = OP_SWEEP, .va = 0x7fffe000, .count = 16));
	CHECK(o.count == 2 && o.vector == 14 && o.error == 0 && o.cr2 == 0x80000000);
	start_mode(TRACE_MODE_PAE, 1, false);
	pte(0, 259, 1, P);
	pte(1, 511, 2, P);
	pte(2, 510, 4, P);
	pte(2, 511, 4, P);
	step(OP(.code = OP_RELOAD));
	o = step(OP(.code = OP_SWEEP, .va = 0xffffe000, .count = 16));
	CHECK(o.count == 2 && o.vector == 14 && o.error == 0 && o.cr2 == 0);
	o = step(OP(.code = OP_EXEC, .va = 0xffffe000));
	CHECK(o.kind == OBS_OK);
	pte(2, 511, TRACE_TARGET_HOLE0, P);
	o = step(OP(.code = OP_EXEC, .va = 0xfffff000));
	CHECK(o.vector == 13 && o.error == 0);
}

// ---- the TLB ------------------------------------------------------------------------------------------------
static bool held(u64 va, u32 frame)
{
	return model_tlb_allows(&model, model.current, va, f0 + frame, false, false, false);
}

static void test_tlb_latched(void)
{
	start_latched(1);
	step(OP(.code = OP_RELOAD));
	value_at(two_gib);
	pte(0, 258, 5, P);
	pte(5, 0, 6, P | A);
	pte(6, 0, 7, P | A);
	CHECK(held(two_gib, 4) && !held(two_gib, 7)); // memory does not matter until a load
	pte(3, 0, 8, P | A);
	CHECK(held(two_gib, 4) && held(two_gib, 8)); // below it does
	step(OP(.code = OP_RELOAD));
	CHECK(held(two_gib, 7) && !held(two_gib, 4) && !held(two_gib, 8));
	// A global translation outlives the load, and that of an absent PDPTE.
	start_latched(1);
	ctl(CTL_PGE, true);
	step(OP(.code = OP_RELOAD));
	pte(3, 0, 4, P | G);
	value_at(two_gib);
	pte(0, 258, 0, 0);
	step(OP(.code = OP_RELOAD));
	CHECK(read_error(two_gib) == 0x80 && held(two_gib, 4));
	step(OP(.code = OP_REAL, .frame = 9));
	CHECK(!held(two_gib, 4));
}

static void test_tlb_32(void)
{
	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 0, 1, P | W);
	pte(1, 0, 4, P | W);
	pte(1, 1, 5, P | W);
	read_error(0);
	read_error(0x1000);
	// The two entries of a word are told apart.
	pte(1, 0, 6, P | A);
	pte(1, 1, 7, P);
	CHECK(held(0, 4) && held(0, 6) && held(0x1000, 5) && !held(0x1000, 7) && !held(0x1000, 6) && !held(0, 5));
	step(OP(.code = OP_INVLPG, .va = 0x1000));
	CHECK(held(0, 4) && !held(0x1000, 5));
	// An entry that has not changed since before the flush, though its neighbour has.
	step(OP(.code = OP_FLUSH));
	for (u32 i = 0; i < 10; i++)
		pte(1, 1, i, P | A);
	CHECK(held(0, 6) && !held(0, 4) && held(0x1000, 3));
	// A large page, and INVLPG anywhere in its 4 MiB.
	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 0, 0, P | W | PS);
	read_error(0x5000);
	pte(0, 0, 9, P);
	CHECK(held(0x5000, 5) && held(0x9000, 9));
	step(OP(.code = OP_INVLPG, .va = 0x3ff000));
	CHECK(!held(0x5000, 5));
	// PSE going off flushes, on every vcpu; elsewhere it says nothing.
	start_mode(TRACE_MODE_32, 2, false);
	pte(0, 0, 0, P | W | PS);
	read_error(0x5000);
	CHECK(held(0x5000, 5) && model_tlb_allows(&model, 1, 0x5000, f0 + 5, false, false, false));
	ctl(CTL_PSE, false);
	CHECK(!held(0x5000, 5) && !model_tlb_allows(&model, 1, 0x5000, f0 + 5, false, false, false));
	start_mode(TRACE_MODE_32, 1, false);
	pte(0, 0, 1, P | W);
	pte(1, 0, 4, P | W);
	read_error(0);
	pte(1, 0, 9, P);
	ctl(CTL_PSE, true); // as it was
	CHECK(held(0, 4));
	ctl(CTL_PSE, false);
	CHECK(!held(0, 4));
	start_latched(1);
	step(OP(.code = OP_RELOAD));
	value_at(two_gib);
	pte(3, 0, 9, P);
	ctl(CTL_PSE, true);
	CHECK(held(two_gib, 4));
}

int main(void)
{
	test_walks_pae();
	test_walks_32();
	test_large_32();
	test_latched_when();
	test_latched_what();
	test_reserved_pdptes();
	test_lost_root();
	test_direct_map_32();
	test_direct_map_pae();
	test_registers();
	test_sweep();
	test_tlb_latched();
	test_tlb_32();
	return check_report();
}
