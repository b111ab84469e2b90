// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace does. Memory accesses of the kernel go through the direct map, which
// cannot fault; accesses through trace addresses are probes (trap.S), which may.
//
// In reading order: direct-map operations; probes; control registers; control operations, which are
// hypercalls below Umbra and imitated on metal; the switch over all of them.
// Cost: one instruction and its trap for most; ZERO, COPY, SWAP and RENEW touch a page.
// It does not know the shadow tables: everything here is what an ordinary guest may do.
#include "ops.h"

#include "blank.h"
#include "cpu.h"
#include "serial.h"
#include "accesses.h"
#include "trap.h"
#include "world.h"

// An address that no data access gets through: `add %al,(%rax)`, which is what zero bytes say, then
// faults and cannot change memory.
#define RAX_BEFORE_EXEC UINT64_C(0x8000000000000000)

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// ---- through the direct map -----------------------------------------------------------------------
static void do_cas(const struct trace_op *op, struct obs *o)
{
	u64 at = world_word(op->frame, op->index), new = trace_entry(op);
	u64 old = cpu_load8(at) ^ (op->on ? 0 : 1), old_high = 0;
	bool matched;

	if (op->bytes == 16) {
		old_high = cpu_load8(at + 8);
		__asm__ volatile("lock cmpxchg16b (%3)"
				 : "+a"(old), "+d"(old_high), "=@ccz"(matched)
				 : "r"(at), "b"(new), "c"(new)
				 : "memory");
	} else if (op->bytes == 8) {
		__asm__ volatile("lock cmpxchgq %3, (%2)"
				 : "+a"(old), "=@ccz"(matched)
				 : "r"(at), "r"(new)
				 : "memory");
	} else {
		u32 low = (u32)old;
		__asm__ volatile("lock cmpxchgl %3, (%2)"
				 : "+a"(low), "=@ccz"(matched)
				 : "r"(at), "r"((u32)new)
				 : "memory");
		old = low;
	}
	*o = (struct obs){ .kind = OBS_CAS, .bytes = op->bytes, .matched = matched, .value = { old, old_high } };
}

static void zero_frame(u32 frame)
{
	for (u32 i = 0; i < WORDS; i++)
		if (!world_is_reserved(i))
			cpu_store8(world_word(frame, i), 0);
}

static void copy_frame(u32 to, u32 from)
{
	for (u32 i = 0; i < WORDS; i++)
		if (!world_is_reserved(i))
			cpu_store8(world_word(to, i), cpu_load8(world_word(from, i)));
}

static void swap_frames(u32 a, u32 b)
{
	for (u32 i = 0; i < WORDS; i++) {
		if (world_is_reserved(i))
			continue;
		u64 word = cpu_load8(world_word(a, i));
		cpu_store8(world_word(a, i), cpu_load8(world_word(b, i)));
		cpu_store8(world_word(b, i), word);
	}
}

// ---- probes ---------------------------------------------------------------------------------------
// After a probe: true when the code got through to its INT3, else the fault is in o.
static bool probe_passed(struct obs *o)
{
	const struct probe_result *r = &probe_result;

	if (r->vector == TRAP_BP)
		return true;
	o->kind = OBS_FAULT;
	o->vector = (u8)r->vector;
	// A reserved bit is only seen in a present entry (APM vol. 2, 8.4.2); QEMU 7.2 leaves P out.
	o->error = (u32)r->error | (r->error & PF_RSVD ? PF_P : 0);
	o->cr2 = r->vector == TRAP_PF ? r->cr2 : 0;
	return false;
}

// One access at va in ring cpl; value is stored or pushed. The result of a load is in probe_result.rax.
static bool access(const u8 *code, u32 cpl, u64 va, u64 value, struct obs *o)
{
	probe_result.rax = 0;
	probe(code_at(code, cpl), cpl, va + 8, va, value);
	return probe_passed(o);
}

static void store(const u8 *code, const struct trace_op *op, u64 value, struct obs *o)
{
	if (access(code, op->cpl, op->va, value, o))
		blank_after_store(op->va);
}

// The one of four for 1, 2, 4 and 8 bytes.
static const u8 *code_of_size(u32 bytes, const u8 *const codes[4])
{
	return codes[bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3];
}

static void do_read(const struct trace_op *op, struct obs *o)
{
	const u8 *const codes[4] = { code_read1, code_read2, code_read4, code_read8 };

	if (access(code_of_size(op->bytes, codes), op->cpl, op->va, 0, o)) {
		o->kind = OBS_VALUE;
		o->bytes = op->bytes;
		o->value[0] = probe_result.rax;
	}
}

static void do_write(const struct trace_op *op, struct obs *o)
{
	const u8 *const codes[4] = { code_write1, code_write2, code_write4, code_write8 };

	store(code_of_size(op->bytes, codes), op, op->value, o);
}

static void do_exec(const struct trace_op *op, struct obs *o)
{
	u64 to = (op->va & ~(u64)(FRAME_BYTES - 1)) + TRACE_EXEC_AT;

	probe_result.rax = RAX_BEFORE_EXEC;
	probe(code_at(code_jump, op->cpl), op->cpl, 0, to, 0);
	(void)probe_passed(o);
}

static void do_sweep(const struct trace_op *op, struct obs *o)
{
	u64 hash = FNV_START;
	u8 done = 0;

	while (done < op->count && access(code_read1, op->cpl, op->va + done * (u64)FRAME_BYTES, 0, o)) {
		hash = (hash ^ (probe_result.rax & 0xff)) * FNV_PRIME;
		done++;
	}
	o->kind = OBS_SWEEP;
	o->count = done;
	o->value[0] = hash;
}

// ---- control registers ------------------------------------------------------------------------------
static void do_cr3(const struct trace_op *op, struct obs *o)
{
	u64 cr3 = trace_target_gfn(op->target) << FRAME_SHIFT;

	if (op->target == TRACE_TARGET_FAR) {
		if (world_has_umbra) {
			access(code_cr3, 0, cr3, 0, o);
		} else { // QEMU 7.2 does not fault: it leaves a guest mode that it is not in, and is lost
			*o = (struct obs){ .kind = OBS_FAULT, .vector = TRAP_GP };
		}
		return;
	}
	if (op->target >= TRACE_FRAMES && !world_has_umbra) {
		*o = (struct obs){ .kind = OBS_KILLED, .reason = "wild cr3" };
		return;
	}
	world_load_cr3(cr3);
}

void phys_store(u32 at, u32 low, u32 high, u64 cr3);
static void do_phys(const struct trace_op *op)
{
	u64 entry = trace_entry(op);
	u64 at = ((TRACE_F0_GFN + op->frame) << FRAME_SHIFT) + 8u * op->index;

	phys_store((u32)at, (u32)entry, (u32)(entry >> 32), world_cr3());
}

// ---- control operations -----------------------------------------------------------------------------
static enum hv_status ask_umbra(const struct trace_op *op)
{
	u64 a = TRACE_F0_GFN + op->frame, b = TRACE_F0_GFN + op->from;

	switch (op->code) {
	case OP_UNSHADOW:
		return world_hypercall(HYPERCALL_UNSHADOW, a, 0);
	case OP_BLOW:
		return world_hypercall(HYPERCALL_BLOW, 0, 0);
	case OP_POOL:
		return world_hypercall(HYPERCALL_POOL, op->count, 0);
	case OP_SWAP:
		return world_hypercall(HYPERCALL_SWAP, a, b);
	case OP_RENEW:
		return world_hypercall(HYPERCALL_RENEW, a, 0);
	case OP_REMOVE:
		return world_hypercall(HYPERCALL_REMOVE, a, 0);
	default:
		return world_hypercall(HYPERCALL_CHECK, 0, 0);
	}
}

static enum hv_status imitate_umbra(const struct trace_op *op)
{
	switch (op->code) {
	case OP_SWAP:
		if (world_is_root(op->frame) || world_is_root(op->from))
			return HV_EBUSY;
		swap_frames(op->frame, op->from);
		return HV_OK;
	case OP_RENEW:
		if (world_is_root(op->frame))
			return HV_EBUSY;
		zero_frame(op->frame);
		return HV_OK;
	case OP_REMOVE:
		guest_panic("this trace removes a frame: only a hypervisor can");
	default:
		return HV_OK;
	}
}

// ---- all --------------------------------------------------------------------------------------------
static void run(const struct trace_op *op, struct obs *o)
{
	u64 word = world_word(op->frame, op->index);

	switch ((enum trace_code)op->code) {
	case OP_PTE:
		cpu_store8(word, trace_entry(op));
		break;
	case OP_HALF:
		cpu_store4(word + (op->on ? 4 : 0), (u32)(trace_entry(op) >> (op->on ? 32 : 0)));
		break;
	case OP_CAS:
		do_cas(op, o);
		break;
	case OP_PEEK:
		*o = (struct obs){ .kind = OBS_VALUE, .bytes = 8, .value = { cpu_load8(word) } };
		break;
	case OP_ZERO:
		zero_frame(op->frame);
		break;
	case OP_COPY:
		copy_frame(op->frame, op->from);
		break;
	case OP_PHYS:
		do_phys(op);
		break;
	case OP_READ:
		do_read(op, o);
		break;
	case OP_WRITE:
		do_write(op, o);
		break;
	case OP_SET:
		store(code_write8, op, trace_entry(op), o);
		break;
	case OP_PUSH:
		store(code_push8, op, op->value, o);
		break;
	case OP_EXEC:
		do_exec(op, o);
		break;
	case OP_SWEEP:
		do_sweep(op, o);
		break;
	case OP_CR3:
		do_cr3(op, o);
		break;
	case OP_RELOAD:
		world_load_cr3(world_cr3());
		break;
	case OP_INVLPG:
		cpu_invlpg(op->va);
		break;
	case OP_FLUSH:
		world_flush();
		break;
	case OP_CTL:
		world_control((enum trace_ctl)op->ctl, op->on);
		break;
	case OP_VCPU:
		world_switch(op->vcpu);
		break;
	default: // the rest is OP_IS_CONTROL
		o->kind = OBS_STATUS;
		o->status = (u8)(world_has_umbra ? ask_umbra(op) : imitate_umbra(op));
		break;
	}
}

void ops_run(const struct trace_op *op, const struct trace_config *config, struct obs *o)
{
	bool fails = world_has_umbra && op->fail_nth;
	bool maps = op->code == OP_VCPU || (trace_op_class((enum trace_code)op->code) & OP_MAPS);

	*o = (struct obs){ .kind = OBS_OK };
	if (fails)
		(void)world_hypercall(HYPERCALL_FAIL, op->fail_nth, 0);
	run(op, o);
	if (fails)
		(void)world_hypercall(HYPERCALL_FAIL, 0, 0);
	// Umbra renews the whole frame; the trace keeps the reserved bytes.
	if (world_has_umbra && op->code == OP_RENEW && o->status == HV_OK)
		world_reserve(op->frame);
	if (config->flush_auto && maps && o->kind != OBS_KILLED)
		world_flush();
}
