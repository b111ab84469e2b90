// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation of a trace does. Memory accesses of the kernel go through the direct map, which
// cannot fault; accesses through trace addresses are probes (access.c), which may.
//
// In reading order: direct-map operations; probes; CR3; control operations, which are
// hypercalls below Umbra and imitated on metal; the switch over all of them.
// Cost: one instruction and its trap for most; ZERO, COPY, SWAP and RENEW touch a page.
// It does not know the shadow tables: everything here is what an ordinary guest may do.
#include "ops.h"

#include "accesses.h"
#include "blank.h"
#include "cpu.h"
#include "serial.h"
#include "world.h"

#define ENTRY_BYTES trace_entry_bytes(MODE)

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

// ---- through the direct map -----------------------------------------------------------------------
static u64 entry_at(const struct trace_op *op)
{
	return world_at(op->frame, op->index * ENTRY_BYTES);
}

static u64 load_entry(u64 at)
{
	return ENTRY_BYTES == 4 ? cpu_load4(at) : cpu_load8(at);
}

// In words, the high one first, as a PAE kernel may do that fills an absent entry.
static void store_entry(u64 at, u64 entry)
{
	for (u32 offset = ENTRY_BYTES; offset; offset -= sizeof(word_t))
		cpu_store_word(at + offset - sizeof(word_t), (word_t)(entry >> 8 * (offset - sizeof(word_t))));
}

static void store_half(const struct trace_op *op)
{
	u32 bytes = ENTRY_BYTES / 2, offset = op->on ? bytes : 0;
	u64 at = entry_at(op) + offset, half = trace_entry(op) >> 8 * offset;

	if (bytes == 2)
		cpu_store2(at, (u16)half);
	else
		cpu_store4(at, (u32)half);
}

static void do_cas(const struct trace_op *op, struct obs *o)
{
	u64 at = entry_at(op), entry = trace_entry(op), differ = op->on ? 0 : 1;
	// The second entry of two, or the high half of one.
	word_t high = (word_t)(op->bytes > ENTRY_BYTES ? entry : entry >> 32);
	word_t new[2] = { (word_t)entry, high }, old[2] = { cpu_load_word(at) ^ (word_t)differ, 0 };

	*o = (struct obs){ .kind = OBS_CAS, .bytes = op->bytes };
	if (op->bytes == 4) {
		u32 low = (u32)old[0];

		o->matched = cpu_cas4(at, &low, (u32)entry);
		o->value[0] = low;
	} else if (op->bytes == sizeof(word_t)) {
		o->matched = cpu_cas_word(at, &old[0], new[0]);
		o->value[0] = old[0];
	} else {
		old[1] = cpu_load_word(at + sizeof(word_t));
		o->matched = cpu_cas_pair(at, old, new);
		o->value[0] = old[0];
		if (op->bytes == 8)
			o->value[0] |= (u64)old[1] << 32;
		else
			o->value[1] = old[1];
	}
}

static void zero_frame(u32 frame)
{
	for (u32 at = 0; at < FRAME_BYTES; at += sizeof(word_t))
		if (!world_is_reserved(at))
			cpu_store_word(world_at(frame, at), 0);
}

static void copy_frame(u32 to, u32 from)
{
	for (u32 at = 0; at < FRAME_BYTES; at += sizeof(word_t))
		if (!world_is_reserved(at))
			cpu_store_word(world_at(to, at), cpu_load_word(world_at(from, at)));
}

static void swap_frames(u32 a, u32 b)
{
	for (u32 at = 0; at < FRAME_BYTES; at += sizeof(word_t)) {
		if (world_is_reserved(at))
			continue;
		word_t word = cpu_load_word(world_at(a, at));
		cpu_store_word(world_at(a, at), cpu_load_word(world_at(b, at)));
		cpu_store_word(world_at(b, at), word);
	}
}

// ---- probes ---------------------------------------------------------------------------------------
static void do_read(const struct trace_op *op, struct obs *o)
{
	u64 value;

	if (access_load(op->va, op->bytes, op->cpl, op->ac, &value, o))
		*o = (struct obs){ .kind = OBS_VALUE, .bytes = op->bytes, .value = { value } };
}

static void do_store(const struct trace_op *op, u32 bytes, u64 value, struct obs *o)
{
	if (access_store(op->va, bytes, op->cpl, op->ac, value, o))
		blank_after_store(op->va, bytes);
}

static void do_push(const struct trace_op *op, struct obs *o)
{
	if (access_push(op->va, op->cpl, op->ac, op->value, o))
		blank_after_store(op->va, trace_push_bytes(MODE));
}

static void do_exec(const struct trace_op *op, struct obs *o)
{
	access_jump((op->va & ~(u64)(FRAME_BYTES - 1)) + TRACE_EXEC_AT, op->cpl, op->ac, o);
}

static void do_sweep(const struct trace_op *op, struct obs *o)
{
	u64 hash = FNV_START, byte;
	u8 done = 0;

	while (done < op->count &&
	       access_load(op->va + done * (u64)FRAME_BYTES, 1, op->cpl, op->ac, &byte, o)) {
		hash = (hash ^ byte) * FNV_PRIME;
		done++;
	}
	o->kind = OBS_SWEEP;
	o->count = done;
	o->value[0] = hash;
}

// ---- CR3 --------------------------------------------------------------------------------------------
static const struct obs general_protection = { .kind = OBS_FAULT, .vector = TRAP_GP };

static void do_cr3(const struct trace_op *op, struct obs *o)
{
	u64 cr3 = trace_cr3(MODE, op->target);

	if (op->target == TRACE_TARGET_FAR && MODE == TRACE_MODE_64) {
		if (world_has_umbra)
			(void)access_control(code_cr3, cr3, o);
		else // QEMU 7.2 does not fault: it leaves a guest mode that it is not in, and is lost
			*o = general_protection;
	} else if (MODE != TRACE_MODE_64 && trace_root_is_high(op->target)) {
		cross_root((u32)cr3, o);
	} else if (op->target >= TRACE_FRAMES && !world_has_umbra) {
		*o = (struct obs){ .kind = OBS_KILLED, .reason = "wild cr3" };
	} else if (!world_load_cr3(cr3)) {
		*o = general_protection;
	}
}

static void do_reload(struct obs *o)
{
	if (!world_reload_cr3())
		*o = general_protection;
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

// CONTROL and what follows it. A balloon that goes up brings frames without the reserved bytes, nobody knows which.
static enum hv_status manage(const struct trace_op *op)
{
	enum hv_status status = HV_EINVAL;
	struct trace_call call;

	if (trace_call(op, &call))
		status = world_hypercall((enum hypercall_number)call.number, call.arg[0], call.arg[1]);
	for (u32 i = 0; op->code == OP_BALLOON && op->on && status == HV_OK && i < op->count; i++)
		world_reserve(op->frame + i, MODE);
	return status;
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
	case OP_RETYPE:
	case OP_MOVE:
	case OP_BALLOON:
	case OP_FOREIGN:
		guest_panic("this trace changes a frame as only a hypervisor can");
	default:
		return HV_OK;
	}
}

// ---- all --------------------------------------------------------------------------------------------
static void run_control(const struct trace_op *op, struct obs *o)
{
	o->kind = OBS_STATUS;
	o->status = (u8)(!world_has_umbra ? imitate_umbra(op) : op->code >= OP_CONTROL ? manage(op) : ask_umbra(op));
	// Umbra renews the whole frame; the trace keeps the reserved bytes.
	if (world_has_umbra && op->code == OP_RENEW && o->status == HV_OK)
		world_reserve(op->frame, MODE);
}

// Everything that writes control registers.
static void run_mode(const struct trace_op *op, struct obs *o)
{
	switch ((enum trace_code)op->code) {
	case OP_PHYS:
	case OP_REAL:
		cross_store(op, op->code == OP_REAL, o);
		break;
	case OP_VISIT:
		cross_visit(op, o);
		if (op->on)
			blank_after_store(op->va, op->bytes);
		break;
	case OP_CR3:
		do_cr3(op, o);
		break;
	case OP_RELOAD:
		do_reload(o);
		break;
	case OP_FLUSH:
		world_flush();
		break;
	case OP_CTL:
		world_control((enum trace_ctl)op->ctl, op->on);
		break;
	case OP_BADREG:
		world_try((enum trace_bad)op->bad, o);
		break;
	case OP_VCPU:
		world_switch(op->vcpu);
		break;
	default: // the rest is OP_IS_CONTROL
		run_control(op, o);
		break;
	}
}

static void run(const struct trace_op *op, struct obs *o)
{
	switch ((enum trace_code)op->code) {
	case OP_PTE:
		store_entry(entry_at(op), trace_entry(op));
		break;
	case OP_HALF:
		store_half(op);
		break;
	case OP_CAS:
		do_cas(op, o);
		break;
	case OP_PEEK:
		*o = (struct obs){ .kind = OBS_VALUE, .bytes = (u8)ENTRY_BYTES, .value = { load_entry(entry_at(op)) } };
		break;
	case OP_ZERO:
		zero_frame(op->frame);
		break;
	case OP_COPY:
		copy_frame(op->frame, op->from);
		break;
	case OP_READ:
		do_read(op, o);
		break;
	case OP_WRITE:
		do_store(op, op->bytes, op->value, o);
		break;
	case OP_SET:
		do_store(op, ENTRY_BYTES, trace_entry(op), o);
		break;
	case OP_PUSH:
		do_push(op, o);
		break;
	case OP_EXEC:
		do_exec(op, o);
		break;
	case OP_SWEEP:
		do_sweep(op, o);
		break;
	case OP_ALTER:
		alter(op, o);
		break;
	case OP_INVLPG:
		cpu_invlpg(op->va);
		break;
	default:
		run_mode(op, o);
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
	if (config->flush_auto && maps && o->kind != OBS_KILLED)
		world_flush();
}
