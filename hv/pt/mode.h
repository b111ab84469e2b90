// SPDX-License-Identifier: GPL-2.0-or-later
// Paging modes as data. A level is a run-time number, 0 maps 4 KiB pages.
//
//   va bits   47        39 38        30 29        21 20        12 11         0
//   64:      | level 3    | level 2    | level 1    | level 0    | offset     |  8-byte entries
//   PAE:                  |31 30| lvl 2| level 1    | level 0    | offset     |  8-byte entries
//   32:                         |31 level 1    22|21 level 0   12| offset     |  4-byte entries
//
// The four entries of PAE level 2 are latched into the vcpu; a table of them is never shadowed (spec A.1).
//
// Where guest and shadow differ in shape the difference is arithmetic over two rows:
// pt_fanout() shadow entries stand for one guest entry, pt_shadow_pages() pages for one guest table.
#ifndef HV_PT_MODE_H
#define HV_PT_MODE_H

#include "entry.h"

enum pt_mode_id {
	PT_MODE_32,
	PT_MODE_PAE,
	PT_MODE_64,
	PT_MODE_COUNT
};

#define PT_LEVELS_MAX 4

struct pt_level {
	u8 shift; // lowest va bit that indexes this level
	u8 bits;  // log2 of the number of entries
	bool leaf; // an entry can map a page of 1 << shift bytes
	bool early_a; // a leaf here gets A before its rights are checked, as if it were a table: the
		      // architecture allows it, and it is what QEMU does for 1 GiB pages
};

struct pt_mode {
	const char *name;
	u8 levels;
	u8 entry_bytes;
	bool has_nx;
	bool latched; // the entries of the top level are read once, when CR3 is loaded, and have no rights and no A bit
	u64 reserved; // bits of every present entry that must be clear whatever the processor
	struct pt_level level[PT_LEVELS_MAX];
};

extern const struct pt_mode pt_modes[PT_MODE_COUNT];

static inline u32 pt_entries(const struct pt_mode *mode, u32 level)
{
	return UINT32_C(1) << mode->level[level].bits;
}

static inline u32 pt_index(const struct pt_mode *mode, u32 level, u64 va)
{
	return (u32)(va >> mode->level[level].shift) & (pt_entries(mode, level) - 1);
}

// How many shadow entries stand for one guest entry of this level: 1, or 2 for a 2-level guest on PAE
// shadows (4 MiB against 2 MiB).
static inline u32 pt_fanout(const struct pt_mode *guest, const struct pt_mode *shadow, u32 level)
{
	return UINT32_C(1) << (guest->level[level].shift - shadow->level[level].shift);
}

// How many pages the shadow of one guest table of this level has: guest reach over shadow reach.
static inline u32 pt_shadow_pages(const struct pt_mode *guest, const struct pt_mode *shadow, u32 level)
{
	u32 guest_reach = guest->level[level].shift + guest->level[level].bits;
	u32 shadow_reach = shadow->level[level].shift + shadow->level[level].bits;

	return guest_reach <= shadow_reach ? 1 : UINT32_C(1) << (guest_reach - shadow_reach);
}

// Frames covered by a leaf of this level.
static inline u64 pt_leaf_frames(const struct pt_mode *mode, u32 level)
{
	return UINT64_C(1) << (mode->level[level].shift - FRAME_SHIFT);
}

// What the entry says where large pages may be off (CR4.PSE, which only 2-level guests have): then PS has no meaning.
static inline gpte_t pt_effective(const struct pt_mode *mode, u32 level, gpte_t entry, bool pse)
{
	return level && !pse && mode->entry_bytes == 4 ? (gpte_t){ entry.v & ~PTE_PS } : entry;
}

static inline bool pt_is_leaf(const struct pt_mode *mode, u32 level, gpte_t entry)
{
	return level == 0 || (mode->level[level].leaf && (entry.v & PTE_PS));
}

// First guest frame that the entry names: a table, or a page whose low bits are cut to the leaf size.
gfn_t pt_entry_gfn(const struct pt_mode *mode, u32 level, gpte_t entry);

// Bits that must be clear in an entry above level 0 with PS besides those of every entry: PS itself where there are no large
// pages, else what lies below the page size, bit 12 (PAT) excepted; PSE36 has address bits there, up to 40 of them.
static inline u64 pt_large_reserved(const struct pt_mode *mode, u32 level)
{
	if (mode->entry_bytes == 4)
		return BIT(21);
	return mode->level[level].leaf ? (BIT(mode->level[level].shift) - 1) & PTE_ADDR & ~PTE_PAT_LARGE : PTE_PS;
}

// Is a reserved bit set in a present entry (APM vol. 2, 5.3)? phys_bits: address bits of the processor;
// nxe: EFER.NXE.
bool pt_entry_reserved(const struct pt_mode *mode, u32 level, gpte_t entry, u32 phys_bits, bool nxe);

// Is a reserved bit set in a present PDPTE of a PAE guest? Loading CR3 then raises #GP (APM vol. 2, 5.3.3; spec A.19).
bool pt_pdpte_reserved(gpte_t entry, u32 phys_bits);

// Read entry `index` of the table at `table`, widened to 64 bits.
gpte_t pt_read(const struct pt_mode *mode, const void *table, u32 index);

// Atomically replace entry `index` if it still is `old`. Only bits 0..31 may differ in 4-byte modes.
bool pt_compare_exchange(const struct pt_mode *mode, void *table, u32 index, gpte_t old, gpte_t new);

#endif
