#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Make build/bug/ID/hv: the core with planted bug ID, or, for ID no-NAME, without the one call that is option
# NAME (spec A.19). Called by the Makefile for BUG=ID. Files keep their times while the core and the patch do
# not change, so that make sees nothing to do.
set -eu
cd "$(dirname "$0")/../.." || exit 1
id=$1 to=build/bug/$1
complain() { echo "$*" >&2; exit 1; }

case $id in
no-*)
	option=${id#no-}
	lines=$(grep -rn "// option: $option\$" hv/shadow) || complain "no call is marked '// option: $option' in hv/shadow"
	[ "$(printf '%s\n' "$lines" | wc -l)" = 1 ] || complain "option $option is more than one call: $lines"
	source=${lines%%:*} ;;
*)
	source=fuzz/bugs/$id.patch
	[ -r "$source" ] || { echo "no planted bug $id: see fuzz/bugs/" >&2; exit 2; } ;;
esac
if [ -f "$to/planted" ] && [ -z "$(find hv "$source" -newer "$to/planted" -type f)" ]; then
	exit 0
fi
rm -rf "$to" && mkdir -p "$to" && cp -R hv "$to/" || exit 1
case $id in
no-*) sed -i "\\,// option: $option\$,d" "$to/$source" || complain "cannot edit $to/$source" ;;
*) patch -s -d "$to" -p1 <"$source" >&2 || complain "$source does not apply" ;;
esac
: >"$to/planted"
