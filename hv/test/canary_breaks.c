// SPDX-License-Identifier: GPL-2.0-or-later
// The breaks of the canary test, in the order of the rules of spec E.1: each changes one thing by hand behind the core's back.
// The table at the end says which rule must be named then, and by which check.
#include "../p2m/table.h"
#include "canary.h"

static struct page_info *first_free(void) { return page_of(mfn(dom->shadow.free.head)); }
static mfn_t second_page(void) { return mfn(page_of(vc(2)->shadow.root[0])->sibling); }
#define NOBODY 3 // a domain's number + 1 that there is none of

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

// The frame is no table any more, whoever shadows it.
static void unflag(mfn_t m)
{
	page_of(m)->count_info &= ~PAGE_IS_TABLE;
	page_of(m)->shadow_flags = 0;
}

// ---- 1 to 8: the pool ------------------------------------------------------------------------------------

void total_up(void) { dom->shadow.total_pages++; }
static void p2m_pages_up(void) { dom->shadow.p2m_pages++; }
static void dirty_nodes_up(void) { dom->shadow.dirty.nodes++; }
static void more_dirty_nodes_than_kept(void) { dom->shadow.dirty.nodes_max = dom->shadow.dirty.nodes - 1; }
static void pool_page_lost(void) { page_of(page_list_pop(&dom->shadow.free))->pool = 0; }
void free_count_down(void) { dom->shadow.free_pages--; }
static void free_list_loose(void) { first_free()->list.prev = 77; }
static void free_page_in_use(void) { first_free()->back = 1; }
static void free_page_with_links(void) { first_free()->links = (u32)l1.n; }
static void free_page_mapped(void) { first_free()->maps = rmap_number(l1, 0); }
static void free_page_of_another(void) { first_free()->pool = NOBODY; }
static void free_page_owned(void) { first_free()->owner = NOBODY; }
static void free_page_counted(void) { first_free()->count_info = 1; }
static void shadow_page_owned(void) { page_of(l1)->owner = NOBODY; }
static void shadow_page_counted(void) { page_of(l1)->count_info = 1; }
static void second_page_of_another(void) { page_of(second_page())->pool = NOBODY; }
static void p2m_page_counted(void) { page_of(mfn(dom->p2m.tables.tail))->count_info++; }
static void shadow_maps_pool(void) { spte_raw(l1, 300, (spte_t){ mfn_mpa(l2).a | PTE_P | PTE_A }); }
static void shadow_maps_neighbour(void)
{
	spte_raw(l1, 300, (spte_t){ mfn_mpa(p2m_lookup(&neighbour->p2m, fg(0))).a | PTE_P | PTE_A });
}
static void second_head(void) { page_of(second_page())->sh.head = 1; }
static void second_type(void) { page_of(second_page())->sh.type = SHADOW_L1_32; }
static void short_shadow(void) { page_of(second_page())->sibling = 0; }
static void links_lost(void) { page_of(l1)->links = 0; }
static void links_of_second_lost(void) { page_of(second_page())->links = 0; }
static void links_in_guest_frame(void) { page_of(l1)->links = (u32)fm(12).n; }
static void links_of_no_type(void) { page_of(mfn(page_of(l1)->links))->sh.type = SHADOW_NONE; }
static void links_of_another(void) { page_of(mfn(page_of(l1)->links))->pool = NOBODY; }
static void pool_below_its_bound(void)
{
	while (dom->shadow.total_pages >= shadow_lower_bound(dom)) {
		pool_page_lost();
		dom->shadow.free_pages--;
		dom->shadow.total_pages--;
	}
}
static void pool_too_small_for_ram(void) { dom->p2m.mapped += UINT64_C(256) * dom->shadow.total_pages; }

// ---- 9 to 14: the hash, and shadows on their frames --------------------------------------------------------

static u32 *before(u32 n) { return &page_of(mfn(page_of(mfn(n))->links))->back; }

static void wrong_bucket(void)
{
	u32 b = 0;

	while (!dom->shadow.bucket[b])
		b++;
	u32 n = dom->shadow.bucket[b], *to = &dom->shadow.bucket[(b + 1) % SHADOW_HASH_BUCKETS];

	dom->shadow.bucket[b] = page_of(mfn(n))->next_shadow;
	if (dom->shadow.bucket[b])
		*before(dom->shadow.bucket[b]) = 0;
	if (*to)
		*before(*to) = n;
	page_of(mfn(n))->next_shadow = *to;
	*to = n;
}
static void wrong_frame(void)
{
	page_of(fm(12))->shadows = (u32)l1.n;
	page_of(fm(3))->shadows = page_of(l1)->next_shadow;
	if (page_of(l1)->next_shadow)
		*before(page_of(l1)->next_shadow) = 0;
}
static void no_shadow_hashed(void) { page_of(l1)->sh.type = 30; }
static void dying_shadow_hashed(void) { page_of(l1)->epoch = 0; }
static void shadow_of_no_frame(void) { page_of(l1)->back = (u32)l2.n; }
static void fake_hung_on_frame(void)
{
	mfn_t fake = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64);

	hash_remove(dom, page_of(fake)->back, SHADOW_FL1_64, fake);
	page_of(fake)->next_shadow = page_of(fm(3))->shadows;
	page_of(fm(3))->shadows = (u32)fake.n;
}
static void unhashed(void) { hash_remove(dom, page_of(l1)->back, SHADOW_L1_64, l1); }
static void fake_unhashed(void)
{
	mfn_t fake = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64);

	hash_remove(dom, page_of(fake)->back, SHADOW_FL1_64, fake);
}
static void flag_too_many(void) { page_of(fm(3))->shadow_flags |= BIT(SHADOW_L2_64); }
static void flag_missing(void) { page_of(fm(3))->shadow_flags = BIT(SHADOW_L2_64); }
static void table_without_flags(void)
{
	page_of(fm(9))->count_info |= PAGE_IS_TABLE;
	page_of(fm(9))->shadow_flags = 0;
}
static void flags_without_table(void) { page_of(fm(3))->count_info &= ~PAGE_IS_TABLE; }
static void two_of_a_kind(void)
{
	unflag(fm(5));
	rehash(other_l1, page_of(l1)->back);
}
void count_of_shadows(void) { dom->shadow.shadow_count++; }
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
static void chain_back_link(void) { *before((u32)hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64).n) = (u32)l1.n; }
static void ring_on_frame(void) { page_of(l1)->next_shadow = (u32)l1.n; }
static void key_not_aligned(void) { rehash(hash_find(dom, (u32)fg(0).n, SHADOW_FL1_64), (u32)fg(0).n + 3); }

// ---- 15 to 19: references, and who is dying ------------------------------------------------------------------

static void count_up(void) { page_of(l1)->sh.count++; }
static void count_down(void) { page_of(shadow_of(1, SHADOW_L3_64))->sh.count--; }
static void zombie(void)
{
	mfn_t smfn;

	(void)!table_get(dom, SHADOW_L1_64, (u32)fm(12).n, MFN_NONE, &smfn);
}
static void dying_list_loose(void) { dom->shadow.dying.length = 1; }
static void dying_alive(void) { page_list_add_tail(&dom->shadow.dying, other_l1); }
// As table_destroy() would, but not on the list; who named it names it still.
static void dying_not_listed(void)
{
	hash_remove(dom, page_of(l1)->back, SHADOW_L1_64, l1);
	page_of(fm(3))->shadow_flags &= ~(u32)BIT(SHADOW_L1_64);
	page_of(fm(3))->count_info--;
	page_of(l1)->epoch = 0;
}
static void dying_referenced(void)
{
	dying_not_listed();
	page_list_add_tail(&dom->shadow.dying, l1);
}
static void wrong_child(void) { spte_raw(l2, 300, (spte_t){ mfn_mpa(shadow_of(1, SHADOW_L3_64)).a | AS_LEAF }); }
static void free_child(void)
{
	first_free()->free_stamp = 0;
	spte_raw(l2, 300, (spte_t){ mfn_mpa(mfn(dom->shadow.free.head)).a | AS_LEAF });
}
static void links_as_child(void) { spte_raw(l2, 300, (spte_t){ mfn_mpa(mfn(page_of(l1)->links)).a | AS_LEAF }); }
void reference_unexplained(void) { page_of(fm(9))->count_info++; }
static void hold_missing(void) { page_of(fm(0))->count_info--; }
static void writable_unexplained(void) { page_of(fm(9))->type_info++; }

// ---- 20: reverse maps ----------------------------------------------------------------------------------------

// The links of an entry: the next one in the low half, the one before in the high half.
static u64 *links(u32 entry) { return host_frame(mfn(page_of(rmap_page(entry))->links)) + rmap_slot(entry); }
static void set_next(u32 entry, u32 next) { *links(entry) = (*links(entry) & ~UINT64_C(0xffffffff)) | next; }
static void set_prev(u32 entry, u32 prev) { *links(entry) = (*links(entry) & 0xffffffff) | (u64)prev << 32; }

static u32 *maps_of_10(void) { return &page_of(fm(10))->maps; }
static void map_lost(void) { *maps_of_10() = 0; }
static void map_missing(void) { rmap_remove(fm(10), *maps_of_10()); }
static void map_in_wrong_list(void)
{
	u32 entry = *maps_of_10();

	rmap_remove(fm(10), entry);
	rmap_add(fm(9), entry);
}
static void map_of_empty_entry(void) { rmap_add(fm(10), rmap_number(l1, 300)); }
static void map_twice(void) { set_next(rmap_oldest(fm(10)), *maps_of_10()); }
static void map_back_link(void) { set_prev(rmap_next(*maps_of_10()), rmap_number(l1, 300)); }
static void map_last_link(void) { set_prev(*maps_of_10(), *maps_of_10()); }
static void map_in_guest_frame(void) { *maps_of_10() = rmap_number(fm(3), 10); }
static void map_in_free_page(void) { *maps_of_10() = rmap_number(mfn(dom->shadow.free.head), 10); }
static void map_outside(void) { *maps_of_10() = rmap_number(mfn(3), 10); }
static void map_in_links(void) { *maps_of_10() = rmap_number(mfn(page_of(l1)->links), 10); }
static void links_shared(void) { page_of(l1)->links = page_of(l2)->links; }
static void parent_lost(void) { page_of(l1)->maps = 0; }
static void parent_of_another(void)
{
	u32 entry = page_of(other_l1)->maps;

	rmap_remove(other_l1, entry);
	rmap_add(l1, entry);
}
static void parent_twice(void) { set_next(page_of(l1)->maps, page_of(l1)->maps); }
static void parent_of_pinned_lost(void) { page_of(shadow_of(1, SHADOW_L3_64))->maps = 0; }

// ---- 22 to 28: pins and options ----------------------------------------------------------------------------

static void pin_list_loose(void) { page_of(mfn(dom->shadow.pinned.head))->list.prev = 5; }
static void pin_bit_lost(void) { page_of(mfn(dom->shadow.pinned.head))->sh.pinned = 0; }
static void pin_bit_alone(void)
{
	page_of(l1)->sh.pinned = 1;
	page_of(l1)->sh.count++;
}
void pinned_too_many(void) { dom->shadow.pinned.length = dom->shadow.shadow_count + 1; }
static void pinned_not_pinnable(void) { dom->shadow.opt_flags = 0; }
static void pinned_second_page(void) { page_list_add_head(&dom->shadow.pinned, second_page()); }
void option_from_nowhere(void) { dom->shadow.opt_flags |= SHADOW_OPT_EARLY; }

// ---- 30 to 36: entries -----------------------------------------------------------------------------------------

void guest_lost_write(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_W)); }
static void guest_lost_dirty(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_D)); }
static void guest_lost_accessed(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_A)); }
static void guest_lost_present(void) { raw(3, 9, 0); }
static void guest_lost_user(void) { raw(3, 9, at(9, AS_LEAF & ~PTE_U)); }
static void guest_got_nx(void) { raw(3, 9, at(9, AS_LEAF | PTE_NX)); }
static void guest_got_reserved(void) { raw(3, 9, at(9, AS_LEAF) | BIT(45)); }
static void guest_upper_lost_write(void) { raw(1, 0, at(2, AS_TABLE & ~PTE_W)); }
void root_lost_write(void) { raw(0, 0, at(1, AS_TABLE & ~PTE_W)); }
void guest_moved(void) { raw(3, 9, at(10, AS_LEAF)); }
static void guest_moved_table(void) { raw(2, 1, at(3, AS_TABLE)); }
static void guest_moved_large(void) { raw(2, 2, UINT64_C(0x80000000) | AS_LEAF | PTE_PS); }
void root_moved(void) { raw(0, 0, at(3, AS_TABLE)); }
static void maps_foreign(void)
{
	raw(3, 9, FOREIGN_GFN << FRAME_SHIFT | AS_LEAF);
	spte_raw(l1, 9, (spte_t){ mfn_mpa(p2m_get(&dom->p2m, gfn(FOREIGN_GFN)).frame).a | PTE_P | PTE_A | PTE_U });
}
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
static void entry_of_clean_writable(void) { change(l1, CLEAN_PAGE, PTE_W | PTE_D, 0); }
static void entry_of_read_only_writable(void) { change(l1, RO_PAGE, PTE_W | PTE_D, 0); }
static u64 *pair(u32 half)
{
	u32 slot;

	return host_frame(shadow_page_of(vc(2)->shadow.root[0], (u32)(gfn_gpa(fg(11)).a >> 22), &slot)) + slot + half;
}
static void half_gone(void) { *pair(1) = 0; }
static void half_of_another(void) { *pair(1) = *pair(0); }
static void half_weaker(void) { *pair(1) &= ~PTE_W; }

// ---- 37 to 40: roots ---------------------------------------------------------------------------------------

void pdpte_wrong(void) { host_frame(vc(2)->shadow.roots_pae)[2] ^= 0x1000; }
static void pdpte_flags(void) { host_frame(vc(2)->shadow.roots_pae)[0] |= PTE_W; }
static void pdptes_lost(void) { vc(2)->shadow.roots_pae = MFN_NONE; }
static void slot_of_nobody(void) { vc(2)->shadow.attached = false; }
void cr3_elsewhere(void) { vc(0)->guest.cr3 = at(9, 0); }
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
static void pae_pdpte_of_empty_slot(void)
{
	host_frame(vc(3)->shadow.roots_pae)[2] = host_frame(vc(3)->shadow.roots_pae)[0];
}
static void pae_reserved(void) { raw(3, 10, at(10, AS_LEAF) | BIT(52)); } // in PAE alone
static void pae_moved_table(void) { raw(7, 0, at(5, AS_TABLE)); }
static void second_slot_without_pae(void)
{
	vc(0)->shadow.root[1] = vc(0)->shadow.root[0];
	vc(0)->shadow.guest_root[1] = vc(0)->shadow.guest_root[0];
}
static void wrong_mode(void) { vc(3)->shadow.mode = PT_MODE_32; }
static void root_from_before_the_blow(void) { page_of(vc(0)->shadow.root[0])->epoch--; }
static void child_from_before_the_blow(void) { page_of(l1)->epoch--; }
static void nothing_made_since_the_blow(void) { dom->shadow.epoch++; }
void root_freed(void)
{
	first_free()->free_stamp = 0;
	vc(0)->shadow.root[0] = mfn(dom->shadow.free.head);
}
static void root_outside(void) { vc(0)->shadow.root[0] = mfn(3); }

// ---- 41, 42: what the host port watches ------------------------------------------------------------------------

// A frame is forbidden to be written when it is a table, clean, or read-only.
static bool forbidden(mfn_t m)
{
	if (!host_frame_owned(m) || page_of(m)->owner != dom->owner)
		return false;
	gfn_t g = p2m_gfn_of(m);

	return page_is_table(m) || !dirty_test(dom, g) || p2m_get(&dom->p2m, g).type == P2M_RAM_RO;
}
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
static void tlb_writes(mfn_t m) { tlb_holds(m.n, host_frame_generation(m), true, false); }
static void tlb_writes_table(void) { tlb_writes(fm(3)); }
static void tlb_writes_clean(void) { tlb_writes(fm(CLEAN_PAGE)); }
static void tlb_writes_read_only(void) { tlb_writes(p2m_lookup(&dom->p2m, gfn(RO_GFN))); }
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

// ---- 43, 49 to 53: bounds, log-dirty, modes, the heap, the lock -----------------------------------------------

void bound_exceeded(void) { dom->bound[BOUND_WALK].most = bound_rows[BOUND_WALK].visits + UINT64_C(1); }
static void last_bound_exceeded(void)
{
	dom->bound[BOUND_COUNT - 1].most = bound_rows[BOUND_COUNT - 1].visits + UINT64_C(1);
}
void dirty_count_up(void) { dom->shadow.dirty.count++; }
static void dirty_count_down(void) { dom->shadow.dirty.count--; }
// A node on the way down that has entries or bits: the level-th from the leaves.
static mfn_t dirty_node(u32 level)
{
	mfn_t node = dom->shadow.dirty.root;

	for (u32 k = DIRTY_PATH; k > level; k--) {
		const void *page = host_frame(node);
		const u32 *entries = page;

		while (!*entries)
			entries++;
		node = mfn(*entries);
	}
	return node;
}
// The frame is mapped writable.
static void bit_lost(void)
{
	u64 g = fg(9).n;
	mfn_t node = dom->shadow.dirty.root;

	for (u32 k = DIRTY_PATH; k; k--) {
		const void *page = host_frame(node);
		const u32 *entries = page;

		node = mfn(entries[g >> (DIRTY_LEAF_BITS + (k - 1) * DIRTY_FAN_BITS) & 511]);
	}
	host_frame(node)[g % BIT(DIRTY_LEAF_BITS) / 64] &= ~BIT(g % 64);
}
// Where a leaf fills its page nothing lies behind it.
static void bit_behind_the_leaf(void)
{
	u32 words = (u32)(BIT(DIRTY_LEAF_BITS) / 64);

	if (words < 512)
		host_frame(dirty_node(0))[words + 1] = 1;
	else
		dirty_count_up();
}
static void entry_behind_the_node(void) { host_frame(dom->shadow.dirty.root)[511] = 1; }
static void dirty_node_is_table(void) { dom->shadow.dirty.root = l1; }
static void dirty_node_freed(void) { page_of(dirty_node(1))->sh.type = SHADOW_NONE; }
static void dirty_node_twice(void)
{
	void *page = host_frame(dom->shadow.dirty.root);
	u32 *entries = page;

	entries[511] = entries[0] = (u32)dirty_node(DIRTY_PATH - 1).n;
}
void log_dirty_off(void) { dom->shadow.dirty.on = false; }
static void log_dirty_without_root(void) { dom->shadow.dirty.root = MFN_NONE; }
static void mode_lost(u32 mode) { dom->shadow.modes &= ~mode; }
static void mode_enable_lost(void) { mode_lost(MODE_ENABLE); }
static void mode_references_lost(void) { mode_lost(MODE_REFCOUNTS); }
static void mode_translate_lost(void) { mode_lost(MODE_TRANSLATE); }
static void mode_dirty_lost(void) { mode_lost(MODE_LOGDIRTY); }
static void mode_from_nowhere(void) { dom->shadow.modes |= 0x20; }
static void not_enabled(void) { dom->shadow.enabled = false; }
void identity_lost(void) { dom->shadow.identity = MFN_NONE; }
static void p2m_lost(void) { dom->p2m.root = MFN_NONE; }
static void heap_frame_in_use(void) { page_of(freed_frame)->count_info = 1; }
static void heap_list_loose(void) { page_of(freed_frame)->list.prev = 7; }
static void lock_held(void) { dom->lock = (struct hv_lock){ 2, "canary" }; }
static const char *lock_finding(const struct domain *d)
{
	(void)d;
	(void)hv_check(dom, false);
	return host_finding_rule();
}

// ---- 56, 5: the p2m, both ways -----------------------------------------------------------------------------------

// The entry at which the way to g ends.
static u64 *p2m_entry_of(u64 g)
{
	struct p2m_place p = p2m_find(&dom->p2m, g);

	return host_frame(p.table) + p2m_index(g, p.level);
}
static void p2m_retype(u64 g, u32 type)
{
	*p2m_entry_of(g) = (*p2m_entry_of(g) & ~(P2M_TYPE_MASK << P2M_TYPE_SHIFT)) | (u64)type << P2M_TYPE_SHIFT;
}
static void p2m_rename(u64 g, mfn_t m) { *p2m_entry_of(g) = (*p2m_entry_of(g) & ~PTE_ADDR) | mfn_mpa(m).a; }
// Of level 1: shortcuts repeat those, and would be what differs first.
static void p2m_forget_shortcuts(void)
{
	for (u32 i = 0; i < P2M_RECENT; i++)
		dom->p2m.recent[i].entry = 0;
}
static void p2m_maps_pool(void) { p2m_rename(SPARE_GFN, l1); }
static void p2m_maps_neighbour(void) { p2m_rename(SPARE_GFN, p2m_lookup(&neighbour->p2m, fg(0))); }
static void p2m_foreign_own(void) { p2m_rename(FOREIGN_GFN, fm(9)); }
static void p2m_foreign_as_ram(void) { p2m_retype(FOREIGN_GFN, P2M_RAM_RW); }
static void p2m_device_shifted(void) { p2m_rename(DEVICE_GFN, mfn(DEVICE_GFN + 1)); }
static void p2m_device_as_ram(void) { p2m_retype(DEVICE_GFN, P2M_RAM_RW); }
static void p2m_ram_as_device(void) { p2m_retype(SPARE_GFN, P2M_MMIO_DIRECT); }
static void p2m_ram_as_hole(void) { p2m_retype(SPARE_GFN, P2M_HOLE); }
static void p2m_type_unknown(void) { p2m_retype(SPARE_GFN, P2M_TYPE_COUNT); }
static void p2m_entry_with_junk(void) { *p2m_entry_of(SPARE_GFN) |= PTE_W; }
static void p2m_large_not_aligned(void)
{
	p2m_forget_shortcuts();
	*p2m_entry_of(LARGE_GFN) += FRAME_BYTES;
}
static void p2m_large_of_nothing(void)
{
	p2m_forget_shortcuts();
	p2m_rename(LARGE_GFN, mfn(page_first + page_count));
}
static void p2m_large_lost(void)
{
	p2m_forget_shortcuts();
	*p2m_entry_of(LARGE_GFN) = 0;
}
static void p2m_shortcut_stale(void)
{
	u32 i = 0;

	while (!dom->p2m.recent[i].entry)
		i++;
	dom->p2m.recent[i].region ^= P2M_RECENT << 8;
}
static void p2m_above_the_end(void) { dom->p2m.max_mapped = SPARE_GFN; }
static void p2m_page_with_gfn(void) { page_of(mfn(dom->p2m.tables.tail))->back = (u32)SPARE_GFN; }
static void m2p_wrong(void) { page_of(p2m_lookup(&dom->p2m, gfn(SPARE_GFN)))->back = (u32)SPARE_GFN + 9; }
static void m2p_of_large_wrong(void) { page_of(p2m_lookup(&dom->p2m, gfn(LARGE_GFN + 3)))->back = (u32)LARGE_GFN; }
static void m2p_of_nothing(void) { page_of(dom->shadow.identity)->back = (u32)SPARE_GFN + 7; }
void p2m_count(void) { dom->p2m.mapped++; }
static void p2m_list_loose(void) { page_of(mfn(dom->p2m.tables.tail))->list.prev = 9; }

// ---- the table ---------------------------------------------------------------------------------------------------

static const char *entries_alone(const struct domain *d) { return entry_check(d, AUDIT_ALL); }
static const char *p2m_alone(const struct domain *d) { return p2m_check(&d->p2m); }

const struct canary_break canary_breaks[] = {
	{ "E1.1 pool: total", total_up, NULL },
	{ "E1.1 pool: ", p2m_pages_up, NULL },
	{ "E1.1 pool: total", dirty_nodes_up, NULL },
	{ "E1.1 log-dirty", dirty_nodes_up, dirty_check },
	{ "E1.2 pool", pool_page_lost, NULL },
	{ "E1.2 pool", free_count_down, NULL },
	{ "E1.2 free_pages", free_count_down, pool_check },
	{ "E1.2 free list", free_list_loose, NULL },
	{ "E1.2 free pool page", free_page_in_use, NULL },
	{ "E1.2 free pool page", free_page_with_links, NULL },
	{ "E1.2 free pool page", free_page_mapped, NULL },
	{ "E1.2 free pool page", free_page_of_another, NULL },
	{ "E1.2 dying list", dying_list_loose, NULL },
	{ "E1.4 free", free_page_owned, NULL },
	{ "E1.4 free", free_page_counted, NULL },
	{ "E1.4 shadow", shadow_page_owned, NULL },
	{ "E1.4 shadow", shadow_page_counted, NULL },
	{ "E1.4 shadow", second_page_of_another, NULL },
	{ "E1.4 p2m page", p2m_page_counted, NULL },
	{ "E1.5 p2m", p2m_maps_pool, NULL },
	{ "E1.5 p2m", p2m_maps_neighbour, NULL },
	{ "E1.5 p2m", p2m_foreign_own, NULL },
	{ "E1.5 p2m", p2m_foreign_as_ram, NULL },
	{ "E1.5 p2m", p2m_device_shifted, NULL },
	{ "E1.5 p2m", p2m_device_as_ram, NULL },
	{ "E1.5 p2m", p2m_ram_as_device, NULL },
	{ "E1.5 p2m", p2m_large_of_nothing, NULL },
	{ "E1.5 l1_64", shadow_maps_pool, NULL },
	{ "E1.5 l1_64", shadow_maps_neighbour, NULL },
	{ "E1.6", second_head, NULL },
	{ "E1.6", second_type, NULL },
	{ "E1.6 l2_32", short_shadow, pool_check },
	{ "E1.6 l1_64", links_lost, NULL },
	{ "E1.6 l2_32", links_of_second_lost, NULL },
	{ "E1.6 l1_64", links_in_guest_frame, NULL },
	{ "E1.6 l1_64", links_of_no_type, NULL },
	{ "E1.6 l1_64", links_of_another, NULL },
	{ "E1.8", pool_below_its_bound, NULL },
	{ "E1.8", pool_too_small_for_ram, pool_check },
	{ "E1.8 log-dirty", more_dirty_nodes_than_kept, NULL },
	{ "E1.9", wrong_bucket, NULL },
	{ "E1.9", no_shadow_hashed, NULL },
	{ "E1.9", dying_shadow_hashed, NULL },
	{ "E1.9", shadow_of_no_frame, NULL },
	{ "E1.9", fake_hung_on_frame, NULL },
	{ "E1.9", fake_unhashed, NULL },
	{ "E1.10", wrong_frame, NULL },
	{ "E1.10", unhashed, NULL },
	{ "E1.10", flag_too_many, NULL },
	{ "E1.10", flag_missing, NULL },
	{ "E1.10", flags_without_table, NULL },
	{ "E1.11", table_without_flags, NULL },
	{ "E1.12 hash: two", two_of_a_kind, NULL },
	{ "E1.12", count_of_shadows, NULL },
	{ "E1.12", ring, NULL },
	{ "E1.12", ring_on_frame, NULL },
	{ "E1.12 hash: back link", chain_back_link, NULL },
	{ "E1.14", key_not_aligned, NULL },
	{ "E1.15", count_up, NULL },
	{ "E1.15", count_down, NULL },
	{ "E1.15 refcount: l2_pae", pae_slot_doubled, NULL },
	{ "E1.16", zombie, NULL },
	{ "E1.16 dying list", dying_alive, NULL },
	{ "E1.16 dying list", dying_not_listed, NULL },
	{ "E1.16 dying list", dying_referenced, NULL },
	{ "E1.17", wrong_child, NULL },
	{ "E1.17", free_child, NULL },
	{ "E1.17", links_as_child, NULL },
	{ "E1.18", reference_unexplained, NULL },
	{ "E1.18", hold_missing, NULL },
	{ "E1.19", writable_unexplained, NULL },
	{ "E1.20", map_lost, NULL },
	{ "E1.20", map_missing, NULL },
	{ "E1.20", map_in_wrong_list, NULL },
	{ "E1.20", map_of_empty_entry, NULL },
	{ "E1.20", map_twice, NULL },
	{ "E1.20", map_back_link, NULL },
	{ "E1.20", map_last_link, NULL },
	{ "E1.20", map_in_guest_frame, NULL },
	{ "E1.20", map_in_free_page, NULL },
	{ "E1.20", map_outside, NULL },
	{ "E1.20", map_in_links, NULL },
	{ "E1.20", links_shared, NULL },
	{ "E1.20", parent_lost, NULL },
	{ "E1.20", parent_of_another, NULL },
	{ "E1.20", parent_twice, NULL },
	{ "E1.20", parent_of_pinned_lost, NULL },
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
	{ "E1.30 l4_64:", root_lost_write, NULL },
	{ "E1.30 l1_pae:", pae_reserved, NULL },
	{ "E1.31", guest_moved, NULL },
	{ "E1.31", guest_moved_table, NULL },
	{ "E1.31", guest_moved_large, NULL },
	{ "E1.31 l4_64:", root_moved, NULL },
	{ "E1.31 l2_pae:", pae_moved_table, NULL },
	{ "E1.31 l1_64:", maps_foreign, entries_alone },
	{ "E1.32", magic_above, NULL },
	{ "E1.32", no_frame, NULL },
	{ "E1.32", frame_with_reserved_bits, entries_alone },
	{ "E1.32", walk_into_magic, cpu_finding },
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
	{ "E1.35", entry_of_table_writable, entries_alone },
	{ "E1.35", entry_of_clean_writable, entries_alone },
	{ "E1.35", entry_of_read_only_writable, entries_alone },
	{ "E1.35", bit_lost, entries_alone },
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
	{ "E1.38", slot_of_nobody, NULL },
	{ "E1.39", pae_slot_lost, NULL },
	{ "E1.39", pae_latched_elsewhere, NULL },
	{ "E1.39", cr3_elsewhere, NULL },
	{ "E1.39", guest_root_elsewhere, NULL },
	{ "E1.39", root_is_no_root, NULL },
	{ "E1.39", root_from_before_the_blow, NULL },
	{ "E1.39", nothing_made_since_the_blow, NULL },
	{ "E1.40", root_freed, NULL },
	{ "E1.40", root_outside, NULL },
	{ "E1.40 l2_64", child_from_before_the_blow, NULL },
	{ "E1.40 l2_64", dying_not_listed, ref_check },
	{ "E1.40", walk_into_free, cpu_finding },
	{ "E1.41", leaf_outside, cpu_finding },
	{ "E1.42", tlb_writes_table, tlb_of_cpu_0 },
	{ "E1.42", tlb_writes_clean, tlb_of_cpu_0 },
	{ "E1.42", tlb_writes_read_only, tlb_of_cpu_0 },
	{ "E1.42", tlb_reaches_free, tlb_of_cpu_0 },
	{ "E1.42", tlb_reaches_old, tlb_of_cpu_0 },
	{ "E1.42", tlb_walks_old, tlb_of_cpu_0 },
	{ "E1.43 bound: walk", bound_exceeded, NULL },
	{ "E1.43 bound", last_bound_exceeded, bound_check },
	{ "E1.49", dirty_count_up, NULL },
	{ "E1.49", dirty_count_down, NULL },
	{ "E1.49", bit_lost, dirty_check },
	{ "E1.49", bit_behind_the_leaf, NULL },
	{ "E1.51", entry_behind_the_node, NULL },
	{ "E1.51", dirty_node_is_table, dirty_check },
	{ "E1.51", dirty_node_freed, dirty_check },
	{ "E1.1 log-dirty", dirty_node_twice, dirty_check },
	{ "E1.51", log_dirty_off, NULL },
	{ "E1.51", log_dirty_off, dirty_check },
	{ "E1.51", log_dirty_without_root, NULL },
	{ "E1.51", log_dirty_without_root, dirty_check },
	{ "E1.51", mode_enable_lost, NULL },
	{ "E1.51", mode_references_lost, NULL },
	{ "E1.51", mode_translate_lost, NULL },
	{ "E1.51", mode_dirty_lost, NULL },
	{ "E1.51", mode_from_nowhere, NULL },
	{ "E1.51", not_enabled, NULL },
	{ "E1.51", identity_lost, NULL },
	{ "E1.51", p2m_lost, NULL },
	{ "E1.52", heap_frame_in_use, NULL },
	{ "E1.52", heap_list_loose, NULL },
	{ "E1.53", lock_held, lock_finding },
	{ "E1.56", m2p_wrong, NULL },
	{ "E1.56", m2p_of_large_wrong, NULL },
	{ "E1.56", m2p_of_nothing, NULL },
	{ "E1.56", p2m_page_with_gfn, NULL },
	{ "E1.56", p2m_count, NULL },
	{ "E1.56", p2m_list_loose, NULL },
	{ "E1.56", p2m_ram_as_hole, NULL },
	{ "E1.56", p2m_type_unknown, NULL },
	{ "E1.56", p2m_entry_with_junk, NULL },
	{ "E1.56", p2m_large_not_aligned, NULL },
	{ "E1.56", p2m_large_lost, NULL },
	{ "E1.56", p2m_shortcut_stale, p2m_alone },
	{ "E1.56", p2m_above_the_end, p2m_alone },
};
const u32 canary_break_count = ARRAY_LEN(canary_breaks);
