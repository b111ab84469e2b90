// SPDX-License-Identifier: GPL-2.0-or-later
// Linker script of the image: the 64-bit half, linked where its tables show physical memory, the crossing and the
// flattened 32-bit halves. The low 32 bits of virtual and physical addresses are equal, so the 32-bit ELF file that
// loaders want is a plain truncation. No section is without contents: nobody has to clear anything.
#include "layout.h"
ENTRY(entry)
PHDRS
{
	all PT_LOAD FLAGS(7);
}
SECTIONS
{
	.cross KERNEL_BASE + CROSS_AT : AT(CROSS_AT) {
		KEEP(*(.cross))
		cross_end = .;
	} :all
	.half64 KERNEL_BASE + HALF64_AT : AT(HALF64_AT) {
		KEEP(*(.head))
		*(.text .text.*)
		*(.rodata .rodata.*)
		. = ALIGN(4096);
		user_page = .;
		KEEP(*(.user))
		user_end = .;
		. = ALIGN(4096);
		*(.tables)
		*(.data .data.*)
		*(.bss .bss.* COMMON)
		half_end = .;
	} :all
	.half32 KERNEL_BASE + HALF32_AT : AT(HALF32_AT) {
		KEEP(*(.half32))
	} :all
	.halfpae KERNEL_BASE + HALFPAE_AT : AT(HALFPAE_AT) {
		KEEP(*(.halfpae))
		. = KERNEL_BASE + IMAGE_END; // in lld the location counter is absolute here
		image_end = .;
	} :all
	ASSERT(cross_end <= KERNEL_BASE + MAILBOX_AT, "the crossing has one page")
	ASSERT(half_end <= KERNEL_BASE + HALF64_END, "the 64-bit half is too large for its gap")
	ASSERT(user_end <= user_page + 4096, "the code for ring 3 has one page")
	/DISCARD/ : { *(.eh_frame*) *(.note*) *(.comment) }
}
