// SPDX-License-Identifier: GPL-2.0-or-later
// Assertions are O(1), on in every image, and never see a guest-controlled value.
#ifndef HV_BASE_ASSERT_H
#define HV_BASE_ASSERT_H

#include "types.h"

// Formats "file:line: text" and stops through port_fatal().
_Noreturn void hv_assert_failed(const char *file, u32 line, const char *text);

#define hv_assert(condition) \
	((condition) ? (void)0 : hv_assert_failed(__FILE__, __LINE__, #condition))

#endif
