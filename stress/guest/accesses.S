// SPDX-License-Identifier: GPL-2.0-or-later
// The accesses of a trace, one real instruction each. The page is seen twice: in ring 0 where the
// kernel is linked, in ring 3 at USER_BASE. RDI is the address, RSI the value, the result comes
// back in RAX. INT3 tells the kernel that the code got through.
	.section .user, "ax"
	.code64

	.macro access name
	.balign 16
	.globl code_\name
code_\name:
	.endm

	access read1
	movb (%rdi), %al
	int3
	access read2
	movw (%rdi), %ax
	int3
	access read4
	movl (%rdi), %eax
	int3
	access read8
	movq (%rdi), %rax
	int3
	access write1
	movb %sil, (%rdi)
	int3
	access write2
	movw %si, (%rdi)
	int3
	access write4
	movl %esi, (%rdi)
	int3
	access write8
	movq %rsi, (%rdi)
	int3
	access push8
	pushq %rsi
	int3
	access jump // RAX, set by the caller, is what the code there starts with
	jmp *%rdi
	access cr3 // ring 0 only
	movq %rdi, %cr3
	int3
