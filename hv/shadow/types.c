// SPDX-License-Identifier: GPL-2.0-or-later
// Shadow types as rows (spec A.1, A.2). Sizes follow from the paging modes; nothing is repeated here.
#include "private.h"

const struct shadow_row shadow_rows[SHADOW_TYPE_COUNT] = {
	// name, guest, shadow, level, fake, protects, root, pinnable, child, child_fake, detached
	[SHADOW_L1_32] = { "l1_32", PT_MODE_32, PT_MODE_PAE, 0, false, true, false, false, 0, 0, 0 },
	[SHADOW_FL1_32] = { "fl1_32", PT_MODE_32, PT_MODE_PAE, 0, true, false, false, false, 0, 0, 0 },
	[SHADOW_L2_32] = { "l2_32", PT_MODE_32, PT_MODE_PAE, 1, false, true, true, true, SHADOW_L1_32, SHADOW_FL1_32,
			   SHADOW_DETACHED_32 },
	[SHADOW_L1_PAE] = { "l1_pae", PT_MODE_PAE, PT_MODE_PAE, 0, false, true, false, false, 0, 0, 0 },
	[SHADOW_FL1_PAE] = { "fl1_pae", PT_MODE_PAE, PT_MODE_PAE, 0, true, false, false, false, 0, 0, 0 },
	[SHADOW_L2_PAE] = { "l2_pae", PT_MODE_PAE, PT_MODE_PAE, 1, false, true, true, true, SHADOW_L1_PAE, SHADOW_FL1_PAE,
			    SHADOW_DETACHED_PAE },
	[SHADOW_L1_64] = { "l1_64", PT_MODE_64, PT_MODE_64, 0, false, true, false, false, 0, 0, 0 },
	[SHADOW_FL1_64] = { "fl1_64", PT_MODE_64, PT_MODE_64, 0, true, false, false, false, 0, 0, 0 },
	[SHADOW_L2_64] = { "l2_64", PT_MODE_64, PT_MODE_64, 1, false, true, false, false, SHADOW_L1_64, SHADOW_FL1_64, 0 },
	[SHADOW_FL2_64] = { "fl2_64", PT_MODE_64, PT_MODE_64, 1, true, false, false, false, 0, SHADOW_FL1_64, 0 },
	[SHADOW_L3_64] = { "l3_64", PT_MODE_64, PT_MODE_64, 2, false, true, false, true, SHADOW_L2_64, SHADOW_FL2_64, 0 },
	[SHADOW_L4_64] = { "l4_64", PT_MODE_64, PT_MODE_64, 3, false, true, true, true, SHADOW_L3_64, 0, SHADOW_DETACHED_64 },
	[SHADOW_DETACHED_64] = { "detached_64", PT_MODE_64, PT_MODE_64, 3, false, false, true, false, SHADOW_L3_64, 0, 0 },
	[SHADOW_DETACHED_32] = { "detached_32", PT_MODE_32, PT_MODE_PAE, 1, false, false, true, false, SHADOW_L1_32,
				 SHADOW_FL1_32, 0 },
	[SHADOW_DETACHED_PAE] = { "detached_pae", PT_MODE_PAE, PT_MODE_PAE, 1, false, false, true, false, SHADOW_L1_PAE,
				  SHADOW_FL1_PAE, 0 },
};
_Static_assert(SHADOW_TYPE_COUNT <= 32, "types are bits of shadow_flags and of masks, and 5 bits wide");

const u8 shadow_root_type[PT_MODE_COUNT] = { [PT_MODE_32] = SHADOW_L2_32, [PT_MODE_PAE] = SHADOW_L2_PAE,
					     [PT_MODE_64] = SHADOW_L4_64 };

// Level-3 tables count as toplevels while the guest seems to switch address spaces by rewriting one
// level-4 entry (spec A.8).
bool shadow_pinnable(const struct domain *d, u32 type)
{
	if (type == SHADOW_L3_64)
		return (d->shadow.opt_flags & SHADOW_OPT_LINUX_L3) != 0;
	return shadow_rows[type].pinnable;
}
