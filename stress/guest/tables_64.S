// SPDX-License-Identifier: GPL-2.0-or-later
// The tables of the 64-bit half. They are constants of the image, and A and D are set already, so the processor
// never writes them.
//
// root  [0] --------> low_l3 [0] --> low_l2: 1 GiB of 2 MiB pages, physical = virtual (for the crossing)
//       [256] ----+
// f0..f15 [256] --+-> k3 [0] ------> low_l2 again: text and data
//                        [1] --> k2 [0] --> pages: f0..f15, 4 KiB pages, and more (map.c)
#include "crossing.h"

#define TABLE 0x23      // P W A
#define TABLE_USER 0x27 // P W U A
#define PAGE 0x63       // P W A D
#define PAGE_USER 0x65  // P U A D
#define LARGE 0xe3      // P W A D PS

	.section .head, "a"
	.quad PHYS(k3) + TABLE_USER
	.long PHYS(root), PHYS(boot), PHYS(visit), PHYS(resume)

	.section .tables, "aw"
	.balign 4096
root:
	.quad PHYS(low_l3) + TABLE
	.fill 255, 8, 0
	.quad PHYS(k3) + TABLE_USER
	.fill 255, 8, 0
low_l3:
	.quad PHYS(low_l2) + TABLE
	.fill 511, 8, 0
low_l2:
	.set at, 0
	.rept 512
	.quad (at << 21) + LARGE
	.set at, at + 1
	.endr
k3:
	.quad PHYS(low_l2) + TABLE
	.quad PHYS(k2) + TABLE_USER
	.fill 510, 8, 0
k2:
	.quad PHYS(pages) + TABLE_USER
	.fill 511, 8, 0
	.globl pages
pages:
	.set at, 0
	.rept 16
	.quad 0x40000000 + (at << 12) + PAGE
	.set at, at + 1
	.endr
	.quad PHYS(user_page) + PAGE_USER
	.fill 495, 8, 0
