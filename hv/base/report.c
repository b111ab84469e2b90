// SPDX-License-Identifier: GPL-2.0-or-later
// One buffer for the text of the first broken rule.
#include "report.h"

#include "fmt.h"

const char *broken(const char *format, ...)
{
	static char text[160];
	va_list args;

	va_start(args, format);
	fmt_va(text, sizeof(text), format, args);
	va_end(args);
	return text;
}
