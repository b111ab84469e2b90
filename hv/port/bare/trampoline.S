// SPDX-License-Identifier: GPL-2.0-or-later
// The first instructions of the other processors, in real mode. smp.c copies them to a page below 1 MiB, whose number it
// sends; CS starts at that page, and nothing here depends on which it is.

	.section .rodata
	.code16
	.global trampoline_start, trampoline_end
trampoline_start:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	trampoline_gdt_pointer - trampoline_start
	mov	$0x11, %eax			// ET, PE
	mov	%eax, %cr0
	ljmpl	$0x18, $boot_processor_entry
	.balign 4
trampoline_gdt_pointer:				// as boot_gdt_pointer, which real mode cannot reach
	.word 4 * 8 - 1
	.long boot_gdt
trampoline_end:

	.section .note.GNU-stack, "", @progbits
