// SPDX-License-Identifier: GPL-2.0-or-later
// How a run ends, for whoever started it.
#ifndef HV_PORT_BARE_EXIT_H
#define HV_PORT_BARE_EXIT_H

// Written to QEMU's isa-debug-exit device; its exit status is 2 * code + 1.
enum exit_code {
	EXIT_PASS = 0x10,      // 33: the guest is done, nothing was found
	EXIT_FAIL = 0x11,      // 35: the guest failed, or a checker found something
	EXIT_PANIC = 0x12,     // 37: the hypervisor stopped itself
	EXIT_NO_SVM = 0x14,    // 41: this machine cannot run guests (boot.S has the number too)
};

// Leave QEMU; without the device, stop the processor.
_Noreturn void exit_machine(enum exit_code code);

#endif
