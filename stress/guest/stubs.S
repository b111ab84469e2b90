// SPDX-License-Identifier: GPL-2.0-or-later
// The accesses of a trace, one real instruction each. The page is seen twice: in ring 0 where the
// kernel is linked, in ring 3 at USER_BASE. RDI is the address, RSI the value, the result comes
// back in RAX. INT3 tells the kernel that the code got through.
	.section .user, "ax"
	.code64

	.macro stub name
	.balign 16
	.globl stub_\name
stub_\name:
	.endm

	stub read1
	movb (%rdi), %al
	int3
	stub read2
	movw (%rdi), %ax
	int3
	stub read4
	movl (%rdi), %eax
	int3
	stub read8
	movq (%rdi), %rax
	int3
	stub write1
	movb %sil, (%rdi)
	int3
	stub write2
	movw %si, (%rdi)
	int3
	stub write4
	movl %esi, (%rdi)
	int3
	stub write8
	movq %rsi, (%rdi)
	int3
	stub push8
	pushq %rsi
	int3
	stub jump // RAX, set by the caller, is what the code there starts with
	jmp *%rdi
	stub cr3 // ring 0 only
	movq %rdi, %cr3
	int3
