// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of hv/shadow share among themselves. All of it runs under the shadow lock.
//
// Reading order: types.c (shapes as data), pool.c, hash.c, ref.c (references, up-pointers, pins),
// entry.c (guest entry -> shadow entry), table.c (making and destroying shadows), root.c, access.c
// (taking access away), write.c (guest writes to tables), fault.c, control.c.
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
	bool uses_up;  // see also shadow_uses_up()
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
bool shadow_pinnable(const struct domain *d, u32 type);
bool shadow_uses_up(const struct domain *d, u32 type);

#define SHADOW_MASK_L1 \
	(BIT(SHADOW_L1_32) | BIT(SHADOW_FL1_32) | BIT(SHADOW_L1_PAE) | BIT(SHADOW_FL1_PAE) | BIT(SHADOW_L1_64) | \
	 BIT(SHADOW_FL1_64))
#define SHADOW_MASK_ALL (BIT(SHADOW_TYPE_COUNT) - 2)

static inline u32 shadow_type_of(mfn_t smfn) { return page_of(smfn)->sh.type; }

// ---- pool.c ----------------------------------------------------------------------------------------

// Make at least `pages` free, reclaiming if needed (spec A.9). Before the caller holds unreferenced
// shadows. HV_ENOMEM: all that can be reclaimed was.
enum hv_status pool_reserve(struct domain *d, u32 pages) MUST_CHECK;
// For steps that the guest cannot go on without. HV_ENOMEM: the domain has been killed.
enum hv_status pool_reserve_or_kill(struct domain *d, u32 pages) MUST_CHECK;
// Take a shadow's pages, zeroed, from a pool that was reserved. Never reclaims, never fails.
mfn_t pool_alloc(struct domain *d, u32 type, u32 back);
void pool_free(struct domain *d, mfn_t smfn);
// Return every page to the heap; no shadow is left.
void pool_give_back_all(struct domain *d);
// shadow_blow_tables() for those who hold the lock.
void pool_blow(struct domain *d);
const char *pool_check(const struct domain *d);

// ---- hash.c ----------------------------------------------------------------------------------------

mfn_t hash_find(struct domain *d, u32 key, u32 type);
void hash_insert(struct domain *d, u32 key, u32 type, mfn_t smfn);
void hash_remove(struct domain *d, u32 key, u32 type, mfn_t smfn);
// Visit shadows whose type is in type_mask until fn returns true. fn may insert or remove only if it
// returns true at once; lookups are fine. Not reentrant.
typedef bool hash_visit_fn(struct domain *d, mfn_t smfn, void *context);
bool hash_foreach(struct domain *d, u64 type_mask, hash_visit_fn *fn, void *context);
const char *hash_check(const struct domain *d);

// ---- ref.c -----------------------------------------------------------------------------------------

// One more reference, from the entry at `entry` (0: a slot or the pinned list). HV_ENOMEM: the counter
// is full, nothing changed.
enum hv_status shadow_get(struct domain *d, mfn_t smfn, mpa_t entry) MUST_CHECK;
// Drop it; the last one destroys the shadow.
void shadow_put(struct domain *d, mfn_t smfn, mpa_t entry);
// Pin at the head of the pinned list, or move there. HV_ENOMEM: no reference left, nothing changed.
enum hv_status shadow_pin(struct domain *d, mfn_t smfn) MUST_CHECK;
void shadow_unpin(struct domain *d, mfn_t smfn);
void shadow_promote(struct domain *d, mfn_t gmfn, u32 type);
void shadow_demote(struct domain *d, mfn_t gmfn, u32 type);
const char *ref_check(const struct domain *d);
const char *pin_check(const struct domain *d);

// ---- entry.c ---------------------------------------------------------------------------------------

// Result bits of the setters. Whoever gets ENTRY_FLUSH must flush d->shadow.cpus or pass the duty on.
#define ENTRY_CHANGED 1u
#define ENTRY_FLUSH 2u
#define ENTRY_ERROR 4u // no reference: at level 0 the entry is empty now, above it is unchanged

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
// Empty every entry, dropping all references. Returns nothing to flush: the caller knows why it clears.
void shadow_clear(struct domain *d, mfn_t smfn);
const char *entry_check(const struct domain *d);

// The machine frame behind g, MFN_NONE for a hole.
static inline mfn_t domain_frame(const struct domain *d, gfn_t g) { return p2m_lookup(&d->p2m, g); }

// ---- table.c ---------------------------------------------------------------------------------------

// The shadow of a guest table or large page, if there is one.
mfn_t table_find(struct domain *d, u32 type, u32 key);
// Find it or make it; the pool has been reserved. HV_ENOMEM: the domain was killed.
enum hv_status table_get(struct vcpu *v, u32 type, u32 key, gva_t va, mfn_t *out) MUST_CHECK;
// The last reference is gone.
void table_destroy(struct domain *d, mfn_t smfn);
// Key under which the child of an upper-level guest entry is hashed. False: it names no RAM.
bool table_child(struct domain *d, u32 type, gpte_t gpte, u32 *child_type, u32 *child_key);

// ---- root.c ----------------------------------------------------------------------------------------

// Where gmfn, a guest table that must become writable, is loaded as a root, its shadow gives way to a detached one.
// ROOT_DETACH_PAGES have been reserved.
#define ROOT_DETACH_PAGES 6 // one for each type of root
void root_detach_from(struct domain *d, mfn_t gmfn);
// gmfn leaves the p2m: empty the slots of PAE guests that have it loaded. The caller flushes.
void root_drop(struct domain *d, mfn_t gmfn);
// Make the shadows fit v's EFER.NXE and CR4.PSE, if its paging mode has them: an entry with NX is right with NXE and
// reserved without, PS makes a large page with PSE and means nothing without. What was made for other values goes.
void root_adopt_control(struct vcpu *v, u8 mode);
const char *root_check(const struct domain *d);

// ---- access.c --------------------------------------------------------------------------------------

// Make every mapping of gmfn read-only. True: TLBs of d->shadow.cpus must be flushed.
bool access_remove_write(struct domain *d, struct vcpu *v, mfn_t gmfn, u32 level, gva_t va) MUST_CHECK;
// Drop all shadows of gmfn. fast: only what up-pointers and pins reach. all: loaded roots give way too.
// Flushes.
void access_remove_shadows(struct domain *d, mfn_t gmfn, bool fast, bool all);
void access_remove_mappings(struct domain *d, mfn_t gmfn);

// ---- write.c ---------------------------------------------------------------------------------------

// Recompute shadow entries for `bytes` bytes at `offset` of a frame, within one page. ENTRY_* bits.
u32 write_validate(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes) MUST_CHECK;
// The same, and what follows from the result.
void write_validate_and_flush(struct domain *d, mfn_t gmfn, u32 offset, u32 bytes);
// A walk of a guest of mode `mode` has set A and D bits. Shadows of those tables in other formats follow: what is A in a 4-byte
// entry can be an address bit of the 8-byte entry around it.
void write_follow_walk(struct domain *d, const struct pt_mode *mode, gva_t va, const struct pt_walk *walk);

// A fault on an access that the guest's tables allow and the shadows cannot serve.
struct write_fault {
	gva_t va;
	const struct shadow_walked *walked; // the guest's walk of va; without one page is 0, access and regime count
	mfn_t table;    // a write met this frame, which has shadows. MFN_NONE: a hole, or a read-only page under CR0.WP=0
	bool own_table; // it is one of the tables that translate va
};
// Carry out the current instruction of v on guest memory, or see to it that it can run. Takes the lock itself.
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
// Make the shadows that translate va, of which `walk` is the guest walk.
enum chain fault_build(struct vcpu *v, gva_t va, const struct pt_regime *regime, const struct pt_walk *walk);

// ---- step.c ----------------------------------------------------------------------------------------

// Let v's current instruction run on hardware although the shadows forbid its access to va: FAULT_STEP, or why not. Takes
// the lock itself.
enum fault_result step_start(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2);
// A page fault of v while its step is under way.
enum fault_result step_fault(struct vcpu *v, gva_t va, struct pt_access access, u32 *error, gva_t *cr2);
static inline bool step_under_way(const struct vcpu *v) { return v->shadow.step.count != 0; }

static inline void shadow_lock(struct domain *d, const char *where) { port_lock(&d->shadow.lock, where); }
static inline void shadow_unlock(struct domain *d) { port_unlock(&d->shadow.lock); }

#endif
