// SPDX-License-Identifier: GPL-2.0-or-later
// AFL++'s face of the mutator: a custom mutator library (AFL_CUSTOM_MUTATOR_LIBRARY).
//
// Parts: fuzzing (mutate, or splice with the second test case that AFL++ offers); trimming by ops:
// AFL++'s own trimming cuts bytes, which changes what all later ops are.
// UMBRA_KIND names the kind of guest that the target runs: hvm64, hvm32, hvmpae, or any; UMBRA_FOCUS what it is there for, as
// `umbra gen --focus` has it. With smp inputs are pairs of traces.
#include "mutate.h"
#include "pair_mutate.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define BYTES_MAX (2 * (TRACE_HEADER_BYTES + MUTATE_OPS_MAX * TRACE_OP_BYTES_MAX))

struct mutator {
	u64 seed;
	u8 out[BYTES_MAX]; // what afl_custom_fuzz() hands out
	u8 best[BYTES_MAX], tried[BYTES_MAX]; // trimming: smallest so far, candidate
	size_t best_bytes, tried_bytes;
	u32 at, chunk, ops; // ops cut by the candidate, ops of `best`
	int steps;
	bool pairs;
};

EXPORT void *afl_custom_init(void *afl, unsigned seed);
EXPORT void afl_custom_deinit(void *data);
EXPORT size_t afl_custom_fuzz(void *data, u8 *buf, size_t bytes, u8 **out, u8 *add, size_t add_bytes, size_t max);
EXPORT s32 afl_custom_init_trim(void *data, u8 *buf, size_t bytes);
EXPORT size_t afl_custom_trim(void *data, u8 **out);
EXPORT s32 afl_custom_post_trim(void *data, u8 success);

void *afl_custom_init(void *afl, unsigned seed)
{
	struct mutator *m = calloc(1, sizeof(*m));
	const char *kind = getenv("UMBRA_KIND"), *focus = getenv("UMBRA_FOCUS");

	(void)afl;
	for (u32 f = 0; m && focus && f < FOCUS_COUNT; f++)
		if (strcmp(focus, trace_focus_names[f]) == 0) {
			mutate_set_focus((enum trace_focus)f);
			m->pairs = f == FOCUS_SMP;
		}
	for (int k = 0; kind && k < TRACE_KINDS_RUN; k++)
		if (strcmp(kind, trace_kind_names[k]) == 0)
			mutate_set_kind(k);
	if (m)
		m->seed = seed;
	return m;
}

void afl_custom_deinit(void *data)
{
	free(data);
}

size_t afl_custom_fuzz(void *data, u8 *buf, size_t bytes, u8 **out, u8 *add, size_t add_bytes, size_t max)
{
	struct mutator *m = data;
	size_t room = max < BYTES_MAX ? max : BYTES_MAX, n;

	m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	if (add && add_bytes && (m->seed >> 60) == 0) {
		n = (m->pairs ? pair_splice : mutate_splice)(buf, bytes, add, add_bytes, m->out, room, m->seed);
	} else {
		n = bytes < room ? bytes : room;
		memcpy(m->out, buf, n);
		n = (m->pairs ? pair_mutate : mutate_trace)(m->out, n, room, m->seed);
	}
	*out = m->out;
	return n;
}

// ---- trimming -------------------------------------------------------------------------------------
// Cut runs of ops: a quarter of the trace at a time, then half of that, down to single ops. AFL++
// goes on while the step that we return is below TRIM_STEPS.
#define TRIM_STEPS 96

s32 afl_custom_init_trim(void *data, u8 *buf, size_t bytes)
{
	struct mutator *m = data;

	if (bytes > BYTES_MAX)
		return 0;
	memcpy(m->best, buf, bytes);
	m->best_bytes = bytes;
	m->steps = 0;
	m->at = 0;
	(m->pairs ? pair_cut : mutate_cut)(m->best, bytes, m->tried, sizeof(m->tried), 0, 0, &m->ops);
	m->chunk = m->ops / 4 ? m->ops / 4 : 1;
	return m->ops > 1 ? TRIM_STEPS : 0;
}

size_t afl_custom_trim(void *data, u8 **out)
{
	struct mutator *m = data;

	m->tried_bytes = (m->pairs ? pair_cut : mutate_cut)(m->best, m->best_bytes, m->tried, sizeof(m->tried), m->at,
							     m->chunk, &m->ops);
	*out = m->tried;
	return m->tried_bytes;
}

s32 afl_custom_post_trim(void *data, u8 success)
{
	struct mutator *m = data;

	if (success) {
		memcpy(m->best, m->tried, m->tried_bytes);
		m->best_bytes = m->tried_bytes;
		m->ops -= m->chunk < m->ops - m->at ? m->chunk : m->ops - m->at;
	} else {
		m->at += m->chunk;
	}
	if (m->at >= m->ops) {
		if (m->chunk == 1 || m->ops < 2)
			return TRIM_STEPS;
		m->chunk /= 2;
		m->at = 0;
	}
	return ++m->steps;
}
