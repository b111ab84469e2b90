// SPDX-License-Identifier: GPL-2.0-or-later
// Costs of exits. Under QEMU's `-icount shift=0` the TSC counts instructions, so that numbers repeat exactly; elsewhere
// they are cycles. They reach from the first C statement behind #VMEXIT to the last before VMRUN: the loads and stores
// of the world switch itself, some forty instructions, are not in them.
//
// Each class keeps every sample until its store is full, then drops every second and takes every second from there on,
// and so on: the median is exact for short runs and taken over an even choice for long ones.
#include "cost.h"

#include "console.h"

#define SAMPLES_MAX 2048u

struct cost {
	u64 count, min, max;
	u64 stride; // every so manyth is kept
	u32 kept;
	u64 sample[SAMPLES_MAX];
};

bool cost_enabled;
static struct cost costs[COST_CLASS_COUNT];
static u64 left_at, excluded;
static enum cost_class current;

static void keep(struct cost *c, u64 cycles)
{
	if (!c->stride)
		c->stride = 1;
	if (c->kept == SAMPLES_MAX) {
		for (c->kept = 0; c->kept < SAMPLES_MAX / 2; c->kept++)
			c->sample[c->kept] = c->sample[2 * c->kept];
		c->stride *= 2;
	}
	if (c->count % c->stride == 0)
		c->sample[c->kept++] = cycles;
}

void cost_left(u64 tsc)
{
	left_at = tsc;
	excluded = 0;
	current = COST_OTHER;
}

void cost_classify(enum cost_class class)
{
	current = class;
}

void cost_exclude(u64 cycles)
{
	excluded += cycles;
}

void cost_keep(u64 tsc)
{
	struct cost *c = &costs[current];
	u64 cycles = tsc - left_at - excluded;

	if (!left_at) // the first entry follows no exit
		return;
	keep(c, cycles);
	if (!c->count || cycles < c->min)
		c->min = cycles;
	if (cycles > c->max)
		c->max = cycles;
	c->count++;
}

// Shell's sort: short, and quick enough for a report.
static u64 median(struct cost *c)
{
	for (u32 gap = SAMPLES_MAX / 2; gap; gap /= 2)
		for (u32 i = gap; i < c->kept; i++) {
			u64 value = c->sample[i];
			u32 k = i;

			for (; k >= gap && c->sample[k - gap] > value; k -= gap)
				c->sample[k] = c->sample[k - gap];
			c->sample[k] = value;
		}
	return c->kept ? c->sample[c->kept / 2] : 0;
}

void cost_report(void)
{
	static const char *const names[COST_CLASS_COUNT] = { "pt_write", "fixed", "cr3", "other" };

	for (u32 i = 0; cost_enabled && i < COST_CLASS_COUNT; i++) {
		struct cost *c = &costs[i];

		console_line("umbra: cost %s n=%llu min=%llu median=%llu max=%llu", names[i],
			     (unsigned long long)c->count, (unsigned long long)c->min, (unsigned long long)median(c),
			     (unsigned long long)c->max);
	}
}
