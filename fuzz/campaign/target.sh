#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# One target's part of a campaign. Ends when the time is up or at TERM, with status 1 if it found something.
# usage: fuzz/campaign/target.sh TARGET DIR SECONDS JOBS FIRST (the number of its first worker, see workers.sh)
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/workers.sh
. fuzz/campaign/workers.sh
# shellcheck source=fuzz/campaign/status.sh
. fuzz/campaign/status.sh
target=$1 out=$2 limit=$3 jobs=$4 first=$5
tag=${BUG:+-$BUG}
fuzz=build/fuzz$tag umbra=build/host$tag/umbra
kind=hvm${target#shadow}

# ---- set-up ----------------------------------------------------------------------------------------
mkdir -p "$out/seeds" "$out/corpus" "$out/crashes" "$out/findings" "$out/log" "$out/stats" || die "cannot make $out"
for trace in "corpora/$target"/*.trace; do
	[ -e "$trace" ] || continue
	seed=$(basename "$trace" .trace)
	"$umbra" fmt --binary "$trace" >"$out/seeds/$seed" || die "$trace does not convert"
done
# Generated ones too, with masks of options that are no pattern.
for n in 1 2 3 4 5 6 7 8; do
	"$umbra" gen --seed "$n" --ops 32 --kind "$kind" --vcpus $((1 + n % 3)) --opts $((n * 97 % 256)) --binary \
		>"$out/seeds/gen-$n" || die "umbra gen failed"
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
trap 'stop=interrupted' TERM HUP
start=$(now)
status_start
i=$first
while [ "$i" -lt $((first + jobs)) ]; do
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
stop_workers
trap - TERM HUP
[ -z "$findings_pid" ] || wait "$findings_pid" || true
sh fuzz/campaign/findings.sh "$out" "$target" >>"$out/log/findings" 2>&1 || say "findings.sh failed: see $out/log/findings"
status_summary
