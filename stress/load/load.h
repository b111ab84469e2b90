// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of the load kernel. Pages are counted from the start of the working area.
//
//   physical: 0      1 MiB     2 MiB     4 MiB                            ram
//             | left  | kernel  | tables  | working area: `set` pages ... |
#ifndef STRESS_LOAD_LOAD_H
#define STRESS_LOAD_LOAD_H

#include "kernel.h"

#define TABLES_AT KERNEL_END
#define AREA_AT 0x400000u
#define RAM_MIB_MIN 8u
#define RAM_MIB_MAX 448u // what the tables are enough for
#define WINDOW_AT BIT(39)
#define WINDOW_SLOTS 512u

enum dirty_mode { DIRTY_OFF, DIRTY_ON, DIRTY_CYCLE, DIRTY_COMPARE };

// The command line; load_main.c says what the words mean.
struct load_config {
	u64 seed;
	u32 ram_mib, rounds, set, pages, stride, churn, every, migrate, clean;
	enum dirty_mode dirty;
};
extern struct load_config config;
extern u32 load_round; // the present one

// "load: MISMATCH what ..." with two numbers, and the run has failed.
_Noreturn void load_mismatch(const char *what, u64 page, u64 value);

// ---- tables (load_map.c) ------------------------------------------------------------------------
static inline u64 area_at(u32 page) { return AREA_AT + (u64)page * FRAME_BYTES; }
static inline u32 area_pages(void) { return (config.ram_mib << 20 >> FRAME_SHIFT) - (AREA_AT >> FRAME_SHIFT); }

void map_start(void);                 // all RAM in 4 KiB pages, and an empty window
volatile u64 *map_entry(u32 page);    // the entry that maps a page of the area
volatile u64 *map_window_entry(u32 slot);
void map_window_swap(void);           // unlink the window's table, make data of it, link an empty one
static inline u64 window_at(u32 slot) { return WINDOW_AT + (u64)slot * FRAME_BYTES; }

// ---- the working set (load_set.c) ---------------------------------------------------------------
void set_start(void);
void set_write(u32 page, u64 at);     // the next generation of a page, through the mapping at `at`
u64 set_first_word(u32 page);         // what a page starts with
u64 set_verify(u32 page, u64 at);     // a sum of the page; what it must hold was found
u64 set_digest(void);                 // of all RAM that is the guest's own to decide about

// ---- the window (load_window.c) -----------------------------------------------------------------
u64 window_churn(u64 *row);           // `churn` changes of the window, checked; a sum

// ---- the hypervisor (load_ask.c) ----------------------------------------------------------------
// Before and behind the work of each round, and at the end. Without Umbra nothing happens.
void ask_before_round(void);
void ask_after_round(void);
void ask_finish(void);
bool ask_is_tracking(void); // log-dirty is on, or a migration runs
u32 ask_failures(void);

#endif
