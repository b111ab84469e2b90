// SPDX-License-Identifier: GPL-2.0-or-later
// One-instruction wrappers, and what the C files know about the width of their half.
#ifndef STRESS_GUEST_CPU_H
#define STRESS_GUEST_CPU_H

#include "../../fuzz/trace/trace.h"
#include "../../hv/pt/entry.h"
#include "layout.h"

typedef unsigned long word_t; // a general register
#define MODE ((enum trace_mode)GUEST_MODE)
_Static_assert(MODE_64 == TRACE_MODE_64 && MODE_32 == TRACE_MODE_32 && MODE_PAE == TRACE_MODE_PAE,
	       "layout.h repeats trace.h for assembly");

#define MSR_EFER 0xc0000080u

// The physical address of what this half sees at `at`.
static inline u32 physical_of(const volatile void *at) { return (u32)((word_t)at - (word_t)KERNEL_BASE); }

static inline void cpu_out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline u8 cpu_in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

#define CPU_REGISTER(name)                                                       \
	static inline word_t cpu_##name(void)                                    \
	{                                                                        \
		word_t value;                                                    \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(value));           \
		return value;                                                    \
	}                                                                        \
	static inline void cpu_set_##name(u64 value)                             \
	{                                                                        \
		__asm__ volatile("mov %0, %%" #name : : "r"((word_t)value) : "memory"); \
	}
CPU_REGISTER(cr0)
CPU_REGISTER(cr2)
CPU_REGISTER(cr3)
CPU_REGISTER(cr4)
#undef CPU_REGISTER

static inline u64 cpu_msr(u32 number)
{
	u32 low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
	return (u64)high << 32 | low;
}
static inline void cpu_set_msr(u32 number, u64 value)
{
	__asm__ volatile("wrmsr" : : "a"((u32)value), "d"((u32)(value >> 32)), "c"(number) : "memory");
}
static inline void cpu_invlpg(u64 va)
{
	__asm__ volatile("invlpg (%0)" : : "r"((word_t)va) : "memory");
}

// CR3 while paging is off, which ends with the write to CR0. Only where the code is mapped one to one.
static inline void cpu_set_cr3_unpaged(word_t cr3)
{
	word_t cr0 = cpu_cr0();

	__asm__ volatile("mov %1, %%cr0; mov %2, %%cr3; mov %0, %%cr0"
			 :
			 : "r"(cr0), "r"(cr0 & ~(word_t)CR0_PG), "r"(cr3)
			 : "memory");
}

// Memory accesses with exactly one MOV.
static inline u32 cpu_load4(u64 va)
{
	u32 value;
	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"((word_t)va) : "memory");
	return value;
}
static inline word_t cpu_load_word(u64 va)
{
	word_t value;
	__asm__ volatile("mov (%1), %0" : "=r"(value) : "r"((word_t)va) : "memory");
	return value;
}
static inline void cpu_store2(u64 va, u16 value)
{
	__asm__ volatile("movw %0, (%1)" : : "r"(value), "r"((word_t)va) : "memory");
}
static inline void cpu_store4(u64 va, u32 value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"((word_t)va) : "memory");
}
static inline void cpu_store_word(u64 va, word_t value)
{
	__asm__ volatile("mov %0, (%1)" : : "r"(value), "r"((word_t)va) : "memory");
}
// 8 bytes in as many words as it takes, low to high.
static inline u64 cpu_load8(u64 va)
{
	u64 value = 0;

	for (u32 at = 0; at < 8; at += sizeof(word_t))
		value |= (u64)cpu_load_word(va + at) << 8 * at;
	return value;
}
static inline void cpu_store8(u64 va, u64 value)
{
	for (u32 at = 0; at < 8; at += sizeof(word_t))
		cpu_store_word(va + at, (word_t)(value >> 8 * at));
}

// LOCK CMPXCHG of 4 bytes, a word, and two words. old: what is expected, then what was there.
static inline bool cpu_cas4(u64 va, u32 *old, u32 new)
{
	bool matched;
	__asm__ volatile("lock cmpxchgl %3, (%2)"
			 : "+a"(*old), "=@ccz"(matched)
			 : "r"((word_t)va), "r"(new)
			 : "memory");
	return matched;
}
static inline bool cpu_cas_word(u64 va, word_t *old, word_t new)
{
	bool matched;
	__asm__ volatile("lock cmpxchg %3, (%2)"
			 : "+a"(*old), "=@ccz"(matched)
			 : "r"((word_t)va), "r"(new)
			 : "memory");
	return matched;
}
#if GUEST_MODE == MODE_64
#define CMPXCHG_PAIR "cmpxchg16b"
#else
#define CMPXCHG_PAIR "cmpxchg8b"
#endif
static inline bool cpu_cas_pair(u64 va, word_t old[2], const word_t new[2])
{
	bool matched;
	__asm__ volatile("lock " CMPXCHG_PAIR " (%3)"
			 : "+a"(old[0]), "+d"(old[1]), "=@ccz"(matched)
			 : "r"((word_t)va), "b"(new[0]), "c"(new[1])
			 : "memory");
	return matched;
}

#endif
