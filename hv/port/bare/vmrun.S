// SPDX-License-Identifier: GPL-2.0-or-later
// The world switch: void svm_world_switch(u64 gpr[16], u64 guest_vmcb, u64 host_vmcb)
//
// VMRUN and #VMEXIT move RAX, RSP, RIP, RFLAGS, the control registers and the segments that the host
// shares; VMLOAD and VMSAVE move FS, GS, TR, LDTR and the SYSCALL and SYSENTER registers; this file moves
// the other general registers. x87, SSE and debug registers are not touched: the hypervisor has no code
// that uses them (-mgeneral-regs-only), so the guest's stay where they are.
//
// The guest's RAX and RSP pass through the VMCB: entries 0 and 4 of gpr are not used here.
// GIF is clear, so that no interrupt is taken, from before the guest's state is loaded until the host's is back. IF is set at VMRUN
// and nowhere else.
//
// QEMU 7.2 with a thread for each processor does not keep that. Whenever any processor loads x87 state without a pending exception
// (FXRSTOR, FRSTOR, FLDENV, XRSTOR; a guest may do it all day), it clears another flag in the same word of processor 0,
// unlocked, and what processor 0 does to its GIF at that moment can be lost:
//
//   CLGI, or #VMEXIT's own   an interrupt may come between svm_window and svm_window_end, where GS and TR are the guest's:
//                            traps.S puts the host's there while it is handled
//   STGI                     interrupts are held off until the next one: whoever waits for interrupts says it again
//   VMRUN's own              and in the guest, until it exits by itself: nothing can be done

	.text
	.global svm_world_switch
svm_world_switch:
	push	%rbp
	mov	%rsp, %rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdx				// host_vmcb
	push	%rdi				// gpr
	mov	%rsi, %rax
	clgi
	mov	8(%rdi), %rcx
	mov	16(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	40(%rdi), %rbp
	mov	48(%rdi), %rsi
	mov	64(%rdi), %r8
	mov	72(%rdi), %r9
	mov	80(%rdi), %r10
	mov	88(%rdi), %r11
	mov	96(%rdi), %r12
	mov	104(%rdi), %r13
	mov	112(%rdi), %r14
	mov	120(%rdi), %r15
	mov	56(%rdi), %rdi
	vmload	%rax
	.global svm_window, svm_window_end
svm_window:					// RAX: guest_vmcb, 8(RSP): host_vmcb
	sti					// an interrupt of the machine makes the guest exit
	vmrun	%rax
	cli
	vmsave	%rax				// RAX is the host's again: guest_vmcb
	mov	8(%rsp), %rax			// host_vmcb
	vmload	%rax
svm_window_end:
	xchg	%rdi, (%rsp)
	mov	%rcx, 8(%rdi)
	mov	%rdx, 16(%rdi)
	mov	%rbx, 24(%rdi)
	mov	%rbp, 40(%rdi)
	mov	%rsi, 48(%rdi)
	mov	%r8, 64(%rdi)
	mov	%r9, 72(%rdi)
	mov	%r10, 80(%rdi)
	mov	%r11, 88(%rdi)
	mov	%r12, 96(%rdi)
	mov	%r13, 104(%rdi)
	mov	%r14, 112(%rdi)
	mov	%r15, 120(%rdi)
	pop	56(%rdi)
	pop	%rax
	stgi
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret

	.section .note.GNU-stack, "", @progbits
