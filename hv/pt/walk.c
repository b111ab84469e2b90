// SPDX-License-Identifier: GPL-2.0-or-later
// Guest page walk. Order of checks per level: present, reserved bits; rights once, over all levels.
// Accessed bits follow the processor: each non-leaf entry that the walk goes through gets A at once, the
// leaf gets A and D only with a permitted access. At most levels * PT_WALK_RETRIES entry reads.
#include "walk.h"

#include "../mem/hole.h"
#include "../port.h"

#define PT_WALK_RETRIES 8

// The entry of `table` at `index`; a table in a hole reads as the hole does.
static gpte_t read_entry(const struct pt_mode *mode, mfn_t table, u32 index)
{
	if (mfn_is_none(table))
		return (gpte_t){ mode->entry_bytes == 4 ? (u32)HOLE_WORD : HOLE_WORD };
	const void *at = port_map(table);
	gpte_t entry = pt_read(mode, at, index);

	port_unmap(at);
	return entry;
}

// Set `bits` in an entry. False when somebody else changed the entry meanwhile.
static bool set_bits(const struct pt_regime *regime, mfn_t table, u32 index, gpte_t *entry, u64 bits)
{
	const struct pt_mode *mode = regime->mode;
	gpte_t new = { entry->v | bits };

	if (new.v == entry->v || mfn_is_none(table))
		return true;
	if (regime->marked)
		regime->marked(regime->context, table);
	void *at = port_map(table);
	bool done = pt_compare_exchange(mode, at, index, *entry, new);

	port_unmap(at);
	if (done)
		*entry = new;
	return done;
}

// The error code of a denied access; cause is 0, PF_P, or PF_P | PF_RSVD.
static u32 error_code(const struct pt_regime *regime, struct pt_access access, u64 cause)
{
	u64 error = cause;

	if (access.write)
		error |= PF_W;
	if (access.user)
		error |= PF_U;
	if (access.fetch && (regime->nxe || regime->smep))
		error |= PF_I;
	return (u32)error;
}

// Rights of a complete walk (APM vol. 2, 5.6): supervisor rules bend with WP, SMEP and SMAP.
static bool permitted(const struct pt_regime *regime, struct pt_access access, const struct pt_walk *walk)
{
	if (access.user) {
		if (!walk->user || (access.write && !walk->writable))
			return false;
	} else {
		if (access.write && !walk->writable && regime->wp)
			return false;
		if (access.fetch && walk->user && regime->smep)
			return false;
		if (!access.fetch && walk->user && regime->smap && !regime->ac)
			return false;
	}
	return !(access.fetch && walk->no_exec);
}

// The entry of this level, as the guest wrote it.
static gpte_t entry_at(const struct pt_regime *regime, mfn_t table, u32 level, u32 index)
{
	if (regime->pdpte && level == regime->mode->levels - 1u)
		return (gpte_t){ regime->pdpte[index] };
	return read_entry(regime->mode, table, index);
}

// Bits that no present entry may have, whatever its level.
static u64 reserved_everywhere(const struct pt_regime *regime)
{
	if (regime->mode->entry_bytes == 4)
		return 0;
	return regime->mode->reserved | (PTE_ADDR & ~(BIT(regime->phys_bits) - 1)) | (regime->nxe ? 0 : PTE_NX);
}

// pt_entry_reserved() with the part that does not change taken out of the loop.
static bool is_reserved(const struct pt_mode *mode, u32 level, u64 everywhere, gpte_t entry)
{
	return (entry.v & everywhere) || (level && (entry.v & PTE_PS) && entry.v & pt_large_reserved(mode, level));
}

enum pass { PASS_DONE, PASS_LOST_RACE };

static enum pass walk_once(const struct pt_regime *regime, u64 va, struct pt_access access, bool set_ad,
			   struct pt_walk *walk)
{
	const struct pt_mode *mode = regime->mode;
	u64 everywhere = reserved_everywhere(regime), all = UINT64_MAX, any = 0; // bits of the entries passed so far
	mfn_t table = regime->root;
	u32 level = mode->levels;

	*walk = (struct pt_walk){ .ok = false };
	if (regime->pdpte) { // latched: no rights, no A bit, checked when CR3 was loaded
		level--;
		walk->lowest = level;
		walk->entry[level] = (gpte_t){ regime->pdpte[pt_index(mode, level, va)] };
		if (!(walk->entry[level].v & PTE_P)) {
			walk->error = error_code(regime, access, 0);
			return PASS_DONE;
		}
		table = regime->frame_of(regime->context, pt_entry_gfn(mode, level, walk->entry[level]));
	}
	while (level-- > 0) {
		u32 index = pt_index(mode, level, va);
		gpte_t raw = read_entry(mode, table, index), entry = pt_effective(mode, level, raw, regime->pse);

		walk->lowest = level;
		walk->table[level] = table;
		walk->entry[level] = raw;
		if (!(entry.v & PTE_P)) {
			walk->error = error_code(regime, access, 0);
			return PASS_DONE;
		}
		if (set_ad && mode->level[level].early_a && !(entry.v & everywhere) &&
		    !set_bits(regime, table, index, &walk->entry[level], PTE_A))
			return PASS_LOST_RACE;
		if (is_reserved(mode, level, everywhere, entry)) {
			walk->error = error_code(regime, access, PF_P | PF_RSVD);
			return PASS_DONE;
		}
		all &= entry.v;
		any |= entry.v;
		bool leaf = pt_is_leaf(mode, level, entry);

		if (leaf) {
			walk->writable = all & PTE_W;
			walk->user = all & PTE_U;
			walk->no_exec = mode->has_nx && (any & PTE_NX);
			walk->leaf_level = level;
			walk->target = gfn(pt_entry_gfn(mode, level, entry).n +
					   ((va >> FRAME_SHIFT) & (pt_leaf_frames(mode, level) - 1)));
			walk->ok = permitted(regime, access, walk);
			if (!walk->ok) {
				walk->error = error_code(regime, access, PF_P);
				return PASS_DONE;
			}
		}
		u64 bits = leaf && access.write ? PTE_A | PTE_D : PTE_A;

		if (set_ad && !set_bits(regime, table, index, &walk->entry[level], bits))
			return PASS_LOST_RACE;
		if (leaf)
			return PASS_DONE;
		table = regime->frame_of(regime->context, pt_entry_gfn(mode, level, entry));
	}
	return PASS_DONE;
}

void pt_walk(const struct pt_regime *regime, gva_t va, struct pt_access access, bool set_ad,
	     struct pt_walk *walk)
{
	for (u32 i = 0; i < PT_WALK_RETRIES; i++)
		if (walk_once(regime, va.a, access, set_ad, walk) == PASS_DONE)
			return;
	walk->ok = false;
	walk->error = PT_WALK_RETRY;
}

bool pt_walk_current(const struct pt_regime *regime, gva_t va, const struct pt_walk *walk)
{
	const struct pt_mode *mode = regime->mode;

	if (!regime->pdpte && !mfn_eq(walk->table[mode->levels - 1], regime->root))
		return false;
	for (u32 level = mode->levels; level-- > walk->lowest;) {
		if (entry_at(regime, walk->table[level], level, pt_index(mode, level, va.a)).v != walk->entry[level].v)
			return false;
		if (level > walk->lowest) {
			gfn_t below = pt_entry_gfn(mode, level, pt_effective(mode, level, walk->entry[level], regime->pse));

			if (!mfn_eq(regime->frame_of(regime->context, below), walk->table[level - 1]))
				return false;
		}
	}
	return true;
}
