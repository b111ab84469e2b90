// SPDX-License-Identifier: GPL-2.0-or-later
// Control registers: roots, flushes, and what the guest does with paging off or in another mode.
//
// Parts: roots; flushes; start; CR3, INVLPG and control bits; paging off and on again; visits; comparing what is latched.
//
// A PAE guest's four PDPTEs are read when CR3 is written and when paging goes on, and at no other time; one that is
// present with a reserved bit raises #GP, and then nothing has changed (APM vol. 2, 5.3.3). With paging off that
// leaves the guest without a root: its kernel takes its own, which maps none of the trace's addresses.
#include <string.h>

#include "internal.h"

// Of a present PDPTE all must be clear but P, PWT, PCD, the bits for software, and the address.
#define PDPTE_RESERVED (~(E_ADDRESS | UINT64_C(0xe19)) | (E_ADDRESS & ~((UINT64_C(1) << TRACE_PHYS_BITS) - 1)))

// ---- roots ------------------------------------------------------------------------------------------------
// Where the four PDPTEs lie in a frame that is a root. The kernel's own lie at the start of K3.
static u32 pdptes_at(u64 gfn)
{
	return gfn == MODEL_K3_GFN ? 0 : TRACE_RESERVED_AT;
}

static bool pdpte_valid(u64 entry)
{
	return !(entry & E_P) || !(entry & PDPTE_RESERVED);
}

// All but the first, which is the kernel's own.
static bool pdptes_valid(const struct model *m, u64 gfn)
{
	for (u32 i = 1; i < MODEL_TOPS; i++)
		if (!pdpte_valid(memory_load(m, gfn, pdptes_at(gfn) + 8 * i, 8)))
			return false;
	return true;
}

// What CR3 = gfn makes a walk start from. False: #GP.
static bool root_read(const struct model *m, u32 mode, u64 gfn, struct model_root *root)
{
	*root = (struct model_root){ { gfn, MODEL_ABSENT, MODEL_ABSENT, MODEL_ABSENT }, m->now };
	if (!paging_of(mode)->latched)
		return true;
	for (u32 i = 0; i < MODEL_TOPS; i++) {
		u64 entry = memory_load(m, gfn, pdptes_at(gfn) + 8 * i, 8);

		if (!pdpte_valid(entry))
			return false;
		root->top[i] = entry & E_P ? (entry & E_ADDRESS) >> 12 : MODEL_ABSENT;
	}
	return true;
}

// ---- flushes ------------------------------------------------------------------------------------------
// Everything goes; *root is where walks start from now on.
static void flush_to(struct model *m, struct model_vcpu *v, const struct model_root *root)
{
	v->flushed = v->flushed_all = ++m->now;
	v->roots[0] = *root;
	v->roots[0].since = m->now;
	v->root_count = 1;
	v->invlpg_count = 0;
}

void flush_all(struct model *m, struct model_vcpu *v)
{
	const struct model_root now = v->roots[v->root_count - 1];

	flush_to(m, v, &now);
}

// The root that walks start from, since the load that gave it or now.
static void push_root(struct model *m, struct model_vcpu *v, const struct model_root *root)
{
	if (memcmp(v->roots[v->root_count - 1].top, root->top, sizeof(root->top)) == 0)
		return;
	if (v->root_count == MODEL_ROOTS) {
		v->lost = m->now - 1;
		v->root_count = 0;
	}
	v->roots[v->root_count++] = *root;
}

// CR3 := gfn with paging on. False: #GP, nothing has changed.
static bool load_cr3(struct model *m, struct model_vcpu *v, u64 gfn)
{
	struct model_root root;

	if (!root_read(m, v->mode, gfn, &root))
		return false;
	v->root = gfn;
	v->flushed = root.since = ++m->now;
	push_root(m, v, &root);
	return true;
}

// Paging goes on in this mode with gfn in CR3. False: #GP, it stays off.
static bool paging_on(struct model *m, struct model_vcpu *v, u32 mode, u64 gfn)
{
	struct model_root root;

	if (!root_read(m, mode, gfn, &root))
		return false;
	v->mode = (u8)mode;
	v->root = gfn;
	flush_to(m, v, &root);
	return true;
}

// ---- start ----------------------------------------------------------------------------------------------
void vcpu_start(struct model *m, struct model_vcpu *v)
{
	v->wp = v->nxe = true;
	v->smep = v->smap = v->pge = false;
	v->pse = m->config.kind == TRACE_HVM32;
	v->nxe_until = v->lost = 0;
	paging_on(m, v, (u32)m->config.kind, TRACE_F0_GFN);
}

// ---- CR3, INVLPG and control bits ---------------------------------------------------------------------
static void come_home(struct run *r, u64 root);

// What 64-bit code leaves in CR3 above its lowest 32 bits means nothing outside of long mode. The way there is that of a VISIT home.
static void do_high_cr3(struct run *r, u64 gfn)
{
	if (memory_is_ram(r->m, gfn))
		come_home(r, gfn);
	else
		answer_killed(r, "wild cr3");
}

static void do_cr3(struct run *r)
{
	enum trace_mode mode = (enum trace_mode)r->m->config.kind;
	u64 cr3 = trace_cr3(mode, r->op->target), gfn = cr3 >> 12;

	if (mode != TRACE_MODE_64 && trace_root_is_high(r->op->target))
		do_high_cr3(r, (u32)cr3 >> 12);
	else if (mode == TRACE_MODE_64 && gfn >> (TRACE_PHYS_BITS - 12))
		answer_fault(r, VECTOR_GP, 0, 0);
	else if (!memory_is_ram(r->m, gfn))
		answer_killed(r, "wild cr3");
	else if (!load_cr3(r->m, r->v, gfn))
		answer_fault(r, VECTOR_GP, 0, 0);
}

static void do_reload(struct run *r)
{
	if (!load_cr3(r->m, r->v, r->v->root))
		answer_fault(r, VECTOR_GP, 0, 0);
}

static void do_invlpg(struct run *r)
{
	struct model_vcpu *v = r->v;
	u64 page = r->op->va & ~UINT64_C(0xfff);
	u32 i;

	for (i = 0; i < v->invlpg_count && v->invlpgs[i].page != page; i++)
		;
	if (i == MODEL_INVLPGS)
		return; // forgetting one allows more
	if (i == v->invlpg_count)
		v->invlpg_count++;
	v->invlpgs[i].page = page;
	v->invlpgs[i].time = ++r->m->now;
}

// Of these only a change of PGE flushes, and one of PSE where that has a meaning: rights are checked anew on every
// access, and a cached NX stays what it was.
static void set_ctl(struct model *m, struct model_vcpu *v, u8 ctl, bool on)
{
	switch (ctl) {
	case CTL_WP:
		v->wp = on;
		break;
	case CTL_NXE:
		if (v->nxe && !on)
			v->nxe_until = m->now;
		v->nxe = on;
		break;
	case CTL_SMEP:
		v->smep = on;
		break;
	case CTL_SMAP:
		v->smap = on;
		break;
	case CTL_PGE:
		if (v->pge != on)
			flush_all(m, v);
		v->pge = on;
		break;
	case CTL_PSE:
		if (v->pse != on && paging_of(v->mode)->optional_ps)
			flush_all(m, v);
		v->pse = on;
		break;
	}
}

void register_op(struct run *r)
{
	struct model *m = r->m;

	switch (r->op->code) {
	case OP_CR3:
		do_cr3(r);
		break;
	case OP_RELOAD:
		do_reload(r);
		break;
	case OP_INVLPG:
		do_invlpg(r);
		break;
	case OP_FLUSH:
		flush_all(m, r->v);
		break;
	case OP_CTL:
		for (u32 i = 0; i < m->config.vcpus; i++)
			set_ctl(m, &m->vcpu[i], r->op->ctl, r->op->on);
		break;
	case OP_VCPU:
		m->current = r->op->vcpu % m->config.vcpus;
		break;
	}
}

// ---- paging off and on again --------------------------------------------------------------------------
// Back to the guest's own mode, with paging off until now. If `root` raises #GP, that is the answer to the
// whole operation, and the kernel goes on with the root that has nothing but itself.
static void come_home(struct run *r, u64 root)
{
	struct model *m = r->m;

	if (paging_on(m, r->v, (u32)m->config.kind, root))
		return;
	*r->o = (struct obs){ .kind = OBS_OK };
	answer_fault(r, VECTOR_GP, 0, 0);
	paging_on(m, r->v, (u32)m->config.kind, MODEL_K3_GFN); // cannot fail: no operation can store to K3
}

// PHYS and REAL: 4-byte stores of an entry, low half first.
void unpaged_store(struct run *r)
{
	const struct trace_op *op = r->op;
	u32 bytes = paging_of(r->m->config.kind)->entry_bytes;
	u64 gfn = TRACE_F0_GFN + op->frame, entry = trace_entry(op);

	for (u32 at = 0; at < bytes; at += 4) {
		memory_store(r->m, gfn, op->index * bytes + at, 4, entry >> 8 * at);
		race_point_plain(r->m);
	}
	come_home(r, r->v->root);
}

// ---- visits -------------------------------------------------------------------------------------------
// In the mode that is visited CR4.PSE is on if it has a meaning; the other control bits are as at home. The frame's
// way to the kernel is replaced before paging goes off, and is as at the start before it goes on again at home.
//
// The kernel looks at the PDPTEs itself before it goes, so that invalid ones cost nothing but the visit. Once paging is
// off it looks whether the way was stored: neither a read-only frame nor one of the donor takes it. In a hole there is
// nothing, and that is found out later.
void visit(struct run *r)
{
	struct model *m = r->m;
	struct model_vcpu *v = r->v;
	const struct trace_op *op = r->op;
	u64 gfn = TRACE_F0_GFN + op->frame, home = v->root, here = model_kernel_word((enum trace_mode)m->config.kind);
	u64 there = model_kernel_word((enum trace_mode)op->mode);
	bool pse = v->pse, gone;

	memory_store(m, gfn, TRACE_RESERVED_AT, 8, there);
	if ((memory_is_ram(m, gfn) || slot_foreign(m, slot_of(gfn))) && memory_load(m, gfn, TRACE_RESERVED_AT, 8) != there) {
		answer_fault(r, VECTOR_GP, 0, 0);
		if (!paging_of(op->mode)->latched || pdptes_valid(m, gfn))
			come_home(r, home);
		return;
	}
	gone = paging_on(m, v, op->mode, gfn);
	if (!gone) {
		answer_fault(r, VECTOR_GP, 0, 0);
	} else if (!memory_is_ram(m, gfn)) {
		answer_killed(r, "wild cr3");
	} else {
		v->pse = pse || op->mode == TRACE_MODE_32;
		if (op->on)
			access_write(r, op->value, op->bytes);
		else
			access_read(r);
		v->pse = pse;
	}
	memory_store(m, gfn, TRACE_RESERVED_AT, 8, here);
	if (gone && !m->dead)
		come_home(r, home);
}

// ---- comparing what is latched --------------------------------------------------------------------------
static u64 top_of(u64 pdpte)
{
	return pdpte & E_P ? (pdpte & E_ADDRESS) >> 12 : MODEL_ABSENT;
}

// Did this PDPTE name that directory at some moment of the race that has just ended?
static bool was_in_race(const struct model *m, u64 gfn, u32 i, u64 top)
{
	int slot = slot_of(gfn);
	u32 index = pdptes_at(gfn) / 8 + i, change;

	if (slot < 0 || !m->raced)
		return false;
	if (top_of(m->word[slot][index]) == top)
		return true;
	for (change = m->newest[slot][index]; change > m->raced_changes;) {
		const struct model_change *c = &m->history[change % MODEL_CHANGES];

		if (top_of(c->old) == top)
			return true;
		change = c->older;
	}
	return false;
}

const char *model_check_latched(struct model *m, u32 vcpu, const u64 pdpte[MODEL_TOPS])
{
	struct model_vcpu *v = &m->vcpu[vcpu % MODEL_VCPUS];
	struct model_root root = v->roots[v->root_count - 1];
	bool same = true;

	if (m->dead || !paging_of(v->mode)->latched)
		return NULL;
	for (u32 i = 0; i < MODEL_TOPS; i++) {
		u64 top = top_of(pdpte[i]);

		if (top == root.top[i])
			continue;
		if (!was_in_race(m, v->root, i, top))
			return finding("E1.39 latched PDPTEs: vcpu %u has 0x%llx for number %u, the model has gfn 0x%llx",
				       vcpu, (unsigned long long)pdpte[i], i, (unsigned long long)root.top[i]);
		root.top[i] = top;
		same = false;
	}
	if (same)
		return NULL;
	root.since = m->raced_at;
	if (v->roots[v->root_count - 1].since >= m->raced_at)
		v->roots[v->root_count - 1] = root; // the model's own guess at it
	else
		push_root(m, v, &root);
	return NULL;
}
