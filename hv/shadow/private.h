// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of hv/shadow share among themselves. All of it runs under the paging lock.
//
// Reading order: types.c (shapes as data), lock.c (the lock and its bounds), pool.c, hash.c, ref.c (references, pins),
// rmap.c (who names a frame), entry.c (guest entry -> shadow entry), table.c (making and destroying shadows), root.c,
// access.c (taking access away), dirty.c, write.c (guest writes to tables), fault.c, step.c, control.c.
#ifndef HV_SHADOW_PRIVATE_H
#define HV_SHADOW_PRIVATE_H

#include "guest.h"

// ---- types.c: one row per shadow type ------------------------------------------------------------

struct shadow_row {
	const char *name;
	u8 guest_mode, shadow_mode; // enum pt_mode_id
	u8 level;
	bool fake;     // stands for part of a guest large page: no guest table, keyed by base gfn
	bool protects; // the guest table is write-protected and flagged while such a shadow exists
	bool root;     // can be loaded in a slot
	bool pinnable; // see also shadow_pinnable()
	u8 child, child_fake; // types that entries name: for a guest table, for a guest large page
	u8 detached; // roots: the type that a vcpu is moved to when the guest table must become writable
};
extern const struct shadow_row shadow_rows[SHADOW_TYPE_COUNT];
extern const u8 shadow_root_type[PT_MODE_COUNT]; // what a slot is loaded with in each guest mode

static inline const struct shadow_row *shadow_row(u32 type)
{
	hv_assert(type < SHADOW_TYPE_COUNT && shadow_rows[type].name);
	return &shadow_rows[type];
}
static inline const struct pt_mode *row_guest(const struct shadow_row *row) { return &pt_modes[row->guest_mode]; }
static inline const struct pt_mode *row_shadow(const struct shadow_row *row) { return &pt_modes[row->shadow_mode]; }

// Guest entries that the shadow stands for, shadow entries per guest entry, pages of the shadow.
static inline u32 shadow_entries(const struct shadow_row *row)
{
	return pt_entries(row_guest(row), row->level);
}
static inline u32 shadow_fanout(const struct shadow_row *row)
{
	return pt_fanout(row_guest(row), row_shadow(row), row->level);
}
static inline u32 shadow_pages(const struct shadow_row *row)
{
	return pt_shadow_pages(row_guest(row), row_shadow(row), row->level);
}
// What it takes from the pool: each page of entries has one of links.
static inline u32 shadow_pool_pages(const struct shadow_row *row) { return 2 * shadow_pages(row); }
bool shadow_pinnable(const struct domain *d, u32 type);

static inline u32 shadow_type_of(mfn_t smfn) { return page_of(smfn)->sh.type; }

// A shadow without references waits on the dying list until its entries are let go of: nobody finds it any more.
static inline bool shadow_is_dying(mfn_t smfn) { return page_of(smfn)->epoch == 0; }
// The head of the shadow that a page of entries belongs to.
static inline mfn_t shadow_head(mfn_t page) { return page_of(page)->sh.head ? page : mfn(page_of(page)->back); }
// Were its entries made since the last blow? Others are emptied before they are used again: shadow_renew().
static inline bool shadow_is_current(const struct domain *d, mfn_t smfn)
{
	return page_of(smfn)->epoch == d->shadow.epoch;
}
// The first head page of a shadow of d, dying ones included, at frame n or above; 0: none. For checks: a walk of all frames.
u64 shadow_next(const struct domain *d, u64 n);
#define for_each_shadow(d, n) for (u64 n = shadow_next(d, page_first); n; n = shadow_next(d, n + 1))

// ---- pool.c ----------------------------------------------------------------------------------------

// Make at least `pages` free, and what log-dirty may need beside them, reclaiming if needed (spec A.9). Before the caller
// holds unreferenced shadows. HV_ENOMEM: all that can be reclaimed was.
enum hv_status pool_reserve(struct domain *d, u32 pages) MUST_CHECK;
// For steps that the guest cannot go on without. HV_ENOMEM: the domain has been killed.
enum hv_status pool_reserve_or_kill(struct domain *d, u32 pages) MUST_CHECK;
// Take a shadow's pages, zeroed, from a pool that was reserved. Never reclaims, never fails.
mfn_t pool_alloc(struct domain *d, u32 type, u32 back);
void pool_free(struct domain *d, mfn_t smfn);
// Let the pool not be below what will be its lower bound with `frames` more gfns of RAM, and `nodes` more pages for the log-dirty
// bitmap. HV_ENOMEM: nothing has changed.
enum hv_status pool_keep(struct domain *d, u32 frames, u32 nodes) MUST_CHECK;
// Entries that looking through one page of a shadow is as much work as.
#define SHADOW_SCAN_VISITS 8
// Let go of what dying shadows hold until `visits` entries were looked at or none is left.
void pool_reap(struct domain *d, u32 visits);
// Return up to `pages` pages to the heap; all are free. False: there are more than `keep`.
bool pool_give_back(struct domain *d, u32 pages, u32 keep);
// Pages or frames that one hold of the lock gives back when a domain is taken apart, and tables of so many are let go of.
#define SHADOW_TEARDOWN_BATCH 64u
const char *pool_check(const struct domain *d);

// ---- hash.c ----------------------------------------------------------------------------------------

// Shadows by (key, type). key: the shadowed machine frame, or the base gfn of a fake table.
mfn_t hash_find(struct domain *d, u32 key, u32 type);
void hash_insert(struct domain *d, u32 key, u32 type, mfn_t smfn);
void hash_remove(struct domain *d, u32 key, u32 type, mfn_t smfn);
// A fake table in whose chain there is no more room for (key, type), other than `spare`; MFN_NONE: there is room.
mfn_t hash_crowded(struct domain *d, u32 key, u32 type, mfn_t spare);
const char *hash_check(const struct domain *d);

// ---- ref.c -----------------------------------------------------------------------------------------

// One more reference. HV_ENOMEM: the counter is full, nothing changed.
enum hv_status shadow_get(mfn_t smfn) MUST_CHECK;
// Drop it; with the last one the shadow dies.
void shadow_put(struct domain *d, mfn_t smfn);
// Pin at the head of the pinned list, or move there. HV_ENOMEM: no reference left, nothing changed.
enum hv_status shadow_pin(struct domain *d, mfn_t smfn) MUST_CHECK;
void shadow_unpin(struct domain *d, mfn_t smfn);
void shadow_promote(struct domain *d, mfn_t gmfn, u32 type);
void shadow_demote(struct domain *d, mfn_t gmfn, u32 type);
const char *ref_check(const struct domain *d);
const char *pin_check(const struct domain *d);

// ---- rmap.c ----------------------------------------------------------------------------------------

// Entries by number.
static inline u32 rmap_number(mfn_t page, u32 slot) { return (u32)page.n << 9 | slot; }
static inline mfn_t rmap_page(u32 entry) { return mfn(entry >> 9); }
static inline u32 rmap_slot(u32 entry) { return entry & 511; }
#define RMAP_FRAMES_MAX (UINT32_C(1) << 23) // machine frames that fit into a number: 32 GiB

// The entry, which names `target` from now on, joins its list as the newest; it leaves it.
void rmap_add(mfn_t target, u32 entry);
void rmap_remove(mfn_t target, u32 entry);
// Lists begin at page_info.maps. 0: there is none behind.
u32 rmap_next(u32 entry);
// target has one at least.
u32 rmap_oldest(mfn_t target);
spte_t rmap_entry(u32 entry);
// Has the frame so many mappings that one more would push another out?
static inline bool rmap_is_full(mfn_t m) { return page_references(m) >= SHADOW_MAPS_MAX && page_of(m)->maps; }
// E1.20 for one list, which has at most `limit` entries. *count: how many.
const char *rmap_check(mfn_t target, u32 limit, u32 *count);

// ---- entry.c ---------------------------------------------------------------------------------------

// Result bits of the setters. Whoever gets ENTRY_FLUSH must flush d->shadow.cpus or pass the duty on.
#define ENTRY_CHANGED 1u
#define ENTRY_FLUSH 2u
#define ENTRY_ERROR 4u // no reference: the entry is empty now; above level 0 the domain was killed

#define SPTES_PER_PAGE (FRAME_BYTES / (u32)sizeof(spte_t))
#define SPTE_EMPTY ((spte_t){ 0 })
static inline bool spte_is_magic(spte_t s) { return s.v >> 32 == UINT32_MAX; }
static inline bool spte_present(spte_t s) { return (s.v & PTE_P) && !spte_is_magic(s); }
static inline bool spte_is_gnp(spte_t s) { return s.v == UINT64_MAX; }
static inline bool spte_is_mmio(spte_t s) { return spte_is_magic(s) && !spte_is_gnp(s); }
static inline gfn_t spte_mmio_gfn(spte_t s) { return gfn((s.v & 0xffffffff) >> 4); }
static inline mfn_t spte_mfn(spte_t s) { return mpa_mfn(mpa(s.v & PTE_ADDR)); }

// The page of shadow `smfn` that holds the first shadow entry of guest entry `index`, and the entry's
// place in it.
mfn_t shadow_page_of(mfn_t smfn, u32 index, u32 *slot);
// First shadow entry that stands for guest entry `index`.
spte_t shadow_read(struct domain *d, mfn_t smfn, u32 index);

// The shadow entry that guest entry `gpte` of a `type` table asks for. below: for an upper level the
// child's shadow, MFN_NONE if there is none (the result is empty).
spte_t shadow_propagate(struct domain *d, u32 type, gpte_t gpte, mfn_t below);
// Guest entry `index` of a fake table: what a large page says there.
gpte_t shadow_fake_entry(mfn_t smfn, u32 index);
// The guest's entry that shadow entry `index` stands for, PS cleared where large pages are off.
gpte_t shadow_guest_entry(const struct domain *d, mfn_t smfn, u32 index);

u32 shadow_set(struct domain *d, mfn_t smfn, u32 index, spte_t new) MUST_CHECK;
// The same by page and slot in it; of pairs the first slot.
u32 shadow_set_at(struct domain *d, mfn_t page, u32 slot, spte_t new) MUST_CHECK;
// Empty every entry, dropping all references. Returns nothing to flush: the caller knows why it clears.
void shadow_clear(struct domain *d, mfn_t smfn);
// Empty a shadow from before the last blow, which no hardware can reach.
void shadow_renew(struct domain *d, mfn_t smfn);
const char *entry_check(const struct domain *d, u32 audit);

// The machine frame of RAM behind g, MFN_NONE if there is none.
static inline mfn_t domain_frame(const struct domain *d, gfn_t g) { return p2m_lookup(&d->p2m, g); }

// ---- table.c ---------------------------------------------------------------------------------------

// The shadow of a guest table or large page, if there is one.
mfn_t table_find(struct domain *d, u32 type, u32 key);
// Find it or make it; the pool has been reserved. parent: a fake table is for an entry of it. HV_ENOMEM: the domain was killed.
enum hv_status table_get(struct domain *d, u32 type, u32 key, mfn_t parent, mfn_t *out) MUST_CHECK;
// The last reference is gone: it dies.
void table_destroy(struct domain *d, mfn_t smfn);
// Key under which the child of an upper-level guest entry is hashed. False: it names no RAM.
bool table_child(struct domain *d, u32 type, gpte_t gpte, u32 *child_type, u32 *child_key);

// ---- root.c ----------------------------------------------------------------------------------------

// Where gmfn, a guest table that must become writable, is loaded as a root, its shadow gives way to a detached one.
// ROOT_DETACH_PAGES have been reserved.
#define ROOT_DETACH_PAGES 12 // one for each type of root
void root_detach_from(struct domain *d, mfn_t gmfn);
// gmfn leaves the p2m: empty the slots of PAE guests that have it loaded. The caller flushes.
void root_drop(struct domain *d, mfn_t gmfn);
// Make the shadows fit v's EFER.NXE and CR4.PSE, if its paging mode has them: an entry with NX is right with NXE and
// reserved without, PS makes a large page with PSE and means nothing without. What was made for other values goes.
void root_adopt_control(struct vcpu *v, u8 mode);
// Does a walk in this regime still begin where v's own tables do? Whoever has given the lock back in between must ask: the frame
// of a loaded root can be exchanged (physmap_make_large()).
bool root_is_current(const struct vcpu *v, const struct pt_regime *regime);
const char *root_check(const struct domain *d);

// ---- access.c --------------------------------------------------------------------------------------

// Make every mapping of gmfn read-only. True: TLBs of d->shadow.cpus must be flushed.
bool access_remove_write(struct domain *d, mfn_t gmfn) MUST_CHECK;
// Clear every entry that names this frame or shadow. The caller flushes.
void access_remove_entries(struct domain *d, mfn_t target);
// Drop all shadows of gmfn. all: loaded roots give way too. Flushes.
void access_remove_shadows(struct domain *d, mfn_t gmfn, bool all);
void access_remove_mappings(struct domain *d, mfn_t gmfn);

// ---- write.c ---------------------------------------------------------------------------------------

// Recompute shadow entries for `bytes` bytes at `offset` of a frame, within one page. ENTRY_* bits.
u32 write_validate(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes) MUST_CHECK;
// The same, and what follows from the result.
void write_validate_and_flush(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes);
// The guest is about to write to g, or may without our seeing it: it is dirty from now on (P2M_RAM_LOGDIRTY, log-dirty).
void write_note(struct domain *d, gfn_t g);

// A fault on an access that the guest's tables allow and the shadows cannot serve.
struct write_fault {
	gva_t va;
	const struct shadow_walked *walked; // the guest's walk of va; without one page is 0, access and regime count
	mfn_t table;    // a write met this frame, which has shadows. MFN_NONE: a hole, or a read-only page under CR0.WP=0
	bool own_table; // it is one of the tables that translate va
};
// Carry out the current instruction of v on guest memory, or see to it that it can run. Gives the lock back in between.
enum fault_result write_emulate(struct vcpu *v, const struct write_fault *w, u32 *error, gva_t *cr2,
				struct hv_insn *insn);
// A shortcut: the fault is like the last one that write_emulate() answered. False: go the usual way.
bool write_emulate_like_last(struct vcpu *v, gva_t va, u32 error, struct hv_insn *insn, enum fault_result *result);

// ---- fault.c ---------------------------------------------------------------------------------------

// What became of building the shadows for an address.
enum chain {
	CHAIN_DONE,
	CHAIN_RETRY, // the guest's tables changed meanwhile
	CHAIN_DEAD,
};
// Make the shadows that translate va, of which `walk` is the guest walk; write: for a write that the walk allows.
enum chain fault_build(struct vcpu *v, gva_t va, const struct pt_regime *regime, const struct pt_walk *walk, bool write);

// ---- step.c ----------------------------------------------------------------------------------------

// Let v's current instruction run on hardware although the shadows forbid its access to va: FAULT_STEP, or why not.
enum fault_result step_start(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2);
// A page fault of v while its step is under way.
enum fault_result step_fault(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2);
static inline bool step_under_way(const struct vcpu *v) { return v->shadow.step.count != 0; }

// ---- dirty.c ---------------------------------------------------------------------------------------

// The guest or the hypervisor is about to write to g, or has. Nothing without log-dirty. Nodes come from what pool_reserve()
// has put aside: DIRTY_RESERVE pages, as much as one operation can need.
#define DIRTY_RESERVE (16 * DIRTY_PATH)
void dirty_mark(struct domain *d, gfn_t g);
void dirty_mark_frame(struct domain *d, mfn_t m);
// RAM has come to g.
void dirty_ram_added(struct domain *d, gfn_t g);
// E1.51; that and the bitmap.
const char *dirty_check_mode(const struct domain *d);
const char *dirty_check(const struct domain *d);

#endif
