// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the model share: entry bits (its own, on purpose), memory words, paging modes, walks,
// operations, races.
#ifndef FUZZ_MODEL_INTERNAL_H
#define FUZZ_MODEL_INTERNAL_H

#include "model.h"

// Entry bits.
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
	bool write, fetch, ac;
	u32 cpl;
};

// ---- memory (model.c) -----------------------------------------------------------------------------
// The slot that holds gfn's words, or -1: a hole for good.
int slot_of(u64 gfn);
bool slot_present(const struct model *m, int slot);
bool slot_read_only(const struct model *m, int slot);
// A frame of the donor is mapped there: word_get() has a hole for those who look for tables, memory_load() what can be read.
bool slot_foreign(const struct model *m, int slot);
u64 gift_word(const struct model_gift *gift, u32 index); // manage.c
u64 word_get(const struct model *m, int slot, u32 index);
// A store to RAM, by the guest or by a walk; vanishes in a hole.
void word_set(struct model *m, int slot, u32 index, u64 value);
// A change of the word whether or not the slot is backed.
void word_replace(struct model *m, int slot, u32 index, u64 value);
// The same for guest-physical addresses: up to 8 bytes within one frame. A load takes them at once, a store
// changes each word at once. The guest's stores to read-only frames vanish.
u64 memory_load(const struct model *m, u64 gfn, u32 offset, u32 bytes);
void memory_store(struct model *m, u64 gfn, u32 offset, u32 bytes, u64 value);
bool memory_is_ram(const struct model *m, u64 gfn);
u64 low_bytes(u64 value, u32 bytes);

// ---- paging modes (walk.c) --------------------------------------------------------------------------
struct paging_level {
	u8 shift;                 // lowest va bit that indexes this level: a leaf maps 1 << shift bytes
	u16 entries;
	bool leaf;                // PS makes an entry a leaf
	bool leaf_accessed_first; // a leaf gets A before alignment and rights are looked at
	u64 reserved;             // bits that must be clear in any present entry
	u64 leaf_reserved;        // and in a leaf besides
};
struct paging {
	u8 top;         // level of the highest tables that lie in memory
	u8 entry_bytes; // 4 or 8
	bool latched;   // above these are four entries that were read when CR3 was loaded
	bool has_nx;
	bool canonical; // addresses have 48 bits and a sign, else 32
	// PS is ignored while CR4.PSE is off; a large page has address bits 32 to 39 in its bits 13 to 20.
	bool optional_ps;
	struct paging_level level[4];
};
const struct paging *paging_of(u32 mode);
// The page after the one that va lies in.
u64 paging_next_page(const struct paging *p, u64 va);

// ---- walks (walk.c, tlb.c) --------------------------------------------------------------------------
// Bits that must be clear in any present entry of this level.
u64 walk_reserved(const struct paging *p, u32 level, bool nx_allowed);
bool walk_is_leaf(const struct paging *p, u32 level, u64 entry, bool pse);
u64 walk_leaf_gfn(const struct paging *p, u32 level, u64 entry, u64 va);
u32 walk_index(const struct paging *p, u32 level, u64 va);
// The entry at an index of the table in a slot, from the value of its 8-byte word.
u64 walk_entry(const struct paging *p, u64 word, u32 index);
// The highest table of this root for va, MODEL_ABSENT if there is none.
u64 walk_top(const struct paging *p, const struct model_root *root, u64 va);
bool walk_allows(const struct model_vcpu *v, bool w, bool u, bool nx, struct access a);
// The walk that an access does: sets A and D as it goes.
void walk_access(struct model *m, struct model_vcpu *v, u64 va, struct access a, struct model_walk *out);
// A TLB answers this access with gfn.
bool tlb_answers(const struct model *m, u32 vcpu, u64 va, u64 gfn, struct access a);
// Up to `max` different gfns with which a TLB may answer; returns how many. *any: every gfn may be.
u32 tlb_candidates(const struct model *m, u32 vcpu, u64 va, struct access a, u64 *gfns, u32 max, bool *any);

// ---- operations -------------------------------------------------------------------------------------
// One operation under way.
struct run {
	struct model *m;
	struct model_vcpu *v;
	const struct trace_op *op;
	const struct obs *seen; // NULL: nothing is known, walk afresh
	struct obs *o;
	const char *broken;
};
// Execute op on the current vcpu. seen, if not NULL, says which translations came from a TLB and
// whether a control operation was refused for an armed failure; *broken gets the rule that this
// breaks, or stays. (ops.c)
void op_run(struct model *m, const struct trace_op *op, const struct obs *seen, struct obs *o,
	    const char **broken);
void answer_fault(struct run *r, u8 vector, u32 error, u64 cr2);
void answer_value(struct run *r, u64 value, u8 bytes);
void answer_killed(struct run *r, const char *reason);

// Accesses through a virtual address. (access.c)
void access_read(struct run *r);
void access_write(struct run *r, u64 value, u32 bytes);
void access_exec(struct run *r);
void access_sweep(struct run *r);
void access_alter(struct run *r);

// What an instruction makes of a memory operand. (alu.c)
struct alu {
	u64 memory[2];   // the operand's new contents
	u64 reported[2]; // the register operand that is observed, else 0
	u32 flags;       // the RFLAGS bits that the instruction defines
};
void alu_run(u8 insn, u32 bytes, const u64 old[2], u64 operand, struct alu *out);

// Control registers, and what is done with paging off. (registers.c)
void vcpu_start(struct model *m, struct model_vcpu *v);
void flush_all(struct model *m, struct model_vcpu *v);
void register_op(struct run *r); // CR3 to VCPU
void unpaged_store(struct run *r);
void visit(struct run *r);

// The hypervisor's operations. (manage.c)
void manage_op(struct run *r);
// Does op keep the log-dirty bitmap for itself while it is half done?
bool manage_has_bitmap(const struct trace_op *op);
// Does it change what is behind frames of the guest, or their types?
bool manage_moves(const struct trace_op *op);
// Does it make the guest's donor do something?
bool manage_gives(const struct trace_op *op);
// Does it change modes or the size of the pool?
bool manage_changes(const struct trace_op *op);

// Dirty frames. (dirty.c)
void watch_store(struct model *m, int slot);   // a store was tried, or may have been; -1: a hole. It counts as touched
void watch_change(struct model *m, int slot); // its bytes changed
bool watch_lets_through(const struct model *m, int slot);
void watch_switch(struct model *m, bool on); // log-dirty goes on or off, or starts over: all is clean
void watch_ask(struct model *m, u64 first, u32 count, bool clean);

// ---- judging (compare.c) ------------------------------------------------------------------------------
// Compare what was seen with what the model says: NULL or the broken rule.
const char *obs_difference(const struct model *m, const struct trace_op *op, const struct obs *model,
			   const struct obs *seen);
// NULL if the kill that was seen is allowed for an operation that the model answers with *model.
const char *kill_difference(const struct model *m, const struct obs *model, const struct obs *seen);
// After a race: like model_compare_memory(), but memory may have A and D bits more than the model.
const char *memory_unexplained(const struct model *m, model_frame_fn *frame, void *ctx);
PRINTF_LIKE(1, 2) const char *finding(const char *format, ...);

// ---- races (race.c) -------------------------------------------------------------------------------
// A moment to which the model can be taken back.
struct mark {
	bool dead;
	u32 current, present, changes;
	u32 now; // only to be known: time is not taken back
	struct model_manage manage;
	struct model_vcpu vcpu[MODEL_VCPUS];
};
void mark_set(const struct model *m, struct mark *to);
void mark_return(struct model *m, const struct mark *to);
void watch_after_race(struct model *m, const struct mark *before); // dirty.c

// A point after the translation of a page. Other than REDO_NOTHING if the other operation of a raced pair ran here
// and the present one has to translate again: all of its accesses, or this one alone. `later`: it is not the first
// access of its instruction, so that the two differ.
enum redo { REDO_NOTHING, REDO_ALL, REDO_PART };
enum redo race_point(struct model *m, bool later);
// The same at a point where nothing has been translated that could be thrown away.
void race_point_plain(struct model *m);

#endif
