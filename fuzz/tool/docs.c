// SPDX-License-Identifier: GPL-2.0-or-later
// umbra docs: the manual page of the trace language, from the op table. docs/trace-language.md is its output.
//
// Parts: the text around the tables; text form; arguments; what depends on the paging mode; binary form; the command.
#include <getopt.h>
#include <string.h>

#include "tool.h"

// ---- text form -------------------------------------------------------------
static void print_syntax(const struct trace_op_info *info)
{
	printf("`%s", info->name);
	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];
		bool own_blank = arg->type == ARG_FLAGS || arg->type == ARG_HOW || arg->type == ARG_NUMBER ||
				 arg->type == ARG_WHO;

		printf("%s%s%s%s", own_blank ? " " : "", arg->before, trace_arg_kinds[arg->type].name, arg->after);
	}
	printf("`");
}

static void print_management(void)
{
	puts("\nStores of the guest to a frame of type `ro` are lost; accessed and dirty bits in it are set all the same. A\n"
	     "`cas`, and an `alter` that reads first, answers as if it had stored. `visit` answers `#GP` when the frame\n"
	     "cannot take the way to the kernel of MODE. A frame that `renew` or `balloon up` brings is `rw`.\n\n"
	     "`control` is for a guest with shadow paging on: `off`, `test`, `translate` and `enable` answer\n"
	     "`einval`, `off` after it has switched log-dirty off; but `enable` of modes that go together, log-dirty (4) among\n"
	     "them, is `logdirty`. `logdirty` and `logdirty_off` answer `einval` when there is\n"
	     "nothing to switch, `clean` and `peek` without log-dirty, with no frames, and with more than there are from their first on.\n"
	     "`self` answers `einval`, `absent` `enoent`. While a migration runs, log-dirty is its own: `ebusy`. In a race, what\n"
	     "changes modes or the pool answers `ebusy` inside another such operation.\n"
	     "`migrate start` answers `ebusy` when one runs, the other steps `enoent` when none does.\n\n"
	     "An `identity` range is half open: it ends before PLACE + COUNT. What of it lies above guest-physical addresses\n"
	     "does not count; one that begins there is `einval`. `ebusy` when one of its frames has RAM. Reads there give 0 and\n"
	     "stores are lost, as in a hole, but no RAM can be put there until the range is off again: `renew`, `move` and\n"
	     "`balloon` answer `ebusy`.\n\n"
	     "The guest's donor is a domain that does nothing by itself. `foreign` maps one of its frames, the gifts `d0` to `d3`, at a\n"
	     "hole. Loads give what the gift holds and stores are lost, as from and to a frame of type `ro`; but no table lies there:\n"
	     "a walk finds a hole, `exec` answers `#GP`, and so does `visit`, `cr3` kills. It is no RAM, to `unshadow`, `swap`, `remove`,\n"
	     "`retype`, `large` and as the frame that is to `move`; and no hole: `renew`, `balloon`, `identity`, another `foreign` and\n"
	     "a `move` to it answer `ebusy`. `foreign FRAME none` leaves a hole. What is mapped stays the frame that it was, whatever its\n"
	     "donor does. In a race one of two vcpus that both want something of the donor may be told `ebusy`.\n\n"
	     "Word i of gift k after it was renewed n times is an entry with P W U A D to frame f((i + k + n) mod 16), bits 9 to 11\n"
	     "k + 4 * (n mod 2), where i is odd with (n mod 4096) * 65536 + k * 4096 + i in bits 33 to 63. `donor end` counts as renewing all.\n\n"
	     "What the hypervisor tells of dirty frames is no observation of the guest's. The host executor asks for the bits itself, and\n"
	     "checks each of them and that nothing beside them was written; a guest asks from f0 on and gets none.");
}

static void print_text_form(void)
{
	puts("# The trace language\n\n"
	     "<!-- Written by `build/host/umbra docs >docs/trace-language.md`; change fuzz/trace/ops.c or fuzz/tool/docs.c instead. -->\n\n"
	     "A trace is a short program: what a guest does to its page tables and memory, and what a hypervisor\n"
	     "does to the guest meanwhile. The same trace runs on every executor; each prints one line for each\n"
	     "operation. There is a text form, for people, and a binary form, for fuzzers. `umbra fmt` converts.\n\n"
	     "## Text form\n\n"
	     "One operation on a line, `#` starts a comment. The first line describes the guest:\n\n"
	     "    domain hvm64 vcpus=2 pool=24 opts=all flush=auto\n\n"
	     "* `hvm64`, `hvm32` or `hvmpae`: the paging mode of the guest, 4-level, 2-level or PAE.");
	printf("* `vcpus` 1 to %u, default 1.\n", TRACE_VCPUS_MAX);
	printf("* `pool` pages for shadows, %u to %u, default %u. The hypervisor raises it to its lower bound.\n",
	       TRACE_POOL_MIN, TRACE_POOL_MAX, TRACE_POOL_MIN);
	printf("* `opts` shadow options: `all`, `none` (default), a mask, or names joined with `+`:");
	for (u32 i = 0; i < TRACE_OPTS; i++)
		printf(" `%s` 0x%02x%s", trace_opt_names[i], 1u << i, i + 1 < TRACE_OPTS ? "," : ".\n");
	puts("* `flush` with `auto` the guest drops all translations after every operation that may change a mapping,\n"
	     "  as a careful kernel would; with `manual` (default) it flushes only when the trace says so.\n\n"
	     "`let root = f1` gives a frame a name for the lines that follow. Two attributes may end any\n"
	     "operation: `(fail_nth: 3)` makes the third fallible step inside it fail, `(race_nth: 1)` runs the\n"
	     "next operation on another vcpu at the first point inside it: points are the yields of the core, and where the lock is\n"
	     "taken or given back. Numbers go from 1 to 15; later points of a round of a migration, which has many, are reached by\n"
	     "`migrate round_15` to `round_180`. Only executors with a hypervisor know failures, only the host executor knows races.\n\n"
	     "Operations are numbered from 1 in logs and findings.\n\n"
	     "## Operations\n\n"
	     "| operation | meaning | class |\n|---|---|---|");
	for (u32 code = 0; code < OP_COUNT; code++) {
		const struct trace_op_info *info = &trace_ops[code];

		printf("| ");
		print_syntax(info);
		printf(" | %s | %s%s%s |\n", info->help, info->class & OP_MAPS ? "maps " : "",
		       info->class & OP_IS_CONTROL ? "control " : "", info->class & OP_NOT_METAL ? "not-metal" : "");
	}
	puts("\n*maps*: may change a mapping, `flush=auto` flushes after it. *control*: needs a hypervisor;\n"
	     "without one it answers `ok`. *not-metal*: cannot be followed without a hypervisor at all.\n\n"
	     "A compare that misses, `cas ... miss`, leaves memory alone. `swap`, `renew` and `remove` spare the\n"
	     "reserved bytes of a frame.\n\n"
	     "In `hvmpae` the processor reads the four PDPTEs when CR3 is written or paging goes on, and at no\n"
	     "other time: after a store to entry 258 or 259 of the root frame a `cr3` or `reload` makes the change\n"
	     "effective. A present PDPTE may have P, PWT, PCD and AVL set, nothing else: else `cr3` and `reload`\n"
	     "answer `#GP`, and coming home from `phys`, `real` or `visit` ends in a root of the guest kernel's\n"
	     "own, with the answer `#GP`.\n\n"
	     "`alter` executes one real instruction. What it stores is made from TARGET and FLAGS: the entry\n"
	     "itself, cut to the size; the flags alone for and (inverted), or, xor, add, sub and xadd; the number\n"
	     "of the lowest flag for bts, btr and btc; nothing for inc and dec. cas compares with 0. rep_stos and\n"
	     "rep_movs store three elements upwards.\n\n"
	     "`visit` leaves paging, enters MODE with the frame as root, makes one access at CPL 0 and comes back.\n"
	     "Its VA, VALUE\n"
	     "and the entries that the frame is taken to hold are those of MODE. A load does not use VALUE.");
	print_management();
}

// ---- arguments -------------------------------------------------------------
static bool by_mode(u32 type)
{
	return type == ARG_INDEX || type == ARG_FLAGS || type == ARG_VA || type == ARG_PAGE || type == ARG_CAS_BYTES ||
	       type == ARG_INSN_BYTES || type == ARG_VALUE;
}

static void print_values(enum trace_mode mode, u32 type, u8 insn)
{
	const struct trace_arg arg = { "", "", (u8)type, offsetof(struct trace_op, value), 8 };
	const struct trace_op op = { .code = OP_CHECK, .mode = (u8)mode, .insn = insn };
	char list[1024];

	trace_list_values(list, sizeof(list), &op, &arg);
	printf("%s", list);
}

static void print_arguments(void)
{
	puts("\n## Arguments\n\n"
	     "Every argument comes from a small set, so that random traces hit the same things often. Other values\n"
	     "are errors in text.\n\n"
	     "| argument | meaning | values |\n|---|---|---|");
	for (u32 type = 0; type < ARG_TYPE_COUNT; type++) {
		printf("| %s | %s | ", trace_arg_kinds[type].name, trace_arg_kinds[type].help);
		if (by_mode(type))
			printf("see below");
		else
			print_values(TRACE_MODE_64, type, INS_MOV);
		puts(" |");
	}
	printf("\nThe sixteen frames lie at guest-physical 0x%llx and up, at a 1 GiB boundary: f0 can be a table,\n"
	       "data, and the start of a 2 MiB, 4 MiB or 1 GiB page at once. Bytes 0x%x to 0x%x of every frame\n"
	       "are reserved (the way to the guest kernel's own tables, and an INT3 for `exec`); no operation reads or changes\n"
	       "them.\n",
	       (unsigned long long)(TRACE_F0_GFN << FRAME_SHIFT), TRACE_RESERVED_AT,
	       TRACE_RESERVED_AT + TRACE_RESERVED_BYTES - 1);
	printf("`hole0` is 0x%llx, `hole1` 0x%llx, `far` 0x%llx, but 0x%llx where only 32 bits fit.\n",
	       (unsigned long long)(TRACE_HOLE0_GFN << FRAME_SHIFT),
	       (unsigned long long)(TRACE_HOLE1_GFN << FRAME_SHIFT),
	       (unsigned long long)(TRACE_FAR_GFN << FRAME_SHIFT),
	       (unsigned long long)(TRACE_FAR32_GFN << FRAME_SHIFT));
}

// ---- what depends on the paging mode -------------------------------------------------------------
static void print_modes(void)
{
	static const u8 types[] = { ARG_INDEX, ARG_FLAGS, ARG_CAS_BYTES, ARG_VALUE, ARG_VA };

	puts("\n## By paging mode");
	for (u32 mode = 0; mode < TRACE_MODE_COUNT; mode++) {
		printf("\n### %s, mode %s\n\n"
		       "Tables of %u entries of %u bytes. Addresses have %u indices%s.\n\n"
		       "| argument | values |\n|---|---|\n",
		       trace_kind_names[mode], trace_modes[mode].name, trace_modes[mode].entries,
		       trace_entry_bytes((enum trace_mode)mode), trace_modes[mode].va_parts - 1u,
		       mode != TRACE_MODE_PAE ? "" :
			       ", the first is the number of a PDPTE: 2 and 3 are entries 258 and 259");
		for (u32 i = 0; i < ARRAY_LEN(types); i++) {
			printf("| %s | ", trace_arg_kinds[types[i]].name);
			print_values((enum trace_mode)mode, types[i], INS_MOV);
			puts(" |");
		}
	}
	puts("\nPAGE is a VA without offset. Entry bits: P present, W writable, U user, PWT and PCD cache control,\n"
	     "A accessed, D dirty, PS large page (PAT in an L1 entry), G global, AVL bit 9; with 8-byte entries\n"
	     "NX no-execute, HI bit 52 (ignored in mode 64, reserved in pae), R51 bit 51 (reserved); with 4-byte entries, of a 4\n"
	     "MiB page, PATL bit 12 its PAT, P36 bit 13 (address bit 32), R21 bit 21 (reserved). An entry names a\n"
	     "target's address and the bits: `f4 P W U`.\n\n"
	     "Sizes that an instruction does not have become the nearest below that it has, or its least:\n\n"
	     "| INSN | INSNSIZE in 64 | in 32 and pae |\n|---|---|---|");
	for (u8 insn = 0; insn < INS_COUNT; insn++) {
		printf("| %s | ", trace_arg_kinds[ARG_INSN].words[insn]);
		print_values(TRACE_MODE_64, ARG_INSN_BYTES, insn);
		printf(" | ");
		print_values(TRACE_MODE_32, ARG_INSN_BYTES, insn);
		puts(" |");
	}
	puts("\nAn `alter` whose stores would touch reserved bytes, or of 16 bytes that cross a page, is `mov u4`.");
}

// ---- binary form -------------------------------------------------------------
static void print_raw_va(u32 type)
{
	for (u32 m = 0; m < TRACE_MODE_COUNT; m++) {
		const struct trace_mode_info *mode = &trace_modes[m];

		printf("%s%s:", m ? "; " : "", mode->name);
		for (u32 i = 0; i < mode->va_parts - (type == ARG_PAGE ? 1u : 0u); i++) {
			if (i == mode->va_parts - 1u)
				printf(" offset");
			else
				printf(" L%u", mode->va_parts - 1u - i);
			printf(" %u-%u", mode->va[i].at, mode->va[i].at + mode->va[i].bits - 1u);
		}
	}
	printf(": bits that hold the number in the set");
}

static void print_raw(u32 type)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[type];
	struct trace_arg arg = { "", "", (u8)type, offsetof(struct trace_op, value), 8 };
	struct trace_op op = { .code = OP_CHECK };
	char text[TRACE_TEXT_MAX];

	printf("| %s | %u | ", kind->name, kind->encoded_bytes);
	switch (type) {
	case ARG_FLAGS:
		printf("bit mask, lowest first, in the order above");
		break;
	case ARG_VA:
	case ARG_PAGE:
		print_raw_va(type);
		break;
	case ARG_VALUE:
		printf("the byte that is repeated");
		break;
	case ARG_HOW:
		printf("bit 0: cpl3; bits 1-2: tlb; bit 3: ac");
		break;
	case ARG_INDEX:
	case ARG_CAS_BYTES:
		printf("modulo %u: number in the set of the mode", kind->values);
		break;
	case ARG_INSN_BYTES:
		printf("modulo %u: number in 1 2 4 8 16, then what the instruction has", kind->values);
		break;
	case ARG_NUMBER:
		printf("modulo %u: the number; modulo 2 for set, but %u; 0 without one", kind->values, TRACE_ASK_MAX);
		break;
	case ARG_WHO:
		printf("modulo %u:", kind->values);
		for (u32 i = 0; i < WHO_COUNT; i++)
			printf(" %s", kind->words[i]);
		break;
	default:
		printf("modulo %u: ", kind->values);
		for (u32 raw = 0; raw < kind->values && raw < 40; raw++) {
			op.value = trace_arg_decode(&op, &arg, raw);
			trace_print_arg(text, &op, &arg);
			printf("%s%s", raw ? " " : "", text);
		}
		printf("%s", kind->values > 40 ? " ..." : "");
		break;
	}
	printf(" |\n");
}

static void print_binary_form(void)
{
	printf("\n## Binary form\n\n"
	       "Every byte string is a trace; what is missing reads as zero. %d header bytes: kind (modulo %u:\n"
	       "hvm64, hvm32, hvmpae); vcpus - 1 (modulo %u); pool - %u; option mask; bit 0: flush=auto. Then\n"
	       "operations: a code byte, modulo %d without bit 7; if bit 7 is set, a byte with fail_nth in the low\n"
	       "and race_nth in the high nibble; then the arguments in the order of the text form, two-byte ones low\n"
	       "byte first.\n\n"
	       "| code | operation | argument bytes |\n|---|---|---|\n",
	       TRACE_HEADER_BYTES, TRACE_KINDS_RUN, TRACE_VCPUS_MAX, TRACE_POOL_MIN, OP_COUNT);
	for (u32 code = 0; code < OP_COUNT; code++) {
		const struct trace_op_info *info = &trace_ops[code];

		printf("| %u | %s |", code, info->name);
		for (u32 i = 0; i < info->args; i++)
			printf(" %s", trace_arg_kinds[info->arg[i].type].name);
		printf(" |\n");
	}
	puts("\n| argument | bytes | meaning |\n|---|---|---|");
	for (u32 type = 0; type < ARG_TYPE_COUNT; type++)
		print_raw(type);
}

// ---- observation logs -------------------------------------------------------------
static void print_logs(void)
{
	puts("\n## Observation logs\n\n"
	     "One line for each operation: its number, its name, what the guest saw.\n\n"
	     "    1 pte ok\n"
	     "    2 read ok 0x5a\n"
	     "    3 cas ok 0x27 match                    the old value; two words, low first, after a 16-byte cas\n"
	     "    4 write #PF err=0x7 cr2=0x201000       or `#GP err=0x0`, `#UD`\n"
	     "    5 sweep ok n=8 0x84222325cbf29ce4      pages read, FNV-1a 64 over the bytes\n"
	     "    6 sweep #PF err=0x4 cr2=0x3000 n=3 0x84222325cbf29ce4\n"
	     "    7 pool enomem                          control operations: ok einval enomem ebusy enoent echeck edead\n"
	     "    8 alter ok                             instructions that define no flags and load nothing\n"
	     "    9 alter ok 0x27 flags=0x40             old operand of xchg, xadd, cas; flags of those that define any\n"
	     "    10 cr3 killed wild cr3                 the domain is dead: no further operation, no memory line\n"
	     "    memory 0x84222325cbf29ce4              FNV-1a 64 over the 64-bit words of f0 to f15\n"
	     "    digest guest=84222325cbf29ce4 all=84222325cbf29ce4\n\n"
	     "The digests are FNV-1a 64 over the lines, newlines included: `all` over every line before it,\n"
	     "`guest` without the control operations. `umbra compare` checks them and finds the first difference\n"
	     "between logs.");
}

static int docs_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		return tool_option(self, option);
	if (optind != argc)
		return tool_usage(self, "unexpected '%s'", argv[optind]);
	print_text_form();
	print_arguments();
	print_modes();
	print_binary_form();
	print_logs();
	return TOOL_OK;
}

const struct tool_command tool_docs = {
	"docs", "print the manual of the trace language",
	"usage: umbra docs\n"
	"\n"
	"Print docs/trace-language.md, made from the table of operations. After a change of that table, or of the text\n"
	"in fuzz/tool/docs.c, renew the page in the tree with\n"
	"\n"
	"    build/host/umbra docs >docs/trace-language.md\n",
	docs_run,
};
