// SPDX-License-Identifier: GPL-2.0-or-later
// How fast the host executor runs traces, in the process and by the way that the fuzz targets use it:
// cheap checks after every op, all checks at the end, the model in step.
//
// usage: trace_bench NAME [SECONDS]. NAME (plain, asan, ubsan) goes into the figures' names.
// For each paging mode 512 generated traces of 32 ops are run in turn, with flush discipline and without, one vcpu and
// two, by the same settings. An op of the other modes may take 1.3 times what it takes in mode 64: exit status 1 if
// not.
#include <string.h>

#include "../exec/exec.h"
#include "../trace/gen.h"
#include "bench.h"

#define TRACES 512
#define OPS 32
#define TRACE_BYTES (TRACE_HEADER_BYTES + OPS * TRACE_OP_BYTES_MAX)

#define RATIO_MAX 1.3

static struct {
	u8 data[TRACE_BYTES];
	size_t bytes;
} trace[TRACE_KINDS_RUN][TRACES];

static bool runs(enum trace_kind kind, u32 n)
{
	static const struct exec_options options = { .quiet = true };
	struct exec_result result = { 0 };

	return exec_host(trace[kind][n].data, trace[kind][n].bytes, &options, NULL, NULL, &result) == 0 &&
	       !result.finding;
}

// Coverage counters of the fuzz build are counted up and never read here.
void __sanitizer_cov_8bit_counters_init(char *from, char *to);
void __sanitizer_cov_pcs_init(const uintptr_t *from, const uintptr_t *to);
__attribute__((weak)) void __sanitizer_cov_8bit_counters_init(char *from, char *to)
{
	(void)from, (void)to;
}
__attribute__((weak)) void __sanitizer_cov_pcs_init(const uintptr_t *from, const uintptr_t *to)
{
	(void)from, (void)to;
}

static void make_trace(enum trace_kind kind, u32 n, u32 seed)
{
	static struct trace_gen g;
	struct trace_config config = { .kind = kind, .vcpus = 1 + (seed >> 1 & 1), .pool_pages = TRACE_POOL_MIN + 20,
				       .opts = TRACE_OPTS_ALL, .flush_auto = seed & 1 };
	struct trace_op op;

	trace_gen_start(&g, seed, &config, false);
	trace[kind][n].bytes = trace_put_header(trace[kind][n].data, &config);
	for (u32 i = 0; i < OPS; i++) {
		trace_gen_next(&g, &op);
		trace[kind][n].bytes += trace_put_op(trace[kind][n].data + trace[kind][n].bytes, &op);
	}
}

// Traces with a finding would measure how a run ends early: they are left out and counted.
static u32 make_traces(enum trace_kind kind)
{
	u32 kept = 0;

	for (u32 n = 0; n < TRACES; n++) {
		make_trace(kind, kept, n + 1);
		kept += runs(kind, kept);
	}
	return kept;
}

// Executions per second over some seconds.
static double measure(enum trace_kind kind, u32 kept, double seconds)
{
	u64 start = bench_ns(), end = start + (u64)(seconds * 1e9), now = start, count = 0;

	while (now < end) {
		for (u32 i = 0; i < 64; i++)
			runs(kind, (u32)(count++ % kept));
		now = bench_ns();
	}
	return (double)count * 1e9 / (double)(now - start);
}

static void print(const char *name, enum trace_kind kind, u32 kept, const double execs[BENCH_RUNS])
{
	double values[BENCH_RUNS];
	char text[64], extra[64];

	snprintf(extra, sizeof(extra), ",\"ops_per_trace\":%d,\"traces\":%u,\"left_out\":%u", OPS, kept, TRACES - kept);
	memcpy(values, execs, sizeof(values));
	snprintf(text, sizeof(text), "trace-exec-%s-%s", name, trace_kind_names[kind]);
	bench_print(text, values, "exec/s", extra);
	for (u32 run = 0; run < BENCH_RUNS; run++)
		values[run] = execs[run] * OPS;
	snprintf(text, sizeof(text), "trace-ops-%s-%s", name, trace_kind_names[kind]);
	bench_print(text, values, "ops/s", extra);
}

// How many times as long an op takes as in mode 64. The runs of the modes take turns, so each is compared with its
// neighbour. False: more than it may.
static bool print_ratio(const char *name, enum trace_kind kind, const double execs[BENCH_RUNS],
			const double base[BENCH_RUNS])
{
	double values[BENCH_RUNS];
	char text[64], extra[32];

	for (u32 run = 0; run < BENCH_RUNS; run++)
		values[run] = base[run] / execs[run];
	snprintf(text, sizeof(text), "trace-op-time-ratio-%s-%s", name, trace_kind_names[kind]);
	snprintf(extra, sizeof(extra), ",\"limit\":%.1f", RATIO_MAX);
	bench_print_digits(text, values, 2, "", extra);
	return values[BENCH_RUNS / 2] <= RATIO_MAX;
}

int main(int argc, char **argv)
{
	static double execs[TRACE_KINDS_RUN][BENCH_RUNS];
	double seconds = argc > 2 ? atof(argv[2]) : 2.0;
	const char *name = argc > 1 ? argv[1] : "plain";
	u32 kept[TRACE_KINDS_RUN];
	bool good = true;

	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++) {
		kept[kind] = make_traces((enum trace_kind)kind);
		if (!kept[kind])
			return 1;
	}
	for (u32 run = 0; run < BENCH_RUNS; run++)
		for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++)
			execs[kind][run] = measure((enum trace_kind)kind, kept[kind], seconds);
	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++)
		print(name, (enum trace_kind)kind, kept[kind], execs[kind]);
	for (u32 kind = 1; kind < TRACE_KINDS_RUN; kind++)
		good &= print_ratio(name, (enum trace_kind)kind, execs[kind], execs[0]);
	if (!good)
		fprintf(stderr, "trace_bench: a mode takes more than %.1f times as long as mode 64\n", RATIO_MAX);
	return good ? 0 : 1;
}
