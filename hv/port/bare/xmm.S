// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's XMM registers, which stay in the processor while the hypervisor runs:
//
//   void xmm_read(u32 number, u64 value[2])
//   void xmm_write(u32 number, const u64 value[2])
//
// One entry of eight bytes for each register; the number is below 16.

	.text
	.global xmm_read
xmm_read:
	mov	%edi, %edi
	lea	1f(, %rdi, 8), %rax
	jmp	*%rax
	.balign 8
1:
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	%xmm\n, (%rsi)
	ret
	.balign 8
	.endr

	.global xmm_write
xmm_write:
	mov	%edi, %edi
	lea	2f(, %rdi, 8), %rax
	jmp	*%rax
	.balign 8
2:
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	(%rsi), %xmm\n
	ret
	.balign 8
	.endr

	.section .note.GNU-stack, "", @progbits
