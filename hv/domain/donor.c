// SPDX-License-Identifier: GPL-2.0-or-later
// Donors: where the frames come from that a guest has of another domain.
//
// One processor at a time does a deed: renews, drops, makes or destroys. To map a gift is no deed, and any number of processors may
// be in the middle of that while a gift is dropped: only the domain must stay, and no gift be mapped before it is filled. Nobody
// waits. No lock is held but those of the domains, one after the other.
//
//   state: DONOR_BUSY  somebody does a deed
//          the rest    how many are mapping a gift
//
// Parts: contents; who is at work; the domain; deeds; hypercalls.
// Cost: a deed fills at most DONOR_FRAMES frames, each under one hold of the donor's lock, in which no entry is looked at.
#include "donor.h"

#include "control.h"
#include "hypercall.h"
#include "physmap.h"

#define DONOR_BUSY BIT(31)

// ---- contents ----------------------------------------------------------------------------------------

#define GIFT_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

u64 donor_word(u32 gift, u32 generation, u32 index)
{
	u64 frame = CONTROL_GUEST_FIRST + (index + gift + generation) % 16, name = ((generation & 1) << 2 | gift) << 9;
	u64 number = (u64)(generation & 0xfff) << 16 | gift << 12 | index;

	return frame << FRAME_SHIFT | name | GIFT_FLAGS | (index & 1 ? number << 33 : 0);
}

// Nobody has mapped it yet, and nobody does: the donor is busy.
static void fill(struct donor *donor, u32 gift)
{
	domain_lock(donor->d, BOUND_WRITE);
	u64 *word = port_map(p2m_lookup(&donor->d->p2m, gfn(gift)));

	for (u32 i = 0; i < DONOR_WORDS; i++)
		word[i] = donor_word(gift, donor->generation[gift], i);
	port_unmap(word);
	domain_unlock(donor->d);
}

// ---- who is at work ----------------------------------------------------------------------------------

// alone: nobody may be mapping a gift meanwhile.
static enum hv_status begin(struct donor *donor, bool alone)
{
	u32 old = __atomic_load_n(&donor->state, __ATOMIC_RELAXED);

	do {
		if (old & DONOR_BUSY || (alone && old))
			return HV_EBUSY;
	} while (!__atomic_compare_exchange_n(&donor->state, &old, old | (u32)DONOR_BUSY, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return HV_OK;
}

// maps: 1 if the caller goes on to map a gift.
static void finish(struct donor *donor, u32 maps)
{
	__atomic_sub_fetch(&donor->state, (u32)DONOR_BUSY - maps, __ATOMIC_RELEASE);
}

static void mapped(struct donor *donor) { __atomic_sub_fetch(&donor->state, 1, __ATOMIC_RELEASE); }

// ---- the domain --------------------------------------------------------------------------------------

#define DONOR_POOL 48u // pages for its p2m, and for what changing that could need if somebody walked its tables

static enum hv_status add_gifts(struct domain *d)
{
	enum hv_status status = domain_enable(d, MODE_ENABLE | MODE_REFCOUNTS | MODE_TRANSLATE, 0, DONOR_POOL); // nobody else knows it

	for (u32 gift = 0; gift < DONOR_FRAMES && status == HV_OK; gift++)
		status = domain_add_ram(d, gfn(gift));
	return status;
}

static enum hv_status make(struct donor *donor)
{
	const struct domain_config config = { .bare = true };
	struct domain *d;

	if (donor->d)
		return HV_OK;
	if (domain_create(&config, &d) != HV_OK)
		return HV_ENOMEM; // too many domains, which the guest does not know of
	enum hv_status status = add_gifts(d);

	if (status != HV_OK)
		return domain_destroy(d) ? HV_ECHECK : status;
	donor->d = d;
	for (u32 gift = 0; gift < DONOR_FRAMES; gift++)
		fill(donor, gift);
	return HV_OK;
}

u32 donor_given_up(const struct donor *donor)
{
	u32 mask = 0;

	for (u32 gift = 0; gift < DONOR_FRAMES && donor->d; gift++)
		mask |= (u32)mfn_is_none(p2m_lookup(&donor->d->p2m, gfn(gift))) << gift;
	return mask;
}

const char *donor_finish(struct donor *donor)
{
	struct domain *d = donor->d;

	donor->d = NULL;
	return d ? domain_destroy(d) : NULL;
}

// ---- deeds -------------------------------------------------------------------------------------------

static enum hv_status renew(struct donor *donor, u32 gift)
{
	enum hv_status status = physmap_renew(donor->d, gfn(gift));

	if (status != HV_OK)
		return status;
	donor->generation[gift]++;
	fill(donor, gift);
	return HV_OK;
}

static enum hv_status end(struct donor *donor)
{
	const char *bad = donor_finish(donor);

	for (u32 gift = 0; gift < DONOR_FRAMES; gift++)
		donor->generation[gift]++;
	if (bad)
		port_log(bad);
	return bad ? HV_ECHECK : HV_OK;
}

static enum hv_status do_deed(struct donor *donor, u64 deed, u64 gift)
{
	enum hv_status status = begin(donor, deed != DONOR_DROP);

	if (status != HV_OK)
		return status;
	if (deed == DONOR_END)
		status = end(donor);
	else
		status = make(donor);
	if (status == HV_OK && deed == DONOR_RENEW)
		status = renew(donor, (u32)gift);
	if (status == HV_OK && deed == DONOR_DROP)
		status = physmap_remove(donor->d, gfn(gift));
	finish(donor, 0);
	return status;
}

static enum hv_status map(struct donor *donor, struct domain *d, gfn_t g, u32 gift)
{
	enum hv_status status = begin(donor, false);

	if (status != HV_OK)
		return status;
	status = make(donor);
	finish(donor, status == HV_OK);
	if (status != HV_OK)
		return status;
	status = physmap_map_foreign(d, g, donor->d, gfn(gift));
	mapped(donor);
	return status;
}

// ---- hypercalls --------------------------------------------------------------------------------------

static enum hv_status dispatch(struct donor *donor, struct domain *d, u64 number, u64 arg0, u64 arg1)
{
	switch (number) {
	case HYPERCALL_FOREIGN:
		if (arg1 > DONOR_FRAMES)
			return HV_EINVAL;
		return arg1 ? map(donor, d, gfn(arg0), (u32)arg1 - 1) : physmap_unmap_foreign(d, gfn(arg0));
	case HYPERCALL_DONOR:
		if (arg0 >= DONOR_DEED_COUNT || arg1 >= (arg0 == DONOR_END ? 1 : DONOR_FRAMES))
			return HV_EINVAL;
		return do_deed(donor, arg0, arg1);
	default:
		return HV_EINVAL;
	}
}

enum hv_status donor_hypercall(struct donor *donor, struct domain *d, u64 number, u64 arg0, u64 arg1)
{
	enum hv_status status = domain_is_dead(d) ? HV_EDEAD : dispatch(donor, d, number, arg0, arg1);

	return domain_is_dead(d) ? HV_EDEAD : status;
}
