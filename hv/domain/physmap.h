// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a running domain's physmap (spec A.11). A frame that a CR3 names stays: HV_EBUSY. HV_EINVAL: a domain without
// MODE_TRANSLATE has no physmap; or what the function says. HV_EDEAD: the domain is dead. On any error
// nothing has changed; see physmap_make_large() for what that means there.
#ifndef HV_DOMAIN_PHYSMAP_H
#define HV_DOMAIN_PHYSMAP_H

#include "domain.h"

// Make g a hole. HV_ENOENT: it is one.
enum hv_status physmap_remove(struct domain *d, gfn_t g) MUST_CHECK;
// Put a fresh zeroed frame behind g, whatever RAM was there.
enum hv_status physmap_renew(struct domain *d, gfn_t g) MUST_CHECK;
// Exchange the frames behind a and b, with their types. HV_ENOENT: one is a hole.
enum hv_status physmap_swap(struct domain *d, gfn_t a, gfn_t b) MUST_CHECK;
// The frame behind `from`, with its type, goes behind `to`, whose own frame is given up; `from` becomes a hole. A frame has
// one gfn: this is what asking for a second one amounts to. HV_ENOENT: `from` is a hole.
enum hv_status physmap_move(struct domain *d, gfn_t from, gfn_t to) MUST_CHECK;
// HV_EINVAL: not a type of RAM. HV_ENOENT: no RAM there.
enum hv_status physmap_retype(struct domain *d, gfn_t g, enum p2m_type type) MUST_CHECK;
// Let gfns [first, first + count) be the machine's own addresses, or holes again. All or none: see p2m_identity().
enum hv_status physmap_identity(struct domain *d, gfn_t first, u64 count, bool on) MUST_CHECK;
// up: give zeroed RAM to the holes among count gfns, RAM stays; else take RAM away, holes stay. HV_EBUSY: one is
// neither hole nor RAM; or RAM would go that a CR3 names.
// All or none, so all under one hold of the lock, and few: what a page held that has gone is lost, and what a new one got may be in
// use, so neither can be undone once others could have looked. A guest is told one status and must know from it what it still has.
#define PHYSMAP_BALLOON_MAX BOUND_BALLOON_FRAMES
enum hv_status physmap_balloon(struct domain *d, gfn_t first, u32 count, bool up) MUST_CHECK;
// Back the aligned run of 1 << P2M_LARGE_ORDER gfns around g by one chunk of the machine and one entry of the p2m. Page by page,
// others may go first in between. HV_EINVAL: not all of it is ordinary RAM. HV_EBUSY: another call is at it in this domain; or some
// of it was changed meanwhile, call again. HV_EDEAD: the domain is dead, or there were more references to a loaded table than can be
// counted. Whatever the result, the guest sees what it saw: pages that have got another frame keep it, the rest of the chunk is
// given back.
enum hv_status physmap_make_large(struct domain *d, gfn_t g) MUST_CHECK;
// Let instructions of d read `source` of another domain at g, a hole; stores are lost, and nothing but instructions gets there
// (no table may lie there, no code). The frame is held until it is unmapped or d is no more: it stays the one it was, contents and
// all, when its owner gives it up, renews it, or is destroyed. Meanwhile g is no RAM, and nothing else either: what needs RAM there
// answers HV_ENOENT, what needs a hole HV_EBUSY, and so does a balloon.
// HV_EINVAL: no such g, or d itself. HV_ENOENT: nothing to map, or nothing mapped. HV_EBUSY: g is no hole. HV_ENOMEM: as always, or
// too many hold the frame.
enum hv_status physmap_map_foreign(struct domain *d, gfn_t g, struct domain *from, gfn_t source) MUST_CHECK;
// The same with a frame on which the caller has a hold (page_hold()), whoever its owner is: that goes over to the p2m, or is
// dropped. HV_EINVAL: it is a frame of d.
enum hv_status physmap_map_held(struct domain *d, gfn_t g, mfn_t m) MUST_CHECK;
enum hv_status physmap_unmap_foreign(struct domain *d, gfn_t g) MUST_CHECK;

#endif
