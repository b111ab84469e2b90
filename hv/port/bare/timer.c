// SPDX-License-Identifier: GPL-2.0-or-later
// The interval timer (1193182 Hz), the one clock that every machine has. Channel 2 is read, so that waiting needs no interrupt;
// channel 0 interrupts the processors for the watchdog.
#include "timer.h"

#include "cpu.h"

#define TICKS_PER_MS 1193u
#define WAIT_MAX 100000000u // a machine without the timer must not stop us

void timer_wait_us(u32 us)
{
	u32 ticks = TICKS_PER_MS * us / 1000;
	u8 gate = port_in8(0x61) & 0xfc;

	port_out8(0x61, gate);
	port_out8(0x43, 0xb0); // channel 2, both bytes, one-shot
	port_out8(0x42, (u8)ticks);
	port_out8(0x42, (u8)(ticks >> 8));
	port_out8(0x61, gate | 1);
	for (u32 wait = 0; !(port_in8(0x61) & 0x20) && wait < WAIT_MAX; wait++)
		cpu_pause();
}

u64 timer_cycles_per_ms(void)
{
	static u64 cycles;

	if (!cycles) {
		u64 start = tsc_read();

		timer_wait_us(4000);
		cycles = (tsc_read() - start) / 4 + 1;
	}
	return cycles;
}

void timer_start_beating(void)
{
	port_out8(0x43, 0x34); // channel 0, both bytes, again and again
	port_out8(0x40, 0);    // the longest period: 65536 ticks
	port_out8(0x40, 0);
}
