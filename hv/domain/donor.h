// SPDX-License-Identifier: GPL-2.0-or-later
// A donor: a domain without vcpus whose frames a guest may map (P2M_FOREIGN). It belongs to one guest, in all of that one's lives:
// the port has it beside what else outlives a migration. Two guests have two donors and see nothing of each other.
#ifndef HV_DOMAIN_DONOR_H
#define HV_DOMAIN_DONOR_H

#include "domain.h"

#define DONOR_FRAMES 4u // gifts; gift k is its gfn k
#define DONOR_WORDS (FRAME_BYTES / 8u)

// All zero: nobody has asked for it yet. The domain is made when somebody does.
struct donor {
	struct domain *d;
	u32 state;                      // who is at work on it: see donor.c
	u32 generation[DONOR_FRAMES];   // how often a gift was renewed
};

// What a gift holds. Where it is taken for a page table, words with an even index are entries that lead to one of the sixteen
// frames from CONTROL_GUEST_FIRST on, with all rights, and so are 4-byte entries with an even index; no 4-byte entry with an odd
// index is present, and as PDPTEs all of them have reserved bits.
u64 donor_word(u32 gift, u32 generation, u32 index);

enum donor_deed {
	DONOR_RENEW, // another frame, with other contents, stands where the gift was, or was until it was given up
	DONOR_DROP,  // the gift is given up
	DONOR_END,   // the domain is destroyed with all it has, whoever holds a frame of it; then it is as new, all gifts renewed
	DONOR_DEED_COUNT
};

// The two hypercalls of a guest, which is d now, on its donor:
//   HYPERCALL_FOREIGN (gfn, gift + 1) maps the gift as physmap_map_foreign() does; (gfn, 0) unmaps what is mapped there
//   HYPERCALL_DONOR (deed, gift)      one of the deeds above; DONOR_END has gift 0
// HV_EINVAL: another number, gift or deed. HV_ENOENT: the gift has been given up. HV_EBUSY: another vcpu is in the middle of a
// deed; of DONOR_END: or of mapping something. HV_ENOMEM: nothing has changed, but that the domain may be there now. HV_ECHECK: the
// domain that was destroyed has left something behind. HV_EDEAD: d is dead. Else as physmap_map_foreign().
enum hv_status donor_hypercall(struct donor *donor, struct domain *d, u64 number, u64 arg0, u64 arg1) MUST_CHECK;

// Gifts that are given up, as bits. Not while somebody may be at work on it.
u32 donor_given_up(const struct donor *donor);
// The guest is no more: the domain is destroyed, if there is one. NULL, or the rule broken by what it left.
const char *donor_finish(struct donor *donor);

#endif
