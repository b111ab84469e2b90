// SPDX-License-Identifier: GPL-2.0-or-later
// What an emulated instruction leaves in the registers: destinations, flags, stack and string pointers.
//
// Parts: general registers; flags; decode_apply().
// Flags that the architecture leaves undefined keep their value, but AF of the logical instructions is cleared.
#include "decode.h"

#define RFLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

// ---- general registers -----------------------------------------------------------------------------

u64 gpr_read(const u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high)
{
	return low_bytes(high ? gpr[number] >> 8 : gpr[number], bytes);
}

void gpr_write(u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high, u64 value)
{
	u64 old = gpr[number];

	if (bytes >= 4)
		gpr[number] = low_bytes(value, bytes);
	else if (high)
		gpr[number] = (old & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	else
		gpr[number] = (old & ~(BIT(8 * bytes) - 1)) | low_bytes(value, bytes);
}

static void gpr_add(u64 gpr[GPR_COUNT], u32 number, u32 bytes, u64 addend)
{
	gpr_write(gpr, number, bytes, false, gpr[number] + addend);
}

// ---- flags -------------------------------------------------------------------------------------------

// PF, ZF and SF of a result.
static u64 result_flags(u64 result, u32 bytes)
{
	u64 low = low_bytes(result, bytes), flags = 0;

	if (!(0x6996 >> ((low ^ low >> 4) & 15) & 1)) // parity of the low byte
		flags |= RFLAGS_PF;
	if (!low)
		flags |= RFLAGS_ZF;
	if (low & BIT(8 * bytes - 1))
		flags |= RFLAGS_SF;
	return flags;
}

// a + b = r
static u64 sum_flags(u64 a, u64 b, u32 bytes)
{
	u64 r = a + b, flags = result_flags(r, bytes);

	if (low_bytes(r, bytes) < low_bytes(a, bytes))
		flags |= RFLAGS_CF;
	if ((a ^ b ^ r) & 0x10)
		flags |= RFLAGS_AF;
	if ((a ^ r) & (b ^ r) & BIT(8 * bytes - 1))
		flags |= RFLAGS_OF;
	return flags;
}

// a - b = r, and CMP a, b
static u64 difference_flags(u64 a, u64 b, u32 bytes)
{
	u64 r = a - b, flags = result_flags(r, bytes);

	if (low_bytes(a, bytes) < low_bytes(b, bytes))
		flags |= RFLAGS_CF;
	if ((a ^ b ^ r) & 0x10)
		flags |= RFLAGS_AF;
	if ((a ^ b) & (a ^ r) & BIT(8 * bytes - 1))
		flags |= RFLAGS_OF;
	return flags;
}

static void set_flags(u64 *rflags, u64 which, u64 values)
{
	*rflags = (*rflags & ~which) | (values & which);
}

// ---- decode_apply() ----------------------------------------------------------------------------------

static void apply_read(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT])
{
	if (!d->is_xmm)
		gpr_write(gpr, d->gpr, d->gpr_bytes, d->gpr_high,
			  d->sign_extend ? sign_bytes(done->result[0], done->bytes)
					 : low_bytes(done->result[0], done->bytes));
}

static void apply_rmw(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	u64 old = low_bytes(done->result[0], done->bytes), operand = done->data[0];
	u64 defined = d->keeps_carry ? RFLAGS_ARITHMETIC & ~RFLAGS_CF : RFLAGS_ARITHMETIC;

	switch ((enum insn_alu)done->alu) {
	case ALU_XCHG:
		gpr_write(gpr, d->gpr, d->gpr_bytes, d->gpr_high, old);
		break;
	case ALU_AND: case ALU_OR: case ALU_XOR:
		set_flags(rflags, defined, result_flags(insn_alu(done->alu, old, operand), done->bytes));
		break;
	case ALU_ADD:
		set_flags(rflags, defined, sum_flags(old, operand, done->bytes));
		break;
	case ALU_SUB:
		set_flags(rflags, defined, difference_flags(old, operand, done->bytes));
		break;
	case ALU_BTS: case ALU_BTR: case ALU_BTC:
		set_flags(rflags, RFLAGS_CF, old >> operand & 1 ? RFLAGS_CF : 0);
		break;
	}
}

static void apply_pair(const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	set_flags(rflags, RFLAGS_ZF, done->matched ? RFLAGS_ZF : 0);
	if (done->matched)
		return;
	if (done->bytes == 16) {
		gpr[GPR_RAX] = done->result[0];
		gpr[GPR_RDX] = done->result[1];
	} else {
		gpr[GPR_RAX] = (u32)done->result[0];
		gpr[GPR_RDX] = done->result[0] >> 32;
	}
}

static void apply_cmpxchg(const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	set_flags(rflags, RFLAGS_ARITHMETIC, difference_flags(gpr[GPR_RAX], done->result[0], done->bytes));
	if (!done->matched)
		gpr_write(gpr, GPR_RAX, done->bytes, false, done->result[0]);
}

// One element is done. Returns whether it was the last.
static bool apply_string(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 rflags)
{
	u64 step = rflags & RFLAGS_DF ? -(u64)done->bytes : done->bytes;

	gpr_add(gpr, GPR_RDI, d->string_bytes, step);
	if (d->has_source)
		gpr_add(gpr, GPR_RSI, d->string_bytes, step);
	if (!d->repeats)
		return true;
	gpr_add(gpr, GPR_RCX, d->string_bytes, UINT64_MAX);
	return low_bytes(gpr[GPR_RCX], d->string_bytes) == 0;
}

u32 decode_apply(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	if (d->op != DECODE_MEMORY)
		return d->length;
	switch (done->kind) {
	case INSN_READ:
		apply_read(d, done, gpr);
		break;
	case INSN_PUSH:
		gpr_add(gpr, GPR_RSP, d->stack_bytes, -(u64)done->bytes);
		break;
	case INSN_RMW:
		apply_rmw(d, done, gpr, rflags);
		break;
	case INSN_CMPXCHG:
		if (d->pair)
			apply_pair(done, gpr, rflags);
		else
			apply_cmpxchg(done, gpr, rflags);
		break;
	default:
		if (d->string_bytes && !apply_string(d, done, gpr, *rflags))
			return 0;
		break;
	}
	return d->length;
}
