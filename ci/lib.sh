# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What every script of this tree shares. Sourced from the root of the tree.

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Seconds since some moment, for measuring steps.
now() { date +%s; }

# need COMMAND PACKAGE: stop with one line when a tool is missing.
need() {
	command -v "$1" >/dev/null 2>&1 || die "$1 is missing: install it with \`apt-get install $2\`"
}

# missing_packages GROUP...: names of the packages of these groups that are not there.
missing_packages() {
	while read -r package probe group; do
		case $package in '' | '#'*) continue ;; esac
		case " $* " in *" $group "*) ;; *) continue ;; esac
		case $probe in
		/*)
			# The probe may be a pattern, so it is left unquoted.
			# shellcheck disable=SC2086
			ls $probe >/dev/null 2>&1 || printf '%s ' "$package" ;;
		*) command -v "$probe" >/dev/null 2>&1 || printf '%s ' "$package" ;;
		esac
	done <ci/packages.txt
}

# install_packages PACKAGE...: with apt-get when we may, else say how.
install_packages() {
	line="apt-get update && apt-get install -y --no-install-recommends $*"
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
		as_root="sudo -n"
	else
		die "missing packages; run as root: $line"
	fi
	command -v apt-get >/dev/null 2>&1 || die "missing packages, and no apt-get here: $*"
	say "installing: $*"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	$as_root apt-get update -qq </dev/null || die "apt-get update failed"
	# shellcheck disable=SC2086
	$as_root apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null ||
		die "apt-get install failed; try: $line"
}

# want GROUP...: the packages of these groups are there afterwards, or the script has ended.
want() {
	packages=$(missing_packages "$@") || die "cannot read ci/packages.txt"
	[ -z "$packages" ] && return 0
	# shellcheck disable=SC2086
	install_packages $packages
}

# Processors to build and to fuzz with.
processors() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1; }

run_make() { make -s -j"$(processors)" "$@" || die "make $* failed"; }
