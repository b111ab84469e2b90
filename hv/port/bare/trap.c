// SPDX-License-Identifier: GPL-2.0-or-later
// Descriptor tables of the hypervisor, one set for each processor: flat segments, one TSS whose only use is its interrupt
// stacks. Gates for 32 exceptions and for the interrupts of the local APIC, which are taken where the run loop lets them, or by a
// mistake of QEMU in vmrun.S; both old interrupt controllers are masked.
//
// Interrupt handlers only note what has happened. A non-maskable interrupt comes from a panic, which stops the other processors
// with it, or is the beat of the watchdog; neither waits for anybody.
#include "trap.h"

#include "apic.h"
#include "panic.h"
#include "watchdog.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_TSS 0x18
#define VECTORS 48 // traps.S has so many entries
#define TRAP_ENTRY_BYTES 16 // traps.S
#define GATE_INTERRUPT 0x8e00 // present, DPL 0
#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK 0xa1

#define VECTOR_NMI 2
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_MACHINE_CHECK 18

struct gate {
	u16 offset_low, selector, flags, offset_middle;
	u32 offset_high, zero;
};
_Static_assert(sizeof(struct gate) == 16, "long-mode gates have 16 bytes");

struct tss {
	u32 zero0;
	u32 stack[2 * 3];     // RSP0 to RSP2, as halves: the structure is only 4-byte aligned
	u32 zero1[2];
	u32 ist[2 * 7];       // IST1 to IST7
	u32 zero2[2];
	u16 zero3, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "long-mode TSS");

struct table_pointer {
	u16 zero[3]; // so that base is aligned
	u16 limit;
	u64 base;
};

// Exceptions that come when the stack is unusable have stacks of their own. A non-maskable interrupt needs none: RSP is always the
// hypervisor's own, and the task register is not while a guest is entered (vmrun.S).
#define STACK_BYTES 8192
#define STACKS 2

struct tables {
	u64 gdt[5];
	struct tss tss;
	u8 stack[STACKS][STACK_BYTES] __attribute__((aligned(16)));
};
static struct tables all_tables[CPUS_MAX];
static struct gate idt[VECTORS];

extern const u8 trap_entries[]; // traps.S

static void tss_set_ist(struct tables *t, u32 ist)
{
	u64 top = (u64)(uintptr_t)t->stack[ist - 1] + STACK_BYTES;

	t->tss.ist[2 * (ist - 1)] = (u32)top;
	t->tss.ist[2 * (ist - 1) + 1] = (u32)(top >> 32);
}

static void idt_set(u32 vector, u32 ist)
{
	u64 at = (u64)(uintptr_t)trap_entries + vector * TRAP_ENTRY_BYTES;

	idt[vector] = (struct gate){
		.offset_low = (u16)at,
		.selector = SELECTOR_CODE,
		.flags = (u16)(GATE_INTERRUPT | ist),
		.offset_middle = (u16)(at >> 16),
		.offset_high = (u32)(at >> 32),
	};
}

void trap_start(struct cpu *me)
{
	struct tables *t = &all_tables[me->index];
	u64 base = (u64)(uintptr_t)&t->tss;
	struct table_pointer gdt_pointer = { .limit = sizeof(t->gdt) - 1, .base = (u64)(uintptr_t)t->gdt };
	struct table_pointer idt_pointer = { .limit = sizeof(idt) - 1, .base = (u64)(uintptr_t)idt };

	t->tss.io_map = sizeof(t->tss);
	for (u32 ist = 1; ist <= STACKS; ist++)
		tss_set_ist(t, ist);
	t->gdt[1] = 0x00af9b000000ffff;
	t->gdt[2] = 0x00cf93000000ffff;
	t->gdt[3] = (sizeof(t->tss) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	t->gdt[4] = base >> 32;
	for (u32 v = 0; v < VECTORS; v++) // the same for all, written anew by each
		idt_set(v, v == VECTOR_DOUBLE_FAULT ? 1 : v == VECTOR_MACHINE_CHECK ? 2 : 0);

	// Selectors 0x08 and 0x10 mean the same in the table of boot.S: no segment needs reloading.
	__asm__ volatile("lgdt %0" : : "m"(gdt_pointer.limit), "m"(gdt_pointer));
	__asm__ volatile("lidt %0" : : "m"(idt_pointer.limit), "m"(idt_pointer));
	__asm__ volatile("ltr %0" : : "r"((u16)SELECTOR_TSS));
	port_out8(PIC_MASTER_MASK, 0xff);
	port_out8(PIC_SLAVE_MASK, 0xff);
}

void trap_handle(struct trap_frame *frame)
{
	switch (frame->vector) {
	case VECTOR_NMI:
		panic_nmi(frame);
		watchdog_nmi(frame);
		break;
	case VECTOR_TIMER:
		this_cpu()->ticked = true;
		apic_end_of_interrupt();
		break;
	case VECTOR_KICK:
		apic_end_of_interrupt(); // it has ended a guest or a halt: that was all
		break;
	case VECTOR_SPURIOUS:
		break;
	default:
		panic_trap(frame);
	}
}
