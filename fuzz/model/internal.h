// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the model share: entry bits (its own, on purpose), memory words, walks, races.
#ifndef FUZZ_MODEL_INTERNAL_H
#define FUZZ_MODEL_INTERNAL_H

#include "model.h"

// Entry bits of long mode.
#define E_P UINT64_C(0x1)
#define E_W UINT64_C(0x2)
#define E_U UINT64_C(0x4)
#define E_A UINT64_C(0x20)
#define E_D UINT64_C(0x40)
#define E_PS UINT64_C(0x80)
#define E_G UINT64_C(0x100)
#define E_NX UINT64_C(0x8000000000000000)
#define E_ADDRESS UINT64_C(0x000ffffffffff000)

// Page-fault error code.
#define ERROR_P 1u
#define ERROR_W 2u
#define ERROR_U 4u
#define ERROR_RSVD 8u
#define ERROR_I 16u

#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14

// Trials for a sweep whose frames are not all known.
#define GUESSES_MAX 256u

struct access {
	bool write, fetch;
	u32 cpl;
};

// ---- memory (model.c) -----------------------------------------------------------------------------
// The slot that holds gfn's words, or -1: a hole for good.
int slot_of(u64 gfn);
bool slot_present(const struct model *m, int slot);
u64 word_get(const struct model *m, int slot, u32 index);
// A store by the guest or by a walk; vanishes in a hole.
void word_set(struct model *m, int slot, u32 index, u64 value);
// A change of the word whether or not the slot is backed.
void word_replace(struct model *m, int slot, u32 index, u64 value);
void flush_all(struct model *m, struct model_vcpu *v);
void flush_for_cr3(struct model *m, struct model_vcpu *v);

// ---- operations (ops.c, compare.c) -----------------------------------------------------------------------------
// Execute op on the current vcpu. seen, if not NULL, says which translations came from a TLB and
// whether a control operation was refused for an armed failure; *broken gets the rule that this
// breaks, or stays.
void op_run(struct model *m, const struct trace_op *op, const struct obs *seen, struct obs *o,
	    const char **broken);
// Compare what was seen with what the model says: NULL or the broken rule.
const char *obs_difference(const struct model *m, const struct trace_op *op, const struct obs *model, const struct obs *seen);
// NULL if the kill that was seen is allowed for an operation that the model answers with *model.
const char *kill_difference(const struct model *m, const struct obs *model, const struct obs *seen);
// After a race: like model_compare_memory(), but memory may have A and D bits more than the model.
const char *memory_unexplained(const struct model *m, model_frame_fn *frame, void *ctx);
PRINTF_LIKE(1, 2) const char *finding(const char *format, ...);

// ---- walks (walk.c, tlb.c) --------------------------------------------------------------------------
u64 walk_reserved(u32 level, bool nx_allowed); // bits that must be clear at this level, for any entry
u64 walk_misaligned(u32 level);                // bits that must be clear in a leaf besides
bool walk_is_leaf(u32 level, u64 entry);
u64 walk_leaf_gfn(u32 level, u64 entry, u64 va);
u32 walk_index(u32 level, u64 va);
bool walk_allows(const struct model_vcpu *v, bool w, bool u, bool nx, struct access a);
// The walk that an access does: sets A and D as it goes.
void walk_access(struct model *m, struct model_vcpu *v, u64 va, struct access a, struct model_walk *out);
// A TLB answers this access with gfn.
bool tlb_answers(const struct model *m, u32 vcpu, u64 va, u64 gfn, struct access a);
// Up to `max` different gfns with which a TLB may answer; returns how many. *any: every gfn may be.
u32 tlb_candidates(const struct model *m, u32 vcpu, u64 va, struct access a, u64 *gfns, u32 max, bool *any);

// ---- races (race.c) -------------------------------------------------------------------------------
// A moment to which the model can be taken back.
struct mark {
	bool dead;
	u32 current, present, changes;
	struct model_vcpu vcpu[MODEL_VCPUS];
};
void mark_set(const struct model *m, struct mark *to);
void mark_return(struct model *m, const struct mark *to);

// A point between two steps of an operation. True if the other operation of a raced pair ran here
// and the present one has to translate again.
bool race_point(struct model *m);
// The same at a point where nothing has been translated that could be thrown away.
void race_point_plain(struct model *m);

#endif
