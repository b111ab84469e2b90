// SPDX-License-Identifier: GPL-2.0-or-later
// The smallest port that the core runs on: plain memory and nothing else. For core_bench and bound_bench.
#ifndef FUZZ_BENCH_BENCH_PORT_H
#define FUZZ_BENCH_BENCH_PORT_H

#include "../../hv/port.h"

#define BENCH_FRAMES 393216u // 1.5 GiB, of which a run touches what it uses

// All boot memory is free again; frames keep what they held. Before each hv_start().
void bench_port_reset(void);

// What port_fetch_insn() answers.
extern struct hv_insn bench_insn;
// Instructions that the core has emulated and asked to go on from.
extern u32 bench_completed;

#endif
