# SPDX-License-Identifier: GPL-2.0-or-later
# Two more guest kernels: build/guest/load.elf and build/guest/hammer.elf. Included by the main Makefile behind
# stress/guest/build.mk, whose rules make the objects; `make guest` builds these, too.
# They are linked where they are loaded. As there, a 64-bit program goes into a 32-bit ELF file for the loaders' sake.
LOAD_SHARED := stress/load/start.S stress/load/trap.S stress/load/kernel.c stress/guest/hypervisor.c \
	stress/guest/serial.c stress/guest/mem.c hv/base/fmt.c
LOAD_OBJ_load := $(patsubst %,build/guest/obj/64/%.o,$(LOAD_SHARED) $(wildcard stress/load/load_*.c))
LOAD_OBJ_hammer := $(patsubst %,build/guest/obj/64/%.o,$(LOAD_SHARED) stress/load/hammer_start.S stress/load/hammer_wake.S \
	$(wildcard stress/load/hammer_*.c))

guest: build/guest/load.elf build/guest/hammer.elf
build/guest/load.elf build/guest/hammer.elf: build/guest/%.elf: build/guest/%64.elf
	$(GUEST_OBJCOPY) -O elf32-i386 --strip-debug $< $@

# load64.elf and hammer64.elf have the symbols.
define load_kernel
build/guest/$(1)64.elf: $$(LOAD_OBJ_$(1)) stress/load/kernel.lds
	$$(GUEST_LINK) -T stress/load/kernel.lds -o $$@ $$(LOAD_OBJ_$(1))
-include $$(LOAD_OBJ_$(1):.o=.d)
endef
$(foreach kernel,load hammer,$(eval $(call load_kernel,$(kernel))))
