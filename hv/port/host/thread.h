// SPDX-License-Identifier: GPL-2.0-or-later
// One thread for each processor, or one for all: what differs, in one place.
//
// With HOST_THREADS guest memory and the tables that processors walk are read and written by relaxed atomic operations, as
// memory is by real processors, what a processor keeps to itself is thread-local, and its TLB has a lock. Without it all of
// this is plain code.
#ifndef HV_PORT_HOST_THREAD_H
#define HV_PORT_HOST_THREAD_H

#include "../../base/types.h"

#ifdef HOST_THREADS
#define PER_CPU _Thread_local
static inline void memory_store(u64 *word, u64 value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

// An aligned operand moves at once, any other byte by byte.
static inline void memory_read(void *to, const void *from, u32 bytes)
{
	u64 at = (u64)from;
	u8 *byte = to;

	if (bytes == 8 && at % 8 == 0)
		*(u64 *)to = __atomic_load_n((const u64 *)from, __ATOMIC_RELAXED);
	else if (bytes == 4 && at % 4 == 0)
		*(u32 *)to = __atomic_load_n((const u32 *)from, __ATOMIC_RELAXED);
	else
		for (u32 i = 0; i < bytes; i++)
			byte[i] = __atomic_load_n((const u8 *)from + i, __ATOMIC_RELAXED);
}

static inline void memory_write(void *to, const void *from, u32 bytes)
{
	u64 at = (u64)to;
	const u8 *byte = from;

	if (bytes == 8 && at % 8 == 0)
		__atomic_store_n((u64 *)to, *(const u64 *)from, __ATOMIC_RELAXED);
	else if (bytes == 4 && at % 4 == 0)
		__atomic_store_n((u32 *)to, *(const u32 *)from, __ATOMIC_RELAXED);
	else
		for (u32 i = 0; i < bytes; i++)
			__atomic_store_n((u8 *)to + i, byte[i], __ATOMIC_RELAXED);
}
#else
#define PER_CPU
static inline void memory_store(u64 *word, u64 value) { *word = value; }
static inline void memory_read(void *to, const void *from, u32 bytes) { __builtin_memcpy(to, from, bytes); }
static inline void memory_write(void *to, const void *from, u32 bytes) { __builtin_memcpy(to, from, bytes); }
#endif

#endif
