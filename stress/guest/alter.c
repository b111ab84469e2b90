// SPDX-License-Identifier: GPL-2.0-or-later
// ALTER: one instruction of a choice. All have DI as address; the rest of the registers is set up for every
// instruction at once: AX is what STOS stores, or 0, which is what CMPXCHG expects in DX:AX; BX is the operand, and
// CX:BX what CMPXCHG of two words stores; CX counts for REP; SI is where MOVS finds the operand; XMM0 holds it, too.
#include "accesses.h"
#include "blank.h"
#include "cpu.h"
#include "ops.h"
#include "serial.h"
#include "world.h"

// The order that accesses.S relies on.
_Static_assert(INS_COUNT == 31 && INS_MOVNTI == 5 && INS_CAS == 8 && INS_BTC == 18 && INS_LOCK_CAS == 19 &&
		       INS_LOCK_BTC == 29 && INS_XADD == 30,
	       "accesses.S numbers the instructions by their order");

static bool is_rep(u32 insn)
{
	return insn == INS_REP_STOS || insn == INS_REP_MOVS;
}

static bool is_cas(u32 insn)
{
	return insn == INS_CAS || insn == INS_LOCK_CAS;
}

static bool has_immediate(u32 insn)
{
	return (insn >= INS_BTS && insn <= INS_BTC) || (insn >= INS_LOCK_BTS && insn <= INS_LOCK_BTC);
}

static u64 cut(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & (BIT(8 * bytes) - 1);
}

// What the instruction starts with, `elements` elements of a string from number `first` on.
static void set_registers(const struct trace_op *op, u32 first, u32 elements)
{
	u64 value = trace_alter_value(op);
	bool stos = op->insn == INS_STOS || op->insn == INS_REP_STOS;
	// Two words of new value; CMPXCHG8B has them in ECX:EBX.
	u64 high = op->bytes > 8 ? value : value >> 32;

	probe = (struct probe){
		.ax = stos ? value : 0,
		.bx = value,
		.cx = is_rep(op->insn) ? elements : is_cas(op->insn) ? high : 0,
		.si = user_at(operand, op->cpl),
		.di = op->va + first * op->bytes,
		.xmm0 = { value, value },
	};
}

static void set_memory(const struct trace_op *op, const struct piece *piece)
{
	u64 value = trace_alter_value(op);

	for (u32 i = 0; i < TRACE_REP * op->bytes && op->bytes <= 8; i++)
		operand[i] = (u8)(value >> 8 * (i % op->bytes));
	if (has_immediate(op->insn))
		user_page[piece->end - 1] = (u8)value;
}

static void read_registers(const struct trace_op *op, struct obs *o)
{
	u32 bytes = op->bytes;

	*o = (struct obs){
		.kind = OBS_ALTER, .bytes = op->bytes, .error = (u32)probe.flags & trace_alter_flags(op),
	};
	if (op->insn == INS_XCHG || op->insn == INS_XADD) {
		o->value[0] = cut(probe.bx, bytes);
	} else if (is_cas(op->insn) && bytes == 2 * sizeof(word_t)) {
		o->value[0] = bytes == 8 ? probe.ax | probe.dx << 32 : probe.ax;
		o->value[1] = bytes == 8 ? 0 : probe.dx;
	} else if (is_cas(op->insn)) {
		o->value[0] = cut(probe.ax, bytes);
	}
}

void alter(const struct trace_op *op, struct obs *o)
{
	const struct piece *piece = access_piece(op->insn, op->bytes);
	u32 elements = is_rep(op->insn) ? TRACE_REP : 1;
	// The translations that a REP starts with may or may not serve to its end. What is to be compared takes every
	// element afresh, as after an interrupt with a flush; QEMU keeps them, so it gets single elements.
	u32 at_once = world_has_umbra ? elements : 1;
	bool passed = true;
	u64 ignored;

	if (!piece)
		guest_panic("no code for this instruction in this size");
	// It loads first, and if that faults it is that fault that counts.
	if (trace_alter_reads(op) && access_is_split(op->va, op->bytes) &&
	    !access_load(op->va, op->bytes, op->cpl, op->ac, &ignored, o))
		return;
	set_memory(op, piece);
	for (u32 k = 0; k < elements && passed; k += at_once) {
		if (k) {
			cpu_invlpg(op->va + k * op->bytes);
			cpu_invlpg(op->va + (k + 1) * op->bytes - 1);
		}
		set_registers(op, k, at_once);
		passed = access_run(user_page + piece->start, op->cpl, op->ac, o);
	}
	if (passed)
		read_registers(op, o);
	blank_after_store(op->va, op->bytes * elements);
}
