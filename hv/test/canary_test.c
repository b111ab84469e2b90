// SPDX-License-Identifier: GPL-2.0-or-later
// Canaries: does each checker see what it is there for? A healthy domain with everything in it is broken by
// hand, one rule at a time; the checkers must name the rule, and say nothing after the repair.
//
//  1. all rules of spec E.1, and who watches each: data that the last test of this file checks
//  2. the healthy domain: a 64-bit guest with small, 2 MiB and 1 GiB pages, both kinds of magic entries, a
//     vcpu on a detached root, an unpaged vcpu, a PAE vcpu
//  3. the breaks
//  4. what the host port itself watches, teardown, and completeness
//
// Every break runs between a snapshot and its restoration: the domain, the table of frames, the frames.
// link: hv/test/fixture.c
#include "test.h"

#include <stdlib.h>

#include "fixture.h"

// ---- 1. who watches which rule ---------------------------------------------------------------------------

enum watcher {
	CHECKER,  // a *_check() of the core: has breaks below
	PORT,     // the host port while it runs: has a canary below
	EXECUTOR, // the lock-step run against the model (fuzz/model); its canaries: fuzz/model/test
	UNIT,     // holds over time, not at one moment: the named unit tests
	NOT_HERE, // cannot be broken in this design: the reason
};

static const struct {
	u32 rule;
	enum watcher watcher;
	const char *where;
} watch[] = {
	{ 1, CHECKER, "pool_check" },
	{ 2, CHECKER, "pool_check, counters in shadow_check. The type of a free page shares storage with its stamp" },
	{ 3, NOT_HERE, "the pool is flat: no buddies; head flags are rule 6" },
	{ 4, CHECKER, "pool_check" },
	{ 5, CHECKER, "p2m_check, ref_check" },
	{ 6, CHECKER, "pool_check" },
	{ 7, UNIT, "asserted in pool_alloc: shadow_pool_test rule_7_and_live_shadows_are_asserted" },
	{ 8, CHECKER, "pool_check" },
	{ 9, CHECKER, "hash_check" },
	{ 10, CHECKER, "hash_check" },
	{ 11, CHECKER, "hash_check" },
	{ 12, CHECKER, "hash_check" },
	{ 13, CHECKER, "hash_check, counters in shadow_check" },
	{ 14, CHECKER, "hash_check" },
	{ 15, CHECKER, "ref_check" },
	{ 16, CHECKER, "ref_check" },
	{ 17, CHECKER, "ref_check" },
	{ 18, CHECKER, "ref_check" },
	{ 19, CHECKER, "ref_check" },
	{ 20, CHECKER, "ref_check" },
	{ 21, UNIT, "shadow_ref_test, shadow_access_test by_scanning_parents_when_up_does_not_know" },
	{ 22, CHECKER, "pin_check" },
	{ 23, CHECKER, "pin_check" },
	{ 24, CHECKER, "pin_check" },
	{ 25, UNIT, "shadow_pin_test the_list_is_an_lru_of_loads, shadow_root_test a_failed_pin_loads_all_the_same" },
	{ 26, UNIT, "shadow_pin_test the_list_is_an_lru_of_loads" },
	{ 27, UNIT, "shadow_pool_test stage_1_unpins_a_suffix_of_the_list_and_no_more_than_needed" },
	{ 28, CHECKER, "counters in shadow_check; the edge: shadow_pin_test rule_28_..." },
	{ 29, UNIT, "shadow_pin_test rule_29_level_3_tables_are_pinned_when_they_are_linked" },
	{ 30, CHECKER, "entry_check" },
	{ 31, CHECKER, "entry_check" },
	{ 32, CHECKER, "ref_check, entry_check; also the soft CPU" },
	{ 33, CHECKER, "entry_check" },
	{ 34, CHECKER, "entry_check" },
	{ 35, CHECKER, "hash_check, entry_check" },
	{ 36, CHECKER, "entry_check" },
	{ 37, CHECKER, "root_check; also the soft CPU" },
	{ 38, CHECKER, "root_check; also the soft CPU" },
	{ 39, CHECKER, "root_check" },
	{ 40, CHECKER, "root_check; also the soft CPU" },
	{ 41, EXECUTOR, "model_follow; also the soft CPU" },
	{ 42, PORT, "tlb_check; also the executor with the model's TLB" },
	{ 43, PORT, "the soft CPU's fault budget; kills are judged by the executor" },
	{ 44, EXECUTOR, "model_follow" },
	{ 45, EXECUTOR, "model_follow, model_compare_memory; also shadow_write_test" },
	{ 46, EXECUTOR, "model_compare_memory; also pt_walk_test" },
	{ 47, EXECUTOR, "the step options-unseen of ci/test.sh: corpus traces under other options and pool sizes" },
	{ 48, NOT_HERE, "no log-dirty mode" },
	{ 49, NOT_HERE, "no log-dirty mode" },
	{ 50, UNIT, "shadow_pool_test rule_50_..., domain_test; also the executor" },
	{ 51, CHECKER, "counters in shadow_check: the one mode there is has all its tables" },
	{ 52, CHECKER, "heap_check, shadow_check_torn_down" },
	{ 53, CHECKER, "counters in shadow_check; also the host port at each lock and yield point" },
	{ 54, NOT_HERE, "no monitor tables: under SVM the hypervisor has its own CR3, and no linear maps" },
	{ 55, CHECKER, "root_check" },
	{ 56, CHECKER, "p2m_check" },
	{ 57, NOT_HERE, "no out-of-sync tables" },
};

// The defects of spec A.20 and the tests that are named for them.
static const char *const defects[] = {
	[1] = "shadow_ref_test D1_...",
	[2] = "shadow_pin_test D2_...",
	[3] = "shadow_pool_test D3_...",
	[4] = "shadow_access_test D4_...",
	[5] = "shadow_root_test D5_...",
	[6] = "shadow_root_test D6_...",
	[7] = "shadow_root_test D7_...: PDPTEs of unpaged vcpus; PAE guests have no shadows here",
	[8] = "not here: no log-dirty mode",
	[9] = "not here: no log-dirty mode",
	[10] = "shadow_pool_test D10_...",
	[11] = "shadow_write_test D11_...",
	[12] = "shadow_write_test D12_...",
	[13] = "shadow_pool_test D13_..., hypercall_test D13_...",
	[14] = "domain_test D14_...",
	[15] = "shadow_root_test D15_...",
	[16] = "shadow_table_test D16_...",
	[17] = "shadow_hash_test D17_...",
	[18] = "p2m_test D18_...",
	[19] = "not here: no log-dirty mode",
	[20] = "pt_walk_test D20_...",
	[21] = "shadow_fault_test D21_...",
	[22] = "shadow_ref_test D22_...",
	[23] = "shadow_write_test D23_...",
};

// ---- 2. the healthy domain --------------------------------------------------------------------------------

#define SUPER UINT64_C(0x400000)  // a 2 MiB page
#define GIANT UINT64_C(0x40000000) // a 1 GiB page
#define SPARE_GFN UINT64_C(0x50000) // RAM that nothing maps

static mfn_t l2, l1, other_l1, freed_frame;

static enum hv_status pae_mode(struct vcpu *v, u32 root)
{
	enum hv_status status = load_cr3(v, root);

	if (status == HV_OK)
		status = vcpu_write_cr4(v, CR4_PAE);
	if (status == HV_OK)
		status = vcpu_write_efer(v, EFER_NXE);
	return status == HV_OK ? vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP) : status;
}

static bool everything(void)
{
	bool ok = fixture_start(4, 64, SHADOW_OPT_ALL & ~SHADOW_OPT_EARLY);

	fixture_tree();
	ok = ok && domain_add_ram(dom, gfn(SPARE_GFN)) == HV_OK;
	poke(4, 0, at(1, AS_TABLE));
	poke(5, 0, at(8, AS_LEAF));
	poke(5, 2, hole(0, AS_LEAF)); // f5[1] is absent
	poke(2, 1, at(5, AS_TABLE));
	poke(2, 2, at(0, AS_LEAF | PTE_PS));
	poke(1, 1, at(0, AS_LEAF | PTE_PS));
	ok = ok && long_mode(vc(0), 0) == HV_OK && long_mode(vc(1), 4) == HV_OK;
	ok = ok && reads(vc(0), page(3)) && writes(vc(0), page(9), 1);
	ok = ok && writes(vc(0), OTHER, 1) && writes(vc(0), SUPER + page(9), 1);
	ok = ok && writes(vc(0), GIANT + page(10), 1) && reads(vc(0), OTHER + page(2));
	ok = ok && reads(vc(1), page(10));
	poke(6, 0, at(7, PTE_P));
	poke(6, 1, at(7, PTE_P));
	poke(7, 0, at(3, AS_TABLE));
	poke(7, 2, at(0, AS_LEAF | PTE_PS));
	ok = ok && pae_mode(vc(3), 6) == HV_OK && reads(vc(3), page(10)) && reads(vc(3), SUPER + page(10));
	shadow_remove_all(dom, fm(4));
	ok = ok && shadow_root_is_detached(vc(1)) && reads(vc(1), page(10));
	ok = ok && writes(vc(2), gfn_gpa(fg(11)).a, 1) && reads(vc(2), SUPER);
	ok = ok && heap_alloc(0, &freed_frame) == HV_OK;
	heap_free(freed_frame);
	l2 = shadow_of(2, SHADOW_L2_64);
	l1 = shadow_of(3, SHADOW_L1_64);
	other_l1 = shadow_of(5, SHADOW_L1_64);
	ok = ok && spte_is_gnp(shadow_read(dom, other_l1, 1)) && spte_is_mmio(shadow_read(dom, other_l1, 2));
	ok = ok && pinned(shadow_of(1, SHADOW_L3_64));
	for (u32 i = 0; i < 4; i++) // the hints must not be the first to see what is broken below
		vc(i)->shadow.last_writable_l1 = MFN_NONE;
	host_set_cpu(0);
	return ok && !fixture_problem();
}

static struct {
	struct domain domain;
	struct page_info *pages;
	u8 *frames;
} saved;

static u8 *frame_bytes(u64 i)
{
	return (u8 *)host_frame(mfn(page_first + i));
}

static void save(void)
{
	saved.domain = *dom;
	saved.pages = malloc(page_count * sizeof(struct page_info));
	memcpy(saved.pages, page_table, page_count * sizeof(struct page_info));
	saved.frames = malloc(heap_touched() * FRAME_BYTES);
	for (u64 i = 0; i < heap_touched(); i++)
		if (frame_bytes(i))
			memcpy(saved.frames + i * FRAME_BYTES, frame_bytes(i), FRAME_BYTES);
}

static void restore(void)
{
	*dom = saved.domain;
	memcpy(page_table, saved.pages, page_count * sizeof(struct page_info));
	for (u64 i = 0; i < heap_touched(); i++)
		if (frame_bytes(i))
			memcpy(frame_bytes(i), saved.frames + i * FRAME_BYTES, FRAME_BYTES);
	for (u32 cpu = 0; cpu < dom->vcpu_count; cpu++)
		tlb_drop_all(cpu);
	host_finding_clear();
}

// ---- 3. the breaks ---------------------------------------------------------------------------------------

static struct page_info *first_free(void) { return page_of(mfn(dom->shadow.free.head)); }
static mfn_t second_page(void) { return mfn(page_of(vc(2)->shadow.root[0])->sibling); }

static void change(mfn_t smfn, u32 index, u64 set, u64 clear)
{
	spte_t e = shadow_read(dom, smfn, index);

	spte_raw(smfn, index, (spte_t){ (e.v | set) & ~clear });
}

static void rehash(mfn_t smfn, u32 key)
{
	u32 type = shadow_type_of(smfn);

	hash_remove(dom, page_of(smfn)->back, type, smfn);
	page_of(smfn)->back = key;
	hash_insert(dom, key, type, smfn);
}

static void total_up(void) { dom->shadow.total_pages++; }
static void p2m_pages_up(void) { dom->shadow.p2m_pages++; }
static void free_count_down(void) { dom->shadow.free_pages--; }
static void free_list_loose(void) { first_free()->list.prev = 77; }
static void free_page_in_use(void) { first_free()->back = 1; }
static void free_page_owned(void) { first_free()->owner = 2; }
static void free_page_counted(void) { first_free()->count_info = 1; }
static void shadow_page_owned(void) { page_of(l1)->owner = 2; }
static void shadow_page_counted(void) { page_of(l1)->count_info = 1; }
static void p2m_maps_pool(void)
{
	u64 target = mfn_mpa(p2m_lookup(&dom->p2m, gfn(SPARE_GFN))).a;

	for (u32 n = dom->p2m.tables.head; n; n = page_of(mfn(n))->list.next) // the table that leads to the frame
		for (u32 i = 0; i < 512; i++) {
			u64 *leaf = host_frame(mfn(n)) + i;

			if ((*leaf & PTE_ADDR) == target) {
				*leaf = (*leaf & ~PTE_ADDR) | mfn_mpa(l1).a;
				return;
			}
		}
}
static void shadow_maps_pool(void) { spte_raw(l1, 300, (spte_t){ mfn_mpa(l2).a | PTE_P | PTE_A }); }
static void second_head(void) { page_of(second_page())->sh.head = 1; }
static void second_type(void) { page_of(second_page())->sh.type = SHADOW_L1_32; }
static void short_shadow(void) { page_of(second_page())->sibling = 0; }
static void pool_too_small(void)
{
	while (dom->shadow.total_pages >= SHADOW_MIN_BASE + SHADOW_MIN_PER_VCPU * dom->vcpu_count) {
		page_list_pop(&dom->shadow.free);
		dom->shadow.free_pages--;
		dom->shadow.total_pages--;
	}
}
static void wrong_bucket(void)
{
	u32 b = 0;

	while (!dom->shadow.bucket[b])
		b++;
	u32 n = dom->shadow.bucket[b], *to = &dom->shadow.bucket[(b + 1) % SHADOW_HASH_BUCKETS];

	dom->shadow.bucket[b] = page_of(mfn(n))->next_shadow;
	page_of(mfn(n))->next_shadow = *to;
	*to = n;
}
static void no_shadow_hashed(void) { page_of(l1)->sh.type = 30; }
static void stranger_hashed(void) { rehash(l1, (u32)l2.n); }
static void unhashed(void)
{
	hash_remove(dom, page_of(l1)->back, SHADOW_L1_64, l1);
}
static void flag_too_many(void) { page_of(fm(3))->shadow_flags |= BIT(SHADOW_L2_64); }
static void flag_missing(void) { page_of(fm(3))->shadow_flags = BIT(SHADOW_L2_64); }
static void table_without_flags(void)
{
	page_of(fm(9))->count_info |= PAGE_IS_TABLE;
	page_of(fm(9))->shadow_flags = 0;
}
static void two_of_a_kind(void) { rehash(other_l1, page_of(l1)->back); }
static void count_of_shadows(void) { dom->shadow.shadow_count++; }
static void ring(void)
{
	for (u32 b = 0; b < SHADOW_HASH_BUCKETS; b++) {
		u32 last = dom->shadow.bucket[b];

		while (last && page_of(mfn(last))->next_shadow)
			last = page_of(mfn(last))->next_shadow;
		if (last) {
			page_of(mfn(last))->next_shadow = last;
			return;
		}
	}
}
static void walking(void) { dom->shadow.hash_walking = true; }
static void key_not_aligned(void)
{
	rehash(hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64), (u32)fg(0).n + 3);
}
static void count_up(void) { page_of(l1)->sh.count++; }
static void count_down(void) { page_of(shadow_of(1, SHADOW_L3_64))->sh.count--; }
static void zombie(void)
{
	mfn_t smfn;

	(void)!table_get(vc(0), SHADOW_L1_64, (u32)fm(12).n, gva(0), &smfn);
}
static void wrong_child(void) { spte_raw(l2, 300, (spte_t){ mfn_mpa(shadow_of(1, SHADOW_L3_64)).a | AS_LEAF }); }
static void free_child(void)
{
	first_free()->free_stamp = 0;
	spte_raw(l2, 300, (spte_t){ mfn_mpa(mfn(dom->shadow.free.head)).a | AS_LEAF });
}
static void reference_unexplained(void) { page_of(fm(9))->count_info++; }
static void hold_missing(void) { page_of(fm(0))->count_info--; }
static void writable_unexplained(void) { page_of(fm(9))->type_info++; }
static void up_elsewhere(void) { page_of(l1)->up = mfn_mpa(l2).a + 8 * 77; }
static void up_outside(void) { page_of(l1)->up = mfn_mpa(fm(9)).a; }
// A page on the free list keeps what it held: an entry there that names the shadow is no parent.
static void up_into_freed_page(void)
{
	mfn_t m = mfn(dom->shadow.free.head);

	page_of(m)->free_stamp = SHADOW_L2_64;
	host_frame(m)[0] = mfn_mpa(l1).a | AS_LEAF;
	page_of(l1)->up = mfn_mpa(m).a;
}
static void pin_list_loose(void) { page_of(mfn(dom->shadow.pinned.head))->list.prev = 5; }
static void pin_bit_lost(void) { page_of(mfn(dom->shadow.pinned.head))->sh.pinned = 0; }
static void pin_bit_alone(void)
{
	page_of(l1)->sh.pinned = 1;
	page_of(l1)->sh.count++;
}
static void pinned_too_many(void) { dom->shadow.pinned.length = dom->shadow.shadow_count + 1; }
static void pinned_not_pinnable(void) { dom->shadow.opt_flags = 0; }
static void pinned_second_page(void) { page_list_add_head(&dom->shadow.pinned, second_page()); }
static void option_from_nowhere(void) { dom->shadow.opt_flags |= SHADOW_OPT_EARLY; }
static void guest_lost_write(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_W)); }
static void guest_lost_dirty(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_D)); }
static void guest_lost_accessed(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_A)); }
static void guest_lost_present(void) { raw(3, 9, 0); }
static void guest_lost_user(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_U)); }
static void guest_got_nx(void) { raw(3, 9, at(9, AS_LEAF | PTE_NX)); }
static void guest_got_reserved(void) { raw(3, 9, at(9, AS_LEAF) | BIT(45)); }
static void guest_upper_lost_write(void) { raw(1, 0, at(2, AS_TABLE & ~PTE_W)); }
static void guest_moved(void) { raw(3, 9, at(10, AS_LEAF)); }
static void guest_moved_table(void) { raw(2, 1, at(3, AS_TABLE)); }
static void guest_moved_large(void) { raw(2, 2, UINT64_C(0x80000000) | AS_LEAF | PTE_PS); }
static void magic_above(void) { spte_raw(l2, 300, (spte_t){ UINT64_MAX }); }
static void no_frame(void) { spte_raw(l1, 300, (spte_t){ UINT64_C(0x7ffffff000) | PTE_P | PTE_A }); }
static void frame_with_reserved_bits(void) { change(l1, 9, BIT(41), 0); }
static void gnp_of_present(void) { raw(5, 1, at(9, AS_LEAF)); }
static void mmio_of_another(void) { raw(5, 2, hole(1, AS_LEAF)); }
static void mmio_of_absent(void) { raw(5, 2, 0); }
static void mmio_of_ram(void)
{
	raw(5, 2, at(9, AS_LEAF));
	spte_raw(other_l1, 2, (spte_t){ (u64)UINT32_MAX << 32 | fg(9).n << 4 | PTE_P | PTE_U });
}
static void mmio_without_write(void) { raw(5, 2, hole(0, AS_LEAF & ~PTE_W)); }
static void mmio_without_user(void) { raw(5, 2, hole(0, AS_LEAF & ~PTE_U)); }
static void global(void) { change(l1, 9, PTE_G, 0); }
static void large(void) { change(l2, 0, PTE_PS, 0); }
static void cached_elsewise(void) { change(l1, 9, PTE_PCD, 0); }
static void table_mapped_writable(void) { page_of(fm(3))->type_info = 1; }
static void entry_of_table_writable(void) { change(l1, 3, PTE_W | PTE_D, 0); }
static u64 *pair(u32 half)
{
	u32 slot;

	return host_frame(shadow_page_of(vc(2)->shadow.root[0], (u32)(gfn_gpa(fg(11)).a >> 22), &slot)) + slot + half;
}
static void half_gone(void) { *pair(1) = 0; }
static void half_of_another(void) { *pair(1) = *pair(0); }
static void half_weaker(void) { *pair(1) &= ~PTE_W; }
static void pdpte_wrong(void) { host_frame(vc(2)->shadow.roots_pae)[2] ^= 0x1000; }
static void pdpte_flags(void) { host_frame(vc(2)->shadow.roots_pae)[0] |= PTE_W; }
static void pdptes_lost(void) { vc(2)->shadow.roots_pae = MFN_NONE; }
static void slot_of_nobody(void) { vc(2)->shadow.attached = false; }
static void cr3_elsewhere(void) { vc(0)->guest.cr3 = at(9, 0); }
static void guest_root_elsewhere(void) { vc(0)->shadow.guest_root[0] = fm(9); }
static void root_is_no_root(void) { vc(0)->shadow.root[0] = l2; }
static void pae_slot_lost(void) { vc(3)->shadow.root[1] = vc(3)->shadow.guest_root[1] = MFN_NONE; }
static void pae_slot_doubled(void)
{
	vc(3)->shadow.root[2] = vc(3)->shadow.root[0];
	vc(3)->shadow.guest_root[2] = vc(3)->shadow.guest_root[0];
	vc(3)->shadow.pdpte[2] = vc(3)->shadow.pdpte[0];
	host_frame(vc(3)->shadow.roots_pae)[2] = host_frame(vc(3)->shadow.roots_pae)[0];
}
static void pae_latched_elsewhere(void) { vc(3)->shadow.pdpte[0] = at(9, PTE_P); }
static void pae_pdpte_of_empty_slot(void) { host_frame(vc(3)->shadow.roots_pae)[2] = host_frame(vc(3)->shadow.roots_pae)[0]; }
static void pae_reserved(void) { raw(3, 10, at(10, AS_LEAF) | BIT(52)); } // in PAE alone
static void pae_moved_table(void) { raw(7, 0, at(5, AS_TABLE)); }
static void second_slot_without_pae(void)
{
	vc(0)->shadow.root[1] = vc(0)->shadow.root[0];
	vc(0)->shadow.guest_root[1] = vc(0)->shadow.guest_root[0];
}
static void wrong_mode(void) { vc(3)->shadow.mode = PT_MODE_32; }
static void root_freed(void)
{
	first_free()->free_stamp = 0;
	vc(0)->shadow.root[0] = mfn(dom->shadow.free.head);
}
static void root_outside(void) { vc(0)->shadow.root[0] = mfn(3); }
static void identity_lost(void) { dom->shadow.identity = MFN_NONE; }
static void p2m_lost(void) { dom->p2m.root = MFN_NONE; }
static void heap_frame_in_use(void) { page_of(freed_frame)->count_info = 1; }
static void heap_list_loose(void) { page_of(freed_frame)->list.prev = 7; }
static void lock_held(void) { dom->shadow.lock = (struct hv_lock){ 1, "canary" }; }
static void hint_no_leaf(void) { vc(0)->shadow.last_writable_l1 = l2; }
static void hint_guest_frame(void) { vc(0)->shadow.last_writable_l1 = fm(9); }
static void hint_freed(void)
{
	first_free()->free_stamp = SHADOW_L1_64;
	vc(0)->shadow.last_writable_l1 = mfn(dom->shadow.free.head);
}
static void m2p_wrong(void) { page_of(p2m_lookup(&dom->p2m, gfn(SPARE_GFN)))->back = (u32)SPARE_GFN + 1; }
static void m2p_of_nothing(void) { page_of(dom->shadow.identity)->back = (u32)SPARE_GFN + 7; }
static void p2m_count(void) { dom->p2m.mapped++; }
static void p2m_list_loose(void) { page_of(mfn(dom->p2m.tables.tail))->list.prev = 9; }

// A frame is forbidden to be written when it is a table.
static bool forbidden(mfn_t m) { return host_frame_owned(m) && page_is_table(m); }
static const char *tlb_of_cpu_0(const struct domain *d)
{
	(void)d;
	return tlb_check(0, forbidden);
}
static void tlb_holds(u64 m, u32 generation, bool w, bool table)
{
	struct tlb_entry e = { .va = 0x5000, .mfn = m, .generation = generation, .w = w };

	if (table)
		tlb_add_table(0, &e);
	else
		tlb_add_page(0, &e);
}
static void tlb_writes_table(void) { tlb_holds(fm(3).n, host_frame_generation(fm(3)), true, false); }
static void tlb_reaches_free(void) { tlb_holds(freed_frame.n, host_frame_generation(freed_frame), false, false); }
static void tlb_reaches_old(void) { tlb_holds(fm(9).n, host_frame_generation(fm(9)) - 1, false, false); }
static void tlb_walks_old(void) { tlb_holds(l1.n, host_frame_generation(l1) + 1, false, true); }

static const char *cpu_finding(const struct domain *d)
{
	(void)d;
	(void)reads(vc(0), page(9));
	return host_finding_rule();
}
static void walk_into_free(void) { spte_raw(vc(0)->shadow.root[0], 0, (spte_t){ mfn_mpa(freed_frame).a | AS_LEAF }); }
static void walk_into_magic(void) { spte_raw(vc(0)->shadow.root[0], 0, (spte_t){ UINT64_MAX }); }
static void leaf_outside(void) { spte_raw(l1, 9, (spte_t){ mfn_mpa(freed_frame).a | AS_LEAF }); }
static const char *unpaged_finding(const struct domain *d)
{
	(void)d;
	(void)reads(vc(2), gfn_gpa(fg(11)).a);
	return host_finding_rule();
}

typedef const char *check_fn(const struct domain *d);

static const struct {
	const char *expect; // the rule's name, or how its text starts
	void (*act)(void);
	check_fn *check; // NULL: all of hv_check()
} breaks[] = {
	{ "E1.1 pool: total", total_up, NULL },
	{ "E1.1 pool: ", p2m_pages_up, NULL },
	{ "E1.2 pool", free_count_down, NULL },
	{ "E1.2 free_pages", free_count_down, pool_check },
	{ "E1.2 free list", free_list_loose, NULL },
	{ "E1.2 free pool page", free_page_in_use, NULL },
	{ "E1.4 free", free_page_owned, NULL },
	{ "E1.4 free", free_page_counted, NULL },
	{ "E1.4 shadow", shadow_page_owned, NULL },
	{ "E1.4 shadow", shadow_page_counted, NULL },
	{ "E1.5 p2m", p2m_maps_pool, NULL },
	{ "E1.5 l1_64", shadow_maps_pool, NULL },
	{ "E1.6", second_head, NULL },
	{ "E1.6", second_type, NULL },
	{ "E1.6 l2_32", short_shadow, pool_check },
	{ "E1.8", pool_too_small, NULL },
	{ "E1.9", wrong_bucket, NULL },
	{ "E1.9", no_shadow_hashed, NULL },
	{ "E1.9", stranger_hashed, NULL },
	{ "E1.10", unhashed, NULL },
	{ "E1.10", flag_too_many, NULL },
	{ "E1.10", flag_missing, NULL },
	{ "E1.11", table_without_flags, NULL },
	{ "E1.12 hash: two", two_of_a_kind, NULL },
	{ "E1.12", count_of_shadows, NULL },
	{ "E1.12", ring, NULL },
	{ "E1.13", walking, NULL },
	{ "E1.13", walking, hash_check },
	{ "E1.14", key_not_aligned, NULL },
	{ "E1.15", count_up, NULL },
	{ "E1.15", count_down, NULL },
	{ "E1.16", zombie, NULL },
	{ "E1.17", wrong_child, NULL },
	{ "E1.17", free_child, NULL },
	{ "E1.18", reference_unexplained, NULL },
	{ "E1.18", hold_missing, NULL },
	{ "E1.19", writable_unexplained, NULL },
	{ "E1.20", up_elsewhere, NULL },
	{ "E1.20", up_outside, NULL },
	{ "E1.20", up_into_freed_page, NULL },
	{ "E1.22", pin_list_loose, NULL },
	{ "E1.22", pin_bit_lost, NULL },
	{ "E1.22", pin_bit_alone, NULL },
	{ "E1.22", pinned_too_many, NULL },
	{ "E1.23", pinned_not_pinnable, NULL },
	{ "E1.24", pinned_second_page, NULL },
	{ "E1.28", option_from_nowhere, NULL },
	{ "E1.30", guest_lost_write, NULL },
	{ "E1.30", guest_lost_dirty, NULL },
	{ "E1.30", guest_lost_accessed, NULL },
	{ "E1.30", guest_lost_present, NULL },
	{ "E1.30", guest_lost_user, NULL },
	{ "E1.30", guest_got_nx, NULL },
	{ "E1.30", guest_got_reserved, NULL },
	{ "E1.30", guest_upper_lost_write, NULL },
	{ "E1.31", guest_moved, NULL },
	{ "E1.31", guest_moved_table, NULL },
	{ "E1.31", guest_moved_large, NULL },
	{ "E1.32", magic_above, NULL },
	{ "E1.32", no_frame, NULL },
	{ "E1.32", frame_with_reserved_bits, entry_check },
	{ "E1.33", gnp_of_present, NULL },
	{ "E1.33", mmio_of_another, NULL },
	{ "E1.33", mmio_of_absent, NULL },
	{ "E1.33", mmio_of_ram, NULL },
	{ "E1.33", mmio_without_write, NULL },
	{ "E1.33", mmio_without_user, NULL },
	{ "E1.34", global, NULL },
	{ "E1.34", large, NULL },
	{ "E1.34", cached_elsewise, NULL },
	{ "E1.35", table_mapped_writable, NULL },
	{ "E1.35", entry_of_table_writable, entry_check },
	{ "E1.36", half_gone, NULL },
	{ "E1.36", half_of_another, NULL },
	{ "E1.36", half_weaker, NULL },
	{ "E1.37", pdpte_wrong, NULL },
	{ "E1.37", pdpte_flags, NULL },
	{ "E1.37", pdpte_flags, unpaged_finding },
	{ "E1.37", pae_pdpte_of_empty_slot, NULL },
	{ "E1.38", pdptes_lost, NULL },
	{ "E1.38", second_slot_without_pae, NULL },
	{ "E1.38", wrong_mode, NULL },
	{ "E1.39", pae_slot_lost, NULL },
	{ "E1.39", pae_latched_elsewhere, NULL },
	{ "E1.15 refcount: l2_pae", pae_slot_doubled, NULL },
	{ "E1.30 l1_pae", pae_reserved, NULL },
	{ "E1.31 l2_pae", pae_moved_table, NULL },
	{ "E1.38", slot_of_nobody, NULL },
	{ "E1.39", cr3_elsewhere, NULL },
	{ "E1.39", guest_root_elsewhere, NULL },
	{ "E1.39", root_is_no_root, NULL },
	{ "E1.40", root_freed, NULL },
	{ "E1.40", root_outside, NULL },
	{ "E1.40", walk_into_free, cpu_finding },
	{ "E1.32", walk_into_magic, cpu_finding },
	{ "E1.41", leaf_outside, cpu_finding },
	{ "E1.42", tlb_writes_table, tlb_of_cpu_0 },
	{ "E1.42", tlb_reaches_free, tlb_of_cpu_0 },
	{ "E1.42", tlb_reaches_old, tlb_of_cpu_0 },
	{ "E1.42", tlb_walks_old, tlb_of_cpu_0 },
	{ "E1.51", identity_lost, NULL },
	{ "E1.51", p2m_lost, NULL },
	{ "E1.52", heap_frame_in_use, NULL },
	{ "E1.52", heap_list_loose, NULL },
	{ "E1.53", lock_held, NULL },
	{ "E1.55", hint_no_leaf, NULL },
	{ "E1.55", hint_guest_frame, NULL },
	{ "E1.55", hint_freed, NULL },
	{ "E1.56", m2p_wrong, NULL },
	{ "E1.56", m2p_of_nothing, NULL },
	{ "E1.56", p2m_count, NULL },
	{ "E1.56", p2m_list_loose, NULL },
};

static bool starts_with(const char *text, const char *start)
{
	size_t n = strlen(start);

	return text && !strncmp(text, start, n) && (start[n - 1] < '0' || start[n - 1] > '9' || text[n] == ' ');
}

TEST(every_break_is_named_and_every_repair_is_seen)
{
	if (!CHECK(everything()))
		return;
	save();
	for (u32 i = 0; i < ARRAY_LEN(breaks); i++) {
		breaks[i].act();
		const char *bad = breaks[i].check ? breaks[i].check(dom) : hv_check(dom, true);

		if (!starts_with(bad, breaks[i].expect) && test_fail(__FILE__, __LINE__))
			printf("break %u: \"%s\", expected %s\n", i, bad ? bad : "(nothing)", breaks[i].expect);
		restore();
		if (!CHECK_STR(fixture_problem(), NULL))
			break;
	}
	CHECK_STR(fixture_end(), NULL);
	free(saved.pages);
	free(saved.frames);
}

// The cheap check sees what it claims to: counters and heads.
TEST(the_cheap_check_sees_counters_and_roots)
{
	void (*cheap[])(void) = { free_count_down, walking, lock_held, pinned_too_many, option_from_nowhere,
				  identity_lost, cr3_elsewhere, pdpte_wrong, root_freed };

	if (!CHECK(everything()))
		return;
	save();
	for (u32 i = 0; i < ARRAY_LEN(cheap); i++) {
		cheap[i]();
		CHECK(hv_check(dom, false) != NULL);
		restore();
	}
	CHECK_STR(fixture_end(), NULL);
	free(saved.pages);
	free(saved.frames);
}

// ---- 4. the port, teardown, completeness -----------------------------------------------------------------

TEST(E1_53_the_port_watches_locks)
{
	CHECK(fixture_paged(2, 0, 0));
	shadow_lock(dom, "first");
	shadow_lock(dom, "second");
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	shadow_unlock(dom);
	shadow_unlock(dom); // nobody holds it now
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	shadow_lock(dom, "third");
	port_yield(YIELD_FAULT_WALKED);
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	shadow_unlock(dom);
	FINISH();
}

// The soft CPU gives up on an access that never gets through.
static void never_ends(void *context)
{
	(void)context;
	raw(3, 9, word(3, 9) ^ PTE_AVL); // another vcpu that always gets in between
	host_arm_race(1, never_ends, NULL);
}

TEST(E1_43_the_port_watches_progress)
{
	CHECK(fixture_paged(1, 0, 0));
	host_arm_race(1, never_ends, NULL);
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).end, CPU_STUCK);
	host_arm_race(0, NULL, NULL);
	CHECK(starts_with(host_finding_rule(), "E1.43"));
	host_finding_clear();
	FINISH();
}

static mfn_t leaked;

TEST(E1_52_a_leak_is_told_when_the_domain_is_gone)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(heap_alloc(dom->owner, &leaked), HV_OK);
	CHECK(starts_with(domain_destroy(dom), "E1.52"));
	CHECK(fixture_paged(1, 0, 0));
	CHECK_STR(fixture_end(), NULL);
	dom->shadow.total_pages = 1;
	CHECK(starts_with(shadow_check_torn_down(dom), "E1.52"));
	dom->shadow.total_pages = 0;
	CHECK_STR(shadow_check_torn_down(dom), NULL);
}

// All rules of the specification have a row; a row that promises a canary has one.
TEST(all_rules_are_accounted_for)
{
	for (u32 i = 0; i < ARRAY_LEN(watch); i++) {
		u32 seen = 0;
		char name[16];

		CHECK_EQ(watch[i].rule, i + 1);
		CHECK(watch[i].where && watch[i].where[0]);
		snprintf(name, sizeof(name), "E1.%u", watch[i].rule);
		for (u32 b = 0; b < ARRAY_LEN(breaks); b++)
			seen += starts_with(breaks[b].expect, name) || !strcmp(breaks[b].expect, name);
		if (watch[i].watcher == CHECKER && !CHECK(seen > 0))
			printf("rule %u has no canary\n", watch[i].rule);
		if (watch[i].watcher == UNIT || watch[i].watcher == NOT_HERE)
			CHECK_EQ(seen, 0);
	}
	CHECK_EQ(ARRAY_LEN(watch), 57);
	for (u32 i = 1; i < ARRAY_LEN(defects); i++)
		CHECK(defects[i] != NULL);
	CHECK_EQ(ARRAY_LEN(defects), 24);
}
