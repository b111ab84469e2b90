// SPDX-License-Identifier: GPL-2.0-or-later
// Entry points of the 32 exceptions and of 16 interrupts. Each builds a struct trap_frame (trap.h) and calls trap_handle().
//
// A trap between VMLOAD of the guest's state and VMLOAD of the host's (vmrun.S) has the guest's GS and TR. It should not come, but
// for a mistake or QEMU's. Its stack is good, and both VMCBs are at hand: the guest's state is stored, the host's
// loaded, and the guest's loaded again behind the handler.

	.text
	// vectors for which the processor pushes an error code
	.set WITH_ERROR, 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30

	.balign 16
	.global trap_entries
trap_entries:
	.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47
	.balign 16
	.if \vector > 31 || !(WITH_ERROR >> (\vector & 31) & 1)
	push	$0
	.endif
	push	$\vector
	jmp	trap_common
	.endr

trap_common:
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%r11
	push	%r10
	push	%r9
	push	%r8
	push	%rdi
	push	%rsi
	push	%rbp
	push	%rbx
	push	%rdx
	push	%rcx
	push	%rax
	mov	%rsp, %rdi
	xor	%ebp, %ebp
	cld
	mov	17 * 8(%rsp), %rax		// RIP
	cmp	$svm_window, %rax
	jb	1f
	cmp	$svm_window_end, %rax
	jb	trap_in_window
1:	call	trap_handle
trap_return:
	pop	%rax
	pop	%rcx
	pop	%rdx
	pop	%rbx
	pop	%rbp
	pop	%rsi
	pop	%rdi
	pop	%r8
	pop	%r9
	pop	%r10
	pop	%r11
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	add	$16, %rsp
	iretq

trap_in_window:
	mov	20 * 8(%rsp), %rbx		// RSP in svm_world_switch()
	mov	8(%rbx), %rbx			// host_vmcb
	mov	(%rsp), %r12			// RAX: guest_vmcb, or host_vmcb when the guest's state has been stored
	mov	%r12, %rax
	cmp	%rax, %rbx
	je	1f
	vmsave	%rax
1:	mov	%rbx, %rax
	vmload	%rax
	call	trap_handle
	mov	%r12, %rax
	vmload	%rax
	jmp	trap_return

	.section .note.GNU-stack, "", @progbits
