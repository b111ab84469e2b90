// SPDX-License-Identifier: GPL-2.0-or-later
// Mutation of pairs: one of the two traces by the mutator for traces, the schedule by bytes, the flags by bits.
//
// Parts: taking apart and putting together; the schedule; the entries.
//
// Each part has half of the room that is left, so that one trace never crowds out the other. Half of the turns have no
// point. No guest has one vcpu alone: this is about several.
//
// Cost: that of the mutator for traces. Not thread-safe.
#include "pair_mutate.h"

#include <string.h>

#include "../exec/pair.h"
#include "../trace/gen.h"

#define VCPUS_AT 1 // byte of a trace's header: vcpus less one
#define PART_MAX (TRACE_HEADER_BYTES + MUTATE_OPS_MAX * TRACE_OP_BYTES_MAX)

static struct trace_rng rng;
static struct {
	u8 flags, schedule[PAIR_SCHEDULE_MAX], trace[PAIR][PART_MAX];
	size_t schedule_bytes, trace_bytes[PAIR];
} work;

static u32 below(u32 n)
{
	return trace_rng_below(&rng, n);
}

// ---- apart and together -----------------------------------------------------------------------------------
static void take_apart(const u8 *data, size_t bytes)
{
	struct pair_input in = pair_open(data, bytes);

	work.flags = (u8)in.flags;
	work.schedule_bytes = in.schedule_bytes;
	memcpy(work.schedule, in.schedule, in.schedule_bytes);
	for (u32 i = 0; i < PAIR; i++) {
		work.trace_bytes[i] = pair_at_most(in.trace_bytes[i], PART_MAX);
		memcpy(work.trace[i], in.trace[i], work.trace_bytes[i]);
	}
}

// What a trace may have of `max` bytes for all.
static size_t part_room(size_t max)
{
	size_t rest = PAIR_HEADER_BYTES + work.schedule_bytes;

	return max < rest ? 0 : pair_at_most(pair_at_most((max - rest) / PAIR, PART_MAX), PAIR_TRACE_MAX);
}

static size_t put_together(u8 *to, size_t max)
{
	struct pair_input in = { .flags = work.flags, .schedule_bytes = work.schedule_bytes };
	size_t n = PAIR_HEADER_BYTES, room = part_room(max);

	if (max < n + in.schedule_bytes)
		return 0;
	memcpy(to + n, work.schedule, in.schedule_bytes);
	n += in.schedule_bytes;
	for (u32 i = 0; i < PAIR; i++) {
		u32 ops;

		// Whole ops only: the second trace begins where the first one ends.
		in.trace_bytes[i] = mutate_cut(work.trace[i], work.trace_bytes[i], to + n, room, 0, 0, &ops);
		if (in.trace_bytes[i] > VCPUS_AT && !to[n + VCPUS_AT])
			to[n + VCPUS_AT] = 1;
		n += in.trace_bytes[i];
	}
	pair_put_header(to, &in);
	return n;
}

// ---- the schedule -----------------------------------------------------------------------------------------
static u8 random_turn(void)
{
	u32 point = below(2) ? 0 : 1 + below(below(3) ? 6 : 40);

	return (u8)(below(2) * PAIR_TURN_SECOND | point);
}

static void edit_schedule(void)
{
	size_t n = work.schedule_bytes, at = n ? below((u32)n) : 0, more = 1 + below(8);

	switch (below(4)) {
	case 0: // longer
		for (; more && work.schedule_bytes < PAIR_SCHEDULE_MAX; more--)
			work.schedule[work.schedule_bytes++] = random_turn();
		break;
	case 1: // shorter
		work.schedule_bytes = at;
		break;
	case 2: // one more in the middle
		if (n == PAIR_SCHEDULE_MAX)
			break;
		memmove(work.schedule + at + 1, work.schedule + at, n - at);
		work.schedule[at] = random_turn();
		work.schedule_bytes = n + 1;
		break;
	default:
		if (n)
			work.schedule[at] = random_turn();
	}
}

// ---- entries ----------------------------------------------------------------------------------------------
size_t pair_mutate(u8 *data, size_t bytes, size_t max, u64 seed)
{
	u32 which;

	rng.state = seed;
	take_apart(data, bytes);
	which = below(PAIR);
	if (below(4) == 0)
		edit_schedule();
	if (below(16) == 0)
		work.flags ^= (u8)(1u << below(3));
	if (below(4) || !work.trace_bytes[which])
		work.trace_bytes[which] = mutate_trace(work.trace[which], work.trace_bytes[which], part_room(max), seed);
	return put_together(data, max);
}

size_t pair_splice(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max, u64 seed)
{
	static u8 other[PART_MAX];
	struct pair_input in = pair_open(b, b_bytes);
	u32 which, from;
	size_t n;

	rng.state = seed;
	take_apart(a, a_bytes);
	which = below(PAIR);
	from = below(PAIR);
	n = pair_at_most(in.trace_bytes[from], PART_MAX);
	if (below(2)) { // the whole trace of another pair
		memcpy(work.trace[which], in.trace[from], n);
		work.trace_bytes[which] = n;
	} else {
		memcpy(other, work.trace[which], work.trace_bytes[which]);
		work.trace_bytes[which] = mutate_splice(other, work.trace_bytes[which], in.trace[from], n, work.trace[which],
							part_room(max), seed);
	}
	return put_together(to, max);
}

size_t pair_cut(const u8 *data, size_t bytes, u8 *to, size_t max, u32 at, u32 count, u32 *total)
{
	static u8 cut[PART_MAX];

	take_apart(data, bytes);
	*total = 0;
	for (u32 i = 0; i < PAIR; i++) {
		u32 ops, here, n;

		mutate_cut(work.trace[i], work.trace_bytes[i], cut, sizeof(cut), 0, 0, &ops);
		here = at > *total ? at - *total : 0;
		n = at + count > *total + here ? at + count - *total - here : 0;
		*total += ops;
		work.trace_bytes[i] = mutate_cut(work.trace[i], work.trace_bytes[i], cut, sizeof(cut), here, n, &ops);
		memcpy(work.trace[i], cut, work.trace_bytes[i]);
	}
	return put_together(to, max);
}
