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
};

#endif
