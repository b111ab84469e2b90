#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All performance figures, one JSON line each, to stdout and build/bench.json. Messages go to stderr.
# usage: ci/bench.sh [trace|core|boot|cost|scale]...; all by default. docs/performance.md explains them. Exit status 1 if a figure is
# over its limit.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

RUNS=5
work=build/bench
mkdir -p "$work" || die "cannot make $work"

# The programs that the fuzzers run: small geometry, coverage instrumentation.
bench_trace() {
	for pair in plain:none asan:asan ubsan:ubsan; do
		san=${pair#*:} name=${pair%:*} dir=build/host-small-libfuzzer
		[ "$san" = none ] || dir=build/host-$san-small-libfuzzer
		run_make GEOM=small ENGINE=libfuzzer SAN="$san" "$dir/trace_bench" >&2
		ASAN_OPTIONS=detect_leaks=0 "$dir/trace_bench" "$name" || over="$over trace_bench-$name"
	done
}

bench_core() {
	run_make build/host/core_bench >&2
	build/host/core_bench || die "core_bench failed"
	run_make build/host/bound_bench >&2
	build/host/bound_bench || over="$over bound_bench"
}

# figure NAME UNIT FILE: the median of a file of one number a line.
figure() {
	sort -n "$3" >"$3.sorted" || die "cannot sort $3"
	n=$(wc -l <"$3.sorted")
	printf '{"name":"%s","value":%s,"unit":"%s","runs":%s,"min":%s,"max":%s}\n' "$1" \
		"$(sed -n "$(((n + 1) / 2))p" "$3.sorted")" "$2" "$n" "$(sed -n 1p "$3.sorted")" "$(sed -n '$p' "$3.sorted")"
}

# The image says on its console how long it took to the first guest instruction and how long the guest ran.
bench_boot() {
	run_make PORT=host >&2
	run_make image >&2
	build/host/umbra gen --seed 1 --ops 10000 --plain -o "$work/long.trace" || die "umbra gen failed"
	rm -f "$work/first" "$work/wall" "$work/rate"
	n=0
	while [ "$n" -lt "$RUNS" ]; do
		began=$(date +%s%N)
		sh stress/boot.sh --on image --timeout 300 --verbose -o "$work/log" "$work/long.trace" 2>"$work/console" ||
			die "the image did not run the trace: see $work/console"
		echo $((($(date +%s%N) - began) / 1000000)) >>"$work/wall"
		us=$(sed -n 's/.*first_guest_instruction_us=\([0-9]*\).*/\1/p' "$work/console")
		ms=$(sed -n 's/.* guest_ms=\([0-9]*\).*/\1/p' "$work/console")
		ops=$(grep -c '^[0-9]' "$work/log") || ops=0
		[ "${us:-0}" -gt 0 ] || die "no times in $work/console"
		[ "${ms:-0}" -gt 0 ] || die "no times in $work/console"
		echo "$((us / 1000)).$((us % 1000 / 100))" >>"$work/first"
		echo $((ops * 1000 / ms)) >>"$work/rate"
		n=$((n + 1))
	done
	figure boot-to-first-guest-instruction ms "$work/first"
	figure boot-10000-ops-wall ms "$work/wall"
	figure guest-ops ops/s "$work/rate"
}

# A guest that does one thing over and over: makes a page present and touches it, and loads one of two roots. Without the option
# `again`, which does both halves of a PAE entry in one exit: here each exit is one store.
cost_trace() { # MODE
	case $1 in
	64) root='f0[0] = f1 P W U A' other='f5[0] = f1 P W U A' middle='f1[0] = f2 P W U A
pte f2[0] = f3 P W U A' table=f3 va=0.0.0. ;;
	pae) root='f0[258] = f1 P' other='f5[258] = f1 P' middle='f1[0] = f3 P W U A' table=f3 va=2.0. ;;
	32) root='f0[0] = f3 P W U A' other='f5[0] = f3 P W U A' middle='f3[8] = f4 P W U A' table=f3 va=0. ;;
	esac
	printf 'domain %s vcpus=1 pool=200 opts=0x7f flush=manual\n' "$([ "$1" = 64 ] && echo hvm64 || echo "hvm$1")"
	printf 'pte %s\n' "$root" "$other" "$middle"
	n=0
	while [ "$n" -lt 400 ]; do
		k=$((n % 8))
		printf 'cr3 f%s\npte %s[%s] = f4 P W U\nread %s%s u4\npte %s[%s] = f4\ninvlpg %s%s\n' $((n % 2 * 5)) "$table" "$k" "$va" "$k" \
			"$table" "$k" "$va" "$k"
		n=$((n + 1))
	done
}

# cost_figure NAME CLASS MODE LIMIT: from a console line `umbra: cost CLASS n=N min=N median=N max=N`.
cost_figure() {
	line=$(tr -d '\r' <"$work/console" | grep "^umbra: cost $2 ") || die "no line 'umbra: cost $2' in $work/console"
	value=${line##* median=} value=${value%% *} n=${line##* n=} n=${n%% *}
	[ "$n" -ge 100 ] || die "only $n of '$2' in mode $3"
	printf '{"name":"%s-%s","value":%s,"unit":"instructions","exits":%s,"limit":%s}\n' "$1" "$3" "$value" "$n" "$4"
	[ "$value" -le "$4" ] || over="$over $1-$3"
}

# What an exit costs, in instructions of the hypervisor: the same on every machine, load or not.
bench_cost() {
	run_make PORT=host >&2
	run_make image >&2
	for mode in 64 pae 32; do
		cost_trace "$mode" >"$work/cost.trace"
		build/host/umbra fmt --binary -o "$work/cost.bin" "$work/cost.trace" || die "the cost trace of mode $mode does not parse"
		build/host/umbra config "$work/cost.bin" >"$work/config" || die "umbra config failed"
		status=0
		timeout 120 qemu-system-x86_64 -accel tcg -icount shift=0 -cpu max -M pc -nodefaults -vga none -display none -no-reboot \
			-device isa-debug-exit,iobase=0xf4 -m 512M -serial "file:$work/log" -serial "file:$work/console" \
			-kernel build/bare/umbra.elf -append "$(head -n 1 "$work/config") cost" \
			-initrd "build/guest/guest.elf,$work/cost.bin" >"$work/qemu" 2>&1 </dev/null || status=$?
		[ "$status" = 33 ] || die "QEMU ended with status $status in mode $mode: see $work/console"
		cost_figure guest-pte-write pt_write "$mode" 3000
		cost_figure cr3-cached-root cr3 "$mode" 2000
		cost_figure fresh-page-fault fixed "$mode" 6000
	done
}

# scale_run CPUS GUESTS: milliseconds until the last of so many guests, each of which computes and faults, is done.
scale_run() {
	set -- "$1" "$2" ''
	n=0
	while [ "$n" -lt "$2" ]; do
		set -- "$1" "$2" "$3${3:+,}build/guest/load.elf domain vcpus=1 ram=32 ram=32 rounds=60 pages=2048 set=6000 churn=64"
		n=$((n + 1))
	done
	status=0
	timeout 300 qemu-system-x86_64 -accel tcg,thread=multi -smp "$1" -cpu max -M pc -m 512M -nodefaults -vga none -display none \
		-no-reboot -device isa-debug-exit,iobase=0xf4 -serial "file:$work/com1" -serial "file:$work/console" \
		-serial "file:$work/com2" -kernel build/bare/umbra.elf -initrd "$3" >"$work/qemu" 2>&1 </dev/null || status=$?
	[ "$status" = 33 ] || die "QEMU ended with status $status: see $work/console"
	tr -d '\r' <"$work/console" | sed -n 's/.* run_ms=\([0-9]*\).*/\1/p' | sort -n | tail -n 1
}

# Two guests on two processors against one on one: 2.00 would be perfect.
bench_scale() {
	run_make PORT=host >&2
	run_make image >&2
	rm -f "$work/scale"
	n=0
	while [ "$n" -lt "$RUNS" ]; do
		one=$(scale_run 1 1) || die "no times"
		two=$(scale_run 2 2) || die "no times"
		[ "${one:-0}" -gt 0 ] || die "no times in $work/console"
		[ "${two:-0}" -gt 0 ] || die "no times in $work/console"
		echo "$((200 * one / two))" | sed 's/^\(.*\)\(..\)$/\1.\2/' >>"$work/scale"
		n=$((n + 1))
	done
	figure two-guests-on-two-processors x "$work/scale"
}

over=
[ $# -gt 0 ] || set -- trace core boot cost scale
: >build/bench.json
for part in "$@"; do
	case $part in trace | core | boot | cost | scale) ;; *) die "bench $part: expected trace, core, boot, cost or scale" ;; esac
	"bench_$part" >"$work/part"
	cat "$work/part"
	cat "$work/part" >>build/bench.json
done
say "figures are in build/bench.json" >&2
[ -z "$over" ] || die "over the limit:$over"
