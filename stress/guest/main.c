// SPDX-License-Identifier: GPL-2.0-or-later
// The guest kernel: takes the trace that the loader brought, runs it with real instructions, and prints
// the observation log on COM1. The same image runs below Umbra and on bare hardware; it asks CPUID
// which of the two it is. It holds this kernel three times, one half for each paging mode of a guest; layout.h
// says how, and the trace which.
//
// The journey of a run: cross.S (loader, choice of the half) -> entry_*.S (stack) -> main -> world.c (frames, start
// state) -> for each op, ops.c -> access.c and trap_*.S when it may fault, crossing.c when it leaves paging ->
// obs_line() -> serial.c -> guest_exit.
//
// No interrupts, no allocation, one stack. All memory is in the image; the trace stays where the loader put it.
#include "../../fuzz/trace/trace.h"
#include "blank.h"
#include "cpu.h"
#include "map.h"
#include "ops.h"
#include "serial.h"
#include "trap.h"
#include "world.h"

#define MULTIBOOT_LOADED 0x2badb002u

// The first boot module. No module is an empty trace, too: QEMU passes none for an empty file.
static void find_trace(const void **data, size_t *bytes)
{
	const struct mailbox *m = mailbox();

	*data = NULL;
	*bytes = 0;
	if (m->magic != MULTIBOOT_LOADED)
		guest_panic("not started by a Multiboot loader");
	if (m->trace_start >= m->trace_end)
		return;
	if (m->trace_start < IMAGE_END)
		guest_panic("the trace lies below the kernel");
	*data = map_trace(m->trace_start, m->trace_end);
	*bytes = m->trace_end - m->trace_start;
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
		for (u32 at = 0; at < FRAME_BYTES; at += 8)
			if (!world_is_reserved(at))
				hash = obs_memory_add(hash, cpu_load8(world_at(frame, at)));
	size_t bytes = obs_memory_line(line, hash);
	obs_digest_add(digest, NULL, line, bytes);
	print(line, bytes);
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

_Noreturn void main(void);
_Noreturn void main(void)
{
	const void *data;
	size_t bytes;

	serial_init();
	trap_load();
	world_detect();
	if (FRAMES_BASE != trace_direct(MODE))
		guest_panic("layout.h and trace.h do not agree");
	find_trace(&data, &bytes);
	// Nothing of the loader's is needed any more but the trace.
	if (!world_has_umbra)
		blank_start(bytes ? mailbox()->trace_end : IMAGE_END);
	run_trace(data, bytes);
	guest_exit(EXIT_PASS);
}
