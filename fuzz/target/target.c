// SPDX-License-Identifier: GPL-2.0-or-later
// The fuzz targets, one program for each (Makefile, TARGET_FLAGS_*), under the host executor with the cheap checkers after
// every op, all of them at the end, and the reference model in step:
//
//   shadow64, shadow32, shadowpae   the shadow code for guests with 4-level, 2-level and PAE paging
//   p2m, control, migrate           guests of all kinds; the mutator prefers operations of that name
//   smp                             two domains of any kind, whose operations interleave; the mutator gives each two vcpus or more
//
// Parts: statistics for the campaign; one run; the entries: libFuzzer's, or AFL++'s persistent loop
// with test cases in shared memory (built with -DUMBRA_AFL=1).
//
// A finding is printed and the process aborts, so that every fuzzer keeps the input:
//   finding: op 12: E1.15 refcount: ...
//   signature: rule E1.15 refcount
// UMBRA_STATS names a file that holds one 64-bit counter, the runs, counted up in place: it survives
// a killed worker and costs no call. Where a target has one kind of guest, the kind in a trace's header does not count:
// fuzzers write what they like there.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef UMBRA_AFL
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include "../exec/exec.h"
#include "target.h"

const int target_kind = TARGET_KIND;
const enum trace_focus target_focus = TARGET_FOCUS;

int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes);

// ---- statistics -----------------------------------------------------------------------------------
static u64 nowhere, *runs;

static void stats_open(void)
{
	const char *path = getenv("UMBRA_STATS");
	int fd = path ? open(path, O_RDWR | O_CREAT, 0666) : -1;
	void *p = MAP_FAILED;

	runs = &nowhere;
	if (fd < 0)
		return;
	if (ftruncate(fd, sizeof(*runs)) == 0)
		p = mmap(NULL, sizeof(*runs), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		runs = p;
	close(fd);
}

// ---- one run --------------------------------------------------------------------------------------
// The rule without its details: the part up to the first ": ". A model finding keeps the model's word.
static int rule_bytes(const char *finding)
{
	const char *end = strstr(finding, ": ");

	if (end && strncmp(finding, "model", 5) == 0)
		return (int)(end - finding);
	return end ? (int)(end - finding) : (int)strlen(finding);
}

static void run_trace(const u8 *data, size_t bytes)
{
	static const struct exec_options options = { .quiet = true };
	struct exec_result result = { 0 };
	int status = TARGET_FOCUS == FOCUS_SMP ? exec_pair(data, bytes, &options, NULL, NULL, &result)
					       : exec_host(data, bytes, &options, NULL, NULL, &result);

	if (status) {
		fputs("finding: the executor could not run the trace\nsignature: executor\n", stderr);
		abort();
	}
	++*runs;
	if (result.finding) {
		fprintf(stderr, "finding: op %u: %s\nsignature: rule %.*s\n", result.op, result.finding,
			rule_bytes(result.finding), result.finding);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes)
{
	u8 *copy;

	if (!runs)
		stats_open();
	if (TARGET_KIND < 0 || (bytes && data[0] % TRACE_KINDS_RUN == TARGET_KIND)) {
		run_trace(data, bytes);
		return 0;
	}
	copy = malloc(bytes ? bytes : 1); // of its own size, so that sanitizers see an access behind the end
	if (!copy)
		abort();
	if (bytes)
		memcpy(copy, data, bytes);
	copy[0] = (u8)target_kind;
	run_trace(copy, bytes ? bytes : 1);
	free(copy);
	return 0;
}

// ---- AFL++ ----------------------------------------------------------------------------------------
#ifdef UMBRA_AFL
__AFL_FUZZ_INIT();

#define RUNS_PER_PROCESS 100000

// With a file name: run that file once and stop, for replaying by hand.
static int run_file(const char *path)
{
	static u8 data[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		return 2;
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	return LLVMFuzzerTestOneInput(data, n);
}

int main(int argc, char **argv)
{
	const u8 *data;

	if (argc == 2)
		return run_file(argv[1]);
	__AFL_INIT();
	// A killed afl-fuzz leaves this process stopped between two runs, for ever.
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	data = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(RUNS_PER_PROCESS))
		LLVMFuzzerTestOneInput(data, (size_t)__AFL_FUZZ_TESTCASE_LEN);
	return 0;
}
#endif
