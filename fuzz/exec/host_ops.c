// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace is on the host: accesses of the soft CPU, hypercalls. What writes control registers
// is in host_switch.c, the instructions of ALTER in host_alter.c.
//
//  1. answers
//  2. stores and loads of the guest kernel through its direct map
//  3. accesses through any virtual address
//  4. operations of the hypervisor
//  5. the dispatcher
//
// Cost: one operation is one to three accesses; ZERO and COPY are up to 1020, of which those after the first that ran
// undisturbed go straight to memory: a translation that the processor has just used and that nobody flushed is in its
// TLB.
#include "host_run.h"

#include <string.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// ---- 1. answers ---------------------------------------------------------------------------------------

// With threads it may be somebody else's by now, and no model wants to know.
static u64 gfn_behind(u64 m)
{
	return host_parallel ? 0 : p2m_gfn_of(mfn(m)).n;
}

// What is not CPU_DONE ends the operation. A dead domain and a finding are answered by the run loop.
bool op_done(struct op_run *x, const struct cpu_result *c)
{
	if (c->end == CPU_FAULT) {
		x->o->kind = x->o->kind == OBS_SWEEP ? OBS_SWEEP : OBS_FAULT;
		x->o->vector = c->vector;
		x->o->error = c->error;
		x->o->cr2 = c->cr2;
	}
	return c->end == CPU_DONE;
}

void op_answer_value(struct op_run *x, u64 value, u8 bytes)
{
	x->o->kind = OBS_VALUE;
	x->o->bytes = bytes;
	x->o->value[0] = value;
}

static void answer_status(struct obs *o, enum hv_status status)
{
	o->kind = OBS_STATUS;
	o->status = (u8)status;
}

void op_note_tlb(struct obs *o, u32 slot, u32 count, const struct cpu_result *c)
{
	for (u32 k = 0; k < count; k++) {
		o->from_tlb[slot + k] = c->from_tlb[k];
		o->tlb_gfn[slot + k] = c->from_tlb[k] ? c->tlb_gfn[k] : 0;
	}
	o->emulated = o->emulated || c->emulated;
}

// ---- 2. the direct map ----------------------------------------------------------------------------------

u64 op_direct(const struct op_run *x, u32 frame, u32 offset)
{
	return trace_direct(host_mode(x->r)) + (u64)frame * FRAME_BYTES + offset;
}

bool op_store(struct op_run *x, u64 va, u64 value, u8 bytes)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = va, .bytes = bytes, .data = { value } };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	return op_done(x, &c);
}

bool op_load(struct op_run *x, u64 va, u8 bytes, u64 *value)
{
	struct cpu_access a = { .kind = CPU_READ, .va = va, .bytes = bytes };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	*value = c.value[0];
	return op_done(x, &c);
}

// Instructions that follow one another: the core may take several in one exit. a[i].then is set here.
u32 op_chain(struct op_run *x, struct cpu_access *a, u32 count, op_chain_fn *note)
{
	struct cpu_result c;
	u32 i = 0;

	for (u32 k = 0; k + 1 < count; k++)
		a[k].then = &a[k + 1];
	while (i < count) {
		cpu_access(x->v, &a[i], &c);
		if (note)
			note(x, i, &c);
		if (!op_done(x, &c))
			break;
		i += c.done;
	}
	return i;
}

// PTE in 32-bit code with 8-byte entries: the high half first, so that no half-made entry is present.
static void store_halves(struct op_run *x, u64 at, u64 entry)
{
	struct cpu_access a[2] = {
		{ .kind = CPU_WRITE, .va = at + 4, .bytes = 4, .data = { entry >> 32 } },
		{ .kind = CPU_WRITE, .va = at, .bytes = 4, .data = { entry & UINT32_MAX } },
	};

	op_chain(x, a, 2, NULL);
}

// A page of the direct map during a loop: page is where the processor's last translation leads, NULL when it has none. It
// may have been taken from the processor since it had dropped so often.
struct window {
	u64 va;
	u8 *page;
	u32 drops;
};

// The native word of `bytes` bytes at `offset`.
static bool window_access(struct op_run *x, struct window *w, bool write, u32 offset, u32 bytes, u64 *value)
{
	u32 cpu = host_cpu_of(x->v);
	struct cpu_access a = { .kind = write ? CPU_WRITE : CPU_READ, .va = w->va + offset, .bytes = (u8)bytes,
				.data = { *value } };
	struct cpu_result c;

	if (w->page && w->drops == tlb_drops(cpu)) {
		if (write)
			memcpy(w->page + offset, value, bytes);
		else
			memcpy(value, w->page + offset, bytes);
		return true;
	}
	cpu_access(x->v, &a, &c);
	if (!op_done(x, &c))
		return false;
	// With threads the processor is not in the guest between two accesses.
	w->page = host_parallel || c.emulated || c.stepped ? NULL : (u8 *)host_frame(mfn(c.tlb_mfn[0]));
	w->drops = tlb_drops(cpu);
	if (!write)
		*value = c.value[0];
	return true;
}

// ZERO and COPY.
static void do_page(struct op_run *x, bool copy)
{
	struct window to = { .va = op_direct(x, x->op->frame, 0) }, from = { .va = op_direct(x, x->op->from, 0) };
	u32 bytes = host_mode(x->r) == TRACE_MODE_64 ? 8 : 4;
	u64 value = 0;

	for (u32 at = 0; at < FRAME_BYTES; at += bytes) {
		if (at == TRACE_RESERVED_AT)
			at += TRACE_RESERVED_BYTES;
		if (copy && !window_access(x, &from, false, at, bytes, &value))
			return;
		if (!window_access(x, &to, true, at, bytes, &value))
			return;
	}
}

// Wider than an entry are two entries, both the same.
static void do_cas(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u32 width = trace_entry_bytes(host_mode(x->r));
	u64 at = op_direct(x, op->frame, op->index * width), entry = trace_entry(op);
	struct cpu_access a = { .kind = CPU_CMPXCHG, .va = at, .bytes = op->bytes, .data = { entry, entry } };
	struct cpu_result c;
	u8 step = op->bytes < 8 ? op->bytes : 8;

	if (width == 4 && op->bytes == 8)
		a.data[0] |= entry << 32;
	for (u32 i = 0; i * 8 < op->bytes; i++)
		if (!op_load(x, at + i * 8, step, &a.expect[i]))
			return;
	if (!op->on)
		a.expect[0] ^= 1;
	cpu_access(x->v, &a, &c);
	if (!op_done(x, &c))
		return;
	x->o->kind = OBS_CAS;
	x->o->bytes = op->bytes;
	x->o->value[0] = c.value[0];
	x->o->value[1] = op->bytes == 16 ? c.value[1] : 0;
	x->o->matched = c.matched;
}

static void do_direct(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u32 width = trace_entry_bytes(host_mode(x->r)), half = width / 2;
	u64 at = op_direct(x, op->frame, op->index * width), entry = trace_entry(op);

	switch (op->code) {
	case OP_PTE:
		if (host_mode(x->r) == TRACE_MODE_PAE)
			store_halves(x, at, entry);
		else
			op_store(x, at, entry, (u8)width);
		break;
	case OP_HALF:
		op_store(x, at + (op->on ? half : 0), (op->on ? entry >> 8 * half : entry) & (BIT(8 * half) - 1),
			 (u8)half);
		break;
	case OP_PEEK:
		if (op_load(x, at, (u8)width, &entry))
			op_answer_value(x, entry, (u8)width);
		break;
	case OP_CAS:
		do_cas(x);
		break;
	default:
		do_page(x, op->code == OP_COPY);
	}
}

// ---- 3. any virtual address -----------------------------------------------------------------------------

static struct cpu_access access_of(const struct trace_op *op, enum cpu_kind kind, u64 va, u32 bytes)
{
	return (struct cpu_access){ .kind = kind, .va = va, .bytes = (u8)bytes, .cpl = op->cpl, .ac = op->ac != 0,
				    .pick = (enum tlb_pick)op->stale };
}

static void do_sweep(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u64 hash = FNV_START, cached = 0;

	x->o->kind = OBS_SWEEP;
	for (u32 k = 0; k < op->count; k++) {
		struct cpu_access a = access_of(op, CPU_READ, op->va + (u64)k * FRAME_BYTES, 1);
		struct cpu_result c;

		cpu_access(x->v, &a, &c);
		if (!op_done(x, &c))
			break;
		hash = (hash ^ (c.value[0] & 0xff)) * FNV_PRIME;
		x->o->count++;
		if (c.from_tlb[0])
			cached |= BIT(k);
		if (k < 2)
			op_note_tlb(x->o, k, 1, &c);
	}
	x->o->value[0] = hash;
	x->o->value[1] = cached;
}

// INT3 lies where EXEC jumps to, in every trace frame.
static void do_exec(struct op_run *x)
{
	struct cpu_access a = access_of(x->op, CPU_FETCH, x->op->va + TRACE_EXEC_AT, 1);
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	op_note_tlb(x->o, 0, 2, &c);
	if (op_done(x, &c) && gfn_behind(c.tlb_mfn[0]) - TRACE_F0_GFN < TRACE_FRAMES &&
	    (c.value[0] & 0xff) != (TRACE_INT3 & 0xff))
		host_finding("E1.41 soundness", "executed 0x%llx at 0x%llx", (unsigned long long)c.value[0],
			     (unsigned long long)a.va);
}

static void do_access(struct op_run *x)
{
	enum trace_mode mode = host_mode(x->r);
	const struct trace_op *op = x->op;
	enum cpu_kind kind = op->code == OP_READ ? CPU_READ : op->code == OP_PUSH ? CPU_PUSH : CPU_WRITE;
	u32 bytes = op->code == OP_PUSH  ? trace_push_bytes(mode)
		    : op->code == OP_SET ? trace_entry_bytes(mode)
					 : op->bytes;
	struct cpu_access a = access_of(op, kind, op->va, bytes);
	struct cpu_result c;

	a.data[0] = op->code == OP_SET ? trace_entry(op) : op->value;
	cpu_access(x->v, &a, &c);
	op_note_tlb(x->o, 0, 2, &c);
	if (op_done(x, &c) && op->code == OP_READ)
		op_answer_value(x, c.value[0], op->bytes);
}

// ---- 4. operations of the hypervisor --------------------------------------------------------------------

static u64 gfn_arg(u32 frame)
{
	return TRACE_F0_GFN + frame;
}

// The guest kernel keeps every frame loadable and executable. Its stores are no part of the failure that was armed for
// the hypercall.
void op_restore_reserved(struct op_run *x, u32 frame)
{
	u64 at = op_direct(x, frame, TRACE_RESERVED_AT), word = host_kernel_word(host_mode(x->r));

	host_arm_failure(0);
	host_arm_point(0, NULL, NULL);
	if (host_mode(x->r) == TRACE_MODE_64) {
		op_store(x, at, word, 8);
		op_store(x, at + 8, TRACE_INT3, 8);
		return;
	}
	for (u32 i = 0; i < TRACE_RESERVED_BYTES; i += 4)
		op_store(x, at + i, (i < 8 ? word : TRACE_INT3) >> i % 8 * 8 & UINT32_MAX, 4);
}

static void do_hypercall(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u64 number = HYPERCALL_CHECK, arg0 = 0, arg1 = 0;

	switch (op->code) {
	case OP_UNSHADOW:
		number = HYPERCALL_UNSHADOW;
		arg0 = gfn_arg(op->frame);
		break;
	case OP_BLOW:
		number = HYPERCALL_BLOW;
		break;
	case OP_POOL:
		number = HYPERCALL_POOL;
		arg0 = op->count;
		break;
	case OP_SWAP:
		number = HYPERCALL_SWAP;
		arg0 = gfn_arg(op->frame);
		arg1 = gfn_arg(op->from);
		break;
	case OP_RENEW:
		number = HYPERCALL_RENEW;
		arg0 = gfn_arg(op->frame);
		break;
	case OP_REMOVE:
		number = HYPERCALL_REMOVE;
		arg0 = gfn_arg(op->frame);
		break;
	default:
		break;
	}
	answer_status(x->o, hypercall(x->v, number, arg0, arg1));
	if (op->code == OP_RENEW && x->o->status == HV_OK && !host_is_dead(x->r->d))
		op_restore_reserved(x, op->frame);
}

// ---- 5. the dispatcher ----------------------------------------------------------------------------------

typedef void op_fn(struct op_run *x);

static op_fn *const handler[OP_COUNT] = {
	[OP_PTE] = do_direct, [OP_HALF] = do_direct, [OP_CAS] = do_direct, [OP_PEEK] = do_direct,
	[OP_ZERO] = do_direct, [OP_COPY] = do_direct, [OP_PHYS] = op_phys, [OP_READ] = do_access,
	[OP_WRITE] = do_access, [OP_SET] = do_access, [OP_PUSH] = do_access, [OP_EXEC] = do_exec,
	[OP_SWEEP] = do_sweep, [OP_CR3] = op_control, [OP_RELOAD] = op_control, [OP_INVLPG] = op_control,
	[OP_FLUSH] = op_control, [OP_CTL] = op_control, [OP_VCPU] = op_control, [OP_UNSHADOW] = do_hypercall,
	[OP_BLOW] = do_hypercall, [OP_POOL] = do_hypercall, [OP_SWAP] = do_hypercall, [OP_RENEW] = do_hypercall,
	[OP_REMOVE] = do_hypercall, [OP_CHECK] = do_hypercall, [OP_ALTER] = op_alter, [OP_REAL] = op_phys,
	[OP_VISIT] = op_visit, [OP_BADREG] = op_badreg, [OP_CONTROL] = op_manage, [OP_MIGRATE] = op_manage,
	[OP_RETYPE] = op_manage, [OP_MOVE] = op_manage, [OP_IDENTITY] = op_manage, [OP_BALLOON] = op_manage,
	[OP_LARGE] = op_manage, [OP_AUDIT] = op_manage, [OP_FOREIGN] = op_manage, [OP_DONOR] = op_manage,
};

void host_op(struct host_run *r, u32 vcpu, const struct trace_op *op, struct obs *o)
{
	struct op_run x = { .r = r, .v = &r->d->vcpu[vcpu], .op = op, .o = o };

	*o = (struct obs){ .kind = OBS_OK };
	host_set_cpu(host_cpu_of(x.v));
	handler[op->code](&x);
	if (host_is_dead(r->d))
		*o = (struct obs){ .kind = OBS_KILLED, .reason = host_death(r->d) };
}

void host_op_flush(struct host_run *r, u32 vcpu, const struct trace_op *op)
{
	if (!r->config.flush_auto || host_is_dead(r->d))
		return;
	if (!(trace_op_class((enum trace_code)op->code) & OP_MAPS) && op->code != OP_VCPU)
		return;
	if (op_flush(&r->d->vcpu[op->code == OP_VCPU ? r->current : vcpu]) == HV_EINVAL)
		host_finding("E1.44 fault fidelity", "CR4.PGE cannot be toggled");
}
