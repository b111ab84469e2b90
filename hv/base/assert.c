// SPDX-License-Identifier: GPL-2.0-or-later
// Where a failed assertion ends: one line, then the port stops everything.
#include "assert.h"

#include "../port.h"
#include "fmt.h"

void hv_assert_failed(const char *file, u32 line, const char *text)
{
	static char message[256]; // static: the stack may be what is broken

	fmt(message, sizeof(message), "%s:%u: assertion failed: %s", file, line, text);
	port_fatal(message);
}
