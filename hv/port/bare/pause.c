// SPDX-License-Identifier: GPL-2.0-or-later
// A guest stands still, for whom all of it must be at rest: the last step of a migration, and the operator.
//
// `paused` is set, all processors leave their guests, and whoever finds it set leaves the run loop and lets nobody else in.
// When no more are inside than those who wait here, no vcpu is in its guest or in the middle of something in the core. The
// threads come back again and again from the queue meanwhile: it is not for long. What is inside keeps the guest as it is: its domain
// is not destroyed, and its threads stay on their vcpus.
//
// Parts: who is inside; standing still; the end of a migration.
#include "../../domain/migrate.h"

#include "flush.h"
#include "run.h"
#include "timer.h"
#include "watchdog.h"

// ---- who is inside -------------------------------------------------------------------------------------

bool guest_is_paused(const struct guest *g)
{
	return __atomic_load_n(&g->paused, __ATOMIC_SEQ_CST);
}

// The other half of guest_pause(): one writes `inside` and reads `paused`, the other the other way round.
bool guest_come_in(struct guest *g)
{
	__atomic_add_fetch(&g->inside, 1, __ATOMIC_SEQ_CST);
	if (!guest_is_paused(g))
		return true;
	guest_go_out(g);
	return false;
}

void guest_wait_to_come_in(struct guest *g)
{
	struct watchdog_wait wait;

	watchdog_wait_start(&wait, "a paused guest does not go on");
	while (!guest_come_in(g))
		watchdog_wait(&wait);
}

void guest_go_out(struct guest *g)
{
	__atomic_sub_fetch(&g->inside, 1, __ATOMIC_SEQ_CST);
}

// ---- standing still ------------------------------------------------------------------------------------

bool guest_pause(struct guest *g, u32 mine)
{
	struct watchdog_wait wait;

	port_lock(&g->lock, __func__);
	bool first = !g->paused;

	__atomic_store_n(&g->paused, true, __ATOMIC_SEQ_CST);
	port_unlock(&g->lock);
	if (!first)
		return false;
	g->paused_at = tsc_read();
	if (__atomic_load_n(&g->inside, __ATOMIC_SEQ_CST) > mine)
		run_kick_others();
	watchdog_wait_start(&wait, "a guest does not pause");
	while (__atomic_load_n(&g->inside, __ATOMIC_SEQ_CST) > mine)
		watchdog_wait(&wait);
	return true;
}

void guest_resume(struct guest *g)
{
	__atomic_store_n(&g->paused, false, __ATOMIC_SEQ_CST);
}

// ---- the end of a migration ----------------------------------------------------------------------------

// What the port has of the vcpus goes along.
static void move(struct guest *g, struct domain *to)
{
	const struct domain *from = g->d;

	for (u32 i = 0; i < from->vcpu_count; i++)
		to->vcpu[i].port = from->vcpu[i].port;
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++)
		if (g->thread[i].state != THREAD_NONE)
			g->thread[i].at = &to->vcpu[g->thread[i].at->id];
	__atomic_store_n(&g->d, to, __ATOMIC_RELEASE); // others may look for it, with the lock that `from` is destroyed under
	flush_here(this_cpu()); // others flush when they get a thread
}

// What a migration ended with. Times in cycles.
struct finish {
	u64 dirty, sent; // pages
	u64 compare;
};

// The steps for which g must stand still. No lock of ours is held, so that no other guest's affairs make it longer.
static enum hv_status switch_over(struct guest *g, struct finish *f)
{
	struct domain *from = g->d, *to;

	if (!from)
		return HV_ENOENT;
	enum hv_status status = migrate_last_round(from, &f->dirty, &f->sent);
	u64 start = tsc_read();

	if (status == HV_OK)
		status = migrate_compare(from);
	f->compare = tsc_read() - start;
	if (status == HV_OK)
		status = migrate_switch(from, &to);
	if (status == HV_OK)
		move(g, to);
	if (status == HV_ECHECK)
		migrate_give_up(from);
	return status;
}

// The original. The guest runs meanwhile, in the copy.
static void destroy(struct guest *g, struct domain *from)
{
	const char *bad = domain_destroy(from);

	if (bad) {
		guest_line(g, "teardown failed: %s", bad);
		g->code = EXIT_FAIL;
	}
}

bool guest_migrate_finish(struct guest *g, u32 mine, enum hv_status *status)
{
	struct finish f = { 0 };

	if (!guest_pause(g, mine))
		return false;
	struct domain *from = g->d;

	*status = switch_over(g, &f);
	if (*status == HV_OK)
		__atomic_add_fetch(&run_burials, 1, __ATOMIC_SEQ_CST);
	u64 down = tsc_read() - g->paused_at - f.compare;

	guest_resume(g);
	if (*status != HV_OK)
		return true;
	u64 per_ms = timer_cycles_per_ms(), start = tsc_read();

	destroy(g, from);
	guest_line(g, "migrate finish sent %llu pages of %llu dirty, downtime_us=%llu compare_us=%llu teardown_us=%llu",
		   (unsigned long long)f.sent, (unsigned long long)f.dirty, (unsigned long long)(down * 1000 / per_ms),
		   (unsigned long long)(f.compare * 1000 / per_ms),
		   (unsigned long long)((tsc_read() - start) * 1000 / per_ms));
	__atomic_sub_fetch(&run_burials, 1, __ATOMIC_SEQ_CST);
	return true;
}
