// SPDX-License-Identifier: GPL-2.0-or-later
// The image's instruction decoder: a table of encodings with what each must decode to, all truncations of
// each of them, and the effect of results on registers.
// link: hv/port/bare/decode.c
#include "test.h"

#include "../port/bare/decode.h"

// Every register has its own value, so that a wrong one shows.
#define R(n) (UINT64_C(0x1122334400008000) + (n) * UINT64_C(0x0000000100010110))
#define RIP UINT64_C(0x400000)
#define ES_BASE 0x1000u
#define CS_BASE 0x2000u
#define SS_BASE 0x3000u
#define DS_BASE 0x4000u
#define FS_BASE UINT64_C(0x7f0000000000)
#define GS_BASE UINT64_C(0xffff888800000000)

static struct decode_state state_of(u8 code_bits)
{
	struct decode_state s = {
		.rip = RIP,
		.base = { ES_BASE, CS_BASE, SS_BASE, DS_BASE, FS_BASE, GS_BASE },
		.code_bits = code_bits,
		.stack_bits = code_bits == 16 ? 16 : 32,
		.cpl = 3,
	};

	for (u32 i = 0; i < GPR_COUNT; i++)
		s.gpr[i] = R(i);
	return s;
}

struct sample {
	const char *text; // AT&T
	u8 bits;
	u8 length;        // 0: must be unknown
	u8 code[DECODE_BYTES_MAX];
	u8 op, kind, bytes; // kind and bytes: of insn
	u64 va, data;
	u8 gpr, gpr_bytes;
	u8 control;
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
	{ "add %eax,(%rdi)", 64, 0, { 0x01, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "xchg %eax,(%rdi)", 64, 0, { 0x87, 0x07 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "rep stosq", 64, 0, { 0xf3, 0x48, 0xab }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "c7 /1", 64, 0, { 0xc7, 0x0b, 0, 0, 0, 0 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "0f c7 /6", 64, 0, { 0x0f, 0xc7, 0x33 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "arpl, which 63 is in 32-bit code", 32, 0, { 0x63, 0x00 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "pushq (%rax): two operands", 64, 0, { 0xff, 0x30 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "lock mov %cr0: CR8", 64, 0, { 0xf0, 0x0f, 0x20, 0xc0 }, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "prefixes without end", 64, 0, { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
					   0x66, 0x66 }, 0, 0, 0, 0, 0, 0, 0, 0 },
};

static bool agrees(const struct sample *s, const struct decoded *d)
{
	bool ok = d->op == s->op && d->length == s->length && d->insn.kind == s->kind && d->insn.cpl == 3;

	if (!ok || !s->length)
		return ok;
	return d->insn.bytes == s->bytes && d->insn.va.a == s->va && d->insn.data[0] == s->data &&
	       d->gpr == s->gpr && d->gpr_bytes == s->gpr_bytes && d->control == s->control;
}

TEST(decode_knows_every_sample)
{
	for (u32 i = 0; i < ARRAY_LEN(samples); i++) {
		const struct sample *s = &samples[i];
		struct decode_state state = state_of(s->bits);
		struct decoded d;

		decode(&state, s->code, DECODE_BYTES_MAX, &d);
		if (!CHECK(agrees(s, &d)))
			printf("  %s: op %u length %u kind %u bytes %u va 0x%llx data 0x%llx gpr %u/%u cr%u\n", s->text,
			       d.op, d.length, d.insn.kind, d.insn.bytes, (unsigned long long)d.insn.va.a,
			       (unsigned long long)d.insn.data[0], d.gpr, d.gpr_bytes, d.control);
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

// ---- results ---------------------------------------------------------------------------------------

// Decode `code`, let the operation have `result`, and leave the registers in state->gpr.
static u64 apply(struct decode_state *state, const u8 *code, u32 count, u64 result, u64 high, bool matched)
{
	u64 rflags = 0x8d7; // all arithmetic flags and bit 1
	struct hv_insn done;
	struct decoded d;

	decode(state, code, count, &d);
	CHECK_EQ(d.length, count);
	done = d.insn;
	done.result[0] = result;
	done.result[1] = high;
	done.matched = matched;
	decode_apply(&d, &done, state->gpr, &rflags);
	return rflags;
}
#define APPLY(state, result, high, matched, ...) \
	apply(state, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }), result, high, matched)

TEST(apply_loads_extend_as_the_opcode_says)
{
	struct decode_state s = state_of(64);

	APPLY(&s, 0x80, 0, false, 0x0f, 0xb6, 0x08); // movzbl (%rax),%ecx
	CHECK_EQ(s.gpr[1], 0x80);
	APPLY(&s, 0x80, 0, false, 0x0f, 0xbe, 0x08); // movsbl: upper half cleared
	CHECK_EQ(s.gpr[1], 0xffffff80);
	APPLY(&s, 0x80, 0, false, 0x48, 0x0f, 0xbe, 0x08); // movsbq
	CHECK_EQ(s.gpr[1], UINT64_C(0xffffffffffffff80));
	APPLY(&s, 0x80000000, 0, false, 0x48, 0x63, 0x08); // movslq
	CHECK_EQ(s.gpr[1], UINT64_C(0xffffffff80000000));
	APPLY(&s, 0x12345678, 0, false, 0x8b, 0x08); // mov to ecx
	CHECK_EQ(s.gpr[1], 0x12345678);
	APPLY(&s, 0xabcd, 0, false, 0x66, 0x8b, 0x08); // mov to cx merges
	CHECK_EQ(s.gpr[1], 0x1234abcd);
	APPLY(&s, 0xef, 0, false, 0x8a, 0x28); // mov to ch
	CHECK_EQ(s.gpr[1], 0x1234efcd);
	APPLY(&s, 0x80, 0, false, 0x66, 0x0f, 0xbe, 0x08); // movsbw
	CHECK_EQ(s.gpr[1], 0x1234ff80);
}

TEST(apply_cmpxchg_sets_flags_and_accumulator)
{
	struct decode_state s = state_of(64);

	// match: flags of a comparison of equals, accumulator untouched
	CHECK_EQ(APPLY(&s, (u32)R(0), 0, true, 0xf0, 0x0f, 0xb1, 0x0a), 0x46);
	CHECK_EQ(s.gpr[0], R(0));
	// miss: EAX := old, zero-extended; 0x00008000 - 0x00008001 borrows: CF PF AF SF
	CHECK_EQ(APPLY(&s, (u32)R(0) + 1, 0, false, 0xf0, 0x0f, 0xb1, 0x0a), 0x97);
	CHECK_EQ(s.gpr[0], (u32)R(0) + 1);
	// 0x80 - 1 = 0x7f in bytes overflows: AF OF
	s.gpr[0] = 0x80;
	CHECK_EQ(APPLY(&s, 1, 0, false, 0x0f, 0xb0, 0x0a), 0x812);
	CHECK_EQ(s.gpr[0], 1);
}

TEST(apply_cmpxchg_pair_touches_zf_alone)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 1, 2, true, 0xf0, 0x48, 0x0f, 0xc7, 0x0e), 0x8d7);
	CHECK_EQ(s.gpr[0], R(0));
	CHECK_EQ(s.gpr[2], R(2));
	CHECK_EQ(APPLY(&s, 1, 2, false, 0xf0, 0x48, 0x0f, 0xc7, 0x0e), 0x897);
	CHECK_EQ(s.gpr[0], 1);
	CHECK_EQ(s.gpr[2], 2);
	APPLY(&s, UINT64_C(0xaaaaaaaabbbbbbbb), 0, false, 0xf0, 0x0f, 0xc7, 0x0e); // cmpxchg8b
	CHECK_EQ(s.gpr[0], 0xbbbbbbbb);
	CHECK_EQ(s.gpr[2], 0xaaaaaaaa);
}

TEST(apply_push_moves_the_stack_pointer)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 0, 0, false, 0x50), 0x8d7);
	CHECK_EQ(s.gpr[4], R(4) - 8);
	s = state_of(32);
	s.gpr[4] = 2;
	APPLY(&s, 0, 0, false, 0x50);
	CHECK_EQ(s.gpr[4], 0xfffffffe);
	s = state_of(16);
	s.gpr[4] = 0x50000;
	APPLY(&s, 0, 0, false, 0x50);
	CHECK_EQ(s.gpr[4], 0x5fffe);
}

TEST(apply_store_changes_nothing)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 0, 0, false, 0x48, 0x89, 0x07), 0x8d7);
	for (u32 i = 0; i < GPR_COUNT; i++)
		CHECK_EQ(s.gpr[i], R(i));
}
