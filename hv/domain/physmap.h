// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a running domain's physmap (spec A.11). A frame that a CR3 names stays: HV_EBUSY.
#ifndef HV_DOMAIN_PHYSMAP_H
#define HV_DOMAIN_PHYSMAP_H

#include "domain.h"

// Make g a hole. HV_ENOENT: it is one.
enum hv_status physmap_remove(struct domain *d, gfn_t g) MUST_CHECK;
// Put a fresh zeroed frame behind g, whatever was there. HV_ENOMEM: nothing has changed.
enum hv_status physmap_renew(struct domain *d, gfn_t g) MUST_CHECK;
// Exchange the frames behind a and b. HV_ENOENT: one is a hole.
enum hv_status physmap_swap(struct domain *d, gfn_t a, gfn_t b) MUST_CHECK;

#endif
