// SPDX-License-Identifier: GPL-2.0-or-later
// The mutator core. A trace is decoded to ops, edited, and encoded again.
//
// Parts: reading and writing a trace; one op as raw arguments; small edits (insert,
// delete, duplicate, swap, replace, one field, one field from elsewhere, attributes, header); long ones (an idiom,
// scenes of the generator); the entries.
//
// Cost: linear in the length of the trace, some microseconds at 32 ops; static buffers, no
// allocation. Not thread-safe: fuzzers call it from one thread. It knows ops only through the table
// of fuzz/trace/ops.h.
#include "mutate.h"

#include <string.h>

#include "idiom.h"

static struct trace_rng rng;

static u32 below(u32 n)
{
	return trace_rng_below(&rng, n);
}

static bool one_in(u32 n)
{
	return below(n) == 0;
}

// ---- the trace in work ----------------------------------------------------------------------------
static struct work {
	struct trace_config config;
	struct trace_op op[MUTATE_OPS_MAX];
	u32 count;
} work;

static int forced_kind = -1;

void mutate_set_kind(int kind)
{
	forced_kind = kind;
}

static enum trace_focus focus;

void mutate_set_focus(enum trace_focus f)
{
	focus = f;
}

static u32 read_ops(struct trace_config *config, struct trace_op *op, u32 room, const u8 *data, size_t bytes)
{
	struct trace_reader r;
	u32 n = 0;

	trace_open(&r, data, bytes);
	if (forced_kind >= 0)
		r.config.kind = (enum trace_kind)forced_kind;
	*config = r.config;
	while (n < room && trace_next(&r, &op[n]))
		n++;
	return n;
}

static size_t write_ops(u8 *to, size_t max)
{
	u8 one[TRACE_OP_BYTES_MAX];
	size_t n;

	if (max < TRACE_HEADER_BYTES)
		return 0;
	n = trace_put_header(to, &work.config);
	for (u32 i = 0; i < work.count; i++) {
		size_t bytes = trace_put_op(one, &work.op[i]);

		if (n + bytes > max)
			break;
		memcpy(to + n, one, bytes);
		n += bytes;
	}
	return n;
}

// Make room for n ops at `at`; false when they do not fit.
static bool open_gap(u32 at, u32 n)
{
	if (work.count + n > MUTATE_OPS_MAX)
		return false;
	memmove(&work.op[at + n], &work.op[at], (work.count - at) * sizeof(work.op[0]));
	work.count += n;
	return true;
}

static void cut_ops(u32 at, u32 n)
{
	memmove(&work.op[at], &work.op[at + n], (work.count - at - n) * sizeof(work.op[0]));
	work.count -= n;
}

// ---- one op as raw arguments ----------------------------------------------------------------------
// Arguments depend on each other (the width of a value on the size), so an edit takes all raw
// arguments out, changes one, and puts all back.
static void raw_take(const struct trace_op *op, u32 raw[TRACE_ARGS_MAX])
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		if (!trace_arg_encode(op, &info->arg[i], trace_field(op, &info->arg[i]), &raw[i]))
			raw[i] = 0;
}

static void raw_put(struct trace_op *op, const u32 raw[TRACE_ARGS_MAX])
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		trace_set_field(op, &info->arg[i], trace_arg_decode(op, &info->arg[i], raw[i]));
	trace_normalise(op);
}

static struct trace_op random_op(void)
{
	struct trace_op op;

	trace_random_op(&rng, &work.config, &op);
	return op;
}

// ---- small edits ----------------------------------------------------------------------------------
static void edit_insert(void)
{
	u32 n = 1 + below(3), at = below(work.count + 1);

	if (!open_gap(at, n))
		return;
	for (u32 i = 0; i < n; i++)
		work.op[at + i] = random_op();
}

static void edit_delete(void)
{
	u32 at, n;

	if (!work.count)
		return;
	at = below(work.count);
	n = 1 + below(one_in(4) ? 8 : 2);
	cut_ops(at, n < work.count - at ? n : work.count - at);
}

// A run of ops again, somewhere: loops are how counts and lists grow.
static void edit_duplicate(void)
{
	struct trace_op run[8];
	u32 from, n, to;

	if (!work.count)
		return;
	from = below(work.count);
	n = 1 + below(ARRAY_LEN(run));
	n = n < work.count - from ? n : work.count - from;
	memcpy(run, &work.op[from], n * sizeof(run[0]));
	to = one_in(2) ? from + n : below(work.count + 1);
	if (open_gap(to, n))
		memcpy(&work.op[to], run, n * sizeof(run[0]));
}

static void edit_swap(void)
{
	struct trace_op held;
	u32 a, b;

	if (work.count < 2)
		return;
	a = below(work.count);
	b = one_in(2) && a + 1 < work.count ? a + 1 : below(work.count);
	held = work.op[a];
	work.op[a] = work.op[b];
	work.op[b] = held;
}

static void edit_replace(void)
{
	if (work.count)
		work.op[below(work.count)] = random_op();
}

static void edit_field(void)
{
	u32 raw[TRACE_ARGS_MAX] = { 0 }, k;
	struct trace_op *op;

	if (!work.count)
		return;
	op = &work.op[below(work.count)];
	if (!trace_ops[op->code].args)
		return;
	k = below(trace_ops[op->code].args);
	if (one_in(3)) {
		trace_random_arg(&rng, &work.config, op, &trace_ops[op->code].arg[k]);
		return;
	}
	raw_take(op, raw);
	switch (below(2)) {
	case 0:
		raw[k] ^= 1u << below(8 * trace_arg_kinds[trace_ops[op->code].arg[k].type].encoded_bytes);
		break;
	default:
		raw[k] += one_in(2) ? 1u : ~0u;
		break;
	}
	raw_put(op, raw);
}

// Give an argument the value that an argument of the same kind has elsewhere in the trace.
static void edit_field_from_elsewhere(void)
{
	u32 raw[TRACE_ARGS_MAX] = { 0 }, other[TRACE_ARGS_MAX] = { 0 }, k;
	const struct trace_op_info *info;
	struct trace_op *op;

	if (work.count < 2)
		return;
	op = &work.op[below(work.count)];
	info = &trace_ops[op->code];
	if (!info->args)
		return;
	raw_take(op, raw);
	k = below(info->args);
	for (u32 tries = 0; tries < 8; tries++) {
		const struct trace_op *from = &work.op[below(work.count)];

		raw_take(from, other);
		for (u32 i = 0; i < trace_ops[from->code].args; i++) {
			if (trace_ops[from->code].arg[i].type != info->arg[k].type || from == op)
				continue;
			raw[k] = other[i];
			raw_put(op, raw);
			return;
		}
	}
}

static void edit_attributes(void)
{
	struct trace_op *op;

	if (!work.count)
		return;
	op = &work.op[below(work.count)];
	if (one_in(3))
		op->fail_nth = op->race_nth = 0;
	else if (one_in(2))
		op->fail_nth = trace_random_nth(&rng);
	else
		op->race_nth = trace_random_nth(&rng);
}

static void edit_header(void)
{
	struct trace_config *c = &work.config;

	switch (below(5)) {
	case 0:
		c->vcpus = 1 + below(TRACE_VCPUS_MAX);
		break;
	case 1: // small pools are where reclaim lives
		c->pool_pages = TRACE_POOL_MIN + below(one_in(3) ? TRACE_POOL_MAX - TRACE_POOL_MIN + 1 : 24);
		break;
	case 2:
		c->opts ^= 1u << below(TRACE_OPTS);
		break;
	case 3:
		c->opts = one_in(2) ? TRACE_OPTS_ALL : below(TRACE_OPTS_ALL + 1);
		break;
	default:
		c->flush_auto = !c->flush_auto;
		break;
	}
}

// ---- long edits -----------------------------------------------------------------------------------
static void edit_idiom(void)
{
	static struct trace_op idiom[IDIOM_OPS_MAX];
	u32 at = one_in(2) ? work.count : below(work.count + 1), n = idiom_make(&rng, &work.config, idiom);

	if (open_gap(at, n))
		memcpy(&work.op[at], idiom, n * sizeof(idiom[0]));
}

// What the generator would write, a few ops of it, as if it had written what stands before.
static void edit_scene(void)
{
	static struct trace_gen gen;
	u32 at = one_in(2) ? work.count : below(work.count + 1), n = 4 + below(12);

	trace_gen_start(&gen, trace_rng_next(&rng), &work.config, false);
	gen.focus = focus;
	for (u32 i = 0; i < at; i++)
		picture_apply(&gen.picture, &work.op[i]);
	if (!open_gap(at, n))
		return;
	for (u32 i = 0; i < n; i++)
		trace_gen_next(&gen, &work.op[at + i]);
}

// ---- entries --------------------------------------------------------------------------------------
size_t mutate_trace(u8 *data, size_t bytes, size_t max, u64 seed)
{
	static void (*const edits[])(void) = {
		edit_insert, edit_insert, edit_delete, edit_delete, edit_duplicate, edit_swap, edit_replace, edit_field,
		edit_field, edit_field, edit_field_from_elsewhere, edit_field_from_elsewhere, edit_attributes,
		edit_header, edit_idiom, edit_idiom, edit_idiom, edit_idiom, edit_scene, edit_scene,
	};
	u32 rounds;

	rng.state = seed;
	work.count = read_ops(&work.config, work.op, MUTATE_OPS_MAX, data, bytes);
	rounds = work.count ? 1 + below(1 + below(6)) : 0;
	if (!rounds) // from nothing, a world that works
		edit_idiom();
	while (rounds--)
		edits[below(ARRAY_LEN(edits))]();
	return write_ops(data, max);
}

size_t mutate_splice(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max, u64 seed)
{
	static struct trace_op other[MUTATE_OPS_MAX];
	struct trace_config config;
	int kind = forced_kind;
	u32 count, from, n, at;

	rng.state = seed;
	work.count = read_ops(&work.config, work.op, MUTATE_OPS_MAX, a, a_bytes);
	forced_kind = (int)work.config.kind; // ops of another kind of guest have other arguments
	count = read_ops(&config, other, MUTATE_OPS_MAX, b, b_bytes);
	forced_kind = kind;
	if (one_in(3))
		work.config = config;
	at = below(work.count + 1);
	from = below(count + 1);
	n = count - from;
	if (one_in(2)) // a's head, b's tail
		work.count = at;
	else // a piece of b inside a
		n = n ? 1 + below(n < 24 ? n : 24) : 0;
	n = n < MUTATE_OPS_MAX - work.count ? n : MUTATE_OPS_MAX - work.count;
	if (open_gap(at, n))
		memcpy(&work.op[at], &other[from], n * sizeof(other[0]));
	return write_ops(to, max);
}

size_t mutate_cut(const u8 *data, size_t bytes, u8 *to, size_t max, u32 at, u32 count, u32 *total)
{
	work.count = *total = read_ops(&work.config, work.op, MUTATE_OPS_MAX, data, bytes);
	if (at < work.count)
		cut_ops(at, count < work.count - at ? count : work.count - at);
	return write_ops(to, max);
}
