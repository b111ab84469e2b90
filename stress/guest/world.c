// SPDX-License-Identifier: GPL-2.0-or-later
// The start state, and vcpus. Below Umbra a vcpu is a set of control registers that the hypervisor
// exchanges on request; on metal this file does the same with the registers of the one processor.
// The values of all vcpus are kept here in both cases, so they are never read back.
#include "world.h"

#include "accesses.h"
#include "cpu.h"
#include "root.h"
#include "trap.h"

#define CR4_LA57 BIT(12)

struct control {
	u64 cr0, cr3, cr4, efer;
};

static struct control control[ROOT_VCPUS];
static u32 vcpus, current;

// ---- start state --------------------------------------------------------------------------------
void world_reserve(u32 frame, enum trace_mode mode)
{
	cpu_store8(world_at(frame, TRACE_RESERVED_AT), half_of(mode)->word);
	cpu_store8(world_at(frame, TRACE_EXEC_AT), TRACE_INT3);
}

void world_start(const struct trace_config *config)
{
	for (u32 frame = 0; frame < TRACE_FRAMES; frame++) {
		for (u32 at = 0; at < FRAME_BYTES; at += sizeof(word_t))
			cpu_store_word(world_at(frame, at), 0);
		world_reserve(frame, MODE);
	}
	(void)world_load_cr3(trace_cr3(MODE, 0));
	control[0].cr0 = cpu_cr0();
	control[0].cr4 = cpu_cr4();
	control[0].efer = cpu_msr(MSR_EFER);
	vcpus = config->vcpus;
	for (u32 n = 1; n < vcpus; n++) {
		control[n] = control[0];
		root_copy(n, 0);
	}
	// A vcpu that was never entered starts as a copy of the caller: enter each one now.
	if (world_has_umbra && vcpus > 1)
		for (u32 n = 1; n <= vcpus; n++)
			world_switch(n);
}

// ---- CR3 ----------------------------------------------------------------------------------------
bool world_load_cr3(u64 cr3)
{
	bool loaded = root_load(current, cr3);

	if (loaded)
		control[current].cr3 = cr3;
	return loaded;
}

bool world_reload_cr3(void)
{
	return world_load_cr3(control[current].cr3);
}

void world_leave_home(void)
{
	cpu_set_cr3(half_of(MODE)->root);
}

void world_name_root(u64 cr3)
{
	control[current].cr3 = cr3;
}

bool world_come_home(void)
{
	trap_load(); // another half may have been there
	if (root_enter(current, control[current].cr3))
		return true;
	control[current].cr3 = half_of(MODE)->root;
	return false;
}

bool world_is_root(u32 frame)
{
	for (u32 n = 0; n < vcpus; n++)
		if (control[n].cr3 >> FRAME_SHIFT == TRACE_F0_GFN + frame)
			return true;
	return false;
}

// ---- control registers --------------------------------------------------------------------------
static u64 with_bit(u64 value, u64 bit, bool on)
{
	return on ? value | bit : value & ~bit;
}

struct mail_state world_state(enum trace_mode mode)
{
	const struct control *c = &control[current];
	u64 cr4 = with_bit(c->cr4, CR4_PAE, mode != TRACE_MODE_32), efer = c->efer & ~EFER_LMA;

	efer = with_bit(efer, EFER_LME, mode == TRACE_MODE_64);
	return (struct mail_state){ .cr0 = (u32)c->cr0, .cr4 = (u32)cr4, .efer = (u32)efer, .mode = mode };
}

void world_flush(void)
{
	cpu_set_cr4(control[current].cr4 ^ CR4_PGE);
	cpu_set_cr4(control[current].cr4);
}

static void load_changed(const struct control *from, const struct control *to)
{
	if (from->efer != to->efer)
		cpu_set_msr(MSR_EFER, to->efer);
	if (from->cr0 != to->cr0)
		cpu_set_cr0(to->cr0);
	if (from->cr4 != to->cr4)
		cpu_set_cr4(to->cr4);
}

void world_switch(u32 vcpu)
{
	u32 to = vcpu % vcpus;

	if (world_has_umbra) {
		(void)world_hypercall(HYPERCALL_VCPU, to, 0);
	} else {
		load_changed(&control[current], &control[to]);
		cpu_set_cr3(root_in_hardware(to, control[to].cr3));
	}
	current = to;
}

static void control_set(struct control *c, enum trace_ctl which, bool on)
{
	static const u64 cr4_bits[CTL_COUNT] = {
		[CTL_SMEP] = CR4_SMEP, [CTL_SMAP] = CR4_SMAP, [CTL_PGE] = CR4_PGE, [CTL_PSE] = CR4_PSE,
	};

	if (which == CTL_WP)
		c->cr0 = with_bit(c->cr0, CR0_WP, on);
	else if (which == CTL_NXE)
		c->efer = with_bit(c->efer, EFER_NXE, on);
	else
		c->cr4 = with_bit(c->cr4, cr4_bits[which], on);
}

// The register is written even when the bit keeps its value: a guest may do that, too.
static void control_write(enum trace_ctl which, bool on)
{
	struct control *c = &control[current];

	control_set(c, which, on);
	if (which == CTL_WP)
		cpu_set_cr0(c->cr0);
	else if (which == CTL_NXE)
		cpu_set_msr(MSR_EFER, c->efer);
	else
		cpu_set_cr4(c->cr4);
}

void world_control(enum trace_ctl which, bool on)
{
	u32 home = current;

	control_write(which, on);
	for (u32 n = 0; n < vcpus; n++) {
		if (n == home)
			continue;
		if (world_has_umbra) {
			world_switch(n);
			control_write(which, on);
		} else {
			control_set(&control[n], which, on);
		}
	}
	if (current != home)
		world_switch(home);
}

// ---- writes that must fail ------------------------------------------------------------------------
void world_try(enum trace_bad bad, struct obs *o)
{
	const struct control *c = &control[current];
	const struct {
		const u8 *code;
		u64 was, value;
		bool in_64_alone;
	} rows[BAD_COUNT] = {
		[BAD_CR0_NW] = { code_cr0, c->cr0, (c->cr0 | CR0_NW) & ~CR0_CD, false },
		[BAD_CR0_PG] = { code_cr0, c->cr0, c->cr0 & ~CR0_PE, false },
		[BAD_CR0_HIGH] = { code_cr0, c->cr0, c->cr0 | BIT(32), true },
		[BAD_CR0_PG_CLEAR] = { code_cr0, c->cr0, c->cr0 & ~CR0_PG, true },
		[BAD_CR4_RESERVED] = { code_cr4, c->cr4, c->cr4 | BIT(31), false },
		[BAD_CR4_LA57] = { code_cr4, c->cr4, c->cr4 | CR4_LA57, false },
		[BAD_CR4_PCIDE] = { code_cr4, c->cr4, c->cr4 | CR4_PCIDE, false },
		[BAD_CR4_PAE_CLEAR] = { code_cr4, c->cr4, c->cr4 & ~CR4_PAE, true },
		[BAD_EFER_RESERVED] = { code_msr, c->efer, c->efer | BIT(16), false },
		[BAD_EFER_LME] = { code_msr, c->efer, c->efer ^ EFER_LME, false },
		[BAD_CR3_HIGH] = { code_cr3, c->cr3, c->cr3 | BIT(52), true },
	};

	*o = (struct obs){ .kind = OBS_FAULT, .vector = TRAP_GP };
	// TCG lets most of them pass, and is lost after some.
	if (!world_has_umbra || (rows[bad].in_64_alone && MODE != TRACE_MODE_64))
		return;
	if (!access_control(rows[bad].code, rows[bad].value, o))
		return;
	*o = (struct obs){ .kind = OBS_OK };
	(void)access_control(rows[bad].code, rows[bad].was, o);
}
