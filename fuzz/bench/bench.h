// SPDX-License-Identifier: GPL-2.0-or-later
// What both benchmarks share: a clock, the median of five, one JSON line per figure.
#ifndef FUZZ_BENCH_BENCH_H
#define FUZZ_BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../hv/base/types.h"

#define BENCH_RUNS 5

static inline u64 bench_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static inline int bench_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

// One line; `extra` is more JSON members that start with a comma, or "". Sorts v.
static inline void bench_print(const char *name, double v[BENCH_RUNS], const char *unit, const char *extra)
{
	qsort(v, BENCH_RUNS, sizeof(v[0]), bench_order);
	printf("{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"%s\",\"runs\":%d,\"min\":%.1f,\"max\":%.1f%s}\n", name,
	       v[BENCH_RUNS / 2], unit, BENCH_RUNS, v[0], v[BENCH_RUNS - 1], extra);
	fflush(stdout);
}

#endif
