// SPDX-License-Identifier: GPL-2.0-or-later
// A guest begins long mode with CS.L set, which 32-bit code ignores: #GP at the write to CR0, which nobody handles.
//> umbra: guest killed: triple fault
#include "multiboot.inc"
#include "long.inc"
	lgdt gdt_pointer
	ljmp $0x10, $1f // L and D
1:	enter_long_mode
	movl $0x90000000, %eax // not reached: it would be another reason
	movl %eax, %cr3
	hlt
	long_mode_tables
