// SPDX-License-Identifier: GPL-2.0-or-later
// The space of the access test: every combination of entry bits, access and control bits, as ops of a trace.
#ifndef FUZZ_TOOL_ACCESS_H
#define FUZZ_TOOL_ACCESS_H

#include "../trace/text.h"

// An entry as a state wants it.
struct access_entry {
	u8 target; // as in a trace op
	u64 flags;
};

#define ACCESS_LEVELS 4
#define ACCESS_PLACES (ACCESS_LEVELS + 1) // an entry for each level on the way to the data, and a twin of one of them

// The states of one paging mode, numbered from 0. A state is the control bits and two entries that vary; all other
// entries are permissive.
struct access_space {
	enum trace_mode mode;
	u64 states;
	u64 per_control;     // states for each setting of the control bits
	u32 controls;        // settings
	struct access_set {
		struct access_entry *entry;
		u32 count;
	} product[2], own[ACCESS_LEVELS]; // values of levels 0 and 1 for the product, and of each level alone
};
void access_space_make(struct access_space *space, enum trace_mode mode);
void access_space_free(struct access_space *space);

// Writes states as ops: only those entries and control bits that are not as the state wants them.
struct access_writer {
	const struct access_space *space;
	struct trace trace; // what was written since access_writer_start()
	u64 accesses;
	u32 control;        // bits as they are now: bit n is enum trace_ctl n
	struct {
		struct access_entry entry;
		u8 frame;
		u16 index;
		bool known;   // it is in memory as `entry` has it
		bool touched; // an access has walked it, and nobody has looked at it since
	} place[ACCESS_PLACES];
};
// An empty trace on a fresh guest.
void access_writer_start(struct access_writer *w, const struct access_space *space, const struct trace_config *config);
void access_writer_add(struct access_writer *w, u64 state);

#endif
