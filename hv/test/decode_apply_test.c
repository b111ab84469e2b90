// SPDX-License-Identifier: GPL-2.0-or-later
// What an emulated instruction leaves behind, held against the processor that runs this test: each encoding is executed
// natively and by decode(), a few lines that stand for the core, and decode_apply(), and registers, flags and memory
// must agree. Below that, cases of 16 and 32-bit code, which cannot be run here.
//
// Parts: running an instruction natively; running it by hand; the encodings; cases.
// link: hv/port/bare/decode.c hv/port/bare/decode_cursor.c hv/port/bare/decode_apply.c
#include <sys/mman.h>

#include "test.h"

#include "../port/bare/decode.h"

// ---- running an instruction natively ---------------------------------------------------------------------

struct machine {
	u64 gpr[GPR_COUNT]; // RSP is not used
	u64 rflags;
	u64 xmm[2][2];      // XMM0 and XMM9
};
// Offsets used below.
_Static_assert(offsetof(struct machine, rflags) == 128 && offsetof(struct machine, xmm) == 136, "struct machine");

void native_run(struct machine *m, void *code);
struct machine *native_machine;
void *native_code;

__asm__(".text\n"
	".globl native_run\n"
	"native_run:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, native_machine(%rip)\n"
	"	mov %rsi, native_code(%rip)\n"
	"	movups 136(%rdi), %xmm0\n"
	"	movups 152(%rdi), %xmm9\n"
	"	mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx; mov 40(%rdi), %rbp\n"
	"	mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
	"	mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
	"	push 128(%rdi)\n"
	"	mov 56(%rdi), %rdi\n"
	"	popf\n"
	"	call *native_code(%rip)\n"
	"	pushf\n"
	"	cld\n"
	"	push %rdi\n"
	"	mov native_machine(%rip), %rdi\n"
	"	pop 56(%rdi)\n"
	"	pop 128(%rdi)\n"
	"	movups %xmm0, 136(%rdi)\n"
	"	movups %xmm9, 152(%rdi)\n"
	"	mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi); mov %rbp, 40(%rdi)\n"
	"	mov %rsi, 48(%rdi); mov %r8, 64(%rdi); mov %r9, 72(%rdi); mov %r10, 80(%rdi); mov %r11, 88(%rdi)\n"
	"	mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

// ---- running it by hand ----------------------------------------------------------------------------------

// What the core does with an instruction whose operands are plain memory.
static void perform(struct hv_insn *i)
{
	void *at = (void *)(uintptr_t)i->va.a;
	u64 value;

	if (i->kind == INSN_WRITE) {
		memcpy(at, i->data, i->bytes);
		return;
	}
	memcpy(i->result, at, i->bytes);
	if (i->kind == INSN_RMW) {
		value = insn_alu((enum insn_alu)i->alu, i->result[0], i->data[0]);
		memcpy(at, &value, i->bytes);
	} else if (i->kind == INSN_CMPXCHG) {
		i->matched = memcmp(i->result, i->expect, i->bytes) == 0;
		if (i->matched)
			memcpy(at, i->data, i->bytes);
	}
}

static const struct vmcb_segment flat[SEGMENT_COUNT];

static bool emulate(struct machine *m, const u8 *code, u32 count)
{
	struct decode_state state = { .gpr = m->gpr, .segment = flat, .rip = 0x400000, .rflags = m->rflags, .code_bits = 64, .sse = true };
	struct decoded d;

	do {
		decode(&state, code, count, &d);
		if (d.op == DECODE_NOTHING)
			return true;
		if (d.op != DECODE_MEMORY || d.length != count)
			return false;
		if (d.is_xmm && d.insn.kind == INSN_WRITE)
			memcpy(d.insn.data, m->xmm[d.xmm == 9], 16);
		if (d.has_source)
			memcpy(d.insn.data, (void *)(uintptr_t)d.source.a, d.insn.bytes);
		perform(&d.insn);
		if (d.is_xmm && d.insn.kind == INSN_READ)
			memcpy(m->xmm[d.xmm == 9], d.insn.result, 16); // result[] was zero before
	} while (!decode_apply(&d, &d.insn, m->gpr, &m->rflags));
	return true;
}

// ---- the encodings -----------------------------------------------------------------------------------------

#define MEMORY_BYTES 512
#define OPERAND_AT 256
static u8 memory[MEMORY_BYTES] __attribute__((aligned(64)));
static u8 source[MEMORY_BYTES] __attribute__((aligned(64)));

static const u64 values[] = {
	0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x12345678, 0x7fffffff, 0x80000000, 0xffffffff,
	UINT64_C(0x0123456789abcdef), INT64_MAX, UINT64_C(1) << 63, UINT64_MAX, UINT64_C(0xfedcba9876543210),
};

// Opcodes, each with what follows it; the memory operand is (%rdi), others are CL, CH, RCX, RBX, XMM0 and XMM9.
struct encoding {
	u8 count, code[5];
};
#define E(...) { sizeof((u8[]){ __VA_ARGS__ }), { __VA_ARGS__ } }
#define R_M(reg) ((reg) << 3 | 7) // ModRM: (%rdi) and a register or group number
#define ALU(op) E(op, R_M(1)), E(op, R_M(5)), E((op) + 1, R_M(1)), E((op) + 1, R_M(3))
#define GROUP(n) E(0x80, R_M(n), 0x85), E(0x83, R_M(n), 0x85), E(0x83, R_M(n), 0x01)
#define BITS(op, n) E(0x0f, op, R_M(1)), E(0x0f, 0xba, R_M(n), 77)
#define SSE(op) E(0x0f, op, R_M(0)), E(0x44, 0x0f, op, R_M(1)), E(0xf3, 0x0f, op, R_M(0)), E(0xf2, 0x0f, op, R_M(0))

static const struct encoding encodings[] = {
	ALU(0x00), ALU(0x08), ALU(0x20), ALU(0x28), ALU(0x30), GROUP(0), GROUP(1), GROUP(4), GROUP(5), GROUP(6),
	E(0xfe, R_M(0)), E(0xff, R_M(0)), E(0xfe, R_M(1)), E(0xff, R_M(1)), E(0x86, R_M(5)), E(0x87, R_M(3)),
	BITS(0xab, 5), BITS(0xb3, 6), BITS(0xbb, 7),
	E(0x0f, 0xb0, R_M(1)), E(0x0f, 0xb1, R_M(1)), E(0x0f, 0xc7, R_M(1)),
	E(0x88, R_M(5)), E(0x89, R_M(1)), E(0xc6, R_M(0), 0x9a), E(0x0f, 0xc3, R_M(1)),
	E(0x8a, R_M(5)), E(0x8b, R_M(1)), E(0x63, R_M(1)),
	E(0x0f, 0xb6, R_M(1)), E(0x0f, 0xb7, R_M(1)), E(0x0f, 0xbe, R_M(1)), E(0x0f, 0xbf, R_M(1)),
	E(0xaa), E(0xab), E(0xa4), E(0xa5), E(0xf3, 0xaa), E(0xf3, 0xab), E(0xf3, 0xa4), E(0xf3, 0xa5),
	SSE(0x10), SSE(0x11), SSE(0x28), SSE(0x29), SSE(0x2b), SSE(0x6e), SSE(0x6f), SSE(0x7e), SSE(0x7f), SSE(0xd6), SSE(0xe7),
};
static const struct encoding prefixes[] = { E(0x66), E(0x48), E(0xf0), E(0xf0, 0x48), E(0x66, 0xf0) };

#define ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static bool is_string(const struct decoded *d)
{
	return d->string_bytes != 0;
}

static bool is_bit_test(const struct decoded *d)
{
	return d->insn.kind == INSN_RMW && d->insn.alu >= ALU_BTS && d->insn.alu <= ALU_BTC;
}

// Flags that are the same on all processors.
static u64 flags_defined(const struct decoded *d)
{
	if (is_bit_test(d))
		return ARITHMETIC & RFLAGS_CF;
	if (d->insn.kind == INSN_RMW && d->insn.alu >= ALU_AND && d->insn.alu <= ALU_XOR)
		return ARITHMETIC & ~RFLAGS_AF;
	return ARITHMETIC;
}

struct situation {
	struct machine machine;
	u8 memory[MEMORY_BYTES];
};

static void prepare(struct situation *s, const struct decoded *d, u64 in_memory, u64 in_register, u32 variant)
{
	static const u64 bit_numbers[] = { 0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 100, UINT64_MAX, -UINT64_C(16),
					   -UINT64_C(33), -UINT64_C(100) };
	u64 *gpr = s->machine.gpr;

	for (u32 i = 0; i < GPR_COUNT; i++)
		gpr[i] = UINT64_C(0x0102030405060708) * (i + 1);
	gpr[GPR_RCX] = is_bit_test(d) ? bit_numbers[in_register % ARRAY_LEN(bit_numbers)]
		       : is_string(d) ? variant % 4
				      : in_register;
	gpr[GPR_RBX] = in_register ^ 0x5a5a;
	gpr[GPR_RAX] = variant & 2 ? in_memory : in_register + 1; // compares succeed or do not
	gpr[GPR_RDX] = variant & 2 ? in_memory : 0;
	gpr[GPR_RDI] = (u64)(uintptr_t)&memory[OPERAND_AT];
	gpr[GPR_RSI] = (u64)(uintptr_t)&source[OPERAND_AT];
	s->machine.rflags = 0x202 | (variant & 1 ? ARITHMETIC : 0) | (variant & 4 && is_string(d) ? RFLAGS_DF : 0);
	for (u32 i = 0; i < 4; i++)
		s->machine.xmm[i / 2][i % 2] = in_register * (i + 1) + variant;
	for (u32 i = 0; i < MEMORY_BYTES; i += 8) {
		u64 other = in_memory + i * UINT64_C(0x0101010101010101);

		memcpy(&s->memory[i], i == OPERAND_AT || i == OPERAND_AT + 8 ? &in_memory : &other, 8);
		memcpy(&source[i], &other, 8);
	}
}

static void complain(const u8 *code, u32 count, const struct situation *was, const struct situation *native,
		     const struct situation *ours)
{
	if (!test_fail(__FILE__, __LINE__))
		return;
	for (u32 i = 0; i < count; i++)
		printf("%02x ", code[i]);
	printf("with rcx 0x%llx memory 0x%llx flags 0x%llx", (unsigned long long)was->machine.gpr[GPR_RCX],
	       *(const unsigned long long *)(const void *)&was->memory[OPERAND_AT], (unsigned long long)was->machine.rflags);
	for (u32 i = 0; i < GPR_COUNT; i++)
		if (native->machine.gpr[i] != ours->machine.gpr[i])
			printf("; gpr %u 0x%llx, ours 0x%llx", i, (unsigned long long)native->machine.gpr[i],
			       (unsigned long long)ours->machine.gpr[i]);
	printf("; flags 0x%llx, ours 0x%llx; memory %s, xmm %s\n", (unsigned long long)native->machine.rflags,
	       (unsigned long long)ours->machine.rflags,
	       memcmp(native->memory, ours->memory, MEMORY_BYTES) ? "differs" : "equal",
	       memcmp(native->machine.xmm, ours->machine.xmm, sizeof(ours->machine.xmm)) ? "differ" : "equal");
}

static void compare(const u8 *code, u32 count, const struct decoded *d, const struct situation *was, u8 *page)
{
	struct situation native = *was, ours = *was;
	u64 flags = flags_defined(d);

	memcpy(page, code, count);
	page[count] = 0xc3; // RET
	memcpy(memory, was->memory, MEMORY_BYTES);
	native_run(&native.machine, page);
	memcpy(native.memory, memory, MEMORY_BYTES);
	memcpy(memory, was->memory, MEMORY_BYTES);
	bool known = emulate(&ours.machine, code, count);

	memcpy(ours.memory, memory, MEMORY_BYTES);
	if (!known || memcmp(native.machine.gpr, ours.machine.gpr, sizeof(ours.machine.gpr)) ||
	    memcmp(native.machine.xmm, ours.machine.xmm, sizeof(ours.machine.xmm)) ||
	    memcmp(native.memory, ours.memory, MEMORY_BYTES) || ((native.machine.rflags ^ ours.machine.rflags) & flags))
		complain(code, count, was, &native, &ours);
}

// Returns how many situations were compared: 0 when the prefix makes an undefined instruction of it.
static unsigned long compare_encoding(const struct encoding *prefix, const struct encoding *e, u8 *page)
{
	static const u64 once[GPR_COUNT] = { [GPR_RCX] = 1 };
	struct decode_state state = { .gpr = once, .segment = flat, .code_bits = 64, .sse = true };
	u8 code[DECODE_BYTES_MAX];
	u32 count = prefix->count + e->count;
	unsigned long done = 0;
	struct decoded d;

	memcpy(code, prefix->code, prefix->count);
	memcpy(&code[prefix->count], e->code, e->count);
	decode(&state, code, count, &d);
	if (d.op == DECODE_UNKNOWN)
		return 0;
	for (u32 m = 0; m < ARRAY_LEN(values); m++)
		for (u32 r = 0; r < ARRAY_LEN(values); r++)
			for (u32 variant = 0; variant < 8; variant++, done++) {
				struct situation was;

				prepare(&was, &d, values[m], is_bit_test(&d) ? r : values[r], variant);
				compare(code, count, &d, &was, page);
			}
	return done;
}

TEST(apply_agrees_with_the_processor)
{
	static const struct encoding none = { 0, { 0 } };
	u8 *page = mmap(NULL, FRAME_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long compared = 0, kinds = 0;

	if (page == MAP_FAILED) {
		SKIP("no memory that may be written and executed");
		return;
	}
	for (u32 i = 0; i < ARRAY_LEN(encodings); i++)
		for (u32 p = 0; p <= ARRAY_LEN(prefixes); p++) {
			unsigned long done = compare_encoding(p ? &prefixes[p - 1] : &none, &encodings[i], page);

			compared += done;
			kinds += done != 0;
		}
	printf("%lu encodings, executed %lu times\n", kinds, compared);
	munmap(page, FRAME_BYTES);
}

// ---- cases -----------------------------------------------------------------------------------------------

#define R(n) (UINT64_C(0x1122334400008000) + (n) * UINT64_C(0x0000000100010110))

static u64 gpr[GPR_COUNT];

static struct decode_state state_of(u8 code_bits)
{
	struct decode_state s = { .gpr = gpr, .segment = flat, .code_bits = code_bits, .stack_bits = code_bits == 16 ? 16 : 32, .sse = true };

	for (u32 i = 0; i < GPR_COUNT; i++)
		gpr[i] = R(i);
	return s;
}

// Decode `code`, let the operation have `result`, and leave the registers in gpr[].
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
	decode_apply(&d, &done, gpr, &rflags);
	return rflags;
}
#define APPLY(state, result, high, matched, ...) \
	apply(state, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }), result, high, matched)

TEST(apply_loads_extend_as_the_opcode_says)
{
	struct decode_state s = state_of(64);

	APPLY(&s, 0x80, 0, false, 0x0f, 0xb6, 0x08); // movzbl (%rax),%ecx
	CHECK_EQ(gpr[1], 0x80);
	APPLY(&s, 0x80, 0, false, 0x0f, 0xbe, 0x08); // movsbl: upper half cleared
	CHECK_EQ(gpr[1], 0xffffff80);
	APPLY(&s, 0x80, 0, false, 0x48, 0x0f, 0xbe, 0x08); // movsbq
	CHECK_EQ(gpr[1], UINT64_C(0xffffffffffffff80));
	APPLY(&s, 0x80000000, 0, false, 0x48, 0x63, 0x08); // movslq
	CHECK_EQ(gpr[1], UINT64_C(0xffffffff80000000));
	APPLY(&s, 0x12345678, 0, false, 0x8b, 0x08); // mov to ecx
	CHECK_EQ(gpr[1], 0x12345678);
	APPLY(&s, 0xabcd, 0, false, 0x66, 0x8b, 0x08); // mov to cx merges
	CHECK_EQ(gpr[1], 0x1234abcd);
	APPLY(&s, 0xef, 0, false, 0x8a, 0x28); // mov to ch
	CHECK_EQ(gpr[1], 0x1234efcd);
	APPLY(&s, 0x80, 0, false, 0x66, 0x0f, 0xbe, 0x08); // movsbw
	CHECK_EQ(gpr[1], 0x1234ff80);
}

TEST(apply_cmpxchg_sets_flags_and_accumulator)
{
	struct decode_state s = state_of(64);

	// match: flags of a comparison of equals, accumulator untouched
	CHECK_EQ(APPLY(&s, (u32)R(0), 0, true, 0xf0, 0x0f, 0xb1, 0x0a), 0x46);
	CHECK_EQ(gpr[0], R(0));
	// miss: EAX := old, zero-extended; 0x00008000 - 0x00008001 borrows: CF PF AF SF
	CHECK_EQ(APPLY(&s, (u32)R(0) + 1, 0, false, 0xf0, 0x0f, 0xb1, 0x0a), 0x97);
	CHECK_EQ(gpr[0], (u32)R(0) + 1);
	// 0x80 - 1 = 0x7f in bytes overflows: AF OF
	gpr[0] = 0x80;
	CHECK_EQ(APPLY(&s, 1, 0, false, 0x0f, 0xb0, 0x0a), 0x812);
	CHECK_EQ(gpr[0], 1);
}

TEST(apply_cmpxchg_pair_touches_zf_alone)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 1, 2, true, 0xf0, 0x48, 0x0f, 0xc7, 0x0e), 0x8d7);
	CHECK_EQ(gpr[0], R(0));
	CHECK_EQ(gpr[2], R(2));
	CHECK_EQ(APPLY(&s, 1, 2, false, 0xf0, 0x48, 0x0f, 0xc7, 0x0e), 0x897);
	CHECK_EQ(gpr[0], 1);
	CHECK_EQ(gpr[2], 2);
	APPLY(&s, UINT64_C(0xaaaaaaaabbbbbbbb), 0, false, 0xf0, 0x0f, 0xc7, 0x0e); // cmpxchg8b
	CHECK_EQ(gpr[0], 0xbbbbbbbb);
	CHECK_EQ(gpr[2], 0xaaaaaaaa);
}

TEST(apply_push_moves_the_stack_pointer)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 0, 0, false, 0x50), 0x8d7);
	CHECK_EQ(gpr[4], R(4) - 8);
	s = state_of(32);
	gpr[4] = 2;
	APPLY(&s, 0, 0, false, 0x50);
	CHECK_EQ(gpr[4], 0xfffffffe);
	s = state_of(16);
	gpr[4] = 0x50000;
	APPLY(&s, 0, 0, false, 0x50);
	CHECK_EQ(gpr[4], 0x5fffe);
}

TEST(apply_store_changes_nothing)
{
	struct decode_state s = state_of(64);

	CHECK_EQ(APPLY(&s, 0, 0, false, 0x48, 0x89, 0x07), 0x8d7);
	for (u32 i = 0; i < GPR_COUNT; i++)
		CHECK_EQ(gpr[i], R(i));
}

TEST(apply_string_counts_in_the_width_of_addresses)
{
	struct decode_state s = state_of(16);
	static const u8 code[] = { 0xf3, 0xa5 }; // rep movsw
	u64 forward = 2, backward = RFLAGS_DF;
	struct decoded d;

	gpr[GPR_RCX] = 0x50002;
	gpr[GPR_RSI] = 0x6fffe;
	decode(&s, code, sizeof(code), &d);
	CHECK_EQ(decode_apply(&d, &d.insn, gpr, &forward), 0);
	CHECK_EQ(gpr[GPR_RCX], 0x50001);
	CHECK_EQ(gpr[GPR_RSI], 0x60000);
	CHECK_EQ(gpr[GPR_RDI], R(7) + 2);
	CHECK_EQ(decode_apply(&d, &d.insn, gpr, &backward), sizeof(code));
	CHECK_EQ(gpr[GPR_RCX], 0x50000);
	CHECK_EQ(gpr[GPR_RSI], 0x6fffe);
	CHECK_EQ(gpr[GPR_RDI], R(7));
}
