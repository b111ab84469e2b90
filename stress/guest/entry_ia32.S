// SPDX-License-Identifier: GPL-2.0-or-later
// The ways into the 32-bit halves and out of them, as entry_x64.S. DS and ES hold the flat segment of ring 3 at all
// times: it serves every ring, and IRET does not clear it.
#include "crossing.h"
#include "gdt.inc"

	.text
	.code32
	.macro entry_point name
	.globl \name
\name:
	movl $\name\()_high, %eax
	jmp *%eax
\name\()_high:
	lgdt gdt_pointer
	ljmpl $SEL_CODE32, $\name\()_own
\name\()_own:
	movl $SEL_USER_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $SEL_DATA, %eax
	movl %eax, %ss
	.endm

	entry_point boot
	movl $boot_stack_end, %esp
	xorl %ebp, %ebp
	call main

	entry_point visit
	movl $visit_stack_end, %esp
	xorl %ebp, %ebp
	call visit_main

	.globl cross_go
cross_go:
	pushl %ebx
	pushl %ebp
	pushl %esi
	pushl %edi
	movl %esp, home_stack
	.globl cross_leave
cross_leave:
	movl $CROSS_OUT, %eax
	jmp *%eax

	entry_point resume
	movl home_stack, %esp
	popl %edi
	popl %esi
	popl %ebp
	popl %ebx
	ret

	.data
	.balign 8
gdt:
	descriptors
	.globl gdt_tss
gdt_tss:
	.quad 0, 0 // the second only in 64-bit mode
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 12288
boot_stack_end:
	.skip 4096
visit_stack_end:
home_stack:
	.skip 4
