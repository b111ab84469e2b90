// SPDX-License-Identifier: GPL-2.0-or-later
// The mutator for pairs of traces (fuzz/exec/pair.h), on top of that for one trace: what mutate_trace() and its kin are for
// the targets with one domain.
#ifndef FUZZ_TARGET_PAIR_MUTATE_H
#define FUZZ_TARGET_PAIR_MUTATE_H

#include "mutate.h"

size_t pair_mutate(u8 *data, size_t bytes, size_t max, u64 seed);
size_t pair_splice(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max, u64 seed);
// Ops of both traces, numbered through from the first of the first.
size_t pair_cut(const u8 *data, size_t bytes, u8 *to, size_t max, u32 at, u32 count, u32 *total);

#endif
