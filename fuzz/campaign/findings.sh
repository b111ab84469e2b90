#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# From crashes to reproducers: each crash file of a campaign is replayed once; a signature that is
# new is minimised and written as OUT/findings/NAME.trace (smp: NAME.pair), text that ./build.sh repro replays. The
# crash itself is kept beside it, and every other crash stays where its fuzzer put it.
# usage: fuzz/campaign/findings.sh OUT TARGET
# shellcheck disable=SC2046 # target_words: as many words
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/kinds.sh
. fuzz/campaign/kinds.sh
out=$1 target=$2 tag=${BUG:+-$BUG}
ending=$(target_ending "$2")
seen=$out/seen crash_copy=$out/run/crash
touch "$seen" || die "cannot write $seen"
export ASAN_OPTIONS=detect_leaks=0

version() {
	git describe --always --dirty 2>/dev/null || echo "not under git"
}

# A target with one kind of guest runs it whatever the first byte says; replaying goes by that byte.
with_kind() {
	case $(target_kind "$target") in
	hvm64) byte='\000' ;;
	hvm32) byte='\001' ;;
	hvmpae) byte='\002' ;;
	*)
		cp "$1" "$crash_copy" || die "cannot write $crash_copy"
		return 0
		;;
	esac
	{
		printf '%b' "$byte"
		tail -c +2 "$1"
	} >"$crash_copy" || die "cannot write $crash_copy"
}

# judge CRASH: the first of the two builds that sees a failure, and its signature. The plain build is
# first because it minimises faster.
judge() {
	with_kind "$1"
	for variant in small asan-ubsan-small; do
		umbra=build/host-$variant$tag/umbra
		signature=$("$umbra" $(target_words "$target" sig) "$crash_copy" 2>>"$out/log/sig" </dev/null) || true
		signature=${signature#"$crash_copy: "}
		case $signature in '' | clean) ;; *) return 0 ;; esac
	done
	return 1
}

# write_finding NAME CRASH, after judge
write_finding() {
	small=$out/run/minimised.$ending
	if ! timeout 600 "$umbra" $(target_words "$target" min) -o "$small" "$crash_copy" >"$out/log/min" 2>&1 </dev/null; then
		say "not minimised: $2 (see $out/log/min)"
		"$umbra" $(target_words "$target" text) "$crash_copy" >"$small" || die "cannot convert $2"
	fi
	replay="${BUG:+BUG=$BUG }./build.sh repro $out/findings/$1.$ending"
	{
		say "# $signature"
		say "# Found by the campaign on $target${BUG:+ with BUG=$BUG}, version $(version), from $(basename "$2")."
		say "# Replay: $replay"
		cat "$small"
	} >"$out/run/text" || die "cannot write $out/run/text"
	cp "$crash_copy" "$out/findings/$1.original" || die "cannot keep $2"
	mv "$out/run/text" "$out/findings/$1.$ending" || die "cannot write $out/findings/$1.$ending"
	say "found: $signature: $replay" >>"$out/run/news"
}

find "$out/crashes" "$out/afl" -type f \( -path "$out/crashes/*" -o -path '*/crashes/id:*' \
	-o -path '*/hangs/id:*' \) 2>/dev/null | sort >"$out/run/crash-list" || true
while read -r crash; do
	! grep -qxF "$crash" "$seen" || continue
	if judge "$crash"; then
		name=$(printf '%s' "$signature" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' '-' | cut -c1-80)
		[ -e "$out/findings/$name.$ending" ] || write_finding "$name" "$crash"
		printf '%s %s\n' "$name" "$crash" >>"$out/findings/index"
	else # a slow moment, or state that outlived a run: kept, told, not counted as a finding
		say "does not fail again: $crash"
		echo "$crash" >>"$out/not-reproduced"
	fi
	echo "$crash" >>"$seen"
done <"$out/run/crash-list"
