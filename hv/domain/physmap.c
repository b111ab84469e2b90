// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a domain's physmap (spec A.11): guest RAM comes, goes, moves, changes its type; ranges of the machine's own
// addresses; frames of other domains.
//
// Each change is prepared (pages, frames) before anything visible happens; from then on it cannot fail. What it invalidates is
// dropped and flushed before the frame can be used again. Making a large entry is 1 << P2M_LARGE_ORDER changes that no guest can
// see, with the lock free in between; every other operation is one change under one hold.
#include "physmap.h"

#include "../base/mem.h"
#include "../mem/heap.h"

// A vcpu's CR3 names g: the frame behind it must stay.
static bool is_loaded(const struct domain *d, gfn_t g)
{
	for (u32 i = 0; i < d->vcpu_count; i++)
		if (gfn_eq(shadow_cr3_gfn(&d->vcpu[i]), g))
			return true;
	return false;
}

static bool is_ram(const struct domain *d, gfn_t g)
{
	return p2m_is_ram(p2m_get(&d->p2m, g).type);
}

// Pages for the p2m and for what follows from its change.
static enum hv_status prepare(struct domain *d)
{
	enum hv_status status = shadow_feed_p2m(d);

	return status == HV_OK ? shadow_prepare_p2m_change(d) : status;
}

static enum hv_status fresh_frame(struct domain *d, mfn_t *m)
{
	enum hv_status status = prepare(d);

	if (status == HV_OK)
		status = heap_alloc(d->owner, m);
	if (status == HV_OK) {
		void *at = port_map(*m);

		mem_zero(at, FRAME_BYTES);
		port_unmap(at);
	}
	return status;
}

// Make g, which is RAM and not loaded, a hole. prepare() was called.
static void make_hole(struct domain *d, gfn_t g)
{
	shadow_forget_frame(d, p2m_lookup(&d->p2m, g));
	page_release(p2m_clear(&d->p2m, g)); // the heap's, unless an emulated write still holds it
}

// Put RAM behind the hole g.
static void fill_hole(struct domain *d, gfn_t g, mfn_t m, enum p2m_type type)
{
	p2m_set_range(&d->p2m, g, 0, m, type);
	shadow_ram_added(d, g);
}

static enum hv_status add_ram(struct domain *d, gfn_t g)
{
	mfn_t m;

	if (!gfn_in_range(g))
		return HV_EINVAL;
	if (p2m_get(&d->p2m, g).type != P2M_HOLE)
		return HV_EBUSY;
	enum hv_status status = fresh_frame(d, &m);

	if (status != HV_OK)
		return status;
	fill_hole(d, g, m, P2M_RAM_RW);
	shadow_p2m_changed(d, true);
	return HV_OK;
}

static enum hv_status remove(struct domain *d, gfn_t g)
{
	if (is_loaded(d, g))
		return HV_EBUSY;
	if (!is_ram(d, g))
		return HV_ENOENT;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	make_hole(d, g);
	shadow_p2m_changed(d, false);
	return HV_OK;
}

static enum hv_status renew(struct domain *d, gfn_t g)
{
	u8 type = p2m_get(&d->p2m, g).type;
	mfn_t m;

	if (!gfn_in_range(g))
		return HV_EINVAL;
	if (is_loaded(d, g) || (type != P2M_HOLE && !p2m_is_ram(type)))
		return HV_EBUSY;
	enum hv_status status = fresh_frame(d, &m);

	if (status != HV_OK)
		return status;
	if (p2m_is_ram(type))
		make_hole(d, g);
	fill_hole(d, g, m, P2M_RAM_RW);
	shadow_p2m_changed(d, true);
	return HV_OK;
}

static enum hv_status swap(struct domain *d, gfn_t a, gfn_t b)
{
	if (is_loaded(d, a) || is_loaded(d, b))
		return HV_EBUSY;
	if (!is_ram(d, a) || !is_ram(d, b))
		return HV_ENOENT;
	if (gfn_eq(a, b))
		return HV_OK;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	u8 type_a = p2m_get(&d->p2m, a).type, type_b = p2m_get(&d->p2m, b).type;

	shadow_forget_frame(d, p2m_lookup(&d->p2m, a));
	shadow_forget_frame(d, p2m_lookup(&d->p2m, b));
	mfn_t was_a = p2m_clear(&d->p2m, a), was_b = p2m_clear(&d->p2m, b);

	fill_hole(d, a, was_b, (enum p2m_type)type_b);
	fill_hole(d, b, was_a, (enum p2m_type)type_a);
	shadow_p2m_changed(d, false);
	return HV_OK;
}

static enum hv_status move(struct domain *d, gfn_t from, gfn_t to)
{
	struct p2m_entry e = p2m_get(&d->p2m, from);
	u8 there = p2m_get(&d->p2m, to).type;

	if (!gfn_in_range(to))
		return HV_EINVAL;
	if (is_loaded(d, from) || is_loaded(d, to) || (there != P2M_HOLE && !p2m_is_ram(there)))
		return HV_EBUSY;
	if (!p2m_is_ram(e.type))
		return HV_ENOENT;
	if (gfn_eq(from, to))
		return HV_OK;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	shadow_forget_frame(d, e.frame);
	p2m_clear(&d->p2m, from);
	if (p2m_is_ram(there))
		make_hole(d, to);
	fill_hole(d, to, e.frame, (enum p2m_type)e.type);
	shadow_p2m_changed(d, true);
	return HV_OK;
}

static enum hv_status retype(struct domain *d, gfn_t g, enum p2m_type type)
{
	struct p2m_entry e = p2m_get(&d->p2m, g);

	if (!p2m_is_ram(type))
		return HV_EINVAL;
	if (!p2m_is_ram(e.type))
		return HV_ENOENT;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	d->p2m.changes++;
	p2m_set_type(&d->p2m, g, type);
	if (type != P2M_RAM_RW)
		shadow_write_protect(d, e.frame);
	return HV_OK;
}

static enum hv_status identity(struct domain *d, gfn_t first, u64 count, bool on)
{
	gfn_t end = gfn(first.n + count);

	if (count > BIT(P2M_GFN_BITS) || !gfn_in_range(first))
		return HV_EINVAL;
	gfn_t reach = p2m_identity_reach(&d->p2m, first, end);

	if (reach.n < end.n && gfn_in_range(reach))
		return HV_ENOMEM; // too much of it is in use: in pieces, please
	enum hv_status status = p2m_identity_check(&d->p2m, first, end);

	while (status == HV_OK && d->p2m.spare.length < p2m_identity_pages(&d->p2m, first, end))
		status = shadow_feed_p2m_one(d);
	return status == HV_OK ? p2m_identity(&d->p2m, first, end, on) : status;
}

// Undo balloon_up() for the frames of which `added` has a bit.
static void take_back(struct domain *d, gfn_t first, u32 added)
{
	for (; added; added &= added - 1)
		page_release(p2m_clear(&d->p2m, gfn(first.n + (u32)__builtin_ctz(added)))); // nobody has seen it
}

static enum hv_status balloon_up(struct domain *d, gfn_t first, u32 count)
{
	enum hv_status status = HV_OK;
	u32 added = 0;
	mfn_t m;

	for (u32 i = 0; i < count && status == HV_OK; i++) {
		gfn_t g = gfn(first.n + i);

		if (is_ram(d, g))
			continue;
		status = fresh_frame(d, &m);
		if (status != HV_OK)
			break;
		p2m_set(&d->p2m, g, m);
		added |= (u32)BIT(i);
	}
	if (status == HV_OK)
		status = shadow_prepare_filling(d);
	if (status != HV_OK) {
		take_back(d, first, added);
		return status;
	}
	for (; added; added &= added - 1)
		shadow_ram_added(d, gfn(first.n + (u32)__builtin_ctz(added)));
	shadow_p2m_changed(d, true);
	return HV_OK;
}

static enum hv_status balloon_down(struct domain *d, gfn_t first, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (is_loaded(d, gfn(first.n + i)))
			return HV_EBUSY;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	for (u32 i = 0; i < count; i++)
		if (is_ram(d, gfn(first.n + i)))
			make_hole(d, gfn(first.n + i));
	shadow_p2m_changed(d, false);
	return HV_OK;
}

static enum hv_status balloon(struct domain *d, gfn_t first, u32 count, bool up)
{
	for (u32 i = 0; i < count; i++) {
		u8 type = p2m_get(&d->p2m, gfn(first.n + i)).type;

		if (type != P2M_HOLE && !p2m_is_ram(type))
			return HV_EBUSY;
	}
	return up ? balloon_up(d, first, count) : balloon_down(d, first, count);
}

// Give the page of g, which is RAM, to frame `to`, contents and all. Loaded roots go along: their vcpus never notice.
static void exchange(struct domain *d, gfn_t g, mfn_t to)
{
	mfn_t from = p2m_lookup(&d->p2m, g);

	shadow_unmap_frame(d, from); // from here on nobody writes to it
	page_copy(to, from);
	p2m_clear(&d->p2m, g);
	p2m_set_range(&d->p2m, g, 0, to, P2M_RAM_RW);
	shadow_p2m_changed(d, false);
	shadow_forget_frame(d, from); // shadow_prepare_reload() has seen to it that no root is left there
	page_release(from);
}

#define LARGE_FRAMES (UINT64_C(1) << P2M_LARGE_ORDER)

// May the run that base begins become one entry? The chunk for it; MFN_NONE: it is one.
static enum hv_status begin_large(struct domain *d, gfn_t base, mfn_t *chunk)
{
	*chunk = MFN_NONE;
	if (domain_is_dead(d))
		return HV_EDEAD;
	for (u64 i = 0; i < LARGE_FRAMES; i++)
		if (p2m_get(&d->p2m, gfn(base.n + i)).type != P2M_RAM_RW)
			return HV_EINVAL;
	if (p2m_get(&d->p2m, base).order == P2M_LARGE_ORDER)
		return HV_OK;
	if (d->enlarging)
		return HV_EBUSY;
	return heap_alloc_chunk(d->owner, P2M_LARGE_ORDER, chunk);
}

// One page of the run moves to its place in the chunk. The lock was free since the last one did.
static enum hv_status enlarge_by_one(struct domain *d, gfn_t g, mfn_t to)
{
	if (domain_is_dead(d))
		return HV_EDEAD;
	if (p2m_get(&d->p2m, g).type != P2M_RAM_RW)
		return HV_EBUSY;
	enum hv_status status = prepare(d);

	if (status == HV_OK)
		status = shadow_prepare_reload(d, g, 1);
	if (status == HV_OK)
		exchange(d, g, to);
	return status;
}

// One page for each hold of the lock: a guest can make the exchange of each as much work as it likes, up to a bound.
static enum hv_status make_large(struct domain *d, gfn_t base)
{
	u32 total = d->shadow.total_pages, p2m = d->shadow.p2m_pages; // what they would be without what this takes
	mfn_t chunk;
	u64 done = 0;
	enum hv_status status = begin_large(d, base, &chunk);

	if (status != HV_OK || mfn_is_none(chunk))
		return status;
	d->enlarging = true;
	for (; status == HV_OK && done < LARGE_FRAMES; done += status == HV_OK) {
		total -= d->shadow.total_pages;
		p2m -= d->shadow.p2m_pages;
		domain_breathe(d);
		total += d->shadow.total_pages; // others may have resized the pool
		p2m += d->shadow.p2m_pages;
		status = enlarge_by_one(d, gfn(base.n + done), mfn(chunk.n + done));
	}
	d->enlarging = false;
	if (status != HV_OK)
		shadow_unfeed_p2m(d, total, p2m);
	for (u64 i = done; i < LARGE_FRAMES; i++)
		page_release(mfn(chunk.n + i)); // nobody has seen it
	return status == HV_OK && !p2m_coalesce(&d->p2m, base) ? HV_EBUSY : status; // pages that had moved changed again
}

static enum hv_status set_foreign(struct domain *d, gfn_t g, mfn_t frame)
{
	if (!gfn_in_range(g) || page_owner(frame) == d->owner)
		return HV_EINVAL;
	if (p2m_get(&d->p2m, g).type != P2M_HOLE)
		return HV_EBUSY;
	enum hv_status status = prepare(d);

	if (status != HV_OK)
		return status;
	p2m_set_range(&d->p2m, g, 0, frame, P2M_FOREIGN); // takes over the reference
	shadow_p2m_changed(d, true);
	return HV_OK;
}

static enum hv_status unset_foreign(struct domain *d, gfn_t g)
{
	enum hv_status status = p2m_get(&d->p2m, g).type == P2M_FOREIGN ? prepare(d) : HV_ENOENT;

	if (status == HV_OK)
		page_unhold(p2m_clear(&d->p2m, g)); // no shadow maps it
	return status;
}

// ---- the same under the lock ---------------------------------------------------------------------------

// A domain that died while the lock was waited for stays as it is: nothing can be loaded in place of its roots.
static enum hv_status may_change(const struct domain *d)
{
	return domain_is_dead(d) ? HV_EDEAD : d->shadow.modes & MODE_TRANSLATE ? HV_OK : HV_EINVAL;
}

#define LOCKED(d, op, call) \
	do { \
		domain_lock(d, op); \
		u32 locked_total = (d)->shadow.total_pages, locked_p2m = (d)->shadow.p2m_pages; \
		enum hv_status locked_status = may_change(d); \
		if (locked_status == HV_OK) \
			locked_status = call; \
		if (locked_status != HV_OK) \
			shadow_unfeed_p2m(d, locked_total, locked_p2m); \
		domain_unlock(d); \
		return locked_status; \
	} while (0)

enum hv_status domain_add_ram(struct domain *d, gfn_t g) { LOCKED(d, BOUND_PHYSMAP, add_ram(d, g)); }
enum hv_status physmap_remove(struct domain *d, gfn_t g) { LOCKED(d, BOUND_PHYSMAP, remove(d, g)); }
enum hv_status physmap_renew(struct domain *d, gfn_t g) { LOCKED(d, BOUND_PHYSMAP, renew(d, g)); }
enum hv_status physmap_swap(struct domain *d, gfn_t a, gfn_t b) { LOCKED(d, BOUND_PHYSMAP, swap(d, a, b)); }
enum hv_status physmap_move(struct domain *d, gfn_t from, gfn_t to) { LOCKED(d, BOUND_PHYSMAP, move(d, from, to)); }
enum hv_status physmap_retype(struct domain *d, gfn_t g, enum p2m_type type)
{
	LOCKED(d, BOUND_PHYSMAP, retype(d, g, type));
}
enum hv_status physmap_identity(struct domain *d, gfn_t first, u64 count, bool on)
{
	LOCKED(d, BOUND_PHYSMAP, identity(d, first, count, on));
}
enum hv_status physmap_make_large(struct domain *d, gfn_t g)
{
	domain_lock(d, BOUND_LARGE);
	enum hv_status status = make_large(d, gfn(g.n & ~(LARGE_FRAMES - 1)));

	domain_unlock(d);
	return status;
}

enum hv_status physmap_balloon(struct domain *d, gfn_t first, u32 count, bool up)
{
	if (count > PHYSMAP_BALLOON_MAX || !gfn_in_range(first) || first.n + count > BIT(P2M_GFN_BITS))
		return HV_EINVAL;
	LOCKED(d, BOUND_BALLOON, balloon(d, first, count, up));
}

static enum hv_status map_held(struct domain *d, gfn_t g, mfn_t m)
{
	LOCKED(d, BOUND_PHYSMAP, set_foreign(d, g, m));
}

enum hv_status physmap_map_held(struct domain *d, gfn_t g, mfn_t m)
{
	enum hv_status status = map_held(d, g, m);

	if (status != HV_OK)
		page_unhold(m);
	return status;
}

enum hv_status physmap_map_foreign(struct domain *d, gfn_t g, struct domain *from, gfn_t source)
{
	if (from == d)
		return HV_EINVAL;
	domain_lock(from, BOUND_READ);
	mfn_t m = p2m_lookup(&from->p2m, source);
	enum hv_status status = mfn_is_none(m)			  ? HV_ENOENT
				: page_holds(m) >= PAGE_FOREIGN_MAX ? HV_ENOMEM
								    : page_hold(m, from->owner);

	domain_unlock(from);
	return status == HV_OK ? physmap_map_held(d, g, m) : status;
}

enum hv_status physmap_unmap_foreign(struct domain *d, gfn_t g) { LOCKED(d, BOUND_PHYSMAP, unset_foreign(d, g)); }
