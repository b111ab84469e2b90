// SPDX-License-Identifier: GPL-2.0-or-later
// COM1 by polling: one status read for each 16 bytes, the depth of the 16550's FIFO. No input, no
// interrupts. A port without a UART reads all ones, which looks ready, so output is lost, not stuck.
#include "serial.h"

#include "cpu.h"
#include "layout.h"

#define UART_DATA 0
#define UART_IRQ_ENABLE 1
#define UART_FIFO 2
#define UART_LINE 3
#define UART_STATUS 5
#define UART_STATUS_EMPTY 0x20
#define UART_DEPTH 16

void serial_init(void)
{
	cpu_out8(COM1 + UART_IRQ_ENABLE, 0);
	cpu_out8(COM1 + UART_LINE, 0x80); // divisor latch
	cpu_out8(COM1 + UART_DATA, 1);    // 115200 baud
	cpu_out8(COM1 + UART_IRQ_ENABLE, 0);
	cpu_out8(COM1 + UART_LINE, 3);    // 8 bits, no parity
	cpu_out8(COM1 + UART_FIFO, 7);    // on and empty
}

void serial_bytes(const char *text, size_t bytes)
{
	while (bytes) {
		while (!(cpu_in8(COM1 + UART_STATUS) & UART_STATUS_EMPTY))
			;
		size_t n = bytes < UART_DEPTH ? bytes : UART_DEPTH;
		for (size_t i = 0; i < n; i++)
			cpu_out8(COM1 + UART_DATA, (u8)text[i]);
		text += n;
		bytes -= n;
	}
}

void serial_text(const char *text)
{
	size_t n = 0;
	while (text[n])
		n++;
	serial_bytes(text, n);
}

void serial_line(const char *text)
{
	serial_text(text);
	serial_bytes("\n", 1);
}

void serial_named(const char *name, u64 value)
{
	char digits[18] = "0x";
	size_t n = 2;
	int shift = 60;
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		digits[n++] = "0123456789abcdef"[value >> shift & 15];
	serial_text(name);
	serial_bytes(digits, n);
}

_Noreturn void guest_panic(const char *why)
{
	serial_text("guest: panic: ");
	serial_line(why);
	guest_exit(EXIT_FAIL);
}
