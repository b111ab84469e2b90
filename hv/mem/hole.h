// SPDX-License-Identifier: GPL-2.0-or-later
// What guest-physical addresses without RAM read as, page-table walks included. As an
// instruction that is ADD %al,(%rax); instead of carrying it out, a fetch from a hole raises #GP(0), which is what it does
// when RAX is no canonical address.
#ifndef HV_MEM_HOLE_H
#define HV_MEM_HOLE_H

#include "../base/types.h"

#define HOLE_WORD UINT64_C(0)

#endif
