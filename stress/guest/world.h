// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's world: trace frames through the direct map, the control registers of each vcpu, and the
// hypervisor, if there is one.
#ifndef STRESS_GUEST_WORLD_H
#define STRESS_GUEST_WORLD_H

#include "../../fuzz/trace/trace.h"
#include "../../hv/base/status.h"
#include "../../hv/domain/hypercall.h"
#include "../../hv/pt/entry.h"

#define WORDS (FRAME_BYTES / 8)

// True below Umbra, false on metal.
extern bool world_has_umbra;

// Find Umbra, or not; nothing else is touched.
void world_detect(void);

// All frames zero but the reserved bytes, every vcpu in the start state, running as vcpu 0.
void world_start(const struct trace_config *config);

// Where the direct map shows a word of a trace frame.
static inline u64 world_word(u32 frame, u32 index)
{
	return TRACE_DIRECT + ((TRACE_F0_GFN + frame) << FRAME_SHIFT) + 8 * (u64)index;
}
// Write the reserved bytes: the way to the kernel's tables, which boot_l4 has too, and INT3.
void world_reserve(u32 frame);
// Are these the reserved bytes?
static inline bool world_is_reserved(u32 index)
{
	return index - TRACE_RESERVED_AT / 8 < TRACE_RESERVED_BYTES / 8;
}

// ---- control registers of the current vcpu ------------------------------------------------------
u64 world_cr3(void);
void world_load_cr3(u64 cr3);
void world_flush(void);                             // toggle CR4.PGE twice
void world_control(enum trace_ctl which, bool on);  // on every vcpu
void world_switch(u32 vcpu);                        // modulo the trace's vcpus
bool world_is_root(u32 frame);                      // is it in some vcpu's CR3?

// ---- the hypervisor -----------------------------------------------------------------------------
// Only with world_has_umbra.
enum hv_status world_hypercall(enum hypercall_number number, u64 arg0, u64 arg1);

#endif
