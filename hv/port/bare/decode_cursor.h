// SPDX-License-Identifier: GPL-2.0-or-later
// An instruction while it is being decoded: private to decode.c and decode_cursor.c.
#ifndef HV_PORT_BARE_DECODE_CURSOR_H
#define HV_PORT_BARE_DECODE_CURSOR_H

#include "decode.h"

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

struct cursor {
	const struct decode_state *state;
	const u8 *code;
	u32 count, at;
	bool short_of_bytes;
	// prefixes
	bool size_prefix, address_prefix, lock;
	u8 rex;
	u8 rep;      // the last of F2 and F3, or 0
	u8 override; // enum decode_segment, SEGMENT_COUNT for none
	// sizes that follow from mode and prefixes
	u8 operand_bytes, address_bytes;
	u16 opcode; // with MAP_0F for two-byte opcodes
	// ModRM
	u8 mod, reg, rm;
	u64 offset; // effective address within its segment
	u8 segment; // that the address has without override
	bool rip_relative;
};

// The next byte. 0 when there is none, which the cursor remembers.
u8 cursor_take(struct cursor *c);
// Little-endian, sign-extended to 64 bits.
u64 cursor_take_signed(struct cursor *c, u32 bytes);
// An immediate operand: never more than four bytes, sign-extended to the operand's size.
u64 cursor_take_immediate(struct cursor *c, u32 bytes);
// All prefixes and the first opcode byte, which is returned.
u8 cursor_take_prefixes(struct cursor *c);
// ModRM, SIB and displacement.
void cursor_take_modrm(struct cursor *c);

// The segment that the address uses, overrides included.
u8 cursor_segment(const struct cursor *c);
// The linear address, once the whole instruction has been read: RIP-relative offsets count from its end.
gva_t cursor_linear(const struct cursor *c);
// From here on the operand lies at `offset` of `segment`, whatever prefixes and ModRM said.
void cursor_set_address(struct cursor *c, u8 segment, u64 offset, u32 address_bytes);

#endif
