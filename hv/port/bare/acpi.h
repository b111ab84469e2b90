// SPDX-License-Identifier: GPL-2.0-or-later
// The processors of the machine, as its firmware lists them.
#ifndef HV_PORT_BARE_ACPI_H
#define HV_PORT_BARE_ACPI_H

#include "../../base/types.h"

// APIC numbers of usable processors, at most `max`. Returns how many; 0: the firmware does not say.
u32 acpi_processors(u32 *id, u32 max);

#endif
