// SPDX-License-Identifier: GPL-2.0-or-later
// Vcpus that share page tables and change them all the time, for a hypervisor with several processors.
//
// Command line (numbers are decimal): vcpus=N rounds=N seed=N; 1, 100 and 1 if they are not given.
//
// All that is checked holds without a hypervisor (hammer.h): a "hammer: MISMATCH" is a mistake of the hypervisor. The
// digest and the counts depend on the command line alone, not on who was faster.
// On bare hardware the vcpus are processors (hammer_wake.c): so the kernel itself is held to its rules.
//
// The journey of a run: start.S -> vcpu 0 makes the tables and starts the others (hammer_start.S) -> each worker's
// rounds: hammer_own.c, hammer_shared.c, with hammer_flush.c between them -> vcpu 0 waits and looks at all data.
#include "hammer.h"

#define CALL_START ((enum hypercall_number)19) // hv/domain/hypercall.h

void worker_entry(void);                // hammer_start.S
_Noreturn void worker_main(u32 id);     // called by it

static const struct {
	const char *name;
	void (*run)(struct worker *w);
	u32 repeat, every; // so many times in each round whose number is a multiple
} ops[OP_WORK_COUNT] = {
	[OP_WORK_SLICE] = { "slice", own_slice, 8, 1 },
	[OP_WORK_TREE] = { "tree", own_tree, 1, 4 },
	[OP_WORK_SPLIT] = { "split", own_split, 1, 4 },
	[OP_WORK_SLOT] = { "slot", shared_slot, 4, 1 },
	[OP_WORK_SLOT_READ] = { "slot_read", shared_slot_read, 16, 1 },
	[OP_WORK_GROVE] = { "grove", shared_grove, 1, 4 },
	[OP_WORK_GROVE_READ] = { "grove_read", shared_grove_read, 16, 1 },
	[OP_WORK_RELOAD] = { "reload", flush_own, 1, 2 },
};

static struct worker workers[WORKERS];
static u32 count, rounds, ready, done;
static u64 seed;

_Noreturn void hammer_mismatch(const struct worker *w, const char *what, u64 a, u64 b)
{
	say("hammer: MISMATCH vcpu %u round %u %s: %s: 0x%llx 0x%llx", w->id, w->round, ops[w->op].name, what,
	    (unsigned long long)a, (unsigned long long)b);
	guest_exit(EXIT_FAIL);
}

static void run_op(struct worker *w, enum op op, u32 n)
{
	w->op = op;
	w->row = mix(seed ^ mix((u64)w->id << 56 | (u64)w->round << 16 | op << 8 | n));
	ops[op].run(w);
	w->counts[op]++;
	flush_poll(w);
}

static void run_rounds(struct worker *w)
{
	for (w->round = 0; w->round < rounds; w->round++)
		for (u32 op = 0; op < OP_WORK_COUNT; op++)
			for (u32 n = 0; w->round % ops[op].every == 0 && n < ops[op].repeat; n++)
				run_op(w, op, n);
}

// Everybody begins when all are there.
static void work(struct worker *w)
{
	u32 spins = 0;

	flush_join(w);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < count)
		wait_step(w, &spins);
	run_rounds(w);
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

_Noreturn void worker_main(u32 id)
{
	struct worker *w = &workers[id];
	u32 spins = 0;

	kernel_load_idt();
	work(w);
	flush_leave(w);
	for (;;)
		relax(&spins);
}

static void read_config(void)
{
	count = (u32)option_number("vcpus=", 1);
	rounds = (u32)option_number("rounds=", 100);
	seed = option_number("seed=", 1);
	if (count < 1 || count > WORKERS)
		guest_panic("vcpus= is 1 to 4");
	if (kernel_ram_bytes() < TABLES_END)
		guest_panic("less than 8 MiB of RAM");
	say("hammer: vcpus %u, rounds %u, seed %llu", count, rounds, (unsigned long long)seed);
}

static void start_vcpu(u32 id)
{
	enum hv_status status = world_hypercall(CALL_START, id, (u64)worker_entry);

	if (status == HV_OK)
		return;
	say("hammer: vcpu %u does not start: %s", id, hv_status_name(status));
	guest_exit(EXIT_FAIL);
}

static void start_workers(void)
{
	for (u32 id = 0; id < WORKERS; id++) {
		workers[id].id = id;
		own_start(&workers[id]);
	}
	for (u32 id = 1; id < count; id++)
		if (world_has_umbra)
			start_vcpu(id);
		else if (!wake(id, &ready))
			guest_panic("a processor does not start");
}

static void report(u64 cycles)
{
	u64 sum = data_check(workers);

	for (u32 id = 0; id < count; id++)
		sum = fold(sum, workers[id].sum);
	for (u32 op = 0; op < OP_WORK_COUNT; op++) {
		u32 total = 0;

		for (u32 id = 0; id < count; id++)
			total += workers[id].counts[op];
		say("hammer: %s %u", ops[op].name, total);
	}
	say("time hammer: %llu cycles", (unsigned long long)cycles);
	say("hammer: digest 0x%016llx", (unsigned long long)sum);
}

_Noreturn void kernel_main(u32 magic, u32 information)
{
	u64 start;
	u32 spins = 0;

	kernel_start(magic, information);
	read_config();
	map_start();
	data_start();
	shared_start(&workers[0]);
	start_workers();
	start = tsc();
	work(&workers[0]);
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < count)
		wait_step(&workers[0], &spins);
	report(tsc() - start);
	guest_exit(EXIT_PASS);
}
