// SPDX-License-Identifier: GPL-2.0-or-later
// Live migration inside one machine: a running domain is copied into a second one in rounds and goes on in the copy.
//
//   migrate_start(from) -> migrate_round(from) ... -> [its vcpus stop] -> migrate_last_round(from) -> migrate_compare(from)
//                      -> migrate_switch(from, &to) -> [they go on in `to`]
//
// The caller stops the vcpus, then moves what it keeps of them itself to the vcpus of `to`, and ends with domain_destroy(from), for
// which they need not stand still. migrate_finish() is the last three steps in one.
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
// HV_EINVAL: `from` has mapped a frame of its own copy.
enum hv_status migrate_round(struct domain *from, u64 *pages) MUST_CHECK;

// The last round: no vcpu of `from` runs, from before it until after migrate_switch() or migrate_give_up(). *dirty: how many pages
// were written to since they were copied last, of all its memory if no round came before. *pages: how many were copied, not more.
// The size of the pool and the audit level go along. HV_EDEAD: the guest was killed, and its copy must not come to life.
// What it does follows from *dirty, and not from how much memory there is, unless no round came before or the physmap has changed
// since the last one began. HV_OK: the caller goes on with one of the next three. Errors as above, the migration goes on.
enum hv_status migrate_last_round(struct domain *from, u64 *dirty, u64 *pages) MUST_CHECK;
// Behind it: where anything is audited (spec A.19), all of both memories is compared, which takes longer than all the rest.
// HV_ECHECK: the copy is not equal, migrate_give_up() follows.
enum hv_status migrate_compare(struct domain *from) MUST_CHECK;
// Behind those: the vcpus' state. From then on `to` is the guest. HV_ENOMEM: the migration goes on, `from` is as it was, and the
// last round comes again. HV_ECHECK: the copy is of no use, migrate_give_up() follows.
enum hv_status migrate_switch(struct domain *from, struct domain **to) MUST_CHECK;
// The copy is destroyed, the migration is over, `from` is as it was.
void migrate_give_up(struct domain *from);

// All of it, migrate_give_up() included. No vcpu of `from` runs. *pages may be NULL.
// HV_ENOENT, HV_EBUSY, HV_ENOMEM, HV_EINVAL: as above; the migration goes on and `from` is as it was. HV_EDEAD: it was killed.
// HV_ECHECK: the copy is not equal. It is destroyed, the migration is over, `from` is as it was.
enum hv_status migrate_finish(struct domain *from, struct domain **to, u64 *pages) MUST_CHECK;

// Give it up. HV_ENOENT: there is none.
enum hv_status migrate_cancel(struct domain *from) MUST_CHECK;

// HYPERCALL_MIGRATE: step is an enum migrate_step. MIGRATE_FINISH is the port's: HV_EINVAL here.
enum hv_status migrate_hypercall(struct domain *from, u64 step) MUST_CHECK;

#endif
