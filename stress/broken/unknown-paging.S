// SPDX-License-Identifier: GPL-2.0-or-later
// A guest turns on a paging mode that Umbra has no shadows for: PAE without long mode.
//> umbra: guest killed: paging mode without shadows
#include "multiboot.inc"
	movl $0x20, %eax // CR4.PAE
	movl %eax, %cr4
	movl $0x400000, %eax
	movl %eax, %cr3
	movl $0x80000011, %eax // PG, ET, PE
	movl %eax, %cr0
	hlt
