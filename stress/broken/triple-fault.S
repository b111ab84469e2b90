// SPDX-License-Identifier: GPL-2.0-or-later
// A guest with no interrupt table takes an exception, and then one for each attempt to deliver it.
//> umbra: guest killed: triple fault
#include "multiboot.inc"
	xorl %eax, %eax
	pushl %eax
	pushl %eax
	lidt (%esp)
	int3
