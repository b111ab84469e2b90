// SPDX-License-Identifier: GPL-2.0-or-later
// Loading CR3. In PAE that reads four PDPTEs, and so does turning paging on; the processor keeps them until the next
// time, and refuses reserved bits in them with #GP. Below Umbra that is left to Umbra. QEMU's TCG does neither: on
// metal the kernel checks the PDPTEs, and gives the processor copies of them, which nobody writes.
#include "root.h"

#include "accesses.h"
#include "cpu.h"
#include "world.h"

#define PDPTES 4
#define PDPTE_RESERVED (PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS | PTE_G | ~(BIT(TRACE_PHYS_BITS) - 1))

// On metal, by vcpu, and one for visits.
static u64 copies[ROOT_SLOTS][PDPTES] __attribute__((aligned(32)));

static u64 pdpte(u32 frame, u32 k)
{
	return cpu_load8(world_at(frame, TRACE_RESERVED_AT + 8 * k));
}

static u32 frame_of(u64 cr3)
{
	return (u32)(cr3 >> FRAME_SHIFT) - (u32)TRACE_F0_GFN;
}

bool root_is_valid(u32 frame)
{
	// The first two are reserved bytes, which are valid.
	for (u32 k = 2; k < PDPTES; k++) {
		u64 entry = pdpte(frame, k);

		if ((entry & PTE_P) && (entry & PDPTE_RESERVED))
			return false;
	}
	return true;
}

u64 root_in_hardware(u32 slot, u64 cr3)
{
	bool copied = MODE == TRACE_MODE_PAE && !world_has_umbra && cr3 != half_of(MODE)->root;

	return copied ? physical_of(copies[slot]) : cr3;
}

// False: the PDPTEs are not valid.
static bool copy_pdptes(u32 slot, u64 cr3)
{
	if (!root_is_valid(frame_of(cr3)))
		return false;
	for (u32 k = 0; k < PDPTES; k++)
		copies[slot][k] = pdpte(frame_of(cr3), k);
	return true;
}

bool root_load(u32 slot, u64 cr3)
{
	u64 hardware = root_in_hardware(slot, cr3);
	struct obs ignored;

	if (MODE == TRACE_MODE_PAE && world_has_umbra)
		return access_control(code_cr3, cr3, &ignored);
	if (hardware != cr3 && !copy_pdptes(slot, cr3))
		return false;
	cpu_set_cr3(hardware);
	return true;
}

bool root_enter(u32 slot, u64 cr3)
{
	// Only the PAE half is mapped one to one. A #GP must not come while paging is off.
	if (MODE != TRACE_MODE_PAE || cr3 == half_of(MODE)->root || !copy_pdptes(slot, cr3))
		return root_load(slot, cr3);
	cpu_set_cr3_unpaged((word_t)root_in_hardware(slot, cr3));
	return true;
}

void root_copy(u32 to, u32 from)
{
	for (u32 k = 0; k < PDPTES; k++)
		copies[to][k] = copies[from][k];
}
