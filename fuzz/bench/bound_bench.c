// SPDX-License-Identifier: GPL-2.0-or-later
// The bounds of docs/bounds.md: what it costs to take write access to one frame away, beside few and beside many shadows that
// have nothing to do with it; and for each operation under the paging lock the most entries that it looked at while this program
// did its worst. Normal geometry, the port of core_bench.
//
// Parts: the guest; write access; provocations; main.
//
// The guest maps frame X with every entry of some level-1 tables; large pages, each of them a shadow of its own, lie elsewhere,
// and a third region is one level-1 table that every entry of some level-2 tables names.
#include "../../hv/domain/domain.h"
#include "../../hv/domain/physmap.h"
#include "../../hv/mem/page.h"
#include "bench.h"
#include "bench_port.h"

#define TABLE_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF_FLAGS (TABLE_FLAGS | PTE_D)
#define MAPPINGS_MAX 10000u
#define LIMIT 1.2 // beside 10^5 shadows against beside 10^2

// gfn 1: L4, 2: L3 of X's tables, 3: its L2, 4: X, 5: L3 of the large pages, 16..: X's L1 tables, then L2 tables of large pages.
enum { ROOT = 1, L3 = 2, L2 = 3, X = 4, LARGE_L3 = 5, PARENT_L3 = 6, CHILD = 7, FILL = 8, L1_FIRST = 16 };
#define L1_TABLES ((SHADOW_MAPS_MAX + 511) / 512 + 1)
#define PARENTS 34u // level-2 tables full of one child: more entries than a shadow may have parents
#define PARENT_FIRST (L1_FIRST + L1_TABLES)
#define LARGE_FIRST (PARENT_FIRST + PARENTS)
#define LARGE_VA (UINT64_C(1) << 39)
#define PARENT_VA (UINT64_C(2) << 39)

static struct domain *d;
static struct vcpu *v;

static void must(enum hv_status status, const char *what)
{
	if (status == HV_OK)
		return;
	fprintf(stderr, "bound_bench: %s: %s\n", what, hv_status_name(status));
	exit(1);
}

static void put(u64 table_gfn, u32 index, u64 target_gfn, u64 flags)
{
	u64 entry = target_gfn << FRAME_SHIFT | flags;

	must(domain_write(d, gpa((table_gfn << FRAME_SHIFT) + 8 * index), &entry, sizeof(entry)), "guest entry");
}

static void fill_child(void)
{
	for (u32 i = 0; i < 512; i++)
		put(CHILD, i, FILL, LEAF_FLAGS);
}

static void build_guest(u32 unrelated, u32 pool_pages)
{
	u32 large_tables = (unrelated + 511) / 512;
	struct domain_config config = { .vcpus = 1, .pool_pages = pool_pages, .opts = SHADOW_OPT_ALL };

	bench_port_reset();
	hv_start();
	must(domain_create(&config, &d), "domain");
	v = &d->vcpu[0];
	for (u32 g = 1; g < LARGE_FIRST + large_tables; g++)
		must(domain_add_ram(d, gfn(g)), "guest memory");
	put(ROOT, 0, L3, TABLE_FLAGS);
	put(ROOT, 1, LARGE_L3, TABLE_FLAGS);
	put(ROOT, 2, PARENT_L3, TABLE_FLAGS);
	put(L3, 0, L2, TABLE_FLAGS);
	fill_child();
	for (u32 t = 0; t < PARENTS; t++) {
		put(PARENT_L3, t, PARENT_FIRST + t, TABLE_FLAGS);
		for (u32 i = 0; i < 512; i++)
			put(PARENT_FIRST + t, i, CHILD, TABLE_FLAGS);
	}
	for (u32 t = 0; t < L1_TABLES; t++) {
		put(L2, t, L1_FIRST + t, TABLE_FLAGS);
		for (u32 i = 0; i < 512; i++)
			put(L1_FIRST + t, i, X, LEAF_FLAGS);
	}
	for (u32 t = 0; t < large_tables; t++) {
		if (t < 512) // the others are roots at most
			put(LARGE_L3, t, LARGE_FIRST + t, TABLE_FLAGS);
		for (u32 i = 0; i < 512; i++)
			put(LARGE_FIRST + t, i, (u64)(t * 512 + i) << 9, LEAF_FLAGS | PTE_PS);
	}
	must(vcpu_write_cr4(v, CR4_PAE), "CR4");
	must(vcpu_write_efer(v, EFER_LME), "EFER");
	must(vcpu_write_cr3(v, (u64)ROOT << FRAME_SHIFT), "CR3");
	must(vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP), "CR0");
}

static void fault(u64 va, u32 error)
{
	struct hv_insn insn = { 0 };
	gva_t cr2 = gva(va);
	enum fault_result result = vcpu_page_fault(v, gva(va), &error, &cr2, &insn);

	if (result == FAULT_FIXED)
		return;
	fprintf(stderr, "bound_bench: fault at 0x%llx: %d\n", (unsigned long long)va, (int)result);
	exit(1);
}

// Each large page gets its table. What it maps is a hole: reads of it are emulated, the table is there first.
static void make_unrelated(u32 count)
{
	for (u32 i = 0; i < count; i++) {
		struct hv_insn insn;
		gva_t va = gva(LARGE_VA + ((u64)i << 21)), cr2 = va;
		u32 error = 0;

		bench_insn = (struct hv_insn){ .kind = INSN_READ, .va = va, .bytes = 8 };
		if (vcpu_page_fault(v, va, &error, &cr2, &insn) == FAULT_DEAD)
			must(HV_EDEAD, d->death);
	}
}

static void destroy(void)
{
	const char *bad = domain_destroy(d);

	if (bad)
		must(HV_ECHECK, bad);
}

// Time and visits of making X read-only while `mappings` entries map it, per mapping.
static void protect(u32 mappings, double *ns, double *visits)
{
	mfn_t x = p2m_lookup(&d->p2m, gfn(X));

	domain_lock(d, BOUND_BLOW);
	shadow_forget_frame(d, x); // start without any
	domain_unlock(d);
	for (u64 i = 0; i < mappings; i++) {
		if (page_writable_count(x) < i + 1)
			fault(i << FRAME_SHIFT, PF_W);
		if (page_writable_count(x) >= mappings)
			break;
	}
	domain_lock(d, BOUND_BLOW);
	u32 mapped = page_writable_count(x);
	u64 before = d->shadow.stats.visits, began = bench_ns();

	shadow_write_protect(d, x);
	u64 took = bench_ns() - began;

	*ns = (double)took / mapped;
	*visits = (double)(d->shadow.stats.visits - before) / mapped;
	domain_unlock(d);
	if (page_writable_count(x) || mapped + 32 < mappings)
		must(HV_ECHECK, "mappings");
}

static const u32 unrelated[2] = { 100, 100000 }, mappings[3] = { 100, 1000, MAPPINGS_MAX };

static double measure_protect(void)
{
	static double ns[2][3][BENCH_RUNS], visits[2][3][BENCH_RUNS];
	double ratio[BENCH_RUNS];
	char name[64];

	for (u32 u = 0; u < 2; u++) {
		build_guest(unrelated[u], 2 * unrelated[u] + 4096);
		make_unrelated(unrelated[u]);
		if (d->shadow.shadow_count < unrelated[u])
			must(HV_ECHECK, "shadows are missing");
		for (u32 run = 0; run < BENCH_RUNS; run++)
			for (u32 m = 0; m < 3; m++)
				protect(mappings[m], &ns[u][m][run], &visits[u][m][run]);
		destroy();
	}
	for (u32 run = 0; run < BENCH_RUNS; run++)
		ratio[run] = ns[1][2][run] / ns[0][2][run];
	for (u32 u = 0; u < 2; u++)
		for (u32 m = 0; m < 3; m++) {
			snprintf(name, sizeof(name), "protect-ns-per-mapping-%u-beside-%u", mappings[m], unrelated[u]);
			bench_print(name, ns[u][m], "ns", "");
			snprintf(name, sizeof(name), "protect-visits-per-mapping-%u-beside-%u", mappings[m], unrelated[u]);
			bench_print(name, visits[u][m], "entries", "");
		}
	bench_print_digits("protect-10000-beside-100000-to-100", ratio, 2, "", ",\"limit\":1.2");
	return ratio[BENCH_RUNS / 2];
}

// ---- provocations ----------------------------------------------------------------------------------------

static struct {
	u64 visits;
	const char *how;
} worst[BOUND_COUNT];

// What the operations since the last call cost at most goes to the books.
static void note(const char *how)
{
	for (u32 op = 0; op < BOUND_COUNT; op++) {
		if (d->bound[op].most > worst[op].visits) {
			worst[op].visits = d->bound[op].most;
			worst[op].how = how;
		}
		d->bound[op].most = 0;
	}
}

static void map_x_everywhere(void)
{
	for (u64 i = 0; i < (u64)L1_TABLES * 512; i += SHADOW_PREFETCH_SPAN)
		fault(i << FRAME_SHIFT, PF_W);
}

static void name_child_everywhere(void)
{
	for (u64 i = 0; i < PARENTS * 512; i++)
		fault(PARENT_VA + (i << 21), 0);
}

// A fault on an instruction of that kind; what becomes of it does not matter as long as the domain lives.
static void emulate(u64 va, enum insn_kind kind)
{
	struct hv_insn insn;
	gva_t cr2 = gva(va);
	u32 error = PF_P | PF_W;

	bench_insn = (struct hv_insn){ .kind = kind, .va = gva(va), .bytes = 8, .data = { (u64)FILL << FRAME_SHIFT | LEAF_FLAGS } };
	if (vcpu_page_fault(v, gva(va), &error, &cr2, &insn) == FAULT_DEAD)
		must(HV_EDEAD, d->death);
	vcpu_step_done(v);
}

static void read_bits(bool clean)
{
	static u8 bitmap[DIRTY_PIECE / 8];
	u64 done;

	domain_lock(d, BOUND_DIRTY);
	must(shadow_dirty_read(d, clean, 0, DIRTY_PIECE, bitmap, &done), "bitmap");
	domain_unlock(d);
}

static void provoke_maps(void)
{
	map_x_everywhere();
	note("a frame mapped by more entries than it may have");
	put(FILL, 0, X, LEAF_FLAGS);
	must(vcpu_write_cr3(v, (u64)X << FRAME_SHIFT), "CR3"); // X becomes a table
	note("that frame becomes a root");
	must(vcpu_write_cr3(v, (u64)ROOT << FRAME_SHIFT), "CR3");
	domain_lock(d, BOUND_UNSHADOW);
	shadow_remove_all(d, p2m_lookup(&d->p2m, gfn(X)));
	domain_unlock(d);
	map_x_everywhere();
	must(physmap_remove(d, gfn(X)), "remove");
	note("that frame leaves the p2m");
	must(physmap_renew(d, gfn(X)), "renew");
	map_x_everywhere();
	domain_lock(d, BOUND_DIRTY);
	must(shadow_dirty_start(d), "log-dirty");
	domain_unlock(d);
	note("log-dirty is switched on");
	map_x_everywhere();
	read_bits(true);
	note("its page is cleaned");
	for (bool more = true; more;) {
		domain_lock(d, BOUND_DIRTY);
		shadow_dirty_stop(d, &more);
		domain_unlock(d);
	}
	note("log-dirty is switched off");
}

// Entry 0 of table gfn L2, which maps it as data, is a way to write to CHILD.
static void open_window(void)
{
	put(L1_FIRST + L1_TABLES - 1, 511, CHILD, LEAF_FLAGS);
}
#define WINDOW (((u64)L1_TABLES * 512 - 1) << FRAME_SHIFT)

static void provoke_parents(void)
{
	static u8 page[FRAME_BYTES];

	open_window();
	name_child_everywhere();
	emulate(WINDOW, INSN_PUSH);
	note("a push to a table with too many parents");
	name_child_everywhere();
	emulate(WINDOW, INSN_UNKNOWN);
	emulate(WINDOW, INSN_UNKNOWN);
	note("an unknown instruction that writes to such a table");
	name_child_everywhere();
	must(domain_read(d, gpa((u64)CHILD << FRAME_SHIFT), page, sizeof(page)), "read");
	must(domain_write(d, gpa((u64)CHILD << FRAME_SHIFT), page, sizeof(page)), "write");
	note("a whole table is written");

	name_child_everywhere();
	note("a table named by more entries than it may have");
	domain_lock(d, BOUND_UNSHADOW);
	shadow_remove_all(d, p2m_lookup(&d->p2m, gfn(CHILD)));
	domain_unlock(d);
	note("that table loses its shadow");
	name_child_everywhere();
	must(physmap_remove(d, gfn(CHILD)), "remove");
	note("that table leaves the p2m");
	must(physmap_renew(d, gfn(CHILD)), "renew");
	fill_child();
}

// Full tables below the root, and as many pinned roots as there may be: all of it goes at once.
static void provoke_blow(void)
{
	map_x_everywhere();
	for (u32 i = 0; i < SHADOW_PINNED_MAX + 8; i++)
		must(vcpu_write_cr3(v, (u64)(LARGE_FIRST + i) << FRAME_SHIFT), "CR3");
	note("more roots than are kept");
	must(vcpu_write_cr3(v, (u64)ROOT << FRAME_SHIFT), "CR3");
	map_x_everywhere();
	domain_lock(d, BOUND_BLOW);
	shadow_blow_tables(d);
	domain_unlock(d);
	note("all shadows are blown");
	map_x_everywhere();
	must(vcpu_write_efer(v, EFER_LME | EFER_LMA | EFER_NXE), "EFER");
	must(vcpu_enter(v), "enter");
	note("EFER.NXE has changed when a vcpu is entered");
	map_x_everywhere();
	name_child_everywhere();
	must(physmap_balloon(d, gfn(X), 1, false), "balloon");
	must(physmap_balloon(d, gfn(CHILD), 16, false), "balloon");
	must(physmap_balloon(d, gfn(X), 1, true), "balloon");
	must(physmap_balloon(d, gfn(CHILD), 16, true), "balloon");
	note("the balloon takes such frames");
	if (hv_check(d, false))
		must(HV_ECHECK, hv_check(d, false));
	for (u32 g = 0; g < 512; g++)
		if (mfn_is_none(p2m_lookup(&d->p2m, gfn(g))))
			must(domain_add_ram(d, gfn(g)), "guest memory");
	must(physmap_make_large(d, gfn(0)), "large");
	note("a run with such frames becomes one chunk");
	make_unrelated(100000);
	must(domain_resize_pool(d, 1), "pool");
	note("the pool shrinks to its lower bound");
	make_unrelated(20000); // reclaims all the time
	emulate(0, INSN_WRITE);
	note("faults in a pool without a free page");
}

int main(void)
{
	double ratio = measure_protect();
	bool over = false;

	build_guest(SHADOW_PINNED_MAX * 512 + 8192, 250000);
	provoke_maps();
	provoke_parents();
	provoke_blow();
	destroy();
	note("the domain is taken apart");
	for (u32 op = 0; op < BOUND_COUNT; op++) {
		printf("{\"name\":\"bound-%s\",\"value\":%llu,\"unit\":\"entries\",\"limit\":%u,\"when\":\"%s\"}\n",
		       bound_rows[op].name, (unsigned long long)worst[op].visits, bound_rows[op].visits,
		       worst[op].how ? worst[op].how : "");
		over = over || worst[op].visits > bound_rows[op].visits;
	}
	return ratio <= LIMIT && !over ? 0 : 3;
}
