// SPDX-License-Identifier: GPL-2.0-or-later
// The table of operations and the dense sets that their arguments are drawn from.
//
// Parts: the sets; the kinds of arguments; the table of ops; the look-up functions of trace.h.
//
// The sets are small on purpose: sixteen frames and sixteen entry indices make two random ops meet on the same
// entry often, and the odd values (255 and 258 around the kernel's slot, 509 to 511 at the end, offsets that
// cross a page) are where bugs live. Freestanding: the guest kernel links this file.
#include "ops.h"

// ---- dense sets -------------------------------------------------------------
static const u16 index_set[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 255, 258, 509, 510, 511 };
static const u16 bytes_set[4] = { 1, 2, 4, 8 };
static const u16 cas_bytes_set[3] = { 4, 8, 16 };

static const u16 l4_set[4] = { 0, 1, 255, 511 };
static const u16 l3_set[4] = { 0, 1, 2, 511 };
static const u16 l2_set[4] = { 0, 1, 3, 511 };
static const u16 l1_set[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 258, 300, 509, 510 };

// Offsets into a page. With the widest access, 8 bytes, none may reach the reserved bytes of a frame, and what
// spills over the end of the page stays below them too.
#define OFFSETS(X) \
	X(0) X(8) X(0x10) X(0x18) X(0x38) X(0x40) X(0x78) X(0x7f8) X(0x810) X(0xff0) X(0xff8) X(4) X(3) X(0xffc) \
	X(0xffd) X(0xfff)
#define OFFSET_VALUE(o) o,
#define OFFSET_SAFE(o) \
	_Static_assert((o) + 8 <= TRACE_RESERVED_AT || (o) >= TRACE_RESERVED_AT + TRACE_RESERVED_BYTES, \
		       "an access at this offset would touch the reserved bytes");
static const u16 offset_set[16] = { OFFSETS(OFFSET_VALUE) };
OFFSETS(OFFSET_SAFE)

const struct trace_va_part trace_va_parts[TRACE_VA_PARTS] = {
	{ .at = 0, .bits = 2, .shift = 39, .mask = 0x1ff, .set = l4_set },
	{ .at = 2, .bits = 2, .shift = 30, .mask = 0x1ff, .set = l3_set },
	{ .at = 4, .bits = 2, .shift = 21, .mask = 0x1ff, .set = l2_set },
	{ .at = 6, .bits = 4, .shift = 12, .mask = 0x1ff, .set = l1_set },
	{ .at = 10, .bits = 4, .shift = 0, .mask = 0xfff, .set = offset_set },
};

const struct trace_flag trace_flags[TRACE_FLAGS] = {
	{ "P", BIT(0) },   { "W", BIT(1) },   { "U", BIT(2) },   { "PWT", BIT(3) },  { "PCD", BIT(4) },
	{ "A", BIT(5) },   { "D", BIT(6) },   { "PS", BIT(7) },  { "G", BIT(8) },    { "AVL", BIT(9) },
	{ "NX", BIT(63) }, { "HI", BIT(52) }, { "R51", BIT(51) },
};

const char *const trace_kind_names[TRACE_KIND_COUNT] = {
	"hvm64", "hvm32", "hvmpae", "pv64", "lguest2", "lguestpae",
};
const char *const trace_opt_names[TRACE_OPTS] = { "guess", "early", "fast", "prefetch", "linux_l3" };

static const char *const target_words[TRACE_TARGET_COUNT] = {
	"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15",
	"hole0", "hole1", "far",
};
static const char *const ctl_words[CTL_COUNT] = { "wp", "nxe", "smep", "smap", "pge" };
static const char *const half_words[2] = { "lo", "hi" };
static const char *const match_words[2] = { "miss", "match" };

// ---- kinds of arguments -------------------------------------------------------------
const struct trace_arg_kind trace_arg_kinds[ARG_TYPE_COUNT] = {
	[ARG_FRAME] = { .name = "FRAME", .encoded_bytes = 1, .values = TRACE_FRAMES, .prefix = "f",
			.help = "a trace frame, `f0` to `f15`, or a name given with `let`" },
	[ARG_TARGET] = { .name = "TARGET", .encoded_bytes = 1, .values = TRACE_TARGET_COUNT, .words = target_words,
			 .prefix = "",
			 .help = "what an entry or CR3 points to: a frame; `hole0` or `hole1`, addresses without RAM; "
				 "`far`, an address with a reserved bit" },
	[ARG_INDEX] = { .name = "INDEX", .encoded_bytes = 1, .values = 16, .set = index_set, .prefix = "",
			.help = "number of an entry in a table" },
	[ARG_FLAGS] = { .name = "FLAGS", .encoded_bytes = 2, .prefix = "", .help = "any of the entry bits, or nothing" },
	[ARG_VA] = { .name = "VA", .encoded_bytes = 2, .prefix = "",
		     .help = "a virtual address as L4.L3.L2.L1 indices, then `+0xOFFSET` unless it is 0" },
	[ARG_PAGE] = { .name = "PAGE", .encoded_bytes = 2, .prefix = "",
		       .help = "a virtual address as L4.L3.L2.L1 indices, always without offset" },
	[ARG_BYTES] = { .name = "SIZE", .encoded_bytes = 1, .values = 4, .set = bytes_set, .prefix = "u",
			.help = "bytes of an access" },
	[ARG_CAS_BYTES] = { .name = "CASSIZE", .encoded_bytes = 1, .values = 3, .set = cas_bytes_set, .prefix = "u",
			    .help = "bytes of a cas; with `u16` the index is even" },
	[ARG_VALUE] = { .name = "VALUE", .encoded_bytes = 1, .prefix = "",
			.help = "one byte repeated over the size of the access, such as 0x5a5a" },
	[ARG_HOW] = { .name = "HOW", .encoded_bytes = 1, .prefix = "",
		      .help = "`cpl3`: as user, else as supervisor. `tlb1`, `tlb2`, `tlb3`: the host's TLB model uses "
			      "the oldest translation that it may still hold, the newest, or faults once for nothing" },
	[ARG_PAGES] = { .name = "PAGES", .encoded_bytes = 1, .values = 16, .base = 1, .prefix = "",
			.help = "number of pages" },
	[ARG_POOL] = { .name = "POOL", .encoded_bytes = 1, .values = 256, .base = 1, .prefix = "",
		       .help = "size of the shadow pool in pages" },
	[ARG_VCPU] = { .name = "VCPU", .encoded_bytes = 1, .values = TRACE_VCPUS_MAX, .prefix = "",
		       .help = "number of a vcpu, taken modulo the vcpus of the trace" },
	[ARG_CTL] = { .name = "CTL", .encoded_bytes = 1, .values = CTL_COUNT, .words = ctl_words, .prefix = "",
		      .help = "a control bit: CR0.WP, EFER.NXE, CR4.SMEP, CR4.SMAP, CR4.PGE" },
	[ARG_SWITCH] = { .name = "ON", .encoded_bytes = 1, .values = 2, .prefix = "", .help = "off or on" },
	[ARG_HALF] = { .name = "HALF", .encoded_bytes = 1, .values = 2, .words = half_words, .prefix = "",
		       .help = "which half of an entry" },
	[ARG_MATCH] = { .name = "MATCH", .encoded_bytes = 1, .values = 2, .words = match_words, .prefix = "",
			.help = "whether the compare succeeds" },
};

// ---- the ops -------------------------------------------------------------
#define FIELD(f) offsetof(struct trace_op, f), sizeof(((struct trace_op *)0)->f)
#define FRAME(before) { before, "", ARG_FRAME, FIELD(frame) }
#define FROM(before) { before, "", ARG_FRAME, FIELD(from) }
#define INDEX { "[", "]", ARG_INDEX, FIELD(index) }
#define TARGET(before) { before, "", ARG_TARGET, FIELD(target) }
#define FLAGS { "", "", ARG_FLAGS, FIELD(flags) }
#define VA { " ", "", ARG_VA, FIELD(va) }
#define PAGE { " ", "", ARG_PAGE, FIELD(va) }
#define VALUE { " = ", "", ARG_VALUE, FIELD(value) }
#define BYTES { " ", "", ARG_BYTES, FIELD(bytes) }
// cpl and stale lie side by side and are read as one field of two bytes.
#define HOW { "", "", ARG_HOW, offsetof(struct trace_op, cpl), 2 }
_Static_assert(offsetof(struct trace_op, stale) == offsetof(struct trace_op, cpl) + 1, "HOW spans cpl and stale");

const struct trace_op_info trace_ops[OP_COUNT] = {
	[OP_PTE] = { "pte", "8-byte store of an entry through the direct map", OP_MAPS, 40, 4,
		     { FRAME(" "), INDEX, TARGET(" = "), FLAGS } },
	[OP_HALF] = { "half", "4-byte store of the low or high half of an entry", OP_MAPS, 6, 5,
		      { FRAME(" "), INDEX, { ".", "", ARG_HALF, FIELD(on) }, TARGET(" = "), FLAGS } },
	[OP_CAS] = { "cas", "locked compare and exchange of 4, 8 or 16 bytes of a table, that matches or misses",
		     OP_MAPS, 6, 6,
		     { FRAME(" "), INDEX, { " ", "", ARG_CAS_BYTES, FIELD(bytes) }, { " ", "", ARG_MATCH, FIELD(on) },
		       TARGET(" = "), FLAGS } },
	[OP_PEEK] = { "peek", "8-byte load of an entry through the direct map", 0, 5, 2, { FRAME(" "), INDEX } },
	[OP_ZERO] = { "zero", "stores of 0 over a whole frame, low to high", OP_MAPS, 3, 1, { FRAME(" ") } },
	[OP_COPY] = { "copy", "8-byte copies of a whole frame, low to high", OP_MAPS, 3, 2,
		      { FRAME(" "), FROM(" <- ") } },
	[OP_PHYS] = { "phys", "paging off, two 4-byte stores of an entry (low half, high half), paging on", OP_MAPS,
		      3, 4, { FRAME(" "), INDEX, TARGET(" = "), FLAGS } },
	[OP_READ] = { "read", "load through a virtual address", 0, 24, 3, { VA, BYTES, HOW } },
	[OP_WRITE] = { "write", "store through a virtual address", OP_MAPS, 24, 4, { VA, BYTES, VALUE, HOW } },
	[OP_SET] = { "set", "8-byte store of an entry through a virtual address", OP_MAPS, 10, 4,
		     { VA, TARGET(" = "), FLAGS, HOW } },
	[OP_PUSH] = { "push", "8-byte push to a virtual address: takes the frame for a stack, not a table", OP_MAPS, 3, 3,
		      { VA, VALUE, HOW } },
	[OP_EXEC] = { "exec", "instruction fetch from a page, at byte 0x808", 0, 8, 2, { PAGE, HOW } },
	[OP_SWEEP] = { "sweep", "1-byte loads at consecutive pages, up to the first fault", 0, 4, 3,
		       { PAGE, { " n=", "", ARG_PAGES, FIELD(count) }, HOW } },
	[OP_CR3] = { "cr3", "load CR3: a hole kills the domain, far raises #GP", OP_MAPS, 10, 1, { TARGET(" ") } },
	[OP_RELOAD] = { "reload", "write CR3 back: drops what is not global", 0, 3, 0, { { 0 } } },
	[OP_INVLPG] = { "invlpg", "drop the translation of one page", 0, 5, 1, { PAGE } },
	[OP_FLUSH] = { "flush", "toggle CR4.PGE twice: drops all translations", 0, 3, 0, { { 0 } } },
	[OP_CTL] = { "ctl", "set a control bit on every vcpu", OP_MAPS, 4, 2,
		     { { " ", "", ARG_CTL, FIELD(ctl) }, { "=", "", ARG_SWITCH, FIELD(on) } } },
	[OP_VCPU] = { "vcpu", "go on as another vcpu", 0, 6, 1, { { " ", "", ARG_VCPU, FIELD(vcpu) } } },
	[OP_UNSHADOW] = { "unshadow", "drop every shadow of a frame", OP_IS_CONTROL, 4, 1, { FRAME(" ") } },
	[OP_BLOW] = { "blow", "drop every shadow of the domain", OP_IS_CONTROL, 2, 0, { { 0 } } },
	[OP_POOL] = { "pool", "resize the shadow pool, raised to the lower bound", OP_IS_CONTROL, 2, 1,
		      { { " ", "", ARG_POOL, FIELD(count) } } },
	[OP_SWAP] = { "swap", "exchange the machine frames behind two frames; ebusy when one is loaded in a CR3",
		      OP_IS_CONTROL | OP_MAPS, 3, 2, { FRAME(" "), FROM(" ") } },
	[OP_RENEW] = { "renew", "put a zeroed machine frame behind a frame; ebusy when it is loaded in a CR3",
		       OP_IS_CONTROL | OP_MAPS, 2, 1, { FRAME(" ") } },
	[OP_REMOVE] = { "remove", "make a frame a hole, until `renew`; ebusy when it is loaded in a CR3",
			OP_IS_CONTROL | OP_NOT_METAL | OP_MAPS, 1, 1, { FRAME(" ") } },
	[OP_CHECK] = { "check", "run every checker: ok or echeck", OP_IS_CONTROL, 1, 0, { { 0 } } },
};

u32 trace_op_class(enum trace_code code)
{
	return (u32)code < OP_COUNT ? trace_ops[code].class : 0;
}

const char *trace_op_name(enum trace_code code)
{
	return (u32)code < OP_COUNT ? trace_ops[code].name : "?";
}
