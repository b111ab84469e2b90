// SPDX-License-Identifier: GPL-2.0-or-later
// Idioms: short runs of ops with which operating systems, or attackers, use page tables.
#ifndef FUZZ_TARGET_IDIOM_H
#define FUZZ_TARGET_IDIOM_H

#include "../trace/gen.h"

#define IDIOM_OPS_MAX 64

// Write one idiom, drawn from rng, for a guest of this config to `to`. Returns its ops, at least one. An idiom with
// races raises config->vcpus to 2.
u32 idiom_make(struct trace_rng *rng, struct trace_config *config, struct trace_op to[IDIOM_OPS_MAX]);

#endif
