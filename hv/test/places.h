// SPDX-License-Identifier: GPL-2.0-or-later
// All that a guest has at its gfns, noted before it moves, to be compared with what the copy has.
#ifndef HV_TEST_PLACES_H
#define HV_TEST_PLACES_H

// Of `dom`: types, and what RAM holds.
void places_take(void);
// Is it still so, and nothing more there? NULL, or what is not.
const char *places_differ(void);

#endif
