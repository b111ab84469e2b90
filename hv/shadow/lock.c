// SPDX-License-Identifier: GPL-2.0-or-later
// The paging lock and the bounds of what is done under it (lock.h, docs/bounds.md).
//
// Invariants (E.1): 43 no operation looks at more entries in one go than its bound; 53 one holder.
#include "lock.h"

#include "../base/report.h"
#include "private.h"

// Entries of one shadow, of any type; what the reserve of n pages costs when all must be reclaimed: dying shadows give two pages
// or more each, the pinned list and the loaded roots come on top.
#define TABLE (2 * SPTES_PER_PAGE + 4 * SHADOW_SCAN_VISITS)
#define LOADED (DOMAIN_VCPUS_MAX * SHADOW_SLOTS)
#define RESERVE(pages) (((pages) / 2 + 1) * TABLE + SHADOW_PINNED_MAX + LOADED * TABLE)
// What the end of a hold adds.
#define SETTLE (SHADOW_REAP_VISITS + TABLE)
// Write access to one frame; its shadows, one of each type with all parents. An entry costs its own visit and one of its table.
#define PROTECT (2 * SHADOW_MAPS_MAX)
#define UNSHADOW (RESERVE(ROOT_DETACH_PAGES + DIRTY_RESERVE) + SHADOW_TYPE_COUNT * (2 * SHADOW_PARENTS_MAX + TABLE))
#define CHAIN_PAGES 18 // of one chain of tables, or four roots, with links
#define EVICT (2 * SHADOW_PARENTS_MAX + SHADOW_CHAIN_MAX)
// Tables for one address: each is found, write-protected, renewed; one level may need room in the hash.
#define CHAIN (RESERVE(CHAIN_PAGES + DIRTY_RESERVE) + 4 * (PROTECT + TABLE + EVICT + 64) + SHADOW_PREFETCH_SPAN * 4)
#define BLOW (SHADOW_PINNED_MAX + LOADED * TABLE)
#define VALIDATE (SHADOW_TYPE_COUNT * 64) // an operand's entries in all formats
#define VALIDATE_PAGE (4 * SHADOW_TYPE_COUNT * TABLE)
#define FRAMES 2 // that one change of the p2m takes out

const struct bound_row bound_rows[BOUND_COUNT] = {
	[BOUND_WALK] = { "walk", RESERVE(DIRTY_RESERVE) + VALIDATE + SETTLE },
	[BOUND_BUILD] = { "build", CHAIN + BLOW + SETTLE },
	[BOUND_EMULATE] = { "emulate", RESERVE(DIRTY_RESERVE) + 4 * VALIDATE + UNSHADOW + SETTLE },
	[BOUND_STEP] = { "step", SHADOW_STEP_PAGES * (4 * CHAIN + 2 * VALIDATE_PAGE) + SETTLE },
	[BOUND_READ] = { "read", 64 },
	[BOUND_WRITE] = { "write", RESERVE(DIRTY_RESERVE) + VALIDATE_PAGE + SETTLE },
	[BOUND_ENTER] = { "enter", BLOW + SETTLE },
	[BOUND_CR] = { "control register", 4 * CHAIN + BLOW + SETTLE },
	[BOUND_UNSHADOW] = { "unshadow", UNSHADOW + SETTLE },
	[BOUND_BLOW] = { "blow", BLOW + SETTLE },
	[BOUND_PHYSMAP] = { "physmap", RESERVE(DIRTY_RESERVE + CHAIN_PAGES) + BLOW + FRAMES * (UNSHADOW + PROTECT) +
					   DOMAIN_VCPUS_MAX * 4 * CHAIN + SETTLE },
	[BOUND_BALLOON] = { "balloon", RESERVE(DIRTY_RESERVE + CHAIN_PAGES) + BLOW + 16 * (UNSHADOW + PROTECT) + SETTLE },
	[BOUND_LARGE] = { "large", RESERVE(DIRTY_RESERVE + CHAIN_PAGES) + DOMAIN_VCPUS_MAX * 4 * CHAIN +
					   UNSHADOW + PROTECT + SETTLE },
	[BOUND_POOL] = { "pool", SHADOW_RESIZE_BATCH * TABLE + RESERVE(SHADOW_RESIZE_BATCH) + SETTLE },
	[BOUND_DIRTY] = { "dirty", RESERVE(DIRTY_RESERVE) + BLOW + 4096 + PROTECT + SETTLE },
	[BOUND_TEARDOWN] = { "teardown", BLOW + 64 * TABLE + SETTLE },
};

// A vcpu steps on another processor: nothing is as the rules have it.
static __attribute__((noinline)) void wait_for_step(struct domain *d, enum bound_op op)
{
	while (d->stepper && d->stepper != port_cpu() + 1) {
		port_unlock(&d->lock);
		port_lock(&d->lock, bound_rows[op].name);
	}
}

void domain_lock(struct domain *d, enum bound_op op)
{
	port_lock(&d->lock, bound_rows[op].name);
	if (d->stepper)
		wait_for_step(d, op);
	d->hold.op = op;
	d->hold.from = d->shadow.stats.visits;
	d->hold.exempt = false;
}

// Dying shadows are taken apart when pages are needed; a few of them already now, so that nobody has to wait for it then.
static __attribute__((noinline)) void reap_some(struct domain *d)
{
	if ((d->shadow.opts & SHADOW_OPT_REAP) && d->hold.op != BOUND_READ) // who looks changes nothing
		pool_reap(d, SHADOW_REAP_VISITS);
}

void domain_unlock(struct domain *d)
{
	struct bound_use *use = &d->bound[d->hold.op];

	if (d->shadow.dying.length) reap_some(d); // option: reap
	u64 visits = d->shadow.stats.visits - d->hold.from;

	use->holds++;
	if (!d->hold.exempt && visits > use->most)
		use->most = visits;
	port_unlock(&d->lock);
}

void domain_breathe(struct domain *d)
{
	enum bound_op op = (enum bound_op)d->hold.op;

	domain_unlock(d);
	domain_lock(d, op);
}

const char *bound_check(const struct domain *d)
{
	for (u32 op = 0; op < BOUND_COUNT; op++)
		if (d->bound[op].most > bound_rows[op].visits)
			return broken("E1.43 bound: %s looked at %llu entries, allowed are %u", bound_rows[op].name,
				      (unsigned long long)d->bound[op].most, bound_rows[op].visits);
	return NULL;
}
