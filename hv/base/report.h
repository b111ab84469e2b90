// SPDX-License-Identifier: GPL-2.0-or-later
// How checkers report: the broken rule's name in spec numbering and the first place that breaks it.
#ifndef HV_BASE_REPORT_H
#define HV_BASE_REPORT_H

#include "types.h"

// Formats into one static buffer and returns it: the result of a *_check() function. It is valid until
// the next failing check. The text starts with the rule, e.g. "E1.15 refcount: smfn 0x12 has 3, expected 2".
const char *broken(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
