// SPDX-License-Identifier: GPL-2.0-or-later
// The page walk of the soft CPU, over shadow tables in machine memory.
//
//  1. what hardware is loaded with, what an access asks for, what rights permit
//  2. the walk from the root
//  3. the walk from a table that the TLB model remembers
//
// Cost: four loads. It knows paging with 4 and 3 levels, 4 KiB leaves only (the core makes no other), SMEP and SMAP, and
// sets A and D as it goes. It does not know PCID or protection keys.
#include "walk.h"

#define RSVD_HIGH (PTE_ADDR & ~(BIT(HOST_PHYS_BITS) - 1))
#define RSVD_PAE UINT64_C(0x7ff0000000000000) // bits 52 to 62 mean something to software in long mode only
#define PDPTE_OPEN (PTE_P | PTE_PWT | PTE_PCD | PTE_A | UINT64_C(0xe00)) // TCG sets A even here

// ---- 1. loaded, asked for, permitted ---------------------------------------------------------------------

struct hw hw_load(const struct vcpu *v)
{
	struct hw hw = { vcpu_hw_cr0(v), vcpu_hw_cr3(v), vcpu_hw_cr4(v), vcpu_hw_efer(v), v->rflags_ac,
			 shadow_root_is_detached(v), false };

	return hw;
}

u32 walk_error(const struct hw *hw, enum cpu_kind kind, u8 cpl)
{
	u64 e = cpl == 3 ? PF_U : 0;

	if (is_store(kind))
		e |= PF_W;
	if (kind == CPU_FETCH && ((hw->efer & EFER_NXE) || (hw->cr4 & CR4_SMEP)))
		e |= PF_I;
	return (u32)e;
}

bool walk_permits(const struct hw *hw, const struct tlb_entry *e, enum cpu_kind kind, u8 cpl)
{
	if (cpl == 3 && !e->u)
		return false;
	if (kind == CPU_FETCH && e->nx)
		return false;
	if (cpl != 3 && e->u && kind == CPU_FETCH && (hw->cr4 & CR4_SMEP))
		return false;
	if (cpl != 3 && e->u && kind != CPU_FETCH && (hw->cr4 & CR4_SMAP) && !hw->ac)
		return false;
	return !is_store(kind) || e->w || (cpl != 3 && !(hw->cr0 & CR0_WP));
}

static u64 reserved_bits(const struct hw *hw)
{
	return RSVD_HIGH | (hw->efer & EFER_LMA ? 0 : RSVD_PAE) | (hw->efer & EFER_NXE ? 0 : PTE_NX);
}

// ---- 2. the walk from the root ---------------------------------------------------------------------------

// One entry of a live table. A root or an upper entry that names a frame nobody owns is a finding: the
// CPU must not be sent there.
static u64 *table_word(mfn_t table, u32 index)
{
	if (!host_frame_owned(table)) {
		host_finding("E1.40 dangling", "the processor walks frame 0x%llx, which is free",
			     (unsigned long long)table.n);
		return NULL;
	}
	return arena_word(table, index);
}

// Start of the walk: the table of the top level and the level's number. False when the walk ends
// here: an empty PDPTE, or a finding.
static bool walk_root(const struct hw *hw, u64 va, mfn_t *table, u32 *level)
{
	const u64 *at;
	u64 pdpte[4];

	if (!(hw->cr0 & CR0_PG) || !(hw->cr4 & CR4_PAE)) {
		host_finding("E1.38 roots", "a vcpu would run without paging, cr0=0x%llx cr4=0x%llx",
			     (unsigned long long)hw->cr0, (unsigned long long)hw->cr4);
		return false;
	}
	if (hw->efer & EFER_LMA) {
		*table = mpa_mfn(mpa(hw->cr3 & PTE_ADDR));
		*level = 3;
		return true;
	}
	if (hw->cr3 >> 32) {
		host_finding("E1.37 l3table", "a root with three levels lies at 0x%llx",
			     (unsigned long long)hw->cr3);
		return false;
	}
	at = table_word(mpa_mfn(mpa(hw->cr3)), (u32)(hw->cr3 & 0xfe0) / 8);
	if (!at)
		return false;
	for (u32 i = 0; i < 4; i++) {
		pdpte[i] = arena_load(&at[i]);
		if ((pdpte[i] & PTE_P) && (pdpte[i] & (~(PDPTE_OPEN | PTE_ADDR) | RSVD_HIGH))) {
			host_finding("E1.37 l3table", "PDPTE %u is 0x%llx: VMRUN would fail", i,
				     (unsigned long long)pdpte[i]);
			return false;
		}
	}
	if (!(pdpte[va >> 30 & 3] & PTE_P))
		return false;
	*table = mpa_mfn(mpa(pdpte[va >> 30 & 3] & PTE_ADDR));
	*level = 1;
	return true;
}

static void rights_add(struct tlb_entry *e, u64 entry)
{
	e->w = e->w && (entry & PTE_W);
	e->u = e->u && (entry & PTE_U);
	e->nx = e->nx || (entry & PTE_NX);
}

// The last step: entry `word` of a level-0 table, with rights above in w->page.
static void walk_leaf(const struct hw *hw, u64 *word, enum cpu_kind kind, u8 cpl, bool commit,
		      struct cpu_walk *w)
{
	u64 entry = arena_load(word), add = w->error & PF_W ? PTE_A | PTE_D : PTE_A;
	struct tlb_entry page = w->page;

	if (!(entry & PTE_P))
		return;
	if (entry & reserved_bits(hw)) {
		w->error |= PF_P | PF_RSVD;
		return;
	}
	rights_add(&page, entry);
	if (!walk_permits(hw, &page, kind, cpl)) {
		w->error |= PF_P;
		return;
	}
	if (commit && (entry & add) != add && !arena_set_bits(word, entry, add)) {
		walk_leaf(hw, word, kind, cpl, commit, w); // it has changed meanwhile: what does it say now?
		return;
	}
	w->error |= PF_P;
	w->page = page;
	w->page.dirty = (entry | add) & PTE_D;
	w->page.mfn = (entry & PTE_ADDR) >> FRAME_SHIFT;
	w->page.generation = host_frame_generation(mfn(w->page.mfn));
	w->granted = true;
}

void walk_root_to_page(const struct hw *hw, u64 va, enum cpu_kind kind, u8 cpl, bool commit, struct cpu_walk *w)
{
	mfn_t table;
	u32 level;

	*w = (struct cpu_walk){ .error = walk_error(hw, kind, cpl) };
	w->page = (struct tlb_entry){ .va = va & ~(u64)(FRAME_BYTES - 1), .w = true, .u = true };
	if (!walk_root(hw, va, &table, &level))
		return;
	for (; level > 0; level--) {
		u64 *word = table_word(table, va >> (FRAME_SHIFT + 9 * level) & 511);
		u64 entry;

		if (!word)
			return;
		do {
			entry = arena_load(word);
		} while (commit && (entry & (PTE_P | PTE_A)) == PTE_P && !arena_set_bits(word, entry, PTE_A));
		if (!(entry & PTE_P))
			return;
		if (entry & (reserved_bits(hw) | PTE_PS)) {
			// The core makes no large pages and no magic above level 0 (E1.32, E1.34).
			host_finding("E1.32 reserved bits", "level %u entry 0x%llx for va 0x%llx", level,
				     (unsigned long long)entry, (unsigned long long)va);
			w->error |= PF_P | PF_RSVD;
			return;
		}
		rights_add(&w->page, entry);
		table = mpa_mfn(mpa(entry & PTE_ADDR));
	}
	w->table = w->page;
	w->table.va = va & ~(BIT(21) - 1);
	w->table.mfn = table.n;
	w->table.generation = host_frame_generation(table);

	u64 *word = table_word(table, va >> FRAME_SHIFT & 511);

	if (word)
		walk_leaf(hw, word, kind, cpl, commit, w);
}

void cpu_walk(const struct vcpu *v, u64 va, enum cpu_kind kind, u8 cpl, bool commit, struct cpu_walk *w)
{
	struct hw hw = hw_load(v);

	walk_root_to_page(&hw, va, kind, cpl, commit, w);
}

// ---- 3. the walk from a remembered table -----------------------------------------------------------------

// The table may be free by now: its contents
// are good until it gets a new owner.
bool walk_from_table(u32 cpu, const struct hw *hw, u64 va, const struct cpu_access *a, struct cpu_walk *w)
{
	const struct tlb_entry *first, *found = NULL;
	u32 count = tlb_tables(cpu, &first);
	u64 *word;

	for (u32 i = 0; i < count; i++) {
		if (first[i].va != (va & ~(BIT(21) - 1)))
			continue;
		found = &first[i];
		if (a->pick == TLB_OLDEST)
			break;
	}
	if (!found)
		return false;
	word = arena_word(mfn(found->mfn), va >> FRAME_SHIFT & 511);
	*w = (struct cpu_walk){ .error = walk_error(hw, a->kind, a->cpl), .page = *found };
	w->page.va = va & ~(u64)(FRAME_BYTES - 1);
	if (word)
		walk_leaf(hw, word, a->kind, a->cpl, true, w);
	return true;
}

bool cpu_table_entry(const struct tlb_entry *table, u32 index, struct tlb_entry *out)
{
	const u64 *word = arena_word(mfn(table->mfn), index);
	u64 entry = word ? arena_load(word) : 0;

	// Reserved bits as in the mode that the table belongs to: NX is on for every guest.
	if (!(entry & PTE_P) || (entry & RSVD_HIGH))
		return false;
	*out = *table;
	out->va = table->va + (u64)index * FRAME_BYTES;
	rights_add(out, entry);
	out->dirty = entry & PTE_D;
	out->mfn = (entry & PTE_ADDR) >> FRAME_SHIFT;
	out->generation = host_frame_generation(mfn(out->mfn));
	return true;
}
