// SPDX-License-Identifier: GPL-2.0-or-later
// ALTER on the host: one instruction that stores, as accesses of the soft CPU, and what it leaves in RFLAGS.
//
// Parts: flags; stores; changes in place; the operation.
//
// The soft CPU knows what becomes of memory but has no RFLAGS: they follow from the old contents and the operand (APM
// vol. 3). Computed as a processor does, by adding one bit more than the operand has.
#include "host_run.h"

#define CF 0x001u
#define PF 0x004u
#define AF 0x010u
#define ZF 0x040u
#define SF 0x080u
#define OF 0x800u

// ---- flags ----------------------------------------------------------------------------------------------
static u32 flags_of_result(u64 result, u32 bits)
{
	u32 parity = __builtin_parity((u32)(result & 0xff)) ? 0 : PF;

	return parity | (result ? 0 : ZF) | (result >> (bits - 1) & 1 ? SF : 0);
}

static u32 flags_of_sum(u64 a, u64 b, u64 carry, u32 bits)
{
	u64 mask = bits == 64 ? UINT64_MAX : BIT(bits) - 1, sum = (a + b + carry) & mask;
	u64 carries = (a & b) | ((a | b) & ~sum), top = carries >> (bits - 1) & 1, below = carries >> (bits - 2) & 1;

	return flags_of_result(sum, bits) | (top ? CF : 0) | (carries & 8 ? AF : 0) | (top != below ? OF : 0);
}

// a - b is a + ~b + 1, with the carry turned round: it is a borrow.
static u32 flags_of_difference(u64 a, u64 b, u32 bits)
{
	u64 mask = bits == 64 ? UINT64_MAX : BIT(bits) - 1;

	return flags_of_sum(a, ~b & mask, 1, bits) ^ CF ^ AF;
}

static u32 flags_of(const struct cpu_access *a, const struct cpu_result *c)
{
	u32 bits = a->bytes * 8u;
	u64 old = c->value[0], operand = a->data[0];

	if (a->kind == CPU_CMPXCHG)
		return c->matched ? ZF : 0;
	switch ((enum insn_alu)a->alu) {
	case ALU_AND:
		return flags_of_result(old & operand, bits);
	case ALU_OR:
		return flags_of_result(old | operand, bits);
	case ALU_XOR:
		return flags_of_result(old ^ operand, bits);
	case ALU_ADD:
		return flags_of_sum(old, operand, 0, bits);
	case ALU_SUB:
		return flags_of_difference(old, operand, bits);
	case ALU_BTS:
	case ALU_BTR:
	case ALU_BTC:
		return old >> operand & 1 ? CF : 0;
	case ALU_XCHG:
		break;
	}
	return 0;
}

// ---- stores ---------------------------------------------------------------------------------------------
static void note_element(struct op_run *x, u32 k, const struct cpu_result *c)
{
	op_note_tlb(x->o, 2 * k, 2, c);
}

static bool do_stores(struct op_run *x, const struct cpu_access *first)
{
	bool rep = x->op->insn == INS_REP_STOS || x->op->insn == INS_REP_MOVS;
	struct cpu_access a[TRACE_REP];
	u32 count = rep ? TRACE_REP : 1;

	for (u32 k = 0; k < count; k++) {
		a[k] = *first;
		a[k].va += k * first->bytes;
		a[k].data[1] = first->data[0]; // SSE stores it twice
	}
	return op_chain(x, a, count, note_element) == count;
}

// ---- changes in place -----------------------------------------------------------------------------------
static enum insn_alu alu_of(enum trace_insn insn)
{
	static const u8 alu[INS_COUNT] = {
		[INS_XCHG] = ALU_XCHG, [INS_AND] = ALU_AND, [INS_LOCK_AND] = ALU_AND, [INS_OR] = ALU_OR, [INS_LOCK_OR] = ALU_OR,
		[INS_XOR] = ALU_XOR, [INS_LOCK_XOR] = ALU_XOR, [INS_ADD] = ALU_ADD, [INS_LOCK_ADD] = ALU_ADD,
		[INS_SUB] = ALU_SUB, [INS_LOCK_SUB] = ALU_SUB, [INS_INC] = ALU_ADD, [INS_LOCK_INC] = ALU_ADD,
		[INS_DEC] = ALU_SUB, [INS_LOCK_DEC] = ALU_SUB, [INS_BTS] = ALU_BTS, [INS_LOCK_BTS] = ALU_BTS,
		[INS_BTR] = ALU_BTR, [INS_LOCK_BTR] = ALU_BTR, [INS_BTC] = ALU_BTC, [INS_LOCK_BTC] = ALU_BTC,
		[INS_XADD] = ALU_ADD,
	};

	return (enum insn_alu)alu[insn];
}

static bool is_cas(enum trace_insn insn)
{
	return insn == INS_CAS || insn == INS_LOCK_CAS;
}

static bool do_change(struct op_run *x, struct cpu_access *a)
{
	enum trace_insn insn = (enum trace_insn)x->op->insn;
	bool tells = is_cas(insn) || insn == INS_XCHG || insn == INS_XADD;
	struct cpu_result c;

	a->kind = is_cas(insn) ? CPU_CMPXCHG : CPU_RMW;
	a->alu = (u8)alu_of(insn);
	a->unknown = insn == INS_XADD;
	if (a->bytes == 16)
		a->data[1] = a->data[0];
	cpu_access(x->v, a, &c);
	op_note_tlb(x->o, 0, 4, &c);
	if (!op_done(x, &c))
		return false;
	x->o->value[0] = tells ? c.value[0] : 0;
	x->o->value[1] = tells && a->bytes == 16 ? c.value[1] : 0;
	x->o->error = flags_of(a, &c) & trace_alter_flags(x->op);
	return true;
}

// ---- the operation --------------------------------------------------------------------------------------
void op_alter(struct op_run *x)
{
	const struct trace_op *op = x->op;
	struct cpu_access a = { .kind = CPU_WRITE, .va = op->va, .bytes = op->bytes, .cpl = op->cpl, .ac = op->ac != 0,
				.pick = (enum tlb_pick)op->stale, .data = { trace_alter_value(op) } };

	if (trace_alter_reads(op) ? do_change(x, &a) : do_stores(x, &a)) {
		x->o->kind = OBS_ALTER;
		x->o->bytes = op->bytes;
	}
}
