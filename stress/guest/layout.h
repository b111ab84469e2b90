// SPDX-License-Identifier: GPL-2.0-or-later
// Numbers that the assembly and the C files of the guest kernel share: selectors, exit codes, and
// where things are seen.
#ifndef STRESS_GUEST_LAYOUT_H
#define STRESS_GUEST_LAYOUT_H

// All guest-physical memory is seen from here (TRACE_DIRECT of fuzz/trace/trace.h; checked in world.c).
#define KERNEL_BASE 0xffff800000000000
// The page of code for ring 3: entry 2 of the kernel's level-3 table.
#define USER_BASE 0xffff800080000000
// Level-4 slot of KERNEL_BASE.
#define KERNEL_SLOT 256

#define SEL_CODE64 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define SEL_USER_CODE 0x23
#define SEL_USER_DATA 0x2b
#define SEL_TSS 0x30

#define EXIT_PORT 0xf4
#define EXIT_PASS 0x10
#define EXIT_FAIL 0x11

#define COM1 0x3f8

#endif
