// SPDX-License-Identifier: GPL-2.0-or-later
// Pairs of traces as text: text and bytes are the same pair, and what is wrong with a text is said with its line.
// link: fuzz/tool/pair.c
// link: fuzz/tool/pair_min.c
// link: fuzz/tool/file.c
// link: fuzz/tool/signature.c
#include <stdlib.h>
#include <unistd.h>

#include "../../../hv/test/test.h"
#include "../../trace/gen.h"
#include "../pair.h"

static char path[] = "/tmp/umbra-pair-test-XXXXXX";

static const char *in_file(const char *text, size_t bytes)
{
	if (path[sizeof(path) - 2] == 'X')
		close(mkstemp(path));
	tool_write_file(path, text, bytes);
	return path;
}

static bool loads(const char *text, struct pair_file *p)
{
	*p = (struct pair_file){ 0 };
	return pair_load(in_file(text, strlen(text)), p);
}

static void random_pair(u64 seed, struct pair_file *p)
{
	struct trace_rng rng = { seed };

	*p = (struct pair_file){ .flags = trace_rng_below(&rng, PAIR_FLAGS + 1), .turns = trace_rng_below(&rng, PAIR_SCHEDULE_MAX + 1) };
	for (size_t i = 0; i < p->turns; i++)
		p->schedule[i] = (u8)trace_rng_next(&rng);
	for (u32 i = 0; i < PAIR; i++) {
		struct trace_gen gen;
		struct trace_op op;

		p->trace[i].config = (struct trace_config){ .kind = (enum trace_kind)trace_rng_below(&rng, TRACE_KINDS_RUN),
							    .vcpus = 1 + trace_rng_below(&rng, TRACE_VCPUS_MAX),
							    .pool_pages = TRACE_POOL_MIN, .opts = trace_rng_below(&rng, 256) };
		trace_gen_start(&gen, seed + i, &p->trace[i].config, false);
		for (u32 n = trace_rng_below(&rng, 30); n; n--) {
			trace_gen_next(&gen, &op);
			trace_append(&p->trace[i], &op);
		}
	}
}

TEST(text_and_bytes_are_the_same_pair)
{
	for (u64 seed = 1; seed <= 200; seed++) {
		struct pair_file p, from_text = { 0 }, from_bytes = { 0 };
		size_t bytes, text_bytes, n, m;

		random_pair(seed, &p);
		u8 *data = pair_encode(&p, &bytes), *again, *and_again;
		char *text = pair_text(&p, &text_bytes);

		CHECK(pair_load(in_file(text, text_bytes), &from_text));
		CHECK(pair_load(in_file((char *)data, bytes), &from_bytes));
		again = pair_encode(&from_text, &n);
		and_again = pair_encode(&from_bytes, &m);
		CHECK(n == bytes && !memcmp(again, data, n));
		CHECK(m == bytes && !memcmp(and_again, data, m));
		free(data);
		free(again);
		free(and_again);
		free(text);
		pair_free(&p);
		pair_free(&from_text);
		pair_free(&from_bytes);
	}
	unlink(path);
}

#define DOMAIN "domain hvm64 vcpus=1 pool=40 opts=all flush=auto\n"

TEST(comments_and_blanks_do_not_count)
{
	struct pair_file p;

	CHECK(loads("# a pair\n\n  pair late  at_once # both\nschedule 0 1:127\nschedule\t1\n" DOMAIN "blow # all\n\n" DOMAIN, &p));
	CHECK_EQ(p.flags, PAIR_SECOND_IS_LATE | PAIR_DIES_AT_ONCE);
	CHECK_EQ(p.turns, 3);
	CHECK_EQ(p.schedule[0], 0);
	CHECK_EQ(p.schedule[1], PAIR_TURN_SECOND | 127);
	CHECK_EQ(p.schedule[2], PAIR_TURN_SECOND);
	CHECK_EQ(p.trace[0].count, 1);
	CHECK_EQ(p.trace[1].count, 0);
	pair_free(&p);
	unlink(path);
}

TEST(what_is_no_pair_is_refused)
{
	static const char *const wrong[] = {
		"pair\n", "pair\n" DOMAIN, "pair soon\n" DOMAIN DOMAIN, "schedule 2\n" DOMAIN DOMAIN,
		"schedule 0:128\n" DOMAIN DOMAIN, "schedule 0:\n" DOMAIN DOMAIN, "schedule 01\n" DOMAIN DOMAIN,
		"pair\nblow\n" DOMAIN DOMAIN, "pair\n" DOMAIN "blow\n" DOMAIN "blew\n", "pair\n" DOMAIN DOMAIN DOMAIN,
	};
	struct pair_file p;
	int kept = dup(2);

	CHECK(freopen("/dev/null", "w", stderr) != NULL);
	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		if (!CHECK(!loads(wrong[i], &p)))
			printf("  accepted: %s", wrong[i]);
		pair_free(&p);
	}
	fflush(stderr);
	dup2(kept, 2);
	unlink(path);
}
