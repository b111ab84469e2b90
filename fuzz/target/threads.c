// SPDX-License-Identifier: GPL-2.0-or-later
// The core under real threads, for ThreadSanitizer: one thread for each vcpu of one or two domains, all executing random
// operations as the generator makes them; memory accesses of a guest race as they please, the hypervisor must not.
//
//  1. one processor: its operations
//  2. one machine: domains, processors, rounds; every checker again while all are parked
//  3. the command line
//
// Built as build/fuzz/threads-tsan by `make SAN=tsan GEOM=small threads`. A finding, or a report of the sanitizer, ends the
// process with a nonzero status. There is no model: what guests see is not judged here. Runs are not repeatable; the seed
// chooses machines and operations, not who is faster.
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../hv/domain/migrate.h"
#include "../exec/host_run.h"
#include "../trace/gen.h"

#ifndef HOST_THREADS
#error "build it with SAN=tsan or THREADS=1"
#endif

#define DOMAINS 2
#define PROCESSORS (DOMAINS * DOMAIN_VCPUS_MAX)
#define FRAMES (2 * HOST_FRAMES)
#define ROUNDS 8       // of a machine
#define OPS_A_ROUND 96 // of a processor
#define CHECK_EVERY 8  // operations of a processor
#define MOVED_WITHIN 60 // seconds after which some guest must have been moved

// The first report ends the process.
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
	return "halt_on_error=1";
}

static const struct exec_options options = { .quiet = true };

// ---- 1. one processor -------------------------------------------------------------------------------------

struct processor {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct host_run run; // of its own: it says which vcpu this is
	struct trace_gen gen;
	u64 done;
	bool over; // the machine: end
	const char *left; // locks or maps behind an operation
};
static struct processor processors[PROCESSORS];

// Not for threads: what goes to another vcpu, writes control registers of all, or is in a state between two operations
// that others must not see. A wild CR3 would end the domain at once. The end of a migration is for a moment at which all are
// parked. Domains are made and destroyed by one processor alone.
static bool may_run(const struct processor *p, struct trace_op *op)
{
	op->race_nth = 0;
	if (op->code == OP_CR3)
		op->target %= TRACE_FRAMES;
	if (op->code == OP_MIGRATE)
		return p == processors && trace_step(op) != TRACE_STEP_FINISH;
	if (op->code == OP_DONOR && op->what == DEED_END)
		return p == processors;
	if (op->code == OP_CONTROL && op->what == ASK_BLOW_ALL)
		return p == processors;
	return op->code != OP_VCPU && op->code != OP_CTL && op->code != OP_VISIT;
}

// Every checker, while all others run: they only hold still who changes the same domain.
static void check_among_others(const struct processor *p)
{
	const char *bad = hv_check(p->run.d, true);

	if (bad)
		host_finding(bad, "while other processors run");
}

static void one_op(struct processor *p)
{
	struct host_run *r = &p->run;
	struct trace_op op;
	struct obs o;

	if (p->done % CHECK_EVERY == 0)
		op = (struct trace_op){ .code = OP_CHECK };
	else
		do
			trace_gen_next(&p->gen, &op);
		while (!may_run(p, &op));
	host_arm_failure(op.fail_nth);
	if (op.code == OP_CHECK)
		check_among_others(p);
	else
		host_op(r, r->current, &op, &o);
	host_arm_failure(0);
	host_op_flush(r, r->current, &op);
	p->done++;
	if (host_locks_held() || host_maps_outstanding())
		p->left = host_locks_held() ? "a lock is held after an operation" : "a map is left after an operation";
}

static void *processor_main(void *context)
{
	struct processor *p = context;

	for (;;) {
		pthread_barrier_wait(p->barrier); // go
		if (p->over)
			return NULL;
		host_set_cpu(host_cpu_of(&p->run.d->vcpu[p->run.current])); // the guest may have moved
		for (u32 i = 0; i < OPS_A_ROUND && !host_is_dead(p->run.d) && !p->left && !host_finding_rule(); i++)
			one_op(p);
		pthread_barrier_wait(p->barrier); // all are parked
	}
}

// ---- 2. one machine ---------------------------------------------------------------------------------------

struct machine {
	u64 seed;
	u32 domains, vcpus, processors;
	struct host_run run[DOMAINS];
	struct trace_rng rng;
	pthread_barrier_t barrier;
	u64 moved; // guests
};

static _Noreturn void fail(const struct machine *m, const char *rule, const char *detail)
{
	const char *colon = strstr(rule, ": ");

	fprintf(stderr, "finding: machine %llu: %s%s%s\nsignature: rule %.*s\n", (unsigned long long)m->seed, rule,
		detail[0] ? ": " : "", detail, colon ? (int)(colon - rule) : (int)strlen(rule), rule);
	abort();
}

static struct trace_config random_config(struct machine *m)
{
	struct trace_config c = { .kind = (enum trace_kind)trace_rng_below(&m->rng, TRACE_KINDS_RUN),
				  .vcpus = m->vcpus ? m->vcpus : 2 + trace_rng_below(&m->rng, DOMAIN_VCPUS_MAX - 1),
				  .pool_pages = TRACE_POOL_MIN + trace_rng_below(&m->rng, 80),
				  .opts = trace_rng_below(&m->rng, TRACE_OPTS_ALL + 1),
				  .flush_auto = trace_rng_below(&m->rng, 2) };

	return c;
}

static void add_processors(struct machine *m, const struct host_run *r)
{
	for (u32 i = 0; i < r->config.vcpus; i++) {
		struct processor *p = &processors[m->processors++];

		*p = (struct processor){ .barrier = &m->barrier, .run = *r, .done = p->done };
		p->run.current = i;
		trace_gen_start(&p->gen, trace_rng_next(&m->rng), &r->config, false);
		p->gen.focus = (enum trace_focus)trace_rng_below(&m->rng, FOCUS_COUNT);
	}
}

static void build(struct machine *m)
{
	u32 domains = m->domains ? m->domains : 1 + trace_rng_below(&m->rng, DOMAINS);
	const char *step;

	host_run_power_on(m->seed, FRAMES, &options);
	host_parallel = true;
	m->processors = 0;
	for (u32 i = 0; i < DOMAINS; i++) {
		struct host_run *r = &m->run[i];

		*r = (struct host_run){ .options = &options };
		if (i >= domains)
			continue;
		r->config = random_config(m);
		if (!host_guest_build(r, &step))
			fail(m, "the guest cannot be built", step);
		r->alive = true;
		add_processors(m, r);
	}
	pthread_barrier_init(&m->barrier, NULL, m->processors + 1);
	for (u32 i = 0; i < m->processors; i++)
		if (pthread_create(&processors[i].thread, NULL, processor_main, &processors[i]))
			fail(m, "no thread", "");
}

static void check_domain(const struct machine *m, const struct host_run *r)
{
	const char *bad = hv_check(r->d, true);

	for (u32 i = 0; i < r->d->vcpu_count && !bad && !r->d->dead; i++)
		bad = tlb_check(host_cpu_of(&r->d->vcpu[i]), host_never_writable);
	if (bad)
		fail(m, bad, r->d->dead ? r->d->death : "");
}

// All processors are parked.
static void check(const struct machine *m)
{
	for (u32 i = 0; i < m->processors; i++)
		if (processors[i].left)
			fail(m, "E1.53 lock", processors[i].left);
	if (host_finding_rule())
		fail(m, host_finding_rule(), host_finding_detail());
	for (u32 i = 0; i < DOMAINS; i++)
		if (m->run[i].alive)
			check_domain(m, &m->run[i]);
}

// Begin a migration of each guest, so that one is likely to be under way when guests are to move. Processor 0 does rounds.
static void start_migrations(const struct machine *m)
{
	for (u32 i = 0; i < DOMAINS; i++) {
		struct domain *d = m->run[i].d;
		enum hv_status status = m->run[i].alive && !d->dead ? migrate_start(d) : HV_OK;

		if (status != HV_OK && status != HV_EBUSY && status != HV_ENOMEM)
			fail(m, "E1.50 migration", "the first step was refused without a reason");
	}
}

// The last step of a migration, while nobody runs: HV_ENOENT where there is none, HV_ENOMEM if it could not be done now.
static bool finish(const struct machine *m, struct domain *from, struct domain **to)
{
	enum hv_status status = migrate_finish(from, to, NULL);

	if (status == HV_ECHECK)
		fail(m, "E1.48 migration", "the copy is not equal");
	if (status != HV_OK && status != HV_ENOENT && status != HV_ENOMEM)
		fail(m, "E1.50 migration", "the last step was refused although no processor runs");
	return status == HV_OK;
}

// Guests whose migration is under way go on in their copies, which all processors have to know.
static void move_guests(struct machine *m)
{
	for (u32 i = 0; i < DOMAINS; i++) {
		struct domain *from = m->run[i].d, *to;
		const char *bad;

		if (!m->run[i].alive || from->dead || !finish(m, from, &to))
			continue;
		host_run_moved(&m->run[i], to);
		for (u32 k = 0; k < m->processors; k++)
			if (processors[k].run.d == from)
				processors[k].run.d = to;
		bad = domain_destroy(from);
		if (bad)
			fail(m, bad, "");
		m->moved++;
	}
}

static void destroy(struct machine *m)
{
	for (u32 i = 0; i < m->processors; i++)
		processors[i].over = true;
	pthread_barrier_wait(&m->barrier);
	for (u32 i = 0; i < m->processors; i++)
		pthread_join(processors[i].thread, NULL);
	pthread_barrier_destroy(&m->barrier);
	for (u32 i = 0; i < DOMAINS; i++) {
		struct host_run *r = &m->run[i];

		if (r->alive)
			host_run_close(r);
		if (r->finding[0])
			fail(m, r->finding, "");
	}
	host_run_power_off(&m->run[0]);
	if (m->run[0].finding[0])
		fail(m, m->run[0].finding, "");
}

static bool anyone_lives(const struct machine *m)
{
	for (u32 i = 0; i < DOMAINS; i++)
		if (m->run[i].alive && !m->run[i].d->dead)
			return true;
	return false;
}

static void run_machine(struct machine *m)
{
	m->rng.state = m->seed;
	build(m);
	for (u32 round = 0; round < ROUNDS && anyone_lives(m); round++) {
		pthread_barrier_wait(&m->barrier); // go
		pthread_barrier_wait(&m->barrier); // all are parked
		check(m);
		if (round % 2)
			move_guests(m);
		else if (trace_rng_chance(&m->rng, 50))
			start_migrations(m);
	}
	destroy(m);
}

// ---- 3. the command line ----------------------------------------------------------------------------------

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static u64 ops_done(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < PROCESSORS; i++)
		sum += processors[i].done;
	return sum;
}

static int usage(bool asked)
{
	fputs("usage: threads-tsan [--time SECONDS] [--seed N] [--domains 1|2] [--vcpus 1-4]\n"
	      "Every vcpu is a thread. Defaults: 10 seconds, seed 1, numbers of domains and vcpus at random. A run of 60 seconds\n"
	      "or more in which no guest moved to its copy fails.\n", asked ? stdout : stderr);
	return asked ? 0 : 2;
}

// "90", "0.5" or "90s"; 0 if it is neither.
static double parse_seconds(const char *word)
{
	char *end;
	double seconds = strtod(word, &end);

	end += *end == 's';
	return *end || end == word ? 0 : seconds;
}

static u64 parse_number(const char *word, bool *ok)
{
	char *end;
	u64 n = strtoull(word, &end, 0);

	if (*end || end == word || *word == '-')
		*ok = false;
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options_known[] = {
		{ "time", required_argument, NULL, 't' },    { "seed", required_argument, NULL, 's' },
		{ "domains", required_argument, NULL, 'd' }, { "vcpus", required_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },          { 0 },
	};
	static struct machine m;
	double start = now(), seconds = 10;
	u64 machines = 0, domains = 0, vcpus = 0;
	bool ok = true;
	int option;

	m.seed = 1;
	while ((option = getopt_long(argc, argv, "h", options_known, NULL)) != -1) {
		if (option == 't')
			seconds = parse_seconds(optarg);
		else if (option == 's')
			m.seed = parse_number(optarg, &ok);
		else if (option == 'd')
			domains = parse_number(optarg, &ok);
		else if (option == 'v')
			vcpus = parse_number(optarg, &ok);
		else
			return usage(option == 'h');
	}
	if (!ok || optind != argc || !(seconds > 0) || domains > DOMAINS || vcpus > DOMAIN_VCPUS_MAX)
		return usage(false);
	m.domains = (u32)domains;
	m.vcpus = (u32)vcpus;
	for (; now() - start < seconds; machines++, m.seed++)
		run_machine(&m);
	seconds = now() - start;
	if (seconds >= MOVED_WITHIN && !m.moved) {
		fputs("finding: no guest was moved\nsignature: rule no guest was moved\n", stderr);
		return 1;
	}
	printf("%llu machines, %llu operations, %llu guests moved in %.1f s, %.0f operations/s: clean\n",
	       (unsigned long long)machines, (unsigned long long)ops_done(), (unsigned long long)m.moved, seconds,
	       (double)ops_done() / seconds);
	return 0;
}
