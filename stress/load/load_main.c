// SPDX-License-Identifier: GPL-2.0-or-later
// A write-heavy guest, for live migration and for the price of log-dirty.
//
// Command line (numbers are decimal):
//   ram=MIB        RAM to use, 64; the machine has at least that much
//   rounds=N       64             seed=N     1
//   set=PAGES      pages written at random; all behind the first 4 MiB if it is not given
//   pages=N        page writes in a round, 256      stride=BYTES  from one written word to the next, 64
//   churn=N        changes of the window in a round, 64
//   every=N        rounds from one line of the log to the next, 8
//   logdirty=off|on|cycle|compare   clean=N
//                  on: no cleaning; cycle: cleaned every N rounds (4); compare: rounds without and like cycle take turns
//   migrate=EVERY  a migration every EVERY rounds, 5 or more: start, three rounds of copying, finish
//
// The log depends on ram, rounds, set, seed, pages, stride, churn and every, and on nothing else: it is the same with
// and without migrations or log-dirty, below Umbra and on bare hardware. Lines that start with "time" are no part of it.
//
// The journey of a run: start.S -> kernel_start -> map_start, set_start -> for each round: writes (load_set.c),
// window (load_window.c), reads that verify, requests (load_ask.c) -> digest of all RAM.
#include "load.h"

enum { PHASE_WRITE, PHASE_CHURN, PHASE_VERIFY, PHASE_COUNT };

struct load_config config;
u32 load_round;

// By ask_is_tracking().
static struct {
	u64 rounds, cycles[PHASE_COUNT];
} times[2];

_Noreturn void load_mismatch(const char *what, u64 page, u64 value)
{
	say("load: MISMATCH %s: 0x%llx 0x%llx in round %u", what, (unsigned long long)page, (unsigned long long)value,
	    load_round);
	guest_exit(EXIT_FAIL);
}

static u32 number(const char *key, u32 standard, u32 min, u32 max)
{
	u64 value = option_number(key, standard);

	if (value >= min && value <= max)
		return (u32)value;
	say("load: %s%llu: %u to %u", key, (unsigned long long)value, min, max);
	guest_exit(EXIT_FAIL);
}

static void read_config(void)
{
	config.seed = option_number("seed=", 1);
	config.ram_mib = number("ram=", 64, RAM_MIB_MIN, RAM_MIB_MAX);
	if ((u64)config.ram_mib << 20 > kernel_ram_bytes())
		guest_panic("the machine has less RAM than ram= says");
	config.rounds = number("rounds=", 64, 1, UINT32_MAX);
	config.set = number("set=", area_pages(), 1, area_pages());
	config.pages = number("pages=", 256, 0, UINT32_MAX);
	config.stride = number("stride=", 64, sizeof(u64), FRAME_BYTES) & ~7u;
	config.churn = number("churn=", 64, 0, UINT32_MAX);
	config.every = number("every=", 8, 1, UINT32_MAX);
	config.clean = number("clean=", 4, 1, UINT32_MAX);
	config.migrate = option_number("migrate=", 0) ? number("migrate=", 0, 5, UINT32_MAX) : 0;
	config.dirty = option_is("logdirty=", "on")        ? DIRTY_ON
		       : option_is("logdirty=", "cycle")   ? DIRTY_CYCLE
		       : option_is("logdirty=", "compare") ? DIRTY_COMPARE
							   : DIRTY_OFF;
}

// The last page written is checked for its D bit: all of them would hide the price of the writes.
static u64 write_pages(u64 *row)
{
	u32 page = 0;

	for (u32 n = 0; n < config.pages; n++) {
		page = pick(row, config.set);
		set_write(page, area_at(page));
	}
	if (config.pages && ~*map_entry(page) & (PTE_A | PTE_D))
		load_mismatch("a page was written without A and D: page, entry", page, *map_entry(page));
	return page;
}

static u64 verify_pages(u64 *row)
{
	u64 sum = 0;

	for (u32 n = 0; n < config.pages / 4 + 1; n++) {
		u32 page = pick(row, config.set);

		sum = fold(sum, set_verify(page, area_at(page)));
	}
	return sum;
}

static u64 run_round(u64 sum)
{
	u64 row = mix(config.seed ^ mix(load_round)), at[PHASE_COUNT + 1];
	bool tracking;

	ask_before_round();
	tracking = ask_is_tracking();
	at[PHASE_WRITE] = tsc();
	sum = fold(sum, write_pages(&row));
	at[PHASE_CHURN] = tsc();
	sum = fold(sum, window_churn(&row));
	at[PHASE_VERIFY] = tsc();
	sum = fold(sum, verify_pages(&row));
	at[PHASE_COUNT] = tsc();
	ask_after_round();

	times[tracking].rounds++;
	for (u32 n = 0; n < PHASE_COUNT; n++)
		times[tracking].cycles[n] += at[n + 1] - at[n];
	return sum;
}

static void report_times(void)
{
	static const char *const names[] = { "plain", "tracked" };
	u64 mean[2] = { 0 };

	for (u32 n = 0; n < 2; n++) {
		u64 rounds = times[n].rounds;

		if (!rounds)
			continue;
		for (u32 k = 0; k < PHASE_COUNT; k++)
			mean[n] += times[n].cycles[k] / rounds;
		say("time %s: %llu rounds, cycles in each: %llu = write %llu + churn %llu + verify %llu", names[n],
		    (unsigned long long)rounds, (unsigned long long)mean[n],
		    (unsigned long long)(times[n].cycles[PHASE_WRITE] / rounds),
		    (unsigned long long)(times[n].cycles[PHASE_CHURN] / rounds),
		    (unsigned long long)(times[n].cycles[PHASE_VERIFY] / rounds));
	}
	if (mean[0] && mean[1])
		say("time tracked/plain: %llu.%02llu", (unsigned long long)(mean[1] / mean[0]),
		    (unsigned long long)(mean[1] * 100 / mean[0] % 100));
}

_Noreturn void kernel_main(u32 magic, u32 information)
{
	u64 sum = 0;

	kernel_start(magic, information);
	read_config();
	say("load: ram %u MiB, %u rounds, set %u, pages %u, stride %u, churn %u", config.ram_mib, config.rounds,
	    config.set, config.pages, config.stride, config.churn);
	map_start();
	set_start();
	for (load_round = 0; load_round < config.rounds; load_round++) {
		sum = run_round(sum);
		if ((load_round + 1) % config.every == 0)
			say("round %u checksum 0x%016llx", load_round + 1, (unsigned long long)sum);
	}
	ask_finish();
	report_times();
	say("load: digest 0x%016llx", (unsigned long long)fold(sum, set_digest()));
	guest_exit(ask_failures() ? EXIT_FAIL : EXIT_PASS);
}
