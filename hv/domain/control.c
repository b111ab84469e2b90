// SPDX-License-Identifier: GPL-2.0-or-later
// Control operations (spec A.18). Arguments are judged first; then an operation happens or leaves no trace (rule 50).
//
// What is long is done in pieces between which the lock is free: resizing the pool, reading and cleaning the log-dirty bitmap,
// switching it off. What a piece relies on is looked at again under the lock (fuzz/bugs/B35.patch). A clean that fails half-way puts
// back the bits that it has handed out; a resize that fails goes back to the size that was.
//
// Parts: modes; log-dirty; the pool; blowing tables; dispatch.
//
// Invariants (E.1): 49 CLEAN and PEEK; 50 no effect of what fails; 51 modes.
#include "control.h"

#define PAGES_PER_MIB (UINT64_C(1048576) / FRAME_BYTES)
#define MODES_PERMANENT (MODE_REFCOUNTS | MODE_TRANSLATE | MODE_EXTERNAL)

// ---- modes -----------------------------------------------------------------------------------------

static u32 modes_of(struct domain *d)
{
	domain_lock(d, BOUND_READ);
	u32 modes = d->shadow.modes;

	domain_unlock(d);
	return modes;
}

// Turn modes on. That they go together, and that none are on, is asked where they are kept.
static enum hv_status enable(struct domain *d, u32 modes)
{
	enum hv_status status = domain_enable(d, modes, SHADOW_OPT_ALL, 0);

	return status == HV_EDEAD ? HV_ENOMEM : status; // it had no vcpu that could have died
}

// May the operator have log-dirty now? The lock is held.
static enum hv_status logdirty_free(const struct domain *d)
{
	return d->migration || shadow_stepping(d) || d->shadow.dirty.reading ? HV_EBUSY : HV_OK;
}

static enum hv_status logdirty_on(struct domain *d)
{
	if (!modes_of(d))
		return enable(d, MODE_LOGDIRTY);
	control_logdirty_drain(d);
	domain_lock(d, BOUND_DIRTY);
	enum hv_status status = logdirty_free(d);

	if (status == HV_OK)
		status = shadow_dirty_start(d);
	domain_unlock(d);
	return status;
}

void control_logdirty_drain(struct domain *d)
{
	for (bool more = true; more;) {
		more = false;
		domain_lock(d, BOUND_DIRTY);
		if (!d->shadow.dirty.on) // or somebody has switched it on again, and this is another bitmap
			shadow_dirty_stop(d, &more);
		domain_unlock(d);
	}
}

void control_logdirty_stop(struct domain *d)
{
	bool more;

	domain_lock(d, BOUND_DIRTY);
	shadow_dirty_stop(d, &more);
	domain_unlock(d);
	if (more)
		control_logdirty_drain(d);
}

static enum hv_status enable_mask(struct domain *d, u64 mask)
{
	if ((mask & ~(u64)(MODE_HVM | MODE_LOGDIRTY)) || !shadow_modes_fit((u32)mask | MODE_ENABLE))
		return HV_EINVAL;
	if (mask & MODE_LOGDIRTY)
		return logdirty_on(d); // whatever else the mask asks for (spec A.18)
	return enable(d, (u32)mask | MODE_ENABLE);
}

// Log-dirty off, with `all` test mode too. When no mode is left all that shadow paging had goes with the last one.
static enum hv_status switch_off(struct domain *d, bool all)
{
	domain_lock(d, BOUND_DIRTY);
	u32 modes = d->shadow.modes, left = modes & (all ? MODES_PERMANENT : ~MODE_LOGDIRTY);
	enum hv_status status = logdirty_free(d); // while a migration runs it is not the operator's
	bool more = false;

	if (status == HV_OK && !all && !(modes & MODE_LOGDIRTY))
		status = HV_EINVAL;
	if (status == HV_OK && left && (modes & MODE_LOGDIRTY))
		shadow_dirty_stop(d, &more);
	if (status == HV_OK && modes && !left)
		d->shadow.dirty.reading = true; // so that nobody begins to; it goes with the rest
	domain_unlock(d);
	if (more)
		control_logdirty_drain(d);
	if (status == HV_OK && modes && !left)
		shadow_teardown(d);
	return status == HV_OK && all && left ? HV_EINVAL : status;
}

// ---- log-dirty -------------------------------------------------------------------------------------

// What has been handed out of [c->first, c->first + pages) counts as not cleaned.
static void put_back(struct domain *d, const struct control *c, u64 pages)
{
	for (u64 at = 0, n; at < pages; at += n) {
		n = pages - at < DIRTY_PIECE ? pages - at : DIRTY_PIECE;
		domain_lock(d, BOUND_DIRTY);
		shadow_dirty_put_back(d, c->first + at, n, c->bitmap + at / 8);
		domain_unlock(d);
	}
}

// One at a time: what a clean that fails later puts back, another one in between would not have seen.
static enum hv_status begin_reading(struct domain *d)
{
	domain_lock(d, BOUND_DIRTY);
	enum hv_status status = logdirty_free(d);

	if (status == HV_OK && !d->shadow.dirty.on)
		status = HV_EINVAL;
	if (status == HV_OK)
		d->shadow.dirty.reading = true;
	domain_unlock(d);
	return status;
}

static enum hv_status hand_out(struct domain *d, struct control *c)
{
	struct shadow_dirty *s = &d->shadow.dirty;
	bool clean = c->code == CONTROL_CLEAN;
	enum hv_status status = HV_OK;
	u64 at = 0, done;

	if (!c->bitmap || !c->pages || c->pages > BIT(P2M_GFN_BITS) || c->first > BIT(P2M_GFN_BITS) - c->pages)
		return HV_EINVAL;
	status = begin_reading(d);
	if (status != HV_OK)
		return status;
	while (status == HV_OK && at < c->pages) {
		domain_lock(d, BOUND_DIRTY);
		// Nothing but the last piece ends in the middle of a byte.
		status = shadow_dirty_read(d, clean, c->first + at, c->pages - at, c->bitmap + at / 8, &done);
		if (status == HV_OK && (at += done) == c->pages) {
			c->dirty_count = s->marked;
			c->fault_count = s->faults;
			if (clean)
				s->marked = s->faults = 0;
		}
		domain_unlock(d);
	}
	if (clean && status != HV_OK)
		put_back(d, c, at);
	domain_lock(d, BOUND_DIRTY);
	s->reading = false;
	domain_unlock(d);
	return status;
}

// ---- the pool --------------------------------------------------------------------------------------

static enum hv_status set_pool(struct domain *d, u64 mib)
{
	if (!mib || !modes_of(d))
		return HV_EINVAL; // shadows need some (spec A.20, D13), and nobody else does
	if (mib > page_count / PAGES_PER_MIB)
		return HV_ENOMEM;
	domain_lock(d, BOUND_READ);
	u32 p2m = d->shadow.p2m_pages, pages = (u32)(mib * PAGES_PER_MIB);

	domain_unlock(d);
	return domain_resize_begun(d, pages > p2m ? pages - p2m : 1);
}

static u64 pool_mib(struct domain *d)
{
	domain_lock(d, BOUND_READ);
	u64 pages = (u64)d->shadow.total_pages + d->shadow.p2m_pages;

	domain_unlock(d);
	return (pages + PAGES_PER_MIB - 1) / PAGES_PER_MIB;
}

// ---- blowing tables ----------------------------------------------------------------------------------

static enum hv_status blow(struct domain *d)
{
	domain_lock(d, BOUND_BLOW);
	enum hv_status status = !d->shadow.modes ? HV_EINVAL : shadow_stepping(d) ? HV_EBUSY : HV_OK;

	if (status == HV_OK)
		shadow_blow_tables(d);
	domain_unlock(d);
	return status;
}

void control_blow_all(void)
{
	for (u32 i = 0; i < DOMAINS_MAX; i++) {
		struct domain *d = domain_keep(i);

		if (!d)
			continue;
		if (!domain_is_dead(d))
			(void)blow(d); // one without shadows has nothing to lose
		domain_let_go();
	}
}

// ---- dispatch --------------------------------------------------------------------------------------

static enum hv_status act(struct domain *d, struct control *c)
{
	switch (c->code) {
	case CONTROL_OFF:
		return switch_off(d, true);
	case CONTROL_TEST:
		return enable(d, MODE_ENABLE);
	case CONTROL_LOGDIRTY:
		return logdirty_on(d);
	case CONTROL_TRANSLATE:
		return enable(d, MODE_ENABLE | MODE_REFCOUNTS | MODE_TRANSLATE);
	case CONTROL_CLEAN:
	case CONTROL_PEEK:
		return hand_out(d, c);
	case CONTROL_GET:
		c->mib = pool_mib(d);
		return HV_OK;
	case CONTROL_SET:
		return set_pool(d, c->argument);
	case CONTROL_ENABLE:
		return enable_mask(d, c->argument);
	case CONTROL_BLOW:
		return blow(d);
	case CONTROL_BLOW_ALL:
		control_blow_all();
		return HV_OK;
	case CONTROL_LOGDIRTY_OFF:
		return switch_off(d, false);
	default:
		return HV_EINVAL;
	}
}

// The modes or the size of the pool. BLOW and the reading ones look at what they need under each hold of the lock.
static bool changes(u32 code)
{
	switch (code) {
	case CONTROL_OFF:
	case CONTROL_TEST:
	case CONTROL_LOGDIRTY:
	case CONTROL_TRANSLATE:
	case CONTROL_SET:
	case CONTROL_ENABLE:
	case CONTROL_LOGDIRTY_OFF:
		return true;
	default:
		return false;
	}
}

// Those, one at a time.
static enum hv_status change(struct domain *d, struct control *c)
{
	enum hv_status status = domain_begin(d);

	if (status != HV_OK)
		return status;
	status = act(d, c);
	domain_end(d);
	return status;
}

enum hv_status domain_control(const struct domain *caller, u32 number, struct control *c)
{
	struct domain *d = domain_get(number);

	if (!d || domain_is_dead(d))
		return HV_ENOENT;
	if (d == caller)
		return HV_EINVAL;
	if (shadow_stepping(d))
		return HV_EBUSY;
	return changes(c->code) ? change(d, c) : act(d, c);
}

enum hv_status control_hypercall(struct vcpu *v, u64 arg0, u64 arg1)
{
	u8 bits[CONTROL_GUEST_PAGES / 8];
	u64 code = arg0 & 0xff, who = arg0 >> 8;
	struct control c = { .code = (u32)code, .argument = arg1, .first = CONTROL_GUEST_FIRST, .bitmap = bits };

	c.pages = arg1 <= CONTROL_GUEST_PAGES ? arg1 : 0; // both are refused
	if (who >= CONTROL_WHO_COUNT)
		return HV_EINVAL;
	return domain_control(who == CONTROL_BY_ITSELF ? v->domain : NULL,
			      who == CONTROL_ABSENT ? DOMAINS_MAX : v->domain->number, &c);
}
