// SPDX-License-Identifier: GPL-2.0-or-later
// The four functions that a compiler may call in freestanding code. String instructions: short code,
// and fast both on processors and under emulation.
#include "../../base/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	void *at = to;

	if (bytes % 8 == 0) {
		bytes /= 8;
		__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
		return to;
	}
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	u8 *t = to;
	const u8 *f = from;

	if (t <= f || t >= f + bytes)
		return memcpy(to, from, bytes);
	t += bytes - 1;
	f += bytes - 1;
	__asm__ volatile("std; rep movsb; cld" : "+D"(t), "+S"(f), "+c"(bytes) : : "memory");
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	void *at = to;

	// Pages and tables are the bulk of the work: eight bytes a step for those.
	if (bytes % 8 == 0) {
		u64 word = (u8)value * UINT64_C(0x0101010101010101);

		bytes /= 8;
		__asm__ volatile("rep stosq" : "+D"(at), "+c"(bytes) : "a"(word) : "memory");
	} else {
		__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < bytes; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}
