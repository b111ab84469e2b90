// SPDX-License-Identifier: GPL-2.0-or-later
// Files, messages and option values for the commands of the tool.
//
// Parts: messages; whole files; traces.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

// ---- messages -------------------------------------------------------------
int tool_usage(const struct tool_command *self, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "umbra %s: ", self->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\numbra %s --help tells more\n", self->name);
	return TOOL_USAGE;
}

int tool_option(const struct tool_command *self, int option)
{
	if (option == 'h') {
		fputs(self->help, stdout);
		return TOOL_OK;
	}
	fprintf(stderr, "umbra %s --help tells more\n", self->name);
	return TOOL_USAGE;
}

bool tool_number(const struct tool_command *self, const char *option, const char *word, u64 low, u64 high, u64 *value)
{
	bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
	char *end;

	errno = 0;
	*value = strtoull(word, &end, hex ? 16 : 10);
	if (word[0] >= '0' && word[0] <= '9' && !*end && !errno && *value >= low && *value <= high)
		return true;
	tool_usage(self, "%s: expected a number from %llu to %llu, found '%s'", option, (unsigned long long)low,
		   (unsigned long long)high, word);
	return false;
}

// ---- whole files -------------------------------------------------------------
u8 *tool_read_file(const char *path, size_t *bytes)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	size_t room = 1 << 16, n = 0, got;
	u8 *data = malloc(room);

	while (f && data && (got = fread(data + n, 1, room - n, f)) > 0) {
		n += got;
		if (n == room) {
			u8 *more = realloc(data, room *= 2);

			if (!more)
				free(data);
			data = more;
		}
	}
	if (!f || !data || ferror(f)) {
		fprintf(stderr, "umbra: cannot read %s: %s\n", path, strerror(errno));
		free(data);
		data = NULL;
	}
	if (f && f != stdin)
		fclose(f);
	*bytes = n;
	return data;
}

bool tool_write_file(const char *path, const void *data, size_t bytes)
{
	bool named = path && strcmp(path, "-");
	FILE *f = named ? fopen(path, "wb") : stdout;
	bool ok = f && fwrite(data, 1, bytes, f) == bytes;

	if (named && f)
		ok = fclose(f) == 0 && ok;
	if (!ok)
		fprintf(stderr, "umbra: cannot write %s: %s\n", named ? path : "standard output", strerror(errno));
	return ok;
}

// ---- traces -------------------------------------------------------------
static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static bool is_one_of(char c, const char *chars)
{
	return c && strchr(chars, c);
}

// Two traces as text (pair.h): the first word that is no comment says it.
static bool is_pair(const char *text, size_t bytes)
{
	size_t at = 0, n = 0;

	while (at < bytes && is_one_of(text[at], " \t\r\n#"))
		if (text[at++] == '#')
			while (at < bytes && text[at] != '\n')
				at++;
	while (at + n < bytes && (is_one_of(text[at + n], "_") || (text[at + n] >= 'a' && text[at + n] <= 'z')))
		n++;
	if (at + n < bytes && !is_one_of(text[at + n], " \t\r\n#"))
		return false;
	return (n == 4 && !memcmp(text + at, "pair", n)) || (n == 8 && !memcmp(text + at, "schedule", n));
}

bool tool_load(const char *path, struct trace *t)
{
	struct trace_error error;
	size_t bytes;
	u8 *data = tool_read_file(path, &bytes);
	bool ok = true;

	if (!data)
		return false;
	if (is_pair((const char *)data, bytes)) {
		fprintf(stderr, "umbra: %s is a pair of traces: use umbra pair\n", path);
		ok = false;
	} else if (!trace_is_text(data, bytes) && !ends_with(path, ".trace")) {
		trace_decode(t, data, bytes);
	} else if (!trace_parse(t, (const char *)data, bytes, &error)) {
		fprintf(stderr, "%s:%zu: %s\n", path, error.line, error.text);
		ok = false;
	}
	free(data);
	return ok;
}

char *tool_text(const struct trace *t, size_t *bytes)
{
	char *text = malloc((t->count + 1) * TRACE_TEXT_MAX);
	size_t n;

	if (!text) {
		fputs("umbra: out of memory\n", stderr);
		exit(TOOL_INTERNAL);
	}
	n = trace_print_header(text, &t->config);
	text[n++] = '\n';
	for (size_t i = 0; i < t->count; i++) {
		n += trace_print_op(text + n, &t->op[i]);
		text[n++] = '\n';
	}
	*bytes = n;
	return text;
}

int tool_load_at(const struct tool_command *self, int argc, char **argv, const char *option, const char *word,
		 struct trace *t, u64 *op)
{
	if (argc != 1)
		return tool_usage(self, "expected one TRACE");
	if (!tool_load(argv[0], t))
		return TOOL_USAGE;
	*op = t->count;
	if (!t->count) {
		fprintf(stderr, "umbra: %s has no ops\n", argv[0]);
		return TOOL_USAGE;
	}
	return !word || tool_number(self, option, word, 1, t->count, op) ? TOOL_OK : TOOL_USAGE;
}
