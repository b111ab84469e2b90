// SPDX-License-Identifier: GPL-2.0-or-later
// Start-up of the shadow code.
#ifndef HV_SHADOW_CONTROL_H
#define HV_SHADOW_CONTROL_H

// Storage of the full checkers, one word per frame and count. After heap_start().
void ref_check_start(void);

#endif
