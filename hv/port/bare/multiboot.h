// SPDX-License-Identifier: GPL-2.0-or-later
// Multiboot 1, as far as both sides of us use it: the loader that boots the image, and the image that
// boots its guest (Multiboot Specification 0.6.96).
#ifndef HV_PORT_BARE_MULTIBOOT_H
#define HV_PORT_BARE_MULTIBOOT_H

#include "../../base/types.h"

#define MULTIBOOT_HEADER_MAGIC 0x1badb002u
#define MULTIBOOT_HEADER_SEARCH 8192u // the header lies within these bytes of the file
#define MULTIBOOT_HEADER_ADDRESSES BIT(16)
#define MULTIBOOT_BOOT_MAGIC 0x2badb002u

struct multiboot_header {
	u32 magic, flags, checksum;
	u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

#define MULTIBOOT_INFO_MEMORY BIT(0)
#define MULTIBOOT_INFO_CMDLINE BIT(2)
#define MULTIBOOT_INFO_MODULES BIT(3)
#define MULTIBOOT_INFO_MMAP BIT(6)

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline;
	u32 mods_count, mods_addr;
	u32 syms[4];
	u32 mmap_length, mmap_addr;
	u32 rest[18]; // drives, names, video: not used
};

struct multiboot_module {
	u32 start, end, cmdline, zero;
};

// base and length are halves: entries follow each other at 4-byte alignment.
struct multiboot_mmap {
	u32 size; // of what follows, 20 or more
	u32 base[2], length[2];
	u32 type;
};
#define MULTIBOOT_MMAP_RAM 1u

#endif
