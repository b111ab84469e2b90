# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzzing processes of a campaign: start, restart, share what they find, stop.
# shellcheck disable=SC2154 # out target kind focus fuzz limit start jobs first stop: set by target.sh, which sources this

restarts=0
input_max=1536 # bytes: some 200 ops

# Worker 0 is AFL++'s main instance, 1 is libFuzzer with sanitizers; then secondaries and libFuzzer
# workers in turn.
worker_name() {
	case $1 in
	0) echo afl-main ;;
	1) echo libfuzzer-asan-1 ;;
	*) case $(($1 % 4)) in
		0) echo "afl-asan-$1" ;;
		2) echo "afl-$1" ;;
		1) echo "libfuzzer-asan-$1" ;;
		*) echo "libfuzzer-$1" ;;
		esac ;;
	esac
}

# Is the process there and not a zombie? The third field of stat is the state.
alive() {
	read -r stat_line 2>/dev/null <"/proc/$1/stat" || return 1
	case ${stat_line##*) } in Z* | X*) return 1 ;; esac
}

start_afl() { # name, program, arguments of afl-fuzz...
	name=$1 program=$2 only=AFL_NO_UI=1 # the main instance also mutates bytes
	shift 2
	[ "$name" = afl-main ] || only=AFL_CUSTOM_MUTATOR_ONLY=1
	[ "$limit" -eq 0 ] || set -- -V "$remaining" "$@"
	AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1 \
		AFL_AUTORESUME=1 AFL_FORKSRV_INIT_TMOUT=20000 \
		AFL_CUSTOM_MUTATOR_LIBRARY="$(realpath "$fuzz/libmutate-afl.so")" \
		UMBRA_STATS="$out/stats/$name" UMBRA_KIND="$kind" UMBRA_FOCUS="$focus" \
		env "$only" afl-fuzz -i "$out/seeds" -o "$out/afl" -t 1000 -m none -G $input_max "$@" -- "$program" \
		>>"$out/log/$name" 2>&1 </dev/null &
}

start_libfuzzer() { # name, program
	UMBRA_STATS="$out/stats/$1" ASAN_OPTIONS=detect_leaks=0 \
		"$2" -max_len=$input_max -len_control=10 -timeout=10 -rss_limit_mb=2048 -reload=5 \
		-max_total_time="$remaining" -print_final_stats=1 -artifact_prefix="$out/crashes/" \
		"$out/corpus" >>"$out/log/$1" 2>&1 </dev/null &
}

start_worker() { # number
	name=$(worker_name "$1")
	remaining=0
	[ "$limit" -eq 0 ] || remaining=$((limit - $(now) + start + 5))
	case $name in
	afl-main) start_afl "$name" "$fuzz/$target-afl" -M "$name" -F "$out/corpus" ;;
	afl-asan-*) start_afl "$name" "$fuzz/$target-afl-asan" -S "$name" -p explore ;;
	afl-*) start_afl "$name" "$fuzz/$target-afl" -S "$name" -p rare ;;
	libfuzzer-asan-*) start_libfuzzer "$name" "$fuzz/$target-libfuzzer-asan" ;;
	*) start_libfuzzer "$name" "$fuzz/$target-libfuzzer" ;;
	esac
	echo $! >"$out/run/$1"
}

# A worker that died, whatever killed it, starts again. libFuzzer ends at each crash by design: the
# input that did it must leave the corpus, or the next start would end there at once.
restart_workers() {
	n=$first
	while [ "$n" -lt $((first + jobs)) ]; do
		read -r pid <"$out/run/$n" || pid=0
		if ! alive "$pid" && [ -z "$stop" ]; then
			wait "$pid" 2>/dev/null || true
			restarts=$((restarts + 1))
			case $(worker_name "$n") in libfuzzer*) drop_crashers ;; esac
			start_worker "$n"
		fi
		n=$((n + 1))
	done
}

# libFuzzer names an artifact after the SHA-1 of its bytes.
drop_crashers() {
	find "$out/crashes" -type f -newer "$out/run/dropped" -name '*-*' 2>/dev/null >"$out/run/new" ||
		find "$out/crashes" -type f >"$out/run/new"
	: >"$out/run/dropped"
	[ -s "$out/run/new" ] || return 0
	find "$out/corpus" -type f -exec sha1sum {} + | while read -r sum file; do
		! grep -q -e "-$sum\$" "$out/run/new" || rm -f "$file"
	done
}

# What AFL++ found goes to libFuzzer's corpus; the other way is AFL++'s own: -F.
share_corpus() {
	[ -d "$out/afl" ] || return 0
	newer=
	[ ! -e "$out/run/shared" ] || newer="-newer $out/run/shared.old"
	# Overlap by one round, so that nothing that came in between is missed.
	[ ! -e "$out/run/shared" ] || cp -p "$out/run/shared" "$out/run/shared.old"
	[ -e "$out/run/shared.old" ] || newer=
	: >"$out/run/shared"
	# shellcheck disable=SC2086
	find "$out/afl" -path '*/queue/id:*' -type f ! -name '*,sync:*' ! -name '*,orig:*' $newer 2>/dev/null |
		while read -r file; do
			worker=${file%/queue/*} id=${file##*/}
			copy=$out/corpus/${worker##*/}-${id%%,*}
			[ -e "$copy" ] || cp "$file" "$copy" 2>/dev/null || true
		done
}

# Only our own processes: TERM, five seconds, KILL.
stop_workers() {
	for file in "$out/run/"[0-9]*; do
		read -r pid <"$file" || continue
		kill "$pid" 2>/dev/null || true
	done
	for file in "$out/run/"[0-9]*; do
		read -r pid <"$file" || continue
		tries=0
		while alive "$pid" && [ "$tries" -lt 50 ]; do
			sleep 0.1
			tries=$((tries + 1))
		done
		! alive "$pid" || kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	share_corpus
}
