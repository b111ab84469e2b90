// SPDX-License-Identifier: GPL-2.0-or-later
// The interrupt table and the task state behind trap.S, and the end of a run that went wrong.
#include "trap.h"

#include "layout.h"
#include "serial.h"

#define VECTORS 32
#define GATE_INTERRUPT 0x8e // present, ring 0
#define GATE_RING3 0x60     // INT3 may come from ring 3
#define STACK_TRAP 1        // interrupt stack table slots
#define STACK_DOUBLE 2
#define STACK_BYTES 4096

struct gate {
	u16 offset_low, selector;
	u8 stack, type;
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
_Static_assert(sizeof(struct task_state) == 0x68, "the limit in gdt_tss");

struct table_pointer {
	u16 limit;
	u64 base;
} __attribute__((packed));

extern const u8 trap_vectors[];
extern u64 gdt_tss[2];

struct probe_result probe_result;
u64 probe_stack;
u8 probe_armed;

static struct gate gates[VECTORS];
static struct task_state tss;
static u8 stacks[2][STACK_BYTES] __attribute__((aligned(16)));

void trap_init(void)
{
	for (u32 n = 0; n < VECTORS; n++) {
		u64 at = (u64)trap_vectors + 16 * n;
		gates[n] = (struct gate){
			.offset_low = (u16)at,
			.selector = SEL_CODE64,
			.stack = n == TRAP_DF ? STACK_DOUBLE : STACK_TRAP,
			.type = GATE_INTERRUPT | (n == TRAP_BP ? GATE_RING3 : 0),
			.offset_mid = (u16)(at >> 16),
			.offset_high = (u32)(at >> 32),
		};
	}
	tss.stack[STACK_TRAP - 1] = (u64)(stacks[0] + STACK_BYTES);
	tss.stack[STACK_DOUBLE - 1] = (u64)(stacks[1] + STACK_BYTES);
	tss.io_map = sizeof(tss);
	u64 base = (u64)&tss;
	gdt_tss[0] |= (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	gdt_tss[1] = base >> 32;

	struct table_pointer idt = { sizeof(gates) - 1, (u64)gates };
	__asm__ volatile("lidt %0" : : "m"(idt));
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

// frame: vector, error code, RIP, CS, RFLAGS, RSP, SS.
_Noreturn void trap_panic(const u64 *frame);
_Noreturn void trap_panic(const u64 *frame)
{
	u64 cr2, cr3;
	__asm__("mov %%cr2, %0" : "=r"(cr2));
	__asm__("mov %%cr3, %0" : "=r"(cr3));
	serial_text("guest: panic: exception");
	serial_named(" vector=", frame[0]);
	serial_named(" err=", frame[1]);
	serial_named(" rip=", frame[2]);
	serial_named(" rsp=", frame[5]);
	serial_named(" cr2=", cr2);
	serial_named(" cr3=", cr3);
	serial_line("");
	guest_exit(EXIT_FAIL);
}
