// SPDX-License-Identifier: GPL-2.0-or-later
// The mutator core. A trace is decoded to ops, edited, and encoded again.
//
// Parts: reading and writing a trace; one op as raw arguments; small edits (insert,
// delete, duplicate, swap, replace, one field, one field from elsewhere, attributes, header);
// idioms: short sequences with which operating systems, or attackers, use page tables; the entries.
//
// Why idioms: a random op rarely reaches deep state. A mapping takes five stores that agree with each
// other and a CR3 load, so the mutator writes such runs whole and lets coverage pick among them. They
// say nothing about any one bug: each is a thing that guests do.
//
// Cost: linear in the length of the trace, some microseconds at 32 ops; one static buffer, no
// allocation. Not thread-safe: fuzzers call it from one thread. It knows ops only through the table
// of fuzz/trace/ops.h, but for the idioms.
#include "mutate.h"

#include <string.h>

#include "../../hv/pt/entry.h"
#include "../trace/gen.h"

static struct trace_rng rng;

static u32 below(u32 n)
{
	return trace_rng_below(&rng, n);
}

static bool one_in(u32 n)
{
	return below(n) == 0;
}

// ---- the trace in work ----------------------------------------------------------------------------
static struct work {
	struct trace_config config;
	struct trace_op op[MUTATE_OPS_MAX];
	u32 count;
} work;

static u32 read_ops(struct trace_config *config, struct trace_op *op, u32 room, const u8 *data, size_t bytes)
{
	struct trace_reader r;
	u32 n = 0;

	trace_open(&r, data, bytes);
	*config = r.config;
	while (n < room && trace_next(&r, &op[n]))
		n++;
	return n;
}

static size_t write_ops(u8 *to, size_t max)
{
	u8 one[TRACE_OP_BYTES_MAX];
	size_t n;

	if (max < TRACE_HEADER_BYTES)
		return 0;
	n = trace_put_header(to, &work.config);
	for (u32 i = 0; i < work.count; i++) {
		size_t bytes = trace_put_op(one, &work.op[i]);

		if (n + bytes > max)
			break;
		memcpy(to + n, one, bytes);
		n += bytes;
	}
	return n;
}

// Make room for n ops at `at`; false when they do not fit.
static bool open_gap(u32 at, u32 n)
{
	if (work.count + n > MUTATE_OPS_MAX)
		return false;
	memmove(&work.op[at + n], &work.op[at], (work.count - at) * sizeof(work.op[0]));
	work.count += n;
	return true;
}

static void cut_ops(u32 at, u32 n)
{
	memmove(&work.op[at], &work.op[at + n], (work.count - at - n) * sizeof(work.op[0]));
	work.count -= n;
}

// ---- one op as raw arguments ----------------------------------------------------------------------
// Arguments depend on each other (the width of a value on the size), so an edit takes all raw
// arguments out, changes one, and puts all back.
static void raw_take(const struct trace_op *op, u32 raw[TRACE_ARGS_MAX])
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		if (!trace_arg_encode(op, &info->arg[i], trace_field(op, &info->arg[i]), &raw[i]))
			raw[i] = 0;
}

static void raw_put(struct trace_op *op, const u32 raw[TRACE_ARGS_MAX])
{
	const struct trace_op_info *info = &trace_ops[op->code];

	for (u32 i = 0; i < info->args; i++)
		trace_set_field(op, &info->arg[i], trace_arg_decode(op, &info->arg[i], raw[i]));
	trace_normalise(op);
}

static struct trace_op random_op_of(u32 code)
{
	struct trace_op op = { .code = (u8)code };

	for (u32 i = 0; i < trace_ops[code].args; i++)
		trace_random_arg(&rng, &work.config, &op, &trace_ops[code].arg[i]);
	return op;
}

static struct trace_op random_op(void)
{
	struct trace_op op;

	trace_random_op(&rng, &work.config, &op);
	return op;
}

// ---- small edits ----------------------------------------------------------------------------------
static void edit_insert(void)
{
	u32 n = 1 + below(3), at = below(work.count + 1);

	if (!open_gap(at, n))
		return;
	for (u32 i = 0; i < n; i++)
		work.op[at + i] = random_op();
}

static void edit_delete(void)
{
	u32 at, n;

	if (!work.count)
		return;
	at = below(work.count);
	n = 1 + below(one_in(4) ? 8 : 2);
	cut_ops(at, n < work.count - at ? n : work.count - at);
}

// A run of ops again, somewhere: loops are how counts and lists grow.
static void edit_duplicate(void)
{
	struct trace_op run[8];
	u32 from, n, to;

	if (!work.count)
		return;
	from = below(work.count);
	n = 1 + below(ARRAY_LEN(run));
	n = n < work.count - from ? n : work.count - from;
	memcpy(run, &work.op[from], n * sizeof(run[0]));
	to = one_in(2) ? from + n : below(work.count + 1);
	if (open_gap(to, n))
		memcpy(&work.op[to], run, n * sizeof(run[0]));
}

static void edit_swap(void)
{
	struct trace_op held;
	u32 a, b;

	if (work.count < 2)
		return;
	a = below(work.count);
	b = one_in(2) && a + 1 < work.count ? a + 1 : below(work.count);
	held = work.op[a];
	work.op[a] = work.op[b];
	work.op[b] = held;
}

static void edit_replace(void)
{
	if (work.count)
		work.op[below(work.count)] = random_op();
}

static void edit_field(void)
{
	u32 raw[TRACE_ARGS_MAX] = { 0 }, k;
	struct trace_op *op;

	if (!work.count)
		return;
	op = &work.op[below(work.count)];
	if (!trace_ops[op->code].args)
		return;
	k = below(trace_ops[op->code].args);
	if (one_in(3)) {
		trace_random_arg(&rng, &work.config, op, &trace_ops[op->code].arg[k]);
		return;
	}
	raw_take(op, raw);
	switch (below(2)) {
	case 0:
		raw[k] ^= 1u << below(8 * trace_arg_kinds[trace_ops[op->code].arg[k].type].encoded_bytes);
		break;
	default:
		raw[k] += one_in(2) ? 1u : ~0u;
		break;
	}
	raw_put(op, raw);
}

// Give an argument the value that an argument of the same kind has elsewhere in the trace.
static void edit_field_from_elsewhere(void)
{
	u32 raw[TRACE_ARGS_MAX] = { 0 }, other[TRACE_ARGS_MAX] = { 0 }, k;
	const struct trace_op_info *info;
	struct trace_op *op;

	if (work.count < 2)
		return;
	op = &work.op[below(work.count)];
	info = &trace_ops[op->code];
	if (!info->args)
		return;
	raw_take(op, raw);
	k = below(info->args);
	for (u32 tries = 0; tries < 8; tries++) {
		const struct trace_op *from = &work.op[below(work.count)];

		raw_take(from, other);
		for (u32 i = 0; i < trace_ops[from->code].args; i++) {
			if (trace_ops[from->code].arg[i].type != info->arg[k].type || from == op)
				continue;
			raw[k] = other[i];
			raw_put(op, raw);
			return;
		}
	}
}

static void edit_attributes(void)
{
	struct trace_op *op;

	if (!work.count)
		return;
	op = &work.op[below(work.count)];
	if (one_in(3))
		op->fail_nth = op->race_nth = 0;
	else if (one_in(2))
		op->fail_nth = (u8)(1 + below(one_in(3) ? TRACE_NTH_MAX : 4));
	else
		op->race_nth = (u8)(1 + below(3));
}

static void edit_header(void)
{
	struct trace_config *c = &work.config;

	switch (below(5)) {
	case 0:
		c->vcpus = 1 + below(TRACE_VCPUS_MAX);
		break;
	case 1: // small pools are where reclaim lives
		c->pool_pages = TRACE_POOL_MIN + below(one_in(3) ? TRACE_POOL_MAX - TRACE_POOL_MIN + 1 : 24);
		break;
	case 2:
		c->opts ^= 1u << below(TRACE_OPTS);
		break;
	case 3:
		c->opts = one_in(2) ? TRACE_OPTS_ALL : below(TRACE_OPTS_ALL + 1);
		break;
	default:
		c->flush_auto = !c->flush_auto;
		break;
	}
}

// ---- idioms ---------------------------------------------------------------------------------------
// An idiom collects its ops here and is inserted whole.
#define IDIOM_OPS_MAX 48
static struct trace_op idiom[IDIOM_OPS_MAX];
static u32 idiom_count;

static void say(struct trace_op op)
{
	if (idiom_count < IDIOM_OPS_MAX)
		idiom[idiom_count++] = op;
}

#define TABLE (PTE_P | PTE_W | PTE_U)

static void say_pte(u32 frame, u32 index, u32 target, u64 flags)
{
	say((struct trace_op){ .code = OP_PTE, .frame = (u8)frame, .index = (u16)index, .target = (u8)target,
			       .flags = flags });
}

static void say_cr3(u32 frame)
{
	say((struct trace_op){ .code = OP_CR3, .target = (u8)frame });
}

// A load, store, fetch or entry store at va, at either privilege.
static void say_access(u64 va)
{
	static const u8 codes[] = { OP_READ, OP_WRITE, OP_WRITE, OP_SET, OP_EXEC, OP_PUSH };
	struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

	op.va = op.code == OP_EXEC ? va & ~UINT64_C(0xfff) : va;
	op.cpl = one_in(2) ? 3 : 0;
	say(op);
}

static void say_code(u32 code)
{
	say(random_op_of(code));
}

// Where an idiom works: a virtual address, the tables on its way, and what it maps.
static struct place {
	u32 table[4]; // frame of the table of level k, 0 = last
	u32 index[4];
	u32 leaf;
	u64 va;
} place;

static void pick_place(void)
{
	static const u16 top[] = { 0, 1, 255, 511 }, mid[] = { 0, 1, 511 }, low[] = { 0, 1, 2, 3, 7, 8, 15, 16, 510 };
	u32 base = below(TRACE_FRAMES);

	place.index[3] = top[below(one_in(3) ? ARRAY_LEN(top) : 1)];
	place.index[2] = mid[below(one_in(3) ? ARRAY_LEN(mid) : 1)];
	place.index[1] = mid[below(one_in(3) ? ARRAY_LEN(mid) : 1)];
	place.index[0] = low[below(ARRAY_LEN(low))];
	for (u32 level = 0; level < 4; level++) // now and then two levels share a frame
		place.table[level] = one_in(12) ? base : (base + 3 - level) % TRACE_FRAMES;
	place.leaf = one_in(4) ? below(TRACE_TARGET_COUNT) : (base + 4 + below(3)) % TRACE_FRAMES;
	place.va = 0;
	for (u32 level = 0; level < 4; level++)
		place.va |= (u64)place.index[level] << (FRAME_SHIFT + 9 * level);
	if (place.va & BIT(47))
		place.va |= ~(BIT(48) - 1);
}

static void say_chain(u32 down_to)
{
	for (u32 level = 3; level > down_to; level--)
		say_pte(place.table[level], place.index[level], place.table[level - 1], TABLE);
}

static void idiom_chain(void)
{
	say_chain(0);
	say_pte(place.table[0], place.index[0], place.leaf, one_in(3) ? PTE_P | PTE_U : TABLE);
	say_cr3(place.table[3]);
	say_access(place.va);
	say_access(place.va);
}

// One frame seen twice: as data through one entry, as a table through another.
static void idiom_alias(void)
{
	u32 table = place.table[below(4)];

	idiom_chain();
	say_pte(place.table[0], (place.index[0] + 1) & 7, table, TABLE);
	say((struct trace_op){ .code = OP_SET, .va = (place.va & ~UINT64_C(0x7fff)) |
				      (u64)((place.index[0] + 1) & 7) << FRAME_SHIFT,
			       .target = (u8)below(TRACE_TARGET_COUNT), .flags = TABLE });
	say_access(place.va);
}

// A table maps itself, and the guest writes its tables through that window.
static void idiom_recursive(void)
{
	u32 top = place.table[3];

	say_chain(0);
	say_pte(place.table[0], place.index[0], place.leaf, TABLE);
	say_pte(top, 511, top, TABLE);
	say_cr3(top);
	say((struct trace_op){ .code = OP_SET, .va = ~UINT64_C(0xfff), .target = (u8)place.table[2], .flags = TABLE });
	say_access(~UINT64_C(0xfff));
	say_access(place.va);
}

// fork and exit: copy a table, take write access away, then clear a run of entries.
static void idiom_fork(void)
{
	u32 child = below(TRACE_FRAMES), n = 2 + below(6);

	idiom_chain();
	say((struct trace_op){ .code = OP_COPY, .frame = (u8)child, .from = (u8)place.table[0] });
	for (u32 i = 0; i < n; i++)
		say_pte(place.table[0], i, place.leaf, PTE_P | PTE_U);
	if (one_in(2))
		say_pte(place.table[1], place.index[1], child, TABLE);
	say_access(place.va);
	for (u32 i = 0; i < n; i++)
		say_pte(one_in(2) ? child : place.table[0], i, 0, 0);
	if (one_in(2))
		say((struct trace_op){ .code = OP_ZERO, .frame = (u8)place.table[below(4)] });
}

// Processes: two roots in turn, perhaps on two vcpus, that share their lower tables.
static void idiom_ping_pong(void)
{
	u32 other = (place.table[3] + 7) % TRACE_FRAMES, rounds = 2 + below(4);

	idiom_chain();
	say_pte(other, place.index[3], place.table[2], TABLE);
	for (u32 i = 0; i < rounds; i++) {
		if (one_in(2))
			say((struct trace_op){ .code = OP_VCPU, .vcpu = (u8)below(TRACE_VCPUS_MAX) });
		say_cr3(i & 1 ? place.table[3] : other);
		say_access(place.va);
	}
}

// A large page becomes a table and a large page again.
static void idiom_superpage(void)
{
	u32 level = 1 + below(2), index = place.index[level], table = place.table[level];
	static const u8 large[] = { 0, TRACE_TARGET_HOLE0, TRACE_TARGET_HOLE1, 1 };

	say_chain(level);
	say_pte(table, index, large[below(ARRAY_LEN(large))], TABLE | PTE_PS);
	say_cr3(place.table[3]);
	say_access(place.va);
	say_pte(table, index, place.table[level - 1], TABLE);
	if (level == 2)
		say_pte(place.table[1], place.index[1], place.table[0], TABLE);
	say_pte(place.table[0], place.index[0], place.leaf, TABLE);
	say((struct trace_op){ .code = OP_INVLPG, .va = place.va });
	say_access(place.va);
	say_pte(table, index, 0, TABLE | PTE_PS);
	say_access(place.va);
}

// Protection changes and what must be seen after each, with and without the flush between.
static void idiom_protect(void)
{
	idiom_chain();
	for (u32 i = 0, n = 2 + below(4); i < n; i++) {
		say_pte(place.table[0], place.index[0], place.leaf, random_op_of(OP_PTE).flags);
		if (one_in(2))
			say((struct trace_op){ .code = OP_INVLPG, .va = place.va });
		if (one_in(4))
			say_code(OP_CTL);
		say_access(place.va);
	}
}

// Many tables in use, a small pool, and failures: reclaim works for its living.
static void idiom_pressure(void)
{
	for (u32 i = 0, n = 2 + below(3); i < n; i++) {
		pick_place();
		idiom_chain();
		if (one_in(2) && idiom_count)
			idiom[idiom_count - 1].fail_nth = (u8)(1 + below(6));
	}
	say_code(one_in(2) ? OP_POOL : one_in(2) ? OP_BLOW : OP_UNSHADOW);
	say_access(place.va);
}

// The hypervisor moves or takes away a frame that is mapped or is a table.
static void idiom_move(void)
{
	static const u8 codes[] = { OP_SWAP, OP_RENEW, OP_REMOVE, OP_UNSHADOW };
	struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

	idiom_chain();
	op.frame = (u8)(one_in(2) ? place.table[below(3)] : place.leaf % TRACE_FRAMES);
	say(op);
	say_access(place.va);
	if (op.code == OP_REMOVE) {
		say((struct trace_op){ .code = OP_RENEW, .frame = op.frame });
		say_access(place.va);
	}
}

// Another vcpu acts in the middle of a fault or of an emulated write.
static void idiom_race(void)
{
	static const u8 codes[] = { OP_UNSHADOW, OP_CR3, OP_BLOW, OP_SWAP, OP_RENEW, OP_REMOVE, OP_SET, OP_ZERO };

	idiom_chain();
	say((struct trace_op){ .code = OP_VCPU, .vcpu = 1 });
	say_cr3(place.table[3]);
	if (one_in(2))
		say_access(place.va);
	else
		say_pte(place.table[below(3)], place.index[0], below(8), TABLE);
	idiom[idiom_count - 1].race_nth = (u8)(1 + below(4));
	if (one_in(2)) {
		say_pte(place.table[below(4)], place.index[below(4)], below(8), one_in(2) ? 0 : TABLE);
	} else {
		struct trace_op op = random_op_of(codes[below(ARRAY_LEN(codes))]);

		if (op.code != OP_SET)
			op.frame = (u8)place.table[below(4)];
		say(op);
	}
	say_access(place.va);
	if (work.config.vcpus < 2)
		work.config.vcpus = 2;
}

static void edit_idiom(void)
{
	static void (*const idioms[])(void) = {
		idiom_chain, idiom_chain, idiom_alias, idiom_recursive, idiom_fork, idiom_ping_pong, idiom_superpage,
		idiom_protect, idiom_pressure, idiom_move, idiom_race,
	};
	u32 at = one_in(2) ? work.count : below(work.count + 1);

	idiom_count = 0;
	pick_place();
	idioms[below(ARRAY_LEN(idioms))]();
	if (open_gap(at, idiom_count))
		memcpy(&work.op[at], idiom, idiom_count * sizeof(idiom[0]));
}

// What the generator would write, a few ops of it.
static void edit_scene(void)
{
	static struct trace_gen gen;
	u32 at = one_in(2) ? work.count : below(work.count + 1), n = 4 + below(12);

	trace_gen_start(&gen, trace_rng_next(&rng), &work.config, false);
	if (!open_gap(at, n))
		return;
	for (u32 i = 0; i < n; i++)
		trace_gen_next(&gen, &work.op[at + i]);
}

// ---- entries --------------------------------------------------------------------------------------
size_t mutate_trace(u8 *data, size_t bytes, size_t max, u64 seed)
{
	static void (*const edits[])(void) = {
		edit_insert, edit_insert, edit_delete, edit_delete, edit_duplicate, edit_swap, edit_replace, edit_field,
		edit_field, edit_field, edit_field_from_elsewhere, edit_field_from_elsewhere, edit_attributes,
		edit_header, edit_idiom, edit_scene,
	};
	u32 rounds;

	rng.state = seed;
	work.count = read_ops(&work.config, work.op, MUTATE_OPS_MAX, data, bytes);
	rounds = work.count ? 1 + below(1 + below(6)) : 0;
	if (!rounds) // from nothing, a world that works
		edit_idiom();
	while (rounds--)
		edits[below(ARRAY_LEN(edits))]();
	return write_ops(data, max);
}

size_t mutate_splice(const u8 *a, size_t a_bytes, const u8 *b, size_t b_bytes, u8 *to, size_t max, u64 seed)
{
	static struct trace_op other[MUTATE_OPS_MAX];
	struct trace_config config;
	u32 count, from, n, at;

	rng.state = seed;
	work.count = read_ops(&work.config, work.op, MUTATE_OPS_MAX, a, a_bytes);
	count = read_ops(&config, other, MUTATE_OPS_MAX, b, b_bytes);
	if (one_in(3))
		work.config = config;
	at = below(work.count + 1);
	from = below(count + 1);
	n = count - from;
	if (one_in(2)) // a's head, b's tail
		work.count = at;
	else // a piece of b inside a
		n = n ? 1 + below(n < 24 ? n : 24) : 0;
	n = n < MUTATE_OPS_MAX - work.count ? n : MUTATE_OPS_MAX - work.count;
	if (open_gap(at, n))
		memcpy(&work.op[at], &other[from], n * sizeof(other[0]));
	return write_ops(to, max);
}

size_t mutate_cut(const u8 *data, size_t bytes, u8 *to, size_t max, u32 at, u32 count, u32 *total)
{
	work.count = *total = read_ops(&work.config, work.op, MUTATE_OPS_MAX, data, bytes);
	if (at < work.count)
		cut_ops(at, count < work.count - at ? count : work.count - at);
	return write_ops(to, max);
}
