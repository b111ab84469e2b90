// SPDX-License-Identifier: GPL-2.0-or-later
// What one entry into the core costs, in table entries looked at and in nanoseconds, with 10^2, 10^3 and
// 10^4 live shadows. Normal geometry, no checkers, a port of its own: plain memory, no TLB, no faults
// injected.
//
// Parts: the guest (its tables and memory); entries: faults, writes, CR3 loads; one size; main.
//
// The guest has N level-1 tables, each behind a 2 MiB region, all shadowed before the clock starts.
// Each figure touches WORKING of them, spread evenly over the N, so that it shows the cost of having
// many shadows, not of a working set that outgrows the caches; "spread" figures touch all N.
#include "../../hv/domain/domain.h"
#include "../../hv/mem/page.h"
#include "bench.h"
#include "bench_port.h"

#define WORKING 100u
#define ROUNDS 12u // faults in each table of the working set, each in a prefetch span of its own
#define STRIDE 32u // one span
_Static_assert(STRIDE == SHADOW_PREFETCH_SPAN && STRIDE * (ROUNDS + 2) <= 512, "spans must be fresh");

// ---- the guest --------------------------------------------------------------------------------------
// gfn 1 and 2: two roots. 3: L3 table. 4..: L2 tables. Then a window L1 table, data, and the L1 tables.
#define L2_COUNT 21u // the last one is for the window
#define WINDOW_GFN (4u + L2_COUNT)
#define DATA_GFN (WINDOW_GFN + 1u)
#define L1_GFN (DATA_GFN + 1u)
#define TABLE_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF_FLAGS (TABLE_FLAGS | PTE_D)

static struct domain *d;
static struct vcpu *v;
static u32 tables;

static void must(enum hv_status status, const char *what)
{
	if (status == HV_OK)
		return;
	fprintf(stderr, "core_bench: %s: %s\n", what, hv_status_name(status));
	exit(1);
}

static void put(u64 table_gfn, u32 index, u64 target_gfn, u64 flags)
{
	u64 entry = target_gfn << FRAME_SHIFT | flags;

	must(domain_write(d, gpa((table_gfn << FRAME_SHIFT) + 8 * index), &entry, 8), "guest entry");
}

static gva_t va_of(u32 table, u32 index)
{
	return gva((u64)table << 21 | (u64)index << FRAME_SHIFT);
}

// Entry k of the window maps the k-th table of the working set, for writing entries of it.
static gva_t window_va(u32 k)
{
	return gva((u64)(L2_COUNT - 1) << 30 | (u64)k << FRAME_SHIFT);
}

static u32 working_table(u32 k)
{
	return (u32)((u64)k * tables / WORKING);
}

static void build_guest(u32 n)
{
	struct domain_config config = { .vcpus = 1, .pool_pages = n + 1024, .opts = SHADOW_OPT_ALL };

	tables = n;
	hv_start();
	must(domain_create(&config, &d), "domain");
	v = &d->vcpu[0];
	for (u32 g = 1; g < L1_GFN + n; g++)
		must(domain_add_ram(d, gfn(g)), "guest memory");
	put(1, 0, 3, TABLE_FLAGS);
	put(2, 0, 3, TABLE_FLAGS);
	for (u32 i = 0; i < L2_COUNT; i++)
		put(3, i, 4 + i, TABLE_FLAGS);
	for (u32 t = 0; t < n; t++) {
		put(4 + t / 512, t % 512, L1_GFN + t, TABLE_FLAGS);
		for (u32 i = 0; i < 512; i++)
			put(L1_GFN + t, i, DATA_GFN, LEAF_FLAGS);
	}
	put(4 + L2_COUNT - 1, 0, WINDOW_GFN, TABLE_FLAGS);
	for (u32 k = 0; k < WORKING; k++)
		put(WINDOW_GFN, k, L1_GFN + working_table(k), LEAF_FLAGS);
	must(vcpu_write_cr4(v, CR4_PAE), "CR4");
	must(vcpu_write_efer(v, EFER_LME | EFER_NXE), "EFER");
	must(vcpu_write_cr3(v, UINT64_C(1) << FRAME_SHIFT), "CR3");
	must(vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP), "CR0");
}

// ---- entries into the core --------------------------------------------------------------------------
static void fault(gva_t va, u32 error, enum fault_result expected, const char *what)
{
	struct hv_insn insn = { 0 };
	gva_t cr2 = va;
	enum fault_result result = vcpu_page_fault(v, va, &error, &cr2, &insn);

	if (result == expected)
		return;
	fprintf(stderr, "core_bench: %s at 0x%llx: result %d\n", what, (unsigned long long)va.a, (int)result);
	exit(1);
}

struct cost {
	double ns, visits;
};

static u64 visits_before, ns_before;

static void clock_start(void)
{
	visits_before = d->shadow.stats.visits;
	ns_before = bench_ns();
}

static struct cost clock_stop(u32 count)
{
	u64 ns = bench_ns() - ns_before;

	return (struct cost){ (double)ns / count, (double)(d->shadow.stats.visits - visits_before) / count };
}

// Bring all tables to life: the first span of each.
static void warm(void)
{
	for (u32 t = 0; t < tables; t++)
		fault(va_of(t, 0), 0, FAULT_FIXED, "first fault");
}

static struct cost run_faults(void)
{
	clock_start();
	for (u32 r = 0; r < ROUNDS; r++)
		for (u32 k = 0; k < WORKING; k++)
			fault(va_of(working_table(k), STRIDE * (r + 1)), 0, FAULT_FIXED, "fault");
	return clock_stop(ROUNDS * WORKING);
}

static struct cost run_spread_faults(void)
{
	u32 count = tables < 2000 ? tables : 2000;

	clock_start();
	for (u32 i = 0; i < count; i++)
		fault(va_of((u32)((u64)i * 7919 % tables), STRIDE * (ROUNDS + 1)), 0, FAULT_FIXED, "spread fault");
	return clock_stop(count);
}

// The first write through each window entry makes the shadow of that entry; those after are emulated.
static struct cost run_writes(void)
{
	for (u32 k = 0; k < WORKING; k++)
		fault(window_va(k), 0, FAULT_FIXED, "window");
	clock_start();
	for (u32 r = 0; r < ROUNDS; r++)
		for (u32 k = 0; k < WORKING; k++) {
			bench_insn = (struct hv_insn){ .kind = INSN_WRITE, .va = gva(window_va(k).a + 8 * (r + 1)),
						       .bytes = 8, .cpl = 0 };
			bench_insn.data[0] = (u64)DATA_GFN << FRAME_SHIFT | LEAF_FLAGS | (r & 1 ? PTE_AVL : 0);
			fault(bench_insn.va, PF_P | PF_W, FAULT_EMULATED, "table write");
		}
	return clock_stop(ROUNDS * WORKING);
}

static struct cost run_cr3(void)
{
	must(vcpu_write_cr3(v, UINT64_C(2) << FRAME_SHIFT), "CR3");
	clock_start();
	for (u32 i = 0; i < 1000; i++)
		must(vcpu_write_cr3(v, (u64)(1 + (i & 1)) << FRAME_SHIFT), "CR3");
	return clock_stop(1000);
}

// ---- one size -----------------------------------------------------------------------------------------
static void print(const char *what, struct cost cost[BENCH_RUNS])
{
	double values[BENCH_RUNS];
	char name[64], extra[48];

	snprintf(extra, sizeof(extra), ",\"shadows\":%u", tables);
	for (u32 i = 0; i < BENCH_RUNS; i++)
		values[i] = cost[i].visits;
	snprintf(name, sizeof(name), "%s-visits-%u", what, tables);
	bench_print(name, values, "entries", extra);
	for (u32 i = 0; i < BENCH_RUNS; i++)
		values[i] = cost[i].ns;
	snprintf(name, sizeof(name), "%s-ns-%u", what, tables);
	bench_print(name, values, "ns", extra);
}

struct figures {
	struct cost faults[BENCH_RUNS], spread[BENCH_RUNS], writes[BENCH_RUNS], cr3[BENCH_RUNS];
};

static void bench_size(u32 n, struct figures *f, u32 run)
{
	bench_port_reset();
	build_guest(n);
	warm();
	if (d->shadow.shadow_count < n) {
		fprintf(stderr, "core_bench: %u shadows live, expected %u\n", d->shadow.shadow_count, n);
		exit(1);
	}
	f->faults[run] = run_faults();
	f->spread[run] = run_spread_faults();
	f->writes[run] = run_writes();
	f->cr3[run] = run_cr3();
	if (domain_destroy(d)) {
		fputs("core_bench: something was left after the domain\n", stderr);
		exit(1);
	}
}

// The sizes take turns, so that a machine that slows down slows all of them.
int main(void)
{
	static const u32 sizes[] = { 100, 1000, 10000 };
	static struct figures figures[ARRAY_LEN(sizes)];

	for (u32 run = 0; run < BENCH_RUNS; run++)
		for (u32 i = 0; i < ARRAY_LEN(sizes); i++)
			bench_size(sizes[i], &figures[i], run);
	for (u32 i = 0; i < ARRAY_LEN(sizes); i++) {
		tables = sizes[i];
		print("fault", figures[i].faults);
		print("fault-spread", figures[i].spread);
		print("emulated-write", figures[i].writes);
		print("cr3-load", figures[i].cr3);
	}
	return 0;
}
