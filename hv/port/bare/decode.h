// SPDX-License-Identifier: GPL-2.0-or-later
// The x86 instruction decoder: a pure function over bytes and registers. It depends on no port, so that
// the host can test it (hv/test/decode_test.c, decode_apply_test.c, decode_capstone_test.c); only struct hv_insn comes
// from port.h.
//
// What it cannot know by itself the caller fills in: XMM registers and the source operand of instructions that
// have two memory operands. decode() names both, and decode_apply() leaves XMM registers alone.
#ifndef HV_PORT_BARE_DECODE_H
#define HV_PORT_BARE_DECODE_H

#include "../../port.h"
#include "vmcb.h"

#define DECODE_BYTES_MAX 15 // longer instructions raise #GP

enum decode_gpr { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_COUNT = 16 };
enum decode_segment { SEGMENT_ES, SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS, SEGMENT_COUNT };

#define RFLAGS_CF BIT(0)
#define RFLAGS_PF BIT(2)
#define RFLAGS_AF BIT(4)
#define RFLAGS_ZF BIT(6)
#define RFLAGS_SF BIT(7)
#define RFLAGS_TF BIT(8)
#define RFLAGS_DF BIT(10)
#define RFLAGS_OF BIT(11)
#define RFLAGS_RF BIT(16)
#define RFLAGS_VM BIT(17)

// What the decoder needs of the processor.
struct decode_state {
	const u64 *gpr;     // GPR_COUNT of them, by encoding
	u64 rip, rflags;
	const struct vmcb_segment *segment; // SEGMENT_COUNT of them
	u8 code_bits;       // 16, 32 or 64
	u8 stack_bits;      // 16 or 32; 64-bit code has 64
	u8 cpl;             // 0 or 3
	bool sse;           // SSE instructions raise neither #UD nor #NM
};

enum decode_op {
	DECODE_UNKNOWN,
	DECODE_MEMORY,      // insn says what it does
	DECODE_NOTHING,     // a REP string instruction whose count is 0
	DECODE_MOV_FROM_CR, // gpr := control register
	DECODE_MOV_TO_CR,   // control register := gpr
	DECODE_SMSW,        // gpr, or memory when has_memory
	DECODE_LMSW,
	DECODE_CLTS,
	DECODE_INVLPG,      // insn.va
	DECODE_RDMSR, DECODE_WRMSR, DECODE_CPUID, DECODE_HLT, DECODE_VMMCALL, DECODE_XSETBV,
	DECODE_INVD, DECODE_WBINVD, DECODE_RDPMC,
	DECODE_LOADS_FLAGS, // POPF, IRET: RFLAGS come from memory
};

struct decoded {
	enum decode_op op;
	u8 length;
	u8 gpr;           // general register operand
	u8 gpr_bytes;     // how much of it: 1, 2, 4, 8
	bool gpr_high;    // AH, CH, DH, BH: gpr is the register that contains it
	bool sign_extend; // loads narrower than gpr_bytes
	bool pair;        // CMPXCHG8B and CMPXCHG16B: RDX:RAX instead of RAX
	bool keeps_carry; // INC, DEC
	bool pushes_flags; // PUSHF
	bool is_xmm;      // stores: the caller sets insn.data to XMM register `xmm`; loads: the caller writes it,
	u8 xmm;           // insn.result[] with zeroes above insn.bytes
	u8 stack_bytes;   // pushes: how much of RSP counts
	u8 string_bytes;  // STOS, MOVS: how much of RDI, RSI and RCX counts, 0 for all others
	bool repeats;     // STOS, MOVS with REP: insn is one element of several
	bool has_source;  // MOVS, PUSH from memory: the caller sets insn.data to insn.bytes bytes at `source`
	gva_t source;
	u8 source_segment;
	u8 segment;       // enum decode_segment of insn.va
	u8 control;       // control register number
	bool has_memory;  // insn.va is valid
	struct hv_insn insn;
};

// Decode `count` bytes at state->rip. DECODE_UNKNOWN with length 0 when the bytes end early or the
// instruction is none of the above. O(1).
void decode(const struct decode_state *state, const u8 *code, u32 count, struct decoded *out);

// decode_apply.c: apply the results of a memory instruction, done->result and done->matched, to the registers.
// Returns how many bytes to step over: 0 while a REP string instruction has elements left, else the length.
u32 decode_apply(const struct decoded *d, const struct hv_insn *done, u64 gpr[GPR_COUNT], u64 *rflags);

// Read or write `bytes` of a register as instructions do: 1 and 2 bytes merge, 4 zero-extend.
u64 gpr_read(const u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high);
void gpr_write(u64 gpr[GPR_COUNT], u32 number, u32 bytes, bool high, u64 value);

// The low `bytes` (1 to 8) of a value, and the same sign-extended to 64 bits.
static inline u64 low_bytes(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & (BIT(8 * bytes) - 1);
}
static inline u64 sign_bytes(u64 value, u32 bytes)
{
	u64 sign = BIT(8 * bytes - 1);

	return (low_bytes(value, bytes) ^ sign) - sign;
}

#endif
