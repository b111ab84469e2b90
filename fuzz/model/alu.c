// SPDX-License-Identifier: GPL-2.0-or-later
// What the instructions of ALTER make of a memory operand and of RFLAGS (APM vol. 3, and vol. 1, 3.1.4).
//
// Flags follow from bits: with operands a and b and result c of a sum, the carries into each bit are a ^ b ^ c;
// signed overflow is when a and b agree in sign and c does not. Undefined flags are left out: AF of the logical
// operations, all but CF of the bit tests. Bit tests take a number below the operand's size.
//
// It shares nothing with the emulator of hv/, which makes results but never flags. Constant time.
#include "internal.h"

#define CF 0x001u
#define PF 0x004u
#define AF 0x010u
#define ZF 0x040u
#define SF 0x080u
#define OF 0x800u

// LOCK forms do the same as the plain ones.
static u8 without_lock(u8 insn)
{
	_Static_assert(INS_LOCK_BTC - INS_LOCK_CAS == INS_BTC - INS_CAS,
		       "LOCK forms come in the order of the plain ones");

	return insn >= INS_LOCK_CAS && insn <= INS_LOCK_BTC ? (u8)(insn - INS_LOCK_CAS + INS_CAS) : insn;
}

static bool sign(u64 value, u32 bytes)
{
	return value >> (8 * bytes - 1) & 1;
}

// PF, ZF and SF, which every result has.
static u32 flags_of(u64 result, u32 bytes)
{
	u32 flags = (result ? 0 : ZF) | (sign(result, bytes) ? SF : 0), ones = 0;

	for (u32 i = 0; i < 8; i++)
		ones += result >> i & 1;
	return flags | (ones % 2 ? 0 : PF);
}

static u32 flags_of_sum(u64 a, u64 b, u64 sum, u32 bytes)
{
	u64 overflow = (a ^ sum) & (b ^ sum);

	return flags_of(sum, bytes) | (sum < a ? CF : 0) | ((a ^ b ^ sum) & 0x10 ? AF : 0) |
	       (sign(overflow, bytes) ? OF : 0);
}

static u32 flags_of_difference(u64 a, u64 b, u64 difference, u32 bytes)
{
	u64 overflow = (a ^ b) & (a ^ difference);

	return flags_of(difference, bytes) | (a < b ? CF : 0) | ((a ^ b ^ difference) & 0x10 ? AF : 0) |
	       (sign(overflow, bytes) ? OF : 0);
}

static void compare_exchange(u32 bytes, const u64 old[2], u64 operand, struct alu *out)
{
	bool match = old[0] == 0 && old[1] == 0;

	out->memory[0] = match ? operand : old[0];
	out->memory[1] = match ? operand : old[1];
	if (bytes < 16)
		out->memory[1] = 0;
	out->reported[0] = old[0];
	out->reported[1] = old[1];
	out->flags = match ? ZF : 0;
}

void alu_run(u8 insn, u32 bytes, const u64 old[2], u64 operand, struct alu *out)
{
	u64 a = old[0], result = a, bit = UINT64_C(1) << operand % 64;

	*out = (struct alu){ .memory = { 0 } };
	switch (without_lock(insn)) {
	case INS_CAS:
		compare_exchange(bytes, old, operand, out);
		return;
	case INS_XCHG:
		result = operand;
		out->reported[0] = a;
		break;
	case INS_AND:
		result = a & operand;
		out->flags = flags_of(result, bytes);
		break;
	case INS_OR:
		result = a | operand;
		out->flags = flags_of(result, bytes);
		break;
	case INS_XOR:
		result = a ^ operand;
		out->flags = flags_of(result, bytes);
		break;
	case INS_XADD:
		out->reported[0] = a;
		// fall through
	case INS_ADD:
		result = low_bytes(a + operand, bytes);
		out->flags = flags_of_sum(a, operand, result, bytes);
		break;
	case INS_SUB:
		result = low_bytes(a - operand, bytes);
		out->flags = flags_of_difference(a, operand, result, bytes);
		break;
	case INS_INC:
		result = low_bytes(a + 1, bytes);
		out->flags = flags_of_sum(a, 1, result, bytes) & ~CF;
		break;
	case INS_DEC:
		result = low_bytes(a - 1, bytes);
		out->flags = flags_of_difference(a, 1, result, bytes) & ~CF;
		break;
	case INS_BTS:
		result = a | bit;
		out->flags = a & bit ? CF : 0;
		break;
	case INS_BTR:
		result = a & ~bit;
		out->flags = a & bit ? CF : 0;
		break;
	case INS_BTC:
		result = a ^ bit;
		out->flags = a & bit ? CF : 0;
		break;
	}
	out->memory[0] = result;
}
