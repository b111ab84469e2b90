// SPDX-License-Identifier: GPL-2.0-or-later
// One-instruction wrappers.
#ifndef STRESS_GUEST_CPU_H
#define STRESS_GUEST_CPU_H

#include "../../hv/base/types.h"

#define MSR_EFER 0xc0000080u

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
	static inline u64 cpu_##name(void)                                       \
	{                                                                        \
		u64 value;                                                       \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(value));           \
		return value;                                                    \
	}                                                                        \
	static inline void cpu_set_##name(u64 value)                             \
	{                                                                        \
		__asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");  \
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
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

// Memory accesses with exactly this instruction.
static inline u64 cpu_load8(u64 va)
{
	u64 value;
	__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(va) : "memory");
	return value;
}
static inline void cpu_store8(u64 va, u64 value)
{
	__asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(va) : "memory");
}
static inline void cpu_store4(u64 va, u32 value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(va) : "memory");
}

#endif
