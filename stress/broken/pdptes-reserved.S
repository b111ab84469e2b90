// SPDX-License-Identifier: GPL-2.0-or-later
// A guest turns on PAE paging with a reserved bit in a PDPTE: #GP at the write to CR0, which nobody handles.
//> umbra: guest killed: triple fault
#include "multiboot.inc"
	movl $0x20, %eax // CR4.PAE
	movl %eax, %cr4
	movl $pdptes, %eax
	movl %eax, %cr3
	movl $0x80000011, %eax // PG, ET, PE
	movl %eax, %cr0
	movl $0x90000000, %eax // not reached: it would be another reason
	movl %eax, %cr3
	hlt
	.balign 32
pdptes:
	.quad 0, 0, 0, 3 // P W
