// SPDX-License-Identifier: GPL-2.0-or-later
// Guest memory by guest-virtual address, and the processor features that a guest sees.
#ifndef HV_PORT_BARE_GUEST_H
#define HV_PORT_BARE_GUEST_H

#include "cpu.h"
#include "svm.h"

// ---- guest.c: memory through the guest's own tables -------------------------------------------------

// Read and decode the instruction at CS:RIP.
void guest_decode(struct vcpu *v, struct decoded *d);
// Apply what the core did with the instruction that it fetched last, and step over it.
void guest_complete(struct vcpu *v, const struct hv_insn *insn);
// Copy between `buffer` and guest-virtual memory with the rights of the current privilege level. False:
// #PF has been injected.
bool guest_copy(struct vcpu *v, gva_t va, bool write, void *buffer, u32 bytes) MUST_CHECK;

// ---- feature.c: CPUID, MSRs, feature bits of CR4 ----------------------------------------------------

struct cpuid feature_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf);
// CR4 bits whose feature the guest's CPUID denies: setting one is #GP.
u64 feature_cr4_denied(void);
// Is there a TSC_AUX? While a guest runs or has exited, its value is in the processor.
bool feature_has_tsc_aux(void);
// False: #GP(0).
bool feature_msr_read(struct vcpu *v, u32 msr, u64 *value) MUST_CHECK;
bool feature_msr_write(struct vcpu *v, u32 msr, u64 value) MUST_CHECK;

#endif
