// SPDX-License-Identifier: GPL-2.0-or-later
// The trace language's operations of the domain's management: text, errors, the binary form, the hypercalls that they are,
// and the generator's scenes with them.
#include "../../../hv/base/status.h"
#include "../../../hv/domain/hypercall.h"
#include "../../../hv/test/test.h"
#include "../gen.h"
#include "../text.h"

#define HEADER "domain hvm32 vcpus=2 pool=24 opts=all flush=auto\n"

static const char *parsed(const char *line)
{
	static char text[1024];
	struct trace t = { 0 };
	struct trace_error error;

	snprintf(text, sizeof(text), HEADER "%s\n", line);
	if (trace_parse(&t, text, strlen(text), &error))
		trace_print_op(text, &t.op[t.count - 1]);
	else
		snprintf(text, sizeof(text), "%s", error.text);
	trace_free(&t);
	return text;
}

static struct trace_op op_of(const char *line)
{
	char text[256];
	struct trace t = { 0 };
	struct trace_error error;
	struct trace_op op = { 0 };
	int n = snprintf(text, sizeof(text), HEADER "%s\n", line);

	if (CHECK(trace_parse(&t, text, (size_t)n, &error)))
		op = t.op[0];
	trace_free(&t);
	return op;
}

TEST(every_form_of_line_is_read)
{
	static const char *const lines[] = {
		"control off", "control test", "control logdirty", "control translate", "control clean n=16", "control clean",
		"control peek n=511 self", "control get absent", "control clean n=3 above1", "control peek n=17 beyond",
		"control set n=1", "control set", "control set n=511",
		"control enable n=31", "control blow self", "control blow_all", "control logdirty_off (fail_nth: 3)",
		"migrate start", "migrate round (race_nth: 2)", "migrate finish", "migrate cancel", "migrate round_30 (race_nth: 3)", "retype f3 rw",
		"retype f0 ro", "retype f15 logdirty", "move f3 -> f4", "identity on hole0-1 n=3", "identity off f0-2 n=0",
		"identity on f15+1 n=512", "identity on hole1 n=1025", "identity on top-2 n=4", "identity off top+2 n=18",
		"balloon down f3 n=4", "balloon up f15 n=17", "balloon up f0 n=0", "large f0", "audit 0x0", "audit 0x3f",
		"foreign f3 none", "foreign f15 d0", "foreign f0 d3 (fail_nth: 2)", "donor renew_d0", "donor renew_d3", "donor drop_d1",
		"donor end (race_nth: 4)",
	};

	for (u32 i = 0; i < ARRAY_LEN(lines); i++)
		CHECK_STR(parsed(lines[i]), lines[i]);
	CHECK_STR(parsed("control peek  n=0x10  self # story"), "control peek n=16 self");
	CHECK_STR(parsed("control clean operator"),
		  "expected one of n=1 to n=511, one of self absent below511 below64 below5 below1 above1 "
		  "above3 above7 above8 above13 above16 kernel zero top17 top1 beyond, (fail_nth: N), (race_nth: N) or the end of "
		  "the line, found 'operator'");
	CHECK_STR(parsed("let hot = f7\nmove hot->f1"), "move f7 -> f1");
	CHECK_STR(parsed("audit 21"), "audit 0x15");
	CHECK_STR(parsed("retype f3 ro(fail_nth:1)"), "retype f3 ro (fail_nth: 1)");
}

TEST(what_is_wrong_is_said)
{
	static const struct { const char *line, *error; } rows[] = {
		{ "control", "expected ASK (off test " },
		{ "control wipe", "expected ASK (off test " },
		{ "control clean n=0", "expected NUMBER (n=1 to n=511), found 'n=0'" },
		{ "control clean n=512", "expected NUMBER (n=1 to n=511), found 'n=512'" },
		{ "control clean n=", "expected NUMBER (n=1 to n=511), found 'n='" },
		{ "control blow n=3", "expected n= only with clean, peek, enable, and set, which takes 1 or 511, found 'n=3'" },
		{ "control set n=3", "expected n= only with " },
		{ "control blow above3", "expected a place to begin only with clean and peek, found 'above3'" },
		{ "migrate back", "expected STEP (start round finish cancel round_15 " },
		{ "retype f3", "expected TYPE (rw ro logdirty), found the end" },
		{ "retype hole0 ro", "expected a frame" },
		{ "move f3 f4", "expected '->', found 'f4'" },
		{ "identity on f3 n=1", "expected PLACE (f0 f15 hole0 hole1 top, and 2 to either side, such as f0-1), found 'f3'" },
		{ "identity on f0+3 n=1", "expected PLACE " },
		{ "identity on f0+ n=1", "expected PLACE " },
		{ "identity on top n=9", "expected COUNT (0 1 2 " },
		{ "identity hole0 n=1", "expected WHETHER (off on), found 'hole0'" },
		{ "balloon up f3 n=18", "expected FEW (" },
		{ "audit 0x40", "expected MASK (0x0 to 0x3f), found '0x40'" },
		{ "foreign f3", "expected GIFT (none d0 d1 d2 d3), found the end" },
		{ "foreign hole0 d1", "expected a frame" },
		{ "foreign f3 d4", "expected GIFT (none d0 d1 d2 d3), found 'd4'" },
		{ "donor d1", "expected DEED (renew_d0 renew_d1 renew_d2 renew_d3 drop_d0 drop_d1 drop_d2 drop_d3 end), found 'd1'" },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++)
		if (!CHECK(strncmp(parsed(rows[i].line), rows[i].error, strlen(rows[i].error)) == 0))
			printf("%s: %s\n", rows[i].line, parsed(rows[i].line));
}

// What was a trace before must stay the same one: the codes are the binary form.
TEST(codes_are_where_they_were)
{
	static const char *const names[] = {
		"pte", "half", "cas", "peek", "zero", "copy", "phys", "read", "write", "set", "push", "exec", "sweep", "cr3",
		"reload", "invlpg", "flush", "ctl", "vcpu", "unshadow", "blow", "pool", "swap", "renew", "remove", "check",
		"alter", "real", "visit", "badreg", "control", "migrate", "retype", "move", "identity", "balloon", "large",
		"audit", "foreign", "donor",
	};

	CHECK(ARRAY_LEN(names) <= OP_COUNT);
	for (u32 i = 0; i < ARRAY_LEN(names); i++)
		CHECK_STR(trace_op_name((enum trace_code)i), names[i]);
}

TEST(numbers_that_mean_nothing_are_not_kept)
{
	for (u32 what = 0; what < ASK_COUNT; what++)
		for (u32 raw = 0; raw < 0x600; raw++) {
			u8 data[] = { TRACE_HVM64, 0, 0, 0, 0, OP_CONTROL, (u8)what, (u8)raw, (u8)(raw >> 8), 0 };
			bool any = what == ASK_CLEAN || what == ASK_PEEK || what == ASK_ENABLE, set = what == ASK_SET;
			struct trace_reader r;
			struct trace_op op;

			trace_open(&r, data, sizeof(data));
			CHECK(trace_next(&r, &op));
			CHECK_EQ(op.count, any ? raw % 512 : !set ? 0 : raw % 512 == 511 ? 511 : raw % 2);
		}
}

// What was not there at first begins behind what was: 0, 1, 2 are who asks, in each kind of control.
TEST(a_place_to_begin_is_kept_where_it_means_something)
{
	for (u32 what = 0; what < ASK_COUNT; what++)
		for (u32 raw = 0; raw < WHO_COUNT; raw++) {
			u8 data[] = { TRACE_HVM64, 0, 0, 0, 0, OP_CONTROL, (u8)what, 1, 0, (u8)raw };
			struct trace_reader r;
			struct trace_op op;

			trace_open(&r, data, sizeof(data));
			CHECK(trace_next(&r, &op));
			CHECK_EQ(op.who, raw < 3 || what == ASK_CLEAN || what == ASK_PEEK ? raw : 0);
		}
}

TEST(ops_are_the_hypercalls_of_the_abi)
{
	static const struct { const char *line; u64 number, arg0, arg1; bool asked; } rows[] = {
		{ "control off", HYPERCALL_CONTROL, 0, 0, true },
		{ "control clean n=16", HYPERCALL_CONTROL, 11, 16, true },
		{ "control peek n=511 self", HYPERCALL_CONTROL, 12 | 1 << 8, 0xffffffff, true },
		{ "control clean n=3 above1", HYPERCALL_CONTROL, 11, 3, true },
		{ "control clean n=17 top17", HYPERCALL_CONTROL, 11, 17, true },
		{ "control clean n=18 top17", HYPERCALL_CONTROL, 11, 0xffffffff, true },
		{ "control peek n=1 beyond", HYPERCALL_CONTROL, 12, 0xffffffff, true },
		{ "control set n=1 absent", HYPERCALL_CONTROL, 31 | 2 << 8, 1, true },
		{ "control enable n=31", HYPERCALL_CONTROL, 32, 31, true },
		{ "control blow_all", HYPERCALL_CONTROL, 41, 0, true },
		{ "control logdirty_off", HYPERCALL_CONTROL, 42, 0, true },
		{ "migrate cancel", HYPERCALL_MIGRATE, 3, 0, true },
		{ "migrate round_15", HYPERCALL_MIGRATE, 1, 0, true },
		{ "retype f2 rw", HYPERCALL_RETYPE, 0x40002, 1, true },
		{ "retype f2 logdirty", HYPERCALL_RETYPE, 0x40002, 3, true },
		{ "move f2 -> f15", HYPERCALL_MOVE, 0x40002, 0x4000f, true },
		{ "identity on f0-1 n=3", HYPERCALL_IDENTITY, 0x3ffff, 7, true },
		{ "identity off top+1 n=512", HYPERCALL_IDENTITY, 0x10000001, 1024, true },
		{ "balloon up f3 n=13", HYPERCALL_BALLOON, 0x40003, 27, true },
		{ "balloon down f3 n=14", HYPERCALL_BALLOON, 0x40003, 28, false },
		{ "balloon down f0 n=16", HYPERCALL_BALLOON, 0x40000, 32, true },
		{ "large f7", HYPERCALL_LARGE, 0x40007, 0, true },
		{ "audit 0x15", HYPERCALL_AUDIT, 0x15, 0, true },
		{ "foreign f7 none", HYPERCALL_FOREIGN, 0x40007, 0, true },
		{ "foreign f7 d3", HYPERCALL_FOREIGN, 0x40007, 4, true },
		{ "donor renew_d2", HYPERCALL_DONOR, 0, 2, true },
		{ "donor drop_d3", HYPERCALL_DONOR, 1, 3, true },
		{ "donor end", HYPERCALL_DONOR, 2, 0, true },
	};

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		struct trace_op op = op_of(rows[i].line);
		struct trace_call call;

		CHECK_EQ(trace_call(&op, &call), rows[i].asked);
		CHECK_EQ(call.number, rows[i].number);
		CHECK_EQ(call.arg[0], rows[i].arg0);
		CHECK_EQ(call.arg[1], rows[i].arg1);
	}
}

TEST(a_focus_brings_what_it_is_named_for)
{
	static const u8 code_of[FOCUS_COUNT] = { OP_PTE, OP_CONTROL, OP_MIGRATE, OP_RETYPE, OP_VCPU };

	for (u32 focus = 0; focus < FOCUS_COUNT; focus++)
		for (u32 plain = 0; plain < 2; plain++) {
			struct trace_config config = { .kind = TRACE_HVMPAE, .vcpus = 2, .pool_pages = 24 };
			static struct trace_gen g;
			u32 seen[OP_COUNT] = { 0 }, races = 0;

			trace_gen_start(&g, 5, &config, plain);
			g.focus = (enum trace_focus)focus;
			for (u32 i = 0; i < 10000; i++) {
				struct trace_op op;

				trace_gen_next(&g, &op);
				seen[op.code]++;
				races += op.race_nth != 0;
				CHECK(!plain || !(trace_op_class((enum trace_code)op.code) & OP_NOT_METAL));
			}
			CHECK(seen[code_of[focus]] > 300 || (plain && focus == FOCUS_P2M));
			CHECK(seen[OP_CONTROL] > 50 && seen[OP_MIGRATE] > 10 && seen[OP_IDENTITY] > 5);
			CHECK(plain ? races == 0 : races > 100);
		}
}

// The picture follows what can be followed.
TEST(the_picture_knows_the_physmap)
{
	const struct trace_config config = { .kind = TRACE_HVM32, .vcpus = 1, .pool_pages = 24 };
	static const char *const lines[] = {
		"pte f3[7] = f4 P W U", "retype f3 ro", "pte f3[8] = f4 P W U", "move f3 -> f5", "pte f5[15] = f4 P", "balloon down f4 n=2",
		"control logdirty", "migrate start", "foreign f4 d1", "foreign f6 d1", "renew f4", "balloon up f3 n=4", "move f6 -> f4",
	};
	static struct trace_picture p;

	picture_start(&p, &config);
	for (u32 i = 0; i < ARRAY_LEN(lines); i++) {
		struct trace_op op = op_of(lines[i]);

		picture_apply(&p, &op);
		if (i == 4) {
			CHECK_EQ(picture_entry(&p, TRACE_MODE_32, 5, 7), 0x40004007);
			CHECK_EQ(picture_entry(&p, TRACE_MODE_32, 5, 8), 0);
			CHECK_EQ(picture_entry(&p, TRACE_MODE_32, 5, 15), 0);
			CHECK_EQ(p.removed, 8);
			CHECK_EQ(p.read_only, 0x20);
		}
	}
	CHECK_EQ(p.removed, 0x38);
	CHECK_EQ(p.foreign, 0x10);
	CHECK_EQ(p.read_only, 0);
	CHECK(p.watching && !p.migrating);
}
