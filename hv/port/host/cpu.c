// SPDX-License-Identifier: GPL-2.0-or-later
// The soft CPU: executes one memory access of a guest instruction as hardware would.
//
//  1. the walk: from the hardware root that the core asked for, over shadow tables in machine memory
//  2. translation of one page: from the TLB model as the access picks, else by a walk
//  3. the instruction in flight, as the core asks for it
//  4. page faults: the core's answer
//  5. the access: translate every page, then touch memory, until done, injected, killed or stuck
//
// Hardware state is read afresh before each attempt: every fault is an exit and a VMRUN, which also
// loads the four PDPTEs of a root with three levels.
//
// Cost: a walk is four loads; a write to a page table is whatever the core makes of it. It knows
// paging with 4 and 3 levels, 4 KiB leaves only (the core makes no other), SMEP and SMAP, addresses that wrap
// at 4 GiB outside long mode, and sets A and D as it goes. It does not know PCID, protection keys, or segment limits.
#include "arena.h"

#include <string.h>

#define RSVD_HIGH (PTE_ADDR & ~(BIT(HOST_PHYS_BITS) - 1))
#define RSVD_PAE UINT64_C(0x7ff0000000000000) // bits 52 to 62 mean something to software in long mode only
#define PDPTE_OPEN (PTE_P | PTE_PWT | PTE_PCD | PTE_A | UINT64_C(0xe00)) // TCG sets A even here
#define VECTOR_GP 13
#define VECTOR_PF 14

// What each vcpu executes, as the core sees it.
static struct flight {
	struct hv_insn insn;
	const struct cpu_access *then; // what it executes after that, NULL when the core has to leave it to the processor
	u32 done;                      // instructions that the core has completed and gone on from
	struct hv_insn first;          // the first of them with its results, while done is not 0
} flights[DOMAIN_VCPUS_MAX];

void cpu_reset(void)
{
	memset(flights, 0, sizeof(flights));
}

// ---- 1. the walk ------------------------------------------------------------------------------------

struct hw {
	u64 cr0, cr3, cr4, efer;
	bool ac; // RFLAGS.AC
};

static struct hw hw_load(const struct vcpu *v)
{
	struct hw hw = { vcpu_hw_cr0(v), vcpu_hw_cr3(v), vcpu_hw_cr4(v), vcpu_hw_efer(v), v->rflags_ac };

	return hw;
}

// Outside long mode addresses have 32 bits.
static u64 wrap(const struct hw *hw, u64 va)
{
	return hw->efer & EFER_LMA ? va : va & UINT32_MAX;
}

static bool is_store(enum cpu_kind kind)
{
	return kind != CPU_READ && kind != CPU_FETCH;
}

static u32 error_base(const struct hw *hw, enum cpu_kind kind, u8 cpl)
{
	u64 e = cpl == 3 ? PF_U : 0;

	if (is_store(kind))
		e |= PF_W;
	if (kind == CPU_FETCH && ((hw->efer & EFER_NXE) || (hw->cr4 & CR4_SMEP)))
		e |= PF_I;
	return (u32)e;
}

// Does a translation with these rights permit the access under the present control registers?
static bool rights_permit(const struct hw *hw, const struct tlb_entry *e, enum cpu_kind kind, u8 cpl)
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
	const u64 *pdpte;

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
	pdpte = table_word(mpa_mfn(mpa(hw->cr3)), (u32)(hw->cr3 & 0xfe0) / 8);
	if (!pdpte)
		return false;
	for (u32 i = 0; i < 4; i++)
		if ((pdpte[i] & PTE_P) && (pdpte[i] & (~(PDPTE_OPEN | PTE_ADDR) | RSVD_HIGH))) {
			host_finding("E1.37 l3table", "PDPTE %u is 0x%llx: VMRUN would fail", i,
				     (unsigned long long)pdpte[i]);
			return false;
		}
	pdpte += va >> 30 & 3;
	if (!(*pdpte & PTE_P))
		return false;
	*table = mpa_mfn(mpa(*pdpte & PTE_ADDR));
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
	u64 entry = arena_load(word), add = PTE_A;

	if (!(entry & PTE_P))
		return;
	w->error |= PF_P;
	if (entry & reserved_bits(hw)) {
		w->error |= PF_RSVD;
		return;
	}
	rights_add(&w->page, entry);
	if (!rights_permit(hw, &w->page, kind, cpl))
		return;
	if (w->error & PF_W)
		add |= PTE_D;
	if (commit && (entry & add) != add)
		arena_store(word, entry | add);
	w->page.dirty = (entry | add) & PTE_D;
	w->page.mfn = (entry & PTE_ADDR) >> FRAME_SHIFT;
	w->page.generation = host_frame_generation(mfn(w->page.mfn));
	w->granted = true;
}

static void walk(const struct hw *hw, u64 va, enum cpu_kind kind, u8 cpl, bool commit, struct cpu_walk *w)
{
	mfn_t table;
	u32 level;

	*w = (struct cpu_walk){ .error = error_base(hw, kind, cpl) };
	w->page = (struct tlb_entry){ .va = va & ~(u64)(FRAME_BYTES - 1), .w = true, .u = true };
	if (!walk_root(hw, va, &table, &level))
		return;
	for (; level > 0; level--) {
		u64 *word = table_word(table, va >> (FRAME_SHIFT + 9 * level) & 511);
		u64 entry;

		if (!word)
			return;
		entry = *word;
		if (!(entry & PTE_P))
			return;
		if (entry & (reserved_bits(hw) | PTE_PS)) {
			// The core makes no large pages and no magic above level 0 (E1.32, E1.34).
			host_finding("E1.32 reserved bits", "level %u entry 0x%llx for va 0x%llx", level,
				     (unsigned long long)entry, (unsigned long long)va);
			w->error |= PF_P | PF_RSVD;
			return;
		}
		if (commit && !(entry & PTE_A))
			*word = entry | PTE_A;
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

	walk(&hw, va, kind, cpl, commit, w);
}

// ---- 2. translation of one page -----------------------------------------------------------------

// The oldest or newest page entry that grants the access. A store through an entry without D needs a
// walk that sets it, so such an entry does not count.
static const struct tlb_entry *pick_page(u32 cpu, const struct hw *hw, u64 va, const struct cpu_access *a)
{
	const struct tlb_entry *first, *found = NULL;
	u32 count = tlb_pages(cpu, &first);
	bool write = error_base(hw, a->kind, a->cpl) & PF_W;

	for (u32 i = 0; i < count; i++) {
		const struct tlb_entry *e = &first[i];

		if (e->va != (va & ~(u64)(FRAME_BYTES - 1)) || (write && !e->dirty) ||
		    !rights_permit(hw, e, a->kind, a->cpl))
			continue;
		found = e;
		if (a->pick == TLB_OLDEST)
			break;
	}
	return found;
}

// The same of level-0 tables: the walk then starts there. The table may be free by now: its contents
// are good until it gets a new owner.
static bool walk_from_table(u32 cpu, const struct hw *hw, u64 va, const struct cpu_access *a, struct cpu_walk *w)
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
	*w = (struct cpu_walk){ .error = error_base(hw, a->kind, a->cpl), .page = *found };
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

struct page_target {
	mfn_t frame;
	u32 error;
	bool granted, cached;
};

static struct page_target translate(const struct vcpu *v, const struct hw *hw, u64 va, const struct cpu_access *a)
{
	struct page_target t = { .granted = true };
	struct cpu_walk w;

	if (a->pick == TLB_OLDEST || a->pick == TLB_NEWEST) {
		const struct tlb_entry *e = pick_page(v->id, hw, va, a);

		if (e) {
			t.frame = mfn(e->mfn);
			t.cached = true;
			return t;
		}
		t.cached = walk_from_table(v->id, hw, va, a, &w);
	}
	if (!t.cached) {
		walk(hw, va, a->kind, a->cpl, true, &w);
		if (w.table.mfn)
			tlb_add_table(v->id, &w.table);
	}
	t.granted = w.granted;
	t.error = w.error;
	t.frame = mfn(w.page.mfn);
	if (w.granted)
		tlb_add_page(v->id, &w.page);
	return t;
}

// ---- 3. the instruction in flight ------------------------------------------------------------------------

static void insn_load(struct flight *f, const struct cpu_access *a)
{
	static const enum insn_kind kinds[] = {
		[CPU_READ] = INSN_READ, [CPU_WRITE] = INSN_WRITE, [CPU_CMPXCHG] = INSN_CMPXCHG, [CPU_PUSH] = INSN_PUSH,
		[CPU_FETCH] = INSN_UNKNOWN, // a fetch is no operand
		[CPU_RMW] = INSN_RMW,
	};
	struct hv_insn *i = &f->insn;

	*i = (struct hv_insn){ .kind = a->unknown ? INSN_UNKNOWN : kinds[a->kind], .va = gva(a->va), .bytes = a->bytes,
			       .cpl = a->cpl, .alu = a->alu, .aligned = a->kind == CPU_CMPXCHG && a->bytes == 16 };
	memcpy(i->data, a->data, sizeof(i->data));
	memcpy(i->expect, a->expect, sizeof(i->expect));
	f->then = a->then;
}

void port_fetch_insn(struct vcpu *v, struct hv_insn *insn)
{
	*insn = flights[v->id].insn;
}

bool port_next_insn(struct vcpu *v, struct hv_insn *insn)
{
	struct flight *f = &flights[v->id];
	const struct cpu_access *next = f->then;

	if (!f->done++)
		f->first = *insn;
	if (!next || next->kind != CPU_WRITE || next->unknown || next->cpl != insn->cpl || next->ac != v->rflags_ac)
		return false;
	insn_load(f, next);
	f->insn.va = gva(v->guest.efer & EFER_LMA ? next->va : next->va & UINT32_MAX);
	*insn = f->insn;
	return true;
}

// ---- 4. page faults -------------------------------------------------------------------------------

// One access under way. access is a copy with the address cut to the mode.
struct run {
	struct vcpu *v;
	struct cpu_access access;
	struct cpu_result *r;
	u32 pages, budget;
	bool two_phases; // reads first, then writes
};

static void raise(struct cpu_result *r, u8 vector, u32 error, u64 cr2)
{
	r->end = CPU_FAULT;
	r->vector = vector;
	r->error = error;
	r->cr2 = cr2;
}

static void forget_tlb(struct cpu_result *r)
{
	memset(r->from_tlb, 0, sizeof(r->from_tlb));
}

// The core did the access, and `further` others behind it.
static void emulated(struct run *x, const struct hv_insn *insn, u32 further)
{
	struct cpu_result *r = x->r;

	if (x->access.kind == CPU_FETCH || x->access.unknown) {
		host_finding("E1.45 emulation", "what cannot be decoded was emulated");
		r->end = CPU_STUCK;
		return;
	}
	r->emulated = true;
	forget_tlb(r);
	memcpy(r->value, insn->result, sizeof(r->value));
	r->matched = insn->matched;
	r->done = 1 + further;
	r->end = CPU_DONE;
}

// A page fault for the guest. Where it is not the one that brought us into the core, the core has gone through the
// whole instruction afresh.
static void injected(struct run *x, u64 va, u32 hw_error, u32 error, u64 cr2)
{
	if (flights[x->v->id].done) {
		host_finding("E1.45 emulation", "a fault at 0x%llx belongs to an instruction that was not entered",
			     (unsigned long long)cr2);
		x->r->end = CPU_STUCK;
		return;
	}
	if ((va ^ cr2) >> FRAME_SHIFT || ((hw_error ^ error) & PF_W))
		forget_tlb(x->r);
	raise(x->r, VECTOR_PF, error, cr2);
}

// True: enter the guest again at the same instruction. False: the core has completed it, or killed the domain.
static bool fixed(struct run *x)
{
	const struct flight *f = &flights[x->v->id];

	if (x->r->stepped)
		host_finding("E1.43 liveness", "a step was interrupted without a word");
	else if (x->v->domain->dead)
		x->r->end = CPU_DEAD;
	else if (f->done)
		emulated(x, &f->first, f->done - 1);
	else
		return true;
	return false;
}

// Deliver a page fault to the core. True: enter the guest again at the same instruction; else r->end
// says how it ended.
static bool enter_again(struct run *x, u64 va, u32 error)
{
	struct hv_insn insn = { .kind = INSN_UNKNOWN };
	struct flight *f = &flights[x->v->id];
	struct cpu_result *r = x->r;
	u32 hw_error = error;
	gva_t cr2 = gva(va);

	r->end = CPU_STUCK;
	if (r->faults++ == x->budget) {
		host_finding("E1.43 liveness", "va 0x%llx still faults with error 0x%x after %u faults",
			     (unsigned long long)va, error, x->budget);
		return false;
	}
	tlb_drop_va(x->v->id, va);
	r->walked |= (va ^ x->access.va) >> FRAME_SHIFT ? 2u : 1u;
	x->v->rflags_ac = x->access.ac;
	switch (vcpu_page_fault(x->v, gva(va), &error, &cr2, &insn)) {
	case FAULT_FIXED:
		return fixed(x);
	case FAULT_STEP:
		r->stepped = true;
		return true;
	case FAULT_EMULATED:
		emulated(x, f->done ? &f->first : &insn, f->done);
		break;
	case FAULT_INJECT:
		injected(x, va, hw_error, error, cr2.a);
		break;
	case FAULT_INJECT_GP:
		raise(r, VECTOR_GP, 0, 0);
		break;
	case FAULT_DEAD:
		r->end = CPU_DEAD;
		break;
	}
	return false;
}

// ---- 5. the access ----------------------------------------------------------------------------------

static bool canonical(const struct hw *hw, u64 va)
{
	return !(hw->efer & EFER_LMA) || va + BIT(47) < BIT(48);
}

// Memory of the access: one or two runs of bytes.
struct span {
	u8 *at[2];
	u32 bytes[2];
};

static void span_load(const struct span *s, void *to)
{
	memcpy(to, s->at[0], s->bytes[0]);
	if (s->bytes[1])
		memcpy((u8 *)to + s->bytes[0], s->at[1], s->bytes[1]);
}

static void span_store(const struct span *s, const void *from)
{
	memcpy(s->at[0], from, s->bytes[0]);
	if (s->bytes[1])
		memcpy(s->at[1], (const u8 *)from + s->bytes[0], s->bytes[1]);
}

// load and store may lead to different frames: one from a TLB, one by a walk.
static void perform(const struct cpu_access *a, const struct span *load, const struct span *store,
		    struct cpu_result *r)
{
	u64 new;

	r->end = CPU_DONE;
	r->done = 1;
	switch (a->kind) {
	case CPU_READ:
	case CPU_FETCH:
		span_load(load, r->value);
		break;
	case CPU_WRITE:
	case CPU_PUSH:
		span_store(load, a->data);
		break;
	case CPU_RMW:
		span_load(load, r->value);
		new = insn_alu((enum insn_alu)a->alu, r->value[0], a->data[0]);
		span_store(store, &new);
		break;
	case CPU_CMPXCHG:
		span_load(load, r->value);
		r->matched = memcmp(r->value, a->expect, a->bytes) == 0;
		span_store(store, r->matched ? a->data : r->value);
		break;
	}
}

enum translated { ALL_GRANTED, PAGE_FAULTS, NOT_CANONICAL };

// Translate every page of access `a`, the first to its end before the second is looked at. PAGE_FAULTS:
// page *va faults with *error, or a finding was recorded. slot: of the first page, in the result.
static enum translated translate_pages(struct run *x, const struct hw *hw, const struct cpu_access *a, u32 slot,
				       struct span *s, u64 *va, u32 *error)
{
	struct cpu_result *r = x->r;

	*va = a->va;
	for (u32 k = 0; k < x->pages; k++) {
		u32 offset = *va & (FRAME_BYTES - 1);
		struct page_target t;
		u8 *frame;

		if (!canonical(hw, *va))
			return NOT_CANONICAL;
		t = translate(x->v, hw, *va, a);
		*error = t.error;
		if (!t.granted)
			return PAGE_FAULTS;
		frame = (u8 *)host_frame(t.frame);
		if (!frame) {
			host_finding("E1.41 soundness", "va 0x%llx leads to frame 0x%llx, which nobody owns",
				     (unsigned long long)*va, (unsigned long long)t.frame.n);
			return PAGE_FAULTS;
		}
		// A detached root may lag behind the guest's tables: what it grants is as old as a TLB entry. After
		// a fault on the page in this very access, both are as new as the walk that the core did for it.
		r->from_tlb[slot + k] = (t.cached || shadow_root_is_detached(x->v)) && !(r->walked & 1u << k);
		r->tlb_mfn[slot + k] = t.frame.n;
		s->at[k] = frame + offset;
		*va = wrap(hw, (*va | (FRAME_BYTES - 1)) + 1);
	}
	return ALL_GRANTED;
}

// One attempt at the whole instruction: the guest is entered, and all its accesses are translated.
static enum translated attempt(struct run *x, struct span *load, struct span *store, u64 *va, u32 *error)
{
	struct cpu_access a = x->access;
	enum translated end;

	vcpu_enter(x->v);
	struct hw hw = hw_load(x->v);

	forget_tlb(x->r);
	if (x->two_phases)
		a.kind = CPU_READ;
	end = translate_pages(x, &hw, &a, 0, load, va, error);
	if (end != ALL_GRANTED || !x->two_phases)
		return end;
	a.kind = CPU_WRITE;
	return translate_pages(x, &hw, &a, 2, store, va, error);
}

static void run_access(struct run *x)
{
	const struct cpu_access *a = &x->access;
	u32 room = FRAME_BYTES - (u32)(a->va & (FRAME_BYTES - 1)), first = a->bytes < room ? a->bytes : room;
	struct span load = { .bytes = { first, a->bytes - first } }, store = load;
	struct hw hw = hw_load(x->v);
	enum translated end;
	u32 error;
	u64 va;

	x->two_phases = a->kind == CPU_RMW || a->kind == CPU_CMPXCHG;
	x->pages = a->bytes > room ? 2 : 1;
	x->budget = CPU_FAULTS_PER_PAGE * x->pages * (x->two_phases ? 2 : 1) + (a->pick == TLB_SPURIOUS);
	if (a->kind == CPU_CMPXCHG && a->bytes == 16 && a->va % 16) {
		raise(x->r, VECTOR_GP, 0, 0);
		return;
	}
	// A processor may fault on an entry that it cached before the tables were changed for the better.
	if (a->pick == TLB_SPURIOUS && canonical(&hw, a->va) &&
	    !enter_again(x, a->va, error_base(&hw, x->two_phases ? CPU_READ : a->kind, a->cpl) | PF_P))
		return;
	while ((end = attempt(x, &load, &store, &va, &error)) == PAGE_FAULTS) {
		if (host_finding_rule())
			return;
		if (!enter_again(x, va, error))
			return;
	}
	if (end == NOT_CANONICAL)
		raise(x->r, VECTOR_GP, 0, 0);
	else
		perform(a, &load, &store, x->r);
}

void cpu_access(struct vcpu *v, const struct cpu_access *a, struct cpu_result *r)
{
	struct run x = { .v = v, .access = *a, .r = r };
	struct flight *f = &flights[v->id];

	*r = (struct cpu_result){ .end = CPU_STUCK };
	v->rflags_ac = a->ac;
	struct hw hw = hw_load(v);

	x.access.va = wrap(&hw, a->va);
	f->done = 0;
	insn_load(f, &x.access);
	run_access(&x);
	f->done = 0;
	f->then = NULL; // it may not outlive the caller
	if (r->stepped)
		vcpu_step_done(v);
}
