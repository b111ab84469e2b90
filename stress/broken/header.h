// SPDX-License-Identifier: GPL-2.0-or-later
// The start of a tiny 32-bit guest: Multiboot 1 header, entry, a stack.
	.section .bss
	.skip 256
stack:
	.text
	.balign 4
	.long 0x1badb002, 0, -0x1badb002
	.globl _start
_start:
	movl $stack, %esp
