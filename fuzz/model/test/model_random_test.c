// SPDX-License-Identifier: GPL-2.0-or-later
// Random runs of the reference model in every mode: what it says of itself must fit together.
//
// A plain list of translations that walks really made since the last flush is a TLB that drops nothing by itself: each
// of them must be allowed. A second model that follows what the first one answers must agree with every step. And two
// operations that ran one after the other must be an order that the model finds when it is told that they raced.
#include "check.h"

// ---- random operations ----------------------------------------------------------------------------------
static u64 seed = 1;
static u32 roll(u32 n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (u32)(seed >> 33) % n;
}

// Shaped so that walks often succeed: f0 is the root, the frames after it are tables, one for each level.
static const struct shape {
	u32 tables;     // f0 included
	u32 root_index; // of the root's entries, 0 or a PDPTE
	u32 shift[4];   // of the levels, 4 KiB first
	u64 va;         // of entries 0 of all tables
} shapes[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = { 4, 0, { 12, 21, 30, 39 }, 0 },
	[TRACE_MODE_32] = { 2, 0, { 12, 22 }, 0 },
	[TRACE_MODE_PAE] = { 3, 258, { 12, 21, 30 }, 0x80000000 },
};

static const struct shape *shape(void)
{
	return &shapes[model.config.kind];
}

static u64 random_flags(void)
{
	return (roll(12) ? P : 0) | (roll(4) ? W : 0) | (roll(4) ? U : 0) | (roll(3) ? 0 : A) | (roll(3) ? 0 : D) |
	       (roll(12) ? 0 : PS) | (roll(3) ? 0 : G) | (roll(9) || model.config.kind == TRACE_HVM32 ? 0 : NX);
}

static u64 random_va(bool page)
{
	static const u16 offsets[] = { 0, 8, 0x38, 0x810, 0xff8, 0xffd, 4 };
	const struct shape *s = shape();
	u64 va = s->va + roll(3) * 4096;

	for (u32 level = 1; level < s->tables; level++)
		va += (u64)(roll(level == s->tables - 1 ? 4 : 2) ? 0 : 1) << s->shift[level];
	return page ? va : va + offsets[roll(ARRAY_LEN(offsets))];
}

static void pick_insn(struct trace_op *op)
{
	static const u8 plain[] = { INS_MOV, INS_STOS, INS_REP_STOS, INS_REP_MOVS,
				    INS_XCHG, INS_ADD, INS_LOCK_OR, INS_XADD };

	op->insn = plain[roll(ARRAY_LEN(plain))];
	op->bytes = (u8)(1 << roll(model.config.kind == TRACE_HVM64 ? 4 : 3));
	if (!roll(4)) {
		op->insn = roll(2) ? INS_CAS : INS_SSE;
		op->bytes = 8;
	}
}

static void pick_management(struct trace_op *op)
{
	static const u8 asks[] = { ASK_LOGDIRTY, ASK_CLEAN, ASK_CLEAN, ASK_PEEK, ASK_LOGDIRTY_OFF, ASK_BLOW };

	if (op->code == OP_CONTROL) {
		op->what = asks[roll(ARRAY_LEN(asks))];
		op->count = (u16)(roll(3) ? 16 : roll(18));
		if (op->what == ASK_LOGDIRTY_OFF && roll(3))
			op->what = ASK_CLEAN;
	} else if (op->code == OP_MIGRATE) {
		op->what = (u8)(roll(4) ? TRACE_STEP_CANCEL : roll(TRACE_STEP_COUNT));
	} else if (op->code == OP_RETYPE) {
		op->what = (u8)(roll(2) ? TYPE_RW : roll(TYPE_COUNT));
	} else if (op->code == OP_IDENTITY) {
		op->value = TRACE_F0_GFN + roll(20);
		op->on = !roll(4);
	} else if (op->code == OP_FOREIGN) {
		op->what = (u8)roll(GIFT_COUNT);
	} else if (op->code == OP_DONOR) {
		op->what = (u8)roll(DEED_COUNT);
	}
}

static void pick_rest(struct trace_op *op)
{
	static const u8 widths[3][3] = { { 4, 8, 16 }, { 4, 8, 8 }, { 4, 8, 8 } };
	u32 kind = model.config.kind;

	op->bytes = (u8)(1 << roll(4));
	if (op->code == OP_CAS)
		op->bytes = widths[kind][roll(3)];
	if (op->code == OP_CAS && op->bytes > trace_entry_bytes((enum trace_mode)kind))
		op->index &= (u16)~1;
	if (op->code == OP_ALTER)
		pick_insn(op);
	op->count = (u16)(1 + roll(4));
	op->cpl = roll(2) ? 3 : 0;
	op->ac = !roll(4);
	op->value = op->bytes == 1 ? roll(256) : 0;
	op->vcpu = (u8)roll(2);
	op->ctl = (u8)roll(CTL_COUNT);
	op->on = roll(4) != 0;
	if (op->code == OP_CR3)
		op->target = (u8)(roll(12) ? 0 : roll(4));
	op->mode = (u8)kind;
	pick_management(op);
	if (op->code == OP_VISIT) {
		op->mode = (u8)roll(TRACE_MODE_COUNT);
		op->bytes = (u8)(1 << roll(3));
		op->va = shapes[op->mode].va;
		op->cpl = op->ac = 0;
	}
}

static struct trace_op random_op(void)
{
	static const u8 codes[] = { OP_PTE, OP_PTE, OP_PTE, OP_PTE, OP_HALF, OP_CAS, OP_PEEK, OP_ZERO, OP_COPY, OP_PHYS,
				    OP_READ, OP_READ, OP_READ, OP_WRITE, OP_WRITE, OP_SET, OP_PUSH, OP_EXEC, OP_SWEEP,
				    OP_CR3, OP_RELOAD, OP_INVLPG, OP_FLUSH, OP_CTL, OP_VCPU, OP_SWAP, OP_RENEW,
				    OP_REMOVE, OP_CHECK, OP_ALTER, OP_ALTER, OP_ALTER, OP_REAL, OP_VISIT, OP_VISIT, OP_BADREG,
				    OP_CONTROL, OP_CONTROL, OP_CONTROL, OP_MIGRATE, OP_RETYPE, OP_MOVE, OP_IDENTITY,
				    OP_BALLOON, OP_AUDIT, OP_FOREIGN, OP_FOREIGN, OP_DONOR };
	struct trace_op op = { .code = codes[roll(ARRAY_LEN(codes))] };
	u32 tables = shape()->tables, level = roll(tables);

	if ((op.code == OP_ZERO || op.code == OP_COPY || (op.code >= OP_SWAP && op.code <= OP_REMOVE) ||
	     op.code == OP_CTL || op.code == OP_VISIT || op.code == OP_MOVE || op.code == OP_BALLOON) && roll(4))
		op.code = OP_READ;
	if ((op.code == OP_PHYS || (op.code >= OP_CR3 && op.code <= OP_FLUSH)) && roll(4))
		op.code = OP_WRITE;
	op.frame = (u8)(roll(8) ? level : roll(16));
	op.from = (u8)roll(16);
	op.index = (u16)((level ? 0 : shape()->root_index) + roll(2 + (level && level + 1 == tables)));
	op.target = (u8)(roll(8) ? (level + 1 < tables ? level + 1 : 4 + roll(8)) : roll(18));
	op.flags = random_flags();
	if (!level && model.config.kind == TRACE_HVMPAE && roll(8))
		op.flags &= P | G << 1; // a PDPTE that can be loaded
	op.va = random_va(op.code == OP_EXEC || op.code == OP_SWEEP || op.code == OP_INVLPG);
	pick_rest(&op);
	return op;
}

static void start_shaped(enum trace_mode mode)
{
	start_mode(mode, 2, false);
	for (u32 i = 0; i + 1 < shape()->tables; i++)
		pte(i, i ? 0 : shape()->root_index, i + 1, i || mode != TRACE_MODE_PAE ? P | W | U : P);
	pte(shape()->tables - 1, 0, 4, P | W | U);
	for (u32 vcpu = 0; vcpu < 2; vcpu++) {
		step(OP(.code = OP_VCPU, .vcpu = (u8)(1 - vcpu)));
		step(OP(.code = OP_RELOAD));
	}
}

// ---- the plain TLB -----------------------------------------------------------------------------------------
struct translation {
	u64 va, gfn;
	bool w, u, x, global;
	u32 level;
};
static struct {
	struct translation entry[4096];
	u32 count;
} naive[2];

static void naive_drop(u32 vcpu, bool globals, bool one, u64 va)
{
	u32 kept = 0;

	for (u32 i = 0; i < naive[vcpu].count; i++) {
		struct translation t = naive[vcpu].entry[i];
		u32 shift = shape()->shift[t.level];
		bool gone = one ? t.va >> shift == va >> shift : globals || !t.global;

		if (!gone)
			naive[vcpu].entry[kept++] = t;
	}
	naive[vcpu].count = kept;
}

// What op will translate first, from the tables before it.
static void naive_note(u32 vcpu, const struct trace_op *op)
{
	bool write = op->code == OP_WRITE || op->code == OP_SET || op->code == OP_PUSH ||
		     (op->code == OP_ALTER && !trace_alter_reads(op));
	bool fetch = op->code == OP_EXEC;
	u64 va = op->va + (fetch ? 0x808 : 0);
	struct model_walk walk;

	if (op->code != OP_ALTER && (op->code < OP_READ || op->code > OP_SWEEP))
		return;
	if (naive[vcpu].count == ARRAY_LEN(naive[vcpu].entry))
		return;
	model_walk(&model, vcpu, va, write, fetch, op->cpl, &walk);
	if (walk.ok)
		naive[vcpu].entry[naive[vcpu].count++] = (struct translation){
			.va = va, .gfn = walk.gfn, .w = write && walk.w, .u = walk.u, .x = !walk.nx,
			.global = walk.global && model.vcpu[vcpu].pge, .level = walk.level,
		};
}

static void naive_flush(u32 vcpu, const struct trace_op *op, const struct model_vcpu *was)
{
	if (op->code == OP_FLUSH || op->code == OP_PHYS || op->code == OP_REAL || op->code == OP_VISIT)
		naive_drop(vcpu, true, false, 0);
	else if (op->code == OP_CR3 || op->code == OP_RELOAD)
		naive_drop(vcpu, false, false, 0);
	else if (op->code == OP_INVLPG)
		naive_drop(vcpu, true, true, op->va);
	for (u32 i = 0; i < 2; i++)
		if (model.vcpu[i].pge != was[i].pge ||
		    (model.vcpu[i].pse != was[i].pse && model.config.kind == TRACE_HVM32))
			naive_drop(i, true, false, 0);
}

// A hypervisor takes away what lets stores to read-only frames through, and to those that it has handed out as clean.
static void naive_prune(void)
{
	for (u32 vcpu = 0; vcpu < 2; vcpu++) {
		u32 kept = 0;

		for (u32 i = 0; i < naive[vcpu].count; i++) {
			struct translation t = naive[vcpu].entry[i];
			u64 frame = t.gfn - TRACE_F0_GFN;
			bool stops = frame < TRACE_FRAMES &&
				     (model.manage.read_only >> frame & 1 ||
				      (model.manage.watching && !(model.manage.marked >> frame & 1)));

			if (!t.w || !stops)
				naive[vcpu].entry[kept++] = t;
		}
		naive[vcpu].count = kept;
	}
}

static bool naive_all_allowed(const struct model *by)
{
	for (u32 vcpu = 0; vcpu < 2; vcpu++)
		for (u32 i = 0; i < naive[vcpu].count; i++) {
			struct translation t = naive[vcpu].entry[i];

			if (!model_tlb_allows(by, vcpu, t.va, t.gfn, t.w, t.u, t.x))
				return false;
		}
	return true;
}

// ---- runs --------------------------------------------------------------------------------------------------
// Frames of a model as an executor's memory.
static const void *frame_of(void *ctx, u32 i)
{
	const struct model *m = ctx;
	static u64 words[MODEL_WORDS]; // of the donor

	if (!(m->manage.foreign >> i & 1))
		return m->present >> i & 1 ? m->word[i] : NULL;
	for (u32 k = 0; k < MODEL_WORDS; k++)
		words[k] = model_word(m, i, k);
	return words;
}

static struct model twin;

static bool same_vcpu(const struct model_vcpu *a, const struct model_vcpu *b)
{
	bool same = a->root == b->root && a->mode == b->mode && a->root_count == b->root_count &&
		    a->flushed == b->flushed && a->flushed_all == b->flushed_all && a->invlpg_count == b->invlpg_count;

	for (u32 i = 0; same && i < a->root_count; i++)
		same = a->roots[i].since == b->roots[i].since &&
		       memcmp(a->roots[i].top, b->roots[i].top, sizeof(a->roots[i].top)) == 0;
	return same;
}

static u32 done[OP_COUNT]; // how often an op came to its end, and not to a fault

static void one_step(const struct trace_op *op)
{
	const struct model_vcpu was[2] = { model.vcpu[0], model.vcpu[1] };
	u32 vcpu = model.current;
	struct obs o;

	naive_note(vcpu, op);
	model_step(&model, op, &o);
	if (o.kind != OBS_FAULT && o.kind != OBS_KILLED)
		done[op->code]++;
	CHECK_OK(model_follow(&twin, op, &o));
	CHECK_OK(model_compare_touched(&twin, frame_of, &model));
	CHECK_OK(model_check_dirty(&twin, model.manage.ask.must, true));
	CHECK_OK(model_check_dirty(&twin, model.manage.ask.may, true));
	naive_flush(vcpu, op, was);
	naive_prune();
}

static void test_run(enum trace_mode mode)
{
	u32 notes = 0;

	memset(done, 0, sizeof(done));
	for (u32 run = 0; run < 400; run++) {
		start_shaped(mode);
		twin = model;
		naive[0].count = naive[1].count = 0;
		for (u32 i = 0; i < 200 && !model.dead; i++) {
			struct trace_op op = random_op();

			one_step(&op);
			notes += naive[0].count + naive[1].count;
			if (i % 8 == 0 && !CHECK(naive_all_allowed(&model)))
				return;
		}
		CHECK_OK(model_compare_memory(&twin, frame_of, &model));
		CHECK(model_memory_hash(&model) == model_memory_hash(&twin));
		CHECK(same_vcpu(&model.vcpu[0], &twin.vcpu[0]) && same_vcpu(&model.vcpu[1], &twin.vcpu[1]));
	}
	CHECK(notes > 20000); // walks did succeed, and were remembered
	for (u32 code = 0; code < OP_COUNT; code++)
		CHECK(done[code] > 20 || code == OP_BADREG || code == OP_UNSHADOW || code == OP_BLOW || code == OP_POOL ||
		      code == OP_LARGE);
}

static bool can_race(const struct trace_op *op)
{
	return op->code != OP_VCPU && op->code != OP_CTL && op->code != OP_CHECK && op->code != OP_VISIT &&
	       op->code != OP_BADREG && op->code != OP_MIGRATE;
}

// op on a vcpu of the model, and the plain TLB beside it.
static void step_noted(u32 vcpu, const struct trace_op *op, struct obs *o)
{
	const struct model_vcpu was[2] = { model.vcpu[0], model.vcpu[1] };

	naive_note(vcpu, op);
	model_step_on(&model, vcpu, op, o);
	naive_flush(vcpu, op, was);
	naive_prune();
}

// What a hypervisor would have reported for the operation that has just run.
static void note_ask(struct model_ask *seen)
{
	if (!model.manage.ask.count)
		return;
	seen->count++;
	seen->must = model.manage.ask.must;
	seen->may = model.manage.ask.may;
}

static void check_latched(u32 vcpu)
{
	const struct model_vcpu *v = &model.vcpu[vcpu];
	u64 pdpte[MODEL_TOPS];

	for (u32 i = 0; i < MODEL_TOPS; i++) {
		u64 top = v->roots[v->root_count - 1].top[i];

		pdpte[i] = top == MODEL_ABSENT ? 0 : top << 12 | P;
	}
	CHECK_OK(model_check_latched(&twin, vcpu, pdpte));
}

// Two operations in either order are one of the orders of a race. What they left in the TLB may stay there, whichever order
// the model takes for real, and it learns what they latched.
static void test_pairs(enum trace_mode mode)
{
	u32 pairs = 0, asks = 0;

	start_shaped(mode);
	for (u32 i = 0; i < 20000; i++) {
		struct trace_op a = random_op(), b = random_op();
		struct model_ask asked = { 0 };
		struct obs seen_a, seen_b;

		if (i % 50 == 0 || model.dead)
			start_shaped(mode);
		if (!can_race(&a) || !can_race(&b)) {
			step(a);
			continue;
		}
		model.current = 0;
		twin = model;
		naive[0].count = naive[1].count = 0;
		if (roll(2)) {
			step_noted(0, &a, &seen_a);
			note_ask(&asked);
			step_noted(1, &b, &seen_b);
			note_ask(&asked);
		} else {
			step_noted(1, &b, &seen_b);
			note_ask(&asked);
			if (model.dead)
				continue; // a would not have run
			step_noted(0, &a, &seen_a);
			note_ask(&asked);
		}
		CHECK_OK(model_follow_race_memory(&twin, &a, &seen_a, &b, 1, &seen_b, frame_of, &model));
		pairs++;
		if (model.dead)
			continue;
		CHECK_OK(model_compare_memory(&twin, frame_of, &model));
		CHECK(naive_all_allowed(&twin));
		CHECK(twin.manage.ask.count == asked.count);
		CHECK_OK(model_check_dirty(&twin, asked.must, false));
		CHECK_OK(model_check_dirty(&twin, asked.may, false));
		asks += asked.count;
		check_latched(0);
		check_latched(1);
	}
	CHECK(pairs > 10000 && asks > 200);
}

int main(void)
{
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++) {
		test_run((enum trace_mode)mode);
		test_pairs((enum trace_mode)mode);
	}
	return check_report();
}
