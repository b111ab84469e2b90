// SPDX-License-Identifier: GPL-2.0-or-later
// Doing one thing that may fault, and coming back. probe() jumps to a piece of code in ring
// 0 or ring 3; each ends in INT3; whatever exception comes first ends the probe and is recorded
// in `probe_result`. An exception outside of a probe, or a double fault, ends in trap_panic().
// All vectors switch to an interrupt stack (double faults to another), because a probe may have put anything in RSP.
#include "layout.h"

	.text
	.code64

// void probe(u64 rip, u64 cpl, u64 rsp, u64 rdi, u64 rsi): run the code at rip with these registers and RAX as in
// probe_result.rax.
	.globl probe
probe:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, probe_stack(%rip)
	movq probe_result(%rip), %rax
	movq %rdi, %r9
	movq %rsi, %r10
	movq %rcx, %rdi
	movq %r8, %rsi
	movb $1, probe_armed(%rip)
	testl %r10d, %r10d
	jnz 1f
	movq %rdx, %rsp
	jmp *%r9
1:	pushq $SEL_USER_DATA
	pushq %rdx
	pushq $2
	pushq $SEL_USER_CODE
	pushq %r9
	iretq

// All exceptions: stack is vector, error code, RIP, CS, RFLAGS, RSP, SS.
trap:
	cmpb $0, probe_armed(%rip)
	je 2f
	cmpl $8, (%rsp)
	je 2f
	movb $0, probe_armed(%rip)
	movq %rax, probe_result(%rip)
	movq %rdx, probe_result+8(%rip)
	popq probe_result+16(%rip)
	popq probe_result+24(%rip)
	popq probe_result+32(%rip)
	movq %cr2, %rax
	movq %rax, probe_result+40(%rip)
	movl $SEL_DATA, %eax
	movl %eax, %ss
	movq probe_stack(%rip), %rsp
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
