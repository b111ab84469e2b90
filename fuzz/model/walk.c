// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's page walk, as a processor without a hypervisor does it.
//
// Parts: what the levels differ in; rights; the walk; its two callers (with and without A/D updates).
//
// Long mode only: four levels, 8-byte entries, 40 physical address bits, 1 GiB pages, no protection
// keys, AC clear. Where processors differ, this follows QEMU's TCG, which is what the metal executor
// runs on. Cost: four table reads.
#include "internal.h"

// ---- levels: 0 = 4 KiB, 1 = 2 MiB, 2 = 1 GiB, 3 = the top level ----------------------------------------
// A is set in a table entry as the walk passes it, whatever comes below. In a leaf it is set, with D
// for a store, once the access is granted: but TCG treats a 1 GiB leaf as if it were a table entry
// first, so that it gets A even if it is misaligned or denies the access.
static const struct level {
	bool can_be_leaf;
	bool leaf_accessed_first;
	u64 misaligned; // address bits that must be clear in a leaf, beside the PAT bit (12)
} levels[4] = {
	{ true, false, 0 },
	{ true, false, UINT64_C(0x001fe000) },
	{ true, true, UINT64_C(0x3fffe000) },
	{ false, false, 0 },
};

#define RESERVED_ADDRESS (E_ADDRESS & ~((UINT64_C(1) << TRACE_PHYS_BITS) - 1))

u64 walk_reserved(u32 level, bool nx_allowed)
{
	u64 bits = RESERVED_ADDRESS;

	if (!nx_allowed)
		bits |= E_NX;
	if (level == 3)
		bits |= E_PS;
	return bits;
}

u64 walk_misaligned(u32 level)
{
	return levels[level].misaligned;
}

bool walk_is_leaf(u32 level, u64 entry)
{
	return level == 0 || (levels[level].can_be_leaf && (entry & E_PS));
}

// The 4 KiB frame that a leaf maps va to.
u64 walk_leaf_gfn(u32 level, u64 entry, u64 va)
{
	u64 frames = UINT64_C(1) << (9 * level);

	return ((entry & E_ADDRESS) >> 12 & ~(frames - 1)) | (va >> 12 & (frames - 1));
}

u32 walk_index(u32 level, u64 va)
{
	return va >> (12 + 9 * level) & (MODEL_WORDS - 1);
}

// ---- rights -------------------------------------------------------------------------------------------
// Do rights combined over all levels allow the access under v's control bits?
bool walk_allows(const struct model_vcpu *v, bool w, bool u, bool nx, struct access a)
{
	if (a.cpl == 3 && !u)
		return false;
	if (a.cpl == 0 && u && a.fetch && v->smep)
		return false;
	if (a.cpl == 0 && u && !a.fetch && v->smap)
		return false;
	if (a.fetch && nx)
		return false;
	if (a.write && !w && (a.cpl == 3 || v->wp))
		return false;
	return true;
}

// ---- the walk -----------------------------------------------------------------------------------------
static bool canonical(u64 va)
{
	u64 top = va >> 47;

	return top == 0 || top == 0x1ffff;
}

static u32 error_base(const struct model_vcpu *v, struct access a)
{
	return (a.write ? ERROR_W : 0) | (a.cpl == 3 ? ERROR_U : 0) |
	       (a.fetch && (v->nxe || v->smep) ? ERROR_I : 0);
}

static void denied(struct model_walk *out, u32 level, u32 error)
{
	out->ok = false;
	out->level = level;
	out->error = error;
}

// update = false reads only. Then m may be a const model in disguise: nothing is stored.
static void walk(struct model *m, const struct model_vcpu *v, u64 va, struct access a, bool update,
		 struct model_walk *out)
{
	u64 table = v->root;
	u32 base = error_base(v, a);

	*out = (struct model_walk){ .canonical = canonical(va), .w = true, .u = true };
	if (!out->canonical)
		return;
	for (u32 level = 3;; level--) {
		int slot = slot_of(table);
		u32 index = walk_index(level, va);
		u64 entry = slot < 0 ? MODEL_HOLE_WORD : word_get(m, slot, index);
		bool leaf = walk_is_leaf(level, entry);

		if (update && slot >= 0)
			m->touched |= 1u << slot;
		if (!(entry & E_P)) {
			denied(out, level, base);
			return;
		}
		if (entry & walk_reserved(level, v->nxe)) {
			denied(out, level, base | ERROR_P | ERROR_RSVD);
			return;
		}
		if (!leaf || levels[level].leaf_accessed_first) {
			entry |= E_A;
			if (update && slot >= 0)
				word_set(m, slot, index, entry);
		}
		out->w = out->w && (entry & E_W);
		out->u = out->u && (entry & E_U);
		out->nx = out->nx || (entry & E_NX);
		if (!leaf) {
			table = (entry & E_ADDRESS) >> 12;
			continue;
		}
		if (entry & walk_misaligned(level)) {
			denied(out, level, base | ERROR_P | ERROR_RSVD);
			return;
		}
		if (!walk_allows(v, out->w, out->u, out->nx, a)) {
			denied(out, level, base | ERROR_P);
			return;
		}
		entry |= E_A | (a.write ? E_D : 0);
		if (update && slot >= 0)
			word_set(m, slot, index, entry);
		out->ok = true;
		out->level = level;
		out->dirty = entry & E_D;
		out->global = entry & E_G;
		out->gfn = walk_leaf_gfn(level, entry, va);
		out->ram = slot_of(out->gfn) >= 0 && slot_present(m, slot_of(out->gfn));
		return;
	}
}

void walk_access(struct model *m, struct model_vcpu *v, u64 va, struct access a, struct model_walk *out)
{
	walk(m, v, va, a, true, out);
	if (out->ok && slot_of(out->gfn) >= 0)
		m->touched |= 1u << slot_of(out->gfn);
}

void model_walk(const struct model *m, u32 vcpu, u64 va, bool write, bool fetch, u32 cpl,
		struct model_walk *out)
{
	struct access a = { .write = write, .fetch = fetch, .cpl = cpl };

	walk((struct model *)m, &m->vcpu[vcpu % MODEL_VCPUS], va, a, false, out);
}
