// SPDX-License-Identifier: GPL-2.0-or-later
// The image from its first C function to the guest's first instruction.
//
// Command line: vcpus=N pool=PAGES opts=MASK check=EXITS cost
// Boot modules: the guest's kernel, then the guest's own modules.
#include "../../mem/heap.h"
#include "boot.h"
#include "console.h"
#include "cost.h"
#include "exit.h"
#include "load.h"
#include "run.h"
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

_Noreturn void image_main(u32 magic, u32 information)
{
	struct domain_config config;
	struct domain *d;
	const char *bad;
	u64 heap_before;

	console_start();
	trap_start();
	console_line("umbra: version %s", UMBRA_VERSION);
	boot_read(magic, information);
	bad = svm_start();
	if (bad)
		refuse(bad, EXIT_NO_SVM);
	svm_describe();
	if (!boot.module_count)
		refuse("no guest: the first boot module must be a Multiboot kernel", EXIT_FAIL);

	hv_start();
	heap_before = heap_used();
	config = (struct domain_config){ .vcpus = boot.vcpus, .pool_pages = boot.pool_pages, .opts = boot.opts };
	if (domain_create(&config, &d) != HV_OK)
		refuse("the domain cannot be created: check vcpus=, pool= and the machine's memory", EXIT_FAIL);
	for (u32 i = 0; i < d->vcpu_count; i++)
		svm_vcpu_start(&d->vcpu[i]);
	bad = load_guest(d, &boot);
	if (bad)
		refuse(bad, EXIT_FAIL);
	cost_enabled = boot.cost;
	console_line("umbra: guest \"%s\", %u vcpus, %u pool pages, options 0x%x", boot.module[0].text,
		     d->vcpu_count, d->shadow.total_pages, config.opts);
	run_guest(d, heap_before, boot.check_every);
}
