// SPDX-License-Identifier: GPL-2.0-or-later
// The mutator for pairs: what it makes fits and is a pair of canonical traces of two vcpus or more, the same seed makes the
// same, and cutting numbers the ops of both traces through.
// link: fuzz/target/pair_mutate.c
// link: fuzz/target/mutate.c
// link: fuzz/target/idiom.c
#include "../../../hv/test/test.h"
#include "../../exec/pair.h"
#include "../pair_mutate.h"

#define ROOM 2048

static u32 ops_of(const u8 *data, size_t bytes)
{
	struct trace_reader r;
	struct trace_op op;
	u32 n = 0;

	trace_open(&r, data, bytes);
	while (trace_next(&r, &op))
		n++;
	return n;
}

static bool is_canonical(const u8 *data, size_t bytes)
{
	static u8 again[ROOM + TRACE_OP_BYTES_MAX];
	struct trace_reader r;
	struct trace_op op;
	size_t n;

	trace_open(&r, data, bytes);
	n = trace_put_header(again, &r.config);
	while (n <= bytes && trace_next(&r, &op))
		n += trace_put_op(again + n, &op);
	return n == bytes && !memcmp(again, data, n);
}

static bool is_pair(const u8 *data, size_t bytes)
{
	struct pair_input in = pair_open(data, bytes);

	for (u32 i = 0; i < PAIR; i++)
		if (in.trace_bytes[i] && (!is_canonical(in.trace[i], in.trace_bytes[i]) || !in.trace[i][1]))
			return false;
	return bytes == PAIR_HEADER_BYTES + in.schedule_bytes + in.trace_bytes[0] + in.trace_bytes[1];
}

static size_t random_bytes(struct trace_rng *rng, u8 *to)
{
	size_t n = trace_rng_below(rng, 600);

	for (size_t i = 0; i < n; i++)
		to[i] = (u8)trace_rng_next(rng);
	return n;
}

TEST(what_is_made_is_a_pair_that_fits)
{
	struct trace_rng rng = { 4 };
	u32 points = 0, flags = 0;

	for (u32 round = 0; round < 5000; round++) {
		static u8 a[ROOM], b[ROOM], to[ROOM], again[ROOM];
		size_t a_bytes = random_bytes(&rng, a), b_bytes = random_bytes(&rng, b);
		size_t max = 1 + trace_rng_below(&rng, ROOM), n, m;

		memcpy(to, a, a_bytes);
		memcpy(again, a, a_bytes);
		n = pair_mutate(to, a_bytes < max ? a_bytes : max, max, round);
		m = pair_mutate(again, a_bytes < max ? a_bytes : max, max, round);
		CHECK(n <= max);
		CHECK(n == m && !memcmp(to, again, n));
		CHECK(!n || is_pair(to, n));
		for (u32 more = 0; n && more < 8; more++)
			n = pair_mutate(to, n, max, round * 8 + more);
		CHECK(!n || is_pair(to, n));
		n = pair_splice(a, a_bytes, b, b_bytes, to, max, round);
		CHECK(n <= max);
		CHECK(!n || is_pair(to, n));
	}
	for (u32 round = 0; round < 2000; round++) { // from nothing
		static u8 to[ROOM];
		size_t n = 0;

		for (u32 more = 0; more < 12; more++)
			n = pair_mutate(to, n, ROOM, round * 12 + more);
		struct pair_input in = pair_open(to, n);

		flags |= in.flags;
		for (size_t i = 0; i < in.schedule_bytes; i++)
			points += (in.schedule[i] & PAIR_TURN_POINT) != 0;
	}
	CHECK_EQ(flags, PAIR_FLAGS);
	CHECK(points > 1000);
}

TEST(ops_are_cut_from_either_trace)
{
	static u8 pair[ROOM], cut[ROOM];
	size_t n = 0;
	u32 total, again;

	for (u32 more = 0; more < 20; more++)
		n = pair_mutate(pair, n, ROOM, 77 + more);
	struct pair_input in = pair_open(pair, n);
	u32 first = ops_of(in.trace[0], in.trace_bytes[0]), second = ops_of(in.trace[1], in.trace_bytes[1]);

	CHECK(first > 2 && second > 2);
	for (u32 at = 0; at < first + second; at++)
		for (u32 count = 0; count < 5; count++) {
			u32 from_first = at >= first ? 0 : count < first - at ? count : first - at;
			u32 from_second = count - from_first;
			size_t bytes = pair_cut(pair, n, cut, sizeof(cut), at, count, &total);

			if (at < first && from_second > second)
				from_second = second;
			if (at >= first && from_second > first + second - at)
				from_second = first + second - at;
			CHECK_EQ(total, first + second);
			CHECK(is_pair(cut, bytes));
			in = pair_open(cut, bytes);
			CHECK_EQ(ops_of(in.trace[0], in.trace_bytes[0]), first - from_first);
			CHECK_EQ(ops_of(in.trace[1], in.trace_bytes[1]), second - from_second);
		}
	pair_cut(pair, n, cut, sizeof(cut), first + second, 3, &again);
	CHECK_EQ(again, total);
}
