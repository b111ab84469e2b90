// SPDX-License-Identifier: GPL-2.0-or-later
// What the host executor holds after its last run, as plain data: guest frames, shadows, vcpus, and the place that the
// finding is about. For `umbra draw` and `umbra show`, which turn it into a graph and into text.
#ifndef FUZZ_EXEC_PICTURE_H
#define FUZZ_EXEC_PICTURE_H

#include "../trace/trace.h"

#define PICTURE_KERNEL TRACE_FRAMES // index of the first frame that holds a table of the guest's kernel
#define PICTURE_FRAMES (TRACE_FRAMES + 3)
#define PICTURE_PAGES 4 // of one shadow, at most
#define PICTURE_SLOTS 4
#define PICTURE_NONE UINT32_MAX // no frame, no shadow

struct picture_frame {
	const char *name; // f0..f15, K3, K2, K1
	u64 gfn, mfn;
	const void *bytes; // 4 KiB, NULL: removed, a hole
	u32 references, writable; // general references, writable mappings
	char types[80];    // what it is shadowed as, blank-separated, "" if it is not
};

struct picture_shadow {
	u64 mfn; // its first page
	const char *type;
	u8 mode, level;    // enum trace_mode of the guest table; 0 is a table of 4 KiB pages
	u8 fanout;         // shadow entries for one guest entry
	bool fake;         // stands for a large page, not for a table
	u64 gfn;           // of the table, or the first one of the large page
	u32 frame;         // index of the guest frame that gfn is, or PICTURE_NONE
	u32 count, pinned; // references; place in the pinned list from 1, 0: not pinned
	u32 pages;
	struct {
		u64 mfn;
		const u64 *words; // 512
	} page[PICTURE_PAGES];
	u64 up_mfn; // page and slot of the parent entry that the up-pointer names; 0: none
	u32 up_slot;
};

struct picture_vcpu {
	u64 cr0, cr3, cr4, efer, hardware_cr3;
	u32 cr3_frame;             // the frame in CR3, or PICTURE_NONE
	u32 slots;                 // that the guest's mode uses
	u64 pdpte[PICTURE_SLOTS];  // pae: as latched
	u32 root[PICTURE_SLOTS];   // index of the shadow in each slot, or PICTURE_NONE
	u32 guest[PICTURE_SLOTS];  // index of the frame that it stands for, or PICTURE_NONE
};

struct picture {
	enum trace_mode mode;
	u32 ops; // that were run
	u32 vcpus, current;
	const char *killed; // NULL, or why the domain died
	struct picture_vcpu vcpu[4];
	struct picture_frame frame[PICTURE_FRAMES];
	struct picture_shadow *shadow; // by machine frame
	u32 shadows;
	u64 place_mfn; // word of machine memory that the finding is about: page, 0 if there is none
	u32 place_slot; // 0..511; more: the page as a whole
};

// The state after the last exec_host(), NULL when it came to its end and nothing is left. Valid until the next call.
const struct picture *exec_host_picture(void);

#endif
