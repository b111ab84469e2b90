// SPDX-License-Identifier: GPL-2.0-or-later
// A guest in long mode jumps to a code segment with L and D set. Processors raise #GP; QEMU takes the jump, and refuses VMRUN after the
// next exit. The domain dies of that, and not the machine.
//> umbra: guest killed: the processor refuses its state
#include "multiboot.inc"
#include "long.inc"
	lgdt gdt_pointer
	ljmp $0x08, $1f
1:	enter_long_mode
	ljmp $0x10, $2f
2:	cpuid
	hlt
	long_mode_tables
