// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's SVM has neither next-RIP nor decode assists, so the image reads the instructions that exit.
//
// Parts: the tables of instructions; forms; decode(). Bytes and addresses are read in decode_cursor.c; what an
// instruction leaves in registers is in decode_apply.c.
// The tables hold what stores to memory in kernels, one row an opcode; the plain loads; and the privileged
// instructions that are intercepted. Everything else is DECODE_UNKNOWN, which makes the core unshadow or
// single-step instead of emulate: slower, never wrong. Left out on purpose: XADD, ADC, SBB, NEG, NOT, shifts, x87,
// MMX, VEX, and whatever pushes more than one word.
// An encoding that raises #UD is unknown too: LOCK where it is not allowed above all. Segment limits are not checked.
#include "decode_cursor.h"

// ---- the tables of instructions ------------------------------------------------------------------

enum form {
	FORM_NONE,          // not ours
	FORM_LOAD,          // register := memory, extended when narrower
	FORM_STORE,         // memory := register
	FORM_STORE_IMM,     // memory := immediate, /0
	FORM_STORE_SEGMENT, // memory := segment selector
	FORM_STORE_PAST,    // MOVNTI: 4 bytes, or 8 with REX.W
	FORM_LOAD_FAR,      // accumulator := memory at an absolute offset
	FORM_STORE_FAR,
	FORM_ALU,           // memory := memory alu register
	FORM_ALU_GROUP,     // 80 to 83: memory := memory alu immediate
	FORM_STEP_GROUP,    // FE, FF: INC /0, DEC /1, PUSH /6
	FORM_BIT,           // bit string in memory, number in register
	FORM_BIT_GROUP,     // 0F BA: number is an immediate byte
	FORM_CMPXCHG,
	FORM_CMPXCHG_PAIR,  // /1
	FORM_STRING,        // ES:RDI := accumulator, or memory at RSI
	FORM_PUSH_GPR,      // stack := register in the opcode
	FORM_PUSH_IMM,      // stack := immediate of `bytes`, 0: up to 4
	FORM_PUSH_FLAGS,
	FORM_SSE,           // see sse_rows
	FORM_CONTROL,       // register operand in rm, control register in reg
	FORM_GROUP7,        // 0F 01
	FORM_PLAIN,         // no operands
};
#define MAP_0F 0x100

#define LOCKABLE 1u // with a memory operand
#define SIGNED 2u
#define ONLY_64 4u
#define NOT_64 8u

struct row {
	u8 form;
	u8 bytes; // memory operand; 0: operand size
	u8 what;  // enum insn_alu, or enum decode_op of plain forms
	u8 flags;
};

#define ALU_ROWS(opcode, alu)                              \
	[opcode] = { FORM_ALU, 1, alu, LOCKABLE },         \
	[(opcode) + 1] = { FORM_ALU, 0, alu, LOCKABLE }
#define BIT_ROW(opcode, alu) [opcode] = { FORM_BIT, 0, alu, LOCKABLE }

static const struct row rows[2 * 256] = { // by opcode, with MAP_0F for two-byte opcodes
	ALU_ROWS(0x00, ALU_ADD),
	ALU_ROWS(0x08, ALU_OR),
	ALU_ROWS(0x20, ALU_AND),
	ALU_ROWS(0x28, ALU_SUB),
	ALU_ROWS(0x30, ALU_XOR),
	[0x50 ... 0x57] = { FORM_PUSH_GPR, 0, 0, 0 },
	[0x63] = { FORM_LOAD, 4, 0, SIGNED | ONLY_64 }, // MOVSXD
	[0x68] = { FORM_PUSH_IMM, 0, 0, 0 },
	[0x6a] = { FORM_PUSH_IMM, 1, 0, 0 },
	[0x80] = { FORM_ALU_GROUP, 1, 0, LOCKABLE },
	[0x81] = { FORM_ALU_GROUP, 0, 0, LOCKABLE },
	[0x82] = { FORM_ALU_GROUP, 1, 0, LOCKABLE | NOT_64 },
	[0x83] = { FORM_ALU_GROUP, 0, 0, LOCKABLE },
	ALU_ROWS(0x86, ALU_XCHG),
	[0x88] = { FORM_STORE, 1, 0, 0 },
	[0x89] = { FORM_STORE, 0, 0, 0 },
	[0x8a] = { FORM_LOAD, 1, 0, 0 },
	[0x8b] = { FORM_LOAD, 0, 0, 0 },
	[0x8c] = { FORM_STORE_SEGMENT, 2, 0, 0 },
	[0x9c] = { FORM_PUSH_FLAGS, 0, 0, 0 },
	[0x9d] = { FORM_PLAIN, 0, DECODE_LOADS_FLAGS, 0 },
	[0xa0] = { FORM_LOAD_FAR, 1, 0, 0 },
	[0xa1] = { FORM_LOAD_FAR, 0, 0, 0 },
	[0xa2] = { FORM_STORE_FAR, 1, 0, 0 },
	[0xa3] = { FORM_STORE_FAR, 0, 0, 0 },
	[0xa4] = { FORM_STRING, 1, 0, 0 }, // MOVS
	[0xa5] = { FORM_STRING, 0, 0, 0 },
	[0xaa] = { FORM_STRING, 1, 0, 0 }, // STOS
	[0xab] = { FORM_STRING, 0, 0, 0 },
	[0xc6] = { FORM_STORE_IMM, 1, 0, 0 },
	[0xc7] = { FORM_STORE_IMM, 0, 0, 0 },
	[0xcf] = { FORM_PLAIN, 0, DECODE_LOADS_FLAGS, 0 },
	[0xf4] = { FORM_PLAIN, 0, DECODE_HLT, 0 },
	[0xfe] = { FORM_STEP_GROUP, 1, 0, LOCKABLE },
	[0xff] = { FORM_STEP_GROUP, 0, 0, LOCKABLE },
	[MAP_0F | 0x01] = { FORM_GROUP7, 0, 0, 0 },
	[MAP_0F | 0x06] = { FORM_PLAIN, 0, DECODE_CLTS, 0 },
	[MAP_0F | 0x08] = { FORM_PLAIN, 0, DECODE_INVD, 0 },
	[MAP_0F | 0x09] = { FORM_PLAIN, 0, DECODE_WBINVD, 0 },
	[MAP_0F | 0x10 ... MAP_0F | 0x11] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0x20] = { FORM_CONTROL, 0, DECODE_MOV_FROM_CR, 0 },
	[MAP_0F | 0x22] = { FORM_CONTROL, 0, DECODE_MOV_TO_CR, 0 },
	[MAP_0F | 0x28 ... MAP_0F | 0x29] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0x2b] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0x30] = { FORM_PLAIN, 0, DECODE_WRMSR, 0 },
	[MAP_0F | 0x32] = { FORM_PLAIN, 0, DECODE_RDMSR, 0 },
	[MAP_0F | 0x33] = { FORM_PLAIN, 0, DECODE_RDPMC, 0 },
	[MAP_0F | 0x6e ... MAP_0F | 0x6f] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0x7e ... MAP_0F | 0x7f] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0xa2] = { FORM_PLAIN, 0, DECODE_CPUID, 0 },
	BIT_ROW(MAP_0F | 0xab, ALU_BTS),
	[MAP_0F | 0xb0] = { FORM_CMPXCHG, 1, 0, LOCKABLE },
	[MAP_0F | 0xb1] = { FORM_CMPXCHG, 0, 0, LOCKABLE },
	BIT_ROW(MAP_0F | 0xb3, ALU_BTR),
	[MAP_0F | 0xb6] = { FORM_LOAD, 1, 0, 0 },
	[MAP_0F | 0xb7] = { FORM_LOAD, 2, 0, 0 },
	[MAP_0F | 0xba] = { FORM_BIT_GROUP, 0, 0, LOCKABLE },
	BIT_ROW(MAP_0F | 0xbb, ALU_BTC),
	[MAP_0F | 0xbe] = { FORM_LOAD, 1, 0, SIGNED },
	[MAP_0F | 0xbf] = { FORM_LOAD, 2, 0, SIGNED },
	[MAP_0F | 0xc3] = { FORM_STORE_PAST, 0, 0, 0 },
	[MAP_0F | 0xc7] = { FORM_CMPXCHG_PAIR, 0, 0, LOCKABLE },
	[MAP_0F | 0xd6] = { FORM_SSE, 0, 0, 0 },
	[MAP_0F | 0xe7] = { FORM_SSE, 0, 0, 0 },
};

// SSE moves between XMM registers and memory. F2 and F3 select before 66 does.
static const struct sse_row {
	u8 opcode, prefix;
	u8 bytes;           // 0: 4, or 8 with REX.W
	bool store, aligned;
} sse_rows[] = {
	{ 0x10, 0x00, 16, false, false }, { 0x10, 0x66, 16, false, false }, // MOVUPS, MOVUPD
	{ 0x10, 0xf3, 4, false, false },  { 0x10, 0xf2, 8, false, false },  // MOVSS, MOVSD
	{ 0x11, 0x00, 16, true, false },  { 0x11, 0x66, 16, true, false },
	{ 0x11, 0xf3, 4, true, false },   { 0x11, 0xf2, 8, true, false },
	{ 0x28, 0x00, 16, false, true },  { 0x28, 0x66, 16, false, true }, // MOVAPS, MOVAPD
	{ 0x29, 0x00, 16, true, true },   { 0x29, 0x66, 16, true, true },
	{ 0x2b, 0x00, 16, true, true },   { 0x2b, 0x66, 16, true, true },  // MOVNTPS, MOVNTPD
	{ 0x6e, 0x66, 0, false, false },                                   // MOVD, MOVQ
	{ 0x6f, 0x66, 16, false, true },  { 0x6f, 0xf3, 16, false, false }, // MOVDQA, MOVDQU
	{ 0x7e, 0x66, 0, true, false },                                    // MOVD, MOVQ
	{ 0x7e, 0xf3, 8, false, false },                                   // MOVQ
	{ 0x7f, 0x66, 16, true, true },   { 0x7f, 0xf3, 16, true, false }, // MOVDQA, MOVDQU
	{ 0xd6, 0x66, 8, true, false },                                    // MOVQ
	{ 0xe7, 0x66, 16, true, true },                                    // MOVNTDQ
};

// ---- forms: registers and memory -------------------------------------------------------------------

// The register named by `number` as an operand of `bytes`: without REX, byte registers 4 to 7 are AH..BH.
static void set_gpr(const struct cursor *c, struct decoded *d, u32 number, u32 bytes)
{
	d->gpr_high = bytes == 1 && !c->rex && number >= 4 && number < 8;
	d->gpr = (u8)(d->gpr_high ? number - 4 : number);
	d->gpr_bytes = (u8)bytes;
}

static u32 reg_number(const struct cursor *c)
{
	return c->reg | (c->rex & REX_R ? 8u : 0);
}

static u64 gpr_operand(const struct cursor *c, const struct decoded *d)
{
	return gpr_read(c->state->gpr, d->gpr, d->gpr_bytes, d->gpr_high);
}

static u32 row_bytes(const struct cursor *c, const struct row *row)
{
	return row->bytes ? row->bytes : c->operand_bytes;
}

static bool decode_load_store(struct cursor *c, const struct row *row, struct decoded *d)
{
	bool past = row->form == FORM_STORE_PAST, load = row->form == FORM_LOAD || row->form == FORM_LOAD_FAR;
	bool widens = load && (c->opcode == 0x63 || c->opcode >= MAP_0F);
	u32 bytes = !past ? row_bytes(c, row) : c->rex & REX_W ? 8 : 4;

	if ((c->opcode == 0x63 && c->operand_bytes == 2) || (past && (c->size_prefix || c->rep)))
		return false;
	if (row->form == FORM_LOAD_FAR || row->form == FORM_STORE_FAR) {
		c->offset = cursor_take_signed(c, c->address_bytes);
		set_gpr(c, d, GPR_RAX, bytes);
	} else {
		cursor_take_modrm(c);
		if (c->mod == 3)
			return false;
		set_gpr(c, d, reg_number(c), widens ? c->operand_bytes : bytes);
	}
	d->insn.bytes = (u8)bytes;
	d->insn.kind = load ? INSN_READ : INSN_WRITE;
	d->sign_extend = row->flags & SIGNED;
	if (row->form == FORM_STORE_IMM) {
		if (c->reg != 0)
			return false;
		d->insn.data[0] = cursor_take_immediate(c, bytes);
	} else if (row->form == FORM_STORE_SEGMENT) {
		if (reg_number(c) >= SEGMENT_COUNT)
			return false;
		d->insn.data[0] = c->state->segment[c->reg].selector;
	} else if (!load) {
		d->insn.data[0] = gpr_operand(c, d);
	}
	return true;
}

static bool decode_sse(struct cursor *c, struct decoded *d)
{
	u8 prefix = c->rep ? c->rep : c->size_prefix ? 0x66 : 0;
	const struct sse_row *row = NULL;

	for (u32 i = 0; i < ARRAY_LEN(sse_rows); i++)
		if (sse_rows[i].opcode == (u8)c->opcode && sse_rows[i].prefix == prefix)
			row = &sse_rows[i];
	if (!row || !c->state->sse)
		return false;
	cursor_take_modrm(c);
	if (c->mod == 3)
		return false;
	d->is_xmm = true;
	d->xmm = (u8)reg_number(c);
	d->insn.kind = row->store ? INSN_WRITE : INSN_READ;
	d->insn.bytes = row->bytes ? row->bytes : c->rex & REX_W ? 8 : 4;
	d->insn.aligned = row->aligned;
	return true;
}

// ---- forms: read, modify, write ----------------------------------------------------------------------

static bool set_rmw(const struct cursor *c, struct decoded *d, enum insn_alu alu, u32 bytes, u64 operand)
{
	d->insn.kind = INSN_RMW;
	d->insn.alu = (u8)alu;
	d->insn.bytes = (u8)bytes;
	d->insn.data[0] = operand;
	return c->mod != 3;
}

static bool decode_alu(struct cursor *c, const struct row *row, struct decoded *d)
{
	u32 bytes = row_bytes(c, row);

	cursor_take_modrm(c);
	set_gpr(c, d, reg_number(c), bytes);
	return set_rmw(c, d, row->what, bytes, gpr_operand(c, d));
}

static bool decode_alu_group(struct cursor *c, const struct row *row, struct decoded *d)
{
	// /2 ADC and /3 SBB are left out, /7 CMP writes nothing
	static const u8 alu[8] = { ALU_ADD, ALU_OR, 0, 0, ALU_AND, ALU_SUB, ALU_XOR, 0 };
	u32 bytes = row_bytes(c, row);
	u64 operand;

	cursor_take_modrm(c);
	if (c->reg == 2 || c->reg == 3 || c->reg == 7)
		return false;
	operand = c->opcode == 0x83 ? low_bytes(cursor_take_signed(c, 1), bytes) : cursor_take_immediate(c, bytes);
	return set_rmw(c, d, alu[c->reg], bytes, operand);
}

// The bit number of the register form is signed and reaches beyond the operand: the operand that is read and written
// is the one that contains the bit (APM vol. 3, BTS).
static bool decode_bit(struct cursor *c, const struct row *row, struct decoded *d)
{
	static const u8 alu[8] = { 0, 0, 0, 0, 0, ALU_BTS, ALU_BTR, ALU_BTC };
	u32 bytes = c->operand_bytes, bits = 8 * bytes;
	u64 number;

	cursor_take_modrm(c);
	if (row->form == FORM_BIT_GROUP) {
		if (c->reg < 5) // /4 BT writes nothing
			return false;
		return set_rmw(c, d, alu[c->reg], bytes, cursor_take(c) % bits);
	}
	number = sign_bytes(c->state->gpr[reg_number(c)], bytes);
	c->offset += (u64)((s64)(number - number % bits) / 8);
	return set_rmw(c, d, row->what, bytes, number % bits);
}

static bool decode_cmpxchg(struct cursor *c, const struct row *row, struct decoded *d)
{
	const u64 *gpr = c->state->gpr;
	u32 bytes = row_bytes(c, row);

	cursor_take_modrm(c);
	if (c->mod == 3)
		return false;
	d->insn.kind = INSN_CMPXCHG;
	if (row->form == FORM_CMPXCHG) {
		set_gpr(c, d, reg_number(c), bytes);
		d->insn.bytes = (u8)bytes;
		d->insn.data[0] = gpr_operand(c, d);
		d->insn.expect[0] = low_bytes(gpr[GPR_RAX], bytes);
		return true;
	}
	if (c->reg != 1)
		return false;
	d->pair = true;
	if (c->rex & REX_W) {
		d->insn.bytes = 16;
		d->insn.aligned = true;
		d->insn.data[0] = gpr[GPR_RBX];
		d->insn.data[1] = gpr[GPR_RCX];
		d->insn.expect[0] = gpr[GPR_RAX];
		d->insn.expect[1] = gpr[GPR_RDX];
	} else {
		d->insn.bytes = 8;
		d->insn.data[0] = gpr[GPR_RCX] << 32 | (u32)gpr[GPR_RBX];
		d->insn.expect[0] = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];
	}
	return true;
}

// ---- forms: strings and stack ------------------------------------------------------------------------

// One element. The count is as wide as the address, F2 repeats as F3 does.
static bool decode_string(struct cursor *c, const struct row *row, struct decoded *d)
{
	const u64 *gpr = c->state->gpr;
	u32 bytes = row_bytes(c, row), width = c->address_bytes;

	d->repeats = c->rep != 0;
	if (d->repeats && !low_bytes(gpr[GPR_RCX], width)) {
		d->op = DECODE_NOTHING;
		d->has_memory = false;
		return true;
	}
	d->string_bytes = (u8)width;
	d->insn.kind = INSN_WRITE;
	d->insn.bytes = (u8)bytes;
	if (c->opcode < 0xaa) {
		c->offset = gpr[GPR_RSI];
		d->has_source = true;
		d->source = cursor_linear(c);
		d->source_segment = cursor_segment(c);
	} else {
		d->insn.data[0] = low_bytes(gpr[GPR_RAX], bytes);
	}
	cursor_set_address(c, SEGMENT_ES, gpr[GPR_RDI], width);
	return true;
}

// A store below the stack pointer. The value pushed is the one before it moves, RSP itself included.
static bool push(struct cursor *c, struct decoded *d, u32 bytes, u64 value)
{
	const struct decode_state *s = c->state;

	d->insn.kind = INSN_PUSH;
	d->insn.bytes = (u8)bytes;
	d->insn.data[0] = low_bytes(value, bytes);
	d->stack_bytes = s->code_bits == 64 ? 8 : s->stack_bits / 8;
	cursor_set_address(c, SEGMENT_SS, s->gpr[GPR_RSP] - bytes, d->stack_bytes);
	return true;
}

// In 64-bit code pushes have 8 bytes, or 2 with a size prefix.
static u32 push_bytes(const struct cursor *c)
{
	return c->state->code_bits == 64 && !c->size_prefix ? 8 : c->operand_bytes;
}

static u64 whole_register(const struct cursor *c, u32 number)
{
	return c->state->gpr[number | (c->rex & REX_B ? 8u : 0)];
}

static bool decode_push(struct cursor *c, const struct row *row, struct decoded *d)
{
	u32 bytes = push_bytes(c);
	u64 flags = c->state->rflags & ~(RFLAGS_RF | RFLAGS_VM);

	switch (row->form) {
	case FORM_PUSH_IMM:
		return push(c, d, bytes, cursor_take_signed(c, row->bytes ? row->bytes : bytes > 4 ? 4 : bytes));
	case FORM_PUSH_FLAGS:
		d->pushes_flags = true;
		return !(c->state->rflags & RFLAGS_VM) && push(c, d, bytes, flags);
	default:
		return push(c, d, bytes, whole_register(c, c->opcode & 7));
	}
}

static bool decode_step_group(struct cursor *c, const struct row *row, struct decoded *d)
{
	cursor_take_modrm(c);
	if (c->reg < 2) {
		d->keeps_carry = true;
		return set_rmw(c, d, c->reg ? ALU_SUB : ALU_ADD, row_bytes(c, row), 1);
	}
	if (c->opcode != 0xff || c->reg != 6 || c->lock)
		return false;
	if (c->mod == 3)
		return push(c, d, push_bytes(c), whole_register(c, c->rm));
	d->has_source = true;
	d->source = cursor_linear(c);
	d->source_segment = cursor_segment(c);
	return push(c, d, push_bytes(c), 0);
}

// ---- forms: privileged instructions ------------------------------------------------------------------

static bool decode_control(struct cursor *c, const struct row *row, struct decoded *d)
{
	u8 byte = cursor_take(c); // mod is ignored: always registers

	d->op = row->what;
	d->control = (byte >> 3 & 7) | (c->rex & REX_R ? 8 : 0);
	// operand size prefixes are ignored: always as wide as the mode
	set_gpr(c, d, (byte & 7u) | (c->rex & REX_B ? 8u : 0), c->state->code_bits == 64 ? 8 : 4);
	return true; // LOCK MOV CR0 is CR8, which is not intercepted
}

static bool decode_group7(struct cursor *c, struct decoded *d)
{
	cursor_take_modrm(c);
	if (c->mod == 3 && c->reg == 3 && c->rm == 1)
		d->op = DECODE_VMMCALL;
	else if (c->mod == 3 && c->reg == 2 && c->rm == 1)
		d->op = DECODE_XSETBV;
	else if (c->reg == 4)
		d->op = DECODE_SMSW;
	else if (c->reg == 6)
		d->op = DECODE_LMSW;
	else if (c->reg == 7 && c->mod != 3)
		d->op = DECODE_INVLPG;
	else
		return false;
	// The memory forms of SMSW and LMSW are 16 bits wide whatever the operand size.
	set_gpr(c, d, c->rm | (c->rex & REX_B ? 8u : 0), d->op == DECODE_LMSW ? 2 : c->operand_bytes);
	d->has_memory = c->mod != 3;
	return true;
}

static bool decode_form(struct cursor *c, const struct row *row, struct decoded *d)
{
	d->op = DECODE_MEMORY;
	d->has_memory = true;
	switch (row->form) {
	case FORM_LOAD: case FORM_STORE: case FORM_STORE_IMM: case FORM_STORE_PAST: case FORM_STORE_SEGMENT:
	case FORM_LOAD_FAR: case FORM_STORE_FAR:
		return decode_load_store(c, row, d);
	case FORM_ALU:
		return decode_alu(c, row, d);
	case FORM_ALU_GROUP:
		return decode_alu_group(c, row, d);
	case FORM_STEP_GROUP:
		return decode_step_group(c, row, d);
	case FORM_BIT: case FORM_BIT_GROUP:
		return decode_bit(c, row, d);
	case FORM_CMPXCHG: case FORM_CMPXCHG_PAIR:
		return decode_cmpxchg(c, row, d);
	case FORM_STRING:
		return decode_string(c, row, d);
	case FORM_PUSH_GPR: case FORM_PUSH_IMM: case FORM_PUSH_FLAGS:
		return decode_push(c, row, d);
	case FORM_SSE:
		return decode_sse(c, d);
	case FORM_GROUP7:
		return decode_group7(c, d);
	case FORM_CONTROL:
		d->has_memory = false;
		return decode_control(c, row, d);
	case FORM_PLAIN:
		d->has_memory = false;
		d->op = row->what;
		return true;
	default:
		return false;
	}
}

// ---- decode() ----------------------------------------------------------------------------------------

// Does the row hold in this mode, and may the prefixes stand there?
static bool row_applies(const struct cursor *c, const struct row *row)
{
	bool wide = c->state->code_bits == 64;

	return !(c->lock && !(row->flags & LOCKABLE)) && !(wide && (row->flags & NOT_64)) &&
	       !(!wide && (row->flags & ONLY_64));
}

void decode(const struct decode_state *state, const u8 *code, u32 count, struct decoded *out)
{
	struct cursor c = {
		.state = state,
		.code = code,
		.count = count < DECODE_BYTES_MAX ? count : DECODE_BYTES_MAX,
		.override = SEGMENT_COUNT,
		.segment = SEGMENT_DS,
	};

	*out = (struct decoded){ .insn.cpl = state->cpl };
	c.opcode = cursor_take_prefixes(&c);
	if (c.opcode == 0x0f)
		c.opcode = MAP_0F | cursor_take(&c);

	const struct row *row = &rows[c.opcode];

	if (c.short_of_bytes || !row_applies(&c, row) || !decode_form(&c, row, out) || c.short_of_bytes) {
		*out = (struct decoded){ .insn.cpl = state->cpl };
		return;
	}
	out->length = (u8)c.at;
	if (out->has_memory) {
		out->insn.va = cursor_linear(&c);
		out->segment = cursor_segment(&c);
	}
}
