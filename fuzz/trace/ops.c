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
static const u16 bytes_set[4] = { 1, 2, 4, 8 };
static const u16 small_bytes_set[3] = { 1, 2, 4 };
static const u16 insn_bytes_set[5] = { 1, 2, 4, 8, 16 };
// Around one large entry of the p2m, in either geometry, and around two.
static const u16 count_set[24] = { 0,  1,  2,  3,  4,  5,  6,  7,   8,   13,  14,  15,
				   16, 17, 18, 31, 32, 33, 48, 511, 512, 513, 514, 1025 };

const struct trace_place trace_places[TRACE_PLACES] = {
	{ "f0", TRACE_F0_GFN }, { "f15", TRACE_F0_GFN + 15 }, { "hole0", TRACE_HOLE0_GFN }, { "hole1", TRACE_HOLE1_GFN },
	{ "top", TRACE_GFNS },
};

// Entries of a table. PAE needs 258 and 259, its PDPTEs 2 and 3; a page directory of mode 32 has 1024.
static const u16 index_64[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 255, 258, 509, 510, 511 };
static const u16 index_pae[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 254, 258, 259, 510, 511 };
static const u16 index_32[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 510, 511, 516, 1022, 1023 };

static const u16 cas_bytes_64[3] = { 4, 8, 16 };
static const u16 cas_bytes_32[3] = { 4, 8, 8 }; // no CMPXCHG16B in 32-bit code

static const u16 l4_64[4] = { 0, 1, 255, 511 };
static const u16 l3_64[4] = { 0, 1, 2, 511 };
static const u16 l2_64[4] = { 0, 1, 3, 511 };
static const u16 l3_pae[2] = { 2, 3 };
static const u16 l2_pae[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 254, 258, 259, 510, 511 };
static const u16 l2_32[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 510, 511, 516, 1022, 1023 };
// Never the last page of a table: what spills over the end of the address space would be no access at all. Nor
// one whose neighbour is behind a reserved entry (256, or 512 with 4-byte entries), which is the kernel's.
static const u16 l1_64[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 258, 300, 509, 510 };
static const u16 l1_32[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 300, 510, 516, 1022 };

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

#define LOW_FLAGS \
	{ "P", BIT(0) }, { "W", BIT(1) }, { "U", BIT(2) }, { "PWT", BIT(3) }, { "PCD", BIT(4) }, { "A", BIT(5) },   \
	{ "D", BIT(6) }, { "PS", BIT(7) }, { "G", BIT(8) }, { "AVL", BIT(9) }
#define OFFSET_PART { .at = 10, .bits = 4, .shift = 0, .mask = 0xfff, .set = offset_set }

const struct trace_mode_info trace_modes[TRACE_MODE_COUNT] = {
	[TRACE_MODE_64] = {
		.name = "64", .va_parts = 5, .entries = 512, .index_set = index_64, .cas_bytes_set = cas_bytes_64,
		.bytes_set = bytes_set,
		.flag = { LOW_FLAGS, { "NX", BIT(63) }, { "HI", BIT(52) }, { "R51", BIT(51) } },
		.va = { { .at = 0, .bits = 2, .shift = 39, .mask = 0x1ff, .set = l4_64 },
			{ .at = 2, .bits = 2, .shift = 30, .mask = 0x1ff, .set = l3_64 },
			{ .at = 4, .bits = 2, .shift = 21, .mask = 0x1ff, .set = l2_64 },
			{ .at = 6, .bits = 4, .shift = 12, .mask = 0x1ff, .set = l1_64 }, OFFSET_PART },
	},
	// In a 4 KiB entry the last three are address bits: another frame, or a hole.
	[TRACE_MODE_32] = {
		.name = "32", .va_parts = 3, .entries = 1024, .index_set = index_32, .cas_bytes_set = cas_bytes_32,
		.bytes_set = bytes_set,
		.flag = { LOW_FLAGS, { "PATL", BIT(12) }, { "P36", BIT(13) }, { "R21", BIT(21) } },
		.va = { { .at = 0, .bits = 4, .shift = 22, .mask = 0x3ff, .set = l2_32 },
			{ .at = 6, .bits = 4, .shift = 12, .mask = 0x3ff, .set = l1_32 }, OFFSET_PART },
	},
	[TRACE_MODE_PAE] = {
		.name = "pae", .va_parts = 4, .entries = 512, .index_set = index_pae, .cas_bytes_set = cas_bytes_32,
		.bytes_set = bytes_set,
		.flag = { LOW_FLAGS, { "NX", BIT(63) }, { "HI", BIT(52) }, { "R51", BIT(51) } },
		.va = { { .at = 0, .bits = 1, .shift = 30, .mask = 3, .set = l3_pae },
			{ .at = 2, .bits = 4, .shift = 21, .mask = 0x1ff, .set = l2_pae },
			{ .at = 6, .bits = 4, .shift = 12, .mask = 0x1ff, .set = l1_64 }, OFFSET_PART },
	},
};

const char *const trace_kind_names[TRACE_KIND_COUNT] = {
	"hvm64", "hvm32", "hvmpae", "pv64", "lguest2", "lguestpae",
};
const char *const trace_opt_names[TRACE_OPTS] = { "reap", "early", "fast", "prefetch", "linux_l3",
						   "skip_verify", "fast_emulate", "again" };

static const char *const target_words[TRACE_TARGET_COUNT] = {
	"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15",
	"hole0", "hole1", "far",
};
static const char *const root_words[TRACE_ROOT_COUNT] = {
	"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15",
	"hole0", "hole1", "far", "f0_high", "f1_high", "f2_high", "f3_high", "f4_high", "f5_high", "f6_high", "f7_high", "f8_high",
	"f9_high", "f10_high", "f11_high", "f12_high", "f13_high", "f14_high", "f15_high",
};
static const char *const ctl_words[CTL_COUNT] = { "wp", "nxe", "smep", "smap", "pge", "pse" };
static const char *const mode_words[TRACE_MODE_COUNT] = { "64", "32", "pae" };
static const char *const store_words[2] = { "read", "write" };
static const char *const insn_words[INS_COUNT] = {
	"mov", "stos", "rep_stos", "movs", "rep_movs", "movnti", "sse", "xchg", "cas", "and", "or", "xor", "add", "sub",
	"inc", "dec", "bts", "btr", "btc", "lock_cas", "lock_and", "lock_or", "lock_xor", "lock_add", "lock_sub",
	"lock_inc", "lock_dec", "lock_bts", "lock_btr", "lock_btc", "xadd",
};
static const char *const bad_words[BAD_COUNT] = {
	"cr0_nw", "cr0_pg", "cr0_high", "cr0_pg_clear", "cr4_reserved", "cr4_la57", "cr4_pcide", "cr4_pae_clear",
	"efer_reserved", "efer_lme", "cr3_high",
};
static const char *const ask_words[ASK_COUNT] = {
	"off", "test", "logdirty", "translate", "clean", "peek", "get", "set", "enable", "blow", "blow_all", "logdirty_off",
};
static const char *const who_words[WHO_COUNT] = {
	"operator", "self", "absent", "below511", "below64", "below5", "below1", "above1", "above3", "above7", "above8", "above13", "above16",
	"kernel", "zero", "top17", "top1", "beyond",
};
static const u64 ask_firsts[TRACE_FROMS] = {
	TRACE_F0_GFN - 511, TRACE_F0_GFN - 64, TRACE_F0_GFN - 5, TRACE_F0_GFN - 1, TRACE_F0_GFN + 1, TRACE_F0_GFN + 3,
	TRACE_F0_GFN + 7, TRACE_F0_GFN + 8, TRACE_F0_GFN + 13, TRACE_F0_GFN + 16, TRACE_KERNEL_GFN - 1, 0, TRACE_GFNS - 17,
	TRACE_GFNS - 1, UINT64_MAX - 6,
};
static const char *const step_words[TRACE_STEP_WORDS] = {
	"start", "round", "finish", "cancel", "round_15", "round_30", "round_45", "round_60", "round_75", "round_90", "round_105",
	"round_120", "round_135", "round_150", "round_165", "round_180",
};
static const char *const type_words[TYPE_COUNT] = { "rw", "ro", "logdirty" };
static const char *const whether_words[2] = { "off", "on" };
static const char *const up_words[2] = { "down", "up" };
static const char *const gift_words[GIFT_COUNT] = { "none", "d0", "d1", "d2", "d3" };
static const char *const deed_words[DEED_COUNT] = {
	"renew_d0", "renew_d1", "renew_d2", "renew_d3", "drop_d0", "drop_d1", "drop_d2", "drop_d3", "end",
};
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
	[ARG_INDEX] = { .name = "INDEX", .encoded_bytes = 1, .values = TRACE_INDICES, .set = index_64, .prefix = "",
			.help = "number of an entry in a table" },
	[ARG_FLAGS] = { .name = "FLAGS", .encoded_bytes = 2, .prefix = "",
			.help = "any of the entry bits, or nothing" },
	[ARG_VA] = { .name = "VA", .encoded_bytes = 2, .prefix = "",
		     .help = "a virtual address as the indices of its entries, top level first, then `+0xOFFSET` unless it is 0" },
	[ARG_PAGE] = { .name = "PAGE", .encoded_bytes = 2, .prefix = "",
		       .help = "a virtual address as indices, always without offset" },
	[ARG_BYTES] = { .name = "SIZE", .encoded_bytes = 1, .values = 4, .set = bytes_set, .prefix = "u",
			.help = "bytes of an access" },
	[ARG_CAS_BYTES] = { .name = "CASSIZE", .encoded_bytes = 1, .values = 3, .set = cas_bytes_64, .prefix = "u",
			    .help = "bytes of a cas; with two entries at once the index is even" },
	[ARG_VALUE] = { .name = "VALUE", .encoded_bytes = 1, .prefix = "",
			.help = "one byte repeated over the size of the access, such as 0x5a5a" },
	[ARG_HOW] = { .name = "HOW", .encoded_bytes = 1, .prefix = "",
		      .help = "`cpl3`: as user, else as supervisor. `tlb1`, `tlb2`, `tlb3`: the host's TLB model uses "
			      "the oldest translation that it may still hold, the newest, or faults once for nothing. "
			      "`ac`: with RFLAGS.AC set" },
	[ARG_PAGES] = { .name = "PAGES", .encoded_bytes = 1, .values = 16, .base = 1, .prefix = "",
			.help = "number of pages" },
	[ARG_POOL] = { .name = "POOL", .encoded_bytes = 1, .values = 256, .base = 1, .prefix = "",
		       .help = "size of the shadow pool in pages" },
	[ARG_VCPU] = { .name = "VCPU", .encoded_bytes = 1, .values = TRACE_VCPUS_MAX, .prefix = "",
		       .help = "number of a vcpu, taken modulo the vcpus of the trace" },
	[ARG_CTL] = { .name = "CTL", .encoded_bytes = 1, .values = CTL_COUNT, .words = ctl_words, .prefix = "",
		      .help = "a control bit: CR0.WP, EFER.NXE, CR4.SMEP, CR4.SMAP, CR4.PGE, CR4.PSE" },
	[ARG_SWITCH] = { .name = "ON", .encoded_bytes = 1, .values = 2, .prefix = "", .help = "off or on" },
	[ARG_HALF] = { .name = "HALF", .encoded_bytes = 1, .values = 2, .words = half_words, .prefix = "",
		       .help = "which half of an entry" },
	[ARG_MATCH] = { .name = "MATCH", .encoded_bytes = 1, .values = 2, .words = match_words, .prefix = "",
			.help = "whether the compare succeeds" },
	[ARG_INSN] = { .name = "INSN", .encoded_bytes = 1, .values = INS_COUNT, .words = insn_words, .prefix = "",
		       .help = "an instruction; `xadd` is one that no decoder of ours knows" },
	[ARG_INSN_BYTES] = { .name = "INSNSIZE", .encoded_bytes = 1, .values = 5, .set = insn_bytes_set, .prefix = "u",
			     .help = "bytes that the instruction writes, as far as it has such a form" },
	[ARG_MODE] = { .name = "MODE", .encoded_bytes = 1, .values = TRACE_MODE_COUNT, .words = mode_words,
		       .prefix = "", .help = "a paging mode" },
	[ARG_STORE] = { .name = "WHAT", .encoded_bytes = 1, .values = 2, .words = store_words, .prefix = "",
			.help = "a load or a store" },
	[ARG_SMALL_BYTES] = { .name = "SMALLSIZE", .encoded_bytes = 1, .values = 3, .set = small_bytes_set,
			      .prefix = "u", .help = "bytes of an access" },
	[ARG_BAD] = { .name = "BAD", .encoded_bytes = 1, .values = BAD_COUNT, .words = bad_words, .prefix = "",
		      .help = "a write that must raise #GP: NW without CD; PG without PE; bit 32 of CR0; PG cleared in 64-bit "
			      "code; bit 31 of CR4; LA57; PCIDE; PAE cleared in long mode; bit 16 of EFER; LME changed while "
			      "paging; bit 52 of CR3" },
	[ARG_ASK] = { .name = "ASK", .encoded_bytes = 1, .values = ASK_COUNT, .words = ask_words, .prefix = "",
		      .help = "what an operator asks for: a change of modes, dirty bits, the pool's size, dropping all shadows" },
	[ARG_NUMBER] = { .name = "NUMBER", .encoded_bytes = 2, .values = TRACE_ASK_MAX + 1, .prefix = "",
			 .help = "`n=` and the argument, 0 if it is left out. clean, peek: frames from f0 on, or from where WHO says; set: megabytes; "
				 "enable: mode bits; 511 is more than any machine has. The others have none" },
	[ARG_WHO] = { .name = "WHO", .encoded_bytes = 1, .values = WHO_COUNT, .words = who_words, .prefix = "",
		      .help = "nothing: an operator asks about the guest's domain; `self`: the domain asks for itself; "
			      "`absent`: it is about a domain that does not exist. Or "
			     "where a clean or peek begins, if not at f0: so many frames below or above it, below the guest kernel's "
			     "tables, at 0, so many frames below the end of guest-physical addresses, or near 2^64" },
	[ARG_STEP] = { .name = "STEP", .encoded_bytes = 1, .values = TRACE_STEP_WORDS, .words = step_words, .prefix = "",
		       .help = "a step of a migration; `round_15` to `round_180` are rounds whose race_nth counts on from that point: "
			       "with `round_15`, 1 is the 16th" },
	[ARG_TYPE] = { .name = "TYPE", .encoded_bytes = 1, .values = TYPE_COUNT, .words = type_words, .prefix = "",
		       .help = "type of a frame in the p2m; the first store makes logdirty rw" },
	[ARG_WHETHER] = { .name = "WHETHER", .encoded_bytes = 1, .values = 2, .words = whether_words, .prefix = "",
			  .help = "on or off" },
	[ARG_PLACE] = { .name = "PLACE", .encoded_bytes = 1, .values = TRACE_PLACES * (2 * TRACE_PLACE_REACH + 1), .prefix = "",
			.help = "a guest frame number near f0, f15, a hole, or the end of guest-physical addresses" },
	[ARG_COUNT] = { .name = "COUNT", .encoded_bytes = 1, .values = 24, .set = count_set, .prefix = "",
			.help = "number of frame numbers" },
	[ARG_UP] = { .name = "WAY", .encoded_bytes = 1, .values = 2, .words = up_words, .prefix = "",
		     .help = "whether the guest gives frames back or gets them" },
	[ARG_FEW] = { .name = "FEW", .encoded_bytes = 1, .values = TRACE_BALLOON_MAX + 1, .prefix = "",
		      .help = "number of frames" },
	[ARG_ROOT] = { .name = "ROOT", .encoded_bytes = 1, .values = TRACE_ROOT_COUNT, .words = root_words, .prefix = "",
		       .help = "what CR3 points to: a TARGET, or a frame with a bit above the lowest 32 set" },
	[ARG_MASK] = { .name = "MASK", .encoded_bytes = 1, .values = 64, .prefix = "",
		       .help = "audit levels, added up: 0x01 counters, lists, hash and each frame's own shadows; 0x02 pool, references, "
			       "reverse maps; 0x04 entries of loaded roots; 0x08 of all tables; 0x10 where they lead; 0x20 the p2m" },
	[ARG_GIFT] = { .name = "GIFT", .encoded_bytes = 1, .values = GIFT_COUNT, .words = gift_words, .prefix = "",
		       .help = "a frame of the guest's donor, or none" },
	[ARG_DEED] = { .name = "DEED", .encoded_bytes = 1, .values = DEED_COUNT, .words = deed_words, .prefix = "",
		       .help = "what the donor does: puts a fresh frame behind a gift, gives one up, or ends: it is destroyed, and another "
			       "one has all gifts anew" },
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
// cpl, stale and ac lie side by side and are read as one field of three bytes.
#define HOW { "", "", ARG_HOW, offsetof(struct trace_op, cpl), 3 }
_Static_assert(offsetof(struct trace_op, ac) == offsetof(struct trace_op, cpl) + 2, "HOW spans cpl, stale and ac");
_Static_assert(offsetof(struct trace_op, stale) == offsetof(struct trace_op, cpl) + 1, "HOW spans cpl and stale");

const struct trace_op_info trace_ops[OP_COUNT] = {
	[OP_PTE] = { "pte", "store of an entry through the direct map; pae: two stores, high half first", OP_MAPS, 40,
		     4, { FRAME(" "), INDEX, TARGET(" = "), FLAGS } },
	[OP_HALF] = { "half", "store of the low or high half of an entry", OP_MAPS, 6, 5,
		      { FRAME(" "), INDEX, { ".", "", ARG_HALF, FIELD(on) }, TARGET(" = "), FLAGS } },
	[OP_CAS] = { "cas", "locked compare and exchange of 4, 8 or 16 bytes of a table, that matches or misses",
		     OP_MAPS, 6, 6,
		     { FRAME(" "), INDEX, { " ", "", ARG_CAS_BYTES, FIELD(bytes) }, { " ", "", ARG_MATCH, FIELD(on) },
		       TARGET(" = "), FLAGS } },
	[OP_PEEK] = { "peek", "load of an entry through the direct map", 0, 5, 2, { FRAME(" "), INDEX } },
	[OP_ZERO] = { "zero", "stores of 0 over a whole frame, low to high", OP_MAPS, 3, 1, { FRAME(" ") } },
	[OP_COPY] = { "copy", "copies of a whole frame, low to high", OP_MAPS, 3, 2,
		      { FRAME(" "), FROM(" <- ") } },
	[OP_PHYS] = { "phys", "paging off, 4-byte stores of an entry (low half first), paging on", OP_MAPS,
		      3, 4, { FRAME(" "), INDEX, TARGET(" = "), FLAGS } },
	[OP_READ] = { "read", "load through a virtual address", 0, 24, 3, { VA, BYTES, HOW } },
	[OP_WRITE] = { "write", "store through a virtual address", OP_MAPS, 24, 4, { VA, BYTES, VALUE, HOW } },
	[OP_SET] = { "set", "store of an entry through a virtual address", OP_MAPS, 10, 4,
		     { VA, TARGET(" = "), FLAGS, HOW } },
	[OP_PUSH] = { "push", "push to a virtual address, of 8 bytes, or 4 in 32-bit code: takes the frame for a stack, not a "
		      "table", OP_MAPS, 3, 3, { VA, VALUE, HOW } },
	[OP_EXEC] = { "exec", "instruction fetch from a page, at byte 0x808", 0, 8, 2, { PAGE, HOW } },
	[OP_SWEEP] = { "sweep", "1-byte loads at consecutive pages, up to the first fault", 0, 4, 3,
		       { PAGE, { " n=", "", ARG_PAGES, FIELD(count) }, HOW } },
	[OP_CR3] = { "cr3", "load CR3: a hole kills the domain; #GP for far in mode 64 and for PDPTEs with reserved bits",
		     OP_MAPS, 10, 1, { { " ", "", ARG_ROOT, FIELD(target) } } },
	[OP_RELOAD] = { "reload", "write CR3 back: drops what is not global; pae: reads the PDPTEs", 0, 3, 0, { { 0 } } },
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
	[OP_CHECK] = { "check", "run the checkers that `audit` has left on: ok or echeck", OP_IS_CONTROL, 2, 0, { { 0 } } },
	[OP_ALTER] = { "alter", "one instruction of a choice that stores through a virtual address", OP_MAPS, 10, 6,
		       { VA, { " ", "", ARG_INSN, FIELD(insn) }, { " ", "", ARG_INSN_BYTES, FIELD(bytes) },
			 TARGET(" = "), FLAGS, HOW } },
	[OP_REAL] = { "real", "real mode, 4-byte stores of an entry (low half first), paging on", OP_MAPS, 2, 4,
		      { FRAME(" "), INDEX, TARGET(" = "), FLAGS } },
	[OP_VISIT] = { "visit", "through unpaged to another mode with a frame as root, one access, and back", OP_MAPS, 3,
		       6, { { " ", "", ARG_MODE, FIELD(mode) }, FRAME(" "), VA, { " ", "", ARG_STORE, FIELD(on) },
			 { " ", "", ARG_SMALL_BYTES, FIELD(bytes) }, VALUE } },
	[OP_BADREG] = { "badreg", "write to a control register what must raise #GP", 0, 2, 1,
			{ { " ", "", ARG_BAD, FIELD(bad) } } },
	[OP_CONTROL] = { "control", "control operation ([spec.md](spec.md), A.18)", OP_IS_CONTROL, 6, 3,
			 { { " ", "", ARG_ASK, FIELD(what) }, { "", "", ARG_NUMBER, FIELD(count) },
			   { "", "", ARG_WHO, FIELD(who) } } },
	[OP_MIGRATE] = { "migrate", "a step of a live migration; the guest goes on in the copy after finish",
			 OP_IS_CONTROL, 2, 1, { { " ", "", ARG_STEP, FIELD(what) } } },
	[OP_RETYPE] = { "retype", "change a frame's type; stores of the guest to a read-only one are lost",
			OP_IS_CONTROL | OP_NOT_METAL, 2, 2, { FRAME(" "), { " ", "", ARG_TYPE, FIELD(what) } } },
	[OP_MOVE] = { "move", "put the machine frame behind a frame, with its type, behind another, and leave a hole; ebusy "
		      "when one is loaded in a CR3", OP_IS_CONTROL | OP_NOT_METAL | OP_MAPS, 2, 2,
		      { FRAME(" "), { " -> ", "", ARG_FRAME, FIELD(from) } } },
	[OP_IDENTITY] = { "identity", "let a range without RAM name the machine's own frame numbers, or no more; ebusy with RAM "
			  "in it", OP_IS_CONTROL, 2, 3,
			  { { " ", "", ARG_WHETHER, FIELD(on) }, { " ", "", ARG_PLACE, FIELD(value) },
			    { " n=", "", ARG_COUNT, FIELD(count) } } },
	[OP_BALLOON] = { "balloon", "make frames holes, or fill holes with zeroed frames; einval past f15, ebusy when one is "
			 "loaded in a CR3", OP_IS_CONTROL | OP_NOT_METAL | OP_MAPS, 2, 3,
			 { { " ", "", ARG_UP, FIELD(on) }, FRAME(" "), { " n=", "", ARG_FEW, FIELD(count) } } },
	[OP_LARGE] = { "large", "back the aligned run of frames around a frame with one large entry; einval if one of them is "
		       "not rw RAM, ebusy if one changes meanwhile", OP_IS_CONTROL, 1, 1, { FRAME(" ") } },
	[OP_AUDIT] = { "audit", "choose what the hypervisor audits by itself, and what `check` looks at; the executors check everything",
			OP_IS_CONTROL, 1, 1,
		       { { " ", "", ARG_MASK, FIELD(what) } } },
	[OP_FOREIGN] = { "foreign", "map a frame of the guest's donor, which is another domain, at a hole, read-only; or make what is mapped "
			 "so a hole; ebusy when it is no hole, enoent without such a frame", OP_IS_CONTROL | OP_NOT_METAL | OP_MAPS, 2, 2,
			 { FRAME(" "), { " ", "", ARG_GIFT, FIELD(what) } } },
	[OP_DONOR] = { "donor", "the donor renews or gives up a frame, or all that it has; what is mapped stays what it was; enoent when "
		       "the frame is given up already", OP_IS_CONTROL, 1, 1, { { " ", "", ARG_DEED, FIELD(what) } } },
};

// ---- control -------------------------------------------------------------
u64 trace_ask_first(const struct trace_op *op)
{
	return op->who < WHO_FROM ? TRACE_F0_GFN : ask_firsts[op->who - WHO_FROM];
}

bool trace_ask_fits(const struct trace_op *op)
{
	return op->count && op->count != TRACE_ASK_MAX && trace_ask_first(op) <= TRACE_GFNS - op->count;
}

u32 trace_op_class(enum trace_code code)
{
	return (u32)code < OP_COUNT ? trace_ops[code].class : 0;
}

const char *trace_op_name(enum trace_code code)
{
	return (u32)code < OP_COUNT ? trace_ops[code].name : "?";
}

// ---- alter -------------------------------------------------------------
#define CF 0x001u
#define PF 0x004u
#define AF 0x010u
#define ZF 0x040u
#define SF 0x080u
#define OF 0x800u

enum operand { OPERAND_ENTRY, OPERAND_FLAGS, OPERAND_NOT_FLAGS, OPERAND_BIT, OPERAND_ONE };

// sizes: sum of the sizes in bytes that the instruction has in 64-bit code.
static const struct insn_info {
	u8 sizes;
	u8 operand;
	u16 flags;
	bool reads;
} insns[INS_COUNT] = {
	[INS_MOV] = { 15, OPERAND_ENTRY, 0, false },
	[INS_STOS] = { 15, OPERAND_ENTRY, 0, false },
	[INS_REP_STOS] = { 15, OPERAND_ENTRY, 0, false },
	[INS_MOVS] = { 15, OPERAND_ENTRY, 0, false },
	[INS_REP_MOVS] = { 15, OPERAND_ENTRY, 0, false },
	[INS_MOVNTI] = { 12, OPERAND_ENTRY, 0, false },
	[INS_SSE] = { 28, OPERAND_ENTRY, 0, false },
	[INS_XCHG] = { 15, OPERAND_ENTRY, 0, true },
	[INS_CAS] = { 31, OPERAND_ENTRY, ZF, true },
	[INS_LOCK_CAS] = { 31, OPERAND_ENTRY, ZF, true },
// An instruction and its LOCK form.
#define BOTH(name, ...) [INS_##name] = { __VA_ARGS__, true }, [INS_LOCK_##name] = { __VA_ARGS__, true }
#define LOGIC(name, kind) BOTH(name, 15, kind, CF | PF | ZF | SF | OF)
	LOGIC(AND, OPERAND_NOT_FLAGS),
	LOGIC(OR, OPERAND_FLAGS),
	LOGIC(XOR, OPERAND_FLAGS),
#define SUM(name) BOTH(name, 15, OPERAND_FLAGS, CF | PF | AF | ZF | SF | OF)
	SUM(ADD),
	SUM(SUB),
#define STEP(name) BOTH(name, 15, OPERAND_ONE, PF | AF | ZF | SF | OF)
	STEP(INC),
	STEP(DEC),
#define TEST(name) BOTH(name, 14, OPERAND_BIT, CF)
	TEST(BTS),
	TEST(BTR),
	TEST(BTC),
	[INS_XADD] = { 15, OPERAND_FLAGS, CF | PF | AF | ZF | SF | OF, true },
};

u8 trace_insn_bytes(enum trace_mode mode, enum trace_insn insn, u32 bytes)
{
	u32 sizes = insns[insn].sizes, best;

	if (mode != TRACE_MODE_64) // general registers have 4 bytes; MOVQ and CMPXCHG8B have 8
		sizes &= insn == INS_SSE ? 31u : insn == INS_CAS || insn == INS_LOCK_CAS ? 15u : 7u;
	for (best = bytes; best && !(sizes & best); best >>= 1)
		;
	return (u8)(best ? best : sizes & -sizes);
}

u64 trace_alter_value(const struct trace_op *op)
{
	u64 value;

	switch (insns[op->insn].operand) {
	case OPERAND_FLAGS:
		value = op->flags;
		break;
	case OPERAND_NOT_FLAGS:
		value = ~op->flags;
		break;
	case OPERAND_BIT:
		value = op->flags ? (u64)__builtin_ctzll(op->flags) % (8u * op->bytes) : 0;
		break;
	case OPERAND_ONE:
		value = 1;
		break;
	default:
		value = trace_entry(op);
		break;
	}
	return op->bytes >= 8 ? value : value & (BIT(8 * op->bytes) - 1);
}

u32 trace_alter_flags(const struct trace_op *op)
{
	return insns[op->insn].flags;
}

bool trace_alter_reads(const struct trace_op *op)
{
	return insns[op->insn].reads;
}
