// SPDX-License-Identifier: GPL-2.0-or-later
// Assertions and short ways to write operations, for the tests of the reference model.
#ifndef FUZZ_MODEL_TEST_CHECK_H
#define FUZZ_MODEL_TEST_CHECK_H

#include <stdio.h>
#include <string.h>

#include "../../../hv/base/status.h"
#include "../model.h"

static u32 passed, failed;

#define CHECK(condition) check((condition), __FILE__, __LINE__, #condition)
static inline bool check(bool ok, const char *file, int line, const char *what)
{
	if (ok) {
		passed++;
		return true;
	}
	if (failed++ < 20)
		printf("%s:%d: %s\n", file, line, what);
	return false;
}

// The text is NULL, or not and begins with the rule's name.
static inline bool check_rule(const char *got, const char *want, const char *file, int line)
{
	bool ok = want ? got && strncmp(got, want, strlen(want)) == 0 : !got;

	if (!ok && failed < 20)
		printf("%s:%d: expected %s, got %s\n", file, line, want ? want : "no finding", got ? got : "none");
	return check(ok, file, line, "rule");
}
#define CHECK_OK(text) check_rule((text), NULL, __FILE__, __LINE__)
#define CHECK_RULE(text, rule) check_rule((text), (rule), __FILE__, __LINE__)

static inline int check_report(void)
{
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}

// Entry bits, spelled out again.
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, PAT = 0x1000, G = 0x100 };
#define NX UINT64_C(0x8000000000000000)
#define R51 UINT64_C(0x0008000000000000)

static struct model model; // static: zeroed before the first start

static inline void start_mode(enum trace_mode mode, u32 vcpus, bool flush_auto)
{
	model_start(&model, &(struct trace_config){ .kind = (enum trace_kind)mode, .vcpus = vcpus, .pool_pages = 64,
						    .flush_auto = flush_auto });
}
static inline void start(u32 vcpus, bool flush_auto)
{
	start_mode(TRACE_MODE_64, vcpus, flush_auto);
}

static inline u64 va_of(u64 l4, u64 l3, u64 l2, u64 l1, u64 offset)
{
	u64 va = l4 << 39 | l3 << 30 | l2 << 21 | l1 << 12 | offset;

	return l4 & 0x100 ? va | UINT64_C(0xffff000000000000) : va;
}

#define OP(...) ((struct trace_op){ __VA_ARGS__ })
static inline struct obs step(struct trace_op op)
{
	struct obs o;

	if (op.code != OP_VISIT) // which names the mode that it goes to
		op.mode = (u8)model.config.kind;
	model_step(&model, &op, &o);
	return o;
}
static inline void pte(u32 frame, u32 index, u32 target, u64 flags)
{
	step(OP(.code = OP_PTE, .frame = (u8)frame, .index = (u16)index, .target = (u8)target, .flags = flags));
}
static inline u64 peek(u32 frame, u32 index)
{
	return step(OP(.code = OP_PEEK, .frame = (u8)frame, .index = (u16)index)).value[0];
}
static inline void ctl(u8 which, bool on)
{
	step(OP(.code = OP_CTL, .ctl = which, .on = on));
}
// f0 -> f1 -> f2 -> f3 at index 0, all rights: va 0.0.0.x is mapped by f3[x].
static inline void map_tables(void)
{
	pte(0, 0, 1, P | W | U);
	pte(1, 0, 2, P | W | U);
	pte(2, 0, 3, P | W | U);
}

#endif
