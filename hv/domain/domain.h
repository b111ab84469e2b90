// SPDX-License-Identifier: GPL-2.0-or-later
// Domains and vcpus: what a port calls. Everything a guest can cause enters the core here.
#ifndef HV_DOMAIN_DOMAIN_H
#define HV_DOMAIN_DOMAIN_H

#include "../base/status.h"
#include "../mem/frame.h"
#include "../pt/entry.h"
#include "../pt/fault.h"
#include "../shadow/guest.h"

// What to build. pool_pages is for shadows alone and is raised to the lower bound (spec A.9).
struct domain_config {
	u32 vcpus;      // 1 to DOMAIN_VCPUS_MAX; 0 for a bare domain that nobody will ever run
	u32 pool_pages;
	u32 opts;       // mask of SHADOW_OPT_* (spec A.19)
	bool bare;      // no mode on: domain_enable() comes later, and no vcpu runs before
};

// Start the core: takes over the frames of the port. Call once before anything else; calling it
// again on the host throws all state away and starts from the same initial state.
void hv_start(void);

// Run every checker over the domain and the frame heap. NULL, or the broken rule's name such as
// "E1.15 refcount". Read-only. full = false runs the constant-time checks only. What the domain audits by itself does not matter.
const char *hv_check(struct domain *d, bool full);
// The same, but of the domain only what its audit levels choose (d->audit, spec A.19), which the guest can set: for checks that
// the hypervisor does by itself, or for the guest.
const char *hv_audit(struct domain *d);

// Build an empty domain with shadow paging on (refcounts, translate, external). On failure nothing
// is left behind. The domain lives in storage of the core. HV_EBUSY: DOMAINS_MAX exist.
enum hv_status domain_create(const struct domain_config *config, struct domain **out) MUST_CHECK;
// The domain with that number, NULL if there is none or it is being destroyed.
struct domain *domain_get(u32 number);
// The same, and until domain_let_go() it is not destroyed. NULL: nothing to let go of. One at a time, no lock of a domain is held, and
// not for long: no domain comes or goes meanwhile.
struct domain *domain_keep(u32 number) MUST_CHECK;
void domain_let_go(void);

// What changes modes or the size of the pool gives the lock back in the middle: one such operation on a domain at a time.
// HV_EBUSY: one is under way. With HV_OK, domain_end() must follow.
enum hv_status domain_begin(struct domain *d) MUST_CHECK;
void domain_end(struct domain *d);

// Switch modes on for a domain that has none (spec A.5, shadow_enable). Between domain_begin() and domain_end(), unless nobody
// else knows the domain. HV_EINVAL, HV_ENOMEM: nothing has changed.
enum hv_status domain_enable(struct domain *d, u32 modes, u32 opts, u32 pool_pages) MUST_CHECK;

// Resize the shadow pool to `pages`, raised to the lower bound, a piece at a time. HV_EBUSY: 0 pages
// while a mode is on, or see domain_begin(). HV_ENOMEM: as it was before.
enum hv_status domain_resize_pool(struct domain *d, u32 pages) MUST_CHECK;
// The same between domain_begin() and domain_end().
enum hv_status domain_resize_begun(struct domain *d, u32 pages) MUST_CHECK;

// Back guest frame g with a fresh zeroed machine frame. HV_EBUSY if it is backed already. HV_EINVAL: no such gfn, or a domain
// without a physmap.
enum hv_status domain_add_ram(struct domain *d, gfn_t g) MUST_CHECK;

// Take everything apart. The domain must not be running, nor any operation on it. After it the frame heap is as before
// domain_create(). Returns NULL, or the rule broken by what was left (E1.52).
const char *domain_destroy(struct domain *d);

// Guest writes to control registers, and EFER (spec F.4). HV_OK; HV_EINVAL: raise #GP(0) and change
// nothing; HV_EDEAD: the domain was killed (CR3 without RAM).
enum hv_status vcpu_write_cr0(struct vcpu *v, u64 value) MUST_CHECK;
enum hv_status vcpu_write_cr3(struct vcpu *v, u64 value) MUST_CHECK;
enum hv_status vcpu_write_cr4(struct vcpu *v, u64 value) MUST_CHECK;
enum hv_status vcpu_write_efer(struct vcpu *v, u64 value) MUST_CHECK;
void vcpu_invlpg(struct vcpu *v, gva_t va);

// v is about to run on this processor. Call before each entry, and hold back interrupts from here to the entry. HV_EBUSY: not
// now, another vcpu of the domain is in the middle of a step (FAULT_STEP). HV_EDEAD: never again.
enum hv_status vcpu_enter(struct vcpu *v) MUST_CHECK;
// v does not run on this processor any more, nor does another vcpu of its domain: flushes of the domain need not reach it.
void vcpu_leave(struct vcpu *v);

// What hardware must be loaded with while v runs. CR3 is the shadow root.
u64 vcpu_hw_cr0(const struct vcpu *v);
u64 vcpu_hw_cr3(const struct vcpu *v);
u64 vcpu_hw_cr4(const struct vcpu *v);
u64 vcpu_hw_efer(const struct vcpu *v);

// The single entry for every page fault of a guest. error is the hardware error code.
// On FAULT_INJECT *cr2 is the address to report: va, or the first byte of another page that the
// instruction touches.
enum fault_result vcpu_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn);

// The one instruction that FAULT_STEP asked for is done, or an event ended it: what the core let it write is taken back and
// its tables are brought up to date. Without such a step under way: nothing.
void vcpu_step_done(struct vcpu *v);

// Hypercalls that change the domain. HYPERCALL_FAIL, _VCPU, _EXIT, _START and _PAUSE belong to the port, and it is the port that
// has the guest's donor, for _FOREIGN and _DONOR (donor.h). Those and unknown numbers: HV_EINVAL.
enum hv_status hypercall(struct vcpu *v, u64 number, u64 arg0, u64 arg1) MUST_CHECK;

// Read or write guest-physical memory from outside the guest (loader, harness). Writes go through
// the same validation as emulated guest writes, and are done to read-only RAM too. HV_ENOENT when a byte has no RAM; what another
// domain has lent (P2M_FOREIGN) can be read.
enum hv_status domain_read(struct domain *d, gpa_t at, void *to, u32 bytes) MUST_CHECK;
enum hv_status domain_write(struct domain *d, gpa_t at, const void *from, u32 bytes) MUST_CHECK;

#endif
