// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's page walk, as a processor without a hypervisor does it.
//
// Parts: what the modes and their levels differ in; rights; the walk; its two callers (with and without A/D
// updates).
//
// 40 physical address bits, 1 GiB pages, PSE36, no protection keys, no PCID. Where processors differ, this
// follows QEMU's TCG, which is what the metal executor runs on, with two exceptions where the guest kernel there
// makes up for TCG: the PDPTEs of a PAE guest are latched, and a reserved bit is a fault on a present page.
// Cost: two table reads, or four.
#include "internal.h"

// ---- modes and levels ------------------------------------------------------------------------------------
// Level 0 has pages of 4 KiB. A is set in a table entry as the walk passes it, whatever comes below. In a leaf it
// is set, with D for a store, once the access is granted: but TCG treats a 1 GiB leaf as if it were a table entry
// first, so that it gets A even if it is misaligned or denies the access.
//
// The bit that is free in a large leaf though it lies below the page's size is PAT's (12). PSE36 uses those of a 4 MiB
// page for address bits 32 to 39 (13 to 20); only bit 21 is left over.
#define RESERVED_ADDRESS (E_ADDRESS & ~((UINT64_C(1) << TRACE_PHYS_BITS) - 1))
#define RESERVED_PAE (RESERVED_ADDRESS | UINT64_C(0x7ff0000000000000)) // bits 52 to 62 are free in long mode only

static const struct paging modes[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = {
		.top = 3, .entry_bytes = 8, .has_nx = true, .canonical = true,
		.level = {
			{ .shift = 12, .entries = 512, .reserved = RESERVED_ADDRESS },
			{ .shift = 21, .entries = 512, .reserved = RESERVED_ADDRESS, .leaf = true,
			  .leaf_reserved = UINT64_C(0x001fe000) },
			{ .shift = 30, .entries = 512, .reserved = RESERVED_ADDRESS, .leaf = true,
			  .leaf_reserved = UINT64_C(0x3fffe000), .leaf_accessed_first = true },
			{ .shift = 39, .entries = 512, .reserved = RESERVED_ADDRESS | E_PS },
		},
	},
	[TRACE_MODE_PAE] = {
		.top = 1, .entry_bytes = 8, .has_nx = true, .latched = true,
		.level = {
			{ .shift = 12, .entries = 512, .reserved = RESERVED_PAE },
			{ .shift = 21, .entries = 512, .reserved = RESERVED_PAE, .leaf = true,
			  .leaf_reserved = UINT64_C(0x001fe000) },
		},
	},
	[TRACE_MODE_32] = {
		.top = 1, .entry_bytes = 4, .optional_ps = true,
		.level = {
			{ .shift = 12, .entries = 1024 },
			{ .shift = 22, .entries = 1024, .leaf = true, .leaf_reserved = UINT64_C(0x00200000) },
		},
	},
};

const struct paging *paging_of(u32 mode)
{
	return &modes[mode % TRACE_MODE_COUNT];
}

u64 paging_next_page(const struct paging *p, u64 va)
{
	u64 next = (va | 0xfff) + 1;

	return p->canonical ? next : next & UINT32_MAX;
}

u64 walk_reserved(const struct paging *p, u32 level, bool nx_allowed)
{
	return p->level[level].reserved | (nx_allowed ? 0 : E_NX);
}

bool walk_is_leaf(const struct paging *p, u32 level, u64 entry, bool pse)
{
	return level == 0 || (p->level[level].leaf && (entry & E_PS) && (pse || !p->optional_ps));
}

// The 4 KiB frame that a leaf maps va to.
u64 walk_leaf_gfn(const struct paging *p, u32 level, u64 entry, u64 va)
{
	u64 frames = UINT64_C(1) << (p->level[level].shift - 12);
	u64 gfn = ((entry & E_ADDRESS) >> 12 & ~(frames - 1)) | (va >> 12 & (frames - 1));

	return p->optional_ps && level ? gfn | (entry >> 13 & 0xff) << 20 : gfn;
}

u32 walk_index(const struct paging *p, u32 level, u64 va)
{
	return va >> p->level[level].shift & (p->level[level].entries - 1u);
}

u64 walk_entry(const struct paging *p, u64 word, u32 index)
{
	return p->entry_bytes == 8 ? word : word >> index % 2 * 32 & UINT32_MAX;
}

u64 walk_top(const struct paging *p, const struct model_root *root, u64 va)
{
	return root->top[p->latched ? va >> 30 & 3 : 0];
}

// ---- rights -------------------------------------------------------------------------------------------
// Do rights combined over all levels allow the access under v's control bits?
bool walk_allows(const struct model_vcpu *v, bool w, bool u, bool nx, struct access a)
{
	if (a.cpl == 3 && !u)
		return false;
	if (a.cpl == 0 && u && a.fetch && v->smep)
		return false;
	if (a.cpl == 0 && u && !a.fetch && v->smap && !a.ac)
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

static u32 error_base(const struct paging *p, const struct model_vcpu *v, struct access a)
{
	return (a.write ? ERROR_W : 0) | (a.cpl == 3 ? ERROR_U : 0) |
	       (a.fetch && ((p->has_nx && v->nxe) || v->smep) ? ERROR_I : 0);
}

static void denied(struct model_walk *out, u32 level, u32 error)
{
	out->ok = false;
	out->level = level;
	out->error = error;
}

// One entry of a table, which may lie in a hole.
struct place {
	int slot;
	u32 word, shift; // the entry's place
};

static struct place place_of(const struct paging *p, u64 table, u32 index)
{
	if (p->entry_bytes == 8)
		return (struct place){ slot_of(table), index, 0 };
	return (struct place){ slot_of(table), index / 2, index % 2 * 32 };
}

static void place_set(struct model *m, const struct place *at, u64 bits)
{
	if (at->slot >= 0)
		word_set(m, at->slot, at->word, word_get(m, at->slot, at->word) | bits << at->shift);
}

static void granted(const struct model *m, const struct paging *p, u32 level, u64 entry, u64 va, struct model_walk *out)
{
	out->ok = true;
	out->level = level;
	out->dirty = entry & E_D;
	out->global = entry & E_G;
	out->gfn = walk_leaf_gfn(p, level, entry, va);
	out->ram = memory_is_ram(m, out->gfn);
}

// update = false reads only. Then m may be a const model in disguise: nothing is stored.
static void walk(struct model *m, const struct model_vcpu *v, u64 va, struct access a, bool update,
		 struct model_walk *out)
{
	const struct paging *p = paging_of(v->mode);
	u64 table = walk_top(p, &v->roots[v->root_count - 1], va);
	u32 base = error_base(p, v, a);

	*out = (struct model_walk){ .canonical = !p->canonical || canonical(va), .w = true, .u = true };
	if (!out->canonical)
		return;
	if (table == MODEL_ABSENT) {
		denied(out, p->top + 1u, base);
		return;
	}
	for (u32 level = p->top;; level--) {
		u32 index = walk_index(p, level, va);
		struct place at = place_of(p, table, index);
		u64 entry = walk_entry(p, at.slot < 0 ? MODEL_HOLE_WORD : word_get(m, at.slot, at.word), index);
		bool leaf = walk_is_leaf(p, level, entry, v->pse);

		if (update)
			watch_store(m, at.slot);
		if (!(entry & E_P)) {
			denied(out, level, base);
			return;
		}
		if (entry & walk_reserved(p, level, v->nxe)) {
			denied(out, level, base | ERROR_P | ERROR_RSVD);
			return;
		}
		if (update && (!leaf || p->level[level].leaf_accessed_first))
			place_set(m, &at, E_A);
		out->w = out->w && (entry & E_W);
		out->u = out->u && (entry & E_U);
		out->nx = out->nx || (entry & E_NX);
		if (!leaf) {
			table = (entry & E_ADDRESS) >> 12;
			continue;
		}
		if (entry & p->level[level].leaf_reserved) {
			denied(out, level, base | ERROR_P | ERROR_RSVD);
			return;
		}
		if (!walk_allows(v, out->w, out->u, out->nx, a)) {
			denied(out, level, base | ERROR_P);
			return;
		}
		if (update)
			place_set(m, &at, E_A | (a.write ? E_D : 0));
		granted(m, p, level, entry | (a.write ? E_D : 0), va, out);
		return;
	}
}

void walk_access(struct model *m, struct model_vcpu *v, u64 va, struct access a, struct model_walk *out)
{
	walk(m, v, va, a, true, out);
	if (out->ok && slot_of(out->gfn) >= 0)
		m->touched |= 1u << slot_of(out->gfn);
	if (out->ok && a.write)
		watch_store(m, slot_of(out->gfn));
}

void model_walk(const struct model *m, u32 vcpu, u64 va, bool write, bool fetch, u32 cpl,
		struct model_walk *out)
{
	struct access a = { .write = write, .fetch = fetch, .cpl = cpl };

	walk((struct model *)m, &m->vcpu[vcpu % MODEL_VCPUS], va, a, false, out);
}
