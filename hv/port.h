// SPDX-License-Identifier: GPL-2.0-or-later
// The only door from the core to the world. Each port (hv/port/host, hv/port/bare) defines every
// function below exactly once; the core is linked against one of them.
#ifndef HV_PORT_H
#define HV_PORT_H

#include "base/status.h"
#include "base/types.h"
#include "mem/frame.h"

struct vcpu;

// ---- machine memory ----------------------------------------------------------------------------

// The run of machine frames that the core may manage: [first, first + count). Constant after boot.
// first.n >= 1. Their contents at start are arbitrary.
void port_frames(mfn_t *first, u32 *count);

// Zeroed memory of `bytes` for the core's own tables, aligned to 64. Called only from hv_start().
// Never fails: a port that cannot serve it stops with port_fatal().
void *port_boot_alloc(size_t bytes);

// A pointer through which the whole 4 KiB frame may be read and written until the matching unmap.
// m must lie in port_frames(). Never fails. Maps may nest.
void *port_map(mfn_t m);
void port_unmap(const void *p);

// The frame heap tells when frame m changes hands; contents are junk at both moments. The host port
// poisons frames that nobody owns and fills fresh ones with junk.
void port_frame_allocated(mfn_t m);
void port_frame_freed(mfn_t m);

// ---- processors and TLBs -----------------------------------------------------------------------

// Number of the physical processor we run on, below 32.
u32 port_cpu(void);

// Drop every guest translation that the processors in cpu_mask hold, paging-structure caches
// included. Returns when all have.
void port_tlb_flush(u32 cpu_mask);

// Drop what this processor holds for one guest-virtual address of the running vcpu (APM vol. 2,
// 5.5.2, INVLPG: also its paging-structure cache entries).
void port_tlb_flush_va(gva_t va);

// Physical address bits of the processor (CPUID 8000_0008). Bits at and above are reserved in
// entries; magic entries depend on it (spec A.12).
u32 port_phys_bits(void);

// ---- locks and scheduling ----------------------------------------------------------------------

struct hv_lock {
	u32 holder;        // processor + 1, 0 when free
	const char *where; // the operation or function that took it
};

// Take the lock, waiting as long as somebody else has it; give it back. Not recursive: who has it does not take it again, and
// nobody else gives it back. `where` must outlive the hold. Another lock may be held only in the order of docs/architecture.md.
void port_lock(struct hv_lock *lock, const char *where);
void port_unlock(struct hv_lock *lock);

// Points where another vcpu may run. Called with no lock held. The host port's scheduler may
// execute operations of another vcpu here, as the trace says; the bare port does nothing.
enum port_yield_site {
	YIELD_FAULT_WALKED,   // guest walk done, paging lock not yet taken again
	YIELD_EMULATE_FETCH,  // fault seen as a write to a table, instruction not yet fetched
	YIELD_EMULATE_WALKED, // destination of an emulated write translated, not yet written
	YIELD_SITE_COUNT
};
void port_yield(enum port_yield_site site);

// ---- fault injection ---------------------------------------------------------------------------

enum port_fail_site {
	FAIL_HEAP,    // frame heap: no frame
	FAIL_POOL,    // shadow pool: reservation cannot be met
	FAIL_RECLAIM, // shadow pool: as if nothing were free, all that can be reclaimed is. The guest sees nothing of it
	FAIL_P2M,     // p2m: no page for a table
	FAIL_PIN,     // pinning a shadow fails
	FAIL_COPY,    // handing out a piece of the log-dirty bitmap fails
	FAIL_EMULATE, // the emulator declines the instruction
	FAIL_SITE_COUNT
};
// True when the k-th question since the trace armed failure k: the caller must take its error path.
bool port_should_fail(enum port_fail_site site);

// ---- instructions ------------------------------------------------------------------------------

// What the faulting instruction of a vcpu does to memory, as far as emulation needs it.
enum insn_kind {
	INSN_UNKNOWN,  // anything that is not one of the below
	INSN_READ,     // load of `bytes` from va
	INSN_WRITE,    // store of data[] (low `bytes` bytes) to va; bytes 1 to 16
	INSN_PUSH,     // like INSN_WRITE, and the port moves the stack pointer when it is done
	INSN_CMPXCHG,  // compare with expect[], store data[] on match; bytes 1 to 16
	INSN_RMW,      // result := operand, operand := insn_alu(alu, operand, data[0]); bytes 1 to 8
};
enum insn_alu { ALU_XCHG, ALU_AND, ALU_OR, ALU_XOR, ALU_ADD, ALU_SUB, ALU_BTS, ALU_BTR, ALU_BTC };
// The new value of an operand of `bytes` bytes. Bit tests take the bit number, below 8 * bytes.
static inline u64 insn_alu(enum insn_alu alu, u64 old, u64 operand)
{
	switch (alu) {
	case ALU_AND: return old & operand;
	case ALU_OR: return old | operand;
	case ALU_XOR: return old ^ operand;
	case ALU_ADD: return old + operand;
	case ALU_SUB: return old - operand;
	case ALU_BTS: return old | BIT(operand);
	case ALU_BTR: return old & ~BIT(operand);
	case ALU_BTC: return old ^ BIT(operand);
	default: return operand;
	}
}
struct hv_insn {
	enum insn_kind kind;
	gva_t va;      // first byte of the memory operand; outside long mode below 4 GiB, where it wraps
	u8 bytes;      // operand size: 1, 2, 4, 8; 16 for CMPXCHG16B (8 for CMPXCHG8B) and stores of SSE registers
	u8 cpl;        // privilege of the access: 0 or 3
	u8 alu;        // RMW: enum insn_alu
	bool aligned;  // misaligned operands raise #GP: CMPXCHG16B, MOVAPS
	u64 data[2];   // value to store, little-endian halves
	u64 expect[2]; // cmpxchg: value to compare with
	// Results, valid when the core answers FAULT_EMULATED:
	u64 result[2]; // READ: value loaded. CMPXCHG, RMW: old value of the operand
	bool matched;  // CMPXCHG: the compare succeeded and data[] was stored
};
// Decode the instruction that vcpu v just faulted on. It may differ from the one that caused the
// fault when another vcpu rewrote it. Never fails: an unreadable instruction is INSN_UNKNOWN.
void port_fetch_insn(struct vcpu *v, struct hv_insn *insn);

// The instruction in *insn has been emulated: complete it (apply the results, step over it, for a string instruction by one
// element) and decode the one that follows into *insn. False: completed, but what follows is not a store that can be
// emulated now (an event is due, it cannot be read, it is something else); *insn is not valid then. Either way the core
// answers FAULT_FIXED, unless it also emulates what it got here: then FAULT_EMULATED, for that one. Called without locks.
bool port_next_insn(struct vcpu *v, struct hv_insn *insn);

// Guest-physical accesses that no RAM backs. bytes is 1, 2, 4 or 8.
u64 port_mmio_read(struct vcpu *v, gpa_t at, u32 bytes);
void port_mmio_write(struct vcpu *v, gpa_t at, u32 bytes, u64 value);

// ---- words and ends ----------------------------------------------------------------------------

// One line for the operator, without the newline.
void port_log(const char *line);

// Stop everything: a hypervisor invariant is broken. Does not return.
_Noreturn void port_fatal(const char *why);

// 64 bits of entropy. On the host they come from the trace.
u64 port_entropy(void);

#endif
