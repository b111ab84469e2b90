// SPDX-License-Identifier: GPL-2.0-or-later
// Operations of a trace that manage the domain: control operations, migration, changes of the physmap. All are hypercalls;
// fuzz/trace/call.c says which.
//
// Parts: peeks and cleans, which the executor asks for itself to see what is handed out; the operation; what was said of dirty
// frames; what an operation may change.
//
// Cost: that of the hypercall. After a balloon that went up the guest's kernel writes the reserved bytes of every frame it
// asked for: it does not know which ones are new.
#include "host_run.h"

#include "../../hv/domain/control.h"
#include "../../hv/domain/migrate.h"

// ---- peeks and cleans ----------------------------------------------------------------------------------
#define BITMAP_BYTES ((TRACE_ASK_MAX + 7) / 8)
#define GUARD_BYTES 25 // to either side; odd, so that the bitmap is not aligned

struct bitmap {
	u8 byte[GUARD_BYTES + BITMAP_BYTES + GUARD_BYTES];
};

// What byte i holds before bits are handed out.
static u8 canary(u32 i)
{
	return (u8)(0x5a + 37 * i);
}

// Nothing but bits 0 to count - 1 may have been written (fuzz/bugs/B35.patch).
static void check_canaries(const struct bitmap *b, u32 count)
{
	for (u32 i = 0; i < sizeof(b->byte); i++) {
		u32 at = i - GUARD_BYTES; // far behind the end for the first guard
		u32 written = at < count / 8 ? 0xff : at == count / 8 ? (1u << count % 8) - 1 : 0;

		if (((b->byte[i] ^ canary(i)) & ~written) == 0)
			continue;
		host_finding("E1.49 bitmap", "a look at %u gfns writes 0x%02x to byte %d of the caller's, which was 0x%02x", count,
			     b->byte[i], (int)at, canary(i));
		return;
	}
}

// The trace frames of which a bit is set. Others that have no memory cannot be dirty; the kernel's tables may.
static u32 dirty_frames(const struct bitmap *b, u64 first, u32 count)
{
	u32 frames = 0;

	for (u32 i = 0; i < count; i++) {
		u64 g = first + i;

		if (!(b->byte[GUARD_BYTES + i / 8] >> i % 8 & 1))
			continue;
		if (g - TRACE_F0_GFN < TRACE_FRAMES)
			frames |= 1u << (g - TRACE_F0_GFN);
		else if (g - MODEL_K3_GFN >= MODEL_SLOTS - TRACE_FRAMES)
			host_finding("E1.48 dirty", "gfn 0x%llx is reported, where no memory is", (unsigned long long)g);
	}
	return frames;
}

// What HYPERCALL_CONTROL would do, with a bitmap that can be looked at.
static enum hv_status look(struct op_run *x)
{
	const struct trace_op *op = x->op;
	struct bitmap bitmap;
	struct control c = { .code = op->what == ASK_CLEAN ? CONTROL_CLEAN : CONTROL_PEEK, .first = trace_ask_first(op),
			     .pages = op->count < TRACE_ASK_MAX ? op->count : UINT64_MAX - op->who,
			     .bitmap = bitmap.byte + GUARD_BYTES };
	enum hv_status status;

	for (u32 i = 0; i < sizeof(bitmap.byte); i++)
		bitmap.byte[i] = canary(i);
	status = domain_control(NULL, x->v->domain->number, &c);
	check_canaries(&bitmap, trace_ask_fits(op) ? op->count : 0);
	if (status == HV_OK)
		x->r->asked = (struct host_asked){ .any = true, .clean = op->what == ASK_CLEAN,
						   .dirty = dirty_frames(&bitmap, c.first, op->count) };
	return status;
}

// ---- the operation --------------------------------------------------------------------------------------
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

static bool looks(const struct trace_op *op)
{
	return op->code == OP_CONTROL && (op->what == ASK_CLEAN || op->what == ASK_PEEK) && op->who != WHO_SELF &&
	       op->who != WHO_ABSENT;
}

void op_manage(struct op_run *x)
{
	const struct trace_op *op = x->op;
	enum hv_status status = HV_EINVAL;
	struct trace_call call;

	if (op->code == OP_MIGRATE && trace_step(op) == TRACE_STEP_FINISH)
		status = finish_migration(x);
	else if (looks(op))
		status = host_is_dead(x->r->d) ? HV_EDEAD : look(x);
	else if (trace_call(op, &call))
		status = ask(x, &call);
	x->o->kind = OBS_STATUS;
	x->o->status = (u8)status;
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

// ---- what it may change -----------------------------------------------------------------------------------
void host_note_state(const struct host_run *r, struct host_state *to)
{
	const struct shadow_domain *s = &r->d->shadow;

	*to = (struct host_state){ .d = r->d, .modes = s->modes, .pool = s->total_pages, .p2m_pages = s->p2m_pages,
				   .free_pages = s->free_pages, .mapped = r->d->p2m.mapped, .dirty = s->dirty.count,
				   .marked = s->dirty.marked, .reclaimed = s->stats.reclaimed,
				   .migrating = r->d->migration != NULL };
}

static bool asks_for(const struct trace_op *op, enum trace_ask what)
{
	return op->code == OP_CONTROL && op->what == what;
}

// Rule 50. Pages that were fetched for what did not come about stay in pool and p2m. Off does what it can before it says no; a
// migration's step that failed has taken bits of what it did copy.
static const char *check_refused(const struct trace_op *op, const struct host_state *before, const struct host_state *after)
{
	bool sizes = op->code == OP_POOL || asks_for(op, ASK_SET);

	if (after->mapped != before->mapped)
		return "E1.50 refused: another number of frames is mapped";
	if (sizes ? after->pool != before->pool : after->pool + after->p2m_pages < before->pool + before->p2m_pages)
		return "E1.50 refused: the pool has another size";
	if (asks_for(op, ASK_OFF))
		return NULL;
	if (after->modes != before->modes || after->migrating != before->migrating)
		return "E1.50 refused: the modes have changed";
	return after->dirty != before->dirty && op->code != OP_MIGRATE ? "E1.50 refused: dirty frames came or went" : NULL;
}

const char *host_check_state(const struct trace_op *op, const struct obs *o, const struct host_state *before,
			     const struct host_state *after, u32 lower_bound)
{
	bool both_dirty = before->modes & after->modes & MODE_LOGDIRTY;

	if (o->kind == OBS_KILLED || before->d != after->d)
		return NULL;
	if (o->kind == OBS_STATUS && o->status != HV_OK && op->code != OP_CHECK)
		return check_refused(op, before, after);
	if (op->code == OP_POOL && after->pool != (op->count < lower_bound ? lower_bound : op->count))
		return "E1.8 pool: not of the size that was asked for";
	if (asks_for(op, ASK_CLEAN) ? after->marked : both_dirty && after->marked < before->marked)
		return "E1.49 dirty: the count starts again with a clean, and with nothing else";
	if (asks_for(op, ASK_PEEK) && (after->marked != before->marked || after->dirty != before->dirty))
		return "E1.49 dirty: a peek has changed something";
	return NULL;
}
