#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Tests of the umbra tool with the fake executors of fake_exec.c. Usage: tool_test.sh PATH-OF-UMBRA
# Each check is one function; the last line is `N passed, N failed`.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 PATH-OF-UMBRA" >&2; exit 2; }
umbra=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# check NAME STATUS COMMAND...: the exit status has to fit. Output goes to $dir/out and $dir/err.
check()
{
	name=$1
	want=$2
	shift 2
	got=0
	"$@" >"$dir/out" 2>"$dir/err" || got=$?
	if [ "$got" -eq "$want" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $name: exit status $got, expected $want: $*"
		cat "$dir/out" "$dir/err"
	fi
}

# lines N FILE: it has so many.
lines()
{
	[ "$(wc -l <"$2")" -eq "$1" ]
}

# has NAME FILE TEXT: some line of $dir/FILE holds TEXT.
has()
{
	if grep -qF -- "$3" "$dir/$2"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1: no '$3' in $2:"
		cat "$dir/$2"
	fi
}

# ---- usage
check no-command 2 "$umbra"
check help 0 "$umbra" --help
check unknown-command 2 "$umbra" frobnicate
for command in run fmt gen min sig show draw access config compare docs; do
	check "help-$command" 0 "$umbra" "$command" --help
	has "help-$command" out "usage: umbra $command"
	check "bad-option-$command" 2 "$umbra" "$command" --frobnicate
done
check docs 0 "$umbra" docs

# ---- gen, fmt, config
check gen 0 "$umbra" gen --seed 7 --ops 300 --vcpus 2 --flush manual -o "$dir/a.trace"
check gen-again 0 "$umbra" gen --seed 7 --ops 300 --vcpus 2 --flush manual -o "$dir/b.trace"
check same-seed 0 cmp "$dir/a.trace" "$dir/b.trace"
check gen-other 0 "$umbra" gen --seed 8 --ops 300 --vcpus 2 --flush manual -o "$dir/b.trace"
check other-seed 1 cmp "$dir/a.trace" "$dir/b.trace"
check gen-plain 0 "$umbra" gen --seed 3 --ops 2000 --vcpus 3 --plain -o "$dir/p.trace"
check plain 0 "$umbra" config "$dir/p.trace"
has plain out "metal=yes race=no fail=no flush=auto stray=no"
check to-binary 0 "$umbra" fmt --binary -o "$dir/a.bin" "$dir/a.trace"
check to-text 0 "$umbra" fmt -o "$dir/a2.trace" "$dir/a.bin"
check round-trip 0 cmp "$dir/a.trace" "$dir/a2.trace"
check gen-kind 2 "$umbra" gen --kind pv64
check gen-number 2 "$umbra" gen --seed x
check gen-opts 2 "$umbra" gen --opts sometimes
check gen-extra 2 "$umbra" gen now
check no-file 2 "$umbra" fmt "$dir/missing"
printf 'domain hvm64 vcpus=2 pool=40 opts=0x5\nremove f1 (fail_nth: 1)\nflush (race_nth: 2)\n' >"$dir/c.trace"
check config 0 "$umbra" config "$dir/c.trace"
has config out "vcpus=2 pool=40 opts=0x5"
has config out "metal=no race=yes fail=yes flush=manual stray=no"
printf '# story\n\ndomain hvm64\nflush\npoke f1\n' >"$dir/bad.trace"
check bad-trace 2 "$umbra" fmt "$dir/bad.trace"
has bad-trace err "bad.trace:5: expected an operation"
printf 'domian hvm64\n' >"$dir/typo.trace"
check typo 2 "$umbra" fmt "$dir/typo.trace"

# ---- a pair is no trace
printf '# story\n\npair late # two\nschedule 0 1\ndomain hvm64\nflush\ndomain hvm64\nflush\n' >"$dir/two.pair"
sed 1,3d "$dir/two.pair" >"$dir/two.trace"
for command in "run --on host" fmt config show; do
	for pair in two.pair two.trace; do
		# shellcheck disable=SC2086
		check "$command-$pair" 2 "$umbra" $command "$dir/$pair"
		has "$command-$pair" err "$pair is a pair of traces: use umbra pair"
	done
done
check pair 0 "$umbra" pair --text "$dir/two.pair"
printf 'pairs' >"$dir/pairs"
check no-pair 0 "$umbra" fmt "$dir/pairs"

# ---- run, sig
printf 'domain hvm64\nflush\nctl smap=1\npush 0.0.0.0 = 0x0\n' >"$dir/rule.trace"
printf 'domain hvm64\nctl smep=1\nexec 0.0.0.0\n' >"$dir/model.trace"
printf 'domain hvm64\nctl nxe=1\nblow\n' >"$dir/abort.trace"
printf 'domain hvm64\nctl wp=1\ncheck\n' >"$dir/hang.trace"
printf 'domain hvm64\nflush\n' >"$dir/clean.trace"
check run-clean 0 "$umbra" run --on host "$dir/clean.trace"
has run-clean out "1 flush ok"
has run-clean out "digest guest="
check run-stdin 0 "$umbra" run --on model - <"$dir/clean.trace"
check run-rule 1 "$umbra" run --on host --check end "$dir/clean.trace" "$dir/rule.trace"
has run-rule err "finding: op 3: E1.15 refcount: 3 != 4"
has run-rule err "signature: rule E1.15 refcount"
check run-ops 0 "$umbra" run --on host --ops 2 "$dir/rule.trace"
check run-nowhere 2 "$umbra" run "$dir/clean.trace"
check run-nothing 2 "$umbra" run --on host
check run-bad 2 "$umbra" run --on host "$dir/bad.trace"
check sig 1 "$umbra" sig --timeout 2 "$dir/rule.trace" "$dir/model.trace" "$dir/abort.trace" "$dir/hang.trace" \
	"$dir/clean.trace"
has sig out "rule.trace: rule E1.15 refcount"
has sig out "model.trace: rule model: value N not allowed"
has sig out "abort.trace: signal 6"
has sig out "hang.trace: timeout"
has sig out "clean.trace: clean"

# ---- min
{
	"$umbra" gen --seed 5 --ops 60 --vcpus 2 --opts fast | grep -v -e '^push' -e '^exec' -e '^ctl' -e '^blow' -e '^check'
	echo 'ctl smap=1'
	"$umbra" gen --seed 6 --ops 20 | grep -v -e '^domain' -e '^push' -e '^exec' -e '^ctl' -e '^blow' -e '^check'
	echo 'push 1.2.3.15+0x18 = 0x5a5a5a5a5a5a5a5a cpl3 (fail_nth: 3)'
	echo 'flush'
} >"$dir/long.trace"
check min 0 "$umbra" min "$dir/long.trace" -o "$dir/min.trace"
printf 'domain hvm64 vcpus=1 pool=128 opts=none flush=auto\nctl smap=1\npush 0.0.0.0 = 0x0\n' >"$dir/want.trace"
check min-result 0 diff "$dir/want.trace" "$dir/min.trace"
check min-crash 0 "$umbra" min "$dir/abort.trace" -o "$dir/min.trace"
check min-crash-sig 1 "$umbra" sig "$dir/min.trace"
has min-crash-sig out "signal 6"
check min-clean 2 "$umbra" min "$dir/clean.trace" -o "$dir/min.trace"
has min-clean err "does not fail"
check min-no-out 2 "$umbra" min "$dir/abort.trace"

# ---- show
check show 0 "$umbra" show --op 2 "$dir/rule.trace"
has show out ">     2  ctl smap=1"
has show out "f1[7] = f4 P W U"
has show out "f2[251..255] = 0x5a5a"
has show out "f3 is removed"
check show-far 2 "$umbra" show --op 4 "$dir/rule.trace"
check show-rule 1 "$umbra" show "$dir/rule.trace"
has show-rule out "> [7] 0x1004, no shadow"
has show-rule out "up to 0x2000[0]"

# ---- draw
check draw-dot 0 "$umbra" draw "$dir/clean.trace" --dot
has draw-dot out "digraph umbra {"
has draw-dot out "l3_64 of"
check draw-rule 1 "$umbra" draw "$dir/rule.trace" --at 3 --dot -o "$dir/graph"
has draw-rule err "finding: op 3: E1.15 refcount"
has draw-rule graph "<b>E1.15 refcount: 3 != 4</b>"
has draw-rule graph 'port="e7" bgcolor="#ffd0d0"'
check draw-svg 0 "$umbra" draw "$dir/clean.trace" -o "$dir/picture.svg"
has draw-svg picture.svg "<svg"
check draw-stdout 0 "$umbra" draw "$dir/clean.trace"
has draw-stdout out "</svg>"
check draw-no-dot 3 env PATH="$dir" "$umbra" draw "$dir/clean.trace"
has draw-no-dot err "apt-get install graphviz"
check draw-far 2 "$umbra" draw --at 4 "$dir/rule.trace"
check draw-nothing 2 "$umbra" draw
check draw-nowhere 3 "$umbra" draw "$dir/clean.trace" -o "$dir/missing/picture.svg"

# ---- access: the fake host finds a fault in each fetch with SMEP
for mode in 64 32 pae; do
	check "access-$mode" 1 "$umbra" access --mode "$mode" --stride 4001 --keep "$dir/access"
	has "access-$mode" out "model: value 0x12 not allowed"
	has "access-$mode" out "replay: umbra run --on host $dir/access/access-$mode-"
	check "access-write-$mode" 0 "$umbra" access --mode "$mode" --stride 4001 --offset 7 --limit 500 -o "$dir/access.trace"
	check "access-config-$mode" 0 "$umbra" config "$dir/access.trace"
	has "access-config-$mode" out "metal=yes race=no fail=no flush=auto"
	check "access-limit-$mode" 0 lines 501 "$dir/access.trace"
done
set -- "$dir"/access/access-64-*.bin
check access-replay 1 "$umbra" run --on host --quiet "$1"
check access-share-empty 0 "$umbra" access --mode 32 --stride 20011 --share 64/64 --keep "$dir/access"
has access-share-empty out "0 of 770048 states"
check access-no-mode 2 "$umbra" access
check access-mode 2 "$umbra" access --mode 16
check access-share 2 "$umbra" access --mode 64 --share 3/2
check access-opts 2 "$umbra" access --mode 64 --opts sometimes
check access-extra 2 "$umbra" access --mode 64 now

# ---- compare
"$umbra" run --on host "$dir/a.trace" >"$dir/host.log"
cp "$dir/host.log" "$dir/model.log"
check equal 0 "$umbra" compare "$dir/host.log" "$dir/model.log"
has equal out "equal: 300 ops"
{ echo "boot noise"; sed 's/$/\r/' "$dir/host.log"; } >"$dir/serial.log"
check noise 0 "$umbra" compare "$dir/host.log" "$dir/serial.log"
sed 's/^3 \(.*\) ok/3 \1 #UD/' "$dir/host.log" >"$dir/other.log"
check differs 1 "$umbra" compare --trace "$dir/a.trace" "$dir/host.log" "$dir/other.log"
has differs out "op 3 differs: "
has differs out "the digest does not fit the lines"
head -n 20 "$dir/host.log" >"$dir/short.log"
check short 1 "$umbra" compare --names a,b "$dir/host.log" "$dir/short.log"
has short out "b: no digest line"
has short out "(no line)"
check one-log 2 "$umbra" compare "$dir/host.log"
check names 2 "$umbra" compare --names a,b,c "$dir/host.log" "$dir/short.log"
printf 'domain hvm64\nflush\npool 40\nreload\n' >"$dir/control.trace"
"$umbra" run --on host "$dir/control.trace" >"$dir/host.log"
sed 's/pool ok/pool enomem/' "$dir/host.log" >"$dir/bad.log"
# The digest of `all` cannot fit the changed line; the one of `guest` does.
check control-differs 1 "$umbra" compare "$dir/host.log" "$dir/bad.log"
has control-differs out "op 2 differs"
check metal-control 1 "$umbra" compare --names host,metal "$dir/host.log" "$dir/bad.log"
has metal-control out "metal: the digest does not fit the lines"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
