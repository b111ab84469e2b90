// SPDX-License-Identifier: GPL-2.0-or-later
// The structure-aware mutator: works on operations, never on bytes. Two faces call it:
// mutate_libfuzzer.c and mutate_afl.c.
#ifndef FUZZ_TARGET_MUTATE_H
#define FUZZ_TARGET_MUTATE_H

#include "../trace/gen.h"

// Traces longer than this are cut when they are mutated.
#define MUTATE_OPS_MAX 1024

// The kind of guest that the target runs, whatever the header of a trace says; -1, the start: what the header says.
// Mutation never changes it.
void mutate_set_kind(int kind);
// The ops that scenes prefer; FOCUS_SHADOW at the start.
void mutate_set_focus(enum trace_focus focus);

// Change the trace in data[0..bytes) in place; the result has at most `max` bytes and at least a
// header when max allows one. Returns its size. The same seed gives the same result.
size_t mutate_trace(u8 *data, size_t bytes, size_t max, u64 seed);

// A trace made of parts of a and of b, written to `to`.
size_t mutate_splice(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max, u64 seed);

// The trace without its ops [at, at + count). Returns the size; *total is the number of ops before.
size_t mutate_cut(const u8 *data, size_t bytes, u8 *to, size_t max, u32 at, u32 count, u32 *total);

#endif
