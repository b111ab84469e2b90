// SPDX-License-Identifier: GPL-2.0-or-later
// A small formatter: %s %c %u %d %x %llx %llu %p %%, with optional 0, width and l/ll.
#ifndef HV_BASE_FMT_H
#define HV_BASE_FMT_H

#include <stdarg.h>

#include "types.h"

// Write at most size - 1 characters and a NUL to `to`. Returns the number of characters written. An
// unknown conversion is copied as it stands.
size_t fmt(char *to, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
size_t fmt_va(char *to, size_t size, const char *format, va_list args);

#endif
