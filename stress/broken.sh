#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests that break themselves: Umbra must say why it killed each, check itself, and end well.
# usage: stress/broken.sh
# Boots every guest of stress/broken and looks for the line that its source announces.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

case ${1:-} in
'') ;;
--help | -h) sed -n '3,5s/^# //p' stress/broken.sh; exit 0 ;;
*) printf '%s\n' "broken.sh: unexpected '$1' (see --help)" >&2; exit 2 ;;
esac
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
image=build/bare/umbra.elf
[ -f "$image" ] || die "$image is missing: run ./build.sh image"
work=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
good=0 bad=0
for source in stress/broken/*.S; do
	name=$(basename "$source" .S) status=0
	timeout 60 qemu-system-x86_64 -accel tcg -cpu max -M pc -m 512M -nodefaults -vga none -display none -no-reboot \
		-device isa-debug-exit,iobase=0xf4 -serial null -serial "file:$work/console" \
		-kernel "$image" -initrd "build/guest/broken/$name.elf" >"$work/qemu" 2>&1 </dev/null || status=$?
	want=$(sed -n 's,^//> ,,p' "$source")
	# QEMU ends with 2 * 0x10 + 1: the hypervisor's own checks passed.
	if [ -n "$want" ] && [ "$status" = 33 ] && tr -d '\r' <"$work/console" | grep -Fqx -e "$want"; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		say "FAIL $name: QEMU status $status, expected 33 and '$want'"
		tail -n 5 "$work/console" "$work/qemu"
	fi
done
say "$good passed, $bad failed, 0 skipped"
[ "$bad" = 0 ]
