// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions: where they go.
#ifndef STRESS_GUEST_TRAP_H
#define STRESS_GUEST_TRAP_H

// Load this half's interrupt table and task state; again whenever another half may have been there.
void trap_load(void);

#endif
