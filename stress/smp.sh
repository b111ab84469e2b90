#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot several guests at once under Umbra and hold the log of each against that of the same guest alone.
set -eu

usage() {
	cat <<'END'
usage: stress/smp.sh [--cpus LIST] [--append TEXT] [--keep DIR] [--timeout S] [TRACE...]

Runs one to four traces, each in a guest of its own, on a machine with so many processors; every log must be, byte for
byte, what `stress/boot.sh --on image` prints. Without a trace: four generated ones, for 64-bit, 32-bit, PAE and again
64-bit guests. Locked instructions of `alter` have no place here: on several processors QEMU has them fault as writes, on one
as reads.
  --cpus LIST    numbers of processors to try (default "1 2 4")
  --append TEXT  more words for the hypervisor's command line
  --keep DIR     keep logs and consoles there
  --timeout S    seconds for each boot (default 300)
exit: 0 all logs are equal, 1 a difference or a failed run, 2 usage or something is missing
END
}
stop() { status=$1; shift; printf '%s\n' "smp.sh: $*" >&2; exit "$status"; }

cpus='1 2 4' append='' keep='' seconds=300
while [ $# -gt 0 ]; do
	case $1 in
	--cpus | --append | --keep | --timeout)
		[ $# -gt 1 ] || stop 2 "$1 needs a value (see --help)"
		case $1 in --cpus) cpus=$2 ;; --append) append=$2 ;; --keep) keep=$2 ;; --timeout) seconds=$2 ;; esac
		shift ;;
	--help | -h) usage; exit 0 ;;
	-*) stop 2 "unknown option $1 (see --help)" ;;
	*) break ;;
	esac
	shift
done
[ $# -le 4 ] || stop 2 "at most four traces (see --help)"

here=$(cd "$(dirname "$0")" && pwd) || stop 2 "cannot find this script's directory"
umbra=${here%/*}/build/host/umbra image=${here%/*}/build/bare/umbra.elf guest=${here%/*}/build/guest/guest.elf
command -v qemu-system-x86_64 >/dev/null || stop 2 "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
[ -x "$umbra" ] || stop 2 "$umbra is missing: run ./build.sh host"
[ -f "$image" ] || stop 2 "$image is missing: run ./build.sh image"
work=$(mktemp -d) || stop 2 "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM
if [ -n "$keep" ]; then mkdir -p "$keep" || stop 2 "cannot make $keep"; fi
if [ $# -eq 0 ]; then
	for kind in hvm64 hvm32 hvmpae hvm64; do
		set -- "$@" "$work/$kind-$#.trace"
		"$umbra" gen --plain --kind "$kind" --seed $((100 + $#)) --ops 400 --vcpus $((1 + $# % 2)) -o "$work/all" ||
			stop 1 "umbra gen failed"
		grep -Ev "^alter .* (xchg|lock_)" "$work/all" >"$work/$kind-$(($# - 1)).trace" || stop 1 "umbra gen gives nothing"
	done
fi

# Each alone, and what starts all of them together.
initrd='' n=0
ln -s "$guest" "$work/guest.elf" || stop 2 "cannot link $guest"
for trace in "$@"; do
	"$here/boot.sh" --on image --timeout "$seconds" -o "$work/alone$n" "$trace" || stop 1 "$trace fails alone"
	"$umbra" fmt --binary -o "$work/trace$n" "$trace" || stop 2 "$trace does not parse"
	"$umbra" config "$trace" >"$work/config" || stop 2 "umbra config cannot read $trace"
	initrd="$initrd${initrd:+,}guest.elf domain $(head -n 1 "$work/config"),trace$n"
	n=$((n + 1))
done

# log N: the log of guest N: its serial port, or for the last one lines of the console.
log() {
	case $1 in
	0 | 1 | 2) cat "$work/com$1" ;;
	3) sed -n 's/\r$//; s/^3> //p' "$work/console" ;;
	esac >"$work/log$1"
	killed=$(sed -n "s/\r\$//; s/^umbra: \($1: \)*guest killed: //p" "$work/console" | head -n 1)
	[ -n "$killed" ] || return 0
	printf 'umbra: guest killed: %s\n' "$killed" >>"$work/log$1"
	"$umbra" finish-log "$work/log$1" "$work/trace$1" >"$work/whole" && mv "$work/whole" "$work/log$1"
}

bad=0
for k in $cpus; do
	status=0 equal=0
	(cd "$work" && timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -smp "$k" -cpu max -M pc -m 512M -nodefaults \
		-vga none -display none -no-reboot -device isa-debug-exit,iobase=0xf4 -serial file:com0 -serial file:console \
		-serial file:com1 -serial file:com2 -kernel "$image" -append "$append" -initrd "$initrd" >qemu 2>&1 </dev/null) || status=$?
	i=0
	while [ "$i" -lt "$n" ]; do
		if log "$i" && cmp -s "$work/alone$i" "$work/log$i"; then equal=$((equal + 1)); else printf 'guest %s differs\n' "$i"; fi
		[ -z "$keep" ] || cp "$work/alone$i" "$work/log$i" "$keep" || stop 2 "cannot write to $keep"
		i=$((i + 1))
	done
	[ -z "$keep" ] || cp "$work/console" "$keep/console$k" || stop 2 "cannot write to $keep"
	printf '%s processors: %s of %s equal\n' "$k" "$equal" "$n"
	[ "$status" = 33 ] || printf 'QEMU ended with status %s: %s\n' "$status" "$(tail -n 1 "$work/console")"
	[ "$equal $status" = "$n 33" ] || bad=1
done
exit "$bad"
