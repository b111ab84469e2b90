// SPDX-License-Identifier: GPL-2.0-or-later
// Machine memory: reads the loader's map, finds the largest run of RAM below 4 GiB that neither the
// image nor a module occupies, and splits it: the core's boot-time tables first, frames behind.
//
//   run:  | tables: 1/64 of the run + TABLES_BYTES | frames ............................. |
//
// Parts: command line; modules and guests; the run; the port functions about memory.
// The core's frame table takes 32 bytes for 4096; what it does not use of the tables part is lost.
// Memory above 4 GiB is not used: the host's map and the 3-level shadow roots end there.
#include "../../base/mem.h"
#include "../../port.h"
#include "../../shadow/shadow.h"
#include "boot.h"
#include "console.h"
#include "multiboot.h"
#include "watchdog.h"

#define MEMORY_END BIT(32)
#define MEMORY_FIRST 0x100000u // below lie the loader's and firmware's things
#define TABLES_BYTES 0x100000u
#define TABLES_ALIGN 64u
#define RUN_BYTES_MIN 0x1000000u
#define RESERVED_MAX (BOOT_MODULES_MAX + 1)

struct range {
	u64 start, end;
};

extern const u8 image_start[], image_end[];

struct boot_info boot;
static struct range reserved[RESERVED_MAX];
static u32 reserved_count;
static struct range tables, frames;

// ---- command line ------------------------------------------------------------------------------

static void copy_text(char *to, u32 from)
{
	const char *text = (const char *)(uintptr_t)from;
	u32 i = 0;

	if (from)
		for (; text[i] && i + 1 < BOOT_TEXT_MAX; i++)
			to[i] = text[i];
	to[i] = 0;
}

// Behind `key` where it begins a word of the line, NULL when it does not.
static const char *find_option(const char *line, const char *key)
{
	for (const char *at = line; *at; at++) {
		const char *k = key, *c = at;

		if (at != line && at[-1] != ' ')
			continue;
		while (*k && *c == *k) {
			k++;
			c++;
		}
		if (!*k)
			return c;
	}
	return NULL;
}

// Is the word `key` in the line?
static bool option_given(const char *line, const char *key)
{
	const char *end = find_option(line, key);

	return end && (*end == 0 || *end == ' ');
}

// The value of `key`, which ends with =, decimal or 0x..; `standard` when the key is not there.
static u32 option_value(const char *line, const char *key, u32 standard)
{
	const char *c = find_option(line, key);
	u32 base = 10, value = 0;

	if (!c)
		return standard;
	if (c[0] == '0' && c[1] == 'x') {
		base = 16;
		c += 2;
	}
	for (;; c++) {
		u32 digit = *c >= '0' && *c <= '9'   ? (u32)(*c - '0')
			    : *c >= 'a' && *c <= 'f' ? (u32)(*c - 'a') + 10
						     : base;

		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

// ---- modules and guests ------------------------------------------------------------------------

static void read_modules(const struct multiboot_info *info)
{
	const struct multiboot_module *module = (const void *)(uintptr_t)info->mods_addr;

	if (!(info->flags & MULTIBOOT_INFO_MODULES))
		return;
	if (info->mods_count > BOOT_MODULES_MAX)
		port_fatal("too many boot modules");
	for (u32 i = 0; i < info->mods_count; i++) {
		struct boot_module *m = &boot.module[boot.module_count++];

		m->data = (const u8 *)(uintptr_t)module[i].start;
		m->bytes = module[i].end - module[i].start;
		copy_text(m->text, module[i].cmdline);
		reserved[reserved_count++] = (struct range){ module[i].start, module[i].end };
	}
}

// Options of a guest: what its kernel's text says, else what the image's command line says.
static u32 guest_option(const char *text, const char *line, const char *key, u32 standard)
{
	return option_value(text, key, option_value(line, key, standard));
}

// A module whose text has the word `domain` is the kernel of a further guest, and the first module that of the first.
// The text of a kernel without that word is the guest's own.
static void find_guests(const char *line)
{
	struct boot_guest *g = NULL;

	for (u32 i = 0; i < boot.module_count; i++) {
		const struct boot_module *m = &boot.module[i];

		if (g && !option_given(m->text, "domain")) {
			if (g->module_count++ == BOOT_GUEST_MODULES_MAX)
				port_fatal("too many boot modules for one guest");
			continue;
		}
		if (boot.guest_count == BOOT_GUESTS_MAX)
			port_fatal("too many guests");
		g = &boot.guest[boot.guest_count++];
		g->module = m;
		g->module_count = 1;
		const char *text = option_given(m->text, "domain") ? m->text : "";

		g->vcpus = guest_option(text, line, "vcpus=", 1);
		g->pool_pages = guest_option(text, line, "pool=", 0);
		g->opts = guest_option(text, line, "opts=", SHADOW_OPT_ALL);
		g->audit = guest_option(text, line, "audit=", AUDIT_ALL);
		g->ram_mib = guest_option(text, line, "ram=", 0);
	}
}

// ---- the run -----------------------------------------------------------------------------------

// The largest part of [r.start, r.end) that no reserved range touches. Reserved ranges cut it at their
// starts and ends, so each candidate begins at r.start or at the end of a reserved range.
static struct range largest_gap(struct range r)
{
	struct range best = { 0, 0 };

	for (u32 i = 0; i <= reserved_count; i++) {
		struct range gap = { i ? reserved[i - 1].end : r.start, r.end };
		bool inside = gap.start >= r.start && gap.start < r.end;

		for (u32 k = 0; k < reserved_count && inside; k++) {
			if (reserved[k].start <= gap.start && gap.start < reserved[k].end)
				inside = false;
			else if (reserved[k].start >= gap.start && reserved[k].start < gap.end)
				gap.end = reserved[k].start;
		}
		if (inside && gap.end - gap.start > best.end - best.start)
			best = gap;
	}
	return best;
}

static struct range find_run(const struct multiboot_info *info)
{
	struct range best = { 0, 0 };

	if (!(info->flags & MULTIBOOT_INFO_MMAP))
		port_fatal("the boot loader gave no memory map");
	for (u32 at = 0; at < info->mmap_length;) {
		const struct multiboot_mmap *entry = (const void *)(uintptr_t)(info->mmap_addr + at);
		u64 base = (u64)entry->base[1] << 32 | entry->base[0];
		u64 length = (u64)entry->length[1] << 32 | entry->length[0];
		struct range r = { base, base + length };

		at += entry->size + sizeof(entry->size);
		if (r.start < MEMORY_FIRST)
			r.start = MEMORY_FIRST;
		if (r.end > MEMORY_END)
			r.end = MEMORY_END;
		if (entry->type != MULTIBOOT_MMAP_RAM || r.start >= r.end)
			continue;
		r = largest_gap(r);
		if (r.end - r.start > best.end - best.start)
			best = r;
	}
	best.start = (best.start + FRAME_BYTES - 1) & ~(u64)(FRAME_BYTES - 1);
	best.end &= ~(u64)(FRAME_BYTES - 1);
	if (best.start + RUN_BYTES_MIN > best.end)
		port_fatal("less than 16 MiB of contiguous memory");
	return best;
}

void boot_read(u32 magic, u32 information)
{
	const struct multiboot_info *info = (const void *)(uintptr_t)information;
	char line[BOOT_TEXT_MAX];

	if (magic != MULTIBOOT_BOOT_MAGIC)
		port_fatal("not started by a Multiboot loader");
	copy_text(line, info->flags & MULTIBOOT_INFO_CMDLINE ? info->cmdline : 0);
	boot.check_every = option_value(line, "check=", 0);
	boot.cost = option_given(line, "cost");
	boot.cpus = option_value(line, "cpus=", CPUS_MAX);
	boot.watchdog = option_value(line, "watchdog=", WATCHDOG_SECONDS);
	boot.wedge = option_given(line, "wedge=all") ? WATCHDOG_WEDGE_ALL : option_value(line, "wedge=", CPUS_MAX);
	reserved[reserved_count++] =
		(struct range){ (u64)(uintptr_t)image_start, (u64)(uintptr_t)image_end };
	read_modules(info);
	find_guests(line);

	struct range run = find_run(info);

	tables.start = run.start;
	tables.end = run.start + TABLES_BYTES + (run.end - run.start) / 64;
	tables.end = (tables.end + FRAME_BYTES - 1) & ~(u64)(FRAME_BYTES - 1);
	frames = (struct range){ tables.end, run.end };
	console_line("umbra: memory: %llu MiB of frames at 0x%llx, %u modules",
		     (unsigned long long)((frames.end - frames.start) >> 20), (unsigned long long)frames.start,
		     boot.module_count);
}

// ---- port.h: machine memory -----------------------------------------------------------------------

void port_frames(mfn_t *first, u32 *count)
{
	*first = mfn(frames.start >> FRAME_SHIFT);
	*count = (u32)((frames.end - frames.start) >> FRAME_SHIFT);
}

void *port_boot_alloc(size_t bytes)
{
	void *at = (void *)(uintptr_t)tables.start;

	if (bytes > tables.end - tables.start)
		port_fatal("no memory for the core's tables");
	tables.start += (bytes + TABLES_ALIGN - 1) & ~(u64)(TABLES_ALIGN - 1);
	mem_zero(at, bytes);
	return at;
}

void *port_map(mfn_t m)
{
	return (void *)(uintptr_t)(m.n << FRAME_SHIFT);
}

void port_unmap(const void *p)
{
	(void)p; // the map is permanent
}

void port_frame_allocated(mfn_t m)
{
	(void)m;
}

void port_frame_freed(mfn_t m)
{
	(void)m;
}
