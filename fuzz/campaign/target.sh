#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# One target's part of a campaign. Ends when the time is up or at TERM, with status 1 if it found something.
# usage: fuzz/campaign/target.sh TARGET DIR SECONDS JOBS FIRST (the number of its first worker, see workers.sh)
# shellcheck disable=SC2046 # target_words: as many words
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/kinds.sh
. fuzz/campaign/kinds.sh
# shellcheck source=fuzz/campaign/workers.sh
. fuzz/campaign/workers.sh
# shellcheck source=fuzz/campaign/status.sh
. fuzz/campaign/status.sh
target=$1 out=$2 limit=$3 jobs=$4 first=$5
tag=${BUG:+-$BUG}
fuzz=build/fuzz$tag umbra=build/host$tag/umbra
kind=$(target_kind "$target") focus=$(target_focus "$target") ending=$(target_ending "$target")

# Generated seed number $1, text, for a guest of its own: options are masks that are no pattern.
generate() {
	of=$kind
	[ "$of" != any ] || case $(($1 % 3)) in 0) of=hvm64 ;; 1) of=hvm32 ;; *) of=hvmpae ;; esac
	vcpus=$((1 + $1 % 3))
	[ "$ending" = trace ] || vcpus=$((2 + $1 % 3))
	"$umbra" gen --seed "$1" --ops 32 --kind "$of" --focus "$focus" --vcpus "$vcpus" --opts $(($1 * 97 % 256)) ||
		die "umbra gen failed"
}

# A pair of them with some turns of each sort.
generate_pair() {
	say "pair $([ $(($1 % 3)) = 0 ] && echo late || echo at_once)"
	say "schedule 0 1 0:$1 1:$((2 * $1)) 0 0:2 1 1:7 0:3 0:5 1:1"
	generate "$1"
	generate $(($1 + 100))
}

# ---- set-up ----------------------------------------------------------------------------------------
mkdir -p "$out/seeds" "$out/corpus" "$out/crashes" "$out/findings" "$out/log" "$out/stats" || die "cannot make $out"
for n in 1 2 3 4 5 6 7 8; do
	if [ "$ending" = pair ]; then generate_pair "$n"; else generate "$n"; fi >"$out/run/gen-$n.$ending"
done
# For pairs each trace of the corpus runs beside the one before it.
before=
for trace in "corpora/$target"/*.trace; do
	if [ "$ending" != pair ] || [ ! -e "$trace" ]; then continue; fi
	if [ -n "$before" ]; then
		say "schedule 0 1 0:2 1:2 0:1 1:5 0 0:3 1:4" | cat - "$before" "$trace" >"$out/run/$(basename "$trace" .trace).pair" ||
			die "cannot write to $out/run"
	fi
	before=$trace
done
for trace in "corpora/$target"/*."$ending" "$out/run/"*."$ending"; do
	[ -e "$trace" ] || continue
	seed=$(basename "$trace" ."$ending")
	"$umbra" $(target_words "$target" binary) "$trace" >"$out/seeds/$seed" || die "$trace does not convert"
done
# A seed that already is a finding goes to the crashes: fuzzers would stumble over it at each start.
for seed in "$out/seeds/"*; do
	if timeout 20 "build/host-asan-ubsan-small$tag/umbra" $(target_words "$target" run) "$seed" >/dev/null 2>&1 </dev/null; then
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
