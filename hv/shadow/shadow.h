// SPDX-License-Identifier: GPL-2.0-or-later
// Shadow paging of one domain: state, and what hv/domain calls. spec A.1 to A.17.
//
// For each guest page table in use there is a shadow: a table in the processor's format whose entries
// are derived from the guest's entries (entry.c). Guest tables are write-protected while shadowed;
// writes to them fault, are emulated and validated (write.c).
//
//   guest:    CR3 -> gL4 ----> gL3 ----> gL2 ----> gL1 ----> gfn          (gpte_t, guest frames)
//                     |         |         |         |         | p2m
//   shadow:  slot -> sL4 ----> sL3 ----> sL2 ----> sL1 ----> mfn          (spte_t, pool pages)
//                                |         `-> fl1: a 2 MiB guest page as 512 small ones
//                                `-> fl2 -> fl1: a 1 GiB guest page
#ifndef HV_SHADOW_SHADOW_H
#define HV_SHADOW_SHADOW_H

#include "../mem/page.h"
#include "../p2m/p2m.h"
#include "../port.h"
#include "../pt/fault.h"
#include "../pt/walk.h"
#include "lock.h"

struct domain;
struct vcpu;

// Numbers are kept on guest frames as bits of shadow_flags (spec A.1).
enum shadow_type {
	SHADOW_NONE = 0,     // free in the pool
	SHADOW_L1_32 = 1,
	SHADOW_FL1_32 = 2,   // a 4 MiB guest page
	SHADOW_L2_32 = 3,
	SHADOW_L1_PAE = 4,
	SHADOW_FL1_PAE = 5,  // a 2 MiB guest page
	SHADOW_L2_PAE = 6,   // in any of the four slots
	SHADOW_L1_64 = 7,
	SHADOW_FL1_64 = 8,   // a 2 MiB guest page, or 2 MiB of a 1 GiB one
	SHADOW_L2_64 = 9,
	SHADOW_L3_64 = 11,
	SHADOW_L4_64 = 12,
	SHADOW_DIRTY_NODE = 13, // of the log-dirty bitmap
	SHADOW_ROOTS_PAE = 14, // the four PDPTEs that hardware loads for 3-level shadows
	SHADOW_LINKS = 15,     // links of another page's entries (rmap.c)
	SHADOW_FL2_64 = 16,  // a 1 GiB guest page: a table of fl1
	SHADOW_DETACHED_64 = 17, // root of a vcpu whose guest root must stay writable (spec A.15)
	SHADOW_DETACHED_32 = 18, // the same for the other modes
	SHADOW_DETACHED_PAE = 19,
	SHADOW_TYPE_COUNT
};

// Modes (spec A.5).
#define MODE_ENABLE 0x01u    // shadows are in use; test mode if it is all there is
#define MODE_REFCOUNTS 0x02u // they hold the references to data pages
#define MODE_LOGDIRTY 0x04u  // writes to any page are recorded
#define MODE_TRANSLATE 0x08u // the domain has a p2m
#define MODE_EXTERNAL 0x10u  // the hypervisor is not mapped in the guest's tables
#define MODE_HVM (MODE_ENABLE | MODE_REFCOUNTS | MODE_TRANSLATE | MODE_EXTERNAL)

// What is audited (spec A.19).
#define AUDIT_HASH 0x01u         // counters, lists, hash and frames' own shadows
#define AUDIT_HASH_FULL 0x02u    // the pool, references and reverse maps of all shadows
#define AUDIT_ENTRIES 0x04u      // flags of the entries of loaded roots
#define AUDIT_ENTRIES_FULL 0x08u // of all tables
#define AUDIT_ENTRIES_MFNS 0x10u // and where they lead
#define AUDIT_P2M 0x20u          // the p2m, both ways
#define AUDIT_ALL 0x3fu

// Options (spec A.19): any combination must give the guest the same view. There is no search for writable mappings where
// operating systems have them (spec A.15): reverse maps need none.
#define SHADOW_OPT_REAP 0x01u     // take dying shadows apart in passing
#define SHADOW_OPT_EARLY 0x02u    // unshadow tables that are being torn down
#define SHADOW_OPT_FAST 0x04u     // magic entries and the fast fault path
#define SHADOW_OPT_PREFETCH 0x08u // fill neighbours of a faulting entry
#define SHADOW_OPT_LINUX_L3 0x10u // pin level-3 tables until many level-4 tables appear
#define SHADOW_OPT_SKIP_VERIFY 0x20u  // a store to an entry that was and is not present needs no validation
#define SHADOW_OPT_FAST_EMULATE 0x40u // a store like the last emulated one: its guest walk is remembered
#define SHADOW_OPT_AGAIN 0x80u        // emulate what follows too, while it writes to the same table
#define SHADOW_OPT_ALL 0xffu

// Bounds and counters for step budgets (spec A.21, design section 5).
struct shadow_stats {
	u64 visits;          // table entries looked at by the core
	u64 faults, fixed, injected, emulated, mmio, fast;
	u64 unshadowed, write_removed; // shadows dropped, mappings made read-only for a table's or log-dirty's sake
	u64 evicted;                   // entries that gave way because their frame, shadow or hash chain had too many
	u64 early_unshadows, reclaimed, detached, pins_failed;
};

// Log-dirty (spec A.18): a bit for each gfn that was written to since it was cleaned.
struct shadow_dirty {
	bool on;
	mfn_t root;  // of the radix tree of bits, MFN_NONE while off
	u32 nodes;   // pages of it
	u32 nodes_max; // what that can become while it is on: the pool keeps as many
	bool reading; // somebody reads or cleans it, a piece at a time
	gfn_t freed;  // while it is taken apart: what led to gfns below is gone
	u64 count;   // bits set
	u64 marked, faults; // bits that were set, faults that did so, since the last clean (A.18 stats)
};

#define SHADOW_SLOTS 4

#define SHADOW_UNSHADOWED_KEPT 4 // pages that one instruction can write to
#define SHADOW_STEP_PAGES 8      // pages that it can touch: code, stack and two operands, two pages each

// A guest walk that granted an access, and what it depended on.
struct shadow_walked {
	u64 page; // page address with bit 0 set; 0: there is none
	struct pt_access access;
	struct pt_regime regime;
	struct pt_walk walk;
};

// One instruction of the guest runs with more rights than the shadows give it (step.c).
struct shadow_step {
	u32 count;  // pages known; 0: no step is under way
	u32 faults; // taken so far
	struct shadow_step_page {
		gva_t va;                // page address
		struct pt_access access; // what was asked of it
		gfn_t target;            // where the guest's tables lead
		bool readonly;           // and forbid writing, but CR0.WP is 0
		bool user;               // and allow it to user mode
		bool granted;            // `old` must be put back
		mfn_t scratch;           // stands in for RAM where there is none
		u64 at[PT_LEVELS_MAX];   // machine address of the shadow entry of each level, 0: not touched
		u64 old[PT_LEVELS_MAX];
	} page[SHADOW_STEP_PAGES];
};

struct shadow_vcpu {
	// Slots: PAE guests use all four, others the first; MFN_NONE where the guest has no table.
	mfn_t guest_root[SHADOW_SLOTS]; // gmfn that CR3 or a PDPTE names (referenced), or the identity table while unpaged
	mfn_t root[SHADOW_SLOTS];       // referenced shadows of guest_root
	u64 pdpte[SHADOW_SLOTS];        // PAE guests: as they were when CR3 was loaded
	mfn_t roots_pae;   // while the shadow has 3 levels: page with the four PDPTEs that hardware loads
	u8 mode;           // enum pt_mode_id of the guest's tables
	bool attached;     // roots are loaded
	bool last_write_zero;   // early unshadow: the last emulated write left a zero dword in last_written
	mfn_t last_written;     // hint only: frame of the last emulated write
	// write.c: hints. step.c: the step under way.
	struct shadow_walked last; // of the last emulated store of the kernel to a table
	u32 unshadowed_next;
	mfn_t unshadowed[SHADOW_UNSHADOWED_KEPT]; // frames that lost their shadows so that an instruction could run again
	struct shadow_step step;
};

struct shadow_domain {
	bool enabled;            // some mode is on, and all that it needs is there
	u32 modes;               // MODE_*; 0: none on
	u32 opts, opt_flags;     // chosen at creation; what is in force now
	u64 epoch;               // counts blows, from 1
	struct page_list free, pinned, dying;
	u32 total_pages, free_pages, p2m_pages;
	u32 bucket[SHADOW_HASH_BUCKETS]; // heads of hash chains of fake tables
	u32 salt;                // of the hash
	u32 shadow_count;        // shadows that can be found, by frame or in the hash
	struct shadow_dirty dirty;
	mfn_t identity;          // 2-level identity table that stands in for the tables of unpaged vcpus
	u32 cpus;                // processors that may hold translations of any vcpu
	bool stepping;           // a vcpu runs one instruction with more rights than the shadows give (step.c)
	u32 served;              // vcpu that faulted or loaded roots last: reclaim empties its roots last
	u32 splinter_stamp;      // TLB clock when a fake table was last unlinked
	bool nxe, pse;           // EFER.NXE and CR4.PSE that the shadows are made for, in the modes that have them
	bool magic_mmio;         // MMIO entries may exist
	struct shadow_stats stats;
};

// Everything below runs under the domain's paging lock unless it says otherwise.

// Do these modes go together (spec A.5)?
bool shadow_modes_fit(u32 modes);
// Turn modes on (spec A.5) for a domain with pool_pages pages, raised to what it was given before and to the lower bound; log-dirty
// alone, or any others that go together. HV_EINVAL: they do not, or some are on. HV_ENOMEM: nothing has changed. Gives the lock
// back in between.
enum hv_status shadow_enable(struct domain *d, u32 modes, u32 opts, u32 pool_pages) MUST_CHECK;
// All modes off: take every shadow apart and give all pool pages back, p2m and guest RAM too. The domain does not run. Takes
// the lock itself, for a piece at a time.
void shadow_teardown(struct domain *d);
// The same when switching modes on has failed: the pool still has `keep` pages, as before.
void shadow_disable(struct domain *d, u32 keep);

// Resize the pool towards `pages`, raised to the lower bound, by SHADOW_RESIZE_BATCH pages at most; *more: call again. 0 is
// HV_EBUSY while enabled. HV_ENOMEM: as far as it went is kept.
#define SHADOW_RESIZE_BATCH 64u
enum hv_status shadow_resize(struct domain *d, u32 pages, bool *more) MUST_CHECK;
// The same to undo it: to a size that the pool had before, which may be none if no mode is on.
enum hv_status shadow_resize_back(struct domain *d, u32 pages, bool *more) MUST_CHECK;
u32 shadow_lower_bound(const struct domain *d);

// Make sure that changing one gfn of the p2m has pages; give it one page more. HV_ENOMEM: nothing to give.
enum hv_status shadow_feed_p2m(struct domain *d) MUST_CHECK;
enum hv_status shadow_feed_p2m_one(struct domain *d) MUST_CHECK;
// Undo what feeding has done since the pool had `total` pages and the p2m `p2m`: the change that it was for has failed.
void shadow_unfeed_p2m(struct domain *d, u32 total, u32 p2m);

// v is about to run on this processor: its TLB counts from now on, and the shadows fit its EFER.NXE and CR4.PSE.
void shadow_enter(struct vcpu *v);
// Is that so already, and does no vcpu step? Needs no lock: what changes it flushes the TLBs of the processors in `cpus`
// afterwards, which throws a vcpu out that has just been entered.
bool shadow_may_enter(const struct vcpu *v);

// Read the PDPTEs that cr3 names in PAE mode. HV_EINVAL: one has a reserved bit, raise #GP(0). HV_ENOENT: no RAM there.
enum hv_status shadow_read_pdptes(const struct vcpu *v, u64 cr3, u64 pdpte[SHADOW_SLOTS]) MUST_CHECK;

// The guest's root changed (CR3, v->shadow.pdpte, paging mode, or a flush that must re-read it). HV_EDEAD: killed.
enum hv_status shadow_update_cr3(struct vcpu *v) MUST_CHECK;
// The frame that CR3 names as the mode of v reads it, of tables or PDPTEs: it must stay. GFN_INVALID: nothing is loaded.
gfn_t shadow_cr3_gfn(const struct vcpu *v);
// Forget the loaded root of a vcpu.
void shadow_detach(struct vcpu *v);
void shadow_invlpg(struct vcpu *v, gva_t va);

// Drop every shadow of a frame, whatever is loaded.
void shadow_remove_all(struct domain *d, mfn_t gmfn);
// No shadow of the domain counts any more: those that are not loaded go, or are emptied before their next use (spec A.9).
void shadow_blow_tables(struct domain *d);
// Nothing may map or shadow gmfn any more: called before it leaves the p2m. No CR3 names it.
void shadow_forget_frame(struct domain *d, mfn_t gmfn);
// No entry maps gmfn any more. Its shadows stay.
void shadow_unmap_frame(struct domain *d, mfn_t gmfn);
// Before the frames behind [first, first + count), with roots in them, are exchanged: make sure that shadow_p2m_changed() can
// load all roots anew. HV_ENOMEM: do not. HV_EDEAD: the domain was killed.
enum hv_status shadow_prepare_reload(struct domain *d, gfn_t first, u64 count) MUST_CHECK;
// The guest must not write to gmfn without our seeing it.
void shadow_write_protect(struct domain *d, mfn_t gmfn);
// Before the p2m changes: make sure that shadow_p2m_changed() has pages. HV_ENOMEM: do not change it.
enum hv_status shadow_prepare_p2m_change(struct domain *d) MUST_CHECK;
// RAM is behind some holes already, but nobody has been told: the same for as many gfns as that may be. HV_ENOMEM: make them
// holes again.
enum hv_status shadow_prepare_filling(struct domain *d) MUST_CHECK;
// There is other RAM behind g than before.
void shadow_ram_added(struct domain *d, gfn_t g);
// The p2m has changed, and maybe there is a mapping where a hole was. Vcpus whose roots lie elsewhere now follow.
void shadow_p2m_changed(struct domain *d, bool hole_filled);

// Bytes of a frame changed by the hypervisor's own hand: it is dirty, its shadows are brought up to date.
// HV_ENOMEM: no memory to say so, and nothing may be changed; ask first with shadow_prepare_write().
enum hv_status shadow_prepare_write(struct domain *d) MUST_CHECK;
void shadow_validate_write(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes);

// Gives the lock back where other vcpus may run in between.
enum fault_result shadow_page_fault(struct vcpu *v, gva_t va, u32 *error, gva_t *cr2, struct hv_insn *insn);

// The one instruction that FAULT_STEP asked for is over. Without a step under way: nothing.
void shadow_step_done(struct vcpu *v);
// Is one under way? Then no other vcpu of the domain may be entered, and nothing but a page fault of that vcpu, entering it,
// and shadow_step_done() may be called, not even checks: tables hold entries that no reference explains.
bool shadow_stepping(const struct domain *d);

// How a walk of v's own tables goes now. For ports that read guest memory by virtual address.
void shadow_regime(const struct vcpu *v, struct pt_regime *regime);

// The guest's walk with its A and D bits, and what follows from those: the tables are dirty, and shadows of them in other
// formats are brought up to date.
void shadow_walk(struct domain *d, const struct pt_regime *regime, gva_t va, struct pt_access access, struct pt_walk *walk);

// The loaded shadow under which va is translated, MFN_NONE when its PDPTE names no table.
mfn_t shadow_root_of(const struct vcpu *v, gva_t va);

// Does v run on a detached root, whose upper entries may lag behind the guest's until it flushes?
bool shadow_root_is_detached(const struct vcpu *v);

// ---- log-dirty (spec A.18) ---------------------------------------------------------------------------

// Begin and end to record writes. HV_EINVAL: it is on. HV_ENOMEM: nothing has changed. *more: call again.
enum hv_status shadow_dirty_start(struct domain *d) MUST_CHECK;
void shadow_dirty_stop(struct domain *d, bool *more);
bool dirty_test(const struct domain *d, gfn_t g);
// The bits of `pages` gfns from `first` on into bitmap, bit 0 for `first`; no other bit of it changes. clean: the guest must
// show its next write to those anew, and their bits are reset. One bounded piece: *done says how many gfns; the rest needs
// another call. HV_ENOMEM: an injected failure; nothing of the piece has changed.
enum hv_status shadow_dirty_read(struct domain *d, bool clean, u64 first, u64 pages, u8 *bitmap, u64 *done) MUST_CHECK;
// While log-dirty is on: the first gfn at or above g whose bit is set, or one before it that the search has got to; from there it
// goes on. GFN_INVALID: there is none. One bounded piece.
gfn_t shadow_dirty_next(struct domain *d, gfn_t g);
// Set bits again that a clean has handed out.
void shadow_dirty_put_back(struct domain *d, u64 first, u64 pages, const u8 *bitmap);

// ---- checks ------------------------------------------------------------------------------------------

// All rules E.1 1 to 40 and 49 to 55 that can be recomputed from the tables, as far as AUDIT_* says. 0: counters and list
// heads only.
const char *shadow_check(const struct domain *d, u32 audit);
// E1.52 after teardown. alone: no other domain exists, so that all frames can be looked at.
const char *shadow_check_torn_down(const struct domain *d, bool alone);

#endif
