// SPDX-License-Identifier: GPL-2.0-or-later
// Hypercalls that change the domain: checked arguments, then one call into the core.
#include "hypercall.h"

#include "physmap.h"

static enum hv_status dispatch(struct vcpu *v, u64 number, u64 arg0, u64 arg1)
{
	struct domain *d = v->domain;
	const char *bad;
	mfn_t m;

	switch (number) {
	case HYPERCALL_CHECK:
		bad = hv_check(d, true);
		if (bad)
			port_log(bad);
		return bad ? HV_ECHECK : HV_OK;
	case HYPERCALL_UNSHADOW:
		m = p2m_lookup(&d->p2m, gfn(arg0));
		if (mfn_is_none(m))
			return HV_ENOENT;
		shadow_remove_all(d, m);
		return HV_OK;
	case HYPERCALL_BLOW:
		shadow_blow_tables(d);
		return HV_OK;
	case HYPERCALL_POOL:
		return arg0 > UINT32_MAX ? HV_EINVAL : shadow_set_allocation(d, (u32)arg0);
	case HYPERCALL_SWAP:
		return physmap_swap(d, gfn(arg0), gfn(arg1));
	case HYPERCALL_RENEW:
		return physmap_renew(d, gfn(arg0));
	case HYPERCALL_REMOVE:
		return physmap_remove(d, gfn(arg0));
	default:
		return HV_EINVAL;
	}
}

enum hv_status hypercall(struct vcpu *v, u64 number, u64 arg0, u64 arg1)
{
	enum hv_status status = v->domain->dead ? HV_EDEAD : dispatch(v, number, arg0, arg1);

	return v->domain->dead ? HV_EDEAD : status; // what was asked for may have killed the domain
}
