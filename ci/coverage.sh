#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Which lines of the core do the corpora, the reproducers and, if there is one, a campaign's corpus reach?
# usage: ci/coverage.sh [CORPUS-DIRECTORY...]; the default campaign's is taken by itself.
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

out=build/coverage umbra=build/host-cov-small/umbra
[ $# -gt 0 ] || set -- build/campaign/*/corpus
rm -rf "$out"
mkdir -p "$out/raw" || die "cannot make $out"
LLVM_PROFILE_FILE=$out/raw/%m-%p.profraw
export LLVM_PROFILE_FILE
say "running the corpora and reproducers"
$umbra run --on host --check each --quiet corpora/*/*.trace repro/*.trace >"$out/log" 2>&1 || die "a trace fails: see $out/log"
for corpus in "$@"; do
	[ -d "$corpus" ] || continue
	say "running $corpus"
	# A finding in a campaign's corpus is the campaign's business.
	find "$corpus" -type f -exec "$umbra" run --on host --quiet {} + >>"$out/log" 2>&1 || true
done
llvm-profdata merge -o "$out/all.profdata" "$out"/raw/*.profraw || die "llvm-profdata failed"
set -- -instr-profile="$out/all.profdata" $umbra hv/base hv/mem hv/pt hv/p2m hv/shadow hv/domain
llvm-cov show -format=html -output-dir="$out" "$@" >/dev/null || die "llvm-cov show failed"
llvm-cov report "$@" >"$out/report.txt" || die "llvm-cov report failed"
awk 'NF == 13 && $2 ~ /^[0-9]/ { printf "%-24s %8s of lines\n", $1, $10 }' "$out/report.txt"
say "pages: $out/index.html"
