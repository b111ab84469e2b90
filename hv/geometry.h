// SPDX-License-Identifier: GPL-2.0-or-later
// The limits that the fuzz build shrinks so that a run can reach them. Nothing else differs between
// the two builds: the code under test is the same.
#ifndef HV_GEOMETRY_H
#define HV_GEOMETRY_H

#ifdef HV_GEOMETRY_SMALL
#define SHADOW_COUNT_BITS 3     // references to one shadow: at most 7
#define SHADOW_PARENTS_MAX 8    // entries that name one shadow: beyond what the counter holds
#define SHADOW_MAPS_MAX 40      // shadow entries that map one frame, and a few references more
#define SHADOW_PINNED_MAX 24    // roots kept for their next use
#define SHADOW_MIN_BASE 24      // pool pages that one instruction can need
#define SHADOW_MIN_PER_VCPU 10  // and what each further loaded root keeps busy
#define SHADOW_HASH_BUCKETS 7   // collisions are the rule
#define SHADOW_CHAIN_MAX 4      // large pages in one hash chain
#define P2M_LEVEL_BITS 4        // levels and large entries within reach of a few frames
#define DIRTY_LEAF_BITS 2       // gfns below one leaf of the log-dirty tree: most frames need a branch of their own
#define DIRTY_PATH 3            // its nodes from below the root to a leaf
#define DIRTY_PIECE 8u          // gfns read or cleaned under one hold of the lock
#define DIRTY_PIECE_VISITS 64u  // entries looked at by then end a piece of a clean early
#define DIRTY_FREE_BATCH 2u     // nodes given back under one hold
#define MIGRATE_WINDOW 8u       // gfns that a migration copies under one hold of the lock
#define SHADOW_REAP_VISITS 256  // entries of dying tables looked at when a lock is given back
#else
#define SHADOW_COUNT_BITS 25
#define SHADOW_PARENTS_MAX 16384
#define SHADOW_MAPS_MAX 16384
#define SHADOW_PINNED_MAX 1024
#define SHADOW_MIN_BASE 0
#define SHADOW_MIN_PER_VCPU 256 // spec A.9, and as many pages of links
#define SHADOW_HASH_BUCKETS 4093
#define SHADOW_CHAIN_MAX 32
#define P2M_LEVEL_BITS 9
#define DIRTY_LEAF_BITS 15      // one page of bits: 128 MiB of the guest
#define DIRTY_PATH 2
#define DIRTY_PIECE 32768u
#define DIRTY_PIECE_VISITS 4096u
#define DIRTY_FREE_BATCH 64u
#define MIGRATE_WINDOW 32u
#define SHADOW_REAP_VISITS 4096
#endif

#define DIRTY_FAN_BITS 9 // entries of the log-dirty tree's inner nodes
#define SHADOW_PREFETCH_SPAN 32u // entries looked at per fault, the faulting one included (spec A.16)

#endif
