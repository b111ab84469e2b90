// SPDX-License-Identifier: GPL-2.0-or-later
// The mutator: what it makes is a canonical trace of the same kind that fits, the same seed makes the same, and idioms
// map what they then use.
// link: fuzz/target/mutate.c
// link: fuzz/target/idiom.c
#include "../../../hv/test/test.h"
#include "../../trace/text.h"
#include "../idiom.h"
#include "../mutate.h"

#define ROOM 4096

static bool is_canonical(const u8 *data, size_t bytes)
{
	u8 again[TRACE_HEADER_BYTES + MUTATE_OPS_MAX * TRACE_OP_BYTES_MAX];
	struct trace_reader r;
	struct trace_op op;
	size_t n;

	trace_open(&r, data, bytes);
	n = trace_put_header(again, &r.config);
	while (trace_next(&r, &op))
		n += trace_put_op(again + n, &op);
	return n == bytes && !memcmp(again, data, n);
}

// The header keeps the kind; with a forced one, it gets that.
TEST(mutation_keeps_the_kind_and_the_room)
{
	struct trace_rng rng = { 4 };

	for (u32 round = 0; round < 20000; round++) {
		u8 a[ROOM], b[ROOM], to[ROOM];
		u32 kind = round % TRACE_KINDS_RUN, forced = round / 8 % (TRACE_KINDS_RUN + 1);
		size_t bytes = 1 + trace_rng_below(&rng, 600),
		       max = TRACE_HEADER_BYTES + trace_rng_below(&rng, ROOM - 5), n, m;

		for (size_t i = 0; i < bytes; i++)
			a[i] = (u8)trace_rng_next(&rng);
		a[0] = (u8)kind;
		memcpy(b, a, sizeof(b));
		mutate_set_kind(forced < TRACE_KINDS_RUN ? (int)forced : -1);
		if (forced < TRACE_KINDS_RUN)
			kind = forced;
		n = mutate_trace(a, bytes, max, round);
		CHECK(n >= TRACE_HEADER_BYTES && n <= max);
		CHECK_EQ(a[0], kind);
		CHECK(is_canonical(a, n));
		CHECK_EQ(mutate_trace(b, bytes, max, round), n);
		CHECK(!memcmp(a, b, n));
		b[0] = (u8)((b[0] + round) % TRACE_KINDS_RUN);
		m = mutate_splice(a, n, b, n, to, max, round);
		CHECK(m <= max && is_canonical(to, m));
		CHECK_EQ(to[0], kind);
	}
	mutate_set_kind(-1);
}

TEST(cutting_takes_out_whole_ops)
{
	const struct trace_config config = { .kind = TRACE_HVM32, .vcpus = 1, .pool_pages = TRACE_POOL_MIN };
	const struct trace_op flush = { .mode = TRACE_MODE_32, .code = OP_FLUSH };
	u8 data[ROOM], to[ROOM];
	size_t n = trace_put_header(data, &config);
	u32 total;

	for (u32 i = 0; i < 10; i++)
		n += trace_put_op(data + n, &flush);
	CHECK_EQ(mutate_cut(data, n, to, sizeof(to), 4, 3, &total), n - 3);
	CHECK_EQ(total, 10);
	CHECK_EQ(mutate_cut(data, n, to, sizeof(to), 8, 100, &total), n - 2);
	CHECK_EQ(mutate_cut(data, n, to, sizeof(to), 10, 1, &total), n);
}

// Every idiom that maps something reaches it at least now and then.
TEST(idioms_are_canonical_and_of_use)
{
	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++) {
		static struct trace_picture picture;
		struct trace_rng rng = { 8 };
		u32 accesses = 0, good = 0;

		for (u32 round = 0; round < 5000; round++) {
			struct trace_config config = { .kind = (enum trace_kind)kind,
						       .vcpus = 1 + round % 2,
						       .pool_pages = 24 };
			struct trace_op idiom[IDIOM_OPS_MAX];
			u32 n = idiom_make(&rng, &config, idiom);

			CHECK(n >= 1 && n <= IDIOM_OPS_MAX);
			picture_start(&picture, &config);
			for (u32 i = 0; i < n; i++) {
				struct trace_op normal = idiom[i];

				trace_normalise(&normal);
				CHECK(trace_op_equal(&normal, &idiom[i]));
				CHECK(!idiom[i].race_nth || config.vcpus > 1);
				CHECK(idiom[i].code == OP_VISIT || idiom[i].mode == kind);
				if (idiom[i].code == OP_READ || idiom[i].code == OP_WRITE) {
					accesses++;
					good += picture_allows(&picture, &idiom[i]);
				}
				picture_apply(&picture, &idiom[i]);
			}
		}
		CHECK(good > accesses / 2);
	}
}
