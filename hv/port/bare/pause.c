// SPDX-License-Identifier: GPL-2.0-or-later
// A guest stands still, for whom all of it must be at rest: the last step of a migration, and the operator.
//
// `paused` is set, all processors leave their guests, and whoever finds it set leaves the run loop and lets nobody else in.
// When no more are inside than those who wait here, no vcpu is in its guest or in the middle of something in the core. The
// threads come back again and again from the queue meanwhile: it is not for long.
#include "../../domain/migrate.h"

#include "flush.h"
#include "run.h"
#include "timer.h"
#include "watchdog.h"

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

// What the port has of the vcpus goes along.
static void move(struct guest *g, struct domain *to)
{
	const struct domain *from = g->d;

	for (u32 i = 0; i < from->vcpu_count; i++)
		to->vcpu[i].port = from->vcpu[i].port;
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++)
		if (g->thread[i].state != THREAD_NONE)
			g->thread[i].at = &to->vcpu[g->thread[i].at->id];
	g->d = to;
	flush_here(this_cpu()); // others flush when they get a thread
}

enum hv_status guest_migrate_finish(struct guest *g)
{
	u64 pages = 0, per_ms = timer_cycles_per_ms();
	struct domain *from = g->d, *to;

	port_lock(&run_domains_lock, __func__);
	enum hv_status status = migrate_finish(from, &to, &pages);

	if (status == HV_OK)
		move(g, to);
	u64 down = tsc_read() - g->paused_at;
	const char *bad = status == HV_OK ? domain_destroy(from) : NULL;

	port_unlock(&run_domains_lock);
	if (status == HV_OK)
		guest_line(g, "migrate finish sent %llu pages, downtime %llu us", (unsigned long long)pages,
			   (unsigned long long)(down * 1000 / per_ms));
	if (bad) {
		guest_line(g, "teardown failed: %s", bad);
		g->code = EXIT_FAIL;
	}
	return status;
}
