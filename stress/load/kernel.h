// SPDX-License-Identifier: GPL-2.0-or-later
// What the two kernels share: start, command line, words, exceptions, numbers.
#ifndef STRESS_LOAD_KERNEL_H
#define STRESS_LOAD_KERNEL_H

#include "../guest/cpu.h"
#include "../guest/serial.h"
#include "../guest/world.h"

#define KERNEL_END 0x200000u // kernel.lds ends the kernel there

// Each kernel's own first function (called by start.S), with what the loader left in EAX and EBX.
_Noreturn void kernel_main(u32 magic, u32 information);

// Words, exceptions, the hypervisor, the command line. Call first.
void kernel_start(u32 magic, u32 information);
void kernel_load_idt(void); // on a further vcpu
u64 kernel_ram_bytes(void); // without a hole from 0 on, as the loader says

// The value of `key`, which ends with =, decimal; `standard` when the key is not there.
u64 option_number(const char *key, u64 standard);
bool option_is(const char *key, const char *value);

// One line, newline added. Several vcpus may call it.
void say(const char *format, ...) PRINTF_LIKE(1, 2);

// ---- accesses that may fault (trap.S) -----------------------------------------------------------
// 0, or TOUCH_FAULT and the error code of the page fault. 8 bytes.
#define TOUCH_FAULT 0x80000000u
u32 touch_load(u64 va, u64 *value);
u32 touch_store(u64 va, u64 value);

// ---- numbers ------------------------------------------------------------------------------------
// A permutation of 64 bits without visible pattern.
static inline u64 mix(u64 x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}
static inline u64 fold(u64 sum, u64 value) { return mix(sum ^ value); }
// The next of a row of numbers below `count`.
static inline u32 pick(u64 *row, u32 count)
{
	*row = mix(*row);
	return (u32)((*row >> 32) * count >> 32);
}

static inline u64 tsc(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}
static inline void cpu_pause(void) { __asm__ volatile("pause"); }
// In every loop that waits for another vcpu, with a count of its own: now and then somebody else gets the processor.
void relax(u32 *spins);

#endif
