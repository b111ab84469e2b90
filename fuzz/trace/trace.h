// SPDX-License-Identifier: GPL-2.0-or-later
// The trace: one short program of guest and control operations that is at once fuzz input, test,
// corpus entry, log and reproducer. This header is the contract between the codec (here), the
// executors (fuzz/exec, stress/guest), the model (fuzz/model) and the mutator (fuzz/target).
//
// codec.c, obs.c and ops.c are freestanding: the guest kernel links them too.
#ifndef FUZZ_TRACE_TRACE_H
#define FUZZ_TRACE_TRACE_H

#include "../../hv/base/types.h"

// ---- the guest's small world --------------------------------------------------------------------
// Every executor lays the guest out alike. Sixteen trace frames f0..f15 lie at a 1 GiB boundary, so
// that one frame can be data, page table, and the start of a 2 MiB or 1 GiB page at once. Machine
// RAM ends behind f15: everything above is a hole.
//
// Bytes 0x800..0x80f of every trace frame are reserved: entry 256 holds the way to the guest
// kernel's own tables (so any frame can be loaded in CR3), and 0x808 holds INT3 (so any page can be
// executed). No operation reads or changes them.
#define TRACE_FRAMES 16
#define TRACE_F0_GFN UINT64_C(0x40000)
#define TRACE_HOLE0_GFN UINT64_C(0x50000) // 2 MiB aligned, never RAM
#define TRACE_HOLE1_GFN UINT64_C(0x80000) // 1 GiB aligned, never RAM
#define TRACE_FAR_GFN UINT64_C(0x10000000) // address bit 40: reserved with 40 physical bits
#define TRACE_PHYS_BITS 40
#define TRACE_RESERVED_AT 0x800
#define TRACE_RESERVED_BYTES 16
#define TRACE_KERNEL_SLOT 256
#define TRACE_EXEC_AT 0x808
#define TRACE_INT3 UINT64_C(0xcccccccccccccccc)
// The kernel maps guest-physical address p of trace frames at TRACE_DIRECT + p, supervisor RW, 4 KiB
// pages with A and D set.
#define TRACE_DIRECT UINT64_C(0xffff800000000000)

// Target codes of an entry or of CR3.
#define TRACE_TARGET_HOLE0 16
#define TRACE_TARGET_HOLE1 17
#define TRACE_TARGET_FAR 18
#define TRACE_TARGET_COUNT 19
static inline u64 trace_target_gfn(u32 target)
{
	return target < TRACE_FRAMES            ? TRACE_F0_GFN + target
	       : target == TRACE_TARGET_HOLE0 ? TRACE_HOLE0_GFN
	       : target == TRACE_TARGET_HOLE1 ? TRACE_HOLE1_GFN
					      : TRACE_FAR_GFN;
}

// ---- header ---------------------------------------------------------------------------------------
enum trace_kind { // the --kind values; only the first is executable yet
	TRACE_HVM64, TRACE_HVM32, TRACE_HVMPAE, TRACE_PV64, TRACE_LGUEST2, TRACE_LGUESTPAE,
	TRACE_KIND_COUNT
};
struct trace_config {
	enum trace_kind kind;
	u32 vcpus;       // 1 to 4
	u32 pool_pages;  // 20 to 275
	u32 opts;        // SHADOW_OPT_* mask, 5 bits
	bool flush_auto; // the guest flushes everything after each op that can change a mapping
};

// ---- operations -------------------------------------------------------------------------------------
// Numbers are the binary encoding: append only.
enum trace_code {
	OP_PTE,      // pte f3[7] = f4 P W U      8-byte store through the direct map
	OP_HALF,     // half f3[7].lo = f4 P W    4-byte store of one half of the entry (.lo / .hi)
	OP_CAS,      // cas f3[7] u8 match = f4 P lock cmpxchg of 4, 8 or 16 bytes (u4/u8/u16), match or miss
	OP_PEEK,     // peek f3[7]                8-byte load through the direct map
	OP_ZERO,     // zero f3                   8-byte stores of 0 over the page, low to high, but the reserved bytes
	OP_COPY,     // copy f3 <- f4             8-byte copies over the page, low to high, but the reserved bytes
	OP_PHYS,     // phys f3[7] = f4 P W U     paging off, two 4-byte stores (low, high), paging on
	OP_READ,     // read 1.0.3.15+0x8 u8 [cpl3] [tlb1]
	OP_WRITE,    // write 1.0.3.15+0x8 u4 = 0x5a5a5a5a [cpl3] [tlb1]
	OP_SET,      // set 1.0.3.15+0x8 = f4 P W [cpl3] [tlb1]   8-byte store of an entry through a va
	OP_PUSH,     // push 1.0.3.15+0x8 = 0x... [cpl3] [tlb1]   8-byte PUSH: takes the frame for a stack, not a table
	OP_EXEC,     // exec 1.0.3.15 [cpl3] [tlb1]   fetch at page offset TRACE_EXEC_AT
	OP_SWEEP,    // sweep 1.0.3.0 n=8 [cpl3] [tlb1]  1-byte loads at n (1..16) consecutive pages
	OP_CR3,      // cr3 f1                    load CR3 (hole0/hole1: killed "wild cr3"; far: #GP)
	OP_RELOAD,   // reload                    write CR3 back
	OP_INVLPG,   // invlpg 1.0.3.15
	OP_FLUSH,    // flush                     toggle CR4.PGE twice: drops globals too
	OP_CTL,      // ctl wp=0                  wp, nxe, smep, smap, pge on every vcpu of the guest
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
	OP_COUNT
};

enum trace_ctl { CTL_WP, CTL_NXE, CTL_SMEP, CTL_SMAP, CTL_PGE, CTL_COUNT };

// One decoded operation. Fields that the op does not have are zero. All values are natural: the
// codec has mapped small indices to them, so executors need no tables.
struct trace_op {
	u8 code;      // enum trace_code
	u8 fail_nth;  // 0, or 1..15: the k-th fallible step inside this op fails (hypervisors only)
	u8 race_nth;  // 0, or 1..15: the next op runs on another vcpu at the k-th yield point inside this one
	u8 frame;     // 0..15
	u8 from;      // second frame, 0..15
	u8 target;    // 0..TRACE_TARGET_COUNT-1
	u8 bytes;     // 1, 2, 4, 8, 16
	u8 cpl;       // 0 or 3
	u8 stale;     // host TLB model: 0 walk afresh, 1 oldest granting entry, 2 newest, 3 spurious fault first
	u8 vcpu;      // 0..3, taken modulo the trace's vcpus
	u8 ctl;       // enum trace_ctl
	bool on;      // CTL: new value; HALF: high half; CAS: match
	u16 index;    // entry index 0..511, never 256 or 257
	u16 count;    // SWEEP pages 1..16, POOL pages 1..256
	u64 flags;    // entry bits to OR to the target's address
	u64 va;       // canonical
	u64 value;    // data for WRITE and PUSH
};

// The entry that PTE, HALF, CAS, PHYS and SET store.
static inline u64 trace_entry(const struct trace_op *op)
{
	return trace_target_gfn(op->target) << FRAME_SHIFT | op->flags;
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
	// and it led to guest frame tlb_gfn[k].
	bool from_tlb[2];
	u64 tlb_gfn[2];
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
