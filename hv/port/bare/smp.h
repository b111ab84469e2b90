// SPDX-License-Identifier: GPL-2.0-or-later
// The processors of the machine.
#ifndef HV_PORT_BARE_SMP_H
#define HV_PORT_BARE_SMP_H

#include "percpu.h"

// Start up to max - 1 further processors. They wait for smp_go().
void smp_start(u32 max);
// All of them begin to run guests (run.h).
void smp_go(void);

// Called by boot.S for each of them.
_Noreturn void image_processor_main(u32 index);

#endif
