// SPDX-License-Identifier: GPL-2.0-or-later
// Byte copies for freestanding code. The compiler may turn them into calls of memcpy and memset, which
// each port supplies.
#ifndef HV_BASE_MEM_H
#define HV_BASE_MEM_H

#include "types.h"

static inline void mem_zero(void *to, size_t bytes) { __builtin_memset(to, 0, bytes); }
static inline void mem_copy(void *to, const void *from, size_t bytes) { __builtin_memcpy(to, from, bytes); }

// The first non-zero word of words[from..end), or end. Tables are mostly empty: eight words are looked at at once.
static inline u32 mem_next_nonzero(const void *words, u32 from, u32 end)
{
	const u64 *w = words;

	while (from < end) {
		if (from % 8 == 0 && end - from >= 8 &&
		    !(w[from] | w[from + 1] | w[from + 2] | w[from + 3] | w[from + 4] | w[from + 5] | w[from + 6] |
		      w[from + 7]))
			from += 8;
		else if (w[from])
			return from;
		else
			from++;
	}
	return end;
}

#endif
