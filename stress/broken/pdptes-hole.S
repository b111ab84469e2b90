// SPDX-License-Identifier: GPL-2.0-or-later
// A guest turns on PAE paging with PDPTEs where there is no memory.
//> umbra: guest killed: wild cr3
#include "multiboot.inc"
	movl $0x20, %eax // CR4.PAE
	movl %eax, %cr4
	movl $0x90000800, %eax
	movl %eax, %cr3
	movl $0x80000011, %eax // PG, ET, PE
	movl %eax, %cr0
	hlt
