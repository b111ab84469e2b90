// SPDX-License-Identifier: GPL-2.0-or-later
// From a Multiboot 1 loader (32-bit, unpaged) to C in long mode, and the tables that make it so.
// In reading order: header, entry, page tables, segments. The tables are constants of the image:
// nothing is computed at run time, and A and D are set already, so the processor never writes them.
#include "layout.h"

#define PHYS(symbol) ((symbol) - KERNEL_BASE)
#define TABLE 0x23      // P W A
#define TABLE_USER 0x27 // P W U A
#define PAGE 0x63       // P W A D
#define PAGE_USER 0x65  // P U A D
#define LARGE 0xe3      // P W A D PS

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 3 // modules on page boundaries, memory information

	.section .multiboot, "ax"
	.balign 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.code32
	.globl entry
entry:
	cli
	cld
	movl $PHYS(boot_stack_end), %esp
	movl %eax, %ebp // the loader's magic; EBX holds its information block
	lgdt PHYS(gdt_pointer_low)
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr4, %eax
	andl $~0x80, %eax  // PGE off
	orl $0x220, %eax   // PAE, OSFXSR
	movl %eax, %cr4
	movl $PHYS(boot_l4), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx // EFER: NXE, LME, SCE
	rdmsr
	orl $0x901, %eax
	wrmsr
	movl $0x80010031, %eax // PG, WP, NE, ET, PE
	movl %eax, %cr0
	ljmpl $SEL_CODE64, $PHYS(entry64)

	.code64
entry64:
	movabsq $high, %rax
	jmp *%rax
high:
	lgdt gdt_pointer(%rip)
	leaq boot_stack_end(%rip), %rsp
	movl %ebp, %edi
	movl %ebx, %esi
	xorl %ebp, %ebp
	call main
halt:
	cli
	hlt
	jmp halt

	.bss
	.balign 16
	.skip 16384
	.globl boot_stack_end
boot_stack_end:

// boot_l4 [0] ------> low_l3 [0] --> low_l2: 1 GiB of 2 MiB pages, physical = virtual (to turn paging off)
//         [256] --+
// f0..f15 [256] --+-> k3 [0] --> low_l2 again: kernel text, data, trace
//                        [1] --> k2w [0] --> k1w [0..15]: f0..f15, 4 KiB pages
//                        [2] --> k2u [0] --> k1u [0]: user page
	.section .tables, "aw"
	.balign 4096
	.globl boot_l4, k3
boot_l4:
	.quad PHYS(low_l3) + TABLE
	.fill KERNEL_SLOT - 1, 8, 0
	.quad PHYS(k3) + TABLE_USER
	.fill 511 - KERNEL_SLOT, 8, 0
low_l3:
	.quad PHYS(low_l2) + TABLE
	.fill 511, 8, 0
k3:
	.quad PHYS(low_l2) + TABLE
	.quad PHYS(k2w) + TABLE_USER
	.quad PHYS(k2u) + TABLE_USER
	.fill 509, 8, 0
low_l2:
	.set at, 0
	.rept 512
	.quad (at << 21) + LARGE
	.set at, at + 1
	.endr
k2w:
	.quad PHYS(k1w) + TABLE_USER
	.fill 511, 8, 0
k1w:
	.set at, 0
	.rept 16
	.quad 0x40000000 + (at << 12) + PAGE
	.set at, at + 1
	.endr
	.fill 496, 8, 0
k2u:
	.quad PHYS(k1u) + TABLE_USER
	.fill 511, 8, 0
k1u:
	.quad PHYS(user_page) + PAGE_USER
	.fill 511, 8, 0

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff // 64-bit code
	.quad 0x00cf93000000ffff // flat data
	.quad 0x00cf9b000000ffff // 32-bit code
	.quad 0x00affb000000ffff // 64-bit code, ring 3
	.quad 0x00cff3000000ffff // flat data, ring 3
	.globl gdt_tss
gdt_tss:
	.quad 0x0000890000000067
	.quad 0
gdt_end:
	.globl gdt_pointer
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
gdt_pointer_low:
	.word gdt_end - gdt - 1
	.long PHYS(gdt)
