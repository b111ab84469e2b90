// SPDX-License-Identifier: GPL-2.0-or-later
// CR3 and the PDPTEs that PAE latches.
#ifndef STRESS_GUEST_ROOT_H
#define STRESS_GUEST_ROOT_H

#include "../../hv/base/types.h"

#define ROOT_VCPUS 4
#define ROOT_VISIT ROOT_VCPUS // slot for visits
#define ROOT_SLOTS (ROOT_VCPUS + 1)

// PAE: do the PDPTEs that a trace frame holds let CR3 be loaded?
bool root_is_valid(u32 frame);
// Load CR3, for a vcpu or a visit: a trace frame's root, a hole, or the half's own root. False: #GP because of a PDPTE,
// and nothing has changed.
bool root_load(u32 slot, u64 cr3);
// The same, when the half's own root is loaded. PAE: by turning paging off and on if that can be done.
bool root_enter(u32 slot, u64 cr3);
// What the processor's CR3 holds then. Loading that does not read the guest's PDPTEs.
u64 root_in_hardware(u32 slot, u64 cr3);
// A vcpu starts as another.
void root_copy(u32 to, u32 from);

#endif
