#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The campaign: every fuzz target at once, each with AFL++ and libFuzzer over one corpus, until the time is up or
# Ctrl-C. Called by build.sh, which has built everything. A second run with the same --out goes on.
#
# Parts: this file: arguments, one process for each target, what they show. kinds.sh: which targets there are. target.sh: one
# target. workers.sh: its fuzzers. status.sh: its figures. findings.sh: from crash to reproducer, a process of its own.
set -eu
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=fuzz/campaign/kinds.sh
. fuzz/campaign/kinds.sh

usage="usage: ./build.sh campaign [--time 60s] [--jobs N] [--out DIR] [--target NAME]
  NAME: $all_targets; all of them by default, at least one job for each"

# 90, 90s, 5m, 2h -> seconds
seconds() {
	n=${1%[smh]}
	case $n in '' | *[!0-9]*) die "--time $1: expected a number with s, m or h behind it" ;; esac
	case $1 in *m) n=$((n * 60)) ;; *h) n=$((n * 3600)) ;; esac
	echo "$n"
}

limit=0 jobs=$(processors) out=build/campaign${BUG:+-$BUG} targets=
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) say "$usage"; exit 0 ;;
	--time | --jobs | --out | --target) [ $# -ge 2 ] || die "$1: expected a value" ;;
	*) die "unknown argument: $1 ($usage)" ;;
	esac
	case $1 in
	--time) limit=$(seconds "$2") || exit 1 ;;
	--jobs) jobs=$2 ;;
	--out) out=$2 ;;
	--target) targets="$targets $2" ;;
	esac
	shift 2
done
case $jobs in '' | *[!0-9]* | 0) die "--jobs $jobs: expected a number from 1" ;; esac
targets=${targets:-$all_targets}
fuzz=build/fuzz${BUG:+-$BUG}
count=0
for target in $targets; do
	case " $all_targets " in *" $target "*) ;; *) die "--target $target: expected one of $all_targets" ;; esac
	[ -x "$fuzz/$target-afl" ] || die "$fuzz/$target-afl is missing: ./build.sh fuzzers"
	count=$((count + 1))
done
[ "$jobs" -ge "$count" ] || jobs=$count
[ "$jobs" -ge $((2 * count)) ] || say "fewer than two jobs for each target: some run AFL++ alone, some libFuzzer alone"

# ---- run -------------------------------------------------------------------------------------------
# shellcheck disable=SC2086
say "campaign: $jobs workers, ${limit}s (0: until Ctrl-C), in $out:" $targets
stop=
trap 'stop=interrupted' INT TERM HUP
pids='' i=0
for target in $targets; do
	share=$(((jobs + count - 1 - i) / count)) first=0
	# With one worker each, targets take AFL++ and libFuzzer in turn.
	[ "$share" -gt 1 ] || first=$((i % 2))
	mkdir -p "$out/$target/run" || die "cannot make $out/$target"
	rm -f "$out/$target/run/"*
	sh fuzz/campaign/target.sh "$target" "$out/$target" "$limit" "$share" "$first" \
		>"$out/$target/run/words" 2>&1 </dev/null &
	pids="$pids $!"
	i=$((i + 1))
done

running() {
	for pid in $pids; do
		# The third field of stat is the state; a zombie has ended.
		if read -r stat_line 2>/dev/null <"/proc/$pid/stat"; then
			case ${stat_line##*) } in Z* | X*) ;; *) return 0 ;; esac
		fi
	done
	return 1
}

# New words of each target: findings, and what went wrong. Then a line for each: in place on a terminal.
show() {
	for target in $targets; do
		words=$out/$target/run/words
		n=$(wc -l <"$words")
		read -r told 2>/dev/null <"$out/$target/run/told" || told=0
		[ "$n" -gt "$told" ] || continue
		[ -z "$lines" ] || printf '\033[J'
		sed -n "$((told + 1)),${n}s/^/$target: /p" "$words"
		echo "$n" >"$out/$target/run/told"
	done
	[ -n "$tty" ] || [ $(($(now) - shown)) -ge 5 ] || return 0
	shown=$(now) up=0
	for target in $targets; do
		[ -s "$out/$target/run/line" ] || continue
		line=$(printf '%-9s %s' "$target" "$(cat "$out/$target/run/line")")
		printf "%s%.${columns}s\n" "$lines" "$line"
		up=$((up + 1))
	done
	[ -z "$tty" ] || [ "$up" = 0 ] || printf '\033[%dA' "$up"
}

# Longer lines than the terminal would break the way back up.
tty='' lines='' shown=0 columns=999
if [ -t 1 ]; then
	tty=1 lines=$(printf '\033[K')
	columns=$(stty size 2>/dev/null </dev/tty | sed 's/.* //')
	[ "${columns:-0}" -gt 20 ] || columns=80
fi
told_stop=
while running; do
	sleep 1 || true
	show
	if [ -n "$stop" ] && [ -z "$told_stop" ]; then
		told_stop=1
		# shellcheck disable=SC2086
		kill -TERM $pids 2>/dev/null || true
	fi
done
trap - INT TERM HUP

# ---- sums ------------------------------------------------------------------------------------------
show
[ -z "$tty" ] || printf '\033[J'
status=0
for pid in $pids; do
	wait "$pid" || status=1
done
for target in $targets; do
	say "$target: $(cat "$out/$target/run/summary" 2>/dev/null || echo "ended early: see $out/$target/run/words")"
done
exit "$status"
