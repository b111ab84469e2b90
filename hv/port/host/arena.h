// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the host port know of each other; host.h is what others see.
#ifndef HV_PORT_HOST_ARENA_H
#define HV_PORT_HOST_ARENA_H

#include "host.h"

void arena_reset(void); // every frame without owner and full of junk, boot memory empty
void cpu_reset(void);   // no instruction in flight

// One word of a frame, whoever owns it: what the memory bus does. NULL outside memory. Frames that
// nobody owns are poisoned: use it through arena_load() and arena_store() alone.
u64 *arena_word(mfn_t m, u32 index);
u64 arena_load(const u64 *word);
void arena_store(u64 *word, u64 value);
// Add bits to what was read as `old`. With threads false when it has changed meanwhile: nothing is stored.
bool arena_set_bits(u64 *word, u64 old, u64 bits);

// late.c: a lock was taken, translations were flushed, a lock is about to be given back.
void late_reset(void); // a lock that is held now is never given back
void late_lock(const struct hv_lock *lock);
void late_flush(u32 cpu_mask);
void late_unlock(const struct hv_lock *lock);

// A processor is in the guest: until tlb_release() nobody else touches its TLB. Without threads nothing to do.
void tlb_hold(u32 cpu);
void tlb_release(u32 cpu);

#endif
