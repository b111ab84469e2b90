// SPDX-License-Identifier: GPL-2.0-or-later
// The port of core_bench: frames are one mapping, TLB flushes cost nothing, nothing ever fails.
#include "bench_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_MFN UINT64_C(0x1000)
#define BOOT_BYTES (96u << 20)

struct hv_insn bench_insn;
u32 bench_completed;
static u8 *memory, *boot;
static size_t boot_used;

static u8 *map_bytes(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("core_bench: memory");
		exit(1);
	}
	return p;
}

void bench_port_reset(void)
{
	if (!memory) {
		memory = map_bytes((size_t)BENCH_FRAMES * FRAME_BYTES);
		// The image maps machine memory with large pages; a refusal costs accuracy only.
		(void)madvise(memory, (size_t)BENCH_FRAMES * FRAME_BYTES, MADV_HUGEPAGE);
		boot = map_bytes(BOOT_BYTES);
	}
	memset(boot, 0, boot_used);
	boot_used = 0;
}

void port_frames(mfn_t *first, u32 *count)
{
	*first = mfn(FIRST_MFN);
	*count = BENCH_FRAMES;
}

void *port_boot_alloc(size_t bytes)
{
	void *p = boot + boot_used;

	boot_used += (bytes + 63) & ~(size_t)63;
	if (boot_used > BOOT_BYTES)
		port_fatal("boot memory is used up");
	return p;
}

void *port_map(mfn_t m) { return memory + ((m.n - FIRST_MFN) << FRAME_SHIFT); }
void port_unmap(const void *p) { (void)p; }
void port_frame_allocated(mfn_t m) { (void)m; }
void port_frame_freed(mfn_t m) { (void)m; }
u32 port_cpu(void) { return 0; }
void port_tlb_flush(u32 cpu_mask) { (void)cpu_mask; }
void port_tlb_flush_va(gva_t va) { (void)va; }
u32 port_phys_bits(void) { return 40; }
void port_yield(enum port_yield_site site) { (void)site; }
bool port_should_fail(enum port_fail_site site) { return (void)site, false; }
void port_log(const char *line) { (void)line; }
u64 port_entropy(void) { return 0; }

void port_lock(struct hv_lock *lock, const char *where)
{
	lock->holder = 1;
	lock->where = where;
}

void port_unlock(struct hv_lock *lock)
{
	lock->holder = 0;
}

void port_fetch_insn(struct vcpu *v, struct hv_insn *insn)
{
	(void)v;
	*insn = bench_insn;
}

// Entries into the core are measured one by one: nothing is known about what follows.
bool port_next_insn(struct vcpu *v, struct hv_insn *insn)
{
	bench_completed++;
	return (void)v, (void)insn, false;
}

u64 port_mmio_read(struct vcpu *v, gpa_t at, u32 bytes)
{
	return (void)v, (void)at, (void)bytes, 0;
}

void port_mmio_write(struct vcpu *v, gpa_t at, u32 bytes, u64 value)
{
	(void)v, (void)at, (void)bytes, (void)value;
}

void port_fatal(const char *why)
{
	fprintf(stderr, "core_bench: fatal: %s\n", why);
	exit(1);
}
