// SPDX-License-Identifier: GPL-2.0-or-later
// Starting the other processors (APM vol. 2, 7.1.1 and 16.5): INIT, a pause, STARTUP twice. One at a time: they share the
// page that they start in, and the variable that tells each its number.
//
// A processor that does not answer is left out, and the rest with it. Should it come late, it finds that nobody waits for
// it any more and halts.
#include "smp.h"

#include "../../base/mem.h"
#include "acpi.h"
#include "apic.h"
#include "boot.h"
#include "console.h"
#include "run.h"
#include "timer.h"
#include "trap.h"

#define TRAMPOLINE_PAGE 8u // the first pages are the firmware's
#define ANSWER_TRIES 100u  // of 10 ms

extern const u8 trampoline_start[], trampoline_end[];
extern u32 boot_processor; // boot.S

struct cpu cpus[CPUS_MAX];
u32 cpu_count = 1;
static bool going;

// ---- on the others -----------------------------------------------------------------------------------

_Noreturn void image_processor_main(u32 index)
{
	struct cpu *me = &cpus[index];
	bool expected = false;

	percpu_start(index);
	trap_start(me);
	apic_start(index);
	svm_cpu_start(index);
	if (!__atomic_compare_exchange_n(&me->online, &expected, true, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		cpu_halt();
	while (!__atomic_load_n(&going, __ATOMIC_ACQUIRE))
		cpu_pause();
	run_guests();
}

// ---- on the first ------------------------------------------------------------------------------------

// False: it is too late for it now.
static bool give_up(struct cpu *c)
{
	bool expected = false;

	return __atomic_compare_exchange_n(&c->online, &expected, true, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool start_one(u32 index, u32 id)
{
	struct cpu *c = &cpus[index];

	c->apic_id = id;
	c->online = false;
	__atomic_store_n(&boot_processor, index, __ATOMIC_SEQ_CST);
	apic_send_init(id);
	timer_wait_us(10000);
	for (u32 i = 0; i < 2 && !__atomic_load_n(&c->online, __ATOMIC_ACQUIRE); i++) {
		apic_send_startup(id, TRAMPOLINE_PAGE);
		timer_wait_us(200);
	}
	for (u32 i = 0; i < ANSWER_TRIES; i++) {
		if (__atomic_load_n(&c->online, __ATOMIC_ACQUIRE))
			return true;
		timer_wait_us(10000);
	}
	return !give_up(c);
}

void smp_start(u32 max)
{
	u32 id[CPUS_MAX], count, mine;

	apic_start(0);
	mine = apic_id();
	cpus[0].apic_id = mine;
	cpus[0].online = true;
	count = max > 1 ? acpi_processors(id, CPUS_MAX) : 0;
	if (count > 1)
		mem_copy((u8 *)(uintptr_t)(TRAMPOLINE_PAGE << FRAME_SHIFT), trampoline_start,
			 (size_t)(trampoline_end - trampoline_start));
	for (u32 i = 0; i < count && cpu_count < max; i++) {
		if (id[i] == mine)
			continue;
		if (!start_one(cpu_count, id[i])) {
			console_line("umbra: processor with APIC number %u does not answer", id[i]); // and those behind it are left alone
			break;
		}
		cpu_count++;
	}
	console_line("umbra: %u processor%s", cpu_count, cpu_count == 1 ? "" : "s");
}

void smp_go(void)
{
	__atomic_store_n(&going, true, __ATOMIC_RELEASE);
}
