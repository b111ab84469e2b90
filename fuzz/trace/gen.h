// SPDX-License-Identifier: GPL-2.0-or-later
// Seeded random traces and random ops. No libc, no global state: the same seed gives the same trace everywhere.
//
// gen.c: the random source, random arguments, a random op. gen_scene.c: the generator, which works in scenes.
// gen_manage.c: scenes of hypervisor and processors. gen_picture.c: what the generator believes about the guest, so that
// most of its accesses find a page.
#ifndef FUZZ_TRACE_GEN_H
#define FUZZ_TRACE_GEN_H

#include "ops.h"

struct trace_rng {
	u64 state; // any value will do as a seed
};
u64 trace_rng_next(struct trace_rng *rng);
u32 trace_rng_below(struct trace_rng *rng, u32 n); // 0 to n - 1; n > 0
bool trace_rng_chance(struct trace_rng *rng, u32 percent);

// One random op by the weights of the op table, arguments weighted towards what makes mappings work. Respects the
// config: its paging mode, no stale translations when the guest flushes by itself, no races with a single vcpu.
void trace_random_op(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op);
// Draw one argument, or all, anew. op->mode is set; arguments that come before count.
void trace_random_arg(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op,
		      const struct trace_arg *arg);
void trace_random_args(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op);
void trace_random_attributes(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op);
u64 trace_random_flags(struct trace_rng *rng, enum trace_mode mode);
// At which step of an op a failure, at which point of it another op comes in. Every one that the language has comes up, the
// first few more often: a fault that ends in an emulated store has eleven points, most ops have two.
u8 trace_random_nth(struct trace_rng *rng);

// ---- what the generator believes ------------------------------------------------------------------
// Contents of the trace frames and control state, followed op by op. Rough: no accessed and dirty bits, no TLB,
// failures and races do not happen. A wrong belief costs nothing but an access that faults.
#define PICTURE_WORDS 512
#define PICTURE_NO_ROOT 0xff
struct trace_picture {
	u64 word[TRACE_FRAMES][PICTURE_WORDS]; // the reserved words stay 0
	u8 mode;                               // of the guest
	u8 vcpus, current;
	u8 cr3[TRACE_VCPUS_MAX];               // frame, or PICTURE_NO_ROOT
	u64 pdpte[TRACE_VCPUS_MAX][2];         // pae: PDPTEs 2 and 3 as last read
	u32 removed, read_only;                // bit for each frame
	u32 foreign;                           // of those that are removed: a frame of the donor is there
	bool watching, migrating;              // log-dirty is on, a migration runs
	bool ctl[CTL_COUNT];
};
void picture_start(struct trace_picture *p, const struct trace_config *config);
// Does the op go through? True for all that is not an access.
bool picture_allows(const struct trace_picture *p, const struct trace_op *op);
// The op happens.
void picture_apply(struct trace_picture *p, const struct trace_op *op);
// A table's entry in any mode.
u64 picture_entry(const struct trace_picture *p, enum trace_mode mode, u32 frame, u32 index);
// Does the root that is loaded have unread PDPTEs?
bool picture_root_is_old(const struct trace_picture *p);

// ---- the generator ----------------------------------------------------------------------------------
// It remembers which chains of tables it has built and comes back to them.
#define GEN_QUEUE 48
#define GEN_KNOWN 8
struct trace_gen_chain {
	u64 va;
	u8 mode;        // that the tables are for: the guest's own, or one to visit
	u8 root;        // frame of the top table
	u8 levels;      // number of entries on the way
	u8 table[4];    // frame of the table at each step, top first
	u16 index[4];   // entry in it
	u8 leaf;        // target of the last entry
	bool large;     // the last entry maps a large page
};
struct trace_gen_chains {
	struct trace_gen_chain chain[GEN_KNOWN];
	u32 count, next;
};
// Which scenes it takes more often.
enum trace_focus { FOCUS_SHADOW, FOCUS_CONTROL, FOCUS_MIGRATE, FOCUS_P2M, FOCUS_SMP, FOCUS_COUNT };
extern const char *const trace_focus_names[FOCUS_COUNT];

struct trace_gen {
	struct trace_rng rng;
	struct trace_config config;
	enum trace_focus focus; // may be set after trace_gen_start()
	bool plain; // only what every executor follows: no failures, races, removals, no wild CR3
	struct trace_picture picture;     // after the ops that are planned
	struct trace_picture before;      // plain: after the ops that were handed out and not refused
	bool pending;                     // plain: `before` lacks the last op
	struct trace_gen_chains known, visits; // in the guest's own mode; in others
	struct trace_op queue[GEN_QUEUE];
	u32 queue_at, queue_end;
};
void trace_gen_start(struct trace_gen *g, u64 seed, const struct trace_config *config, bool plain);
void trace_gen_next(struct trace_gen *g, struct trace_op *op);
// A plain trace will do without the op that trace_gen_next() gave last.
void trace_gen_refuse(struct trace_gen *g);

#endif
