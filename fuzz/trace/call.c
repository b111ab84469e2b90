// SPDX-License-Identifier: GPL-2.0-or-later
// Which hypercalls the operations of the domain's management are: one table for the host executor and for the guest's
// kernel, so that both ask for the same.
//
// The numbers are the ABI of hv/domain/hypercall.h and, for CONTROL, those of spec A.18. Freestanding, constant time.
#include "trace.h"

#include "../../hv/domain/hypercall.h"

#define MORE_THAN_ANY_MACHINE UINT64_C(0xffffffff) // and not more than a 32-bit register holds
#define WHO_SHIFT 8
#define TYPE_BASE 1 // P2M_RAM_RW; the others follow

static const u8 ask_codes[ASK_COUNT] = {
	[ASK_OFF] = 0, [ASK_TEST] = 1, [ASK_LOGDIRTY] = 2, [ASK_TRANSLATE] = 3, [ASK_CLEAN] = 11, [ASK_PEEK] = 12,
	[ASK_GET] = 30, [ASK_SET] = 31, [ASK_ENABLE] = 32, [ASK_BLOW] = 40, [ASK_BLOW_ALL] = 41, [ASK_LOGDIRTY_OFF] = 42,
};

bool trace_call(const struct trace_op *op, struct trace_call *call)
{
	u64 gfn = TRACE_F0_GFN + op->frame, range = (u64)op->count << 1 | op->on;
	// Where its range begins no hypercall can say. The guest sees no bits: all that it is told is whether there is such a range.
	bool too_much = op->count == TRACE_ASK_MAX || (op->who >= WHO_FROM && op->count && !trace_ask_fits(op));

	switch (op->code) {
	case OP_CONTROL:
		*call = (struct trace_call){ HYPERCALL_CONTROL,
					     { ask_codes[op->what] | (u64)(op->who < WHO_FROM ? op->who : WHO_OPERATOR) << WHO_SHIFT,
					       too_much ? MORE_THAN_ANY_MACHINE : op->count } };
		break;
	case OP_MIGRATE:
		*call = (struct trace_call){ HYPERCALL_MIGRATE, { trace_step(op), 0 } };
		break;
	case OP_RETYPE:
		*call = (struct trace_call){ HYPERCALL_RETYPE, { gfn, TYPE_BASE + op->what } };
		break;
	case OP_MOVE:
		*call = (struct trace_call){ HYPERCALL_MOVE, { gfn, TRACE_F0_GFN + op->from } };
		break;
	case OP_IDENTITY:
		*call = (struct trace_call){ HYPERCALL_IDENTITY, { op->value, range } };
		break;
	case OP_BALLOON:
		*call = (struct trace_call){ HYPERCALL_BALLOON, { gfn, range } };
		return op->frame + op->count <= TRACE_FRAMES;
	case OP_LARGE:
		*call = (struct trace_call){ HYPERCALL_LARGE, { gfn, 0 } };
		break;
	case OP_FOREIGN:
		*call = (struct trace_call){ HYPERCALL_FOREIGN, { gfn, op->what } };
		break;
	case OP_DONOR:
		*call = (struct trace_call){ HYPERCALL_DONOR, { op->what / TRACE_GIFTS, op->what % TRACE_GIFTS } };
		break;
	default:
		*call = (struct trace_call){ HYPERCALL_AUDIT, { op->what, 0 } };
		break;
	}
	return true;
}
