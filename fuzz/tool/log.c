// SPDX-License-Identifier: GPL-2.0-or-later
// Reading observation logs, and umbra finish-log.
//
// Parts: reading a log; its digests; completing the log of a killed guest.
// Only lines of the log format count; whatever else a serial console carries is skipped.
#include "log.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

// ---- reading a log -------------------------------------------------------------
static bool parse_line(const char *s, struct log_line *line)
{
	size_t n = strspn(s, "0123456789");
	const char *name = s + n + 1;

	if (n == 0 || n > 9 || s[n] != ' ')
		return false;
	n = strcspn(name, " ");
	for (u32 code = 0; code < OP_COUNT; code++)
		if (strlen(trace_ops[code].name) == n && !memcmp(name, trace_ops[code].name, n) && name[n] == ' ') {
			*line = (struct log_line){ .text = s, .number = (u32)strtoul(s, NULL, 10), .code = (u8)code };
			return true;
		}
	return false;
}

int log_by_number(const void *a, const void *b)
{
	const struct log_line *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

bool log_read(struct log *log, const char *path)
{
	size_t bytes, room = 0;
	u8 *raw = tool_read_file(path, &bytes);
	char *s, *next;

	if (!raw)
		return false;
	log->data = realloc(raw, bytes + 1);
	if (!log->data) {
		fputs("umbra: out of memory\n", stderr);
		exit(TOOL_INTERNAL);
	}
	for (size_t i = 0; i < bytes; i++) // a NUL would end the text early
		log->data[i] = log->data[i] ? log->data[i] : '?';
	log->data[bytes] = 0;
	for (s = log->data; *s; s = next) {
		size_t n = strcspn(s, "\n");
		struct log_line line;

		next = s[n] ? s + n + 1 : s + n;
		while (n && (s[n - 1] == '\r' || s[n - 1] == ' '))
			n--;
		s[n] = 0;
		if (!strncmp(s, "memory 0x", 9))
			log->memory = s;
		else if (!strncmp(s, LOG_KILLED, strlen(LOG_KILLED)))
			log->killed = s + strlen(LOG_KILLED);
		else if (!strncmp(s, "digest guest=", 13))
			log->digest = s;
		else if (parse_line(s, &line)) {
			if (log->count == room) {
				room = room ? 2 * room : 256;
				log->line = realloc(log->line, room * sizeof(*log->line));
				if (!log->line) {
					fputs("umbra: out of memory\n", stderr);
					exit(TOOL_INTERNAL);
				}
			}
			log->line[log->count++] = line;
		}
	}
	return true;
}

void log_free(struct log *log)
{
	free(log->data);
	free(log->line);
}

// ---- its digests -------------------------------------------------------------
// Recomputed in the order of the log, then the lines are put in the order of the ops: a raced op may have come
// before the one that it raced with.
void log_digest(const struct log *log, char *line)
{
	struct obs_digest d;

	obs_digest_start(&d);
	for (size_t i = 0; i < log->count; i++) {
		struct trace_op op = { .code = log->line[i].code };

		obs_digest_add(&d, &op, log->line[i].text, strlen(log->line[i].text));
	}
	if (log->memory)
		obs_digest_add(&d, NULL, log->memory, strlen(log->memory));
	obs_digest_line(line, &d);
}

bool log_check(struct log *log)
{
	char line[OBS_LINE_MAX];
	bool ok = true;

	log_digest(log, line);
	if (!log->digest) {
		printf("%s: no digest line: the run was cut short\n", log->name);
		ok = false;
	} else if (strcmp(line, log->digest)) {
		printf("%s: the digest does not fit the lines\n  printed  %s\n  computed %s\n", log->name, log->digest, line);
		ok = false;
	}
	if (log->count)
		qsort(log->line, log->count, sizeof(*log->line), log_by_number);
	for (size_t i = 1; i < log->count; i++)
		if (log->line[i].number == log->line[i - 1].number) {
			printf("%s: op %u has two lines\n", log->name, log->line[i].number);
			return false;
		}
	return ok;
}

// ---- completing the log of a killed guest -------------------------------------------------------------
// The guest cannot report its own death: its last op gets its line here.
static int finish(struct log *log, const struct trace *t)
{
	u32 number = log->count ? log->line[log->count - 1].number + 1 : 1;
	char text[OBS_LINE_MAX], digest[OBS_LINE_MAX];
	struct log_line last = { .text = text, .number = number };

	for (size_t i = 0; i < log->count; i++)
		puts(log->line[i].text);
	if (log->digest) {
		if (log->memory)
			puts(log->memory);
		puts(log->digest);
		return TOOL_OK;
	}
	if (!log->killed || number > t->count) {
		fputs("umbra: the log ends early, and nothing in it says that the guest was killed\n", stderr);
		return TOOL_FOUND;
	}
	struct obs o = { .kind = OBS_KILLED, .reason = log->killed };

	obs_line(text, number, &t->op[number - 1], &o);
	last.code = t->op[number - 1].code;
	log->line = realloc(log->line, (log->count + 1) * sizeof(*log->line));
	if (!log->line) {
		fputs("umbra: out of memory\n", stderr);
		exit(TOOL_INTERNAL);
	}
	log->line[log->count++] = last;
	puts(text);
	log_digest(log, digest);
	puts(digest);
	return TOOL_OK;
}

static int finish_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	struct log log = { 0 };
	struct trace t = { 0 };
	int option, code;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		return tool_option(self, option);
	if (argc - optind != 2)
		return tool_usage(self, "expected LOG TRACE");
	if (!tool_load(argv[optind + 1], &t) || !log_read(&log, argv[optind]))
		return TOOL_USAGE;
	code = finish(&log, &t);
	log_free(&log);
	trace_free(&t);
	return code;
}

const struct tool_command tool_finish_log = {
	"finish-log", "complete the log of a guest that was killed",
	"usage: umbra finish-log LOG TRACE\n"
	"\n"
	"A killed guest cannot report the op that killed it. If LOG holds the hypervisor's line\n"
	"`umbra: guest killed: REASON`, print the log with that op's line and the digest added; a whole log is printed\n"
	"as it is. Exit status: 0, or 1 if the log just stops.\n",
	finish_run,
};
