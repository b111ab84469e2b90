#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Check the guest kernel, and what runs it, against logs that were derived by hand.
set -eu

usage() {
	cat <<'END'
usage: stress/selftest.sh [--on metal|image] [TRACE...]

Boots each TRACE (default: stress/test/*.trace) and looks up in its log every line that the trace
announces with "#> ". Needs build/host/umbra to read trace text.
exit: 0 all as announced, 1 something else, 2 usage or something is missing
END
}
stop() { status=$1; shift; printf '%s\n' "selftest.sh: $*" >&2; exit "$status"; }

on=metal
while [ $# -gt 0 ]; do
	case $1 in
	--on) [ $# -gt 1 ] || stop 2 "--on needs a value (see --help)"; on=$2; shift ;;
	--help | -h) usage; exit 0 ;;
	-*) stop 2 "unknown option $1 (see --help)" ;;
	*) break ;;
	esac
	shift
done
here=$(cd "$(dirname "$0")" && pwd) || stop 2 "cannot find this script's directory"
[ $# -gt 0 ] || set -- "$here"/test/*.trace
work=$(mktemp -d) || stop 2 "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM

bad=0
for trace in "$@"; do
	name=${trace##*/}
	rm -f "$work/log"
	status=0
	"$here/boot.sh" --on "$on" -o "$work/log" "$trace" || status=$?
	[ "$status" != 2 ] || exit 2
	touch "$work/log"
	sed -n 's/^#> //p' "$trace" >"$work/want" || stop 2 "cannot read $trace"
	[ -s "$work/want" ] || stop 1 "$name announces nothing"
	wrong=0
	[ "$status" = 0 ] || wrong=1
	while IFS= read -r line; do
		grep -Fqx -e "$line" "$work/log" && continue
		wrong=1
		printf '%s: want: %s\n' "$name" "$line"
		printf '%s: have: %s\n' "$name" "$(grep "^${line%% *} " "$work/log" || echo nothing)"
	done <"$work/want"
	if [ "$wrong" = 0 ]; then
		printf '%s on %s: %s lines as announced\n' "$name" "$on" "$(wc -l <"$work/want" | tr -d ' ')"
	else
		printf '%s on %s: FAILED\n' "$name" "$on"
		bad=1
	fi
done
exit "$bad"
