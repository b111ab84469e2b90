// SPDX-License-Identifier: GPL-2.0-or-later
// The x86 instruction decoder: a pure function over bytes and registers. It depends on no port, so that
// the host can test it (hv/test/decode_test.c); only the type struct hv_insn comes from port.h.
#ifndef HV_PORT_BARE_DECODE_H
#define HV_PORT_BARE_DECODE_H

#include "../../port.h"

#define DECODE_BYTES_MAX 15 // longer instructions raise #GP

enum decode_gpr { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_COUNT = 16 };
enum decode_segment { SEGMENT_ES, SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS, SEGMENT_COUNT };

// What the decoder needs of the processor.
struct decode_state {
	u64 gpr[GPR_COUNT]; // by encoding
	u64 rip;
	u64 base[SEGMENT_COUNT];
	u8 code_bits;       // 16, 32 or 64
	u8 stack_bits;      // 16 or 32; 64-bit code has 64
	u8 cpl;
};

enum decode_op {
	DECODE_UNKNOWN,
	DECODE_MEMORY,      // insn says what it does
	DECODE_MOV_FROM_CR, // gpr := control register
	DECODE_MOV_TO_CR,   // control register := gpr
	DECODE_SMSW,        // gpr, or memory when has_memory
	DECODE_LMSW,
	DECODE_CLTS,
	DECODE_INVLPG,      // insn.va
	DECODE_RDMSR, DECODE_WRMSR, DECODE_CPUID, DECODE_HLT, DECODE_VMMCALL, DECODE_XSETBV,
	DECODE_INVD, DECODE_WBINVD, DECODE_RDPMC,
};

struct decoded {
	enum decode_op op;
	u8 length;
	u8 gpr;           // general register operand
	u8 gpr_bytes;     // how much of it: 1, 2, 4, 8
	bool gpr_high;    // AH, CH, DH, BH: gpr is the register that contains it
	bool sign_extend; // loads narrower than gpr_bytes
	bool pair;        // CMPXCHG8B and CMPXCHG16B: RDX:RAX instead of RAX
	u8 stack_bytes;   // pushes: how much of RSP counts
	u8 control;       // control register number
	bool has_memory;  // insn.va is valid
	struct hv_insn insn;
};

// Decode `count` bytes at state->rip. DECODE_UNKNOWN with length 0 when the bytes end early or the
// instruction is none of the above. O(1).
void decode(const struct decode_state *state, const u8 *code, u32 count, struct decoded *out);

// Apply the results of a memory instruction, done->result and done->matched, to the registers.
void decode_apply(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags);

// Read or write `bytes` of a register as instructions do: 1 and 2 bytes merge, 4 zero-extend.
u64 gpr_read(const u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high);
void gpr_write(u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high, u64 value);

#endif
