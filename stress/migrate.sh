#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Migrations of a write-heavy guest while it runs: what was sent, how long it stood still, and that it did not notice.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=stress/load/lib.sh
. stress/load/lib.sh

usage() {
	cat <<'END'
usage: stress/migrate.sh [-n N] [--ram MIB] [--guest TEXT] [--options TEXT] [--timeout S] [--verbose]

Boots build/guest/load.elf three times: on the bare machine, under Umbra, and under Umbra with N migrations in a row.
The three logs must be equal.
  -n N            migrations (default 10)
  --ram MIB       memory of the guest (default 64, 16 to 448)
  --guest TEXT    more words for the guest, such as "set=2048 pages=512 seed=7" (stress/load/load_main.c)
  --options TEXT  more words for the image's command line
  --timeout S     seconds for each boot (default 300)
  --verbose       show what Umbra says about each round, and all that the guest says
exit: 0 all migrations went well and the logs are equal, 1 not so, 2 usage
END
}
stop() { printf '%s\n' "migrate.sh: $* (see --help)" >&2; exit 2; }

every=6 # rounds of work from one migration to the next
count=10 ram=64 guest='' options='' seconds=300 verbose=''
while [ $# -gt 0 ]; do
	case $1 in
	-n | --ram | --timeout)
		case ${2:-} in '' | *[!0-9]*) stop "$1 needs a number" ;; esac
		case $1 in -n) count=$2 ;; --ram) ram=$2 ;; --timeout) seconds=$2 ;; esac
		shift ;;
	--guest | --options)
		[ $# -gt 1 ] || stop "$1 needs a value"
		case $1 in --guest) guest=$2 ;; --options) options=$2 ;; esac
		shift ;;
	--verbose) verbose=1 ;;
	--help | -h) usage; exit 0 ;;
	*) stop "unknown option $1" ;;
	esac
	shift
done
[ "$count" -gt 0 ] || stop "-n needs 1 or more"
[ "$ram" -ge 16 ] || stop "--ram is 16 to 448"
[ "$ram" -le 448 ] || stop "--ram is 16 to 448"

work=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM
load_ready "$work" load
machine=$((3 * ram + 320)) words="ram=$ram rounds=$((count * every)) $guest" bad=0
load_boot "$work/metal" metal "$seconds" "$((ram + 64))" load "$words" '' -accel tcg || bad=1
load_boot "$work/still" image "$seconds" "$machine" load "$words" "vcpus=1 ram=$ram $options" -accel tcg || bad=1
load_boot "$work/moved" image "$seconds" "$machine" load "$words migrate=$every" "vcpus=1 ram=$ram $options" -accel tcg || bad=1

tr -d '\r' <"$work/moved.console" | sed -n 's/^umbra: migrate //p' >"$work/steps"
[ -z "$verbose" ] || cat "$work/steps" "$work/moved.log"
# round R sent P pages; finish sent P pages of D dirty, downtime_us=U compare_us=C teardown_us=T
awk '
	$1 == "round" { n[$2]++; sum[$2] += $4; if ($4 > max[$2]) max[$2] = $4; if ($2 > last) last = $2 }
	function value(word) { sub(/.*=/, "", word); return word + 0 }
	function note(name, n) { sum_of[name] += n; if (n > max_of[name]) max_of[name] = n }
	function both(name) { return sprintf("%d, at most %d", sum_of[name] / f, max_of[name]) }
	$1 == "finish" {
		f++
		note("sent", $3); note("dirty", $6)
		note("down", value($8)); note("compare", value($9)); note("teardown", value($10))
		if ($3 > $6) more++
	}
	END {
		for (r = 0; r <= last; r++)
			if (n[r]) printf "round %d: %d pages sent, at most %d\n", r, sum[r] / n[r], max[r]
		if (f) printf "finish: %s pages sent of %s dirty; downtime us: %s\n", both("sent"), both("dirty"), both("down")
		if (f) printf "standing still, comparing us: %s; afterwards, teardown us: %s\n", both("compare"), both("teardown")
		if (more) printf "%d last rounds sent more pages than were dirty\n", more
		exit more > 0
	}' "$work/steps" || bad=1
grep -h -e '^time plain' -e '^time tracked' "$work/moved.log" || :

for run in metal still moved; do
	grep -v '^time' "$work/$run.log" >"$work/$run.want" || :
done
finished=$(grep -c '^finish ' "$work/steps") || :
for run in still moved; do
	diff "$work/metal.want" "$work/$run.want" >"$work/diff" && continue
	bad=1
	say "the logs of metal and $run differ:"
	head -n 10 "$work/diff"
done
if [ "$finished" != "$count" ]; then
	bad=1
	say "$finished of $count migrations were finished"
fi
if [ "$bad" = 0 ]; then
	say "$count migrations, logs equal"
else
	say "again: stress/migrate.sh -n $count --ram $ram${guest:+ --guest \"$guest\"}${options:+ --options \"$options\"}"
fi
exit "$bad"
