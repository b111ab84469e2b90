// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer's face of the mutator. All mutation is by ops: every byte string decodes, but a byte
// inserted in the middle would turn all ops behind it into others. Traces keep the kind of guest that the target runs.
#include "mutate.h"
#include "pair_mutate.h"
#include "target.h"

size_t LLVMFuzzerCustomMutator(u8 *data, size_t bytes, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max,
				 unsigned seed);

static void aim(void)
{
	mutate_set_kind(target_kind);
	mutate_set_focus(target_focus);
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t bytes, size_t max, unsigned seed)
{
	aim();
	return target_focus == FOCUS_SMP ? pair_mutate(data, bytes, max, seed) : mutate_trace(data, bytes, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max,
				 unsigned seed)
{
	aim();
	return target_focus == FOCUS_SMP ? pair_splice(a, a_bytes, b, b_bytes, to, max, seed)
					 : mutate_splice(a, a_bytes, b, b_bytes, to, max, seed);
}
