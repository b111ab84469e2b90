// SPDX-License-Identifier: GPL-2.0-or-later
// The rest of the host port: findings, locks, the scheduler, injected failures, words and ends.
//
//  1. power-on and findings
//  2. which processor runs; the lock checker (E1.53)
//  3. yield points: another vcpu's operation runs here, on the same stack, when the trace says so
//  4. injected failures
//  5. devices: there are none
//  6. log, fatal stop, entropy
//
// Cost: every function is O(1). There are no threads: a lock that is taken while it is held would wait
// for ever, so that is a finding.
#include "arena.h"

#include "../../mem/hole.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*host_fatal_hook)(const char *why);
void (*host_fatal_note)(void);
void (*host_log_sink)(const char *line);

static const char *found_rule;
static char found_detail[HOST_DETAIL_BYTES];
static u32 cpu_now;
static u32 locks_held;
static u64 entropy;

static struct {
	u32 left; // yield points until `run`, 0: disarmed
	void (*run)(void *context);
	void *context;
} race;

static struct {
	u32 left; // questions until the yes, 0: disarmed
	bool delivered;
} failure;

// ---- 1. power-on and findings ------------------------------------------------------------------

void host_reset(u64 seed)
{
	arena_reset();
	tlb_reset();
	cpu_reset();
	host_finding_clear();
	cpu_now = 0;
	locks_held = 0;
	race.left = 0;
	failure.left = 0;
	failure.delivered = false;
	entropy = seed;
}

void host_finding(const char *rule, const char *format, ...)
{
	va_list args;

	if (found_rule)
		return;
	found_rule = rule;
	va_start(args, format);
	vsnprintf(found_detail, sizeof(found_detail), format, args);
	va_end(args);
}

const char *host_finding_rule(void)
{
	return found_rule;
}

const char *host_finding_detail(void)
{
	return found_detail;
}

void host_finding_clear(void)
{
	found_rule = NULL;
	found_detail[0] = 0;
}

// ---- 2. processors and locks -------------------------------------------------------------------

u32 port_cpu(void)
{
	return cpu_now;
}

void host_set_cpu(u32 cpu)
{
	cpu_now = cpu;
}

u32 port_phys_bits(void)
{
	return HOST_PHYS_BITS;
}

u32 host_locks_held(void)
{
	return locks_held;
}

void port_lock(struct hv_lock *lock, const char *where)
{
	if (lock->holder)
		host_finding("E1.53 lock", "processor %u takes in %s what processor %u holds since %s", cpu_now,
			     where, lock->holder - 1, lock->where);
	lock->holder = cpu_now + 1;
	lock->where = where;
	locks_held++;
}

void port_unlock(struct hv_lock *lock)
{
	if (lock->holder != cpu_now + 1 || !locks_held)
		host_finding("E1.53 lock", "processor %u gives back what %s holds", cpu_now,
			     lock->holder ? "another processor" : "nobody");
	lock->holder = 0;
	if (locks_held)
		locks_held--;
}

// ---- 3. yield points -------------------------------------------------------------------------------

void host_arm_race(u32 k, void (*run)(void *), void *context)
{
	race.left = k;
	race.run = run;
	race.context = context;
}

void port_yield(enum port_yield_site site)
{
	u32 cpu = cpu_now, questions = failure.left;

	if (locks_held)
		host_finding("E1.53 lock", "yield point %d reached with a lock held", (int)site);
	if (!race.left || --race.left)
		return;
	// The armed failure belongs to the operation that was interrupted.
	failure.left = 0;
	race.run(race.context);
	failure.left = questions;
	cpu_now = cpu;
}

// ---- 4. injected failures ------------------------------------------------------------------------

bool host_arm_failure(u32 k)
{
	bool delivered = failure.delivered;

	failure.left = k;
	failure.delivered = false;
	return delivered;
}

bool port_should_fail(enum port_fail_site site)
{
	(void)site;
	if (!failure.left || --failure.left)
		return false;
	failure.delivered = true;
	return true;
}

// ---- 5. devices ------------------------------------------------------------------------------------

u64 port_mmio_read(struct vcpu *v, gpa_t at, u32 bytes)
{
	(void)v;
	(void)at;
	return bytes >= 8 ? HOLE_WORD : HOLE_WORD & (BIT(8 * bytes) - 1);
}

void port_mmio_write(struct vcpu *v, gpa_t at, u32 bytes, u64 value)
{
	(void)v;
	(void)at;
	(void)bytes;
	(void)value;
}

// ---- 6. log, fatal stop, entropy -------------------------------------------------------------------

void port_log(const char *line)
{
	if (host_log_sink)
		host_log_sink(line);
}

// A signature survives edits and moves of the tree: "DIR/FILE:LINE: assertion failed: TEXT" becomes "FILE TEXT".
static void print_signature(const char *why)
{
	static const char mark[] = ": assertion failed: ";
	const char *text = strstr(why, mark), *file = why;

	if (!text) {
		fprintf(stderr, "signature: assert %s\n", why);
		return;
	}
	for (const char *c = why; c < text; c++)
		file = *c == '/' ? c + 1 : file;
	fprintf(stderr, "signature: assert %.*s %s\n", (int)strcspn(file, ":"), file, text + sizeof(mark) - 1);
}

_Noreturn void port_fatal(const char *why)
{
	void *frames[32];

	if (host_fatal_hook)
		host_fatal_hook(why);
	if (host_fatal_note)
		host_fatal_note();
	fprintf(stderr, "umbra: fatal: %s\n", why);
	print_signature(why);
	fflush(NULL);
	backtrace_symbols_fd(frames, backtrace(frames, (int)ARRAY_LEN(frames)), STDERR_FILENO);
	abort();
}

u64 port_entropy(void)
{
	u64 z = entropy += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
