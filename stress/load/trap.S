// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses that may fault, and what happens to exceptions. A page fault of touch_load() or touch_store() ends it with the
// error code, and nothing else is kept: any number of vcpus may be here at once. All other exceptions end the run.
	.text
	.code64

// u32 touch_load(u64 va, u64 *value)
	.globl touch_load
touch_load:
	xorl %eax, %eax
touch_load_at:
	movq (%rdi), %rdx
	movq %rdx, (%rsi)
	ret

// u32 touch_store(u64 va, u64 value)
	.globl touch_store
touch_store:
	xorl %eax, %eax
touch_store_at:
	movq %rsi, (%rdi)
touch_failed:
	ret

// Stack: vector, error code, RIP, CS, RFLAGS, RSP, SS.
trap:
	cmpl $14, (%rsp)
	jne 2f
	pushq %rax
	leaq touch_load_at(%rip), %rax
	cmpq %rax, 24(%rsp)
	je 1f
	leaq touch_store_at(%rip), %rax
	cmpq %rax, 24(%rsp)
	je 1f
0:	popq %rax
2:	movq %rsp, %rdi
	andq $-16, %rsp
	call kernel_exception
1:	movq %cr2, %rax
	cmpq %rax, %rdi
	jne 0b
	leaq touch_failed(%rip), %rax
	movq %rax, 24(%rsp)
	movl 16(%rsp), %eax
	orl $0x80000000, %eax // TOUCH_FAULT
	addq $24, %rsp
	iretq

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
