// SPDX-License-Identifier: GPL-2.0-or-later
// The soft CPU: executes one memory access of a guest instruction as hardware would.
//
//  1. what the processor is loaded with
//  2. translation of one page: from the TLB model as the access picks, else by a walk (walk.c)
//  3. the instruction in flight, as the core asks for it
//  4. page faults: the core's answer
//  5. the access: translate every page, then touch memory, until done, injected, killed or stuck
//
// Hardware state is read afresh before each attempt: every fault is an exit and a VMRUN, which also
// loads the four PDPTEs of a root with three levels.
//
// Cost: a walk is four loads; a write to a page table is whatever the core makes of it. It knows addresses that wrap at
// 4 GiB outside long mode, not segment limits.
#include "thread.h"
#include "walk.h"

#ifdef HOST_THREADS
#include <sched.h>
#endif
#include <string.h>

#define VECTOR_GP 13
#define VECTOR_PF 14

// What each vcpu executes, as the core sees it.
static struct flight {
	struct hv_insn insn;
	const struct cpu_access *then; // what it executes after that, NULL when the core has to leave it to the processor
	u32 done;                      // instructions that the core has completed and gone on from
	struct hv_insn first;          // the first of them with its results, while done is not 0
} flights[HOST_CPUS];

static struct flight *flight_of(const struct vcpu *v)
{
	return &flights[host_cpu_of(v)];
}

void cpu_reset(void)
{
	memset(flights, 0, sizeof(flights));
}

// ---- 1. what the processor is loaded with ------------------------------------------------------------

// With threads another processor may be about to change what this one is entered with: it does so under the domain's
// lock, and flushes.
#ifdef HOST_THREADS
static void hw_lock(struct domain *d)
{
	port_lock(&d->lock, __func__);
}

static void hw_unlock(struct domain *d)
{
	port_unlock(&d->lock);
}

static bool hold_unless(u32 cpu, u32 drops)
{
	tlb_hold(cpu);
	if (tlb_drops(cpu) == drops)
		return true;
	tlb_release(cpu);
	return false;
}

static bool wait_for_step(void)
{
	sched_yield();
	return true;
}
#else
static void hw_lock(struct domain *d)
{
	(void)d;
}

static void hw_unlock(struct domain *d)
{
	(void)d;
}

static bool hold_unless(u32 cpu, u32 drops)
{
	(void)cpu;
	(void)drops;
	return true;
}

static bool wait_for_step(void)
{
	host_finding("E1.53 step", "processor %u enters a guest that another one steps", port_cpu());
	return false;
}
#endif

// What the processor is loaded with at an entry.
static struct hw hw_sample(struct vcpu *v)
{
	struct domain *d = v->domain;
	struct hw hw = { .dead = true };

	hw_lock(d);
	if (!d->dead)
		hw = hw_load(v);
	hw_unlock(d);
	return hw;
}

// Enter the guest: from here to leave_guest() nobody takes from this processor what it was entered with.
static struct hw enter_guest(struct vcpu *v)
{
	u32 cpu = host_cpu_of(v), drops;
	enum hv_status status;
	struct hw hw;

	do {
		drops = tlb_drops(cpu);
		while ((status = vcpu_enter(v)) == HV_EBUSY && wait_for_step())
			;
		hw = status == HV_OK ? hw_sample(v) : (struct hw){ .dead = true };
	} while (!hold_unless(cpu, drops));
	return hw;
}

static void leave_guest(const struct vcpu *v)
{
	tlb_release(host_cpu_of(v));
}

// ---- 2. translation of one page -----------------------------------------------------------------------

// The oldest or newest page entry that grants the access. A store through an entry without D needs a
// walk that sets it, so such an entry does not count.
static const struct tlb_entry *pick_page(u32 cpu, const struct hw *hw, u64 va, const struct cpu_access *a)
{
	const struct tlb_entry *first, *found = NULL;
	u32 count = tlb_pages(cpu, &first);
	bool write = walk_error(hw, a->kind, a->cpl) & PF_W;

	for (u32 i = 0; i < count; i++) {
		const struct tlb_entry *e = &first[i];

		if (e->va != (va & ~(u64)(FRAME_BYTES - 1)) || (write && !e->dirty) ||
		    !walk_permits(hw, e, a->kind, a->cpl))
			continue;
		found = e;
		if (a->pick == TLB_OLDEST)
			break;
	}
	return found;
}

struct page_target {
	mfn_t frame;
	u32 error;
	bool granted, cached;
};

static struct page_target translate(const struct vcpu *v, const struct hw *hw, u64 va, const struct cpu_access *a)
{
	struct page_target t = { .granted = true };
	u32 cpu = host_cpu_of(v);
	struct cpu_walk w;

	if (a->pick == TLB_OLDEST || a->pick == TLB_NEWEST) {
		const struct tlb_entry *e = pick_page(cpu, hw, va, a);

		if (e) {
			t.frame = mfn(e->mfn);
			t.cached = true;
			return t;
		}
		t.cached = walk_from_table(cpu, hw, va, a, &w);
	}
	if (!t.cached) {
		walk_root_to_page(hw, va, a->kind, a->cpl, true, &w);
		if (w.table.mfn)
			tlb_add_table(cpu, &w.table);
	}
	t.granted = w.granted;
	t.error = w.error;
	t.frame = mfn(w.page.mfn);
	if (w.granted)
		tlb_add_page(cpu, &w.page);
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
	*insn = flight_of(v)->insn;
}

bool port_next_insn(struct vcpu *v, struct hv_insn *insn)
{
	struct flight *f = flight_of(v);
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
	if (flight_of(x->v)->done) {
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
	const struct flight *f = flight_of(x->v);

	if (x->r->stepped)
		host_finding("E1.43 liveness", "a step was interrupted without a word");
	else if (host_is_dead(x->v->domain))
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
	struct flight *f = flight_of(x->v);
	struct cpu_result *r = x->r;
	u32 hw_error = error;
	gva_t cr2 = gva(va);

	r->end = CPU_STUCK;
	if (r->faults++ == x->budget) {
		host_finding("E1.43 liveness", "va 0x%llx still faults with error 0x%x after %u faults",
			     (unsigned long long)va, error, x->budget);
		return false;
	}
	tlb_drop_va(host_cpu_of(x->v), va);
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

// Outside long mode addresses have 32 bits.
static u64 wrap(const struct hw *hw, u64 va)
{
	return hw->efer & EFER_LMA ? va : va & UINT32_MAX;
}

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
	memory_read(to, s->at[0], s->bytes[0]);
	if (s->bytes[1])
		memory_read((u8 *)to + s->bytes[0], s->at[1], s->bytes[1]);
}

static void span_store(const struct span *s, const void *from)
{
	memory_write(s->at[0], from, s->bytes[0]);
	if (s->bytes[1])
		memory_write(s->at[1], (const u8 *)from + s->bytes[0], s->bytes[1]);
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

enum translated { ALL_GRANTED, PAGE_FAULTS, NOT_CANONICAL, KILLED };

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
		r->from_tlb[slot + k] = (t.cached || hw->detached) && !(r->walked & 1u << k);
		r->tlb_mfn[slot + k] = t.frame.n;
		r->tlb_gfn[slot + k] = host_parallel ? 0 : p2m_gfn_of(t.frame).n;
		s->at[k] = frame + offset;
		*va = wrap(hw, (*va | (FRAME_BYTES - 1)) + 1);
	}
	return ALL_GRANTED;
}

// One attempt at the whole instruction: the guest is entered, and all its accesses are translated.
static enum translated attempt(struct run *x, struct span *load, struct span *store, u64 *va, u32 *error)
{
	struct cpu_access a = x->access;
	struct hw hw = enter_guest(x->v);
	enum translated end;

	if (hw.dead)
		return KILLED;
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
	struct hw hw = hw_sample(x->v);
	enum translated end;
	u32 error;
	u64 va;

	x->two_phases = a->kind == CPU_RMW || a->kind == CPU_CMPXCHG;
	x->pages = a->bytes > room ? 2 : 1;
	x->budget = CPU_FAULTS_PER_PAGE * x->pages * (x->two_phases ? 2 : 1) * (host_parallel ? CPU_UNDONE : 1) +
		    (a->pick == TLB_SPURIOUS);
	if (a->kind == CPU_CMPXCHG && a->bytes == 16 && a->va % 16) {
		raise(x->r, VECTOR_GP, 0, 0);
		return;
	}
	// A processor may fault on an entry that it cached before the tables were changed for the better.
	if (a->pick == TLB_SPURIOUS && canonical(&hw, a->va) &&
	    !enter_again(x, a->va, walk_error(&hw, x->two_phases ? CPU_READ : a->kind, a->cpl) | PF_P))
		return;
	while ((end = attempt(x, &load, &store, &va, &error)) == PAGE_FAULTS) {
		leave_guest(x->v);
		if (host_finding_rule())
			return;
		if (!enter_again(x, va, error))
			return;
	}
	if (end == KILLED)
		x->r->end = CPU_DEAD;
	else if (end == NOT_CANONICAL)
		raise(x->r, VECTOR_GP, 0, 0);
	else
		perform(a, &load, &store, x->r);
	leave_guest(x->v);
}

void cpu_access(struct vcpu *v, const struct cpu_access *a, struct cpu_result *r)
{
	struct run x = { .v = v, .access = *a, .r = r };
	struct flight *f = flight_of(v);

	*r = (struct cpu_result){ .end = CPU_STUCK };
	v->rflags_ac = a->ac;
	struct hw hw = hw_sample(v);

	x.access.va = wrap(&hw, a->va);
	f->done = 0;
	insn_load(f, &x.access);
	run_access(&x);
	f->done = 0;
	f->then = NULL; // it may not outlive the caller
	if (r->stepped)
		vcpu_step_done(v);
}
