#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Checks what the compiler does not: layering, freestanding core, file sizes, licence lines, shell
# scripts, links in the documentation. Prints one line for each breach and a line of sums.
# Names in this tree hold no blanks, so lists of files are words.
# shellcheck disable=SC2013,SC2044
set -eu
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=ci/lib.sh
. ci/lib.sh

need shellcheck shellcheck
need clang clang

mkdir -p build || die "cannot make build/"
failed=0 passed=0
# breach CHECK FILE TEXT
breach() {
	grep -q "^$1 $2 " ci/lint-exceptions && return 0
	say "lint: $1: $2: $3"
	failed=$((failed + 1))
}
# After each check: it passed when it added no breach.
before=0
done_with() {
	[ "$failed" != "$before" ] || passed=$((passed + 1))
	before=$failed
}
# Sources under the directories given, one a line.
sources() { find "$@" -name build -prune -o -type f \( -name '*.c' -o -name '*.h' \) -print | sort; }

core_dirs=
for d in base mem pt p2m shadow domain; do
	[ -d "hv/$d" ] && core_dirs="$core_dirs hv/$d"
done
# shellcheck disable=SC2086
core=$(sources $core_dirs)

# ---- layering: no header includes upward -----------------------------------------------------
rank() {
	case $1 in
	hv/base/* | hv/geometry.h) echo 0 ;;
	hv/mem/* | hv/port.h) echo 1 ;;
	hv/pt/*) echo 2 ;;
	hv/p2m/*) echo 3 ;;
	hv/shadow/*) echo 4 ;;
	hv/domain/*) echo 5 ;;
	*) echo 9 ;;
	esac
}
for file in $core hv/port.h hv/geometry.h; do
	case $file in *.h) ;; *) continue ;; esac
	own=$(rank "$file")
	for included in $(sed -n 's/^#include "\(.*\)".*/\1/p' "$file"); do
		path=$(realpath --relative-to=. "$(dirname "$file")/$included")
		other=$(rank "$path")
		[ "$other" -le "$own" ] || breach upward "$file" "includes $path, which lies above it"
	done
done
done_with

# ---- the core is freestanding, without assembly, blind to the port ------------------------------
for file in $core hv/port.h; do
	bad=$(grep -nE '^#include <' "$file" | grep -vE '<(stdbool|stddef|stdint|stdarg|stdnoreturn)\.h>' || true)
	[ -z "$bad" ] || breach libc "$file" "$bad"
	bad=$(grep -nE '\b(asm|__asm__|__asm)\b *(volatile|__volatile__)? *\(' "$file" || true)
	[ -z "$bad" ] || breach asm "$file" "$bad"
	bad=$(grep -nE '^ *# *(if|ifdef|ifndef|elif).*(PORT|BARE|HOSTED|__STDC_HOSTED__|SANITIZE)' "$file" |
		grep -vE "ifndef [A-Z0-9_]+_H\$" || true)
	[ -z "$bad" ] || breach port-if "$file" "$bad"
	case $file in
	*.c)
		bad=$(grep -nE '^#include ".*port/(host|bare)/' "$file" || true)
		[ -z "$bad" ] || breach port-include "$file" "$bad"
		;;
	esac
done
done_with

# ---- at most two conditionals per 1000 lines of core (include guards do not count) --------------
# shellcheck disable=SC2086
[ -z "$core" ] || {
	lines=$(cat $core | wc -l)
	ifs=$(cat $core | grep -E '^ *# *(if|ifdef|ifndef)\b' | grep -cvE '#ifndef [A-Z0-9_]+_H$' || true)
	[ $((ifs * 1000)) -le $((lines * 2)) ] || breach if-density hv "$ifs conditionals in $lines lines"
}
done_with

# ---- each header compiles alone -------------------------------------------------------------------
for file in $(sources hv fuzz stress | grep '\.h$'); do
	case $file in
	hv/port/host/* | hv/test/* | fuzz/*) flags="-D_GNU_SOURCE" ;;
	stress/* | hv/port/bare/*) flags="-ffreestanding -mno-sse -Ihv/port/bare -Istress/guest" ;;
	*) flags="-ffreestanding" ;;
	esac
	# shellcheck disable=SC2086
	clang -std=c11 -Wall -Wextra -Wno-unused-function $flags -fsyntax-only -x c -include "$file" /dev/null \
		2>build/lint.log || breach alone "$file" "does not compile alone: $(sed -n 1p build/lint.log)"
done
done_with

# ---- sizes, licence lines, words ------------------------------------------------------------------
files=$(find . \( -name .git -o -path ./build \) -prune -o -type f \( -name '*.[chS]' -o -name '*.sh' -o -name '*.mk' \
	-o -name '*.ld' -o -name '*.lds' -o -name Makefile -o -name '*.trace' -o -path ./.ci/run \) -print |
	sed 's,^\./,,' | sort)
for file in $files; do
	n=$(wc -l <"$file")
	[ "$n" -le 800 ] || breach size "$file" "$n lines, more than 800"
	sed -n 1,3p "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' || case $file in
	corpora/* | repro/*) ;; # data
	*) breach spdx "$file" "no SPDX line at the top" ;;
	esac
	case $file in
	*.trace) ;; # data, and its story
	*)
		wide=$(awk 'length($0) > 140 { print FNR; exit }' "$file")
		[ -z "$wide" ] || breach length "$file" "line $wide has more than 140 characters"
		;;
	esac
	case $file in ci/lint.sh) continue ;; esac
	! grep -nE '\b(TODO|FIXME|XXX)\b' "$file" >build/lint.log ||
		breach words "$file" "unfinished: line $(sed -n 1p build/lint.log)"
done
for file in $(find . \( -name .git -o -path ./build \) -prune -o -name '*.py' -print); do
	breach python "${file#./}" "no Python in this tree"
done
done_with

# ---- shell ----------------------------------------------------------------------------------------
for file in $(printf '%s\n' "$files" | grep -E '\.sh$|^\.ci/run$'); do
	shellcheck -x "$file" >build/lint.log 2>&1 || breach shellcheck "$file" "$(sed -n 2,12p build/lint.log)"
done
done_with

# ---- links in the documentation -------------------------------------------------------------------
for file in README.md docs/*.md; do
	[ -e "$file" ] || continue
	for link in $(grep -oE '\]\([^)#: ]+' "$file" | sed 's/^](//'); do
		[ -e "$(dirname "$file")/$link" ] || breach link "$file" "$link does not exist"
	done
done
done_with

say "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
