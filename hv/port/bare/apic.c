// SPDX-License-Identifier: GPL-2.0-or-later
// The local APIC, by its registers in memory (APM vol. 2, 16.3). All of the hypervisor runs with interrupts held off, so
// the two halves of a command are never torn apart; only a panic sends from elsewhere, and it does not come back.
#include "apic.h"

#include "../../port.h"
#include "cpu.h"
#include "timer.h"

#define APIC_BASE_ENABLED BIT(11)
#define APIC_BASE_ADDRESS UINT64_C(0xfffff000)

#define APIC_ID 0x020
#define APIC_TASK_PRIORITY 0x080
#define APIC_EOI 0x0b0
#define APIC_LOGICAL_ID 0x0d0
#define APIC_LOGICAL_FORMAT 0x0e0
#define APIC_SPURIOUS 0x0f0
#define APIC_COMMAND_LOW 0x300
#define APIC_COMMAND_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_TIMER_START 0x380
#define APIC_TIMER_NOW 0x390
#define APIC_TIMER_DIVIDE 0x3e0

#define LOGICAL_FLAT UINT32_MAX
#define LOGICAL_ID(index) (1u << (24 + (index)))
#define SOFTWARE_ENABLE 0x100u
#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u
#define DIVIDE_BY_16 3u
#define SELDOM_TICKS 0x4000000u // about a second in QEMU

#define COMMAND_NMI 0x400u
#define COMMAND_INIT 0x500u
#define COMMAND_STARTUP 0x600u
#define COMMAND_ASSERT 0x4000u
#define COMMAND_PENDING 0x1000u
#define PENDING_MAX 1000000u

// I/O APIC: registers are reached through two words of memory.
#define IO_SELECT 0x00
#define IO_WINDOW 0x10
#define IO_INPUT_LOW(n) (0x10u + 2 * (n))
#define IO_INPUT_HIGH(n) (0x11u + 2 * (n))
#define INPUT_NMI 0x400u
#define INPUT_LOGICAL 0x800u
#define INPUT_ACTIVE_LOW 0x2000u
#define INPUT_MASKED 0x10000u

static u64 base;
static u32 ticks_per_ms;

static volatile u32 *reg(u32 offset)
{
	return (volatile u32 *)(uintptr_t)(base + offset);
}

void apic_start(u32 index)
{
	u64 msr = msr_read(MSR_APIC_BASE);

	if (!base)
		base = msr & APIC_BASE_ADDRESS;
	msr_write(MSR_APIC_BASE, msr | APIC_BASE_ENABLED);
	*reg(APIC_LVT_TIMER) = LVT_MASKED;
	*reg(APIC_LVT_LINT0) = LVT_MASKED; // the old interrupt controllers
	*reg(APIC_TASK_PRIORITY) = 0;
	*reg(APIC_LOGICAL_FORMAT) = LOGICAL_FLAT;
	*reg(APIC_LOGICAL_ID) = LOGICAL_ID(index);
	*reg(APIC_SPURIOUS) = SOFTWARE_ENABLE | VECTOR_SPURIOUS;
}

u32 apic_id(void)
{
	return *reg(APIC_ID) >> 24;
}

void apic_end_of_interrupt(void)
{
	*reg(APIC_EOI) = 0;
}

static void command(u32 to, u32 low)
{
	for (u32 wait = 0; (*reg(APIC_COMMAND_LOW) & COMMAND_PENDING) && wait < PENDING_MAX; wait++)
		cpu_pause();
	*reg(APIC_COMMAND_HIGH) = to << 24;
	*reg(APIC_COMMAND_LOW) = low;
}

void apic_send(u32 to, u32 vector)
{
	command(to, COMMAND_ASSERT | vector);
}

void apic_send_nmi(u32 to)
{
	command(to, COMMAND_ASSERT | COMMAND_NMI);
}

void apic_send_init(u32 to)
{
	command(to, COMMAND_ASSERT | COMMAND_INIT);
}

void apic_send_startup(u32 to, u32 page)
{
	command(to, COMMAND_ASSERT | COMMAND_STARTUP | page);
}

// All processors of a machine have the same clock here.
static u32 measure(void)
{
	const u32 ms = 4;

	*reg(APIC_TIMER_START) = UINT32_MAX;
	timer_wait_us(1000 * ms);
	return (UINT32_MAX - *reg(APIC_TIMER_NOW)) / ms;
}

void apic_timer(u32 ms)
{
	*reg(APIC_TIMER_DIVIDE) = DIVIDE_BY_16;
	if (ms && !ticks_per_ms)
		ticks_per_ms = measure();
	*reg(APIC_LVT_TIMER) = LVT_PERIODIC | VECTOR_TIMER;
	*reg(APIC_TIMER_START) = ms ? ticks_per_ms * ms : SELDOM_TICKS;
}

static void io_write(u32 address, u32 n, u32 value)
{
	*(volatile u32 *)(uintptr_t)(address + IO_SELECT) = n;
	*(volatile u32 *)(uintptr_t)(address + IO_WINDOW) = value;
}

// By logical number: one that is not ours would take a non-maskable interrupt with tables that are not its own.
void apic_route_nmi(struct acpi_input input, u32 count)
{
	io_write(input.address, IO_INPUT_LOW(input.number), INPUT_MASKED);
	io_write(input.address, IO_INPUT_HIGH(input.number), LOGICAL_ID(count) - LOGICAL_ID(0));
	io_write(input.address, IO_INPUT_LOW(input.number),
		 INPUT_NMI | INPUT_LOGICAL | (input.active_low ? INPUT_ACTIVE_LOW : 0));
}
