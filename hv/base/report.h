// SPDX-License-Identifier: GPL-2.0-or-later
// How checkers report: the broken rule's name in spec numbering and the first place that breaks it.
#ifndef HV_BASE_REPORT_H
#define HV_BASE_REPORT_H

#include "types.h"

// Formats into one static buffer and returns it: the result of a *_check() function. It is valid until
// the next failing check. The text starts with the rule, e.g. "E1.15 refcount: smfn 0x12 has 3, expected 2".
const char *broken(const char *format, ...) PRINTF_LIKE(1, 2);

// The 8-byte word that a broken rule is about, for pictures: beside the text, so that nobody has to parse it.
struct report_place {
	u64 mfn;  // page that holds it, 0: none is known
	u32 slot; // 0..511, or REPORT_PAGE: the page as a whole
};
#define REPORT_PAGE UINT32_MAX

// bad is what a check just said: NULL, or a text about this place. Returns bad.
const char *report_at(const char *bad, u64 mfn, u32 slot);
// The place of the last broken(). mfn is 0 if nobody named it.
struct report_place report_place(void);

#endif
