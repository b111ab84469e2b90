// SPDX-License-Identifier: GPL-2.0-or-later
// Domains: creation, destruction, guest memory from outside, and hv_check(). What guests are made of changes in physmap.c.
//
// Domains live in storage of the core, DOMAINS_MAX of them.
#include "domain.h"

#include "../base/mem.h"
#include "../mem/heap.h"
#include "../shadow/control.h"
#include "migrate.h"
#include "physmap.h"

static struct domain domains[DOMAINS_MAX];
// Not in the domains: who looks for one does so while its slot changes hands. Given and taken under the lock.
static enum slot { SLOT_FREE, SLOT_HIDDEN, SLOT_OPEN } slot[DOMAINS_MAX]; // hidden: not complete yet, or being taken apart
static struct hv_lock slots;

static enum slot slot_of(u32 number) { return __atomic_load_n(&slot[number], __ATOMIC_ACQUIRE); }
static void set_slot(u32 number, enum slot to) { __atomic_store_n(&slot[number], to, __ATOMIC_RELEASE); }

void hv_start(void)
{
	for (u32 i = 0; i < DOMAINS_MAX; i++)
		set_slot(i, SLOT_FREE);
	heap_start();
	ref_check_start();
}

struct domain *domain_get(u32 number)
{
	return number < DOMAINS_MAX && slot_of(number) == SLOT_OPEN ? &domains[number] : NULL;
}

static void start(struct domain *d, u32 number, const struct domain_config *config)
{
	*d = (struct domain){ .number = number, .owner = number + 1, .vcpu_count = config->vcpus, .audit = AUDIT_ALL };
	p2m_start(&d->p2m, d->owner);
	for (u32 i = 0; i < d->vcpu_count; i++) {
		d->vcpu[i].domain = d;
		d->vcpu[i].id = i;
		d->vcpu[i].guest.cr0 = CR0_PE;
	}
}

// A free slot, with an empty domain that nobody finds yet. NULL: there is none.
static struct domain *take_slot(const struct domain_config *config)
{
	struct domain *d = NULL;

	port_lock(&slots, __func__);
	for (u32 i = 0; i < DOMAINS_MAX && !d; i++)
		if (slot_of(i) == SLOT_FREE) {
			d = &domains[i];
			start(d, i, config);
			set_slot(i, SLOT_HIDDEN);
		}
	port_unlock(&slots);
	return d;
}

static void give_slot(struct domain *d)
{
	port_lock(&slots, __func__);
	set_slot(d->number, SLOT_FREE);
	port_unlock(&slots);
}

// Nobody finds it any more, and who has found it is done with it.
static void hide(struct domain *d)
{
	port_lock(&slots, __func__);
	set_slot(d->number, SLOT_HIDDEN);
	port_unlock(&slots);
}

struct domain *domain_keep(u32 number)
{
	if (!domain_get(number))
		return NULL;
	port_lock(&slots, __func__);
	struct domain *d = domain_get(number);

	if (!d)
		port_unlock(&slots);
	return d;
}

void domain_let_go(void)
{
	port_unlock(&slots);
}

static struct hv_lock check_lock; // the checkers' own tables, and the buffer of broken()

// The slot is free if the domain has left nothing. Of several that go at once the last one sees that all frames have come back.
static const char *check_and_give_slot(struct domain *d)
{
	bool alone = true;

	port_lock(&slots, __func__);
	for (u32 i = 0; i < DOMAINS_MAX; i++)
		alone = alone && (i == d->number || slot_of(i) == SLOT_FREE);
	port_lock(&check_lock, __func__);
	const char *bad = shadow_check_torn_down(d, alone);

	port_unlock(&check_lock);
	set_slot(d->number, SLOT_FREE);
	port_unlock(&slots);
	return bad;
}

enum hv_status domain_enable(struct domain *d, u32 modes, u32 opts, u32 pool_pages)
{
	domain_lock(d, BOUND_POOL);
	u32 given = d->shadow.total_pages;
	enum hv_status status = shadow_enable(d, modes, opts, pool_pages);

	domain_unlock(d);
	if (status != HV_OK || !(modes & MODE_TRANSLATE))
		return status;
	domain_lock(d, BOUND_CR);
	for (u32 i = 0; i < d->vcpu_count && status == HV_OK; i++)
		status = shadow_update_cr3(&d->vcpu[i]); // paging is off: the identity table
	domain_unlock(d);
	if (status != HV_OK) {
		shadow_disable(d, given);
		__atomic_store_n(&d->dead, false, __ATOMIC_RELAXED); // it never ran
		__atomic_store_n(&d->death, NULL, __ATOMIC_RELAXED);
	}
	return status;
}

enum hv_status domain_create(const struct domain_config *config, struct domain **out)
{
	if ((!config->vcpus && !config->bare) || config->vcpus > DOMAIN_VCPUS_MAX)
		return HV_EINVAL;
	struct domain *d = take_slot(config);

	if (!d)
		return HV_EBUSY;
	enum hv_status status = config->bare ? HV_OK : domain_enable(d, MODE_HVM, config->opts, config->pool_pages);

	if (status != HV_OK) {
		give_slot(d);
		return status;
	}
	set_slot(d->number, SLOT_OPEN); // now others may find it
	*out = d;
	return HV_OK;
}

enum hv_status domain_begin(struct domain *d)
{
	domain_lock(d, BOUND_READ);
	enum hv_status status = d->changing ? HV_EBUSY : HV_OK;

	d->changing = true; // by us, or already
	domain_unlock(d);
	return status;
}

void domain_end(struct domain *d)
{
	domain_lock(d, BOUND_READ);
	hv_assert(d->changing);
	d->changing = false;
	domain_unlock(d);
}

enum hv_status domain_resize_begun(struct domain *d, u32 pages)
{
	enum hv_status status = HV_OK;
	bool more = true, first = true;
	u32 before = 0;

	while (more && status == HV_OK) {
		domain_lock(d, BOUND_POOL);
		before = first ? d->shadow.total_pages : before;
		first = false;
		status = shadow_resize(d, pages, &more);
		domain_unlock(d);
	}
	more = status == HV_ENOMEM;
	while (more) { // the pieces that succeeded
		domain_lock(d, BOUND_POOL);
		if (shadow_resize_back(d, before, &more) != HV_OK) {
			port_log("a pool did not get its old size back"); // another domain was faster
			more = false;
		}
		domain_unlock(d);
	}
	return status;
}

enum hv_status domain_resize_pool(struct domain *d, u32 pages)
{
	enum hv_status status = domain_begin(d);

	if (status != HV_OK)
		return status;
	status = domain_resize_begun(d, pages);
	domain_end(d);
	return status;
}

const char *domain_destroy(struct domain *d)
{
	hv_assert(slot_of(d->number) != SLOT_FREE && !d->changing);
	if (d->migration && migrate_cancel(d) != HV_OK)
		hv_assert(!"a migration cannot be given up");
	hide(d);
	shadow_teardown(d);
	return check_and_give_slot(d);
}

// The checks of one domain; the heap is everybody's.
static const char *check(const struct domain *d, u32 audit)
{
	const char *bad = shadow_check(d, audit);

	if (!bad && (audit & AUDIT_P2M))
		bad = p2m_check(&d->p2m);
	return bad;
}

static const char *check_all(struct domain *d, u32 audit, bool heap)
{
	port_lock(&check_lock, __func__);
	domain_lock(d, BOUND_READ);
	const char *bad = check(d, audit);

	domain_unlock(d);
	if (!bad && heap)
		bad = heap_check();
	port_unlock(&check_lock);
	return bad;
}

const char *hv_check(struct domain *d, bool full)
{
	return check_all(d, full ? AUDIT_ALL : 0, full);
}

const char *hv_audit(struct domain *d)
{
	return check_all(d, __atomic_load_n(&d->audit, __ATOMIC_RELAXED), true);
}

// ---- guest memory from outside -----------------------------------------------------------------------

// The frame behind `at`, where in it, and how many of `left` bytes lie in it. reads: one of another domain will do.
static mfn_t chunk(const struct domain *d, gpa_t at, u32 left, bool reads, u32 *offset, u32 *bytes)
{
	struct p2m_entry e = p2m_get(&d->p2m, gpa_gfn(at));

	*offset = (u32)at.a & (FRAME_BYTES - 1);
	*bytes = left < FRAME_BYTES - *offset ? left : FRAME_BYTES - *offset;
	return p2m_is_ram(e.type) || (reads && e.type == P2M_FOREIGN) ? e.frame : MFN_NONE;
}

enum hv_status domain_read(struct domain *d, gpa_t at, void *to, u32 bytes)
{
	enum hv_status status = HV_OK;

	for (u32 done = 0, offset, n; done < bytes && status == HV_OK; done += n) {
		domain_lock(d, BOUND_READ);
		mfn_t m = chunk(d, gpa(at.a + done), bytes - done, true, &offset, &n);

		if (mfn_is_none(m)) {
			status = HV_ENOENT;
		} else {
			const u8 *from = port_map(m);

			mem_copy((u8 *)to + done, from + offset, n);
			port_unmap(from);
		}
		domain_unlock(d);
	}
	return status;
}

enum hv_status domain_write(struct domain *d, gpa_t at, const void *from, u32 bytes)
{
	enum hv_status status = HV_OK;

	for (u32 done = 0, offset, n; done < bytes && status == HV_OK; done += n) {
		domain_lock(d, BOUND_WRITE);
		mfn_t m = chunk(d, gpa(at.a + done), bytes - done, false, &offset, &n);

		status = mfn_is_none(m) ? HV_ENOENT : shadow_prepare_write(d);
		if (status == HV_OK) {
			u8 *to = port_map(m);

			mem_copy(to + offset, (const u8 *)from + done, n);
			port_unmap(to);
			shadow_validate_write(d, m, offset, n);
		}
		domain_unlock(d);
	}
	return status;
}
