// SPDX-License-Identifier: GPL-2.0-or-later
// The commands that only look at traces or make them: fmt, gen, config.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "../trace/gen.h"
#include "stray.h"
#include "tool.h"

static int write_trace(const struct trace *t, bool binary, const char *to)
{
	size_t bytes;
	void *data = binary ? (void *)trace_encode(t, &bytes) : (void *)tool_text(t, &bytes);
	bool ok = tool_write_file(to, data, bytes);

	free(data);
	return ok ? TOOL_OK : TOOL_INTERNAL;
}

// ---- fmt -------------------------------------------------------------
static int fmt_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "binary", no_argument, NULL, 'b' },
		{ "text", no_argument, NULL, 't' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct trace t = { 0 };
	const char *to = NULL;
	bool binary = false;
	int option, code;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (option == 'b')
			binary = true;
		else if (option == 't')
			binary = false;
		else if (option == 'o')
			to = optarg;
		else
			return tool_option(self, option);
	}
	if (argc - optind != 1)
		return tool_usage(self, "expected one TRACE");
	if (!tool_load(argv[optind], &t))
		return TOOL_USAGE;
	code = write_trace(&t, binary, to);
	trace_free(&t);
	return code;
}

const struct tool_command tool_fmt = {
	"fmt", "convert a trace between text and binary",
	"usage: umbra fmt [--binary|--text] [-o OUT] TRACE\n"
	"\n"
	"Read a trace in either form and write it in canonical form, as text (the default) or binary, to OUT or\n"
	"standard output. Comments and names given with let do not survive.\n",
	fmt_run,
};

// ---- gen -------------------------------------------------------------
struct gen_arguments {
	struct trace_config config;
	u64 seed, ops;
	u32 focus;
	bool plain, binary;
	const char *to;
};

// 0 to go on, or an exit code + 1.
static int gen_option(const struct tool_command *self, int option, struct gen_arguments *a)
{
	u64 n = 0;
	bool ok = true;

	switch (option) {
	case 's':
		ok = tool_number(self, "--seed", optarg, 0, ~UINT64_C(0), &a->seed);
		break;
	case 'n':
		ok = tool_number(self, "--ops", optarg, 0, 10000000, &a->ops);
		break;
	case 'v':
		ok = tool_number(self, "--vcpus", optarg, 1, TRACE_VCPUS_MAX, &n);
		a->config.vcpus = (u32)n;
		break;
	case 'p':
		ok = tool_number(self, "--pool", optarg, TRACE_POOL_MIN, TRACE_POOL_MAX, &n);
		a->config.pool_pages = (u32)n;
		break;
	case 'k':
		while (n < TRACE_KINDS_RUN && strcmp(optarg, trace_kind_names[n]))
			n++;
		if (n == TRACE_KINDS_RUN)
			return 1 + tool_usage(self, "--kind: expected hvm64, hvm32 or hvmpae (no other runs yet), "
						    "found '%s'", optarg);
		a->config.kind = (enum trace_kind)n;
		break;
	case 'x':
		if (!trace_parse_opts(optarg, &a->config.opts))
			return 1 + tool_usage(self, "--opts: expected " TRACE_OPTS_EXPECTED ", found '%s'", optarg);
		break;
	case 'f':
		a->config.flush_auto = !strcmp(optarg, "auto");
		if (!a->config.flush_auto && strcmp(optarg, "manual"))
			return 1 + tool_usage(self, "--flush: expected auto or manual, found '%s'", optarg);
		break;
	case 'F':
		for (a->focus = 0; a->focus < FOCUS_COUNT && strcmp(optarg, trace_focus_names[a->focus]); a->focus++)
			;
		if (a->focus == FOCUS_COUNT)
			return 1 + tool_usage(self, "--focus: expected shadow, control, migrate, p2m or smp, found '%s'", optarg);
		break;
	case 'P':
		a->plain = true;
		break;
	case 'b':
		a->binary = true;
		break;
	case 'o':
		a->to = optarg;
		break;
	default:
		return 1 + tool_option(self, option);
	}
	return ok ? 0 : 1 + TOOL_USAGE;
}

// As many ops as asked for. With --plain, without those that not all executors follow.
static void generate(struct trace *t, const struct gen_arguments *a)
{
	static struct trace_gen g;

	t->config = a->config;
	trace_gen_start(&g, a->seed, &a->config, a->plain);
	g.focus = (enum trace_focus)a->focus;
	if (a->plain)
		stray_start(&a->config);
	while (t->count < a->ops) {
		struct trace_op op;

		trace_gen_next(&g, &op);
		if (!a->plain || stray_follow(&op))
			trace_append(t, &op);
		else
			trace_gen_refuse(&g);
	}
}

static int gen_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'n' },
		{ "kind", required_argument, NULL, 'k' },
		{ "vcpus", required_argument, NULL, 'v' },
		{ "pool", required_argument, NULL, 'p' },
		{ "opts", required_argument, NULL, 'x' },
		{ "flush", required_argument, NULL, 'f' },
		{ "focus", required_argument, NULL, 'F' },
		{ "plain", no_argument, NULL, 'P' },
		{ "binary", no_argument, NULL, 'b' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct gen_arguments a = {
		.config = { .vcpus = 1, .pool_pages = 24, .opts = TRACE_OPTS_ALL, .flush_auto = true },
		.seed = 1, .ops = 100,
	};
	struct trace t = { 0 };
	int option, code;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		code = gen_option(self, option, &a);
		if (code)
			return code - 1;
	}
	if (optind != argc)
		return tool_usage(self, "unexpected '%s'", argv[optind]);
	generate(&t, &a);
	code = write_trace(&t, a.binary, a.to);
	trace_free(&t);
	return code;
}

const struct tool_command tool_gen = {
	"gen", "make a random trace from a seed",
	"usage: umbra gen [--seed N] [--ops N] [--kind hvm64|hvm32|hvmpae] [--vcpus N] [--pool N] [--opts OPTS]\n"
	"                 [--flush auto|manual] [--focus shadow|control|migrate|p2m|smp] [--plain] [--binary] [-o OUT]\n"
	"\n"
	"Write a random trace. The same arguments give the same trace. Defaults: --seed 1 --ops 100 --kind hvm64\n"
	"--vcpus 1 --pool 24 --opts all --flush auto --focus shadow.\n"
	"\n"
	"  --focus    what the hypervisor does most while the guest goes on: little, control operations and log-dirty,\n"
	"             migrations, changes of the physmap; or several vcpus at the same tables\n"
	"  --plain    only what every executor follows: no injected failures, races, wild CR3, changes of frames that\n"
	"             need a hypervisor, no data over tables that makes them name memory that is not the guest's, no\n"
	"             unknown instruction on a hole, none that changes its own translation\n"
	"  --binary   write the binary form\n",
	gen_run,
};

// ---- config -------------------------------------------------------------
static int config_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	bool metal = true, race = false, fail = false;
	struct trace t = { 0 };
	size_t bytes;
	u32 stray;
	u8 *data;
	int option, status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		return tool_option(self, option);
	if (argc - optind != 1)
		return tool_usage(self, "expected one TRACE");
	if (!tool_load(argv[optind], &t))
		return TOOL_USAGE;
	for (size_t i = 0; i < t.count; i++) {
		if (trace_op_class((enum trace_code)t.op[i].code) & OP_NOT_METAL)
			metal = false;
		race = race || t.op[i].race_nth;
		fail = fail || t.op[i].fail_nth;
	}
	data = trace_encode(&t, &bytes);
	status = stray_op(data, bytes, &stray);
	free(data);
	printf("vcpus=%u pool=%u opts=0x%x\n", t.config.vcpus, t.config.pool_pages, t.config.opts);
	printf("metal=%s race=%s fail=%s flush=%s stray=%s\n", metal ? "yes" : "no", race ? "yes" : "no",
	       fail ? "yes" : "no", t.config.flush_auto ? "auto" : "manual", stray ? "yes" : "no");
	trace_free(&t);
	if (status)
		fprintf(stderr, "umbra: the model could not run the trace (%d)\n", status);
	return status ? TOOL_INTERNAL : TOOL_OK;
}

const struct tool_command tool_config = {
	"config", "print what the image needs to run a trace",
	"usage: umbra config TRACE\n"
	"\n"
	"Print two lines: the command line for the bootable image (vcpus=2 pool=24 opts=0xff), and what the trace\n"
	"asks of an executor (metal=yes race=no fail=no flush=auto stray=no). metal: every op can be followed on a machine\n"
	"without hypervisor. race, fail: the trace has raced ops, injected failures. stray: data written over a table\n"
	"makes an entry for memory that is not the guest's, an instruction that no emulator knows meets a hole, or one\n"
	"changes the tables that translate it: that is not the same on every executor, and only the host executor may\n"
	"run it.\n",
	config_run,
};
