#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots traces in QEMU, with Umbra and without, and compares them with the model and the host run.
# usage: ci/stress.sh [TRACE...]; without arguments: 20 generated traces and those of the corpora that have one right answer.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

logs=build/stress
mkdir -p "$logs" || die "cannot make $logs"
if [ $# -eq 0 ]; then
	n=1
	while [ "$n" -le 20 ]; do
		build/host/umbra gen --seed "$n" --ops 64 --vcpus $((1 + n % 2)) --plain -o "$logs/gen-$n.trace" ||
			die "umbra gen failed"
		n=$((n + 1))
	done
	set -- "$logs"/gen-*.trace
	# Only traces on which all executors must agree: races and failures exist on the host alone, and a guest
	# that does not flush may see different things.
	for trace in corpora/*/*.trace; do
		case $(build/host/umbra config "$trace") in *'race=no fail=no flush=auto'*) set -- "$@" "$trace" ;; esac
	done
fi
say "running $# traces on model, host, image and metal; logs in $logs"
good=0 bad=0 skipped=0
for trace in "$@"; do
	status=0
	sh stress/compare.sh --keep "$logs" "$trace" >"$logs/compare" || status=$?
	cat "$logs/compare"
	if [ "$status" != 0 ]; then
		bad=$((bad + 1))
		say "FAIL $trace: replay with \`stress/compare.sh $trace\`"
	elif grep -q ': nothing compared: ' "$logs/compare"; then
		skipped=$((skipped + 1))
	else
		good=$((good + 1))
	fi
done
say "$good passed, $bad failed, $skipped skipped"
[ "$bad" = 0 ]
