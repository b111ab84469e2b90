// SPDX-License-Identifier: GPL-2.0-or-later
// Does a trace stray? Data that a guest writes over its own tables can form an entry that points below the trace
// frames, where the guest kernel lives on real executors and nothing at all on the others, or to a PC's devices. Such a
// trace is fine for the host executor, but its logs from image and metal mean nothing: a walk or access may even hit the
// kernel. One more kind of ops strays, whose outcome is not the same everywhere: one that changes what it is itself
// translated by goes on with translations from before, or not (the model's own_entry; string instructions more strictly,
// for their A and D bits).
//
// Parts: searching tables; ways; one op; whole traces; traces in the making.
//
// The model runs the trace; after each op all tables that a CR3 leads to are searched, before a `visit` the tables on
// its way. Cost: at most 64 pages of entries for each op. Following a trace op by op costs a copy of the model for
// every CHECKPOINT ops besides, and for an op that is refused the ops since the last copy again.
#include "stray.h"

#include "../model/model.h"
#include "tool.h"

#define P BIT(0)
#define PS BIT(7)
#define ADDRESS ((BIT(TRACE_PHYS_BITS) - 1) & ~(u64)(FRAME_BYTES - 1))
#define RESERVED ((BIT(52) - 1) & ~(BIT(TRACE_PHYS_BITS) - 1))
#define RESERVED_PAE (BIT(63) - BIT(52))

// ---- searching tables -------------------------------------------------------------
struct search {
	const struct model *m;
	enum trace_mode mode;
	bool pse;
	bool seen[4][TRACE_FRAMES];
};

static bool is_trace_frame(u64 gfn)
{
	return gfn >= TRACE_F0_GFN && gfn < TRACE_F0_GFN + TRACE_FRAMES;
}

static u64 entry_at(const struct search *s, u64 gfn, u32 index)
{
	const u64 *word = s->m->word[gfn - TRACE_F0_GFN];

	if (s->mode == TRACE_MODE_32)
		return word[index / 2] >> (32 * (index & 1)) & UINT32_MAX;
	return word[index];
}

// Present, and not such that a walk ends in a fault here.
static bool entry_leads_on(const struct search *s, u64 entry)
{
	if (s->mode == TRACE_MODE_32)
		return entry & P;
	return entry & P && !(entry & RESERVED) && !(s->mode == TRACE_MODE_PAE && entry & RESERVED_PAE);
}

// A large page that is not aligned is reserved too, but its bits lie in or below the address: be careful.
static bool entry_is_leaf(const struct search *s, u64 entry, u32 level)
{
	return level == 0 || (entry & PS && level < 3 && (s->mode != TRACE_MODE_32 || s->pse));
}

static u64 entry_gfn(const struct search *s, u64 entry, u32 level)
{
	u64 gfn = (entry & ADDRESS) >> FRAME_SHIFT;

	if (s->mode == TRACE_MODE_32 && level && entry_is_leaf(s, entry, level))
		return entry >> 22 << 10 | (entry >> 13 & 0xff) << 20;
	return gfn;
}

// The guest kernel's memory, and the devices and ROM of a PC in the last 32 MiB below 4 GiB, which only metal has.
static bool off_limits(u64 gfn)
{
	return gfn < TRACE_F0_GFN || (gfn >= 0xfe000 && gfn < 0x100000);
}

// Search the table in a guest frame, a table of this level (0: its entries map 4 KiB), and what hangs below it.
static bool table_strays(struct search *s, u64 gfn, u32 level)
{
	u32 bytes = trace_entry_bytes(s->mode);

	if (off_limits(gfn))
		return true;
	if (!is_trace_frame(gfn) || !(s->m->present >> (gfn - TRACE_F0_GFN) & 1) || s->seen[level][gfn - TRACE_F0_GFN])
		return false; // holes read as not present
	s->seen[level][gfn - TRACE_F0_GFN] = true;
	for (u32 i = 0; i < FRAME_BYTES / bytes; i++) {
		u64 entry = entry_at(s, gfn, i), target;

		if (i * bytes - TRACE_RESERVED_AT < TRACE_RESERVED_BYTES || !entry_leads_on(s, entry))
			continue;
		target = entry_gfn(s, entry, level);
		if (entry_is_leaf(s, entry, level) ? off_limits(target) : table_strays(s, target, level - 1))
			return true;
	}
	return false;
}

// The page directories that a PAE guest's PDPTEs name are tops like a root; slot 0 is the kernel's.
static bool guest_strays(const struct model *m)
{
	struct search s = { .m = m, .mode = (enum trace_mode)m->config.kind };
	u32 level = s.mode == TRACE_MODE_64 ? 3 : 1;

	for (u32 v = 0; v < m->config.vcpus; v++) {
		const struct model_vcpu *vcpu = &m->vcpu[v];
		const u64 *top = vcpu->roots[vcpu->root_count - 1].top;

		s.pse = vcpu->pse;
		for (u32 i = s.mode == TRACE_MODE_PAE ? 1 : 0; i < MODEL_TOPS; i++)
			if (top[i] != MODEL_ABSENT && table_strays(&s, top[i], level))
				return true;
	}
	return false;
}

// ---- ways -------------------------------------------------------------
// What the walk for one address meets: tables, top first, and the page, if it gets there.
struct way {
	u64 table[4], page;
	u32 count;
};

static void find_way(const struct search *s, u64 gfn, u32 level, u64 va, struct way *w)
{
	const struct trace_mode_info *mode = &trace_modes[s->mode];

	*w = (struct way){ .page = UINT64_MAX };
	for (;; level--) {
		u32 part = mode->va_parts - 2u - level, shift = mode->va[part].shift;
		u64 entry;

		w->table[w->count++] = gfn;
		if (!is_trace_frame(gfn))
			return;
		entry = entry_at(s, gfn, (u32)(va >> shift & mode->va[part].mask));
		if (!entry_leads_on(s, entry))
			return;
		gfn = entry_gfn(s, entry, level);
		if (entry_is_leaf(s, entry, level)) {
			w->page = gfn | (va & (BIT(shift) - 1)) >> FRAME_SHIFT;
			return;
		}
	}
}

// What ends a visit's walk early does no harm; PDPTEs with reserved bits are met before it begins.
static bool visit_way_strays(const struct search *s, u64 root, u64 va)
{
	u64 top = root;
	struct way w;

	if (s->mode == TRACE_MODE_PAE) {
		u64 entry = entry_at(s, root, (u32)(TRACE_KERNEL_WORD + (va >> 30 & 3)));

		if (!entry_leads_on(s, entry))
			return false;
		top = entry_gfn(s, entry, 0);
	}
	find_way(s, top, s->mode == TRACE_MODE_64 ? 3 : 1, va, &w);
	return off_limits(w.table[w.count - 1]) || off_limits(w.page);
}

static bool visit_strays(const struct model *m, const struct trace_op *op)
{
	struct search s = { .m = m, .mode = (enum trace_mode)op->mode, .pse = true };

	return visit_way_strays(&s, TRACE_F0_GFN + op->frame, op->va) ||
	       visit_way_strays(&s, TRACE_F0_GFN + op->frame, op->va + op->bytes - 1);
}

// Does a string instruction store to a table that it is itself translated by?
static bool string_strays(const struct model *m, const struct trace_op *op)
{
	const struct model_vcpu *v = &m->vcpu[m->current];
	struct search s = { .m = m, .mode = (enum trace_mode)m->config.kind, .pse = v->pse };
	const u64 *top = v->roots[v->root_count - 1].top;
	struct way w[2];

	for (u32 i = 0; i < 2; i++) {
		u64 va = op->va + (i ? TRACE_REP * op->bytes - 1u : 0);
		u64 table = top[s.mode == TRACE_MODE_PAE ? va >> 30 & 3 : 0];

		if (table == MODEL_ABSENT)
			w[i] = (struct way){ .page = UINT64_MAX };
		else
			find_way(&s, table, s.mode == TRACE_MODE_64 ? 3 : 1, va, &w[i]);
	}
	for (u32 i = 0; i < 4; i++)
		for (u32 k = 0; k < w[i / 2].count; k++)
			if (w[i / 2].table[k] == w[i % 2].page)
				return true;
	return false;
}

// ---- one op -------------------------------------------------------------
static bool step_strays(struct model *m, const struct trace_op *op, struct obs *o)
{
	if (op->code == OP_VISIT && visit_strays(m, op))
		return true;
	if (op->code == OP_ALTER && (op->insn == INS_REP_STOS || op->insn == INS_REP_MOVS) && string_strays(m, op))
		return true;
	m->own_entry = false;
	model_step(m, op, o);
	if (m->own_entry)
		return true;
	if (o->kind == OBS_KILLED)
		return false;
	// Only these can bring an entry to where walks find it.
	return (op->code == OP_RELOAD || trace_op_class((enum trace_code)op->code) & OP_MAPS) && guest_strays(m);
}

// ---- whole traces -------------------------------------------------------------
static struct model guest;

int stray_op(const void *data, size_t bytes, u32 *op)
{
	struct trace_reader reader;
	struct trace_op next;
	struct obs o = { .kind = OBS_OK };

	trace_open(&reader, data, bytes);
	model_start(&guest, &reader.config);
	for (u32 n = 1; o.kind != OBS_KILLED && trace_next(&reader, &next); n++)
		if (step_strays(&guest, &next, &o)) {
			*op = n;
			return 0;
		}
	*op = 0;
	return 0;
}

// ---- traces in the making -------------------------------------------------------------
#define CHECKPOINT 64
static struct model checkpoint;
static struct trace_op since[CHECKPOINT];
static u32 since_count;

void stray_start(const struct trace_config *config)
{
	model_start(&guest, config);
	checkpoint = guest;
	since_count = 0;
}

bool stray_follow(const struct trace_op *op)
{
	struct obs o = { .kind = OBS_OK };

	if (step_strays(&guest, op, &o) || o.kind == OBS_KILLED) {
		guest = checkpoint;
		for (u32 i = 0; i < since_count; i++)
			model_step(&guest, &since[i], &o);
		return false;
	}
	since[since_count++] = *op;
	if (since_count == CHECKPOINT) {
		checkpoint = guest;
		since_count = 0;
	}
	return true;
}
