// SPDX-License-Identifier: GPL-2.0-or-later
// The trace: one short program of guest and control operations that is at once fuzz input, test,
// corpus entry, log and reproducer. This header is the contract between the codec (here), the
// executors (fuzz/exec, stress/guest), the model (fuzz/model) and the mutator (fuzz/target).
//
// call.c, codec.c, obs.c and ops.c are freestanding: the guest kernel links them too.
#ifndef FUZZ_TRACE_TRACE_H
#define FUZZ_TRACE_TRACE_H

#include "../../hv/base/types.h"

// ---- the guest's small world --------------------------------------------------------------------
// Every executor lays the guest out alike. Sixteen trace frames f0..f15 lie at a 1 GiB boundary, so
// that one frame can be data, page table, and the start of a 2 MiB or 1 GiB page at once. Machine
// RAM ends behind f15: everything above is a hole.
//
// Bytes 0x800..0x80f of every trace frame are reserved: the first eight hold the way to the guest
// kernel's own tables (so any frame can be loaded in CR3), and 0x808 holds INT3 (so any page can be
// executed). No operation reads or changes them. What the way looks like depends on the paging mode:
//
//   64:   entry 256 of a level-3 table: the kernel has the top half of the address space
//   pae:  CR3 = frame + 0x800, so that this is PDPTE 0: the kernel has the first GiB; PDPTE 1 reads as
//         not present (INT3), PDPTEs 2 and 3 are entries 258 and 259 of the frame
//   32:   entries 512 and 513 of a page directory: the kernel has 8 MiB at 0x80000000; entries 514 and
//         515 read as not present
#define TRACE_FRAMES 16
#define TRACE_F0_GFN UINT64_C(0x40000)
#define TRACE_HOLE0_GFN UINT64_C(0x50000) // 2 MiB aligned, never RAM
#define TRACE_HOLE1_GFN UINT64_C(0x80000) // 1 GiB aligned, never RAM
#define TRACE_FAR_GFN UINT64_C(0x10000000) // address bit 40: reserved with 40 physical bits
#define TRACE_FAR32_GFN UINT64_C(0x90000)  // stands in for it where only 32 address bits fit: a third hole
#define TRACE_PHYS_BITS 40
#define TRACE_GFNS (UINT64_C(1) << (TRACE_PHYS_BITS - FRAME_SHIFT)) // guest frame numbers
#define TRACE_KERNEL_GFN UINT64_C(0x21a40) // the first of the guest kernel's three tables (fuzz/model/model.h)
#define TRACE_RESERVED_AT 0x800
#define TRACE_RESERVED_BYTES 16
#define TRACE_KERNEL_WORD (TRACE_RESERVED_AT / 8) // 8-byte word of a frame that holds the way to the kernel
#define TRACE_EXEC_AT 0x808
#define TRACE_INT3 UINT64_C(0xcccccccccccccccc)

// Paging modes of the guest. Numbers are those of the first three kinds.
enum trace_mode { TRACE_MODE_64, TRACE_MODE_32, TRACE_MODE_PAE, TRACE_MODE_COUNT };

// The kernel maps trace frame n at trace_direct(mode) + n * 4096, supervisor RW, 4 KiB pages with A and D set.
static inline u64 trace_direct(enum trace_mode mode)
{
	return mode == TRACE_MODE_64    ? UINT64_C(0xffff800040000000) // physical memory is seen from 0xffff800000000000
	       : mode == TRACE_MODE_PAE ? UINT64_C(0x20000000)
					: UINT64_C(0x80400000);
}
// Bytes of an entry.
static inline u32 trace_entry_bytes(enum trace_mode mode) { return mode == TRACE_MODE_32 ? 4 : 8; }
// What is added to a frame's address to make a CR3 of it.
static inline u32 trace_root_at(enum trace_mode mode) { return mode == TRACE_MODE_PAE ? TRACE_RESERVED_AT : 0; }

// Target codes of an entry or of CR3.
#define TRACE_TARGET_HOLE0 16
#define TRACE_TARGET_HOLE1 17
#define TRACE_TARGET_FAR 18
#define TRACE_TARGET_COUNT 19
static inline u64 trace_target_gfn(enum trace_mode mode, u32 target)
{
	return target < TRACE_FRAMES            ? TRACE_F0_GFN + target
	       : target == TRACE_TARGET_HOLE0 ? TRACE_HOLE0_GFN
	       : target == TRACE_TARGET_HOLE1 ? TRACE_HOLE1_GFN
	       : mode == TRACE_MODE_32        ? TRACE_FAR32_GFN
					      : TRACE_FAR_GFN;
}
// CR3 alone has targets more: frame n with a bit above the lowest 32 set.
#define TRACE_ROOT_COUNT (TRACE_TARGET_COUNT + TRACE_FRAMES)
static inline bool trace_root_is_high(u32 target) { return target >= TRACE_TARGET_COUNT; }
// The CR3 value that names a target. far is a third hole where CR3 has 32 bits. Where it has more, a high one names no RAM.
// PWT and PCD are set now and then, for nobody to take for a part of the address.
static inline u64 trace_cr3(enum trace_mode mode, u32 target)
{
	u32 low = trace_root_is_high(target) ? target - TRACE_TARGET_COUNT : target;
	u64 g = trace_target_gfn(mode == TRACE_MODE_PAE ? TRACE_MODE_32 : mode, low);

	u64 high = low == target ? 0 : BIT(32 + low % (TRACE_PHYS_BITS - 32));

	return (g << FRAME_SHIFT) + trace_root_at(mode) + (target & 3) * 8 + high;
}

// ---- header ---------------------------------------------------------------------------------------
enum trace_kind { // the --kind values; the first three can be run, and their numbers are trace modes
	TRACE_HVM64, TRACE_HVM32, TRACE_HVMPAE, TRACE_PV64, TRACE_LGUEST2, TRACE_LGUESTPAE,
	TRACE_KIND_COUNT
};
#define TRACE_KINDS_RUN 3
struct trace_config {
	enum trace_kind kind;
	u32 vcpus;       // 1 to 4
	u32 pool_pages;  // 20 to 275
	u32 opts;        // SHADOW_OPT_* mask, 8 bits
	bool flush_auto; // the guest flushes everything after each op that can change a mapping
};

// ---- operations -------------------------------------------------------------------------------------
// Numbers are the binary encoding: append only.
enum trace_code {
	OP_PTE,      // pte f3[7] = f4 P W U      store of an entry through the direct map; pae: two, high half first
	OP_HALF,     // half f3[7].lo = f4 P W    store of one half of an entry (.lo / .hi), 4 bytes, or 2 in mode 32
	OP_CAS,      // cas f3[7] u8 match = f4 P lock cmpxchg of 4, 8 or (64 only) 16 bytes, match or miss
	OP_PEEK,     // peek f3[7]                load of an entry through the direct map
	OP_ZERO,     // zero f3                   stores of 0 over the page, low to high, but the reserved bytes
	OP_COPY,     // copy f3 <- f4             copies over the page, low to high, but the reserved bytes
	OP_PHYS,     // phys f3[7] = f4 P W U     paging off, 4-byte stores of an entry, low half first, paging on
	OP_READ,     // read 1.0.3.15+0x8 u8 [cpl3] [tlb1]
	OP_WRITE,    // write 1.0.3.15+0x8 u4 = 0x5a5a5a5a [cpl3] [tlb1]
	OP_SET,      // set 1.0.3.15+0x8 = f4 P W [cpl3] [tlb1]   store of an entry through a va
	OP_PUSH,     // push 1.0.3.15+0x8 = 0x... [cpl3] [tlb1]   PUSH: takes the frame for a stack, not a table
	OP_EXEC,     // exec 1.0.3.15 [cpl3] [tlb1]   fetch at page offset TRACE_EXEC_AT
	OP_SWEEP,    // sweep 1.0.3.0 n=8 [cpl3] [tlb1]  1-byte loads at n (1..16) consecutive pages
	OP_CR3,      // cr3 f1                    load CR3 (a hole: killed "wild cr3"; #GP: far in mode 64, reserved
		     // bits in a PDPTE)
	OP_RELOAD,   // reload                    write CR3 back
	OP_INVLPG,   // invlpg 1.0.3.15
	OP_FLUSH,    // flush                     toggle CR4.PGE twice: drops globals too
	OP_CTL,      // ctl wp=0                  wp, nxe, smep, smap, pge, pse on every vcpu of the guest
	OP_VCPU,     // vcpu 1                    go on as vcpu n % vcpus
	// Operations below exist only under a hypervisor; on metal they answer ok, with the effect that a
	// guest could see done by the guest kernel itself.
	OP_UNSHADOW, // unshadow f3
	OP_BLOW,     // blow
	OP_POOL,     // pool 40                   1 to 256 pages, raised to the lower bound
	OP_SWAP,     // swap f3 f4                exchange contents; ebusy if either is loaded in a CR3, ok if equal
	OP_RENEW,    // renew f3                  all zero again but the reserved bytes; ebusy as above
	OP_REMOVE,   // remove f3                 becomes a hole; ebusy as above; not for metal; renew brings it back
	OP_CHECK,    // check                     all checkers: ok or echeck
	// Later additions, of the guest.
	OP_ALTER,    // alter 1.0.3.15+0x8 lock_or u4 = f4 W [cpl3] [ac] [tlb1]   one instruction of a choice, see below
	OP_REAL,     // real f3[7] = f4 P W U     as phys, but the stores are done in real mode with 4 GiB segments
	OP_VISIT,    // visit pae f3 2.1.5+0x8 read u4 = 0x0   all paging off, on again in that mode with f3 as root,
		     // one access at CPL 0, and home the same way; a load ignores its value
	OP_BADREG,   // badreg cr0_nw             a write to a control register that must raise #GP(0)
	// Later additions, of the hypervisor. call.c says which hypercall each of them is. They leave what is loaded
	// in a CR3 alone: ebusy, where it would go.
	OP_CONTROL,  // control clean n=16 [self|absent]   what an operator asks for: log-dirty, the pool's size, and more
	OP_MIGRATE,  // migrate start             live migration into a second domain of the same machine, step by step
	OP_RETYPE,   // retype f3 ro              rw, ro, logdirty; a read-only frame drops the guest's stores
	OP_MOVE,     // move f3 -> f4             the frame behind f3, with its type, goes behind f4; f3 is a hole then
	OP_IDENTITY, // identity on hole0-1 n=3   guest frame numbers become those of the machine, where nothing is
	OP_BALLOON,  // balloon down f3 n=4       frames from f3 on become holes; up: holes get zeroed frames
	OP_LARGE,    // large f0                  one large entry for the frames around f0; nobody can see that
	OP_AUDIT,    // audit 0x15                what the hypervisor checks by itself
	OP_FOREIGN,  // foreign f3 d1             frame d1 of the guest's donor, another domain, at a hole; none: a hole again
	OP_DONOR,    // donor renew_d1            the donor renews, drops a frame, or is destroyed with all of them and made anew
	OP_COUNT
};

enum trace_ctl { CTL_WP, CTL_NXE, CTL_SMEP, CTL_SMAP, CTL_PGE, CTL_PSE, CTL_COUNT };

// What `alter` executes. The value is trace_alter_value(). LOCK forms come after the plain ones.
enum trace_insn {
	INS_MOV,      // general register to memory
	INS_STOS, INS_REP_STOS, // REP: TRACE_REP elements upwards
	INS_MOVS, INS_REP_MOVS, // from the kernel's own copy of the value, which never faults
	INS_MOVNTI,   // 4 or 8 bytes
	INS_SSE,      // MOVD, MOVQ or MOVUPS: 4, 8 or 16 bytes; does not cross a page with 16
	INS_XCHG,
	INS_CAS,      // compare with 0; 16 bytes: CMPXCHG16B; 8 bytes in 32-bit code: CMPXCHG8B
	INS_AND, INS_OR, INS_XOR, INS_ADD, INS_SUB, INS_INC, INS_DEC,
	INS_BTS, INS_BTR, INS_BTC, // immediate bit number
	INS_LOCK_CAS, INS_LOCK_AND, INS_LOCK_OR, INS_LOCK_XOR, INS_LOCK_ADD, INS_LOCK_SUB, INS_LOCK_INC, INS_LOCK_DEC,
	INS_LOCK_BTS, INS_LOCK_BTR, INS_LOCK_BTC,
	INS_XADD,     // one that Umbra's decoder does not know, on purpose
	INS_COUNT
};
#define TRACE_REP 3 // elements that the REP forms store

// What `control` asks for.
enum trace_ask {
	ASK_OFF, ASK_TEST, ASK_LOGDIRTY, ASK_TRANSLATE, ASK_CLEAN, ASK_PEEK, ASK_GET, ASK_SET, ASK_ENABLE, ASK_BLOW,
	ASK_BLOW_ALL, ASK_LOGDIRTY_OFF,
	ASK_COUNT
};
// And who asks, about whom.
enum trace_who { // about an absent domain; and from WHO_FROM on an operator whose clean or peek begins elsewhere than at f0
	WHO_OPERATOR, WHO_SELF, WHO_ABSENT, WHO_FROM,
};
#define TRACE_FROMS 15
#define WHO_COUNT (WHO_FROM + TRACE_FROMS)
#define TRACE_ASK_MAX 511u // as an argument: more than any machine has
enum trace_step { TRACE_STEP_START, TRACE_STEP_ROUND, TRACE_STEP_FINISH, TRACE_STEP_CANCEL, TRACE_STEP_COUNT }; // of `migrate`
// A round has many points at which another op can run: there are values for rounds whose race_nth counts from a later one on.
#define TRACE_STEP_WORDS (TRACE_STEP_COUNT + 12)
enum trace_type { TYPE_RW, TYPE_RO, TYPE_LOGDIRTY, TYPE_COUNT };                  // of `retype`
// What `foreign` maps: a gift of the donor, counted from 1. What `donor` does: for each gift in turn.
#define TRACE_GIFTS 4u
enum { GIFT_NONE, GIFT_COUNT = TRACE_GIFTS + 1 };
enum { DEED_RENEW, DEED_DROP = TRACE_GIFTS, DEED_END = 2 * TRACE_GIFTS, DEED_COUNT };
#define TRACE_BALLOON_MAX 17u

// Writes that `badreg` tries.
enum trace_bad {
	BAD_CR0_NW,       // NW without CD
	BAD_CR0_PG,       // PG without PE
	BAD_CR0_HIGH,     // bit 32; 64-bit code only
	BAD_CR0_PG_CLEAR, // paging off in 64-bit code
	BAD_CR4_RESERVED, // bit 31
	BAD_CR4_LA57, BAD_CR4_PCIDE,
	BAD_CR4_PAE_CLEAR, // in long mode
	BAD_EFER_RESERVED, // bit 16
	BAD_EFER_LME,     // LME changed while paging is on
	BAD_CR3_HIGH,     // bit 52; 64-bit code only
	BAD_COUNT
};

// One decoded operation. Fields that the op does not have are zero. All values are natural: the
// codec has mapped small indices to them, so executors need no tables.
struct trace_op {
	u8 mode;      // enum trace_mode: the guest's; VISIT: the mode that is visited
	u8 code;      // enum trace_code
	u8 fail_nth;  // 0, or 1..15: the k-th fallible step inside this op fails (hypervisors only)
	u8 race_nth;  // 0, or 1..15: the next op runs on another vcpu inside this one, see trace_race_point()
	u8 frame;     // 0..15
	u8 from;      // second frame, 0..15
	u8 target;    // 0..TRACE_TARGET_COUNT-1; CR3: 0..TRACE_ROOT_COUNT-1
	u8 bytes;     // 1, 2, 4, 8, 16
	u8 cpl;       // 0 or 3
	u8 stale;     // host TLB model: 0 walk afresh, 1 oldest granting entry, 2 newest, 3 spurious fault first
	u8 ac;        // RFLAGS.AC during the access: SMAP looks away
	u8 vcpu;      // 0..3, taken modulo the trace's vcpus
	u8 ctl;       // enum trace_ctl
	u8 insn;      // enum trace_insn
	u8 bad;       // enum trace_bad
	u8 what;      // enum trace_ask, trace_step or trace_type, by op; AUDIT: a mask; FOREIGN: a gift; DONOR: a deed
	u8 who;       // enum trace_who
	bool on;      // CTL: new value; HALF: high half; CAS: match; VISIT: a store; IDENTITY; BALLOON: up
	u16 index;    // entry index in entries of the mode, never one of the reserved bytes
	u16 count;    // SWEEP pages 1..16, POOL pages 1..256, IDENTITY and BALLOON frames, CONTROL 0..511
	u64 flags;    // entry bits to OR to the target's address
	u64 va;       // canonical; below 4 GiB but in mode 64
	u64 value;    // data for WRITE, PUSH and VISIT; IDENTITY: first guest frame number
};

// The entry that PTE, HALF, CAS, PHYS, REAL and SET store.
static inline u64 trace_entry(const struct trace_op *op)
{
	u64 entry = trace_target_gfn((enum trace_mode)op->mode, op->target) << FRAME_SHIFT | op->flags;

	return op->mode == TRACE_MODE_32 ? entry & UINT32_MAX : entry;
}

// ALTER: the operand of its instruction, cut to 8 bytes at most; 16-byte stores use it twice. Arithmetic takes the
// flags alone, AND their complement, BTS and its kin the number of the lowest flag.
u64 trace_alter_value(const struct trace_op *op);
// ALTER: the RFLAGS bits that its instruction defines and that are observed, 0 if none (CF 1, PF 4, AF 0x10, ZF 0x40,
// SF 0x80, OF 0x800).
u32 trace_alter_flags(const struct trace_op *op);
// ALTER: does it read the operand first? Then the read comes first as an access of its own: a fault on it says read.
bool trace_alter_reads(const struct trace_op *op);
// Bytes of a PUSH. (Entries are trace_entry_bytes().)
static inline u32 trace_push_bytes(enum trace_mode mode) { return mode == TRACE_MODE_64 ? 8 : 4; }

// CONTROL, MIGRATE and what follows them: the hypercall that the guest's kernel makes of it. False: the kernel answers
// einval by itself, since the op names frames that are not the trace's.
struct trace_call {
	u64 number, arg[2];
};
bool trace_call(const struct trace_op *op, struct trace_call *call);

// CONTROL clean or peek: the first guest frame number whose bit is asked for, which need not be one; and does the range that begins
// there end within guest-physical addresses, as one has to?
u64 trace_ask_first(const struct trace_op *op);
bool trace_ask_fits(const struct trace_op *op);

// MIGRATE: its step.
static inline enum trace_step trace_step(const struct trace_op *op)
{
	return op->what < TRACE_STEP_COUNT ? (enum trace_step)op->what : TRACE_STEP_ROUND;
}
// The point inside the op at which the next one runs, 0: at none.
static inline u32 trace_race_point(const struct trace_op *op)
{
	bool late = op->code == OP_MIGRATE && op->what >= TRACE_STEP_COUNT && op->race_nth;

	return op->race_nth + (late ? 15u * (op->what - TRACE_STEP_COUNT + 1) : 0);
}

// What the op can do, from the table in ops.c.
#define OP_IS_CONTROL 1u   // exists only under a hypervisor
#define OP_NOT_METAL 2u    // metal cannot follow: the comparison leaves metal out
#define OP_MAPS 4u         // may change a mapping: with flush_auto the guest flushes after it
u32 trace_op_class(enum trace_code code);
const char *trace_op_name(enum trace_code code);

// ---- binary form --------------------------------------------------------------------------------
// Every byte string is a trace: missing bytes read as zero, values wrap into range.
struct trace_reader {
	const u8 *data;
	size_t bytes, at;
	struct trace_config config;
};
void trace_open(struct trace_reader *r, const void *data, size_t bytes); // reads the header
bool trace_next(struct trace_reader *r, struct trace_op *op);            // false at the end
// Canonical encodings; return the number of bytes written (at most TRACE_OP_BYTES_MAX).
#define TRACE_HEADER_BYTES 5
#define TRACE_OP_BYTES_MAX 16
size_t trace_put_header(u8 *to, const struct trace_config *config);
size_t trace_put_op(u8 *to, const struct trace_op *op);

// ---- observations -------------------------------------------------------------------------------
enum obs_kind {
	OBS_OK,      // done, nothing to report
	OBS_VALUE,   // done, value[0] (value[1] too for 16 bytes)
	OBS_CAS,     // done: value = old contents, matched
	OBS_FAULT,   // vector, error, cr2 (cr2 only for #PF, vector 14)
	OBS_STATUS,  // control op: enum hv_status
	OBS_KILLED,  // the domain was killed: reason. Ends the trace
	OBS_ALTER,   // done: value = the register operand after it (XCHG, XADD, CAS: old contents; CAS of 16 bytes: two
		     // words; else 0), error = the RFLAGS bits of trace_alter_flags()
	OBS_SWEEP,   // value[0] = FNV-1a over the bytes read, count = pages read before a fault; fault fields as in
		     // OBS_FAULT, vector 0 if none
};
struct obs {
	u8 kind, vector, status, matched;
	u8 bytes;          // how many bytes of value are meaningful
	u8 count;
	u32 error;
	u64 cr2;
	u64 value[2];
	const char *reason;
	// Not printed; for the lock-step model. from_tlb: a stale translation was used for page k of the access,
	// and it led to guest frame tlb_gfn[k]. Slots 0 and 1 are the pages of the only access; of an ALTER that reads
	// first they are those of the read and 2 and 3 those of the store; of a REP form, 2k and 2k+1 those of
	// element k. emulated: the hypervisor did the instruction, the old value came from where it stored.
	bool emulated;
	bool from_tlb[6];
	u64 tlb_gfn[6];
};

// One log line without newline (number: the first op of a trace is 1), e.g. "12 read ok 0x5a" /
// "13 write #PF err=0x7 cr2=0x201000" /
// "14 pool enomem" / "15 cr3 killed wild cr3". Returns its length, below OBS_LINE_MAX.
#define OBS_LINE_MAX 128
size_t obs_line(char *to, u32 number, const struct trace_op *op, const struct obs *o);

// Two running digests over log lines (FNV-1a 64 over line bytes and a newline): `guest` skips control
// ops, `all` takes every line.
struct obs_digest { u64 guest, all; };
void obs_digest_start(struct obs_digest *d);
void obs_digest_add(struct obs_digest *d, const struct trace_op *op, const char *line, size_t bytes);
// The last two lines of a log: "memory 0x<hash>" (skipped when killed; FNV-1a 64 taken over the
// 64-bit little-endian words of f0..f15 in order, reserved words left out: h = (h ^ word) * prime),
// then "digest guest=<16 hex> all=<16 hex>". The memory line counts in both digests.
u64 obs_memory_start(void);
static inline u64 obs_memory_add(u64 h, u64 word) { return (h ^ word) * UINT64_C(0x100000001b3); }
size_t obs_memory_line(char *to, u64 hash);
size_t obs_digest_line(char *to, const struct obs_digest *d);

#endif
