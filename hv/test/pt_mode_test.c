// SPDX-License-Identifier: GPL-2.0-or-later
// Paging modes as data: reach, fan-out, pages per shadow, addresses and reserved bits of entries against
// the tables of the manual (APM vol. 2, 5.2 to 5.4), written out by hand.
#include "test.h"

#include "../pt/mode.h"

#define M32 (&pt_modes[PT_MODE_32])
#define MPAE (&pt_modes[PT_MODE_PAE])
#define M64 (&pt_modes[PT_MODE_64])

TEST(every_mode_reaches_what_it_should)
{
	CHECK_EQ(pt_leaf_frames(M32, 0), 1);
	CHECK_EQ(pt_leaf_frames(M32, 1), 1024);
	CHECK_EQ(pt_leaf_frames(MPAE, 1), 512);
	CHECK_EQ(pt_leaf_frames(M64, 2), 512 * 512);
	CHECK_EQ(pt_entries(M32, 0), 1024);
	CHECK_EQ(pt_entries(MPAE, 2), 4);
	CHECK_EQ(pt_entries(M64, 3), 512);
	for (u32 i = 0; i < PT_MODE_COUNT; i++) {
		const struct pt_mode *mode = &pt_modes[i];

		for (u32 level = 0; level < mode->levels; level++) // one table is one page at most
			CHECK(pt_entries(mode, level) * mode->entry_bytes <= FRAME_BYTES);
	}
}

TEST(indexes_are_slices_of_the_address)
{
	u64 va = UINT64_C(0xffff923456789abc);

	CHECK_EQ(pt_index(M64, 3, va), va >> 39 & 511);
	CHECK_EQ(pt_index(M64, 2, va), va >> 30 & 511);
	CHECK_EQ(pt_index(M64, 1, va), va >> 21 & 511);
	CHECK_EQ(pt_index(M64, 0, va), va >> 12 & 511);
	CHECK_EQ(pt_index(MPAE, 2, 0xc0000000), 3);
	CHECK_EQ(pt_index(M32, 1, 0xffc00000), 1023);
	CHECK_EQ(pt_index(M32, 0, 0x003ff000), 1023);
}

// spec A.2: L1 has two pages and L2 four when a 2-level guest runs on PAE shadows; all else has one.
TEST(fan_out_and_pages_of_shadows)
{
	CHECK_EQ(pt_fanout(M32, MPAE, 0), 1);
	CHECK_EQ(pt_fanout(M32, MPAE, 1), 2);
	CHECK_EQ(pt_shadow_pages(M32, MPAE, 0), 2);
	CHECK_EQ(pt_shadow_pages(M32, MPAE, 1), 4);
	for (u32 i = 0; i < PT_MODE_COUNT; i++)
		for (u32 level = 0; level < pt_modes[i].levels; level++) {
			CHECK_EQ(pt_fanout(&pt_modes[i], &pt_modes[i], level), 1);
			CHECK_EQ(pt_shadow_pages(&pt_modes[i], &pt_modes[i], level), 1);
		}
	// The pages hold exactly the entries.
	for (u32 level = 0; level < 2; level++)
		CHECK_EQ(pt_shadow_pages(M32, MPAE, level) * 512,
			 pt_entries(M32, level) * pt_fanout(M32, MPAE, level));
}

TEST(leaves_exist_where_the_manual_has_them)
{
	gpte_t large = { PTE_P | PTE_PS };

	CHECK(pt_is_leaf(M32, 0, (gpte_t){ PTE_P }));
	CHECK(pt_is_leaf(M32, 1, large));
	CHECK(!pt_is_leaf(M32, 1, (gpte_t){ PTE_P }));
	CHECK(pt_is_leaf(MPAE, 1, large));
	CHECK(!pt_is_leaf(MPAE, 2, large));
	CHECK(pt_is_leaf(M64, 1, large));
	CHECK(pt_is_leaf(M64, 2, large));
	CHECK(!pt_is_leaf(M64, 3, large));
}

TEST(frames_of_entries)
{
	CHECK_EQ(pt_entry_gfn(M64, 0, (gpte_t){ UINT64_C(0x800f123456789fff) }).n, UINT64_C(0xf123456789));
	CHECK_EQ(pt_entry_gfn(M64, 0, (gpte_t){ 0x12345fff | PTE_PS }).n, 0x12345); // PAT, not a size
	CHECK_EQ(pt_entry_gfn(M64, 1, (gpte_t){ 0x12345fff & ~PTE_PS }).n, 0x12345);
	// Large pages: low bits, PAT among them, are no address (spec A.10).
	CHECK_EQ(pt_entry_gfn(M64, 1, (gpte_t){ 0x12201000 | PTE_PS | PTE_PAT_LARGE }).n, 0x12200);
	CHECK_EQ(pt_entry_gfn(M64, 2, (gpte_t){ 0x40001000 | PTE_PS }).n, 0x40000);
	CHECK_EQ(pt_entry_gfn(M32, 1, (gpte_t){ 0x00c00000 | PTE_PS }).n, 0xc00);
	// PSE36: bits 13 to 20 are address bits 32 to 39.
	for (u32 bit = 13; bit <= 20; bit++)
		CHECK_EQ(pt_entry_gfn(M32, 1, (gpte_t){ 0x00c00000 | BIT(bit) | PTE_PS }).n,
			 0xc00 | BIT(bit - 13 + 32 - FRAME_SHIFT));
	CHECK_EQ(pt_entry_gfn(M32, 1, (gpte_t){ 0x00c06000 }).n, 0xc06);
}

// For each bit alone, on a table entry and on a large page: reserved or not, by the manual's tables.
static bool reserved_by_the_book(u32 mode, u32 level, bool large, u32 bit, u32 phys, bool nxe)
{
	if (mode == PT_MODE_32)
		return level == 1 && large && bit == 21;
	if (bit == 63)
		return !nxe;
	if (bit >= phys && bit <= 51)
		return true;
	if (level == 0 || bit == 7)
		return false;
	if (!large)
		return false;
	return level == 1 ? bit >= 13 && bit <= 20 : bit >= 13 && bit <= 29;
}

TEST(reserved_bits_one_by_one)
{
	for (u32 phys = 36; phys <= 52; phys += 4)
		for (u32 m = 0; m < PT_MODE_COUNT; m++)
			for (u32 level = 0; level < pt_modes[m].levels; level++)
				for (u32 large = 0; large <= (level && pt_modes[m].level[level].leaf); large++)
					for (u32 bit = 0; bit < (m == PT_MODE_32 ? 32 : 64); bit++)
						for (u32 nxe = 0; nxe < 2; nxe++) {
							gpte_t e = { PTE_P | BIT(bit) | (large ? PTE_PS : 0) };

							if (bit == 7 || (m == PT_MODE_PAE && bit > 51 && bit < 63))
								continue;
							CHECK_EQ(pt_entry_reserved(&pt_modes[m], level, e, phys, nxe),
								 reserved_by_the_book(m, level, large, bit, phys, nxe));
						}
}

TEST(a_size_bit_where_no_page_is_possible_is_reserved)
{
	CHECK(pt_entry_reserved(M64, 3, (gpte_t){ PTE_P | PTE_PS }, 40, true));
	CHECK(pt_entry_reserved(MPAE, 2, (gpte_t){ PTE_P | PTE_PS }, 40, true));
	CHECK(!pt_entry_reserved(M64, 2, (gpte_t){ PTE_P | PTE_PS }, 40, true));
	CHECK(!pt_entry_reserved(M64, 0, (gpte_t){ PTE_P | PTE_PS }, 40, true));
	CHECK(!pt_entry_reserved(M64, 1, (gpte_t){ PTE_P | PTE_PS | PTE_PAT_LARGE }, 40, true));
}

TEST(entries_are_read_and_exchanged_in_their_own_size)
{
	u64 table[4] = { UINT64_C(0x1111111122222222), UINT64_C(0x3333333344444444), 5, 6 };

	CHECK_EQ(pt_read(M64, table, 1).v, UINT64_C(0x3333333344444444));
	CHECK_EQ(pt_read(M32, table, 2).v, 0x44444444);
	CHECK_EQ(pt_read(M32, table, 3).v, 0x33333333);
	CHECK(!pt_compare_exchange(M32, table, 3, (gpte_t){ 1 }, (gpte_t){ 2 }));
	CHECK(pt_compare_exchange(M32, table, 3, (gpte_t){ 0x33333333 }, (gpte_t){ 0x77777777 }));
	CHECK_EQ(table[1], UINT64_C(0x7777777744444444));
	CHECK(pt_compare_exchange(M64, table, 2, (gpte_t){ 5 }, (gpte_t){ 55 }));
	CHECK(!pt_compare_exchange(M64, table, 2, (gpte_t){ 5 }, (gpte_t){ 56 }));
	CHECK_EQ(table[2], 55);
	CHECK_EQ(table[3], 6);
}
