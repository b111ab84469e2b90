// SPDX-License-Identifier: GPL-2.0-or-later
// How the handling of a guest page fault ended: what the port does next.
#ifndef HV_PT_FAULT_H
#define HV_PT_FAULT_H

enum fault_result {
	FAULT_FIXED,     // enter the guest again at the same instruction
	FAULT_EMULATED,  // the instruction is done: apply insn->result, step over it, go on
	FAULT_INJECT,    // raise #PF with *error, now as the guest's own tables demand, and CR2 = *cr2
	FAULT_INJECT_GP, // raise #GP(0): a misaligned cmpxchg16b, or what a fetch from a hole executes
	FAULT_DEAD,      // the domain was killed
	FAULT_STEP,      // run exactly one instruction of the guest, then call vcpu_step_done(); a page fault meanwhile comes
			 // here again. Nothing else of the core may be called in between
};

#endif
