#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The one entry to everything: ./build.sh help
set -eu
cd "$(dirname "$0")" || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

usage() {
	cat <<'END'
usage: ./build.sh COMMAND [ARGUMENT...]

  deps                install the Debian packages listed in ci/packages.txt
  host                the host tool                      -> build/host/umbra
  image               hypervisor image and guest kernels -> build/bare/umbra.elf, umbra.iso, build/guest/*.elf
                      and with undefined-behaviour traps -> build/bare-ubsan/umbra.elf
  fuzzers             fuzz targets and mutator           -> build/fuzz/
  test                all tests                          -> build/test/ (logs)
  campaign            fuzz until stopped                 -> build/campaign/TARGET/findings/
      [--time 60s] [--jobs N] [--out DIR] [--target shadow64|shadow32|shadowpae|p2m|control|migrate|smp]
  stress [TRACE...]   the same traces on model, host, QEMU with and without Umbra -> build/stress/ (logs)
                      by default 20 generated ones and those of the corpora that have one right answer
  repro [FILE...]     replay traces and pairs on the host with every checker on; by default repro/*.trace and repro/*.pair
  coverage [DIR...]   what corpora and reproducers reach in the core -> build/coverage/index.html
                      DIR: a campaign's corpus too, by default build/campaign/*/corpus
  bugs [ID...]        plant known bugs (fuzz/bugs) one by one and let the fuzzer find each -> build/bugs/ (logs)
      [--time 60s]
  access              every combination of entry bits, access and control bits in every mode, model against host
      [--quick] [--qemu]
  bench [GROUP...]    performance figures as JSON lines  -> stdout and build/bench.json
                      GROUP: trace core boot cost scale; all by default
  lint                check layering, style and scripts
  clean               remove build/

Each command fetches what it needs first. BUG=<id> in the environment plants a known bug (or BUG=no-NAME takes an option out) in host,
fuzzers, campaign, image and repro; its outputs carry the id in their names.
END
}

built() { say "built: $*"; }

cmd_deps() {
	want build fuzz image qemu lint bugs test
	say "all packages of ci/packages.txt are there"
}

cmd_host() {
	want build
	say "building the host tool"
	run_make PORT=host
	built "build/host${BUG:+-$BUG}/umbra"
}

cmd_image() {
	want build image
	say "building the hypervisor image and the guest kernel"
	run_make image
	tag=
	[ "${GEOM:-}" != small ] || tag=-small
	tag=$tag${BUG:+-$BUG}
	built "build/bare$tag/umbra.elf build/bare$tag/umbra.iso build/bare-ubsan$tag/umbra.elf build/guest/*.elf"
}

cmd_fuzzers() {
	want build fuzz
	say "building the fuzz targets and the mutator library"
	run_make fuzzers
	built "build/fuzz${BUG:+-$BUG}/*"
}

cmd_test() {
	want build fuzz image qemu lint bugs test
	exec sh ci/test.sh "$@"
}

cmd_campaign() {
	want build fuzz
	say "building what the campaign needs"
	run_make PORT=host
	# Findings are judged and minimised by the small-geometry tool with and without sanitizers.
	run_make PORT=host GEOM=small
	run_make PORT=host GEOM=small SAN=asan-ubsan
	run_make fuzzers
	exec sh fuzz/campaign/campaign.sh "$@"
}

cmd_stress() {
	want build image qemu
	run_make PORT=host
	run_make image
	exec sh ci/stress.sh "$@"
}

cmd_repro() {
	want build
	run_make PORT=host GEOM=small
	run_make PORT=host GEOM=small SAN=asan-ubsan
	if [ $# = 0 ]; then
		for trace in repro/*.trace repro/*.pair; do
			[ ! -e "$trace" ] || set -- "$@" "$trace"
		done
	fi
	[ $# -gt 0 ] || { say "no reproducers: repro/ is empty"; say "0 passed, 0 failed, 0 skipped"; exit 0; }
	exec sh ci/replay.sh "$@"
}

cmd_coverage() {
	want build
	run_make PORT=host GEOM=small SAN=cov
	exec sh ci/coverage.sh "$@"
}

cmd_bugs() {
	want build fuzz bugs
	run_make PORT=host
	exec sh fuzz/bugs/hunt.sh "$@"
}

cmd_bench() {
	want build image qemu
	exec sh ci/bench.sh "$@"
}

cmd_access() {
	want build
	case " $* " in *" --qemu "*) want image qemu; run_make image ;; esac
	run_make PORT=host
	run_make PORT=host GEOM=small
	exec sh ci/access.sh "$@"
}

cmd_lint() {
	want build lint
	exec sh ci/lint.sh "$@"
}

cmd_clean() {
	say "removing build/"
	rm -rf build
}

command=${1:-help}
[ $# -eq 0 ] || shift
# Help comes before anything is fetched or built. What has no help of its own is said in one place.
case " $* " in
*' --help '* | *' -h '*)
	case $command in
	campaign) exec sh fuzz/campaign/campaign.sh --help ;;
	bugs) exec sh fuzz/bugs/hunt.sh --help ;;
	access) exec sh ci/access.sh --help ;;
	*) command=help ;;
	esac ;;
esac
if [ -n "${BUG:-}" ] && [ "$command" != help ]; then
	export BUG
	want bugs
fi
case $command in
deps | host | image | fuzzers | test | campaign | stress | repro | coverage | bugs | access | bench | lint | clean) "cmd_$command" "$@" ;;
help | -h | --help) usage ;;
*) usage >&2; die "unknown command: $command" ;;
esac
