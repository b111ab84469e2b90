// SPDX-License-Identifier: GPL-2.0-or-later
// Probes and exceptions in 32-bit code, as in trap_x64.S. Here an exception in ring 0 stays on the stack that is
// there, so code that puts anything in ESP runs in ring 1: for paging that is a supervisor like ring 0, but it
// leaves through the stack of the task state. A double fault gets no stack of its own.
#include "probe.h"

	.text
	.code32
	.globl probe_run
probe_run:
	pushl %ebx
	pushl %ebp
	pushl %esi
	pushl %edi
	movl %esp, probe_stack
	testl $3, probe+PROBE_CS
	jz 1f
	pushl probe+PROBE_SS
	pushl probe+PROBE_STACK
1:	pushl probe+PROBE_FLAGS
	pushl probe+PROBE_CS
	pushl probe+PROBE_CODE
	movups probe+PROBE_XMM0, %xmm0
	movl probe+PROBE_AX, %eax
	movl probe+PROBE_BX, %ebx
	movl probe+PROBE_CX, %ecx
	movl probe+PROBE_DX, %edx
	movl probe+PROBE_SI, %esi
	movl probe+PROBE_DI, %edi
	movb $1, probe_armed
	iretl

// All exceptions: stack is vector, error code, EIP, CS, EFLAGS, and from an outer ring ESP, SS.
trap:
	cmpb $0, probe_armed
	je 2f
	cmpl $8, (%esp)
	je 2f
	movb $0, probe_armed
	movl %eax, probe+PROBE_AX
	movl %ebx, probe+PROBE_BX
	movl %ecx, probe+PROBE_CX
	movl %edx, probe+PROBE_DX
	movups %xmm0, probe+PROBE_XMM0
	popl probe+PROBE_VECTOR
	popl probe+PROBE_ERROR
	addl $8, %esp
	popl probe+PROBE_FLAGS
	movl %cr2, %eax
	movl %eax, probe+PROBE_CR2
	movl probe_stack, %esp
	pushl $2 // AC is off again
	popfl
	popl %edi
	popl %esi
	popl %ebp
	popl %ebx
	ret
2:	movl %esp, %eax
	andl $-16, %esp
	subl $12, %esp
	pushl %eax
	call trap_panic

	// Sixteen bytes of code for each vector; the processor pushes an error code for some.
	.balign 16
	.globl trap_vectors
trap_vectors:
	.irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	.balign 16
	.if \number != 8 && \number != 17 && (\number < 10 || \number > 14)
	pushl $0
	.endif
	pushl $\number
	jmp trap
	.endr

	.bss
	.balign 4
probe_stack:
	.skip 4
probe_armed:
	.skip 1
