// SPDX-License-Identifier: GPL-2.0-or-later
// Where a further vcpu starts: with vcpu 0's control registers and segments, its number in RDI, and no stack.
#include "hammer.h"

	.text
	.code64
	.globl worker_entry
worker_entry:
	lgdt gdt_pointer(%rip)
	leaq stacks(%rip), %rsp
	movl %edi, %eax
	shll $STACK_SHIFT, %eax // the n-th vcpu has the n-th stack; vcpu 0 has start.S's
	addq %rax, %rsp
	xorl %ebp, %ebp
	call worker_main

	.bss
	.balign 16
stacks:
	.skip (WORKERS - 1) << STACK_SHIFT
