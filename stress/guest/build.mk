# SPDX-License-Identifier: GPL-2.0-or-later
# The guest kernel, build/guest/guest.elf. Included by the main Makefile; `make guest` builds it.
# The C files are compiled once for each paging mode of a guest. The 32-bit halves are linked each for itself and
# flattened, and go into the image with the 64-bit half. The image is a 64-bit program in a 32-bit ELF file, because
# Multiboot loaders take no other: guest.lds.S chooses addresses whose low halves are the physical ones, so objcopy
# only has to cut them.
GUEST_CC ?= clang
GUEST_LD ?= ld.lld
GUEST_OBJCOPY ?= objcopy

GUEST_C := $(wildcard stress/guest/*.c) fuzz/trace/call.c fuzz/trace/codec.c fuzz/trace/obs.c fuzz/trace/ops.c
# guest_objects MODE,ASSEMBLY: the objects of a half.
guest_objects = $(GUEST_C:%.c=build/guest/obj/$(1)/%.c.o) \
	$(patsubst %,build/guest/obj/$(1)/stress/guest/%.S.o,accesses tables_$(1) $(2))
GUEST_OBJ_64 := $(call guest_objects,64,entry_x64 trap_x64 cross halves)
GUEST_OBJ_32 := $(call guest_objects,32,entry_ia32 trap_ia32)
GUEST_OBJ_pae := $(call guest_objects,pae,entry_ia32 trap_ia32)

GUEST_FLAGS := -std=c11 -O2 -g -ffreestanding -fno-strict-aliasing -fno-stack-protector -mgeneral-regs-only \
	-fno-asynchronous-unwind-tables -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wno-main -MMD -MP
# -fdirect-access-external-data: no global offset table, the image is complete.
GUEST_FLAGS_64 := --target=x86_64-unknown-none -DGUEST_MODE=0 -fPIE -fdirect-access-external-data -mno-red-zone
GUEST_FLAGS_32 := --target=i386-unknown-none -march=i686 -DGUEST_MODE=1 -fno-pic
GUEST_FLAGS_pae := --target=i386-unknown-none -march=i686 -DGUEST_MODE=2 -fno-pic
GUEST_LINK := $(GUEST_LD) -static -nostdlib --fatal-warnings -z noexecstack -z max-page-size=4096

# Tiny guests that break themselves, for stress/broken.sh.
BROKEN := $(patsubst stress/broken/%.S,build/guest/broken/%.elf,$(wildcard stress/broken/*.S))

.PHONY: guest
guest: build/guest/guest.elf $(BROKEN)

build/guest/broken/%.elf: stress/broken/%.S $(wildcard stress/broken/*.inc)
	@mkdir -p $(@D)
	$(GUEST_CC) --target=i386-unknown-none -c $< -o $(@:.elf=.o)
	$(GUEST_LD) -m elf_i386 -static -nostdlib -z max-page-size=4096 -Ttext=0x400000 -o $@ $(@:.elf=.o)

build/guest/guest.elf: build/guest/guest64.elf
	$(GUEST_OBJCOPY) -O elf32-i386 --strip-debug $< $@

# guest64.elf, half32.elf and halfpae.elf have the symbols and the real addresses: they are for a debugger.
build/guest/guest64.elf: $(GUEST_OBJ_64) build/guest/guest.lds
	$(GUEST_LINK) -T build/guest/guest.lds -o $@ $(GUEST_OBJ_64)

build/guest/obj/64/stress/guest/halves.S.o: build/guest/half32.bin build/guest/halfpae.bin
build/guest/half%.bin: build/guest/half%.elf
	$(GUEST_OBJCOPY) -O binary $< $@

build/guest/guest.lds: stress/guest/guest.lds.S stress/guest/layout.h stress/guest/build.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_FLAGS_64) -E -P -o $@ $<

# guest_half MODE: how objects and the link of a half are made.
define guest_half
build/guest/half$(1).lds: stress/guest/half.lds.S stress/guest/layout.h stress/guest/build.mk
	@mkdir -p $$(@D)
	$$(GUEST_CC) $$(GUEST_FLAGS_$(1)) -E -P -o $$@ $$<

build/guest/half$(1).elf: $$(GUEST_OBJ_$(1)) build/guest/half$(1).lds
	$$(GUEST_LINK) -m elf_i386 -T build/guest/half$(1).lds -o $$@ $$(GUEST_OBJ_$(1))

build/guest/obj/$(1)/%.c.o: %.c stress/guest/build.mk
	@mkdir -p $$(@D)
	$$(GUEST_CC) $$(GUEST_FLAGS) $$(GUEST_FLAGS_$(1)) -c $$< -o $$@

build/guest/obj/$(1)/%.S.o: %.S stress/guest/build.mk
	@mkdir -p $$(@D)
	$$(GUEST_CC) $$(GUEST_FLAGS) $$(GUEST_FLAGS_$(1)) -c $$< -o $$@
endef
$(foreach mode,64 32 pae,$(eval $(call guest_half,$(mode))))

-include $(GUEST_OBJ_64:.o=.d) $(GUEST_OBJ_32:.o=.d) $(GUEST_OBJ_pae:.o=.d)
