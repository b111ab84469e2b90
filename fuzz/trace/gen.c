// SPDX-License-Identifier: GPL-2.0-or-later
// Random operations.
//
// Parts: the random source; random arguments; a random op.
//
// Arguments are weighted towards what makes mappings work, and every value that the binary form has can come up.
#include "gen.h"

// ---- random source -------------------------------------------------------------
// A Weyl sequence, scrambled by two rounds of multiply and shift.
u64 trace_rng_next(struct trace_rng *rng)
{
	u64 x = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 29) * UINT64_C(0xa0761d6478bd642f);
	return x ^ x >> 32;
}

u32 trace_rng_below(struct trace_rng *rng, u32 n)
{
	return (u32)((trace_rng_next(rng) >> 32) * n >> 32);
}

bool trace_rng_chance(struct trace_rng *rng, u32 percent)
{
	return trace_rng_below(rng, 100) < percent;
}

// ---- random arguments -------------------------------------------------------------
#define FLAG_P UINT64_C(1)
#define FLAG_W UINT64_C(2)
#define FLAG_U UINT64_C(4)
#define ALL_RIGHTS (FLAG_P | FLAG_W | FLAG_U)

u64 trace_random_flags(struct trace_rng *rng, enum trace_mode mode)
{
	const struct trace_flag *flag = trace_modes[mode].flag;
	u32 dice = trace_rng_below(rng, 100);
	u64 flags = ALL_RIGHTS;

	if (dice < 50)
		return flags;
	if (dice < 65) // fewer rights
		return FLAG_P | (trace_rng_next(rng) & (FLAG_W | FLAG_U));
	if (dice < 90) { // one or two bits toggled
		flags ^= flag[trace_rng_below(rng, TRACE_FLAGS)].bit;
		if (trace_rng_chance(rng, 40))
			flags ^= flag[trace_rng_below(rng, TRACE_FLAGS)].bit;
		return flags;
	}
	if (dice < 94)
		return 0;
	for (u32 i = 0; i < TRACE_FLAGS; i++)
		if (trace_rng_chance(rng, 50))
			flags ^= flag[i].bit;
	return flags;
}

// Entries 258 and 259 of a PAE frame may be PDPTEs, where most bits are reserved and make CR3 loads fail.
static u64 random_entry_flags(struct trace_rng *rng, const struct trace_op *op)
{
	u64 flags = trace_random_flags(rng, (enum trace_mode)op->mode);

	if (op->mode == TRACE_MODE_PAE && (op->index == 258 || op->index == 259) && trace_rng_chance(rng, 95))
		flags &= FLAG_P;
	return flags;
}

// CR3 with a hole kills the domain and ends the trace: rarely. In mode 64 far is no hole but a #GP, and high frames are holes.
static u8 random_target(struct trace_rng *rng, const struct trace_op *op)
{
	u32 dice = trace_rng_below(rng, 400);
	bool root = op->code == OP_CR3;

	if (root && op->mode != TRACE_MODE_64 && trace_rng_chance(rng, 12))
		return (u8)(TRACE_TARGET_COUNT + trace_rng_below(rng, TRACE_FRAMES));
	if (dice < (root ? 392u : 360u))
		return (u8)trace_rng_below(rng, TRACE_FRAMES);
	if (!root)
		return (u8)(TRACE_FRAMES + trace_rng_below(rng, TRACE_TARGET_COUNT - TRACE_FRAMES));
	if (op->mode == TRACE_MODE_64 && dice < 399)
		return TRACE_TARGET_FAR;
	return dice < 398 ? 0 : (u8)(TRACE_FRAMES + trace_rng_below(rng, TRACE_ROOT_COUNT - TRACE_FRAMES));
}

static u64 random_how(struct trace_rng *rng, const struct trace_config *config)
{
	u64 cpl = trace_rng_chance(rng, 40) ? 3 : 0, ac = trace_rng_chance(rng, 15), stale = 0;

	if (!config->flush_auto && trace_rng_chance(rng, 30))
		stale = 1 + trace_rng_below(rng, 3);
	return cpl | stale << 8 | ac << 16;
}

// Control bits are mostly as they start, but never for long.
static u64 random_switch(struct trace_rng *rng, const struct trace_op *op)
{
	return trace_rng_chance(rng, op->ctl == CTL_SMEP || op->ctl == CTL_SMAP ? 35 : 65);
}

void trace_random_arg(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op,
		      const struct trace_arg *arg)
{
	u64 value;

	switch (arg->type) {
	case ARG_FLAGS:
		value = random_entry_flags(rng, op);
		break;
	case ARG_ROOT:
	case ARG_TARGET:
		value = random_target(rng, op);
		break;
	case ARG_HOW:
		value = random_how(rng, config);
		break;
	case ARG_VCPU:
		value = trace_rng_below(rng, config->vcpus);
		break;
	case ARG_WHO:
		value = trace_rng_chance(rng, 50) ? WHO_OPERATOR : trace_rng_below(rng, trace_rng_chance(rng, 40) ? WHO_FROM : WHO_COUNT);
		break;
	case ARG_SWITCH:
		value = random_switch(rng, op);
		break;
	default:
		value = trace_arg_decode(op, arg, (u32)trace_rng_next(rng) & 0xffff);
		break;
	}
	trace_set_field(op, arg, value);
	trace_normalise(op);
}

void trace_random_args(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		trace_random_arg(rng, config, op, &info->arg[i]);
}

// ---- a random op -------------------------------------------------------------
static u8 random_code(struct trace_rng *rng)
{
	u32 total = 0, dice;
	u8 code = 0;

	for (u32 i = 0; i < OP_COUNT; i++)
		total += trace_ops[i].weight;
	dice = trace_rng_below(rng, total);
	while (dice >= trace_ops[code].weight)
		dice -= trace_ops[code++].weight;
	return code;
}

u8 trace_random_nth(struct trace_rng *rng)
{
	return (u8)(1 + trace_rng_below(rng, trace_rng_chance(rng, 50) ? 4 : TRACE_NTH_MAX));
}

void trace_random_attributes(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	// What the hypervisor is asked for has more steps that can fail, and more to undo.
	if (trace_rng_chance(rng, trace_op_class((enum trace_code)op->code) & OP_IS_CONTROL ? 10 : 3))
		op->fail_nth = trace_random_nth(rng);
	if (config->vcpus > 1 && trace_rng_chance(rng, 5))
		op->race_nth = trace_random_nth(rng);
}

void trace_random_op(struct trace_rng *rng, const struct trace_config *config, struct trace_op *op)
{
	*op = (struct trace_op){ .mode = (u8)config->kind, .code = random_code(rng) };
	trace_random_args(rng, config, op);
	trace_random_attributes(rng, config, op);
}
