// SPDX-License-Identifier: GPL-2.0-or-later
// Taking access away from the guest (spec A.15): write access before a frame becomes a table, all
// mappings before it leaves the p2m, shadows when a frame stops being a table.
//
// Write access is looked for where operating systems keep it, then where it was last found, then in
// every level-1 shadow. The scan stops at the last writable mapping; its cost is bounded by the pool.
#include "../mem/tlb.h"
#include "private.h"

// ---- write access ----------------------------------------------------------------------------------

// Where kernels map frame g, or the entry for the faulting address, writable.
static const struct guess {
	u64 base;
	u8 mode;     // enum pt_mode_id
	bool direct; // base + gpa; otherwise a self map: base + entry bytes * (fault_va / 4096), level-1 tables only
} guesses[] = {
	{ UINT64_C(0xffff800000000000), PT_MODE_64, true },  // Umbra's own guest kernel
	{ UINT64_C(0xffff880000000000), PT_MODE_64, true },  // Linux
	{ UINT64_C(0xffff888000000000), PT_MODE_64, true },  // Linux
	{ UINT64_C(0xfffff68000000000), PT_MODE_64, false }, // Windows
	{ UINT64_C(0xe0000000), PT_MODE_PAE, true },         // Umbra's own: f0 is at 0x20000000
	{ UINT64_C(0xc0000000), PT_MODE_PAE, true },         // Linux, low memory
	{ UINT64_C(0xc0000000), PT_MODE_PAE, false },        // Windows
	{ UINT64_C(0x40400000), PT_MODE_32, true },          // Umbra's own: f0 is at 0x80400000
	{ UINT64_C(0xc0000000), PT_MODE_32, true },          // Linux, low memory
	{ UINT64_C(0xc0000000), PT_MODE_32, false },         // Windows
	{ UINT64_C(0xbfc00000), PT_MODE_32, false },         // FreeBSD
};
// The level-1 shadow under v's root that translates va, and the entry's index; MFN_NONE if incomplete.
static mfn_t leaf_table(struct vcpu *v, u64 va, u32 *index)
{
	mfn_t smfn = shadow_root_of(v, gva(va));

	while (!mfn_is_none(smfn)) {
		const struct shadow_row *row = shadow_row(shadow_type_of(smfn));

		*index = pt_index(row_guest(row), row->level, va);
		if (row->level == 0)
			return smfn;
		spte_t entry = shadow_read(v->domain, smfn, *index);

		if (!spte_present(entry))
			return MFN_NONE;
		smfn = spte_mfn(entry);
	}
	return MFN_NONE;
}

static bool maps_writable(spte_t entry, mfn_t gmfn)
{
	return spte_present(entry) && (entry.v & PTE_W) && mfn_eq(spte_mfn(entry), gmfn);
}

static void make_read_only(struct domain *d, mfn_t smfn, u32 index, spte_t entry)
{
	// At level 0 nothing is left to flush by the setter: the caller flushes for the frame.
	(void)shadow_set(d, smfn, index, (spte_t){ entry.v & ~(PTE_W | PTE_D) });
}

static void guess_writable(struct vcpu *v, mfn_t gmfn, u32 table_level, gva_t fault_va)
{
	struct domain *d = v->domain;
	const struct pt_mode *mode = &pt_modes[v->shadow.mode];
	u64 direct = gfn_gpa(p2m_gfn_of(gmfn)).a, offset = (fault_va.a >> FRAME_SHIFT) * mode->entry_bytes;
	u64 space = mode->levels == 4 ? UINT64_MAX : UINT32_MAX; // bits of an address

	if (!(d->shadow.opts & SHADOW_OPT_GUESS))
		return;
	for (u32 i = 0; i < ARRAY_LEN(guesses) && page_writable_count(gmfn); i++) {
		u64 va = guesses[i].base;
		u32 index;

		if (guesses[i].mode != v->shadow.mode || (!guesses[i].direct && table_level != 1))
			continue;
		va += guesses[i].direct ? direct : offset & UINT64_C(0x7ffffffff8);
		va &= space;
		mfn_t smfn = leaf_table(v, va, &index);

		if (mfn_is_none(smfn))
			continue;
		spte_t entry = shadow_read(d, smfn, index);

		if (maps_writable(entry, gmfn)) {
			make_read_only(d, smfn, index, entry);
			d->shadow.stats.write_guess++;
		}
	}
}

struct hunt {
	mfn_t gmfn;
	struct vcpu *v; // whose hint to update
	bool mappings;  // drop whole mappings, not only write access
};

// The next guest index at or after `from` whose present shadow entry names `target`; the number of
// entries when there is none.
static u32 find_entry(struct domain *d, mfn_t smfn, u32 from, mfn_t target)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
	u32 fanout = shadow_fanout(row), entries = shadow_entries(row), index = from;
	u32 per_page = SPTES_PER_PAGE / fanout;

	while (index < entries) {
		u32 slot;
		const spte_t *table = port_map(shadow_page_of(smfn, index, &slot));
		u32 end = index - slot / fanout + per_page;
		bool found = false;

		d->shadow.stats.visits += end - index;
		for (; index < end && !found; index++, slot += fanout)
			found = mfn_eq(spte_mfn(table[slot]), target) && spte_present(table[slot]);
		port_unmap(table);
		if (found)
			return index - 1;
	}
	return entries;
}

// Scan one level-1 shadow. True when nothing more is to be found.
static bool scan_leaves(struct domain *d, mfn_t smfn, void *context)
{
	struct hunt *hunt = context;
	u32 entries = shadow_entries(shadow_row(shadow_type_of(smfn)));

	for (u32 i = 0; (i = find_entry(d, smfn, i, hunt->gmfn)) < entries; i++) {
		spte_t entry = shadow_read(d, smfn, i);

		if (hunt->mappings) {
			(void)shadow_set(d, smfn, i, SPTE_EMPTY); // the frame's caller flushes
		} else if (entry.v & PTE_W) {
			make_read_only(d, smfn, i, entry);
			if (hunt->v)
				hunt->v->shadow.last_writable_l1 = smfn;
			if (!page_writable_count(hunt->gmfn))
				return true;
		}
	}
	return false;
}

bool access_remove_write(struct domain *d, struct vcpu *v, mfn_t gmfn, u32 level, gva_t va)
{
	struct hunt hunt = { .gmfn = gmfn, .v = v };

	(void)level, (void)va; // of use to the guess alone
	if (page_is_table(gmfn))
		return false;
	if (page_writable_count(gmfn) && v && v->shadow.attached) {
		guess_writable(v, gmfn, level, va); // option: guess
		if (page_writable_count(gmfn) && !mfn_is_none(v->shadow.last_writable_l1)) {
			scan_leaves(d, v->shadow.last_writable_l1, &hunt);
			d->shadow.stats.write_hint += !page_writable_count(gmfn);
		}
	}
	if (page_writable_count(gmfn)) {
		hash_foreach(d, SHADOW_MASK_L1, scan_leaves, &hunt);
		d->shadow.stats.write_scan++;
	}
	// The stamp of the last writable mapping's end tells who may still hold one, this time or earlier.
	return tlb_stale_mask(d->shadow.cpus, page_of(gmfn)->stamp) != 0;
}

void access_remove_mappings(struct domain *d, mfn_t gmfn)
{
	struct hunt hunt = { .gmfn = gmfn, .mappings = true };

	hash_foreach(d, SHADOW_MASK_L1, scan_leaves, &hunt);
	tlb_flush(d->shadow.cpus);
}

// ---- shadows ---------------------------------------------------------------------------------------

static bool shadowed_as(mfn_t gmfn, u32 type)
{
	const struct page_info *page = page_of(gmfn);

	return (page->count_info & PAGE_IS_TABLE) && (page->shadow_flags & BIT(type));
}

static u64 parent_types(u32 type)
{
	u64 mask = 0;

	for (u32 t = 1; t < SHADOW_TYPE_COUNT; t++)
		if (shadow_rows[t].name && (shadow_rows[t].child == type || shadow_rows[t].child_fake == type))
			mask |= BIT(t);
	return mask;
}

struct orphan {
	mfn_t gmfn, smfn;
	u32 type;
};

// Clear the entries of one possible parent that name the shadow. True once the shadow is gone.
static bool scan_parent(struct domain *d, mfn_t parent, void *context)
{
	struct orphan *o = context;
	u32 entries = shadow_entries(shadow_row(shadow_type_of(parent)));

	for (u32 i = 0; (i = find_entry(d, parent, i, o->smfn)) < entries; i++) {
		(void)shadow_set(d, parent, i, SPTE_EMPTY); // access_remove_shadows() flushes
		if (!shadowed_as(o->gmfn, o->type))
			return true;
	}
	return false;
}

static void remove_by_up(struct domain *d, mfn_t smfn)
{
	mpa_t up = mpa(page_of(smfn)->up);
	mfn_t parent = mpa_mfn(up);
	u32 index = (u32)(up.a & (FRAME_BYTES - 1)) / sizeof(spte_t);

	// Types that use up-pointers have one-page parents, one entry a child.
	hv_assert(page_of(parent)->sh.head && mfn_eq(spte_mfn(shadow_read(d, parent, index)), smfn));
	(void)shadow_set(d, parent, index, SPTE_EMPTY); // access_remove_shadows() flushes
}

// Removing one shadow can take others of the same frame along (a table that maps itself): the flags are
// looked at afresh for each type, roots first.
static void remove_type(struct domain *d, mfn_t gmfn, u32 type, bool fast, bool all)
{
	struct orphan o = { gmfn, MFN_NONE, type };

	if (!shadowed_as(gmfn, type))
		return;
	o.smfn = table_find(d, type, (u32)gmfn.n);
	if (shadow_pinnable(d, type))
		shadow_unpin(d, o.smfn);
	if (!shadowed_as(gmfn, type))
		return;
	if (shadow_uses_up(d, type) && page_of(o.smfn)->up) {
		remove_by_up(d, o.smfn);
		d->shadow.stats.unshadow_up += !shadowed_as(gmfn, type);
	}
	if (fast || !shadowed_as(gmfn, type))
		return;
	if (parent_types(type) && hash_foreach(d, parent_types(type), scan_parent, &o))
		d->shadow.stats.unshadow_scan++;
	if (all && shadowed_as(gmfn, type) && shadow_rows[type].root)
		root_detach_from(d, gmfn);
}

void access_remove_shadows(struct domain *d, mfn_t gmfn, bool fast, bool all)
{
	if (!page_is_table(gmfn))
		return;
	if (all && pool_reserve_or_kill(d, ROOT_DETACH_PAGES) != HV_OK) // should detached roots be needed
		return;
	for (u32 level = PT_LEVELS_MAX; level-- > 0;)
		for (u32 type = 1; type < SHADOW_TYPE_COUNT; type++)
			if (shadow_rows[type].protects && shadow_rows[type].level == level)
				remove_type(d, gmfn, type, fast, all);
	tlb_flush(d->shadow.cpus);
	if (all && page_is_table(gmfn))
		domain_crash(d, "a table cannot be unshadowed");
}

void shadow_remove_all(struct domain *d, mfn_t gmfn)
{
	shadow_lock(d, __func__);
	access_remove_shadows(d, gmfn, false, true);
	shadow_unlock(d);
}

void shadow_forget_frame(struct domain *d, mfn_t gmfn)
{
	shadow_lock(d, __func__);
	root_drop(d, gmfn);
	access_remove_shadows(d, gmfn, false, false);
	hv_assert(!page_is_table(gmfn)); // only a root in CR3 could remain
	access_remove_mappings(d, gmfn);
	shadow_unlock(d);
}
