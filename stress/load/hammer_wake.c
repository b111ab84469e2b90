// SPDX-License-Identifier: GPL-2.0-or-later
// Starting further processors on bare hardware, by INIT and start-up messages of the local APIC (APM vol. 2, 16.5). So the
// kernel can be held to its own rules without a hypervisor. QEMU numbers APICs as it numbers processors.
#include "hammer.h"

#define WAKE_AT 0x8000u
#define APIC_AT 0xfee00000u
#define APIC_COMMAND 0x300u
#define APIC_TARGET 0x310u
#define MESSAGE_INIT 0x4500u
#define MESSAGE_START 0x4600u
#define DELAY_CYCLES 20000000u // about 10 ms
#define ARRIVE_CYCLES UINT64_C(20000000000)

extern const u8 wake_code[], wake_code_end[];
extern u32 wake_root, wake_id; // hammer_wake.S

static void send(u32 id, u32 message)
{
	u64 start = tsc();

	*(volatile u32 *)(u64)(APIC_AT + APIC_TARGET) = id << 24;
	*(volatile u32 *)(u64)(APIC_AT + APIC_COMMAND) = message;
	while (tsc() - start < DELAY_CYCLES)
		cpu_pause();
}

bool wake(u32 id, const u32 *arrived)
{
	u64 start;

	if (id == 1)
		map_device(APIC_AT);
	wake_root = (u32)map_root(0);
	wake_id = id;
	for (u32 i = 0; &wake_code[i] != wake_code_end; i++)
		((volatile u8 *)(u64)WAKE_AT)[i] = wake_code[i];
	send(id, MESSAGE_INIT);
	send(id, MESSAGE_START | WAKE_AT >> FRAME_SHIFT);
	start = tsc();
	while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < id)
		if (tsc() - start > ARRIVE_CYCLES)
			return false;
	return true;
}
