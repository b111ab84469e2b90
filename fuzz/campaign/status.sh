# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What a target of a campaign tells: DIR/run/line, its figures, written anew each second; findings on standard output as
# they come; DIR/run/summary at the end.
# shellcheck disable=SC2154 # out start restarts ending: set by target.sh, which sources this

status_start() {
	rates_at=0 rates_execs=$(count_execs) rate=0
	first_execs=$rates_execs
	corpus=0 last_find=$start
	findings_before=$(count_findings)
}

count_files() { find "$1" -type f -name "$2" 2>/dev/null | wc -l; }
count_findings() { count_files "$out/findings" "*.$ending"; }

# Every worker counts its runs in a file of one 64-bit number.
count_execs() {
	sum=0
	for file in "$out/stats/"*; do
		[ -s "$file" ] || continue
		n=$(od -An -t u8 -N 8 "$file" | tr -d ' ')
		sum=$((sum + ${n:-0}))
	done
	echo "$sum"
}

# The widest view that any worker has. libFuzzer writes it to its log, AFL++ to plot_data.
count_edges() {
	edges=0
	for file in "$out/log/"libfuzzer*; do
		[ -e "$file" ] || continue
		n=$(tail -c 8000 "$file" | sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' | sed -n '$p')
		[ "${n:-0}" -le "$edges" ] || edges=$n
	done
	for file in "$out/afl/"*/plot_data; do
		[ -e "$file" ] || continue
		n=$(tail -n 1 "$file" | sed 's/.*, *//; s/[^0-9].*//')
		[ "${n:-0}" -le "$edges" ] || edges=$n
	done
	echo "$edges"
}

clock() { printf '%02d:%02d:%02d' $(($1 / 3600)) $(($1 / 60 % 60)) $(($1 % 60)); }

status_line() {
	at=$(($(now) - start))
	execs=$(count_execs)
	if [ $((at - rates_at)) -ge 5 ]; then
		rate=$(((execs - rates_execs) / (at - rates_at)))
		rates_at=$at rates_execs=$execs
	fi
	was=$corpus
	corpus=$(count_files "$out/corpus" "*")
	[ "$corpus" -le "$was" ] || last_find=$(now)
	crashes=$(($(count_files "$out/crashes" '*') + $(find "$out/afl" -path '*/crashes/id:*' 2>/dev/null | wc -l)))
	line="$(clock "$at") execs $((execs - first_execs)), $rate/s, corpus $corpus, edges $(count_edges)"
	line="$line, crashes $crashes ($(count_findings) distinct)"
	line="$line, last find $(($(now) - last_find))s ago, restarts $restarts"
}

status_show() {
	status_line
	say "$line" >"$out/run/line.new" && mv "$out/run/line.new" "$out/run/line"
	tell_findings
}

# findings.sh appends a line for each new reproducer; we show those not shown yet.
told=0
tell_findings() {
	[ -e "$out/run/news" ] || return 0
	lines=$(wc -l <"$out/run/news")
	[ "$lines" -gt "$told" ] || return 0
	sed -n "$((told + 1)),${lines}p" "$out/run/news"
	told=$lines
}

# Ends the campaign: exit status 1 when this run found something.
status_summary() {
	status_line
	tell_findings
	at=$(($(now) - start))
	[ "$at" -gt 0 ] || at=1
	new=$(($(count_findings) - findings_before))
	{
		say "$line, mean $(((execs - first_execs) / at)) execs/s"
		if [ -s "$out/not-reproduced" ]; then say "  crashes that did not fail again: $out/not-reproduced"; fi
		if [ "$new" -gt 0 ]; then say "  $new new findings in $out/findings"; else say "  nothing found"; fi
	} >"$out/run/summary"
	[ "$new" -eq 0 ] || exit 1
}
