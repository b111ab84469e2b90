// SPDX-License-Identifier: GPL-2.0-or-later
// What guest-physical addresses without RAM read as, page-table walks included.
#ifndef HV_MEM_HOLE_H
#define HV_MEM_HOLE_H

#include "../base/types.h"

#define HOLE_WORD UINT64_C(0)

#endif
