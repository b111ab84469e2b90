// SPDX-License-Identifier: GPL-2.0-or-later
// What both benchmarks share: a clock, the median of five, one JSON line per figure.
#ifndef FUZZ_BENCH_BENCH_H
#define FUZZ_BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../hv/base/types.h"

#define BENCH_RUNS 5

// Time of this process alone: others on the machine do not show.
static inline u64 bench_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static inline int bench_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

// One line; `extra` is more JSON members that start with a comma, or "". Sorts v.
static inline void bench_print_digits(const char *name, double v[BENCH_RUNS], int digits, const char *unit,
				      const char *extra)
{
	qsort(v, BENCH_RUNS, sizeof(v[0]), bench_order);
	printf("{\"name\":\"%s\",\"value\":%.*f,\"unit\":\"%s\",\"runs\":%d,\"min\":%.*f,\"max\":%.*f%s}\n", name,
	       digits, v[BENCH_RUNS / 2], unit, BENCH_RUNS, digits, v[0], digits, v[BENCH_RUNS - 1], extra);
	fflush(stdout);
}

static inline void bench_print(const char *name, double v[BENCH_RUNS], const char *unit, const char *extra)
{
	bench_print_digits(name, v, 1, unit, extra);
}

#endif
