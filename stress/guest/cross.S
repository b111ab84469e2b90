// SPDX-License-Identifier: GPL-2.0-or-later
// The crossing: 32-bit code at physical addresses, and the only code that runs without paging. It takes over from
// the loader, and from a half that wants paging off (crossing.h).
//
// In reading order: Multiboot header; the entry from a half; stores; real mode; entering a half; the entry from
// the loader; the descriptor table. No stack: whoever is entered brings its own.
#include "crossing.h"
#include "gdt.inc"

#define MAIL(field) (MAILBOX_AT + (field))
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 3 // modules on page boundaries, memory information
#define MULTIBOOT_LOADED 0x2badb002
#define TRACE_KINDS 3 // TRACE_KINDS_RUN
#define INFO_FLAGS 0 // offsets in the loader's information
#define INFO_HAS_MODULES 8
#define INFO_MODULE_COUNT 20
#define INFO_MODULES 24
#define MSR_EFER 0xc0000080
#define CR0_PG_BIT 31
#define CR0_PE_BIT 0

	.section .cross, "ax"
	.code32
	.balign 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

// ---- from a half ------------------------------------------------------------------------------------
	.balign CROSS_OUT - CROSS_AT
cross_out:
	movl $SEL_DATA, %eax // the same in every table
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	lgdt PHYS(gdt_pointer)
	ljmpl $SEL_CODE32, $PHYS(flat)
flat:
	movl %cr0, %eax
	btrl $CR0_PG_BIT, %eax
	movl %eax, %cr0
	movl MAIL(MAIL_AT), %edi
	movl MAIL(MAIL_LOW), %ecx
	movl MAIL(MAIL_HIGH), %edx
	movl MAIL(MAIL_ACTION), %eax
	cmpl $CROSS_STORE, %eax
	je store
	cmpl $CROSS_REAL, %eax
	je real
	cmpl $CROSS_VISIT, %eax
	jne home
	movl $MAIL(MAIL_VISITED), %esi
	movl $HALF_VISIT, %edi
	jmp enter

store:
	movl %ecx, (%edi)
	cmpl $8, MAIL(MAIL_BYTES)
	jne home
	movl %edx, 4(%edi)
home:
	movl $MAIL(MAIL_HOME), %esi
	movl $HALF_RESUME, %edi

// Enter a half with the state at ESI, at the address that its head has at offset EDI.
enter:
	movl MAIL_STATE_MODE(%esi), %eax
	movl PHYS(heads)(, %eax, 4), %ebp
	movl MAIL_STATE_CR4(%esi), %eax
	movl %eax, %cr4
	movl MAIL_STATE_EFER(%esi), %eax
	xorl %edx, %edx
	movl $MSR_EFER, %ecx
	wrmsr
	movl HALF_ROOT(%ebp), %eax
	movl %eax, %cr3
	movl MAIL_STATE_CR0(%esi), %eax
	movl %eax, %cr0 // paging is on
	jmp *(%ebp, %edi)

// ---- real mode --------------------------------------------------------------------------------------
// The code for it must lie below 1 MiB: it is put there for this one use, and wiped away.
real:
	movl %edi, %ebx // copying takes EDI, ESI, ECX
	movl $PHYS(real_code), %esi
	movl $REAL_AT, %edi
	movl $real_code_end - real_code, %ecx
	rep movsb
	movl %ebx, %edi
	movl MAIL(MAIL_LOW), %ecx
	movl MAIL(MAIL_BYTES), %ebx
	ljmpl $SEL_CODE16, $0

	.code16
real_code:
	movl %cr0, %eax
	btrl $CR0_PE_BIT, %eax
	movl %eax, %cr0
	ljmpw $REAL_AT >> 4, $in_real - real_code
in_real: // the segments keep their base 0 and their limit of 4 GiB
	movl %ecx, (%edi)
	cmpl $8, %ebx
	jne 1f
	movl %edx, 4(%edi)
1:	btsl $CR0_PE_BIT, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $PHYS(from_real)
real_code_end:

	.code32
from_real:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $REAL_AT, %edi
	movl $real_code_end - real_code, %ecx
	xorl %eax, %eax
	rep stosb
	jmp home

// ---- from the loader --------------------------------------------------------------------------------
// EAX is the loader's magic, EBX its information. The first byte of the first module, the trace, chooses the half:
// its kind modulo 3. No module is an empty trace; an empty trace is one of kind 0.
	.globl entry
entry:
	cli
	cld
	lgdt PHYS(gdt_pointer)
	ljmpl $SEL_CODE32, $PHYS(1f)
1:	movl $SEL_DATA, %edx
	movl %edx, %ds
	movl %edx, %es
	movl %edx, %ss
	movl %eax, MAIL(MAIL_MAGIC)
	xorl %edx, %edx // mode
	cmpl $MULTIBOOT_LOADED, %eax
	jne boot // which says so
	testl $INFO_HAS_MODULES, INFO_FLAGS(%ebx)
	jz boot
	cmpl $0, INFO_MODULE_COUNT(%ebx)
	je boot
	movl INFO_MODULES(%ebx), %ebx
	movl (%ebx), %esi
	movl 4(%ebx), %edi
	movl %esi, MAIL(MAIL_TRACE_START)
	movl %edi, MAIL(MAIL_TRACE_END)
	cmpl %edi, %esi
	jae boot
	movzbl (%esi), %eax
	movl $TRACE_KINDS, %ecx
	divl %ecx // the remainder is in EDX
boot:
	movl $MAIL(MAIL_HOME), %esi
	movl %edx, MAIL_STATE_MODE(%esi)
	movl PHYS(boot_cr4)(, %edx, 4), %eax
	movl %eax, MAIL_STATE_CR4(%esi)
	movl PHYS(boot_efer)(, %edx, 4), %eax
	movl %eax, MAIL_STATE_EFER(%esi)
	movl $0x80010031, MAIL_STATE_CR0(%esi) // PG, WP, NE, ET, PE
	movl $HALF_BOOT, %edi
	jmp enter

// By mode.
	.balign 4
heads:
	.long HALF64_AT, HALF32_AT, HALFPAE_AT
boot_cr4:
	.long 0x220, 0x210, 0x220 // OSFXSR, and PAE or PSE
boot_efer:
	.long 0x901, 0x801, 0x801 // NXE, SCE, and LME

	.balign 8
gdt:
	descriptors
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long PHYS(gdt)
