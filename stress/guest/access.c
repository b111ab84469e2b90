// SPDX-License-Identifier: GPL-2.0-or-later
// Single accesses as probes: choosing code, ring and registers, and reading off the fault.
#include "accesses.h"

#include "cpu.h"
#include "world.h"

struct selectors {
	u32 cs, ss;
};

const struct piece *access_piece(u32 insn, u32 bytes)
{
	extern const struct piece pieces[], pieces_end[];

	for (const struct piece *p = pieces; p < pieces_end; p++)
		if (p->insn == insn && p->bytes == bytes)
			return p;
	return NULL;
}

static bool run(const u8 *code, u32 cpl, struct selectors s, bool ac, struct obs *o)
{
	probe.code = user_at(code, cpl);
	probe.cs = s.cs;
	probe.ss = s.ss;
	probe.flags = 2 | (ac ? RFLAGS_AC : 0);
	probe_run();
	if (probe.vector == TRAP_BP)
		return true;
	o->kind = OBS_FAULT;
	o->vector = (u8)probe.vector;
	// A reserved bit is only seen in a present entry (APM vol. 2, 8.4.2); QEMU 7.2 leaves P out.
	o->error = (u32)probe.error | (probe.vector == TRAP_PF && probe.error & PF_RSVD ? PF_P : 0);
	o->cr2 = probe.vector == TRAP_PF ? probe.cr2 : 0;
	return false;
}

bool access_run(const u8 *code, u32 cpl, bool ac, struct obs *o)
{
	static const struct selectors kernel = { SEL_CODE, SEL_DATA }, user = { SEL_USER_CODE, SEL_USER_DATA };

	return run(code, cpl, cpl ? user : kernel, ac, o);
}

// The one of four for 1, 2, 4 and 8 bytes.
static const u8 *code_of_size(u32 bytes, const u8 *const codes[4])
{
	return codes[bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3];
}

bool access_is_split(u64 va, u32 bytes)
{
	return !world_has_umbra && (va & (FRAME_BYTES - 1)) + bytes > FRAME_BYTES;
}

bool access_load(u64 va, u32 bytes, u32 cpl, bool ac, u64 *value, struct obs *o)
{
	const u8 *const codes[4] = { code_read1, code_read2, code_read4, code_read8 };
	const u8 *code = code_of_size(bytes, codes);

	probe = (struct probe){ .di = va };
	if (access_is_split(va, bytes) && !access_run(code, cpl, ac, o))
		return false;
	if (!access_run(code, cpl, ac, o))
		return false;
	*value = bytes > sizeof(word_t) ? probe.xmm0[0] : probe.ax;
	return true;
}

bool access_store(u64 va, u32 bytes, u32 cpl, bool ac, u64 value, struct obs *o)
{
	const u8 *const codes[4] = { code_write1, code_write2, code_write4, code_write8 };

	probe = (struct probe){ .di = va, .bx = value, .xmm0 = { value } };
	return access_run(code_of_size(bytes, codes), cpl, ac, o);
}

bool access_push(u64 va, u32 cpl, bool ac, u64 value, struct obs *o)
{
	static const struct selectors kernel = { SEL_PUSH_CODE, SEL_PUSH_DATA };
	static const struct selectors user = { SEL_USER_CODE, SEL_USER_DATA };

	probe = (struct probe){ .stack = va + sizeof(word_t), .bx = value };
	return run(code_push, cpl, cpl ? user : kernel, ac, o);
}

void access_jump(u64 va, u32 cpl, bool ac, struct obs *o)
{
	probe = (struct probe){ .di = va, .ax = NO_DATA };
	(void)access_run(code_jump, cpl, ac, o);
	// 32-bit code has no address that is always #GP.
	if (o->kind == OBS_FAULT && o->vector == TRAP_PF && o->cr2 == NO_DATA)
		*o = (struct obs){ .kind = OBS_FAULT, .vector = TRAP_GP };
}

bool access_control(const u8 *code, u64 value, struct obs *o)
{
	probe = (struct probe){ .ax = value, .dx = value >> 32, .cx = MSR_EFER };
	return access_run(code, 0, false, o);
}
