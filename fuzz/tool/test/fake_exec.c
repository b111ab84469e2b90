// SPDX-License-Identifier: GPL-2.0-or-later
// Executors for the tests of the tool: no guest, no hypervisor, only the ways in which a run can end. Each op
// answers ok. Findings come from what the trace holds:
//   push after `ctl smap=1`        finding "E1.15 refcount: 3 != 4"
//   exec after `ctl smep=1`        finding "model: value 0x12 not allowed"
//   blow after `ctl nxe=1`         the process dies of a wild pointer
//   check after `ctl wp=1`         the process hangs
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <unistd.h>

#include "../../exec/exec.h"
#include "../../exec/picture.h"

static void blow_up(void)
{
	abort();
}

static void line_out(u32 number, const struct trace_op *op, struct obs_digest *d, exec_line_fn *lines, void *ctx)
{
	struct obs o = { .kind = trace_op_class((enum trace_code)op->code) & OP_IS_CONTROL ? OBS_STATUS : OBS_OK };
	char line[OBS_LINE_MAX];

	obs_digest_add(d, op, line, obs_line(line, number, op, &o));
	if (lines)
		lines(ctx, line);
}

static int run(bool host, const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines,
	       void *ctx, struct exec_result *result)
{
	bool on[CTL_COUNT] = { 0 };
	struct trace_reader r;
	struct obs_digest d;
	struct trace_op op;
	char line[OBS_LINE_MAX];
	u32 n = 0;

	*result = (struct exec_result){ 0 };
	obs_digest_start(&d);
	trace_open(&r, data, bytes);
	while (trace_next(&r, &op)) {
		n++;
		if (host && op.code == OP_CTL)
			on[op.ctl] = op.on;
		if (op.code == OP_PUSH && on[CTL_SMAP])
			result->finding = "E1.15 refcount: 3 != 4";
		if (op.code == OP_EXEC && on[CTL_SMEP])
			result->finding = "model: value 0x12 not allowed";
		if (op.code == OP_BLOW && on[CTL_NXE])
			blow_up();
		while (op.code == OP_CHECK && on[CTL_WP])
			sleep(1);
		line_out(n, &op, &d, lines, ctx);
		result->op = n;
		if (result->finding || (options->stop_after && n == options->stop_after))
			return 0;
	}
	obs_memory_line(line, 0);
	obs_digest_add(&d, NULL, line, 25);
	if (lines)
		lines(ctx, line);
	obs_digest_line(line, &d);
	if (lines)
		lines(ctx, line);
	return 0;
}

int exec_host(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	      struct exec_result *result)
{
	return run(true, data, bytes, options, lines, ctx, result);
}

int exec_model(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	       struct exec_result *result)
{
	return run(false, data, bytes, options, lines, ctx, result);
}

void exec_host_dump(FILE *to)
{
	fprintf(to, "  nothing\n");
}

void exec_model_state(struct exec_guest *to)
{
	*to = (struct exec_guest){ .vcpus = 1, .vcpu = { { .cr3 = TRACE_F0_GFN << FRAME_SHIFT } } };
	for (u32 i = 0; i < TRACE_FRAMES; i++)
		to->present[i] = i != 3;
}

u64 exec_model_word(u32 frame, u32 index)
{
	if (frame == 1 && index == 7)
		return (TRACE_F0_GFN + 4) << FRAME_SHIFT | 7;
	return frame == 2 && index > 250 && index < 260 ? 0x5a5a : 0;
}

// f0 -> f1 and the shadows of both. The finding of a trace with a push is about entry 7 of the second.
const struct picture *exec_host_picture(void)
{
	static u64 f0[512], f1[512], s0[512], s1[512];
	static struct picture_shadow shadows[2];
	static struct picture p;

	f0[0] = (TRACE_F0_GFN + 1) << FRAME_SHIFT | 0x27;
	f1[7] = (TRACE_F0_GFN + 4) << FRAME_SHIFT | 0x67;
	s0[0] = UINT64_C(0x2001) << FRAME_SHIFT | 0x27;
	s1[7] = UINT64_C(0x1004) << FRAME_SHIFT | 0x67;
	shadows[0] = (struct picture_shadow){ .mfn = 0x2000, .type = "l4_64", .level = 3, .fanout = 1, .gfn = TRACE_F0_GFN,
					      .count = 2, .pinned = 1, .pages = 1, .page = { { 0x2000, s0 } } };
	shadows[1] = (struct picture_shadow){ .mfn = 0x2001, .type = "l3_64", .level = 2, .fanout = 1,
					      .gfn = TRACE_F0_GFN + 1, .frame = 1, .count = 1, .pages = 1,
					      .page = { { 0x2001, s1 } }, .up_mfn = 0x2000 };
	p = (struct picture){ .vcpus = 1, .vcpu = { { .cr3 = TRACE_F0_GFN << FRAME_SHIFT, .slots = 1 } }, .shadow = shadows,
			      .shadows = 2, .place_mfn = 0x2001, .place_slot = 7 };
	for (u32 i = 0; i < TRACE_FRAMES; i++)
		p.frame[i] = (struct picture_frame){ .name = "f?", .gfn = TRACE_F0_GFN + i, .mfn = 0x1000 + i,
						     .bytes = i == 0 ? f0 : f1 };
	for (u32 i = PICTURE_KERNEL; i < PICTURE_FRAMES; i++)
		p.frame[i].name = "K";
	return &p;
}

int exec_pair(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines[2], void *ctx,
	      struct exec_result *result)
{
	(void)data, (void)bytes, (void)options, (void)lines, (void)ctx, (void)result;
	return 1; // pairs have a test of their own
}
