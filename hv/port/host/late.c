// SPDX-License-Identifier: GPL-2.0-or-later
// Who slips into a guest while its domain's lock is held. A vcpu is entered without the lock wherever shadow_may_enter() allows
// it, at any moment. Whatever the holder of the lock does to forbid that must flush the vcpu's processor afterwards, which throws
// out who has slipped in before.
//
// No processor really runs meanwhile. The moments that count are when the lock is taken and each flush while it is held: who
// could be entered at the last of them, and may not be when the lock is given back, would run on. Rule E1.41.
//
// Cost: a few words of each vcpu at each of these moments. With threads there is nothing here: they do slip in.
#include "arena.h"

#include "../../domain/domain.h"

#ifdef HOST_THREADS
void late_reset(void) {}
void late_lock(const struct hv_lock *lock) { (void)lock; }
void late_flush(u32 cpu_mask) { (void)cpu_mask; }
void late_unlock(const struct hv_lock *lock) { (void)lock; }
#else
static const struct domain *locked; // NULL: no domain's lock is held
static u32 inside;                  // vcpus that could have been entered, and were not flushed since

// Those that could be entered now. The one that holds the lock is busy.
static u32 enterable(const struct domain *d)
{
	u32 here = port_cpu(), vcpus = 0;

	for (u32 i = 0; i < d->vcpu_count; i++) {
		const struct vcpu *v = &d->vcpu[i];

		host_set_cpu(host_cpu_of(v));
		if (port_cpu() != here && v->shadow.attached && shadow_may_enter(v))
			vcpus |= UINT32_C(1) << i;
	}
	host_set_cpu(here);
	return vcpus;
}

// The domain with that lock; NULL: it is another one. Most often it is that of last time.
static const struct domain *domain_of(const struct hv_lock *lock)
{
	static u32 last;

	for (u32 i = 0; i < DOMAINS_MAX; i++) {
		u32 number = (last + i) % DOMAINS_MAX;
		const struct domain *d = domain_get(number);

		if (d && lock == &d->lock) {
			last = number;
			return d;
		}
	}
	return NULL;
}

void late_reset(void)
{
	locked = NULL;
}

void late_lock(const struct hv_lock *lock)
{
	if (locked) // one domain's at a time: what is taken beside it is no domain's
		return;
	locked = domain_of(lock);
	if (locked)
		inside = enterable(locked);
}

void late_flush(u32 cpu_mask)
{
	for (u32 i = 0; locked && i < locked->vcpu_count; i++)
		if (cpu_mask >> host_cpu_of(&locked->vcpu[i]) & 1)
			inside &= ~(UINT32_C(1) << i);
	if (locked)
		inside |= enterable(locked);
}

void late_unlock(const struct hv_lock *lock)
{
	if (!locked || lock != &locked->lock)
		return;
	u32 late = inside & ~enterable(locked);

	if (late)
		host_finding("E1.41 soundness", "vcpu %u may not be entered any more, but was not flushed since it could be",
			     (u32)__builtin_ctz(late));
	locked = NULL;
}
#endif
