// SPDX-License-Identifier: GPL-2.0-or-later
// Seeded random traces and random ops. No libc, no global state: the same seed gives the same trace everywhere.
#ifndef FUZZ_TRACE_GEN_H
#define FUZZ_TRACE_GEN_H

#include "ops.h"

struct trace_rng {
	u64 state; // any value will do as a seed
};
u64 trace_rng_next(struct trace_rng *rng);
u32 trace_rng_below(struct trace_rng *rng, u32 n); // 0 to n - 1; n > 0

// One random op by the weights of the op table, arguments weighted towards what makes mappings work. Respects the
// config: no stale translations when the guest flushes by itself, no races with a single vcpu.
void trace_random_op(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op);
// Draw one argument anew.
void trace_random_arg(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op,
		      const struct trace_arg *arg);

// A generator that remembers which chains of tables it has built and comes back to them.
#define GEN_QUEUE 16
#define GEN_KNOWN 8
struct trace_gen_chain {
	u64 va;
	u8 root;        // frame of the top table
	u8 levels;      // number of entries on the way, 2 to 4: 1 GiB, 2 MiB, 4 KiB leaf
	u8 table[4];    // frame of the table at each step, top first
	u16 index[4];   // entry in it
	u8 leaf;        // target of the last entry
};
struct trace_gen {
	struct trace_rng rng;
	struct trace_config config;
	bool plain; // only what every executor follows: no failures, races, removals, no wild CR3
	u32 current;
	u8 cr3[TRACE_VCPUS_MAX]; // frame in CR3 as far as the generator knows
	u32 removed;             // bit for each frame that was removed
	struct trace_gen_chain known[GEN_KNOWN];
	u32 known_count, known_next;
	struct trace_op queue[GEN_QUEUE];
	u32 queue_at, queue_end;
};
void trace_gen_start(struct trace_gen *g, u64 seed, const struct trace_config *config, bool plain);
void trace_gen_next(struct trace_gen *g, struct trace_op *op);

#endif
