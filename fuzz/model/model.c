// SPDX-License-Identifier: GPL-2.0-or-later
// State of the reference model: guest memory with its history, vcpus, start, and the entry points
// that execute one operation.
//
// Parts: slots; words and their history; flushes; start; step and follow; hash.
//
// It does not walk tables (walk.c, tlb.c), know operations (ops.c), races (race.c) or how to compare
// (compare.c).
#include <string.h>

#include "internal.h"

// ---- slots ------------------------------------------------------------------------------------------
int slot_of(u64 gfn)
{
	if (gfn >= TRACE_F0_GFN && gfn < TRACE_F0_GFN + TRACE_FRAMES)
		return (int)(gfn - TRACE_F0_GFN);
	if (gfn >= MODEL_K3_GFN && gfn <= MODEL_K1_GFN)
		return TRACE_FRAMES + (int)(gfn - MODEL_K3_GFN);
	return -1;
}

bool slot_present(const struct model *m, int slot)
{
	return m->present >> slot & 1;
}

// What a word holds at the start of a trace.
#define MODEL_START_WORDS TRACE_FRAMES // words from here on start as zero, the reserved ones excepted
static u64 start_word(u32 slot, u32 index)
{
	const u64 table = E_P | E_W | E_U | E_A, leaf = E_P | E_W | E_A | E_D;

	if (slot < TRACE_FRAMES && index == TRACE_KERNEL_SLOT)
		return MODEL_K3_GFN << 12 | table;
	if (slot < TRACE_FRAMES && index == TRACE_KERNEL_SLOT + 1)
		return TRACE_INT3;
	if (slot == TRACE_FRAMES && index == 1)
		return MODEL_K2_GFN << 12 | table;
	if (slot == TRACE_FRAMES + 1 && index == 0)
		return MODEL_K1_GFN << 12 | table;
	if (slot == TRACE_FRAMES + 2 && index < TRACE_FRAMES)
		return (TRACE_F0_GFN + index) << 12 | leaf;
	return 0;
}

// ---- words and their history ------------------------------------------------------------------------
// An absent slot's words are MODEL_HOLE_WORD: op_run() sees to that.
u64 word_get(const struct model *m, int slot, u32 index)
{
	return m->word[slot][index];
}

void word_replace(struct model *m, int slot, u32 index, u64 value)
{
	u64 *word = &m->word[slot][index];
	struct model_change *c;

	if (*word == value)
		return;
	c = &m->history[++m->changes % MODEL_CHANGES];
	if (m->changes > m->peak) {
		m->peak = m->changes;
		if (m->peak > MODEL_CHANGES)
			m->lost = c->time;
	}
	*c = (struct model_change){ .old = *word, .time = ++m->now, .older = m->newest[slot][index],
				    .word = (u32)slot * MODEL_WORDS + index };
	m->newest[slot][index] = m->changes;
	m->dirty |= 1u << slot;
	m->touched |= 1u << slot;
	*word = value;
}

void word_set(struct model *m, int slot, u32 index, u64 value)
{
	if (slot_present(m, slot))
		word_replace(m, slot, index, value);
}

// ---- flushes ----------------------------------------------------------------------------------------
void flush_all(struct model *m, struct model_vcpu *v)
{
	v->flushed = v->flushed_all = ++m->now;
	v->roots[0].gfn = v->root;
	v->roots[0].since = m->now;
	v->root_count = 1;
	v->invlpg_count = 0;
}

// A load of CR3 with v->root, new or not.
void flush_for_cr3(struct model *m, struct model_vcpu *v)
{
	v->flushed = ++m->now;
	if (v->roots[v->root_count - 1].gfn == v->root)
		return;
	if (v->root_count == MODEL_ROOTS) {
		v->lost = m->now - 1;
		v->root_count = 0;
	}
	v->roots[v->root_count].gfn = v->root;
	v->roots[v->root_count].since = m->now;
	v->root_count++;
}

// ---- start ------------------------------------------------------------------------------------------
void model_start(struct model *m, const struct trace_config *c)
{
	u32 stale = m->started ? m->dirty : (1u << MODEL_SLOTS) - 1;

	for (u32 slot = 0; slot < MODEL_SLOTS; slot++) {
		if (!(stale >> slot & 1))
			continue;
		memset(m->word[slot], 0, sizeof(m->word[slot]));
		for (u32 i = 0; i < MODEL_START_WORDS; i++)
			m->word[slot][i] = start_word(slot, i);
		for (u32 i = TRACE_KERNEL_SLOT; i < TRACE_KERNEL_SLOT + 2; i++)
			m->word[slot][i] = start_word(slot, i);
		memset(m->newest[slot], 0, sizeof(m->newest[slot]));
	}
	m->config = *c;
	if (m->config.vcpus < 1)
		m->config.vcpus = 1;
	if (m->config.vcpus > MODEL_VCPUS)
		m->config.vcpus = MODEL_VCPUS;
	m->started = true;
	m->dead = m->may_fail = false;
	m->current = m->dirty = m->touched = m->now = m->changes = m->peak = m->lost = 0;
	m->present = (1u << MODEL_SLOTS) - 1;
	m->race = NULL;
	for (u32 i = 0; i < MODEL_VCPUS; i++) {
		struct model_vcpu *v = &m->vcpu[i];

		v->root = TRACE_F0_GFN;
		v->wp = v->nxe = true;
		v->smep = v->smap = v->pge = false;
		v->nxe_until = v->lost = 0;
		flush_all(m, v);
	}
}

// ---- step and follow --------------------------------------------------------------------------------
void model_step(struct model *m, const struct trace_op *op, struct obs *o)
{
	const char *broken = NULL;

	m->touched = 0;
	m->may_fail = false;
	op_run(m, op, NULL, o, &broken);
}

void model_step_on(struct model *m, u32 vcpu, const struct trace_op *op, struct obs *o)
{
	u32 current = m->current;

	m->current = vcpu % m->config.vcpus;
	model_step(m, op, o);
	m->current = current;
}

static const char *follow_once(struct model *m, const struct trace_op *op, const struct obs *seen)
{
	const char *broken = NULL;
	struct obs o;

	m->guesses = 1;
	op_run(m, op, seen, &o, &broken);
	if (seen->kind == OBS_KILLED) {
		m->dead = true;
		return kill_difference(m, &o, seen);
	}
	return broken ? broken : obs_difference(m, op, &o, seen);
}

const char *model_follow(struct model *m, const struct trace_op *op, const struct obs *seen)
{
	bool guessing = op->code == OP_SWEEP && seen->value[1];
	const char *broken;
	struct mark mark;

	if (m->dead)
		return "model: an operation after the domain was killed";
	m->touched = 0;
	m->may_fail = op->fail_nth != 0;
	m->guess = 0;
	m->guess_blind = false;
	if (guessing)
		mark_set(m, &mark);
	for (;;) {
		broken = follow_once(m, op, seen);
		if (!broken || !guessing || ++m->guess >= m->guesses || m->guess == GUESSES_MAX)
			return broken;
		mark_return(m, &mark);
	}
}

// ---- hash -------------------------------------------------------------------------------------------
u64 model_memory_hash(const struct model *m)
{
	u64 h = obs_memory_start();

	for (u32 slot = 0; slot < TRACE_FRAMES; slot++)
		for (u32 i = 0; i < MODEL_WORDS; i++)
			if (i != TRACE_KERNEL_SLOT && i != TRACE_KERNEL_SLOT + 1)
				h = obs_memory_add(h, m->word[slot][i]);
	return h;
}
