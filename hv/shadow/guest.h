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

struct domain {
	struct vcpu vcpu[DOMAIN_VCPUS_MAX];
	u32 vcpu_count;
	bool dead;         // killed: no vcpu may be entered again
	const char *death; // first reason wins
	u32 owner;         // domain number + 1, as page_info.owner has it
	struct p2m p2m;
	struct shadow_domain shadow;
};

// Kill the domain: no vcpu may be entered again. Touches no other state. The first reason wins.
void domain_crash(struct domain *d, const char *reason);

#endif
