// SPDX-License-Identifier: GPL-2.0-or-later
// Paging off, two stores, paging on again: the way of a guest that edits its tables by physical
// address. Between the two CR0 writes the processor runs from physical addresses, so the way leads
// through boot_l4, whose low memory is mapped one to one. All segment registers are loaded before and
// after, while paging is on: the descriptor table is not needed in between.
#include "layout.h"

#define PHYS(symbol) ((symbol) - KERNEL_BASE)
#define CR0_PG_BIT 31

	.text
	.code64
// void phys_store(u32 at, u32 low, u32 high, u64 cr3): then CR3 = cr3.
	.globl phys_store
phys_store:
	pushq %rbx // a change of mode leaves the upper halves of all registers undefined
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, phys_stack(%rip)
	movq %rcx, phys_cr3(%rip)
	movl $PHYS(boot_l4), %eax
	movq %rax, %cr3
	pushq $SEL_CODE32
	pushq $PHYS(off)
	lretq

	.code32
off:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr0, %eax
	btrl $CR0_PG_BIT, %eax
	movl %eax, %cr0
	movl %esi, (%edi)
	movl %edx, 4(%edi)
	btsl $CR0_PG_BIT, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE64, $PHYS(on)

	.code64
on:
	movabsq $on_high, %rax
	jmp *%rax
on_high:
	movq phys_cr3(%rip), %rax
	movq %rax, %cr3
	movq phys_stack(%rip), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.bss
	.balign 8
phys_stack:
	.skip 8
phys_cr3:
	.skip 8
