#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All tests: ./build.sh test. Logs in build/test/. Ends with `N passed, N failed, N skipped`.
# Each step prints such a line too, or counts as one test by its exit status.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

logs=build/test umbra=build/host/umbra tmp=build/test/tmp
passed=0 failed=0 skipped=0

add() { passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5)); }

# step NAME COMMAND...: the command may be a function of this file, so it runs in a copy of this script,
# which `timeout` can end together with all its children.
step() {
	name=$1 log=$logs/$1.log began=$(now) status=0
	shift
	timeout -k 10 900 sh ci/test.sh --step "$@" >"$log" 2>&1 </dev/null || status=$?
	[ "$status" != 124 ] || say "$name: no end after 900 seconds"
	counts=$(tail -n 1 "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$') || counts=
	if [ -z "$counts" ]; then
		if [ "$status" = 0 ]; then counts="1 passed, 0 failed, 0 skipped"
		else counts="0 passed, 1 failed, 0 skipped"; fi
	fi
	case $status:$counts in
	0:*) ;;
	*' 0 failed'*) counts="${counts% passed*} passed, 1 failed, ${counts##*, }" ;;
	esac
	# shellcheck disable=SC2086
	add $counts
	say "$name: $counts ($(($(now) - began)) s)"
	[ "$status" = 0 ] || { say "--- $log"; tail -n 60 "$log"; say "---"; }
}

# ---- the steps that are more than one command ---------------------------------------------------
build_all() {
	make -s -j"$(processors)" host tests &&
		make -s -j"$(processors)" GEOM=small host &&
		make -s -j"$(processors)" GEOM=small SAN=asan-ubsan host tests &&
		make -s -j"$(processors)" fuzzers &&
		make -s -j"$(processors)" image
}

# The manual of the trace language is what the tool prints.
same_manual() {
	$umbra docs >$tmp.docs && diff $tmp.docs docs/trace-language.md
}

# Text to binary to text to binary: the two binaries and the two texts are equal.
round_trip() {
	good=0 bad=0
	for trace in corpora/*/*.trace repro/*.trace; do
		[ -e "$trace" ] || continue
		if $umbra fmt --binary "$trace" >$tmp.1 && $umbra fmt $tmp.1 >$tmp.2 && $umbra fmt --binary $tmp.2 >$tmp.3 &&
			$umbra fmt $tmp.3 >$tmp.4 && cmp $tmp.1 $tmp.3 && cmp $tmp.2 $tmp.4; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			say "FAIL $trace: replay with \`$umbra fmt --binary $trace | $umbra fmt\`"
		fi
	done
	say "$good passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

# Generated traces that every executor follows: $1 of each kind, of $2 ops, on the executors $3.
generated() {
	for kind in hvm64 hvm32 hvmpae; do
		n=1
		while [ "$n" -le "$1" ]; do
			$umbra gen --seed "$n" --ops "$2" --kind $kind --vcpus $((1 + n % 2)) --plain -o "$logs/gen-$kind-$n.trace" || return 1
			n=$((n + 1))
		done
	done
	equal_on "$3" "$logs"/gen-*.trace
}

# compare.sh prints a line for each trace that is equal. One that is compared with nothing has failed: who asks expects an answer.
equal_on() {
	on=$1
	shift
	status=0
	sh stress/compare.sh --on "$on" "$@" >$tmp.compare || status=$?
	cat $tmp.compare
	good=$(grep -c ': equal on' $tmp.compare) || true
	say "$good passed, $(($# - good)) failed, 0 skipped"
	return "$status"
}

replay_all() {
	set -- corpora/*/*.trace
	for trace in repro/*.trace repro/*.pair; do
		[ ! -e "$trace" ] || set -- "$@" "$trace"
	done
	sh ci/replay.sh "$@"
}

# Traces of all kinds and of everything that a hypervisor does, on model and host.
trials() {
	for kind in hvm64 hvm32 hvmpae; do
		$umbra trial --kind $kind --seeds 3000 || return 1
		build/host-small/umbra trial --kind $kind --seeds 3000 || return 1
	done
}

# E1.43: no operation looks at more entries than its bound, whatever the guest did before.
bounds() {
	make -s build/host/bound_bench && build/host/bound_bench --visits
}

# Real threads on the core, every access watched.
threads() {
	make -s -j"$(processors)" SAN=tsan GEOM=small threads && build/fuzz/threads-tsan --time 20s --domains 2 --vcpus 4
}

# Oracles can fail: a bug for each of the sanitizer, the TLB model, an assertion of the core and what the executor knows of its state.
planted() {
	sh fuzz/bugs/hunt.sh --time 20 B13 B29 B42b U35
}

# Each planted bug applies, and what it touches of the core compiles.
planted_compile() {
	find fuzz/bugs -name '*.patch' | sort | xargs -P "$(processors)" -n 1 sh ci/test.sh --step compile_patch >$tmp.patches || :
	grep -v '^ok ' $tmp.patches || :
	all=$(find fuzz/bugs -name '*.patch' | wc -l) good=$(grep -c '^ok ' $tmp.patches) || :
	say "$good passed, $((all - good)) failed, 0 skipped"
	[ "$good" = "$all" ]
}

compile_patch() {
	id=${1##*/} id=${id%.patch}
	objects=$(sed -n "s,^+++ b/\\(hv/.*\\)\\.c\$,build/obj/host-none-small-$id/\\1.o,p" "$1")
	# shellcheck disable=SC2086
	if sh fuzz/bugs/plant.sh "$id" && make -s GEOM=small BUG="$id" ${objects:-build/obj/host-none-small-$id/hv/shadow/fault.o}; then
		say "ok $id"
	else
		say "FAIL $id: \`BUG=$id ./build.sh host\` shows why"
	fi
}

# Every third corpus trace that all executors must agree on, and a generated one of each kind.
some_on_all() {
	set -- "$logs"/gen-*-1.trace
	n=0
	for trace in $(disciplined); do
		[ $((n % 3)) != 0 ] || set -- "$@" "$trace"
		n=$((n + 1))
	done
	equal_on "model host image metal" "$@"
}

# The corpus traces that have one right answer.
disciplined() {
	for trace in corpora/*/*.trace; do
		case $($umbra config "$trace") in *'race=no fail=no flush=auto'*) printf '%s\n' "$trace" ;; esac
	done
}

# What the guest of a trace sees, as one word. $1: tool.
guest_digest() {
	"$1" run --on host "$2" | sed -n 's/^digest \(guest=[^ ]*\).*/\1/p'
}

# The operator's keys on one processor and on several, where the guest's vcpus share everything.
keys() {
	good=0 bad=0
	for run in "--cpus 1 --vcpus 1 --rounds 300" "--cpus 2 --vcpus 4 --rounds 150"; do
		# shellcheck disable=SC2086
		if sh stress/hammer.sh $run --seeds 1 --keys "D M S C M"; then good=$((good + 1)); else bad=$((bad + 1)); fi
	done
	say "$good passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

# Migrations that a guest does not notice. Comparing all memory belongs to the audits: with audit=0 it takes no time.
migrations() {
	sh stress/migrate.sh -n 2 >$tmp.migrate || { cat $tmp.migrate; return 1; }
	sh stress/migrate.sh -n 2 --options audit=0 >>$tmp.migrate || { cat $tmp.migrate; return 1; }
	cat $tmp.migrate
	sed -n 's/.*comparing us: \([0-9]*\),.*/\1/p' $tmp.migrate | { read -r with && read -r without && [ "$((without * 10))" -lt "$with" ]; }
}

# E1.47: options and pool size do not show. Each disciplined corpus trace, its header rewritten, keeps its digest.
options_unseen() {
	good=0 bad=0
	for trace in $(disciplined); do
		want=$(guest_digest build/host-small/umbra "$trace")
		for header in "pool=20 opts=none" "pool=20 opts=all" "pool=200 opts=none" "pool=24 opts=reap+early" "pool=60 opts=fast" \
			"pool=21 opts=prefetch+linux_l3" "pool=128 opts=fast+prefetch" "pool=40 opts=skip_verify" \
			"pool=30 opts=fast_emulate+early" "pool=64 opts=again+fast"; do
			sed "s/^\\(domain .*\\) pool=[^ ]* opts=[^ ]*/\\1 $header/" "$trace" >$tmp.other.trace
			got=$(guest_digest build/host-small/umbra $tmp.other.trace)
			if [ -n "$want" ] && [ "$got" = "$want" ]; then good=$((good + 1)); else
				bad=$((bad + 1))
				say "FAIL $trace with $header: $got, expected $want"
			fi
		done
	done
	say "$good passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

# Each option of spec A.19 is one call: without it the core builds, and the guest sees the same.
options_removable() {
	good=0 bad=0
	for option in reap early fast prefetch linux_l3 skip_verify fast_emulate again; do
		make -s -j"$(processors)" GEOM=small BUG="no-$option" host || { bad=$((bad + 1)); continue; }
		for trace in $(disciplined); do
			want=$(guest_digest build/host-small/umbra "$trace")
			got=$(guest_digest "build/host-small-no-$option/umbra" "$trace")
			if [ -n "$want" ] && [ "$got" = "$want" ]; then good=$((good + 1)); else
				bad=$((bad + 1))
				say "FAIL $trace without option $option: $got, expected $want"
			fi
		done
	done
	say "$good passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

smoke() {
	rm -rf "$logs/smoke"
	sh fuzz/campaign/campaign.sh --time 20s --jobs 2 --out "$logs/smoke"
}

if [ "${1:-}" = --step ]; then
	shift
	"$@"
	exit
fi
rm -rf "$logs"
mkdir -p "$logs" || die "cannot make $logs"
say "testing; logs in $logs"
step build build_all
if [ "$failed" != 0 ]; then
	say "$passed passed, $failed failed, $skipped skipped"
	exit 1
fi
step lint sh ci/lint.sh
step unit sh ci/run-tests.sh build/host/test
step unit-sanitized sh ci/run-tests.sh build/host-asan-ubsan-small/test
step tool sh fuzz/tool/test/tool_test.sh build/host/test/umbra-fake
step manual same_manual
step guest-metal sh stress/selftest.sh --on metal
step guest-image sh stress/selftest.sh --on image
step guest-image-ubsan env UMBRA_IMAGE=build/bare-ubsan/umbra.elf sh stress/selftest.sh --on image
step guest-broken sh stress/broken.sh
step round-trip round_trip
step replay replay_all
step trials trials
step bounds bounds
step threads threads
step model-host generated 50 64 "model host"
step options-unseen options_unseen
step options-removable options_removable
step access sh ci/access.sh --quick
step executors some_on_all
step several-guests sh stress/smp.sh --cpus "1 2 4"
step several-vcpus sh stress/hammer.sh --cpus 2 --vcpus 4 --rounds 60 --seeds 1
step keys keys
step migrations migrations
step watchdog sh stress/watchdog.sh
step planted planted
step planted-compile planted_compile
step fuzz-smoke smoke
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
