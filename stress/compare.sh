#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run traces on every executor and show the first op on which two of them differ.
set -eu

usage() {
	cat <<'END'
usage: stress/compare.sh [--on LIST] [--keep DIR] [--timeout S] TRACE...

Runs each TRACE on model, host, image and metal and compares the observation logs. An executor that cannot be held to the
others' answers is left out, with the reason: races, injected failures, flush=manual, entries that stray out of the small world
of traces, ops that only a hypervisor can do. Where fewer than two are left, nothing is compared, and it says so.
  --on LIST    executors to use (default "model host image metal")
  --keep DIR   keep the logs there, as NAME.EXECUTOR.log
  --timeout S  seconds for each boot (default 60)
exit: 0 all logs that were compared are equal, 1 a difference or a failed run, 2 usage or something is missing
END
}
complain() { printf '%s\n' "compare.sh: $*" >&2; }
stop() { status=$1; shift; complain "$*"; exit "$status"; }

executors='model host image metal' keep='' seconds=60
while [ $# -gt 0 ]; do
	case $1 in
	--on | --keep | --timeout)
		[ $# -gt 1 ] || stop 2 "$1 needs a value (see --help)"
		case $1 in --on) executors=$2 ;; --keep) keep=$2 ;; --timeout) seconds=$2 ;; esac
		shift ;;
	--help | -h) usage; exit 0 ;;
	-*) stop 2 "unknown option $1 (see --help)" ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || stop 2 "no trace given (see --help)"

here=$(cd "$(dirname "$0")" && pwd) || stop 2 "cannot find this script's directory"
umbra=${here%/*}/build/host/umbra
[ -x "$umbra" ] || stop 2 "$umbra is missing: run ./build.sh host"
if [ -n "$keep" ]; then
	mkdir -p "$keep" || stop 2 "cannot make $keep"
	logs=$keep
else
	logs=$(mktemp -d) || stop 2 "cannot make a temporary directory"
	trap 'rm -rf "$logs"' EXIT
	trap 'exit 2' INT TERM
fi

# run EXECUTOR TRACE LOG
run() {
	case $1 in
	model | host) "$umbra" run --on "$1" "$2" >"$3" ;;
	image | metal) "$here/boot.sh" --on "$1" --timeout "$seconds" -o "$3" "$2" ;;
	*) stop 2 "no executor is called '$1'" ;;
	esac
}

# Why EXECUTOR cannot be held to the others' answers for a trace with this config line; nothing if it can.
left_out() {
	case "$1 $2" in
	image*' stray=yes '* | metal*' stray=yes '*) echo 'an entry leads out of the small world that all executors share' ;;
	metal*' metal=no '*) echo 'an op of it cannot be imitated there' ;;
	image*' race=yes '* | metal*' race=yes '*) echo 'races run on the host alone' ;;
	[!h]*' fail=yes '*) echo 'the k-th fallible step is another one there, or none' ;;
	model*' race=yes '*) echo 'a race has more than one right answer' ;;
	[!h]*' flush=manual '*) echo 'without flush discipline the host checks itself in step with the model' ;;
	esac
}

bad=0
for trace in "$@"; do
	[ -r "$trace" ] || stop 2 "cannot read $trace"
	config=$("$umbra" config "$trace") || stop 2 "$trace does not parse"
	config=$(printf '%s' "$config" | tr '\n' ' ')
	name=${trace##*/}
	shown='' failed='' reason=''
	set --
	for executor in $executors; do
		why=$(left_out "$executor" " $config ")
		if [ -n "$why" ]; then
			printf '%s: %s left out: %s\n' "$name" "$executor" "$why"
			reason=$why
			continue
		fi
		status=0
		run "$executor" "$trace" "$logs/$name.$executor.log" || status=$?
		[ "$status" != 2 ] || exit 2
		[ "$status" = 0 ] || failed="$failed $executor($status)"
		set -- "$@" "$logs/$name.$executor.log"
		shown="$shown${shown:+,}$executor"
	done
	if [ $# -gt 1 ] && ! "$umbra" compare --names "$shown" --trace "$trace" "$@"; then
		failed="$failed difference"
	fi
	if [ -n "$failed" ]; then
		complain "$name: FAILED:$failed"
		bad=1
	elif [ $# -lt 2 ]; then
		printf '%s: nothing compared: %s is left: %s\n' "$name" "${shown:-no executor}" "${reason:-no other one was asked for}"
	else
		printf '%s: equal on %s\n' "$name" "$shown"
	fi
done
exit "$bad"
