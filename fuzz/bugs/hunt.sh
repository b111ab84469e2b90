#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Plant each known bug and let the fuzzer look for it: proof that the oracles can fail.
# Called by build.sh, from the root of the tree.
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

usage="usage: ./build.sh bugs [--time SECONDS] [ID...]   (default: 60 s each, all of fuzz/bugs)"
limit=60
while [ $# -gt 0 ]; do
	case $1 in
	--help) say "$usage"; exit 0 ;;
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
for target in shadow64 shadow32 shadowpae; do
	mkdir -p "$work/seeds/$target" || die "cannot make $work"
	for trace in corpora/"$target"/*.trace; do
		build/host/umbra fmt --binary "$trace" >"$work/seeds/$target/$(basename "$trace" .trace)" || die "$trace does not convert"
	done
done

# What a run found, from its log: the signature, a sanitizer's summary, or nothing.
cause() {
	sed -n 's/^signature: //p; s/^SUMMARY: //p' "$1" | head -n 1
}

found=0 missed=0
for id in "$@"; do
	id=${id##*/} id=${id%.patch}
	# A patch may name the target that can reach it.
	target=$(sed -n 's/^target: //p' "fuzz/bugs/$id.patch")
	target=${target:-shadow64}
	make -s PORT=host GEOM=small ENGINE=libfuzzer SAN=asan-ubsan BUG="$id" TARGETS="$target" fuzzer >"$work/$id.build" 2>&1 ||
		die "bug $id does not build: see $work/$id.build"
	mkdir -p "$work/$id" || die "cannot make $work/$id"
	start=$(date +%s)
	# Finding is the point: the fuzzer's status says only whether it stopped early.
	"build/fuzz-$id/$target-libfuzzer-asan" -max_total_time="$limit" -max_len=1024 -seed=1 -timeout=10 -detect_leaks=0 \
		-artifact_prefix="$work/$id/" "$work/$id" "$work/seeds/$target" >"$work/$id.log" 2>&1 || true
	seconds=$(($(date +%s) - start)) what=$(cause "$work/$id.log")
	if [ -n "$what" ]; then
		found=$((found + 1))
		say "$id found in ${seconds} s: $what"
	else
		missed=$((missed + 1))
		say "$id NOT found in ${seconds} s"
	fi
done
say "$found found, $missed missed; logs and inputs in $work"
[ "$missed" -eq 0 ]
