// SPDX-License-Identifier: GPL-2.0-or-later
// What one entry into the core costs, in table entries looked at and in nanoseconds, with 10^2, 10^3 and
// 10^4 live shadows, in every paging mode of the guest. Normal geometry, no checkers, a port of its own: plain memory,
// no TLB, no faults injected.
//
// Parts: the guest (its tables and memory); entries: faults, writes, CR3 loads; one size; main.
//
// The guest has N level-1 tables, each behind a region of its own (2 MiB; 4 MiB in mode 32), all shadowed before the
// clock starts. Each figure touches WORKING of them, spread evenly over the N, so that it shows the cost of having
// many shadows, not of a working set that outgrows the caches; "spread" figures touch all N. In modes 32 and PAE there
// is room for a thousand.
#include "../../hv/domain/domain.h"
#include "../../hv/mem/page.h"
#include "bench.h"
#include "bench_port.h"

#define WORKING 100u
#define ROUNDS 12u // faults in each table of the working set, each in a prefetch span of its own
#define STRIDE 32u // one span
_Static_assert(STRIDE == SHADOW_PREFETCH_SPAN && STRIDE * (ROUNDS + 2) <= 512, "spans must be fresh");

// ---- the guest --------------------------------------------------------------------------------------
// gfn 1 and 2: two roots that lead to the same. 3: mode 64: the L3 table. 4..: L2 tables (mode 32: none, the roots hold
// their entries). Then a window L1 table, data, and the L1 tables. The last entry that a root leads to is the window's.
#define TABLE_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF_FLAGS (TABLE_FLAGS | PTE_D)

static const struct shape {
	const char *name;
	u32 entry_bytes;
	u32 region;   // log2 of what an L1 table maps
	u32 l2_count; // L2 tables; the last one is for the window
	u32 window;   // number of the window's region
	u64 cr4, efer;
} shapes[] = {
	{ "64", 8, 21, 21, 20 * 512, CR4_PAE, EFER_LME | EFER_NXE },
	{ "pae", 8, 21, 4, 3 * 512, CR4_PAE, EFER_NXE },
	{ "32", 4, 22, 0, 1023, CR4_PSE, 0 },
};
static const struct shape *shape;

static struct domain *d;
static struct vcpu *v;
static u32 tables;

static u32 window_gfn(void) { return 4 + shape->l2_count; }
static u32 data_gfn(void) { return window_gfn() + 1; }
static u32 l1_gfn(u32 table) { return data_gfn() + 1 + table; }

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

	must(domain_write(d, gpa((table_gfn << FRAME_SHIFT) + (u64)shape->entry_bytes * index), &entry,
			  shape->entry_bytes),
	     "guest entry");
}

static gva_t va_of(u32 table, u32 index)
{
	return gva((u64)table << shape->region | (u64)index << FRAME_SHIFT);
}

// Entry k of the window maps the k-th table of the working set, for writing entries of it.
static gva_t window_va(u32 k)
{
	return va_of(shape->window, k);
}

static u32 working_table(u32 k)
{
	return (u32)((u64)k * tables / WORKING);
}

// The entry that maps a region.
static void put_l1(u32 region, u32 table_gfn)
{
	if (shape->l2_count) {
		put(4 + region / 512, region % 512, table_gfn, TABLE_FLAGS);
		return;
	}
	put(1, region, table_gfn, TABLE_FLAGS);
	put(2, region, table_gfn, TABLE_FLAGS);
}

static void put_roots(void)
{
	bool pae = shape->efer && !(shape->efer & EFER_LME);

	for (u32 root = 1; root <= 2 && (shape->efer & EFER_LME); root++)
		put(root, 0, 3, TABLE_FLAGS);
	for (u32 i = 0; i < shape->l2_count; i++) {
		put(pae ? 1 : 3, i, 4 + i, pae ? PTE_P : TABLE_FLAGS);
		if (pae)
			put(2, i, 4 + i, PTE_P);
	}
}

static void build_guest(u32 n)
{
	struct domain_config config = { .vcpus = 1, .pool_pages = 4 * n + 2048, .opts = SHADOW_OPT_ALL };

	tables = n;
	hv_start();
	must(domain_create(&config, &d), "domain");
	v = &d->vcpu[0];
	for (u32 g = 1; g < l1_gfn(n); g++)
		must(domain_add_ram(d, gfn(g)), "guest memory");
	put_roots();
	for (u32 t = 0; t < n; t++) {
		put_l1(t, l1_gfn(t));
		for (u32 i = 0; i < 512; i++)
			put(l1_gfn(t), i, data_gfn(), LEAF_FLAGS);
	}
	put_l1(shape->window, window_gfn());
	for (u32 k = 0; k < WORKING; k++)
		put(window_gfn(), k, l1_gfn(working_table(k)), LEAF_FLAGS);
	must(vcpu_write_cr4(v, shape->cr4), "CR4");
	must(vcpu_write_efer(v, shape->efer), "EFER");
	must(vcpu_write_cr3(v, UINT64_C(1) << FRAME_SHIFT), "CR3");
	must(vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP), "CR0");
}

// ---- entries into the core --------------------------------------------------------------------------
// An emulated instruction is done: either the core says so, or it has gone on from it.
static void fault(gva_t va, u32 error, enum fault_result expected, const char *what)
{
	struct hv_insn insn = { 0 };
	gva_t cr2 = va;
	u32 completed = bench_completed;
	enum fault_result result = vcpu_page_fault(v, va, &error, &cr2, &insn);

	if (result == expected || (expected == FAULT_EMULATED && result == FAULT_FIXED && bench_completed != completed))
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
			bench_insn = (struct hv_insn){ .kind = INSN_WRITE,
						       .va = gva(window_va(k).a + shape->entry_bytes * (r + 1)),
						       .bytes = (u8)shape->entry_bytes,
						       .cpl = 0 };
			bench_insn.data[0] = (u64)data_gfn() << FRAME_SHIFT | LEAF_FLAGS | (r & 1 ? PTE_AVL : 0);
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

	snprintf(extra, sizeof(extra), ",\"mode\":\"%s\",\"shadows\":%u", shape->name, tables);
	for (u32 i = 0; i < BENCH_RUNS; i++)
		values[i] = cost[i].visits;
	snprintf(name, sizeof(name), "%s-visits-%s-%u", what, shape->name, tables);
	bench_print(name, values, "entries", extra);
	for (u32 i = 0; i < BENCH_RUNS; i++)
		values[i] = cost[i].ns;
	snprintf(name, sizeof(name), "%s-ns-%s-%u", what, shape->name, tables);
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

// The sizes and modes take turns, so that a machine that slows down slows all of them.
int main(void)
{
	static const struct {
		u8 shape;
		u32 size;
	} runs[] = { { 0, 100 }, { 1, 100 }, { 2, 100 }, { 0, 1000 }, { 1, 1000 }, { 2, 1000 }, { 0, 10000 } };
	static struct figures figures[ARRAY_LEN(runs)];

	for (u32 run = 0; run < BENCH_RUNS; run++)
		for (u32 i = 0; i < ARRAY_LEN(runs); i++) {
			shape = &shapes[runs[i].shape];
			bench_size(runs[i].size, &figures[i], run);
		}
	for (u32 i = 0; i < ARRAY_LEN(runs); i++) {
		shape = &shapes[runs[i].shape];
		tables = runs[i].size;
		print("fault", figures[i].faults);
		print("fault-spread", figures[i].spread);
		print("emulated-write", figures[i].writes);
		print("cr3-load", figures[i].cr3);
	}
	return 0;
}
