// SPDX-License-Identifier: GPL-2.0-or-later
// The interrupt table and the task state behind trap_*.S, and the end of a run that went wrong.
#include "trap.h"

#include "cpu.h"
#include "descriptors.h"
#include "probe.h"
#include "serial.h"

#define VECTORS 32
#define STACK_BYTES 4096

extern const u8 trap_vectors[]; // 16 bytes for each
extern u64 gdt_tss[2];

struct probe probe;

static struct gate gates[VECTORS];
static struct task_state tss;
static u8 stacks[2][STACK_BYTES] __attribute__((aligned(16)));

void trap_load(void)
{
	struct table_pointer idt = { sizeof(gates) - 1, (word_t)gates };
	u64 base = (word_t)&tss;

	for (u32 n = 0; n < VECTORS; n++)
		gates[n] = gate_of((word_t)trap_vectors + 16 * n,
				   (u8)(GATE_INTERRUPT | (n == TRAP_BP ? GATE_RING3 : 0)), n == TRAP_DF);
	tss = task_of((word_t)(stacks[0] + STACK_BYTES), (word_t)(stacks[1] + STACK_BYTES));
	// The processor has made the task busy if this is not the first time.
	gdt_tss[0] = (sizeof(tss) - 1) | TASK_AVAILABLE | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	gdt_tss[1] = base >> 32;
	__asm__ volatile("lidt %0" : : "m"(idt));
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
}

// frame: vector, error code, instruction pointer, CS, flags.
_Noreturn void trap_panic(const word_t *frame);
_Noreturn void trap_panic(const word_t *frame)
{
	serial_text("guest: panic: exception");
	serial_named(" vector=", frame[0]);
	serial_named(" err=", frame[1]);
	serial_named(" rip=", frame[2]);
	serial_named(" cs=", frame[3]);
	serial_named(" cr2=", cpu_cr2());
	serial_named(" cr3=", cpu_cr3());
	serial_line("");
	guest_exit(EXIT_FAIL);
}
