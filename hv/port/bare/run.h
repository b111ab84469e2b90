// SPDX-License-Identifier: GPL-2.0-or-later
// The life of the guest, from its first instruction to the exit of the machine.
#ifndef HV_PORT_BARE_RUN_H
#define HV_PORT_BARE_RUN_H

#include "exit.h"
#include "svm.h"

// Run d from vcpu 0 until the guest is done or killed, check everything, take the domain apart, report,
// and leave through exit_machine(). heap_before: frames in use before the domain was created.
// check_every: run all checkers every so many exits, 0 only at the end.
_Noreturn void run_guest(struct domain *d, u64 heap_before, u32 check_every);

// ---- exits.c -----------------------------------------------------------------------------------------

// Handle the exit that v has just taken, all but hypercalls and the end of the guest.
void exit_handle(struct vcpu *v);
const char *exit_name(u32 reason);

// ---- port.c --------------------------------------------------------------------------------------------

// The k-th question of port_should_fail() from now on is answered with yes; 0: none.
void fail_arm(u64 k);

#endif
