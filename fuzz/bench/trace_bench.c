// SPDX-License-Identifier: GPL-2.0-or-later
// How fast the host executor runs traces, in the process and by the way that the fuzz targets use it:
// cheap checks after every op, all checks at the end, the model in step.
//
// usage: trace_bench NAME [SECONDS]. NAME (plain, asan, ubsan) goes into the figures' names.
// 512 generated traces of 32 ops are run in turn, with flush discipline and without, one vcpu and two.
#include <string.h>

#include "../exec/exec.h"
#include "../trace/gen.h"
#include "bench.h"

#define TRACES 512
#define OPS 32
#define TRACE_BYTES (TRACE_HEADER_BYTES + OPS * TRACE_OP_BYTES_MAX)

static struct {
	u8 data[TRACE_BYTES];
	size_t bytes;
} trace[TRACES];

static bool runs(u32 n)
{
	static const struct exec_options options = { .quiet = true };
	struct exec_result result = { 0 };

	return exec_host(trace[n].data, trace[n].bytes, &options, NULL, NULL, &result) == 0 && !result.finding;
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

static void make_trace(u32 n, u32 seed)
{
	static struct trace_gen g;
	struct trace_config config = { .kind = TRACE_HVM64, .vcpus = 1 + (seed >> 1 & 1), .pool_pages = TRACE_POOL_MIN + 20,
				       .opts = TRACE_OPTS_ALL, .flush_auto = seed & 1 };
	struct trace_op op;

	trace_gen_start(&g, seed, &config, false);
	trace[n].bytes = trace_put_header(trace[n].data, &config);
	for (u32 i = 0; i < OPS; i++) {
		trace_gen_next(&g, &op);
		trace[n].bytes += trace_put_op(trace[n].data + trace[n].bytes, &op);
	}
}

// Traces with a finding would measure how a run ends early: they are left out and counted.
static u32 make_traces(void)
{
	u32 kept = 0;

	for (u32 n = 0; n < TRACES; n++) {
		make_trace(kept, n + 1);
		kept += runs(kept);
	}
	return kept;
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[2]) : 2.0, execs[BENCH_RUNS], ops[BENCH_RUNS];
	const char *name = argc > 1 ? argv[1] : "plain";
	u32 kept = make_traces();
	char text[64], extra[64];

	if (!kept)
		return 1;
	for (u32 run = 0; run < BENCH_RUNS; run++) {
		u64 start = bench_ns(), end = start + (u64)(seconds * 1e9), now = start, count = 0;

		while (now < end) {
			for (u32 i = 0; i < 64; i++)
				runs((u32)(count++ % kept));
			now = bench_ns();
		}
		execs[run] = (double)count * 1e9 / (double)(now - start);
		ops[run] = execs[run] * OPS;
	}
	snprintf(extra, sizeof(extra), ",\"ops_per_trace\":%d,\"traces\":%u,\"left_out\":%u", OPS, kept, TRACES - kept);
	snprintf(text, sizeof(text), "trace-exec-%s", name);
	bench_print(text, execs, "exec/s", extra);
	snprintf(text, sizeof(text), "trace-ops-%s", name);
	bench_print(text, ops, "ops/s", extra);
	return 0;
}
