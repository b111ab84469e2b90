// SPDX-License-Identifier: GPL-2.0-or-later
// A domain and its vcpus: the state that every engine and the domain layer share.
#ifndef HV_SHADOW_GUEST_H
#define HV_SHADOW_GUEST_H

#include "shadow.h"

#define DOMAIN_VCPUS_MAX 4

// Guest-visible control state of a vcpu. Hardware runs with other values: see vcpu_hw_*().
struct vcpu_control {
	u64 cr0, cr3, cr4, efer;
};

struct vcpu {
	struct domain *domain;
	u32 id;                    // index in domain->vcpu, below DOMAIN_VCPUS_MAX
	struct vcpu_control guest; // as the guest reads them
	bool rflags_ac;            // RFLAGS.AC of the running guest, for SMAP: set by the port before a fault
	struct shadow_vcpu shadow; // roots, hints
	void *port;                // the port's own state
};

#define DOMAINS_MAX 8 // four guests, each of which can be copied

struct domain {
	u32 number;        // below DOMAINS_MAX
	u32 owner;         // number + 1, as page_info.owner has it
	struct hv_lock lock; // the paging lock: covers p2m and shadow
	struct {
		u8 op;       // enum bound_op: what it is held for
		bool exempt; // an injected failure makes it do more
		u64 from;    // visits when it was taken
	} hold;
	struct bound_use {
		u64 holds, most; // how often it was held for an operation, most visits in one go
	} bound[BOUND_COUNT];
	struct vcpu vcpu[DOMAIN_VCPUS_MAX];
	u32 vcpu_count;
	u32 stepper;       // processor + 1 that steps an instruction: until it is done others wait for the lock
	bool enlarging;    // a run of its RAM is about to become one large entry: physmap_make_large()
	bool dead;         // killed: no vcpu may be entered again
	const char *death; // first reason wins
	u32 audit;         // AUDIT_*: what hv_audit() looks at; the guest may set it
	bool changing;     // modes or the size of the pool, a piece at a time: domain_begin()
	struct p2m p2m;
	struct shadow_domain shadow;
	struct migration *migration; // under way, NULL: none (hv/domain/migrate.c)
};

// Kill the domain: no vcpu may be entered again. Touches no other state, and needs no lock. The first reason wins.
void domain_crash(struct domain *d, const char *reason);
static inline bool domain_is_dead(const struct domain *d) { return __atomic_load_n(&d->dead, __ATOMIC_RELAXED); }

#endif
