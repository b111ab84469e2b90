// SPDX-License-Identifier: GPL-2.0-or-later
// From the loader to kernel_main(): Multiboot 1 header, long mode, a stack. The first GiB is mapped one to one by
// 2 MiB pages until the kernel loads tables of its own. No task state: no change of ring, no stack switch.
#include "../guest/layout.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 2 // memory information
#define MSR_EFER 0xc0000080
#define TABLE 0x23 // P W A
#define LARGE 0xe3 // P W A D PS

	.section .head, "ax"
	.code32
	.balign 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
	.globl entry
entry:
	cli
	cld
	movl %eax, %edi
	movl %ebx, %esi
	lgdt gdt_pointer
	movl $0x220, %eax // OSFXSR, PAE
	movl %eax, %cr4
	movl $boot_root, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $0x900, %eax // NXE, LME
	xorl %edx, %edx
	wrmsr
	movl $0x80010031, %eax // PG, WP, NE, ET, PE
	movl %eax, %cr0
	ljmpl $SEL_CODE64, $1f
	.code64
1:	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	leaq stack_end(%rip), %rsp
	xorl %ebp, %ebp
	movl %edi, %edi // the loader's magic and information are 32 bits wide
	movl %esi, %esi
	call kernel_main

	.data
	.balign 8
	.globl gdt
gdt:
	.quad 0
	.quad 0x00af9b000000ffff // SEL_CODE64
	.quad 0x00cf93000000ffff // SEL_DATA
gdt_end:
	.globl gdt_pointer
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt

	.section .tables, "aw"
	.balign 4096
boot_root:
	.quad boot_l3 + TABLE
	.fill 511, 8, 0
boot_l3:
	.quad boot_l2 + TABLE
	.fill 511, 8, 0
boot_l2:
	.set at, 0
	.rept 512
	.quad (at << 21) + LARGE
	.set at, at + 1
	.endr

	.bss
	.balign 16
	.skip 16384
stack_end:
