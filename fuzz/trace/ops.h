// SPDX-License-Identifier: GPL-2.0-or-later
// The table of operations: one row per op drives the text parser, the printer, the binary codec, the generated
// manual, the generator and the mutator. A new op is a new row (and a new enum value at the end).
#ifndef FUZZ_TRACE_OPS_H
#define FUZZ_TRACE_OPS_H

#include "trace.h"

#define TRACE_ARGS_MAX 6

// How an argument is encoded, checked and printed. trace_arg_kinds[] holds one row for each.
enum trace_arg_type {
	ARG_FRAME, ARG_TARGET, ARG_INDEX, ARG_FLAGS, ARG_VA, ARG_PAGE, ARG_BYTES, ARG_CAS_BYTES, ARG_VALUE, ARG_HOW,
	ARG_PAGES, ARG_POOL, ARG_VCPU, ARG_CTL, ARG_SWITCH, ARG_HALF, ARG_MATCH, ARG_INSN, ARG_INSN_BYTES, ARG_MODE,
	ARG_STORE, ARG_SMALL_BYTES, ARG_BAD, ARG_ASK, ARG_NUMBER, ARG_WHO, ARG_STEP, ARG_TYPE, ARG_WHETHER, ARG_PLACE,
	ARG_COUNT, ARG_UP, ARG_FEW, ARG_MASK, ARG_GIFT, ARG_DEED, ARG_ROOT,
	ARG_TYPE_COUNT
};

struct trace_arg_kind {
	const char *name;          // as the manual shows it: FRAME, INDEX, ...
	const char *help;          // what it stands for
	u8 encoded_bytes;          // 1 or 2
	u16 values;                // plain kinds: raw % values picks one; 0 for the kinds with a rule of their own
	u16 base;                  // plain kinds without a set: value = base + raw % values
	const u16 *set;            // plain kinds: the values, or NULL; INDEX and CASSIZE: see trace_modes
	const char *const *words;  // text for value 0, 1, ...; NULL: a number
	const char *prefix;        // stands before the number: "f", "u", ""
};
extern const struct trace_arg_kind trace_arg_kinds[ARG_TYPE_COUNT];

struct trace_arg {
	const char *before, *after; // fixed text around it; the parser takes any blanks in its place
	u8 type;                    // enum trace_arg_type
	u8 offset, width;           // of the field in struct trace_op
};

struct trace_op_info {
	const char *name;
	const char *help;
	u8 class;  // OP_IS_CONTROL | OP_NOT_METAL | OP_MAPS
	u8 weight; // how often the generator and the mutator take it
	u8 args;
	struct trace_arg arg[TRACE_ARGS_MAX];
};
extern const struct trace_op_info trace_ops[OP_COUNT];

// One bit of an entry's flags, in the order of the binary form.
struct trace_flag {
	const char *name;
	u64 bit;
};
#define TRACE_FLAGS 13

// The parts of a virtual address, top level first, the page offset last.
#define TRACE_VA_PARTS 5
struct trace_va_part {
	u8 at, bits;    // place in the two encoded bytes
	u8 shift;       // place in the address
	u16 mask;       // width in the address
	const u16 *set; // 1 << bits values
};

// What a paging mode makes of the arguments: one row each.
struct trace_mode_info {
	const char *name;
	u8 va_parts;     // levels of an address, and the offset last
	u16 entries;     // of a table
	const u16 *index_set;     // 16 values
	const u16 *cas_bytes_set; // 3 values
	const u16 *bytes_set;     // 4 values
	struct trace_flag flag[TRACE_FLAGS];
	struct trace_va_part va[TRACE_VA_PARTS];
};
extern const struct trace_mode_info trace_modes[TRACE_MODE_COUNT];
#define TRACE_INDICES 16

// Which sizes an ALTER instruction has in a mode: the allowed one nearest to `bytes` from below, else the least.
u8 trace_insn_bytes(enum trace_mode mode, enum trace_insn insn, u32 bytes);

extern const char *const trace_kind_names[TRACE_KIND_COUNT];
#define TRACE_OPTS 8
#define TRACE_OPTS_ALL 0xffu
#define TRACE_POOL_MIN 20u
#define TRACE_POOL_MAX (TRACE_POOL_MIN + 255u)
#define TRACE_VCPUS_MAX 4u
#define TRACE_NTH_MAX 15u
extern const char *const trace_opt_names[TRACE_OPTS]; // bit 0 first

// Where IDENTITY ranges start: a few frame numbers to either side of a few places.
#define TRACE_PLACES 5
#define TRACE_PLACE_REACH 2
extern const struct trace_place {
	const char *name;
	u64 gfn;
} trace_places[TRACE_PLACES];

// Field access through the table: width bytes, little-endian.
u64 trace_field(const struct trace_op *op, const struct trace_arg *arg);
void trace_set_field(struct trace_op *op, const struct trace_arg *arg, u64 value);

// The value that raw encoded bytes stand for. It depends on op->mode; VALUE on op->bytes, SIZE of an instruction on
// op->insn: both come before in every row.
u64 trace_arg_decode(const struct trace_op *op, const struct trace_arg *arg, u32 raw);
// Its canonical encoding; false when the dense set has no such value.
bool trace_arg_encode(const struct trace_op *op, const struct trace_arg *arg, u64 value, u32 *raw);
// Make every field one that the binary form can express, after fields were changed one by one: what the sets do not
// have becomes their first value, data is repeated over a new size, the index of a 16-byte cas becomes even.
void trace_normalise(struct trace_op *op);

#endif
