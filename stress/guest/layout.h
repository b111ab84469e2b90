// SPDX-License-Identifier: GPL-2.0-or-later
// Numbers that the assembly, the C files and the linker scripts share: where things lie in memory and where each
// half of the image sees them, selectors, exit codes.
//
// The image holds the kernel three times, as a half for each paging mode of its guest (GUEST_MODE, an enum
// trace_mode), and the crossing, which is 32-bit code that runs with paging off and joins them (crossing.h).
#ifndef STRESS_GUEST_LAYOUT_H
#define STRESS_GUEST_LAYOUT_H

#define MODE_64 0
#define MODE_32 1
#define MODE_PAE 2

// Physical addresses. Why there: a trace makes entries of odd bytes now and then, and they must not name these pages.
// One and two bytes name pages below 640 KiB, 2 MiB and 4 MiB pages at 0 reach up to 4 MiB, 1 GiB pages at 0 are
// used at 0, 6 MiB and up (l2_64 in fuzz/trace/ops.c). Three equal bytes name page 0x414, 0x434, 0x454, 0x474, ...:
// the gaps are as large as a half.
#define CROSS_AT 0x415000
#define MAILBOX_AT 0x416000
#define HALF64_AT 0x417000
#define HALF64_END 0x434000
#define HALF32_AT 0x435000
#define HALF32_END 0x454000
#define HALFPAE_AT 0x455000
#define HALFPAE_END 0x474000
#define IMAGE_END 0x475000
// Where the crossing is entered. The Multiboot header lies before it.
#define CROSS_OUT (CROSS_AT + 0x20)
// Where the crossing puts its real-mode code.
#define REAL_AT 0x7000

// KERNEL_BASE: what a half adds to a physical address of the image to see it. FRAMES_BASE is trace_direct(): a page
// table there shows f0..f15, then the pages below. NO_DATA: an address that no data access of any ring gets through.
#if GUEST_MODE == MODE_64
#define KERNEL_BASE 0xffff800000000000
#define FRAMES_BASE 0xffff800040000000
#define NO_DATA 0x8000000000000000 // not canonical
#define HALF_AT HALF64_AT
#define HALF_END HALF64_END
#elif GUEST_MODE == MODE_32
#define KERNEL_BASE 0x7fc00000 // 4 MiB are seen at 2 GiB
#define FRAMES_BASE 0x80400000
#define NO_DATA 0x80000000 // the kernel leaves 64 KiB there unmapped
#define HALF_AT HALF32_AT
#define HALF_END HALF32_END
#elif GUEST_MODE == MODE_PAE
#define KERNEL_BASE 0
#define FRAMES_BASE 0x20000000
#define NO_DATA 0 // the kernel leaves 2 MiB there unmapped
#define HALF_AT HALFPAE_AT
#define HALF_END HALFPAE_END
#else
#error GUEST_MODE must be a paging mode
#endif

// Pages behind the trace frames, by slot: the code for ring 3; any page of physical memory; the trace.
#define SLOT_USER 16
#define SLOT_WINDOW 17
#define SLOT_TRACE 18
#define USER_BASE (FRAMES_BASE + SLOT_USER * 0x1000)

#define PHYS(symbol) ((symbol) - KERNEL_BASE)

// The same in every descriptor table (gdt.inc).
#define SEL_CODE64 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define SEL_USER_CODE 0x23
#define SEL_USER_DATA 0x2b
#define SEL_CODE16 0x30
#define SEL_RING1_CODE 0x39
#define SEL_RING1_DATA 0x41
#define SEL_TSS 0x48
#if GUEST_MODE == MODE_64
#define SEL_CODE SEL_CODE64
#define SEL_PUSH_CODE SEL_CODE // a supervisor that may put anything in the stack pointer: see trap_*.S
#define SEL_PUSH_DATA SEL_DATA
#else
#define SEL_CODE SEL_CODE32
#define SEL_PUSH_CODE SEL_RING1_CODE
#define SEL_PUSH_DATA SEL_RING1_DATA
#endif

#define EXIT_PORT 0xf4
#define EXIT_PASS 0x10
#define EXIT_FAIL 0x11

#define COM1 0x3f8

#endif
