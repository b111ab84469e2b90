// SPDX-License-Identifier: GPL-2.0-or-later
// Two traces and a schedule in one byte string: what exec_pair() runs, `umbra` prints and the mutator changes. Every byte
// string is such a pair; missing bytes read as zero.
//
//   0      PAIR_* flags
//   1      bytes of the schedule
//   2, 3   bytes of the first trace, little-endian
//   then the schedule, the first trace and, up to the end, the second; what exceeds the input is cut
//
// Each byte of the schedule is a turn: bit 7 says which domain executes its next op (the other one if its trace is over).
// If the other bits are a number k from 1, the next op of the other domain runs inside it, at the k-th point where another
// processor could come in. When the schedule is over the domains take turns, one op each.
#ifndef FUZZ_EXEC_PAIR_H
#define FUZZ_EXEC_PAIR_H

#include "../../hv/base/types.h"

#define PAIR 2
#define PAIR_HEADER_BYTES 4
#define PAIR_SCHEDULE_MAX 255
#define PAIR_TRACE_MAX 65535 // bytes of the first trace

#define PAIR_SECOND_DIES_FIRST 1u // the order in which the domains are destroyed
#define PAIR_DIES_AT_ONCE 2u      // a domain whose trace is over is destroyed, the other goes on
#define PAIR_SECOND_IS_LATE 4u    // the second is made when its first op is due
#define PAIR_FLAGS 7u
#define PAIR_TURN_SECOND 0x80u
#define PAIR_TURN_POINT 0x7fu

struct pair_input {
	u32 flags;
	const u8 *schedule, *trace[PAIR];
	size_t schedule_bytes, trace_bytes[PAIR];
};

static inline size_t pair_at_most(size_t n, size_t max) { return n < max ? n : max; }

static inline struct pair_input pair_open(const u8 *data, size_t bytes)
{
	size_t head = pair_at_most(bytes, PAIR_HEADER_BYTES), left = bytes - head;
	u32 first = (head > 2 ? data[2] : 0u) | (head > 3 ? (u32)data[3] << 8 : 0u);
	struct pair_input in = { .flags = head ? data[0] & PAIR_FLAGS : 0, .schedule = data + head };

	in.schedule_bytes = pair_at_most(head > 1 ? data[1] : 0, left);
	left -= in.schedule_bytes;
	in.trace[0] = in.schedule + in.schedule_bytes;
	in.trace_bytes[0] = pair_at_most(first, left);
	in.trace[1] = in.trace[0] + in.trace_bytes[0];
	in.trace_bytes[1] = left - in.trace_bytes[0];
	return in;
}

// Write the four bytes in front of what in names. Its lengths are within bounds.
static inline void pair_put_header(u8 *to, const struct pair_input *in)
{
	to[0] = (u8)in->flags;
	to[1] = (u8)in->schedule_bytes;
	to[2] = (u8)in->trace_bytes[0];
	to[3] = (u8)(in->trace_bytes[0] >> 8);
}

#endif
