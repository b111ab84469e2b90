// SPDX-License-Identifier: GPL-2.0-or-later
// The image from its first C function to the first instruction of the guests.
//
// Command line: vcpus=N pool=PAGES opts=MASK   of each guest that does not say otherwise: spec A.9, A.19
//               ram=MIB audit=MASK             the same: memory, 16 or more; AUDIT_* of what its own audits look at
//               check=EXITS cost               audit so often, at the end check all; measure exits (one guest, one processor)
//               cpus=N watchdog=SECONDS        processors to use; how long one may stand still, 0: for ever
//               wedge=N wedge=all              processor N gets stuck, or each does, to see the watchdog at work
// Boot modules: the kernel of the first guest, then its own modules. A module whose text has the word `domain` is the
// kernel of a further guest, and the modules behind it are that one's: `module guest.elf domain vcpus=2 pool=400`. What the
// text of such a kernel says of the options of a guest counts for its guest. serial.c says where each guest's output goes,
// operator.c what keys the console knows.
#include "../../mem/heap.h"
#include "boot.h"
#include "console.h"
#include "cost.h"
#include "exit.h"
#include "load.h"
#include "run.h"
#include "smp.h"
#include "trap.h"

#ifndef UMBRA_VERSION
#define UMBRA_VERSION "unknown"
#endif

_Noreturn void image_main(u32 magic, u32 information); // called by boot.S

static _Noreturn void refuse(const char *why, enum exit_code code)
{
	console_line("umbra: %s", why);
	exit_machine(code);
}

static void make_guest(const struct boot_guest *b)
{
	const struct domain_config config = { .vcpus = b->vcpus, .pool_pages = b->pool_pages, .opts = b->opts };
	struct domain *d;
	const char *bad;

	if (domain_create(&config, &d) != HV_OK)
		refuse("the domain cannot be created: check vcpus=, pool= and the machine's memory", EXIT_FAIL);
	for (u32 i = 0; i < d->vcpu_count; i++)
		svm_vcpu_start(&d->vcpu[i], guest_count);
	d->audit = b->audit & AUDIT_ALL;
	bad = load_guest(d, b);
	if (bad)
		refuse(bad, EXIT_FAIL);
	console_line("umbra: guest \"%s\", %u vcpus, %u pool pages, options 0x%x", b->module[0].text,
		     d->vcpu_count, d->shadow.total_pages, config.opts);
	run_add(d);
}

_Noreturn void image_main(u32 magic, u32 information)
{
	const char *bad;
	u64 heap_before;

	percpu_start(0);
	console_start();
	trap_start(&cpus[0]);
	console_line("umbra: version %s", UMBRA_VERSION);
	boot_read(magic, information);
	bad = svm_start();
	if (bad)
		refuse(bad, EXIT_NO_SVM);
	svm_describe();
	if (!boot.guest_count)
		refuse("no guest: the first boot module must be a Multiboot kernel", EXIT_FAIL);
	cost_enabled = boot.cost;
	if (cost_enabled && boot.guest_count > 1)
		refuse("cost wants one guest", EXIT_FAIL);
	smp_start(cost_enabled ? 1 : boot.cpus);

	hv_start();
	heap_before = heap_used();
	for (u32 i = 0; i < boot.guest_count; i++)
		make_guest(&boot.guest[i]);
	run_start(heap_before, boot.check_every);
	smp_go();
	run_guests();
}
