// SPDX-License-Identifier: GPL-2.0-or-later
// The soft CPU's page walk, for cpu.c.
#ifndef HV_PORT_HOST_WALK_H
#define HV_PORT_HOST_WALK_H

#include "arena.h"

// What hardware runs a vcpu with.
struct hw {
	u64 cr0, cr3, cr4, efer;
	bool ac;       // RFLAGS.AC
	bool detached; // shadow_root_is_detached()
	bool dead;     // the domain was killed: nothing else counts
};

// As the vcpu is now; its domain is not dead.
struct hw hw_load(const struct vcpu *v);

static inline bool is_store(enum cpu_kind kind) { return kind != CPU_READ && kind != CPU_FETCH; }
// The error code of a fault, without what the tables add to it.
u32 walk_error(const struct hw *hw, enum cpu_kind kind, u8 cpl);
// Does a translation with these rights permit the access under the present control registers?
bool walk_permits(const struct hw *hw, const struct tlb_entry *e, enum cpu_kind kind, u8 cpl);
void walk_root_to_page(const struct hw *hw, u64 va, enum cpu_kind kind, u8 cpl, bool commit, struct cpu_walk *w);
// The same from a level-0 table that processor cpu remembers, as the access picks. False: it knows none for va.
bool walk_from_table(u32 cpu, const struct hw *hw, u64 va, const struct cpu_access *a, struct cpu_walk *w);

#endif
