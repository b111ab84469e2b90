// SPDX-License-Identifier: GPL-2.0-or-later
// Where a further processor starts on bare hardware: in real mode, at WAKE_AT, where hammer_wake.c has put wake_code. It
// goes straight to long mode, and from there on is like a vcpu that Umbra starts.
#include "../guest/layout.h"
#include "hammer.h"

#define MSR_EFER 0xc0000080

	.data
	.code16
	.globl wake_code
wake_code:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl wake_gdt - wake_code
	movl $0x220, %eax // OSFXSR, PAE
	movl %eax, %cr4
	movl wake_root - wake_code, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $0x900, %eax // NXE, LME
	xorl %edx, %edx
	wrmsr
	movl $0x80010031, %eax // PG, WP, NE, ET, PE
	movl %eax, %cr0
	ljmpl $SEL_CODE64, $awake
	.balign 4
wake_gdt:
	.word 3 * 8 - 1 // start.S has three descriptors
	.long gdt
	.balign 4
	.globl wake_root
wake_root:
	.long 0
	.globl wake_code_end
wake_code_end:
	.globl wake_id
wake_id:
	.long 0

	.text
	.code64
awake:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl wake_id(%rip), %edi
	jmp worker_entry
