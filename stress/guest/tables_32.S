// SPDX-License-Identifier: GPL-2.0-or-later
// The tables of the 2-level half: constants, as in tables_64.S.
//
// root    [1] ----+ (physical = virtual, for the crossing)
//         [512] --+
// f0..f15 [512] --+-> ka: 4 KiB pages for 4 MiB to 8 MiB: text and data
// root    [513] --+
// f0..f15 [513] --+-> pages: f0..f15, and more (map.c)
// The first 64 KiB that ka could show are left out: a sweep that runs out of the trace's space meets nothing.
#include "crossing.h"

#define TABLE_USER 0x27 // P W U A
#define PAGE 0x63       // P W A D
#define PAGE_USER 0x65  // P U A D

	.section .head, "a"
	.long PHYS(ka) + TABLE_USER, PHYS(pages) + TABLE_USER
	.long PHYS(root), PHYS(boot), PHYS(visit), PHYS(resume)

	.section .tables, "aw"
	.balign 4096
root:
	.long 0, PHYS(ka) + TABLE_USER
	.fill 510, 4, 0
	.long PHYS(ka) + TABLE_USER, PHYS(pages) + TABLE_USER
	.fill 510, 4, 0
ka:
	.fill 16, 4, 0
	.set at, 16
	.rept 1008
	.long 0x400000 + (at << 12) + PAGE
	.set at, at + 1
	.endr
	.globl pages
pages:
	.set at, 0
	.rept 16
	.long 0x40000000 + (at << 12) + PAGE
	.set at, at + 1
	.endr
	.long PHYS(user_page) + PAGE_USER
	.fill 1007, 4, 0
