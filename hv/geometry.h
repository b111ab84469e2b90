// SPDX-License-Identifier: GPL-2.0-or-later
// The limits that the fuzz build shrinks so that a run can reach them. Nothing else differs between
// the two builds: the code under test is the same.
#ifndef HV_GEOMETRY_H
#define HV_GEOMETRY_H

#ifdef HV_GEOMETRY_SMALL
#define SHADOW_COUNT_BITS 3     // references to one shadow: at most 7
#define SHADOW_MIN_BASE 12      // pool pages that one instruction can need
#define SHADOW_MIN_PER_VCPU 5   // and what each further loaded root keeps busy
#define SHADOW_HASH_BUCKETS 7   // collisions are the rule
#else
#define SHADOW_COUNT_BITS 25
#define SHADOW_MIN_BASE 0
#define SHADOW_MIN_PER_VCPU 128 // spec A.9
#define SHADOW_HASH_BUCKETS 4093
#endif

#define SHADOW_PREFETCH_SPAN 32u // entries looked at per fault, the faulting one included (spec A.16)

#endif
