// SPDX-License-Identifier: GPL-2.0-or-later
// Failure signatures, and running a trace in a child process to get one.
//
// Parts: signature of a finding; of a sanitizer report; of a dead child; the child; umbra sig.
//
// A signature has to survive minimisation: no addresses, values, line numbers or op numbers, only the kind of
// failure, the rule or sanitizer class, and for sanitizers the top three functions of the hypervisor. The child
// protects the caller from crashes and endless loops; one run costs a fork and an exec.
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define FRAMES_MAX 3

// ---- findings -------------------------------------------------------------
static void append(char *to, const char *text, size_t bytes)
{
	size_t n = strlen(to);

	if (bytes > SIGNATURE_MAX - 1 - n)
		bytes = SIGNATURE_MAX - 1 - n;
	memcpy(to + n, text, bytes);
	to[n + bytes] = 0;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Text with every word that starts with a digit replaced by N, up to one of the characters in `end`.
static void append_stable(char *to, const char *text, const char *end)
{
	while (*text && !strchr(end, *text)) {
		const char *start = text;

		while (is_alnum(*text) || *text == '_')
			text++;
		if (text == start)
			append(to, text++, 1);
		else if (*start >= '0' && *start <= '9')
			append(to, "N", 1);
		else
			append(to, start, (size_t)(text - start));
	}
}

// A rule of the specification is a name up to the colon, what follows are details: "E1.41 soundness: va 0x...".
void signature_of_finding(char *to, const char *finding)
{
	strcpy(to, "rule ");
	if (finding[0] == 'E' && finding[1] >= '0' && finding[1] <= '9') {
		size_t number = strcspn(finding, " :\n");

		append(to, finding, number);
		append_stable(to, finding + number, ":\n");
	} else {
		append_stable(to, finding, "\n");
	}
}

// ---- sanitizer reports -------------------------------------------------------------
// Lines look like "    #1 0x55d0 in put_ref /src/hv/shadow/ref.c:12:3". Takes the first stack that has such
// frames in hv/, and stops where it ends.
static void append_frames(char *to, const char *report)
{
	u32 count = 0;

	for (const char *line = report; line && *line; line = strchr(line, '\n')) {
		const char *end, *in, *path, *name;
		size_t skip = strspn(line, "\n ");

		line += skip;
		if (line[0] != '#') {
			if (count)
				return;
			continue;
		}
		end = line + strcspn(line, "\n");
		in = strstr(line, " in ");
		if (!in || in > end)
			continue;
		name = in + 4;
		path = name + strcspn(name, " \n");
		in = strstr(path, "/hv/");
		if (*path != ' ' || !in || in > end || !strncmp(name, "port_fatal ", 11))
			continue;
		append(to, count ? "<" : " ", 1);
		append(to, name, (size_t)(path - name));
		if (++count == FRAMES_MAX)
			return;
	}
}

static bool signature_of_report(char *to, const char *text)
{
	static const struct {
		const char *mark, *kind;
	} marks[] = {
		{ "ERROR: AddressSanitizer: ", "asan " },
		{ "WARNING: ThreadSanitizer: ", "tsan " },
		{ "WARNING: MemorySanitizer: ", "msan " },
		{ "ERROR: LeakSanitizer: ", "leak " },
		{ ": runtime error: ", "ubsan " },
	};
	const char *first = NULL;
	u32 which = 0;

	for (u32 i = 0; i < ARRAY_LEN(marks); i++) {
		const char *at = strstr(text, marks[i].mark);

		if (at && (!first || at < first)) {
			first = at;
			which = i;
		}
	}
	if (!first)
		return false;
	strcpy(to, marks[which].kind);
	first += strlen(marks[which].mark);
	if (marks[which].kind[0] == 'u')
		append_stable(to, first, "\n");
	else
		append(to, first, strcspn(first, " \n("));
	append_frames(to, first);
	return true;
}

// ---- a dead child -------------------------------------------------------------
// A line that starts with word: what follows it; else NULL.
static const char *line_after(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, word, n))
			return line + n;
	}
	return NULL;
}

bool signature_of_child(char *to, const char *text, int status, bool timed_out)
{
	const char *line;

	to[0] = 0;
	if (timed_out) {
		strcpy(to, "timeout");
		return true;
	}
	line = line_after(text, "signature: ");
	if (line) {
		append(to, line, strcspn(line, "\n"));
		return true;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == TOOL_OK)
		return false;
	if (signature_of_report(to, text))
		return true;
	if (WIFSIGNALED(status)) {
		line = line_after(text, "fatal: ");
		strcpy(to, line ? "fatal " : "signal ");
		if (line)
			append_stable(to, line, "\n");
		else
			snprintf(to, SIGNATURE_MAX, "signal %d", WTERMSIG(status));
		return true;
	}
	snprintf(to, SIGNATURE_MAX, "exit %d", WEXITSTATUS(status));
	return true;
}

// ---- the child -------------------------------------------------------------
static void child_exec(const char *path, const struct child_options *options, int errors)
{
	const struct rlimit no_core = { 0 };
	const char *check = options->check_each ? "each" : "end";
	int null = open("/dev/null", O_RDWR);

	setrlimit(RLIMIT_CORE, &no_core);
	setenv("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1", 0);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0)
		_exit(TOOL_INTERNAL);
	if (options->pair)
		execl("/proc/self/exe", "umbra", "pair", "--check", check, "--quiet", "--", path, (char *)NULL);
	else
		execl("/proc/self/exe", "umbra", "run", "--on", "host", "--check", check, "--quiet", "--", path, (char *)NULL);
	_exit(TOOL_INTERNAL);
}

static s64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (s64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// Read what the child writes until it closes the pipe or time is up; keep the first room - 1 bytes.
static bool drain(int from, char *text, size_t room, u32 timeout_seconds)
{
	s64 end = now_ms() + (s64)timeout_seconds * 1000;
	size_t n = 0;

	for (;;) {
		struct pollfd p = { .fd = from, .events = POLLIN };
		s64 left = end - now_ms();
		char scratch[4096];
		ssize_t got;

		text[n] = 0;
		if (left <= 0)
			return false;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		got = n < room - 1 ? read(from, text + n, room - 1 - n) : read(from, scratch, sizeof(scratch));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return true;
		if (n < room - 1)
			n += (size_t)got;
	}
}

enum child_end child_run(const char *path, const struct child_options *options, char *signature)
{
	static char text[1 << 18];
	int errors[2], status = 0;
	bool in_time;
	pid_t pid;

	if (pipe(errors)) {
		fprintf(stderr, "umbra: cannot make a pipe: %s\n", strerror(errno));
		return CHILD_BROKEN;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(errors[0]);
		child_exec(path, options, errors[1]);
	}
	close(errors[1]);
	if (pid < 0) {
		fprintf(stderr, "umbra: cannot start a process: %s\n", strerror(errno));
		close(errors[0]);
		return CHILD_BROKEN;
	}
	in_time = drain(errors[0], text, sizeof(text), options->timeout_seconds);
	close(errors[0]);
	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (in_time && WIFEXITED(status) &&
	    (WEXITSTATUS(status) == TOOL_USAGE || WEXITSTATUS(status) == TOOL_INTERNAL) &&
	    !line_after(text, "signature: ") && !strstr(text, "Sanitizer") && !strstr(text, ": runtime error: ")) {
		fprintf(stderr, "umbra: the child could not run the trace:\n%.2000s", text);
		return CHILD_BROKEN;
	}
	return signature_of_child(signature, text, status, !in_time) ? CHILD_FAILED : CHILD_CLEAN;
}

// ---- umbra sig -------------------------------------------------------------
static int sig_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", required_argument, NULL, 'c' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct child_options child = { .timeout_seconds = 20, .check_each = true };
	int option, worst = TOOL_OK;
	u64 n;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c' && (!strcmp(optarg, "each") || !strcmp(optarg, "end")))
			child.check_each = !strcmp(optarg, "each");
		else if (option == 'c')
			return tool_usage(self, "--check: expected each or end, found '%s'", optarg);
		else if (option == 't' && !tool_number(self, "--timeout", optarg, 1, 86400, &n))
			return TOOL_USAGE;
		else if (option == 't')
			child.timeout_seconds = (u32)n;
		else
			return tool_option(self, option);
	}
	if (optind == argc)
		return tool_usage(self, "expected at least one TRACE");
	for (int i = optind; i < argc; i++) {
		char signature[SIGNATURE_MAX];
		enum child_end end = child_run(argv[i], &child, signature);
		int code = end == CHILD_BROKEN ? TOOL_INTERNAL : end == CHILD_FAILED ? TOOL_FOUND : TOOL_OK;

		if (end != CHILD_BROKEN)
			printf("%s: %s\n", argv[i], end == CHILD_FAILED ? signature : "clean");
		worst = code > worst ? code : worst;
	}
	return worst;
}

const struct tool_command tool_sig = {
	"sig", "print the failure signature of traces",
	"usage: umbra sig [--check each|end] [--timeout SECONDS] TRACE...\n"
	"\n"
	"Run each trace on the host executor in a process of its own and print `TRACE: SIGNATURE`, or\n"
	"`TRACE: clean`. Two traces with the same signature most likely show the same bug. Exit status 1 if any\n"
	"trace failed.\n",
	sig_run,
};
