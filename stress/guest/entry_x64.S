// SPDX-License-Identifier: GPL-2.0-or-later
// The ways into the 64-bit half and out of it. The crossing enters in 32-bit code, where the image is mapped one to
// one and this half's own root is loaded.
#include "crossing.h"
#include "gdt.inc"

	.text
	.macro entry_point name
	.code32
	.globl \name
\name:
	ljmpl $SEL_CODE64, $PHYS(\name\()_64)
	.code64
\name\()_64:
	movabsq $\name\()_high, %rax
	jmp *%rax
\name\()_high:
	lgdt gdt_pointer(%rip)
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	.endm

	entry_point boot
	leaq boot_stack_end(%rip), %rsp
	xorl %ebp, %ebp
	call main

	entry_point visit
	leaq visit_stack_end(%rip), %rsp
	xorl %ebp, %ebp
	call visit_main

// void cross_go(void): do what the mailbox says. The half's root must be loaded, and is when this returns; trap_load()
// is due then. A change of mode leaves the upper halves of all registers undefined.
	.globl cross_go
cross_go:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, home_stack(%rip)
// void cross_leave(void): the same, for one who does not come back.
	.globl cross_leave
cross_leave:
	pushq $SEL_CODE32
	pushq $CROSS_OUT
	lretq

	entry_point resume
	movq home_stack(%rip), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.data
	.balign 8
gdt:
	descriptors
	.globl gdt_tss
gdt_tss:
	.quad 0, 0
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt

	.bss
	.balign 16
	.skip 12288
boot_stack_end:
	.skip 4096
visit_stack_end:
home_stack:
	.skip 8
