// SPDX-License-Identifier: GPL-2.0-or-later
// A small guest for the tests of the core: one domain on the host port, RAM of sixteen frames f0..f15 as in
// the traces, and short words for building its tables and running its accesses.
#ifndef HV_TEST_FIXTURE_H
#define HV_TEST_FIXTURE_H

#include "../base/mem.h"
#include "../domain/hypercall.h"
#include "../domain/physmap.h"
#include "../mem/heap.h"
#include "../mem/hole.h"
#include "../mem/tlb.h"
#include "../port/host/host.h"
#include "../shadow/private.h"

#define FIXTURE_GFN UINT64_C(0x40000)
#define FIXTURE_FRAMES 16u
#define HOLE_GFN (FIXTURE_GFN + 0x100)

#define AS_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define AS_LEAF (AS_TABLE | PTE_D)

// The domain of the running test and its vcpus.
extern struct domain *dom;
static inline struct vcpu *vc(u32 n) { return &dom->vcpu[n]; }
// The processor that runs it.
static inline u32 cpu_of(const struct vcpu *v) { return v->domain->number * DOMAIN_VCPUS_MAX + v->id; }

// ---- beginning and end -----------------------------------------------------------------------------

// Power on and make a domain with f0..f15. pool 0: the smallest. False when that failed.
bool fixture_start(u32 vcpus, u32 pool, u32 opts);
// One more domain with f0..f15 beside what there is: `dom` from now on.
bool fixture_another(u32 vcpus, u32 pool, u32 opts);
// The same plus fixture_tree() in f0..f3, loaded on every vcpu. No shadow is dying.
bool fixture_paged(u32 vcpus, u32 pool, u32 opts);
// NULL, or what is wrong now: a broken rule, a finding of the port, a lock or a map that is still held.
const char *fixture_problem(void);
// Destroy the domain. NULL, or the rule that what was left breaks.
const char *fixture_end(void);
// Run fn. NULL, or the words with which it stopped everything. Start afresh after that.
const char *fixture_fatal(void (*fn)(void));

#define HEALTHY() CHECK_STR(fixture_problem(), NULL)
#define FINISH()                                  \
	do {                                      \
		HEALTHY();                        \
		CHECK_STR(fixture_end(), NULL);   \
	} while (0)

// ---- guest memory ----------------------------------------------------------------------------------

gfn_t fg(u32 n);           // guest frame of fn
mfn_t fm(u32 n);           // the machine frame behind it
u64 at(u32 n, u64 flags);  // an entry that names fn
u64 hole(u32 n, u64 flags); // an entry that names the n-th hole behind the RAM
u64 word(u32 n, u32 index); // 8-byte word of fn
void poke(u32 n, u32 index, u64 value); // from outside, shadows follow
void raw(u32 n, u32 index, u64 value);  // behind the core's back

// f0 -> f1 -> f2 -> f3 maps the first sixteen pages: page i is fi, writable for everybody, A and D set.
void fixture_tree(void);
static inline u64 page(u32 n) { return (u64)n * FRAME_BYTES; }

// fixture_paged() with a table that no access to the first 2 MiB goes through: f5, the level-1 table of the 2 MiB at OTHER,
// shadowed. f3 maps everything, itself too; page 16 is f6, 17 a hole, 18 f9 read-only.
#define OTHER UINT64_C(0x200000)
bool fixture_spare_table(u32 vcpus, u32 opts);

// Turn on long mode with `root` in CR3. The status of the last step.
enum hv_status long_mode(struct vcpu *v, u32 root);
enum hv_status load_cr3(struct vcpu *v, u32 root);

// ---- accesses --------------------------------------------------------------------------------------

// A copy of all RAM, f0 first.
extern u8 guest_ram[FIXTURE_FRAMES * FRAME_BYTES];
// Make it; the first frame that differs from it now, -1 when none does.
void ram_take(void);
int ram_differs(void);

struct cpu_result go(struct vcpu *v, enum cpu_kind kind, u64 va, u32 bytes, u8 cpl, u64 data);
struct cpu_result go_pair(struct vcpu *v, u64 va, u32 bytes, u64 expect0, u64 expect1, u64 data0, u64 data1);
// Done without a fault that the guest sees?
bool reads(struct vcpu *v, u64 va);
bool writes(struct vcpu *v, u64 va, u64 value);
// One trip into the core, no more; *error in and out.
enum fault_result fault(struct vcpu *v, u64 va, u32 *error);

// ---- shadows ---------------------------------------------------------------------------------------

// The shadow of fn as `type`, MFN_NONE without.
mfn_t shadow_of(u32 n, u32 type);
// The shadow entry at `level` on the way to va from v's root; empty when the way ends above.
spte_t spte_at(struct vcpu *v, u64 va, u32 level);
// Table and index of it. MFN_NONE when the way ends above.
mfn_t table_at(struct vcpu *v, u64 va, u32 level, u32 *index);
static inline u32 refs(mfn_t smfn) { return page_of(smfn)->sh.count; }
static inline bool pinned(mfn_t smfn) { return page_of(smfn)->sh.pinned; }
// Overwrite a shadow entry behind the core's back; the old value.
spte_t spte_raw(mfn_t smfn, u32 index, spte_t value);
u32 pinned_at(u32 place); // frame number of the place-th pinned shadow from the head, 0 past the end
// Newest first: the entries that name a frame or shadow. How many; the first `room` of them.
u32 maps_of(mfn_t target, u32 *entries, u32 room);
static inline u32 map_count(mfn_t target) { return maps_of(target, NULL, 0); }
// Is guest entry `index` of that shadow among them?
bool is_mapped_by(mfn_t target, mfn_t smfn, u32 index);

// ---- many shadows ------------------------------------------------------------------------------------

// So many tables of level 1 beside those of fixture_tree(), each with a shadow, none naming or mapping anything but itself.
// From CROWD on table i is at CROWD + i * 2 MiB. The pool needs two pages for each and some. At most CROWD_MAX.
#define CROWD_GFN (FIXTURE_GFN + 0x8000)
#define CROWD UINT64_C(0x40000000)
#define CROWD_MAX ((HOST_FRAMES - 200u) / 3)
#define CROWD_POOL(count) (2 * (count) + 80u)
bool crowd(u32 count);
mfn_t crowd_frame(u32 i); // the i-th table

// ---- under the lock ----------------------------------------------------------------------------------

// Take all dying shadows apart.
void drain(void);
// The most visits of one hold of the lock, for whatever operation, since the last call.
u64 most_visits(void);

#endif
