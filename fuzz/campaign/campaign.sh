#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The campaign: AFL++ and libFuzzer side by side over one corpus, until the time is up or Ctrl-C.
# Called by build.sh, which has built everything. A second run with the same --out goes on.
#
# Parts: this file: arguments, set-up, the loop. workers.sh: the processes. status.sh: the figures.
# findings.sh: from crash to reproducer, a process of its own.
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/workers.sh
. fuzz/campaign/workers.sh
# shellcheck source=fuzz/campaign/status.sh
. fuzz/campaign/status.sh

usage="usage: ./build.sh campaign [--time 60s] [--jobs N] [--out DIR] [--target shadow64]"

# 90, 90s, 5m, 2h -> seconds
seconds() {
	n=${1%[smh]}
	case $n in '' | *[!0-9]*) die "--time $1: expected a number with s, m or h behind it" ;; esac
	case $1 in *m) n=$((n * 60)) ;; *h) n=$((n * 3600)) ;; esac
	echo "$n"
}

limit=0 jobs=$(processors) out='' target=shadow64
while [ $# -gt 0 ]; do
	case $1 in
	--help) say "$usage"; exit 0 ;;
	--time | --jobs | --out | --target) [ $# -ge 2 ] || die "$1: expected a value" ;;
	*) die "unknown argument: $1 ($usage)" ;;
	esac
	case $1 in
	--time) limit=$(seconds "$2") || exit 1 ;;
	--jobs) jobs=$2 ;;
	--out) out=$2 ;;
	--target) target=$2 ;;
	esac
	shift 2
done
case $jobs in '' | *[!0-9]* | 0) die "--jobs $jobs: expected a number from 1" ;; esac
[ "$jobs" -ge 2 ] || say "one job: AFL++ alone; two or more add libFuzzer with sanitizers"
tag=${BUG:+-$BUG}
fuzz=build/fuzz$tag
[ -d "corpora/$target" ] || die "--target $target: there is no corpora/$target"
[ -x "$fuzz/$target-afl" ] || die "$fuzz/$target-afl is missing: ./build.sh fuzzers"
out=${out:-build/campaign/$target$tag}

# ---- set-up ----------------------------------------------------------------------------------------
umbra=build/host$tag/umbra
mkdir -p "$out/seeds" "$out/corpus" "$out/crashes" "$out/findings" "$out/log" "$out/stats" "$out/run" ||
	die "cannot make $out"
rm -f "$out/run/"*
for trace in "corpora/$target"/*.trace; do
	[ -e "$trace" ] || continue
	seed=$(basename "$trace" .trace)
	"$umbra" fmt --binary "$trace" >"$out/seeds/$seed" || die "$trace does not convert"
done
for n in 1 2 3 4 5 6 7 8; do
	"$umbra" gen --seed "$n" --ops 32 --kind hvm64 --binary >"$out/seeds/gen-$n" || die "umbra gen failed"
done
# A seed that already is a finding goes to the crashes: fuzzers would stumble over it at each start.
for seed in "$out/seeds/"*; do
	if timeout 20 "build/host-asan-ubsan-small$tag/umbra" run --on host "$seed" >/dev/null 2>&1 </dev/null; then
		cp "$seed" "$out/corpus/" || die "cannot fill $out/corpus"
	else
		mv "$seed" "$out/crashes/seed-$(basename "$seed")" || die "cannot fill $out/crashes"
	fi
done
[ -n "$(ls "$out/seeds")" ] || printf '\0' >"$out/seeds/empty"

# ---- run -------------------------------------------------------------------------------------------
stop=
trap 'stop=interrupted' INT TERM HUP
say "campaign: $target, $jobs workers, ${limit}s (0: until Ctrl-C), in $out"
start=$(now)
status_start
i=0
while [ "$i" -lt "$jobs" ]; do
	start_worker "$i"
	i=$((i + 1))
done
findings_pid=
while [ -z "$stop" ]; do
	sleep 1 || true
	elapsed=$(($(now) - start))
	if [ "$limit" -gt 0 ] && [ "$elapsed" -ge "$limit" ]; then stop="time is up"; fi
	restart_workers
	[ $((elapsed % 5)) -ne 0 ] || share_corpus
	if [ -z "$findings_pid" ] || ! alive "$findings_pid"; then
		[ -z "$findings_pid" ] || wait "$findings_pid" || true
		sh fuzz/campaign/findings.sh "$out" "$target" >>"$out/log/findings" 2>&1 &
		findings_pid=$!
	fi
	status_show
done
status_end
say "stopping: $stop"
stop_workers
trap - INT TERM HUP
[ -z "$findings_pid" ] || wait "$findings_pid" || true
sh fuzz/campaign/findings.sh "$out" "$target" >>"$out/log/findings" 2>&1 || say "findings.sh failed: see $out/log/findings"
status_summary
