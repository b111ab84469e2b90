// SPDX-License-Identifier: GPL-2.0-or-later
// Making a failing pair small while its failure signature stays the same.
//
// Parts: one trial; dropping ops and turns; making what is left plainer; the entry.
//
// Ops go in chunks that halve, from the end, first of one trace, then of the other; turns go from the end of the schedule. Then
// points, attributes, flags and headers. All of it until nothing changes. Arguments stay: `umbra min` does that for one trace.
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pair.h"

struct min {
	struct pair_file *best;
	char signature[SIGNATURE_MAX];
	struct child_options child;
	const char *scratch;
	u32 trials;
	bool broken; // a trial could not be run: give up
};

// ---- one trial --------------------------------------------------------------------------------------------
static enum child_end try_pair(struct min *m, char *signature)
{
	size_t bytes;
	u8 *data = pair_encode(m->best, &bytes);
	bool written = tool_write_file(m->scratch, data, bytes);

	free(data);
	m->trials++;
	return written ? child_run(m->scratch, &m->child, signature) : CHILD_BROKEN;
}

static bool still_fails(struct min *m)
{
	char signature[SIGNATURE_MAX];
	enum child_end end = m->broken ? CHILD_BROKEN : try_pair(m, signature);

	m->broken = m->broken || end == CHILD_BROKEN;
	return end == CHILD_FAILED && !strcmp(signature, m->signature);
}

// ---- dropping ---------------------------------------------------------------------------------------------
static bool drop_ops(struct min *m, u32 which, size_t at, size_t n)
{
	struct trace old = m->best->trace[which], t = { .config = old.config };

	for (size_t i = 0; i < old.count; i++)
		if (i < at || i >= at + n)
			trace_append(&t, &old.op[i]);
	m->best->trace[which] = t;
	if (still_fails(m)) {
		trace_free(&old);
		return true;
	}
	m->best->trace[which] = old;
	trace_free(&t);
	return false;
}

static bool drop_pass(struct min *m, u32 which)
{
	bool changed = false;

	for (size_t chunk = (m->best->trace[which].count + 1) / 2; chunk && !m->broken; chunk /= 2)
		for (size_t end = m->best->trace[which].count; end && !m->broken;) {
			size_t at = end > chunk ? end - chunk : 0;

			changed = drop_ops(m, which, at, end - at) || changed;
			end = at;
		}
	return changed;
}

static bool drop_turns(struct min *m)
{
	bool changed = false;

	for (size_t chunk = (m->best->turns + 1) / 2; chunk && !m->broken; chunk /= 2)
		while (m->best->turns >= chunk) {
			m->best->turns -= chunk;
			if (!still_fails(m)) {
				m->best->turns += chunk;
				break;
			}
			changed = true;
		}
	return changed;
}

// ---- plainer ----------------------------------------------------------------------------------------------
// A byte becomes 0 if the failure allows it.
static bool clear_byte(struct min *m, u8 *at)
{
	u8 old = *at;

	*at = 0;
	if (!old)
		return false;
	if (still_fails(m))
		return true;
	*at = old;
	return false;
}

static bool replace_config(struct min *m, u32 which, struct trace_config config)
{
	struct trace_config old = m->best->trace[which].config;

	if (trace_config_equal(&config, &old))
		return false;
	m->best->trace[which].config = config;
	if (still_fails(m))
		return true;
	m->best->trace[which].config = old;
	return false;
}

static bool plainer_trace(struct min *m, u32 which)
{
	struct trace *t = &m->best->trace[which];
	struct trace_config c = t->config;
	bool changed = false;

	for (size_t i = 0; i < t->count; i++) {
		changed = clear_byte(m, &t->op[i].fail_nth) || changed;
		changed = clear_byte(m, &t->op[i].race_nth) || changed;
	}
	c.vcpus = 1;
	changed = replace_config(m, which, c) || changed;
	c = t->config;
	c.opts = 0;
	changed = replace_config(m, which, c) || changed;
	c = t->config;
	c.flush_auto = true;
	return replace_config(m, which, c) || changed;
}

static bool plainer(struct min *m)
{
	struct pair_file *p = m->best;
	bool changed = false;

	for (size_t i = 0; i < p->turns; i++) {
		u8 old = p->schedule[i];

		p->schedule[i] = old & PAIR_TURN_SECOND;
		if (p->schedule[i] != old && still_fails(m))
			changed = true;
		else
			p->schedule[i] = old;
	}
	for (u32 flag = 1; flag & PAIR_FLAGS; flag <<= 1) {
		u32 old = p->flags;

		p->flags &= ~flag;
		if (p->flags != old && still_fails(m))
			changed = true;
		else
			p->flags = old;
	}
	for (u32 i = 0; i < PAIR; i++)
		changed = plainer_trace(m, i) || changed;
	return changed;
}

// ---- the entry --------------------------------------------------------------------------------------------
static int minimise(struct min *m, const char *path, const char *to)
{
	enum child_end end = try_pair(m, m->signature);
	bool changed = true, ok;
	size_t bytes;
	char *text;

	if (end == CHILD_BROKEN)
		return TOOL_INTERNAL;
	if (end == CHILD_CLEAN) {
		fprintf(stderr, "umbra: %s does not fail: nothing to minimise\n", path);
		return TOOL_USAGE;
	}
	fprintf(stderr, "min: signature: %s\n", m->signature);
	for (u32 round = 0; changed && round < 8 && !m->broken; round++) {
		changed = drop_pass(m, 0);
		changed = drop_pass(m, 1) || changed;
		changed = drop_turns(m) || changed;
		changed = plainer(m) || changed;
	}
	if (m->broken)
		return TOOL_INTERNAL;
	fprintf(stderr, "min: %zu and %zu ops left after %u runs\n", m->best->trace[0].count, m->best->trace[1].count, m->trials);
	text = pair_text(m->best, &bytes);
	ok = tool_write_file(to, text, bytes);
	free(text);
	return ok ? TOOL_OK : TOOL_INTERNAL;
}

int pair_minimise(struct pair_file *p, const char *path, const char *to, const struct child_options *child)
{
	const char *dir = getenv("TMPDIR");
	struct min m = { .best = p, .child = *child };
	char scratch[4096];
	int fd, code;

	snprintf(scratch, sizeof(scratch), "%s/umbra-pair-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(scratch);
	if (fd < 0) {
		perror("umbra: cannot make a scratch file");
		return TOOL_INTERNAL;
	}
	close(fd);
	m.scratch = scratch;
	code = minimise(&m, path, to);
	unlink(scratch);
	return code;
}
