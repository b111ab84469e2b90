#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs every unit-test program in the directories given; prints what failed and one line of sums.
# usage: ci/run-tests.sh DIR...
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

passed=0 failed=0 skipped=0
set_counts() { p=$1 f=$3 s=$5; } # P passed, F failed, S skipped
for dir in "$@"; do
	for program in "$dir"/*_test; do
		[ -x "$program" ] || continue
		log=$program.log
		status=0
		timeout 300 "$program" >"$log" 2>&1 </dev/null || status=$?
		line=$(sed -n '$p' "$log")
		case $line in
		*' passed, '*' failed, '*' skipped') ;;
		*' passed, 0 failed') line="1 passed, 0 failed, 0 skipped" ;; # counts checks: one program, one test
		*' passed, '*' failed') line="0 passed, 1 failed, 0 skipped" ;;
		*)
			line="0 passed, 1 failed, 0 skipped"
			say "FAIL $program: ended with status $status before its last line"
			;;
		esac
		# shellcheck disable=SC2086
		set_counts $line
		if [ "$f" != 0 ] || [ "$status" != 0 ]; then
			[ "$f" != 0 ] || f=1
			say "FAIL $program (log: $log)"
			sed -n '/^PASS /!p' "$log" | tail -n 40
		fi
		passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	done
done
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
