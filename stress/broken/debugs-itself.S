// SPDX-License-Identifier: GPL-2.0-or-later
// A guest steps through its own code, and has a breakpoint on data: #DB goes through Umbra, which injects it with DR6 and the
// instruction pointer as a processor has them. What is wrong ends in a triple fault. (A breakpoint where the delivery of #DB pushes the
// flags, so that each trap raises the next, QEMU cannot take on any machine: it stops itself.)
//> umbra: guest exits with 0
#include "multiboot.inc"
#define TF 0x100
#define DR6_BS 0x4000
#define DR6_B0 0x1
#define DR7_WRITE_4_0 0x000d0403 // breakpoint 0: writes, four bytes

	// expect REASON NEXT: one #DB since the last time, with these bits of DR6, at this place
	.macro expect reason, next
	cmpl $1, hits
	jne wrong
	cmpl $\reason, reason
	jne wrong
	cmpl $\next, place
	jne wrong
	movl $0, hits
	.endm

	lgdt gdt_pointer
	ljmp $0x08, $1f
1:	movl $0x10, %eax
	movl %eax, %ss
	movl %eax, %ds
	movl $handler, %eax
	movw %ax, idt + 8 * 1
	shrl $16, %eax
	movw %ax, idt + 8 * 1 + 6
	lidt idt_pointer

	pushfl // one step: the trap comes behind the instruction behind POPF, and the handler clears TF
	orl $TF, (%esp)
	popfl
	nop
2:	expect DR6_BS, 2b

	movl $word, %eax
	movl %eax, %dr0
	movl $DR7_WRITE_4_0, %eax
	movl %eax, %dr7
	movl $1, word
3:	expect DR6_B0, 3b

	pushfl
	orl $TF, (%esp)
	popfl
	cpuid // it exits by itself, and is stepped over there
4:	expect DR6_BS, 4b

	movl $10, %eax // HYPERCALL_EXIT
	xorl %edi, %edi
	vmmcall
wrong:	lidt zero
	int3

handler:
	pushl %eax
	movl %dr6, %eax
	andl $DR6_BS | 0xf, %eax
	movl %eax, reason
	xorl %eax, %eax
	movl %eax, %dr6
	movl 4(%esp), %eax
	movl %eax, place
	incl hits
	andl $~TF, 12(%esp)
	popl %eax
	iretl

	.data
	.balign 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt
idt_pointer:
	.word 15
	.long idt
	.balign 8
idt:	.quad 0, 0x00008e0000080000
zero:	.quad 0
hits:	.long 0
reason:	.long 0
place:	.long 0
word:	.long 0
