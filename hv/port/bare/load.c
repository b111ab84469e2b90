// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's boot loader: Multiboot 1, as `qemu -kernel` and GRUB do it.
//
//   guest-physical: 0          0x9000      1 MiB           8 MiB              low_end      1 GiB
//                   | RAM      | info page | kernel        | modules | 8 MiB+ |  hole      | f0..f15 | hole
//
// Parts: RAM; the kernel, by address fields or by ELF program headers; modules; the information page;
// registers. Files come from the operator, not from the guest, but are checked all the same: a truncated
// file gives a message. Segments below the information page's end are refused.
#include "load.h"

#include "../../base/mem.h"
#include "../../../fuzz/trace/trace.h"
#include "multiboot.h"
#include "svm.h"

#define INFO_AT 0x9000u
#define KERNEL_FIRST 0x100000u
#define MODULES_FIRST 0x800000u
#define LOW_RAM_BYTES 0x1000000u
#define LOW_RAM_MAX 0x20000000u // keep well below f0
#define MEM_LOWER_KB 640u

struct loader {
	struct domain *d;
	const u8 *file;
	u32 bytes;
	u64 entry, end; // end: first byte behind the kernel
};

// ---- RAM -----------------------------------------------------------------------------------------

static const char *add_ram(struct domain *d, u64 from_gfn, u64 to_gfn)
{
	for (u64 g = from_gfn; g < to_gfn; g++)
		if (domain_add_ram(d, gfn(g)) != HV_OK)
			return "not enough machine memory for the guest's RAM";
	return NULL;
}

static u64 page_up(u64 at)
{
	return (at + FRAME_BYTES - 1) & ~(u64)(FRAME_BYTES - 1);
}

// ---- the kernel ----------------------------------------------------------------------------------

// Copy file[from, from + bytes) to guest-physical `to`; RAM behind it up to memory_bytes is zero already.
static const char *load_piece(struct loader *l, u64 to, u64 from, u64 bytes, u64 memory_bytes)
{
	if (from > l->bytes || bytes > l->bytes - from || bytes > memory_bytes)
		return "the guest kernel's file is truncated";
	if (to < KERNEL_FIRST || memory_bytes > LOW_RAM_BYTES || to > LOW_RAM_BYTES - memory_bytes)
		return "the guest kernel does not fit between 1 MiB and 16 MiB";
	if (domain_write(l->d, gpa(to), l->file + from, (u32)bytes) != HV_OK)
		return "the guest kernel lies outside of RAM";
	if (to + memory_bytes > l->end)
		l->end = to + memory_bytes;
	return NULL;
}

static u64 field(const struct loader *l, u64 at, u32 bytes)
{
	u64 value = 0;

	if (at + bytes <= l->bytes)
		mem_copy(&value, l->file + at, bytes);
	return value;
}

// The parts of ELF that a loader needs: offsets of fields in the file header and in program headers.
struct elf_layout {
	u8 entry, phoff, phentsize, phnum, word;
	u8 type, offset, paddr, filesz, memsz;
};
static const struct elf_layout elf32 = { 24, 28, 42, 44, 4, 0, 4, 12, 16, 20 };
static const struct elf_layout elf64 = { 24, 32, 54, 56, 8, 0, 8, 24, 32, 40 };
#define ELF_MAGIC 0x464c457fu
#define ELF_PT_LOAD 1u

static const char *load_elf(struct loader *l)
{
	const struct elf_layout *e = field(l, 4, 1) == 2 ? &elf64 : &elf32;
	u64 at = field(l, e->phoff, e->word);
	u64 count = field(l, e->phnum, 2), stride = field(l, e->phentsize, 2);

	if (field(l, 0, 4) != ELF_MAGIC)
		return "the guest kernel is neither an ELF file nor has address fields";
	l->entry = field(l, e->entry, e->word);
	for (; count--; at += stride) {
		u64 file_bytes = field(l, at + e->filesz, e->word), memory = field(l, at + e->memsz, e->word);
		const char *bad = NULL;

		if (field(l, at + e->type, 4) == ELF_PT_LOAD && memory)
			bad = load_piece(l, field(l, at + e->paddr, e->word), field(l, at + e->offset, e->word),
					 file_bytes, memory);
		if (bad)
			return bad;
	}
	return NULL;
}

static const char *load_flat(struct loader *l, const struct multiboot_header *h, u32 header_at)
{
	u64 from = header_at - (h->header_addr - h->load_addr);
	u64 bytes = h->load_end_addr ? h->load_end_addr - h->load_addr : l->bytes - from;
	u64 memory = h->bss_end_addr ? h->bss_end_addr - h->load_addr : bytes;

	l->entry = h->entry_addr;
	return load_piece(l, h->load_addr, from, bytes, memory < bytes ? bytes : memory);
}

static const char *load_kernel(struct loader *l)
{
	for (u32 at = 0; at + 12 <= l->bytes && at < MULTIBOOT_HEADER_SEARCH; at += 4) {
		struct multiboot_header h = { 0 };

		mem_copy(&h, l->file + at, l->bytes - at < sizeof(h) ? l->bytes - at : sizeof(h));
		if (h.magic == MULTIBOOT_HEADER_MAGIC && h.magic + h.flags + h.checksum == 0)
			return h.flags & MULTIBOOT_HEADER_ADDRESSES ? load_flat(l, &h, at) : load_elf(l);
	}
	return "the guest kernel has no Multiboot header";
}

// ---- modules and the information page ----------------------------------------------------------------

// What lies at INFO_AT.
struct info_page {
	struct multiboot_info info;
	struct multiboot_module module[BOOT_GUEST_MODULES_MAX];
	struct multiboot_mmap mmap[2];
	char text[BOOT_GUEST_MODULES_MAX][BOOT_TEXT_MAX];
};
_Static_assert(sizeof(struct info_page) <= FRAME_BYTES, "one page of information");

static u32 info_address(size_t offset)
{
	return INFO_AT + (u32)offset;
}

static struct multiboot_mmap ram_entry(u64 base, u64 length)
{
	return (struct multiboot_mmap){
		.size = sizeof(struct multiboot_mmap) - sizeof(u32),
		.base = { (u32)base, (u32)(base >> 32) },
		.length = { (u32)length, (u32)(length >> 32) },
		.type = MULTIBOOT_MMAP_RAM,
	};
}

static void fill_info(struct info_page *page, const struct boot_guest *guest, u64 low_end)
{
	struct multiboot_info *info = &page->info;

	info->flags = MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_CMDLINE | MULTIBOOT_INFO_MODULES | MULTIBOOT_INFO_MMAP;
	info->mem_lower = MEM_LOWER_KB;
	info->mem_upper = (u32)((low_end - KERNEL_FIRST) >> 10);
	info->cmdline = info_address(offsetof(struct info_page, text));
	info->mods_count = guest->module_count - 1;
	info->mods_addr = info_address(offsetof(struct info_page, module));
	info->mmap_length = sizeof(page->mmap);
	info->mmap_addr = info_address(offsetof(struct info_page, mmap));
	page->mmap[0] = ram_entry(0, low_end);
	page->mmap[1] = ram_entry(TRACE_F0_GFN << FRAME_SHIFT, (u64)TRACE_FRAMES << FRAME_SHIFT);
	for (u32 i = 0; i < guest->module_count; i++)
		mem_copy(page->text[i], guest->module[i].text, BOOT_TEXT_MAX);
}

static const char *load_modules(struct domain *d, const struct boot_guest *guest, u64 at, struct info_page *page)
{
	for (u32 i = 1; i < guest->module_count; i++) {
		const struct boot_module *m = &guest->module[i];

		if (domain_write(d, gpa(at), m->data, m->bytes) != HV_OK)
			return "a module lies outside of the guest's RAM";
		page->module[i - 1] = (struct multiboot_module){
			.start = (u32)at,
			.end = (u32)(at + m->bytes),
			.cmdline = info_address(offsetof(struct info_page, text) + i * BOOT_TEXT_MAX),
		};
		at = page_up(at + m->bytes);
	}
	return NULL;
}

// ---- all of it -----------------------------------------------------------------------------------------

const char *load_guest(struct domain *d, const struct boot_guest *guest)
{
	static struct info_page page; // one guest is loaded at a time
	struct loader l = { .d = d, .file = guest->module[0].data, .bytes = guest->module[0].bytes };
	struct svm_vcpu *s = svm_of(&d->vcpu[0]);
	u64 modules = 0, low_end, at;
	const char *bad;

	mem_zero(&page, sizeof(page));
	for (u32 i = 1; i < guest->module_count; i++)
		modules += page_up(guest->module[i].bytes);
	low_end = LOW_RAM_BYTES + modules;
	if (low_end < (u64)guest->ram_mib << 20)
		low_end = (u64)guest->ram_mib << 20;
	if (low_end > LOW_RAM_MAX)
		return "the guest's modules or its memory are too large";
	bad = add_ram(d, 0, low_end >> FRAME_SHIFT);
	if (!bad)
		bad = add_ram(d, TRACE_F0_GFN, TRACE_F0_GFN + TRACE_FRAMES);
	if (!bad)
		bad = load_kernel(&l);
	if (bad)
		return bad;
	at = page_up(l.end) > MODULES_FIRST ? page_up(l.end) : MODULES_FIRST;
	bad = load_modules(d, guest, at, &page);
	if (bad)
		return bad;
	fill_info(&page, guest, low_end);
	if (domain_write(d, gpa(INFO_AT), &page, sizeof(page)) != HV_OK)
		return "the guest's first megabyte is not RAM";
	s->gpr[GPR_RAX] = MULTIBOOT_BOOT_MAGIC;
	s->gpr[GPR_RBX] = INFO_AT;
	s->vmcb->rip = (u32)l.entry;
	return NULL;
}
