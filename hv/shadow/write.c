// SPDX-License-Identifier: GPL-2.0-or-later
// Guest writes that hardware could not do: to shadowed tables, to read-only pages under CR0.WP=0, and any
// access to guest-physical addresses without RAM (spec A.14).
//
// The current instruction is fetched through the port, its operand translated afresh, carried out, and
// the shadows of what it wrote are brought up to date. When the instruction is not known, comes from user
// mode, or uses the frame as a stack, the frame is unlikely to be a table any more: it loses its shadows and
// the instruction runs again. Where that does not help, because the frame is part of the instruction's own
// translation, the instruction is emulated after all.
//
// Invariants (E.1): 45 guest memory is as after the instruction; 30, 31 hold again when it is done.
#include "../base/mem.h"
#include "../mem/tlb.h"
#include "private.h"

// The part of an operand that lies in one page.
struct span {
	mfn_t frame; // referenced; MFN_NONE: no RAM
	gpa_t at;    // guest-physical address of its first byte
	u32 bytes;
};
#define SPANS_MAX 2
#define OPERAND_MAX 16

// ---- validation ------------------------------------------------------------------------------------

// Lower levels first: a walker may see an old upper entry with new lower ones, never the reverse.
static const u8 validate_order[] = { SHADOW_L1_32, SHADOW_L1_64, SHADOW_L2_32,
				     SHADOW_L2_64, SHADOW_L3_64, SHADOW_L4_64 };

static u32 validate_entry(struct domain *d, mfn_t smfn, u32 type, u32 index)
{
	gpte_t gpte = shadow_guest_entry(smfn, index);
	mfn_t below = MFN_NONE;
	u32 child_type, child_key;

	if (shadow_row(type)->level && (gpte.v & PTE_P) &&
	    !pt_entry_reserved(row_guest(shadow_row(type)), shadow_row(type)->level, gpte, GUEST_PHYS_BITS,
			       d->shadow.nxe) &&
	    table_child(d, type, gpte, &child_type, &child_key))
		below = table_find(d, child_type, child_key); // never made here: it is faulted in
	return shadow_set(d, smfn, index, shadow_propagate(d, type, gpte, below));
}

u32 write_validate(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	u32 result = 0;

	hv_assert(offset + bytes <= FRAME_BYTES && bytes);
	for (u32 i = 0; i < ARRAY_LEN(validate_order); i++) {
		u32 type = validate_order[i];

		if (!page_is_table(gmfn) || !(page_of(gmfn)->shadow_flags & BIT(type)))
			continue;
		u32 entry_bytes = row_guest(shadow_row(type))->entry_bytes;
		u32 last = (offset + bytes - 1) / entry_bytes;
		mfn_t smfn = table_find(d, type, (u32)gmfn.n);

		// Entries lead strictly downwards: none of these can destroy smfn itself.
		for (u32 index = offset / entry_bytes; index <= last; index++)
			result |= validate_entry(d, smfn, type, index);
	}
	return result;
}

static void validate_and_flush(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	u32 result = write_validate(d, gmfn, offset, bytes);

	if (result & ENTRY_FLUSH)
		tlb_flush(d->shadow.cpus);
	if (result & ENTRY_ERROR)
		access_remove_shadows(d, gmfn, false, false);
}

void shadow_validate_write(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	shadow_lock(d, __func__);
	validate_and_flush(d, gmfn, offset, bytes);
	shadow_unlock(d);
}

// ---- operands --------------------------------------------------------------------------------------

static void spans_put(struct span *spans, u32 count)
{
	while (count--)
		if (!mfn_is_none(spans[count].frame))
			page_put(spans[count].frame);
}

// In 64-bit mode, bits 63 to 47 of an address are equal.
static bool canonical(const struct vcpu *v, gva_t va)
{
	u64 high = va.a >> 47;

	return v->shadow.mode != PT_MODE_64 || high == 0 || high == (UINT64_C(1) << 17) - 1;
}

// Translate the operand as the guest's own tables have it and hold its frames. FAULT_EMULATED: go on.
static enum fault_result translate(struct vcpu *v, const struct hv_insn *insn, struct span *spans, u32 *count,
				   u32 *error, gva_t *cr2)
{
	struct domain *d = v->domain;
	struct pt_access access = { .write = insn->kind != INSN_READ, .user = insn->cpl == 3 };
	struct pt_regime regime;
	u32 done = 0;

	shadow_regime(v, &regime);
	for (*count = 0; done < insn->bytes; (*count)++) {
		gva_t at = gva(insn->va.a + done);
		u32 offset = (u32)at.a & (FRAME_BYTES - 1), room = FRAME_BYTES - offset;
		struct span *span = &spans[*count];
		struct pt_walk walk;

		hv_assert(*count < SPANS_MAX);
		if (!canonical(v, at)) { // the operand runs out of the lower half of the address space
			spans_put(spans, *count);
			return FAULT_INJECT_GP;
		}
		pt_walk(&regime, at, access, true, &walk);
		if (!walk.ok) {
			spans_put(spans, *count);
			if (walk.error == PT_WALK_RETRY)
				return FAULT_FIXED;
			*error = walk.error;
			*cr2 = at;
			return FAULT_INJECT;
		}
		span->bytes = insn->bytes - done < room ? insn->bytes - done : room;
		span->at = gpa(gfn_gpa(walk.target).a + offset);
		span->frame = domain_frame(d, walk.target);
		if (!mfn_is_none(span->frame) && page_get(span->frame, d->owner) != HV_OK) {
			spans_put(spans, *count);
			return FAULT_FIXED; // the frame is changing hands: look again
		}
		done += span->bytes;
	}
	return FAULT_EMULATED;
}

// Largest naturally aligned access at `at` within `bytes`.
static u32 piece(u64 at, u32 bytes)
{
	u32 size = 8;

	while (size > bytes || (at & (size - 1)))
		size >>= 1;
	return size;
}

static void span_read(struct vcpu *v, const struct span *span, u8 *to)
{
	if (!mfn_is_none(span->frame)) {
		const u8 *from = port_map(span->frame);

		mem_copy(to, from + (span->at.a & (FRAME_BYTES - 1)), span->bytes);
		port_unmap(from);
		return;
	}
	for (u32 i = 0, n; i < span->bytes; i += n) {
		n = piece(span->at.a + i, span->bytes - i);
		u64 value = port_mmio_read(v, gpa(span->at.a + i), n);

		mem_copy(to + i, &value, n);
	}
}

// One naturally aligned store is one store: another vcpu may be reading.
static void store(u8 *to, const u8 *from, u32 bytes)
{
	u64 value = 0;

	mem_copy(&value, from, bytes);
	if (bytes == 8)
		__atomic_store_n((u64 *)(void *)to, value, __ATOMIC_RELAXED);
	else if (bytes == 4)
		__atomic_store_n((u32 *)(void *)to, (u32)value, __ATOMIC_RELAXED);
	else if (bytes == 2)
		__atomic_store_n((u16 *)(void *)to, (u16)value, __ATOMIC_RELAXED);
	else
		*to = *from;
}

static void span_write(struct vcpu *v, const struct span *span, const u8 *from)
{
	u32 offset = (u32)span->at.a & (FRAME_BYTES - 1);
	u8 *to = mfn_is_none(span->frame) ? NULL : (u8 *)port_map(span->frame) + offset;

	for (u32 i = 0, n; i < span->bytes; i += n) {
		n = piece(span->at.a + i, span->bytes - i);
		if (to) {
			store(to + i, from + i, n);
		} else {
			u64 value = 0;

			mem_copy(&value, from + i, n);
			port_mmio_write(v, gpa(span->at.a + i), n, value);
		}
	}
	if (to) {
		port_unmap(to - offset);
		validate_and_flush(v->domain, span->frame, offset, span->bytes);
	} else {
		v->domain->shadow.stats.mmio++;
	}
}

// ---- the instruction -------------------------------------------------------------------------------

// A table that gets zeroes written one after the other is being torn down: it is cheaper to drop its
// shadow than to follow (spec A.14, fork/exit).
static void consider_early_unshadow(struct vcpu *v, const struct hv_insn *insn, mfn_t gmfn)
{
	struct shadow_vcpu *s = &v->shadow;
	u32 roots = (u32)(BIT(SHADOW_L2_32) | BIT(SHADOW_L4_64));
	bool zero = insn->bytes >= 4 && (u32)insn->data[0] == 0;
	bool again = zero && s->last_write_zero && mfn_eq(s->last_written, gmfn);

	s->last_write_zero = zero;
	s->last_written = gmfn;
	if (!again || !(v->domain->shadow.opts & SHADOW_OPT_EARLY) || !page_is_table(gmfn) ||
	    (page_of(gmfn)->shadow_flags & roots))
		return;
	v->domain->shadow.stats.early_unshadows++;
	access_remove_shadows(v->domain, gmfn, true, false);
}

static void execute(struct vcpu *v, struct hv_insn *insn, const struct span *spans, u32 count)
{
	u8 old[OPERAND_MAX] = { 0 };
	bool writes = insn->kind == INSN_WRITE || insn->kind == INSN_PUSH, reads = !writes;

	if (reads) {
		for (u32 i = 0, at = 0; i < count; at += spans[i++].bytes)
			span_read(v, &spans[i], old + at);
		mem_copy(insn->result, old, sizeof(insn->result));
	}
	if (insn->kind == INSN_CMPXCHG) {
		u8 expect[OPERAND_MAX] = { 0 };

		mem_copy(expect, insn->expect, insn->bytes);
		insn->matched = __builtin_memcmp(old, expect, insn->bytes) == 0;
		writes = insn->matched;
	}
	if (!writes)
		return;
	for (u32 i = 0, at = 0; i < count; at += spans[i++].bytes)
		span_write(v, &spans[i], (const u8 *)insn->data + at);
	if (count == 1 && !mfn_is_none(spans[0].frame))
		consider_early_unshadow(v, insn, spans[0].frame);
}

// Are the operand's frames still where the walk found them? They are held, but may have left the p2m.
static bool spans_current(const struct domain *d, const struct span *spans, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (!mfn_eq(domain_frame(d, gpa_gfn(spans[i].at)), spans[i].frame))
			return false;
	return true;
}

// Should the frame lose its shadows and the instruction run again? Not twice in a row for the same frame:
// then the instruction needs the frame both as a table and writable, which own_table says for sure and an operand in two
// pages can hide (each page a table of the other's walk). An unknown
// instruction has no other way.
static bool better_unshadowed(struct vcpu *v, const struct hv_insn *insn, mfn_t faulted, bool own_table)
{
	struct shadow_vcpu *s = &v->shadow;
	bool unlikely_table = insn->kind == INSN_PUSH || insn->cpl == 3 || port_should_fail(FAIL_EMULATE);
	bool crosses = (insn->va.a & (FRAME_BYTES - 1)) + insn->bytes > FRAME_BYTES;

	if (insn->kind == INSN_UNKNOWN || own_table)
		return !own_table;
	if (!unlikely_table || crosses || mfn_eq(s->last_unshadowed, faulted)) {
		s->last_unshadowed = MFN_NONE;
		return false;
	}
	s->last_unshadowed = faulted;
	return true;
}

enum fault_result write_emulate(struct vcpu *v, mfn_t faulted, bool own_table, u32 *error, gva_t *cr2, struct hv_insn *insn)
{
	struct domain *d = v->domain;
	struct span spans[SPANS_MAX];
	u32 count;

	port_yield(YIELD_EMULATE_FETCH);
	port_fetch_insn(v, insn);

	if (!mfn_is_none(faulted) && better_unshadowed(v, insn, faulted, own_table)) {
		shadow_lock(d, __func__);
		access_remove_shadows(d, faulted, false, true);
		shadow_unlock(d);
		return d->dead ? FAULT_DEAD : FAULT_FIXED;
	}
	if (insn->kind == INSN_UNKNOWN) {
		domain_crash(d, "instruction cannot be emulated");
		return FAULT_DEAD;
	}
	hv_assert(insn->bytes && insn->bytes <= OPERAND_MAX);
	if (insn->bytes == 16 && (insn->va.a & 15))
		return FAULT_INJECT_GP;
	shadow_lock(d, __func__);
	enum fault_result result = translate(v, insn, spans, &count, error, cr2);

	shadow_unlock(d);
	if (result != FAULT_EMULATED)
		return result;
	port_yield(YIELD_EMULATE_WALKED);
	shadow_lock(d, __func__);
	if (spans_current(d, spans, count)) {
		execute(v, insn, spans, count);
		d->shadow.stats.emulated++;
	} else {
		result = FAULT_FIXED;
	}
	spans_put(spans, count);
	shadow_unlock(d);
	return d->dead ? FAULT_DEAD : result;
}
