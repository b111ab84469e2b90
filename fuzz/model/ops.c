// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace does to a machine without a hypervisor, and what its guest sees.
//
// Parts: answers; loads and stores within a page; translation of one page; accesses through a
// virtual address; accesses through the direct map; control registers; operations of the
// hypervisor; the dispatcher.
//
// The direct map is not walked: nothing can change it, and its entries have A and D set. Between two
// steps that another vcpu could fall between stands a race_point().
#include "../../hv/base/status.h"

#include "internal.h"

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// One operation under way.
struct run {
	struct model *m;
	struct model_vcpu *v;
	const struct trace_op *op;
	const struct obs *seen; // NULL: nothing is known, walk afresh
	struct obs *o;
	const char *broken;
};

// ---- answers --------------------------------------------------------------------------------------
static void answer_fault(struct run *r, u8 vector, u32 error, u64 cr2)
{
	if (r->o->kind != OBS_SWEEP)
		r->o->kind = OBS_FAULT;
	r->o->vector = vector;
	r->o->error = error;
	r->o->cr2 = cr2;
}

static void answer_value(struct run *r, u64 value, u8 bytes)
{
	r->o->kind = OBS_VALUE;
	r->o->value[0] = value;
	r->o->bytes = bytes;
}

static void answer_status(struct run *r, enum hv_status status)
{
	r->o->kind = OBS_STATUS;
	r->o->status = (u8)status;
}

static void answer_killed(struct run *r, const char *reason)
{
	r->o->kind = OBS_KILLED;
	r->o->reason = reason;
	r->m->dead = true;
}

static u64 low_bytes(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & ((UINT64_C(1) << 8 * bytes) - 1);
}

// ---- loads and stores within a page ---------------------------------------------------------------
static u64 load_word(const struct model *m, u64 gfn, u32 index)
{
	int slot = slot_of(gfn);

	return slot < 0 ? MODEL_HOLE_WORD : word_get(m, slot, index);
}

static u8 load_byte(const struct model *m, u64 gfn, u32 offset)
{
	return (u8)(load_word(m, gfn, offset / 8) >> offset % 8 * 8);
}

// The low `bytes` bytes of value at offset; each word changes at once.
static void store_bytes(struct model *m, u64 gfn, u32 offset, u32 bytes, u64 value)
{
	int slot = slot_of(gfn);

	while (slot >= 0 && bytes) {
		u32 shift = offset % 8 * 8, n = 8 - offset % 8;
		u64 mask;

		if (n > bytes)
			n = bytes;
		mask = low_bytes(~UINT64_C(0), n) << shift;
		word_set(m, slot, offset / 8, (word_get(m, slot, offset / 8) & ~mask) | (value << shift & mask));
		value = n == 8 ? 0 : value >> 8 * n;
		offset += n;
		bytes -= n;
	}
}

static void store_word(struct model *m, u64 gfn, u32 index, u64 value)
{
	int slot = slot_of(gfn);

	if (slot >= 0)
		word_set(m, slot, index, value);
}

// ---- translation of one page ----------------------------------------------------------------------
// A TLB was used for page k of this access if the observation says so.
static bool from_tlb(const struct run *r, u32 k)
{
	if (!r->seen)
		return false;
	if (r->op->code == OP_SWEEP && r->seen->value[1])
		return r->seen->value[1] >> k & 1;
	return k < 2 && r->seen->from_tlb[k];
}

static void check_tlb(struct run *r, u64 va, struct access a, u64 gfn)
{
	int slot = slot_of(gfn);

	if (r->broken)
		return;
	if (slot < 0 || !slot_present(r->m, slot))
		r->broken = finding("E1.42 no write hole: a TLB maps 0x%llx to gfn 0x%llx, which has no RAM",
				    (unsigned long long)va, (unsigned long long)gfn);
	else if (!tlb_answers(r->m, r->m->current, va, gfn, a))
		r->broken = finding("E1.41 soundness: a TLB maps 0x%llx to gfn 0x%llx for %s at cpl %u, which no "
				    "guest table granted since the last flush",
				    (unsigned long long)va, (unsigned long long)gfn,
				    a.fetch ? "fetch" : a.write ? "write" : "read", a.cpl);
}

// Page k of the access, whose first byte in this page is at va. False: a fault has been answered.
static bool translate(struct run *r, u32 k, u64 va, struct access a, u64 *gfn)
{
	struct model_walk walk;

	if (from_tlb(r, k)) {
		*gfn = r->seen->tlb_gfn[k & 1];
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

// ---- accesses through a virtual address -----------------------------------------------------------
struct span {
	u64 gfn[2];
	u32 offset, first; // of the access in page 0; bytes in page 0
};

// Translate all pages of an access of `bytes` at va. The first page is walked to its end, A and D
// included, before the second is looked at, even if that is not canonical: TCG's order. (Processors
// that test the whole access first raise #GP there without walking.)
static bool translate_span(struct run *r, u64 va, u32 bytes, struct access a, struct span *s)
{
	u64 second = (va | 0xfff) + 1;
	bool ok;

	s->offset = va & 0xfff;
	s->first = bytes < 0x1000 - s->offset ? bytes : 0x1000 - s->offset;
	for (;;) {
		start_over(r);
		ok = translate(r, 0, va, a, &s->gfn[0]);
		if (ok && s->first < bytes) {
			if (race_point(r->m))
				continue;
			ok = translate(r, 1, second, a, &s->gfn[1]);
		}
		if (!race_point(r->m))
			return ok;
	}
}

static void do_read(struct run *r)
{
	const struct trace_op *op = r->op;
	struct span s;
	u64 value = 0;

	if (!translate_span(r, op->va, op->bytes, (struct access){ .cpl = op->cpl }, &s))
		return;
	for (u32 i = 0; i < op->bytes; i++) {
		if (i && i == s.first)
			race_point_plain(r->m);
		value |= (u64)load_byte(r->m, s.gfn[i >= s.first], (s.offset + i) & 0xfff) << 8 * i;
	}
	answer_value(r, value, op->bytes);
}

static void do_write(struct run *r, u64 value, u32 bytes)
{
	const struct trace_op *op = r->op;
	struct span s;

	if (!translate_span(r, op->va, bytes, (struct access){ .write = true, .cpl = op->cpl }, &s))
		return;
	store_bytes(r->m, s.gfn[0], s.offset, s.first, value);
	if (s.first < bytes) {
		race_point_plain(r->m);
		store_bytes(r->m, s.gfn[1], 0, bytes - s.first, value >> 8 * s.first);
	}
}

// In a hole the processor executes the pattern: zeros are `add %al,(%rax)` with a RAX that is not
// canonical, ones are no instruction.
static void do_exec(struct run *r)
{
	u64 va = (r->op->va & ~UINT64_C(0xfff)) + TRACE_EXEC_AT;
	struct span s;
	int slot;

	if (!translate_span(r, va, 1, (struct access){ .fetch = true, .cpl = r->op->cpl }, &s))
		return;
	slot = slot_of(s.gfn[0]);
	if (slot < 0 || !slot_present(r->m, slot))
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

static void do_sweep(struct run *r)
{
	const struct access a = { .cpl = r->op->cpl };
	u64 hash = FNV_START, va = r->op->va, gfn;

	r->o->kind = OBS_SWEEP;
	for (r->o->count = 0; r->o->count < r->op->count; r->o->count++, va += 0x1000) {
		bool ok;

		do {
			start_over(r);
			r->o->kind = OBS_SWEEP;
			ok = true;
			if (from_tlb(r, r->o->count))
				gfn = sweep_tlb_gfn(r, r->o->count, va, a);
			else
				ok = translate(r, r->o->count, va, a, &gfn);
		} while (race_point(r->m));
		if (!ok)
			break;
		hash = (hash ^ load_byte(r->m, gfn, va & 0xfff)) * FNV_PRIME;
	}
	r->o->value[0] = hash;
	r->o->bytes = 8;
}

// ---- accesses through the direct map ----------------------------------------------------------------
static u64 gfn_of_frame(u32 frame)
{
	return TRACE_F0_GFN + frame;
}

static void store_half(struct run *r, bool high, u64 entry)
{
	u64 gfn = gfn_of_frame(r->op->frame), word = load_word(r->m, gfn, r->op->index);

	if (high)
		word = (word & 0xffffffff) | (entry & ~UINT64_C(0xffffffff));
	else
		word = (word & ~UINT64_C(0xffffffff)) | (entry & 0xffffffff);
	store_word(r->m, gfn, r->op->index, word);
}

// Plain loads give what to expect, then lock cmpxchg of 4, 8 or 16 bytes.
static void do_cas(struct run *r)
{
	const struct trace_op *op = r->op;
	u64 gfn = gfn_of_frame(op->frame), entry = trace_entry(op), expect[2], old[2];
	u32 bytes = op->bytes, words = bytes == 16 ? 2 : 1;
	bool match = true;

	for (u32 i = 0; i < words; i++)
		expect[i] = low_bytes(load_word(r->m, gfn, op->index + i), bytes);
	if (!op->on)
		expect[0] ^= 1;
	race_point_plain(r->m);
	for (u32 i = 0; i < words; i++) {
		old[i] = low_bytes(load_word(r->m, gfn, op->index + i), bytes);
		match = match && old[i] == expect[i];
	}
	for (u32 i = 0; match && i < words; i++) {
		u64 keep = load_word(r->m, gfn, op->index + i) & ~low_bytes(~UINT64_C(0), bytes);

		store_word(r->m, gfn, op->index + i, keep | low_bytes(entry, bytes));
	}
	r->o->kind = OBS_CAS;
	r->o->matched = match;
	r->o->bytes = (u8)bytes;
	for (u32 i = 0; i < words; i++)
		r->o->value[i] = old[i];
}

static bool reserved_word(u32 index)
{
	return index == TRACE_KERNEL_SLOT || index == TRACE_KERNEL_SLOT + 1;
}

// ZERO, and COPY with copy = true.
static void do_page(struct run *r, bool copy)
{
	u64 to = gfn_of_frame(r->op->frame), from = gfn_of_frame(r->op->from);

	for (u32 i = 0; i < MODEL_WORDS; i++) {
		u64 value = 0;

		if (reserved_word(i))
			continue;
		if (copy) {
			value = load_word(r->m, from, i);
			race_point_plain(r->m);
		}
		store_word(r->m, to, i, value);
		race_point_plain(r->m);
	}
}

// ---- control registers ------------------------------------------------------------------------------
static void do_cr3(struct run *r)
{
	u64 gfn = trace_target_gfn(r->op->target);
	int slot = slot_of(gfn);

	if (r->op->target == TRACE_TARGET_FAR) {
		answer_fault(r, VECTOR_GP, 0, 0);
	} else if (slot < 0 || !slot_present(r->m, slot)) {
		answer_killed(r, "wild cr3");
	} else {
		r->v->root = gfn;
		flush_for_cr3(r->m, r->v);
	}
}

static void do_invlpg(struct run *r)
{
	struct model_vcpu *v = r->v;
	u64 page = r->op->va & ~UINT64_C(0xfff);
	u32 i;

	for (i = 0; i < v->invlpg_count && v->invlpgs[i].page != page; i++)
		;
	if (i == MODEL_INVLPGS)
		return; // forgetting one allows more
	if (i == v->invlpg_count)
		v->invlpg_count++;
	v->invlpgs[i].page = page;
	v->invlpgs[i].time = ++r->m->now;
}

// Of these only a change of PGE flushes: rights are checked anew on every access, and a cached NX
// stays what it was.
static void set_ctl(struct model *m, struct model_vcpu *v, u8 ctl, bool on)
{
	switch (ctl) {
	case CTL_WP:
		v->wp = on;
		break;
	case CTL_NXE:
		if (v->nxe && !on)
			v->nxe_until = m->now;
		v->nxe = on;
		break;
	case CTL_SMEP:
		v->smep = on;
		break;
	case CTL_SMAP:
		v->smap = on;
		break;
	case CTL_PGE:
		if (v->pge != on)
			flush_all(m, v);
		v->pge = on;
		break;
	}
}

// ---- operations of the hypervisor ---------------------------------------------------------------------
static bool is_a_root(const struct model *m, u32 frame)
{
	for (u32 i = 0; i < m->config.vcpus; i++)
		if (m->vcpu[i].root == gfn_of_frame(frame))
			return true;
	return false;
}

// Where several answers fit, busy goes before absent, and that before "nothing to do".
static enum hv_status do_swap(struct model *m, u32 a, u32 b)
{
	if (is_a_root(m, a) || is_a_root(m, b))
		return HV_EBUSY;
	if (!slot_present(m, (int)a) || !slot_present(m, (int)b))
		return HV_ENOENT;
	if (a == b)
		return HV_OK;
	for (u32 i = 0; i < MODEL_WORDS; i++) {
		u64 word = word_get(m, (int)a, i);

		if (reserved_word(i))
			continue;
		word_replace(m, (int)a, i, word_get(m, (int)b, i));
		word_replace(m, (int)b, i, word);
	}
	return HV_OK;
}

static enum hv_status do_renew(struct model *m, u32 frame)
{
	if (is_a_root(m, frame))
		return HV_EBUSY;
	m->present |= 1u << frame;
	for (u32 i = 0; i < MODEL_WORDS; i++)
		word_replace(m, (int)frame, i,
			     i == TRACE_KERNEL_SLOT       ? MODEL_K3_GFN << 12 | E_P | E_W | E_U | E_A
			     : i == TRACE_KERNEL_SLOT + 1 ? TRACE_INT3
							  : 0);
	return HV_OK;
}

static enum hv_status do_remove(struct model *m, u32 frame)
{
	if (is_a_root(m, frame))
		return HV_EBUSY;
	if (!slot_present(m, (int)frame))
		return HV_ENOENT;
	for (u32 i = 0; i < MODEL_WORDS; i++)
		word_replace(m, (int)frame, i, MODEL_HOLE_WORD);
	m->present &= ~(1u << frame);
	return HV_OK;
}

static bool op_is_fallible_control(u8 code)
{
	return (trace_op_class(code) & OP_IS_CONTROL) && code != OP_CHECK;
}

// The hypervisor refused for want of memory, as it may when a failure is armed; then nothing happened.
static bool refused(const struct run *r)
{
	return r->seen && r->m->may_fail && op_is_fallible_control(r->op->code) && r->seen->kind == OBS_STATUS &&
	       r->seen->status == HV_ENOMEM;
}

static void do_control(struct run *r)
{
	const struct trace_op *op = r->op;
	enum hv_status status = HV_OK;

	if (refused(r))
		status = HV_ENOMEM;
	else if (op->code == OP_UNSHADOW && !slot_present(r->m, op->frame))
		status = HV_ENOENT;
	else if (op->code == OP_SWAP)
		status = do_swap(r->m, op->frame, op->from);
	else if (op->code == OP_RENEW)
		status = do_renew(r->m, op->frame);
	else if (op->code == OP_REMOVE)
		status = do_remove(r->m, op->frame);
	answer_status(r, status);
}

// ---- dispatch -----------------------------------------------------------------------------------------
static void do_guest_memory(struct run *r)
{
	const struct trace_op *op = r->op;

	switch (op->code) {
	case OP_PTE:
		store_word(r->m, gfn_of_frame(op->frame), op->index, trace_entry(op));
		break;
	case OP_HALF:
		store_half(r, op->on, trace_entry(op));
		break;
	case OP_CAS:
		do_cas(r);
		break;
	case OP_PEEK:
		answer_value(r, load_word(r->m, gfn_of_frame(op->frame), op->index), 8);
		break;
	case OP_ZERO:
		do_page(r, false);
		break;
	case OP_COPY:
		do_page(r, true);
		break;
	case OP_PHYS:
		store_half(r, false, trace_entry(op));
		race_point_plain(r->m);
		store_half(r, true, trace_entry(op));
		flush_all(r->m, r->v); // CR0.PG went off and on
		break;
	}
}

static void do_guest_access(struct run *r)
{
	switch (r->op->code) {
	case OP_READ:
		do_read(r);
		break;
	case OP_WRITE:
		do_write(r, r->op->value, r->op->bytes);
		break;
	case OP_SET:
		do_write(r, trace_entry(r->op), 8);
		break;
	case OP_PUSH:
		do_write(r, r->op->value, 8);
		break;
	case OP_EXEC:
		do_exec(r);
		break;
	case OP_SWEEP:
		do_sweep(r);
		break;
	}
}

static void do_registers(struct run *r)
{
	struct model *m = r->m;

	switch (r->op->code) {
	case OP_CR3:
		do_cr3(r);
		break;
	case OP_RELOAD:
		flush_for_cr3(m, r->v);
		break;
	case OP_INVLPG:
		do_invlpg(r);
		break;
	case OP_FLUSH:
		flush_all(m, r->v);
		break;
	case OP_CTL:
		for (u32 i = 0; i < m->config.vcpus; i++)
			set_ctl(m, &m->vcpu[i], r->op->ctl, r->op->on);
		break;
	case OP_VCPU:
		m->current = r->op->vcpu % m->config.vcpus;
		break;
	}
}

void op_run(struct model *m, const struct trace_op *op, const struct obs *seen, struct obs *o,
	    const char **broken)
{
	struct run r = { .m = m, .v = &m->vcpu[m->current], .op = op, .seen = seen, .o = o, .broken = NULL };

	*o = (struct obs){ .kind = OBS_OK };
	m->touched |= 1u << op->frame | 1u << op->from;
	race_point_plain(m);
	if (op->code <= OP_PHYS)
		do_guest_memory(&r);
	else if (op->code <= OP_SWEEP)
		do_guest_access(&r);
	else if (op->code <= OP_VCPU)
		do_registers(&r);
	else
		do_control(&r);
	race_point_plain(m);
	if (m->config.flush_auto && ((trace_op_class(op->code) & OP_MAPS) || op->code == OP_VCPU))
		flush_all(m, &m->vcpu[m->current]);
	if (r.broken && !*broken)
		*broken = r.broken;
}
