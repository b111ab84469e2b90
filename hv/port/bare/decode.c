// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's SVM has neither next-RIP nor decode assists, so the image reads the instructions that exit.
//
// Parts: registers; the byte cursor; prefixes; ModRM and addresses; the table of instructions; decode();
// decode_apply().
// The table holds the loads, stores, pushes and compare-exchanges that a kernel uses on page tables and MMIO, and
// the privileged instructions that are intercepted. Everything else is DECODE_UNKNOWN, which makes the
// core unshadow instead of emulate: slower, never wrong. Segment limits are not checked.
#include "decode.h"

#include "../../base/mem.h"

#define RFLAGS_CF BIT(0)
#define RFLAGS_PF BIT(2)
#define RFLAGS_AF BIT(4)
#define RFLAGS_ZF BIT(6)
#define RFLAGS_SF BIT(7)
#define RFLAGS_OF BIT(11)

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

// ---- registers ---------------------------------------------------------------------------------

static u64 low_bytes(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & (BIT(8 * bytes) - 1);
}

static u64 sign_bytes(u64 value, u32 bytes)
{
	u64 sign = BIT(8 * bytes - 1);

	return (low_bytes(value, bytes) ^ sign) - sign;
}

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

// ---- the byte cursor ---------------------------------------------------------------------------

struct cursor {
	const struct decode_state *state;
	const u8 *code;
	u32 count, at;
	bool short_of_bytes;
	// prefixes
	bool size_prefix, address_prefix, lock;
	u8 rex;
	u8 override; // enum decode_segment, SEGMENT_COUNT for none
	// sizes that follow from mode and prefixes
	u8 operand_bytes, address_bytes;
	// ModRM
	u8 mod, reg, rm;
	u64 offset; // effective address within its segment
	u8 segment;
	bool rip_relative;
};

static u8 take(struct cursor *c)
{
	if (c->at >= c->count) {
		c->short_of_bytes = true;
		return 0;
	}
	return c->code[c->at++];
}

// Little-endian, sign-extended to 64 bits.
static u64 take_signed(struct cursor *c, u32 bytes)
{
	u64 value = 0;

	for (u32 i = 0; i < bytes; i++)
		value |= (u64)take(c) << 8 * i;
	return sign_bytes(value, bytes);
}

// ---- prefixes ----------------------------------------------------------------------------------

// Consumes all prefixes and returns the opcode byte behind them. A REX prefix counts only directly
// before the opcode.
static u8 take_prefixes(struct cursor *c)
{
	bool wide = c->state->code_bits == 64;
	u8 byte;

	for (;;) {
		byte = take(c);
		if (c->short_of_bytes)
			return 0;
		if (wide && (byte & 0xf0) == 0x40) {
			c->rex = byte;
			continue;
		}
		switch (byte) {
		case 0x26: case 0x2e: case 0x36: case 0x3e:
			if (!wide) // in 64-bit mode these four mean nothing
				c->override = (byte - 0x26) / 8;
			break;
		case 0x64: c->override = SEGMENT_FS; break;
		case 0x65: c->override = SEGMENT_GS; break;
		case 0x66: c->size_prefix = true; break;
		case 0x67: c->address_prefix = true; break;
		case 0xf0: c->lock = true; break;
		case 0xf2: case 0xf3: break; // hints on the instructions of our table
		default: goto opcode;
		}
		c->rex = 0;
	}
opcode:
	if (wide) {
		c->operand_bytes = c->rex & REX_W ? 8 : c->size_prefix ? 2 : 4;
		c->address_bytes = c->address_prefix ? 4 : 8;
	} else {
		c->operand_bytes = (c->state->code_bits == 32) != c->size_prefix ? 4 : 2;
		c->address_bytes = (c->state->code_bits == 32) != c->address_prefix ? 4 : 2;
	}
	return byte;
}

// ---- ModRM and addresses -------------------------------------------------------------------------

static void take_address16(struct cursor *c)
{
	static const u8 first[8] = { GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX };
	static const u8 second[4] = { GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI };
	const u64 *gpr = c->state->gpr;

	if (c->mod == 0 && c->rm == 6) {
		c->offset = take_signed(c, 2);
		return;
	}
	c->offset = gpr[first[c->rm]];
	if (first[c->rm] == GPR_RBP)
		c->segment = SEGMENT_SS;
	if (c->rm < 4)
		c->offset += gpr[second[c->rm]];
	if (c->mod)
		c->offset += take_signed(c, c->mod); // mod 1: one byte, mod 2: two
}

static void take_sib(struct cursor *c)
{
	const u64 *gpr = c->state->gpr;
	u8 sib = take(c);
	u32 base = (sib & 7u) | (c->rex & REX_B ? 8u : 0);
	u32 index = (sib >> 3 & 7u) | (c->rex & REX_X ? 8u : 0);

	if ((sib & 7) == 5 && c->mod == 0) {
		c->offset = take_signed(c, 4);
	} else {
		c->offset = gpr[base];
		if (base == GPR_RSP || base == GPR_RBP)
			c->segment = SEGMENT_SS;
	}
	if (index != GPR_RSP)
		c->offset += gpr[index] << (sib >> 6);
}

static void take_address32(struct cursor *c)
{
	u32 base = c->rm | (c->rex & REX_B ? 8u : 0);

	if (c->rm == 4) {
		take_sib(c);
	} else if (c->rm == 5 && c->mod == 0) {
		c->rip_relative = c->state->code_bits == 64;
		c->offset = take_signed(c, 4);
	} else {
		c->offset = c->state->gpr[base];
		if (base == GPR_RBP)
			c->segment = SEGMENT_SS;
	}
	if (c->mod == 1)
		c->offset += take_signed(c, 1);
	else if (c->mod == 2)
		c->offset += take_signed(c, 4);
}

static void take_modrm(struct cursor *c)
{
	u8 byte = take(c);

	c->mod = byte >> 6;
	c->reg = byte >> 3 & 7;
	c->rm = byte & 7;
	if (c->mod == 3)
		return;
	if (c->address_bytes == 2)
		take_address16(c);
	else
		take_address32(c);
}

// The linear address, once the whole instruction has been read: RIP-relative offsets count from its end.
static gva_t linear_address(const struct cursor *c)
{
	const struct decode_state *s = c->state;
	u32 segment = c->override < SEGMENT_COUNT ? c->override : c->segment;
	u64 offset = low_bytes(c->rip_relative ? s->rip + c->at + c->offset : c->offset, c->address_bytes);

	if (s->code_bits != 64)
		return gva((u32)(s->base[segment] + offset));
	return gva(segment >= SEGMENT_FS ? s->base[segment] + offset : offset);
}

// ---- the table of instructions -------------------------------------------------------------------

enum form {
	FORM_LOAD,        // register := memory, extended when narrower
	FORM_STORE,       // memory := register
	FORM_STORE_IMM,   // memory := immediate, /0
	FORM_LOAD_FAR,    // accumulator := memory at an absolute offset
	FORM_STORE_FAR,
	FORM_CMPXCHG,
	FORM_CMPXCHG_PAIR, // /1
	FORM_CONTROL,     // register operand in rm, control register in reg
	FORM_GROUP7,      // 0F 01
	FORM_PUSH_GPR,    // stack := register in the opcode
	FORM_PUSH_IMM,    // stack := immediate of `bytes`, 0: up to 4
	FORM_PUSH_GROUP,  // FF /6
	FORM_PLAIN,       // no operands
};
#define MAP_0F 0x100

struct row {
	u16 opcode;     // with MAP_0F for two-byte opcodes
	u8 form;
	u8 op;          // enum decode_op
	u8 bytes;       // memory operand; 0: operand size
	bool sign;
};

static const struct row rows[] = {
	{ 0x50, FORM_PUSH_GPR, DECODE_MEMORY, 0, false }, // to 0x57
	{ 0x63, FORM_LOAD, DECODE_MEMORY, 4, true }, // MOVSXD, in 64-bit mode only
	{ 0x68, FORM_PUSH_IMM, DECODE_MEMORY, 0, false },
	{ 0x6a, FORM_PUSH_IMM, DECODE_MEMORY, 1, false },
	{ 0x88, FORM_STORE, DECODE_MEMORY, 1, false },
	{ 0x89, FORM_STORE, DECODE_MEMORY, 0, false },
	{ 0x8a, FORM_LOAD, DECODE_MEMORY, 1, false },
	{ 0x8b, FORM_LOAD, DECODE_MEMORY, 0, false },
	{ 0xa0, FORM_LOAD_FAR, DECODE_MEMORY, 1, false },
	{ 0xa1, FORM_LOAD_FAR, DECODE_MEMORY, 0, false },
	{ 0xa2, FORM_STORE_FAR, DECODE_MEMORY, 1, false },
	{ 0xa3, FORM_STORE_FAR, DECODE_MEMORY, 0, false },
	{ 0xc6, FORM_STORE_IMM, DECODE_MEMORY, 1, false },
	{ 0xc7, FORM_STORE_IMM, DECODE_MEMORY, 0, false },
	{ 0xf4, FORM_PLAIN, DECODE_HLT, 0, false },
	{ 0xff, FORM_PUSH_GROUP, DECODE_MEMORY, 0, false },
	{ MAP_0F | 0x01, FORM_GROUP7, DECODE_UNKNOWN, 0, false },
	{ MAP_0F | 0x06, FORM_PLAIN, DECODE_CLTS, 0, false },
	{ MAP_0F | 0x08, FORM_PLAIN, DECODE_INVD, 0, false },
	{ MAP_0F | 0x09, FORM_PLAIN, DECODE_WBINVD, 0, false },
	{ MAP_0F | 0x20, FORM_CONTROL, DECODE_MOV_FROM_CR, 0, false },
	{ MAP_0F | 0x22, FORM_CONTROL, DECODE_MOV_TO_CR, 0, false },
	{ MAP_0F | 0x30, FORM_PLAIN, DECODE_WRMSR, 0, false },
	{ MAP_0F | 0x32, FORM_PLAIN, DECODE_RDMSR, 0, false },
	{ MAP_0F | 0x33, FORM_PLAIN, DECODE_RDPMC, 0, false },
	{ MAP_0F | 0xa2, FORM_PLAIN, DECODE_CPUID, 0, false },
	{ MAP_0F | 0xb0, FORM_CMPXCHG, DECODE_MEMORY, 1, false },
	{ MAP_0F | 0xb1, FORM_CMPXCHG, DECODE_MEMORY, 0, false },
	{ MAP_0F | 0xb6, FORM_LOAD, DECODE_MEMORY, 1, false },
	{ MAP_0F | 0xb7, FORM_LOAD, DECODE_MEMORY, 2, false },
	{ MAP_0F | 0xbe, FORM_LOAD, DECODE_MEMORY, 1, true },
	{ MAP_0F | 0xbf, FORM_LOAD, DECODE_MEMORY, 2, true },
	{ MAP_0F | 0xc7, FORM_CMPXCHG_PAIR, DECODE_MEMORY, 0, false },
};

static const struct row *row_find(u16 opcode)
{
	if (opcode >= 0x50 && opcode < 0x58)
		opcode = 0x50;
	for (u32 i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].opcode == opcode)
			return &rows[i];
	return NULL;
}

// ---- forms ---------------------------------------------------------------------------------------

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

static bool decode_load_store(struct cursor *c, const struct row *row, struct decoded *d)
{
	u32 bytes = row->bytes ? row->bytes : c->operand_bytes;
	bool widens = row->opcode == 0x63 || row->opcode >= MAP_0F;

	if (c->lock || (row->opcode == 0x63 && (c->state->code_bits != 64 || c->operand_bytes == 2)))
		return false;
	d->insn.bytes = (u8)bytes;
	d->insn.kind = row->form == FORM_LOAD || row->form == FORM_LOAD_FAR ? INSN_READ : INSN_WRITE;
	if (row->form == FORM_LOAD_FAR || row->form == FORM_STORE_FAR) {
		u32 address_bytes = c->address_bytes;

		c->offset = take_signed(c, address_bytes);
		set_gpr(c, d, GPR_RAX, bytes);
	} else {
		take_modrm(c);
		if (c->mod == 3)
			return false;
		set_gpr(c, d, reg_number(c), widens ? c->operand_bytes : bytes);
	}
	d->sign_extend = row->sign;
	if (row->form == FORM_STORE_IMM) {
		if (c->reg != 0)
			return false;
		d->insn.data[0] = low_bytes(take_signed(c, bytes > 4 ? 4 : bytes), bytes);
	} else if (d->insn.kind == INSN_WRITE) {
		d->insn.data[0] = gpr_operand(c, d);
	}
	return true;
}

static bool decode_cmpxchg(struct cursor *c, const struct row *row, struct decoded *d)
{
	const u64 *gpr = c->state->gpr;
	u32 bytes = row->bytes ? row->bytes : c->operand_bytes;

	take_modrm(c);
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

// A store below the stack pointer. The value pushed is the one before it moves, RSP itself included.
static bool decode_push(struct cursor *c, const struct row *row, u8 opcode, struct decoded *d)
{
	const struct decode_state *s = c->state;
	u32 bytes = c->size_prefix ? c->operand_bytes : s->code_bits == 64 ? 8 : c->operand_bytes;
	u64 value;

	if (c->lock)
		return false;
	if (row->form == FORM_PUSH_IMM) {
		value = take_signed(c, row->bytes ? row->bytes : bytes > 4 ? 4 : bytes);
	} else {
		u32 number = opcode & 7;

		if (row->form == FORM_PUSH_GROUP) {
			take_modrm(c);
			if (c->reg != 6 || c->mod != 3) // from memory: two operands
				return false;
			number = c->rm;
		}
		value = s->gpr[number | (c->rex & REX_B ? 8u : 0)];
	}
	d->insn.kind = INSN_PUSH;
	d->insn.bytes = (u8)bytes;
	d->insn.data[0] = low_bytes(value, bytes);
	d->stack_bytes = s->code_bits == 64 ? 8 : s->stack_bits / 8;
	c->offset = s->gpr[GPR_RSP] - bytes;
	c->address_bytes = d->stack_bytes;
	c->segment = SEGMENT_SS;
	c->override = SEGMENT_COUNT;
	c->rip_relative = false;
	return true;
}

static bool decode_group7(struct cursor *c, struct decoded *d)
{
	take_modrm(c);
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
	if (d->op == DECODE_VMMCALL || d->op == DECODE_XSETBV)
		c->mod = 3; // no memory operand
	// The memory forms of SMSW and LMSW are 16 bits wide whatever the operand size.
	set_gpr(c, d, c->rm | (c->rex & REX_B ? 8u : 0), d->op == DECODE_LMSW ? 2 : c->operand_bytes);
	return !c->lock;
}

static bool decode_form(struct cursor *c, const struct row *row, u8 opcode, struct decoded *d)
{
	d->op = row->op;
	switch (row->form) {
	case FORM_LOAD: case FORM_STORE: case FORM_STORE_IMM: case FORM_LOAD_FAR: case FORM_STORE_FAR:
		d->has_memory = true;
		return decode_load_store(c, row, d);
	case FORM_CMPXCHG: case FORM_CMPXCHG_PAIR:
		d->has_memory = true;
		return decode_cmpxchg(c, row, d);
	case FORM_PUSH_GPR: case FORM_PUSH_IMM: case FORM_PUSH_GROUP:
		d->has_memory = true;
		return decode_push(c, row, opcode, d);
	case FORM_CONTROL: {
		u8 byte = take(c); // mod is ignored: always registers

		d->control = (byte >> 3 & 7) | (c->rex & REX_R ? 8 : 0);
		// operand size prefixes are ignored: always as wide as the mode
		set_gpr(c, d, (byte & 7u) | (c->rex & REX_B ? 8u : 0), c->state->code_bits == 64 ? 8 : 4);
		return !c->lock; // LOCK MOV CR0 is CR8, which is not intercepted
	}
	case FORM_GROUP7:
		if (!decode_group7(c, d))
			return false;
		d->has_memory = c->mod != 3;
		return true;
	default:
		return !c->lock;
	}
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
	struct decoded d = { 0 };
	u16 opcode = take_prefixes(&c);

	if (opcode == 0x0f)
		opcode = MAP_0F | take(&c);

	const struct row *row = c.short_of_bytes ? NULL : row_find(opcode);

	if (!row || !decode_form(&c, row, (u8)opcode, &d) || c.short_of_bytes) {
		*out = (struct decoded){ 0 };
		out->insn.cpl = state->cpl;
		return;
	}
	d.length = (u8)c.at;
	d.insn.cpl = state->cpl;
	if (d.has_memory)
		d.insn.va = linear_address(&c);
	*out = d;
}

// ---- results -------------------------------------------------------------------------------------

// The flags of CMP a, b.
static u64 compare_flags(u64 a, u64 b, u32 bytes)
{
	u64 sign = BIT(8 * bytes - 1);
	u64 r = low_bytes(a - b, bytes);
	u64 flags = 0;

	if (low_bytes(a, bytes) < low_bytes(b, bytes))
		flags |= RFLAGS_CF;
	if (!(0x6996 >> ((r ^ r >> 4) & 15) & 1)) // parity of the low byte
		flags |= RFLAGS_PF;
	if ((a ^ b ^ r) & 0x10)
		flags |= RFLAGS_AF;
	if (!r)
		flags |= RFLAGS_ZF;
	if (r & sign)
		flags |= RFLAGS_SF;
	if ((a ^ b) & (a ^ r) & sign)
		flags |= RFLAGS_OF;
	return flags;
}

static void apply_pair(const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	*rflags = done->matched ? *rflags | RFLAGS_ZF : *rflags & ~RFLAGS_ZF;
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

void decode_apply(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags)
{
	if (d->op != DECODE_MEMORY)
		return;
	if (done->kind == INSN_READ) {
		u64 value = d->sign_extend ? sign_bytes(done->result[0], done->bytes)
					   : low_bytes(done->result[0], done->bytes);

		gpr_write(gpr, d->gpr, d->gpr_bytes, d->gpr_high, value);
	} else if (done->kind == INSN_PUSH) {
		u64 mask = d->stack_bytes >= 8 ? UINT64_MAX : BIT(8 * d->stack_bytes) - 1;

		gpr[GPR_RSP] = (gpr[GPR_RSP] & ~mask) | ((gpr[GPR_RSP] - done->bytes) & mask);
	} else if (done->kind == INSN_CMPXCHG && d->pair) {
		apply_pair(done, gpr, rflags);
	} else if (done->kind == INSN_CMPXCHG) {
		u64 all = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF;

		*rflags = (*rflags & ~all) | compare_flags(gpr[GPR_RAX], done->result[0], done->bytes);
		if (!done->matched)
			gpr_write(gpr, GPR_RAX, done->bytes, false, done->result[0]);
	}
}
