// SPDX-License-Identifier: GPL-2.0-or-later
// The mode table and what one entry of a mode means. Sources: APM vol. 2, 5.2 to 5.4.
#include "mode.h"

#define PAE_RESERVED UINT64_C(0x7ff0000000000000) // bits 52 to 62: free for software in long mode only
#define PDPTE_RESERVED UINT64_C(0xfff00000000001e6) // what is no address, P, PWT, PCD, or free for software

const struct pt_mode pt_modes[PT_MODE_COUNT] = {
	[PT_MODE_32] = { "32", 2, 4, false, false, 0, { { 12, 10, true, false }, { 22, 10, true, false } } },
	[PT_MODE_PAE] = { "pae", 3, 8, true, true, PAE_RESERVED,
			  { { 12, 9, true, false }, { 21, 9, true, false }, { 30, 2, false, false } } },
	[PT_MODE_64] = { "64", 4, 8, true, false, 0,
			 { { 12, 9, true, false },
			   { 21, 9, true, false },
			   { 30, 9, true, true },
			   { 39, 9, false, false } } },
};
_Static_assert(12 + 10 == 22 && 22 + 10 == 32, "2-level guests reach 4 GiB");
_Static_assert(12 + 9 == 21 && 21 + 9 == 30 && 30 + 2 == 32, "PAE reaches 4 GiB");
_Static_assert(30 + 9 == 39 && 39 + 9 == 48, "four levels reach 256 TiB");

#define PSE36_ADDR UINT64_C(0x1fe000) // bits 13..20 of a 4 MiB entry: address bits 32..39

gfn_t pt_entry_gfn(const struct pt_mode *mode, u32 level, gpte_t entry)
{
	u64 address = entry.v & PTE_ADDR;

	if (level && pt_is_leaf(mode, level, entry)) {
		address &= ~((UINT64_C(1) << mode->level[level].shift) - 1);
		if (mode->entry_bytes == 4)
			address |= (entry.v & PSE36_ADDR) << (32 - 13);
	}
	return gfn(address >> FRAME_SHIFT);
}

bool pt_entry_reserved(const struct pt_mode *mode, u32 level, gpte_t entry, u32 phys_bits, bool nxe)
{
	u64 reserved = mode->reserved;

	if (mode->entry_bytes == 8)
		reserved |= (PTE_ADDR & ~((UINT64_C(1) << phys_bits) - 1)) | (nxe ? 0 : PTE_NX);
	if (level && (entry.v & PTE_PS))
		reserved |= pt_large_reserved(mode, level);
	return (entry.v & reserved) != 0;
}

bool pt_pdpte_reserved(gpte_t entry, u32 phys_bits)
{
	u64 reserved = PDPTE_RESERVED | (PTE_ADDR & ~((UINT64_C(1) << phys_bits) - 1));

	return (entry.v & PTE_P) && (entry.v & reserved);
}

gpte_t pt_read(const struct pt_mode *mode, const void *table, u32 index)
{
	if (mode->entry_bytes == 4)
		return (gpte_t){ __atomic_load_n((const u32 *)table + index, __ATOMIC_RELAXED) };
	return (gpte_t){ __atomic_load_n((const u64 *)table + index, __ATOMIC_RELAXED) };
}

bool pt_compare_exchange(const struct pt_mode *mode, void *table, u32 index, gpte_t old, gpte_t new)
{
	if (mode->entry_bytes == 4) {
		u32 expect = (u32)old.v;

		return __atomic_compare_exchange_n((u32 *)table + index, &expect, (u32)new.v, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	u64 expect = old.v;

	return __atomic_compare_exchange_n((u64 *)table + index, &expect, new.v, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}
