#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A processor that gets stuck must end in a panic that shows every processor, whoever is left to see it; others must not.
# usage: stress/watchdog.sh
# Boots the image on 1, 2 and 4 processors and has one of them get stuck, all, or none, or a big guest migrate, or the
# machine end where QEMU does not, which may stand still then.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

case ${1:-} in
'') ;;
--help | -h) sed -n '3,6s/^# //p' stress/watchdog.sh; exit 0 ;;
*) printf '%s\n' "watchdog.sh: unexpected '$1' (see --help)" >&2; exit 2 ;;
esac
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
image=build/bare/umbra.elf umbra=build/host/umbra
[ -f "$image" ] || die "$image is missing: run ./build.sh image"
[ -x "$umbra" ] || die "$umbra is missing: run ./build.sh host"
work=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
"$umbra" gen --plain --ops 30000 --binary -o "$work/trace" || die "umbra gen failed"
small=build/guest/guest.elf,$work/trace

seconds=120 exit_device='-device isa-debug-exit,iobase=0xf4'
# boot PROCESSORS MIB OPTIONS MODULES
boot() {
	status=0
	# shellcheck disable=SC2086
	timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -smp "$1" -cpu max -M pc -m "${2}M" -nodefaults -vga none \
		-display none -no-reboot $exit_device -serial null -serial "file:$work/console" \
		-kernel "$image" -append "$3" -initrd "$4" \
		>"$work/qemu" 2>&1 </dev/null || status=$?
	tr -d '\r' <"$work/console" >"$work/lines"
}

# stuck PROCESSORS WHICH
stuck() {
	which=$2
	[ "$which" != all ] || which='[0-9]'
	boot "$1" 512 "watchdog=5 wedge=$2" "$small"
	[ "$status" = 37 ] || return 1 # EXIT_PANIC
	[ "$(grep -c '^umbra: panic: ' "$work/lines")" = 1 ] || return 1
	grep -qx "umbra: panic: watchdog: processor $which is stuck" "$work/lines" || return 1
	seen=1
	[ "$2" != all ] || seen=$1
	[ "$(grep -c ' get_stuck+0x' "$work/lines")" -ge "$seen" ] || return 1
	i=0
	while [ "$i" -lt "$1" ]; do
		[ "$(grep -c "^processor $i: " "$work/lines")" = 1 ] || return 1
		i=$((i + 1))
	done
}

# The run takes several times as long as a processor may stand still, and the watchdog has been at work.
healthy() {
	boot "$1" 512 "watchdog=2" "$small"
	[ "$status" = 33 ] || return 1 # EXIT_PASS
	grep -q '^umbra: exits by reason:.* nmi=' "$work/lines"
}

# migrates PROCESSORS MIB: a guest whose first round takes a second or two, which is longer than a processor may stand still.
migrates() {
	boot "$1" $((3 * $2 + 320)) "watchdog=1 ram=$2" "build/guest/load.elf ram=$2 rounds=7 migrate=6 set=8192"
	[ "$status" = 33 ] || return 1
	grep -q "^umbra: migrate finish sent " "$work/lines"
}

# halts PROCESSORS: without the device that ends QEMU the processors halt, and stay so for longer than one may stand still.
halts() {
	seconds=12 exit_device=''
	boot "$1" 512 "watchdog=1" build/guest/broken/triple-fault.elf
	[ "$status" = 124 ] || return 1 # of timeout
	grep -qx 'umbra: pass' "$work/lines" || return 1
	if grep -q '^umbra: panic' "$work/lines"; then return 1; fi
}

good=0 bad=0
for run in 'stuck 1 0' 'stuck 2 0' 'stuck 2 1' 'stuck 4 3' 'stuck 2 all' 'healthy 1' 'healthy 2' 'migrates 1 256' 'migrates 2 448' \
	'halts 1' 'halts 2'; do # the last ones leave boot's settings changed
	# shellcheck disable=SC2086
	if $run; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		say "FAIL: $run (of so many processors, this one, or with so many MiB). QEMU status $status"
		tail -n 40 "$work/lines"
	fi
done
say "$good passed, $bad failed, 0 skipped"
[ "$bad" = 0 ]
