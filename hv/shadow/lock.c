// SPDX-License-Identifier: GPL-2.0-or-later
// The paging lock and the bounds of what is done under it (lock.h, docs/bounds.md).
//
// Invariants (E.1): 43 no operation looks at more entries in one go than its bound; 53 one holder.
#include "lock.h"

#include "../base/report.h"
#include "private.h"

#define MORE(a, b) ((a) > (b) ? (a) : (b))

// ---- what the bounds are made of: each term is the most that the code named in its comment can look at ------------------

// shadow_clear(): a guest table of 4-byte entries has 1024, whose shadow is two or four pages.
#define TABLE (2 * SPTES_PER_PAGE + 4 * SHADOW_SCAN_VISITS)
// Reserving so many pages. A page taken apart has at most SPTES_PER_PAGE entries, and gives its page of links back with it; the
// last shadow may give more than was asked for. Nothing but what is asked for is taken apart, whatever is dying.
#define REAP(pages) (((pages) + 1) / 2 * (SPTES_PER_PAGE + SHADOW_SCAN_VISITS) + TABLE)
// pool_reserve() that finds nothing dying, or a blow: all pins and all entries of loaded roots. Once for each time that the lock
// is held: they are gone then.
#define LOADED (DOMAIN_VCPUS_MAX * SHADOW_SLOTS * SPTES_PER_PAGE)
#define GIVE_UP (SHADOW_PINNED_MAX + LOADED)
// domain_unlock().
#define SETTLE (SHADOW_REAP_VISITS + TABLE)

// hash_find(): 8 types that protect a frame and 3 of detached roots hang on it, or one chain of the hash.
#define FIND MORE(11u, SHADOW_CHAIN_MAX)
// Can a shadow's counter be full before its parents are too many? Then entries in old tables give way, and what cannot be
// counted is an error that costs a frame its shadows.
#define COUNTS_FILL (SHADOW_COUNT_MAX < SHADOW_PARENTS_MAX + DOMAIN_VCPUS_MAX * SHADOW_SLOTS + 2)
#define OLD_PARENTS (COUNTS_FILL ? 2 * SHADOW_COUNT_MAX : 0)
// shadow_set(): itself, and the oldest mapping or parent that gives way.
#define SET (2 + OLD_PARENTS)

// access_remove_write(): the link and the entry. access_remove_mappings(): one visit does for both.
#define PROTECT (2 * SHADOW_MAPS_MAX)
#define UNMAP SHADOW_MAPS_MAX
// access_remove_shadows(): l1_32, l1_pae, l1_64, l2_64 and l3_64 have parents, each of 8 types is found once.
#define DROP (5 * SHADOW_PARENTS_MAX + 8 * FIND)
// root_detach_from(): each slot finds its detached root, and one of each type may have to be emptied.
#define DETACH (DOMAIN_VCPUS_MAX * SHADOW_SLOTS * FIND + 4 * SPTES_PER_PAGE)

// write_validate(): `entries` of a frame as each of 8 types. Of a whole frame, where six types have 512 entries and two 1024, and
// those of level 0, l1_32 and two more, find nothing.
#define VALIDATE(entries) (8 * (FIND + (entries) * (FIND + SET)) + (COUNTS_FILL ? DROP : 0))
#define VALIDATE_PAGE (8 * FIND + 10 * SPTES_PER_PAGE * SET + 6 * SPTES_PER_PAGE * FIND + (COUNTS_FILL ? DROP : 0))
#define OPERAND 5  // 4-byte entries that 16 bytes can touch
#define WALK (2 * VALIDATE(1)) // shadow_walk(): two levels have entries of 4 bytes

// fault_build(): from the root to level 0 three tables at most. Each is read in its parent, found, and either new, and then its
// frame is protected or another one leaves its chain of the hash, or emptied; then it is set. Then one entry and its neighbours.
#define NEW_TABLE MORE(MORE(PROTECT, SHADOW_CHAIN_MAX + SHADOW_PARENTS_MAX), TABLE)
#define CHAIN (3 * (1 + FIND + NEW_TABLE + SET) + SHADOW_PREFETCH_SPAN * (1 + SET))
#define CHAIN_PAGES 6 // with links
// load_slots() for CR3: four tables are protected, found, emptied. A level-4 table may end the pins of level-3 ones.
#define LOAD (SHADOW_SLOTS * (PROTECT + FIND + SPTES_PER_PAGE) + SHADOW_PINNED_MAX)
#define ROOT_PAGES (SHADOW_SLOTS * 2 + 1) // four of one page each or one of four, with links, and PDPTEs
// The same after a change of the p2m, for all vcpus: the frames are new, so nothing maps or shadows them.
#define RELOAD (DOMAIN_VCPUS_MAX * (SHADOW_SLOTS * FIND + SHADOW_PINNED_MAX))
#define RELOAD_PAGES (DOMAIN_VCPUS_MAX * SHADOW_SLOTS * 2)

// step.c, make() for all pages.
#define STEP_TRY (SHADOW_STEP_PAGES * (WALK + REAP(CHAIN_PAGES + 1 + DIRTY_RESERVE) + CHAIN))

// One change of the p2m: two entries taken out and two put in, each with a large one shattered, or tables that may be empty.
#define P2M_ENTRIES (1u << P2M_LEVEL_BITS)
#define P2M_CHANGE (4 * P2M_LEVELS * P2M_ENTRIES)
// p2m_identity(): how far, whether it may be twice, and the change itself, with all tables inside and two ends.
#define P2M_IDENTITY (4 * (P2M_IDENTITY_VISITS + P2M_ENTRIES) + 4 * P2M_LEVELS * P2M_ENTRIES)
#define CHANGE_PAGES (2 * P2M_LEVELS + 4) // of the p2m for one change or one identity range, and shadow_prepare_p2m_change()
#define BALLOON_PAGES (CHANGE_PAGES + P2M_LEVELS + 2 * SHADOW_SLOTS * DOMAIN_VCPUS_MAX) // two regions; shadow_prepare_filling()
#define FRAMES 2 // that one change takes out: swap, move
#define CLEAN_WORDS (DIRTY_PIECE / (DIRTY_LEAF_BITS < 6 ? 1u << DIRTY_LEAF_BITS : 64) + 1)
#define TEARDOWN_PIECE (SHADOW_TEARDOWN_BATCH * SPTES_PER_PAGE)

// ---- the bounds ----------------------------------------------------------------------------------------------------

#define ROW(op, name, visits) [BOUND_##op] = { name, GIVE_UP + (visits) + SETTLE }
const struct bound_row bound_rows[BOUND_COUNT] = {
	ROW(WALK, "walk", REAP(DIRTY_RESERVE) + PT_LEVELS_MAX + WALK),
	ROW(BUILD, "build", REAP(CHAIN_PAGES + DIRTY_RESERVE) + CHAIN),
	// Translating: four walks. Executing: two walks, two halves, and maybe the table goes. Or it goes, with roots.
	ROW(EMULATE, "emulate", REAP(ROOT_DETACH_PAGES + DIRTY_RESERVE) + 4 * WALK + 2 * VALIDATE(OPERAND) + DROP + DETACH),
	// What the instruction has written; one try for all pages, and more as long as there is room for one: domain_may_retry().
	ROW(STEP, "step", SHADOW_STEP_PAGES * VALIDATE_PAGE + 2 * STEP_TRY),
	[BOUND_READ] = { "read", 0 },
	ROW(WRITE, "write", REAP(DIRTY_RESERVE) + VALIDATE_PAGE),
	ROW(ENTER, "enter", 0),
	ROW(CR, "control register", REAP(ROOT_PAGES + DIRTY_RESERVE) + LOAD),
	ROW(UNSHADOW, "unshadow", REAP(ROOT_DETACH_PAGES + DIRTY_RESERVE) + DROP + DETACH),
	ROW(BLOW, "blow", 0),
	ROW(PHYSMAP, "physmap", REAP(CHANGE_PAGES + DIRTY_RESERVE) +
			       MORE(FRAMES * (DROP + UNMAP) + P2M_CHANGE, P2M_IDENTITY) + RELOAD),
	ROW(BALLOON, "balloon", REAP(BALLOON_PAGES + DIRTY_RESERVE) + BOUND_BALLOON_FRAMES * (DROP + UNMAP + P2M_CHANGE) + RELOAD),
	ROW(LARGE, "large", REAP(CHANGE_PAGES + RELOAD_PAGES + DIRTY_RESERVE) + DROP + UNMAP + RELOAD + 2 * P2M_CHANGE),
	ROW(POOL, "pool", REAP(SHADOW_RESIZE_BATCH + DIRTY_RESERVE)),
	ROW(DIRTY, "dirty", REAP(1 + DIRTY_RESERVE) + 2 * CLEAN_WORDS + DIRTY_PIECE_VISITS + PROTECT),
	ROW(TEARDOWN, "teardown", TEARDOWN_PIECE + TABLE),
};

// A vcpu steps on another processor: nothing is as the rules have it.
static __attribute__((noinline)) void wait_for_step(struct domain *d, enum bound_op op)
{
	while (d->stepper && d->stepper != port_cpu() + 1) {
		port_unlock(&d->lock);
		port_lock(&d->lock, bound_rows[op].name);
	}
}

// Entries looked at so far, in the p2m too.
static u64 visits_of(const struct domain *d)
{
	return d->shadow.stats.visits + d->p2m.visits;
}

void domain_lock(struct domain *d, enum bound_op op)
{
	port_lock(&d->lock, bound_rows[op].name);
	if (d->stepper)
		wait_for_step(d, op);
	d->hold.op = op;
	d->hold.from = visits_of(d);
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
	u64 visits = visits_of(d) - d->hold.from;

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

void domain_charge(struct domain *d, enum bound_op op)
{
	d->hold.op = op;
}

bool domain_may_retry(const struct domain *d)
{
	return visits_of(d) - d->hold.from + STEP_TRY + SETTLE <= bound_rows[BOUND_STEP].visits;
}

const char *bound_check(const struct domain *d)
{
	for (u32 op = 0; op < BOUND_COUNT; op++)
		if (d->bound[op].most > bound_rows[op].visits)
			return broken("E1.43 bound: %s looked at %llu entries, allowed are %u", bound_rows[op].name,
				      (unsigned long long)d->bound[op].most, bound_rows[op].visits);
	return NULL;
}
