// SPDX-License-Identifier: GPL-2.0-or-later
// Domains: creation, guest RAM, destruction, and hv_check().
//
// One domain exists at a time. Changes of the physmap are prepared (pages, frames) before anything
// visible happens; from then on they cannot fail.
#include "domain.h"

#include "../base/mem.h"
#include "../mem/heap.h"
#include "../shadow/control.h"
#include "physmap.h"

static struct domain the_domain;
static bool in_use;

void hv_start(void)
{
	in_use = false;
	heap_start();
	ref_check_start();
}

enum hv_status domain_create(const struct domain_config *config, struct domain **out)
{
	struct domain *d = &the_domain;

	if (in_use)
		return HV_EBUSY;
	if (config->vcpus < 1 || config->vcpus > DOMAIN_VCPUS_MAX)
		return HV_EINVAL;
	*d = (struct domain){ .vcpu_count = config->vcpus, .owner = 1 };
	p2m_start(&d->p2m, d->owner);
	for (u32 i = 0; i < d->vcpu_count; i++) {
		d->vcpu[i].domain = d;
		d->vcpu[i].id = i;
		d->vcpu[i].guest.cr0 = CR0_PE;
	}
	enum hv_status status = shadow_enable(d, config->opts, config->pool_pages);

	if (status != HV_OK)
		return status;
	for (u32 i = 0; i < d->vcpu_count && status == HV_OK; i++)
		status = shadow_update_cr3(&d->vcpu[i]); // paging is off: the identity table
	if (status != HV_OK) {
		shadow_teardown(d);
		return status;
	}
	in_use = true;
	*out = d;
	return HV_OK;
}

const char *domain_destroy(struct domain *d)
{
	hv_assert(in_use);
	shadow_teardown(d);
	in_use = false;
	return shadow_check_torn_down(d);
}

const char *hv_check(const struct domain *d, bool full)
{
	const char *bad = shadow_check(d, full);

	if (!bad && full)
		bad = p2m_check(&d->p2m);
	if (!bad && full)
		bad = heap_check();
	return bad;
}

// ---- guest RAM -------------------------------------------------------------------------------------

// A vcpu's CR3 names g: the frame behind it must stay.
static bool is_loaded(const struct domain *d, gfn_t g)
{
	for (u32 i = 0; i < d->vcpu_count; i++)
		if (d->vcpu[i].shadow.attached && gfn_eq(gpa_gfn(gpa(d->vcpu[i].guest.cr3 & PTE_ADDR)), g))
			return true;
	return false;
}

static enum hv_status fresh_frame(struct domain *d, mfn_t *m)
{
	enum hv_status status = shadow_feed_p2m(d);

	if (status == HV_OK)
		status = shadow_prepare_p2m_change(d);
	if (status == HV_OK)
		status = heap_alloc(d->owner, m);
	if (status == HV_OK) {
		void *at = port_map(*m);

		mem_zero(at, FRAME_BYTES);
		port_unmap(at);
	}
	return status;
}

enum hv_status domain_add_ram(struct domain *d, gfn_t g)
{
	mfn_t m;

	if (!gfn_in_range(g))
		return HV_EINVAL;
	if (!mfn_is_none(p2m_lookup(&d->p2m, g)))
		return HV_EBUSY;
	enum hv_status status = fresh_frame(d, &m);

	if (status != HV_OK)
		return status;
	p2m_set(&d->p2m, g, m);
	shadow_p2m_changed(d, true);
	return HV_OK;
}

// Make g, which is mapped and not loaded, a hole.
static void make_hole(struct domain *d, gfn_t g)
{
	mfn_t m = p2m_lookup(&d->p2m, g);

	shadow_forget_frame(d, m);
	p2m_clear(&d->p2m, g);
	page_of(m)->count_info &= ~PAGE_ALLOCATED;
	page_put(m); // the heap's, unless an emulated write still holds it
}

enum hv_status physmap_remove(struct domain *d, gfn_t g)
{
	if (is_loaded(d, g))
		return HV_EBUSY;
	if (mfn_is_none(p2m_lookup(&d->p2m, g)))
		return HV_ENOENT;
	make_hole(d, g);
	shadow_p2m_changed(d, false);
	return HV_OK;
}

enum hv_status physmap_renew(struct domain *d, gfn_t g)
{
	mfn_t m;

	if (!gfn_in_range(g))
		return HV_EINVAL;
	if (is_loaded(d, g))
		return HV_EBUSY;
	enum hv_status status = fresh_frame(d, &m);

	if (status != HV_OK)
		return status;
	if (!mfn_is_none(p2m_lookup(&d->p2m, g)))
		make_hole(d, g);
	p2m_set(&d->p2m, g, m);
	shadow_p2m_changed(d, true);
	return HV_OK;
}

enum hv_status physmap_swap(struct domain *d, gfn_t a, gfn_t b)
{
	if (is_loaded(d, a) || is_loaded(d, b))
		return HV_EBUSY;
	if (mfn_is_none(p2m_lookup(&d->p2m, a)) || mfn_is_none(p2m_lookup(&d->p2m, b)))
		return HV_ENOENT;
	if (gfn_eq(a, b))
		return HV_OK;
	enum hv_status status = shadow_feed_p2m(d);

	if (status == HV_OK)
		status = shadow_prepare_p2m_change(d);
	if (status != HV_OK)
		return status;
	shadow_forget_frame(d, p2m_lookup(&d->p2m, a));
	shadow_forget_frame(d, p2m_lookup(&d->p2m, b));
	mfn_t was_a = p2m_clear(&d->p2m, a), was_b = p2m_clear(&d->p2m, b);

	p2m_set(&d->p2m, a, was_b);
	p2m_set(&d->p2m, b, was_a);
	shadow_p2m_changed(d, false);
	return HV_OK;
}

// ---- guest memory from outside -----------------------------------------------------------------------

// The frame behind `at`, where in it, and how many of `left` bytes lie in it.
static mfn_t chunk(const struct domain *d, gpa_t at, u32 left, u32 *offset, u32 *bytes)
{
	*offset = (u32)at.a & (FRAME_BYTES - 1);
	*bytes = left < FRAME_BYTES - *offset ? left : FRAME_BYTES - *offset;
	return p2m_lookup(&d->p2m, gpa_gfn(at));
}

enum hv_status domain_read(const struct domain *d, gpa_t at, void *to, u32 bytes)
{
	for (u32 done = 0, offset, n; done < bytes; done += n) {
		mfn_t m = chunk(d, gpa(at.a + done), bytes - done, &offset, &n);

		if (mfn_is_none(m))
			return HV_ENOENT;
		const u8 *from = port_map(m);

		mem_copy((u8 *)to + done, from + offset, n);
		port_unmap(from);
	}
	return HV_OK;
}

enum hv_status domain_write(struct domain *d, gpa_t at, const void *from, u32 bytes)
{
	for (u32 done = 0, offset, n; done < bytes; done += n) {
		mfn_t m = chunk(d, gpa(at.a + done), bytes - done, &offset, &n);

		if (mfn_is_none(m))
			return HV_ENOENT;
		u8 *to = port_map(m);

		mem_copy(to + offset, (const u8 *)from + done, n);
		port_unmap(to);
		if (page_is_table(m))
			shadow_validate_write(d, m, offset, n);
	}
	return HV_OK;
}
