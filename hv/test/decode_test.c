// SPDX-License-Identifier: GPL-2.0-or-later
// The image's instruction decoder: a table of encodings with what each must decode to, and all truncations of each of
// them. decode_capstone_test.c has the encodings in bulk, decode_apply_test.c what they leave in registers.
// link: hv/port/bare/decode.c hv/port/bare/decode_cursor.c hv/port/bare/decode_apply.c
#include "test.h"

#include "../port/bare/decode.h"

// Every register has its own value, so that a wrong one shows.
#define R(n) (UINT64_C(0x1122334400008000) + (n) * UINT64_C(0x0000000100010110))
#define RIP UINT64_C(0x400000)
#define FLAGS UINT64_C(0x10a57) // RF, OF, IF, IOPL 0, ZF, AF, PF, CF, bit 1
#define IMAGE UINT64_C(0xa57)   // what PUSHF pushes of them
#define ES_BASE 0x1000u
#define CS_BASE 0x2000u
#define SS_BASE 0x3000u
#define DS_BASE 0x4000u
#define FS_BASE UINT64_C(0x7f0000000000)
#define GS_BASE UINT64_C(0xffff888800000000)

static u64 gpr[GPR_COUNT];
static const struct vmcb_segment segments[SEGMENT_COUNT] = {
	{ .selector = 0xe5, .base = ES_BASE }, { .selector = 0xc5, .base = CS_BASE }, { .selector = 0x55, .base = SS_BASE },
	{ .selector = 0xd5, .base = DS_BASE }, { .selector = 0xf5, .base = FS_BASE }, { .selector = 0x65, .base = GS_BASE },
};

static struct decode_state state_of(u8 code_bits)
{
	struct decode_state s = {
		.gpr = gpr,
		.rip = RIP,
		.rflags = FLAGS,
		.segment = segments,
		.sse = true,
		.code_bits = code_bits,
		.stack_bits = code_bits == 16 ? 16 : 32,
		.cpl = 3,
	};

	for (u32 i = 0; i < GPR_COUNT; i++)
		gpr[i] = R(i);
	return s;
}

struct sample {
	const char *text; // AT&T
	u8 bits;
	u8 length;        // 0: must be unknown
	u8 code[DECODE_BYTES_MAX];
	u8 op, kind, bytes; // kind and bytes: of insn
	u64 va, data; // data: the address of the source where the instruction has two memory operands
	u8 gpr, gpr_bytes;
	u8 which; // number of the control register or XMM register; RMW: enum insn_alu
};

static const struct sample samples[] = {
	// stores
	{ "mov %rax,(%rdi)", 64, 3, { 0x48, 0x89, 0x07 }, DECODE_MEMORY, INSN_WRITE, 8, R(7), R(0), 0, 8, 0 },
	{ "mov %eax,(%rdi)", 64, 2, { 0x89, 0x07 }, DECODE_MEMORY, INSN_WRITE, 4, R(7), (u32)R(0), 0, 4, 0 },
	{ "mov %ax,(%rdi)", 64, 3, { 0x66, 0x89, 0x07 }, DECODE_MEMORY, INSN_WRITE, 2, R(7), (u16)R(0), 0, 2, 0 },
	{ "mov %ah,(%rdi)", 64, 2, { 0x88, 0x27 }, DECODE_MEMORY, INSN_WRITE, 1, R(7), (u8)(R(0) >> 8), 0, 1, 0 },
	{ "mov %spl,(%rdi)", 64, 3, { 0x40, 0x88, 0x27 }, DECODE_MEMORY, INSN_WRITE, 1, R(7), (u8)R(4), 4, 1, 0 },
	{ "mov %r9,0x10(%r12)", 64, 5, { 0x4d, 0x89, 0x4c, 0x24, 0x10 }, DECODE_MEMORY, INSN_WRITE, 8, R(12) + 16,
	  R(9), 9, 8, 0 },
	{ "mov %rcx,-8(%r13)", 64, 4, { 0x49, 0x89, 0x4d, 0xf8 }, DECODE_MEMORY, INSN_WRITE, 8, R(13) - 8, R(1), 1, 8, 0 },
	{ "mov %rcx,0x1000(%rsi,%rdx,8)", 64, 8, { 0x48, 0x89, 0x8c, 0xd6, 0x00, 0x10, 0x00, 0x00 }, DECODE_MEMORY,
	  INSN_WRITE, 8, R(6) + 8 * R(2) + 0x1000, R(1), 1, 8, 0 },
	{ "mov %rcx,(%rsi,%r12,2)", 64, 4, { 0x4a, 0x89, 0x0c, 0x66 }, DECODE_MEMORY, INSN_WRITE, 8, R(6) + 2 * R(12),
	  R(1), 1, 8, 0 },
	{ "mov %rcx,0x10(,%rdx,4)", 64, 8, { 0x48, 0x89, 0x0c, 0x95, 0x10, 0, 0, 0 }, DECODE_MEMORY, INSN_WRITE, 8,
	  4 * R(2) + 0x10, R(1), 1, 8, 0 },
	{ "mov %rcx,8(%rbp,%rdx)", 64, 5, { 0x48, 0x89, 0x4c, 0x15, 0x08 }, DECODE_MEMORY, INSN_WRITE, 8, R(5) + R(2) + 8,
	  R(1), 1, 8, 0 },
	{ "mov %ecx,0x7fff0000", 64, 7, { 0x89, 0x0c, 0x25, 0, 0, 0xff, 0x7f }, DECODE_MEMORY, INSN_WRITE, 4, 0x7fff0000,
	  (u32)R(1), 1, 4, 0 },
	{ "mov %rdx,0x100(%rip)", 64, 7, { 0x48, 0x89, 0x15, 0, 1, 0, 0 }, DECODE_MEMORY, INSN_WRITE, 8, RIP + 7 + 0x100,
	  R(2), 2, 8, 0 },
	{ "movl $-2,0x100(%rip)", 64, 10, { 0xc7, 0x05, 0, 1, 0, 0, 0xfe, 0xff, 0xff, 0xff }, DECODE_MEMORY, INSN_WRITE,
	  4, RIP + 10 + 0x100, 0xfffffffe, 0, 4, 0 },
	{ "movq $-2,(%rbx)", 64, 7, { 0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff }, DECODE_MEMORY, INSN_WRITE, 8, R(3),
	  UINT64_C(0xfffffffffffffffe), 0, 8, 0 },
	{ "movw $0x1234,(%rbx)", 64, 5, { 0x66, 0xc7, 0x03, 0x34, 0x12 }, DECODE_MEMORY, INSN_WRITE, 2, R(3), 0x1234, 0,
	  2, 0 },
	{ "movb $0x80,(%rbx)", 64, 3, { 0xc6, 0x03, 0x80 }, DECODE_MEMORY, INSN_WRITE, 1, R(3), 0x80, 0, 1, 0 },
	{ "mov %rcx,%fs:(%rbx)", 64, 4, { 0x64, 0x48, 0x89, 0x0b }, DECODE_MEMORY, INSN_WRITE, 8, FS_BASE + R(3), R(1), 1,
	  8, 0 },
	{ "mov %rcx,%gs:8", 64, 9, { 0x65, 0x48, 0x89, 0x0c, 0x25, 8, 0, 0, 0 }, DECODE_MEMORY, INSN_WRITE, 8,
	  GS_BASE + 8, R(1), 1, 8, 0 },
	{ "mov %rcx,%es:(%rbx): no base", 64, 4, { 0x26, 0x48, 0x89, 0x0b }, DECODE_MEMORY, INSN_WRITE, 8, R(3), R(1), 1,
	  8, 0 },
	{ "mov %ecx,(%ebx)", 64, 3, { 0x67, 0x89, 0x0b }, DECODE_MEMORY, INSN_WRITE, 4, (u32)R(3), (u32)R(1), 1, 4, 0 },
	{ "rex, then 66: rex is void", 64, 4, { 0x48, 0x66, 0x89, 0x07 }, DECODE_MEMORY, INSN_WRITE, 2, R(7), (u16)R(0),
	  0, 2, 0 },
	{ "movabs %rax,0x1122334455667788", 64, 10, { 0x48, 0xa3, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 },
	  DECODE_MEMORY, INSN_WRITE, 8, UINT64_C(0x1122334455667788), R(0), 0, 8, 0 },
	{ "movabs 0x1122334455667788,%al", 64, 9, { 0xa0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 },
	  DECODE_MEMORY, INSN_READ, 1, UINT64_C(0x1122334455667788), 0, 0, 1, 0 },
	{ "mov %eax,(%ebx) in 32-bit code", 32, 2, { 0x89, 0x03 }, DECODE_MEMORY, INSN_WRITE, 4, (u32)(R(3) + DS_BASE),
	  (u32)R(0), 0, 4, 0 },
	{ "mov %eax,8(%ebp): stack segment", 32, 3, { 0x89, 0x45, 0x08 }, DECODE_MEMORY, INSN_WRITE, 4,
	  (u32)(R(5) + 8 + SS_BASE), (u32)R(0), 0, 4, 0 },
	{ "mov %eax,(%esp)", 32, 3, { 0x89, 0x04, 0x24 }, DECODE_MEMORY, INSN_WRITE, 4, (u32)(R(4) + SS_BASE), (u32)R(0),
	  0, 4, 0 },
	{ "mov %eax,%es:(%ebp)", 32, 4, { 0x26, 0x89, 0x45, 0x00 }, DECODE_MEMORY, INSN_WRITE, 4, (u32)(R(5) + ES_BASE),
	  (u32)R(0), 0, 4, 0 },
	{ "mov %eax,0xc0000000 in 32-bit code", 32, 5, { 0xa3, 0, 0, 0, 0xc0 }, DECODE_MEMORY, INSN_WRITE, 4,
	  0xc0000000 + DS_BASE, (u32)R(0), 0, 4, 0 },
	{ "mov %eax,0xc0000000 by ModRM", 32, 6, { 0x89, 0x05, 0, 0, 0, 0xc0 }, DECODE_MEMORY, INSN_WRITE, 4,
	  0xc0000000 + DS_BASE, (u32)R(0), 0, 4, 0 },
	{ "mov %ax,(%bx,%si)", 16, 2, { 0x89, 0x00 }, DECODE_MEMORY, INSN_WRITE, 2, (u16)(R(3) + R(6)) + DS_BASE,
	  (u16)R(0), 0, 2, 0 },
	{ "mov %ax,(%bx,%di)", 16, 2, { 0x89, 0x01 }, DECODE_MEMORY, INSN_WRITE, 2, (u16)(R(3) + R(7)) + DS_BASE,
	  (u16)R(0), 0, 2, 0 },
	{ "mov %ax,-2(%bp)", 16, 3, { 0x89, 0x46, 0xfe }, DECODE_MEMORY, INSN_WRITE, 2, (u16)(R(5) - 2) + SS_BASE,
	  (u16)R(0), 0, 2, 0 },
	{ "mov %ax,0x100(%bp,%di)", 16, 4, { 0x89, 0x83, 0x00, 0x01 }, DECODE_MEMORY, INSN_WRITE, 2,
	  (u16)(R(5) + R(7) + 0x100) + SS_BASE, (u16)R(0), 0, 2, 0 },
	{ "mov %ax,0xfffe", 16, 4, { 0x89, 0x06, 0xfe, 0xff }, DECODE_MEMORY, INSN_WRITE, 2, 0xfffe + DS_BASE, (u16)R(0),
	  0, 2, 0 },
	{ "mov %eax,(%ebx) in 16-bit code", 16, 4, { 0x66, 0x67, 0x89, 0x03 }, DECODE_MEMORY, INSN_WRITE, 4,
	  (u32)(R(3) + DS_BASE), (u32)R(0), 0, 4, 0 },
	// loads
	{ "mov (%rdi),%r10", 64, 3, { 0x4c, 0x8b, 0x17 }, DECODE_MEMORY, INSN_READ, 8, R(7), 0, 10, 8, 0 },
	{ "mov (%rdi),%bh", 64, 2, { 0x8a, 0x3f }, DECODE_MEMORY, INSN_READ, 1, R(7), 0, 3, 1, 0 },
	{ "movzbl (%rax),%ecx", 64, 3, { 0x0f, 0xb6, 0x08 }, DECODE_MEMORY, INSN_READ, 1, R(0), 0, 1, 4, 0 },
	{ "movzwl (%rax),%ecx", 64, 3, { 0x0f, 0xb7, 0x08 }, DECODE_MEMORY, INSN_READ, 2, R(0), 0, 1, 4, 0 },
	{ "movsbq (%rax),%rcx", 64, 4, { 0x48, 0x0f, 0xbe, 0x08 }, DECODE_MEMORY, INSN_READ, 1, R(0), 0, 1, 8, 0 },
	{ "movswl (%rax),%ecx", 64, 3, { 0x0f, 0xbf, 0x08 }, DECODE_MEMORY, INSN_READ, 2, R(0), 0, 1, 4, 0 },
	{ "movslq (%rax),%r8", 64, 3, { 0x4c, 0x63, 0x00 }, DECODE_MEMORY, INSN_READ, 4, R(0), 0, 8, 8, 0 },
	// pushes
	{ "push %rax", 64, 1, { 0x50 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, R(0), 0, 0, 0 },
	{ "push %rsp", 64, 1, { 0x54 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, R(4), 0, 0, 0 },
	{ "push %r15", 64, 2, { 0x41, 0x57 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, R(15), 0, 0, 0 },
	{ "push %rbx by FF /6", 64, 2, { 0xff, 0xf3 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, R(3), 0, 0, 0 },
	{ "pushq $-1", 64, 2, { 0x6a, 0xff }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, UINT64_MAX, 0, 0, 0 },
	{ "pushq $0x80000000", 64, 5, { 0x68, 0, 0, 0, 0x80 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8,
	  UINT64_C(0xffffffff80000000), 0, 0, 0 },
	{ "push %ax", 64, 2, { 0x66, 0x50 }, DECODE_MEMORY, INSN_PUSH, 2, R(4) - 2, (u16)R(0), 0, 0, 0 },
	{ "push %eax in 32-bit code", 32, 1, { 0x50 }, DECODE_MEMORY, INSN_PUSH, 4, (u32)(R(4) - 4 + SS_BASE), (u32)R(0), 0,
	  0, 0 },
	{ "push %ax in 16-bit code", 16, 1, { 0x50 }, DECODE_MEMORY, INSN_PUSH, 2, (u16)(R(4) - 2) + SS_BASE, (u16)R(0), 0,
	  0, 0 },
	{ "pushfq", 64, 1, { 0x9c }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, IMAGE, 0, 0, 0 },
	{ "pushf in 16-bit code", 16, 1, { 0x9c }, DECODE_MEMORY, INSN_PUSH, 2, (u16)(R(4) - 2) + SS_BASE, IMAGE, 0, 0, 0 },
	{ "pushq 8(%rsp)", 64, 4, { 0xff, 0x74, 0x24, 0x08 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8, R(4) + 8, 0, 0, 0 },
	{ "pushq 0x100(%rip)", 64, 6, { 0xff, 0x35, 0, 1, 0, 0 }, DECODE_MEMORY, INSN_PUSH, 8, R(4) - 8,
	  RIP + 6 + 0x100, 0, 0, 0 },
	{ "pushl %fs:(%eax) in 32-bit code", 32, 3, { 0x64, 0xff, 0x30 }, DECODE_MEMORY, INSN_PUSH, 4,
	  (u32)(R(4) - 4 + SS_BASE), (u32)(FS_BASE + R(0)), 0, 0, 0 },
	// compare-exchanges
	{ "lock cmpxchg %ecx,(%rdx)", 64, 4, { 0xf0, 0x0f, 0xb1, 0x0a }, DECODE_MEMORY, INSN_CMPXCHG, 4, R(2), (u32)R(1), 1,
	  4, 0 },
	{ "lock cmpxchg %r9,(%rdx)", 64, 5, { 0xf0, 0x4c, 0x0f, 0xb1, 0x0a }, DECODE_MEMORY, INSN_CMPXCHG, 8, R(2), R(9),
	  9, 8, 0 },
	{ "cmpxchg %cl,(%rdx)", 64, 3, { 0x0f, 0xb0, 0x0a }, DECODE_MEMORY, INSN_CMPXCHG, 1, R(2), (u8)R(1), 1, 1, 0 },
	{ "lock cmpxchg8b (%rsi)", 64, 4, { 0xf0, 0x0f, 0xc7, 0x0e }, DECODE_MEMORY, INSN_CMPXCHG, 8, R(6),
	  R(1) << 32 | (u32)R(3), 0, 0, 0 },
	{ "lock cmpxchg16b (%rsi)", 64, 5, { 0xf0, 0x48, 0x0f, 0xc7, 0x0e }, DECODE_MEMORY, INSN_CMPXCHG, 16, R(6), R(3), 0,
	  0, 0 },
	{ "cmpxchg8b (%esi) in 32-bit code", 32, 3, { 0x0f, 0xc7, 0x0e }, DECODE_MEMORY, INSN_CMPXCHG, 8,
	  (u32)(R(6) + DS_BASE), R(1) << 32 | (u32)R(3), 0, 0, 0 },
	// read, modify, write
	{ "xchg %eax,(%rdi)", 64, 2, { 0x87, 0x07 }, DECODE_MEMORY, INSN_RMW, 4, R(7), (u32)R(0), 0, 4, ALU_XCHG },
	{ "xchg %bh,(%rdi)", 64, 2, { 0x86, 0x3f }, DECODE_MEMORY, INSN_RMW, 1, R(7), (u8)(R(3) >> 8), 3, 1, ALU_XCHG },
	{ "lock xchg %rcx,(%rdi)", 64, 4, { 0xf0, 0x48, 0x87, 0x0f }, DECODE_MEMORY, INSN_RMW, 8, R(7), R(1), 1, 8,
	  ALU_XCHG },
	{ "add %eax,(%rdi)", 64, 2, { 0x01, 0x07 }, DECODE_MEMORY, INSN_RMW, 4, R(7), (u32)R(0), 0, 4, ALU_ADD },
	{ "add %cl,(%bx,%si) in 16-bit code", 16, 2, { 0x00, 0x08 }, DECODE_MEMORY, INSN_RMW, 1, (u16)(R(3) + R(6)) + DS_BASE,
	  (u8)R(1), 1, 1, ALU_ADD },
	{ "lock or %r9,(%rdi)", 64, 4, { 0xf0, 0x4c, 0x09, 0x0f }, DECODE_MEMORY, INSN_RMW, 8, R(7), R(9), 9, 8, ALU_OR },
	{ "and %ax,(%rdi)", 64, 3, { 0x66, 0x21, 0x07 }, DECODE_MEMORY, INSN_RMW, 2, R(7), (u16)R(0), 0, 2, ALU_AND },
	{ "sub %rcx,(%rdi)", 64, 3, { 0x48, 0x29, 0x0f }, DECODE_MEMORY, INSN_RMW, 8, R(7), R(1), 1, 8, ALU_SUB },
	{ "xor %dl,(%rdi)", 64, 2, { 0x30, 0x17 }, DECODE_MEMORY, INSN_RMW, 1, R(7), (u8)R(2), 2, 1, ALU_XOR },
	{ "andq $-2,(%rbx)", 64, 4, { 0x48, 0x83, 0x23, 0xfe }, DECODE_MEMORY, INSN_RMW, 8, R(3), UINT64_MAX - 1, 0, 0,
	  ALU_AND },
	{ "lock andl $0x80000001,(%rbx)", 64, 7, { 0xf0, 0x81, 0x23, 1, 0, 0, 0x80 }, DECODE_MEMORY, INSN_RMW, 4, R(3),
	  0x80000001, 0, 0, ALU_AND },
	{ "orq $0x80000000,(%rbx)", 64, 7, { 0x48, 0x81, 0x0b, 0, 0, 0, 0x80 }, DECODE_MEMORY, INSN_RMW, 8, R(3),
	  UINT64_C(0xffffffff80000000), 0, 0, ALU_OR },
	{ "orb $0x80,8(%rip)", 64, 7, { 0x80, 0x0d, 8, 0, 0, 0, 0x80 }, DECODE_MEMORY, INSN_RMW, 1, RIP + 7 + 8, 0x80, 0, 0,
	  ALU_OR },
	{ "subw $0x1234,(%rbx)", 64, 5, { 0x66, 0x81, 0x2b, 0x34, 0x12 }, DECODE_MEMORY, INSN_RMW, 2, R(3), 0x1234, 0, 0,
	  ALU_SUB },
	{ "xorb $1,(%ebx) by 82 in 32-bit code", 32, 3, { 0x82, 0x33, 1 }, DECODE_MEMORY, INSN_RMW, 1, (u32)(R(3) + DS_BASE), 1,
	  0, 0, ALU_XOR },
	{ "incl (%rbx)", 64, 2, { 0xff, 0x03 }, DECODE_MEMORY, INSN_RMW, 4, R(3), 1, 0, 0, ALU_ADD },
	{ "lock decb (%rbx)", 64, 3, { 0xf0, 0xfe, 0x0b }, DECODE_MEMORY, INSN_RMW, 1, R(3), 1, 0, 0, ALU_SUB },
	{ "btsl $37,(%rbx): modulo 32", 64, 4, { 0x0f, 0xba, 0x2b, 37 }, DECODE_MEMORY, INSN_RMW, 4, R(3), 5, 0, 0, ALU_BTS },
	{ "lock btrq $63,(%rbx)", 64, 6, { 0xf0, 0x48, 0x0f, 0xba, 0x33, 63 }, DECODE_MEMORY, INSN_RMW, 8, R(3), 63, 0, 0,
	  ALU_BTR },
	{ "btcw $1,(%rbx)", 64, 5, { 0x66, 0x0f, 0xba, 0x3b, 1 }, DECODE_MEMORY, INSN_RMW, 2, R(3), 1, 0, 0, ALU_BTC },
	{ "bts %cx,(%rbx): bit -0x7ef0", 64, 4, { 0x66, 0x0f, 0xab, 0x0b }, DECODE_MEMORY, INSN_RMW, 2, R(3) - 0x7ef0 / 8, 0, 0, 0,
	  ALU_BTS },
	{ "btr %ecx,(%rbx): bit 0x18110", 64, 3, { 0x0f, 0xb3, 0x0b }, DECODE_MEMORY, INSN_RMW, 4, R(3) + 0x18110 / 32 * 4, 16, 0,
	  0, ALU_BTR },
	// strings
	{ "stosq", 64, 2, { 0x48, 0xab }, DECODE_MEMORY, INSN_WRITE, 8, R(7), R(0), 0, 0, 0 },
	{ "rep stosq", 64, 3, { 0xf3, 0x48, 0xab }, DECODE_MEMORY, INSN_WRITE, 8, R(7), R(0), 0, 0, 0 },
	{ "stosb with a segment: not for the destination", 64, 2, { 0x64, 0xaa }, DECODE_MEMORY, INSN_WRITE, 1, R(7), (u8)R(0),
	  0, 0, 0 },
	{ "addr32 stosl", 64, 2, { 0x67, 0xab }, DECODE_MEMORY, INSN_WRITE, 4, (u32)R(7), (u32)R(0), 0, 0, 0 },
	{ "stosw in 16-bit code", 16, 1, { 0xab }, DECODE_MEMORY, INSN_WRITE, 2, (u16)R(7) + ES_BASE, (u16)R(0), 0, 0, 0 },
	{ "movsq", 64, 2, { 0x48, 0xa5 }, DECODE_MEMORY, INSN_WRITE, 8, R(7), R(6), 0, 0, 0 },
	{ "rep movsb %gs:(%rsi),(%rdi)", 64, 3, { 0x65, 0xf3, 0xa4 }, DECODE_MEMORY, INSN_WRITE, 1, R(7),
	  GS_BASE + R(6), 0, 0, 0 },
	{ "movsl in 32-bit code", 32, 1, { 0xa5 }, DECODE_MEMORY, INSN_WRITE, 4, (u32)(R(7) + ES_BASE),
	  (u32)(R(6) + DS_BASE), 0, 0, 0 },
	{ "movsw %ss:(%si),%es:(%di) in 16-bit code", 16, 2, { 0x36, 0xa5 }, DECODE_MEMORY, INSN_WRITE, 2,
	  (u16)R(7) + ES_BASE, (u16)R(6) + SS_BASE, 0, 0, 0 },
	// segment registers, MOVNTI, SSE
	{ "mov %ds,(%rdi)", 64, 2, { 0x8c, 0x1f }, DECODE_MEMORY, INSN_WRITE, 2, R(7), 0xd5, 3, 2, 0 },
	{ "mov %gs,(%rdi) with REX.W: 2 bytes", 64, 3, { 0x48, 0x8c, 0x2f }, DECODE_MEMORY, INSN_WRITE, 2, R(7), 0x65, 5, 2, 0 },
	{ "movnti %ecx,(%rdi)", 64, 3, { 0x0f, 0xc3, 0x0f }, DECODE_MEMORY, INSN_WRITE, 4, R(7), (u32)R(1), 1, 4, 0 },
	{ "movnti %r9,(%rdi)", 64, 4, { 0x4c, 0x0f, 0xc3, 0x0f }, DECODE_MEMORY, INSN_WRITE, 8, R(7), R(9), 9, 8, 0 },
	{ "movnti %ecx,(%bx) in 16-bit code", 16, 3, { 0x0f, 0xc3, 0x0f }, DECODE_MEMORY, INSN_WRITE, 4, (u16)R(3) + DS_BASE,
	  (u32)R(1), 1, 4, 0 },
	{ "movups %xmm3,(%rdi)", 64, 3, { 0x0f, 0x11, 0x1f }, DECODE_MEMORY, INSN_WRITE, 16, R(7), 0, 0, 0, 3 },
	{ "movaps %xmm12,(%rdi)", 64, 4, { 0x44, 0x0f, 0x29, 0x27 }, DECODE_MEMORY, INSN_WRITE, 16, R(7), 0, 0, 0, 12 },
	{ "movntdq %xmm1,(%rdi)", 64, 4, { 0x66, 0x0f, 0xe7, 0x0f }, DECODE_MEMORY, INSN_WRITE, 16, R(7), 0, 0, 0, 1 },
	{ "movd %xmm1,(%rdi)", 64, 4, { 0x66, 0x0f, 0x7e, 0x0f }, DECODE_MEMORY, INSN_WRITE, 4, R(7), 0, 0, 0, 1 },
	{ "movq %xmm1,(%rdi) by 7E", 64, 5, { 0x66, 0x48, 0x0f, 0x7e, 0x0f }, DECODE_MEMORY, INSN_WRITE, 8, R(7), 0, 0, 0, 1 },
	{ "movq %xmm1,(%edi) by D6 in 32-bit code", 32, 4, { 0x66, 0x0f, 0xd6, 0x0f }, DECODE_MEMORY, INSN_WRITE, 8,
	  (u32)(R(7) + DS_BASE), 0, 0, 0, 1 },
	{ "movq (%rdi),%xmm1, REX.W without meaning", 64, 5, { 0xf3, 0x48, 0x0f, 0x7e, 0x0f }, DECODE_MEMORY, INSN_READ, 8, R(7),
	  0, 0, 0, 1 },
	{ "movsd %xmm1,(%rdi): F2 before 66", 64, 5, { 0xf2, 0x66, 0x0f, 0x11, 0x0f }, DECODE_MEMORY, INSN_WRITE, 8, R(7), 0, 0, 0,
	  1 },
	{ "movss (%rdi),%xmm1: the last of F2 and F3", 64, 5, { 0xf2, 0xf3, 0x0f, 0x10, 0x0f }, DECODE_MEMORY, INSN_READ, 4, R(7),
	  0, 0, 0, 1 },
	{ "movdqu (%bx),%xmm1 in 16-bit code", 16, 4, { 0xf3, 0x0f, 0x6f, 0x0f }, DECODE_MEMORY, INSN_READ, 16,
	  (u16)R(3) + DS_BASE, 0, 0, 0, 1 },
	{ "popfq", 64, 1, { 0x9d }, DECODE_LOADS_FLAGS, 0, 0, 0, 0, 0, 0, 0 },
	{ "iretq", 64, 2, { 0x48, 0xcf }, DECODE_LOADS_FLAGS, 0, 0, 0, 0, 0, 0, 0 },
	// privileged
	{ "mov %cr0,%rax", 64, 3, { 0x0f, 0x20, 0xc0 }, DECODE_MOV_FROM_CR, 0, 0, 0, 0, 0, 8, 0 },
	{ "mov %cr3,%r12", 64, 4, { 0x41, 0x0f, 0x20, 0xdc }, DECODE_MOV_FROM_CR, 0, 0, 0, 0, 12, 8, 3 },
	{ "mov %cr8,%rax", 64, 4, { 0x44, 0x0f, 0x20, 0xc0 }, DECODE_MOV_FROM_CR, 0, 0, 0, 0, 0, 8, 8 },
	{ "mov %rdx,%cr4", 64, 3, { 0x0f, 0x22, 0xe2 }, DECODE_MOV_TO_CR, 0, 0, 0, 0, 2, 8, 4 },
	{ "mov %eax,%cr0 in 32-bit code", 32, 3, { 0x0f, 0x22, 0xc0 }, DECODE_MOV_TO_CR, 0, 0, 0, 0, 0, 4, 0 },
	{ "mov %eax,%cr0 with any mod", 32, 3, { 0x0f, 0x22, 0x00 }, DECODE_MOV_TO_CR, 0, 0, 0, 0, 0, 4, 0 },
	{ "invlpg 0x40(%rax)", 64, 4, { 0x0f, 0x01, 0x78, 0x40 }, DECODE_INVLPG, 0, 0, R(0) + 0x40, 0, 0, 4, 0 },
	{ "lmsw %cx", 64, 3, { 0x0f, 0x01, 0xf1 }, DECODE_LMSW, 0, 0, 0, 0, 1, 2, 0 },
	{ "lmsw (%rcx)", 64, 3, { 0x0f, 0x01, 0x31 }, DECODE_LMSW, 0, 0, R(1), 0, 1, 2, 0 },
	{ "smsw %ecx", 64, 3, { 0x0f, 0x01, 0xe1 }, DECODE_SMSW, 0, 0, 0, 0, 1, 4, 0 },
	{ "clts", 64, 2, { 0x0f, 0x06 }, DECODE_CLTS, 0, 0, 0, 0, 0, 0, 0 },
	{ "vmmcall", 64, 3, { 0x0f, 0x01, 0xd9 }, DECODE_VMMCALL, 0, 0, 0, 0, 1, 4, 0 },
	{ "xsetbv", 64, 3, { 0x0f, 0x01, 0xd1 }, DECODE_XSETBV, 0, 0, 0, 0, 1, 4, 0 },
	{ "wrmsr", 64, 2, { 0x0f, 0x30 }, DECODE_WRMSR, 0, 0, 0, 0, 0, 0, 0 },
	{ "rdmsr", 64, 2, { 0x0f, 0x32 }, DECODE_RDMSR, 0, 0, 0, 0, 0, 0, 0 },
	{ "cpuid", 64, 2, { 0x0f, 0xa2 }, DECODE_CPUID, 0, 0, 0, 0, 0, 0, 0 },
	{ "hlt", 64, 1, { 0xf4 }, DECODE_HLT, 0, 0, 0, 0, 0, 0, 0 },
	{ "wbinvd", 64, 2, { 0x0f, 0x09 }, DECODE_WBINVD, 0, 0, 0, 0, 0, 0, 0 },
	// not ours
	{ "mov %eax,%ebx: no memory", 64, 0, { 0x89, 0xc3 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock mov: #UD", 64, 0, { 0xf0, 0x89, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock push: #UD", 64, 0, { 0xf0, 0x50 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock stosb: #UD", 64, 0, { 0xf0, 0xaa }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock add %eax,%ebx: #UD", 64, 0, { 0xf0, 0x01, 0xc3 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock movups: #UD", 64, 0, { 0xf0, 0x0f, 0x11, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock bt $3,(%rdi): #UD", 64, 0, { 0xf0, 0x0f, 0xba, 0x27, 3 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "bt $3,(%rdi): no store", 64, 0, { 0x0f, 0xba, 0x27, 3 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "cmp %eax,(%rdi): no store", 64, 0, { 0x39, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "cmpl $1,(%rdi): no store", 64, 0, { 0x83, 0x3f, 1 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "adc %eax,(%rdi)", 64, 0, { 0x11, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "sbbl $1,(%rdi)", 64, 0, { 0x83, 0x1f, 1 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "xadd %eax,(%rdi)", 64, 0, { 0x0f, 0xc1, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "notl (%rdi)", 64, 0, { 0xf7, 0x17 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "add (%rdi),%eax: a load", 64, 0, { 0x03, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "82 /0 in 64-bit code: #UD", 64, 0, { 0x82, 0x07, 1 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "movntiw: #UD", 64, 0, { 0x66, 0x0f, 0xc3, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "movq %mm0,(%rdi): MMX", 64, 0, { 0x0f, 0x7f, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "mov %6,(%rdi): no such segment", 64, 0, { 0x8c, 0x37 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "vmovups %xmm0,(%rdi)", 64, 0, { 0xc5, 0xf8, 0x11, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "c7 /1", 64, 0, { 0xc7, 0x0b, 0, 0, 0, 0 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "0f c7 /6", 64, 0, { 0x0f, 0xc7, 0x33 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "arpl, which 63 is in 32-bit code", 32, 0, { 0x63, 0x00 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock mov %cr0: CR8", 64, 0, { 0xf0, 0x0f, 0x20, 0xc0 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "prefixes without end", 64, 0, { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
					   0x66, 0x66 }, 0, 0, 0, 0, 0, 0, 0, 0 },
};

static bool agrees(const struct sample *s, const struct decoded *d)
{
	bool ok = d->op == s->op && d->length == s->length && d->insn.kind == s->kind && d->insn.cpl == 3;

	if (!ok || !s->length)
		return ok;
	u64 data = d->has_source ? d->source.a : d->insn.data[0];
	u8 which = d->insn.kind == INSN_RMW ? d->insn.alu : d->is_xmm ? d->xmm : d->control;

	return d->insn.bytes == s->bytes && d->insn.va.a == s->va && data == s->data && d->gpr == s->gpr &&
	       d->gpr_bytes == s->gpr_bytes && which == s->which;
}

TEST(decode_knows_every_sample)
{
	for (u32 i = 0; i < ARRAY_LEN(samples); i++) {
		const struct sample *s = &samples[i];
		struct decode_state state = state_of(s->bits);
		struct decoded d;

		decode(&state, s->code, DECODE_BYTES_MAX, &d);
		if (!CHECK(agrees(s, &d)))
			printf("  %s: op %u length %u kind %u alu %u bytes %u va 0x%llx data 0x%llx source 0x%llx gpr %u/%u "
			       "cr%u xmm%u\n", s->text, d.op, d.length, d.insn.kind, d.insn.alu, d.insn.bytes,
			       (unsigned long long)d.insn.va.a, (unsigned long long)d.insn.data[0],
			       (unsigned long long)d.source.a, d.gpr, d.gpr_bytes, d.control, d.xmm);
	}
}

TEST(decode_refuses_every_truncation)
{
	for (u32 i = 0; i < ARRAY_LEN(samples); i++)
		for (u32 count = 0; count < samples[i].length; count++) {
			struct decode_state state = state_of(samples[i].bits);
			struct decoded d;

			decode(&state, samples[i].code, count, &d);
			CHECK_EQ(d.length, 0);
			CHECK_EQ(d.op, DECODE_UNKNOWN);
			CHECK_EQ(d.insn.kind, INSN_UNKNOWN);
		}
}

// All one- and two-byte openings in all modes: lengths stay within bounds, known memory operands are sane.
TEST(decode_survives_all_openings)
{
	static const u8 bits[] = { 16, 32, 64 };

	for (u32 b = 0; b < ARRAY_LEN(bits); b++)
		for (u32 opening = 0; opening < 0x1000000; opening += 0x101) {
			struct decode_state state = state_of(bits[b]);
			u8 code[DECODE_BYTES_MAX] = { (u8)(opening >> 16), (u8)(opening >> 8), (u8)opening, 0x24, 0x80 };
			struct decoded d;

			decode(&state, code, sizeof(code), &d);
			CHECK(d.length <= DECODE_BYTES_MAX && (d.length != 0) == (d.op != DECODE_UNKNOWN));
			CHECK(d.op != DECODE_MEMORY || (d.insn.kind != INSN_UNKNOWN && d.insn.bytes >= 1 && d.insn.bytes <= 16));
		}
}

TEST(decode_takes_expectations_from_accumulator)
{
	struct decode_state state = state_of(64);
	static const u8 dword[] = { 0xf0, 0x0f, 0xb1, 0x0a }, pair16[] = { 0xf0, 0x48, 0x0f, 0xc7, 0x0e },
			pair8[] = { 0xf0, 0x0f, 0xc7, 0x0e };
	struct decoded d;

	decode(&state, dword, sizeof(dword), &d);
	CHECK_EQ(d.insn.expect[0], (u32)R(0));
	decode(&state, pair16, sizeof(pair16), &d);
	CHECK_EQ(d.insn.expect[0], R(0));
	CHECK_EQ(d.insn.expect[1], R(2));
	CHECK_EQ(d.insn.data[1], R(1));
	decode(&state, pair8, sizeof(pair8), &d);
	CHECK_EQ(d.insn.expect[0], R(2) << 32 | (u32)R(0));
}

TEST(decode_asks_for_operands_of_stores_by_string)
{
	static const u8 stos[] = { 0xf3, 0x67, 0xab }, movs[] = { 0xf2, 0x48, 0xa5 };
	struct decode_state state = state_of(64);
	struct decoded d;

	decode(&state, stos, sizeof(stos), &d);
	CHECK(d.repeats && d.string_bytes == 4 && !d.has_source);
	decode(&state, movs, sizeof(movs), &d);
	CHECK(d.repeats && d.string_bytes == 8 && d.has_source);
	gpr[GPR_RCX] = BIT(32); // as much as nothing for 32-bit addresses
	decode(&state, stos, sizeof(stos), &d);
	CHECK_EQ(d.op, DECODE_NOTHING);
	CHECK_EQ(d.length, sizeof(stos));
	CHECK_EQ(d.insn.kind, INSN_UNKNOWN);
	decode(&state, movs, sizeof(movs), &d);
	CHECK_EQ(d.op, DECODE_MEMORY);
}

TEST(decode_marks_aligned_operands)
{
	static const struct {
		u8 count, code[5];
		bool aligned;
	} rows[] = {
		{ 3, { 0x0f, 0x11, 0x07 }, false }, { 3, { 0x0f, 0x29, 0x07 }, true }, { 3, { 0x0f, 0x2b, 0x07 }, true },
		{ 4, { 0x66, 0x0f, 0x7f, 0x07 }, true }, { 4, { 0xf3, 0x0f, 0x7f, 0x07 }, false },
		{ 4, { 0x66, 0x0f, 0xe7, 0x07 }, true }, { 4, { 0x66, 0x0f, 0x6f, 0x07 }, true },
		{ 4, { 0x48, 0x0f, 0xc7, 0x0f }, true }, { 3, { 0x0f, 0xc7, 0x0f }, false },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		struct decode_state state = state_of(64);
		struct decoded d;

		decode(&state, rows[i].code, rows[i].count, &d);
		CHECK_EQ(d.length, rows[i].count);
		CHECK_EQ(d.insn.aligned, rows[i].aligned);
	}
}

// #UD and #NM come before #PF, so an instruction that would raise them is none of ours.
TEST(decode_leaves_sse_alone_when_it_would_trap)
{
	static const u8 movups[] = { 0x0f, 0x11, 0x07 };
	struct decode_state state = state_of(64);
	struct decoded d;

	state.sse = false;
	decode(&state, movups, sizeof(movups), &d);
	CHECK_EQ(d.op, DECODE_UNKNOWN);
}

TEST(decode_leaves_pushf_of_virtual_8086_mode_alone)
{
	static const u8 pushf[] = { 0x9c };
	struct decode_state state = state_of(16);
	struct decoded d;

	decode(&state, pushf, sizeof(pushf), &d);
	CHECK(d.pushes_flags && d.insn.kind == INSN_PUSH);
	state.rflags |= RFLAGS_VM; // IOPL decides there
	decode(&state, pushf, sizeof(pushf), &d);
	CHECK_EQ(d.op, DECODE_UNKNOWN);
}
