# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Booting the kernels of stress/load. Sourced from the root of the tree, behind ci/lib.sh.

# load_ready DIR KERNEL: put what a boot needs into DIR, or stop.
load_ready() {
	need qemu-system-x86_64 qemu-system-x86
	for load_file in "build/guest/$2.elf" build/bare/umbra.elf; do
		[ -f "$load_file" ] || die "$load_file is missing: run ./build.sh image"
		# Umbra keeps 128 characters of a guest's command line: a long path would take most of them.
		cp "$load_file" "$1" || die "cannot copy $load_file"
	done
}

load_answers() { grep -c '^umbra: .*operator: ' "$load_run.console" || :; }
load_lives() { grep -q '^umbra: guest "' "$load_run.console"; }
load_answered() { [ "$(load_answers)" != "$load_before" ]; }

# load_until COMMAND: until that is true, or half a minute is over, or the run.
load_until() {
	load_tries=0
	while ! "$1" && [ "$load_tries" -lt 30 ] && ! grep -q -E '^umbra: (pass|FAIL|panic)' "$load_run.console"; do
		load_tries=$((load_tries + 1))
		sleep 1
	done
}

# load_press KEY...: keys of the operator for the run $load_run. Each waits for an answer to the one before.
load_press() {
	[ $# -gt 0 ] || return 0
	load_until load_lives
	for load_key in "$@"; do
		load_before=$(load_answers)
		printf %s "$load_key"
		load_until load_answered
	done
}

# load_boot DIR/NAME image|metal SECONDS MIB KERNEL OPTIONS IMAGE_OPTIONS QEMU_OPTION...: a boot on a machine with MIB of
# memory. Its log is DIR/NAME.log, Umbra's console DIR/NAME.console. Returns 0 when all went well, else says what did not. $load_keys: keys
# that the operator presses, with spaces between them.
load_boot() {
	load_run=$1 load_on=$2 load_seconds=$3 load_mib=$4 load_kernel=${1%/*}/$5 load_words="$5.elf $6" load_image=$7
	shift 7
	set -- "$@" -cpu max -M pc -m "${load_mib}M" -nodefaults -vga none -display none -no-reboot \
		-device isa-debug-exit,iobase=0xf4 -serial "file:$load_run.log"
	: >"$load_run.console"
	if [ "$load_on" = metal ]; then
		set -- "$@" -kernel "$load_kernel.elf" -append "$load_words"
	else
		set -- "$@" -chardev "stdio,id=console,signal=off,logfile=$load_run.console" -serial chardev:console \
			-kernel "${load_kernel%/*}/umbra.elf" -append "$load_image" -initrd "$load_words"
	fi
	load_status=0
	# shellcheck disable=SC2086
	load_press ${load_keys:-} |
		(cd "${load_run%/*}" && exec timeout "$load_seconds" qemu-system-x86_64 "$@") 2>"$load_run.qemu" >/dev/null ||
		load_status=$?
	touch "$load_run.log"
	# A guest that Umbra kills is a pass for boot.sh. Here it is none.
	load_why=$(sed -n 's/^umbra: \(guest killed: .*\)/\1/p' "$load_run.console" | tr -d '\r' | head -n 1)
	case $load_status:$load_why in
	33:) return 0 ;; # isa-debug-exit: 2 * code + 1
	33:*) ;;
	35:*)
		load_why=$(grep -h -E '(panic|MISMATCH|failed|does not start)' "$load_run.log" "$load_run.console" | head -n 1) ||
			load_why='no reason given' ;;
	37:*) load_why="hypervisor panic: $(grep -i -m 1 panic "$load_run.console")" || load_why='hypervisor panic' ;;
	41:*) load_why='no SVM on this machine' ;;
	124:*) load_why="no end after $load_seconds seconds (last line: $(tail -n 1 "$load_run.log"))" ;;
	*) load_why="QEMU ended with status $load_status: $(head -n 1 "$load_run.qemu")" ;;
	esac
	say "${load_run##*/}: FAILED: $load_why"
	return 1
}
