# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzz targets, and how they differ for the scripts here.
# shellcheck disable=SC2034 # used by those who source this

all_targets="shadow64 shadow32 shadowpae p2m control migrate smp"

# target_kind TARGET: the guests that it runs, whatever the header of an input says; any: what that says.
target_kind() {
	case $1 in
	shadow64 | shadow32 | shadowpae) echo "hvm${1#shadow}" ;;
	*) echo any ;;
	esac
}

# target_focus TARGET: as `umbra gen --focus` has it.
target_focus() {
	case $1 in
	shadow*) echo shadow ;;
	*) echo "$1" ;;
	esac
}

# An input of smp is a pair of traces. What a text of one ends in, and the words behind `umbra` for what is done to one.
target_ending() { case $1 in smp) echo pair ;; *) echo trace ;; esac; }
target_words() { # TARGET run|sig|min|text|binary
	case $1:$2 in
	smp:run) echo pair --quiet ;;
	smp:*) echo "pair --$2" ;;
	*:run) echo run --on host --quiet ;;
	*:text) echo fmt ;;
	*:binary) echo fmt --binary ;;
	*) echo "$2" ;;
	esac
}
