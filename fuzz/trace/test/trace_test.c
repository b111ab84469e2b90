// SPDX-License-Identifier: GPL-2.0-or-later
// The trace language: binary and text round trips over random byte strings and over every op, error messages,
// the dense sets, observation lines and digests, the generator.
#include <stdlib.h>

#include "../../../hv/base/status.h"
#include "../../../hv/test/test.h"
#include "../gen.h"
#include "../text.h"

static size_t random_bytes(struct trace_rng *rng, u8 *to, size_t room)
{
	size_t n = trace_rng_below(rng, (u32)room + 1);

	for (size_t i = 0; i < n; i++)
		to[i] = (u8)trace_rng_next(rng);
	return n;
}

static bool same(const struct trace *a, const struct trace *b)
{
	if (a->count != b->count || !trace_config_equal(&a->config, &b->config))
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (memcmp(&a->op[i], &b->op[i], sizeof(*a->op)))
			return false;
	return true;
}

static char *to_text(const struct trace *t, size_t *bytes)
{
	char *text = malloc((t->count + 1) * TRACE_TEXT_MAX);
	size_t n = trace_print_header(text, &t->config);

	text[n++] = '\n';
	for (size_t i = 0; i < t->count; i++) {
		n += trace_print_op(text + n, &t->op[i]);
		text[n++] = '\n';
	}
	text[n] = 0;
	*bytes = n;
	return text;
}

// x = decode(bytes); decode(encode(x)) == x; parse(print(x)) == x; encode is stable.
static void round_trip(const u8 *data, size_t bytes)
{
	struct trace x = { 0 }, y = { 0 }, z = { 0 };
	struct trace_error error = { 0 };
	size_t once_bytes, twice_bytes, text_bytes, again_bytes;
	u8 *once, *twice;
	char *text, *again;

	trace_decode(&x, data, bytes);
	once = trace_encode(&x, &once_bytes);
	trace_decode(&y, once, once_bytes);
	CHECK(same(&x, &y));
	twice = trace_encode(&y, &twice_bytes);
	CHECK(once_bytes == twice_bytes && !memcmp(once, twice, once_bytes));
	text = to_text(&x, &text_bytes);
	if (!CHECK(trace_parse(&z, text, text_bytes, &error)))
		printf("line %zu: %s\n%s", error.line, error.text, text);
	CHECK(same(&x, &z));
	CHECK(trace_is_text(text, text_bytes));
	again = to_text(&z, &again_bytes);
	CHECK_STR(again, text);
	free(once);
	free(twice);
	free(text);
	free(again);
	trace_free(&x);
	trace_free(&y);
	trace_free(&z);
}

TEST(random_byte_strings_round_trip)
{
	struct trace_rng rng = { 1 };
	u8 data[400];

	for (u32 i = 0; i < 20000; i++) {
		size_t n = random_bytes(&rng, data, sizeof(data));

		round_trip(data, n);
	}
}

TEST(every_op_and_every_argument_byte_round_trip)
{
	u8 data[TRACE_HEADER_BYTES + TRACE_OP_BYTES_MAX] = { 0 };

	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++)
		for (u32 code = 0; code < 256; code++)
			for (u32 at = 1; at < TRACE_OP_BYTES_MAX; at++)
				for (u32 byte = 0; byte < 256; byte += code < OP_COUNT ? 1 : 37) {
					memset(data, 0, sizeof(data));
					data[0] = (u8)kind;
					data[TRACE_HEADER_BYTES] = (u8)code;
					data[TRACE_HEADER_BYTES + at] = (u8)byte;
					round_trip(data, sizeof(data));
				}
}

// The ops with the most rules between their arguments: random bytes seldom reach every pair.
TEST(alter_cas_and_visit_round_trip)
{
	static const u8 codes[] = { OP_ALTER, OP_CAS, OP_VISIT, OP_WRITE, OP_PUSH };
	struct trace_rng rng = { 21 };
	u8 data[TRACE_HEADER_BYTES + TRACE_OP_BYTES_MAX];

	for (u32 i = 0; i < 30000; i++) {
		for (u32 k = 0; k < sizeof(data); k++)
			data[k] = (u8)trace_rng_next(&rng);
		data[TRACE_HEADER_BYTES] = codes[i % ARRAY_LEN(codes)];
		round_trip(data, sizeof(data));
	}
}

TEST(every_header_byte_round_trips)
{
	for (u32 at = 0; at < TRACE_HEADER_BYTES; at++)
		for (u32 byte = 0; byte < 256; byte++) {
			u8 data[TRACE_HEADER_BYTES] = { 0 };

			data[at] = (u8)byte;
			round_trip(data, sizeof(data));
		}
}

TEST(every_prefix_decodes)
{
	struct trace_rng rng = { 7 };
	u8 data[200];

	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)trace_rng_next(&rng);
	for (size_t n = 0; n <= sizeof(data); n++)
		round_trip(data, n);
}

TEST(no_bytes_are_the_default_trace)
{
	struct trace_reader r;
	struct trace_op op;

	trace_open(&r, NULL, 0);
	CHECK_EQ(r.config.kind, TRACE_HVM64);
	CHECK_EQ(r.config.vcpus, 1);
	CHECK_EQ(r.config.pool_pages, 20);
	CHECK_EQ(r.config.opts, 0);
	CHECK(!r.config.flush_auto);
	CHECK(!trace_next(&r, &op));
	round_trip(NULL, 0);
}

// An op whose arguments are missing is filled with zero bytes.
TEST(missing_arguments_are_zero)
{
	u8 data[TRACE_HEADER_BYTES + 1] = { 0, 0, 0, 0, 0, OP_WRITE };
	char text[TRACE_TEXT_MAX];
	struct trace_reader r;
	struct trace_op op;

	trace_open(&r, data, sizeof(data));
	CHECK(trace_next(&r, &op));
	trace_print_op(text, &op);
	CHECK_STR(text, "write 0.0.0.0 u1 = 0x0");
	CHECK(!trace_next(&r, &op));
}

static bool stores_or_loads(const struct trace_op *op)
{
	return op->code == OP_READ || op->code == OP_WRITE || op->code == OP_SET || op->code == OP_PUSH ||
	       op->code == OP_ALTER || op->code == OP_VISIT;
}

static u32 reach_of(const struct trace_op *op)
{
	bool rep = op->code == OP_ALTER && (op->insn == INS_REP_STOS || op->insn == INS_REP_MOVS);

	if (op->code == OP_SET)
		return trace_entry_bytes((enum trace_mode)op->mode);
	if (op->code == OP_PUSH)
		return trace_push_bytes((enum trace_mode)op->mode);
	return rep ? TRACE_REP * op->bytes : op->bytes;
}

// Whatever bytes say: no data access touches the reserved bytes of any frame, no entry op touches an entry there.
TEST(reserved_bytes_are_out_of_reach)
{
	struct trace_rng rng = { 3 };
	u8 data[4096];

	for (u32 round = 0; round < 1000; round++) {
		struct trace_reader r;
		struct trace_op op;

		trace_open(&r, data, random_bytes(&rng, data, sizeof(data)));
		while (trace_next(&r, &op)) {
			u32 entry_bytes = trace_entry_bytes((enum trace_mode)op.mode);
			u32 offset = op.va & 0xfff, bytes = reach_of(&op);
			u32 at = op.index * entry_bytes,
			    to = at + (op.code == OP_CAS && op.bytes > entry_bytes ? op.bytes : entry_bytes);

			CHECK(op.code == OP_VISIT || op.mode == (u32)r.config.kind);
			CHECK(to <= 0x800 || at >= 0x810);
			CHECK(to <= 0x1000);
			if (stores_or_loads(&op)) {
				CHECK(bytes >= 1);
				CHECK(offset + bytes <= 0x800 || offset >= 0x810);
				CHECK(offset + bytes <= 0x1000 || offset + bytes - 0x1000 <= 0x800);
				CHECK(op.bytes != 16 || offset + 16 <= 0x1000);
			}
			if (op.code == OP_EXEC || op.code == OP_SWEEP || op.code == OP_INVLPG)
				CHECK_EQ(offset, 0);
			CHECK((s64)(op.va << 16) >> 16 == (s64)op.va);
			CHECK(op.mode == TRACE_MODE_64 || op.va <= UINT32_MAX);
		}
	}
}

// An index of a mode's addresses leads to the user's part of a root, never to the kernel's.
TEST(addresses_spare_the_kernel)
{
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++)
		for (u32 raw = 0; raw < 0x10000; raw++) {
			const struct trace_op op = { .mode = (u8)mode, .code = OP_READ };
			u64 va = trace_arg_decode(&op, &trace_ops[OP_READ].arg[0], raw);

			if (mode == TRACE_MODE_64)
				CHECK((va >> 39 & 0x1ff) != 256);
			else if (mode == TRACE_MODE_PAE)
				CHECK(va >> 31 == 1);
			else
				CHECK(va >> 24 != 0x80);
		}
}

// Nor does an access or the page behind it reach the kernel through an entry in the reserved bytes of a table: such a
// page would be the kernel's own table, and the walk would leave an A bit in a reserved word.
TEST(pages_and_their_neighbours_use_no_reserved_entry)
{
	for (u32 m = 0; m < TRACE_MODE_COUNT; m++)
		for (u32 raw = 0; raw < 0x10000; raw++) {
			const struct trace_op op = { .mode = (u8)m, .code = OP_EXEC };
			u64 va = trace_arg_decode(&op, &trace_ops[OP_EXEC].arg[0], raw);
			const struct trace_mode_info *mode = &trace_modes[m];
			u32 bytes = trace_entry_bytes((enum trace_mode)m);

			for (u32 i = 0; i + 1 < mode->va_parts; i++)
				for (u32 next = 0; next < 2; next++) {
					u32 index = (va + next * FRAME_BYTES) >> mode->va[i].shift & mode->va[i].mask;

					CHECK(index * bytes - TRACE_RESERVED_AT >= TRACE_RESERVED_BYTES);
				}
		}
}

TEST(a_million_ops)
{
	size_t bytes = TRACE_HEADER_BYTES + 1000000;
	u8 *data = calloc(1, bytes);
	struct trace_reader r;
	struct trace_op op;
	u32 count = 0;

	memset(data + TRACE_HEADER_BYTES, OP_FLUSH, bytes - TRACE_HEADER_BYTES);
	trace_open(&r, data, bytes);
	while (trace_next(&r, &op))
		count += op.code == OP_FLUSH;
	CHECK_EQ(count, 1000000);
	free(data);
}

// ---- text ---------------------------------------------------------------------------------------------
#define HEADER " vcpus=2 pool=24 opts=all flush=auto\n"

static const char *parsed_as(const char *kind, const char *line)
{
	static char text[TRACE_TEXT_MAX * 2];
	struct trace t = { 0 };
	struct trace_error error;

	snprintf(text, sizeof(text), "domain %s" HEADER "%s\n", kind, line);
	if (!trace_parse(&t, text, strlen(text), &error))
		snprintf(text, sizeof(text), "%zu: %.400s", error.line, error.text);
	else if (t.count)
		trace_print_op(text, &t.op[t.count - 1]);
	else
		text[0] = 0;
	trace_free(&t);
	return text;
}

static const char *parsed(const char *line)
{
	return parsed_as("hvm64", line);
}

TEST(every_form_of_line_is_read)
{
	static const char *const lines[] = {
		"pte f3[7] = f4 P W U",
		"pte f15[511] = far",
		"half f3[7].lo = f4 P W",
		"half f3[7].hi = hole0 NX HI",
		"cas f3[7] u8 match = f4 P",
		"cas f3[254] u16 miss = f4 P PS",
		"peek f3[7]",
		"zero f3",
		"copy f3 <- f4",
		"phys f3[7] = f4 P W U",
		"read 1.0.3.15+0x8 u8",
		"read 1.0.3.15+0x8 u8 cpl3 tlb1",
		"write 1.0.3.15+0x8 u4 = 0x5a5a5a5a cpl3",
		"write 511.511.511.510+0xfff u2 = 0x0 tlb3",
		"set 1.0.3.15+0x8 = f4 P W cpl3 tlb2",
		"set 1.0.3.15+0x8 = f4",
		"push 1.0.3.15+0x8 = 0x1111111111111111",
		"exec 1.0.3.15 cpl3",
		"sweep 1.0.3.0 n=8 cpl3 tlb1",
		"cr3 f1",
		"cr3 hole1",
		"reload",
		"invlpg 1.0.3.15",
		"flush",
		"ctl wp=0",
		"ctl pge=1",
		"vcpu 1",
		"unshadow f3",
		"blow",
		"pool 40",
		"pool 256 (fail_nth: 1)",
		"swap f3 f4",
		"renew f3",
		"remove f3",
		"check",
		"write 0.0.0.0 u1 = 0xff (fail_nth: 3) (race_nth: 15)",
		"pte f0[0] = f0 P W U PWT PCD A D PS G AVL NX HI R51",
		"read 1.0.3.15+0x8 u8 cpl3 tlb1 ac",
		"sweep 1.0.3.0 n=8 ac",
		"real f3[7] = f4 P W U",
		"badreg cr0_nw",
		"badreg cr3_high",
		"ctl pse=1",
		"alter 1.0.3.15+0x8 mov u8 = f4 P W cpl3 tlb2 ac",
		"alter 1.0.3.15+0x10 sse u16 = f4",
		"alter 1.0.3.15+0xff8 rep_movs u8 = hole0 U (fail_nth: 2)",
		"alter 1.0.3.15+0x3 lock_btc u2 = f0 A",
		"alter 1.0.3.15 lock_cas u16 = far P",
		"alter 1.0.3.15+0xffd xadd u1 = f15 P W",
		"visit pae f3 2.258.300+0x8 read u4 = 0x0",
		"visit 32 f3 516.1022+0xffc write u4 = 0x5a5a5a5a",
		"visit 64 f15 511.511.511.510 write u1 = 0xff (race_nth: 1)",
	};

	for (u32 i = 0; i < ARRAY_LEN(lines); i++)
		CHECK_STR(parsed(lines[i]), lines[i]);
}

TEST(every_form_of_line_is_read_in_32_bit_modes)
{
	static const char *const lines_32[] = {
		"pte f3[1023] = f4 P W U",
		"pte f15[516] = far P PATL P36 R21",
		"half f3[511].lo = f4 P W",
		"half f3[7].hi = hole0 PS",
		"cas f3[7] u4 match = f4 P",
		"cas f3[510] u8 miss = f4 P PS",
		"peek f3[1022]",
		"read 0.1022+0xfff u8",
		"write 1.0+0x8 u4 = 0x5a5a5a5a",
		"write 1.0+0x8 u8 = 0x4141414141414141",
		"set 516.15+0xffd = f4 P W cpl3 tlb2",
		"push 1.3 = 0x12121212",
		"exec 1023.1022 ac",
		"sweep 511.510 n=16",
		"cr3 far",
		"invlpg 1022.300",
		"alter 0.0 cas u8 = f4 P W",
		"alter 0.0 sse u16 = f4 P W",
		"alter 0.0 movnti u4 = f1",
		"visit pae f3 3.0.0 write u2 = 0x101",
		"visit 64 f3 0.1.3.300 read u1 = 0x1",
	};
	static const char *const lines_pae[] = {
		"pte f3[259] = f4 P",
		"pte f0[0] = f0 P W U PWT PCD A D PS G AVL NX HI R51",
		"half f3[258].hi = far",
		"cas f3[510] u8 match = f4 P W",
		"cas f3[1] u4 miss = f4",
		"read 2.254.15+0x8 u8",
		"write 3.511.510+0xffc u8 = 0x101010101010101",
		"push 3.0.0+0x7f8 = 0x5a5a5a5a",
		"set 2.0.1 = f4 NX",
		"exec 2.1.300",
		"cr3 f1",
		"alter 2.0.0 lock_cas u8 = f4 P",
		"visit 32 f1 3.16 write u4 = 0x41414141",
	};

	for (u32 i = 0; i < ARRAY_LEN(lines_32); i++)
		CHECK_STR(parsed_as("hvm32", lines_32[i]), lines_32[i]);
	for (u32 i = 0; i < ARRAY_LEN(lines_pae); i++)
		CHECK_STR(parsed_as("hvmpae", lines_pae[i]), lines_pae[i]);
}

TEST(spelling_is_free_where_it_does_no_harm)
{
	CHECK_STR(parsed("  pte\tf3 [ 7 ]=f4 U W P   # story"), "pte f3[7] = f4 P W U");
	CHECK_STR(parsed("write 1.0.3.15 u2=0x5a5a tlb1 cpl3\r"), "write 1.0.3.15 u2 = 0x5a5a cpl3 tlb1");
	CHECK_STR(parsed("write 1.0.3.15 u1 = 90"), "write 1.0.3.15 u1 = 0x5a");
	CHECK_STR(parsed("read 1.0.3.15+0x0 u2"), "read 1.0.3.15 u2");
	CHECK_STR(parsed("copy f3<-f4 (race_nth:2)(fail_nth : 1)"), "copy f3 <- f4 (fail_nth: 1) (race_nth: 2)");
}

TEST(let_names_frames)
{
	CHECK_STR(parsed("let root = f1\nlet l1=f9\npte root[0] = l1 P"), "pte f1[0] = f9 P");
	CHECK_STR(parsed("let root = f1\ncr3 root"), "cr3 f1");
	CHECK_STR(parsed("let root = f1\nlet root = f2"), "3: expected a new name for a frame, found 'root'");
	CHECK_STR(parsed("let f1 = f2"), "2: expected a new name for a frame, found 'f1'");
	CHECK_STR(parsed("let a = hole0"),
		  "2: expected a frame (f0 to f15, or a name given with let), found 'hole0'");
}

TEST(errors_say_what_was_expected)
{
	CHECK_STR(parsed("poke f1"), "2: expected an operation (see umbra docs) or let, found 'poke'");
	CHECK_STR(parsed("pte f16[0] = f1"),
		  "2: expected a frame (f0 to f15, or a name given with let), found 'f16[0]'");
	CHECK_STR(parsed("pte f1[9] = f1"),
		  "2: expected INDEX (0 1 2 3 4 5 6 7 8 15 16 255 258 509 510 511), found '9]'");
	CHECK_STR(parsed("cas f1[15] u16 match = f1"),
		  "2: expected INDEX (0 2 4 6 8 14 16 254 258 508 510), found '15]'");
	CHECK_STR(parsed("pte f1[0 = f1"), "2: expected ']', found '='");
	CHECK_STR(parsed("pte f1[0]"), "2: expected '=', found the end of the line");
	CHECK_STR(parsed("pte f1[0] = f1 P X"),
		  "2: expected one of P W U PWT PCD A D PS G AVL NX HI R51, (fail_nth: N), (race_nth: N) or the end of "
		  "the line, found 'X'");
	CHECK_STR(parsed("read 1.0.3.15 u3"), "2: expected SIZE (u1 u2 u4 u8), found 'u3'");
	CHECK_STR(parsed("read 1.0.3 u1"), "2: expected '.' and the next index of the address L4.L3.L2.L1, found 'u1'");
	CHECK_STR(
		parsed("read 2.0.3.15 u1"),
		"2: expected VA (L4 of 0 1 255 511; L3 of 0 1 2 511; L2 of 0 1 3 511; L1 of 0 1 2 3 4 5 6 7 8 15 16 17 "
		"258 300 509 510; offset of 0 0x8 0x10 0x18 0x38 0x40 0x78 0x7f8 0x810 0xff0 0xff8 0x4 0x3 0xffc "
		"0xffd 0xfff), found '2.0.3.15'");
	CHECK_STR(parsed("exec 1.0.3.15+0x8"), "2: expected a page address without offset, found '+0x8'");
	CHECK_STR(parsed("write 1.0.3.15 u2 = 0x5a"),
		  "2: expected VALUE (one byte repeated over the access), found '0x5a'");
	CHECK_STR(parsed("pool 257"), "2: expected POOL (1 to 256), found '257'");
	CHECK_STR(parsed("vcpu 4"), "2: expected VCPU (0 1 2 3), found '4'");
	CHECK_STR(parsed("ctl wp=2"), "2: expected ON (0 1), found '2'");
	CHECK_STR(parsed("ctl vme=1"), "2: expected CTL (wp nxe smep smap pge pse), found 'vme=1'");
	CHECK_STR(parsed("flush (fail_nth: 16)"), "2: expected a number from 1 to 15, found '16)'");
	CHECK_STR(parsed("flush (nth: 1)"), "2: expected (fail_nth: N) or (race_nth: N), found '(nth:'");
	CHECK_STR(parsed("flush now"),
		  "2: expected (fail_nth: N), (race_nth: N) or the end of the line, found 'now'");
	CHECK_STR(parsed("\n\n\x01"), "4: expected text, found the byte 0x01");
}

TEST(errors_know_the_mode)
{
	CHECK_STR(parsed_as("hvm32", "read 0.1024 u1"),
		  "2: expected an index below 1024 in the address L2.L1, found '1024'");
	CHECK_STR(parsed_as("hvm32", "read 0 u1"),
		  "2: expected '.' and the next index of the address L2.L1, found 'u1'");
	CHECK_STR(parsed_as("hvmpae", "read 4.0.0 u1"),
		  "2: expected an index below 4 in the address L3.L2.L1, found '4.0.0'");
	CHECK_STR(parsed_as("hvmpae", "exec 1.0.0"), "2: expected PAGE (L3 of 2 3; L2 of 0 1 2 3 4 5 6 7 8 15 16 254 "
						     "258 259 510 511; L1 of 0 1 2 3 4 5 6 7 8 15 16 17 258 "
						     "300 509 510), found '1.0.0'");
	CHECK_STR(parsed_as("hvm32", "pte f1[512] = f1"),
		  "2: expected INDEX (0 1 2 3 4 5 6 7 8 15 16 510 511 516 1022 1023), found '512]'");
	CHECK_STR(parsed_as("hvm32", "pte f1[0] = f1 NX"), "2: expected one of P W U PWT PCD A D PS G AVL PATL P36 "
							   "R21, (fail_nth: N), (race_nth: N) or the end of the "
							   "line, found 'NX'");
	CHECK_STR(parsed_as("hvm32", "cas f1[0] u16 match = f1"), "2: expected CASSIZE (u4 u8), found 'u16'");
	CHECK_STR(parsed_as("hvm32", "write 0.0 u1 = 0x1"),
		  "2: expected VALUE (one byte repeated over the access; an odd one has bit 6 set), found '0x1'");
	CHECK_STR(parsed_as("hvmpae", "alter 2.0.0 mov u8 = f1"), "2: expected INSNSIZE (u1 u2 u4), found 'u8'");
	CHECK_STR(parsed("alter 0.0.0.0 bts u1 = f1"), "2: expected INSNSIZE (u2 u4 u8), found 'u1'");
	CHECK_STR(parsed("alter 0.0.0.0+0x7f8 rep_stos u4 = f1"),
		  "2: expected an operand that spares bytes 0x800 to 0x80f and, with 16 bytes, lies in one page, found "
		  "'0.0.0.0+0x7f8'");
	CHECK_STR(parsed("alter 0.0.0.0+0xff8 cas u16 = f1"),
		  "2: expected an operand that spares bytes 0x800 to 0x80f and, with 16 bytes, lies in one page, found "
		  "'0.0.0.0+0xff8'");
	CHECK_STR(parsed("visit 16 f1 0.0 read u1 = 0x0"), "2: expected MODE (64 32 pae), found '16'");
	CHECK_STR(parsed("visit 32 f1 0.0 read u8 = 0x0"), "2: expected SMALLSIZE (u1 u2 u4), found 'u8'");
	CHECK_STR(parsed("badreg cr0"),
		  "2: expected BAD (cr0_nw cr0_pg cr0_high cr0_pg_clear cr4_reserved cr4_la57 cr4_pcide cr4_pae_clear "
		  "efer_reserved efer_lme cr3_high), found 'cr0'");
}

static const char *header_error(const char *text)
{
	static struct trace_error error;
	struct trace t = { 0 };

	if (trace_parse(&t, text, strlen(text), &error))
		snprintf(error.text, sizeof(error.text), "fine");
	trace_free(&t);
	return error.text;
}

TEST(header_errors)
{
	CHECK_STR(header_error(""), "expected the line 'domain hvm64 ...', found the end of the file");
	CHECK_STR(header_error("# only\n\n"), "expected the line 'domain hvm64 ...', found the end of the file");
	CHECK_STR(header_error("flush\n"), "expected the line 'domain hvm64 ...', found 'flush'");
	CHECK_STR(header_error("domain pv64"),
		  "expected the domain kind hvm64, hvm32 or hvmpae (no other runs yet), found 'pv64'");
	CHECK_STR(header_error("domain hvm64 vcpus=5"), "expected vcpus=1 to vcpus=4, found 'vcpus=5'");
	CHECK_STR(header_error("domain hvm64 pool=19"), "expected pool=20 to pool=275, found 'pool=19'");
	CHECK_STR(header_error("domain hvm64 opts=0x100"),
		  "expected opts=all, none, a mask up to 0xff, or names joined with + (reap early fast prefetch "
		  "linux_l3 skip_verify fast_emulate again), found 'opts=0x100'");
	CHECK_STR(header_error("domain hvm64 flush=now"), "expected flush=auto or flush=manual, found 'flush=now'");
	CHECK_STR(header_error("domain hvm64 mode=64"), "expected vcpus=, pool=, opts= or flush=, found 'mode=64'");
	CHECK_STR(header_error("domain hvm64"), "fine");
	CHECK_STR(header_error("domain hvm32"), "fine");
	CHECK_STR(header_error("domain hvmpae opts=again+skip_verify"), "fine");
	CHECK_STR(header_error("domain hvm64 opts=fast+reap"), "fine");
}

TEST(text_is_told_from_binary)
{
	CHECK(trace_is_text("domain hvm64", 12));
	CHECK(trace_is_text("# a\n\n\t domain", 13));
	CHECK(!trace_is_text("", 0));
	CHECK(!trace_is_text("\0\1\2", 3));
	CHECK(!trace_is_text("# doma", 6));
	CHECK(!trace_is_text("doma", 4));
}

// Random text: never a crash, and what is accepted prints and parses again.
TEST(random_text_is_refused_or_stable)
{
	static const char *const words[] = {
		"pte",      "read", "f1",   "f4",  "[",     "0",     "]", "=",        "P",    "W",    "u8",
		"1.0.3.15", "+0x8", "cpl3", "\n",  "\n",    "flush", "(", "fail_nth", ":",    "3",    ")",
		"let",      "a",    "#",    "cas", "match", "0x",    ".", "<-",       "copy", "zero",
	};
	struct trace_rng rng = { 11 };
	u32 accepted = 0;

	for (u32 round = 0; round < 50000; round++) {
		char text[1024] = "domain hvm64\n";
		struct trace t = { 0 };
		struct trace_error error;

		for (u32 n = trace_rng_below(&rng, 12); n; n--) {
			strcat(text, words[trace_rng_below(&rng, ARRAY_LEN(words))]);
			strcat(text, trace_rng_below(&rng, 2) ? " " : "");
		}
		if (trace_parse(&t, text, strlen(text), &error)) {
			size_t bytes;
			u8 *data = trace_encode(&t, &bytes);

			round_trip(data, bytes);
			free(data);
			accepted++;
		} else {
			CHECK(strstr(error.text, "expected ") && strstr(error.text, ", found "));
		}
		trace_free(&t);
	}
	CHECK(accepted > 100);
}

// ---- observations ---------------------------------------------------------------------------------------
static const char *line_of(u8 code, struct obs o)
{
	static char line[OBS_LINE_MAX];
	struct trace_op op = { .code = code };

	CHECK_EQ(obs_line(line, 12, &op, &o), strlen(line));
	return line;
}

TEST(observation_lines)
{
	char reason[400];

	CHECK_STR(line_of(OP_PTE, (struct obs){ .kind = OBS_OK }), "12 pte ok");
	CHECK_STR(line_of(OP_READ, (struct obs){ .kind = OBS_VALUE, .bytes = 1, .value = { 0x5a } }),
		  "12 read ok 0x5a");
	CHECK_STR(line_of(OP_READ, (struct obs){ .kind = OBS_VALUE, .bytes = 8, .value = { ~UINT64_C(0) } }),
		  "12 read ok 0xffffffffffffffff");
	CHECK_STR(line_of(OP_READ, (struct obs){ .kind = OBS_VALUE, .bytes = 8 }), "12 read ok 0x0");
	CHECK_STR(line_of(OP_CAS, (struct obs){ .kind = OBS_CAS, .bytes = 16, .value = { 0x27, 1 }, .matched = 1 }),
		  "12 cas ok 0x27 0x1 match");
	CHECK_STR(line_of(OP_CAS, (struct obs){ .kind = OBS_CAS, .bytes = 4, .value = { 0x27 } }),
		  "12 cas ok 0x27 miss");
	CHECK_STR(line_of(OP_WRITE, (struct obs){ .kind = OBS_FAULT, .vector = 14, .error = 7, .cr2 = 0x201000 }),
		  "12 write #PF err=0x7 cr2=0x201000");
	CHECK_STR(line_of(OP_CR3, (struct obs){ .kind = OBS_FAULT, .vector = 13 }), "12 cr3 #GP err=0x0");
	CHECK_STR(line_of(OP_EXEC, (struct obs){ .kind = OBS_FAULT, .vector = 6 }), "12 exec #UD");
	CHECK_STR(line_of(OP_EXEC, (struct obs){ .kind = OBS_FAULT, .vector = 12, .error = 1 }), "12 exec #12 err=0x1");
	CHECK_STR(line_of(OP_POOL, (struct obs){ .kind = OBS_STATUS, .status = HV_ENOMEM }), "12 pool enomem");
	CHECK_STR(line_of(OP_CR3, (struct obs){ .kind = OBS_KILLED, .reason = "wild cr3" }), "12 cr3 killed wild cr3");
	CHECK_STR(line_of(OP_SWEEP, (struct obs){ .kind = OBS_SWEEP, .count = 8, .value = { 0xab } }),
		  "12 sweep ok n=8 0xab");
	CHECK_STR(line_of(OP_SWEEP, (struct obs){ .kind = OBS_SWEEP, .vector = 14, .error = 4, .cr2 = 0x3000,
						  .count = 3, .value = { 0xab } }),
		  "12 sweep #PF err=0x4 cr2=0x3000 n=3 0xab");
	memset(reason, 'x', sizeof(reason));
	reason[sizeof(reason) - 1] = 0;
	CHECK_EQ(strlen(line_of(OP_CR3, (struct obs){ .kind = OBS_KILLED, .reason = reason })), OBS_LINE_MAX - 1);
}

TEST(lines_of_alter_print_what_the_instruction_has)
{
	static const struct { u8 insn, bytes; const char *line; } rows[] = {
		{ INS_MOV, 4, "7 alter ok" }, { INS_REP_MOVS, 8, "7 alter ok" }, { INS_SSE, 16, "7 alter ok" },
		{ INS_XCHG, 4, "7 alter ok 0x27" }, { INS_CAS, 8, "7 alter ok 0x27 flags=0x40" },
		{ INS_LOCK_CAS, 16, "7 alter ok 0x27 0x55 flags=0x40" }, { INS_XADD, 2, "7 alter ok 0x27 flags=0x8d5" },
		{ INS_OR, 1, "7 alter ok flags=0x8c5" }, { INS_LOCK_INC, 4, "7 alter ok flags=0x8d4" },
		{ INS_LOCK_BTC, 4, "7 alter ok flags=0x1" },
	};
	const struct obs fault = { .kind = OBS_FAULT, .vector = 14, .error = 3, .cr2 = 0x1000 };
	struct trace_op op = { .code = OP_ALTER };
	char line[OBS_LINE_MAX];

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		struct obs o = { .kind = OBS_ALTER, .value = { 0x27, 0x55 }, .error = 0x8d5 };

		op.insn = rows[i].insn;
		op.bytes = rows[i].bytes;
		obs_line(line, 7, &op, &o);
		CHECK_STR(line, rows[i].line);
	}
	obs_line(line, 7, &op, &fault);
	CHECK_STR(line, "7 alter #PF err=0x3 cr2=0x1000");
}

TEST(digests_tell_control_ops_apart)
{
	struct trace_op guest = { .code = OP_READ }, control = { .code = OP_POOL };
	struct obs_digest a, b;
	char line[OBS_LINE_MAX];

	obs_digest_start(&a);
	obs_digest_start(&b);
	obs_digest_add(&a, &guest, "1 read ok 0x0", 13);
	obs_digest_add(&b, &guest, "1 read ok 0x0", 13);
	CHECK(a.guest == b.guest && a.all == b.all && a.guest == a.all);
	obs_digest_add(&a, &control, "2 pool ok", 9);
	CHECK(a.guest == b.guest && a.all != b.all);
	obs_digest_add(&a, NULL, "memory 0x0", 10);
	CHECK(a.guest != b.guest);
	// FNV-1a of "a\n", computed by hand from its definition.
	obs_digest_start(&a);
	obs_digest_add(&a, &guest, "a", 1);
	CHECK_EQ(a.all, ((UINT64_C(0xcbf29ce484222325) ^ 'a') * UINT64_C(0x100000001b3) ^ '\n') *
				UINT64_C(0x100000001b3));
	a.guest = 1;
	a.all = ~UINT64_C(0);
	obs_digest_line(line, &a);
	CHECK_STR(line, "digest guest=0000000000000001 all=ffffffffffffffff");
	obs_memory_line(line, 0xabc);
	CHECK_STR(line, "memory 0x0000000000000abc");
}

// ---- generator --------------------------------------------------------------------------------------------
TEST(generator_is_deterministic_and_expressible)
{
	for (u32 seed = 0; seed < 300; seed++) {
		struct trace_config config = { .kind = (enum trace_kind)(seed % TRACE_KINDS_RUN), .vcpus = 1 + seed % 4,
					       .pool_pages = 24, .flush_auto = seed & 1 };
		bool plain = seed & 2;
		static struct trace_gen a, b;

		trace_gen_start(&a, seed, &config, plain);
		trace_gen_start(&b, seed, &config, plain);
		for (u32 i = 0; i < 500; i++) {
			u8 bytes[TRACE_HEADER_BYTES + TRACE_OP_BYTES_MAX] = { (u8)config.kind };
			struct trace_reader r;
			struct trace_op x, y;
			size_t n;

			trace_gen_next(&a, &x);
			trace_gen_next(&b, &y);
			CHECK(trace_op_equal(&x, &y) && x.mode == y.mode);
			n = trace_put_op(bytes + TRACE_HEADER_BYTES, &x);
			trace_open(&r, bytes, TRACE_HEADER_BYTES + n);
			CHECK(trace_next(&r, &y) && trace_op_equal(&x, &y) && x.mode == y.mode);
			CHECK(!(config.flush_auto && x.stale));
			CHECK(!(plain && (x.fail_nth || x.race_nth || x.code == OP_REMOVE)));
			CHECK(!(plain && x.code == OP_CR3 && x.target >= TRACE_FRAMES &&
				trace_root_is_high(x.target) == (config.kind == TRACE_HVM64)));
			CHECK(!(config.vcpus == 1 && x.race_nth));
		}
	}
}

TEST(random_ops_cover_the_alphabet)
{
	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++) {
		struct trace_config config = { .kind = (enum trace_kind)kind, .vcpus = 2, .pool_pages = 24 };
		struct trace_rng rng = { 5 };
		u32 seen[OP_COUNT] = { 0 }, insns[INS_COUNT] = { 0 };

		for (u32 i = 0; i < 20000; i++) {
			struct trace_op op, normal;

			trace_random_op(&rng, &config, &op);
			normal = op;
			trace_normalise(&normal);
			CHECK(trace_op_equal(&op, &normal));
			CHECK(op.code == OP_VISIT || op.mode == kind);
			seen[op.code]++;
			if (op.code == OP_ALTER)
				insns[op.insn]++;
		}
		for (u32 i = 0; i < OP_COUNT; i++)
			if (!CHECK(seen[i] > 10))
				printf("%s: %u\n", trace_op_name((enum trace_code)i), seen[i]);
		for (u32 i = 0; i < INS_COUNT; i++)
			CHECK(insns[i] > 5);
	}
}

// Scenes reach what single ops do not: every op, every instruction, every mode to visit, in every kind.
TEST(generator_covers_the_alphabet)
{
	for (u32 kind = 0; kind < TRACE_KINDS_RUN; kind++) {
		struct trace_config config = { .kind = (enum trace_kind)kind, .vcpus = 2, .pool_pages = 24 };
		u32 seen[OP_COUNT] = { 0 }, insns[INS_COUNT] = { 0 }, visits[TRACE_MODE_COUNT] = { 0 };
		static struct trace_gen g;

		trace_gen_start(&g, 77, &config, false);
		for (u32 i = 0; i < 30000; i++) {
			struct trace_op op;

			trace_gen_next(&g, &op);
			seen[op.code]++;
			if (op.code == OP_ALTER)
				insns[op.insn]++;
			if (op.code == OP_VISIT)
				visits[op.mode]++;
		}
		for (u32 i = 0; i < OP_COUNT; i++)
			if (!CHECK(seen[i] > 10))
				printf("%s: %u\n", trace_op_name((enum trace_code)i), seen[i]);
		for (u32 i = 0; i < INS_COUNT; i++)
			CHECK(insns[i] > 20);
		for (u32 i = 0; i < TRACE_MODE_COUNT; i++)
			CHECK(visits[i] > 50);
	}
}

// Fields full of junk become something that the binary form has.
TEST(normalise_makes_anything_expressible)
{
	const u8 on_at = offsetof(struct trace_op, on); // a bool cannot hold junk
	struct trace_rng rng = { 9 };

	for (u32 i = 0; i < 300000; i++) {
		u8 kind = (u8)trace_rng_below(&rng, TRACE_KINDS_RUN);
		u8 bytes[TRACE_HEADER_BYTES + TRACE_OP_BYTES_MAX] = { kind };
		struct trace_op op = { .mode = kind, .code = (u8)trace_rng_below(&rng, OP_COUNT) }, back;
		struct trace_reader r;
		size_t n;

		for (u32 k = 0; k < trace_ops[op.code].args; k++)
			trace_set_field(&op, &trace_ops[op.code].arg[k],
					trace_rng_next(&rng) &
						(trace_ops[op.code].arg[k].offset == on_at ? 1 : ~UINT64_C(0)));
		trace_normalise(&op);
		n = trace_put_op(bytes + TRACE_HEADER_BYTES, &op);
		trace_open(&r, bytes, TRACE_HEADER_BYTES + n);
		CHECK(trace_next(&r, &back) && trace_op_equal(&op, &back) && op.mode == back.mode);
	}
}
