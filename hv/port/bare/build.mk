# SPDX-License-Identifier: GPL-2.0-or-later
# The bootable image: build/bare/umbra.elf (Multiboot 1, also for `qemu -kernel`) and umbra.iso (GRUB,
# BIOS). A second image with undefined-behaviour traps is build/bare-ubsan/umbra.elf. GEOM=small and
# BUG= add their tag to the directory, as for the host.
#
# Included by the Makefile; uses CC, CORE_SRC, FREESTANDING, GEOM and TAG from it.
#
# The link has two passes: the first finds where the functions are, symbols.sh turns that into a table,
# the second adds the table behind the code, which does not move.

BARE_DIR := hv/port/bare
BARE_SRC := $(sort $(wildcard $(BARE_DIR)/*.c)) $(CORE_SRC)
BARE_ASM := $(sort $(wildcard $(BARE_DIR)/*.S))
BARE_LD := ld.lld
BARE_LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
	-T $(BARE_DIR)/umbra.lds
BARE_TAG := $(if $(filter small,$(GEOM)),-small)$(TAG)
BARE_VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# -mgeneral-regs-only: the guest's x87 and SSE registers stay in the processor while we run.
BARE_CFLAGS := $(FREESTANDING) -m64 -fno-pic -fno-pie -mno-red-zone -mcmodel=small -mgeneral-regs-only \
	-fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -flto
BARE_UBSAN := -fsanitize=undefined -fsanitize-trap=undefined

# $(1): name of the output directory, $(2): further compiler flags
define bare_image
$(1)_O := build/obj/$(1)
$(1)_OBJ := $$(patsubst %.c,build/obj/$(1)/%.o,$$(BARE_SRC)) $$(patsubst %.S,build/obj/$(1)/%.o,$$(BARE_ASM))

build/obj/$(1)/%.o: %.c $$(BARE_DIR)/build.mk
	@mkdir -p $$(@D)
	$$(CC) $$(BARE_CFLAGS) $(2) $$(if $$(filter $$(BARE_DIR)/main.c,$$<),-DUMBRA_VERSION='"$$(BARE_VERSION)"') -c -o $$@ $$<

build/obj/$(1)/%.o: %.S $$(BARE_DIR)/build.mk
	@mkdir -p $$(@D)
	$$(CC) -m64 -g -MMD -MP -c -o $$@ $$<

build/obj/$(1)/symbols-pass1.S: $$(BARE_DIR)/symbols.sh
	@mkdir -p $$(@D)
	sh $$(BARE_DIR)/symbols.sh </dev/null >$$@

build/obj/$(1)/symbols-pass2.S: build/obj/$(1)/umbra-pass1.elf $$(BARE_DIR)/symbols.sh
	nm -n $$< >$$@.nm
	sh $$(BARE_DIR)/symbols.sh <$$@.nm >$$@

build/obj/$(1)/symbols-%.o: build/obj/$(1)/symbols-%.S
	$$(CC) -m64 -c -o $$@ $$<

build/obj/$(1)/umbra-pass1.elf: $$($(1)_OBJ) build/obj/$(1)/symbols-pass1.o $$(BARE_DIR)/umbra.lds
	$$(BARE_LD) $$(BARE_LDFLAGS) -o $$@ $$(filter %.o,$$^)

build/$(1)/umbra.elf: $$($(1)_OBJ) build/obj/$(1)/symbols-pass2.o $$(BARE_DIR)/umbra.lds
	@mkdir -p $$(@D)
	$$(BARE_LD) $$(BARE_LDFLAGS) -o $$@ $$(filter %.o,$$^)

build/$(1)/umbra.iso: build/$(1)/umbra.elf build/guest/guest.elf $$(BARE_DIR)/grub.cfg
	@rm -rf build/obj/$(1)/iso
	@mkdir -p build/obj/$(1)/iso/boot/grub
	cp build/$(1)/umbra.elf build/obj/$(1)/iso/boot/umbra.elf
	cp build/guest/guest.elf build/obj/$(1)/iso/boot/guest.elf
	cp $$(BARE_DIR)/grub.cfg build/obj/$(1)/iso/boot/grub/grub.cfg
	grub-mkrescue -o $$@ build/obj/$(1)/iso >build/obj/$(1)/iso.log 2>&1 || { cat build/obj/$(1)/iso.log; false; }
endef

$(eval $(call bare_image,bare$(BARE_TAG),))
$(eval $(call bare_image,bare-ubsan$(BARE_TAG),$(BARE_UBSAN)))
