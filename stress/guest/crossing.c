// SPDX-License-Identifier: GPL-2.0-or-later
// The operations that leave paging: PHYS and REAL, and VISIT with both of its sides.
//
//   home half                    crossing (cross.S)          visited half
//   cross_visit(): own root -->  paging off, its state  -->  visit_main(): the frame's root,
//   resume, then root again  <-- paging off, home state <--  one access, its own root
//
// While a visit goes on, the visited frame holds the reserved bytes of the visited mode. The home half runs on its
// own root then: the frame may be its own.
#include "crossing.h"

#include "accesses.h"
#include "cpu.h"
#include "root.h"
#include "trap.h"
#include "world.h"

void cross_go(void);
_Noreturn void cross_leave(void);

// PAE reads the PDPTEs again when it comes home, and may not like them: then that is what the operation gives.
static void come_home(struct obs *o)
{
	if (!world_come_home())
		*o = (struct obs){ .kind = OBS_FAULT, .vector = TRAP_GP };
}

// 32-bit code cannot write what 64-bit code leaves above the lowest 32 bits of CR3. All else of it is this: paging goes off, and on
// again with another root.
void cross_root(u32 cr3, struct obs *o)
{
	struct mailbox *m = mailbox();

	m->action = CROSS_HOME;
	m->home = world_state(MODE);
	world_leave_home();
	world_name_root(cr3);
	cross_go();
	come_home(o);
}

void cross_store(const struct trace_op *op, bool real, struct obs *o)
{
	struct mailbox *m = mailbox();
	u32 bytes = trace_entry_bytes(MODE);
	u64 entry = trace_entry(op);

	m->action = real ? CROSS_REAL : CROSS_STORE;
	m->at = (u32)(TRACE_F0_GFN + op->frame) * FRAME_BYTES + op->index * bytes;
	m->low = (u32)entry;
	m->high = (u32)(entry >> 32);
	m->bytes = bytes;
	m->home = world_state(MODE);
	world_leave_home();
	cross_go();
	come_home(o);
}

// Did the frame take the way to a mode's half? A read-only one does not. A hole neither: the visit finds that out.
static bool way_taken(u32 frame, enum trace_mode mode)
{
	u64 way = cpu_load8(world_at(frame, TRACE_RESERVED_AT));

	return way == half_of(mode)->word || !way;
}

void cross_visit(const struct trace_op *op, struct obs *o)
{
	struct mailbox *m = mailbox();
	enum trace_mode mode = (enum trace_mode)op->mode;

	if (mode == TRACE_MODE_PAE && !root_is_valid(op->frame)) {
		*o = (struct obs){ .kind = OBS_FAULT, .vector = TRAP_GP };
		return;
	}
	m->action = CROSS_VISIT;
	m->home = world_state(MODE);
	m->visited = world_state(mode);
	if (mode == TRACE_MODE_32)
		m->visited.cr4 |= CR4_PSE;
	m->cr3 = trace_cr3(mode, op->frame);
	m->va = op->va;
	m->value = op->value;
	m->access_bytes = op->bytes;
	m->store = op->on;
	world_leave_home();
	world_reserve(op->frame, mode);
	if (way_taken(op->frame, mode)) {
		cross_go();
	} else {
		m->vector = TRAP_GP;
		m->error = 0;
	}
	world_reserve(op->frame, MODE);
	*o = (struct obs){ .kind = OBS_OK };
	if (m->vector)
		*o = (struct obs){ .kind = OBS_FAULT, .vector = (u8)m->vector, .error = m->error, .cr2 = m->cr2 };
	else if (!m->store)
		*o = (struct obs){ .kind = OBS_VALUE, .bytes = op->bytes, .value = { m->result } };
	come_home(o);
}

// Entered from the crossing, on a stack of its own, with this half's root.
_Noreturn void visit_main(void);
_Noreturn void visit_main(void)
{
	struct mailbox *m = mailbox();
	struct obs o = { .kind = OBS_FAULT, .vector = TRAP_GP };
	u64 result = 0;

	trap_load();
	world_detect();
	if (root_load(ROOT_VISIT, m->cr3)) {
		o = (struct obs){ .kind = OBS_OK };
		if (m->store)
			(void)access_store(m->va, m->access_bytes, 0, false, m->value, &o);
		else
			(void)access_load(m->va, m->access_bytes, 0, false, &result, &o);
	}
	m->vector = o.vector;
	m->error = o.error;
	m->cr2 = o.cr2;
	m->result = result;
	world_leave_home();
	m->action = CROSS_HOME;
	cross_leave();
}
