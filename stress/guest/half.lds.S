// SPDX-License-Identifier: GPL-2.0-or-later
// Linker script of a 32-bit half, run through the preprocessor. The result is flattened: what is at HALF_AT comes
// first, and no section is without contents.
#include "layout.h"
ENTRY(boot)
PHDRS
{
	all PT_LOAD FLAGS(7);
}
SECTIONS
{
	. = KERNEL_BASE + HALF_AT;
	.half : {
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
	ASSERT(half_end <= KERNEL_BASE + HALF_END, "the half is too large for its gap")
	ASSERT(user_end <= user_page + 4096, "the code for ring 3 has one page")
	/DISCARD/ : { *(.eh_frame*) *(.note*) *(.comment) }
}
