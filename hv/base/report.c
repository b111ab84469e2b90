// SPDX-License-Identifier: GPL-2.0-or-later
// One buffer for the text of the first broken rule, and the place that it is about.
#include "report.h"

#include "fmt.h"

static struct report_place place;

const char *broken(const char *format, ...)
{
	static char text[160];
	va_list args;

	va_start(args, format);
	fmt_va(text, sizeof(text), format, args);
	va_end(args);
	place = (struct report_place){ 0 };
	return text;
}

const char *report_at(const char *bad, u64 mfn, u32 slot)
{
	if (bad)
		place = (struct report_place){ mfn, slot };
	return bad;
}

struct report_place report_place(void)
{
	return place;
}
