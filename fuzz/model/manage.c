// SPDX-License-Identifier: GPL-2.0-or-later
// What the hypervisor does to the guest: its physmap, and the control operations of spec A.18.
//
// Parts: frames; the physmap; the donor; control; migration; which answers are allowed; the entry.
//
// A frame is RAM, a hole, a hole in an identity range, where no RAM can be put, or a hole at which a frame of the donor is to be
// read, where none can be put either. Only RAM has a type. What all this means
// for dirty frames is in dirty.c. Cost: a page for each frame that gets or loses its contents.
//
// Where several answers fit: an argument that is wrong goes first, then busy, then absent, then "nothing to do".
#include "../../hv/base/status.h"

#include "internal.h"

// The run of frames that one large entry of the p2m maps.
#ifdef HV_GEOMETRY_SMALL
#define LARGE_FRAMES 16u
#else
#define LARGE_FRAMES 512u
#endif

// ---- frames -------------------------------------------------------------------------------------------
static bool is_a_root(const struct model *m, u32 frame)
{
	for (u32 i = 0; i < m->config.vcpus; i++)
		if (m->vcpu[i].root == TRACE_F0_GFN + frame)
			return true;
	return false;
}

static bool is_present(const struct model *m, u32 frame)
{
	return slot_present(m, (int)frame);
}

static bool is_identity(const struct model *m, u32 frame)
{
	return m->manage.identity >> frame & 1;
}

// No RAM can be put there, and none is.
static bool is_taken(const struct model *m, u32 frame)
{
	return is_identity(m, frame) || slot_foreign(m, (int)frame);
}

static enum trace_type type_of(const struct model *m, u32 frame)
{
	return m->manage.read_only >> frame & 1   ? TYPE_RO
	       : m->manage.log_dirty >> frame & 1 ? TYPE_LOGDIRTY
						  : TYPE_RW;
}

static void type_set(struct model *m, u32 frame, enum trace_type type)
{
	u32 bit = 1u << frame;

	m->manage.read_only = (m->manage.read_only & ~bit) | (type == TYPE_RO ? bit : 0);
	m->manage.log_dirty = (m->manage.log_dirty & ~bit) | (type == TYPE_LOGDIRTY ? bit : 0);
}

// The frame has RAM of this type from now on, and these words.
static void frame_fill(struct model *m, u32 frame, enum trace_type type, const u64 words[MODEL_WORDS])
{
	m->present |= 1u << frame;
	type_set(m, frame, type);
	for (u32 i = 0; i < MODEL_WORDS; i++)
		word_replace(m, (int)frame, i, words[i]);
	watch_store(m, (int)frame);
}

static void frame_zero(struct model *m, u32 frame)
{
	u64 words[MODEL_WORDS] = { 0 };

	words[TRACE_KERNEL_WORD] = model_kernel_word((enum trace_mode)m->config.kind);
	words[TRACE_KERNEL_WORD + 1] = TRACE_INT3;
	frame_fill(m, frame, TYPE_RW, words);
}

static void frame_drop(struct model *m, u32 frame)
{
	for (u32 i = 0; i < MODEL_WORDS; i++)
		word_replace(m, (int)frame, i, MODEL_HOLE_WORD);
	m->present &= ~(1u << frame);
	type_set(m, frame, TYPE_RW);
}

// ---- the physmap --------------------------------------------------------------------------------------
static void frame_copy(const struct model *m, u32 frame, u64 words[MODEL_WORDS])
{
	for (u32 i = 0; i < MODEL_WORDS; i++)
		words[i] = word_get(m, (int)frame, i);
}

static enum hv_status do_swap(struct model *m, u32 a, u32 b)
{
	enum trace_type type_a = type_of(m, a), type_b = type_of(m, b);
	u64 words_a[MODEL_WORDS], words_b[MODEL_WORDS];

	if (is_a_root(m, a) || is_a_root(m, b))
		return HV_EBUSY;
	if (!is_present(m, a) || !is_present(m, b))
		return HV_ENOENT;
	if (a == b)
		return HV_OK;
	frame_copy(m, a, words_a);
	frame_copy(m, b, words_b);
	frame_fill(m, a, type_b, words_b);
	frame_fill(m, b, type_a, words_a);
	return HV_OK;
}

static enum hv_status do_renew(struct model *m, u32 frame)
{
	if (is_a_root(m, frame) || is_taken(m, frame))
		return HV_EBUSY;
	frame_zero(m, frame);
	return HV_OK;
}

static enum hv_status do_remove(struct model *m, u32 frame)
{
	if (is_a_root(m, frame))
		return HV_EBUSY;
	if (!is_present(m, frame))
		return HV_ENOENT;
	frame_drop(m, frame);
	return HV_OK;
}

static enum hv_status do_retype(struct model *m, u32 frame, enum trace_type type)
{
	if (!is_present(m, frame))
		return HV_ENOENT;
	type_set(m, frame, type);
	return HV_OK;
}

static enum hv_status do_move(struct model *m, u32 from, u32 to)
{
	u64 words[MODEL_WORDS];

	if (is_a_root(m, from) || is_a_root(m, to) || is_taken(m, to))
		return HV_EBUSY;
	if (!is_present(m, from))
		return HV_ENOENT;
	if (from == to)
		return HV_OK;
	frame_copy(m, from, words);
	frame_fill(m, to, type_of(m, from), words);
	frame_drop(m, from);
	return HV_OK;
}

// [first, first + count), as far as it lies in guest-physical addresses.
static enum hv_status do_identity(struct model *m, u64 first, u32 count, bool on)
{
	u32 inside = 0;

	if (first >> (TRACE_PHYS_BITS - 12))
		return HV_EINVAL;
	for (u32 i = 0; i < TRACE_FRAMES; i++)
		if (TRACE_F0_GFN + i >= first && TRACE_F0_GFN + i < first + count)
			inside |= 1u << i;
	if (inside & (m->present | m->manage.foreign))
		return HV_EBUSY;
	m->manage.identity = on ? m->manage.identity | inside : m->manage.identity & ~inside;
	return HV_OK;
}

static enum hv_status do_balloon(struct model *m, u32 first, u32 count, bool up)
{
	u32 end = first + count;

	if (end > TRACE_FRAMES)
		return HV_EINVAL;
	for (u32 i = first; i < end; i++)
		if (is_taken(m, i) || (!up && is_a_root(m, i)))
			return HV_EBUSY;
	for (u32 i = first; i < end; i++) {
		if (up && !is_present(m, i))
			frame_zero(m, i);
		else if (!up && is_present(m, i))
			frame_drop(m, i);
		// The kernel does not know which ones are new: it writes the reserved bytes of all.
		if (up)
			watch_store(m, (int)i);
	}
	return HV_OK;
}

// Nobody sees it, but the frames move in the machine's memory.
static enum hv_status do_large(struct model *m, u32 frame)
{
	u32 first = frame & ~(LARGE_FRAMES - 1);

	for (u32 i = first; i < first + LARGE_FRAMES; i++)
		if (i >= TRACE_FRAMES || !is_present(m, i) || type_of(m, i) != TYPE_RW)
			return HV_EINVAL;
	for (u32 i = first; i < first + LARGE_FRAMES; i++)
		watch_store(m, (int)i);
	return HV_OK;
}

// ---- the donor ----------------------------------------------------------------------------------------
// A domain that does nothing by itself. Its four frames, the gifts, hold words that tell which one it is and how often it was
// renewed; where somebody takes them for entries of tables, half of them are good ones.
u64 gift_word(const struct model_gift *gift, u32 index)
{
	u64 n = gift->generation, frame = TRACE_F0_GFN + (index + gift->gift + n) % TRACE_FRAMES;
	u64 entry = frame << 12 | (n % 2 * 4 + gift->gift) << 9 | E_D | E_A | E_U | E_W | E_P;

	return index % 2 ? entry | ((n & 0xfff) << 16 | (u64)gift->gift << 12 | index) << 33 : entry;
}

static enum hv_status do_foreign(struct model *m, u32 frame, u32 what)
{
	struct model_manage *manage = &m->manage;
	u32 gift = what - 1;

	if (what == GIFT_NONE) {
		if (!slot_foreign(m, (int)frame))
			return HV_ENOENT;
		manage->foreign &= ~(1u << frame);
		return HV_OK;
	}
	if (manage->given_up >> gift & 1)
		return HV_ENOENT;
	if (is_present(m, frame) || is_taken(m, frame))
		return HV_EBUSY;
	manage->foreign |= 1u << frame;
	manage->mapped[frame] = (struct model_gift){ (u8)gift, manage->generation[gift] };
	return HV_OK;
}

// What is mapped stays as it is.
static enum hv_status do_donor(struct model *m, u32 deed)
{
	struct model_manage *manage = &m->manage;
	u32 gift = deed % TRACE_GIFTS;

	if (deed == DEED_END) {
		for (u32 i = 0; i < TRACE_GIFTS; i++)
			manage->generation[i]++;
		manage->given_up = 0;
	} else if (deed < DEED_DROP) {
		manage->generation[gift]++;
		manage->given_up &= ~(1u << gift);
	} else if (manage->given_up >> gift & 1) {
		return HV_ENOENT;
	} else {
		manage->given_up |= 1u << gift;
	}
	return HV_OK;
}

// ---- control ------------------------------------------------------------------------------------------
static enum hv_status do_look(struct model *m, const struct trace_op *op)
{
	if (!trace_ask_fits(op))
		return HV_EINVAL;
	if (m->manage.migrating)
		return HV_EBUSY;
	if (!m->manage.watching)
		return HV_EINVAL;
	watch_ask(m, trace_ask_first(op), op->count, op->what == ASK_CLEAN);
	return HV_OK;
}

static enum hv_status do_watch(struct model *m, bool on)
{
	if (m->manage.migrating)
		return HV_EBUSY;
	if (m->manage.watching == on)
		return HV_EINVAL;
	watch_switch(m, on);
	return HV_OK;
}

// ENABLE that amounts to LOGDIRTY: that bit is in the mask, and the others go together (spec A.5), the first one implied.
static bool enables_log(const struct trace_op *op)
{
	bool references = op->count & 2, translate = op->count & 8, external = op->count & 16;

	return op->count < 32 && (op->count & 4) && (!translate || references) && (!external || translate);
}

static enum hv_status do_ask(struct model *m, const struct trace_op *op)
{
	if (op->who == WHO_SELF || op->who == WHO_ABSENT)
		return op->who == WHO_SELF ? HV_EINVAL : HV_ENOENT;
	switch (op->what) {
	case ASK_OFF: // all that can go goes, but shadow paging itself stays
		if (m->manage.migrating)
			return HV_EBUSY;
		watch_switch(m, false);
		return HV_EINVAL;
	case ASK_LOGDIRTY:
	case ASK_LOGDIRTY_OFF:
		return do_watch(m, op->what == ASK_LOGDIRTY);
	case ASK_CLEAN:
	case ASK_PEEK:
		return do_look(m, op);
	case ASK_SET:
		return op->count == 0 ? HV_EINVAL : op->count == TRACE_ASK_MAX ? HV_ENOMEM : HV_OK;
	case ASK_ENABLE:
		return enables_log(op) ? do_watch(m, true) : HV_EINVAL;
	case ASK_GET:
	case ASK_BLOW:
	case ASK_BLOW_ALL:
		return HV_OK;
	default: // the modes of a guest that has shadow paging are fixed
		return HV_EINVAL;
	}
}

// ---- migration ----------------------------------------------------------------------------------------
// It watches for dirty frames itself and cleans once a round. What the guest goes on in after the last is its copy, where
// nobody watches.
static enum hv_status do_migrate(struct model *m, enum trace_step step)
{
	if (step == TRACE_STEP_START) {
		if (m->manage.migrating || m->manage.watching)
			return HV_EBUSY;
	} else if (!m->manage.migrating) {
		return HV_ENOENT;
	}
	m->manage.migrating = step == TRACE_STEP_START || step == TRACE_STEP_ROUND;
	watch_switch(m, m->manage.migrating);
	return HV_OK;
}

// ---- which answers are allowed --------------------------------------------------------------------------
// A type that the first store changes: nobody can know what it is now.
static bool is_unsure(const struct model *m, u32 frame)
{
	u32 first = frame & ~(LARGE_FRAMES - 1);

	for (u32 i = first; i < first + LARGE_FRAMES && i < TRACE_FRAMES; i++)
		if (type_of(m, i) == TYPE_LOGDIRTY)
			return true;
	return false;
}

// LARGE needs a run of free frames, which the machine may not have, although no failure was armed.
static bool large_allows(const struct run *r)
{
	struct model *m = r->m;
	enum trace_type type[TRACE_FRAMES];
	enum hv_status status;

	if (r->seen->status == HV_ENOMEM || !is_unsure(m, r->op->frame))
		return r->seen->status == HV_ENOMEM && LARGE_FRAMES <= TRACE_FRAMES;
	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		type[i] = type_of(m, i);
		if (type[i] == TYPE_LOGDIRTY)
			type_set(m, i, TYPE_RW);
	}
	status = do_large(m, r->op->frame);
	if (r->seen->status != status)
		status = HV_EINVAL; // one of them still has that type
	for (u32 i = 0; i < TRACE_FRAMES; i++)
		type_set(m, i, type[i]);
	return r->seen->status == status;
}

static bool looks(const struct trace_op *op)
{
	return op->code == OP_CONTROL && op->who != WHO_SELF && op->who != WHO_ABSENT &&
	       (op->what == ASK_CLEAN || op->what == ASK_PEEK);
}

bool manage_has_bitmap(const struct trace_op *op)
{
	return looks(op) || op->code == OP_MIGRATE;
}

bool manage_moves(const struct trace_op *op)
{
	return op->code == OP_SWAP || op->code == OP_RENEW || op->code == OP_REMOVE || op->code == OP_RETYPE ||
	       op->code == OP_MOVE || op->code == OP_BALLOON;
}

bool manage_gives(const struct trace_op *op)
{
	return op->code == OP_DONOR || (op->code == OP_FOREIGN && op->what != GIFT_NONE);
}

// Does the op need the bitmap that another one may be in the middle of handing out, or the migration that it is a step of?
static bool wants_bitmap(const struct trace_op *op)
{
	return manage_has_bitmap(op) || (op->code == OP_CONTROL && op->who == WHO_OPERATOR &&
				    (op->what == ASK_OFF || op->what == ASK_LOGDIRTY || op->what == ASK_LOGDIRTY_OFF ||
				     (op->what == ASK_ENABLE && enables_log(op))));
}

// Modes, or the size of the pool: of those one operation is done at a time.
bool manage_changes(const struct trace_op *op)
{
	if (op->code != OP_CONTROL || op->who == WHO_SELF || op->who == WHO_ABSENT)
		return op->code == OP_POOL;
	return op->what == ASK_SET || op->what == ASK_OFF || op->what == ASK_TEST || op->what == ASK_TRANSLATE ||
	       op->what == ASK_ENABLE || op->what == ASK_LOGDIRTY || op->what == ASK_LOGDIRTY_OFF;
}

// The hypervisor refused for want of memory, as it may when a failure is armed; or because somebody else has the bitmap; or makes a
// large entry, or changes what is about to be one; or is in the middle of something with the donor, or of changing what this
// operation would change. Then nothing happened that the guest could see.
static bool refused(const struct run *r)
{
	if (!r->seen || r->seen->kind != OBS_STATUS || r->op->code == OP_CHECK)
		return false;
	if (r->seen->status == HV_EBUSY && r->m->manage.reading && wants_bitmap(r->op))
		return true;
	if (r->seen->status == HV_EBUSY && r->op->code == OP_LARGE && LARGE_FRAMES <= TRACE_FRAMES &&
	    (r->m->manage.enlarging || r->m->manage.disturbed))
		return true;
	if (r->seen->status == HV_EBUSY && r->m->manage.giving && manage_gives(r->op))
		return true;
	if (r->seen->status == HV_EBUSY && r->m->manage.changing && manage_changes(r->op))
		return true;
	return r->seen->status == HV_ENOMEM && r->m->may_fail;
}

// ---- the entry ----------------------------------------------------------------------------------------
static enum hv_status run_op(struct model *m, const struct trace_op *op)
{
	switch (op->code) {
	case OP_UNSHADOW:
		return is_present(m, op->frame) ? HV_OK : HV_ENOENT;
	case OP_SWAP:
		return do_swap(m, op->frame, op->from);
	case OP_RENEW:
		return do_renew(m, op->frame);
	case OP_REMOVE:
		return do_remove(m, op->frame);
	case OP_CONTROL:
		return do_ask(m, op);
	case OP_MIGRATE:
		return do_migrate(m, trace_step(op));
	case OP_RETYPE:
		return do_retype(m, op->frame, (enum trace_type)op->what);
	case OP_MOVE:
		return do_move(m, op->frame, op->from);
	case OP_IDENTITY:
		return do_identity(m, op->value, op->count, op->on);
	case OP_BALLOON:
		return do_balloon(m, op->frame, op->count, op->on);
	case OP_LARGE:
		return do_large(m, op->frame);
	case OP_FOREIGN:
		return do_foreign(m, op->frame, op->what);
	case OP_DONOR:
		return do_donor(m, op->what);
	default:
		return HV_OK;
	}
}

void manage_op(struct run *r)
{
	enum hv_status status;

	if (refused(r))
		status = (enum hv_status)r->seen->status;
	else if (r->op->code == OP_LARGE && r->seen && r->seen->kind == OBS_STATUS && large_allows(r))
		status = (enum hv_status)r->seen->status;
	else
		status = run_op(r->m, r->op);
	r->o->kind = OBS_STATUS;
	r->o->status = (u8)status;
}
