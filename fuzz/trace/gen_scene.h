// SPDX-License-Identifier: GPL-2.0-or-later
// What the files with the generator's scenes share.
#ifndef FUZZ_TRACE_GEN_SCENE_H
#define FUZZ_TRACE_GEN_SCENE_H

#include "gen.h"

// ---- gen_scene.c ------------------------------------------------------------------------------------------
// Every op of a scene comes through here. What a plain trace must not have is left out.
void gen_push(struct trace_gen *g, struct trace_op op);
struct trace_op gen_random_op(struct trace_gen *g, u8 code);
// A chain that was built before, if possible one under the root that is loaded. There is one in every scene but the first.
const struct trace_gen_chain *gen_pick_chain(struct trace_gen *g);
// Store one link of a chain. The flags that let everything through below it.
void gen_push_link(struct trace_gen *g, const struct trace_gen_chain *c, u32 step, u64 flags);
u64 gen_link_full(const struct trace_gen_chain *c, u32 step);
// Some access at the end of a chain; mend: percentage of those that would fault to be made good first.
void gen_push_use(struct trace_gen *g, const struct trace_gen_chain *c, u32 mend);

// ---- gen_manage.c -----------------------------------------------------------------------------------------
void scene_ask(struct trace_gen *g);
void scene_watch(struct trace_gen *g);
void scene_migrate(struct trace_gen *g);
void scene_physmap(struct trace_gen *g);
void scene_share(struct trace_gen *g);

#endif
