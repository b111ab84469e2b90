// SPDX-License-Identifier: GPL-2.0-or-later
// The first half of decoding: bytes, prefixes, ModRM and SIB, effective and linear addresses.
#include "decode_cursor.h"

// ---- the byte cursor ---------------------------------------------------------------------------

u8 cursor_take(struct cursor *c)
{
	if (c->at >= c->count) {
		c->short_of_bytes = true;
		return 0;
	}
	return c->code[c->at++];
}

u64 cursor_take_signed(struct cursor *c, u32 bytes)
{
	u64 value = 0;

	for (u32 i = 0; i < bytes; i++)
		value |= (u64)cursor_take(c) << 8 * i;
	return sign_bytes(value, bytes);
}

u64 cursor_take_immediate(struct cursor *c, u32 bytes)
{
	return low_bytes(cursor_take_signed(c, bytes > 4 ? 4 : bytes), bytes);
}

// ---- prefixes ----------------------------------------------------------------------------------

// A REX prefix counts only directly before the opcode.
u8 cursor_take_prefixes(struct cursor *c)
{
	bool wide = c->state->code_bits == 64;
	u8 byte;

	for (;;) {
		byte = cursor_take(c);
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
		case 0xf2: case 0xf3: c->rep = byte; break;
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
		c->offset = cursor_take_signed(c, 2);
		return;
	}
	c->offset = gpr[first[c->rm]];
	if (first[c->rm] == GPR_RBP)
		c->segment = SEGMENT_SS;
	if (c->rm < 4)
		c->offset += gpr[second[c->rm]];
	if (c->mod)
		c->offset += cursor_take_signed(c, c->mod); // mod 1: one byte, mod 2: two
}

static void take_sib(struct cursor *c)
{
	const u64 *gpr = c->state->gpr;
	u8 sib = cursor_take(c);
	u32 base = (sib & 7u) | (c->rex & REX_B ? 8u : 0);
	u32 index = (sib >> 3 & 7u) | (c->rex & REX_X ? 8u : 0);

	if ((sib & 7) == 5 && c->mod == 0) {
		c->offset = cursor_take_signed(c, 4);
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
		c->offset = cursor_take_signed(c, 4);
	} else {
		c->offset = c->state->gpr[base];
		if (base == GPR_RBP)
			c->segment = SEGMENT_SS;
	}
	if (c->mod == 1)
		c->offset += cursor_take_signed(c, 1);
	else if (c->mod == 2)
		c->offset += cursor_take_signed(c, 4);
}

void cursor_take_modrm(struct cursor *c)
{
	u8 byte = cursor_take(c);

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

u8 cursor_segment(const struct cursor *c)
{
	return c->override < SEGMENT_COUNT ? c->override : c->segment;
}

gva_t cursor_linear(const struct cursor *c)
{
	const struct decode_state *s = c->state;
	u32 segment = cursor_segment(c);
	u64 offset = low_bytes(c->rip_relative ? s->rip + c->at + c->offset : c->offset, c->address_bytes);

	if (s->code_bits != 64)
		return gva((u32)(s->segment[segment].base + offset));
	return gva(segment >= SEGMENT_FS ? s->segment[segment].base + offset : offset);
}

void cursor_set_address(struct cursor *c, u8 segment, u64 offset, u32 address_bytes)
{
	c->offset = offset;
	c->address_bytes = (u8)address_bytes;
	c->segment = segment;
	c->override = SEGMENT_COUNT;
	c->rip_relative = false;
}

