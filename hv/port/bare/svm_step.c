// SPDX-License-Identifier: GPL-2.0-or-later
// Single-stepping a guest that the core has given more rights for one instruction (FAULT_STEP).
//
// RFLAGS.TF makes the processor trap behind the instruction. While it is set all exceptions and software interrupts are
// intercepted: delivering one would show the guest our TF, in the flags that the processor pushes. An exception goes to
// the guest with its own flags; a software interrupt runs again without the step. Whatever else happens ends the step
// early, which is safe: the guest then faults again.
//
// A fault that came up while an event was being delivered is another matter. Delivery clears TF and pushes it, so there
// is no trap to wait for: the event is delivered with TF as the guest has it, and the step ends with the next exit that
// is not a fault of that delivery, at the latest when the handler returns. Until then the handler may write to a table
// unnoticed. It may not rely on what it wrote before it flushes, and a flush is an exit.
//
// Parts: start; end; exits. Cost: constant. An interrupt ends a step, too; other vcpus of the domain wait
// in the core (hv/shadow/lock.h) and at vcpu_enter() until it is over.
#include "svm_step.h"

#include "guest.h"

#define DR6_HITS UINT64_C(0xf) // B0 to B3
#define DR6_BS BIT(14)
#define STEP_EXCEPTIONS ((u32)(BIT(20) - 1) & ~(u32)(BIT(2) | BIT(9) | BIT(15))) // those three do not exist
#define VECTOR_BP 3u
#define VECTOR_OF 4u

// ---- start -------------------------------------------------------------------------------------------

void svm_step_start(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;

	if (s->step != STEP_NONE)
		return;
	if (s->interrupted) {
		s->step = STEP_EVENT;
		b->intercept1 |= INTERCEPT_IRET;
		return;
	}
	if (!s->fetched)
		guest_decode(v, &s->decoded); // for the instructions that show or load TF
	s->step = STEP_TRAP;
	s->step_tf = b->rflags & RFLAGS_TF;
	s->step_dr6 = b->dr6 & (DR6_HITS | DR6_BS);
	b->dr6 &= ~s->step_dr6; // so that what the instruction adds can be told apart
	b->rflags |= RFLAGS_TF;
	b->intercept_exception |= STEP_EXCEPTIONS;
	b->intercept1 |= INTERCEPT_INTN;
}

// ---- end ---------------------------------------------------------------------------------------------

// keep_flags: the instruction has loaded RFLAGS, they are the guest's.
static void give_back(struct svm_vcpu *s, bool keep_flags)
{
	struct vmcb *b = s->vmcb;

	if (s->step == STEP_TRAP) {
		if (!keep_flags)
			b->rflags = (b->rflags & ~RFLAGS_TF) | s->step_tf;
		b->dr6 |= s->step_dr6;
		b->intercept_exception = SVM_EXCEPTIONS;
	}
	b->intercept1 &= ~(u32)(INTERCEPT_INTN | INTERCEPT_IRET);
	s->step = STEP_OVER;
}

bool svm_step_give_back_flags(struct vcpu *v)
{
	if (!svm_step_is_under_way(v))
		return false;
	give_back(svm_of(v), false);
	return true;
}

void svm_step_end(struct vcpu *v)
{
	if (!svm_step_give_back_flags(v))
		return;
	svm_of(v)->step = STEP_NONE;
	vcpu_step_done(v);
}

// PUSHF has pushed our TF.
static void correct_pushed_flags(struct vcpu *v, const struct decoded *d, u64 tf)
{
	u8 byte;
	gva_t at = gva(d->insn.va.a + 1);

	if (!d->pushes_flags || tf || !guest_copy(v, at, false, &byte, 1))
		return;
	byte &= (u8)~(RFLAGS_TF >> 8);
	if (!guest_copy(v, at, true, &byte, 1))
		return; // it was written a moment ago; if it has gone since, #PF has been injected
}

// ---- exits -------------------------------------------------------------------------------------------

void svm_step_note_exit(struct vcpu *v)
{
	const struct svm_vcpu *s = svm_of(v);
	u64 code = s->vmcb->exit_code;
	bool exception = code >= VMEXIT_EXCEPTION && code < VMEXIT_EXCEPTION + 32;

	if (!exception || (s->step == STEP_EVENT && !s->interrupted))
		svm_step_end(v);
}

static bool pushes_error(u32 vector)
{
	return vector == VECTOR_DF || (vector >= 10 && vector <= 14) || vector == 17;
}

static void handle_trap(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;
	const struct decoded d = s->decoded;
	u64 hits = b->dr6 & DR6_HITS, tf = s->step_tf;
	bool stepped = b->dr6 & DR6_BS;

	if (!tf)
		b->dr6 &= ~DR6_BS;
	give_back(s, stepped && d.op == DECODE_LOADS_FLAGS);
	svm_step_end(v);
	if (stepped)
		correct_pushed_flags(v, &d, tf);
	// The guest's own: it single-steps, one of its breakpoints was hit, or it is no trap of ours.
	if (tf || hits || !stepped)
		svm_inject(v, VECTOR_DB, NO_ERROR);
}

void svm_step_handle_exception(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	u32 vector = (u32)s->vmcb->exit_code - VMEXIT_EXCEPTION;

	if (vector == VECTOR_DB && s->step == STEP_TRAP) {
		handle_trap(v);
		return;
	}
	svm_step_end(v);
	if (vector == VECTOR_BP || vector == VECTOR_OF)
		return; // INT3, INTO: RIP is still there
	svm_inject(v, vector, pushes_error(vector) ? (s64)(u32)s->vmcb->exit_info1 : NO_ERROR);
}
