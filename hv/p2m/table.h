// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the p2m share: the shape of its entries, and the ways through its tables.
//
// An entry carries the frame, P, the type in the software bits, and PS when it maps although its level has tables. 0 is a hole.
#ifndef HV_P2M_TABLE_H
#define HV_P2M_TABLE_H

#include "../port.h"
#include "../pt/entry.h"
#include "p2m.h"

#define P2M_TOP (P2M_LEVELS - 1)
#define P2M_ENTRIES (UINT32_C(1) << P2M_LEVEL_BITS)
#define P2M_TYPE_SHIFT 9
#define P2M_TYPE_MASK UINT64_C(7)
#define P2M_PTE_LARGE PTE_PS

static inline u64 p2m_span(u32 level) { return BIT(level * P2M_LEVEL_BITS); }

static inline u32 p2m_index(u64 g, u32 level) { return (u32)(g >> (level * P2M_LEVEL_BITS)) & (P2M_ENTRIES - 1); }

// The first gfn behind the entry of `level` that holds g.
static inline u64 p2m_end_of(u64 g, u32 level) { return (g | (p2m_span(level) - 1)) + 1; }

static inline bool p2m_is_table(u32 level, u64 entry) { return level && (entry & (PTE_P | P2M_PTE_LARGE)) == PTE_P; }

static inline mfn_t p2m_entry_mfn(u64 entry) { return mpa_mfn(mpa(entry & PTE_ADDR)); }

static inline u32 p2m_entry_type(u64 entry) { return (u32)(entry >> P2M_TYPE_SHIFT & P2M_TYPE_MASK); } // of no table

static inline u64 p2m_entry_make(mfn_t m, u32 type, u32 level)
{
	return mfn_mpa(m).a | PTE_P | (level ? P2M_PTE_LARGE : 0) | (u64)type << P2M_TYPE_SHIFT;
}

static inline u64 p2m_entry_read(mfn_t table, u32 index)
{
	const u64 *words = port_map(table);
	u64 entry = words[index];

	port_unmap(words);
	return entry;
}

static inline void p2m_entry_write(mfn_t table, u32 index, u64 entry)
{
	u64 *words = port_map(table);

	words[index] = entry;
	port_unmap(words);
}

// Where the way to g ends: an entry that is no table. There is a root.
struct p2m_place {
	mfn_t table;
	u32 level;
	u64 entry;
};
struct p2m_place p2m_find(const struct p2m *p2m, u64 g);

// The table of `level` that has an entry for g. Missing ones are made of spare pages, large entries above are shattered.
mfn_t p2m_table_for(struct p2m *p2m, u64 g, u32 level);
// Tables on the way to g that have become empty go.
void p2m_prune(struct p2m *p2m, u64 g);
// The entry does not name the table any more, and nothing else does.
void p2m_table_free(struct p2m *p2m, mfn_t table);

// The slot of recent[] for a region, and what is to be in it when the region has it: its entry of level 1, 0 for none.
static inline u32 p2m_region(u64 g) { return (u32)(g >> P2M_LEVEL_BITS); }
static inline u32 p2m_recent_slot(u32 region) { return (region ^ region >> 7) & (P2M_RECENT - 1); }
u64 p2m_region_entry(const struct p2m *p2m, u64 g);
// That may have changed: make it the shortcut of the region of g, or drop the shortcut.
void p2m_remember(struct p2m *p2m, u64 g);

#endif
