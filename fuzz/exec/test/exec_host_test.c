// SPDX-License-Identifier: GPL-2.0-or-later
// The host executor: same bytes, same log; logs equal the model's where both must; what a run leaves
// behind does not reach the next one; stopping and dumping.
#include <stdlib.h>

#include "../../../hv/test/test.h"

#include "../../trace/gen.h"
#include "../../trace/text.h"
#include "../exec.h"

#define LOG_MAX (1u << 16)
#define OPS 60

struct log {
	size_t bytes;
	char text[LOG_MAX];
};
static struct log first, second;
static u8 trace[TRACE_HEADER_BYTES + OPS * TRACE_OP_BYTES_MAX];

static void add_line(void *ctx, const char *line)
{
	struct log *log = ctx;
	size_t n = strlen(line);

	if (log->bytes + n + 2 > LOG_MAX)
		return;
	memcpy(log->text + log->bytes, line, n);
	log->text[log->bytes + n] = '\n';
	log->bytes += n + 1;
	log->text[log->bytes] = 0;
}

static const char *run_on(int (*exec)(const void *, size_t, const struct exec_options *, exec_line_fn *, void *,
				      struct exec_result *),
			  size_t bytes, struct log *log)
{
	struct exec_options options = { .quiet = true };
	struct exec_result result;

	log->bytes = 0;
	log->text[0] = 0;
	if (exec(trace, bytes, &options, add_line, log, &result))
		return "the executor could not run the trace";
	return result.finding;
}

static size_t make(u64 seed, bool plain, bool flush_auto)
{
	struct trace_config config = { .vcpus = 1 + seed % 4, .pool_pages = 20 + seed % 50, .opts = seed % 32,
				       .flush_auto = flush_auto };
	struct trace_gen gen;
	size_t n = trace_put_header(trace, &config);

	trace_gen_start(&gen, seed, &config, plain);
	for (u32 i = 0; i < OPS; i++) {
		struct trace_op op;

		trace_gen_next(&gen, &op);
		n += trace_put_op(trace + n, &op);
	}
	return n;
}

TEST(the_same_bytes_give_the_same_log)
{
	for (u64 seed = 1; seed <= 200; seed++) {
		size_t bytes = make(seed, false, false);

		CHECK_STR(run_on(exec_host, bytes, &first), NULL);
		CHECK_STR(run_on(exec_host, make(seed + 1000, false, false), &second), NULL); // leave other traces
		make(seed, false, false);
		CHECK_STR(run_on(exec_host, bytes, &second), NULL);
		CHECK(strcmp(first.text, second.text) == 0);
	}
}

TEST(a_disciplined_guest_sees_what_the_model_says)
{
	for (u64 seed = 1; seed <= 300; seed++) {
		size_t bytes = make(seed, true, true);

		CHECK_STR(run_on(exec_host, bytes, &first), NULL);
		CHECK_STR(run_on(exec_model, bytes, &second), NULL);
		CHECK_STR(first.text, second.text);
	}
}

TEST(every_byte_string_runs)
{
	u64 x = 88172645463325252u;

	for (u32 n = 0; n < 400; n++) {
		size_t bytes = n % sizeof(trace);

		for (size_t i = 0; i < bytes; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			trace[i] = (u8)x;
		}
		CHECK_STR(run_on(exec_host, bytes, &first), NULL);
	}
}

static bool parse(const char *text, size_t *bytes)
{
	struct trace t = { 0 };
	struct trace_error error;
	u8 *encoded;

	if (!trace_parse(&t, text, strlen(text), &error)) {
		printf("line %zu: %s\n", error.line, error.text);
		return false;
	}
	encoded = trace_encode(&t, bytes);
	memcpy(trace, encoded, *bytes);
	free(encoded);
	trace_free(&t);
	return true;
}

TEST(a_killed_domain_ends_the_log)
{
	size_t bytes;

	if (!CHECK(parse("domain hvm64 vcpus=1 pool=24 opts=all flush=manual\ncr3 hole0\npeek f0[0]\n", &bytes)))
		return;
	CHECK_STR(run_on(exec_host, bytes, &first), NULL);
	CHECK(strncmp(first.text, "1 cr3 killed wild cr3\ndigest ", 29) == 0);
}

TEST(stopping_early_keeps_the_state_for_the_dump)
{
	struct exec_options options = { .quiet = true, .stop_after = 1 };
	struct exec_result result;
	char *text = NULL;
	size_t bytes, size;
	FILE *to;

	if (!CHECK(parse("domain hvm64 vcpus=1 pool=24 opts=all flush=manual\npte f1[0] = f2 P W\nblow\n", &bytes)))
		return;
	first.bytes = 0;
	CHECK_EQ(exec_host(trace, bytes, &options, add_line, &first, &result), 0);
	CHECK_STR(first.text, "1 pte ok\n");
	CHECK_EQ(result.op, 1);
	to = open_memstream(&text, &size);
	exec_host_dump(to);
	fclose(to);
	CHECK(strstr(text, "after op 1") != NULL);
	free(text);
}
