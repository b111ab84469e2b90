// SPDX-License-Identifier: GPL-2.0-or-later
// What is left of port.h: processors, locks, fault injection, words. One processor runs the hypervisor,
// so a lock that is taken twice is a mistake in the core and ends in a panic that names both takers.
#include "../../port.h"

#include "../../base/fmt.h"
#include "../../mem/hole.h"
#include "console.h"
#include "cpu.h"
#include "run.h"

static u64 fail_countdown;

// ---- processors and TLBs ---------------------------------------------------------------------------

u32 port_cpu(void)
{
	return 0;
}

void port_tlb_flush(u32 cpu_mask)
{
	if (cpu_mask & 1)
		svm_flush_all();
}

// Without decode assists INVLPGA would need the address in a form that differs by mode; a full flush at
// the next entry contains it.
void port_tlb_flush_va(gva_t va)
{
	(void)va;
	svm_flush_all();
}

u32 port_phys_bits(void)
{
	static u32 bits;

	if (!bits)
		bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
	return bits;
}

// ---- locks and scheduling ----------------------------------------------------------------------------

void port_lock(struct hv_lock *lock, const char *where)
{
	if (lock->holder) {
		static char why[128];

		fmt(why, sizeof(why), "lock wanted by %s is held by %s", where, lock->where);
		port_fatal(why);
	}
	lock->holder = port_cpu() + 1;
	lock->where = where;
}

void port_unlock(struct hv_lock *lock)
{
	if (lock->holder != port_cpu() + 1)
		port_fatal("a lock is given back that nobody holds");
	lock->holder = 0;
}

void port_yield(enum port_yield_site site)
{
	(void)site;
}

// ---- fault injection -----------------------------------------------------------------------------------

void fail_arm(u64 k)
{
	fail_countdown = k;
}

bool port_should_fail(enum port_fail_site site)
{
	(void)site;
	return fail_countdown && --fail_countdown == 0;
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
	static u64 state;

	// xorshift, seeded and stirred by the time stamp counter
	state ^= tsc_read() | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}
