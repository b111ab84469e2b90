// SPDX-License-Identifier: GPL-2.0-or-later
// Doing one thing that may fault, and coming back. probe_run() goes to a piece of code in some ring by IRET; each ends
// in INT3; whatever exception comes first ends the probe and is recorded in `probe`. An exception outside of a
// probe, or a double fault, ends in trap_panic().
// All vectors switch to an interrupt stack (double faults to another), because a probe may have put anything in RSP.
#include "probe.h"

	.text
	.code64
	.globl probe_run
probe_run:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, probe_stack(%rip)
	leaq probe(%rip), %rbp
	movl PROBE_SS(%rbp), %eax
	pushq %rax
	pushq PROBE_STACK(%rbp)
	pushq PROBE_FLAGS(%rbp)
	movl PROBE_CS(%rbp), %eax
	pushq %rax
	pushq PROBE_CODE(%rbp)
	movups PROBE_XMM0(%rbp), %xmm0
	movq PROBE_AX(%rbp), %rax
	movq PROBE_BX(%rbp), %rbx
	movq PROBE_CX(%rbp), %rcx
	movq PROBE_DX(%rbp), %rdx
	movq PROBE_SI(%rbp), %rsi
	movq PROBE_DI(%rbp), %rdi
	movb $1, probe_armed(%rip)
	iretq

// All exceptions: stack is vector, error code, RIP, CS, RFLAGS, RSP, SS.
trap:
	cmpb $0, probe_armed(%rip)
	je 2f
	cmpl $8, (%rsp)
	je 2f
	movb $0, probe_armed(%rip)
	leaq probe(%rip), %rbp
	movq %rax, PROBE_AX(%rbp)
	movq %rbx, PROBE_BX(%rbp)
	movq %rcx, PROBE_CX(%rbp)
	movq %rdx, PROBE_DX(%rbp)
	movups %xmm0, PROBE_XMM0(%rbp)
	popq PROBE_VECTOR(%rbp)
	popq PROBE_ERROR(%rbp)
	addq $16, %rsp
	popq PROBE_FLAGS(%rbp)
	movq %cr2, %rax
	movq %rax, PROBE_CR2(%rbp)
	movl $SEL_DATA, %eax
	movl %eax, %ss
	movq probe_stack(%rip), %rsp
	pushq $2 // AC is off again
	popfq
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret
2:	movq %rsp, %rdi
	andq $-16, %rsp
	call trap_panic

	// Sixteen bytes of code for each vector; the processor pushes an error code for some.
	.balign 16
	.globl trap_vectors
trap_vectors:
	.irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	.balign 16
	.if \number != 8 && \number != 17 && (\number < 10 || \number > 14)
	pushq $0
	.endif
	pushq $\number
	jmp trap
	.endr

	.bss
	.balign 8
probe_stack:
	.skip 8
probe_armed:
	.skip 1
