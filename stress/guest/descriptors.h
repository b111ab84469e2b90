// SPDX-License-Identifier: GPL-2.0-or-later
// The interrupt gates and the task state of the half's width (APM vol. 2, 4.8.3, 8.9.1, 12.2.5, 12.3.3).
#ifndef STRESS_GUEST_DESCRIPTORS_H
#define STRESS_GUEST_DESCRIPTORS_H

#include "cpu.h"

#define GATE_INTERRUPT 0x8e // present, ring 0
#define GATE_RING3 0x60     // INT3 may come from ring 3
#define TASK_AVAILABLE UINT64_C(0x890000000000) // type, in a descriptor

#if GUEST_MODE == MODE_64
struct gate {
	u16 offset_low, selector;
	u8 stack, type; // stack: of the interrupt stack table
	u16 offset_mid;
	u32 offset_high, zero;
} __attribute__((packed));
struct task_state {
	u32 zero0;
	u64 rsp[3];
	u64 zero1;
	u64 stack[7]; // slot n of the gates is stack[n - 1]
	u64 zero2;
	u16 zero3, io_map;
} __attribute__((packed));

// Every exception takes stack 1, a double fault stack 2.
static inline struct gate gate_of(word_t at, u8 type, bool double_fault)
{
	return (struct gate){
		.offset_low = (u16)at, .selector = SEL_CODE, .stack = double_fault ? 2 : 1, .type = type,
		.offset_mid = (u16)(at >> 16), .offset_high = (u32)(at >> 32),
	};
}
static inline struct task_state task_of(word_t stack, word_t double_fault_stack)
{
	return (struct task_state){ .stack = { stack, double_fault_stack }, .io_map = sizeof(struct task_state) };
}
#else
struct gate {
	u16 offset_low, selector;
	u8 zero, type;
	u16 offset_high;
} __attribute__((packed));
struct task_state {
	u32 zero0;
	u32 esp0, ss0;
	u32 zero1[22];
	u16 zero2, io_map;
} __attribute__((packed));

// Exceptions in rings 1 and 3 take the one stack there is.
static inline struct gate gate_of(word_t at, u8 type, bool double_fault)
{
	(void)double_fault;
	return (struct gate){
		.offset_low = (u16)at, .selector = SEL_CODE, .type = type, .offset_high = (u16)(at >> 16),
	};
}
static inline struct task_state task_of(word_t stack, word_t double_fault_stack)
{
	(void)double_fault_stack;
	return (struct task_state){ .esp0 = stack, .ss0 = SEL_DATA, .io_map = sizeof(struct task_state) };
}
#endif
_Static_assert(sizeof(struct task_state) == 0x68, "the same in both widths");

struct table_pointer {
	u16 limit;
	word_t base;
} __attribute__((packed));

#endif
