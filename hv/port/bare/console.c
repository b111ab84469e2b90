// SPDX-License-Identifier: GPL-2.0-or-later
// Where the hypervisor's lines go. COM1 belongs to the guest, so ours are COM2 (115200 8n1) and port
// 0xe9, the debug console of QEMU and Bochs. A panic is also painted on the text screen, which is the
// only device that a machine without serial ports has.
//
// Parts: devices; the screen; lines. Polled, no buffering: what was printed before a hang is out. Lines of several
// processors do not mix; the lock is ignored in a panic, when all others have stopped.
#include "console.h"

#include "../../base/fmt.h"
#include "percpu.h"

#define COM2 0x2f8
#define UART_DATA 0
#define UART_INTERRUPTS 1
#define UART_FIFO 2
#define UART_LINE 3
#define UART_MODEM 4
#define UART_STATUS 5
#define UART_DIVISOR_LATCH 0x80
#define UART_8N1 0x03
#define UART_RECEIVED 0x01
#define UART_CAN_SEND 0x20
#define UART_WAIT_MAX 100000u // a line that never becomes ready must not stop us

#define DEBUG_PORT 0xe9

#define SCREEN ((volatile u16 *)(uintptr_t)0xb8000)
#define SCREEN_COLUMNS 80u
#define SCREEN_ROWS 25u
#define SCREEN_COLOUR 0x1f00 // white on blue

static bool uart_present, screen_used;
static u32 screen_at; // next cell
static struct hv_lock lock;
static bool lock_is_off;

void console_start(void)
{
	port_out8(COM2 + UART_INTERRUPTS, 0);
	port_out8(COM2 + UART_LINE, UART_DIVISOR_LATCH);
	port_out8(COM2 + UART_DATA, 1);
	port_out8(COM2 + UART_INTERRUPTS, 0);
	port_out8(COM2 + UART_LINE, UART_8N1);
	port_out8(COM2 + UART_FIFO, 0x07);
	port_out8(COM2 + UART_MODEM, 0x03);
	uart_present = port_in8(COM2 + UART_LINE) == UART_8N1; // an empty bus reads as ones
}

static void uart_put(char c)
{
	u32 wait = 0;

	while (!(port_in8(COM2 + UART_STATUS) & UART_CAN_SEND) && ++wait < UART_WAIT_MAX)
		cpu_pause();
	port_out8(COM2 + UART_DATA, (u8)c);
}

static void screen_put(char c)
{
	if (c == '\n')
		screen_at += SCREEN_COLUMNS - screen_at % SCREEN_COLUMNS;
	else if (c != '\t')
		SCREEN[screen_at++] = (u16)(SCREEN_COLOUR | (u8)c);
	if (screen_at < SCREEN_COLUMNS * SCREEN_ROWS)
		return;
	// The first lines of a panic say most: when the screen is full, it stays.
	screen_used = false;
}

void console_use_screen(void)
{
	for (u32 i = 0; i < SCREEN_COLUMNS * SCREEN_ROWS; i++)
		SCREEN[i] = SCREEN_COLOUR | ' ';
	screen_at = 0;
	screen_used = true;
}

bool console_key(char *key)
{
	if (!uart_present || !(port_in8(COM2 + UART_STATUS) & UART_RECEIVED))
		return false;
	*key = (char)port_in8(COM2 + UART_DATA);
	return true;
}

static void write(const char *text)
{
	for (; *text; text++) {
		if (uart_present) {
			if (*text == '\n')
				uart_put('\r');
			uart_put(*text);
		}
		port_out8(DEBUG_PORT, (u8)*text);
		if (screen_used)
			screen_put(*text);
	}
}

void console_unlock(void)
{
	lock_is_off = true;
	if (lock.holder)
		write("\n"); // somebody has been stopped in the middle of a line
}

void console_line(const char *format, ...)
{
	static char line[CONSOLE_LINE_MAX]; // static: a panic may come from a stack overflow
	bool locks = !lock_is_off;
	va_list args;

	if (locks)
		port_lock(&lock, __func__);
	va_start(args, format);
	fmt_va(line, sizeof(line), format, args);
	va_end(args);
	write(line);
	write("\n");
	if (locks)
		port_unlock(&lock);
}
