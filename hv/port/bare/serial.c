// SPDX-License-Identifier: GPL-2.0-or-later
// Who speaks where:
//
//   guest 0        COM1, which it drives itself, without exits
//   hypervisor     COM2 (console.c)
//   guest 1, 2     COM3, COM4: each access exits and is carried out there
//   guest 3        no port is left: a line of text "3> ..." on the console for each of its lines, "3+ ..." for what is
//                  longer than fits
//
// A guest whose port the machine does not have speaks like guest 3. Interrupts of the ports stay off: nobody takes them.
#include "serial.h"

#include "console.h"
#include "cpu.h"

#define COM3 0x3e8u
#define COM4 0x2e8u
#define UART_DATA 0
#define UART_INTERRUPTS 1
#define UART_LINE 3
#define UART_STATUS 5
#define UART_SCRATCH 7
#define UART_DIVISOR_LATCH 0x80
#define UART_IDLE 0x60 // all has been sent

static bool is_present(u16 base)
{
	port_out8(base + UART_SCRATCH, 0x5a); // an empty bus reads as ones
	return port_in8(base + UART_SCRATCH) == 0x5a;
}

void serial_start(struct serial *s, u32 n)
{
	static const u16 bases[] = { SERIAL_FIRST, COM3, COM4 };

	*s = (struct serial){ .guest = n };
	if (n < ARRAY_LEN(bases) && (!n || is_present(bases[n])))
		s->base = bases[n];
}

u8 serial_read(struct serial *s, u32 reg)
{
	if (s->base)
		return port_in8((u16)(s->base + reg));
	return reg == UART_STATUS ? UART_IDLE : reg == UART_LINE ? s->control : 0;
}

static void flush_line(struct serial *s, char mark)
{
	s->line[s->length] = 0;
	console_line("%u%c %s", s->guest, mark, s->line);
	s->length = 0;
}

static void write(struct serial *s, u32 reg, u8 value)
{
	if (s->base) {
		if (reg != UART_INTERRUPTS || (port_in8((u16)(s->base + UART_LINE)) & UART_DIVISOR_LATCH))
			port_out8((u16)(s->base + reg), value);
		return;
	}
	if (reg == UART_LINE)
		s->control = value;
	if (reg != UART_DATA || (s->control & UART_DIVISOR_LATCH))
		return;
	if (value == '\n') {
		flush_line(s, '>');
		return;
	}
	if (s->length == SERIAL_LINE_MAX - 1)
		flush_line(s, '+');
	s->line[s->length++] = (char)value;
}

void serial_write(struct serial *s, u32 reg, u8 value)
{
	port_lock(&s->lock, __func__);
	write(s, reg, value);
	port_unlock(&s->lock);
}

void serial_finish(struct serial *s)
{
	if (!s->base && s->length)
		flush_line(s, '+');
}
