// SPDX-License-Identifier: GPL-2.0-or-later
// Page-table entries (APM vol. 2, 5.3 and 5.4) and the two kinds that never mix: gpte_t, which a
// guest wrote, and spte_t, which the processor walks. Only shadow/entry.c converts.
#ifndef HV_PT_ENTRY_H
#define HV_PT_ENTRY_H

#include "../base/types.h"
#include "../mem/frame.h"

#define PTE_P BIT(0)    // present
#define PTE_W BIT(1)    // writable
#define PTE_U BIT(2)    // user
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A BIT(5)    // accessed
#define PTE_D BIT(6)    // dirty (leaf only)
#define PTE_PS BIT(7)   // page size: leaf above level 0
#define PTE_PAT BIT(7)  // PAT bit of a 4 KiB leaf
#define PTE_G BIT(8)    // global
#define PTE_AVL BIT(9)  // first of the three bits left to software
#define PTE_PAT_LARGE BIT(12)
#define PTE_NX BIT(63)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

typedef struct { u64 v; } gpte_t;
typedef struct { u64 v; } spte_t;

// Page-fault error code (APM vol. 2, 8.4.2).
#define PF_P BIT(0)
#define PF_W BIT(1)
#define PF_U BIT(2)
#define PF_RSVD BIT(3)
#define PF_I BIT(4)

// Control-register and EFER bits that decide how a guest walk goes.
#define CR0_PE BIT(0)
#define CR0_WP BIT(16)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCIDE BIT(17)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define EFER_SVME BIT(12)
#define RFLAGS_AC BIT(18)

#endif
