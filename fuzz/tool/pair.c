// SPDX-License-Identifier: GPL-2.0-or-later
// umbra pair: everything that is done to two traces that run in two domains of one machine.
//
// Parts: reading text; writing; running; the command. Making failing pairs small is in pair_min.c.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "../exec/exec.h"
#include "pair.h"

static const struct {
	const char *name;
	u32 flag;
} flags[] = {
	{ "second_first", PAIR_SECOND_DIES_FIRST },
	{ "at_once", PAIR_DIES_AT_ONCE },
	{ "late", PAIR_SECOND_IS_LATE },
};

// ---- reading text -----------------------------------------------------------------------------------------
// A line, without the comment behind it.
struct line {
	const char *at;
	size_t bytes;
};

// The next line of text[*from..bytes); false at the end.
static bool next_line(const char *text, size_t bytes, size_t *from, struct line *line)
{
	const char *end, *comment;

	if (*from >= bytes)
		return false;
	line->at = text + *from;
	end = memchr(line->at, '\n', bytes - *from);
	line->bytes = end ? (size_t)(end - line->at) : bytes - *from;
	*from += line->bytes + 1;
	comment = memchr(line->at, '#', line->bytes);
	if (comment)
		line->bytes = (size_t)(comment - line->at);
	return true;
}

// The next word of the line; false at its end.
static bool next_word(struct line *line, struct line *word)
{
	static const char blank[] = " \t\r";

	while (line->bytes && strchr(blank, *line->at)) {
		line->at++;
		line->bytes--;
	}
	*word = (struct line){ line->at, 0 };
	while (line->bytes && !strchr(blank, *line->at)) {
		word->bytes++;
		line->at++;
		line->bytes--;
	}
	return word->bytes != 0;
}

static bool word_is(const struct line *word, const char *name)
{
	return word->bytes == strlen(name) && !memcmp(word->at, name, word->bytes);
}

// "0", "1", "0:12".
static bool parse_turn(const struct line *word, u8 *turn)
{
	u32 point = 0;

	if (word->at[0] != '0' && word->at[0] != '1')
		return false;
	if (word->bytes > 1 && (word->at[1] != ':' || word->bytes == 2))
		return false;
	for (size_t i = 2; i < word->bytes; i++) {
		if (word->at[i] < '0' || word->at[i] > '9')
			return false;
		point = point * 10 + (u32)(word->at[i] - '0');
		if (point > PAIR_TURN_POINT)
			return false;
	}
	*turn = (u8)((word->at[0] == '1' ? PAIR_TURN_SECOND : 0) | point);
	return true;
}

static bool parse_flag(struct pair_file *p, const struct line *word)
{
	for (u32 i = 0; i < ARRAY_LEN(flags); i++)
		if (word_is(word, flags[i].name)) {
			p->flags |= flags[i].flag;
			return true;
		}
	return false;
}

// One line in front of the traces. What is wrong with it, NULL: nothing.
static const char *parse_front(struct pair_file *p, struct line line)
{
	struct line word;
	bool schedule;

	if (!next_word(&line, &word))
		return NULL;
	schedule = word_is(&word, "schedule");
	if (!schedule && !word_is(&word, "pair"))
		return "expected pair, schedule or domain";
	while (next_word(&line, &word)) {
		if (!schedule && !parse_flag(p, &word))
			return "expected late, at_once or second_first";
		if (schedule && p->turns == PAIR_SCHEDULE_MAX)
			return "a schedule has at most 255 turns";
		if (schedule && !parse_turn(&word, &p->schedule[p->turns++]))
			return "expected turns such as 0, 1 or 0:12, with a point up to 127";
	}
	return NULL;
}

static bool starts_trace(struct line line)
{
	struct line word;

	return next_word(&line, &word) && word_is(&word, "domain");
}

// Where the traces start, and the number of the line before each.
struct places {
	size_t at[PAIR], line[PAIR];
	u32 count;
};

static bool parse_text(struct pair_file *p, const char *text, size_t bytes, struct trace_error *error)
{
	struct places places = { .count = 0 };
	const char *wrong = NULL;
	struct line line;
	size_t from = 0;

	for (error->line = 0; !wrong && next_line(text, bytes, &from, &line); error->line++) {
		if (starts_trace(line) && places.count < PAIR) {
			places.at[places.count] = (size_t)(line.at - text);
			places.line[places.count++] = error->line;
		} else if (!places.count) {
			wrong = parse_front(p, line);
		}
	}
	if (!wrong && places.count < PAIR)
		wrong = "expected two traces, each with a header line";
	if (wrong) {
		snprintf(error->text, sizeof(error->text), "%s", wrong);
		return false;
	}
	for (u32 i = 0; i < PAIR; i++) {
		size_t end = i + 1 < PAIR ? places.at[i + 1] : bytes;

		if (trace_parse(&p->trace[i], text + places.at[i], end - places.at[i], error))
			continue;
		error->line += places.line[i];
		return false;
	}
	return true;
}

// The first word that is no comment says it.
static bool is_text(const char *text, size_t bytes)
{
	struct line line, word;
	size_t from = 0;

	while (next_line(text, bytes, &from, &line))
		if (next_word(&line, &word))
			return word_is(&word, "pair") || word_is(&word, "schedule");
	return false;
}

bool pair_load(const char *path, struct pair_file *p)
{
	size_t bytes, n = strlen(path);
	u8 *data = tool_read_file(path, &bytes);
	struct trace_error error = { 0 };
	bool ok = true;

	if (!data)
		return false;
	if ((n > 5 && !strcmp(path + n - 5, ".pair")) || is_text((const char *)data, bytes)) {
		ok = parse_text(p, (const char *)data, bytes, &error);
		if (!ok)
			fprintf(stderr, "%s:%zu: %s\n", path, error.line, error.text);
	} else {
		struct pair_input in = pair_open(data, bytes);

		p->flags = in.flags;
		p->turns = in.schedule_bytes;
		memcpy(p->schedule, in.schedule, in.schedule_bytes);
		for (u32 i = 0; i < PAIR; i++)
			trace_decode(&p->trace[i], in.trace[i], in.trace_bytes[i]);
	}
	free(data);
	return ok;
}

void pair_free(struct pair_file *p)
{
	for (u32 i = 0; i < PAIR; i++)
		trace_free(&p->trace[i]);
}

// ---- writing ----------------------------------------------------------------------------------------------
static void *room_for(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p) {
		fputs("umbra: out of memory\n", stderr);
		exit(TOOL_INTERNAL);
	}
	return p;
}

u8 *pair_encode(const struct pair_file *p, size_t *bytes)
{
	struct pair_input in = { .flags = p->flags, .schedule_bytes = p->turns };
	size_t n = PAIR_HEADER_BYTES + p->turns;
	u8 *trace[PAIR], *to;

	for (u32 i = 0; i < PAIR; i++)
		trace[i] = trace_encode(&p->trace[i], &in.trace_bytes[i]);
	if (in.trace_bytes[0] > PAIR_TRACE_MAX) {
		fprintf(stderr, "umbra: the first trace of a pair has at most %u bytes\n", PAIR_TRACE_MAX);
		exit(TOOL_USAGE);
	}
	to = room_for(n + in.trace_bytes[0] + in.trace_bytes[1]);
	pair_put_header(to, &in);
	memcpy(to + PAIR_HEADER_BYTES, p->schedule, p->turns);
	for (u32 i = 0; i < PAIR; i++) {
		memcpy(to + n, trace[i], in.trace_bytes[i]);
		n += in.trace_bytes[i];
		free(trace[i]);
	}
	*bytes = n;
	return to;
}

char *pair_text(const struct pair_file *p, size_t *bytes)
{
	size_t part[PAIR], n;
	char *trace[PAIR], *to;

	for (u32 i = 0; i < PAIR; i++)
		trace[i] = tool_text(&p->trace[i], &part[i]);
	to = room_for(256 + 8 * p->turns + part[0] + part[1]);
	n = (size_t)sprintf(to, "pair");
	for (u32 i = 0; i < ARRAY_LEN(flags); i++)
		if (p->flags & flags[i].flag)
			n += (size_t)sprintf(to + n, " %s", flags[i].name);
	n += (size_t)sprintf(to + n, "\n%s", p->turns ? "schedule" : "");
	for (size_t i = 0; i < p->turns; i++) {
		u32 point = p->schedule[i] & PAIR_TURN_POINT;

		n += (size_t)sprintf(to + n, " %d", p->schedule[i] & PAIR_TURN_SECOND ? 1 : 0);
		if (point)
			n += (size_t)sprintf(to + n, ":%u", point);
	}
	n += (size_t)sprintf(to + n, "%s", p->turns ? "\n" : "");
	for (u32 i = 0; i < PAIR; i++) {
		memcpy(to + n, trace[i], part[i]);
		n += part[i];
		free(trace[i]);
	}
	*bytes = n;
	return to;
}

// ---- running ----------------------------------------------------------------------------------------------
static void print_first(void *ctx, const char *line)
{
	(void)ctx;
	printf("0: %s\n", line);
}

static void print_second(void *ctx, const char *line)
{
	(void)ctx;
	printf("1: %s\n", line);
}

static int run_pair(const struct pair_file *p, const struct exec_options *options)
{
	exec_line_fn *lines[PAIR] = { print_first, print_second };
	struct exec_result result = { 0 };
	char signature[SIGNATURE_MAX];
	size_t bytes;
	u8 *data = pair_encode(p, &bytes);
	int status = exec_pair(data, bytes, options, options->quiet ? NULL : lines, NULL, &result);

	free(data);
	fflush(stdout);
	if (status)
		return TOOL_INTERNAL;
	if (!result.finding)
		return TOOL_OK;
	signature_of_finding(signature, result.finding);
	fprintf(stderr, "finding: op %u of domain %u: %s\nsignature: %s\n", result.op, result.domain, result.finding, signature);
	return TOOL_FOUND;
}

static int print_signature(const char *path, struct child_options *child)
{
	char signature[SIGNATURE_MAX];
	enum child_end end;

	child->pair = true;
	end = child_run(path, child, signature);
	if (end == CHILD_BROKEN)
		return TOOL_INTERNAL;
	printf("%s: %s\n", path, end == CHILD_FAILED ? signature : "clean");
	return end == CHILD_FAILED ? TOOL_FOUND : TOOL_OK;
}

static int write_pair(const struct pair_file *p, bool binary, const char *to)
{
	size_t bytes;
	void *data = binary ? (void *)pair_encode(p, &bytes) : (void *)pair_text(p, &bytes);
	bool ok = tool_write_file(to, data, bytes);

	free(data);
	return ok ? TOOL_OK : TOOL_INTERNAL;
}

// ---- the command ------------------------------------------------------------------------------------------
enum what { WHAT_RUN = 'R', WHAT_TEXT = 'T', WHAT_BINARY = 'B', WHAT_SIG = 'S', WHAT_MIN = 'M' };

static int do_pair(const struct tool_command *self, enum what what, const char *path, const char *to,
		   const struct exec_options *options)
{
	struct child_options child = { .timeout_seconds = 20, .check_each = options->check_each_full, .pair = true };
	struct pair_file p = { 0 };
	int code = TOOL_USAGE;

	if (what == WHAT_SIG)
		return print_signature(path, &child);
	if (what == WHAT_MIN && !to)
		return tool_usage(self, "--min: expected -o OUT");
	if (pair_load(path, &p))
		code = what == WHAT_RUN   ? run_pair(&p, options)
		       : what == WHAT_MIN ? pair_minimise(&p, path, to, &child)
					  : write_pair(&p, what == WHAT_BINARY, to);
	pair_free(&p);
	return code;
}

static int pair_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "text", no_argument, NULL, WHAT_TEXT },   { "binary", no_argument, NULL, WHAT_BINARY },
		{ "sig", no_argument, NULL, WHAT_SIG },     { "min", no_argument, NULL, WHAT_MIN },
		{ "check", required_argument, NULL, 'c' },  { "quiet", no_argument, NULL, 'q' },
		{ "output", required_argument, NULL, 'o' }, { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct exec_options exec = { .check_each_full = true };
	enum what what = WHAT_RUN;
	const char *to = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (option == WHAT_TEXT || option == WHAT_BINARY || option == WHAT_SIG || option == WHAT_MIN)
			what = (enum what)option;
		else if (option == 'c' && (!strcmp(optarg, "each") || !strcmp(optarg, "end")))
			exec.check_each_full = !strcmp(optarg, "each");
		else if (option == 'c')
			return tool_usage(self, "--check: expected each or end, found '%s'", optarg);
		else if (option == 'q')
			exec.quiet = true;
		else if (option == 'o')
			to = optarg;
		else
			return tool_option(self, option);
	}
	if (argc - optind != 1)
		return tool_usage(self, "expected one PAIR");
	return do_pair(self, what, argv[optind], to, &exec);
}

const struct tool_command tool_pair = {
	"pair", "run two traces in two domains of one machine",
	"usage: umbra pair [--check each|end] [--quiet] PAIR\n"
	"       umbra pair --sig|--text|--binary|--min [--check each|end] [-o OUT] PAIR\n"
	"\n"
	"Run the two traces of a pair on the host executor, in two domains, and print their logs, each line with the number of\n"
	"its domain. Where a trace has one right answer, its log must be what it gives alone.\n"
	"\n"
	"  --text, --binary   convert\n"
	"  --sig              print the failure signature (see umbra sig)\n"
	"  --min              make a failing pair small (see umbra min)\n"
	"\n"
	"The text form of a pair starts with `pair`, and after it what is set of: `late` (the second domain is made when its\n"
	"first op is due), `at_once` (a domain whose trace is over is destroyed at once), `second_first` (it is destroyed\n"
	"first). Lines `schedule 0 1 0:3` say whose op is next, and at which point of it the next op of the other domain comes\n"
	"in; after them the domains take turns. Then the two traces follow, each from its `domain` line on.\n",
	pair_run,
};
