// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of the hammer kernel: vcpus that share one set of page tables and change it all the time. A vcpu is called a
// worker. What each may rely on is what the architecture promises (APM vol. 2, 5.5.3), no less: a change that takes
// rights away counts on other workers once they have flushed, one that only adds to what was not present counts at once.
//
//   physical: 1 MiB     2 MiB  4 MiB              6 MiB    8 MiB
//             | kernel  |      | 512 data pages   | tables |
//
// A data page starts with its own number (page_mark), and each worker has words of its own in it, one for each way to
// store there. So a load through any mapping tells which page is behind it, and nobody's store may get lost.
//
// One check is sharper than the architecture: A stays clear until an access. A real processor may set it early; QEMU does
// not, and Umbra must not.
#ifndef STRESS_LOAD_HAMMER_H
#define STRESS_LOAD_HAMMER_H

#define WORKERS 4
#define STACK_SHIFT 14

#ifndef __ASSEMBLER__
#include "kernel.h"

#define DATA_AT 0x400000u // one large page
#define DATA_PAGES 512u
#define TABLES_AT 0x600000u
#define TABLES_END 0x800000u
#define ENTRIES 512u

// Each region is what one entry of the window's second level maps: 2 MiB. Those with a number for each worker belong
// to that worker; the last two are everybody's, under locks.
enum region {
	REGION_SLICE = 0,
	REGION_TREE = REGION_SLICE + WORKERS,
	REGION_SPLIT = REGION_TREE + WORKERS,
	REGION_SLOTS = REGION_SPLIT + WORKERS,
	REGION_GROVE,
	REGION_COUNT
};

// How a word got into a data page. What the first ones store does not depend on who was faster.
enum store {
	STORE_SLICE, STORE_TREE, STORE_SPLIT,
	STORE_FIXED_COUNT,
	STORE_SLOT = STORE_FIXED_COUNT, STORE_GROVE,
	STORE_COUNT
};

enum op {
	OP_WORK_SLICE, OP_WORK_TREE, OP_WORK_SPLIT, OP_WORK_SLOT, OP_WORK_SLOT_READ,
	OP_WORK_GROVE, OP_WORK_GROVE_READ, OP_WORK_RELOAD, OP_WORK_COUNT
};

struct worker {
	u32 id, round;
	enum op op;
	u64 row;                    // of random numbers, for the present op alone
	u64 sum;                    // of what depends on the parameters alone
	u32 counts[OP_WORK_COUNT];
	u64 stored[DATA_PAGES][STORE_COUNT];
} __attribute__((aligned(64)));

// "hammer: MISMATCH what ..." with two numbers, and the run has failed.
_Noreturn void hammer_mismatch(const struct worker *w, const char *what, u64 a, u64 b);

// ---- tables (hammer_map.c) ----------------------------------------------------------------------
void map_start(void); // call once, on vcpu 0
void map_device(u64 at); // a 2 MiB page of the first 4 GiB, one to one, not cached
static inline u64 region_at(u32 region, u32 index) { return BIT(39) + ((u64)region << 21) + (u64)index * FRAME_BYTES; }
static inline u64 data_at(u32 page) { return DATA_AT + (u64)page * FRAME_BYTES; }
u64 *map_new_table(void);          // zeroed; never given back
u64 map_root(u32 n);               // two roots with the same contents, but for the entry that maps the root itself

// The second-level entry of a region, and an entry of the table that it names, at an address that shows it: in the
// direct map, or where the root maps itself. Not while another worker may unlink the table.
volatile u64 *map_region_entry(struct worker *w, u32 region);
volatile u64 *map_entry(struct worker *w, u32 region, u32 index);

// Write an entry, by one of the instructions that a kernel might use.
void entry_write(struct worker *w, volatile u64 *entry, u64 value);
static inline u64 entry_read(volatile u64 *entry) { return __atomic_load_n(entry, __ATOMIC_SEQ_CST); }
static inline u64 without_ad(u64 entry) { return entry & ~(PTE_A | PTE_D); }

// ---- flushes, locks, waiting (hammer_flush.c) ---------------------------------------------------
void flush_join(struct worker *w);  // from now on others wait for w's flushes
void flush_leave(struct worker *w); // w uses the window no more
void flush_poll(struct worker *w);  // flush if somebody has asked for it
void flush_own(struct worker *w);   // CR3
void flush_all(struct worker *w);   // returns when every worker has flushed
void wait_step(struct worker *w, u32 *spins); // in every loop that waits for another worker
void lock_take(struct worker *w, u32 *lock);
void lock_give(u32 *lock);

// ---- checked accesses (hammer_data.c) -----------------------------------------------------------
static inline u64 page_mark(u32 page) { return UINT64_C(0x70616765000000) << 8 | page; }
static inline bool is_page_mark(u64 value) { return value - page_mark(0) < DATA_PAGES; }
void data_start(void);
void expect_page(struct worker *w, u64 va, u32 page);                // a load works and shows that page
void expect_store(struct worker *w, u64 va, u32 page, enum store k); // a store works and ends up there
void expect_fault(struct worker *w, u64 va, bool write, u64 error);
void expect_bits(struct worker *w, volatile u64 *entry, u64 bits);   // exactly these of A and D
u64 data_check(const struct worker *workers);                        // every word of all pages; a sum

// A table that is out of use is filled with a pattern. Nobody else may write to it then.
void scrap_fill(u64 *table);
void scrap_check(struct worker *w, u64 *table);

// ---- what a worker does (hammer_own.c, hammer_shared.c) -----------------------------------------
void own_start(struct worker *w);
void own_slice(struct worker *w); // remap one page
void own_tree(struct worker *w);  // take a table out, put another in
void own_split(struct worker *w); // a large page becomes small ones, and large again
void shared_start(struct worker *w);
void shared_slot(struct worker *w);
void shared_slot_read(struct worker *w);
void shared_grove(struct worker *w);
void shared_grove_read(struct worker *w);

// ---- bare hardware (hammer_wake.c) --------------------------------------------------------------
// Start a processor at worker_entry, and wait until *arrived is its number. False: it does not come.
bool wake(u32 id, const u32 *arrived);
#endif

#endif
