// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts of the canary test share: a healthy domain with everything in it, and ways to break it by hand.
#ifndef HV_TEST_CANARY_H
#define HV_TEST_CANARY_H

#include "fixture.h"

#define SUPER UINT64_C(0x400000)   // a 2 MiB page
#define GIANT UINT64_C(0x40000000) // a 1 GiB page
#define SPARE_GFN UINT64_C(0x50000) // RAM that nothing maps
#define RO_GFN (SPARE_GFN + 1)      // P2M_RAM_RO, mapped by page 20
#define FOREIGN_GFN (SPARE_GFN + 2) // f0 of the neighbour
#define DEVICE_GFN (SPARE_GFN + 3)  // the machine's own address
#define LARGE_GFN UINT64_C(0x60000) // a large entry of the p2m
#define CLEAN_PAGE 12u              // of fixture_tree(), mapped and not dirty
#define RO_PAGE 20u

// A 64-bit guest with small, 2 MiB and 1 GiB pages and both kinds of magic entries, a vcpu on a detached root, an unpaged
// one, a PAE one; log-dirty is on; its p2m has all types. A second domain stands beside it. False: it could not be made.
bool canary_world(void);
// Destroy both. NULL, or the rule that what was left breaks.
const char *canary_world_end(void);
void canary_save(void);
void canary_restore(void);
void canary_forget(void); // what was saved

extern struct domain *neighbour;
extern mfn_t l2, l1, other_l1;   // shadows of f2, f3, f5
extern mfn_t freed_frame;        // of the heap, free

typedef const char *canary_check_fn(const struct domain *d);

struct canary_break {
	const char *expect; // the rule's name, or how its text starts
	void (*act)(void);
	canary_check_fn *check; // NULL: all of hv_check()
};
extern const struct canary_break canary_breaks[];
extern const u32 canary_break_count;

// Breaks that tests ask for by name.
void total_up(void);
void free_count_down(void);
void count_of_shadows(void);
void reference_unexplained(void);
void pinned_too_many(void);
void option_from_nowhere(void);
void guest_lost_write(void);
void guest_moved(void);
void root_lost_write(void);
void root_moved(void);
void pdpte_wrong(void);
void cr3_elsewhere(void);
void root_freed(void);
void bound_exceeded(void);
void dirty_count_up(void);
void log_dirty_off(void);
void identity_lost(void);
void p2m_count(void);

#endif
