// SPDX-License-Identifier: GPL-2.0-or-later
// Puts a Multiboot kernel and its modules into the memory of a domain.
#ifndef HV_PORT_BARE_LOAD_H
#define HV_PORT_BARE_LOAD_H

#include "../../domain/domain.h"
#include "boot.h"

// Back the guest's RAM, load the first module as its kernel and the others as its modules, and leave vcpu 0
// where a Multiboot loader leaves a kernel. Call after svm_vcpu_start(). NULL, or what is wrong.
const char *load_guest(struct domain *d, const struct boot_guest *guest);

#endif
