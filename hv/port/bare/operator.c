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
#include "watchdog.h"

#define MIGRATE_ROUNDS 3

static void check(struct guest *g)
{
	watchdog_check_begins();
	const char *bad = hv_check(g->d, true);

	watchdog_check_ends();
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

static u32 is_mine(const struct guest *g)
{
	const struct thread *t = this_cpu()->thread;

	return t && t->guest == g;
}

// While they stand still.
static void for_each_guest(void (*act)(struct guest *g))
{
	for (u32 i = 0; i < guest_count; i++) {
		struct guest *g = &guests[i];

		if (!guest_pause(g, is_mine(g))) {
			guest_line(g, "operator: busy");
			continue;
		}
		if (g->d && !domain_is_dead(g->d))
			act(g);
		guest_resume(g);
	}
}

static void drop_shadows(void)
{
	control_blow_all();
	console_line("umbra: operator: all shadows dropped");
}

// The caller is inside. *begun: there is a migration, and it is ours.
static enum hv_status begin_migration(struct domain *d, bool *begun)
{
	enum hv_status status = migrate_start(d);
	u64 pages;

	*begun = status == HV_OK;
	for (u32 round = 0; round < MIGRATE_ROUNDS && status == HV_OK; round++)
		status = migrate_round(d, &pages);
	return status;
}

// HV_ENOENT: it has ended already, or the guest itself has given it up.
static void cancel(struct guest *g, u32 mine)
{
	if (!mine)
		guest_wait_to_come_in(g);
	enum hv_status status = g->d ? migrate_cancel(g->d) : HV_ENOENT;

	if (!mine)
		guest_go_out(g);
	if (status != HV_OK && status != HV_ENOENT)
		guest_line(g, "operator: migration: not given up: %s", hv_status_name(status));
}

// While its vcpus run, but for the end. What fails leaves nothing behind: log-dirty is off again, and the copy is gone.
static void migrate(struct guest *g)
{
	u32 mine = is_mine(g); // then inside already
	enum hv_status status = HV_ENOENT;
	bool begun = false;

	if (!mine)
		guest_wait_to_come_in(g);
	if (g->d && !domain_is_dead(g->d))
		status = begin_migration(g->d, &begun);
	if (!mine)
		guest_go_out(g);
	if (status == HV_OK && !guest_migrate_finish(g, mine, &status))
		status = HV_EBUSY;
	if (status == HV_OK) {
		guest_line(g, "operator: migration: done");
		return;
	}
	if (begun)
		cancel(g, mine);
	guest_line(g, "operator: migration: %s: %s", begun ? "failed" : "refused", hv_status_name(status));
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
