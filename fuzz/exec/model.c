// SPDX-License-Identifier: GPL-2.0-or-later
// The model executor: a trace on the reference model alone, every access walking afresh. It says what
// a machine without a hypervisor prints; races and injected failures do not exist there.
#include "../model/model.h"
#include "exec.h"

#include <string.h>

static struct model guest;
static const char *death;

static void emit(exec_line_fn *lines, void *ctx, struct obs_digest *digest, const struct trace_op *op,
		 const char *line, size_t bytes)
{
	obs_digest_add(digest, op, line, bytes);
	lines(ctx, line);
}

int exec_model(const void *data, size_t bytes, const struct exec_options *options, exec_line_fn *lines, void *ctx,
	       struct exec_result *result)
{
	struct trace_reader reader;
	struct obs_digest digest;
	struct trace_op op;
	char line[OBS_LINE_MAX];
	struct obs o;
	u32 number = 0;

	*result = (struct exec_result){ 0 };
	death = NULL;
	trace_open(&reader, data, bytes);
	model_start(&guest, &reader.config);
	obs_digest_start(&digest);
	while (!death && (!options->stop_after || number < options->stop_after) && trace_next(&reader, &op)) {
		number++;
		model_step(&guest, &op, &o);
		if (o.kind == OBS_KILLED)
			death = o.reason;
		if (lines)
			emit(lines, ctx, &digest, &op, line, obs_line(line, number, &op, &o));
	}
	if (!lines || (options->stop_after && number == options->stop_after))
		return 0;
	if (!death)
		emit(lines, ctx, &digest, NULL, line, obs_memory_line(line, model_memory_hash(&guest)));
	obs_digest_line(line, &digest);
	lines(ctx, line);
	return 0;
}

// CR0, CR3, CR4 and EFER of a vcpu, which is always paged between operations.
static void vcpu_state(struct exec_guest *to, u32 i)
{
	const struct model_vcpu *v = &guest.vcpu[i];
	enum trace_mode mode = (enum trace_mode)guest.config.kind;

	to->vcpu[i].cr0 = 0x80000001u | (v->wp ? 1u << 16 : 0);
	// A guest that lost its root runs on its kernel's own PDPTEs, which start their page.
	to->vcpu[i].cr3 = v->root == MODEL_K3_GFN ? v->root << FRAME_SHIFT : trace_cr3(mode, (u32)(v->root - TRACE_F0_GFN));
	to->vcpu[i].cr4 = (v->pse ? 1u << 4 : 0) | (mode == TRACE_MODE_32 ? 0 : 1u << 5) | (v->pge ? 1u << 7 : 0) |
			  (v->smep ? 1u << 20 : 0) | (v->smap ? 1u << 21 : 0);
	// SCE, and LME with LMA in 64-bit code.
	to->vcpu[i].efer = 0x001u | (mode == TRACE_MODE_64 ? 0x500u : 0) | (v->nxe ? 1u << 11 : 0);
}

void exec_model_state(struct exec_guest *to)
{
	*to = (struct exec_guest){ .vcpus = guest.config.vcpus, .current = guest.current, .killed = death };
	for (u32 i = 0; i < to->vcpus; i++)
		vcpu_state(to, i);
	for (u32 f = 0; f < TRACE_FRAMES; f++) {
		to->present[f] = guest.present >> f & 1;
		to->read_only[f] = guest.manage.read_only >> f & 1;
		to->identity[f] = guest.manage.identity >> f & 1;
		to->gift[f] = guest.manage.foreign >> f & 1 ? 1 + guest.manage.mapped[f].gift : GIFT_NONE;
	}
	to->log_dirty = guest.manage.watching;
	to->migrating = guest.manage.migrating;
}

u64 exec_model_word(u32 frame, u32 index)
{
	return frame < TRACE_FRAMES && (guest.present >> frame & 1) ? guest.word[frame][index % MODEL_WORDS] : 0;
}
