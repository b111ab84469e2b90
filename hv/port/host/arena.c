// SPDX-License-Identifier: GPL-2.0-or-later
// Machine memory of the host port.
//
//  1. the arena: up to HOST_FRAMES_MAX frames in one mapping, plus a byte per frame that says who owns it
//  2. maps: pointers into the arena, counted
//  3. boot memory: one bump allocator, thrown away by host_reset()
//
// A frame is junk when its new owner gets it. What it held when it was freed stays until then: a
// processor whose TLB was not flushed yet reads exactly that, and the core relies on it when it puts
// the flush off until the frame is reused. ASan builds poison it for everybody but the soft CPU.
// The junk looks like a present, writable page-table entry that leads outside the arena: whoever
// walks an uninitialised table gets a translation that no rule allows, not a lucky fault.
//
// Cost: one 4 KiB fill per allocation; host_reset() touches only what the last run used. With threads the core calls
// port_frame_*() under its heap lock; everybody may ask who owns what.
#include "host.h"
#include "arena.h"
#include "thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HOST_ASAN 1
#endif

#ifdef HOST_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define BOOT_BYTES (8u << 20)
#define WORDS (FRAME_BYTES / sizeof(u64))
// P W U A D of a frame just below the arena.
#define JUNK (((HOST_FIRST_MFN - 1) << FRAME_SHIFT) | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

static u32 frames = HOST_FRAMES; // that this machine has
static u64 *arena;               // HOST_FRAMES_MAX * WORDS
static u8 owned[HOST_FRAMES_MAX];
static u32 generation[HOST_FRAMES_MAX]; // times handed out in this run
static u32 owned_count;
static u32 owned_top;          // no frame at or above this index was owned in this run
static PER_CPU u32 maps;
static u8 *boot;
static size_t boot_used;

// ---- 1. the arena ---------------------------------------------------------------------------------

static void *grab(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	if (p == MAP_FAILED) {
		perror("umbra: machine memory");
		exit(2);
	}
	return p;
}

static u32 frame_index(mfn_t m)
{
	return m.n - HOST_FIRST_MFN < frames ? (u32)(m.n - HOST_FIRST_MFN) : HOST_FRAMES_MAX;
}

static u64 *frame_words(u32 i)
{
	return arena + (size_t)i * WORDS;
}

static bool is_owned(u32 i)
{
	return i < HOST_FRAMES_MAX && __atomic_load_n(&owned[i], __ATOMIC_RELAXED);
}

static void frame_junk(u32 i)
{
	u64 *w = frame_words(i);

	for (size_t k = 0; k < WORDS; k++)
		memory_store(&w[k], JUNK);
}

static void arena_build(void)
{
	arena = grab((size_t)HOST_FRAMES_MAX * FRAME_BYTES);
	boot = grab(BOOT_BYTES);
	POISON(arena, (size_t)HOST_FRAMES_MAX * FRAME_BYTES);
}

void arena_reset(void)
{
	if (!arena)
		arena_build();
	for (u32 i = 0; i < owned_top; i++) {
		generation[i] = 0;
		if (!owned[i])
			continue;
		owned[i] = 0;
		POISON(frame_words(i), FRAME_BYTES);
	}
	owned_count = 0;
	frames = HOST_FRAMES;
	owned_top = 0;
	maps = 0;
	POISON(boot, boot_used);
	boot_used = 0;
}

void host_set_frames(u32 count)
{
	if (!count || count > HOST_FRAMES_MAX)
		port_fatal("a machine of that size cannot be made");
	frames = count;
}

void port_frames(mfn_t *first, u32 *count)
{
	*first = mfn(HOST_FIRST_MFN);
	*count = frames;
}

void port_frame_allocated(mfn_t m)
{
	u32 i = frame_index(m);

	if (i == HOST_FRAMES_MAX || owned[i])
		port_fatal("frame heap hands out a frame that is outside memory or has an owner");
	__atomic_store_n(&owned[i], 1, __ATOMIC_RELAXED);
	owned_count++;
	if (i >= owned_top)
		owned_top = i + 1;
	UNPOISON(frame_words(i), FRAME_BYTES);
	__atomic_store_n(&generation[i], generation[i] + 1, __ATOMIC_RELAXED);
	frame_junk(i);
}

void port_frame_freed(mfn_t m)
{
	u32 i = frame_index(m);

	if (i == HOST_FRAMES_MAX || !owned[i])
		port_fatal("frame freed that is outside memory or has no owner");
	__atomic_store_n(&owned[i], 0, __ATOMIC_RELAXED);
	owned_count--;
	POISON(frame_words(i), FRAME_BYTES);
}

bool host_frame_owned(mfn_t m)
{
	u32 i = frame_index(m);

	return is_owned(i);
}

u64 *host_frame(mfn_t m)
{
	u32 i = frame_index(m);

	return is_owned(i) ? frame_words(i) : NULL;
}

u32 host_frame_generation(mfn_t m)
{
	u32 i = frame_index(m);

	return i < HOST_FRAMES_MAX ? __atomic_load_n(&generation[i], __ATOMIC_RELAXED) : 0;
}

u64 *arena_word(mfn_t m, u32 index)
{
	u32 i = frame_index(m);

	return i < HOST_FRAMES_MAX ? frame_words(i) + index % WORDS : NULL;
}

__attribute__((no_sanitize("address"))) u64 arena_load(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

__attribute__((no_sanitize("address"))) void arena_store(u64 *word, u64 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

__attribute__((no_sanitize("address"))) bool arena_set_bits(u64 *word, u64 old, u64 bits)
{
#ifdef HOST_THREADS
	return __atomic_compare_exchange_n(word, &old, old | bits, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
#else
	*word = old | bits;
	return true;
#endif
}

// So few frames were never used that a run of them may have been hard to find.
#define FULL_SLACK (2u << P2M_LARGE_ORDER)

bool host_machine_was_full(void)
{
	return owned_top + FULL_SLACK >= frames;
}

u32 host_frames_owned(void)
{
	return owned_count;
}

// ---- 2. maps --------------------------------------------------------------------------------------

void *port_map(mfn_t m)
{
	u32 i = frame_index(m);

	if (i == HOST_FRAMES_MAX)
		port_fatal("port_map of a frame outside memory");
	maps++;
	return frame_words(i);
}

void port_unmap(const void *p)
{
	const u64 *w = p;

	if (!maps || w < arena || w >= arena + (size_t)HOST_FRAMES_MAX * WORDS)
		port_fatal("port_unmap of what was not mapped");
	maps--;
}

u32 host_maps_outstanding(void)
{
	return maps;
}

// ---- 3. boot memory -------------------------------------------------------------------------------

void *port_boot_alloc(size_t bytes)
{
	size_t rounded = (bytes + 63) & ~(size_t)63;
	u8 *p;

	if (rounded < bytes || rounded > BOOT_BYTES - boot_used)
		port_fatal("boot memory exhausted");
	p = boot + boot_used;
	boot_used += rounded;
	UNPOISON(p, bytes);
	memset(p, 0, bytes);
	return p;
}
