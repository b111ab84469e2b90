// SPDX-License-Identifier: GPL-2.0-or-later
// One instruction of the guest, and no more: how FAULT_STEP is carried out.
#ifndef HV_PORT_BARE_SVM_STEP_H
#define HV_PORT_BARE_SVM_STEP_H

#include "svm.h"

static inline bool svm_step_is_under_way(const struct vcpu *v)
{
	return svm_of(v)->step != STEP_NONE;
}

// The core has answered FAULT_STEP: the next entry runs one instruction. Does nothing while a step is under way.
void svm_step_start(struct vcpu *v);
// Whatever happened ends the step, if there is one: the guest's flags are its own again and the core is told.
void svm_step_end(struct vcpu *v);
// The first half of that, for use within the core: svm_step_end() must follow. False: no step.
bool svm_step_give_back_flags(struct vcpu *v);
// v has just taken an exit. All but exceptions and the page faults of the stepped instruction end the step.
void svm_step_note_exit(struct vcpu *v);
// The exit is an exception other than #PF: the end of the step, and what the guest gets of it.
void svm_step_handle_exception(struct vcpu *v);

#endif
