// SPDX-License-Identifier: GPL-2.0-or-later
// The operator's keys. They are looked for with the ticks of the timer of the first processor: within 10 ms when there are
// several guests or processors, within about a second otherwise.
//
// Cost: that of the key, for each guest in turn.
#include "operator.h"

#include "../../domain/control.h"
#include "../../domain/migrate.h"
#include "console.h"
#include "run.h"

#define MIGRATE_ROUNDS 3

static void check(struct guest *g)
{
	const char *bad = hv_check(g->d, true);

	if (bad)
		port_fatal(bad);
	guest_line(g, "operator: all checkers pass");
}

static void describe(struct guest *g)
{
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++) {
		const struct thread *t = &g->thread[i];

		if (t->state == THREAD_NONE)
			continue;
		const struct svm_vcpu *s = svm_of(t->at);

		guest_line(g, "operator: vcpu %u %s rip=%llx cr3=%llx exits=%llu", t->at->id,
			   t->state == THREAD_RUNNING ? "runs" : "waits", (unsigned long long)s->vmcb->rip,
			   (unsigned long long)t->at->guest.cr3, (unsigned long long)s->counters.exits);
	}
}

// While they stand still, and domains neither come nor go.
static void for_each_guest(void (*act)(struct guest *g))
{
	const struct thread *t = this_cpu()->thread;

	for (u32 i = 0; i < guest_count; i++) {
		struct guest *g = &guests[i];

		if (!guest_pause(g, t && t->guest == g)) {
			guest_line(g, "operator: busy");
			continue;
		}
		port_lock(&run_domains_lock, __func__);
		if (g->d && !domain_is_dead(g->d))
			act(g);
		port_unlock(&run_domains_lock);
		guest_resume(g);
	}
}

static void drop_shadows(void)
{
	port_lock(&run_domains_lock, __func__);
	control_blow_all();
	port_unlock(&run_domains_lock);
	console_line("umbra: operator: all shadows dropped");
}

// While its vcpus run, but for the end.
static void migrate(struct guest *g)
{
	const struct thread *t = this_cpu()->thread;
	enum hv_status status = HV_ENOENT;
	u64 pages;

	port_lock(&run_domains_lock, __func__);
	if (g->d && !domain_is_dead(g->d))
		status = migrate_start(g->d);
	port_unlock(&run_domains_lock);
	if (status != HV_OK)
		return;
	for (u32 round = 0; round < MIGRATE_ROUNDS && status == HV_OK; round++) {
		port_lock(&run_domains_lock, __func__);
		status = g->d ? migrate_round(g->d, &pages) : HV_ENOENT;
		port_unlock(&run_domains_lock);
	}
	if (status == HV_OK && !guest_migrate_finish(g, t && t->guest == g, &status))
		status = HV_EBUSY;
	guest_line(g, "operator: migration: %s", status == HV_OK ? "done" : "failed");
}

void operator_poll(void)
{
	char key;

	while (console_key(&key))
		switch (key) {
		case 'S': drop_shadows(); break;
		case 'C': for_each_guest(check); break;
		case 'D': for_each_guest(describe); break;
		case 'M':
			for (u32 i = 0; i < guest_count; i++)
				migrate(&guests[i]);
			break;
		default: break;
		}
}
