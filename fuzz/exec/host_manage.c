// SPDX-License-Identifier: GPL-2.0-or-later
// Operations of a trace that manage the domain: control operations, migration, changes of the physmap. All are hypercalls;
// fuzz/trace/call.c says which.
//
// Parts: the operation; what it said of dirty frames.
//
// Cost: that of the hypercall. After a balloon that went up the guest's kernel writes the reserved bytes of every frame it
// asked for: it does not know which ones are new.
#include "host_run.h"

#include "../../hv/domain/migrate.h"

// ---- the operation --------------------------------------------------------------------------------------
// The frames that a peek or clean of `count` frames is about to report.
static u32 dirty_frames(const struct host_run *r, u32 count)
{
	u32 frames = 0;

	for (u32 i = 0; i < TRACE_FRAMES && i < count; i++)
		frames |= (u32)dirty_test(r->d, gfn(TRACE_F0_GFN + i)) << i;
	return frames;
}

// The guest goes on in the copy, and what it came from is taken apart.
static enum hv_status finish_migration(struct op_run *x)
{
	struct domain *from = x->r->d, *to;
	enum hv_status status = host_is_dead(from) ? HV_EDEAD : migrate_finish(from, &to, NULL);
	const char *bad;

	if (status != HV_OK)
		return host_is_dead(from) ? HV_EDEAD : status;
	host_run_moved(x->r, to);
	x->v = &to->vcpu[x->v->id];
	bad = domain_destroy(from);
	if (bad)
		host_run_found(x->r, bad, "the domain that was migrated away");
	return HV_OK;
}

static enum hv_status ask(struct op_run *x, const struct trace_call *call)
{
	if (call->number == HYPERCALL_FOREIGN || call->number == HYPERCALL_DONOR)
		return donor_hypercall(x->r->donor, x->v->domain, call->number, call->arg[0], call->arg[1]);
	return hypercall(x->v, call->number, call->arg[0], call->arg[1]);
}

void op_manage(struct op_run *x)
{
	const struct trace_op *op = x->op;
	bool clean = op->code == OP_CONTROL && op->what == ASK_CLEAN;
	bool asks = !host_parallel && (clean || (op->code == OP_CONTROL && op->what == ASK_PEEK));
	u32 dirty = asks ? dirty_frames(x->r, op->count) : 0;
	enum hv_status status = HV_EINVAL;
	struct trace_call call;

	if (op->code == OP_MIGRATE && op->what == MIGRATE_FINISH)
		status = finish_migration(x);
	else if (trace_call(op, &call))
		status = ask(x, &call);
	x->o->kind = OBS_STATUS;
	x->o->status = (u8)status;
	if (asks && status == HV_OK)
		x->r->asked = (struct host_asked){ .any = true, .clean = clean, .dirty = dirty };
	if (op->code != OP_BALLOON || !op->on || status != HV_OK)
		return;
	for (u32 i = 0; i < op->count && !host_is_dead(x->r->d); i++)
		op_restore_reserved(x, op->frame + i);
}

// ---- what it said of dirty frames -----------------------------------------------------------------------
const char *host_check_dirty(struct host_run *r)
{
	const struct host_asked asked = r->asked;

	r->asked.any = false;
	return asked.any && !host_is_dead(r->d) ? model_check_dirty(r->model, asked.dirty, asked.clean) : NULL;
}
