// SPDX-License-Identifier: GPL-2.0-or-later
// The text form of traces, printing side, and the lists of allowed values for messages and the manual.
//
// Parts: one argument; one op; the header; lists of values. What this prints, parse.c reads back unchanged.
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Appends to a buffer of TRACE_TEXT_MAX bytes or a given room; what does not fit is dropped.
struct out {
	char *to;
	size_t at, room;
};

static void PRINTF_LIKE(2, 3) put(struct out *o, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(o->to + o->at, o->room - o->at, format, args);
	va_end(args);
	if (n > 0)
		o->at += (size_t)n < o->room - o->at ? (size_t)n : o->room - o->at - 1;
}

// ---- one argument -------------------------------------------------------------
static void put_va(struct out *o, const struct trace_mode_info *mode, u64 va)
{
	for (u32 i = 0; i + 1 < mode->va_parts; i++)
		put(o, "%s%u", i ? "." : "", (u32)(va >> mode->va[i].shift & mode->va[i].mask));
	if (va & (FRAME_BYTES - 1))
		put(o, "+0x%x", (u32)(va & (FRAME_BYTES - 1)));
}

static void put_place(struct out *o, u64 gfn)
{
	for (u32 i = 0; i < TRACE_PLACES; i++) {
		s64 distance = (s64)(gfn - trace_places[i].gfn);

		if (distance < -TRACE_PLACE_REACH || distance > TRACE_PLACE_REACH)
			continue;
		put(o, distance ? "%s%+d" : "%s", trace_places[i].name, (int)distance);
		return;
	}
	put(o, "?");
}

static void put_arg(struct out *o, const struct trace_op *op, const struct trace_arg *arg, u64 value)
{
	const struct trace_mode_info *mode = &trace_modes[op->mode % TRACE_MODE_COUNT];
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];

	switch (arg->type) {
	case ARG_FLAGS: // each bit brings its own blank: no bits, no text
		for (u32 i = 0; i < TRACE_FLAGS; i++)
			if (value & mode->flag[i].bit)
				put(o, " %s", mode->flag[i].name);
		break;
	case ARG_VA:
	case ARG_PAGE:
		put_va(o, mode, value);
		break;
	case ARG_VALUE:
		put(o, "0x%llx", (unsigned long long)value);
		break;
	case ARG_HOW:
		if (value & 0xff)
			put(o, " cpl3");
		if (value >> 8 & 0xff)
			put(o, " tlb%u", (u32)(value >> 8 & 0xff));
		if (value >> 16)
			put(o, " ac");
		break;
	case ARG_NUMBER:
		if (value)
			put(o, " n=%u", (u32)value);
		break;
	case ARG_WHO:
		if (value)
			put(o, " %s", value < kind->values ? kind->words[value] : "?");
		break;
	case ARG_PLACE:
		put_place(o, value);
		break;
	case ARG_MASK:
		put(o, "0x%x", (u32)value);
		break;
	default:
		if (kind->words)
			put(o, "%s", value < kind->values ? kind->words[value] : "?");
		else
			put(o, "%s%llu", kind->prefix, (unsigned long long)value);
		break;
	}
}

size_t trace_print_arg(char *to, const struct trace_op *op, const struct trace_arg *arg)
{
	struct out o = { to, 0, TRACE_TEXT_MAX };

	to[0] = 0;
	put_arg(&o, op, arg, trace_field(op, arg));
	return o.at;
}

// ---- one op -------------------------------------------------------------
size_t trace_print_op(char *to, const struct trace_op *op)
{
	const struct trace_op_info *info = &trace_ops[op->code % OP_COUNT];
	struct out o = { to, 0, TRACE_TEXT_MAX };

	put(&o, "%s", info->name);
	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];

		put(&o, "%s", arg->before);
		put_arg(&o, op, arg, trace_field(op, arg));
		put(&o, "%s", arg->after);
	}
	if (op->fail_nth)
		put(&o, " (fail_nth: %u)", op->fail_nth);
	if (op->race_nth)
		put(&o, " (race_nth: %u)", op->race_nth);
	return o.at;
}

// ---- header -------------------------------------------------------------
static void put_opts(struct out *o, u32 opts)
{
	const char *join = "";

	if (opts == 0 || opts == TRACE_OPTS_ALL) {
		put(o, opts ? "all" : "none");
		return;
	}
	for (u32 i = 0; i < TRACE_OPTS; i++)
		if (opts >> i & 1) {
			put(o, "%s%s", join, trace_opt_names[i]);
			join = "+";
		}
}

size_t trace_print_header(char *to, const struct trace_config *config)
{
	struct out o = { to, 0, TRACE_TEXT_MAX };

	put(&o, "domain %s vcpus=%u pool=%u opts=", trace_kind_names[config->kind], config->vcpus,
	    config->pool_pages);
	put_opts(&o, config->opts);
	put(&o, " flush=%s", config->flush_auto ? "auto" : "manual");
	return o.at;
}

// ---- lists of values -------------------------------------------------------------
static void put_va_sets(struct out *o, const struct trace_mode_info *mode, u32 parts)
{
	for (u32 i = 0; i < parts; i++) {
		const struct trace_va_part *p = &mode->va[i];
		bool offset = i == mode->va_parts - 1u;

		put(o, "%s", i ? "; " : "");
		if (offset)
			put(o, "offset of ");
		else
			put(o, "L%u of ", mode->va_parts - 1u - i);
		for (u32 k = 0; k < 1u << p->bits; k++)
			put(o, offset && p->set[k] ? "%s0x%x" : "%s%u", k ? " " : "", p->set[k]);
	}
}

static void put_plain_set(struct out *o, const struct trace_op *op, const struct trace_arg *arg)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];
	u64 last = ~UINT64_C(0);

	if (!kind->set && !kind->words && kind->values > 20) {
		put(o, "%s%u to %s%u", kind->prefix, kind->base, kind->prefix, kind->base + kind->values - 1u);
		return;
	}
	for (u32 raw = 0; raw < kind->values; raw++) {
		u64 value = trace_arg_decode(op, arg, raw);
		struct trace_op normal = *op;

		trace_set_field(&normal, arg, value);
		trace_normalise(&normal);
		value = trace_field(&normal, arg);
		if (value == last)
			continue;
		put(o, raw ? " " : "");
		put_arg(o, op, arg, value);
		last = value;
	}
}

size_t trace_list_values(char *to, size_t room, const struct trace_op *op, const struct trace_arg *arg)
{
	const struct trace_mode_info *mode = &trace_modes[op->mode % TRACE_MODE_COUNT];
	struct out o = { to, 0, room };

	to[0] = 0;
	switch (arg->type) {
	case ARG_FLAGS:
		for (u32 i = 0; i < TRACE_FLAGS; i++)
			put(&o, "%s%s", i ? " " : "", mode->flag[i].name);
		break;
	case ARG_VA:
		put_va_sets(&o, mode, mode->va_parts);
		break;
	case ARG_PAGE:
		put_va_sets(&o, mode, mode->va_parts - 1u);
		break;
	case ARG_VALUE:
		put(&o, op->mode == TRACE_MODE_32 ? "one byte repeated over the access; an odd one has bit 6 set"
					     : "one byte repeated over the access");
		break;
	case ARG_HOW:
		put(&o, "cpl3 tlb1 tlb2 tlb3 ac");
		break;
	case ARG_NUMBER:
		put(&o, "n=1 to n=%u", TRACE_ASK_MAX);
		break;
	case ARG_WHO:
		for (u32 i = 1; i < WHO_COUNT; i++)
			put(&o, "%s%s", i > 1 ? " " : "", trace_arg_kinds[ARG_WHO].words[i]);
		break;
	case ARG_PLACE:
		for (u32 i = 0; i < TRACE_PLACES; i++)
			put(&o, "%s%s", i ? " " : "", trace_places[i].name);
		put(&o, ", and %d to either side, such as %s-1", TRACE_PLACE_REACH, trace_places[0].name);
		break;
	case ARG_MASK:
		put(&o, "0x0 to 0x%x", trace_arg_kinds[ARG_MASK].values - 1u);
		break;
	default:
		put_plain_set(&o, op, arg);
		break;
	}
	return o.at;
}
