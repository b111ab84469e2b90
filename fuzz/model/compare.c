// SPDX-License-Identifier: GPL-2.0-or-later
// Comparing the hypervisor under test with the model, and naming the rule of spec E.1 that a
// difference breaks.
//
// Parts: findings; observations; kills; guest memory.
//
// All texts share one static buffer. Memory is compared with memcmp() first: 64 KiB a call for all
// frames, 4 KiB for each frame touched.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../hv/base/status.h"

#include "internal.h"

// ---- findings ---------------------------------------------------------------------------------------
static char text[320];

const char *finding(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return text;
}

// ---- observations -----------------------------------------------------------------------------------
static bool same_fault(const struct obs *a, const struct obs *b)
{
	if (a->vector != b->vector)
		return false;
	if (a->vector == 0 || a->vector == VECTOR_UD)
		return true;
	return a->error == b->error && (a->vector != VECTOR_PF || a->cr2 == b->cr2);
}

static bool same_values(const struct trace_op *op, const struct obs *a, const struct obs *b)
{
	return a->value[0] == b->value[0] && (op->bytes != 16 || a->value[1] == b->value[1]);
}

static bool same(const struct model *m, const struct trace_op *op, const struct obs *a, const struct obs *seen)
{
	if (a->kind != seen->kind)
		return false;
	switch (a->kind) {
	case OBS_VALUE:
		return same_values(op, a, seen);
	case OBS_CAS:
		return same_values(op, a, seen) && !a->matched == !seen->matched;
	case OBS_FAULT:
		return same_fault(a, seen);
	case OBS_ALTER:
		return same_values(op, a, seen) && a->error == seen->error;
	case OBS_STATUS:
		return a->status == seen->status;
	case OBS_SWEEP:
		return a->count == seen->count && same_fault(a, seen) &&
		       (a->value[0] == seen->value[0] || m->guess_blind);
	}
	return true;
}

static const char *broken_rule(const struct trace_op *op, const struct obs *a, const struct obs *seen)
{
	bool fault = a->kind == OBS_FAULT || a->vector, seen_fault = seen->kind == OBS_FAULT || seen->vector;

	if (trace_op_class(op->code) & OP_IS_CONTROL)
		return op->code == OP_CHECK ? "model: check failed" : "E1.50 control operation";
	if (fault && (!seen_fault || seen->count > a->count) && seen->kind != OBS_KILLED)
		return "E1.41 soundness";
	if (fault || seen_fault || a->kind == OBS_KILLED)
		return "E1.44 fault fidelity";
	if (op->code == OP_PEEK)
		return "E1.45 memory";
	if (op->code == OP_CAS || (op->code == OP_ALTER && seen->emulated))
		return "E1.45 emulated write";
	return "E1.41 soundness";
}

const char *obs_difference(const struct model *m, const struct trace_op *op, const struct obs *a,
			   const struct obs *seen)
{
	char expected[OBS_LINE_MAX], saw[OBS_LINE_MAX];

	if (same(m, op, a, seen))
		return NULL;
	obs_line(expected, 0, op, a);
	obs_line(saw, 0, op, seen);
	// Both lines begin with the number 0 and a blank.
	return finding("%s: expected %s, saw %s", broken_rule(op, a, seen), expected + 2, saw + 2);
}

// ---- kills ------------------------------------------------------------------------------------------
const char *kill_difference(const struct model *m, const struct obs *a, const struct obs *seen)
{
	const char *reason = seen->reason ? seen->reason : "?";
	bool references = strcmp(reason, "shadow references") == 0;

	if (a->kind == OBS_KILLED && strcmp(a->reason, reason) == 0)
		return NULL;
	if (references && MODEL_ALLOW_REF_OVERFLOW)
		return NULL;
	if (m->may_fail && (references || strcmp(reason, "out of shadow memory") == 0))
		return NULL;
	return finding("E1.43 liveness: the domain was killed: %s", reason);
}

// ---- guest memory -----------------------------------------------------------------------------------
// A and D of every entry in a word.
static u64 accessed_bits(const struct model *m)
{
	u64 bits = E_A | E_D;

	return m->config.kind == TRACE_HVM32 ? bits | bits << 32 : bits;
}

// The first entry that differs. Both words differ in more than `tolerated` bits that the executor has besides.
static const char *word_difference(const struct model *m, u32 i, u32 k, u64 word)
{
	const struct paging *p = paging_of(m->config.kind);
	u32 index = k * 8 / p->entry_bytes;

	if (walk_entry(p, word, index) == walk_entry(p, m->word[i][k], index))
		index++; // so it is the other half
	return finding("%s: f%u[%u] is 0x%llx, model has 0x%llx",
		       (word ^ m->word[i][k]) & ~accessed_bits(m) ? "E1.45 memory" : "E1.46 memory", i, index,
		       (unsigned long long)walk_entry(p, word, index),
		       (unsigned long long)walk_entry(p, m->word[i][k], index));
}

// Nobody can store to a frame of the donor, reserved words included.
static const char *compare_foreign(const struct model *m, u32 i, const u64 *words)
{
	if (!words)
		return finding("E1.45 memory: f%u is a hole, the model has a frame of the donor", i);
	for (u32 k = 0; k < MODEL_WORDS; k++)
		if (words[k] != model_word(m, i, k))
			return finding("E1.45 memory: word %u of the donor's frame at f%u is 0x%llx, the model has 0x%llx", k, i,
				       (unsigned long long)words[k], (unsigned long long)model_word(m, i, k));
	return NULL;
}

static const char *compare_frame(const struct model *m, u32 i, const u64 *words, u64 tolerated)
{
	if (slot_foreign(m, (int)i))
		return compare_foreign(m, i, words);
	if (!words || !slot_present(m, (int)i)) {
		if (!words && !slot_present(m, (int)i))
			return NULL;
		return finding("E1.45 memory: f%u is %s, the model has %s", i, words ? "RAM" : "a hole",
			       words ? "a hole" : "RAM");
	}
	if (memcmp(words, m->word[i], sizeof(m->word[i])) == 0)
		return NULL;
	for (u32 k = 0; k < MODEL_WORDS; k++)
		if ((words[k] & ~(tolerated & ~m->word[i][k])) != m->word[i][k])
			return word_difference(m, i, k, words[k]);
	return NULL;
}

static const char *compare(const struct model *m, u32 slots, model_frame_fn *frame, void *ctx, u64 tolerated)
{
	const char *difference = NULL;

	for (u32 i = 0; i < TRACE_FRAMES && !difference; i++)
		if (slots >> i & 1)
			difference = compare_frame(m, i, frame(ctx, i), tolerated);
	return difference;
}

const char *model_compare_memory(const struct model *m, model_frame_fn *frame, void *ctx)
{
	return compare(m, ~0u, frame, ctx, 0);
}

const char *model_compare_touched(const struct model *m, model_frame_fn *frame, void *ctx)
{
	return compare(m, m->touched, frame, ctx, 0);
}

const char *memory_unexplained(const struct model *m, model_frame_fn *frame, void *ctx)
{
	return compare(m, ~0u, frame, ctx, accessed_bits(m));
}

void model_adopt_memory(struct model *m, model_frame_fn *frame, void *ctx)
{
	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		const u64 *words = frame(ctx, i);

		if (slot_foreign(m, (int)i))
			continue; // nothing changes it but what the model knows
		if (words && memcmp(words, m->word[i], sizeof(m->word[i])) == 0 && slot_present(m, (int)i))
			continue;
		for (u32 k = 0; k < MODEL_WORDS; k++)
			word_replace(m, (int)i, k, words ? words[k] : MODEL_HOLE_WORD);
		if (words)
			m->present |= 1u << i;
		else
			m->present &= ~(1u << i);
	}
}
