// SPDX-License-Identifier: GPL-2.0-or-later
// What the hypervisor's part of an exit costs, by class. Off unless the boot option `cost` is given.
#ifndef HV_PORT_BARE_COST_H
#define HV_PORT_BARE_COST_H

#include "../../base/types.h"

enum cost_class {
	COST_PT_WRITE, // a write of the guest to one of its tables was emulated
	COST_FIXED,    // a page fault ended with a filled shadow: the page is fresh
	COST_CR3,      // the guest loaded CR3
	COST_OTHER,
	COST_CLASS_COUNT
};

extern bool cost_enabled;

// The guest has just been left, and is about to be entered, at these times.
void cost_left(u64 tsc);
void cost_keep(u64 tsc);
static inline void cost_entering(u64 tsc)
{
	if (cost_enabled)
		cost_keep(tsc);
}
// What the exit was; COST_OTHER when nobody says.
void cost_classify(enum cost_class class);
// Time that is not the exit's: the checkers that a test runs.
void cost_exclude(u64 cycles);
// One line for each class on the console.
void cost_report(void);

#endif
