// SPDX-License-Identifier: GPL-2.0-or-later
// The hypercall ABI, shared with guests: VMMCALL with the number in RAX, arguments in RDI and RSI;
// the result, an enum hv_status, comes back in RAX. A guest finds Umbra by CPUID leaf 0x40000000,
// whose EBX, ECX, EDX spell HYPERCALL_SIGNATURE.
#ifndef HV_DOMAIN_HYPERCALL_H
#define HV_DOMAIN_HYPERCALL_H

#define HYPERCALL_SIGNATURE "UmbraUmbraUm"

enum hypercall_number {
	HYPERCALL_CHECK = 1,    // run every checker: HV_OK or HV_ECHECK
	HYPERCALL_UNSHADOW = 2, // (gfn) drop every shadow of a frame
	HYPERCALL_BLOW = 3,     // drop every shadow of the domain (spec A.9 blow_tables)
	HYPERCALL_POOL = 4,     // (pages) resize the shadow pool, raised to the lower bound
	HYPERCALL_SWAP = 5,     // (gfn, gfn) exchange the machine frames behind two guest frames
	HYPERCALL_RENEW = 6,    // (gfn) put a fresh zeroed frame behind a guest frame
	HYPERCALL_REMOVE = 7,   // (gfn) make a hole
	HYPERCALL_FAIL = 8,     // (k) the k-th fallible step of the next operation fails; 0 disarms
	HYPERCALL_VCPU = 9,     // (n) go on with this register state on vcpu n's control registers
	HYPERCALL_EXIT = 10,    // (code) the guest is done; 0 means success
	HYPERCALL_CONTROL = 11, // (code | who << 8, argument) control operation (control.h, spec A.18)
	HYPERCALL_MIGRATE = 12, // (step) live migration: 0 start, 1 round, 2 finish, 3 cancel
	HYPERCALL_RETYPE = 13,  // (gfn, p2m type) change the type of a frame
	HYPERCALL_MOVE = 14,    // (gfn, gfn) the frame behind the first goes behind the second
	HYPERCALL_IDENTITY = 15, // (gfn, count << 1 | on) identity range on or off
	HYPERCALL_BALLOON = 16, // (gfn, count << 1 | up) make holes, or fill them
	HYPERCALL_LARGE = 17,   // (gfn) back the run around a frame with one large entry
	HYPERCALL_AUDIT = 18,   // (mask of AUDIT_*) what is audited by itself (spec A.19)
	HYPERCALL_START = 19,   // (vcpu, address) a vcpu starts there with the caller's control registers, RDI = vcpu
	HYPERCALL_PAUSE = 20,   // give up the processor until the scheduler's next round
	HYPERCALL_FOREIGN = 21, // (gfn, n) map frame n - 1 of the guest's donor at a hole; n = 0: unmap what is mapped there (donor.h)
	HYPERCALL_DONOR = 22,   // (deed, n) the donor 0 renews, 1 gives up its frame n, or 2 is destroyed and made anew (n = 0)
};

#endif
