// SPDX-License-Identifier: GPL-2.0-or-later
// One operation of a trace, with real instructions.
#ifndef STRESS_GUEST_OPS_H
#define STRESS_GUEST_OPS_H

#include "../../fuzz/trace/trace.h"

// Does the op and says what the guest saw. The world must have been started.
void ops_run(const struct trace_op *op, const struct trace_config *config, struct obs *o);

// The part of it that is ALTER. o is OBS_OK on entry.
void alter(const struct trace_op *op, struct obs *o);

#endif
