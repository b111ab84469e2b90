// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses through a virtual address: what the guest's instructions do, page by page.
//
// Parts: translation of one page; spans of one or two pages; load, store and fetch; sweeps; instructions that
// alter memory.
//
// An access translates all its pages before it touches memory. Between two steps that another vcpu could fall
// between stands a race_point().
#include "internal.h"

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// Slots of obs.from_tlb where the store of an instruction that reads first begins.
#define SLOT_STORE 2

// ---- translation of one page ----------------------------------------------------------------------
// A TLB was used for the page with this slot if the observation says so.
static bool from_tlb(const struct run *r, u32 slot)
{
	if (!r->seen)
		return false;
	if (r->op->code == OP_SWEEP && r->seen->value[1])
		return r->seen->value[1] >> slot & 1;
	return slot < ARRAY_LEN(r->seen->from_tlb) && r->seen->from_tlb[slot];
}

static void check_tlb(struct run *r, u64 va, struct access a, u64 gfn)
{
	if (r->broken)
		return;
	if (!memory_is_ram(r->m, gfn))
		r->broken = finding("E1.42 no write hole: a TLB maps 0x%llx to gfn 0x%llx, which has no RAM",
				    (unsigned long long)va, (unsigned long long)gfn);
	else if (a.write && slot_read_only(r->m, slot_of(gfn)))
		r->broken = finding("E1.42 no write hole: a TLB lets a store to 0x%llx through to gfn 0x%llx, which is read-only",
				    (unsigned long long)va, (unsigned long long)gfn);
	else if (!tlb_answers(r->m, r->m->current, va, gfn, a))
		r->broken = finding("E1.41 soundness: a TLB maps 0x%llx to gfn 0x%llx for %s at cpl %u, which no "
				    "guest table granted since the last flush",
				    (unsigned long long)va, (unsigned long long)gfn,
				    a.fetch ? "fetch" : a.write ? "write" : "read", a.cpl);
}

// The page with this slot, whose first byte of the access is at va. False: a fault has been answered.
static bool translate(struct run *r, u32 slot, u64 va, struct access a, u64 *gfn)
{
	struct model_walk walk;

	if (from_tlb(r, slot)) {
		*gfn = r->seen->tlb_gfn[slot];
		check_tlb(r, va, a, *gfn);
		return true;
	}
	walk_access(r->m, r->v, va, a, &walk);
	if (!walk.canonical)
		answer_fault(r, VECTOR_GP, 0, 0);
	else if (!walk.ok)
		answer_fault(r, VECTOR_PF, walk.error, va);
	*gfn = walk.gfn;
	return walk.canonical && walk.ok;
}

// Forget a fault that was answered: the access starts over.
static void start_over(struct run *r)
{
	r->o->kind = OBS_OK;
	r->o->vector = 0;
	r->o->error = 0;
	r->o->cr2 = 0;
}

static struct access access_of(const struct run *r, bool write)
{
	return (struct access){ .write = write, .cpl = r->op->cpl, .ac = r->op->ac };
}

// ---- spans of one or two pages ----------------------------------------------------------------------
struct span {
	u64 gfn[2];
	u32 offset, bytes, first; // of the access in page 0; all its bytes; those in page 0
};

// Translate all pages of an access of `bytes` at va, the pages of slots `slot` and the next. The first page is walked
// to its end, A and D included, before the second is looked at, even if that is not canonical: TCG's order.
// (Processors that test the whole access first raise #GP there without walking.) False: a fault was answered, or
// *redo says what the caller has to start over.
static bool translate_span(struct run *r, u32 slot, u64 va, u32 bytes, struct access a, struct span *s,
			   enum redo *redo)
{
	bool later = slot == SLOT_STORE && trace_alter_reads(r->op), ok;

	s->bytes = bytes;
	s->offset = va & 0xfff;
	s->first = bytes < 0x1000 - s->offset ? bytes : 0x1000 - s->offset;
	ok = translate(r, slot, va, a, &s->gfn[0]);
	if (ok && s->first < bytes) {
		*redo = race_point(r->m, later);
		if (*redo)
			return false;
		ok = translate(r, slot + 1, paging_next_page(paging_of(r->v->mode), va), a, &s->gfn[1]);
	}
	*redo = race_point(r->m, later);
	return ok && !*redo;
}

// The whole of it, started over as often as it takes.
static bool settle_span(struct run *r, u32 slot, u64 va, u32 bytes, struct access a, struct span *s)
{
	enum redo redo;
	bool ok;

	do {
		start_over(r);
		ok = translate_span(r, slot, va, bytes, a, s, &redo);
	} while (redo);
	return ok;
}

static bool span_is_ram(const struct run *r, const struct span *s)
{
	return memory_is_ram(r->m, s->gfn[0]) && (s->first == s->bytes || memory_is_ram(r->m, s->gfn[1]));
}

// The next run of bytes from byte `done` on: all in one page and in one half of a 16-byte value.
static u32 span_run(const struct span *s, u32 done)
{
	u32 end = done < s->first ? s->first : s->bytes, half = 8 - done % 8;

	return end - done < half ? end - done : half;
}

static u32 span_offset(const struct span *s, u32 done)
{
	return (s->offset + done) & 0xfff;
}

static void span_load(struct run *r, const struct span *s, u64 value[2])
{
	u32 n;

	value[0] = value[1] = 0;
	for (u32 done = 0; done < s->bytes; done += n) {
		u64 part;

		n = span_run(s, done);
		if (done && done == s->first)
			race_point_plain(r->m);
		part = memory_load(r->m, s->gfn[done >= s->first], span_offset(s, done), n);
		value[done / 8] |= part << done % 8 * 8;
	}
}

static void span_store(struct run *r, const struct span *s, const u64 value[2])
{
	u32 n;

	for (u32 done = 0; done < s->bytes; done += n) {
		n = span_run(s, done);
		if (done && done == s->first)
			race_point_plain(r->m);
		memory_store(r->m, s->gfn[done >= s->first], span_offset(s, done), n, value[done / 8] >> done % 8 * 8);
	}
}

// ---- load, store and fetch --------------------------------------------------------------------------
void access_read(struct run *r)
{
	const struct trace_op *op = r->op;
	struct span s;
	u64 value[2];

	if (!settle_span(r, 0, op->va, op->bytes, access_of(r, false), &s))
		return;
	span_load(r, &s, value);
	answer_value(r, value[0], op->bytes);
}

static bool store_at(struct run *r, u32 slot, u64 va, u32 bytes, const u64 value[2])
{
	struct span s;

	if (!settle_span(r, slot, va, bytes, access_of(r, true), &s))
		return false;
	span_store(r, &s, value);
	return true;
}

void access_write(struct run *r, u64 value, u32 bytes)
{
	store_at(r, 0, r->op->va, bytes, (u64[2]){ value, 0 });
}

// In a hole the processor executes the pattern: zeros are `add %al,(%rax)` with a RAX that is not
// canonical (32-bit code: with a segment that is null), ones are no instruction.
void access_exec(struct run *r)
{
	u64 va = (r->op->va & ~UINT64_C(0xfff)) + TRACE_EXEC_AT;
	struct span s;

	if (!settle_span(r, 0, va, 1, (struct access){ .fetch = true, .cpl = r->op->cpl }, &s))
		return;
	if (!span_is_ram(r, &s))
		answer_fault(r, MODEL_HOLE_WORD ? VECTOR_UD : VECTOR_GP, 0, 0);
}

// ---- sweeps -----------------------------------------------------------------------------------------
#define GUESSES 4

// The frame behind page k of a sweep that a TLB answered. The observation names only those of the
// first two pages, so each that the permissive TLB holds is a guess: m->guess, in mixed radix, picks one per
// page, and the caller tries the guesses until one explains the hash that was seen.
static u64 sweep_tlb_gfn(struct run *r, u32 k, u64 va, struct access a)
{
	struct model *m = r->m;
	u64 gfns[GUESSES];
	u32 count, pick;
	bool any;

	if (k < 2 && r->seen->from_tlb[k]) {
		check_tlb(r, va, a, r->seen->tlb_gfn[k]);
		return r->seen->tlb_gfn[k];
	}
	count = tlb_candidates(m, m->current, va, a, gfns, GUESSES, &any);
	if (!count) {
		if (!r->broken)
			r->broken = finding("E1.41 soundness: a TLB maps 0x%llx, which no guest table granted since "
					    "the last flush", (unsigned long long)va);
		return TRACE_HOLE0_GFN;
	}
	if (any)
		m->guess_blind = true;
	pick = m->guess / m->guesses % count;
	m->guesses *= count;
	return gfns[pick];
}

void access_sweep(struct run *r)
{
	const struct paging *p = paging_of(r->v->mode);
	const struct access a = access_of(r, false);
	u64 hash = FNV_START, va = r->op->va, gfn;

	r->o->kind = OBS_SWEEP;
	for (r->o->count = 0; r->o->count < r->op->count; r->o->count++) {
		bool ok;

		do {
			start_over(r);
			r->o->kind = OBS_SWEEP;
			ok = true;
			if (from_tlb(r, r->o->count))
				gfn = sweep_tlb_gfn(r, r->o->count, va, a);
			else
				ok = translate(r, r->o->count, va, a, &gfn);
		} while (race_point(r->m, false));
		if (!ok)
			break;
		hash = (hash ^ memory_load(r->m, gfn, va & 0xfff, 1)) * FNV_PRIME;
		va = paging_next_page(p, va) | (va & 0xfff);
	}
	r->o->value[0] = hash;
	r->o->bytes = 8;
}

// ---- instructions that alter memory -------------------------------------------------------------------
// The REP forms store their elements as accesses of their own: a fault stops them, what is stored stays.
static bool alter_by_store(struct run *r)
{
	const struct trace_op *op = r->op;
	u32 elements = op->insn == INS_REP_STOS || op->insn == INS_REP_MOVS ? TRACE_REP : 1;
	u64 value = trace_alter_value(op), both[2] = { value, value };
	struct model_walk before[TRACE_REP], now;

	for (u32 k = 0; k < elements; k++)
		model_walk(r->m, r->m->current, op->va + k * op->bytes, true, false, op->cpl, &before[k]);
	for (u32 k = 0; k < elements; k++) {
		model_walk(r->m, r->m->current, op->va + k * op->bytes, true, false, op->cpl, &now);
		r->m->own_entry = r->m->own_entry || now.ok != before[k].ok || now.gfn != before[k].gfn;
		if (!store_at(r, 2 * k, op->va + k * op->bytes, op->bytes, both))
			return false;
	}
	return true;
}

// First an access that reads, then one that writes.
static bool translate_both(struct run *r, struct span *from, struct span *to)
{
	const struct trace_op *op = r->op;
	u64 before[2] = { 0 }, after[2] = { 0 };
	enum redo redo;
	bool ok;

	do {
		start_over(r);
		ok = translate_span(r, 0, op->va, op->bytes, access_of(r, false), from, &redo);
		if (!ok)
			continue;
		span_load(r, from, before);
		do {
			start_over(r);
			ok = translate_span(r, SLOT_STORE, op->va, op->bytes, access_of(r, true), to, &redo);
		} while (redo == REDO_PART);
		span_load(r, from, after);
		r->m->own_entry = r->m->own_entry || before[0] != after[0] || before[1] != after[1];
	} while (redo);
	return ok;
}

// Memory is stored to whatever the instruction makes of it.
static bool alter_by_change(struct run *r)
{
	const struct trace_op *op = r->op;
	struct span from, to;
	struct alu alu;
	u64 old[2];

	if (!translate_both(r, &from, &to))
		return false;
	span_load(r, r->seen && r->seen->emulated ? &to : &from, old);
	alu_run(op->insn, op->bytes, old, trace_alter_value(op), &alu);
	span_store(r, &to, alu.memory);
	r->o->value[0] = alu.reported[0];
	r->o->value[1] = alu.reported[1];
	r->o->error = alu.flags;
	return true;
}

void access_alter(struct run *r)
{
	const struct trace_op *op = r->op;

	if (op->bytes == 16 && (op->insn == INS_CAS || op->insn == INS_LOCK_CAS) && op->va % 16) {
		answer_fault(r, VECTOR_GP, 0, 0);
		return;
	}
	if (trace_alter_reads(op) ? alter_by_change(r) : alter_by_store(r)) {
		r->o->kind = OBS_ALTER;
		r->o->bytes = op->bytes;
	}
}
