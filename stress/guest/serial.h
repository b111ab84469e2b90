// SPDX-License-Identifier: GPL-2.0-or-later
// Words on COM1, and the end of the run.
#ifndef STRESS_GUEST_SERIAL_H
#define STRESS_GUEST_SERIAL_H

#include "../../hv/base/types.h"

void serial_init(void);
void serial_bytes(const char *text, size_t bytes);
void serial_text(const char *text);              // no newline
void serial_line(const char *text);              // with newline
void serial_named(const char *name, u64 value);  // name, then 0x and the value

// Stop with EXIT_PASS or EXIT_FAIL of layout.h.
_Noreturn void guest_exit(u32 code);

// "guest: panic: why", then stop with EXIT_FAIL.
_Noreturn void guest_panic(const char *why);

#endif
