// SPDX-License-Identifier: GPL-2.0-or-later
// The adversarial TLB: what a processor could still hold, kept until the architecture takes it away.
//
//  1. one bounded list of page translations and one of paging-structure cache entries per processor,
//     oldest first
//  2. holding a list; the port's flush functions
//  3. the checker
//
// Real processors drop translations for reasons of their own; here only a flush, an INVLPG of the
// address, a page fault on the address, or a full list does. The list drops its oldest entry when it is
// full, which hardware may do at any time.
//
// Cost: adding and dropping look through one list (64 entries of 32 bytes). A reset is O(processors).
// With threads a processor holds its lists while it is in the guest, and whoever flushes it waits for that.
// It does not know global pages (the core makes none), ASIDs or PCIDs.
#include "arena.h"
#include "thread.h"

#ifdef HOST_THREADS
#include <sched.h>
#endif
#include <string.h>

#define REGION_MASK (~UINT64_C(0) << 21)
#define PAGE_MASK (~UINT64_C(0) << FRAME_SHIFT)

static struct tlb {
	u32 pages, tables;
	u32 drops; // times that something may have been dropped in this run
	u32 held;  // with threads: somebody works on it
	bool news; // there may be pages that no checker has seen
	struct tlb_entry page[TLB_PAGES_MAX];
	struct tlb_entry table[TLB_TABLES_MAX];
} tlbs[HOST_CPUS];

// ---- 1. the lists ---------------------------------------------------------------------------------

static bool same(const struct tlb_entry *a, const struct tlb_entry *b)
{
	return a->va == b->va && a->mfn == b->mfn && a->generation == b->generation && a->w == b->w &&
	       a->u == b->u && a->nx == b->nx && a->dirty == b->dirty;
}

static void list_take_out(struct tlb_entry *list, u32 *count, u32 i)
{
	memmove(list + i, list + i + 1, (*count - i - 1) * sizeof(*list));
	--*count;
}

static void list_add(struct tlb_entry *list, u32 *count, u32 max, const struct tlb_entry *e)
{
	for (u32 i = *count; i-- > 0;) {
		if (!same(&list[i], e))
			continue;
		if (i + 1 != *count) {
			struct tlb_entry newest = list[i];

			list_take_out(list, count, i);
			list[(*count)++] = newest;
		}
		return;
	}
	if (*count == max)
		list_take_out(list, count, 0);
	list[(*count)++] = *e;
	list[*count - 1].seen = false;
}

static void list_drop(struct tlb_entry *list, u32 *count, u64 va)
{
	u32 kept = 0;

	for (u32 i = 0; i < *count; i++)
		if (list[i].va != va)
			list[kept++] = list[i];
	*count = kept;
}

void tlb_add_page(u32 cpu, const struct tlb_entry *e)
{
	list_add(tlbs[cpu].page, &tlbs[cpu].pages, TLB_PAGES_MAX, e);
	tlbs[cpu].news = true;
}

void tlb_add_table(u32 cpu, const struct tlb_entry *e)
{
	list_add(tlbs[cpu].table, &tlbs[cpu].tables, TLB_TABLES_MAX, e);
}

static void drop_all(struct tlb *t)
{
	__atomic_store_n(&t->drops, t->drops + 1, __ATOMIC_RELAXED);
	t->pages = t->tables = 0;
	t->news = false;
}

void tlb_drop_va(u32 cpu, u64 va)
{
	struct tlb *t = &tlbs[cpu];

	tlb_hold(cpu);
	__atomic_store_n(&t->drops, t->drops + 1, __ATOMIC_RELAXED);
	list_drop(t->page, &t->pages, va & PAGE_MASK);
	list_drop(t->table, &t->tables, va & REGION_MASK);
	tlb_release(cpu);
}

void tlb_drop_all(u32 cpu)
{
	tlb_hold(cpu);
	drop_all(&tlbs[cpu]);
	tlb_release(cpu);
}

u32 tlb_drops(u32 cpu)
{
	return __atomic_load_n(&tlbs[cpu].drops, __ATOMIC_RELAXED);
}

void tlb_reset(void)
{
	for (u32 cpu = 0; cpu < HOST_CPUS; cpu++) {
		drop_all(&tlbs[cpu]);
		tlbs[cpu].drops = tlbs[cpu].held = 0;
	}
}

u32 tlb_pages(u32 cpu, const struct tlb_entry **first)
{
	*first = tlbs[cpu].page;
	return tlbs[cpu].pages;
}

u32 tlb_tables(u32 cpu, const struct tlb_entry **first)
{
	*first = tlbs[cpu].table;
	return tlbs[cpu].tables;
}

const struct tlb_entry *tlb_next_news(u32 cpu)
{
	struct tlb *t = &tlbs[cpu];

	if (!t->news)
		return NULL;
	for (u32 i = t->pages; i-- > 0;) {
		if (t->page[i].seen)
			continue;
		t->page[i].seen = true;
		return &t->page[i];
	}
	t->news = false;
	return NULL;
}

// ---- 2. flushes -------------------------------------------------------------------------------------

void tlb_hold(u32 cpu)
{
#ifdef HOST_THREADS
	while (__atomic_exchange_n(&tlbs[cpu].held, 1, __ATOMIC_ACQUIRE))
		sched_yield();
#else
	(void)cpu;
#endif
}

void tlb_release(u32 cpu)
{
#ifdef HOST_THREADS
	__atomic_store_n(&tlbs[cpu].held, 0, __ATOMIC_RELEASE);
#else
	(void)cpu;
#endif
}

void port_tlb_flush(u32 cpu_mask)
{
	for (u32 mask = cpu_mask & (BIT(HOST_CPUS) - 1); mask; mask &= mask - 1)
		tlb_drop_all((u32)__builtin_ctz(mask));
	late_flush(cpu_mask);
}

void port_tlb_flush_va(gva_t va)
{
	tlb_drop_va(port_cpu(), va.a);
}

// ---- 3. the checker ---------------------------------------------------------------------------------

const char *tlb_check(u32 cpu, bool (*forbidden)(mfn_t m))
{
	const struct tlb *t = &tlbs[cpu];

	for (u32 i = 0; i < t->pages; i++) {
		const struct tlb_entry *e = &t->page[i];

		if (!host_frame_owned(mfn(e->mfn)))
			return "E1.42 write hole: a TLB reaches a frame that was given up";
		if (e->generation != host_frame_generation(mfn(e->mfn)))
			return "E1.42 write hole: a TLB reaches a frame that has a new owner";
		if (e->w && forbidden(mfn(e->mfn)))
			return "E1.42 write hole: a TLB may write to a page table or a removed frame";
	}
	for (u32 i = 0; i < t->tables; i++)
		if (t->table[i].generation != host_frame_generation(mfn(t->table[i].mfn)))
			return "E1.42 write hole: a TLB walks a frame that has a new owner";
	return NULL;
}
