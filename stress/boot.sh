#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot the guest kernel on one trace in QEMU, under Umbra or on the bare machine, and print its log.
set -eu

usage() {
	cat <<'END'
usage: stress/boot.sh --on image|metal [--timeout S] [-o LOG] [--verbose] TRACE

Runs TRACE (text or binary; a file named *.bin is binary) with real instructions in QEMU.
  --on image   the guest kernel under Umbra (build/bare/umbra.elf)
  --on metal   the same guest kernel with no hypervisor
  --timeout S  give up after S seconds (default 60)
  -o LOG       write the observation log there instead of stdout
  --verbose    show the hypervisor's console on stderr
UMBRA_IMAGE=FILE in the environment takes another image, such as build/bare-ubsan/umbra.elf.
exit: 0 pass, 1 guest or hypervisor failed, 2 usage or something is missing, 3 hypervisor panic,
      5 no SVM, 6 timeout
END
}
complain() { printf '%s\n' "boot.sh: $*" >&2; }
stop() { status=$1; shift; complain "$*"; exit "$status"; }

on='' seconds=60 log='' verbose='' trace=''
while [ $# -gt 0 ]; do
	case $1 in
	--on | --timeout | -o)
		[ $# -gt 1 ] || stop 2 "$1 needs a value (see --help)"
		case $1 in --on) on=$2 ;; --timeout) seconds=$2 ;; -o) log=$2 ;; esac
		shift ;;
	--verbose) verbose=1 ;;
	--help | -h) usage; exit 0 ;;
	-*) stop 2 "unknown option $1 (see --help)" ;;
	*) [ -z "$trace" ] || stop 2 "one trace at a time (see --help)"; trace=$1 ;;
	esac
	shift
done
case $on in image | metal) ;; *) stop 2 "--on image or --on metal is needed (see --help)" ;; esac
case $seconds in '' | *[!0-9]*) stop 2 "--timeout wants whole seconds, not '$seconds'" ;; esac
[ -r "$trace" ] || stop 2 "cannot read the trace '$trace' (see --help)"

root=$(cd "$(dirname "$0")/.." && pwd) || stop 2 "cannot find the root of the tree"
umbra=$root/build/host/umbra guest=$root/build/guest/guest.elf image=${UMBRA_IMAGE:-$root/build/bare/umbra.elf}
command -v qemu-system-x86_64 >/dev/null || stop 2 "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
[ -f "$guest" ] || stop 2 "$guest is missing: run ./build.sh image"
[ "$on" = metal ] || [ -f "$image" ] || stop 2 "$image is missing: run ./build.sh image"
case $on:$trace in
metal:*.bin) ;;
*) [ -x "$umbra" ] || stop 2 "$umbra is missing: run ./build.sh host" ;;
esac

work=$(mktemp -d) || stop 2 "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM
case $trace in
*.bin) cp "$trace" "$work/trace.bin" || stop 2 "cannot copy $trace" ;;
*) "$umbra" fmt --binary "$trace" >"$work/trace.bin" || stop 2 "$trace does not parse" ;;
esac
: >"$work/console"

set -- -accel tcg -cpu max -M pc -nodefaults -vga none -display none -no-reboot \
	-device isa-debug-exit,iobase=0xf4 -serial "file:$work/log"
if [ "$on" = metal ]; then
	# RAM ends right behind the last trace frame, 64 KiB above 1 GiB.
	set -- "$@" -m 1048640K -kernel "$guest" -initrd "$work/trace.bin"
else
	"$umbra" config "$trace" >"$work/config" || stop 2 "umbra config cannot read $trace"
	append=$(head -n 1 "$work/config")
	set -- "$@" -m 512M -serial "file:$work/console" -kernel "$image" -append "$append" \
		-initrd "$guest,$work/trace.bin"
fi
status=0
timeout "$seconds" qemu-system-x86_64 "$@" >"$work/qemu" 2>&1 </dev/null || status=$?

[ -z "$verbose" ] || cat "$work/console" >&2
killed=$(sed -n 's/^umbra: guest killed: //p' "$work/console" | tr -d '\r' | head -n 1)
touch "$work/log"
if [ -n "$killed" ]; then
	printf 'umbra: guest killed: %s\n' "$killed" >>"$work/log"
	if "$umbra" finish-log "$work/log" "$work/trace.bin" >"$work/whole"; then
		mv "$work/whole" "$work/log"
	else
		complain "the log has no digest: umbra finish-log failed"
	fi
	case $status in 33 | 35) status=33 ;; esac # the trace ends with its domain: that is an answer
fi
if [ -n "$log" ]; then cp "$work/log" "$log" || stop 2 "cannot write $log"; else cat "$work/log"; fi

# isa-debug-exit: QEMU ends with 2 * code + 1.
last=$(grep -h '^guest: panic' "$work/log" || tail -n 1 "$work/console") || last=''
case $status in
33) exit 0 ;;
35) stop 1 "failed: ${last:-no reason given}" ;;
37) stop 3 "hypervisor panic: ${last:-no reason given}" ;;
41) stop 5 "no SVM on this machine: ${last:-QEMU needs -cpu max}" ;;
124) stop 6 "no end after $seconds seconds (last line: $(tail -n 1 "$work/log"))" ;;
*) stop 1 "QEMU ended with status $status: $(head -n 1 "$work/qemu")" ;;
esac
