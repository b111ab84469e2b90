// SPDX-License-Identifier: GPL-2.0-or-later
// The guest kernel: finds a trace among its boot modules, runs it with real instructions, and prints
// the observation log on COM1. The same image runs below Umbra and on bare hardware; it asks CPUID
// which of the two it is.
//
// The journey of a run: boot.S (long mode, tables) -> main -> world.c (frames, start state) -> for each
// op, ops.c -> trap.S when it may fault -> obs_line() -> serial.c -> guest_exit.
//
// No interrupts, no allocation, one stack. All memory is in the image; the trace stays where the loader put it.
#include "../../fuzz/trace/trace.h"
#include "blank.h"
#include "cpu.h"
#include "layout.h"
#include "ops.h"
#include "serial.h"
#include "trap.h"
#include "world.h"

#define MULTIBOOT_LOADED 0x2badb002u
#define MULTIBOOT_HAS_MODULES BIT(3)
#define MAPPED_BYTES BIT(30) // low memory that the kernel's tables show

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, command_line, module_count, modules;
};
struct multiboot_module {
	u32 start, end, name, reserved;
};

_Noreturn void guest_exit(u32 code)
{
	if (world_has_umbra)
		(void)world_hypercall(HYPERCALL_EXIT, code == EXIT_PASS ? 0 : 1, 0);
	else
		cpu_out8(EXIT_PORT, (u8)code);
	for (;;)
		__asm__ volatile("cli; hlt");
}

// The first boot module. No module is an empty trace, too: QEMU passes none for an empty file.
static void find_trace(u32 magic, u32 info_at, const void **data, size_t *bytes)
{
	const struct multiboot_info *info = (const void *)(KERNEL_BASE + info_at);
	const struct multiboot_module *module;

	*data = NULL;
	*bytes = 0;
	if (magic != MULTIBOOT_LOADED)
		guest_panic("not started by a Multiboot loader");
	if (!(info->flags & MULTIBOOT_HAS_MODULES) || !info->module_count)
		return;
	module = (const void *)(KERNEL_BASE + info->modules);
	if (module->end < module->start || module->end > MAPPED_BYTES)
		guest_panic("the trace lies above 1 GiB");
	*data = (const void *)(KERNEL_BASE + module->start);
	*bytes = module->end - module->start;
}

static void print(char *line, size_t bytes)
{
	line[bytes] = '\n';
	serial_bytes(line, bytes + 1);
}

static void print_memory(struct obs_digest *digest)
{
	char line[OBS_LINE_MAX + 1];
	u64 hash = obs_memory_start();

	for (u32 frame = 0; frame < TRACE_FRAMES; frame++)
		for (u32 i = 0; i < WORDS; i++)
			if (!world_is_reserved(i))
				hash = obs_memory_add(hash, cpu_load8(world_word(frame, i)));
	size_t bytes = obs_memory_line(line, hash);
	obs_digest_add(digest, NULL, line, bytes);
	print(line, bytes);
}

// On metal, when nothing of the loader's is needed any more but the trace.
static void blank_memory(const void *data, size_t bytes)
{
	extern const u8 kernel_end[];
	u64 end = (u64)kernel_end, trace_end = (u64)data + bytes;

	if (data && trace_end > end)
		end = trace_end;
	if (data && (u64)data < (u64)kernel_end)
		guest_panic("the trace lies below the kernel");
	blank_start(end - KERNEL_BASE);
}

static void run_trace(const void *data, size_t bytes)
{
	char line[OBS_LINE_MAX + 1];
	struct trace_reader reader;
	struct obs_digest digest;
	struct trace_op op;
	struct obs o = { .kind = OBS_OK };
	u32 number = 0;

	trace_open(&reader, data, bytes);
	world_start(&reader.config);
	obs_digest_start(&digest);
	while (o.kind != OBS_KILLED && trace_next(&reader, &op)) {
		ops_run(&op, &reader.config, &o);
		size_t n = obs_line(line, ++number, &op, &o);
		obs_digest_add(&digest, &op, line, n);
		print(line, n);
	}
	if (o.kind != OBS_KILLED)
		print_memory(&digest);
	print(line, obs_digest_line(line, &digest));
}

_Noreturn void main(u32 magic, u32 info_at);
_Noreturn void main(u32 magic, u32 info_at)
{
	const void *data;
	size_t bytes;

	serial_init();
	trap_init();
	world_detect();
	find_trace(magic, info_at, &data, &bytes);
	if (!world_has_umbra)
		blank_memory(data, bytes);
	run_trace(data, bytes);
	guest_exit(EXIT_PASS);
}
