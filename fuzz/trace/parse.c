// SPDX-License-Identifier: GPL-2.0-or-later
// The text form of traces, reading side.
//
// Parts: words and messages; numbers and frames; one argument; one op; header, let, lines.
//
// The parser walks the rows of ops.c: fixed text, argument, fixed text, and so on. It first reads all arguments
// of an op, then asks the codec whether the dense sets have them, so that a text which parses always survives the
// binary form unchanged. Nothing is guessed: the first thing wrong ends the parse with "expected X, found Y".
#include "text.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX 1024
#define WORD_BYTES_MAX 64
#define NAMES_MAX 64

struct parser {
	char line[LINE_BYTES_MAX];
	const char *at; // in line
	struct {
		char name[WORD_BYTES_MAX];
		u8 frame;
	} names[NAMES_MAX];
	u32 name_count;
	struct trace_error *error;
};

// ---- words and messages -------------------------------------------------------------
static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void skip_blanks(struct parser *p)
{
	while (is_blank(*p->at))
		p->at++;
}

// Always false, for `return expected(...)`.
static bool expected_at(struct parser *p, const char *found, const char *what)
{
	int length = 0;

	while (is_blank(*found))
		found++;
	while (found[length] && !is_blank(found[length]) && length < 40)
		length++;
	if (length == 0)
		snprintf(p->error->text, sizeof(p->error->text), "expected %s, found the end of the line", what);
	else
		snprintf(p->error->text, sizeof(p->error->text), "expected %s, found '%.*s'", what, length, found);
	return false;
}

static bool expected(struct parser *p, const char *what)
{
	return expected_at(p, p->at, what);
}

// Take the next word if there is one; else leave everything and return false.
static bool take_word(struct parser *p, char *word)
{
	const char *s = p->at;
	size_t n = 0;

	while (is_blank(*s))
		s++;
	while (is_word_char(s[n]))
		n++;
	if (n == 0 || n >= WORD_BYTES_MAX)
		return false;
	memcpy(word, s, n);
	word[n] = 0;
	p->at = s + n;
	return true;
}

// Take the fixed text of a row: its characters in order, blanks free.
static bool take_text(struct parser *p, const char *text)
{
	const char *start = p->at;

	for (const char *c = text; *c; c++) {
		if (is_blank(*c))
			continue;
		skip_blanks(p);
		if (*p->at != *c) {
			char what[32];
			size_t skip = strspn(text, " ");

			snprintf(what, sizeof(what), "'%.*s'", (int)strcspn(text + skip, " "), text + skip);
			p->at = start;
			return expected(p, what);
		}
		p->at++;
	}
	return true;
}

static bool at_end(struct parser *p)
{
	skip_blanks(p);
	return !*p->at;
}

// ---- numbers and frames -------------------------------------------------------------
static bool word_number(const char *word, u64 *value)
{
	bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
	const char *digits = hex ? word + 2 : word;
	u64 base = hex ? 16 : 10, n = 0;

	if (!*digits)
		return false;
	for (; *digits; digits++) {
		u64 digit;

		if (*digits >= '0' && *digits <= '9')
			digit = (u64)(*digits - '0');
		else if (hex && *digits >= 'a' && *digits <= 'f')
			digit = (u64)(*digits - 'a' + 10);
		else if (hex && *digits >= 'A' && *digits <= 'F')
			digit = (u64)(*digits - 'A' + 10);
		else
			return false;
		if (n > (~UINT64_C(0) - digit) / base)
			return false;
		n = n * base + digit;
	}
	*value = n;
	return true;
}

static bool take_number(struct parser *p, u64 *value)
{
	const char *start = p->at;
	char word[WORD_BYTES_MAX];

	if (take_word(p, word) && word_number(word, value))
		return true;
	p->at = start;
	return false;
}

static bool word_listed(const char *word, const char *const *words, u32 count, u64 *value)
{
	for (u32 i = 0; i < count; i++)
		if (!strcmp(word, words[i])) {
			*value = i;
			return true;
		}
	return false;
}

static bool word_target(const char *word, u64 *value)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[ARG_TARGET];

	return word_listed(word, kind->words, kind->values, value);
}

static bool word_named(const struct parser *p, const char *word, u64 *value)
{
	for (u32 i = 0; i < p->name_count; i++)
		if (!strcmp(word, p->names[i].name)) {
			*value = p->names[i].frame;
			return true;
		}
	return false;
}

static bool take_frame(struct parser *p, u64 *value)
{
	const char *start = p->at;
	char word[WORD_BYTES_MAX];

	if (take_word(p, word)) {
		if (word_named(p, word, value))
			return true;
		if (word_target(word, value) && *value < TRACE_FRAMES)
			return true;
	}
	p->at = start;
	return expected(p, "a frame (f0 to f15, or a name given with let)");
}

// ---- one argument -------------------------------------------------------------
// What an address looks like in a mode, for messages.
static const char *const address_form[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = "L4.L3.L2.L1", [TRACE_MODE_32] = "L2.L1", [TRACE_MODE_PAE] = "L3.L2.L1",
};

static bool take_va(struct parser *p, enum trace_mode mode, bool offset_allowed, u64 *value)
{
	const struct trace_mode_info *info = &trace_modes[mode];
	u64 va = 0, part;
	const char *start;
	char what[80];

	for (u32 i = 0; i + 1 < info->va_parts; i++) {
		if (i && *p->at++ != '.') {
			p->at--;
			snprintf(what, sizeof(what), "'.' and the next index of the address %s", address_form[mode]);
			return expected(p, what);
		}
		start = p->at;
		if (!take_number(p, &part) || part > info->va[i].mask) {
			snprintf(what, sizeof(what), "an index below %u in the address %s", info->va[i].mask + 1u,
				 address_form[mode]);
			return expected_at(p, start, what);
		}
		va |= part << info->va[i].shift;
	}
	if (*p->at == '+') {
		if (!offset_allowed)
			return expected(p, "a page address without offset");
		p->at++;
		if (!take_number(p, &part) || part >= FRAME_BYTES)
			return expected(p, "an offset below 0x1000");
		va |= part;
	}
	*value = va & BIT(47) ? va | ~(BIT(48) - 1) : va;
	return true;
}

static void take_flags(struct parser *p, const struct trace_flag *flags, u64 *value)
{
	char word[WORD_BYTES_MAX];

	for (;;) {
		const char *start = p->at;
		u32 i = 0;

		if (!take_word(p, word))
			return;
		while (i < TRACE_FLAGS && strcmp(word, flags[i].name))
			i++;
		if (i == TRACE_FLAGS) {
			p->at = start;
			return;
		}
		*value |= flags[i].bit;
	}
}

static void take_how(struct parser *p, u64 *value)
{
	char word[WORD_BYTES_MAX];

	for (;;) {
		const char *start = p->at;

		if (!take_word(p, word))
			return;
		if (!strcmp(word, "cpl3"))
			*value |= 3;
		else if (!strncmp(word, "tlb", 3) && word[3] >= '1' && word[3] <= '3' && !word[4])
			*value = (*value & ~UINT64_C(0xff00)) | (u64)(word[3] - '0') << 8;
		else if (!strcmp(word, "ac"))
			*value |= UINT64_C(1) << 16;
		else {
			p->at = start;
			return;
		}
	}
}

static bool expected_value(struct parser *p, const char *found, const struct trace_op *op, const struct trace_arg *arg)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];
	char list[400], what[500];

	trace_list_values(list, sizeof(list), op, arg);
	snprintf(what, sizeof(what), "%s (%s)", kind->name, list);
	return expected_at(p, found, what);
}

static bool take_plain(struct parser *p, const struct trace_op *op, const struct trace_arg *arg, u64 *value)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];
	size_t prefix = strlen(kind->prefix);
	const char *start = p->at;
	char word[WORD_BYTES_MAX];

	if (take_word(p, word)) {
		if (kind->words && word_listed(word, kind->words, kind->values, value))
			return true;
		if ((arg->type == ARG_TARGET || arg->type == ARG_ROOT) && word_named(p, word, value))
			return true;
		if (!kind->words && !strncmp(word, kind->prefix, prefix) && word_number(word + prefix, value) &&
		    *value <= 0xffff)
			return true;
	}
	p->at = start;
	return expected_value(p, start, op, arg);
}

// "n=16", or nothing.
static bool take_count(struct parser *p, const struct trace_op *op, const struct trace_arg *arg, u64 *value)
{
	const char *start = p->at;

	if (p->at[0] != 'n' || p->at[1] != '=')
		return true;
	p->at += 2;
	return (take_number(p, value) && *value && *value <= TRACE_ASK_MAX) || expected_value(p, start, op, arg);
}

// One of the words that can be left out.
static void take_who(struct parser *p, u64 *value)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[ARG_WHO];
	const char *start = p->at;
	char word[WORD_BYTES_MAX];

	if (take_word(p, word) && word_listed(word, kind->words, kind->values, value) && *value)
		return;
	*value = 0;
	p->at = start;
}

// "hole0-1"
static bool take_place(struct parser *p, const struct trace_op *op, const struct trace_arg *arg, u64 *value)
{
	const char *start = p->at;
	char word[WORD_BYTES_MAX];
	u64 distance = 0;
	u32 i = 0;

	if (take_word(p, word)) {
		char sign = *p->at;

		while (i < TRACE_PLACES && strcmp(word, trace_places[i].name))
			i++;
		if (sign == '+' || sign == '-') {
			p->at++;
			if (!take_number(p, &distance))
				i = TRACE_PLACES;
		}
		if (i < TRACE_PLACES && distance <= TRACE_PLACE_REACH) {
			*value = trace_places[i].gfn + (sign == '-' ? 0 - distance : distance);
			return true;
		}
	}
	p->at = start;
	return expected_value(p, start, op, arg);
}

static bool take_arg(struct parser *p, const struct trace_op *op, const struct trace_arg *arg, u64 *value)
{
	*value = 0;
	skip_blanks(p);
	switch (arg->type) {
	case ARG_FRAME:
		return take_frame(p, value);
	case ARG_FLAGS:
		take_flags(p, trace_modes[op->mode].flag, value);
		return true;
	case ARG_HOW:
		take_how(p, value);
		return true;
	case ARG_VA:
	case ARG_PAGE:
		return take_va(p, (enum trace_mode)op->mode, arg->type == ARG_VA, value);
	case ARG_VALUE:
		return take_number(p, value) || expected(p, "a number");
	case ARG_NUMBER:
		return take_count(p, op, arg, value);
	case ARG_WHO:
		take_who(p, value);
		return true;
	case ARG_PLACE:
		return take_place(p, op, arg, value);
	default:
		return take_plain(p, op, arg, value);
	}
}

// ---- one op -------------------------------------------------------------
// "(fail_nth: 3)" and "(race_nth: 1)".
static bool take_attributes(struct parser *p, struct trace_op *op)
{
	while (!at_end(p) && *p->at == '(') {
		char word[WORD_BYTES_MAX] = "";
		const char *start = p->at++;
		bool fail;
		u64 nth;

		fail = take_word(p, word) && !strcmp(word, "fail_nth");
		if (!fail && strcmp(word, "race_nth"))
			return expected_at(p, start, "(fail_nth: N) or (race_nth: N)");
		if (!take_text(p, ":"))
			return false;
		skip_blanks(p);
		start = p->at;
		if (!take_number(p, &nth) || nth < 1 || nth > TRACE_NTH_MAX)
			return expected_at(p, start, "a number from 1 to 15");
		if (!take_text(p, ")"))
			return false;
		*(fail ? &op->fail_nth : &op->race_nth) = (u8)nth;
	}
	return true;
}

static bool expected_end(struct parser *p, const struct trace_op *op)
{
	const struct trace_op_info *info = &trace_ops[op->code];
	char list[200], what[400] = "";

	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];

		if (arg->type != ARG_FLAGS && arg->type != ARG_HOW && arg->type != ARG_NUMBER && arg->type != ARG_WHO)
			continue;
		trace_list_values(list, sizeof(list), op, arg);
		snprintf(what + strlen(what), sizeof(what) - strlen(what), "one of %s, ", list);
	}
	snprintf(what + strlen(what), sizeof(what) - strlen(what),
		 "(fail_nth: N), (race_nth: N) or the end of the line");
	return expected(p, what);
}

// Every argument must be one that its set has, and all together must be a canonical op: what the binary form would turn
// into another one is an error.
static bool check_args(struct parser *p, const struct trace_op *op, const char *const *arg_at)
{
	const struct trace_op_info *info = &trace_ops[op->code];
	struct trace_op normal = *op;

	for (u32 i = 0; i < info->args; i++) {
		u32 raw;

		if (!trace_arg_encode(op, &info->arg[i], trace_field(op, &info->arg[i]), &raw))
			return expected_value(p, arg_at[i], op, &info->arg[i]);
	}
	trace_normalise(&normal);
	if (trace_op_equal(&normal, op))
		return true;
	if (op->code == OP_CONTROL && normal.who != op->who)
		return expected_at(p, arg_at[2], "a place to begin only with clean and peek");
	if (op->code == OP_CONTROL)
		return expected_at(p, arg_at[1], "n= only with clean, peek, enable, and set, which takes 1 or 511");
	return expected_at(p, arg_at[0],
			   "an operand that spares bytes 0x800 to 0x80f and, with 16 bytes, lies in one page");
}

static bool parse_op(struct parser *p, enum trace_mode mode, const char *name, const char *name_at, struct trace_op *op)
{
	const struct trace_op_info *info = NULL;
	const char *arg_at[TRACE_ARGS_MAX];

	*op = (struct trace_op){ .mode = (u8)mode };
	for (u32 code = 0; code < OP_COUNT && !info; code++)
		if (!strcmp(name, trace_ops[code].name)) {
			info = &trace_ops[code];
			op->code = (u8)code;
		}
	if (!info)
		return expected_at(p, name_at, "an operation (see umbra docs) or let");
	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];
		u64 value;

		if (!take_text(p, arg->before))
			return false;
		skip_blanks(p);
		arg_at[i] = p->at;
		if (!take_arg(p, op, arg, &value))
			return false;
		// What the field cannot hold is not in the dense set either; storing it would cut it to a value
		// that is.
		if (arg->width < 8 && value >> (8 * arg->width))
			return expected_value(p, arg_at[i], op, arg);
		trace_set_field(op, arg, value);
		if (!take_text(p, arg->after))
			return false;
	}
	if (!check_args(p, op, arg_at))
		return false;
	if (!take_attributes(p, op))
		return false;
	return at_end(p) || expected_end(p, op);
}

// ---- header, let, lines -------------------------------------------------------------
static bool parse_let(struct parser *p)
{
	const char *start;
	char name[WORD_BYTES_MAX];
	u64 frame;

	skip_blanks(p);
	start = p->at;
	if (!take_word(p, name) || word_target(name, &frame) || word_number(name, &frame) ||
	    word_named(p, name, &frame))
		return expected_at(p, start, "a new name for a frame");
	if (p->name_count == NAMES_MAX)
		return expected_at(p, start, "at most 64 names");
	if (!take_text(p, "="))
		return false;
	if (!take_frame(p, &frame))
		return false;
	if (!at_end(p))
		return expected(p, "the end of the line");
	snprintf(p->names[p->name_count].name, WORD_BYTES_MAX, "%s", name);
	p->names[p->name_count++].frame = (u8)frame;
	return true;
}

bool trace_parse_opts(const char *word, u32 *opts)
{
	u64 mask;

	*opts = 0;
	if (!strcmp(word, "none"))
		return true;
	if (!strcmp(word, "all")) {
		*opts = TRACE_OPTS_ALL;
		return true;
	}
	if (word_number(word, &mask)) {
		*opts = (u32)mask;
		return mask <= TRACE_OPTS_ALL;
	}
	for (;;) {
		size_t n = strcspn(word, "+");
		u32 i = 0;

		while (i < TRACE_OPTS && (strlen(trace_opt_names[i]) != n || strncmp(word, trace_opt_names[i], n)))
			i++;
		if (i == TRACE_OPTS)
			return false;
		*opts |= 1u << i;
		if (!word[n])
			return true;
		word += n + 1;
	}
}

static bool parse_setting(struct parser *p, const char *start, const char *key, const char *value,
			  struct trace_config *config)
{
	u64 n;

	if (!strcmp(key, "vcpus")) {
		if (!word_number(value, &n) || n < 1 || n > TRACE_VCPUS_MAX)
			return expected_at(p, start, "vcpus=1 to vcpus=4");
		config->vcpus = (u32)n;
	} else if (!strcmp(key, "pool")) {
		if (!word_number(value, &n) || n < TRACE_POOL_MIN || n > TRACE_POOL_MAX)
			return expected_at(p, start, "pool=20 to pool=275");
		config->pool_pages = (u32)n;
	} else if (!strcmp(key, "opts")) {
		if (!trace_parse_opts(value, &config->opts))
			return expected_at(p, start, "opts=" TRACE_OPTS_EXPECTED);
	} else if (!strcmp(key, "flush")) {
		config->flush_auto = !strcmp(value, "auto");
		if (!config->flush_auto && strcmp(value, "manual"))
			return expected_at(p, start, "flush=auto or flush=manual");
	} else {
		return expected_at(p, start, "vcpus=, pool=, opts= or flush=");
	}
	return true;
}

static bool parse_header(struct parser *p, struct trace_config *config)
{
	char word[WORD_BYTES_MAX];
	const char *start;
	u64 kind;

	*config = (struct trace_config){ .kind = TRACE_HVM64, .vcpus = 1, .pool_pages = TRACE_POOL_MIN };
	skip_blanks(p);
	start = p->at;
	if (!take_word(p, word) || strcmp(word, "domain"))
		return expected_at(p, start, "the line 'domain hvm64 ...'");
	skip_blanks(p);
	start = p->at;
	if (!take_word(p, word) || !word_listed(word, trace_kind_names, TRACE_KINDS_RUN, &kind))
		return expected_at(p, start, "the domain kind hvm64, hvm32 or hvmpae (no other runs yet)");
	config->kind = (enum trace_kind)kind;
	while (!at_end(p)) {
		char value[WORD_BYTES_MAX];
		size_t n;

		start = p->at;
		if (!take_word(p, word) || *p->at != '=')
			return expected_at(p, start, "vcpus=, pool=, opts= or flush=");
		p->at++;
		n = strcspn(p->at, " \t");
		snprintf(value, sizeof(value), "%.*s", (int)(n < sizeof(value) ? n : sizeof(value) - 1), p->at);
		p->at += n;
		if (!parse_setting(p, start, word, value, config))
			return false;
	}
	return true;
}

// Copy one line without its comment and trailing blanks; false when it is too long or holds odd bytes.
static bool load_line(struct parser *p, const char *text, size_t bytes)
{
	size_t n = 0;

	while (n < bytes && text[n] != '#')
		n++;
	while (n && (is_blank(text[n - 1]) || text[n - 1] == '\r'))
		n--;
	p->at = p->line;
	p->line[0] = 0;
	if (n >= sizeof(p->line))
		return expected(p, "a line of less than 1024 bytes");
	for (size_t i = 0; i < n; i++)
		if ((text[i] < ' ' && text[i] != '\t') || text[i] > '~') {
			snprintf(p->error->text, sizeof(p->error->text), "expected text, found the byte 0x%02x",
				 (u8)text[i]);
			return false;
		}
	memcpy(p->line, text, n);
	p->line[n] = 0;
	return true;
}

static bool parse_line(struct parser *p, struct trace *t, bool *have_header)
{
	char word[WORD_BYTES_MAX];
	struct trace_op op;
	const char *start;

	if (at_end(p))
		return true;
	if (!*have_header) {
		*have_header = true;
		return parse_header(p, &t->config);
	}
	start = p->at;
	if (!take_word(p, word))
		return expected(p, "an operation (see umbra docs) or let");
	if (!strcmp(word, "let"))
		return parse_let(p);
	if (!parse_op(p, (enum trace_mode)t->config.kind, word, start, &op))
		return false;
	trace_append(t, &op);
	return true;
}

bool trace_parse(struct trace *t, const char *text, size_t bytes, struct trace_error *error)
{
	struct parser p = { .error = error };
	bool have_header = false;
	size_t at = 0;

	t->count = 0;
	for (error->line = 1; at < bytes; error->line++) {
		const char *newline = memchr(text + at, '\n', bytes - at);
		size_t n = newline ? (size_t)(newline - text) - at : bytes - at;

		if (!load_line(&p, text + at, n) || !parse_line(&p, t, &have_header)) {
			trace_free(t);
			return false;
		}
		at += n + 1;
	}
	if (!have_header) {
		snprintf(error->text, sizeof(error->text),
			 "expected the line 'domain hvm64 ...', found the end of the file");
		return false;
	}
	return true;
}

bool trace_is_text(const void *data, size_t bytes)
{
	static const char word[] = "domain";
	const char *text = data;
	size_t at = 0;

	while (at < bytes) {
		if (text[at] == '#')
			while (at < bytes && text[at] != '\n')
				at++;
		else if (is_blank(text[at]) || text[at] == '\r' || text[at] == '\n')
			at++;
		else
			break;
	}
	return bytes - at >= sizeof(word) - 1 && !memcmp(text + at, word, sizeof(word) - 1);
}
