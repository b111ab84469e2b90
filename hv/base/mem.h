// SPDX-License-Identifier: GPL-2.0-or-later
// Byte copies for freestanding code. The compiler may turn them into calls of memcpy and memset, which
// each port supplies.
#ifndef HV_BASE_MEM_H
#define HV_BASE_MEM_H

#include "types.h"

static inline void mem_zero(void *to, size_t bytes) { __builtin_memset(to, 0, bytes); }
static inline void mem_copy(void *to, const void *from, size_t bytes) { __builtin_memcpy(to, from, bytes); }

#endif
