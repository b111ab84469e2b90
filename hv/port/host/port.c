// SPDX-License-Identifier: GPL-2.0-or-later
// The rest of the host port: findings, locks, the scheduler, injected failures, words and ends.
//
//  1. power-on and findings
//  2. which processor runs
//  3. points where another processor's operation runs, on the same stack, when the trace says so
//  4. locks and the lock checker (E1.53)
//  5. injected failures
//  6. devices: there are none
//  7. log, fatal stop, entropy
//
// Cost: every function is O(1). Without threads a lock that is taken while it is held would wait for ever, so that is a
// finding; with threads (HOST_THREADS) one that its own processor holds is.
#include "arena.h"
#include "thread.h"

#include "../../mem/hole.h"

#include <execinfo.h>
#ifdef HOST_THREADS
#include <sched.h>
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*host_fatal_hook)(const char *why);
void (*host_fatal_note)(void);
void (*host_log_sink)(const char *line);

#ifdef HOST_THREADS
bool host_parallel;
#endif

static bool found; // somebody writes, or has written, the next two
static const char *found_rule;
static char found_detail[HOST_DETAIL_BYTES];
static PER_CPU u32 cpu_now;
static PER_CPU u32 locks_held;
static u64 entropy;

// Operations that wait for their point: one of the same domain, one of another.
enum { RACE_SAME, RACE_OTHER, RACES };
static PER_CPU struct race {
	u32 left;      // points until `run`, 0: disarmed
	bool anywhere; // locks count, not port_yield() alone
	void (*run)(void *context);
	void *context;
} races[RACES];

static PER_CPU struct failure {
	u32 left; // questions until the yes, 0: disarmed
	bool delivered;
} failure;

// ---- 1. power-on and findings ------------------------------------------------------------------

void host_reset(u64 seed)
{
	arena_reset();
	tlb_reset();
	cpu_reset();
	late_reset();
	host_finding_clear();
	cpu_now = 0;
	locks_held = 0;
	memset(races, 0, sizeof(races));
	failure = (struct failure){ 0 };
	entropy = seed;
}

void host_finding(const char *rule, const char *format, ...)
{
	va_list args;

	if (__atomic_exchange_n(&found, true, __ATOMIC_RELAXED))
		return;
	va_start(args, format);
	vsnprintf(found_detail, sizeof(found_detail), format, args);
	va_end(args);
	__atomic_store_n(&found_rule, rule, __ATOMIC_RELEASE);
}

const char *host_finding_rule(void)
{
	return __atomic_load_n(&found_rule, __ATOMIC_ACQUIRE);
}

const char *host_finding_detail(void)
{
	return found_detail;
}

void host_finding_clear(void)
{
	found = false;
	found_rule = NULL;
	found_detail[0] = 0;
}

// ---- 2. processors -----------------------------------------------------------------------------

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

// ---- 3. points where another processor comes in --------------------------------------------------

void host_arm_race(u32 k, void (*run)(void *), void *context)
{
	races[RACE_SAME] = (struct race){ k, false, run, context };
}

void host_arm_point(u32 k, void (*run)(void *), void *context)
{
	races[RACE_SAME] = (struct race){ k, true, run, context };
}

void host_arm_other(u32 k, void (*run)(void *), void *context)
{
	races[RACE_OTHER] = (struct race){ k, true, run, context };
}


// What is armed, races and failure, belongs to the operation that is interrupted.
static void fire(u32 which)
{
	struct race saved[RACES];
	struct failure of_interrupted = failure;
	u32 cpu = cpu_now;

	memcpy(saved, races, sizeof(saved));
	memset(races, 0, sizeof(races));
	failure = (struct failure){ 0 };
	saved[which].run(saved[which].context);
	for (u32 i = 0; i < RACES; i++)
		if (!races[i].left)
			races[i] = saved[i];
	failure = of_interrupted;
	cpu_now = cpu;
}

static void yield_point(bool is_yield)
{
	for (u32 i = 0; i < RACES; i++)
		if (races[i].left && (is_yield || races[i].anywhere) && !--races[i].left)
			fire(i);
}

void port_yield(enum port_yield_site site)
{
	if (locks_held)
		host_finding("E1.53 lock", "yield point %d reached with a lock held", (int)site);
	yield_point(true);
}

// ---- 4. locks ------------------------------------------------------------------------------------

#ifdef HOST_THREADS
#define LOCK_PATIENCE 400000000u // turns: half a minute or more

static u32 lock_holder(const struct hv_lock *lock)
{
	return __atomic_load_n(&lock->holder, __ATOMIC_RELAXED);
}

static void lock_take(struct hv_lock *lock, const char *where)
{
	if (lock_holder(lock) == cpu_now + 1) {
		host_finding("E1.53 lock", "processor %u takes in %s what it holds since %s", cpu_now, where, lock->where);
		return;
	}
	for (u32 turn = 0, nobody = 0;; turn++, nobody = 0) {
		if (!lock_holder(lock) && __atomic_compare_exchange_n(&lock->holder, &nobody, cpu_now + 1, false,
								      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			break;
		if (turn == LOCK_PATIENCE)
			port_fatal("a lock is never given back");
		if (turn % 64 == 63)
			sched_yield();
	}
	lock->where = where;
}

static void lock_give(struct hv_lock *lock)
{
	__atomic_store_n(&lock->holder, 0, __ATOMIC_RELEASE);
}
#else
static u32 lock_holder(const struct hv_lock *lock)
{
	return lock->holder;
}

static void lock_take(struct hv_lock *lock, const char *where)
{
	if (lock->holder)
		host_finding("E1.53 lock", "processor %u takes in %s what processor %u holds since %s", cpu_now,
			     where, lock->holder - 1, lock->where);
	lock->holder = cpu_now + 1;
	lock->where = where;
}

static void lock_give(struct hv_lock *lock)
{
	lock->holder = 0;
}
#endif

u32 host_locks_held(void)
{
	return locks_held;
}

void port_lock(struct hv_lock *lock, const char *where)
{
	if (!locks_held)
		yield_point(false);
	lock_take(lock, where);
	locks_held++;
	late_lock(lock);
}

void port_unlock(struct hv_lock *lock)
{
	if (lock_holder(lock) != cpu_now + 1 || !locks_held)
		host_finding("E1.53 lock", "processor %u gives back what %s holds", cpu_now,
			     lock_holder(lock) ? "another processor" : "nobody");
	late_unlock(lock);
	lock_give(lock);
	if (locks_held && !--locks_held)
		yield_point(false);
}

// ---- 5. injected failures ------------------------------------------------------------------------

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

// ---- 6. devices ------------------------------------------------------------------------------------

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

// ---- 7. log, fatal stop, entropy -------------------------------------------------------------------

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
	u64 z = __atomic_add_fetch(&entropy, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
