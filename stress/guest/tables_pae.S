// SPDX-License-Identifier: GPL-2.0-or-later
// The tables of the PAE half: constants, as in tables_64.S.
//
// root    [0] ---+
// f0..f15 [256] -+-> kpd [1..255]: 2 MiB pages, physical = virtual: text and data
//                        [256] --> pages: f0..f15, 4 KiB pages, and more (map.c)
// The first 2 MiB are left out: what runs over the end of the address space meets nothing.
#include "crossing.h"

#define PDPTE 0x1       // P: the others are reserved or mean nothing
#define TABLE_USER 0x27 // P W U A
#define PAGE 0x63       // P W A D
#define PAGE_USER 0x65  // P U A D
#define LARGE 0xe3      // P W A D PS

	.section .head, "a"
	.long kpd + PDPTE, 0
	.long root, boot, visit, resume

	.section .tables, "aw"
	.balign 4096
root:
	.long kpd + PDPTE, 0
	.fill 3, 8, 0
	.balign 4096
kpd:
	.quad 0
	.set at, 1
	.rept 255
	.quad (at << 21) + LARGE
	.set at, at + 1
	.endr
	.long pages + TABLE_USER, 0
	.fill 255, 8, 0
	.globl pages
pages:
	.set at, 0
	.rept 16
	.quad 0x40000000 + (at << 12) + PAGE
	.set at, at + 1
	.endr
	.long user_page + PAGE_USER, 0
	.fill 495, 8, 0
