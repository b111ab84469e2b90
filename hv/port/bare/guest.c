// SPDX-License-Identifier: GPL-2.0-or-later
// Guest-virtual memory: the instruction that exited, and the few operands that the port moves itself.
// Addresses go through the guest's own tables, never through the shadow: the shadow may lack the
// mapping, or have it read-only. Cost: one guest walk per page touched.
#include "guest.h"

#include "../../mem/hole.h"
#include "../../shadow/guest.h"

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

static void translate(struct vcpu *v, gva_t va, struct pt_access access, bool set_ad, struct pt_walk *walk)
{
	struct pt_regime regime;

	v->rflags_ac = (svm_of(v)->vmcb->rflags & RFLAGS_AC) != 0;
	shadow_regime(v, &regime);
	do
		pt_walk(&regime, va, access, set_ad, walk);
	while (!walk->ok && walk->error == PT_WALK_RETRY); // nobody else changes tables: it ends
}

// As many of `count` instruction bytes as the guest's tables give; the processor has set the A bits.
static u32 fetch_guest_bytes(struct vcpu *v, gva_t va, u8 *code, u32 count)
{
	u32 done = 0;

	while (done < count) {
		gva_t at = gva(va.a + done);
		u32 n = bytes_in_page(at, count - done);
		struct pt_walk walk;

		translate(v, at, (struct pt_access){ .fetch = true, .user = is_user(v) }, false, &walk);
		if (!walk.ok)
			break;
		gpa_t from = gpa(gfn_gpa(walk.target).a + (at.a & (FRAME_BYTES - 1)));

		if (domain_read(v->domain, from, code + done, n) != HV_OK)
			break;
		done += n;
	}
	return done;
}

void guest_decode(struct vcpu *v, struct decoded *d)
{
	struct decode_state state;
	u8 code[DECODE_BYTES_MAX];
	gva_t at;

	svm_decode_state(v, &state);
	at = state.code_bits == 64 ? gva(state.rip) : gva((u32)(state.base[SEGMENT_CS] + state.rip));
	decode(&state, code, fetch_guest_bytes(v, at, code, sizeof(code)), d);
}

bool guest_copy(struct vcpu *v, gva_t va, bool write, void *buffer, u32 bytes)
{
	for (u32 done = 0, n; done < bytes; done += n) {
		gva_t at = gva(va.a + done);
		u8 *here = (u8 *)buffer + done;
		struct pt_walk walk;
		enum hv_status status;

		translate(v, at, (struct pt_access){ .write = write, .user = is_user(v) }, true, &walk);
		if (!walk.ok) {
			svm_set_cr2(v, at.a);
			svm_inject(v, VECTOR_PF, walk.error);
			return false;
		}
		gpa_t where = gpa(gfn_gpa(walk.target).a + (at.a & (FRAME_BYTES - 1)));

		n = bytes_in_page(at, bytes - done);
		status = write ? domain_write(v->domain, where, here, n) : domain_read(v->domain, where, here, n);
		if (status != HV_OK && !write)
			__builtin_memset(here, (int)(HOLE_WORD & 0xff), n); // a hole; writes to it vanish
	}
	return true;
}

void port_fetch_insn(struct vcpu *v, struct hv_insn *insn)
{
	struct svm_vcpu *s = svm_of(v);

	// A fault met while an event was delivered is not the fault of the instruction at RIP.
	if (s->interrupted)
		s->decoded = (struct decoded){ 0 };
	else
		guest_decode(v, &s->decoded);
	*insn = s->decoded.insn;
	if (s->decoded.op != DECODE_MEMORY)
		insn->kind = INSN_UNKNOWN;
}
