// SPDX-License-Identifier: GPL-2.0-or-later
// Live migration inside one machine (migrate.h).
//
// The first round goes through the gfns that either domain uses, and so does one after the physmap has changed; any other goes
// through those whose dirty bits are set; MIGRATE_WINDOW at a time:
//   fit    the copy's physmap is made to follow: RAM and its type, holes, identity ranges, foreign frames
//   hold   the copy's frames of the window get a reference, so that no lock of the copy is needed beside that of the original
//   copy   under one hold of the original's lock the window's dirty bits are taken (write access goes, TLBs are flushed) and
//          the frames behind them copied; in the first round all frames
// Whatever the guest changes after its window was copied has its bit again: the next round copies it. What fails does so before
// bits are taken, or in the first round, which needs none. In the last round nobody runs, so that it is complete, and as long as its
// dirty pages are many, not its memory.
// Before the vcpus move everything is compared, if anything is audited.
//
// Parts: what is where; fitting; copying; comparing; rounds; vcpus; the steps.
// One lock is held at a time. Cost: a round looks at each of its windows, and at the bitmap; a window under the lock costs a piece of
// a clean and MIGRATE_WINDOW page copies.
#include "migrate.h"

#include "../base/fmt.h"
#include "control.h"
#include "physmap.h"

_Static_assert(MIGRATE_WINDOW % 8 == 0, "a window's bits are whole bytes");
_Static_assert(MIGRATE_WINDOW <= DIRTY_PIECE, "its bits are read in one piece");
_Static_assert(MIGRATE_WINDOW <= 1u << P2M_LEVEL_BITS, "no window begins or ends inside an entry of more than one page");

struct migration {
	struct domain *to;
	u32 round; // complete rounds
	u64 fits;  // p2m.changes of `from` before the last complete round: the copy's physmap is like that
	bool busy; // a processor is at work on it
};
static struct migration migrations[DOMAINS_MAX]; // by number of `from`

// ---- what is where ---------------------------------------------------------------------------------

static struct p2m_entry entry_at(struct domain *d, gfn_t g)
{
	domain_lock(d, BOUND_READ);
	struct p2m_entry e = p2m_get(&d->p2m, g);

	domain_unlock(d);
	return e;
}

static gfn_t next_entry(struct domain *d, gfn_t g, struct p2m_entry *e)
{
	domain_lock(d, BOUND_READ);
	g = p2m_next_entry(&d->p2m, g, e);
	domain_unlock(d);
	return g;
}

static gfn_t next_dirty(struct domain *d, gfn_t g)
{
	domain_lock(d, BOUND_DIRTY);
	g = shadow_dirty_next(d, g);
	domain_unlock(d);
	return g;
}

// The first gfn at or above g that one of the two uses.
static gfn_t next_used(struct domain *from, struct domain *to, gfn_t g)
{
	struct p2m_entry e;
	gfn_t a = next_entry(from, g, &e), b = next_entry(to, g, &e);

	return a.n < b.n ? a : b; // GFN_INVALID is above all
}

static gfn_t base_of(gfn_t g, struct p2m_entry e)
{
	return gfn(g.n & ~(BIT(e.order) - 1));
}

static gfn_t window_of(gfn_t g)
{
	return gfn(g.n & ~(u64)(MIGRATE_WINDOW - 1));
}

struct window {
	gfn_t first; // a multiple of MIGRATE_WINDOW
	u8 mask[MIGRATE_WINDOW / 8]; // of its gfns that matter; for the others the rest says nothing
	struct p2m_entry want[MIGRATE_WINDOW], have[MIGRATE_WINDOW]; // what the original has there, and the copy
	mfn_t frame[MIGRATE_WINDOW]; // the copy's RAM, referenced; MFN_NONE where it has none
};

static bool matters(const struct window *w, u64 i)
{
	return w->mask[i / 8] >> i % 8 & 1;
}

// All gfns of the window that g lies in.
static void whole_window(struct window *w, gfn_t g)
{
	w->first = window_of(g);
	for (u32 i = 0; i < sizeof(w->mask); i++)
		w->mask[i] = 0xff;
}

// Those whose bits are set. HV_ENOMEM: an injected failure.
static enum hv_status dirty_window(struct domain *from, struct window *w, gfn_t g)
{
	u64 done;

	w->first = window_of(g);
	domain_lock(from, BOUND_DIRTY);
	enum hv_status status = shadow_dirty_read(from, false, w->first.n, MIGRATE_WINDOW, w->mask, &done);

	domain_unlock(from);
	return status;
}

static void look(struct domain *from, struct domain *to, struct window *w)
{
	domain_lock(from, BOUND_READ);
	for (u32 i = 0; i < MIGRATE_WINDOW; i++)
		if (matters(w, i))
			w->want[i] = p2m_get(&from->p2m, gfn(w->first.n + i));
	domain_unlock(from);
	domain_lock(to, BOUND_READ);
	for (u32 i = 0; i < MIGRATE_WINDOW; i++)
		if (matters(w, i))
			w->have[i] = p2m_get(&to->p2m, gfn(w->first.n + i));
	domain_unlock(to);
}

static void hold(struct domain *to, struct window *w)
{
	domain_lock(to, BOUND_READ);
	for (u32 i = 0; i < MIGRATE_WINDOW; i++) {
		mfn_t m = matters(w, i) ? p2m_lookup(&to->p2m, gfn(w->first.n + i)) : MFN_NONE;

		w->frame[i] = !mfn_is_none(m) && page_hold(m, to->owner) == HV_OK ? m : MFN_NONE;
	}
	domain_unlock(to);
}

static void release(const struct window *w)
{
	for (u32 i = 0; i < MIGRATE_WINDOW; i++)
		if (!mfn_is_none(w->frame[i]))
			page_unhold(w->frame[i]);
}

// ---- fitting ---------------------------------------------------------------------------------------

// Does the copy have what it should have, but for the type of RAM?
static bool same_kind(struct p2m_entry want, struct p2m_entry have)
{
	if (p2m_is_ram(want.type) || p2m_is_ram(have.type))
		return p2m_is_ram(want.type) && p2m_is_ram(have.type);
	return want.type == have.type && (want.type != P2M_FOREIGN || mfn_eq(want.frame, have.frame));
}

static enum hv_status drop(struct domain *to, gfn_t g, struct p2m_entry have)
{
	if (have.type == P2M_HOLE)
		return HV_OK;
	if (have.type == P2M_MMIO_DIRECT) // all of the entry: what else it stood for comes back when its turn comes
		return physmap_identity(to, base_of(g, have), BIT(have.order), false);
	return have.type == P2M_FOREIGN ? physmap_unmap_foreign(to, g) : physmap_remove(to, g);
}

// The same frame, whose owner may have given it up. If the guest has something else there by now, the next round follows.
static enum hv_status follow_foreign(struct domain *from, struct domain *to, gfn_t g, mfn_t frame)
{
	domain_lock(from, BOUND_READ);
	struct p2m_entry now = p2m_get(&from->p2m, g);
	bool same = now.type == P2M_FOREIGN && mfn_eq(now.frame, frame);
	enum hv_status status = same ? page_hold_again(frame) : HV_OK;

	domain_unlock(from);
	return same && status == HV_OK ? physmap_map_held(to, g, frame) : status;
}

static enum hv_status follow(struct domain *from, struct domain *to, gfn_t g, struct p2m_entry want)
{
	enum hv_status status = HV_OK;

	if (p2m_is_ram(want.type))
		status = domain_add_ram(to, g);
	if (want.type == P2M_FOREIGN)
		status = follow_foreign(from, to, g, want.frame);
	if (want.type == P2M_MMIO_DIRECT)
		status = physmap_identity(to, g, 1, true);
	return status;
}

// One gfn of the copy's physmap.
static enum hv_status fit(struct domain *from, struct domain *to, gfn_t g, struct p2m_entry want, struct p2m_entry have)
{
	enum hv_status status = HV_OK;

	if (!same_kind(want, have)) {
		status = drop(to, g, have);
		if (status == HV_OK)
			status = follow(from, to, g, want);
		have.type = P2M_RAM_RW; // if it is RAM now
	}
	if (status == HV_OK && p2m_is_ram(want.type) && want.type != have.type)
		status = physmap_retype(to, g, (enum p2m_type)want.type);
	return status;
}

static enum hv_status fit_window(struct domain *from, struct domain *to, struct window *w)
{
	enum hv_status status = HV_OK;

	look(from, to, w);
	for (u32 i = 0; i < MIGRATE_WINDOW && status == HV_OK; i++)
		if (matters(w, i) && (w->want[i].type != w->have[i].type || !same_kind(w->want[i], w->have[i])))
			status = fit(from, to, gfn(w->first.n + i), w->want[i], entry_at(to, gfn(w->first.n + i)));
	return status;
}

// An identity entry of more than one page that begins at or before g is followed as a whole. *behind: where to go on; g: no
// such entry is there.
static enum hv_status fit_identity(struct domain *from, struct domain *to, gfn_t g, gfn_t *behind)
{
	struct p2m_entry want = entry_at(from, g), have = entry_at(to, g), inside;
	enum hv_status status = HV_OK;

	*behind = g;
	if (have.type == P2M_MMIO_DIRECT && have.order && (want.type != P2M_MMIO_DIRECT || want.order < have.order)) {
		status = drop(to, g, have);
		have.type = P2M_HOLE;
	}
	if (status != HV_OK)
		return status;
	if (want.type != P2M_MMIO_DIRECT || !want.order || !gfn_eq(base_of(g, want), g))
		return HV_OK;
	*behind = p2m_behind(g, want);
	if (have.type == P2M_MMIO_DIRECT && have.order == want.order)
		return HV_OK;
	for (gfn_t at = next_entry(to, g, &inside); status == HV_OK && at.n < behind->n; at = next_entry(to, at, &inside)) {
		status = drop(to, at, inside);
		at = p2m_behind(at, inside);
	}
	return status == HV_OK ? physmap_identity(to, g, BIT(want.order), true) : status;
}

// ---- copying ---------------------------------------------------------------------------------------

// Copy the gfns [at, at + done) of a window whose bits are in `dirty`, or all. A frame that appeared after the copy's physmap
// was made to fit, and so has its bit, keeps that; so does one whose type a store has changed since. The original's lock is held.
static enum hv_status copy_dirty(struct domain *from, const struct window *w, u64 at, u64 done, const u8 *dirty,
				 bool everything, u64 *pages)
{
	for (u64 i = at; i < at + done; i++) {
		bool set = dirty[i / 8] >> i % 8 & 1, copies = !mfn_is_none(w->frame[i]);
		u8 one = 1;

		if (!set && !everything)
			continue;
		struct p2m_entry e = p2m_get(&from->p2m, gfn(w->first.n + i));

		if (!p2m_is_ram(e.type))
			continue;
		if (copies) {
			page_copy(w->frame[i], e.frame);
			++*pages;
		} else if (!set) {
			return HV_ENOMEM; // too many references: all will be copied again
		}
		if (set && (!copies || e.type != w->want[i].type))
			shadow_dirty_put_back(from, w->first.n + i, 1, &one);
	}
	return HV_OK;
}

static enum hv_status copy_window(struct domain *from, struct domain *to, struct window *w, bool everything, u64 *pages)
{
	enum hv_status status = HV_OK;
	u8 dirty[MIGRATE_WINDOW / 8];

	hold(to, w);
	for (u64 at = 0, done = 0; at < MIGRATE_WINDOW && status == HV_OK; at += done) {
		domain_lock(from, BOUND_DIRTY);
		status = shadow_stepping(from) ? HV_EBUSY
					       : shadow_dirty_read(from, true, w->first.n + at, MIGRATE_WINDOW - at,
								   dirty + at / 8, &done);
		if (status == HV_OK)
			status = copy_dirty(from, w, at, done, dirty, everything, pages);
		domain_unlock(from);
	}
	release(w);
	return status;
}

// ---- comparing -------------------------------------------------------------------------------------

static bool same_bytes(mfn_t a, mfn_t b)
{
	const u64 *x = port_map(a), *y = port_map(b);
	u32 i = 0;

	while (i < FRAME_BYTES / sizeof(u64) && x[i] == y[i])
		i++;
	port_unmap(y);
	port_unmap(x);
	return i == FRAME_BYTES / sizeof(u64);
}

// Nobody runs: what the original has does not change meanwhile.
static bool same_window(struct domain *from, struct domain *to, struct window *w)
{
	bool same = true;

	look(from, to, w);
	for (u32 i = 0; i < MIGRATE_WINDOW && same; i++) {
		struct p2m_entry a = w->want[i], b = w->have[i];

		same = a.type == b.type && same_kind(a, b) && (!p2m_is_ram(a.type) || same_bytes(a.frame, b.frame));
	}
	return same;
}

// ---- rounds ----------------------------------------------------------------------------------------

// Window by window of all that is in use: the copy's physmap is made to fit, too.
static enum hv_status send_used(struct domain *from, struct domain *to, bool everything, u64 *pages)
{
	enum hv_status status = HV_OK;
	struct window w;

	for (gfn_t g = next_used(from, to, gfn(0)); status == HV_OK && !gfn_eq(g, GFN_INVALID); g = next_used(from, to, g)) {
		gfn_t behind;

		status = fit_identity(from, to, g, &behind);
		if (status != HV_OK || !gfn_eq(behind, g)) {
			g = behind;
			continue;
		}
		whole_window(&w, g);
		status = fit_window(from, to, &w);
		if (status == HV_OK)
			status = copy_window(from, to, &w, everything, pages);
		g = gfn(w.first.n + MIGRATE_WINDOW);
	}
	return status;
}

// The physmap has not changed: only windows with bits. What a write did to the type of its frame is seen there.
static enum hv_status send_dirty(struct domain *from, struct domain *to, u64 *pages)
{
	enum hv_status status = HV_OK;
	struct window w;

	for (gfn_t g = next_dirty(from, gfn(0)); status == HV_OK && !gfn_eq(g, GFN_INVALID);
	     g = next_dirty(from, gfn(w.first.n + MIGRATE_WINDOW))) {
		status = dirty_window(from, &w, g);
		if (status == HV_OK)
			status = fit_window(from, to, &w);
		if (status == HV_OK)
			status = copy_window(from, to, &w, false, pages);
	}
	return status;
}

// One round. *dirty: how many pages it had to send when it began, of a guest that stands still.
static enum hv_status send(struct domain *from, struct migration *m, u64 *dirty, u64 *pages)
{
	bool everything = m->round == 0;

	*pages = 0;
	domain_lock(from, BOUND_READ);
	u64 changes = from->p2m.changes;

	*dirty = everything ? from->p2m.mapped : from->shadow.dirty.count;
	domain_unlock(from);
	enum hv_status status = everything || changes != m->fits ? send_used(from, m->to, everything, pages)
								 : send_dirty(from, m->to, pages);

	if (status == HV_OK)
		m->fits = changes;
	return status;
}

static enum hv_status compare(struct domain *from, struct domain *to)
{
	struct window w;

	for (gfn_t g = next_used(from, to, gfn(0)); !gfn_eq(g, GFN_INVALID); g = next_used(from, to, g)) {
		struct p2m_entry a = entry_at(from, g), b = entry_at(to, g);

		if (a.type == P2M_MMIO_DIRECT && b.type == a.type) {
			g = p2m_behind(g, a.order < b.order ? a : b);
			continue;
		}
		whole_window(&w, g);
		if (!same_window(from, to, &w))
			return HV_ECHECK;
		g = gfn(w.first.n + MIGRATE_WINDOW);
	}
	return HV_OK;
}

static void log_sent(const char *what, u32 round, u64 pages)
{
	char line[64], number[16] = "";

	if (round)
		fmt(number, sizeof(number), "%u ", round);
	fmt(line, sizeof(line), "migrate %s %ssent %llu pages", what, number, (unsigned long long)pages);
	port_log(line);
}

// ---- vcpus -----------------------------------------------------------------------------------------

#define CR3_NOWHERE PTE_ADDR // names no gfn, so that any of the copy's frames may go again

// As domain_create() made it.
static void reset_vcpu(struct vcpu *v)
{
	v->guest = (struct vcpu_control){ .cr0 = CR0_PE, .cr3 = CR3_NOWHERE };
	v->rflags_ac = false;
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		v->shadow.pdpte[i] = 0;
}

static enum hv_status load_root(struct vcpu *v)
{
	domain_lock(v->domain, BOUND_CR);
	enum hv_status status = shadow_update_cr3(v);

	domain_unlock(v->domain);
	return status;
}

// The copy's vcpus take over. HV_ENOMEM: they have nothing again. HV_ECHECK: nor can they.
static enum hv_status move_vcpus(const struct domain *from, struct domain *to)
{
	enum hv_status status = HV_OK;

	for (u32 n = 0; n < from->vcpu_count && status == HV_OK; n++) {
		const struct vcpu *v = &from->vcpu[n];
		struct vcpu *copy = &to->vcpu[n];

		copy->guest = v->guest;
		copy->rflags_ac = v->rflags_ac;
		for (u32 i = 0; i < SHADOW_SLOTS; i++)
			copy->shadow.pdpte[i] = v->shadow.pdpte[i];
		status = load_root(copy);
	}
	if (status == HV_OK)
		return HV_OK;
	to->dead = false; // no guest has seen it alive
	to->death = NULL;
	status = HV_OK;
	for (u32 n = 0; n < to->vcpu_count && status == HV_OK; n++) {
		reset_vcpu(&to->vcpu[n]);
		status = load_root(&to->vcpu[n]);
	}
	return status == HV_OK ? HV_ENOMEM : HV_ECHECK;
}

// ---- the steps -------------------------------------------------------------------------------------

static enum hv_status enter(struct domain *from)
{
	domain_lock(from, BOUND_READ);
	struct migration *m = from->migration;
	enum hv_status status = !m ? HV_ENOENT : m->busy ? HV_EBUSY : HV_OK;

	if (status == HV_OK)
		m->busy = true;
	domain_unlock(from);
	return status;
}

static void leave(struct domain *from)
{
	domain_lock(from, BOUND_READ);
	from->migration->busy = false;
	domain_unlock(from);
}

static void forget(struct domain *from)
{
	domain_lock(from, BOUND_READ);
	from->migration = NULL;
	domain_unlock(from);
}

// The migration is over, the copy goes.
static enum hv_status end(struct domain *from, struct domain *copy)
{
	control_logdirty_stop(from);
	const char *bad = domain_destroy(copy);

	if (bad)
		port_log(bad);
	forget(from);
	return bad ? HV_ECHECK : HV_OK;
}

static enum hv_status make_copy(struct domain *from, struct domain **to)
{
	domain_lock(from, BOUND_READ);
	struct domain_config config = { .vcpus = from->vcpu_count, .pool_pages = from->shadow.total_pages,
					.opts = from->shadow.opts };

	domain_unlock(from);
	enum hv_status status = domain_create(&config, to);

	if (status != HV_OK)
		return HV_ENOMEM; // what else domain_create() says is of no use to who asked for a migration
	for (u32 n = 0; n < (*to)->vcpu_count; n++)
		reset_vcpu(&(*to)->vcpu[n]); // its root stays that of an unpaged vcpu
	return HV_OK;
}

enum hv_status migrate_start(struct domain *from)
{
	struct migration *m = &migrations[from->number];
	enum hv_status status = HV_OK;

	domain_lock(from, BOUND_READ);
	if (from->migration || (from->shadow.modes & MODE_LOGDIRTY) || shadow_stepping(from))
		status = HV_EBUSY;
	else if (from->shadow.modes != MODE_HVM || !from->vcpu_count)
		status = HV_EINVAL;
	if (status == HV_OK) {
		*m = (struct migration){ .busy = true };
		from->migration = m;
	}
	domain_unlock(from);
	if (status != HV_OK)
		return status;
	control_logdirty_drain(from);
	status = make_copy(from, &m->to);
	if (status == HV_OK) {
		domain_lock(from, BOUND_DIRTY);
		status = shadow_dirty_start(from);
		domain_unlock(from);
		if (status != HV_OK && domain_destroy(m->to))
			status = HV_ECHECK;
	}
	if (status == HV_OK)
		leave(from);
	else
		forget(from);
	return status;
}

enum hv_status migrate_round(struct domain *from, u64 *pages)
{
	enum hv_status status = enter(from);
	u64 dirty;

	*pages = 0;
	if (status != HV_OK)
		return status;
	struct migration *m = from->migration;

	status = send(from, m, &dirty, pages);
	if (status == HV_OK)
		log_sent("round", ++m->round, *pages);
	leave(from);
	return status;
}

// What the operator may have changed since the copy was made, beside memory and modes. HV_EDEAD: the guest was killed; its copy
// must not come to life.
static enum hv_status catch_up(struct domain *from, struct domain *copy)
{
	domain_lock(from, BOUND_READ);
	u32 pool = from->shadow.total_pages;

	domain_unlock(from);
	__atomic_store_n(&copy->audit, __atomic_load_n(&from->audit, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	return domain_is_dead(from) ? HV_EDEAD : domain_resize_pool(copy, pool);
}

enum hv_status migrate_last_round(struct domain *from, u64 *dirty, u64 *pages)
{
	enum hv_status status = enter(from);

	*dirty = *pages = 0;
	if (status != HV_OK)
		return status;
	status = catch_up(from, from->migration->to);
	if (status == HV_OK)
		status = send(from, from->migration, dirty, pages);
	if (status != HV_OK)
		leave(from);
	return status;
}

enum hv_status migrate_compare(struct domain *from)
{
	return __atomic_load_n(&from->audit, __ATOMIC_RELAXED) ? compare(from, from->migration->to) : HV_OK;
}

enum hv_status migrate_switch(struct domain *from, struct domain **to)
{
	struct domain *copy = from->migration->to;
	enum hv_status status = move_vcpus(from, copy);

	if (status == HV_OK) {
		bool more; // of the bitmap: it goes with the original

		domain_lock(from, BOUND_DIRTY);
		shadow_dirty_stop(from, &more);
		domain_unlock(from);
		forget(from);
		*to = copy;
	} else if (status != HV_ECHECK) { // then migrate_give_up() follows, with nobody in between
		leave(from);
	}
	return status;
}

void migrate_give_up(struct domain *from)
{
	port_log("migrate: the copy is not equal, the original goes on");
	(void)end(from, from->migration->to);
}

enum hv_status migrate_finish(struct domain *from, struct domain **to, u64 *pages)
{
	u64 sent, dirty;
	enum hv_status status = migrate_last_round(from, &dirty, &sent);

	if (pages)
		*pages = sent;
	if (status == HV_OK)
		status = migrate_compare(from);
	if (status == HV_OK)
		status = migrate_switch(from, to);
	if (status == HV_ECHECK)
		migrate_give_up(from);
	return status;
}

enum hv_status migrate_cancel(struct domain *from)
{
	enum hv_status status = enter(from);

	return status == HV_OK ? end(from, from->migration->to) : status;
}

enum hv_status migrate_hypercall(struct domain *from, u64 step)
{
	u64 pages;

	switch (step) {
	case MIGRATE_START: return migrate_start(from);
	case MIGRATE_ROUND: return migrate_round(from, &pages);
	case MIGRATE_CANCEL: return migrate_cancel(from);
	default: return HV_EINVAL;
	}
}
