// SPDX-License-Identifier: GPL-2.0-or-later
// Umbra, if it is there, and the end of a run.
#include "cpu.h"
#include "serial.h"
#include "world.h"

#define CPUID_HYPERVISOR 0x40000000u

bool world_has_umbra;

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
	word_t result = number;

	__asm__ volatile("vmmcall" : "+a"(result) : "D"((word_t)arg0), "S"((word_t)arg1) : "memory");
	return (enum hv_status)result;
}

_Noreturn void guest_exit(u32 code)
{
	if (world_has_umbra)
		(void)world_hypercall(HYPERCALL_EXIT, code == EXIT_PASS ? 0 : 1, 0);
	else
		cpu_out8(EXIT_PORT, (u8)code);
	for (;;)
		__asm__ volatile("cli; hlt");
}
