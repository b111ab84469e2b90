// SPDX-License-Identifier: GPL-2.0-or-later
// Observation lines and their digests. One formatter for every executor: logs are compared byte for byte.
//
// Parts: a bounded writer; the line of an op; digests; the last lines of a log.
//
// Lines, by kind of observation:
//   4 pte ok                          5 read ok 0x5a
//   6 cas ok 0x27 match               7 cas ok 0x27 0x0 miss          (16 bytes: low word, high word)
//   8 write #PF err=0x7 cr2=0x201000  9 cr3 #GP err=0x0      10 exec #UD
//   11 sweep ok n=8 0x<hash>          12 sweep #PF err=0x4 cr2=0x3000 n=3 0x<hash>
//   13 pool enomem                    14 cr3 killed wild cr3
//   15 alter ok flags=0x44           16 alter ok 0x27 flags=0x40 (xchg: no flags; mov: "alter ok")
//
// Freestanding, no allocation; a line that would be longer than OBS_LINE_MAX - 1 is cut.
#include "trace.h"

#include "../../hv/base/status.h"

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// ---- writer -------------------------------------------------------------
struct line {
	char *to;
	size_t at;
};

static void put_char(struct line *l, char c)
{
	if (l->at < OBS_LINE_MAX - 1)
		l->to[l->at++] = c;
}

static void put_text(struct line *l, const char *s)
{
	while (*s)
		put_char(l, *s++);
}

static void put_decimal(struct line *l, u32 n)
{
	char digits[10];
	u32 count = 0;

	do
		digits[count++] = (char)('0' + n % 10);
	while (n /= 10);
	while (count)
		put_char(l, digits[--count]);
}

static void put_digits(struct line *l, u64 n, u32 digits)
{
	while (digits--)
		put_char(l, "0123456789abcdef"[n >> (4 * digits) & 15]);
}

static void put_hex(struct line *l, u64 n)
{
	u32 digits = 1;

	while (digits < 16 && n >> (4 * digits))
		digits++;
	put_text(l, "0x");
	put_digits(l, n, digits);
}

static size_t finish(struct line *l)
{
	l->to[l->at] = 0;
	return l->at;
}

// ---- the line of an op -------------------------------------------------------------
#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14

static void put_fault(struct line *l, const struct obs *o)
{
	if (o->vector == VECTOR_UD) {
		put_text(l, " #UD");
		return;
	}
	if (o->vector == VECTOR_PF)
		put_text(l, " #PF");
	else if (o->vector == VECTOR_GP)
		put_text(l, " #GP");
	else {
		put_text(l, " #");
		put_decimal(l, o->vector);
	}
	put_text(l, " err=");
	put_hex(l, o->error);
	if (o->vector == VECTOR_PF) {
		put_text(l, " cr2=");
		put_hex(l, o->cr2);
	}
}

static void put_values(struct line *l, const struct obs *o, u32 bytes)
{
	put_char(l, ' ');
	put_hex(l, o->value[0]);
	if (bytes == 16) {
		put_char(l, ' ');
		put_hex(l, o->value[1]);
	}
}

// What the instruction gives back: the old operand of those that load it into a register, and the flags of those
// that define any.
static void put_alter(struct line *l, const struct trace_op *op, const struct obs *o)
{
	u32 flags = trace_alter_flags(op);

	put_text(l, " ok");
	if (op->insn == INS_XCHG || op->insn == INS_XADD || op->insn == INS_CAS || op->insn == INS_LOCK_CAS)
		put_values(l, o, op->bytes);
	if (flags) {
		put_text(l, " flags=");
		put_hex(l, o->error & flags);
	}
}

size_t obs_line(char *to, u32 number, const struct trace_op *op, const struct obs *o)
{
	struct line l = { to, 0 };

	put_decimal(&l, number);
	put_char(&l, ' ');
	put_text(&l, trace_op_name((enum trace_code)op->code));
	switch (o->kind) {
	case OBS_OK:
		put_text(&l, " ok");
		break;
	case OBS_VALUE:
		put_text(&l, " ok");
		put_values(&l, o, o->bytes);
		break;
	case OBS_CAS:
		put_text(&l, " ok");
		put_values(&l, o, o->bytes);
		put_text(&l, o->matched ? " match" : " miss");
		break;
	case OBS_ALTER:
		put_alter(&l, op, o);
		break;
	case OBS_FAULT:
		put_fault(&l, o);
		break;
	case OBS_STATUS:
		put_char(&l, ' ');
		put_text(&l, hv_status_name((enum hv_status)o->status));
		break;
	case OBS_KILLED:
		put_text(&l, " killed ");
		put_text(&l, o->reason ? o->reason : "?");
		break;
	case OBS_SWEEP:
		if (o->vector)
			put_fault(&l, o);
		else
			put_text(&l, " ok");
		put_text(&l, " n=");
		put_decimal(&l, o->count);
		put_char(&l, ' ');
		put_hex(&l, o->value[0]);
		break;
	default:
		put_text(&l, " ?");
		break;
	}
	return finish(&l);
}

// ---- digests -------------------------------------------------------------
static u64 fnv_line(u64 h, const char *line, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (u8)line[i]) * FNV_PRIME;
	return (h ^ '\n') * FNV_PRIME;
}

void obs_digest_start(struct obs_digest *d)
{
	d->guest = d->all = FNV_START;
}

// op is NULL for the memory line.
void obs_digest_add(struct obs_digest *d, const struct trace_op *op, const char *line, size_t bytes)
{
	if (!op || !(trace_op_class((enum trace_code)op->code) & OP_IS_CONTROL))
		d->guest = fnv_line(d->guest, line, bytes);
	d->all = fnv_line(d->all, line, bytes);
}

u64 obs_memory_start(void)
{
	return FNV_START;
}

// ---- last lines -------------------------------------------------------------
size_t obs_memory_line(char *to, u64 hash)
{
	struct line l = { to, 0 };

	put_text(&l, "memory 0x");
	put_digits(&l, hash, 16);
	return finish(&l);
}

size_t obs_digest_line(char *to, const struct obs_digest *d)
{
	struct line l = { to, 0 };

	put_text(&l, "digest guest=");
	put_digits(&l, d->guest, 16);
	put_text(&l, " all=");
	put_digits(&l, d->all, 16);
	return finish(&l);
}
