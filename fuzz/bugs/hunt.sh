#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Plant each known bug and look for it with what ought to see it: proof that the oracles can fail.
# Called by build.sh, from the root of the tree.
#
# The first line of a patch is the bug. A line "target: NAME" behind it says who looks, shadow64 if there is none:
#   a fuzz target       libFuzzer with ASan and UBSan, from the target's corpus
#   threads             the core under real threads, with TSan
#   NAME_test [normal]  that unit test, small geometry unless it says normal: for what no guest, or only a patient one, can do
#   bound_bench         the bounds of what is done under a lock, normal geometry
#   repro/NAME          a reproducer: the fuzzers found such a bug once and may need hours to find it again
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/kinds.sh
. fuzz/campaign/kinds.sh

usage="usage: ./build.sh bugs [--time SECONDS] [ID...]   (default: 60 s each, all of fuzz/bugs)"
limit=60
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) say "$usage"; exit 0 ;;
	--time) [ $# -ge 2 ] || die "--time: expected a number of seconds"; limit=${2%s}; shift 2 ;;
	-*) die "unknown argument: $1 ($usage)" ;;
	*) break ;;
	esac
done
case $limit in '' | *[!0-9]*) die "--time $limit: expected a number of seconds" ;; esac
if [ $# -eq 0 ]; then
	set -- fuzz/bugs/*.patch
fi

work=build/bugs
rm -rf "$work"
for target in $all_targets; do
	mkdir -p "$work/seeds/$target" || die "cannot make $work"
	ending=$(target_ending "$target") before=
	for trace in corpora/"$target"/*.trace; do
		[ -e "$trace" ] || continue
		name=$(basename "$trace" .trace)
		case $ending in
		pair) # each trace runs beside the one before it
			if [ -n "$before" ]; then
				say "schedule 0 1 0:2 1:2 0:1 1:5 0 0:3 1:4" | cat - "$before" "$trace" >"$work/pair" || die "cannot write to $work"
				# shellcheck disable=SC2046 # words
				build/host/umbra $(target_words "$target" binary) "$work/pair" >"$work/seeds/$target/$name" ||
					die "$trace does not convert"
			fi
			before=$trace ;;
		*) build/host/umbra fmt --binary "$trace" >"$work/seeds/$target/$name" || die "$trace does not convert" ;;
		esac
	done
done

# build ID MAKE-ARGUMENT...: one that does not build counts as missed, and the hunt goes on.
build() {
	bug=$1
	shift
	make -s -j"$(processors)" PORT=host BUG="$bug" "$@" >"$work/$bug.build" 2>&1 && return 0
	say "bug $bug does not build: see $work/$bug.build"
	return 1
}

# -entropic=0: libFuzzer's usual choice of inputs takes a third of the time, and pays for it only in longer runs.
# The log of one look goes to $work/ID.log; finding is the point, so its status does not count.
look_fuzzing() { # ID TARGET
	build "$1" GEOM=small ENGINE=libfuzzer SAN=asan-ubsan TARGETS="$2" fuzzer || return 0
	mkdir -p "$work/$1" || die "cannot make $work/$1"
	start=$(date +%s)
	"build/fuzz-$1/$2-libfuzzer-asan" -max_total_time="$limit" -max_len=1024 -seed=1 -entropic=0 -timeout=10 -detect_leaks=0 \
		-artifact_prefix="$work/$1/" "$work/$1" "$work/seeds/$2" >"$work/$1.log" 2>&1 || true
}

look_threads() { # ID
	build "$1" GEOM=small SAN=tsan threads || return 0
	start=$(date +%s)
	timeout $((limit + 60)) "build/fuzz-$1/threads-tsan" --time "$limit" >"$work/$1.log" 2>&1 || true
}

look_test() { # ID TEST GEOMETRY
	program=build/host-small-$1/test/$2
	[ "$3" = small ] || program=build/host-$1/test/$2
	build "$1" GEOM="$3" "$program" || return 0
	start=$(date +%s)
	timeout 300 "$program" >"$work/$1.log" 2>&1 || true
}

look_bound() { # ID
	build "$1" "build/host-$1/bound_bench" || return 0
	start=$(date +%s)
	timeout 300 "build/host-$1/bound_bench" --visits >"$work/$1.log" 2>&1 || say "FAIL a bound is exceeded" >>"$work/$1.log"
}

look_trace() { # ID TRACE
	build "$1" GEOM=small || return 0
	start=$(date +%s)
	timeout 60 "build/host-small-$1/umbra" run --on host --quiet "$2" >"$work/$1.log" 2>&1 || true
}

# What a look found, from its log: the signature, a sanitizer's summary, a test that fails, a fatal end, or nothing.
cause() {
	sed -n 's/^signature: //p; s/^SUMMARY: //p' "$1" >"$work/cause"
	sed -n 's/^finding: //p; s/^\(FAIL [A-Za-z_0-9]*\).*/\1/p; s/^umbra: fatal: /stopped: /p' "$1" >>"$work/cause"
	head -n 1 "$work/cause"
}

found=0 missed=0
for id in "$@"; do
	id=${id##*/} id=${id%.patch}
	[ -r "fuzz/bugs/$id.patch" ] || die "no planted bug $id: see fuzz/bugs/"
	target=$(sed -n 's/^target: //p' "fuzz/bugs/$id.patch")
	target=${target:-shadow64}
	start=$(date +%s)
	: >"$work/$id.log"
	case $target in
	threads) look_threads "$id" ;;
	bound_bench) look_bound "$id" ;;
	repro/*) look_trace "$id" "$target" ;;
	*_test) look_test "$id" "$target" small ;;
	*_test\ normal) look_test "$id" "${target% normal}" normal ;;
	*) look_fuzzing "$id" "$target" ;;
	esac
	seconds=$(($(date +%s) - start)) what=$(cause "$work/$id.log")
	if [ -n "$what" ]; then
		found=$((found + 1))
		say "$id found by $target in ${seconds} s: $what"
	else
		missed=$((missed + 1))
		say "$id NOT found by $target in ${seconds} s"
	fi
done
say "$found found, $missed missed; logs and inputs in $work"
[ "$missed" -eq 0 ]
