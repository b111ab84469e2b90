// SPDX-License-Identifier: GPL-2.0-or-later
// Live migration inside one machine: a running domain is copied into a second one in rounds and goes on in the copy.
//
//   migrate_start(from) -> migrate_round(from) ... -> [its vcpus stop] -> migrate_finish(from, &to) -> [they go on in `to`]
//
// The caller stops the vcpus before migrate_finish(), then moves what it keeps of them itself to the vcpus of `to`, and ends
// with domain_destroy(from).
#ifndef HV_DOMAIN_MIGRATE_H
#define HV_DOMAIN_MIGRATE_H

#include "domain.h"

enum migrate_step { MIGRATE_START, MIGRATE_ROUND, MIGRATE_FINISH, MIGRATE_CANCEL, MIGRATE_STEP_COUNT };

// Make an empty copy of `from` and begin to record what the guest writes. HV_EBUSY: a migration is under way, or log-dirty is
// on for somebody else. HV_EINVAL: not a domain with all modes. HV_ENOMEM: no memory or no slot for the copy.
// On any error nothing has changed.
enum hv_status migrate_start(struct domain *from) MUST_CHECK;

// Copy what was written to since it was copied last, in the first round everything, while the guest runs. *pages: how many were
// copied. HV_ENOENT: no migration. HV_EBUSY: another processor is at it. HV_ENOMEM: what is not copied yet will be next time.
enum hv_status migrate_round(struct domain *from, u64 *pages) MUST_CHECK;

// The last round, and the state of the vcpus. No vcpu of `from` runs. From then on `to` is the guest. *pages may be NULL. Where
// anything is audited (spec A.19), all of both memories is compared, which takes longer than all the rest.
// HV_ENOENT, HV_EBUSY, HV_ENOMEM: as above; the migration goes on and `from` is as it was.
// HV_ECHECK: the copy is not equal. It is destroyed, the migration is over, `from` is as it was.
enum hv_status migrate_finish(struct domain *from, struct domain **to, u64 *pages) MUST_CHECK;

// Give it up. HV_ENOENT: there is none.
enum hv_status migrate_cancel(struct domain *from) MUST_CHECK;

// HYPERCALL_MIGRATE: step is an enum migrate_step. MIGRATE_FINISH is the port's: HV_EINVAL here.
enum hv_status migrate_hypercall(struct domain *from, u64 step) MUST_CHECK;

#endif
