// SPDX-License-Identifier: GPL-2.0-or-later
// Hypercalls that change the domain: checked arguments, then one call into the core.
#include "hypercall.h"

#include "control.h"
#include "migrate.h"
#include "physmap.h"

static enum hv_status check(struct domain *d)
{
	const char *bad = hv_audit(d);

	if (bad)
		port_log(bad);
	return bad ? HV_ECHECK : HV_OK;
}

static enum hv_status unshadow(struct domain *d, gfn_t g)
{
	domain_lock(d, BOUND_UNSHADOW);
	mfn_t m = p2m_lookup(&d->p2m, g);

	if (!mfn_is_none(m))
		shadow_remove_all(d, m);
	domain_unlock(d);
	return mfn_is_none(m) ? HV_ENOENT : HV_OK;
}

static enum hv_status blow(struct domain *d)
{
	domain_lock(d, BOUND_BLOW);
	shadow_blow_tables(d);
	domain_unlock(d);
	return HV_OK;
}

static enum hv_status dispatch(struct vcpu *v, u64 number, u64 arg0, u64 arg1)
{
	struct domain *d = v->domain;

	switch (number) {
	case HYPERCALL_CHECK:
		return check(d);
	case HYPERCALL_UNSHADOW:
		return unshadow(d, gfn(arg0));
	case HYPERCALL_BLOW:
		return blow(d);
	case HYPERCALL_POOL:
		return arg0 > UINT32_MAX ? HV_EINVAL : domain_resize_pool(d, (u32)arg0);
	case HYPERCALL_SWAP:
		return physmap_swap(d, gfn(arg0), gfn(arg1));
	case HYPERCALL_RENEW:
		return physmap_renew(d, gfn(arg0));
	case HYPERCALL_REMOVE:
		return physmap_remove(d, gfn(arg0));
	case HYPERCALL_CONTROL:
		return control_hypercall(v, arg0, arg1);
	case HYPERCALL_MIGRATE:
		return migrate_hypercall(d, arg0);
	case HYPERCALL_RETYPE:
		return arg1 >= P2M_TYPE_COUNT ? HV_EINVAL : physmap_retype(d, gfn(arg0), (enum p2m_type)arg1);
	case HYPERCALL_MOVE:
		return physmap_move(d, gfn(arg0), gfn(arg1));
	case HYPERCALL_IDENTITY:
		return physmap_identity(d, gfn(arg0), arg1 >> 1, arg1 & 1);
	case HYPERCALL_BALLOON:
		return arg1 >> 1 > PHYSMAP_BALLOON_MAX ? HV_EINVAL
						       : physmap_balloon(d, gfn(arg0), (u32)(arg1 >> 1), arg1 & 1);
	case HYPERCALL_LARGE:
		return physmap_make_large(d, gfn(arg0));
	case HYPERCALL_AUDIT:
		if (arg0 & ~(u64)AUDIT_ALL)
			return HV_EINVAL;
		__atomic_store_n(&d->audit, (u32)arg0, __ATOMIC_RELAXED);
		return HV_OK;
	default:
		return HV_EINVAL;
	}
}

enum hv_status hypercall(struct vcpu *v, u64 number, u64 arg0, u64 arg1)
{
	enum hv_status status = domain_is_dead(v->domain) ? HV_EDEAD : dispatch(v, number, arg0, arg1);

	return domain_is_dead(v->domain) ? HV_EDEAD : status; // what was asked for may have killed the domain
}
