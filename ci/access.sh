#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The exhaustive access test: ./build.sh access. Every combination of entry bits, access kind, privilege and control bits
# in the three paging modes, on the host executor in step with the model and on the model alone.
# usage: ci/access.sh [--quick] [--qemu] [--help]
#   --quick   every 29th state: about 20 s of processor time
#   --qemu    then a sample of each mode on image and metal too, compared with the others line by line
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

step=1 qemu=''
for option in "$@"; do
	case $option in
	--quick) step=29 ;;
	--qemu) qemu=1 ;;
	--help | -h) sed -n '3,7s/^# //p' "$0"; exit 0 ;;
	*) die "unknown option $option: expected --quick or --qemu" ;;
	esac
done
umbra=build/host/umbra out=build/access
SAMPLE_OPS=400000 # of each mode: some 25 s on the image
[ -x "$umbra" ] || die "$umbra is missing: run ./build.sh host"
rm -rf "$out"
mkdir -p "$out" || die "cannot make $out"
passed=0 failed=0
judge() { # STATUS
	if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# One process for each processor.
jobs=$(processors)
for mode in 64 pae 32; do
	began=$(now) n=0 pids=
	while [ "$n" -lt "$jobs" ]; do
		$umbra access --mode "$mode" --stride "$step" --share $((n + 1))/"$jobs" --keep "$out" >"$out/$mode-$n.log" &
		pids="$pids $!"
		n=$((n + 1))
	done
	worst=0
	for pid in $pids; do wait "$pid" || worst=$?; done
	cat "$out/$mode"-*.log
	say "mode $mode: $(($(now) - began)) s"
	judge "$worst"
done

# Strides are prime, so that no two bits of the enumeration go in step with them.
for pair in ${qemu:+64:353 pae:307 32:151}; do
	mode=${pair%:*} status=0
	$umbra access --mode "$mode" --stride "${pair#*:}" --limit "$SAMPLE_OPS" -o "$out/sample-$mode.bin" || status=$?
	[ "$status" != 0 ] || sh stress/compare.sh --timeout 280 "$out/sample-$mode.bin" || status=$?
	judge "$status"
done
say "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
