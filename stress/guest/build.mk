# SPDX-License-Identifier: GPL-2.0-or-later
# The guest kernel, build/guest/guest.elf. Included by the main Makefile; `make guest` builds it.
# A 64-bit program in a 32-bit ELF file, because Multiboot loaders take no other: guest.ld chooses
# addresses whose low halves are the physical ones, so objcopy only has to cut them.
GUEST_CC ?= clang
GUEST_LD ?= ld.lld
GUEST_OBJCOPY ?= objcopy

GUEST_SRC := $(wildcard stress/guest/*.c) fuzz/trace/codec.c fuzz/trace/obs.c fuzz/trace/ops.c
GUEST_ASM := $(wildcard stress/guest/*.S)
GUEST_OBJ := $(GUEST_SRC:%.c=build/guest/obj/%.c.o) $(GUEST_ASM:%.S=build/guest/obj/%.S.o)

# -fdirect-access-external-data: no global offset table, the image is complete.
GUEST_FLAGS := --target=x86_64-unknown-none -std=c11 -O2 -g -ffreestanding -fno-strict-aliasing -fno-stack-protector \
	-fPIE -fdirect-access-external-data -mgeneral-regs-only -mno-red-zone -fno-asynchronous-unwind-tables \
	-Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wno-main -MMD -MP

# Tiny guests that break themselves, for stress/broken.sh.
BROKEN := $(patsubst stress/broken/%.S,build/guest/broken/%.elf,$(wildcard stress/broken/*.S))

.PHONY: guest
guest: build/guest/guest.elf $(BROKEN)

build/guest/broken/%.elf: stress/broken/%.S stress/broken/multiboot.inc
	@mkdir -p $(@D)
	$(GUEST_CC) --target=i386-unknown-none -c $< -o $(@:.elf=.o)
	$(GUEST_LD) -m elf_i386 -static -nostdlib -z max-page-size=4096 -Ttext=0x400000 -o $@ $(@:.elf=.o)

build/guest/guest.elf: build/guest/guest64.elf
	$(GUEST_OBJCOPY) -O elf32-i386 --strip-debug $< $@

# guest64.elf has the symbols and the real addresses: it is the one for a debugger.
build/guest/guest64.elf: $(GUEST_OBJ) stress/guest/guest.ld
	$(GUEST_LD) -static -nostdlib --fatal-warnings -z noexecstack -z max-page-size=4096 \
		-T stress/guest/guest.ld -o $@ $(GUEST_OBJ)

build/guest/obj/%.c.o: %.c stress/guest/build.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_FLAGS) -c $< -o $@

build/guest/obj/%.S.o: %.S stress/guest/build.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_FLAGS) -c $< -o $@

-include $(GUEST_OBJ:.o=.d)
