// SPDX-License-Identifier: GPL-2.0-or-later
// A guest jumps to where there is no memory. What a hole reads as, executed, faults; nobody handles that.
//> umbra: guest killed: triple fault
#include "multiboot.inc"
	xorl %eax, %eax
	pushl %eax
	pushl %eax
	lidt (%esp)
	movl $0x90000000, %eax
	jmp *%eax
