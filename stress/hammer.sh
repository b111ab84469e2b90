#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Vcpus that share page tables and change them all the time, under Umbra on several processors.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=stress/load/lib.sh
. stress/load/lib.sh

usage() {
	cat <<'END'
usage: stress/hammer.sh [--cpus K] [--vcpus V] [--rounds R] [--seeds N] [--first S] [--on image|metal]
                        [--options TEXT] [--keys TEXT] [--timeout S] [--verbose]

Boots build/guest/hammer.elf in QEMU, one thread for each processor, once for each seed.
  --cpus K        processors of the machine (default 2)
  --vcpus V       vcpus of the guest, 1 to 4 (default 4)
  --rounds R      how much each vcpu does (default 100)
  --seeds N       so many runs (default 3), each with a seed of its own
  --first S       the first seed (default 1); the others follow it
  --on metal      without Umbra; needs as many processors as vcpus
  --options TEXT  more words for the image's command line, such as "check=1000"
  --keys TEXT     keys for Umbra's console while the guest runs, such as "S C D M": each must be answered well, and the
                  log be the same as without
  --timeout S     seconds for each run (default 120)
  --verbose       show logs and consoles
exit: 0 all runs pass, 1 one does not, 2 usage
END
}
stop() { printf '%s\n' "hammer.sh: $* (see --help)" >&2; exit 2; }

cpus=2 vcpus=4 rounds=100 seeds=3 first=1 on=image options='' keys='' seconds=120 verbose=''
while [ $# -gt 0 ]; do
	case $1 in
	--cpus | --vcpus | --rounds | --seeds | --first | --timeout)
		case ${2:-} in '' | *[!0-9]*) stop "$1 needs a number" ;; esac
		case $1 in
		--cpus) cpus=$2 ;; --vcpus) vcpus=$2 ;; --rounds) rounds=$2 ;;
		--seeds) seeds=$2 ;; --first) first=$2 ;; --timeout) seconds=$2 ;;
		esac
		shift ;;
	--on | --options | --keys)
		[ $# -gt 1 ] || stop "$1 needs a value"
		case $1 in --on) on=$2 ;; --options) options=$2 ;; --keys) keys=$2 ;; esac
		shift ;;
	--verbose) verbose=1 ;;
	--help | -h) usage; exit 0 ;;
	*) stop "unknown option $1" ;;
	esac
	shift
done
case $on in image | metal) ;; *) stop "--on image or --on metal" ;; esac
[ -z "$keys" ] || [ "$on" = image ] || stop "--keys needs --on image"
case $keys in *[!SCDM\ ]*) stop "--keys: expected S, C, D and M, with blanks between them, not '$keys'" ;; esac

work=$(mktemp -d) || die "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM
load_ready "$work" hammer
# boot NAME KEYS: the run of this seed
boot() {
	load_keys=$2
	load_boot "$work/$1" "$on" "$seconds" 512 hammer "vcpus=$vcpus rounds=$rounds seed=$seed" "vcpus=$vcpus $options" \
		-smp "$cpus" -accel tcg,thread=multi
}

# answers KEY: how often the console has answered it, for all guests or for the guest's first vcpu
answers() {
	case $1 in
	S) answer='all shadows dropped' ;;
	C) answer='all checkers pass' ;;
	D) answer='vcpu 0 .*' ;;
	M) answer='migration: done' ;;
	esac
	tr -d '\r' <"$work/seed$seed.console" >"$work/lines"
	grep -c "^umbra: operator: $answer\$" "$work/lines" || :
}

# Each key of this run has been answered as often as it was pressed, and the guest has not noticed.
keys_unseen() {
	boot plain '' || return 1
	for key in S C D M; do
		pressed=$(printf '%s' "$keys" | tr -cd "$key" | wc -c)
		[ "$(answers "$key")" -eq "$pressed" ] || { say "seed $seed: $(answers "$key") of $pressed answers to $key"; return 1; }
	done
	for run in plain "seed$seed"; do grep -v '^time' "$work/$run.log" >"$work/$run.want" || :; done
	diff "$work/plain.want" "$work/seed$seed.want"
}

good=0 bad=0 seed=$first
while [ "$seed" -lt $((first + seeds)) ]; do
	ok=1
	boot "seed$seed" "$keys" || ok=0
	[ "$ok" = 0 ] || [ -z "$keys" ] || keys_unseen || ok=0
	[ -z "$verbose" ] || cat "$work/seed$seed.log" "$work/seed$seed.console"
	if [ "$ok" = 1 ]; then
		good=$((good + 1))
		say "seed $seed: $(sed -n 's/^hammer: digest/digest/p' "$work/seed$seed.log")"
	else
		bad=$((bad + 1))
		say "again: stress/hammer.sh --on $on --cpus $cpus --vcpus $vcpus --rounds $rounds --seeds 1 --first $seed" \
			"${options:+--options \"$options\"}" "${keys:+--keys \"$keys\"}"
	fi
	seed=$((seed + 1))
done
say "$good passed, $bad failed, 0 skipped"
[ "$bad" = 0 ]
