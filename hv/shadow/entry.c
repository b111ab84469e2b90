// SPDX-License-Identifier: GPL-2.0-or-later
// Guest entries into shadow entries (spec A.12) and shadow entries into tables (spec A.13).
//
// Propagation is a pure function of the guest entry, the p2m and the flags of the target frame. A setter
// takes the new reference, writes, then drops the old one. Where one guest entry is two shadow entries
// (4 MiB against 2 MiB) both are written and the first carries the reference.
//
// Invariants (E.1): 30 rights never exceed the guest's; 31 targets agree with the p2m; 32, 33 magic
// entries; 34 no global, no large; 35 writable only where writing is harmless; 36 pairs agree.
// Setters are O(1); shadow_clear() and entry_check() walk tables.
#include "../base/mem.h"
#include "../base/report.h"
#include "../mem/tlb.h"
#include "private.h"

mfn_t shadow_page_of(mfn_t smfn, u32 index, u32 *slot)
{
	u32 n = index * shadow_fanout(shadow_row(shadow_type_of(smfn)));
	mfn_t page = smfn;

	for (u32 hops = n / SPTES_PER_PAGE; hops; hops--)
		page = mfn(page_of(page)->sibling);
	*slot = n % SPTES_PER_PAGE;
	return page;
}

spte_t shadow_read(struct domain *d, mfn_t smfn, u32 index)
{
	u32 slot;
	const spte_t *table = port_map(shadow_page_of(smfn, index, &slot));
	spte_t entry = table[slot];

	d->shadow.stats.visits++;
	port_unmap(table);
	return entry;
}

gpte_t shadow_fake_entry(mfn_t smfn, u32 index)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
	u64 frame = page_of(smfn)->back + index * pt_leaf_frames(row_guest(row), row->level);
	u64 flags = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | (row->level ? PTE_PS : 0);

	return (gpte_t){ frame << FRAME_SHIFT | flags };
}

// The hypervisor's identity table has large pages whatever the guest's CR4.PSE says.
static gpte_t effective(const struct domain *d, const struct shadow_row *row, u32 table, gpte_t entry)
{
	return pt_effective(row_guest(row), row->level, entry, d->shadow.pse || table == d->shadow.identity.n);
}

gpte_t shadow_guest_entry(const struct domain *d, mfn_t smfn, u32 index)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(smfn));

	if (row->fake)
		return shadow_fake_entry(smfn, index);
	const void *table = port_map(mfn(page_of(smfn)->back));
	gpte_t entry = pt_read(row_guest(row), table, index);

	port_unmap(table);
	return effective(d, row, page_of(smfn)->back, entry);
}

// Magic entry for a gfn without RAM: reserved bits make every access fault, the gfn is at hand in the
// fault path. Rights are kept so that the fast path can test them.
static spte_t mmio_entry(gfn_t g, u64 flags)
{
	return (spte_t){ (u64)UINT32_MAX << 32 | g.n << 4 | (flags & (PTE_P | PTE_W | PTE_U)) };
}
_Static_assert(P2M_GFN_BITS + 4 <= 32, "a magic entry holds a whole gfn between bit 4 and bit 31");

// May the guest write to the RAM behind g without our seeing it?
static bool writable_unseen(const struct domain *d, gfn_t g, const struct p2m_entry *e)
{
	return e->type == P2M_RAM_RW && !page_is_table(e->frame) && (!d->shadow.dirty.on || dirty_test(d, g));
}

static spte_t leaf_entry(struct domain *d, gfn_t g, u64 flags)
{
	struct p2m_entry e = p2m_get(&d->p2m, g);

	if (!p2m_is_ram(e.type)) {
		if (!(d->shadow.opts & SHADOW_OPT_FAST) || !gfn_in_range(g) || e.type == P2M_FOREIGN)
			return SPTE_EMPTY;
		d->shadow.magic_mmio = true;
		return mmio_entry(g, flags);
	}
	if ((flags & PTE_W) && !writable_unseen(d, g, &e))
		flags &= ~PTE_W;
	if (flags & PTE_W)
		flags |= PTE_D;
	return (spte_t){ mfn_mpa(e.frame).a | flags | PTE_A };
}

spte_t shadow_propagate(struct domain *d, u32 type, gpte_t gpte, mfn_t below)
{
	const struct shadow_row *row = shadow_row(type);
	const struct pt_mode *mode = row_guest(row);
	u64 flags = gpte.v & (PTE_P | PTE_W | PTE_U);

	if (!(gpte.v & PTE_P))
		return row->level == 0 && (d->shadow.opts & SHADOW_OPT_FAST) ? (spte_t){ UINT64_MAX } : SPTE_EMPTY;
	if (pt_entry_reserved(mode, row->level, gpte, GUEST_PHYS_BITS, d->shadow.nxe) || !(gpte.v & PTE_A))
		return SPTE_EMPTY;
	if (mode->has_nx)
		flags |= gpte.v & PTE_NX;
	if (pt_is_leaf(mode, row->level, gpte) && !(gpte.v & PTE_D))
		flags &= ~PTE_W;
	if (row->level == 0)
		return leaf_entry(d, pt_entry_gfn(mode, 0, gpte), flags);
	if (mfn_is_none(below))
		return SPTE_EMPTY;
	return (spte_t){ mfn_mpa(below).a | flags | PTE_A | PTE_D };
}

// ---- setters ---------------------------------------------------------------------------------------

static enum hv_status leaf_get(struct domain *d, spte_t entry)
{
	mfn_t m = spte_mfn(entry);

	if (page_get(m, d->owner) != HV_OK)
		return HV_EINVAL;
	if ((entry.v & PTE_W) && page_get_writable(m) != HV_OK) {
		page_put(m);
		return HV_EINVAL;
	}
	return HV_OK;
}

static void leaf_put(spte_t entry)
{
	if (entry.v & PTE_W)
		page_put_writable(spte_mfn(entry));
	page_put(spte_mfn(entry));
}

// A frame has so many mappings that one more would cost whoever takes write access away too much: the oldest goes. No flush:
// who takes all of them away flushes for the frame.
static void make_room(struct domain *d, mfn_t m)
{
	u32 oldest = rmap_oldest(m);

	(void)shadow_set_at(d, rmap_page(oldest), rmap_slot(oldest), SPTE_EMPTY);
	d->shadow.stats.evicted++;
}

static u32 set_leaf(struct domain *d, mfn_t page, u32 slot, spte_t *at, spte_t new)
{
	spte_t old = *at;
	u32 result = ENTRY_CHANGED;
	bool keeps = spte_present(old) && spte_present(new) && mfn_eq(spte_mfn(old), spte_mfn(new));

	if (spte_present(new) && !keeps && rmap_is_full(spte_mfn(new)))
		make_room(d, spte_mfn(new));
	if (spte_present(new) && leaf_get(d, new) != HV_OK) {
		new = SPTE_EMPTY;
		keeps = false;
		result |= ENTRY_ERROR;
	}
	if (spte_present(old) && !keeps)
		rmap_remove(spte_mfn(old), rmap_number(page, slot));
	if (spte_present(new) && !keeps)
		rmap_add(spte_mfn(new), rmap_number(page, slot));
	__atomic_store_n(&at->v, new.v, __ATOMIC_RELEASE);
	if (spte_present(old))
		leaf_put(old);
	return result;
}

// Do the rights of `new` contain those of `old`? NX counts inverted.
static bool only_grows(spte_t old, spte_t new)
{
	u64 had = (old.v ^ PTE_NX) & (PTE_P | PTE_W | PTE_U | PTE_NX);

	return (had & ~(new.v ^ PTE_NX)) == 0;
}

// While the guest seems to switch address spaces by rewriting one level-4 entry, what it names is kept (spec A.8).
static void pin_level_3(struct domain *d, const struct shadow_row *row, mfn_t child)
{
	if (row->level == 3 && shadow_pinnable(d, shadow_type_of(child)) && shadow_pin(d, child) != HV_OK)
		d->shadow.stats.pins_failed++; // only not cached
}

// The same for a shadow with too many parents. Above level 0 what is taken away must be flushed.
static u32 make_room_above(struct domain *d, mfn_t child)
{
	if (page_of(child)->sh.count <= SHADOW_PARENTS_MAX || !page_of(child)->maps)
		return 0;
	u32 oldest = rmap_oldest(child);

	d->shadow.stats.evicted++;
	return shadow_set_at(d, rmap_page(oldest), rmap_slot(oldest), SPTE_EMPTY) & ENTRY_FLUSH;
}

// The counter is full: references from tables that no hardware can reach any more, dying ones and those from before the last
// blow, must not be what kills the domain.
static void drop_old_parents(struct domain *d, mfn_t child)
{
	for (u32 entry = page_of(child)->maps, next; entry; entry = next) {
		next = rmap_next(entry);
		d->shadow.stats.visits++;
		if (!shadow_is_current(d, shadow_head(rmap_page(entry))) && page_of(child)->sh.count > 1) // the last one keeps it alive
			(void)shadow_set_at(d, rmap_page(entry), rmap_slot(entry), SPTE_EMPTY);
	}
}

static u32 set_upper(struct domain *d, const struct shadow_row *row, mfn_t page, u32 slot, spte_t *at, spte_t new)
{
	spte_t old = *at;
	u32 result = ENTRY_CHANGED, fanout = shadow_fanout(row), number = rmap_number(page, slot);
	mfn_t child = spte_mfn(new);
	bool keeps = spte_present(old) && spte_present(new) && mfn_eq(spte_mfn(old), child); // and its reference

	if (spte_present(new) && !keeps && page_of(child)->sh.count == SHADOW_COUNT_MAX)
		drop_old_parents(d, child);
	if (spte_present(new) && !keeps && shadow_get(child) != HV_OK) {
		domain_crash(d, "shadow references");
		new = SPTE_EMPTY; // what was there may not be what the guest has there now
		result = ENTRY_ERROR | (old.v ? ENTRY_CHANGED : 0);
	} else if (spte_present(new) && !keeps) {
		result |= make_room_above(d, child);
		pin_level_3(d, row, child); // option: linux_l3
	}
	if (spte_present(old) && !keeps)
		rmap_remove(spte_mfn(old), number);
	if (spte_present(new) && !keeps)
		rmap_add(child, number);
	if (spte_present(old) && (!keeps || !only_grows(old, new)))
		result |= ENTRY_FLUSH;
	for (u32 k = 0; k < fanout; k++) {
		u64 value = spte_present(new) ? mfn_mpa(child).a | (new.v & ~PTE_ADDR) : new.v;

		__atomic_store_n(&at[k].v, value, __ATOMIC_RELEASE);
		if (k + 1 < fanout && spte_present(new))
			child = mfn(page_of(child)->sibling);
	}
	if (spte_present(old) && !keeps) {
		if (shadow_row(shadow_type_of(spte_mfn(old)))->fake)
			d->shadow.splinter_stamp = tlb_clock();
		shadow_put(d, spte_mfn(old));
	}
	return result;
}

u32 shadow_set_at(struct domain *d, mfn_t page, u32 slot, spte_t new)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(page));
	spte_t *table = port_map(page);
	u32 result = 0;

	d->shadow.stats.visits++;
	if (table[slot].v != new.v)
		result = row->level == 0 ? set_leaf(d, page, slot, &table[slot], new)
					 : set_upper(d, row, page, slot, &table[slot], new);
	port_unmap(table);
	return result;
}

u32 shadow_set(struct domain *d, mfn_t smfn, u32 index, spte_t new)
{
	u32 slot;
	mfn_t page = shadow_page_of(smfn, index, &slot);

	return shadow_set_at(d, page, slot, new);
}

void shadow_clear(struct domain *d, mfn_t smfn)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
	u32 fanout = shadow_fanout(row);

	for (u32 n = (u32)smfn.n; n; n = page_of(mfn(n))->sibling) {
		spte_t *table = port_map(mfn(n));

		for (u32 i = 0; (i = mem_next_nonzero(table, i, SPTES_PER_PAGE)) < SPTES_PER_PAGE; i += fanout) {
			d->shadow.stats.visits++;
			if (row->level == 0)
				(void)set_leaf(d, mfn(n), i, &table[i], SPTE_EMPTY);
			else
				(void)set_upper(d, row, mfn(n), i, &table[i], SPTE_EMPTY);
		}
		port_unmap(table);
	}
}

void shadow_renew(struct domain *d, mfn_t smfn)
{
	if (shadow_is_current(d, smfn))
		return;
	shadow_clear(d, smfn);
	page_of(smfn)->epoch = d->shadow.epoch;
}

// ---- checks ----------------------------------------------------------------------------------------

static const char *check_magic(const struct domain *d, const struct shadow_row *row, gpte_t g, spte_t s)
{
	if (row->level)
		return broken("E1.32 %s: magic entry above level 0", row->name);
	if (spte_is_gnp(s))
		return g.v & PTE_P ? broken("E1.33 %s: not-present magic for a present entry", row->name) : NULL;
	if (!(g.v & PTE_P) || !(g.v & PTE_A) ||
	    !gfn_eq(spte_mmio_gfn(s), pt_entry_gfn(row_guest(row), 0, g)))
		return broken("E1.33 %s: MMIO magic for entry 0x%llx", row->name, (unsigned long long)g.v);
	if (!mfn_is_none(domain_frame(d, spte_mmio_gfn(s))))
		return broken("E1.33 %s: MMIO magic for gfn 0x%llx, which is RAM", row->name,
			      (unsigned long long)spte_mmio_gfn(s).n);
	if ((s.v & PTE_W) && (~g.v & (PTE_W | PTE_D)))
		return broken("E1.33 %s: writable MMIO magic for 0x%llx", row->name, (unsigned long long)g.v);
	if ((s.v & PTE_U) != (g.v & PTE_U))
		return broken("E1.33 %s: MMIO magic's U for 0x%llx", row->name, (unsigned long long)g.v);
	return NULL;
}

// Where a present entry leads.
static const char *check_target(const struct domain *d, const struct shadow_row *row, gpte_t g, spte_t s)
{
	const struct pt_mode *mode = row_guest(row);
	unsigned long long gv = g.v, sv = s.v;
	bool leaf = pt_is_leaf(mode, row->level, g);
	gfn_t to = pt_entry_gfn(mode, row->level, g);

	if (row->level == 0) {
		struct p2m_entry e = p2m_get(&d->p2m, to);

		if (!p2m_is_ram(e.type) || !mfn_eq(spte_mfn(s), e.frame))
			return broken("E1.31 %s: 0x%llx for guest entry 0x%llx", row->name, sv, gv);
		if ((s.v & PTE_W) && page_is_table(spte_mfn(s)))
			return broken("E1.35 %s: writable entry of table 0x%llx", row->name,
				      (unsigned long long)spte_mfn(s).n);
		if ((s.v & PTE_W) && (e.type != P2M_RAM_RW || (d->shadow.dirty.on && !dirty_test(d, to))))
			return broken("E1.35 %s: writable entry of 0x%llx, which is read-only or clean", row->name,
				      (unsigned long long)to.n);
		return NULL;
	}
	const struct page_info *child = page_of(spte_mfn(s));
	u32 type = leaf ? row->child_fake : row->child;
	u64 key = leaf ? to.n : domain_frame(d, to).n;

	if (child->sh.type != type || child->back != key)
		return broken("E1.31 %s: child of 0x%llx is %s of 0x%x", row->name, gv,
			      shadow_rows[child->sh.type % SHADOW_TYPE_COUNT].name, child->back);
	return NULL;
}

static const char *check_present(const struct domain *d, const struct shadow_row *row, gpte_t g, spte_t s, u32 audit)
{
	const struct pt_mode *mode = row_guest(row);
	unsigned long long gv = g.v, sv = s.v;
	bool leaf = pt_is_leaf(mode, row->level, g);

	if (s.v & (PTE_G | PTE_PS | PTE_PWT | PTE_PCD))
		return broken("E1.34 %s: flags of 0x%llx", row->name, sv);
	if (s.v & PTE_ADDR & ~(BIT(port_phys_bits()) - 1))
		return broken("E1.32 %s: reserved bits in 0x%llx", row->name, sv);
	if (!(g.v & PTE_P) || !(g.v & PTE_A) ||
	    pt_entry_reserved(mode, row->level, g, GUEST_PHYS_BITS, d->shadow.nxe))
		return broken("E1.30 %s: 0x%llx for guest entry 0x%llx", row->name, sv, gv);
	if (((s.v ^ g.v) & PTE_U) || (mode->has_nx && ((s.v ^ g.v) & PTE_NX)))
		return broken("E1.30 %s: U/NX of 0x%llx against 0x%llx", row->name, sv, gv);
	if ((s.v & PTE_W) && (!(g.v & PTE_W) || (leaf && !(g.v & PTE_D))))
		return broken("E1.30 %s: W of 0x%llx against 0x%llx", row->name, sv, gv);
	return audit & AUDIT_ENTRIES_MFNS ? check_target(d, row, g, s) : NULL;
}

static const char *check_pair(const struct shadow_row *row, const spte_t *at)
{
	for (u32 k = 1; k < shadow_fanout(row); k++) {
		u64 expect = 0;

		if (spte_present(at[k - 1]))
			expect = mfn_mpa(mfn(page_of(spte_mfn(at[k - 1]))->sibling)).a |
				 (at[k - 1].v & ~(PTE_ADDR | PTE_A | PTE_D));
		if ((at[k].v & ~(PTE_A | PTE_D)) != expect)
			return broken("E1.36 %s: halves 0x%llx and 0x%llx", row->name, (unsigned long long)at[0].v,
				      (unsigned long long)at[k].v);
	}
	return NULL;
}

static const char *check_table(const struct domain *d, mfn_t smfn, u32 audit)
{
	const struct shadow_row *row = shadow_row(shadow_type_of(smfn));
	u32 fanout = shadow_fanout(row), first = 0;
	const void *guest = row->fake ? NULL : port_map(mfn(page_of(smfn)->back));
	const char *bad = NULL;

	for (u32 n = (u32)smfn.n; n && !bad; n = page_of(mfn(n))->sibling) {
		const spte_t *table = port_map(mfn(n));

		for (u32 i = 0; !bad && (i = mem_next_nonzero(table, i, SPTES_PER_PAGE)) < SPTES_PER_PAGE; i += fanout) {
			i -= i % fanout; // a pair with only its second half set is broken, and seen
			spte_t s = table[i];
			u32 index = first + i / fanout;
			gpte_t g = guest ? effective(d, row, page_of(smfn)->back, pt_read(row_guest(row), guest, index))
					 : shadow_fake_entry(smfn, index);

			if (fanout > 1)
				bad = check_pair(row, &table[i]);
			if (!bad && spte_is_magic(s))
				bad = check_magic(d, row, g, s);
			else if (!bad && spte_present(s))
				bad = check_present(d, row, g, s, audit);
			bad = report_at(bad, n, i);
		}
		first += SPTES_PER_PAGE / fanout;
		port_unmap(table);
	}
	if (guest)
		port_unmap(guest);
	return bad;
}

const char *entry_check(const struct domain *d, u32 audit)
{
	for_each_shadow(d, n) {
		const struct shadow_row *row = shadow_row(shadow_type_of(mfn(n)));

		// Detached roots may lag behind the guest until it flushes; what is old or dying no hardware uses.
		if ((row->root && !row->detached) || !shadow_is_current(d, mfn(n)))
			continue;
		if (!row->root && !(audit & AUDIT_ENTRIES_FULL))
			continue;
		const char *bad = check_table(d, mfn(n), audit);

		if (bad)
			return bad;
	}
	return NULL;
}
