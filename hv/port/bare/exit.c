// SPDX-License-Identifier: GPL-2.0-or-later
// The exit device: `-device isa-debug-exit,iobase=0xf4,iosize=0x04`. On a machine without it the
// processor halts, and the last lines stay on the console: nobody expects it to go on.
#include "exit.h"

#include "cpu.h"
#include "watchdog.h"

#define EXIT_PORT 0xf4

_Noreturn void exit_machine(enum exit_code code)
{
	port_out8(EXIT_PORT, (u8)code);
	watchdog_stop();
	cpu_halt();
}
