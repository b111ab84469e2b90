// SPDX-License-Identifier: GPL-2.0-or-later
// The hypervisor's own words: COM2, QEMU's debug port, and the text screen for a panic.
#ifndef HV_PORT_BARE_CONSOLE_H
#define HV_PORT_BARE_CONSOLE_H

#include "../../base/types.h"

void console_start(void);
// One formatted line, cut at CONSOLE_LINE_MAX, newline added. Cost: one port write per byte and device.
#define CONSOLE_LINE_MAX 256
void console_line(const char *format, ...) PRINTF_LIKE(1, 2);
// A byte that the operator has sent, if there is one.
bool console_key(char *key);
// A panic: from here on nobody waits for anybody.
void console_unlock(void);
// From here on lines also go to the 80x25 text screen, which is cleared.
void console_use_screen(void);

#endif
