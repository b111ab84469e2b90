// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace is on the host: accesses of the soft CPU, writes to control
// registers, hypercalls.
//
//  1. answers
//  2. stores and loads of the guest kernel through its direct map
//  3. accesses through any virtual address
//  4. control registers
//  5. operations of the hypervisor
//  6. the dispatcher
//
// Cost: one operation is one to three accesses; ZERO and COPY are up to 510, of which those after the
// first that ran undisturbed go straight to memory: a translation that the processor has just used and
// that nobody flushed is in its TLB.
#include "host_run.h"

#include <string.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define WORDS_RESERVED_FROM (TRACE_RESERVED_AT / 8)
#define WORDS_RESERVED_TO ((TRACE_RESERVED_AT + TRACE_RESERVED_BYTES) / 8)

struct op_run {
	struct host_run *r;
	struct vcpu *v;
	const struct trace_op *op;
	struct obs *o;
};

// ---- 1. answers ---------------------------------------------------------------------------------------

static u64 gfn_behind(u64 m)
{
	return p2m_gfn_of(mfn(m)).n;
}

// What is not CPU_DONE ends the operation. A dead domain and a finding are answered by the run loop.
static bool done(struct op_run *x, const struct cpu_result *c)
{
	if (c->end == CPU_FAULT) {
		x->o->kind = x->o->kind == OBS_SWEEP ? OBS_SWEEP : OBS_FAULT;
		x->o->vector = c->vector;
		x->o->error = c->error;
		x->o->cr2 = c->cr2;
	}
	return c->end == CPU_DONE;
}

static void answer_value(struct obs *o, u64 value, u8 bytes)
{
	o->kind = OBS_VALUE;
	o->bytes = bytes;
	o->value[0] = value;
}

static void answer_status(struct obs *o, enum hv_status status)
{
	o->kind = OBS_STATUS;
	o->status = (u8)status;
}

// ---- 2. the direct map ----------------------------------------------------------------------------------

static u64 direct(u32 frame, u32 offset)
{
	return TRACE_DIRECT + (TRACE_F0_GFN << FRAME_SHIFT) + (u64)frame * FRAME_BYTES + offset;
}

static bool store(struct op_run *x, u64 va, u64 value, u8 bytes)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = va, .bytes = bytes, .data = { value } };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	return done(x, &c);
}

static bool load(struct op_run *x, u64 va, u8 bytes, u64 *value)
{
	struct cpu_access a = { .kind = CPU_READ, .va = va, .bytes = bytes };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	*value = c.value[0];
	return done(x, &c);
}

// A page of the direct map during a loop: words is where the processor's last translation leads, NULL
// when it has none, or not any more.
struct window {
	u64 va;
	u64 *words;
};

static bool window_access(struct op_run *x, struct window *w, struct window *other, bool write, u32 i, u64 *value)
{
	struct cpu_access a = { .kind = write ? CPU_WRITE : CPU_READ, .va = w->va + i * 8, .bytes = 8,
				.data = { *value } };
	struct cpu_result c;

	if (w->words) {
		if (write)
			w->words[i] = *value;
		else
			*value = w->words[i];
		return true;
	}
	cpu_access(x->v, &a, &c);
	if (c.faults)
		other->words = NULL; // the core was entered: it may have flushed
	if (!done(x, &c))
		return false;
	if (!c.emulated)
		w->words = host_frame(mfn(c.tlb_mfn[0]));
	if (!write)
		*value = c.value[0];
	return true;
}

// ZERO and COPY.
static void do_page(struct op_run *x, bool copy)
{
	struct window to = { .va = direct(x->op->frame, 0) }, from = { .va = direct(x->op->from, 0) };
	u64 value = 0;

	for (u32 i = 0; i < MODEL_WORDS; i++) {
		if (i == WORDS_RESERVED_FROM)
			i = WORDS_RESERVED_TO;
		if (copy && !window_access(x, &from, &to, false, i, &value))
			return;
		if (!window_access(x, &to, &from, true, i, &value))
			return;
	}
}

static void do_cas(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u64 at = direct(op->frame, op->index * 8u), entry = trace_entry(op);
	struct cpu_access a = { .kind = CPU_CMPXCHG, .va = at, .bytes = op->bytes, .data = { entry, entry } };
	struct cpu_result c;
	u8 step = op->bytes < 8 ? op->bytes : 8;

	for (u32 i = 0; i * 8 < op->bytes; i++)
		if (!load(x, at + i * 8, step, &a.expect[i]))
			return;
	if (!op->on)
		a.expect[0] ^= 1;
	cpu_access(x->v, &a, &c);
	if (!done(x, &c))
		return;
	x->o->kind = OBS_CAS;
	x->o->bytes = op->bytes;
	x->o->value[0] = c.value[0];
	x->o->value[1] = op->bytes == 16 ? c.value[1] : 0;
	x->o->matched = c.matched;
}

// Paging off leaves long mode; the two stores go to physical memory through the unpaged shadow.
static void do_phys(struct op_run *x)
{
	u64 at = ((TRACE_F0_GFN + x->op->frame) << FRAME_SHIFT) + x->op->index * 8u, entry = trace_entry(x->op);
	u64 cr0 = x->v->guest.cr0;

	if (vcpu_write_cr0(x->v, cr0 & ~CR0_PG) != HV_OK)
		return;
	if (store(x, at, entry & UINT32_MAX, 4) && store(x, at + 4, entry >> 32, 4) &&
	    vcpu_write_cr0(x->v, cr0) != HV_OK && !x->r->d->dead)
		host_finding("E1.44 fault fidelity", "paging cannot be turned on again");
}

static void do_direct(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u64 at = direct(op->frame, op->index * 8u), entry = trace_entry(op);

	switch (op->code) {
	case OP_PTE:
		store(x, at, entry, 8);
		break;
	case OP_HALF:
		store(x, at + (op->on ? 4 : 0), op->on ? entry >> 32 : entry & UINT32_MAX, 4);
		break;
	case OP_PEEK:
		if (load(x, at, 8, &entry))
			answer_value(x->o, entry, 8);
		break;
	case OP_CAS:
		do_cas(x);
		break;
	case OP_PHYS:
		do_phys(x);
		break;
	default:
		do_page(x, op->code == OP_COPY);
	}
}

// ---- 3. any virtual address -----------------------------------------------------------------------------

static void note_tlb(struct obs *o, const struct cpu_result *c)
{
	for (u32 k = 0; k < 2; k++) {
		o->from_tlb[k] = c->from_tlb[k];
		o->tlb_gfn[k] = c->from_tlb[k] ? gfn_behind(c->tlb_mfn[k]) : 0;
	}
}

static void do_sweep(struct op_run *x)
{
	const struct trace_op *op = x->op;
	u64 hash = FNV_START, cached = 0;

	x->o->kind = OBS_SWEEP;
	for (u32 k = 0; k < op->count; k++) {
		struct cpu_access a = { .kind = CPU_READ, .va = op->va + (u64)k * FRAME_BYTES, .bytes = 1,
					.cpl = op->cpl, .pick = (enum tlb_pick)op->stale };
		struct cpu_result c;

		cpu_access(x->v, &a, &c);
		if (!done(x, &c))
			break;
		hash = (hash ^ (c.value[0] & 0xff)) * FNV_PRIME;
		x->o->count++;
		if (c.from_tlb[0])
			cached |= BIT(k);
		if (k < 2) {
			x->o->from_tlb[k] = c.from_tlb[0];
			x->o->tlb_gfn[k] = c.from_tlb[0] ? gfn_behind(c.tlb_mfn[0]) : 0;
		}
	}
	x->o->value[0] = hash;
	x->o->value[1] = cached;
}

// INT3 lies where EXEC jumps to, in every trace frame.
static void do_exec(struct op_run *x)
{
	struct cpu_access a = { .kind = CPU_FETCH, .va = x->op->va + TRACE_EXEC_AT, .bytes = 1,
				.cpl = x->op->cpl, .pick = (enum tlb_pick)x->op->stale };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	note_tlb(x->o, &c);
	if (done(x, &c) && gfn_behind(c.tlb_mfn[0]) - TRACE_F0_GFN < TRACE_FRAMES &&
	    (c.value[0] & 0xff) != (TRACE_INT3 & 0xff))
		host_finding("E1.41 soundness", "executed 0x%llx at 0x%llx", (unsigned long long)c.value[0],
			     (unsigned long long)a.va);
}

static void do_access(struct op_run *x)
{
	const struct trace_op *op = x->op;
	struct cpu_access a = { .kind = op->code == OP_READ   ? CPU_READ
					: op->code == OP_PUSH ? CPU_PUSH
							      : CPU_WRITE,
				.va = op->va, .bytes = op->bytes ? op->bytes : 8, .cpl = op->cpl,
				.pick = (enum tlb_pick)op->stale,
				.data = { op->code == OP_SET ? trace_entry(op) : op->value } };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	note_tlb(x->o, &c);
	if (done(x, &c) && op->code == OP_READ)
		answer_value(x->o, c.value[0], op->bytes);
}

// ---- 4. control registers -------------------------------------------------------------------------------

static void raise_gp(struct obs *o, enum hv_status status)
{
	if (status == HV_EINVAL) {
		o->kind = OBS_FAULT;
		o->vector = 13;
	}
}

static enum hv_status flush(struct vcpu *v)
{
	enum hv_status status = vcpu_write_cr4(v, v->guest.cr4 ^ CR4_PGE);

	return status == HV_OK ? vcpu_write_cr4(v, v->guest.cr4 ^ CR4_PGE) : status;
}

static u64 with_bit(u64 value, u64 bit, bool on)
{
	return on ? value | bit : value & ~bit;
}

static enum hv_status set_ctl(struct vcpu *v, enum trace_ctl ctl, bool on)
{
	static const u64 cr4_bit[CTL_COUNT] = { [CTL_SMEP] = CR4_SMEP, [CTL_SMAP] = CR4_SMAP, [CTL_PGE] = CR4_PGE };

	if (ctl == CTL_WP)
		return vcpu_write_cr0(v, with_bit(v->guest.cr0, CR0_WP, on));
	if (ctl == CTL_NXE)
		return vcpu_write_efer(v, with_bit(v->guest.efer, EFER_NXE, on));
	return vcpu_write_cr4(v, with_bit(v->guest.cr4, cr4_bit[ctl], on));
}

// The guest goes round its processors: the one it is on first, then the others in order.
static void do_ctl(struct op_run *x)
{
	struct domain *d = x->r->d;
	u32 here = x->v->id;

	raise_gp(x->o, set_ctl(x->v, (enum trace_ctl)x->op->ctl, x->op->on));
	for (u32 i = 0; i < d->vcpu_count && !d->dead; i++) {
		if (i == here)
			continue;
		host_set_cpu(i);
		raise_gp(x->o, set_ctl(&d->vcpu[i], (enum trace_ctl)x->op->ctl, x->op->on));
	}
	host_set_cpu(here);
}

static void do_control(struct op_run *x)
{
	switch (x->op->code) {
	case OP_CR3:
		raise_gp(x->o, vcpu_write_cr3(x->v, trace_target_gfn(x->op->target) << FRAME_SHIFT));
		break;
	case OP_RELOAD:
		raise_gp(x->o, vcpu_write_cr3(x->v, x->v->guest.cr3));
		break;
	case OP_INVLPG:
		vcpu_invlpg(x->v, gva(x->op->va));
		break;
	case OP_FLUSH:
		raise_gp(x->o, flush(x->v));
		break;
	case OP_CTL:
		do_ctl(x);
		break;
	default:
		x->r->current = x->op->vcpu % x->r->config.vcpus;
		host_set_cpu(x->r->current);
	}
}

// ---- 5. operations of the hypervisor --------------------------------------------------------------------

static u64 gfn_arg(u32 frame)
{
	return TRACE_F0_GFN + frame;
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
	// The guest kernel keeps every frame loadable and executable. Its stores are no part of the failure
	// that was armed for the hypercall.
	if (op->code == OP_RENEW && x->o->status == HV_OK && !x->r->d->dead) {
		host_arm_failure(0);
		host_arm_race(0, NULL, NULL);
		store(x, direct(op->frame, TRACE_RESERVED_AT),
		      MODEL_K3_GFN << FRAME_SHIFT | PTE_P | PTE_W | PTE_U | PTE_A, 8);
		store(x, direct(op->frame, TRACE_EXEC_AT), TRACE_INT3, 8);
	}
}

// ---- 6. the dispatcher ----------------------------------------------------------------------------------

void host_op(struct host_run *r, u32 vcpu, const struct trace_op *op, struct obs *o)
{
	struct op_run x = { .r = r, .v = &r->d->vcpu[vcpu], .op = op, .o = o };

	*o = (struct obs){ .kind = OBS_OK };
	host_set_cpu(vcpu);
	if (op->code <= OP_PHYS)
		do_direct(&x);
	else if (op->code == OP_SWEEP)
		do_sweep(&x);
	else if (op->code == OP_EXEC)
		do_exec(&x);
	else if (op->code < OP_CR3)
		do_access(&x);
	else if (op->code < OP_UNSHADOW)
		do_control(&x);
	else
		do_hypercall(&x);
	if (r->d->dead)
		*o = (struct obs){ .kind = OBS_KILLED, .reason = r->d->death };
}

void host_op_flush(struct host_run *r, u32 vcpu, const struct trace_op *op)
{
	if (!r->config.flush_auto || r->d->dead)
		return;
	if (!(trace_op_class((enum trace_code)op->code) & OP_MAPS) && op->code != OP_VCPU)
		return;
	if (flush(&r->d->vcpu[op->code == OP_VCPU ? r->current : vcpu]) == HV_EINVAL)
		host_finding("E1.44 fault fidelity", "CR4.PGE cannot be toggled");
}
