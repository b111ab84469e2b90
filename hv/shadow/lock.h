// SPDX-License-Identifier: GPL-2.0-or-later
// The paging lock of a domain, and how much may be done before it is given back.
//
// One lock covers a domain's shadows, its p2m and its log-dirty bitmap; the lock of the frame heap may be taken inside it, the
// lock of another domain may not. Work under it is counted in visits: table entries, reverse-map links, list elements and
// entries of the p2m that were looked at. Each operation has a bound that no guest, and no number of shadows, can exceed
// (docs/bounds.md).
#ifndef HV_SHADOW_LOCK_H
#define HV_SHADOW_LOCK_H

#include "../base/types.h"

enum bound_op {
	BOUND_WALK,     // a page fault up to the guest walk
	BOUND_BUILD,    // and what makes the shadows for it
	BOUND_EMULATE,  // one instruction's memory operands
	BOUND_STEP,     // one page joins an instruction that hardware does, or its end
	BOUND_READ,     // reading guest memory or state
	BOUND_WRITE,    // the hypervisor writes one page of guest memory
	BOUND_ENTER,    // a vcpu is about to run
	BOUND_CR,       // control registers, INVLPG
	BOUND_UNSHADOW, // a frame loses its shadows
	BOUND_BLOW,     // all shadows are given up
	BOUND_PHYSMAP,  // one change of the p2m
	BOUND_BALLOON,  // PHYSMAP_BALLOON_MAX of them
	BOUND_LARGE,    // one page of a large entry gets its frame
	BOUND_POOL,     // one piece of resizing the pool
	BOUND_DIRTY,    // one piece of reading or cleaning the log-dirty bitmap, or of switching it
	BOUND_TEARDOWN, // one piece of taking a domain apart
	BOUND_COUNT
};

// Gfns that one call of physmap_balloon() may change.
#define BOUND_BALLOON_FRAMES 16

struct bound_row {
	const char *name;
	u32 visits;
};
extern const struct bound_row bound_rows[BOUND_COUNT];

struct domain;
// Take the lock for `op`; give it back. What dying tables still hold is let go of in between, a little each time.
void domain_lock(struct domain *d, enum bound_op op);
void domain_unlock(struct domain *d);
// Both, for the same operation: others may go first.
void domain_breathe(struct domain *d);
// What is being done turns out to be `op`, from the taking of the lock on.
void domain_charge(struct domain *d, enum bound_op op);
// May all pages of a step be made once more in this hold? Only while the most that it can cost is left.
bool domain_may_retry(const struct domain *d);
// E1.43: NULL, or the operation that exceeded its bound.
const char *bound_check(const struct domain *d);

#endif
