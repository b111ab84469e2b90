// SPDX-License-Identifier: GPL-2.0-or-later
// Flushes on all workers without interrupts. There is a count of requests; each worker publishes the last request that it
// has answered by loading CR3, and looks for new ones between its operations and wherever it waits. Who is not in the
// window counts as having answered all.
#include "hammer.h"

static u64 requests;
static struct {
	u64 request;
} __attribute__((aligned(64))) answered[WORKERS] = {
	[0 ... WORKERS - 1] = { UINT64_MAX },
};

static void load_root(struct worker *w)
{
	cpu_set_cr3(map_root(pick(&w->row, 2)));
}

static void answer(struct worker *w, u64 request)
{
	u64 row = w->row;

	load_root(w);
	w->row = row; // how often others ask must not show in the random numbers
	__atomic_store_n(&answered[w->id].request, request, __ATOMIC_SEQ_CST);
}

// Published before CR3 is loaded: who asks from now on waits, and who asked before is answered by the load.
void flush_join(struct worker *w)
{
	__atomic_store_n(&answered[w->id].request, __atomic_load_n(&requests, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	load_root(w);
}

void flush_leave(struct worker *w)
{
	__atomic_store_n(&answered[w->id].request, UINT64_MAX, __ATOMIC_SEQ_CST);
}

void flush_poll(struct worker *w)
{
	u64 request = __atomic_load_n(&requests, __ATOMIC_SEQ_CST);

	if (request != answered[w->id].request)
		answer(w, request);
}

void flush_own(struct worker *w)
{
	load_root(w);
}

void flush_all(struct worker *w)
{
	u64 request = __atomic_add_fetch(&requests, 1, __ATOMIC_SEQ_CST);
	u32 spins = 0;

	answer(w, request);
	for (u32 n = 0; n < WORKERS; n++)
		while (__atomic_load_n(&answered[n].request, __ATOMIC_SEQ_CST) < request)
			wait_step(w, &spins);
}

void wait_step(struct worker *w, u32 *spins)
{
	flush_poll(w);
	relax(spins);
}

void lock_take(struct worker *w, u32 *lock)
{
	u32 spins = 0;

	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		wait_step(w, &spins);
}

void lock_give(u32 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}
