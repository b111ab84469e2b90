// SPDX-License-Identifier: GPL-2.0-or-later
// Operations of a trace that write control registers, and those that leave the paging mode to come back.
//
//  1. writes to control registers: cr3, reload, ctl, flush, vcpu, badreg
//  2. away and home: paging off, another mode, paging on again
//  3. phys, real, visit
//
// Every step is a write that the guest would do, in the order in which it would do it.
#include "host_run.h"

#define VECTOR_GP 13
#define BIT_CR0_HIGH BIT(32)
#define BIT_CR4_RESERVED BIT(31)
#define BIT_CR4_LA57 BIT(12)
#define BIT_EFER_RESERVED BIT(16)
#define BIT_CR3_HIGH BIT(52)

// ---- 1. writes to control registers ---------------------------------------------------------------------
static void answer_gp(struct obs *o)
{
	*o = (struct obs){ .kind = OBS_FAULT, .vector = VECTOR_GP };
}

bool op_wrote(struct op_run *x, enum hv_status status)
{
	if (status == HV_EINVAL)
		answer_gp(x->o);
	return status == HV_OK;
}

enum hv_status op_flush(struct vcpu *v)
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
	static const u64 cr4_bit[CTL_COUNT] = { [CTL_SMEP] = CR4_SMEP, [CTL_SMAP] = CR4_SMAP, [CTL_PGE] = CR4_PGE,
						[CTL_PSE] = CR4_PSE };

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

	op_wrote(x, set_ctl(x->v, (enum trace_ctl)x->op->ctl, x->op->on));
	for (u32 i = 0; i < d->vcpu_count && !host_is_dead(d); i++) {
		if (i == here)
			continue;
		host_set_cpu(host_cpu_of(&d->vcpu[i]));
		op_wrote(x, set_ctl(&d->vcpu[i], (enum trace_ctl)x->op->ctl, x->op->on));
	}
	host_set_cpu(host_cpu_of(x->v));
}

static bool leave(struct op_run *x);
static bool go_home(struct op_run *x, const struct vcpu_control *home);

// Where CR3 has 32 bits, a value with more is what 64-bit code has left there: nobody writes it while paging is on.
static void do_cr3(struct op_run *x)
{
	struct vcpu_control home = x->v->guest;

	home.cr3 = trace_cr3(host_mode(x->r), x->op->target);
	if (host_mode(x->r) == TRACE_MODE_64 || !trace_root_is_high(x->op->target))
		op_wrote(x, vcpu_write_cr3(x->v, home.cr3));
	else if (leave(x))
		go_home(x, &home);
}

void op_control(struct op_run *x)
{
	switch (x->op->code) {
	case OP_CR3:
		do_cr3(x);
		break;
	case OP_RELOAD:
		op_wrote(x, vcpu_write_cr3(x->v, host_mode(x->r) == TRACE_MODE_64 ? x->v->guest.cr3 : (u32)x->v->guest.cr3));
		break;
	case OP_INVLPG:
		vcpu_invlpg(x->v, gva(x->op->va));
		break;
	case OP_FLUSH:
		op_wrote(x, op_flush(x->v));
		break;
	case OP_CTL:
		do_ctl(x);
		break;
	default:
		x->r->current = x->op->vcpu % x->r->config.vcpus;
		host_set_cpu(host_cpu_of(&x->r->d->vcpu[x->r->current]));
	}
}

// Rows for 64-bit code answer #GP elsewhere without a write; and what makes 64-bit code special when it clears PG, its
// code segment, only the port knows.
void op_badreg(struct op_run *x)
{
	const struct vcpu_control *c = &x->v->guest;
	bool is_64 = host_mode(x->r) == TRACE_MODE_64;
	enum hv_status status = HV_EINVAL;

	switch ((enum trace_bad)x->op->bad) {
	case BAD_CR0_NW:
		status = vcpu_write_cr0(x->v, (c->cr0 | CR0_NW) & ~CR0_CD);
		break;
	case BAD_CR0_PG:
		status = vcpu_write_cr0(x->v, c->cr0 & ~CR0_PE);
		break;
	case BAD_CR0_HIGH:
		status = is_64 ? vcpu_write_cr0(x->v, c->cr0 | BIT_CR0_HIGH) : HV_EINVAL;
		break;
	case BAD_CR4_RESERVED:
		status = vcpu_write_cr4(x->v, c->cr4 | BIT_CR4_RESERVED);
		break;
	case BAD_CR4_LA57:
		status = vcpu_write_cr4(x->v, c->cr4 | BIT_CR4_LA57);
		break;
	case BAD_CR4_PCIDE:
		status = vcpu_write_cr4(x->v, c->cr4 | CR4_PCIDE);
		break;
	case BAD_CR4_PAE_CLEAR:
		status = is_64 ? vcpu_write_cr4(x->v, c->cr4 & ~CR4_PAE) : HV_EINVAL;
		break;
	case BAD_EFER_RESERVED:
		status = vcpu_write_efer(x->v, c->efer | BIT_EFER_RESERVED);
		break;
	case BAD_EFER_LME:
		status = vcpu_write_efer(x->v, c->efer ^ EFER_LME);
		break;
	case BAD_CR3_HIGH:
		status = is_64 ? vcpu_write_cr3(x->v, c->cr3 | BIT_CR3_HIGH) : HV_EINVAL;
		break;
	case BAD_CR0_PG_CLEAR:
	case BAD_COUNT:
		break;
	}
	op_wrote(x, status);
}

// ---- 2. away and home -----------------------------------------------------------------------------------
static bool finding(struct op_run *x, const char *what)
{
	if (!host_is_dead(x->r->d))
		host_finding("E1.44 fault fidelity", "%s", what);
	return false;
}

// Paging is off and goes on in the mode that c describes, with its root. False: #GP, or the domain was killed.
static bool enter(struct op_run *x, const struct vcpu_control *c)
{
	struct vcpu *v = x->v;

	if (vcpu_write_cr4(v, c->cr4) != HV_OK || vcpu_write_efer(v, c->efer & ~EFER_LMA) != HV_OK ||
	    vcpu_write_cr3(v, c->cr3) != HV_OK)
		return finding(x, "a control register cannot be written while paging is off");
	return op_wrote(x, vcpu_write_cr0(v, c->cr0));
}

// False: paging cannot be turned off, or the domain was killed.
static bool leave(struct op_run *x)
{
	return vcpu_write_cr0(x->v, x->v->guest.cr0 & ~CR0_PG) == HV_OK || finding(x, "paging cannot be turned off");
}

// PDPTEs that raise #GP now send the guest to its kernel's own root.
static bool go_home(struct op_run *x, const struct vcpu_control *home)
{
	struct vcpu_control own = *home;

	if (enter(x, home))
		return true;
	if (host_is_dead(x->r->d))
		return false;
	own.cr3 = host_fallback_cr3();
	if (host_mode(x->r) != TRACE_MODE_PAE || !enter(x, &own))
		return finding(x, "paging cannot be turned on again");
	answer_gp(x->o);
	return true;
}

// ---- 3. phys, real, visit -------------------------------------------------------------------------------
// The stores go to physical memory through the unpaged shadow. REAL turns off PE too: segments of 4 GiB stay.
void op_phys(struct op_run *x)
{
	enum trace_mode mode = host_mode(x->r);
	u64 at = ((TRACE_F0_GFN + x->op->frame) << FRAME_SHIFT) + (u64)x->op->index * trace_entry_bytes(mode);
	u64 entry = trace_entry(x->op);
	struct vcpu_control home = x->v->guest;
	bool real = x->op->code == OP_REAL;

	if (!leave(x))
		return;
	if (real && vcpu_write_cr0(x->v, x->v->guest.cr0 & ~CR0_PE) != HV_OK) {
		finding(x, "protection cannot be turned off");
		return;
	}
	if (!op_store(x, at, entry & UINT32_MAX, 4))
		return;
	if (mode != TRACE_MODE_32 && !op_store(x, at + 4, entry >> 32, 4))
		return;
	if (real && vcpu_write_cr0(x->v, x->v->guest.cr0 | CR0_PE) != HV_OK) {
		finding(x, "protection cannot be turned on again");
		return;
	}
	go_home(x, &home);
}

#define PDPTE_RESERVED (UINT64_C(0x1e6) | ~(BIT(TRACE_PHYS_BITS) - 1))

// Would a processor take what the frame has from TRACE_KERNEL_WORD on for PDPTEs? The first one is the kernel's own.
static bool pdptes_valid(struct op_run *x, bool *valid)
{
	*valid = true;
	for (u32 i = 1; i < 4; i++) {
		u64 word;

		if (!op_load(x, op_direct(x, x->op->frame, TRACE_RESERVED_AT + 8 * i), 8, &word))
			return false;
		if ((word & PTE_P) && (word & PDPTE_RESERVED))
			*valid = false;
	}
	return true;
}

// The frame's way to the tables of a mode's kernel, by a store to memory as the processor addresses it now.
static bool store_way(struct op_run *x, u64 frame_at, enum trace_mode mode)
{
	u64 word = host_kernel_word(mode);

	return op_store(x, frame_at + TRACE_RESERVED_AT, word & UINT32_MAX, 4) &&
	       op_store(x, frame_at + TRACE_RESERVED_AT + 4, word >> 32, 4);
}

// Was it stored? A read-only frame does not take it. Nor does a hole, which the kernel finds out when it goes there.
static bool way_taken(struct op_run *x, u64 frame_at, enum trace_mode mode, bool *taken)
{
	u64 low, high, word = host_kernel_word(mode);

	if (!op_load(x, frame_at + TRACE_RESERVED_AT, 4, &low) || !op_load(x, frame_at + TRACE_RESERVED_AT + 4, 4, &high))
		return false;
	*taken = (low | high << 32) == word || (low | high) == 0;
	return true;
}

static void visit_access(struct op_run *x)
{
	const struct trace_op *op = x->op;
	struct cpu_access a = { .kind = op->on ? CPU_WRITE : CPU_READ, .va = op->va, .bytes = op->bytes,
				.data = { op->value } };
	struct cpu_result c;

	cpu_access(x->v, &a, &c);
	if (op_done(x, &c) && !op->on)
		op_answer_value(x, c.value[0], op->bytes);
}

// The guest's kernel looks at PDPTEs first: it could not come back from a #GP there. The way is exchanged while paging
// is off, since the frame may be the root at home.
void op_visit(struct op_run *x)
{
	enum trace_mode there = (enum trace_mode)x->op->mode, here = host_mode(x->r);
	struct vcpu_control home = x->v->guest, away = home;
	u64 at = (TRACE_F0_GFN + x->op->frame) << FRAME_SHIFT;
	bool valid = true, taken;

	if (there == TRACE_MODE_PAE && !pdptes_valid(x, &valid))
		return;
	if (!valid) {
		if (store_way(x, op_direct(x, x->op->frame, 0), here))
			answer_gp(x->o);
		return;
	}
	host_mode_control(there, &away);
	away.cr3 = trace_cr3(there, x->op->frame);
	if (!leave(x) || !store_way(x, at, there) || !way_taken(x, at, there, &taken))
		return;
	if (!taken) {
		if (go_home(x, &home))
			answer_gp(x->o);
		return;
	}
	if (!enter(x, &away)) {
		finding(x, "the other mode cannot be entered");
		return;
	}
	visit_access(x);
	if (!host_is_dead(x->r->d) && !host_finding_rule() && leave(x) && store_way(x, at, here))
		go_home(x, &home);
}
