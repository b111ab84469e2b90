// SPDX-License-Identifier: GPL-2.0-or-later
// The working set. Each page has a generation, which counts its writes; a word every `stride` bytes is computed from
// seed, page and generation, the others stay zero. So a page that lost a write, or got another's, is found.
#include "load.h"

#define WORDS (FRAME_BYTES / sizeof(u64))

extern const u8 entry[], kernel_constant_end[]; // the part of the kernel that nobody writes

static u32 generation[RAM_MIB_MAX << 20 >> FRAME_SHIFT];

static u64 base_of(u32 page)
{
	return mix(config.seed ^ mix((u64)page << 32 | generation[page]));
}

static u64 word(u64 base, u32 i)
{
	return (base + i) * UINT64_C(0x9e3779b97f4a7c15);
}

void set_start(void)
{
	for (u32 page = 0; page < area_pages(); page++) {
		volatile u64 *at = (u64 *)area_at(page);

		for (u32 i = 0; i < WORDS; i++)
			at[i] = 0;
		*map_entry(page) &= ~(PTE_A | PTE_D);
	}
	cpu_set_cr3(cpu_cr3());
}

void set_write(u32 page, u64 to)
{
	volatile u64 *at = (u64 *)to;
	u32 step = config.stride / sizeof(u64);

	generation[page]++;
	u64 base = base_of(page);
	for (u32 i = 0; i < WORDS; i += step)
		at[i] = word(base, i);
}

u64 set_first_word(u32 page)
{
	return generation[page] ? word(base_of(page), 0) : 0;
}

u64 set_verify(u32 page, u64 from)
{
	const volatile u64 *at = (const u64 *)from;
	u64 base = base_of(page), sum = base;
	u32 step = config.stride / sizeof(u64);

	for (u32 i = 0; i < WORDS; i++) {
		u64 value = at[i], want = generation[page] && i % step == 0 ? word(base, i) : 0;

		if (value != want)
			load_mismatch("a page does not hold what was written last: page, value", page, value);
		sum += value;
	}
	return mix(sum);
}

// A bits are left out, which a processor may set early. D bits are exact.
u64 set_digest(void)
{
	u64 sum = 0;

	for (const u8 *at = entry; at < kernel_constant_end; at++)
		sum = fold(sum, *at);
	for (u32 page = 0; page < area_pages(); page++)
		sum = fold(sum, set_verify(page, area_at(page)));
	for (u32 page = 0; page < area_pages(); page++)
		sum = fold(sum, *map_entry(page) & ~PTE_A);
	for (u32 slot = 0; slot < WINDOW_SLOTS; slot++)
		sum = fold(sum, *map_window_entry(slot) & ~PTE_A);
	return sum;
}
