// SPDX-License-Identifier: GPL-2.0-or-later
// A whole trace in memory: append, compare, to and from the binary form.
//
// Cost: linear; about 48 bytes for each op. The streaming interface of trace.h needs no memory at all.
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *old, size_t bytes)
{
	void *p = realloc(old, bytes);

	if (!p) {
		fputs("umbra: out of memory\n", stderr);
		exit(3);
	}
	return p;
}

void trace_free(struct trace *t)
{
	free(t->op);
	*t = (struct trace){ 0 };
}

void trace_append(struct trace *t, const struct trace_op *op)
{
	if (t->count == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->op = grow(t->op, t->room * sizeof(*t->op));
	}
	t->op[t->count++] = *op;
}

bool trace_op_equal(const struct trace_op *a, const struct trace_op *b)
{
	const struct trace_op_info *info = &trace_ops[a->code % OP_COUNT];

	if (a->code != b->code || a->fail_nth != b->fail_nth || a->race_nth != b->race_nth)
		return false;
	for (u32 i = 0; i < info->args; i++)
		if (trace_field(a, &info->arg[i]) != trace_field(b, &info->arg[i]))
			return false;
	return true;
}

bool trace_config_equal(const struct trace_config *a, const struct trace_config *b)
{
	return a->kind == b->kind && a->vcpus == b->vcpus && a->pool_pages == b->pool_pages && a->opts == b->opts &&
	       a->flush_auto == b->flush_auto;
}

void trace_decode(struct trace *t, const void *data, size_t bytes)
{
	struct trace_reader r;
	struct trace_op op;

	t->count = 0;
	trace_open(&r, data, bytes);
	t->config = r.config;
	while (trace_next(&r, &op))
		trace_append(t, &op);
}

u8 *trace_encode(const struct trace *t, size_t *bytes)
{
	u8 *data = grow(NULL, TRACE_HEADER_BYTES + t->count * TRACE_OP_BYTES_MAX);
	size_t n = trace_put_header(data, &t->config);

	for (size_t i = 0; i < t->count; i++)
		n += trace_put_op(data + n, &t->op[i]);
	*bytes = n;
	return data;
}
