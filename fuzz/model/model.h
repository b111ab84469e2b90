// SPDX-License-Identifier: GPL-2.0-or-later
// Naive reference model of the trace's guest: what a machine with no hypervisor would do, and which
// outcomes besides that one are allowed. It shares no code with hv/.
//
// State: the contents of f0..f15 and of the guest kernel's three tables, which frames exist, control
// state per vcpu (with the four entries that CR3 was loaded with in a PAE guest), and the permissive
// TLB: not a list of translations, but the history of every word and every root plus the times of the
// flushes, from which tlb.c tells whether a processor could still hold a given translation.
//
// Cost: model_start() resets only frames that were written. One operation takes well under a
// microsecond, ZERO and COPY some microseconds. No allocation. A struct model is about 520 KiB, most
// of it history that is touched only as far as it is used; make it static or zero it before the
// first model_start().
//
// Findings come back as text that starts with the rule of spec section E.1. The text lies in one
// static buffer and lasts until the next call: one thread only.
#ifndef FUZZ_MODEL_MODEL_H
#define FUZZ_MODEL_MODEL_H

#include "../trace/trace.h"

// What a load of guest-physical memory without RAM gives: QEMU's unassigned memory.
#define MODEL_HOLE_WORD UINT64_C(0)

// 1 when the core under test was built with small reference counts: the domain may then be killed
// with "shadow references" although nothing was made to fail.
#ifdef HV_GEOMETRY_SMALL
#define MODEL_ALLOW_REF_OVERFLOW 1
#else
#define MODEL_ALLOW_REF_OVERFLOW 0
#endif

// The guest kernel's own tables. They lie where no entry that a trace can make with one store leads, large pages
// included: l2 index 0x10d. Which words they start with depends on the guest's mode, all others are zero:
//
//   64:   K3, behind entry 256 of every frame: [1] -> K2; K2: [0] -> K1
//   pae:  K3: the kernel's own PDPTEs, [0] -> K2 and three absent ones, for the guest that lost its root;
//         K2, behind PDPTE 0 of every frame: [256] -> K1
//   32:   K2, behind entry 512 of every frame: nothing; K1 is behind entry 513
//
// K1 maps the trace frames, entries 0 to 15. The modes that `visit` goes to find the same three frames behind
// model_kernel_word(), with the contents that the guest's own mode gave them.
#define MODEL_K3_GFN TRACE_KERNEL_GFN
#define MODEL_K2_GFN (TRACE_KERNEL_GFN + 1)
#define MODEL_K1_GFN (TRACE_KERNEL_GFN + 2)
#define MODEL_SLOTS (TRACE_FRAMES + 3) // f0..f15, K3, K2, K1
#define MODEL_WORDS 512
// The word at TRACE_RESERVED_AT of a frame that can be a root in this mode.
u64 model_kernel_word(enum trace_mode mode);

#define MODEL_VCPUS 4
#define MODEL_CHANGES 16384 // word changes remembered; older ones turn into "anything is allowed"
#define MODEL_ROOTS 32      // roots remembered per vcpu since its last full flush
#define MODEL_INVLPGS 64    // INVLPGs remembered per vcpu since its last full flush

// One word of one slot got a new value at some moment from `earliest` to `time`; `old` was its value until then. The two
// differ only if it happened while two operations raced: nobody knows the real order of their steps.
struct model_change {
	u64 old;
	u32 time, earliest;
	u32 older; // number of the previous change of the same word, 0 if none
	u32 word;  // slot * MODEL_WORDS + index
};

// Where walks start, by bits 30 and 31 of the address in a PAE guest: the page directories that its PDPTEs named when
// CR3 was loaded, MODEL_ABSENT for one that was not present. In the other modes [0] is CR3's frame, the rest absent.
#define MODEL_TOPS 4
#define MODEL_ABSENT UINT64_MAX
struct model_root {
	u64 top[MODEL_TOPS];
	u32 since; // time of the load
};

struct model_vcpu {
	u64 root; // gfn in CR3; pae: MODEL_K3_GFN after a return to a root that raises #GP
	u8 mode;  // enum trace_mode: the guest's own, or the one that a visit is in
	bool wp, nxe, smep, smap, pge, pse;
	u32 flushed;     // time of the last flush of translations that are not global
	u32 flushed_all; // time of the last flush of everything
	u32 nxe_until;   // last time at which NXE was on, meaningful while it is off
	u32 lost;        // roots older than this were forgotten
	u32 root_count, invlpg_count;
	struct model_root roots[MODEL_ROOTS]; // the last one is the current root
	struct { u64 page; u32 time; } invlpgs[MODEL_INVLPGS];
};

// What the hypervisor was told to do with the guest's frames. Bits are those of the trace's frames.
struct model_manage {
	u32 read_only, log_dirty; // types
	u32 identity;             // in an identity range: no RAM can be put there
	u32 foreign;              // holes at which a frame of the donor is to be read
	struct model_gift {
		u8 gift;        // which one
		u32 generation; // how often it had been renewed when it was mapped
	} mapped[TRACE_FRAMES];
	u32 given_up;             // gifts that the donor has no more
	u32 generation[TRACE_GIFTS];
	bool watching, migrating; // log-dirty is on; a migration runs
	bool reading; // the operation under way runs inside one that has the bitmap for itself
	bool enlarging; // it runs inside one that makes a large entry
	bool disturbed; // another operation, which moves or retypes frames, runs inside it
	bool giving;  // it runs inside one that makes the donor do something
	bool changing; // inside one that changes modes or the pool
	u32 changed; // while watching: a byte has changed since the frame was last clean
	u32 marked;  // it may have been stored to since then, or has come to its place
	struct model_ask {
		u32 count;     // peeks and cleans that the last operations were
		u32 must, may; // of the frames asked for: must, and may be reported
		u32 cleaned;
	} ask;
};

// What the hypervisor holds the guest's frames for, bits as above.
struct model_types {
	bool known;
	bool watching; // log-dirty is on
	u32 read_only, identity;
	u32 given_up; // gifts of the donor
};

struct model_race; // race.c

struct model {
	struct trace_config config;
	bool started, dead;
	bool may_fail;   // a failure is armed during this operation
	bool guess_blind; // a TLB may have answered anything: history was forgotten
	// An instruction had a part of its own translation as operand: one that reads first, whose store sets A or D in what
	// it has read (a processor reads after that, QEMU's TCG before, and puts back what it read); or a REP form that
	// moved what its later elements go through (some still have it in a TLB).
	bool own_entry;
	u32 guess, guesses; // which of the frames that a TLB may have answered with, see ops.c
	u32 current;     // vcpu
	u32 present;     // bit per slot: backed by RAM
	u32 dirty;       // bit per slot: differs from its start contents, or may
	u32 touched;     // bit per slot: read or written by the last operation
	struct model_manage manage;
	struct model_types known; // see model_know_types()
	u32 now;         // time: counts changes and flushes
	u32 changes;     // number of the newest change; change n is in history[n % MODEL_CHANGES]
	u32 peak;        // the highest number there was: changes of a trial that was taken back count too
	u32 lost;        // time of the newest change that history has forgotten
	bool raced;      // the last thing that happened was a raced pair of operations, and it began
	u32 raced_at, raced_changes; // at this time, after so many changes
	struct model_race *race;
	struct model_vcpu vcpu[MODEL_VCPUS];
	u64 word[MODEL_SLOTS][MODEL_WORDS];
	u32 newest[MODEL_SLOTS][MODEL_WORDS]; // number of the word's newest change, 0 if none
	struct model_change history[MODEL_CHANGES];
};

// The start state of a trace: c->kind is the mode (only the kinds that can be run). c->vcpus is taken as at
// least 1 and at most MODEL_VCPUS.
void model_start(struct model *m, const struct trace_config *c);

// Execute op as metal does, every access walking afresh, and say what it prints. Armed failures and
// races are ignored.
void model_step(struct model *m, const struct trace_op *op, struct obs *o);
// The same as vcpu number `vcpu`; the current vcpu stays. Only tests call it.
void model_step_on(struct model *m, u32 vcpu, const struct trace_op *op, struct obs *o);

// Lock-step: the hypervisor under test executed op and *seen was observed. NULL if that is allowed;
// the model then holds the state after it. Otherwise the broken rule; the model's state is then of
// no use, end the trace.
//
// seen->from_tlb[k] (struct obs says which slot is which page) must be set whenever that page was answered
// from a TLB, stale or not: the walk's A and D updates do not happen then. (Not if that page took a fault
// earlier in the same access: the hypervisor has then walked for it, and it counts as fresh.) For SWEEP bit k of
// seen->value[1] says the same of page k; from_tlb and tlb_gfn may name the frames of the first two,
// of the others any frame is accepted that the permissive TLB holds and the hash agrees with.
//
// seen->emulated matters for an ALTER that reads first: its old value is then that of the place where it
// stored, else that of the place where it read, which stale translations can make a different one.
const char *model_follow(struct model *m, const struct trace_op *op, const struct obs *seen);

// Guest memory of the executor: the 4 KiB of trace frame i, or NULL if it was removed; of the donor where its frame is mapped.
typedef const void *model_frame_fn(void *ctx, u32 i);

// A raced pair: a ran on the current vcpu, b on b_vcpu at some point inside a. Allowed is b at any
// point between two steps of a (before, between translation and effect, between two stores or
// pages, after), and also that a, having translated, starts over after b. The model takes the first
// of these that explains what was seen; follow with model_adopt_memory(). VISIT and BADREG do not race.
const char *model_follow_race(struct model *m, const struct trace_op *a, const struct obs *seen_a,
			      const struct trace_op *b, u32 b_vcpu, const struct obs *seen_b);
// The sharper form: the explanation must account for guest memory too, except for A and D bits that
// only a restarted walk explains. It adopts memory itself.
const char *model_follow_race_memory(struct model *m, const struct trace_op *a, const struct obs *seen_a,
				     const struct trace_op *b, u32 b_vcpu, const struct obs *seen_b,
				     model_frame_fn *frame, void *ctx);

// Of two changes of one frame's type, of log-dirty, or of a gift, neither of which shows, the last one stays. The explanation of
// the next race must leave them so. types->known is of no matter.
void model_know_types(struct model *m, const struct model_types *types);

// NULL, or e.g. "E1.46 memory: f3[7] is 0x.., model has 0x..": E1.46 when the first word that differs
// does so in A and D alone, else E1.45. The reserved words are compared too. _touched looks only at
// frames that the last operation read or wrote, tables that it walked included; only tests call it.
const char *model_compare_memory(const struct model *m, model_frame_fn *frame, void *ctx);
const char *model_compare_touched(const struct model *m, model_frame_fn *frame, void *ctx);
// Take over the executor's memory. Differences count as changes that happened now.
void model_adopt_memory(struct model *m, model_frame_fn *frame, void *ctx);

// What vcpu's CR3 was last loaded with according to the executor, after any operation of a PAE guest: NULL, or
// "E1.39 ..." if the model has other entries latched. After a race, where a store may have come before or after the load
// without any visible trace, the model takes over what the entry can have been meanwhile. Other modes: NULL.
const char *model_check_latched(struct model *m, u32 vcpu, const u64 pdpte[MODEL_TOPS]);

// The last operation was a CONTROL clean or peek that succeeded, and the hypervisor reported these frames, bit n for fn, as
// dirty: NULL, or "E1.48 ...". After anything else: NULL. With a race: after the pair.
const char *model_check_dirty(struct model *m, u32 reported, bool clean);

// Word i of what is to be read at trace frame f, which is RAM, a hole, or a frame of the donor.
u64 model_word(const struct model *m, u32 f, u32 i);

// Hash of the trace's memory line. A removed frame counts as words of MODEL_HOLE_WORD, one with a frame of
// the donor as what that holds.
u64 model_memory_hash(const struct model *m);

// What the guest's tables say now about one access; changes nothing. AC is 0.
struct model_walk {
	bool ok;
	u64 gfn;   // if ok: the frame of the page
	bool ram;  // if ok: the frame is backed
	u32 error; // if not ok: page-fault error code
	u32 level; // of the leaf, or of the entry that ended the walk: 0 = 4 KiB, 2 = a PDPTE of a PAE guest
	bool w, u, nx, dirty, global; // combined over the levels; dirty, global: of the leaf. Valid if ok
	bool canonical; // false: the access raises #GP(0), the other fields say nothing
};
void model_walk(const struct model *m, u32 vcpu, u64 va, bool write, bool fetch, u32 cpl,
		struct model_walk *out);

// Could a processor running this vcpu still hold, for va, a translation to gfn with these rights
// (spec E1.41)? The entry's accesses (read, write if w, fetch if x, at CPL 3 if u, else at CPL 0)
// must each have been granted by tables that it may have read since the last flush that covers va,
// under the present CR0.WP, SMEP and SMAP; A must have been set on all levels, D too if w. Errs on
// the side of yes when history was forgotten or the search grows too long. None that can be stored through leads to a
// read-only frame, or under log-dirty to one that is clean (E1.42).
bool model_tlb_allows(const struct model *m, u32 vcpu, u64 va, u64 gfn, bool w, bool u, bool x);

#endif
