// SPDX-License-Identifier: GPL-2.0-or-later
// Does a trace stray? Data that a guest writes over its own tables can form an entry that points below the trace
// frames, where the guest kernel lives on real executors and nothing at all on the others. Such a trace is fine for
// the host executor, but its logs from image and metal mean nothing: a walk or access may even hit the kernel.
//
// The model runs the trace; after each op all tables that a CR3 leads to are searched. Cost: at most 64 pages of
// entries for each op.
#include "../exec/exec.h"
#include "tool.h"

#define WORDS (FRAME_BYTES / 8)
#define P (UINT64_C(1) << 0)
#define PS (UINT64_C(1) << 7)
#define ADDRESS (((UINT64_C(1) << TRACE_PHYS_BITS) - 1) & ~(u64)(FRAME_BYTES - 1))
#define RESERVED (((UINT64_C(1) << 52) - 1) & ~((UINT64_C(1) << TRACE_PHYS_BITS) - 1))

struct stray {
	u32 op;               // number of the op that the lines have reached
	u32 first;            // first op after which a table strays, 0: none
	bool seen[4][TRACE_FRAMES];
};

// Search the table in a trace frame, a table of this level (3 = root), and what hangs below it.
static bool table_strays(struct stray *s, u64 gfn, u32 level)
{
	u32 frame = (u32)(gfn - TRACE_F0_GFN);

	if (gfn < TRACE_F0_GFN)
		return true;
	if (gfn >= TRACE_F0_GFN + TRACE_FRAMES || s->seen[level][frame])
		return false; // holes read as not present
	s->seen[level][frame] = true;
	for (u32 i = 0; i < WORDS; i++) {
		u64 word = exec_model_word(frame, i), target = (word & ADDRESS) >> FRAME_SHIFT;

		if (i == TRACE_KERNEL_SLOT || i == TRACE_KERNEL_SLOT + 1 || !(word & P) || word & RESERVED)
			continue;
		// A large page that is not aligned is reserved too, but its bits lie in or below the address: be careful.
		if (level == 0 || (word & PS && level < 3)) {
			if (target < TRACE_F0_GFN)
				return true;
		} else if (table_strays(s, target, level - 1)) {
			return true;
		}
	}
	return false;
}

static void search(void *ctx, const char *line)
{
	struct stray *s = ctx;
	struct exec_guest guest;

	(void)line;
	s->op++;
	if (s->first)
		return;
	exec_model_state(&guest);
	for (u32 level = 0; level < 4; level++)
		for (u32 frame = 0; frame < TRACE_FRAMES; frame++)
			s->seen[level][frame] = !guest.present[frame];
	for (u32 v = 0; v < guest.vcpus; v++)
		if (table_strays(s, (guest.vcpu[v].cr3 & ADDRESS) >> FRAME_SHIFT, 3)) {
			s->first = s->op;
			return;
		}
}

int stray_op(const void *data, size_t bytes, u32 *op)
{
	const struct exec_options options = { .quiet = true };
	struct exec_result result = { 0 };
	struct stray s = { .op = 0 };
	int status = exec_model(data, bytes, &options, search, &s, &result);

	*op = s.first;
	return status;
}
