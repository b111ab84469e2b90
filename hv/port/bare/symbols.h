// SPDX-License-Identifier: GPL-2.0-or-later
// The table that symbols.sh makes of the linked image.
#ifndef HV_PORT_BARE_SYMBOLS_H
#define HV_PORT_BARE_SYMBOLS_H

#include "../../base/types.h"

struct symbol {
	u64 address;
	const char *name;
};
extern const struct symbol symbol_table[];
extern const u64 symbol_count;

#endif
