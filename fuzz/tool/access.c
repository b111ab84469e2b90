// SPDX-License-Identifier: GPL-2.0-or-later
// umbra access: the exhaustive test of who may access what. Small spaces are enumerated, not sampled.
//
// Parts: one chunk on both executors; what is kept of a mismatch; the run; a trace instead of a run; the command.
//
// The states of access_space.c are run in chunks of some thousand ops, each from a fresh start: on the host executor in
// lock-step with the model, then on the model alone, whose log must be the same. A chunk that fails is saved as a
// trace, also when the hypervisor stops the process.
#define _POSIX_C_SOURCE 200809L
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../exec/exec.h"
#include "tool.h"

#define CHUNK_STATES 100 // some 8000 ops
#define MISMATCHES_MAX 10
#define PROGRESS_SECONDS 10

struct access_run {
	struct access_space space;
	struct trace_config config;
	u64 stride, offset;
	u64 share, shares; // of the chunks, to split the work among processes
	u64 limit;        // ops at most, 0: no limit
	const char *path; // write a trace there instead of running
	const char *keep; // directory for chunks that fail
	u64 states, accesses, ops, granted, faults;
	u32 mismatches;
	u64 expected;     // states with that stride, all shares together
	time_t began, told;
};

// ---- one chunk on both executors ------------------------------------------------------------------------
struct outcome {
	char digest[OBS_LINE_MAX];
	u64 granted, faults;
};

static void look_at_line(void *ctx, const char *line)
{
	struct outcome *o = ctx;
	const char *after = strchr(line, ' ');

	if (*line == 'd')
		snprintf(o->digest, sizeof(o->digest), "%s", line);
	else if (after && strncmp(after, " reload", 7) && (after[1] == 'r' || after[1] == 'w' || after[1] == 'e'))
		strstr(after, " #") ? o->faults++ : o->granted++;
}

// "" if all is well, else what is wrong.
static void run_chunk(struct access_run *r, const void *data, size_t bytes, char *wrong, size_t room)
{
	struct exec_options options = { .quiet = true };
	struct exec_result result = { 0 };
	struct outcome host = { .digest = "" }, model = { .digest = "" };

	*wrong = 0;
	if (exec_host(data, bytes, &options, look_at_line, &host, &result))
		snprintf(wrong, room, "the executor failed");
	else if (result.finding)
		snprintf(wrong, room, "op %u: %s", result.op, result.finding);
	if (*wrong)
		return;
	if (exec_model(data, bytes, &options, look_at_line, &model, &result) || strcmp(host.digest, model.digest))
		snprintf(wrong, room, "the logs of host and model differ");
	r->granted += model.granted;
	r->faults += model.faults;
}

// ---- what is kept of a mismatch -------------------------------------------------------------------------
// For the signal handler: the chunk under way and where it goes.
static struct {
	const u8 *data;
	size_t bytes;
	char path[512];
} under_way;

static void name_chunk(const struct access_run *r, u64 state)
{
	snprintf(under_way.path, sizeof(under_way.path), "%s/access-%s-%llu.bin", r->keep,
		 trace_modes[r->space.mode].name, (unsigned long long)state);
}

static void save_chunk(void)
{
	int file = open(under_way.path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	size_t done = 0;

	while (file >= 0 && done < under_way.bytes) {
		ssize_t n = write(file, under_way.data + done, under_way.bytes - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (file < 0 || done < under_way.bytes)
		(void)!write(2, "umbra: the chunk cannot be saved\n", 33);
	if (file >= 0)
		close(file);
}

// Only what may be done in a signal handler.
static void stopped(int signal_number)
{
	static const char before[] = "access: the hypervisor stopped; replay: umbra run --on host ";

	save_chunk();
	(void)!write(2, before, sizeof(before) - 1);
	(void)!write(2, under_way.path, strlen(under_way.path));
	(void)!write(2, "\n", 1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void note_mismatch(struct access_run *r, const char *wrong)
{
	r->mismatches++;
	save_chunk();
	printf("access %s: %s\n  replay: umbra run --on host %s\n", trace_modes[r->space.mode].name, wrong,
	       under_way.path);
	fflush(stdout);
}

// ---- the run --------------------------------------------------------------------------------------------
static void tell_progress(struct access_run *r)
{
	time_t now = time(NULL);

	if (now - r->told < PROGRESS_SECONDS)
		return;
	r->told = now;
	fprintf(stderr, "access %s: %llu %% of %llu states, %llu accesses, %u mismatches\n",
		trace_modes[r->space.mode].name, (unsigned long long)(r->states * r->shares * 100 / r->expected),
		(unsigned long long)r->expected, (unsigned long long)r->accesses, r->mismatches);
}

static int run_all(struct access_run *r)
{
	static struct access_writer w;
	char wrong[400];

	for (u64 chunk = r->share; r->mismatches < MISMATCHES_MAX; chunk += r->shares) {
		u64 state = r->offset + chunk * CHUNK_STATES * r->stride;
		u8 *data;

		if (state >= r->space.states)
			break;

		access_writer_start(&w, &r->space, &r->config);
		name_chunk(r, state);
		for (u32 i = 0; i < CHUNK_STATES && state < r->space.states; i++, state += r->stride, r->states++)
			access_writer_add(&w, state);
		data = trace_encode(&w.trace, &under_way.bytes);
		under_way.data = data;
		run_chunk(r, data, under_way.bytes, wrong, sizeof(wrong));
		r->accesses += w.accesses;
		r->ops += w.trace.count;
		if (*wrong)
			note_mismatch(r, wrong);
		free(data);
		tell_progress(r);
		if (r->limit && r->ops >= r->limit)
			break;
	}
	trace_free(&w.trace);
	printf("access %s: %llu of %llu states, %llu accesses in %llu ops: %llu done, %llu refused; %u mismatches, %lld s\n",
	       trace_modes[r->space.mode].name, (unsigned long long)r->states, (unsigned long long)r->space.states,
	       (unsigned long long)r->accesses, (unsigned long long)r->ops, (unsigned long long)r->granted,
	       (unsigned long long)r->faults, r->mismatches, (long long)(time(NULL) - r->began));
	return r->mismatches ? TOOL_FOUND : TOOL_OK;
}

// ---- a trace instead of a run ---------------------------------------------------------------------------
static bool is_binary_name(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && !strcmp(path + n - 4, ".bin");
}

static int write_trace(struct access_run *r)
{
	static struct access_writer w;
	size_t bytes;
	bool ok;

	access_writer_start(&w, &r->space, &r->config);
	for (u64 state = r->offset; state < r->space.states && (!r->limit || w.trace.count < r->limit);
	     state += r->stride)
		access_writer_add(&w, state);
	if (r->limit && w.trace.count > r->limit)
		w.trace.count = r->limit;
	if (is_binary_name(r->path)) {
		u8 *data = trace_encode(&w.trace, &bytes);

		ok = tool_write_file(r->path, data, bytes);
		free(data);
	} else {
		char *text = tool_text(&w.trace, &bytes);

		ok = tool_write_file(r->path, text, bytes);
		free(text);
	}
	trace_free(&w.trace);
	return ok ? TOOL_OK : TOOL_INTERNAL;
}

// ---- the command ----------------------------------------------------------------------------------------
static bool parse_mode(const struct tool_command *self, const char *word, int *mode)
{
	for (*mode = 0; *mode < TRACE_MODE_COUNT; ++*mode)
		if (!strcmp(word, trace_modes[*mode].name))
			return true;
	tool_usage(self, "--mode: expected 64, 32 or pae, found '%s'", word);
	return false;
}

static bool parse_share(const struct tool_command *self, const char *word, struct access_run *r)
{
	unsigned long long i, n;
	char rest;

	if (sscanf(word, "%llu/%llu%c", &i, &n, &rest) == 2 && n && i >= 1 && i <= n) {
		r->share = i - 1;
		r->shares = n;
		return true;
	}
	tool_usage(self, "--share: expected I/N, found '%s'", word);
	return false;
}

static int start(struct access_run *r, int mode)
{
	int code;

	access_space_make(&r->space, (enum trace_mode)mode);
	r->config.kind = (enum trace_kind)mode;
	r->began = r->told = time(NULL);
	if (r->offset >= r->stride)
		r->offset %= r->stride;
	r->expected = (r->space.states - r->offset + r->stride - 1) / r->stride;
	if (r->path) {
		code = write_trace(r);
	} else if (mkdir(r->keep, 0777) && errno != EEXIST) {
		fprintf(stderr, "umbra: cannot make %s: %s\n", r->keep, strerror(errno));
		code = TOOL_USAGE;
	} else {
		signal(SIGABRT, stopped);
		signal(SIGSEGV, stopped);
		code = run_all(r);
	}
	access_space_free(&r->space);
	return code;
}

static int access_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "stride", required_argument, NULL, 's' },
		{ "offset", required_argument, NULL, 'k' },
		{ "limit", required_argument, NULL, 'l' },
		{ "share", required_argument, NULL, 'j' },
		{ "opts", required_argument, NULL, 'p' },
		{ "keep", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct access_run r = { .stride = 1,
				.shares = 1,
				.keep = ".",
				.config = {
					.vcpus = 1, .pool_pages = 64, .opts = TRACE_OPTS_ALL, .flush_auto = true } };
	int option, mode = -1;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		bool ok = true;

		if (option == 'm')
			ok = parse_mode(self, optarg, &mode);
		else if (option == 's')
			ok = tool_number(self, "--stride", optarg, 1, UINT64_MAX, &r.stride);
		else if (option == 'k')
			ok = tool_number(self, "--offset", optarg, 0, UINT64_MAX, &r.offset);
		else if (option == 'l')
			ok = tool_number(self, "--limit", optarg, 1, UINT64_MAX, &r.limit);
		else if (option == 'p' && !trace_parse_opts(optarg, &r.config.opts))
			return tool_usage(self, "--opts: unknown option in '%s'", optarg);
		else if (option == 'j')
			ok = parse_share(self, optarg, &r);
		else if (option == 'd')
			r.keep = optarg;
		else if (option == 'o')
			r.path = optarg;
		else if (option != 'p')
			return tool_option(self, option);
		if (!ok)
			return TOOL_USAGE;
	}
	if (argc != optind)
		return tool_usage(self, "unexpected argument '%s'", argv[optind]);
	if (mode < 0)
		return tool_usage(self, "expected --mode 64, 32 or pae");
	return start(&r, mode);
}

const struct tool_command tool_access = {
	"access", "test every combination of entry bits, access and control bits",
	"usage: umbra access --mode 64|32|pae [--stride N] [--offset K] [--limit OPS] [--share I/N] [--opts OPTS]\n"
	"                    [--keep DIR] [-o FILE]\n"
	"\n"
	"Enumerate states: the settings of CR0.WP, EFER.NXE, CR4.SMEP, CR4.SMAP (mode 32: and CR4.PSE), times all pairs of\n"
	"values of the entries of the two lowest levels; and times all values of each level's entry alone. In each state do\n"
	"every access: load, store and fetch, at CPL 0 and 3, with RFLAGS.AC and without; twice, and again after an access\n"
	"through another address that leads to the same tables with all rights. All runs on the host executor in lock-step\n"
	"with the model, and on the model alone.\n"
	"\n"
	"  --stride N   only every N-th state (default 1)\n"
	"  --offset K   beginning with state number K (default 0), taken modulo N\n"
	"  --limit OPS  stop after so many ops\n"
	"  --share I/N  only the I-th of N shares of those, of which each has some of everything: one for each processor\n"
	"  --opts OPTS  the hypervisor's options, as in a trace's first line (default all)\n"
	"  --keep DIR   save what fails there (default: the current directory)\n"
	"  -o FILE      run nothing, write the ops as one trace; binary if FILE ends in .bin\n"
	"\n"
	"The last line of output counts states, accesses and mismatches. Exit status 1 if there was one.\n",
	access_run,
};
