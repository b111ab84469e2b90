// SPDX-License-Identifier: GPL-2.0-or-later
// What the types of the physmap mean to the guest: every kind of access to a frame that is read-only RAM, RAM whose first
// write is to be seen, a frame of another domain, a device. All guest RAM is compared with an array to which the same was
// done. Rules 35, 45, 47, 56; spec A.11.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define PATTERN UINT64_C(0x8877665544332211)
#define TARGET 9u // page 9 is the frame under test, f9 unless it is the neighbour's
#define DOUBT UINT64_C(0x12340000)

// ---- the guest -----------------------------------------------------------------------------------------------

static struct domain *neighbour; // f0 of it is what the guest sees at page 9, for P2M_FOREIGN
static gfn_t target;
static mfn_t frame; // behind it

#define CONTENT(i) (UINT64_C(0x0101010101010101) * ((i) + 3))

static bool has_neighbour(enum p2m_type type)
{
	struct domain *guest = dom;
	bool ok = true;

	neighbour = NULL;
	if (type != P2M_FOREIGN)
		return true;
	ok = fixture_another(1, 0, 0);
	neighbour = dom;
	for (u32 i = 0; i < 512; i++)
		poke(0, i, CONTENT(i));
	dom = guest;
	return ok && physmap_map_foreign(dom, target, neighbour, fg(0)) == HV_OK;
}

// Page 9 leads to a frame of that type, entry: flags of the guest's own entry.
static bool start(enum p2m_type type, u32 opts, u64 entry)
{
	bool ok = fixture_paged(1, 128, opts), apart = type == P2M_FOREIGN || type == P2M_MMIO_DIRECT || type == P2M_HOLE;

	target = apart ? gfn(HOLE_GFN) : fg(TARGET);
	for (u32 i = 0; i < 512; i++)
		poke(TARGET, i, CONTENT(i));
	ok = ok && has_neighbour(type);
	if (p2m_is_ram(type))
		ok = ok && physmap_retype(dom, target, type) == HV_OK;
	if (type == P2M_MMIO_DIRECT)
		ok = ok && physmap_identity(dom, target, 1, true) == HV_OK;
	frame = type == P2M_FOREIGN ? p2m_get(&dom->p2m, target).frame : fm(TARGET);
	poke(3, TARGET, gfn_gpa(target).a | entry);
	return CHECK(ok && p2m_get(&dom->p2m, target).type == type);
}

static void finish(void)
{
	HEALTHY();
	if (neighbour)
		CHECK_STR(hv_check(neighbour, true), NULL);
	CHECK_STR(domain_destroy(dom), NULL);
	dom = neighbour;
	if (neighbour)
		CHECK_STR(fixture_end(), NULL);
	CHECK_EQ(host_frames_owned(), 0);
}

// ---- the array -------------------------------------------------------------------------------------------------

static u8 expect[FIXTURE_FRAMES * FRAME_BYTES]; // by address, page i is fi but for the target

static mfn_t behind(u32 i) { return i == TARGET ? frame : fm(i); }

static void take(void)
{
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		memcpy(expect + page(i), host_frame(behind(i)), FRAME_BYTES);
}

static bool same(void)
{
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		if (memcmp(expect + page(i), host_frame(behind(i)), FRAME_BYTES) && test_fail(__FILE__, __LINE__)) {
			printf("f%u differs\n", i);
			return false;
		}
	return true;
}

// What the processor would store there, unless stores to the target are lost; the result that it would have.
static void apply(const struct cpu_access *a, bool drops, struct cpu_result *r)
{
	u64 old[2] = { 0 }, new[2] = { a->data[0], a->data[1] };

	memcpy(old, expect + a->va, a->bytes);
	if (a->kind == CPU_RMW)
		new[0] = a->alu == ALU_ADD ? old[0] + a->data[0] : a->data[0];
	bool stores = a->kind != CPU_READ, reads_first = a->kind == CPU_RMW || a->kind == CPU_CMPXCHG;

	if (a->kind == CPU_CMPXCHG) {
		r->matched = !memcmp(old, a->expect, a->bytes);
		stores = r->matched;
	}
	if (reads_first || a->kind == CPU_READ)
		memcpy(r->value, old, sizeof(old));
	for (u32 i = 0; stores && i < a->bytes; i++)
		if (!drops || (a->va + i) >> FRAME_SHIFT != TARGET)
			expect[a->va + i] = (u8)(new[i / 8] >> i % 8 * 8);
}

// ---- every kind of access ------------------------------------------------------------------------------------

#define FIRST ((u64)TARGET * FRAME_BYTES)
#define END (FIRST + FRAME_BYTES)
#define IN (FIRST + 0x48)
#define MATCH (CONTENT(9))
static const struct cpu_access accesses[] = {
	{ .kind = CPU_READ, .va = IN, .bytes = 8 },
	{ .kind = CPU_READ, .va = FIRST - 3, .bytes = 8, .cpl = 3 },
	{ .kind = CPU_WRITE, .va = IN + 3, .bytes = 1, .data = { PATTERN } },
	{ .kind = CPU_WRITE, .va = IN, .bytes = 2, .data = { PATTERN } },
	{ .kind = CPU_WRITE, .va = IN + 4, .bytes = 4, .cpl = 3, .data = { PATTERN } },
	{ .kind = CPU_WRITE, .va = IN, .bytes = 8, .data = { PATTERN } },
	{ .kind = CPU_WRITE, .va = IN + 5, .bytes = 8, .data = { PATTERN } }, // not aligned
	{ .kind = CPU_WRITE, .va = IN + 8, .bytes = 16, .data = { PATTERN, ~PATTERN } },
	{ .kind = CPU_PUSH, .va = IN, .bytes = 8, .data = { PATTERN } },
	{ .kind = CPU_PUSH, .va = IN, .bytes = 8, .cpl = 3, .data = { PATTERN } },
	{ .kind = CPU_CMPXCHG, .va = IN, .bytes = 8, .data = { PATTERN }, .expect = { MATCH } },
	{ .kind = CPU_CMPXCHG, .va = IN, .bytes = 4, .data = { PATTERN }, .expect = { MATCH & UINT32_MAX } },
	{ .kind = CPU_CMPXCHG, .va = IN, .bytes = 8, .data = { PATTERN }, .expect = { 1 } },
	{ .kind = CPU_CMPXCHG, .va = IN + 8, .bytes = 16, .data = { PATTERN, 1 }, .expect = { CONTENT(10), CONTENT(11) } },
	{ .kind = CPU_RMW, .va = IN, .bytes = 8, .alu = ALU_ADD, .data = { 5 } },
	{ .kind = CPU_RMW, .va = IN, .bytes = 4, .alu = ALU_XCHG, .cpl = 3, .data = { 7 } },
	{ .kind = CPU_WRITE, .va = FIRST - 3, .bytes = 8, .data = { PATTERN } }, // into it
	{ .kind = CPU_WRITE, .va = END - 3, .bytes = 8, .data = { PATTERN } }, // out of it
	{ .kind = CPU_PUSH, .va = FIRST - 1, .bytes = 8, .data = { PATTERN } },
	{ .kind = CPU_RMW, .va = FIRST - 5, .bytes = 8, .alu = ALU_ADD, .data = { DOUBT } },
	{ .kind = CPU_RMW, .va = END - 1, .bytes = 8, .alu = ALU_ADD, .data = { DOUBT } },
	{ .kind = CPU_CMPXCHG, .va = END - 4, .bytes = 8, .data = { PATTERN }, .expect = { CONTENT(511) >> 32 } },
};

// Run it and compare; what nobody can decode leaves no result.
static void run(const struct cpu_access *access, bool unknown, bool drops)
{
	struct cpu_access a = *access;
	struct cpu_result r, want = { 0 };

	a.unknown = unknown;
	host_set_cpu(0);
	take();
	apply(&a, drops, &want);
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.end, CPU_DONE);
	if (a.kind != CPU_WRITE && a.kind != CPU_PUSH) {
		CHECK_EQ(r.value[0], want.value[0]);
		CHECK_EQ(r.value[1], want.value[1]);
	}
	CHECK_EQ(r.matched, want.matched);
	CHECK(!unknown || !r.emulated);
	same();
	HEALTHY();
}

static bool is_store(const struct cpu_access *a) { return a->kind != CPU_READ; }

// Each access as the first one, and after one that has mapped the page for reading, decoded and not.
static void each_access(enum p2m_type type, u64 entry, u64 cr0, void (*after)(const struct cpu_access *a))
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL)
		for (u32 how = 0; how < 4; how++)
			for (u32 i = 0; i < ARRAY_LEN(accesses) && !test_failures; i++) {
				const struct cpu_access *a = &accesses[i];

				if (a->cpl == 3 && !(entry & PTE_W))
					continue; // WP is for the kernel alone
				start(type, opts, entry);
				CHECK_EQ(vcpu_write_cr0(vc(0), cr0), HV_OK);
				if (how & 1)
					CHECK(reads(vc(0), FIRST));
				run(a, how & 2, type == P2M_RAM_RO || type == P2M_FOREIGN);
				run(a, how & 2, type == P2M_RAM_RO || type == P2M_FOREIGN); // what is cached by now counts too
				after(a);
				finish();
				if (test_failures)
					printf("access %u, options 0x%x, way %u\n", i, opts, how);
			}
}

#define WP_ON (CR0_PE | CR0_PG | CR0_WP)
#define WP_OFF (CR0_PE | CR0_PG)

static void stays(const struct cpu_access *a)
{
	(void)a;
	CHECK(!page_writable_count(frame));
}

static void nothing(const struct cpu_access *a) { (void)a; }

TEST(ram_takes_every_store)
{
	each_access(P2M_RAM_RW, AS_LEAF, WP_ON, nothing);
	each_access(P2M_RAM_RW, AS_LEAF & ~PTE_W, WP_OFF, nothing);
}

TEST(read_only_ram_drops_every_store)
{
	each_access(P2M_RAM_RO, AS_LEAF, WP_ON, stays);
	each_access(P2M_RAM_RO, AS_LEAF & ~PTE_W, WP_OFF, stays);
}

static void written_once(const struct cpu_access *a)
{
	CHECK_EQ(p2m_get(&dom->p2m, target).type, is_store(a) ? P2M_RAM_RW : P2M_RAM_LOGDIRTY);
}

TEST(logdirty_ram_is_ram_and_shows_its_first_write)
{
	each_access(P2M_RAM_LOGDIRTY, AS_LEAF, WP_ON, written_once);
	each_access(P2M_RAM_LOGDIRTY, AS_LEAF & ~PTE_W, WP_OFF, written_once);
}

static void unmapped(const struct cpu_access *a)
{
	(void)a;
	CHECK_EQ(page_of(frame)->maps, 0);
	CHECK_EQ(page_holds(frame), 1);
}

TEST(a_foreign_frame_is_read_and_drops_every_store)
{
	each_access(P2M_FOREIGN, AS_LEAF, WP_ON, unmapped);
	each_access(P2M_FOREIGN, AS_LEAF & ~PTE_W, WP_OFF, unmapped);
}

// ---- what only one type can show -------------------------------------------------------------------------------

// The guest's own rights come first: what its tables forbid is its fault, whatever the type.
TEST(rights_of_the_guest_come_before_the_type)
{
	static const enum p2m_type types[] = { P2M_RAM_RW, P2M_RAM_RO, P2M_RAM_LOGDIRTY, P2M_FOREIGN, P2M_MMIO_DIRECT, P2M_HOLE };

	for (u32 t = 0; t < ARRAY_LEN(types); t++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
			start(types[t], opts, AS_LEAF & ~(PTE_W | PTE_U | PTE_D));
			for (u32 again = 0; again < 2; again++) {
				struct cpu_result r = go(vc(0), CPU_WRITE, IN, 8, 0, 1);

				CHECK_EQ(r.end, CPU_FAULT);
				CHECK_EQ(r.error, PF_P | PF_W);
				r = go(vc(0), CPU_READ, IN, 8, 3, 0);
				CHECK_EQ(r.end, CPU_FAULT);
				CHECK_EQ(r.error, PF_P | PF_U);
				CHECK(reads(vc(0), IN));
			}
			CHECK_EQ(word(3, TARGET) & PTE_D, 0);
			finish();
		}
}

// A dropped store is a store to the guest's tables: D is set.
TEST(rule_46_a_dropped_store_sets_d)
{
	static const enum p2m_type types[] = { P2M_RAM_RO, P2M_FOREIGN, P2M_MMIO_DIRECT };

	for (u32 t = 0; t < ARRAY_LEN(types); t++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
			start(types[t], opts, AS_LEAF & ~(PTE_A | PTE_D));
			CHECK(reads(vc(0), IN));
			CHECK_EQ(word(3, TARGET) & (PTE_A | PTE_D), PTE_A);
			CHECK(writes(vc(0), IN, 1));
			CHECK_EQ(word(3, TARGET) & (PTE_A | PTE_D), PTE_A | PTE_D);
			finish();
		}
}

// Read-only RAM may hold a page table: the walk sets A and D in it, the guest's own stores to it are lost, and so its
// shadows stay as they are.
TEST(read_only_ram_as_a_page_table)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(fixture_paged(1, 0, opts));
		poke(5, 0, at(8, AS_LEAF & ~(PTE_A | PTE_D)));
		poke(2, 1, at(5, AS_TABLE));
		poke(3, 5, at(5, AS_LEAF));
		CHECK_EQ(physmap_retype(dom, fg(5), P2M_RAM_RO), HV_OK);
		CHECK(reads(vc(0), OTHER));
		CHECK_EQ(word(5, 0), at(8, AS_LEAF & ~PTE_D));
		CHECK(writes(vc(0), OTHER, 1));
		CHECK_EQ(word(5, 0), at(8, AS_LEAF));
		CHECK(page_is_table(fm(5)));
		for (u32 size = 1; size <= 8; size *= 2)
			CHECK_EQ(go(vc(0), CPU_WRITE, page(5), size, 0, 0).end, CPU_DONE);
		CHECK_EQ(go(vc(0), CPU_PUSH, page(5), 8, 0, 0).end, CPU_DONE);
		CHECK_EQ(word(5, 0), at(8, AS_LEAF));
		HEALTHY();
		CHECK(writes(vc(0), OTHER, 2));
		CHECK_EQ(word(8, 0), 2);
		poke(5, 0, at(10, AS_LEAF)); // the hypervisor's hand is another matter
		CHECK(writes(vc(0), OTHER, 3));
		CHECK_EQ(word(10, 0), 3);
		FINISH();
	}
}

TEST(the_hypervisor_writes_to_read_only_ram)
{
	u64 value = PATTERN, seen = 0;

	start(P2M_RAM_RO, SHADOW_OPT_ALL, AS_LEAF);
	CHECK(reads(vc(0), IN));
	CHECK_EQ(domain_write(dom, gpa(at(TARGET, 0x48)), &value, 8), HV_OK);
	CHECK_EQ(domain_read(dom, gpa(at(TARGET, 0x48)), &seen, 8), HV_OK);
	CHECK_EQ(seen, PATTERN);
	CHECK_EQ(go(vc(0), CPU_READ, IN, 8, 0, 0).value[0], PATTERN);
	finish();
}

// RAM that a guest has mapped writable becomes read-only at once, for what is in TLBs too; and RAM again.
TEST(rule_42_retyping_takes_write_access_at_once)
{
	static const enum p2m_type types[] = { P2M_RAM_RO, P2M_RAM_LOGDIRTY };

	for (u32 t = 0; t < ARRAY_LEN(types); t++)
		for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
			struct cpu_access stale = { .kind = CPU_WRITE, .va = IN, .bytes = 8, .pick = TLB_OLDEST, .data = { 2 } };
			struct cpu_result r;

			start(P2M_RAM_RW, opts, AS_LEAF);
			CHECK(writes(vc(0), IN, 1));
			CHECK_EQ(physmap_retype(dom, target, types[t]), HV_OK);
			CHECK_EQ(page_writable_count(frame), 0);
			HEALTHY();
			cpu_access(vc(0), &stale, &r);
			CHECK_EQ(r.end, CPU_DONE);
			CHECK_EQ(word(TARGET, 9), t ? 2 : 1);
			CHECK_EQ(p2m_get(&dom->p2m, target).type, t ? P2M_RAM_RW : P2M_RAM_RO);
			CHECK_EQ(physmap_retype(dom, target, P2M_RAM_RW), HV_OK);
			CHECK(writes(vc(0), IN, 3));
			CHECK_EQ(word(TARGET, 9), 3);
			finish();
		}
}

// Code runs from read-only RAM; from a foreign frame it does not.
TEST(fetching_by_type)
{
	start(P2M_RAM_RO, 0, AS_LEAF);
	CHECK_EQ(go(vc(0), CPU_FETCH, IN, 1, 0, 0).end, CPU_DONE);
	finish();
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		start(P2M_FOREIGN, opts, AS_LEAF);
		for (u32 again = 0; again < 2; again++) {
			struct cpu_result r = go(vc(0), CPU_FETCH, IN, 1, 0, 0);

			CHECK(r.end == CPU_FAULT && r.vector == 13);
		}
		finish();
	}
}

// A device answers as a hole does, whatever was there before and will be after.
TEST(a_device_is_a_hole_to_the_guest)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		start(P2M_HOLE, opts, AS_LEAF);
		for (u32 round = 0; round < 4; round++) {
			CHECK_EQ(go(vc(0), CPU_READ, IN, 8, 0, 0).value[0], HOLE_WORD);
			CHECK(writes(vc(0), IN, PATTERN));
			CHECK(go(vc(0), CPU_RMW, IN, 8, 0, 0).value[0] == HOLE_WORD);
			CHECK_EQ(go(vc(0), CPU_FETCH, IN, 1, 0, 0).vector, 13);
			HEALTHY();
			CHECK_EQ(physmap_identity(dom, target, 1, !(round & 1)), HV_OK);
		}
		CHECK_EQ(domain_add_ram(dom, target), HV_OK);
		CHECK(writes(vc(0), IN, 5));
		CHECK_EQ(go(vc(0), CPU_READ, IN, 8, 0, 0).value[0], 5);
		finish();
	}
}

// What the owner does is seen at once; where the owner has it as a page table too.
TEST(foreign_bytes_are_the_owners_at_every_moment)
{
	struct domain *guest;

	start(P2M_FOREIGN, SHADOW_OPT_ALL, AS_LEAF);
	guest = dom;
	for (u32 round = 0; round < 4; round++) {
		dom = neighbour;
		poke(0, 9, round);
		dom = guest;
		CHECK_EQ(go(vc(0), CPU_READ, IN, 8, 0, 0).value[0], round);
	}
	dom = neighbour;
	fixture_tree();
	CHECK_EQ(long_mode(vc(0), 0), HV_OK); // its f0 is a root now
	CHECK(writes(vc(0), page(9), 1) && page_is_table(fm(0)));
	dom = guest;
	CHECK_EQ(go(vc(0), CPU_READ, FIRST, 8, 0, 0).value[0], at(1, AS_TABLE));
	CHECK(writes(vc(0), FIRST, 0));
	dom = neighbour;
	CHECK(writes(vc(0), page(9), 2));
	HEALTHY();
	dom = guest;
	finish();
}

// A foreign frame is no table: the walk finds what it finds in a hole.
TEST(no_table_lies_in_a_foreign_frame)
{
	start(P2M_FOREIGN, SHADOW_OPT_ALL, AS_LEAF);
	poke(2, 1, gfn_gpa(target).a | AS_TABLE);
	CHECK_EQ(go(vc(0), CPU_READ, OTHER, 8, 0, 0).end, CPU_FAULT);
	CHECK_EQ(page_of(frame)->maps, 0);
	CHECK_EQ(vcpu_write_cr3(vc(0), gfn_gpa(target).a), HV_EDEAD);
	finish();
}

// ---- an audit while an instruction is under way ----------------------------------------------------------------

static const char *seen_guest, *seen_neighbour;

static void audit(void *context)
{
	(void)context;
	seen_guest = hv_check(dom, true);
	seen_neighbour = neighbour ? hv_check(neighbour, true) : NULL;
}

TEST(an_instruction_under_way_is_no_broken_rule)
{
	static const enum p2m_type types[] = { P2M_RAM_RO, P2M_FOREIGN };

	for (u32 t = 0; t < ARRAY_LEN(types); t++)
		for (u32 k = 1; k <= 3; k++) {
			start(types[t], 0, AS_LEAF);
			CHECK(reads(vc(0), IN));
			seen_guest = seen_neighbour = NULL;
			host_arm_race(k, audit, NULL);
			CHECK(writes(vc(0), IN, 1));
			host_arm_race(0, NULL, NULL);
			CHECK_STR(seen_guest, NULL);
			CHECK_STR(seen_neighbour, NULL);
			finish();
		}
}
