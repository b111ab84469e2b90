// SPDX-License-Identifier: GPL-2.0-or-later
// Control operations (spec A.18): what the operator does to a domain from outside while it runs.
#ifndef HV_DOMAIN_CONTROL_H
#define HV_DOMAIN_CONTROL_H

#include "domain.h"

enum control_code {
	CONTROL_OFF = 0,       // log-dirty and test mode off; other modes stay: HV_EINVAL, after log-dirty went off
	CONTROL_TEST = 1,      // shadow paging and nothing else
	CONTROL_LOGDIRTY = 2,  // begin to record writes; on a domain without modes that is its only one. HV_EINVAL: they are
	CONTROL_TRANSLATE = 3, // references and a p2m
	CONTROL_CLEAN = 11,    // the bits of a range, which begin anew, and the counts, which begin anew too
	CONTROL_PEEK = 12,     // the same, and nothing changes. HV_EINVAL: log-dirty is off, or no such range
	CONTROL_GET = 30,      // size of the pool
	CONTROL_SET = 31,      // resize it. HV_EINVAL: to nothing. HV_ENOMEM: no room for that
	CONTROL_ENABLE = 32,   // modes by mask. With MODE_LOGDIRTY in it, and if the others go together: as CONTROL_LOGDIRTY
	CONTROL_BLOW = 40,     // drop all shadows of the domain
	CONTROL_BLOW_ALL = 41, // and of all others
	CONTROL_LOGDIRTY_OFF = 42, // with the last mode all of shadow paging goes. HV_EINVAL: it is off
};

struct control {
	u32 code;       // enum control_code
	u64 argument;   // SET: MiB. ENABLE: MODE_*, of which MODE_ENABLE is implied
	u64 first;      // CLEAN, PEEK: first gfn, number of gfns, and where their bits go: bit 0 for `first`. No bit behind the
	u64 pages;      //   last is touched. After a failure the bits mean nothing.
	u8 *bitmap;
	u64 mib;         // result of GET: rounded up, pages of the p2m included
	u64 dirty_count; // results of CLEAN and PEEK: bits that were set since the last CLEAN,
	u64 fault_count; //   and page faults since then
};

// One operation on domain `number`. caller: the domain that asks, NULL for the operator.
// HV_ENOENT: no such domain, or it is dying. HV_EINVAL: the caller itself; modes of spec A.5 that are on, unknown or do not go
// together. HV_EBUSY: a migration has log-dirty; somebody reads the bitmap; another operation changes modes or the pool (see
// domain_begin()); an instruction is being stepped. HV_ENOMEM: not enough memory.
// On any error the domain is as before. Takes the domain's lock, for a piece at a time.
enum hv_status domain_control(const struct domain *caller, u32 number, struct control *c) MUST_CHECK;

// HYPERCALL_CONTROL, through which a guest plays the operator. arg0: code | who << 8. arg1: the argument; for CLEAN and PEEK a
// number of gfns from CONTROL_GUEST_FIRST on, CONTROL_GUEST_PAGES at most; nobody gets to see the bits.
enum control_who {
	CONTROL_BY_OPERATOR, // on the domain of v
	CONTROL_BY_ITSELF,   // the domain of v on itself
	CONTROL_ABSENT,      // on a domain that does not exist
	CONTROL_WHO_COUNT
};
#define CONTROL_GUEST_FIRST UINT64_C(0x40000)
#define CONTROL_GUEST_PAGES 4096u
enum hv_status control_hypercall(struct vcpu *v, u64 arg0, u64 arg1) MUST_CHECK;

// The console's key for it: drop all shadows of all domains.
void control_blow_all(void);

// Log-dirty off, whoever wanted it: the domain is being taken apart, or its migration is over.
void control_logdirty_stop(struct domain *d);
// It has gone off, and its memory may not be free yet: see to that.
void control_logdirty_drain(struct domain *d);

#endif
