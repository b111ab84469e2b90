// SPDX-License-Identifier: GPL-2.0-or-later
// Leaving paging, and the way between the halves of the image.
//
// Each half starts with a head (struct half) at a fixed physical address. The crossing (cross.S) is entered by a
// half that has loaded its own root, in which the image is also mapped one to one. It turns paging off, does what the
// mailbox asks for, and enters a half again: with the state that the mailbox says, that half's own root, and from the
// mapping that is one to one.
#ifndef STRESS_GUEST_CROSSING_H
#define STRESS_GUEST_CROSSING_H

#include "layout.h"

// Offsets in struct half.
#define HALF_ROOT 8
#define HALF_BOOT 12   // entry from the loader
#define HALF_VISIT 16  // entry for one access
#define HALF_RESUME 20 // entry behind cross_go()

// Offsets in struct mailbox.
#define MAIL_MAGIC 0
#define MAIL_TRACE_START 4
#define MAIL_TRACE_END 8
#define MAIL_ACTION 12
#define MAIL_AT 16
#define MAIL_LOW 20
#define MAIL_HIGH 24
#define MAIL_BYTES 28
#define MAIL_HOME 32    // struct mail_state
#define MAIL_VISITED 48 // the same
#define MAIL_STATE_CR0 0
#define MAIL_STATE_CR4 4
#define MAIL_STATE_EFER 8
#define MAIL_STATE_MODE 12

// What the crossing does with paging off; then it enters the home half, or the visited one.
#define CROSS_HOME 0
#define CROSS_STORE 1 // store 4 or 8 bytes, low half first
#define CROSS_REAL 2  // the same in real mode
#define CROSS_VISIT 3

#ifndef __ASSEMBLER__
#include "../../fuzz/trace/trace.h"

_Static_assert(TRACE_KINDS_RUN == 3, "cross.S repeats it");

struct half {
	u64 word; // what the reserved bytes of a trace frame hold for this mode
	u32 root; // physical addresses, all of them
	u32 boot, visit, resume;
};
_Static_assert(offsetof(struct half, root) == HALF_ROOT && offsetof(struct half, boot) == HALF_BOOT &&
		       offsetof(struct half, visit) == HALF_VISIT && offsetof(struct half, resume) == HALF_RESUME,
	       "assembly reads it");

// A processor state to enter a half with.
struct mail_state {
	u32 cr0, cr4, efer, mode;
};

struct mailbox {
	u32 magic, trace_start, trace_end; // from the loader; the trace is empty when both are 0
	u32 action;
	u32 at, low, high, bytes; // CROSS_STORE, CROSS_REAL
	struct mail_state home, visited;
	// CROSS_VISIT: one access, and what came of it.
	u64 cr3 __attribute__((aligned(8)));
	u64 va, value;
	u32 access_bytes;
	bool store;
	u32 vector, error; // of the exception that ended it
	u64 cr2, result;
};
#define MAIL_OFFSET(field, offset) _Static_assert(offsetof(struct mailbox, field) == (offset), "assembly uses it")
MAIL_OFFSET(magic, MAIL_MAGIC);
MAIL_OFFSET(trace_start, MAIL_TRACE_START);
MAIL_OFFSET(trace_end, MAIL_TRACE_END);
MAIL_OFFSET(action, MAIL_ACTION);
MAIL_OFFSET(at, MAIL_AT);
MAIL_OFFSET(low, MAIL_LOW);
MAIL_OFFSET(high, MAIL_HIGH);
MAIL_OFFSET(bytes, MAIL_BYTES);
MAIL_OFFSET(home, MAIL_HOME);
MAIL_OFFSET(visited, MAIL_VISITED);
#undef MAIL_OFFSET
_Static_assert(offsetof(struct mail_state, cr4) == MAIL_STATE_CR4 &&
		       offsetof(struct mail_state, efer) == MAIL_STATE_EFER &&
		       offsetof(struct mail_state, mode) == MAIL_STATE_MODE,
	       "assembly reads it");

// This half's view of the mailbox and of a half's head.
static inline struct mailbox *mailbox(void)
{
	return (struct mailbox *)((uintptr_t)KERNEL_BASE + MAILBOX_AT);
}
static inline const struct half *half_of(enum trace_mode mode)
{
	return (const struct half *)((uintptr_t)KERNEL_BASE + (mode == TRACE_MODE_64   ? HALF64_AT
							       : mode == TRACE_MODE_32 ? HALF32_AT
										       : HALFPAE_AT));
}

// PHYS and REAL, and CR3 with a high root.
void cross_store(const struct trace_op *op, bool real, struct obs *o);
void cross_root(u32 cr3, struct obs *o);
// VISIT.
void cross_visit(const struct trace_op *op, struct obs *o);
#endif

#endif
