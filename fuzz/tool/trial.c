// SPDX-License-Identifier: GPL-2.0-or-later
// umbra trial: thousands of generated traces on model and host in one process.
//
// Every executor that runs a disciplined trace must print the same log. The host runs in step with the model, so
// most disagreements are findings of the host; the logs are compared all the same, digest against digest, by two
// independent runs. Cost: about 100 microseconds for a trace of 64 ops.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../exec/exec.h"
#include "../model/model.h"
#include "../trace/gen.h"
#include "stray.h"
#include "tool.h"

struct trial {
	u64 first, last, ops, vcpus;
	enum trace_kind kind;
	const char *save;
	u64 executed;   // ops
	u32 focus;       // enum trace_focus; FOCUS_COUNT: each in turn
	u64 strayed;    // traces that differ, but whose outcome is not the same everywhere
	u64 overflowed; // traces that ended early: the reference counts of the small geometry
};

// Pool size, options and vcpus differ from seed to seed: none of them may show.
static struct trace_config config_of(const struct trial *t, u64 seed)
{
	struct trace_rng rng = { seed ^ UINT64_C(0x5eed) };
	struct trace_config c = { .kind = t->kind, .flush_auto = true };

	c.vcpus = t->vcpus ? (u32)t->vcpus : 1 + trace_rng_below(&rng, TRACE_VCPUS_MAX);
	c.pool_pages = TRACE_POOL_MIN + trace_rng_below(&rng, 60);
	c.opts = trace_rng_below(&rng, 3) ? trace_rng_below(&rng, TRACE_OPTS_ALL + 1) : TRACE_OPTS_ALL;
	return c;
}

static bool make(const struct trial *t, u64 seed, struct trace *to)
{
	static struct trace_gen g;
	struct trace_op op;

	*to = (struct trace){ .config = config_of(t, seed) };
	trace_gen_start(&g, seed, &to->config, true);
	g.focus = t->focus < FOCUS_COUNT ? (enum trace_focus)t->focus : (enum trace_focus)(seed % FOCUS_COUNT);
	while (to->count < t->ops) {
		trace_gen_next(&g, &op);
		trace_append(to, &op);
	}
	return true;
}

// The last line of a log, the digest over all others; and whether a count of the small geometry overflowed, which kills
// a domain that lives on elsewhere.
struct tail {
	char line[OBS_LINE_MAX];
	bool overflowed;
};

static void keep_last(void *ctx, const char *line)
{
	struct tail *tail = ctx;

	tail->overflowed = tail->overflowed || (MODEL_ALLOW_REF_OVERFLOW && strstr(line, " killed shadow references"));
	snprintf(tail->line, sizeof(tail->line), "%s", line);
}

// Does an op change what it is itself translated by, or the like? Executors part there, see stray.c.
static bool strays(const u8 *data, size_t bytes)
{
	struct trace_reader r;
	struct trace_op op;

	trace_open(&r, data, bytes);
	stray_start(&r.config);
	while (trace_next(&r, &op))
		if (!stray_follow(&op))
			return true;
	return false;
}

// NULL, or why the trace is not the same everywhere.
static const char *differs(struct trial *t, const u8 *data, size_t bytes)
{
	static const struct exec_options options = { .quiet = true };
	static char why[512];
	struct tail on_host = { .overflowed = false }, on_model = on_host;
	struct exec_result result;

	if (exec_host(data, bytes, &options, keep_last, &on_host, &result))
		return "the host executor could not run it";
	if (result.finding) {
		snprintf(why, sizeof(why), "op %u: %s", result.op, result.finding);
		return why;
	}
	if (exec_model(data, bytes, &options, keep_last, &on_model, &result))
		return "the model could not run it";
	if (on_host.overflowed) {
		t->overflowed++;
		return NULL;
	}
	if (!strcmp(on_host.line, on_model.line))
		return NULL;
	if (strays(data, bytes)) { // each of them was allowed: the lock-step model has found nothing
		t->strayed++;
		return NULL;
	}
	snprintf(why, sizeof(why), "host: %s, model: %s", on_host.line, on_model.line);
	return why;
}

static int run_seed(struct trial *t, u64 seed)
{
	struct trace trace;
	size_t bytes;
	u8 *data;

	make(t, seed, &trace);
	data = trace_encode(&trace, &bytes);
	const char *why = differs(t, data, bytes);

	t->executed += trace.count;
	if (why) {
		fprintf(stderr, "umbra trial: %s seed %llu: %s\n", trace_kind_names[t->kind], (unsigned long long)seed, why);
		if (t->save && tool_write_file(t->save, data, bytes))
			fprintf(stderr, "saved: replay with `umbra run %s`, shrink with `umbra min %s`\n", t->save, t->save);
	}
	free(data);
	trace_free(&trace);
	return why ? TOOL_FOUND : TOOL_OK;
}

// "N" is 1-N.
static bool parse_seeds(const char *word, struct trial *t)
{
	char *end;

	t->first = 1;
	t->last = strtoull(word, &end, 10);
	if (*end == '-') {
		t->first = t->last;
		t->last = strtoull(end + 1, &end, 10);
	}
	return end != word && !*end && t->first <= t->last;
}

static int kind_of(const char *word)
{
	for (int k = 0; k < TRACE_KINDS_RUN; k++)
		if (!strcmp(word, trace_kind_names[k]))
			return k;
	return -1;
}

static u32 focus_of(const char *word)
{
	u32 f = 0;

	while (f < FOCUS_COUNT && strcmp(word, trace_focus_names[f]))
		f++;
	return f;
}

static int trial_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "kind", required_argument, NULL, 'k' },  { "seeds", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'n' },   { "vcpus", required_argument, NULL, 'v' },
		{ "focus", required_argument, NULL, 'f' },
		{ "output", required_argument, NULL, 'o' }, { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct trial t = { .first = 1, .last = 1000, .ops = 64, .focus = FOCUS_COUNT };
	struct timespec start, end;
	int option, kind = 0;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (option == 'k' && (kind = kind_of(optarg)) < 0)
			return tool_usage(self, "--kind: expected hvm64, hvm32 or hvmpae, found '%s'", optarg);
		else if (option == 'f' && (t.focus = focus_of(optarg)) == FOCUS_COUNT)
			return tool_usage(self, "--focus: expected shadow, control, migrate, p2m or smp, found '%s'", optarg);
		else if (option == 's' && !parse_seeds(optarg, &t))
			return tool_usage(self, "--seeds: expected a number or FIRST-LAST, found '%s'", optarg);
		else if (option == 'n' && !tool_number(self, "--ops", optarg, 1, 100000, &t.ops))
			return TOOL_USAGE;
		else if (option == 'v' && !tool_number(self, "--vcpus", optarg, 1, TRACE_VCPUS_MAX, &t.vcpus))
			return TOOL_USAGE;
		else if (option == 'o')
			t.save = optarg;
		else if (option == 'h' || option == '?')
			return tool_option(self, option);
	}
	if (optind != argc)
		return tool_usage(self, "unexpected '%s'", argv[optind]);
	t.kind = (enum trace_kind)kind;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (u64 seed = t.first; seed <= t.last; seed++)
		if (run_seed(&t, seed))
			return TOOL_FOUND;
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (t.overflowed)
		printf("%llu traces ended early with a full reference count: this is the small geometry\n",
		       (unsigned long long)t.overflowed);
	if (t.strayed)
		printf("%llu traces change what they are translated by, in a way in which executors may differ\n",
		       (unsigned long long)t.strayed);
	printf("%s: %llu traces, %llu operations, equal on model and host (%.1f s)\n", trace_kind_names[t.kind],
	       (unsigned long long)(t.last - t.first + 1), (unsigned long long)t.executed,
	       (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	return TOOL_OK;
}

const struct tool_command tool_trial = {
	"trial", "run many generated traces on model and host and compare",
	"usage: umbra trial [--kind hvm64|hvm32|hvmpae] [--seeds N|FIRST-LAST] [--ops N] [--vcpus N]\n"
	"                   [--focus shadow|control|migrate|p2m|smp] [-o FILE]\n"
	"\n"
	"Generate a disciplined trace for each seed (pool size, options and, unless given, the number of vcpus and the focus\n"
	"come from the seed), run it on the host executor with every cheap checker on and on the model alone, and compare the\n"
	"digests of their logs. Stops at the first trace that differs; -o saves it in binary form. Defaults: --kind hvm64\n"
	"--seeds 1000 --ops 64.\n",
	trial_run,
};
