// SPDX-License-Identifier: GPL-2.0-or-later
// What is left of port.h: processors, locks, fault injection, words. A lock that its holder takes again is a mistake in the
// core and ends in a panic that names both takers; so does one that does not come free.
#include "../../port.h"

#include "../../base/fmt.h"
#include "../../mem/hole.h"
#include "console.h"
#include "run.h"
#include "watchdog.h"

// ---- processors -------------------------------------------------------------------------------------

u32 port_cpu(void)
{
	return this_cpu()->index;
}

u32 port_phys_bits(void)
{
	static u32 bits;

	if (!bits)
		bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
	return bits;
}

// ---- locks and scheduling ----------------------------------------------------------------------------

// Whoever waits answers no requests of others meanwhile, and need not: see flush.c.
static void __attribute__((noinline)) wait_for(struct hv_lock *lock, const char *where)
{
	struct cpu *me = this_cpu();
	struct watchdog_wait wait;
	u32 holder;

	if (__atomic_load_n(&lock->holder, __ATOMIC_RELAXED) == me->index + 1) {
		static char why[128];

		fmt(why, sizeof(why), "lock wanted by %s is held by %s", where, lock->where);
		port_fatal(why);
	}
	me->wants_where = where;
	me->wants = lock;
	watchdog_wait_start(&wait, "a lock does not come free");
	do {
		while (__atomic_load_n(&lock->holder, __ATOMIC_RELAXED))
			watchdog_wait(&wait);
		holder = 0;
	} while (!__atomic_compare_exchange_n(&lock->holder, &holder, me->index + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	me->wants = NULL;
}

void port_lock(struct hv_lock *lock, const char *where)
{
	u32 holder = 0;

	if (!__atomic_compare_exchange_n(&lock->holder, &holder, port_cpu() + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		wait_for(lock, where);
	lock->where = where;
	this_cpu()->locks++;
}

void port_unlock(struct hv_lock *lock)
{
	if (lock->holder != port_cpu() + 1)
		port_fatal("a lock is given back that somebody else holds, or nobody");
	__atomic_store_n(&lock->holder, 0, __ATOMIC_RELEASE);

	struct cpu *me = this_cpu();

	if (!--me->locks) // what takes long is done in pieces
		me->beats++;
}

void port_yield(enum port_yield_site site)
{
	(void)site;
}

// ---- fault injection -----------------------------------------------------------------------------------

bool port_should_fail(enum port_fail_site site)
{
	(void)site;
	struct thread *t = this_cpu()->thread;

	return t && t->fail_countdown && --t->fail_countdown == 0;
}

// ---- devices that are not there --------------------------------------------------------------------------

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

// ---- words -----------------------------------------------------------------------------------------------

void port_log(const char *line)
{
	console_line("umbra: %s", line);
}

u64 port_entropy(void)
{
	u64 *state = &this_cpu()->entropy;

	// xorshift, seeded and stirred by the time stamp counter
	*state ^= tsc_read() | 1;
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
