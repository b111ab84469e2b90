// SPDX-License-Identifier: GPL-2.0-or-later
// The binary form of traces: what fuzzers mutate and what the guest kernel reads.
//
// Parts: fields through the table; one argument; one op; the header.
//
// Every byte string is a trace: what is missing reads as zero and every value wraps into its dense set. Encoding
// is canonical, so decode(encode(x)) == x for every x that came from decode. Constant memory, linear time.
// Freestanding. It knows by name only the ops with rules between their arguments (settle()): the rows of ops.c say
// everything else.
#include "ops.h"

#define ATTRIBUTES 0x80u
#define PLACE_WIDTH (2 * TRACE_PLACE_REACH + 1u)

// ---- fields -------------------------------------------------------------
u64 trace_field(const struct trace_op *op, const struct trace_arg *arg)
{
	const u8 *at = (const u8 *)op + arg->offset;
	u64 value = 0;

	for (u32 i = 0; i < arg->width; i++)
		value |= (u64)at[i] << (8 * i);
	return value;
}

void trace_set_field(struct trace_op *op, const struct trace_arg *arg, u64 value)
{
	u8 *at = (u8 *)op + arg->offset;

	for (u32 i = 0; i < arg->width; i++)
		at[i] = (u8)(value >> (8 * i));
}

// ---- one argument -------------------------------------------------------------
static const struct trace_mode_info *mode_of(const struct trace_op *op)
{
	return &trace_modes[op->mode % TRACE_MODE_COUNT];
}

static u64 flags_decode(const struct trace_mode_info *mode, u32 raw)
{
	u64 flags = 0;

	for (u32 i = 0; i < TRACE_FLAGS; i++)
		if (raw >> i & 1)
			flags |= mode->flag[i].bit;
	return flags;
}

static bool flags_encode(const struct trace_mode_info *mode, u64 flags, u32 *raw)
{
	*raw = 0;
	for (u32 i = 0; i < TRACE_FLAGS; i++)
		if (flags & mode->flag[i].bit)
			*raw |= 1u << i;
	return flags_decode(mode, *raw) == flags;
}

// The parts of an address, without the last one for a page.
static u64 va_decode(const struct trace_mode_info *mode, u32 raw, bool page)
{
	u64 va = 0;

	for (u32 i = 0; i < mode->va_parts - (page ? 1u : 0u); i++) {
		const struct trace_va_part *p = &mode->va[i];

		va |= (u64)p->set[raw >> p->at & ((1u << p->bits) - 1)] << p->shift;
	}
	return va & BIT(47) ? va | ~(BIT(48) - 1) : va;
}

static bool va_encode(const struct trace_mode_info *mode, u64 va, bool page, u32 *raw)
{
	*raw = 0;
	for (u32 i = 0; i < mode->va_parts - (page ? 1u : 0u); i++) {
		const struct trace_va_part *p = &mode->va[i];
		u32 want = va >> p->shift & p->mask, k = 0;

		while (k < 1u << p->bits && p->set[k] != want)
			k++;
		*raw |= (k & ((1u << p->bits) - 1)) << p->at;
	}
	return va_decode(mode, *raw, page) == va;
}

// One byte over all bytes of the access; ops without a size push. In mode 32 four bytes of an odd value are a present
// entry: it must not lead below the trace frames, where only some executors have RAM.
static u64 value_decode(const struct trace_op *op, u32 raw)
{
	u32 bytes = op->bytes ? op->bytes : trace_push_bytes((enum trace_mode)op->mode);
	u32 byte = op->mode == TRACE_MODE_32 && (raw & 1) ? (raw & 0xff) | 0x40 : raw & 0xff;
	u64 value = byte * UINT64_C(0x0101010101010101);

	return bytes >= 8 ? value : value & (BIT(8 * bytes) - 1);
}

static u64 plain_value(const struct trace_op *op, const struct trace_arg *arg, u32 k)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];
	const struct trace_mode_info *mode = mode_of(op);

	switch (arg->type) {
	case ARG_INDEX:
		return mode->index_set[k];
	case ARG_CAS_BYTES:
		return mode->cas_bytes_set[k];
	case ARG_INSN_BYTES:
		return trace_insn_bytes((enum trace_mode)op->mode, (enum trace_insn)op->insn, kind->set[k]);
	case ARG_PLACE:
		return trace_places[k / PLACE_WIDTH].gfn + k % PLACE_WIDTH - TRACE_PLACE_REACH;
	default:
		return kind->set ? kind->set[k] : (u64)kind->base + k;
	}
}

// A cas that is wider than an entry works on two, of which the first has an even index.
static bool index_is_pair(const struct trace_op *op)
{
	return op->code == OP_CAS && op->bytes > trace_entry_bytes((enum trace_mode)op->mode);
}

u64 trace_arg_decode(const struct trace_op *op, const struct trace_arg *arg, u32 raw)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];

	switch (arg->type) {
	case ARG_FLAGS:
		return flags_decode(mode_of(op), raw);
	case ARG_VA:
		return va_decode(mode_of(op), raw, false);
	case ARG_PAGE:
		return va_decode(mode_of(op), raw, true);
	case ARG_VALUE:
		return value_decode(op, raw);
	case ARG_HOW:
		return (raw & 1 ? 3 : 0) | (raw >> 1 & 3) << 8 | (raw >> 3 & 1) << 16;
	default:
		return plain_value(op, arg, raw % kind->values);
	}
}

bool trace_arg_encode(const struct trace_op *op, const struct trace_arg *arg, u64 value, u32 *raw)
{
	const struct trace_arg_kind *kind = &trace_arg_kinds[arg->type];
	u64 pair = arg->type == ARG_INDEX && index_is_pair(op) ? 1 : 0;

	switch (arg->type) {
	case ARG_FLAGS:
		return flags_encode(mode_of(op), value, raw);
	case ARG_VA:
		return va_encode(mode_of(op), value, false, raw);
	case ARG_PAGE:
		return va_encode(mode_of(op), value, true, raw);
	case ARG_VALUE:
		*raw = value & 0xff;
		return value_decode(op, *raw) == value;
	case ARG_HOW:
		*raw = (value & 0xff ? 1 : 0) | (value >> 8 & 3) << 1 | (value >> 16 & 1) << 3;
		return trace_arg_decode(op, arg, *raw) == value;
	default:
		for (*raw = 0; *raw < kind->values; ++*raw)
			if ((plain_value(op, arg, *raw) & ~pair) == value)
				return true;
		*raw = 0;
		return false;
	}
}

static bool spills(const struct trace_op *op)
{
	u32 offset = (u32)op->va & (FRAME_BYTES - 1);
	u32 elements = op->insn == INS_REP_STOS || op->insn == INS_REP_MOVS ? TRACE_REP : 1;

	return (offset < TRACE_RESERVED_AT && offset + op->bytes * elements > TRACE_RESERVED_AT) ||
	       (op->bytes == 16 && offset + op->bytes > FRAME_BYTES);
}

// The argument that a control operation can have: none, if it takes none. How large a pool fits into the machine is not
// the same everywhere: 0, 1 and too many megabytes are.
static u16 ask_number(const struct trace_op *op)
{
	switch (op->what) {
	case ASK_CLEAN:
	case ASK_PEEK:
	case ASK_ENABLE:
		return op->count;
	case ASK_SET:
		return op->count == TRACE_ASK_MAX ? TRACE_ASK_MAX : op->count % 2;
	default:
		return 0;
	}
}

// Rules between arguments: pairs start at an even index; what an ALTER stores spares the reserved bytes of a frame, and
// 16 bytes lie in one page; a VISIT does not spill from entry 511 of a 4-byte table into 512, where home's kernel word is;
// a CONTROL has the numbers that make sense for it, and a range only if it asks for one.
static void settle(struct trace_op *op)
{
	if (index_is_pair(op))
		op->index &= (u16)~1u;
	if (op->code == OP_ALTER && spills(op)) {
		op->insn = INS_MOV;
		op->bytes = 4;
	}
	if (op->code == OP_VISIT && op->mode == TRACE_MODE_32 && (op->va >> FRAME_SHIFT & 0x3ff) == 511 &&
	    (op->va & (FRAME_BYTES - 1)) + op->bytes > FRAME_BYTES)
		op->va &= ~(u64)(FRAME_BYTES - 1);
	if (op->code == OP_CONTROL) {
		op->count = ask_number(op);
		if (op->who >= WHO_FROM && op->what != ASK_CLEAN && op->what != ASK_PEEK)
			op->who = WHO_OPERATOR;
	}
}

void trace_normalise(struct trace_op *op)
{
	const struct trace_op_info *info = &trace_ops[op->code];

	settle(op);
	for (u32 i = 0; i < info->args; i++) {
		u32 raw;

		if (trace_arg_encode(op, &info->arg[i], trace_field(op, &info->arg[i]), &raw))
			continue;
		trace_set_field(op, &info->arg[i], trace_arg_decode(op, &info->arg[i], raw));
	}
	settle(op);
}

// ---- one op -------------------------------------------------------------
static u32 take_byte(struct trace_reader *r)
{
	return r->at < r->bytes ? r->data[r->at++] : 0;
}

bool trace_next(struct trace_reader *r, struct trace_op *op)
{
	const struct trace_op_info *info;
	u32 head;

	*op = (struct trace_op){ 0 };
	if (r->at >= r->bytes)
		return false;
	head = take_byte(r);
	op->mode = (u8)r->config.kind;
	op->code = (u8)((head & ~ATTRIBUTES) % OP_COUNT);
	if (head & ATTRIBUTES) {
		u32 nth = take_byte(r);

		op->fail_nth = nth & 15;
		op->race_nth = nth >> 4 & 15;
	}
	info = &trace_ops[op->code];
	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];
		u32 raw = take_byte(r);

		if (trace_arg_kinds[arg->type].encoded_bytes == 2)
			raw |= take_byte(r) << 8;
		trace_set_field(op, arg, trace_arg_decode(op, arg, raw));
	}
	settle(op);
	return true;
}

// A value that the dense set does not have becomes the set's first: callers that must not lose one ask
// trace_arg_encode() themselves, as the text parser does.
size_t trace_put_op(u8 *to, const struct trace_op *op)
{
	u32 code = op->code % OP_COUNT;
	const struct trace_op_info *info = &trace_ops[code];
	u32 nth = (op->fail_nth & 15u) | (op->race_nth & 15u) << 4;
	size_t n = 0;

	to[n++] = (u8)(code | (nth ? ATTRIBUTES : 0));
	if (nth)
		to[n++] = (u8)nth;
	for (u32 i = 0; i < info->args; i++) {
		const struct trace_arg *arg = &info->arg[i];
		u32 raw;

		if (!trace_arg_encode(op, arg, trace_field(op, arg), &raw))
			raw = 0;
		to[n++] = (u8)raw;
		if (trace_arg_kinds[arg->type].encoded_bytes == 2)
			to[n++] = (u8)(raw >> 8);
	}
	return n;
}

// Code, attributes, and every argument at its widest.
_Static_assert(2 + 2 * TRACE_ARGS_MAX <= TRACE_OP_BYTES_MAX, "an encoded op must fit");

// ---- header -------------------------------------------------------------
void trace_open(struct trace_reader *r, const void *data, size_t bytes)
{
	*r = (struct trace_reader){ .data = data, .bytes = bytes };
	r->config.kind = (enum trace_kind)(take_byte(r) % TRACE_KINDS_RUN);
	r->config.vcpus = 1 + take_byte(r) % TRACE_VCPUS_MAX;
	r->config.pool_pages = TRACE_POOL_MIN + take_byte(r);
	r->config.opts = take_byte(r) & TRACE_OPTS_ALL;
	r->config.flush_auto = take_byte(r) & 1;
}

size_t trace_put_header(u8 *to, const struct trace_config *config)
{
	to[0] = (u8)config->kind;
	to[1] = (u8)(config->vcpus - 1);
	to[2] = (u8)(config->pool_pages - TRACE_POOL_MIN);
	to[3] = (u8)(config->opts & TRACE_OPTS_ALL);
	to[4] = config->flush_auto;
	return TRACE_HEADER_BYTES;
}
