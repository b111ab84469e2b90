// SPDX-License-Identifier: GPL-2.0-or-later
// The image's decoder against Capstone: every one- and two-byte opcode, with every shape of ModRM, SIB and
// displacement, under every set of prefixes that changes something, in 16, 32 and 64-bit code. What ours knows must
// agree in length, operands, addresses, sizes and class; what ours does not know must not be one of the instructions
// that it is there for.
//
// Parts: registers; what Capstone's names mean to us; addresses; comparing; enumerating.
// link: hv/port/bare/decode.c hv/port/bare/decode_cursor.c hv/port/bare/decode_apply.c
// libs: capstone
#include <capstone/capstone.h>

#include "test.h"

#include "../port/bare/decode.h"

static u64 gpr[GPR_COUNT];
static const struct vmcb_segment guest_segments[SEGMENT_COUNT] = {
	{ .selector = 0x1e50, .base = 0x10000 }, { .selector = 0x1c50, .base = 0x20000 }, { .selector = 0x1550, .base = 0x34560 },
	{ .selector = 0x1d50, .base = 0x40000 }, { .selector = 0x1f50, .base = UINT64_C(0x7f0000000000) },
	{ .selector = 0x1650, .base = UINT64_C(0xffff888800000000) },
};
static struct decode_state state;
static csh handle;
static cs_insn *theirs;
static unsigned long compared, refused;
#define PREFIXES_MAX 4

// ---- registers ---------------------------------------------------------------------------------------

static void start(u8 bits)
{
	state = (struct decode_state){
		.gpr = gpr,
		.rip = bits == 64 ? UINT64_C(0x7fff12345678) : bits == 32 ? 0xc0123456 : 0x1234,
		.rflags = 0xffffffffffffffff & ~RFLAGS_VM,
		.segment = guest_segments,
		.code_bits = bits,
		.stack_bits = bits == 16 ? 16 : 32,
		.cpl = 3,
		.sse = true,
	};
	for (u32 i = 0; i < GPR_COUNT; i++) // each its own, some with negative low parts
		gpr[i] = UINT64_C(0x123456789abcdef1) * (i + 3) ^ (u64)i << 15;
	if (bits != 64)
		for (u32 i = 0; i < GPR_COUNT; i++)
			gpr[i] = (u32)gpr[i];
}

struct reg {
	u8 number, bytes;
	bool high;
};

static bool reg_of(x86_reg id, struct reg *r)
{
	static const x86_reg names[4][16] = {
		{ X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL,
		  X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B,
		  X86_REG_R15B },
		{ X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI,
		  X86_REG_R8W, X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W,
		  X86_REG_R15W },
		{ X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI,
		  X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D,
		  X86_REG_R15D },
		{ X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
		  X86_REG_R8, X86_REG_R9, X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15 },
	};
	static const x86_reg highs[4] = { X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH };

	for (u8 n = 0; n < 16; n++)
		for (u8 size = 0; size < 4; size++)
			if (names[size][n] == id) {
				*r = (struct reg){ n, (u8)(1u << size), false };
				return true;
			}
	for (u8 n = 0; n < 4; n++)
		if (highs[n] == id) {
			*r = (struct reg){ n, 1, true };
			return true;
		}
	return false;
}

static u64 cut(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & ((UINT64_C(1) << 8 * bytes) - 1);
}

static u64 reg_value(x86_reg id)
{
	static const x86_reg segments[6] = { X86_REG_ES, X86_REG_CS, X86_REG_SS, X86_REG_DS, X86_REG_FS, X86_REG_GS };
	struct reg r;

	for (u32 i = 0; i < 6; i++)
		if (segments[i] == id)
			return guest_segments[i].selector;
	if (!reg_of(id, &r))
		return 0;
	return cut(r.high ? gpr[r.number] >> 8 : gpr[r.number], r.bytes);
}

// ---- what Capstone's names mean to us -------------------------------------------------------------------

enum role { STORE, LOAD, MOVE, MODIFY, SWAP, BITS, COMPARE, STRING, STACK, FLAGS, PRIVILEGED };
static const struct meaning {
	unsigned id;
	u8 role;
	u8 what;      // MODIFY, BITS: enum insn_alu. PRIVILEGED: enum decode_op
	bool lock;    // LOCK is allowed
	bool aligned; // the memory operand must be, when it has 16 bytes
} meanings[] = {
	{ X86_INS_MOV, MOVE, 0, false, false },       { X86_INS_MOVABS, MOVE, 0, false, false },
	{ X86_INS_MOVZX, LOAD, 0, false, false },     { X86_INS_MOVSX, LOAD, 0, false, false },
	{ X86_INS_MOVSXD, LOAD, 0, false, false },    { X86_INS_MOVNTI, STORE, 0, false, false },
	{ X86_INS_STOSB, STRING, 0, false, false },   { X86_INS_STOSW, STRING, 0, false, false },
	{ X86_INS_STOSD, STRING, 0, false, false },   { X86_INS_STOSQ, STRING, 0, false, false },
	{ X86_INS_MOVSB, STRING, 0, false, false },   { X86_INS_MOVSW, STRING, 0, false, false },
	{ X86_INS_MOVSQ, STRING, 0, false, false },   { X86_INS_MOVSD, MOVE, 0, false, false }, // the string or the SSE one
	{ X86_INS_PUSH, STACK, 0, false, false },     { X86_INS_PUSHF, FLAGS, 0, false, false },
	{ X86_INS_PUSHFD, FLAGS, 0, false, false },   { X86_INS_PUSHFQ, FLAGS, 0, false, false },
	{ X86_INS_XCHG, SWAP, ALU_XCHG, true, false }, { X86_INS_AND, MODIFY, ALU_AND, true, false },
	{ X86_INS_OR, MODIFY, ALU_OR, true, false },  { X86_INS_XOR, MODIFY, ALU_XOR, true, false },
	{ X86_INS_ADD, MODIFY, ALU_ADD, true, false }, { X86_INS_SUB, MODIFY, ALU_SUB, true, false },
	{ X86_INS_INC, MODIFY, ALU_ADD, true, false }, { X86_INS_DEC, MODIFY, ALU_SUB, true, false },
	{ X86_INS_BTS, BITS, ALU_BTS, true, false },  { X86_INS_BTR, BITS, ALU_BTR, true, false },
	{ X86_INS_BTC, BITS, ALU_BTC, true, false },  { X86_INS_CMPXCHG, COMPARE, 0, true, false },
	{ X86_INS_CMPXCHG8B, COMPARE, 0, true, false }, { X86_INS_CMPXCHG16B, COMPARE, 0, true, true },
	{ X86_INS_MOVD, MOVE, 0, false, false },      { X86_INS_MOVQ, MOVE, 0, false, false },
	{ X86_INS_MOVSS, MOVE, 0, false, false },     { X86_INS_MOVUPS, MOVE, 0, false, false },
	{ X86_INS_MOVUPD, MOVE, 0, false, false },    { X86_INS_MOVAPS, MOVE, 0, false, true },
	{ X86_INS_MOVAPD, MOVE, 0, false, true },     { X86_INS_MOVDQU, MOVE, 0, false, false },
	{ X86_INS_MOVDQA, MOVE, 0, false, true },     { X86_INS_MOVNTPS, STORE, 0, false, true },
	{ X86_INS_MOVNTPD, STORE, 0, false, true },   { X86_INS_MOVNTDQ, STORE, 0, false, true },
	{ X86_INS_HLT, PRIVILEGED, DECODE_HLT, false, false }, { X86_INS_CLTS, PRIVILEGED, DECODE_CLTS, false, false },
	{ X86_INS_INVD, PRIVILEGED, DECODE_INVD, false, false },
	{ X86_INS_WBINVD, PRIVILEGED, DECODE_WBINVD, false, false },
	{ X86_INS_RDMSR, PRIVILEGED, DECODE_RDMSR, false, false },
	{ X86_INS_WRMSR, PRIVILEGED, DECODE_WRMSR, false, false },
	{ X86_INS_RDPMC, PRIVILEGED, DECODE_RDPMC, false, false },
	{ X86_INS_CPUID, PRIVILEGED, DECODE_CPUID, false, false },
	{ X86_INS_VMMCALL, PRIVILEGED, DECODE_VMMCALL, false, false },
	{ X86_INS_XSETBV, PRIVILEGED, DECODE_XSETBV, false, false },
	{ X86_INS_SMSW, PRIVILEGED, DECODE_SMSW, false, false }, { X86_INS_LMSW, PRIVILEGED, DECODE_LMSW, false, false },
	{ X86_INS_INVLPG, PRIVILEGED, DECODE_INVLPG, false, false },
	{ X86_INS_POPF, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
	{ X86_INS_POPFD, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
	{ X86_INS_POPFQ, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
	{ X86_INS_IRET, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
	{ X86_INS_IRETD, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
	{ X86_INS_IRETQ, PRIVILEGED, DECODE_LOADS_FLAGS, false, false },
};

static const struct meaning *meaning_of(unsigned id)
{
	static const struct meaning *known[X86_INS_ENDING];
	static bool filled;

	for (u32 i = 0; !filled && i < ARRAY_LEN(meanings); i++)
		known[meanings[i].id] = &meanings[i];
	filled = true;
	return known[id];
}

static const cs_x86_op *operand(u32 i)
{
	return &theirs->detail->x86.operands[i];
}

static bool is_memory(u32 i)
{
	return i < theirs->detail->x86.op_count && operand(i)->type == X86_OP_MEM;
}

// The number of an XMM register operand, -1 for anything else.
static int xmm_number(u32 i)
{
	if (i >= theirs->detail->x86.op_count || operand(i)->type != X86_OP_REG)
		return -1;
	x86_reg r = operand(i)->reg;

	return r >= X86_REG_XMM0 && r <= X86_REG_XMM15 ? (int)(r - X86_REG_XMM0) : -1;
}

static bool is_mmx(u32 i)
{
	return i < theirs->detail->x86.op_count && operand(i)->type == X86_OP_REG && operand(i)->reg >= X86_REG_MM0 &&
	       operand(i)->reg <= X86_REG_MM7;
}

static bool is_segment(u32 i)
{
	x86_reg r = operand(i)->reg;

	return operand(i)->type == X86_OP_REG && (r == X86_REG_ES || r == X86_REG_CS || r == X86_REG_SS ||
						  r == X86_REG_DS || r == X86_REG_FS || r == X86_REG_GS);
}

// ---- addresses -----------------------------------------------------------------------------------------

static u64 segment_base(x86_reg segment)
{
	bool flat = state.code_bits == 64;

	switch (segment) {
	case X86_REG_ES: return flat ? 0 : guest_segments[SEGMENT_ES].base;
	case X86_REG_CS: return flat ? 0 : guest_segments[SEGMENT_CS].base;
	case X86_REG_SS: return flat ? 0 : guest_segments[SEGMENT_SS].base;
	case X86_REG_FS: return guest_segments[SEGMENT_FS].base;
	case X86_REG_GS: return guest_segments[SEGMENT_GS].base;
	default: return flat ? 0 : guest_segments[SEGMENT_DS].base;
	}
}

static bool is_stack_register(x86_reg r)
{
	return r == X86_REG_SP || r == X86_REG_BP || r == X86_REG_ESP || r == X86_REG_EBP || r == X86_REG_RSP ||
	       r == X86_REG_RBP;
}

// The linear address of operand i, `further` bytes behind what base, index and displacement say.
static u64 linear(u32 i, s64 further)
{
	const x86_op_mem *m = &operand(i)->mem;
	u64 at = (u64)m->disp + (u64)further;
	x86_reg segment = m->segment;

	if (m->base == X86_REG_RIP || m->base == X86_REG_EIP)
		at += state.rip + theirs->size;
	else if (m->base != X86_REG_INVALID)
		at += reg_value(m->base);
	if (m->index != X86_REG_INVALID && m->index != X86_REG_EIZ && m->index != X86_REG_RIZ)
		at += reg_value(m->index) * (u64)m->scale;
	if (segment == X86_REG_INVALID)
		segment = is_stack_register(m->base) ? X86_REG_SS : X86_REG_DS;
	at = segment_base(segment) + cut(at, theirs->detail->x86.addr_size);
	return state.code_bits == 64 ? at : (u32)at;
}

// ---- comparing -------------------------------------------------------------------------------------------

// The prefixes that stand there; Capstone tells of those that it thinks to matter.
static struct {
	bool size, address, lock, repeat;
} given;

static void note_prefixes(const u8 *code)
{
	static const u8 all[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };
	u32 i = 0;

	memset(&given, 0, sizeof(given));
	for (; i < PREFIXES_MAX; i++) {
		bool rex = state.code_bits == 64 && (code[i] & 0xf0) == 0x40;

		given.size |= code[i] == 0x66;
		given.address |= code[i] == 0x67;
		given.lock |= code[i] == 0xf0;
		given.repeat |= code[i] == 0xf2 || code[i] == 0xf3;
		if (!rex && !memchr(all, code[i], sizeof(all)))
			break;
	}
}

// Disagreements in which the manuals are on our side. F2, F3 and 66 make MOVNTI undefined, F2 and F3 the SSE moves that
// have no such form: Capstone ignores them. MOVSXD without REX.W fills 32 bits, Capstone says 64; with 66 too it fills
// 16, which is of no use and unknown to us.
static bool is_excused(void)
{
	switch (theirs->id) {
	case X86_INS_MOVNTI:
		return given.size || given.repeat;
	case X86_INS_MOVSXD:
		return given.size && !(theirs->detail->x86.rex & 8);
	case X86_INS_MOVAPS: case X86_INS_MOVAPD: case X86_INS_MOVNTPS: case X86_INS_MOVNTPD: case X86_INS_MOVNTDQ:
	case X86_INS_MOVD:
		return given.repeat;
	default:
		return false;
	}
}

static bool is_narrow_movsxd(void)
{
	return theirs->id == X86_INS_MOVSXD && !(theirs->detail->x86.rex & 8);
}

// Is it an instruction that ours must know?
static bool is_required(void)
{
	const struct meaning *m = meaning_of(theirs->id);
	u32 count = theirs->detail->x86.op_count;

	if (!m || (given.lock && !(m->lock && is_memory(0))) || is_mmx(0) || is_mmx(1) || is_excused())
		return false;
	switch ((enum role)m->role) {
	case LOAD: return is_memory(1);
	case MOVE: return is_memory(0) || (is_memory(1) && !is_segment(0));
	case SWAP: return is_memory(0) || is_memory(1);
	case STACK: return !is_segment(0);
	case MODIFY: case BITS: case COMPARE: case STORE: return count && is_memory(0);
	default: return true;
	}
}

static const char *check_memory(const struct decoded *d, u32 i, s64 further, u32 bytes)
{
	if (!is_memory(i))
		return "their operand is not memory";
	if (d->insn.va.a != linear(i, further))
		return "address";
	return d->insn.bytes != bytes ? "operand size" : NULL;
}

static const char *check_register(const struct decoded *d, u32 i)
{
	struct reg r;
	int xmm = xmm_number(i);

	if (d->is_xmm || xmm >= 0)
		return d->is_xmm && xmm == d->xmm ? NULL : "XMM register";
	if (!reg_of(operand(i)->reg, &r))
		return "their operand is no register";
	if (is_narrow_movsxd())
		r.bytes = 4;
	return r.number == d->gpr && r.bytes == d->gpr_bytes && r.high == d->gpr_high ? NULL : "register";
}

static u64 source_value(u32 i, u32 bytes)
{
	return cut(operand(i)->type == X86_OP_IMM ? (u64)operand(i)->imm : reg_value(operand(i)->reg), bytes);
}

// A plain move: which side is memory says which way.
static const char *check_move(const struct decoded *d)
{
	u32 memory = is_memory(0) ? 0 : 1;
	const char *bad = check_memory(d, memory, 0, operand(memory)->size);

	if (bad)
		return bad;
	if (d->insn.kind != (memory == 0 ? INSN_WRITE : INSN_READ))
		return "direction";
	if (memory == 1 || d->is_xmm)
		return check_register(d, 1 - memory);
	return d->insn.data[0] == source_value(1, d->insn.bytes) ? NULL : "data";
}

static const char *check_string(const struct decoded *d)
{
	const cs_x86 *x = &theirs->detail->x86;
	const char *bad = check_memory(d, 0, 0, operand(0)->size);
	bool moves = is_memory(1);

	if (bad)
		return bad;
	if (d->insn.kind != INSN_WRITE || d->string_bytes != x->addr_size || d->repeats != given.repeat)
		return "string";
	if (moves != d->has_source)
		return "source";
	if (moves)
		return d->source.a == linear(1, 0) ? NULL : "source address";
	return d->insn.data[0] == source_value(1, d->insn.bytes) ? NULL : "data";
}

// Capstone names the operand's size, and what is pushed is wider: the size of the stack word follows from mode and
// prefixes.
static const char *check_push(const struct decoded *d, bool flags)
{
	bool small = given.size;
	u32 bytes = state.code_bits == 64 ? (small && !(theirs->detail->x86.rex & 8) ? 2 : 8)
		    : (state.code_bits == 32) != small ? 4 : 2;
	u32 width = state.code_bits == 64 ? 8 : state.stack_bits / 8;
	u64 at = segment_base(X86_REG_SS) + cut(gpr[GPR_RSP] - bytes, width);
	u64 image = state.rflags & ~UINT64_C(0x30000);

	if (d->insn.kind != INSN_PUSH || d->insn.bytes != bytes || d->stack_bytes != width)
		return "push size";
	if (d->insn.va.a != (state.code_bits == 64 ? at : (u32)at))
		return "stack address";
	if (flags)
		return d->insn.data[0] == cut(image, bytes) ? NULL : "flags image";
	if (is_memory(0))
		return d->has_source && d->source.a == linear(0, 0) ? NULL : "source address";
	if (bytes == 8 && operand(0)->type == X86_OP_IMM) // beside 66 or 67 Capstone forgets the sign
		return d->insn.data[0] == (u64)(s64)(s32)operand(0)->imm ? NULL : "data";
	return d->insn.data[0] == source_value(0, bytes) ? NULL : "data";
}

static const char *check_bits(const struct decoded *d, const struct meaning *m)
{
	s64 bits = 8 * operand(0)->size, number, word = 0;
	const char *bad;

	if (operand(1)->type == X86_OP_IMM) {
		number = (u8)operand(1)->imm % bits;
	} else {
		number = (s64)(reg_value(operand(1)->reg) << (64 - bits)) >> (64 - bits);
		for (word = number / bits; word * bits > number;)
			word--; // towards minus infinity
		number -= word * bits;
	}
	bad = check_memory(d, 0, word * operand(0)->size, operand(0)->size);
	if (bad)
		return bad;
	return d->insn.kind == INSN_RMW && d->insn.alu == m->what && d->insn.data[0] == (u64)number ? NULL : "bit";
}

static const char *check_modify(const struct decoded *d, const struct meaning *m)
{
	bool step = theirs->id == X86_INS_INC || theirs->id == X86_INS_DEC;
	const char *bad = check_memory(d, 0, 0, operand(0)->size);

	if (bad)
		return bad;
	if (d->insn.kind != INSN_RMW || d->insn.alu != m->what || d->keeps_carry != step)
		return "class";
	return d->insn.data[0] == (step ? 1 : source_value(1, d->insn.bytes)) ? NULL : "data";
}

static const char *check_compare(const struct decoded *d)
{
	const char *bad = check_memory(d, 0, 0, operand(0)->size);
	bool pair = theirs->id != X86_INS_CMPXCHG;
	u64 expect;

	if (bad)
		return bad;
	if (d->insn.kind != INSN_CMPXCHG || d->pair != pair)
		return "class";
	if (!pair && d->insn.data[0] != source_value(1, d->insn.bytes))
		return "data";
	expect = pair && d->insn.bytes == 8 ? gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX]
					    : cut(gpr[GPR_RAX], d->insn.bytes);
	return d->insn.expect[0] == expect ? NULL : "expected value";
}

static const char *check_privileged(const struct decoded *d, const struct meaning *m)
{
	if (d->op != m->what)
		return "operation";
	if (!is_memory(0))
		return d->has_memory ? "memory operand" : NULL;
	return d->has_memory && d->insn.va.a == linear(0, 0) ? NULL : "address";
}

static const char *check_known(const struct decoded *d)
{
	const struct meaning *m = meaning_of(theirs->id);

	if (d->length != theirs->size)
		return "length";
	if ((d->op == DECODE_MOV_FROM_CR || d->op == DECODE_MOV_TO_CR) && theirs->id == X86_INS_MOV) {
		u32 general = d->op == DECODE_MOV_TO_CR ? 1 : 0;

		if (operand(1 - general)->reg - X86_REG_CR0 != d->control)
			return "control register";
		return check_register(d, general);
	}
	if (!m || !is_required())
		return "not one of ours";
	if (m->role == PRIVILEGED)
		return check_privileged(d, m);
	if (d->op != DECODE_MEMORY)
		return "operation";
	if (d->insn.aligned != (m->aligned && d->insn.bytes == 16))
		return "alignment";
	switch ((enum role)m->role) {
	case LOAD: case STORE: case MOVE:
		return is_memory(0) && is_memory(1) ? check_string(d) : check_move(d);
	case STRING: return check_string(d);
	case STACK: return check_push(d, false);
	case FLAGS: return check_push(d, true);
	case BITS: return check_bits(d, m);
	case COMPARE: return check_compare(d);
	case SWAP: // Capstone may name the register first
		if (d->insn.kind != INSN_RMW || d->insn.alu != ALU_XCHG)
			return "class";
		return is_memory(0) ? check_memory(d, 0, 0, operand(0)->size) : check_memory(d, 1, 0, operand(1)->size);
	default: return check_modify(d, m);
	}
}

static void complain(const u8 *code, const struct decoded *d, bool decoded, const char *what)
{
	if (!test_fail(__FILE__, __LINE__))
		return;
	printf("%u-bit:", state.code_bits);
	for (u32 i = 0; i < 15; i++)
		printf(" %02x", code[i]);
	printf(": %s; ours op %u kind %u alu %u length %u va 0x%llx bytes %u data 0x%llx", what, d->op, d->insn.kind,
	       d->insn.alu, d->length, (unsigned long long)d->insn.va.a, d->insn.bytes,
	       (unsigned long long)d->insn.data[0]);
	printf("; theirs %s %s length %u\n", decoded ? theirs->mnemonic : "-", decoded ? theirs->op_str : "",
	       decoded ? theirs->size : 0);
}

static bool selects_sse(u8 prefix)
{
	return prefix == 0x66 || prefix == 0xf2 || prefix == 0xf3;
}

// Beside 67 or REX.W, and in 16-bit code, Capstone 4 forgets that 66, F2 and F3 select among SSE instructions, and
// names another one, be it the one with an MMX register. There only length and address are compared, with those of
// MOVUPS, which needs no such prefix. What the instruction is has been compared elsewhere.
static bool loses_selection(void)
{
	return given.address || state.code_bits == 16 || is_mmx(0) || is_mmx(1);
}

static const char *compare_as_movups(const u8 *code, const struct decoded *d)
{
	u8 other[DECODE_BYTES_MAX] = { 0 };
	size_t count = DECODE_BYTES_MAX;
	uint64_t address = 0;
	const u8 *at = other;
	u32 to = 0, from = 0;

	for (; code[from] != 0x0f; from++)
		if (!selects_sse(code[from]))
			other[to++] = code[from];
	memcpy(&other[to], &code[from], DECODE_BYTES_MAX - from);
	other[to + 1] = 0x11;
	if (!cs_disasm_iter(handle, &at, &count, &address, theirs))
		return "they do not know MOVUPS";
	if (d->length != theirs->size + from - to)
		return "length beside MOVUPS";
	theirs->size = d->length; // RIP-relative addresses count from the end
	return d->insn.va.a == linear(0, 0) ? NULL : "address beside MOVUPS";
}

// 66 beside F2 or F3, which mean nothing to most instructions, lets Capstone take operand sizes from both: "add dword ptr
// [rbx], ax", "rep movsd" for REP MOVSW. Of general instructions it is given the bytes without F2 and F3.
static bool disassemble(const u8 *code, const struct decoded *d)
{
	bool drops = given.size && given.repeat && d->op != DECODE_UNKNOWN && !d->is_xmm;
	u8 other[DECODE_BYTES_MAX] = { 0 };
	size_t count = DECODE_BYTES_MAX;
	uint64_t address = 0;
	const u8 *at = drops ? other : code;
	u32 to = 0, from = 0;
	bool decoded;

	for (; drops && (code[from] == 0x66 || code[from] == 0xf2 || code[from] == 0xf3); from++)
		if (code[from] == 0x66)
			other[to++] = code[from];
	memcpy(&other[to], &code[from], DECODE_BYTES_MAX - from);
	decoded = cs_disasm_iter(handle, &at, &count, &address, theirs);
	theirs->size = (uint16_t)(theirs->size + from - to);
	return decoded;
}

// True when ours knows it.
static bool compare(const u8 *code)
{
	const char *bad = NULL;
	struct decoded d;
	bool decoded;

	note_prefixes(code);
	decode(&state, code, DECODE_BYTES_MAX, &d);
	decoded = disassemble(code, &d);
	if (d.op == DECODE_UNKNOWN) {
		bool misnamed = loses_selection() && (xmm_number(0) >= 0 || xmm_number(1) >= 0);

		if (decoded && is_required() && !misnamed)
			bad = "not known";
		refused++;
	} else {
		if (d.is_xmm && (given.size || given.repeat) && loses_selection())
			bad = compare_as_movups(code, &d);
		else
			bad = decoded ? check_known(&d) : "they do not know it";
		compared++;
	}
	if (bad)
		complain(code, &d, decoded, bad);
	return d.op != DECODE_UNKNOWN;
}

// ---- enumerating -----------------------------------------------------------------------------------------

// Sets of prefixes, the last for 64-bit code alone.
#define CODE_MAX 24 // room for the longest prefixes, opcode, shape and tail
static const struct prefixes {
	u8 count, byte[PREFIXES_MAX];
	bool only_64;
} prefix_sets[] = {
	{ 0, { 0 }, false }, { 1, { 0x66 }, false }, { 1, { 0x67 }, false }, { 2, { 0x66, 0x67 }, false },
	{ 1, { 0xf0 }, false }, { 2, { 0xf0, 0x66 }, false }, { 2, { 0x67, 0xf0 }, false },
	{ 1, { 0xf3 }, false }, { 1, { 0xf2 }, false }, { 2, { 0x66, 0xf3 }, false }, { 2, { 0x66, 0xf2 }, false },
	{ 2, { 0x67, 0xf3 }, false }, { 2, { 0xf2, 0xf0 }, false },
	{ 1, { 0x26 }, false }, { 1, { 0x2e }, false }, { 1, { 0x36 }, false }, { 1, { 0x3e }, false }, { 1, { 0x64 }, false },
	{ 1, { 0x65 }, false }, { 2, { 0x64, 0x67 }, false }, { 2, { 0x65, 0x66 }, false },
	{ 1, { 0x40 }, true }, { 1, { 0x41 }, true }, { 1, { 0x42 }, true }, { 1, { 0x44 }, true }, { 1, { 0x48 }, true },
	{ 1, { 0x4f }, true }, { 2, { 0x66, 0x48 }, true }, { 2, { 0x66, 0x45 }, true }, { 2, { 0x67, 0x4b }, true },
	{ 2, { 0xf0, 0x4c }, true }, { 2, { 0xf3, 0x48 }, true }, { 2, { 0xf2, 0x44 }, true }, { 3, { 0x66, 0xf3, 0x4d }, true },
	{ 2, { 0x65, 0x48 }, true }, { 4, { 0x66, 0x67, 0xf0, 0x4f }, true }, { 2, { 0x48, 0x66 }, true },
};

// What follows ModRM and SIB: displacements and immediates, negative and positive.
static const u8 tails[2][8] = {
	{ 0x83, 0x12, 0xa4, 0xb5, 0xc6, 0x57, 0x88, 0x79 }, { 0x35, 0xf2, 0x14, 0x61, 0x0e, 0xd7, 0x28, 0x99 },
};

// All ModRM bytes and, where one follows, SIBs: all of them, or every seventeenth, others for other opcodes.
static void compare_shapes(u8 *code, u32 at, bool all_sibs)
{
	u32 step = all_sibs ? 1 : 17, first = all_sibs ? 0 : code[at - 1] % step;

	for (u32 modrm = 0; modrm < 256; modrm++) {
		bool sib = modrm < 0xc0 && (modrm & 7) == 4;

		for (u32 s = first; s < 256; s += step) {
			code[at] = (u8)modrm;
			code[at + 1] = (u8)s;
			memcpy(&code[at + 2], tails[(modrm + s) & 1], 8);
			compare(code);
			if (!sib)
				break;
		}
	}
}

// One opcode under one set of prefixes. An opcode that ours knows in no shape is looked at in few.
static void compare_opcode(const struct prefixes *p, u32 opcode)
{
	u8 code[CODE_MAX] = { 0 };
	u32 at = p->count;
	bool known = false;

	memcpy(code, p->byte, p->count);
	if (opcode >= 0x100)
		code[at++] = 0x0f;
	code[at++] = (u8)opcode;
	memcpy(&code[at + 1], tails[0], 8);
	for (u32 reg = 0; reg < 8; reg++)
		for (u32 mod = 0; mod <= 0xc0; mod += 0xc0) {
			code[at] = (u8)(mod | reg << 3 | 3);
			known |= compare(code);
		}
	if (known)
		compare_shapes(code, at, opcode == 0x89 || opcode == (0x100 | 0xab));
}

static void compare_mode(u8 bits, cs_mode mode)
{
	if (!CHECK(cs_open(CS_ARCH_X86, mode, &handle) == CS_ERR_OK))
		return;
	cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
	theirs = cs_malloc(handle);
	start(bits);
	compared = refused = 0;
	for (u32 p = 0; p < ARRAY_LEN(prefix_sets); p++)
		for (u32 opcode = 0; opcode < 0x200 && (bits == 64 || !prefix_sets[p].only_64); opcode++)
			compare_opcode(&prefix_sets[p], opcode);
	printf("%u-bit code: %lu encodings compared, %lu unknown to us and not wanted\n", bits, compared, refused);
	cs_free(theirs, 1);
	cs_close(&handle);
}

TEST(decode_agrees_with_capstone_in_64_bit_code)
{
	compare_mode(64, CS_MODE_64);
}

TEST(decode_agrees_with_capstone_in_32_bit_code)
{
	compare_mode(32, CS_MODE_32);
}

TEST(decode_agrees_with_capstone_in_16_bit_code)
{
	compare_mode(16, CS_MODE_16);
}
