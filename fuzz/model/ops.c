// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace does to a machine without a hypervisor, and what its guest sees.
//
// Parts: answers; accesses through the direct map; the dispatcher. Accesses through any virtual address are in access.c,
// control registers and paging modes in registers.c, operations of the hypervisor in manage.c.
//
// The direct map is not walked: nothing can change it, and its entries have A and D set. Between two
// steps that another vcpu could fall between stands a race_point().
#include "internal.h"

// ---- answers --------------------------------------------------------------------------------------
void answer_fault(struct run *r, u8 vector, u32 error, u64 cr2)
{
	if (r->o->kind != OBS_SWEEP)
		r->o->kind = OBS_FAULT;
	r->o->vector = vector;
	r->o->error = error;
	r->o->cr2 = cr2;
}

void answer_value(struct run *r, u64 value, u8 bytes)
{
	r->o->kind = OBS_VALUE;
	r->o->value[0] = value;
	r->o->bytes = bytes;
}

void answer_killed(struct run *r, const char *reason)
{
	r->o->kind = OBS_KILLED;
	r->o->reason = reason;
	r->m->dead = true;
}

// ---- accesses through the direct map ----------------------------------------------------------------
static u64 gfn_of_frame(u32 frame)
{
	return TRACE_F0_GFN + frame;
}

// Bytes of an entry, and of a store of the kernel: a general register's.
static u32 entry_bytes(const struct model *m)
{
	return paging_of(m->config.kind)->entry_bytes;
}

static u32 native_bytes(const struct model *m)
{
	return m->config.kind == TRACE_HVM64 ? 8 : 4;
}

static void store_entry(struct run *r)
{
	u64 gfn = gfn_of_frame(r->op->frame), entry = trace_entry(r->op);
	u32 step = native_bytes(r->m), bytes = entry_bytes(r->m);

	// High half first, as an operating system would that wants P to come last.
	for (u32 at = bytes; at > 0; at -= step) {
		if (at < bytes)
			race_point_plain(r->m);
		memory_store(r->m, gfn, r->op->index * bytes + at - step, step, entry >> 8 * (at - step));
	}
}

static void store_half(struct run *r)
{
	u32 half = entry_bytes(r->m) / 2, at = r->op->on ? half : 0;

	memory_store(r->m, gfn_of_frame(r->op->frame), r->op->index * 2u * half + at, half,
		     trace_entry(r->op) >> 8 * at);
}

static void load_entry(struct run *r)
{
	u32 bytes = entry_bytes(r->m);

	answer_value(r, memory_load(r->m, gfn_of_frame(r->op->frame), r->op->index * bytes, bytes), (u8)bytes);
}

// Plain loads give what to expect, then lock cmpxchg of 4, 8 or 16 bytes. What is wider than an entry stores it twice.
static void do_cas(struct run *r)
{
	const struct trace_op *op = r->op;
	u64 gfn = gfn_of_frame(op->frame), entry = trace_entry(op), expect[2], old[2];
	u32 at = op->index * entry_bytes(r->m), words = op->bytes == 16 ? 2 : 1, step = op->bytes / words;
	bool match = true;

	if (op->bytes == 8 && entry_bytes(r->m) == 4)
		entry |= entry << 32;
	for (u32 i = 0; i < words; i++)
		expect[i] = memory_load(r->m, gfn, at + 8 * i, step);
	if (!op->on)
		expect[0] ^= 1;
	race_point_plain(r->m);
	for (u32 i = 0; i < words; i++) {
		old[i] = memory_load(r->m, gfn, at + 8 * i, step);
		match = match && old[i] == expect[i];
	}
	for (u32 i = 0; match && i < words; i++)
		memory_store(r->m, gfn, at + 8 * i, step, entry);
	watch_store(r->m, slot_of(gfn)); // one that misses stores what was there
	r->o->kind = OBS_CAS;
	r->o->matched = match;
	r->o->bytes = op->bytes;
	for (u32 i = 0; i < words; i++)
		r->o->value[i] = old[i];
}

static bool reserved_word(u32 index)
{
	return index == TRACE_KERNEL_WORD || index == TRACE_KERNEL_WORD + 1;
}

// ZERO, and COPY with copy = true.
static void do_page(struct run *r, bool copy)
{
	u64 to = gfn_of_frame(r->op->frame), from = gfn_of_frame(r->op->from);
	u32 step = native_bytes(r->m);

	for (u32 at = 0; at < FRAME_BYTES; at += step) {
		u64 value = 0;

		if (reserved_word(at / 8))
			continue;
		if (copy) {
			value = memory_load(r->m, from, at, step);
			race_point_plain(r->m);
		}
		memory_store(r->m, to, at, step, value);
		race_point_plain(r->m);
	}
}

// ---- dispatch -----------------------------------------------------------------------------------------
static void do_guest_memory(struct run *r)
{
	switch (r->op->code) {
	case OP_PTE:
		store_entry(r);
		break;
	case OP_HALF:
		store_half(r);
		break;
	case OP_CAS:
		do_cas(r);
		break;
	case OP_PEEK:
		load_entry(r);
		break;
	case OP_ZERO:
		do_page(r, false);
		break;
	case OP_COPY:
		do_page(r, true);
		break;
	case OP_PHYS:
	case OP_REAL:
		unpaged_store(r);
		break;
	}
}

static void do_guest_access(struct run *r)
{
	switch (r->op->code) {
	case OP_READ:
		access_read(r);
		break;
	case OP_WRITE:
		access_write(r, r->op->value, r->op->bytes);
		break;
	case OP_SET:
		access_write(r, trace_entry(r->op), entry_bytes(r->m));
		break;
	case OP_PUSH:
		access_write(r, r->op->value, native_bytes(r->m));
		break;
	case OP_EXEC:
		access_exec(r);
		break;
	case OP_SWEEP:
		access_sweep(r);
		break;
	case OP_ALTER:
		access_alter(r);
		break;
	}
}

static void dispatch(struct run *r)
{
	u8 code = r->op->code;

	if (code <= OP_PHYS || code == OP_REAL)
		do_guest_memory(r);
	else if (code <= OP_SWEEP || code == OP_ALTER)
		do_guest_access(r);
	else if (code <= OP_VCPU)
		register_op(r);
	else if (code == OP_VISIT)
		visit(r);
	else if (code == OP_BADREG)
		answer_fault(r, VECTOR_GP, 0, 0);
	else
		manage_op(r);
}

void op_run(struct model *m, const struct trace_op *op, const struct obs *seen, struct obs *o,
	    const char **broken)
{
	struct run r = { .m = m, .v = &m->vcpu[m->current], .op = op, .seen = seen, .o = o, .broken = NULL };

	*o = (struct obs){ .kind = OBS_OK };
	m->touched |= 1u << op->frame | 1u << op->from;
	race_point_plain(m);
	dispatch(&r);
	race_point_plain(m);
	if (m->config.flush_auto && ((trace_op_class(op->code) & OP_MAPS) || op->code == OP_VCPU))
		flush_all(m, &m->vcpu[m->current]);
	if (r.broken && !*broken)
		*broken = r.broken;
}
