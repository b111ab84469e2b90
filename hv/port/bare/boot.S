// SPDX-License-Identifier: GPL-2.0-or-later
// From the boot loader to image_main() in long mode.
//
// Parts: Multiboot 1 header; 32-bit entry, which builds the page tables of the host and switches to long
// mode; the same for the other processors, which trampoline.S sends here; boot stacks and the tables themselves.
//
// The address map is the identity: virtual = machine address for the first 4 GiB, in 2 MiB pages. The
// first 2 MiB are split into 4 KiB pages, so that page 0 (null pointers) and the pages below the boot
// stacks (overflow) are not mapped and a mistake ends in a panic screen.
//
// The header carries the address fields: loaders then take the file as flat, which is what lets
// `qemu -kernel` load a 64-bit ELF. umbra.lds keeps file and memory layout equal for it.

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00010003 // page-aligned modules, memory map, address fields

#define CPUS_MAX 4 // percpu.h
#define STACK_STRIDE (4096 + 65536)

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
	mov	$boot_stacks, %ebx
	shr	$9, %ebx			// page number times 8
	mov	$CPUS_MAX, %ecx
3:	movl	$0, boot_pt(%ebx)
	add	$STACK_STRIDE / 512, %ebx
	loop	3b

	movl	$boot_pt + PAGE_PRESENT_WRITE, boot_pd
	movl	$boot_pd + 0x0000 + PAGE_PRESENT_WRITE, boot_pdpt + 0
	movl	$boot_pd + 0x1000 + PAGE_PRESENT_WRITE, boot_pdpt + 8
	movl	$boot_pd + 0x2000 + PAGE_PRESENT_WRITE, boot_pdpt + 16
	movl	$boot_pd + 0x3000 + PAGE_PRESENT_WRITE, boot_pdpt + 24
	movl	$boot_pdpt + PAGE_PRESENT_WRITE, boot_pml4

	call	boot_long_mode
	ljmp	$0x08, $boot_entry64

// Switch on what 64-bit code needs; the caller is 32-bit code until its next far jump.
boot_long_mode:
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0x660, %eax			// PAE, MCE, OSFXSR, OSXMMEXCPT
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx		// EFER: LME, NXE
	rdmsr
	or	$0x900, %eax
	wrmsr
	mov	$0x80010033, %eax		// PG, WP, NE, ET, MP, PE
	mov	%eax, %cr0
	lgdt	boot_gdt_pointer
	ret

boot_no_long_mode:
	mov	$0x14, %al			// EXIT_NO_SVM: nothing here can run a guest
	out	%al, $0xf4
4:	hlt
	jmp	4b

// Another processor, in 32-bit code with flat segments. boot_processor is its number.
	.global boot_processor_entry
boot_processor_entry:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	imul	$STACK_STRIDE, boot_processor, %esp
	add	$boot_stack_top, %esp
	call	boot_long_mode
	ljmp	$0x08, $boot_processor64

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

boot_processor64:
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%esp, %esp			// zero-extends
	xor	%ebp, %ebp
	fninit
	mov	boot_processor, %edi
	call	image_processor_main		// (number)
	ud2

	.section .rodata
	.balign 8
	.global boot_gdt
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff		// 0x08: 64-bit code
	.quad 0x00cf93000000ffff		// 0x10: data
	.quad 0x00cf9b000000ffff		// 0x18: 32-bit code, for trampoline.S
boot_gdt_pointer:
	.word . - boot_gdt - 1
	.long boot_gdt

	.data
	.balign 8
	.global boot_tsc
boot_tsc:
	.quad 0
	.global boot_processor
boot_processor:
	.long 0

	.section .bss.first, "aw", @nobits	// umbra.lds puts it below 2 MiB
	.balign 4096
// For each processor a page that is not mapped, and its stack.
boot_stacks:
	.skip STACK_STRIDE
boot_stack_top:
	.skip (CPUS_MAX - 1) * STACK_STRIDE
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
boot_pt:
	.skip 4096

	.section .note.GNU-stack, "", @progbits
