#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A processor that gets stuck must end in a panic that shows every processor.
# usage: stress/watchdog.sh; boots the image on 2 and on 4 processors and has one of them get stuck.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
image=build/bare/umbra.elf umbra=build/host/umbra
[ -f "$image" ] || die "$image is missing: run ./build.sh image"
[ -x "$umbra" ] || die "$umbra is missing: run ./build.sh host"
work=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
"$umbra" gen --plain --ops 100000 --binary -o "$work/trace" || die "umbra gen failed"

# stuck PROCESSORS WHICH
stuck() {
	status=0
	timeout 60 qemu-system-x86_64 -accel tcg,thread=multi -smp "$1" -cpu max -M pc -m 512M -nodefaults -vga none \
		-display none -no-reboot -device isa-debug-exit,iobase=0xf4 -serial null -serial "file:$work/console" \
		-kernel "$image" -append "watchdog=5 wedge=$2" -initrd "build/guest/guest.elf,$work/trace" \
		>"$work/qemu" 2>&1 </dev/null || status=$?
	tr -d '\r' <"$work/console" >"$work/lines"
	[ "$status" = 37 ] || return 1 # EXIT_PANIC
	grep -Fqx "umbra: panic: watchdog: processor $2 is stuck" "$work/lines" || return 1
	grep -q ' get_stuck+0x' "$work/lines" || return 1
	i=0
	while [ "$i" -lt "$1" ]; do
		[ "$(grep -c "^processor $i: " "$work/lines")" = 1 ] || return 1
		i=$((i + 1))
	done
}

good=0 bad=0
for run in '2 0' '2 1' '4 3'; do
	# shellcheck disable=SC2086
	if stuck $run; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		say "FAIL: of so many processors, this one stuck: $run. QEMU status $status"
		tail -n 40 "$work/lines"
	fi
done
say "$good passed, $bad failed, 0 skipped"
[ "$bad" = 0 ]
