// SPDX-License-Identifier: GPL-2.0-or-later
// The bounds of docs/bounds.md: what it costs to take write access to one frame away, beside few and beside many shadows that
// have nothing to do with it; and for each operation under the paging lock the most entries that it looked at while this program
// did its worst. Normal geometry, the port of core_bench.
//
// Parts: the guest; write access; provocations; main.
//
// The guest maps frame X with every entry of some level-1 tables; large pages, each of them a shadow of its own, lie elsewhere,
// and a third region is one level-1 table that every entry of some level-2 tables names.
#include <string.h>

#include "../../hv/domain/domain.h"
#include "../../hv/domain/hypercall.h"
#include "../../hv/domain/physmap.h"
#include "../../hv/mem/page.h"
#include "bench.h"
#include "bench_port.h"

#define TABLE_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF_FLAGS (TABLE_FLAGS | PTE_D)
#define MAPPINGS_MAX 10000u
#define LIMIT 1.2 // beside 10^5 shadows against beside 10^2

// gfn 1: L4, 2: L3 of X's tables, 3: its L2, 4: X, 5: L3 of the large pages, 16..: X's L1 tables, then L2 tables of large pages.
enum { ROOT = 1, L3 = 2, L2 = 3, X = 4, LARGE_L3 = 5, PARENT_L3 = 6, CHILD = 7, FILL = 8, GIANT = 9, PDPT = 10, L1_FIRST = 16 };
#define L1_TABLES ((SHADOW_MAPS_MAX + 511) / 512 + 1)
#define PARENTS 34u // level-2 tables full of one child: more entries than a shadow may have parents
#define PARENT_FIRST (L1_FIRST + L1_TABLES)
#define LARGE_FIRST (PARENT_FIRST + PARENTS)
#define LARGE_VA (UINT64_C(1) << 39)
#define PARENT_VA (UINT64_C(2) << 39)
#define GIANT_VA (UINT64_C(3) << 39)

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
	struct domain_config config = { .vcpus = 2, .pool_pages = pool_pages, .opts = SHADOW_OPT_ALL };

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
static void touch_hole(u64 address)
{
	struct hv_insn insn;
	gva_t va = gva(address), cr2 = va;
	u32 error = 0;

	bench_insn = (struct hv_insn){ .kind = INSN_READ, .va = va, .bytes = 8 };
	if (vcpu_page_fault(v, va, &error, &cr2, &insn) == FAULT_DEAD)
		must(HV_EDEAD, d->death);
}

static void make_unrelated(u32 count)
{
	for (u32 i = 0; i < count; i++)
		touch_hole(LARGE_VA + ((u64)i << 21));
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

	domain_lock(d, BOUND_PHYSMAP);
	shadow_forget_frame(d, x); // start without any
	domain_unlock(d);
	for (u64 i = 0; i < mappings; i++) {
		if (page_writable_count(x) < i + 1)
			fault(i << FRAME_SHIFT, PF_W);
		if (page_writable_count(x) >= mappings)
			break;
	}
	domain_lock(d, BOUND_PHYSMAP);
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

// The ratio of the quickest runs, which the rest of the machine disturbs least. Visits are exact: they must be the same.
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
	if (visits[1][2][0] != visits[0][2][0])
		must(HV_ECHECK, "taking write access away depends on shadows that have nothing to do with it");
	return ns[1][2][0] / ns[0][2][0]; // printing has sorted them
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

// A fault on an instruction of that kind. FAULT_STEP: a step is under way.
static enum fault_result begin(u64 va, enum insn_kind kind)
{
	struct hv_insn insn;
	gva_t cr2 = gva(va);
	u32 error = PF_P | PF_W;

	bench_insn = (struct hv_insn){ .kind = kind, .va = gva(va), .bytes = 8, .data = { (u64)FILL << FRAME_SHIFT | LEAF_FLAGS } };
	enum fault_result result = vcpu_page_fault(v, gva(va), &error, &cr2, &insn);

	if (result == FAULT_DEAD)
		must(HV_EDEAD, d->death);
	return result;
}

// What becomes of it does not matter as long as the domain lives.
static void emulate(u64 va, enum insn_kind kind)
{
	(void)begin(va, kind);
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
	note("log-dirty cleans a page that has all its mappings");
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

// GIANT holds 512 large pages as a table of three kinds, none of which has a table of its own: each is looked for in a crowded chain
// of the hash.
static void shadow_giant(void)
{
	touch_hole(GIANT_VA);
	touch_hole(LARGE_VA | UINT64_C(511) << 30);
	v = &d->vcpu[1];
	must(vcpu_write_cr3(v, (u64)PDPT << FRAME_SHIFT), "CR3");
	touch_hole(0);
	v = &d->vcpu[0];
}

static void lay_out_giant(void)
{
	for (u32 i = 0; i < 512; i++)
		put(GIANT, i, (u64)i << 18, LEAF_FLAGS | PTE_PS); // 1 GiB apart
	put(ROOT, 3, GIANT, TABLE_FLAGS);
	put(LARGE_L3, 511, GIANT, TABLE_FLAGS);
	put(PDPT, 0, GIANT, PTE_P);
	for (u32 i = 0; i < SHADOW_STEP_PAGES; i++)
		put(L1_FIRST, i, GIANT, LEAF_FLAGS);
	v = &d->vcpu[1];
	must(vcpu_write_cr4(v, CR4_PAE), "CR4");
	must(vcpu_write_efer(v, d->vcpu[0].guest.efer & EFER_NXE), "EFER"); // or shadows made for the other one go
	must(vcpu_write_cr3(v, (u64)PDPT << FRAME_SHIFT), "CR3");
	must(vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP), "CR0");
	v = &d->vcpu[0];
}

static void provoke_giant(void)
{
	static u8 page[FRAME_BYTES];
	gpa_t at = gpa((u64)GIANT << FRAME_SHIFT);

	lay_out_giant();
	shadow_giant();
	must(domain_read(d, at, page, sizeof(page)), "read");
	must(domain_write(d, at, page, sizeof(page)), "write");
	note("a table of 512 large pages without tables is written");
	emulate(0, INSN_UNKNOWN); // it loses its shadows, and gets them back
	put(X, 0, GIANT, LEAF_FLAGS);
	put(L2, L1_TABLES, X, TABLE_FLAGS);
	map_x_everywhere();
	shadow_giant();
	for (u64 i = 0; i < SHADOW_STEP_PAGES; i++)
		if (begin(i + 1 < SHADOW_STEP_PAGES ? i << FRAME_SHIFT : (u64)L1_TABLES << 21, INSN_UNKNOWN) != FAULT_STEP)
			must(HV_ECHECK, "step");
	vcpu_step_done(v);
	note("an unknown instruction writes to a table like that through eight pages");
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
	if (hv_check(d, false))
		must(HV_ECHECK, hv_check(d, false));
	make_unrelated(100000);
	provoke_giant();
	must(domain_resize_pool(d, 1), "pool");
	note("the pool shrinks to its lower bound");
	make_unrelated(20000); // reclaims all the time
	emulate(0, INSN_WRITE);
	note("faults in a pool without a free page");
}

// ---- a guest that has everything at once ----------------------------------------------------------------------
//
// Sixteen frames in a row, the kids, are each named as a table of five kinds by as many entries as there may be, and mapped by as
// many: vcpu 0 has four levels, vcpu 1 PAE, vcpu 2 two levels. A kid and the page FILLER translate index 0 at every level.

enum { FILLER = 2, NEW_PDPT = 6, KIDS = 16, CHAINS = 32, FAMILY_FIRST = 64, KID_COUNT = 16 };
// Frames of one family: level-2, level-3 and level-4 tables of entries for the kid, PAE directories and PDPTs, 2-level directories.
enum { L2S = 0, L3S = 32, L4S = 64, PAES = 96, PDPTS = 128, DIRS = 136, TOP_L3 = 152, TOP_L4 = 153, FAMILY = 154 };
// Tables full of mappings of one frame, six times: of two kids, and of the four frames from CHAINS on.
enum { MAP_SETS = 6, MAP_L1S = 0, MAP_L2 = SHADOW_MAPS_MAX / 512 + 1, MAP_SET = MAP_L2 + 1 };
#define MAPS_FIRST (FAMILY_FIRST + KID_COUNT * FAMILY)
#define MAPS_TOP (MAPS_FIRST + MAP_SETS * MAP_SET)
#define WORST_FRAMES ((MAPS_TOP + 2 + 511) & ~511u)

static void fill(u64 gfn, u64 entry)
{
	static u64 page[512];

	for (u32 i = 0; i < 512; i++)
		page[i] = entry;
	must(domain_write(d, gpa(gfn << FRAME_SHIFT), page, sizeof(page)), "guest table");
}

static u64 entry_of(u64 gfn) { return gfn << FRAME_SHIFT | LEAF_FLAGS; }
static u32 family(u32 kid, u32 what) { return FAMILY_FIRST + kid * FAMILY + what; }
static u32 map_set(u32 set, u32 what) { return MAPS_FIRST + set * MAP_SET + what; }
static void on(u32 vcpu) { v = &d->vcpu[vcpu]; }
static void root(u64 gfn) { must(vcpu_write_cr3(v, gfn << FRAME_SHIFT), "CR3"); }

static void lay_out_family(u32 kid)
{
	put(KIDS + kid, 0, FILLER, LEAF_FLAGS);
	for (u32 t = 0; t < 32; t++) {
		fill(family(kid, L2S + t), entry_of(KIDS + kid));
		fill(family(kid, L3S + t), entry_of(KIDS + kid));
		fill(family(kid, L4S + t), entry_of(KIDS + kid) & ~PTE_D);
		fill(family(kid, PAES + t), entry_of(KIDS + kid));
		put(family(kid, TOP_L3), t, family(kid, L2S + t), TABLE_FLAGS);
		put(family(kid, TOP_L4), t + 1, family(kid, L3S + t), TABLE_FLAGS);
		put(family(kid, PDPTS + t / 4), t % 4, family(kid, PAES + t), PTE_P);
	}
	for (u32 t = 0; t < 16; t++)
		fill(family(kid, DIRS + t), entry_of(KIDS + kid) << 32 | entry_of(KIDS + kid));
	put(family(kid, TOP_L4), 0, family(kid, TOP_L3), TABLE_FLAGS);
}

static void lay_out_maps(u32 set, u64 target)
{
	for (u32 t = 0; t < MAP_L2; t++) {
		fill(map_set(set, MAP_L1S + t), entry_of(target));
		put(map_set(set, MAP_L2), t, map_set(set, MAP_L1S + t), TABLE_FLAGS);
	}
	put(MAPS_TOP + 1, set, map_set(set, MAP_L2), TABLE_FLAGS);
}

static void build_worst(void)
{
	struct domain_config config = { .vcpus = DOMAIN_VCPUS_MAX, .pool_pages = 120000, .opts = SHADOW_OPT_ALL };

	bench_port_reset();
	hv_start();
	must(domain_create(&config, &d), "domain");
	for (u32 g = 0; g < WORST_FRAMES; g++)
		must(domain_add_ram(d, gfn(g)), "guest memory");
	put(FILLER, 0, FILLER, LEAF_FLAGS);
	for (u32 kid = 0; kid < KID_COUNT; kid++)
		lay_out_family(kid);
	put(MAPS_TOP, 0, MAPS_TOP + 1, TABLE_FLAGS);
	for (u32 set = 0; set < MAP_SETS; set++)
		lay_out_maps(set, set < 2 ? KIDS + set : CHAINS + set - 2);
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++) {
		on(i);
		if (i != 2)
			must(vcpu_write_cr4(v, CR4_PAE), "CR4");
		if (i == 0 || i == 3)
			must(vcpu_write_efer(v, EFER_LME), "EFER");
		root(i == 0 || i == 3 ? MAPS_TOP : i == 1 ? family(0, PDPTS) : family(0, DIRS));
		must(vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP), "CR0");
	}
}

static void read_at(u64 va) { fault(va, 0); }
static u64 canonical(u64 i) { return i << 39 | (i >> 8 ? UINT64_C(0xffff) << 48 : 0); }

// Every entry there is for the kid. all: those that need a root of their own too, of which not too many can be kept.
static void name_kid(u32 kid, bool all)
{
	on(0);
	root(family(kid, TOP_L4));
	for (u64 i = 0; i < 32 * 512; i++) {
		read_at(i << 21);
		read_at(canonical(1 + i / 512) | i % 512 << 30);
	}
	for (u32 t = 0; all && t < 32; t++) {
		root(family(kid, L4S + t));
		for (u64 i = 0; i < 512; i++)
			read_at(canonical(i));
	}
	on(1);
	for (u32 p = 0; all && p < 8; p++) {
		root(family(kid, PDPTS + p));
		for (u64 i = 0; i < 4 * 512; i++)
			read_at(i << 21);
	}
	on(2);
	for (u32 t = 0; all && t < 16; t++) {
		root(family(kid, DIRS + t));
		for (u64 i = 0; i < 1024; i++)
			read_at(i << 22);
	}
}

static u64 map_va(u32 set) { return (u64)set << 30; }

static void map_set_everywhere(u32 set, u32 error)
{
	on(0);
	root(MAPS_TOP);
	for (u64 i = 0; i < MAP_L2 * 512u; i += error ? 1 : SHADOW_PREFETCH_SPAN)
		if (!error || page_writable_count(p2m_lookup(&d->p2m, gfn(CHAINS + set - 2))) < i + 1)
			fault(map_va(set) + (i << FRAME_SHIFT), error);
}

static void name_first_kids(u32 count)
{
	for (u32 kid = 0; kid < count; kid++) {
		name_kid(kid, true);
		map_set_everywhere(kid, 0);
	}
}

static void provoke_kids(void)
{
	name_first_kids(2);
	note("a frame becomes five kinds of table, each named by as many entries as there may be");
	must(physmap_swap(d, gfn(KIDS), gfn(KIDS + 1)), "swap");
	note("two frames that are five kinds of table, with all mappings, change places");
	name_first_kids(1);
	must(hypercall(v, HYPERCALL_UNSHADOW, KIDS, 0), "unshadow");
	note("a frame that is five kinds of table, named as often as may be, loses its shadows");
	name_first_kids(1);
	emulate(map_va(0), INSN_PUSH);
	note("a push to a frame that is five kinds of table");
	name_first_kids(1);
	must(physmap_make_large(d, gfn(0)), "large");
	note("a run with a frame in it that is five kinds of table, with all mappings");
	name_first_kids(2);
	for (u32 kid = 2; kid < KID_COUNT; kid++)
		name_kid(kid, kid < 10);
	must(physmap_balloon(d, gfn(KIDS), KID_COUNT, false), "balloon");
	note("the balloon takes sixteen frames that are two to five kinds of table");
	must(physmap_balloon(d, gfn(KIDS), KID_COUNT, true), "balloon");
}

// Three tables in a chain, or four in a NEW_PDPT, that were memory until now, mapped writable by all entries there may be.
static void make_writable(u32 count)
{
	for (u32 i = 0; i < count; i++) {
		must(hypercall(v, HYPERCALL_UNSHADOW, CHAINS + i, 0), "unshadow");
		map_set_everywhere(2 + i, PF_W);
	}
}

static void chain_entries(void)
{
	put(CHAINS, 0, CHAINS + 1, TABLE_FLAGS);
	put(CHAINS + 1, 0, CHAINS + 2, TABLE_FLAGS);
	put(CHAINS + 2, 0, FILLER, LEAF_FLAGS);
	put(MAPS_TOP, 1, CHAINS, TABLE_FLAGS);
	for (u32 i = 0; i < 4; i++)
		put(CHAINS + 3, i, CHAINS + i, PTE_P);
}

static void provoke_chains(void)
{
	chain_entries();
	make_writable(3);
	read_at(canonical(1));
	note("three new tables of one walk, mapped writable wherever that may be");
	for (u32 i = 0; i < 4; i++)
		put(NEW_PDPT, i, CHAINS + i, PTE_P);
	make_writable(4);
	on(1);
	root(NEW_PDPT);
	note("CR3 names four tables that were mapped writable wherever that may be");
	root(family(0, PDPTS));
}

// --visits: do not judge times, which others on the machine disturb.
int main(int argc, char **argv)
{
	bool timed = argc < 2 || strcmp(argv[1], "--visits") != 0, over = measure_protect() > LIMIT && timed;

	build_guest(SHADOW_PINNED_MAX * 512 + 8192, 250000);
	provoke_maps();
	provoke_parents();
	provoke_blow();
	destroy();
	note("the domain is taken apart");
	build_worst();
	provoke_kids();
	provoke_chains();
	if (hv_check(d, false))
		must(HV_ECHECK, hv_check(d, false));
	destroy();
	note("a domain whose tables are full is taken apart");
	for (u32 op = 0; op < BOUND_COUNT; op++) {
		printf("{\"name\":\"bound-%s\",\"value\":%llu,\"unit\":\"entries\",\"limit\":%u,\"when\":\"%s\"}\n",
		       bound_rows[op].name, (unsigned long long)worst[op].visits, bound_rows[op].visits,
		       worst[op].how ? worst[op].how : "");
		over = over || worst[op].visits > bound_rows[op].visits;
	}
	return over ? 3 : 0;
}
