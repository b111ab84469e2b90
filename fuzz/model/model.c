// SPDX-License-Identifier: GPL-2.0-or-later
// State of the reference model: guest memory with its history, start, and the entry points that execute
// one operation.
//
// Parts: slots; what they start with; words and their history; guest-physical memory; start; step and
// follow; hash.
//
// It does not walk tables (walk.c, tlb.c), know operations (ops.c, access.c, alu.c, registers.c, manage.c), dirty frames
// (dirty.c), races (race.c) or how to compare (compare.c).
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

bool slot_read_only(const struct model *m, int slot)
{
	return slot >= 0 && m->manage.read_only >> slot & 1;
}

bool slot_foreign(const struct model *m, int slot)
{
	return slot >= 0 && m->manage.foreign >> slot & 1;
}

// ---- what they start with -----------------------------------------------------------------------------
#define TABLE (E_P | E_W | E_U | E_A)
#define LEAF (E_P | E_W | E_A | E_D)

u64 model_kernel_word(enum trace_mode mode)
{
	switch (mode) {
	case TRACE_MODE_PAE:
		return MODEL_K2_GFN << 12 | E_P; // a PDPTE: nothing but P
	case TRACE_MODE_32:
		return (MODEL_K2_GFN << 12 | TABLE) | (MODEL_K1_GFN << 12 | TABLE) << 32;
	default:
		return MODEL_K3_GFN << 12 | TABLE;
	}
}

static void start_tables(struct model *m, enum trace_mode mode)
{
	u64 *k3 = m->word[TRACE_FRAMES], *k2 = m->word[TRACE_FRAMES + 1], *k1 = m->word[TRACE_FRAMES + 2];

	if (mode == TRACE_MODE_64) {
		k3[1] = MODEL_K2_GFN << 12 | TABLE;
		k2[0] = MODEL_K1_GFN << 12 | TABLE;
	} else if (mode == TRACE_MODE_PAE) {
		k3[0] = model_kernel_word(mode);
		k2[256] = MODEL_K1_GFN << 12 | TABLE;
	}
	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		u64 entry = (TRACE_F0_GFN + i) << 12 | LEAF;

		if (mode == TRACE_MODE_32)
			k1[i / 2] |= entry << i % 2 * 32;
		else
			k1[i] = entry;
	}
}

static void start_memory(struct model *m, enum trace_mode mode, u32 stale)
{
	for (u32 slot = 0; slot < MODEL_SLOTS; slot++) {
		if (!(stale >> slot & 1))
			continue;
		memset(m->word[slot], 0, sizeof(m->word[slot]));
		memset(m->newest[slot], 0, sizeof(m->newest[slot]));
		if (slot >= TRACE_FRAMES)
			continue;
		m->word[slot][TRACE_KERNEL_WORD] = model_kernel_word(mode);
		m->word[slot][TRACE_KERNEL_WORD + 1] = TRACE_INT3;
	}
	if (stale >> TRACE_FRAMES)
		start_tables(m, mode);
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
	m->now++;
	*c = (struct model_change){ .old = *word, .time = m->now, .earliest = m->now,
				    .older = m->newest[slot][index], .word = (u32)slot * MODEL_WORDS + index };
	m->newest[slot][index] = m->changes;
	m->dirty |= 1u << slot;
	m->touched |= 1u << slot;
	watch_change(m, slot);
	*word = value;
}

void word_set(struct model *m, int slot, u32 index, u64 value)
{
	if (slot_present(m, slot))
		word_replace(m, slot, index, value);
}

// ---- guest-physical memory ----------------------------------------------------------------------------
bool memory_is_ram(const struct model *m, u64 gfn)
{
	int slot = slot_of(gfn);

	return slot >= 0 && slot_present(m, slot);
}

u64 low_bytes(u64 value, u32 bytes)
{
	return bytes >= 8 ? value : value & ((UINT64_C(1) << 8 * bytes) - 1);
}

static u64 load_word(const struct model *m, int slot, u32 index)
{
	if (slot_foreign(m, slot))
		return gift_word(&m->manage.mapped[slot], index);
	return slot < 0 ? MODEL_HOLE_WORD : word_get(m, slot, index);
}

u64 memory_load(const struct model *m, u64 gfn, u32 offset, u32 bytes)
{
	int slot = slot_of(gfn);
	u32 skip = offset % 8;
	u64 value = load_word(m, slot, offset / 8) >> 8 * skip;

	if (skip + bytes > 8)
		value |= load_word(m, slot, offset / 8 + 1) << 8 * (8 - skip);
	return low_bytes(value, bytes);
}

void memory_store(struct model *m, u64 gfn, u32 offset, u32 bytes, u64 value)
{
	int slot = slot_of(gfn);

	watch_store(m, slot);
	while (slot >= 0 && !slot_read_only(m, slot) && bytes) {
		u32 shift = offset % 8 * 8, n = 8 - offset % 8;
		u64 mask;

		if (n > bytes)
			n = bytes;
		mask = low_bytes(~UINT64_C(0), n) << shift;
		word_set(m, slot, offset / 8, (word_get(m, slot, offset / 8) & ~mask) | (value << shift & mask));
		value = n == 8 ? 0 : value >> 8 * n;
		offset += n;
		bytes -= n;
	}
}

// ---- start ------------------------------------------------------------------------------------------
void model_start(struct model *m, const struct trace_config *c)
{
	u32 all = (1u << MODEL_SLOTS) - 1, stale = m->started && m->config.kind == c->kind ? m->dirty : all;

	m->config = *c;
	if (m->config.vcpus < 1)
		m->config.vcpus = 1;
	if (m->config.vcpus > MODEL_VCPUS)
		m->config.vcpus = MODEL_VCPUS;
	start_memory(m, (enum trace_mode)c->kind, stale);
	m->started = true;
	m->dead = m->may_fail = m->raced = false;
	m->current = m->dirty = m->touched = m->now = m->changes = m->peak = m->lost = 0;
	m->present = all;
	m->manage = (struct model_manage){ 0 };
	m->race = NULL;
	for (u32 i = 0; i < MODEL_VCPUS; i++)
		vcpu_start(m, &m->vcpu[i]);
}

// ---- step and follow --------------------------------------------------------------------------------
void model_step(struct model *m, const struct trace_op *op, struct obs *o)
{
	const char *broken = NULL;

	m->touched = 0;
	m->may_fail = m->raced = false;
	m->manage.ask = (struct model_ask){ 0 };
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
	m->raced = false;
	m->manage.ask = (struct model_ask){ 0 };
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

u64 model_word(const struct model *m, u32 f, u32 i)
{
	return load_word(m, (int)f, i);
}

// ---- hash -------------------------------------------------------------------------------------------
u64 model_memory_hash(const struct model *m)
{
	u64 h = obs_memory_start();

	for (u32 slot = 0; slot < TRACE_FRAMES; slot++)
		for (u32 i = 0; i < MODEL_WORDS; i++)
			if (i != TRACE_KERNEL_WORD && i != TRACE_KERNEL_WORD + 1)
				h = obs_memory_add(h, model_word(m, slot, i));
	return h;
}
