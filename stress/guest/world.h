// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's world: trace frames through the direct map, the control registers of each vcpu, and the
// hypervisor, if there is one.
#ifndef STRESS_GUEST_WORLD_H
#define STRESS_GUEST_WORLD_H

#include "../../hv/base/status.h"
#include "../../hv/domain/hypercall.h"
#include "../../hv/pt/entry.h"
#include "crossing.h"

// True below Umbra, false on metal.
extern bool world_has_umbra;

// Find Umbra, or not; nothing else is touched.
void world_detect(void);

// All frames zero but the reserved bytes, every vcpu in the start state, running as vcpu 0.
void world_start(const struct trace_config *config);

// Where the direct map shows a byte of a trace frame.
static inline u64 world_at(u32 frame, u32 offset)
{
	return (u64)FRAMES_BASE + (u64)frame * FRAME_BYTES + offset;
}
// Write the reserved bytes: the way to the tables of a mode's half, and INT3.
void world_reserve(u32 frame, enum trace_mode mode);
// Is a word at this offset one of the reserved bytes?
static inline bool world_is_reserved(u32 offset)
{
	return offset - TRACE_RESERVED_AT < TRACE_RESERVED_BYTES;
}

// ---- control registers of the current vcpu ------------------------------------------------------
// Load CR3, or load it again. False: #GP, because of a PDPTE, and nothing has changed.
bool world_load_cr3(u64 cr3);
bool world_reload_cr3(void);
// For the way through unpaged code: onto the half's own root, and back to the vcpu's. False: #GP, because of a
// PDPTE, and from now on the vcpu has the half's own root.
void world_leave_home(void);
bool world_come_home(void);
// The root to come home to.
void world_name_root(u64 cr3);
// The state to enter the half of a mode with, as this vcpu is set up.
struct mail_state world_state(enum trace_mode mode);

void world_flush(void);                             // toggle CR4.PGE twice
void world_control(enum trace_ctl which, bool on);  // on every vcpu
void world_switch(u32 vcpu);                        // modulo the trace's vcpus
bool world_is_root(u32 frame);                      // is it in some vcpu's CR3?
// Write to a control register what must raise #GP. What was seen is in o.
void world_try(enum trace_bad bad, struct obs *o);

// ---- the hypervisor -----------------------------------------------------------------------------
// Only with world_has_umbra.
enum hv_status world_hypercall(enum hypercall_number number, u64 arg0, u64 arg1);

#endif
