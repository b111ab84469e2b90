// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that C has no words for, one function each.
#ifndef HV_PORT_BARE_CPU_H
#define HV_PORT_BARE_CPU_H

#include "../../base/types.h"

#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR4_OSFXSR BIT(9)

#define MSR_TSC 0x10u
#define MSR_APIC_BASE 0x1bu
#define MSR_MTRR_CAP 0xfeu
#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_PAT 0x277u
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
	return r;
}

static inline u64 msr_read(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (u64)high << 32 | low;
}

static inline void msr_write(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 tsc_read(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline u64 cr2_read(void)
{
	u64 value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline u64 cr3_read(void)
{
	u64 value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static inline void port_out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 port_in8(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause");
}

static inline _Noreturn void cpu_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

#endif
