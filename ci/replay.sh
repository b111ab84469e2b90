#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Replays traces, and pairs of traces (NAME.pair), on the host executor with every checker after every op, with and without
# sanitizers, and against the model. Small geometry, as the fuzzers have it.
# usage: ci/replay.sh TRACE...
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

# A run that meets a finding ends with a nonzero status and says what it found.
passed=0 failed=0
logs=build/test/replay
mkdir -p $logs || die "cannot make $logs"
for trace in "$@"; do
	for variant in small asan-ubsan-small; do
		umbra=build/host-$variant${BUG:+-$BUG}/umbra log=$logs/$(basename "$trace").$variant
		case $trace in *.pair) how=pair ;; *) how="run --on host" ;; esac
		# shellcheck disable=SC2086
		if timeout 120 "$umbra" $how --check each --quiet "$trace" >"$log" 2>&1 </dev/null; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			say "FAIL $trace: replay with \`$umbra $how --check each --quiet $trace\`"
			tail -n 15 "$log"
		fi
	done
done
say "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
