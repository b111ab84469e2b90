// SPDX-License-Identifier: GPL-2.0-or-later
// What the loader told us, copied out of its memory, and the machine memory that is left.
#ifndef HV_PORT_BARE_BOOT_H
#define HV_PORT_BARE_BOOT_H

#include "../../base/types.h"
#include "../../mem/frame.h"

#define BOOT_MODULES_MAX 16
#define BOOT_GUEST_MODULES_MAX 8
#define BOOT_TEXT_MAX 256
#define BOOT_GUESTS_MAX 4

struct boot_module {
	const u8 *data;
	u32 bytes;
	char text[BOOT_TEXT_MAX]; // its command line
};

// A guest: its kernel, then its own modules.
struct boot_guest {
	const struct boot_module *module;
	u32 module_count;
	u32 vcpus, pool_pages, opts, audit, ram_mib;
};

struct boot_info {
	u32 module_count;
	struct boot_module module[BOOT_MODULES_MAX];
	u32 guest_count;
	struct boot_guest guest[BOOT_GUESTS_MAX];
	// command line of the image
	u32 check_every, cpus, watchdog, wedge;
	bool cost;
};
extern struct boot_info boot;

extern u64 boot_tsc; // at the first instruction of the image

// Read the loader's information and lay out machine memory. Stops with port_fatal() when the loader is
// not a Multiboot loader or memory is too small.
void boot_read(u32 magic, u32 information);

#endif
