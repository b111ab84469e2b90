#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Make build/bug/ID/hv: the core with planted bug ID. Called by the Makefile for BUG=ID. Files keep their
# times while the core and the patch do not change, so that make sees nothing to do.
set -eu
cd "$(dirname "$0")/../.." || exit 1
id=$1 to=build/bug/$1
[ -r "fuzz/bugs/$id.patch" ] || { echo "no planted bug $id: see fuzz/bugs/" >&2; exit 2; }
if [ -f "$to/planted" ] && [ -z "$(find hv "fuzz/bugs/$id.patch" -newer "$to/planted" -type f)" ]; then
	exit 0
fi
rm -rf "$to" && mkdir -p "$to" && cp -R hv "$to/" || exit 1
patch -s -d "$to" -p1 <"fuzz/bugs/$id.patch" >&2 || { echo "fuzz/bugs/$id.patch does not apply" >&2; exit 1; }
: >"$to/planted"
