// SPDX-License-Identifier: GPL-2.0-or-later
// Two traces in two domains: each prints what it prints alone, who goes next is what the schedule says, the same bytes give
// the same logs, and what one domain does to the other is found.
#include <stdlib.h>

#include "../../../hv/test/test.h"

#include "../../trace/gen.h"
#include "../../trace/text.h"
#include "../host_run.h"
#include "../pair.h"

#define LOG_MAX (1u << 16)
#define OPS 40
#define BYTES_MAX (PAIR_HEADER_BYTES + PAIR_SCHEDULE_MAX + PAIR * (TRACE_HEADER_BYTES + OPS * TRACE_OP_BYTES_MAX))

struct log {
	size_t bytes;
	char text[LOG_MAX];
};
static struct log alone[PAIR], first[PAIR], second[PAIR];
static u8 data[BYTES_MAX];

static void add_line(struct log *log, const char *line)
{
	size_t n = strlen(line);

	if (log->bytes + n + 2 > LOG_MAX)
		return;
	memcpy(log->text + log->bytes, line, n);
	log->text[log->bytes + n] = '\n';
	log->bytes += n + 1;
	log->text[log->bytes] = 0;
}

static void line_alone(void *ctx, const char *line) { add_line(ctx, line); }
static void line_0(void *ctx, const char *line) { add_line((struct log *)ctx, line); }
static void line_1(void *ctx, const char *line) { add_line((struct log *)ctx + 1, line); }

static void clear(struct log *log)
{
	log->bytes = 0;
	log->text[0] = 0;
}

static const struct exec_options quiet = { .quiet = true };

static const char *run_pair(size_t bytes, struct log logs[PAIR])
{
	exec_line_fn *lines[PAIR] = { line_0, line_1 };
	struct exec_result result;

	clear(&logs[0]);
	clear(&logs[1]);
	if (exec_pair(data, bytes, &quiet, lines, logs, &result))
		return "the executor could not run the pair";
	return result.finding;
}

static void run_each_alone(size_t bytes)
{
	struct pair_input in = pair_open(data, bytes);
	struct exec_result result;

	for (u32 i = 0; i < PAIR; i++) {
		clear(&alone[i]);
		CHECK_EQ(exec_host(in.trace[i], in.trace_bytes[i], &quiet, line_alone, &alone[i], &result), 0);
		CHECK_STR(result.finding, NULL);
	}
}

// ---- random pairs ---------------------------------------------------------------------------------------

static size_t put_trace(u8 *to, u64 seed, bool plain)
{
	struct trace_config config = { .kind = (enum trace_kind)(seed % TRACE_KINDS_RUN), .vcpus = 1 + seed / 3 % 4,
				       .pool_pages = 20 + seed % 50, .opts = seed * 37 & TRACE_OPTS_ALL, .flush_auto = plain };
	struct trace_gen gen;
	size_t n = trace_put_header(to, &config);

	trace_gen_start(&gen, seed, &config, plain);
	for (u32 i = 0; i < OPS; i++) {
		struct trace_op op;

		trace_gen_next(&gen, &op);
		n += trace_put_op(to + n, &op);
	}
	return n;
}

static size_t make(u64 seed, bool plain)
{
	struct trace_rng rng = { seed };
	struct pair_input in = { .flags = trace_rng_below(&rng, PAIR_FLAGS + 1), .schedule_bytes = trace_rng_below(&rng, 60) };
	size_t n = PAIR_HEADER_BYTES;

	for (size_t i = 0; i < in.schedule_bytes; i++)
		data[n++] = (u8)(trace_rng_below(&rng, 2) * PAIR_TURN_SECOND + trace_rng_below(&rng, 20));
	for (u32 i = 0; i < PAIR; i++) {
		in.trace_bytes[i] = put_trace(data + n, trace_rng_next(&rng) >> 8, plain);
		n += in.trace_bytes[i];
	}
	pair_put_header(data, &in);
	return n;
}

TEST(each_prints_what_it_prints_alone)
{
	for (u64 seed = 1; seed <= 200; seed++) {
		size_t bytes = make(seed, true);

		CHECK_STR(run_pair(bytes, first), NULL);
		run_each_alone(bytes);
		CHECK_STR(first[0].text, alone[0].text);
		CHECK_STR(first[1].text, alone[1].text);
	}
}

TEST(the_same_bytes_give_the_same_logs)
{
	for (u64 seed = 1; seed <= 200; seed++) {
		size_t bytes = make(seed, false);

		CHECK_STR(run_pair(bytes, first), NULL);
		CHECK_STR(run_pair(make(seed + 1000, false), second), NULL);
		make(seed, false);
		CHECK_STR(run_pair(bytes, second), NULL);
		CHECK(strcmp(first[0].text, second[0].text) == 0);
		CHECK(strcmp(first[1].text, second[1].text) == 0);
	}
}

TEST(every_byte_string_is_a_pair)
{
	struct trace_rng rng = { 99 };

	for (u32 n = 0; n < 300; n++) {
		for (u32 i = 0; i < n; i++)
			data[i] = (u8)trace_rng_next(&rng);
		CHECK_STR(run_pair(n, first), NULL);
	}
}

// ---- the schedule -----------------------------------------------------------------------------------------

// Two texts and some turns make `data`.
static size_t put_pair(u32 flags, const char *turns, const char *a, const char *b)
{
	const char *text[PAIR] = { a, b };
	struct pair_input in = { .flags = flags, .schedule_bytes = (strlen(turns) + 1) / 3 };
	size_t n = PAIR_HEADER_BYTES;

	for (size_t i = 0; i < in.schedule_bytes; i++)
		data[n++] = (u8)strtoul(turns + 3 * i, NULL, 16);
	for (u32 i = 0; i < PAIR; i++) {
		struct trace t = { 0 };
		struct trace_error error;
		u8 *encoded;

		if (!trace_parse(&t, text[i], strlen(text[i]), &error)) {
			printf("line %zu: %s\n", error.line, error.text);
			return 0;
		}
		encoded = trace_encode(&t, &in.trace_bytes[i]);
		memcpy(data + n, encoded, in.trace_bytes[i]);
		n += in.trace_bytes[i];
		free(encoded);
		trace_free(&t);
	}
	pair_put_header(data, &in);
	return n;
}

// Which domain printed, line by line, without the last lines.
static char printed[64];

static void print_0(void *ctx, const char *line)
{
	(void)ctx;
	if (*line >= '0' && *line <= '9')
		strcat(printed, "0");
}

static void print_1(void *ctx, const char *line)
{
	(void)ctx;
	if (*line >= '0' && *line <= '9')
		strcat(printed, "1");
}

static const char *order_of(size_t bytes)
{
	exec_line_fn *lines[PAIR] = { print_0, print_1 };
	struct exec_result result;

	printed[0] = 0;
	CHECK_EQ(exec_pair(data, bytes, &quiet, lines, NULL, &result), 0);
	CHECK_STR(result.finding, NULL);
	return printed;
}

#define HEAD "domain hvm64 vcpus=1 pool=40 opts=all flush=auto\n"
#define THREE "peek f0[0]\nblow\npeek f1[0]\n"

TEST(turns_say_who_is_next)
{
	CHECK_STR(order_of(put_pair(0, "", HEAD THREE, HEAD THREE)), "010101");
	CHECK_STR(order_of(put_pair(0, "80 80 00", HEAD THREE, HEAD THREE)), "110100");
	CHECK_STR(order_of(put_pair(0, "00 00 00 00", HEAD THREE, HEAD THREE)), "000111");
	// An op that comes in is done, and told, before the one that it came into.
	CHECK_STR(order_of(put_pair(0, "00 01", HEAD THREE, HEAD THREE)), "010011");
	CHECK_STR(order_of(put_pair(0, "01", HEAD "blow\npeek f0[0]\n", HEAD THREE)), "10101");
	CHECK_STR(order_of(put_pair(0, "7f", HEAD "blow\npeek f0[0]\n", HEAD THREE)), "01011");
}

TEST(a_domain_may_come_late_and_go_early)
{
	for (u32 flags = 0; flags <= PAIR_FLAGS; flags++)
		CHECK_STR(order_of(put_pair(flags, "00 00 81", HEAD "peek f0[0]\nblow\n", HEAD THREE)), "00111");
}

// Each guest has a donor of its own, with its own past.
TEST(donors_are_not_shared)
{
	static const char *const turns[] = { "", "01 81 02 82 03 83 04 84", "85 86 87 08 09 0a 8b" };

	for (u32 i = 0; i < ARRAY_LEN(turns) * (PAIR_FLAGS + 1); i++) {
		size_t bytes = put_pair(i % (PAIR_FLAGS + 1), turns[i / (PAIR_FLAGS + 1)],
					HEAD "remove f3\ndonor renew_d0\nforeign f3 d0\ndonor drop_d1\npeek f3[1]\nforeign f3 none\nforeign f3 d1\n",
					HEAD "remove f3\nforeign f3 d1\ndonor end\npeek f3[1]\nmigrate start\nmigrate finish\n"
					     "foreign f3 none\nforeign f3 d0\npeek f3[1]\ndonor drop_d1\n");

		CHECK_STR(run_pair(bytes, first), NULL);
		run_each_alone(bytes);
		CHECK(strstr(alone[0].text, "5 peek ok 0x2000240002867\n6 foreign ok\n7 foreign enoent\n") != NULL);
		CHECK(strstr(alone[1].text, "4 peek ok 0x200240002267\n") && strstr(alone[1].text, "9 peek ok 0x2000240002867\n10 donor ok\n"));
		CHECK_STR(first[0].text, alone[0].text);
		CHECK_STR(first[1].text, alone[1].text);
	}
}

TEST(the_death_of_one_is_nothing_to_the_other)
{
	for (u32 flags = 0; flags <= PAIR_FLAGS; flags++) {
		size_t bytes = put_pair(flags, "80 01 80 02", HEAD "cr3 hole0\npeek f0[0]\n",
					HEAD "pte f1[0] = f2 P W\npeek f1[0]\nblow\nswap f3 f4\n");

		CHECK_STR(run_pair(bytes, first), NULL);
		CHECK(strstr(first[0].text, "killed wild cr3") != NULL);
		run_each_alone(bytes);
		CHECK_STR(first[0].text, alone[0].text);
		CHECK_STR(first[1].text, alone[1].text);
	}
}

// ---- canaries of rule E1.47 -------------------------------------------------------------------------------

static const char *run_with(exec_line_fn *break_it, size_t bytes)
{
	exec_line_fn *lines[PAIR] = { break_it, NULL };
	static struct exec_result result;

	CHECK_EQ(exec_pair(data, bytes, &quiet, lines, NULL, &result), 0);
	return result.finding;
}

static u64 *word_of_second(void)
{
	return host_frame(p2m_lookup(&domain_get(1)->p2m, gfn(TRACE_F0_GFN + 5)));
}

static void write_to_second(void *ctx, const char *line)
{
	(void)ctx;
	if (*line == '1')
		word_of_second()[3] = 0x1234;
}

static void remember_frame_of_second(void *ctx, const char *line)
{
	struct tlb_entry e = { .va = 0x1000, .mfn = p2m_lookup(&domain_get(1)->p2m, gfn(TRACE_F0_GFN + 5)).n };

	(void)ctx;
	e.generation = host_frame_generation(mfn(e.mfn));
	if (*line == '1')
		tlb_add_page(host_cpu_of(&domain_get(0)->vcpu[0]), &e);
}

static bool starts_with(const char *text, const char *with)
{
	return text && strncmp(text, with, strlen(with)) == 0;
}

TEST(E1_47_a_log_that_the_trace_alone_does_not_give)
{
	size_t bytes = put_pair(0, "00 80", HEAD "blow\n", HEAD "peek f5[3]\n");

	CHECK_STR(run_with(print_0, bytes), NULL);
	CHECK(starts_with(run_with(write_to_second, bytes), "E1.47 isolation: the trace alone does not print"));
}

TEST(E1_47_a_translation_to_a_frame_of_another_domain)
{
	size_t bytes = put_pair(0, "00 80", HEAD "blow\n", HEAD "peek f5[3]\n");

	CHECK(starts_with(run_with(remember_frame_of_second, bytes), "E1.47 isolation: vcpu 0 got"));
}
