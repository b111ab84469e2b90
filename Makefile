# SPDX-License-Identifier: GPL-2.0-or-later
# The build graph. build.sh is the front door; this file is for those who want one piece.
#
#   make                        build/host/umbra, the host tool
#   make tests                  every unit test of this variant (run them with ci/run-tests.sh)
#   make fuzzers                build/fuzz/*: the fuzz targets and the AFL++ mutator library
#   make SAN=tsan GEOM=small threads    build/fuzz/threads-tsan: the core under real threads; THREADS=1 for other sanitizers
#   make image                  build/bare/umbra.elf and umbra.iso, build/bare-ubsan/umbra.elf, and what `guest` builds
#   make guest                  build/guest/: guest.elf, the kernel that runs traces; load.elf, hammer.elf, broken/*.elf
#   make bench                  build/host*/trace_bench, core_bench and bound_bench of this variant
#
# A variant is picked by variables; objects and outputs of variants never mix:
#   PORT=host|bare   SAN=none|asan|ubsan|tsan|cov|asan-ubsan   GEOM=normal|small
#   ENGINE=          libfuzzer or afl: coverage instrumentation of hv/ for that fuzzer
#   THREADS=         1: the host port has a thread for each processor; with SAN=tsan always so
#   BUG=             a planted bug, such as B03: fuzz/bugs/B03.patch on a copy of the core; no-early and the like: the
#                    core without that option's call
# GEOM=small and BUG= put their tag on outputs of the image too: build/bare-small/, build/bare-ubsan-B03/.
#
# A source file that appears in one of the directories below is picked up by itself.

PORT ?= host
SAN ?= none
GEOM ?= normal
ENGINE ?=
BUG ?=
THREADS ?=

CC := clang
AR := llvm-ar
AFLCC := afl-clang-fast

ifeq ($(filter $(PORT),host bare),)
$(error PORT=$(PORT): expected host or bare)
endif
ifeq ($(filter $(SAN),none asan ubsan tsan cov asan-ubsan),)
$(error SAN=$(SAN): expected none, asan, ubsan, tsan, cov or asan-ubsan)
endif
ifeq ($(filter $(GEOM),normal small),)
$(error GEOM=$(GEOM): expected normal or small)
endif
ifneq ($(filter-out libfuzzer afl,$(ENGINE)),)
$(error ENGINE=$(ENGINE): expected libfuzzer, afl or nothing)
endif

# ---- variant ------------------------------------------------------------------------------------
TAG := $(if $(ENGINE),-$(ENGINE))$(if $(BUG),-$(BUG))$(if $(THREADS),-threads)
O := build/obj/$(PORT)-$(SAN)-$(GEOM)$(TAG)
# What a planted bug cannot change is compiled once for all of them.
SAME := hv/port/host/% hv/test/% fuzz/%
SAME_O := build/obj/$(PORT)-$(SAN)-$(GEOM)$(if $(ENGINE),-$(ENGINE))$(if $(THREADS),-threads)
OUT := build/$(PORT)$(if $(filter-out none,$(SAN)),-$(SAN))$(if $(filter small,$(GEOM)),-small)$(TAG)

# ---- flags --------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wstrict-prototypes -Wvla
COMMON := -std=c11 -g -fno-common -fno-strict-aliasing $(WARN) -MMD -MP \
	$(if $(filter small,$(GEOM)),-DHV_GEOMETRY_SMALL=1) $(if $(filter no-%,$(BUG)),-Wno-unused-function)
# The same for both ports: a libc call in the core breaks both.
FREESTANDING := -ffreestanding -O2 $(COMMON)
HOSTED := -O2 -D_GNU_SOURCE $(COMMON)

SAN_FLAGS := -fno-omit-frame-pointer
ifneq ($(findstring asan,$(SAN)),)
SAN_FLAGS += -fsanitize=address
endif
ifneq ($(findstring ubsan,$(SAN)),)
SAN_FLAGS += -fsanitize=undefined -fno-sanitize-recover=undefined
endif
ifeq ($(SAN),tsan)
SAN_FLAGS += -fsanitize=thread
endif
ifneq ($(filter 1 tsan,$(THREADS) $(SAN)),)
SAN_FLAGS += -DHOST_THREADS=1
endif
ifeq ($(SAN),cov)
SAN_FLAGS += -fprofile-instr-generate -fcoverage-mapping
endif

# Fuzzers see the coverage of hv/ alone: model and codec would only dilute it. No tracing of compares: it costs
# four fifths of the speed, and a mutator that works on operations has no use for it.
HVCC := $(CC)
ifeq ($(ENGINE),libfuzzer)
HV_COVERAGE := -fsanitize-coverage=inline-8bit-counters,pc-table
endif
ifeq ($(ENGINE),afl)
HVCC := AFL_QUIET=1 $(AFLCC)
endif

# ---- sources ------------------------------------------------------------------------------------
CORE := hv
ifneq ($(BUG),)
CORE := build/bug/$(BUG)/hv
ifneq ($(shell fuzz/bugs/plant.sh $(BUG) && echo planted),planted)
$(error BUG=$(BUG) cannot be planted)
endif
endif
CORE_SRC := $(patsubst $(CORE)/%,hv/%,$(sort $(wildcard $(addprefix $(CORE)/,$(addsuffix /*.c,base mem pt p2m shadow domain)))))
HOST_SRC := $(sort $(wildcard hv/port/host/*.c))
FUZZ_SRC := $(sort $(wildcard fuzz/trace/*.c fuzz/model/*.c fuzz/exec/*.c))
TOOL_SRC := $(sort $(wildcard fuzz/tool/*.c))
TEST_SRC := $(sort $(wildcard hv/test/*_test.c fuzz/*/test/*_test.c))

obj = $(patsubst %.c,$(O)/%.o,$(filter-out $(SAME),$(1))) $(patsubst %.c,$(SAME_O)/%.o,$(filter $(SAME),$(1)))
LIB := $(O)/libumbra.a
LIB_OBJ := $(call obj,$(CORE_SRC) $(HOST_SRC) $(FUZZ_SRC))
# A test that needs a file outside the library names it: a line "// link: hv/port/bare/decode.c".
extra = $(shell sed -n 's,^// link: *,,p' $(1))
# And one that needs a system library names that: "// libs: capstone".
libs = $(addprefix -l,$(shell sed -n 's,^// libs: *,,p' $(1)))

.PHONY: all host tests fuzzers fuzzer threads bench image guest clean
.DELETE_ON_ERROR:
all: host
ifeq ($(PORT),host)
host: $(OUT)/umbra
else
host: image
endif

# ---- host: library, tool, tests ---------------------------------------------------------------
$(SAME_O)/hv/port/host/%.o: hv/port/host/%.c
	@mkdir -p $(@D)
	$(HVCC) $(HOSTED) $(SAN_FLAGS) $(HV_COVERAGE) -c -o $@ $<

$(SAME_O)/hv/test/%.o: hv/test/%.c
	@mkdir -p $(@D)
	$(CC) $(HOSTED) $(SAN_FLAGS) -c -o $@ $<

$(O)/hv/%.o: $(CORE)/%.c
	@mkdir -p $(@D)
	$(HVCC) $(FREESTANDING) $(SAN_FLAGS) $(HV_COVERAGE) -c -o $@ $<

$(SAME_O)/fuzz/%.o: fuzz/%.c
	@mkdir -p $(@D)
	$(CC) $(HOSTED) $(SAN_FLAGS) -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

LINK = $(CC) $(SAN_FLAGS) -rdynamic -g
$(OUT)/umbra: $(call obj,$(TOOL_SRC)) $(LIB)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^

define test_program
$(OUT)/test/$(basename $(notdir $(1))): $(call obj,$(1) $(call extra,$(1))) $(LIB)
	@mkdir -p $$(@D)
	$$(LINK) -o $$@ $$^ $(call libs,$(1))
endef
TESTS := $(foreach t,$(TEST_SRC),$(OUT)/test/$(basename $(notdir $(t))))
$(foreach t,$(TEST_SRC),$(eval $(call test_program,$(t))))
# The tool with executors that fail on purpose, for fuzz/tool/test/tool_test.sh.
$(OUT)/test/umbra-fake: $(call obj,$(TOOL_SRC) $(wildcard fuzz/tool/test/fake_exec.c)) $(LIB)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^
tests: $(TESTS) $(OUT)/test/umbra-fake
	@echo "$(words $(TESTS)) test programs in $(OUT)/test"

# ---- bench ----------------------------------------------------------------------------------------
# core_bench and bound_bench bring their own port.
$(OUT)/trace_bench: $(call obj,fuzz/bench/trace_bench.c) $(LIB)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^
$(OUT)/%_bench: $(SAME_O)/fuzz/bench/%_bench.o $(SAME_O)/fuzz/bench/bench_port.o $(call obj,$(CORE_SRC))
	@mkdir -p $(@D)
	$(LINK) -o $@ $^
bench: $(OUT)/trace_bench $(if $(ENGINE),,$(OUT)/core_bench $(OUT)/bound_bench)

# ---- fuzz targets: always small geometry ------------------------------------------------------
# `fuzzers` calls make once per variant; `fuzzer` builds what ENGINE and SAN name, for every target or those of TARGETS.
# All targets are one source: TARGET_KIND is the kind of guest that a target runs, -1 for any, TARGET_FOCUS what it is for.
TARGETS ?= shadow64 shadow32 shadowpae p2m control migrate smp
TARGET_FLAGS_shadow64 := -DTARGET_KIND=TRACE_HVM64 -DTARGET_FOCUS=FOCUS_SHADOW
TARGET_FLAGS_shadow32 := -DTARGET_KIND=TRACE_HVM32 -DTARGET_FOCUS=FOCUS_SHADOW
TARGET_FLAGS_shadowpae := -DTARGET_KIND=TRACE_HVMPAE -DTARGET_FOCUS=FOCUS_SHADOW
TARGET_FLAGS_p2m := -DTARGET_KIND=-1 -DTARGET_FOCUS=FOCUS_P2M
TARGET_FLAGS_control := -DTARGET_KIND=-1 -DTARGET_FOCUS=FOCUS_CONTROL
TARGET_FLAGS_migrate := -DTARGET_KIND=-1 -DTARGET_FOCUS=FOCUS_MIGRATE
TARGET_FLAGS_smp := -DTARGET_KIND=-1 -DTARGET_FOCUS=FOCUS_SMP
FUZZ_OUT := build/fuzz$(if $(BUG),-$(BUG))
FUZZ_TAG := $(ENGINE)$(if $(findstring asan,$(SAN)),-asan)
SUB = +$(MAKE) --no-print-directory PORT=host GEOM=small BUG=$(BUG) TARGETS="$(TARGETS)"

fuzzers:
	$(SUB) ENGINE=libfuzzer SAN=none fuzzer
	$(SUB) ENGINE=libfuzzer SAN=asan-ubsan fuzzer
	$(SUB) ENGINE=afl SAN=none fuzzer
	$(SUB) ENGINE=afl SAN=asan-ubsan fuzzer
	$(SUB) ENGINE= SAN=none $(FUZZ_OUT)/libmutate-afl.so

TARGET_BIN := $(TARGETS:%=$(FUZZ_OUT)/%-$(FUZZ_TAG))
TARGET_OBJ := $(TARGETS:%=$(SAME_O)/fuzz/target/%-main.o)
MUTATE_SRC := fuzz/target/mutate.c fuzz/target/idiom.c fuzz/target/pair_mutate.c
MUTATE_OBJ := $(if $(filter libfuzzer,$(ENGINE)),$(call obj,$(MUTATE_SRC) fuzz/target/mutate_libfuzzer.c))
# The persistent loop needs AFL++'s compiler for its macros, and no coverage of its own.
TARGET_CC := $(if $(filter afl,$(ENGINE)),AFL_QUIET=1 $(AFLCC) -DUMBRA_AFL=1,$(CC))
TARGET_LINK := $(if $(filter afl,$(ENGINE)),AFL_QUIET=1 $(AFLCC),$(CC) -fsanitize=fuzzer)
fuzzer: $(TARGET_BIN)
$(TARGET_OBJ): $(SAME_O)/fuzz/target/%-main.o: fuzz/target/target.c
	@mkdir -p $(@D)
	$(TARGET_CC) $(HOSTED) $(SAN_FLAGS) $(TARGET_FLAGS_$*) -c -o $@ $<
$(TARGET_BIN): $(FUZZ_OUT)/%-$(FUZZ_TAG): $(SAME_O)/fuzz/target/%-main.o $(MUTATE_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(TARGET_LINK) $(SAN_FLAGS) -rdynamic -g -o $@ $^

# The core under real threads: make SAN=tsan GEOM=small threads, or THREADS=1 and another sanitizer
threads: $(FUZZ_OUT)/threads-$(SAN)
$(FUZZ_OUT)/threads-$(SAN): $(call obj,fuzz/target/threads.c) $(LIB)
	@mkdir -p $(@D)
	$(LINK) -pthread -o $@ $^

MUTATE_SO_SRC := $(MUTATE_SRC) fuzz/target/mutate_afl.c $(sort $(wildcard fuzz/trace/*.c))
MUTATE_SO_OBJ := $(patsubst %.c,build/obj/pic/%.o,$(MUTATE_SO_SRC))
build/obj/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) -fPIC -fvisibility=hidden $(HOSTED) -c -o $@ $<
$(FUZZ_OUT)/libmutate-afl.so: $(MUTATE_SO_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared -g -o $@ $^

# ---- image and guest --------------------------------------------------------------------------
# Their build.mk define the rules for the files named here, from CORE_SRC, FREESTANDING and CC.
-include hv/port/bare/build.mk
-include stress/guest/build.mk
-include stress/load/build.mk
image: $(addprefix build/bare$(BARE_TAG)/,umbra.elf umbra.iso) build/bare-ubsan$(BARE_TAG)/umbra.elf guest
guest: build/guest/guest.elf

clean:
	rm -rf build

-include $(shell [ ! -d build/obj ] || find build/obj -name '*.d' 2>/dev/null)
