// SPDX-License-Identifier: GPL-2.0-or-later
// Guest writes that hardware could not do: to shadowed tables, to read-only pages under CR0.WP=0, and any
// access to guest-physical addresses without RAM (spec A.14).
//
// The current instruction is fetched through the port, its operand translated afresh, carried out, and
// the shadows of what it wrote are brought up to date. When the instruction is not known, comes from user
// mode, or uses the frame as a stack, the frame is unlikely to be a table any more: it loses its shadows and
// the instruction runs again. Where that does not help, because the instruction needs the frame as a table too, it is
// emulated after all, or, unknown, done by hardware under supervision (step.c).
//
// Parts: validation; operands; loads and stores; the instruction; which of the three ways; shortcuts; the fault.
//
// Invariants (E.1): 45 guest memory is as after the instruction; 30, 31 hold again when it is done; 47 the shortcuts, and
// what is taken for no table, do not show.
#include "../base/mem.h"
#include "../mem/tlb.h"
#include "private.h"

// The part of an operand that lies in one page.
struct span {
	mfn_t frame; // MFN_NONE: no RAM
	bool drops;  // what is stored there is lost: read-only RAM, another domain's frame
	gpa_t at;    // guest-physical address of its first byte
	u32 bytes;
};
#define SPANS_MAX 2
struct operand {
	struct span span[SPANS_MAX];
	u32 count;
};
#define OPERAND_WORDS 2
#define OPERAND_MAX (OPERAND_WORDS * 8)

#define EXCHANGE_TRIES 16 // how often another processor may be faster
#define AGAIN_MAX 3       // instructions emulated after the first (spec A.14, 7)

// ---- validation ------------------------------------------------------------------------------------

// Lower levels first: a walker may see an old upper entry with new lower ones, never the reverse. A walk stays within
// the types of one mode, and among those numbers grow with levels.
_Static_assert(SHADOW_L1_32 < SHADOW_L2_32 && SHADOW_L1_PAE < SHADOW_L2_PAE && SHADOW_L1_64 < SHADOW_L2_64 &&
		       SHADOW_L2_64 < SHADOW_L3_64 && SHADOW_L3_64 < SHADOW_L4_64,
	       "ascending types are ascending levels");

static u32 validate_entry(struct domain *d, mfn_t smfn, u32 type, u32 index)
{
	const struct shadow_row *row = shadow_row(type);
	gpte_t gpte = shadow_guest_entry(d, smfn, index);
	mfn_t below = MFN_NONE;
	u32 child_type, child_key;

	if (row->level && (gpte.v & PTE_P) &&
	    !pt_entry_reserved(row_guest(row), row->level, gpte, GUEST_PHYS_BITS, d->shadow.nxe) &&
	    table_child(d, type, gpte, &child_type, &child_key))
		below = table_find(d, child_type, child_key); // never made here: it is faulted in
	if (!mfn_is_none(below) && !shadow_is_current(d, below))
		below = MFN_NONE; // nor emptied
	return shadow_set(d, smfn, index, shadow_propagate(d, type, gpte, below));
}

u32 write_validate(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	u32 flags = page_is_table(gmfn) ? page_of(gmfn)->shadow_flags : 0, result = 0;

	hv_assert(offset + bytes <= FRAME_BYTES && bytes);
	for (; flags; flags &= flags - 1) {
		u32 type = (u32)__builtin_ctz(flags), shift = row_guest(shadow_row(type))->entry_bytes == 8 ? 3 : 2;
		u32 last = (offset + bytes - 1) >> shift;
		mfn_t smfn = hash_find(d, (u32)gmfn.n, type);

		// Entries lead strictly downwards: none of these can destroy smfn itself, or a shadow of a level not seen yet.
		hv_assert(!mfn_is_none(smfn));
		for (u32 index = offset >> shift; index <= last; index++)
			result |= validate_entry(d, smfn, type, index);
	}
	return result;
}

void write_validate_and_flush(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	u32 result = write_validate(d, gmfn, offset, bytes);

	if (result & ENTRY_FLUSH)
		tlb_flush(d->shadow.cpus);
	if (result & ENTRY_ERROR)
		access_remove_shadows(d, gmfn, false);
}

void write_note(struct domain *d, gfn_t g)
{
	struct p2m_entry e = p2m_get(&d->p2m, g);

	if (!p2m_is_ram(e.type) || e.type == P2M_RAM_RO)
		return;
	dirty_mark(d, g);
	if (e.type == P2M_RAM_LOGDIRTY)
		p2m_set_type(&d->p2m, g, P2M_RAM_RW);
}

// Is a store of `bytes` aligned bytes exactly one entry of every table that this frame is?
static bool is_one_entry(mfn_t gmfn, u32 bytes)
{
	for (u32 flags = page_is_table(gmfn) ? page_of(gmfn)->shadow_flags : 0; flags; flags &= flags - 1)
		if (row_guest(shadow_row((u32)__builtin_ctz(flags)))->entry_bytes != bytes)
			return false;
	return true;
}

// In 8-byte tables A and D are where 4-byte ones have them, or in no entry that a walk of theirs goes through; spec A.12, 1.
void shadow_walk(struct domain *d, const struct pt_regime *regime, gva_t va, struct pt_access access, struct pt_walk *walk)
{
	const struct pt_mode *mode = regime->mode;

	pt_walk(regime, va, access, true, walk);
	if (mode->entry_bytes != sizeof(u32))
		return;
	for (u32 level = walk->lowest; level < mode->levels; level++) {
		mfn_t table = walk->table[level];

		if (!mfn_is_none(table) && page_is_table(table) && !is_one_entry(table, sizeof(u32)))
			write_validate_and_flush(d, table, pt_index(mode, level, va.a) * (u32)sizeof(u32), sizeof(u32));
	}
}

enum hv_status shadow_prepare_write(struct domain *d)
{
	return d->shadow.dirty.on ? pool_reserve(d, 0) : HV_OK;
}

void shadow_validate_write(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes)
{
	hv_assert(!shadow_stepping(d));
	dirty_mark_frame(d, gmfn);
	write_validate_and_flush(d, gmfn, offset, bytes);
}

// An entry that was not present and is not has a shadow that is empty or says "not present", as it must stay (spec
// A.14, 8; rules 30, 33). Half an entry may complete one: it is no such store.
static bool stays_absent(const struct domain *d, mfn_t gmfn, u32 bytes, u64 was, u64 now)
{
	return (d->shadow.opts & SHADOW_OPT_SKIP_VERIFY) && !((was | now) & PTE_P) && is_one_entry(gmfn, bytes);
}

// ---- operands --------------------------------------------------------------------------------------

static u64 page_address(gva_t va)
{
	return va.a & ~(u64)(FRAME_BYTES - 1);
}

static bool crosses(const struct hv_insn *insn)
{
	return (insn->va.a & (FRAME_BYTES - 1)) + insn->bytes > FRAME_BYTES;
}

static bool misaligned(const struct hv_insn *insn)
{
	return insn->aligned && insn->va.a % insn->bytes;
}

static bool reads_first(const struct hv_insn *insn)
{
	return insn->kind == INSN_RMW || insn->kind == INSN_CMPXCHG;
}

// Address `bytes` behind va, as the mode counts. False: in 64-bit mode, bits 63 to 47 of an address are equal.
static bool address(const struct vcpu *v, gva_t va, u32 bytes, gva_t *out)
{
	*out = gva(va.a + bytes);
	if (v->shadow.mode == PT_MODE_64)
		return out->a + BIT(47) < BIT(48);
	*out = gva(out->a & UINT32_MAX);
	return true;
}

// Is m still the frame behind g? Frames know, and are quicker asked than the p2m (rule 56). m may be another domain's by now.
static bool still_behind(const struct domain *d, mfn_t m, gfn_t g)
{
	return page_owner(m) == d->owner && gfn_eq(p2m_gfn_of(m), g);
}

// Do the guest's tables still say what `known` read there, and are they still where it found them? pt_walk_current() says
// the same, at three times the cost.
static bool unchanged(const struct domain *d, const struct shadow_walked *known, u64 va)
{
	const struct pt_mode *mode = known->regime.mode;
	const struct pt_walk *walk = &known->walk;

	// From the top: a table is there as long as the entry that names it is what it was, and its frame behind that gfn.
	for (u32 level = mode->levels; level-- > walk->leaf_level;) {
		u32 index = pt_index(mode, level, va);
		gpte_t was = walk->entry[level], now;

		if (known->regime.pdpte && level == mode->levels - 1u) {
			now.v = known->regime.pdpte[index];
		} else {
			const void *table = port_map(walk->table[level]);

			now = pt_read(mode, table, index);
			port_unmap(table);
		}
		if (now.v != was.v)
			return false;
		if (level > walk->leaf_level && !still_behind(d, walk->table[level - 1], gfn((was.v & PTE_ADDR) >> FRAME_SHIFT)))
			return false;
	}
	return true;
}

// Does `known` still say where an access to `at` leads? Nothing but what it read decides that, so this is as good as a
// walk, and cheaper.
static bool still_granted(const struct domain *d, const struct shadow_walked *known, gva_t at, struct pt_access access)
{
	return known->page == (page_address(at) | 1) && known->access.user == access.user &&
	       (known->access.write || !access.write) && unchanged(d, known, at.a);
}

// What is behind g.
static void locate(const struct domain *d, gfn_t g, struct span *span)
{
	struct p2m_entry e = p2m_get(&d->p2m, g);

	span->frame = p2m_is_ram(e.type) || e.type == P2M_FOREIGN ? e.frame : MFN_NONE;
	span->drops = e.type == P2M_RAM_RO || e.type == P2M_FOREIGN;
}

// Translate the operand as the guest's own tables have it, in the regime of `known`. FAULT_EMULATED: go on.
static enum fault_result translate(struct vcpu *v, const struct hv_insn *insn, bool write,
				   const struct shadow_walked *known, struct operand *o, u32 *error, gva_t *cr2)
{
	struct pt_access access = { .write = write, .user = insn->cpl == 3 };

	hv_assert(insn->bytes && insn->bytes <= OPERAND_MAX);
	o->count = 0;
	for (u32 done = 0; done < insn->bytes;) {
		struct span *span = &o->span[o->count++];
		gva_t at;

		hv_assert(o->count <= SPANS_MAX);
		if (!address(v, insn->va, done, &at)) // the operand runs out of the lower half of the address space
			return FAULT_INJECT_GP;
		gfn_t target;

		if (still_granted(v->domain, known, at, access)) {
			target = known->walk.target;
		} else {
			struct pt_walk walk;

			shadow_walk(v->domain, &known->regime, at, access, &walk);
			if (!walk.ok) {
				*error = walk.error;
				*cr2 = at;
				return walk.error == PT_WALK_RETRY ? FAULT_FIXED : FAULT_INJECT;
			}
			target = walk.target;
		}
		u32 offset = (u32)at.a & (FRAME_BYTES - 1), room = FRAME_BYTES - offset;

		span->bytes = insn->bytes - done < room ? insn->bytes - done : room;
		span->at = gpa(gfn_gpa(target).a + offset);
		locate(v->domain, target, span);
		done += span->bytes;
	}
	return FAULT_EMULATED;
}

static void release(const struct operand *o, u32 count)
{
	while (count--)
		if (!mfn_is_none(o->span[count].frame))
			page_unhold(o->span[count].frame);
}

// Hold the operand's frames. False: one is changing hands, look again.
static bool hold(const struct operand *o)
{
	for (u32 i = 0; i < o->count; i++)
		if (!mfn_is_none(o->span[i].frame) &&
		    page_hold(o->span[i].frame, page_owner(o->span[i].frame)) != HV_OK) {
			release(o, i);
			return false;
		}
	return true;
}

// Are the operand's frames still where the walk found them? They are held, but may have left the p2m.
static bool is_current(const struct domain *d, const struct operand *o)
{
	for (u32 i = 0; i < o->count; i++) {
		struct span now;

		locate(d, gpa_gfn(o->span[i].at), &now);
		if (!mfn_eq(now.frame, o->span[i].frame) || now.drops != o->span[i].drops)
			return false;
	}
	return true;
}

// ---- loads and stores ---------------------------------------------------------------------------------

// Largest naturally aligned access at `at` within `bytes`.
static u32 piece(u64 at, u32 bytes)
{
	u32 size = 8;

	while (size > bytes || (at & (size - 1)))
		size >>= 1;
	return size;
}

// A whole operand, or part of one, that one access of the processor can do.
static bool is_piece(const struct span *span)
{
	return piece(span->at.a, span->bytes) == span->bytes;
}

// One naturally aligned access is one access: another vcpu may be there too.
static u64 load(const u8 *from, u32 bytes)
{
	const void *at = from;

	switch (bytes) {
	case 8: return __atomic_load_n((const u64 *)at, __ATOMIC_RELAXED);
	case 4: return __atomic_load_n((const u32 *)at, __ATOMIC_RELAXED);
	case 2: return __atomic_load_n((const u16 *)at, __ATOMIC_RELAXED);
	default: return __atomic_load_n(from, __ATOMIC_RELAXED);
	}
}

static void store(u8 *to, u32 bytes, u64 value)
{
	void *at = to;

	switch (bytes) {
	case 8: __atomic_store_n((u64 *)at, value, __ATOMIC_RELAXED); break;
	case 4: __atomic_store_n((u32 *)at, (u32)value, __ATOMIC_RELAXED); break;
	case 2: __atomic_store_n((u16 *)at, (u16)value, __ATOMIC_RELAXED); break;
	default: __atomic_store_n(to, (u8)value, __ATOMIC_RELAXED);
	}
}

#define ORDER __ATOMIC_SEQ_CST
static bool exchange(u8 *to, u32 bytes, u64 old, u64 new)
{
	u32 old4 = (u32)old;
	u16 old2 = (u16)old;
	u8 old1 = (u8)old;
	void *at = to;

	switch (bytes) {
	case 8: return __atomic_compare_exchange_n((u64 *)at, &old, new, false, ORDER, ORDER);
	case 4: return __atomic_compare_exchange_n((u32 *)at, &old4, (u32)new, false, ORDER, ORDER);
	case 2: return __atomic_compare_exchange_n((u16 *)at, &old2, (u16)new, false, ORDER, ORDER);
	default: return __atomic_compare_exchange_n(to, &old1, (u8)new, false, ORDER, ORDER);
	}
}

static void span_read(struct vcpu *v, const struct span *span, u8 *to)
{
	u32 offset = (u32)span->at.a & (FRAME_BYTES - 1);
	const u8 *from = mfn_is_none(span->frame) ? NULL : (const u8 *)port_map(span->frame) + offset;

	for (u32 i = 0, n; i < span->bytes; i += n) {
		n = piece(span->at.a + i, span->bytes - i);
		u64 value = from ? load(from + i, n) : port_mmio_read(v, gpa(span->at.a + i), n);

		mem_copy(to + i, &value, n);
	}
	if (from)
		port_unmap(from - offset);
}

// Store one piece of a table or of other RAM, and bring its shadows up to date. old: NULL, or what must still be there.
// False: it was not, nothing has changed.
static bool piece_write(struct domain *d, const struct span *span, u64 new, const u64 *old)
{
	u32 offset = (u32)span->at.a & (FRAME_BYTES - 1), bytes = span->bytes;
	u8 *to = (u8 *)port_map(span->frame) + offset;
	bool done = true, validate = true;

	if (span->drops) {
		port_unmap(to - offset);
		return true;
	}
	write_note(d, gpa_gfn(span->at));
	validate = !stays_absent(d, span->frame, bytes, old ? *old : load(to, bytes), new); // option: skip_verify
	if (old)
		done = exchange(to, bytes, *old, new);
	else
		store(to, bytes, new);
	port_unmap(to - offset);
	if (done && validate)
		write_validate_and_flush(d, span->frame, offset, bytes);
	return done;
}

static void span_write(struct vcpu *v, const struct span *span, const u8 *from)
{
	u32 offset = (u32)span->at.a & (FRAME_BYTES - 1);
	if (span->drops)
		return;
	u8 *to = mfn_is_none(span->frame) ? NULL : (u8 *)port_map(span->frame) + offset;

	if (to)
		write_note(v->domain, gpa_gfn(span->at));
	for (u32 i = 0, n; i < span->bytes; i += n) {
		u64 value = 0;

		n = piece(span->at.a + i, span->bytes - i);
		mem_copy(&value, from + i, n);
		if (to)
			store(to + i, n, value);
		else
			port_mmio_write(v, gpa(span->at.a + i), n, value);
	}
	if (to) {
		port_unmap(to - offset);
		write_validate_and_flush(v->domain, span->frame, offset, span->bytes);
	} else {
		v->domain->shadow.stats.mmio++;
	}
}

// ---- the instruction -------------------------------------------------------------------------------

static void operand_read(struct vcpu *v, const struct operand *o, u64 *to)
{
	for (u32 i = 0, at = 0; i < o->count; at += o->span[i++].bytes)
		span_read(v, &o->span[i], (u8 *)to + at);
}

// Store the operand. What is read and written by one instruction must not have changed in between; only what a processor
// does in one piece can be sure of that, and tables, which nobody else writes. False: it had changed, nothing is done.
static bool operand_write(struct vcpu *v, const struct hv_insn *insn, const struct operand *o, const u64 *old,
			  const u64 *new)
{
	const struct span *span = &o->span[0];

	if (o->count == 1 && !mfn_is_none(span->frame) && is_piece(span))
		return piece_write(v->domain, span, *new, reads_first(insn) ? old : NULL);
	for (u32 i = 0, at = 0; i < o->count; at += o->span[i++].bytes)
		span_write(v, &o->span[i], (const u8 *)new + at);
	return true;
}

// What becomes of the operand. False: it stays as it is.
static bool compute(struct hv_insn *insn, const u64 old[OPERAND_WORDS], u64 new[OPERAND_WORDS])
{
	u64 low = insn->bytes >= 8 ? UINT64_MAX : BIT(8 * insn->bytes) - 1;
	u64 high = insn->bytes > 8 ? (insn->bytes >= 16 ? UINT64_MAX : BIT(8 * (insn->bytes - 8)) - 1) : 0;

	new[0] = insn->kind == INSN_RMW ? insn_alu((enum insn_alu)insn->alu, old[0], insn->data[0]) : insn->data[0];
	new[1] = insn->data[1];
	if (insn->kind != INSN_CMPXCHG)
		return insn->kind != INSN_READ;
	insn->matched = old[0] == (insn->expect[0] & low) && old[1] == (insn->expect[1] & high);
	return insn->matched;
}

// A table that gets zeroes written one after the other is being torn down: it is cheaper to drop its
// shadow than to follow (spec A.14, fork/exit).
static void consider_early_unshadow(struct vcpu *v, u32 bytes, u64 value, const struct operand *o)
{
	struct shadow_vcpu *s = &v->shadow;
	u32 roots = (u32)(BIT(SHADOW_L2_32) | BIT(SHADOW_L2_PAE) | BIT(SHADOW_L4_64));
	mfn_t gmfn = o->span[0].frame;

	if (o->count > 1 || mfn_is_none(gmfn))
		return;
	bool zero = bytes >= 4 && (u32)value == 0;
	bool again = zero && s->last_write_zero && mfn_eq(s->last_written, gmfn);

	s->last_write_zero = zero;
	s->last_written = gmfn;
	if (!again || !(v->domain->shadow.opts & SHADOW_OPT_EARLY) || !page_is_table(gmfn) ||
	    (page_of(gmfn)->shadow_flags & roots))
		return;
	v->domain->shadow.stats.early_unshadows++;
	access_remove_shadows(v->domain, gmfn, false);
}

// False: other processors kept changing the operand. Nothing is done, the instruction may run again.
static bool execute(struct vcpu *v, struct hv_insn *insn, const struct operand *o)
{
	bool reads = insn->kind == INSN_READ || reads_first(insn);

	for (u32 i = 0; i < EXCHANGE_TRIES; i++) {
		u64 old[OPERAND_WORDS] = { 0 }, new[OPERAND_WORDS];

		if (reads)
			operand_read(v, o, old);
		insn->result[0] = old[0];
		insn->result[1] = old[1];
		if (compute(insn, old, new)) {
			if (!operand_write(v, insn, o, old, new))
				continue;
			consider_early_unshadow(v, insn->bytes, new[0], o); // option: early
		}
		v->domain->shadow.stats.emulated++;
		return true;
	}
	return false;
}

// All pages of a load come before those of the store that follows it, and both before memory changes: QEMU's TCG's order.
static enum fault_result translate_all(struct vcpu *v, const struct hv_insn *insn, const struct shadow_walked *known,
				       struct operand *o, u32 *error, gva_t *cr2)
{
	enum fault_result result = FAULT_EMULATED;

	if (reads_first(insn))
		result = translate(v, insn, false, known, o, error, cr2);
	if (result == FAULT_EMULATED)
		result = translate(v, insn, insn->kind != INSN_READ, known, o, error, cr2);
	return result;
}

static enum fault_result emulate(struct vcpu *v, struct hv_insn *insn, const struct shadow_walked *known, u32 *error,
				 gva_t *cr2)
{
	struct domain *d = v->domain;
	struct operand o;

	if (misaligned(insn))
		return FAULT_INJECT_GP;
	if (d->shadow.dirty.on && pool_reserve_or_kill(d, 0) != HV_OK)
		return FAULT_DEAD;
	enum fault_result result = translate_all(v, insn, known, &o, error, cr2);

	if (result == FAULT_EMULATED && !hold(&o))
		result = FAULT_FIXED;
	if (result != FAULT_EMULATED)
		return result;
	domain_unlock(d);
	port_yield(YIELD_EMULATE_WALKED);
	domain_lock(d, BOUND_EMULATE);
	bool dead = domain_is_dead(d) || (d->shadow.dirty.on && pool_reserve_or_kill(d, 0) != HV_OK);

	if (!dead && (!is_current(d, &o) || !execute(v, insn, &o)))
		result = FAULT_FIXED;
	release(&o, o.count);
	return dead ? FAULT_DEAD : result;
}

// ---- which way -------------------------------------------------------------------------------------------

enum way { WAY_UNSHADOW, WAY_EMULATE, WAY_STEP };

// Did this frame lose its shadows a moment ago so that an instruction could run again? Then the instruction needs it both
// as a table and writable, which own_table says for sure and several operands can hide, or operands in two pages, each a
// table of the other's walk.
static bool came_back(struct shadow_vcpu *s, mfn_t faulted)
{
	bool found = false;

	for (u32 i = 0; i < SHADOW_UNSHADOWED_KEPT; i++)
		found = found || mfn_eq(s->unshadowed[i], faulted);
	return found;
}

static void forget_unshadowed(struct shadow_vcpu *s)
{
	for (u32 i = 0; i < SHADOW_UNSHADOWED_KEPT; i++)
		s->unshadowed[i] = MFN_NONE;
}

static enum way choose(struct vcpu *v, const struct hv_insn *insn, const struct write_fault *w)
{
	struct shadow_vcpu *s = &v->shadow;
	bool unknown = insn->kind == INSN_UNKNOWN;
	enum way otherwise = unknown ? WAY_STEP : WAY_EMULATE;

	if (mfn_is_none(w->table))
		return otherwise;
	bool unlikely_table = insn->kind == INSN_PUSH || insn->cpl == 3 || port_should_fail(FAIL_EMULATE);

	if (w->own_table || (!unknown && (!unlikely_table || crosses(insn))) || came_back(s, w->table)) {
		forget_unshadowed(s);
		return otherwise;
	}
	s->unshadowed[s->unshadowed_next++ % SHADOW_UNSHADOWED_KEPT] = w->table;
	return WAY_UNSHADOW;
}

static enum fault_result unshadow(struct vcpu *v, const struct write_fault *w)
{
	// While the instruction was read the frame may have been given to somebody else.
	if (mfn_eq(domain_frame(v->domain, w->walked->walk.target), w->table))
		access_remove_shadows(v->domain, w->table, true);
	return FAULT_FIXED;
}

// Read the current instruction. Other vcpus may run.
static void fetch(struct vcpu *v, struct hv_insn *insn)
{
	domain_unlock(v->domain);
	port_yield(YIELD_EMULATE_FETCH);
	port_fetch_insn(v, insn);
	domain_lock(v->domain, BOUND_EMULATE);
}

// ---- shortcuts ------------------------------------------------------------------------------------------

// A store of the kernel to that page, as page tables are written?
static bool stores_to(const struct hv_insn *insn, u64 page)
{
	return (insn->kind == INSN_WRITE || reads_first(insn)) && !insn->cpl && page_address(insn->va) == page &&
	       !crosses(insn) && !misaligned(insn);
}

// Emulate a store to one page if that page is a table and the guest's tables allow it, in the regime of the last one; the
// caller has made sure that it needs no other way. False: nothing is done but what a walk of the processor would do as well.
static bool emulate_at_once(struct vcpu *v, struct hv_insn *insn)
{
	struct domain *d = v->domain;
	struct operand o;
	gva_t cr2;
	u32 error;

	if (!root_is_current(v, &v->shadow.last.regime) || (d->shadow.dirty.on && pool_reserve(d, 0) != HV_OK))
		return false;
	bool done = translate(v, insn, true, &v->shadow.last, &o, &error, &cr2) == FAULT_EMULATED &&
		    !mfn_is_none(o.span[0].frame) && page_is_table(o.span[0].frame) && hold(&o);

	if (done) {
		done = execute(v, insn, &o);
		release(&o, o.count);
	}
	return done;
}

// What follows a store of half an entry is often the other half (spec A.14, 7). `page` was just written by *insn.
// The answer for the fault.
static enum fault_result emulate_more(struct vcpu *v, struct hv_insn *insn, u64 page)
{
	if (!(v->domain->shadow.opts & SHADOW_OPT_AGAIN) || domain_is_dead(v->domain))
		return FAULT_EMULATED;
	// Reading an instruction costs as much as half an exit: only half an entry makes it likely that one follows.
	if (insn->bytes >= pt_modes[v->shadow.mode].entry_bytes)
		return FAULT_EMULATED;
	for (u32 i = 0; i < AGAIN_MAX; i++) {
		domain_unlock(v->domain);
		port_yield(YIELD_EMULATE_FETCH);
		bool known = port_next_insn(v, insn);

		domain_lock(v->domain, BOUND_EMULATE);
		if (domain_is_dead(v->domain))
			return FAULT_DEAD;
		if (!known || insn->kind != INSN_WRITE || !stores_to(insn, page) || !emulate_at_once(v, insn))
			return FAULT_FIXED;
	}
	return FAULT_EMULATED;
}

// *insn was emulated and met a table; what the kernel does next may be like it. The answer for the fault.
static enum fault_result stored_to_table(struct vcpu *v, struct hv_insn *insn, const struct shadow_walked *walked)
{
	u64 page = page_address(insn->va);
	enum fault_result result = FAULT_EMULATED;

	if (!stores_to(insn, page) || walked->page != (page | 1))
		return result;
	if (walked != &v->shadow.last)
		v->shadow.last = *walked;
	result = emulate_more(v, insn, page); // option: again
	return result;
}

// Controls that decide what a walk grants.
static bool same_regime(const struct pt_regime *a, const struct pt_regime *b)
{
	return a->mode == b->mode && a->wp == b->wp && a->nxe == b->nxe && a->smep == b->smep &&
	       a->smap == b->smap && a->pse == b->pse && a->ac == b->ac;
}

// Stores to one table come in rows (spec A.14, 9). Where this fault is like the last store that was emulated, it needs
// neither a walk nor shadows for the faulting address: what the walk of the last one read is compared with the guest's
// tables as they are now, so nothing that was remembered can be out of date, shadowed or not. Whatever is not as expected
// goes the usual way.
bool write_emulate_like_last(struct vcpu *v, gva_t va, u32 error, struct hv_insn *insn, enum fault_result *result)
{
	struct shadow_walked *last = &v->shadow.last;
	struct pt_regime regime;

	if (!(v->domain->shadow.opts & SHADOW_OPT_FAST_EMULATE) || error != (PF_P | PF_W) ||
	    last->page != (page_address(va) | 1))
		return false;
	shadow_regime(v, &regime);
	if (!same_regime(&regime, &last->regime)) {
		last->page = 0;
		return false;
	}
	// Kernels share tables between roots: from another root, the same entries still lead the same way.
	last->regime.root = regime.root;
	if (!regime.pdpte)
		last->walk.table[regime.mode->levels - 1] = regime.root;
	fetch(v, insn);
	if (domain_is_dead(v->domain) || !stores_to(insn, page_address(va)) || !emulate_at_once(v, insn)) {
		last->page = 0;
		return false;
	}
	*result = stored_to_table(v, insn, last);
	return true;
}

// ---- the fault ------------------------------------------------------------------------------------------

enum fault_result write_emulate(struct vcpu *v, const struct write_fault *w, u32 *error, gva_t *cr2,
				struct hv_insn *insn)
{
	enum fault_result result = FAULT_FIXED;

	fetch(v, insn);
	if (domain_is_dead(v->domain))
		return FAULT_DEAD;
	if (!root_is_current(v, &w->walked->regime))
		return FAULT_FIXED;
	switch (choose(v, insn, w)) {
	case WAY_UNSHADOW:
		result = unshadow(v, w);
		break;
	case WAY_STEP:
		result = step_start(v, w->va, w->walked->access, error, cr2);
		break;
	case WAY_EMULATE:
		result = emulate(v, insn, w->walked, error, cr2);
		if (result == FAULT_EMULATED && !mfn_is_none(w->table))
			result = stored_to_table(v, insn, w->walked);
		break;
	}
	return domain_is_dead(v->domain) ? FAULT_DEAD : result;
}
