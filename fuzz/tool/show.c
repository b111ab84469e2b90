// SPDX-License-Identifier: GPL-2.0-or-later
// umbra show: the state of a trace after one of its ops: the ops around it, control registers, the guest's tables
// and data as the model has them, and the hypervisor's state from the host executor.
//
// Parts: the guest; the ops; the command. Tables and shadows come from picture.c.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "../exec/exec.h"
#include "picture.h"
#include "tool.h"

// ---- the guest -------------------------------------------------------------
static bool is_reserved(enum trace_mode mode, u32 index)
{
	u32 at = index * trace_entry_bytes(mode);

	return at >= TRACE_RESERVED_AT && at < TRACE_RESERVED_AT + TRACE_RESERVED_BYTES;
}

static u64 entry_at(enum trace_mode mode, u32 frame, u32 index)
{
	u64 word = exec_model_word(frame, index * trace_entry_bytes(mode) / 8);

	return mode == TRACE_MODE_32 ? word >> index % 2 * 32 & UINT32_MAX : word;
}

// Runs of equal entries take one line.
static void print_frame(enum trace_mode mode, u32 frame)
{
	u32 index = 0, count = FRAME_BYTES / trace_entry_bytes(mode);

	while (index < count) {
		u64 entry = entry_at(mode, frame, index);
		char text[PICTURE_TEXT];
		u32 end = index + 1;

		if (is_reserved(mode, index) || !entry) {
			index++;
			continue;
		}
		while (end < count && !is_reserved(mode, end) && entry_at(mode, frame, end) == entry)
			end++;
		if (end == index + 1)
			printf("  f%u[%u] = ", frame, index);
		else
			printf("  f%u[%u..%u] = ", frame, index, end - 1);
		picture_entry_text(text, mode, entry);
		puts(text);
		index = end;
	}
}

static void print_guest(enum trace_mode mode)
{
	struct exec_guest guest;

	exec_model_state(&guest);
	if (guest.killed)
		printf("\nthe domain is dead: %s\n", guest.killed);
	printf("\nguest:\n");
	for (u32 i = 0; i < guest.vcpus; i++) {
		char root[PICTURE_TEXT];

		picture_entry_text(root, mode, guest.vcpu[i].cr3 & ~(u64)(FRAME_BYTES - 1));
		printf("  vcpu %u%s cr3 = %s (0x%llx)  cr0 = 0x%llx  cr4 = 0x%llx  efer = 0x%llx\n", i,
		       i == guest.current ? "*" : " ", root, (unsigned long long)guest.vcpu[i].cr3,
		       (unsigned long long)guest.vcpu[i].cr0, (unsigned long long)guest.vcpu[i].cr4,
		       (unsigned long long)guest.vcpu[i].efer);
	}
	if (guest.log_dirty)
		printf("  %s\n", guest.migrating ? "a migration runs" : "log-dirty is on");
	printf("\nguest memory that is not zero:\n");
	for (u32 frame = 0; frame < TRACE_FRAMES; frame++) {
		if (guest.gift[frame])
			printf("  f%u is frame d%u of the donor\n", frame, guest.gift[frame] - 1u);
		else if (!guest.present[frame])
			printf("  f%u is removed%s\n", frame, guest.identity[frame] ? ", in an identity range" : "");
		else if (guest.read_only[frame])
			printf("  f%u is read-only\n", frame);
		if (guest.present[frame])
			print_frame(mode, frame);
	}
}

// ---- the ops -------------------------------------------------------------
#define LINES_KEPT 4
struct last_lines {
	char line[LINES_KEPT][OBS_LINE_MAX];
	u32 count;
};

static void keep_line(void *ctx, const char *line)
{
	struct last_lines *last = ctx;

	snprintf(last->line[last->count++ % LINES_KEPT], OBS_LINE_MAX, "%s", line);
}

static void print_ops(const struct trace *t, u32 op, const struct last_lines *last)
{
	char text[TRACE_TEXT_MAX];
	u32 first = op > LINES_KEPT ? op - LINES_KEPT + 1 : 1;

	trace_print_header(text, &t->config);
	printf("%s\n", text);
	for (u32 i = first; i <= op; i++) {
		trace_print_op(text, &t->op[i - 1]);
		printf("%s%6u  %s\n", i == op ? ">" : " ", i, text);
	}
	printf("\nobserved:\n");
	for (u32 i = last->count > LINES_KEPT ? last->count - LINES_KEPT : 0; i < last->count; i++)
		printf("  %s\n", last->line[i % LINES_KEPT]);
}

// ---- the command -------------------------------------------------------------
static void print_hypervisor(const char *finding)
{
	const struct picture *p = exec_host_picture();

	printf("\nhypervisor:\n");
	exec_host_dump(stdout);
	if (!p)
		return;
	printf("\nguest frames and shadows%s:\n", finding ? ", > is what the finding is about" : "");
	picture_print(stdout, p, finding);
}

static int show(const struct trace *t, u32 op, bool model_only)
{
	struct exec_options options = { .quiet = true, .stop_after = op };
	struct exec_result result = { 0 };
	struct last_lines last = { .count = 0 };
	size_t bytes;
	u8 *data = trace_encode(t, &bytes);
	int status = exec_model(data, bytes, &options, keep_line, &last, &result);

	if (!status) {
		print_ops(t, op, &last);
		print_guest((enum trace_mode)t->config.kind);
	}
	if (!status && !model_only) {
		result = (struct exec_result){ 0 };
		fflush(stdout);
		status = exec_host(data, bytes, &options, NULL, NULL, &result);
		if (!status) {
			print_hypervisor(result.finding);
		}
	}
	free(data);
	if (status) {
		fprintf(stderr, "umbra: the executor failed (%d)\n", status);
		return TOOL_INTERNAL;
	}
	if (result.finding)
		printf("\nfinding: op %u: %s\n", result.op, result.finding);
	return result.finding ? TOOL_FOUND : TOOL_OK;
}

static int show_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "op", required_argument, NULL, 'n' },
		{ "at", required_argument, NULL, 'n' }, // as draw calls it
		{ "on", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct trace t = { 0 };
	const char *number = NULL;
	bool model_only = false;
	int option, code;
	u64 op;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			number = optarg;
		else if (option == 'e' && (!strcmp(optarg, "model") || !strcmp(optarg, "host")))
			model_only = !strcmp(optarg, "model");
		else if (option == 'e')
			return tool_usage(self, "--on: expected model or host, found '%s'", optarg);
		else
			return tool_option(self, option);
	}
	code = tool_load_at(self, argc - optind, argv + optind, "--op", number, &t, &op);
	if (code == TOOL_OK) {
		code = show(&t, (u32)op, model_only);
	}
	trace_free(&t);
	return code;
}

const struct tool_command tool_show = {
	"show", "show the state of guest and hypervisor after an op",
	"usage: umbra show [--op N] [--on model|host] TRACE\n"
	"\n"
	"Run a trace up to op N (the first is 1; all without --op) and print the ops and observations that led there,\n"
	"control registers, guest memory as entries, and the hypervisor's shadows with their entries. `umbra draw` makes a\n"
	"picture of the same. --on model leaves the hypervisor out: for a trace that crashes it. Exit status 1 if the run\n"
	"had a finding.\n",
	show_run,
};
