// SPDX-License-Identifier: GPL-2.0-or-later
// Which traces, and which ops, not all executors follow alike: see stray.c.
#ifndef FUZZ_TOOL_STRAY_H
#define FUZZ_TOOL_STRAY_H

#include "../trace/trace.h"

// Start over with a fresh guest.
void stray_start(const struct trace_config *config);
// Run the op. False when it takes the guest where executors part, or ends it: it is then as if it had not been run.
bool stray_follow(const struct trace_op *op);

#endif
