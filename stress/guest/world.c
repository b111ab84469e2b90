// SPDX-License-Identifier: GPL-2.0-or-later
// The start state, and vcpus. Below Umbra a vcpu is a set of control registers that the hypervisor
// exchanges on request; on metal this file does the same with the registers of the one processor.
// The values of all vcpus are kept here in both cases, so they are never read back.
#include "world.h"

#include "cpu.h"
#include "layout.h"

_Static_assert(KERNEL_BASE == TRACE_DIRECT, "layout.h repeats trace.h for assembly");
_Static_assert(KERNEL_SLOT == TRACE_KERNEL_SLOT, "layout.h repeats trace.h for assembly");

#define CPUID_HYPERVISOR 0x40000000u
#define VCPUS_MAX 4

struct control {
	u64 cr0, cr3, cr4, efer;
};

extern u64 boot_l4[WORDS];

bool world_has_umbra;

static struct control control[VCPUS_MAX];
static u32 vcpus, current;

// ---- the hypervisor -----------------------------------------------------------------------------
void world_detect(void)
{
	union {
		u32 word[3];
		char text[12];
	} name;
	static const char want[] = HYPERCALL_SIGNATURE;
	u32 eax = CPUID_HYPERVISOR;

	_Static_assert(sizeof(want) == sizeof(name.text) + 1, "EBX, ECX, EDX and the end of the string");
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(name.word[0]), "=c"(name.word[1]), "=d"(name.word[2]));
	world_has_umbra = true;
	for (u32 i = 0; i < sizeof(name.text); i++)
		if (name.text[i] != want[i])
			world_has_umbra = false;
}

enum hv_status world_hypercall(enum hypercall_number number, u64 arg0, u64 arg1)
{
	u64 rax = number;

	__asm__ volatile("vmmcall" : "+a"(rax) : "D"(arg0), "S"(arg1) : "memory");
	return (enum hv_status)rax;
}

// ---- start state --------------------------------------------------------------------------------
void world_reserve(u32 frame)
{
	cpu_store8(world_word(frame, TRACE_KERNEL_SLOT), boot_l4[TRACE_KERNEL_SLOT]);
	cpu_store8(world_word(frame, TRACE_EXEC_AT / 8), TRACE_INT3);
}

void world_start(const struct trace_config *config)
{
	for (u32 frame = 0; frame < TRACE_FRAMES; frame++) {
		for (u32 i = 0; i < WORDS; i++)
			cpu_store8(world_word(frame, i), 0);
		world_reserve(frame);
	}
	world_load_cr3(TRACE_F0_GFN << FRAME_SHIFT);
	control[0].cr0 = cpu_cr0();
	control[0].cr4 = cpu_cr4();
	control[0].efer = cpu_msr(MSR_EFER);
	vcpus = config->vcpus;
	for (u32 n = 1; n < vcpus; n++)
		control[n] = control[0];
	// A vcpu that was never entered starts as a copy of the caller: enter each one now.
	if (world_has_umbra && vcpus > 1)
		for (u32 n = 1; n <= vcpus; n++)
			world_switch(n);
}

// ---- control registers --------------------------------------------------------------------------
u64 world_cr3(void)
{
	return control[current].cr3;
}

void world_load_cr3(u64 cr3)
{
	cpu_set_cr3(cr3);
	control[current].cr3 = cr3;
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
		cpu_set_cr3(control[to].cr3);
	}
	current = to;
}

static u64 with_bit(u64 value, u64 bit, bool on)
{
	return on ? value | bit : value & ~bit;
}

static void control_set(struct control *c, enum trace_ctl which, bool on)
{
	switch (which) {
	case CTL_WP:
		c->cr0 = with_bit(c->cr0, CR0_WP, on);
		break;
	case CTL_NXE:
		c->efer = with_bit(c->efer, EFER_NXE, on);
		break;
	case CTL_SMEP:
		c->cr4 = with_bit(c->cr4, CR4_SMEP, on);
		break;
	case CTL_SMAP:
		c->cr4 = with_bit(c->cr4, CR4_SMAP, on);
		break;
	default:
		c->cr4 = with_bit(c->cr4, CR4_PGE, on);
		break;
	}
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

bool world_is_root(u32 frame)
{
	for (u32 n = 0; n < vcpus; n++)
		if ((control[n].cr3 & PTE_ADDR) >> FRAME_SHIFT == TRACE_F0_GFN + frame)
			return true;
	return false;
}
