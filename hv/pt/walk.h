// SPDX-License-Identifier: GPL-2.0-or-later
// The guest walker: what a guest's own tables permit (spec A.19, "Guest walker").
#ifndef HV_PT_WALK_H
#define HV_PT_WALK_H

#include "mode.h"

// Where tables live: the machine frame behind a guest frame, MFN_NONE for a hole.
typedef mfn_t pt_frame_of_fn(const void *context, gfn_t g);

// A or D is about to be set in an entry of this table. NULL: nobody wants to know.
typedef void pt_marked_fn(void *context, mfn_t table);

// The translation regime of a vcpu.
struct pt_regime {
	const struct pt_mode *mode;
	mfn_t root;       // top-level table; for unpaged guests the identity table; not used with pdpte
	const u64 *pdpte; // the four latched entries of a PAE guest, NULL in other modes
	bool wp, nxe, smep, smap; // CR0.WP, EFER.NXE (as the mode has it), CR4.SMEP, CR4.SMAP
	bool pse;         // large pages are on: CR4.PSE, which counts in 2-level guests alone
	bool ac;          // RFLAGS.AC
	u32 phys_bits;
	pt_frame_of_fn *frame_of;
	pt_marked_fn *marked;
	void *context;
};

struct pt_access {
	bool write, fetch, user;
};

struct pt_walk {
	bool ok;
	u32 error;                     // !ok: the architectural #PF error code
	u32 leaf_level;                // ok: level of the leaf entry
	gfn_t target;                  // ok: 4 KiB frame of va
	bool writable, user, no_exec;  // ok: rights over all levels
	u32 lowest;                    // lowest level whose entry was read
	mfn_t table[PT_LEVELS_MAX];    // tables passed, valid from the top (latched: the one below) down to `lowest`
	gpte_t entry[PT_LEVELS_MAX];   // entries read there, with the A and D bits that the walk left
};

// Walk. With set_ad, accessed bits are set in each present entry that the walk passes, and accessed and
// dirty in the leaf of a permitted access, by compare-exchange; a lost race restarts the walk (at most
// PT_WALK_RETRIES times, then it reports a spurious success-less "retry": ok false with error ~0).
// Never fails otherwise.
#define PT_WALK_RETRY UINT32_MAX
void pt_walk(const struct pt_regime *regime, gva_t va, struct pt_access access, bool set_ad,
	     struct pt_walk *walk);

// Do the tables still hold what `walk` read? For use after they have been write-protected.
bool pt_walk_current(const struct pt_regime *regime, gva_t va, const struct pt_walk *walk);

#endif
