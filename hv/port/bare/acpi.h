// SPDX-License-Identifier: GPL-2.0-or-later
// The processors of the machine and the input of its timer, as the firmware lists them.
#ifndef HV_PORT_BARE_ACPI_H
#define HV_PORT_BARE_ACPI_H

#include "../../base/types.h"

// APIC numbers of usable processors, at most `max`. Returns how many; 0: the firmware does not say.
u32 acpi_processors(u32 *id, u32 max);

// An input of an I/O APIC.
struct acpi_input {
	u32 address; // of its registers
	u32 number;
	bool active_low;
};
// Where the interval timer (interrupt 0 of a PC) comes in. False: the firmware names no I/O APIC for it.
bool acpi_timer_input(struct acpi_input *input);

#endif
