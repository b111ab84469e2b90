#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All performance figures, one JSON line each, to stdout and build/bench.json. Messages go to stderr.
# usage: ci/bench.sh [trace|core|boot]...; all three by default. docs/performance.md explains them.
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
		ASAN_OPTIONS=detect_leaks=0 "$dir/trace_bench" "$name" || die "trace_bench $name failed"
	done
}

bench_core() {
	run_make build/host/core_bench >&2
	build/host/core_bench || die "core_bench failed"
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

[ $# -gt 0 ] || set -- trace core boot
: >build/bench.json
for part in "$@"; do
	case $part in trace | core | boot) ;; *) die "bench $part: expected trace, core or boot" ;; esac
	"bench_$part" >"$work/part" || die "bench $part failed"
	cat "$work/part"
	cat "$work/part" >>build/bench.json
done
say "figures are in build/bench.json" >&2
