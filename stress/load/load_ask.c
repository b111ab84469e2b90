// SPDX-License-Identifier: GPL-2.0-or-later
// What the kernel asks of Umbra: log-dirty and migrations. A request that succeeds leaves no word in the log, one that
// fails does: the logs of runs with and without requests are equal as long as all goes well.
#include "load.h"

// hv/domain/hypercall.h and hv/domain/control.h
#define CALL_CONTROL ((enum hypercall_number)11)
#define CALL_MIGRATE ((enum hypercall_number)12)
#define CONTROL_LOGDIRTY 2
#define CONTROL_CLEAN 11
#define CONTROL_LOGDIRTY_OFF 42
enum { STEP_START, STEP_ROUND, STEP_FINISH, STEP_CANCEL };

#define CLEAN_PAGES 16
#define MIGRATE_ROUNDS 3 // pre-copy rounds of a migration
#define COMPARE_BLOCK 8  // rounds without and with log-dirty take turns of this many

static bool dirty_on, dirty_refused, migrating;
static u32 failures;

static enum hv_status control(u32 code, u64 argument)
{
	enum hv_status status = world_hypercall(CALL_CONTROL, code, argument);

	if (status != HV_OK) {
		failures++;
		say("control %u failed %s in round %u", code, hv_status_name(status), load_round);
	}
	return status;
}

static bool migrate(u32 step)
{
	u64 start = tsc();
	enum hv_status status = world_hypercall(CALL_MIGRATE, step, 0);

	say("time migrate step %u: %llu cycles", step, (unsigned long long)(tsc() - start));
	if (status == HV_OK)
		return true;
	failures++;
	say("migrate failed %s at step %u in round %u", hv_status_name(status), step, load_round);
	return false;
}

static void set_dirty(bool on)
{
	if (on == dirty_on || dirty_refused)
		return;
	dirty_refused = control(on ? CONTROL_LOGDIRTY : CONTROL_LOGDIRTY_OFF, 0) != HV_OK; // asked once is enough
	if (!dirty_refused)
		dirty_on = on;
}

void ask_before_round(void)
{
	if (!world_has_umbra || config.dirty == DIRTY_OFF)
		return;
	set_dirty(config.dirty != DIRTY_COMPARE || load_round / COMPARE_BLOCK % 2);
	if (dirty_on && config.dirty != DIRTY_ON && load_round % config.clean == 0)
		(void)control(CONTROL_CLEAN, CLEAN_PAGES);
}

void ask_after_round(void)
{
	u32 phase;

	if (!world_has_umbra || !config.migrate)
		return;
	phase = load_round % config.migrate;
	if (!migrating && phase == 0)
		migrating = migrate(STEP_START);
	else if (migrating && phase <= MIGRATE_ROUNDS && !migrate(STEP_ROUND))
		migrating = !migrate(STEP_CANCEL);
	else if (migrating && phase > MIGRATE_ROUNDS)
		migrating = !migrate(STEP_FINISH);
}

void ask_finish(void)
{
	if (migrating)
		migrating = !migrate(STEP_FINISH);
	set_dirty(false);
}

bool ask_is_tracking(void)
{
	return dirty_on || migrating;
}

u32 ask_failures(void)
{
	return failures;
}
