// SPDX-License-Identifier: GPL-2.0-or-later
// umbra min: make a failing trace small while its failure signature stays the same.
//
// Parts: one trial; dropping ops; simplifying ops; simplifying the header; the command.
//
// Ops go first, in chunks that halve (delta debugging), from the end, because what follows a failure never
// matters. Then every op is simplified through the op table: attributes off, arguments to their first value,
// entry bits and address parts one by one. Both repeat until nothing changes. A trial is one child process: tens
// of thousands for a large trace at worst, a few hundred as a rule.
#define _POSIX_C_SOURCE 200809L
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

struct min {
	struct trace best;
	char signature[SIGNATURE_MAX];
	struct child_options child;
	const char *scratch; // file for the candidates
	u32 trials;
	bool broken;         // a trial could not be run: give up
};

// ---- one trial -------------------------------------------------------------
static enum child_end try_trace(struct min *m, const struct trace *t, char *signature)
{
	size_t bytes;
	u8 *data = trace_encode(t, &bytes);
	bool written = tool_write_file(m->scratch, data, bytes);

	free(data);
	m->trials++;
	return written ? child_run(m->scratch, &m->child, signature) : CHILD_BROKEN;
}

static bool still_fails(struct min *m, const struct trace *t)
{
	char signature[SIGNATURE_MAX];
	enum child_end end = try_trace(m, t, signature);

	m->broken = m->broken || end == CHILD_BROKEN;
	return end == CHILD_FAILED && !strcmp(signature, m->signature);
}

// ---- dropping ops -------------------------------------------------------------
// Leave out best.op[at .. at + n) if the failure allows it.
static bool drop_ops(struct min *m, size_t at, size_t n)
{
	struct trace t = { .config = m->best.config };
	bool ok;

	for (size_t i = 0; i < m->best.count; i++)
		if (i < at || i >= at + n)
			trace_append(&t, &m->best.op[i]);
	ok = still_fails(m, &t);
	if (ok) {
		struct trace old = m->best;

		m->best = t;
		t = old;
	}
	trace_free(&t);
	return ok;
}

static bool drop_pass(struct min *m)
{
	size_t chunk = (m->best.count + 1) / 2;
	bool changed = false;

	while (chunk && !m->broken) {
		bool dropped = false;
		size_t end = m->best.count;

		while (end && !m->broken) {
			size_t at = end > chunk ? end - chunk : 0;

			dropped = drop_ops(m, at, end - at) || dropped;
			end = at;
		}
		changed = changed || dropped;
		if (!dropped || chunk > 1)
			chunk /= 2;
		if (isatty(2))
			fprintf(stderr, "min: %zu ops after %u runs\r", m->best.count, m->trials);
	}
	return changed;
}

// ---- simplifying ops -------------------------------------------------------------
static bool replace_op(struct min *m, size_t at, struct trace_op op)
{
	struct trace_op old = m->best.op[at];

	trace_normalise(&op);
	if (trace_op_equal(&op, &old) || m->broken)
		return false;
	m->best.op[at] = op;
	if (still_fails(m, &m->best))
		return true;
	m->best.op[at] = old;
	return false;
}

static bool replace_arg(struct min *m, size_t at, const struct trace_arg *arg, u64 value)
{
	struct trace_op op = m->best.op[at];

	trace_set_field(&op, arg, value);
	return replace_op(m, at, op);
}

// Entry bits and parts of an address go one by one; of the words of HOW only those that change nothing.
static bool simplify_parts(struct min *m, size_t at, const struct trace_arg *arg, u64 value)
{
	const struct trace_mode_info *mode = &trace_modes[m->best.op[at].mode % TRACE_MODE_COUNT];
	bool changed = false;

	if (arg->type == ARG_FLAGS)
		for (u32 i = 0; i < TRACE_FLAGS; i++)
			if (value & mode->flag[i].bit && replace_arg(m, at, arg, value & ~mode->flag[i].bit)) {
				value &= ~mode->flag[i].bit;
				changed = true;
			}
	if (arg->type == ARG_VA || arg->type == ARG_PAGE)
		for (u32 i = mode->va_parts; i-- > 0;) {
			const struct trace_va_part *p = &mode->va[i];
			u64 less = value & ~((u64)p->mask << p->shift);

			less |= (u64)p->set[0] << p->shift;
			less &= less & BIT(47) ? ~UINT64_C(0) : BIT(48) - 1;
			if (replace_arg(m, at, arg, less)) {
				value = less;
				changed = true;
			}
		}
	if (arg->type == ARG_HOW)
		for (u32 i = 0; i < 3; i++) {
			u64 less = value & ~(UINT64_C(0xff) << (8 * i));

			if (less != value && replace_arg(m, at, arg, less)) {
				value = less;
				changed = true;
			}
		}
	return changed;
}

static bool simplify_arg(struct min *m, size_t at, const struct trace_arg *arg)
{
	u64 value = trace_field(&m->best.op[at], arg);

	if (replace_arg(m, at, arg, trace_arg_decode(&m->best.op[at], arg, 0)))
		return true;
	return simplify_parts(m, at, arg, value);
}

static bool simplify_op(struct min *m, size_t at)
{
	const struct trace_op_info *info = &trace_ops[m->best.op[at].code];
	struct trace_op op = m->best.op[at];
	bool changed = false;

	op.fail_nth = 0;
	changed = replace_op(m, at, op) || changed;
	op = m->best.op[at];
	op.race_nth = 0;
	changed = replace_op(m, at, op) || changed;
	for (u32 i = 0; i < info->args; i++)
		changed = simplify_arg(m, at, &info->arg[i]) || changed;
	return changed;
}

// ---- simplifying the header -------------------------------------------------------------
static bool replace_config(struct min *m, struct trace_config config)
{
	struct trace_config old = m->best.config;

	if (trace_config_equal(&config, &old) || m->broken)
		return false;
	m->best.config = config;
	if (still_fails(m, &m->best))
		return true;
	m->best.config = old;
	return false;
}

static bool simplify_config(struct min *m)
{
	struct trace_config c = m->best.config;
	bool changed = false;

	c.vcpus = 1;
	changed = replace_config(m, c) || changed;
	c = m->best.config;
	c.opts = 0;
	changed = replace_config(m, c) || changed;
	for (u32 i = 0; i < TRACE_OPTS; i++) {
		c = m->best.config;
		c.opts &= ~(1u << i);
		changed = replace_config(m, c) || changed;
	}
	c = m->best.config; // a roomy pool and a guest that flushes need less explaining
	c.pool_pages = c.pool_pages < 128 ? 128 : c.pool_pages;
	changed = replace_config(m, c) || changed;
	c = m->best.config;
	c.flush_auto = true;
	return replace_config(m, c) || changed;
}

// ---- the command -------------------------------------------------------------
static int minimise(struct min *m, const char *path, const char *to)
{
	size_t bytes, before = m->best.count;
	enum child_end end = try_trace(m, &m->best, m->signature);
	bool changed = true, ok;
	char *text;

	if (end == CHILD_BROKEN)
		return TOOL_INTERNAL;
	if (end == CHILD_CLEAN) {
		fprintf(stderr, "umbra: %s does not fail on the host executor: nothing to minimise\n", path);
		return TOOL_USAGE;
	}
	fprintf(stderr, "min: signature: %s\n", m->signature);
	for (u32 round = 0; changed && round < 8 && !m->broken; round++) {
		changed = drop_pass(m);
		changed = simplify_config(m) || changed;
		for (size_t i = 0; i < m->best.count; i++)
			changed = simplify_op(m, i) || changed;
	}
	if (m->broken)
		return TOOL_INTERNAL;
	fprintf(stderr, "min: %zu of %zu ops left after %u runs\n", m->best.count, before, m->trials);
	text = tool_text(&m->best, &bytes);
	ok = tool_write_file(to, text, bytes);
	free(text);
	return ok ? TOOL_OK : TOOL_INTERNAL;
}

static int min_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "check", required_argument, NULL, 'c' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct min m = { .child = { .timeout_seconds = 20, .check_each = true } };
	const char *to = NULL, *dir = getenv("TMPDIR");
	char scratch[4096];
	int option, code, fd;
	u64 n;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (option == 'o')
			to = optarg;
		else if (option == 'c' && (!strcmp(optarg, "each") || !strcmp(optarg, "end")))
			m.child.check_each = !strcmp(optarg, "each");
		else if (option == 'c')
			return tool_usage(self, "--check: expected each or end, found '%s'", optarg);
		else if (option == 't' && !tool_number(self, "--timeout", optarg, 1, 86400, &n))
			return TOOL_USAGE;
		else if (option == 't')
			m.child.timeout_seconds = (u32)n;
		else
			return tool_option(self, option);
	}
	if (argc - optind != 1 || !to)
		return tool_usage(self, "expected one TRACE and -o OUT");
	if (!tool_load(argv[optind], &m.best))
		return TOOL_USAGE;
	snprintf(scratch, sizeof(scratch), "%s/umbra-min-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(scratch);
	if (fd < 0) {
		perror("umbra: cannot make a scratch file");
		return TOOL_INTERNAL;
	}
	close(fd);
	m.scratch = scratch;
	code = minimise(&m, argv[optind], to);
	unlink(scratch);
	trace_free(&m.best);
	return code;
}

const struct tool_command tool_min = {
	"min", "make a failing trace small",
	"usage: umbra min [--check each|end] [--timeout SECONDS] TRACE -o OUT\n"
	"\n"
	"Drop and simplify ops of a trace that fails on the host executor while it keeps failing with the same\n"
	"signature (see umbra sig), and write what is left as text. Candidates run in processes of their own; one\n"
	"that takes longer than --timeout (20 seconds) has the signature `timeout`.\n",
	min_run,
};
