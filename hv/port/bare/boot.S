// SPDX-License-Identifier: GPL-2.0-or-later
// From the boot loader to image_main() in long mode.
//
// Parts: Multiboot 1 header; 32-bit entry, which builds the host's page tables and switches to long
// mode; the boot stack and the tables themselves.
//
// The address map is the identity: virtual = machine address for the first 4 GiB, in 2 MiB pages. The
// first 2 MiB are split into 4 KiB pages, so that page 0 (null pointers) and the page below the boot
// stack (overflow) are not mapped and a mistake ends in a panic screen.
//
// The header carries the address fields: loaders then take the file as flat, which is what lets
// `qemu -kernel` load a 64-bit ELF. umbra.lds keeps file and memory layout equal for it.

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00010003 // page-aligned modules, memory map, address fields

#define PAGE_PRESENT_WRITE 0x003
#define PAGE_LARGE_PRESENT_WRITE 0x083

	.section .multiboot, "a"
	.balign 4
multiboot_header:
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
	.long multiboot_header
	.long image_start
	.long image_load_end
	.long image_end
	.long boot_entry

	.section .text.boot, "ax"
	.code32
	.global boot_entry
boot_entry:
	cli
	cld
	mov	%eax, %edi			// loader's magic, kept for image_main()
	mov	%ebx, %esi			// multiboot information
	rdtsc
	mov	%eax, boot_tsc
	mov	%edx, boot_tsc + 4
	mov	$boot_stack_top, %esp

	mov	$0x80000000, %eax		// is there a long mode?
	cpuid
	cmp	$0x80000001, %eax
	jb	boot_no_long_mode
	mov	$0x80000001, %eax
	cpuid
	bt	$29, %edx
	jnc	boot_no_long_mode

	// boot_pd: 2048 entries in four tables, 2 MiB each
	mov	$boot_pd, %ebx
	mov	$PAGE_LARGE_PRESENT_WRITE, %eax
	mov	$2048, %ecx
1:	mov	%eax, (%ebx)
	add	$0x200000, %eax
	add	$8, %ebx
	loop	1b

	// boot_pt: the first 2 MiB, without page 0 and without the guard
	mov	$boot_pt, %ebx
	mov	$PAGE_PRESENT_WRITE, %eax
	mov	$512, %ecx
2:	mov	%eax, (%ebx)
	add	$0x1000, %eax
	add	$8, %ebx
	loop	2b
	movl	$0, boot_pt
	mov	$boot_stack_guard, %ebx
	shr	$9, %ebx			// page number times 8
	movl	$0, boot_pt(%ebx)

	movl	$boot_pt + PAGE_PRESENT_WRITE, boot_pd
	movl	$boot_pd + 0x0000 + PAGE_PRESENT_WRITE, boot_pdpt + 0
	movl	$boot_pd + 0x1000 + PAGE_PRESENT_WRITE, boot_pdpt + 8
	movl	$boot_pd + 0x2000 + PAGE_PRESENT_WRITE, boot_pdpt + 16
	movl	$boot_pd + 0x3000 + PAGE_PRESENT_WRITE, boot_pdpt + 24
	movl	$boot_pdpt + PAGE_PRESENT_WRITE, boot_pml4

	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0x620, %eax			// PAE, OSFXSR, OSXMMEXCPT
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx		// EFER: LME, NXE
	rdmsr
	or	$0x900, %eax
	wrmsr
	mov	$0x80010033, %eax		// PG, WP, NE, ET, MP, PE
	mov	%eax, %cr0
	lgdt	boot_gdt_pointer
	ljmp	$0x08, $boot_entry64

boot_no_long_mode:
	mov	$0x14, %al			// EXIT_NO_SVM: nothing here can run a guest
	out	%al, $0xf4
3:	hlt
	jmp	3b

	.code64
boot_entry64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$boot_stack_top, %esp		// zero-extends
	xor	%ebp, %ebp			// ends the chain of frames
	mov	%edi, %edi
	mov	%esi, %esi
	call	image_main			// (magic, information)
	ud2

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff		// 0x08: 64-bit code
	.quad 0x00cf93000000ffff		// 0x10: data
boot_gdt_pointer:
	.word . - boot_gdt - 1
	.long boot_gdt

	.data
	.balign 8
	.global boot_tsc
boot_tsc:
	.quad 0

	.section .bss.first, "aw", @nobits	// umbra.lds puts it below 2 MiB
	.balign 4096
boot_stack_guard:
	.skip 4096
	.global boot_stack, boot_stack_top
boot_stack:
	.skip 65536
boot_stack_top:
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
boot_pt:
	.skip 4096

	.section .note.GNU-stack, "", @progbits
