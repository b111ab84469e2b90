// SPDX-License-Identifier: GPL-2.0-or-later
// SVM: one VMCB per vcpu, entering the guest, injecting events into it.
#ifndef HV_PORT_BARE_SVM_H
#define HV_PORT_BARE_SVM_H

#include "../../domain/domain.h"
#include "decode.h"
#include "vmcb.h"

enum step_state {
	STEP_NONE,
	STEP_TRAP,  // RFLAGS.TF is ours
	STEP_EVENT, // the instruction is the delivery of an event
	STEP_OVER,  // the flags are the guest's again, the core does not know yet
};

#define GUESTS_MAX 4 // domains that run at once
#define PAT_RESET UINT64_C(0x0007040600070406)

struct svm_counters {
	u64 exits, faults, guest_cycles;
	u64 by_reason[VMEXIT_COUNT];
};

// The part of a vcpu that is the port's: struct vcpu.port.
struct svm_vcpu {
	struct vmcb *vmcb;
	u64 gpr[GPR_COUNT];     // RAX and RSP included: svm_enter() moves them to and from the VMCB
	u64 interrupted;        // EXITINTINFO of the last exit: the event whose delivery it cut off, or 0
	bool started;           // has run, or was given another vcpu's state
	struct decoded decoded; // instruction that port_fetch_insn() or port_next_insn() last read for the core
	bool fetched;           // since the last exit
	u32 emulated;           // instructions completed since the last exit
	u8 step;                // svm_step.c: enum step_state
	u64 step_tf, step_dr6;  // the guest's RFLAGS.TF, and the DR6 bits that were set before
	u64 pat;                // as the guest reads it
	u64 fault_rip;          // exits.c: where the last page fault was that was put right,
	u64 fault_exit;         // which exit that was,
	u32 fault_repeats;      // and how many went before it at the same place
	struct svm_counters counters;
};

static inline struct svm_vcpu *svm_of(const struct vcpu *v) { return v->port; }

#define VECTOR_DB 1u
#define VECTOR_UD 6u
#define VECTOR_DF 8u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define VECTOR_AC 17u
#define VECTOR_MC 18u

// Intercepted always. Delivering #DB or #AC can raise it again, and again, and no interrupt gets in (CVE-2015-8104, CVE-2015-5307):
// they exit each time, and are injected. #MC is the machine's.
#define SVM_EXCEPTIONS ((u32)(BIT(VECTOR_DB) | BIT(VECTOR_PF) | BIT(VECTOR_AC) | BIT(VECTOR_MC)))

#define RFLAGS_RESERVED BIT(1)

// Prepare SVM, and switch it on for the first processor. NULL, or why this machine cannot run guests.
const char *svm_start(void);
// Switch it on for this processor, after percpu_start().
void svm_cpu_start(u32 index);
// One line about the processor.
void svm_describe(void);

// Give v its VMCB. Call once per vcpu, after hv_start(). Guest 0 has the first serial port to itself.
void svm_vcpu_start(struct vcpu *v, u32 guest);
// Everything but the control registers goes on from `from` to `to`.
void svm_vcpu_continue(const struct vcpu *from, struct vcpu *to);

// The guest's RFLAGS, without what a step has changed.
u64 svm_rflags(const struct vcpu *v);
// Take the control registers from the core. Nothing may change them before svm_enter(), unless a flush follows.
void svm_prepare(struct vcpu *v);
// Run v until it exits. False: it has not run, because another processor has asked for a flush; begin at vcpu_enter().
bool svm_enter(struct vcpu *v) MUST_CHECK;
// 16, 32 or 64: what the guest executes now.
u32 svm_code_bits(const struct vcpu *v);
void svm_decode_state(const struct vcpu *v, struct decode_state *state);

// Step over an instruction of `length` bytes that has been carried out; 0: over one element of a REP instruction that
// has more. A guest that single-steps gets its trap.
void svm_advance(struct vcpu *v, u32 length);
// Raise an exception in the guest at the next entry. A step must have ended. What was being delivered when it came up
// is taken into account: two faults make a double fault, three kill the domain. With #PF set cr2 before.
#define NO_ERROR (-1)
void svm_inject(struct vcpu *v, u32 vector, s64 error);
void svm_set_cr2(struct vcpu *v, u64 cr2);
// The exit has been handled: unless that raised an exception, an event whose delivery it cut off is
// delivered again.
void svm_resume_event(struct vcpu *v);

#endif
