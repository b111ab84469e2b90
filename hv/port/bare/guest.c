// SPDX-License-Identifier: GPL-2.0-or-later
// Guest-virtual memory: the instruction that exited, and the few operands that the port moves itself.
// Addresses go through the guest's own tables, never through the shadow: the shadow may lack the
// mapping, or have it read-only. Cost: one guest walk per page touched.
//
// Walks happen under the lock of the domain: else the tables could go away.
//
// Parts: translation; instruction bytes; operands; the instruction for the core.
#include "guest.h"

#include "../../base/mem.h"
#include "../../mem/hole.h"
#include "../../shadow/guest.h"
#include "flush.h"
#include "svm_step.h"

#define DR7_ENABLED UINT64_C(0xff) // L0 to G3
#define RETRIES_MAX 1000u

void xmm_read(u32 number, u64 value[2]); // xmm.S
void xmm_write(u32 number, const u64 value[2]);

// ---- translation -------------------------------------------------------------------------------------

// The part of [va, va + bytes) that lies in va's page.
static u32 bytes_in_page(gva_t va, u32 bytes)
{
	u32 room = FRAME_BYTES - (u32)(va.a & (FRAME_BYTES - 1));

	return bytes < room ? bytes : room;
}

static bool is_user(const struct vcpu *v)
{
	return svm_of(v)->vmcb->cpl == 3;
}

// Outside of 64-bit code linear addresses wrap at 4 GiB.
static gva_t linear(const struct vcpu *v, u64 va)
{
	return gva(svm_code_bits(v) == 64 ? va : (u32)va);
}

// These accesses are explicit ones: RFLAGS.AC counts for them. v->rflags_ac is about the fault that the core was told
// of, and stays as it is. The caller has the lock.
static void translate(struct vcpu *v, gva_t va, struct pt_access access, bool set_ad, struct pt_regime *regime,
		      struct pt_walk *walk)
{
	u32 tries = 0;

	shadow_regime(v, regime);
	regime->ac = (svm_of(v)->vmcb->rflags & RFLAGS_AC) != 0;
	do {
		if (set_ad)
			shadow_walk(v->domain, regime, va, access, walk);
		else
			pt_walk(regime, va, access, false, walk);
	} while (!walk->ok && walk->error == PT_WALK_RETRY && tries++ < RETRIES_MAX);
	if (!walk->ok && walk->error == PT_WALK_RETRY) {
		domain_crash(v->domain, "page tables that never stand still"); // other vcpus write to them
		walk->error = 0;
	}
}

static gpa_t target(const struct pt_walk *walk, gva_t va)
{
	return gpa(gfn_gpa(walk->target).a + (va.a & (FRAME_BYTES - 1)));
}

// ---- instruction bytes -------------------------------------------------------------------------------

static gva_t code_address(const struct vcpu *v)
{
	const struct vmcb *b = svm_of(v)->vmcb;

	return linear(v, svm_code_bits(v) == 64 ? b->rip : b->cs.base + b->rip);
}

// The frame of a page of code, MFN_NONE when the guest's tables do not grant it or it is no RAM. The last answer is
// kept until the guest's TLB is flushed, as a processor would keep it. The processor has set the A bits.
static mfn_t code_frame(struct vcpu *v, gva_t va)
{
	struct cpu *me = this_cpu();
	u64 page = (va.a & ~(u64)(FRAME_BYTES - 1)) | 2 | (is_user(v) ? 1 : 0);
	struct pt_regime regime;
	struct pt_walk walk;

	if (flush_is_wanted(me))
		flush_answer(me);
	if (me->code_page == page)
		return me->code_frame;
	domain_lock(v->domain, BOUND_READ);
	translate(v, va, (struct pt_access){ .fetch = true, .user = is_user(v) }, false, &regime, &walk);
	mfn_t frame = walk.ok ? p2m_lookup(&v->domain->p2m, walk.target) : MFN_NONE;

	domain_unlock(v->domain);
	me->code_page = mfn_is_none(frame) ? 0 : page;
	me->code_frame = frame;
	return frame;
}

// `count` bytes of code that lie in one page. The frame is not held: should it have got a new owner before all was read,
// this processor has been asked to flush before that.
static bool fetch_in_page(struct vcpu *v, gva_t at, u8 *code, u32 count)
{
	do {
		mfn_t frame = code_frame(v, at);

		if (mfn_is_none(frame))
			return false;
		const u8 *page = port_map(frame);

		mem_copy(code, page + (at.a & (FRAME_BYTES - 1)), count);
		port_unmap(page);
	} while (flush_is_wanted(this_cpu()));
	return true;
}

// As many of `count` instruction bytes as the guest's tables give.
static u32 fetch_guest_bytes(struct vcpu *v, gva_t va, u8 *code, u32 count)
{
	bool wide = svm_code_bits(v) == 64;
	u32 done = 0;

	while (done < count) {
		gva_t at = gva(wide ? va.a + done : (u32)(va.a + done));
		u32 n = bytes_in_page(at, count - done);

		if (wide && at.a == BIT(47)) // the lower half of the address space ends here
			break;
		if (!fetch_in_page(v, at, code + done, n))
			break;
		done += n;
	}
	return done;
}

void guest_decode(struct vcpu *v, struct decoded *d)
{
	struct decode_state state;
	u8 code[DECODE_BYTES_MAX + 1]; // two words are copied faster than 15 bytes

	svm_decode_state(v, &state);
	decode(&state, code, fetch_guest_bytes(v, code_address(v), code, sizeof(code)), d);
}

// ---- operands ----------------------------------------------------------------------------------------

// Copy until a page is not accessible. Returns how much of `bytes` was done, and how the last walk went.
static u32 copy(struct vcpu *v, gva_t va, bool write, void *buffer, u32 bytes, struct pt_walk *walk)
{
	u32 done, n;

	for (done = 0; done < bytes; done += n) {
		gva_t at = linear(v, va.a + done);
		u8 *here = (u8 *)buffer + done;
		enum hv_status status;
		struct pt_regime regime;

		domain_lock(v->domain, BOUND_WALK);
		if (shadow_prepare_write(v->domain) != HV_OK)
			domain_crash(v->domain, "no memory to note what is dirty");
		translate(v, at, (struct pt_access){ .write = write, .user = is_user(v) }, true, &regime, walk);
		struct p2m_entry entry = p2m_get(&v->domain->p2m, walk->target);

		domain_unlock(v->domain);
		if (!walk->ok || domain_is_dead(v->domain))
			break;
		n = bytes_in_page(at, bytes - done);
		if (write && entry.type == P2M_RAM_RO)
			continue; // as in a ROM
		status = write ? domain_write(v->domain, target(walk, at), here, n)
			       : domain_read(v->domain, target(walk, at), here, n);
		if (status != HV_OK && !write)
			__builtin_memset(here, (int)(HOLE_WORD & 0xff), n); // a hole; writes to it vanish
	}
	return done;
}

bool guest_copy(struct vcpu *v, gva_t va, bool write, void *buffer, u32 bytes)
{
	struct pt_walk walk;
	u32 done = copy(v, va, write, buffer, bytes, &walk);

	if (done == bytes)
		return true;
	svm_set_cr2(v, linear(v, va.a + done).a);
	svm_inject(v, VECTOR_PF, walk.error);
	return false;
}

// What the decoder leaves to us: XMM registers, and the operand that a MOVS or PUSH reads. The processor reads it
// before it looks at the destination, so a fault there goes first: then there is nothing to emulate.
static bool fetch_operands(struct vcpu *v, struct decoded *d)
{
	struct pt_walk walk;

	if (d->is_xmm && d->insn.kind == INSN_WRITE)
		xmm_read(d->xmm, d->insn.data);
	return !d->has_source || copy(v, d->source, false, d->insn.data, d->insn.bytes, &walk) == d->insn.bytes;
}

// ---- the instruction for the core --------------------------------------------------------------------

void port_fetch_insn(struct vcpu *v, struct hv_insn *insn)
{
	struct svm_vcpu *s = svm_of(v);

	// Asked again about the same exit: what was read then is what the processor executes.
	if (s->fetched && !s->emulated) {
		*insn = s->decoded.insn;
		return;
	}
	s->fetched = true;
	// A fault met while an event was delivered is not the fault of the instruction at RIP.
	if (s->interrupted)
		s->decoded = (struct decoded){ 0 };
	else
		guest_decode(v, &s->decoded);
	if (s->decoded.op != DECODE_MEMORY || !fetch_operands(v, &s->decoded))
		s->decoded.insn.kind = INSN_UNKNOWN;
	*insn = s->decoded.insn;
}

void guest_complete(struct vcpu *v, const struct hv_insn *insn)
{
	struct svm_vcpu *s = svm_of(v);
	const struct decoded *d = &s->decoded;
	u32 length = decode_apply(d, insn, s->gpr, &s->vmcb->rflags);

	if (d->is_xmm && insn->kind == INSN_READ) {
		u64 value[2] = { low_bytes(insn->result[0], insn->bytes), insn->bytes == 16 ? insn->result[1] : 0 };

		xmm_write(d->xmm, value);
	}
	svm_advance(v, length);
	s->emulated++;
}

// Outside of 64-bit code: does the segment end nowhere below 4 GiB, and can it be used this way? A processor that
// executed the instruction would look.
static bool segment_is_flat(const struct vcpu *v, u8 segment, bool write)
{
	const struct vmcb *b = svm_of(v)->vmcb;
	const struct vmcb_segment *s = &b->segment[segment];
	u32 attributes = s->attributes;
	bool code = attributes & 8, right = attributes & 2; // writable data, readable code

	if (svm_code_bits(v) == 64)
		return true;
	if (!(attributes & SEGMENT_PRESENT) || s->limit != UINT32_MAX || (write && code))
		return false;
	return code ? right : !(attributes & 4) && (right || !write); // 4: expands down
}

// The processor has not seen this instruction: what it checks before it touches memory is checked here, and its bytes
// must come from the page that the last one ended in, whose A bits are set.
bool port_next_insn(struct vcpu *v, struct hv_insn *insn)
{
	struct svm_vcpu *s = svm_of(v);
	struct decoded *d = &s->decoded;
	u64 last = code_address(v).a + d->length - 1;

	if (svm_step_give_back_flags(v)) { // the core's step is over when it says so, and not before it has returned
		guest_complete(v, insn);
		return false;
	}
	guest_complete(v, insn);
	if ((s->vmcb->event_inject & EVENT_VALID) || (s->vmcb->dr7 & DR7_ENABLED))
		return false; // a trap is due, or could be
	guest_decode(v, d);
	if (d->op != DECODE_MEMORY || d->insn.kind == INSN_READ || !segment_is_flat(v, d->segment, true) ||
	    (d->has_source && !segment_is_flat(v, d->source_segment, false)) ||
	    (code_address(v).a + d->length - 1) >> FRAME_SHIFT != last >> FRAME_SHIFT || !fetch_operands(v, d))
		return false;
	*insn = d->insn;
	return true;
}
