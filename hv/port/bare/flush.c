// SPDX-License-Identifier: GPL-2.0-or-later
// Flushing the guest translations of other processors (spec F.5).
//
//   asks:    flush_wanted++        reads in_guest: false -> done      true -> IPI, waits until it is false or answered
//   target:  in_guest = true       reads flush_wanted: nothing new -> VMRUN        new -> in_guest = false, answers
//
// Both write first and read then, so one of the two sees the other. A target outside of the guest uses none of its guest
// translations and answers before its next VMRUN: nobody waits for it, and so no two processors ever wait for each other,
// whatever locks they hold. A target in the guest leaves it for the interrupt, whatever the guest does.
//
// Cost: one write and one read for each target that is not in a guest; else an interrupt and an exit there.
#include "flush.h"

#include "apic.h"
#include "watchdog.h"

void flush_answer(struct cpu *me)
{
	u32 wanted = __atomic_load_n(&me->flush_wanted, __ATOMIC_SEQ_CST);

	flush_here(me);
	__atomic_store_n(&me->flush_done, wanted, __ATOMIC_RELEASE);
}

bool flush_enter_guest(struct cpu *me)
{
	__atomic_store_n(&me->in_guest, true, __ATOMIC_SEQ_CST);
	if (!flush_is_wanted(me))
		return true;
	flush_left_guest(me);
	flush_answer(me);
	return false;
}

static bool is_answered(const struct cpu *c, u32 request)
{
	return !__atomic_load_n(&c->in_guest, __ATOMIC_SEQ_CST) ||
	       (s32)(__atomic_load_n(&c->flush_done, __ATOMIC_ACQUIRE) - request) >= 0;
}

static void __attribute__((noinline)) flush_others(u32 others)
{
	u32 request[CPUS_MAX];
	struct watchdog_wait wait;

	for (u32 mask = others; mask; mask &= mask - 1) {
		u32 i = (u32)__builtin_ctz(mask);

		request[i] = __atomic_add_fetch(&cpus[i].flush_wanted, 1, __ATOMIC_SEQ_CST);
		if (is_answered(&cpus[i], request[i]))
			others &= ~(1u << i);
		else
			apic_send(cpus[i].apic_id, VECTOR_KICK);
	}
	watchdog_wait_start(&wait, "a processor does not leave its guest");
	for (; others; others &= others - 1)
		while (!is_answered(&cpus[__builtin_ctz(others)], request[__builtin_ctz(others)]))
			watchdog_wait(&wait);
}

void port_tlb_flush(u32 cpu_mask)
{
	struct cpu *me = this_cpu();
	u32 mine = 1u << me->index;

	if (cpu_mask & mine)
		flush_here(me);
	if (cpu_mask & ~mine && cpu_count > 1)
		flush_others(cpu_mask & ~mine & ((1u << cpu_count) - 1));
}

// Without decode assists INVLPGA would need the address in a form that differs by mode; a full flush at
// the next entry contains it.
void port_tlb_flush_va(gva_t va)
{
	(void)va;
	flush_here(this_cpu());
}
