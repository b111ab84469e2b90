// SPDX-License-Identifier: GPL-2.0-or-later
// Live migration: copies equal to the byte and to the type, whatever the guest and the operator do between the rounds; vcpus in
// every paging mode; every step failing everywhere; what may not happen meanwhile.
// link: hv/test/fixture.c hv/test/places.c
#include "test.h"

#include "../domain/control.h"
#include "../domain/migrate.h"
#include "fixture.h"
#include "places.h"

// ---- words ---------------------------------------------------------------------------------------------

static u64 seed;
static u32 pick(u32 limit)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (u32)(seed >> 33) % limit;
}

static u64 sent;

static enum hv_status round_of(void)
{
	return migrate_round(dom, &sent);
}

// The guest goes on in the copy: `dom` is that from now on. The original is destroyed.
static bool finish(void)
{
	struct domain *from = dom, *to = NULL;

	if (!CHECK_EQ(migrate_finish(from, &to, &sent), HV_OK))
		return false;
	CHECK(to && to != from && !from->migration && !from->shadow.dirty.on);
	CHECK_STR(fixture_problem(), NULL);
	CHECK_STR(domain_destroy(from), NULL);
	dom = to;
	HEALTHY();
	return true;
}

// ---- the plain case ------------------------------------------------------------------------------------------

static char logged[8][64];
static u32 lines;

static void keep_line(const char *line)
{
	if (lines < ARRAY_LEN(logged))
		snprintf(logged[lines++], sizeof(logged[0]), "%s", line);
}

TEST(rounds_get_smaller_and_the_guest_goes_on)
{
	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	CHECK(writes(vc(0), page(9), 1));
	lines = 0;
	host_log_sink = keep_line;
	CHECK_EQ(migrate_start(dom), HV_OK);
	HEALTHY();
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(sent, FIXTURE_FRAMES);
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(sent, 0);
	CHECK(writes(vc(0), page(9), 2));
	CHECK(writes(vc(1), page(10), 3));
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(sent, 2);
	CHECK(writes(vc(1), page(10), 4));
	places_take();
	CHECK(finish());
	CHECK_EQ(sent, 1);
	host_log_sink = NULL;
	CHECK_EQ(lines, 3); // of the last round the ports tell, which know how long it took
	CHECK_STR(logged[0], "migrate round 1 sent 16 pages");
	CHECK_STR(logged[2], "migrate round 3 sent 2 pages");
	CHECK_STR(places_differ(), NULL);
	CHECK_EQ(go(vc(0), CPU_READ, page(10), 8, 0, 0).value[0], 4);
	CHECK(writes(vc(1), page(3) + 8 * 40, at(9, AS_LEAF)));
	CHECK_EQ(go(vc(0), CPU_READ, page(40), 8, 0, 0).value[0], 2);
	FINISH();
}

static u64 holds(const struct domain *d)
{
	u64 sum = 0;

	for (u32 op = 0; op < BOUND_COUNT; op++)
		sum += d->bound[op].holds;
	return sum;
}

// Its work follows from the dirty pages and not from the memory there is, unless the physmap has changed.
TEST(the_last_round_looks_at_dirty_pages_alone)
{
	u64 before, dirty, work[2][3]; // with little and with more memory: nothing, a page, a change of the physmap
	struct domain *from, *to = NULL;

	for (u32 more = 0; more < 2; more++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		for (u32 i = 0; more && i < 8 * MIGRATE_WINDOW; i++)
			CHECK_EQ(domain_add_ram(dom, gfn(HOLE_GFN + i)), HV_OK);
		CHECK(writes(vc(0), page(9), 1));
		CHECK_EQ(migrate_start(dom), HV_OK);
		for (u32 round = 0; round < 2; round++)
			CHECK_EQ(round_of(), HV_OK);
		for (u32 what = 0; what < 3; what++) {
			if (what)
				CHECK(writes(vc(0), page(9), what));
			if (what == 2)
				CHECK_EQ(physmap_retype(dom, fg(12), P2M_RAM_RO), HV_OK);
			before = holds(dom);
			CHECK_EQ(round_of(), HV_OK);
			work[more][what] = holds(dom) - before;
			CHECK_EQ(sent, what != 0);
		}
		from = dom;
		CHECK(writes(vc(0), page(9), 7) && writes(vc(0), page(10), 7));
		CHECK_EQ(migrate_last_round(from, &dirty, &sent), HV_OK);
		CHECK(dirty == 2 && sent == 2);
		CHECK_EQ(round_of(), HV_EBUSY);
		CHECK_EQ(migrate_compare(from), HV_OK);
		CHECK_EQ(migrate_switch(from, &to), HV_OK);
		dom = to;
		CHECK_STR(domain_destroy(from), NULL);
		CHECK_EQ(p2m_get(&dom->p2m, fg(12)).type, P2M_RAM_RO);
		FINISH();
	}
	CHECK_EQ(work[0][0], work[1][0]);
	CHECK_EQ(work[0][1], work[1][1]);
	CHECK(work[0][1] > work[0][0]);
	CHECK(work[1][2] > work[0][2] + 8);
}

// Without a round before, the last one copies all. And a copy can move on.
TEST(from_copy_to_copy)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	for (u32 i = 0; i < 6; i++) {
		CHECK(writes(vc(0), page(4 + i), i));
		CHECK_EQ(migrate_start(dom), HV_OK);
		places_take();
		CHECK(finish());
		CHECK_EQ(sent, FIXTURE_FRAMES);
		CHECK_STR(places_differ(), NULL);
		for (u32 n = 0; n <= i; n++)
			CHECK_EQ(go(vc(0), CPU_READ, page(4 + n), 8, 0, 0).value[0], n);
	}
	FINISH();
}

// ---- while the guest and the operator are busy ------------------------------------------------------------------

static void guest_write(struct vcpu *v)
{
	struct cpu_access a = { .bytes = (u8)(1u << pick(4)), .pick = pick(2) ? TLB_OLDEST : TLB_FRESH };
	struct cpu_result r;
	u32 n = pick(16);

	a.kind = (enum cpu_kind[]){ CPU_WRITE, CPU_RMW, CPU_PUSH, CPU_CMPXCHG, CPU_READ }[pick(5)];
	a.alu = ALU_ADD;
	a.unknown = pick(6) == 0;
	a.va = page(n) + pick(FRAME_BYTES);
	a.data[0] = pick(1 << 20);
	if (n < 4) {
		a.va = page(3) + 8 * (32 + pick(32));
		a.data[0] = at(4 + pick(12), AS_LEAF & ~(pick(2) ? PTE_A | PTE_D : 0));
		a.bytes = 8;
		a.kind = CPU_WRITE;
	}
	if (pick(4) == 0)
		a.va = page(32 + pick(32)) + 8 * pick(500);
	host_set_cpu(host_cpu_of(v));
	cpu_access(v, &a, &r);
	CHECK(r.end == CPU_DONE || r.end == CPU_FAULT);
}

// Any answer is right but that the domain died.
static void change_physmap(void)
{
	gfn_t g = fg(4 + pick(12)), h = fg(4 + pick(12)), hole_gfn = gfn(HOLE_GFN + pick(4));
	enum hv_status status = HV_OK;

	switch (pick(9)) {
	case 0: status = physmap_renew(dom, g); break;
	case 1: status = physmap_swap(dom, g, h); break;
	case 2: status = physmap_move(dom, g, pick(2) ? h : hole_gfn); break;
	case 3: status = physmap_remove(dom, pick(2) ? g : hole_gfn); break;
	case 4: status = domain_add_ram(dom, pick(2) ? g : hole_gfn); break;
	case 5: status = physmap_retype(dom, g, (enum p2m_type[]){ P2M_RAM_RW, P2M_RAM_RO, P2M_RAM_LOGDIRTY }[pick(3)]); break;
	case 6: status = physmap_identity(dom, gfn(0x100 + pick(20)), pick(40), pick(2)); break;
	case 7: status = physmap_balloon(dom, g, 1 + pick(3), pick(2)); break;
	case 8: status = physmap_make_large(dom, fg(0)); break;
	}
	CHECK(status != HV_EDEAD && status != HV_ECHECK);
}

TEST(equal_whatever_happens_between_the_rounds)
{
	for (u32 run = 0; run < 150 && !test_failures; run++) {
		seed = run;
		CHECK(fixture_paged(2, 0, run & 1 ? SHADOW_OPT_ALL : pick(SHADOW_OPT_ALL + 1)));
		CHECK_EQ(migrate_start(dom), HV_OK);
		for (u32 rounds = pick(5); rounds; rounds--) {
			for (u32 i = pick(30); i && !dom->dead; i--) {
				if (pick(4))
					guest_write(vc(pick(2)));
				else
					change_physmap();
			}
			CHECK_EQ(round_of(), HV_OK);
			HEALTHY();
		}
		for (u32 i = pick(8); i && !dom->dead; i--)
			guest_write(vc(pick(2)));
		places_take();
		if (!finish())
			break;
		CHECK_STR(places_differ(), NULL);
		for (u32 i = 0; i < 20; i++)
			guest_write(vc(pick(2)));
		FINISH();
	}
}

static void race(void *context)
{
	*(bool *)context = true;
	CHECK(writes(vc(1), page(9), 99));
	CHECK_EQ(physmap_renew(dom, fg(10)), HV_OK);
	CHECK_EQ(physmap_remove(dom, fg(11)), HV_OK);
	CHECK_EQ(domain_add_ram(dom, gfn(HOLE_GFN)), HV_OK);
	CHECK_EQ(domain_add_ram(dom, fg(12)), HV_OK);
	host_set_cpu(0);
}

TEST(nobody_to_run_nothing_to_migrate)
{
	CHECK(fixture_start(1, 0, 0));
	dom->vcpu_count = 0;
	CHECK_EQ(migrate_start(dom), HV_EINVAL);
	dom->vcpu_count = 1;
	FINISH();
}

// A round that is interrupted wherever it lets go of the lock loses nothing.
TEST(a_round_with_others_in_between)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 400 && !test_failures; k++) {
		CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
		CHECK(writes(vc(1), page(9), 1));
		CHECK_EQ(physmap_remove(dom, fg(12)), HV_OK);
		CHECK_EQ(migrate_start(dom), HV_OK);
		ran = false;
		host_arm_point(k, race, &ran);
		CHECK_EQ(round_of(), HV_OK);
		host_arm_point(0, NULL, NULL);
		places_take();
		if (!finish())
			break;
		CHECK_STR(places_differ(), NULL);
		FINISH();
	}
}

static void store_to_logdirty(void *context)
{
	*(bool *)context = true;
	CHECK(writes(vc(1), page(9), 99)); // it is plain RAM from here on, which is no change of the physmap
	host_set_cpu(0);
}

// Whatever the type was when the copy was made to fit.
TEST(a_type_that_a_store_changes_in_between)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 400 && !test_failures; k++) {
		CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
		CHECK_EQ(physmap_retype(dom, fg(9), P2M_RAM_LOGDIRTY), HV_OK);
		CHECK_EQ(migrate_start(dom), HV_OK);
		ran = false;
		host_arm_point(k, store_to_logdirty, &ran);
		CHECK_EQ(round_of(), HV_OK);
		host_arm_point(0, NULL, NULL);
		CHECK_EQ(round_of(), HV_OK);
		places_take();
		if (!finish())
			break;
		CHECK_STR(places_differ(), NULL);
		FINISH();
	}
}

static u32 sent_away;
static bool vcpus_run;

// Whoever comes while a step is under way is sent away. Before its first and after its last point it is not.
static void meddle(void *context)
{
	enum hv_status status = migrate_round(dom, &sent);
	struct domain *to = NULL;

	*(bool *)context = true;
	if (status != HV_EBUSY) {
		CHECK(status == HV_OK || status == HV_ENOENT);
		return;
	}
	sent_away++;
	CHECK_EQ(migrate_start(dom), HV_EBUSY);
	CHECK_EQ(migrate_finish(dom, &to, NULL), HV_EBUSY);
	CHECK_EQ(migrate_cancel(dom), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(1), CONTROL_LOGDIRTY, 0), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(1), CONTROL_LOGDIRTY_OFF, 0), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(1), CONTROL_PEEK, 1), HV_EBUSY);
	if (vcpus_run)
		CHECK(writes(vc(1), page(9), 7));
	host_set_cpu(0);
}

TEST(steps_are_done_by_one_processor_at_a_time)
{
	for (u32 step = MIGRATE_START; step < MIGRATE_STEP_COUNT; step++) {
		bool ran = true;

		sent_away = 0;
		vcpus_run = step != MIGRATE_FINISH;
		for (u32 k = 1; ran && k < 400 && !test_failures; k++) {
			struct domain *from, *to = NULL;

			CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
			from = dom;
			if (step != MIGRATE_START)
				CHECK_EQ(migrate_start(dom), HV_OK);
			ran = false;
			host_arm_point(k, meddle, &ran);
			if (step == MIGRATE_FINISH)
				CHECK_EQ(migrate_finish(dom, &to, NULL), HV_OK);
			else
				CHECK_EQ(migrate_hypercall(dom, step), HV_OK);
			host_arm_point(0, NULL, NULL);
			if (step == MIGRATE_FINISH) {
				CHECK_STR(domain_destroy(from), NULL);
				dom = to;
			} else if (step != MIGRATE_CANCEL) {
				CHECK_EQ(migrate_cancel(dom), HV_OK);
			}
			FINISH();
		}
		CHECK(sent_away > 2);
	}
}

// ---- vcpus ------------------------------------------------------------------------------------------------------

TEST(registers_and_roots_in_every_mode)
{
	static const struct { u64 cr0, cr4, efer; } modes[] = {
		{ CR0_PE, 0, 0 },
		{ CR0_PE | CR0_PG | CR0_WP, CR4_PSE, 0 },
		{ CR0_PE | CR0_PG, CR4_PAE, EFER_NXE },
		{ CR0_PE | CR0_PG | CR0_WP, CR4_PAE | CR4_SMEP, EFER_LME | EFER_NXE | EFER_SCE },
	};

	for (u32 m = 0; m < ARRAY_LEN(modes); m++) {
		CHECK(fixture_start(2, 0, SHADOW_OPT_ALL));
		fixture_tree();
		if (m == 1 || m == 2) { // one table that maps itself as a large page is enough
			poke(0, 0, m == 1 ? (u64)(AS_LEAF | PTE_PS) : at(1, PTE_P));
			poke(1, 0, 0 | AS_LEAF | PTE_PS);
		}
		for (u32 i = 0; i < 2; i++) {
			host_set_cpu(i);
			CHECK_EQ(vcpu_write_cr3(vc(i), at(0, 0)), HV_OK);
			CHECK_EQ(vcpu_write_cr4(vc(i), modes[m].cr4), HV_OK);
			CHECK_EQ(vcpu_write_efer(vc(i), modes[m].efer), HV_OK);
			CHECK_EQ(vcpu_write_cr0(vc(i), modes[m].cr0), HV_OK);
		}
		vc(1)->rflags_ac = true;
		raw(0, 1, 0x77); // PDPTEs are latched: memory has others since
		struct vcpu_control before[2] = { vc(0)->guest, vc(1)->guest };
		u64 pdpte = vc(1)->shadow.pdpte[1];

		CHECK_EQ(migrate_start(dom), HV_OK);
		CHECK_EQ(round_of(), HV_OK);
		places_take();
		CHECK(finish());
		CHECK_STR(places_differ(), NULL);
		for (u32 i = 0; i < 2; i++)
			CHECK(memcmp(&before[i], &vc(i)->guest, sizeof(before[0])) == 0);
		CHECK_EQ(vc(1)->shadow.pdpte[1], pdpte);
		CHECK(vc(1)->rflags_ac);
		CHECK(reads(vc(0), page(9)) || m == 1);
		FINISH();
	}
}

// ---- the physmap --------------------------------------------------------------------------------------------------

// A large identity entry of which a page is taken out is followed entry by entry, not page by page.
TEST(large_identity_entries_that_are_cut)
{
	const gfn_t first = gfn(BIT(27));

	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(physmap_identity(dom, first, BIT(27), true), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(physmap_identity(dom, gfn(first.n + BIT(27) - 5), 1, false), HV_OK);
	u64 before = holds(dom);

	CHECK_EQ(round_of(), HV_OK);
	CHECK(holds(dom) - before < 20000);
	places_take();
	CHECK(finish());
	CHECK_STR(places_differ(), NULL);
	FINISH();
}

// What vanishes vanishes in the copy, gfn 0 too, which an idle vcpu's CR3 would name.
TEST(what_is_gone_is_gone)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(domain_add_ram(dom, gfn(0)), HV_OK);
	CHECK_EQ(domain_add_ram(dom, gfn(BIT(P2M_GFN_BITS) - 1)), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(sent, FIXTURE_FRAMES + 2);
	CHECK_EQ(physmap_remove(dom, gfn(0)), HV_OK);
	CHECK_EQ(physmap_remove(dom, gfn(BIT(P2M_GFN_BITS) - 1)), HV_OK);
	CHECK_EQ(physmap_remove(dom, fg(12)), HV_OK);
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(domain_get(1)->p2m.mapped, FIXTURE_FRAMES - 1);
	CHECK_EQ(physmap_remove(dom, fg(13)), HV_OK);
	places_take();
	CHECK(finish());
	CHECK_STR(places_differ(), NULL);
	FINISH();
}

// Identity ranges come, change their extent and go; where RAM was and the other way round.
TEST(identity_ranges_follow)
{
	static const struct { u64 first, count; bool on; } steps[] = {
		{ 0x100, 600, true }, { 0x105, 1, false }, { 0x2f8, 9, false }, { 0x105, 1, true }, { 0x100, 600, false },
		{ 0x0ff, 3, true }, { 0, 0x1000, true }, { 0x7ff, 2, false }, { 0, 0x1000, false },
		{ BIT(P2M_GFN_BITS) - 700, 700, true }, { FIXTURE_GFN + 16, 100, true },
	};

	for (u32 rounds = 0; rounds < 2; rounds++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		for (u32 i = 0; i < ARRAY_LEN(steps); i++) {
			CHECK_EQ(migrate_start(dom), HV_OK);
			if (rounds)
				CHECK_EQ(round_of(), HV_OK);
			CHECK_EQ(physmap_identity(dom, gfn(steps[i].first), steps[i].count, steps[i].on), HV_OK);
			if (rounds)
				CHECK_EQ(round_of(), HV_OK);
			if (rounds)
				CHECK_EQ(round_of(), HV_OK);
			CHECK_EQ(physmap_remove(dom, fg(15)), HV_OK);
			CHECK_EQ(physmap_identity(dom, fg(15), 1, true), HV_OK);
			if (rounds)
				CHECK_EQ(round_of(), HV_OK);
			CHECK_EQ(physmap_identity(dom, fg(15), 1, false), HV_OK);
			CHECK_EQ(domain_add_ram(dom, fg(15)), HV_OK);
			places_take();
			if (!finish())
				return;
			CHECK_STR(places_differ(), NULL);
		}
		FINISH();
	}
}

TEST(frames_of_other_domains_follow)
{
	struct domain_config config = { .vcpus = 1 };
	struct domain *other;

	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(domain_create(&config, &other), HV_OK);
	CHECK_EQ(domain_add_ram(other, gfn(5)), HV_OK);
	CHECK_EQ(domain_add_ram(other, gfn(6)), HV_OK);
	CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN), other, gfn(5)), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(round_of(), HV_OK);
	CHECK_EQ(sent, FIXTURE_FRAMES);
	CHECK_EQ(physmap_unmap_foreign(dom, gfn(HOLE_GFN)), HV_OK);
	CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN), other, gfn(6)), HV_OK);
	places_take();
	CHECK(finish());
	CHECK_STR(places_differ(), NULL);
	CHECK_EQ(physmap_unmap_foreign(dom, gfn(HOLE_GFN)), HV_OK);
	CHECK_STR(domain_destroy(other), NULL);
	FINISH();
}

// A frame stays mapped when its owner has given it up, is gone, or has moved on: the copy has the same one.
TEST(frames_of_domains_that_gave_them_up_follow)
{
	for (u32 how = 0; how < 8; how++) {
		struct domain_config config = { .vcpus = 1 };
		struct domain *owner, *moved = NULL, *reader;
		bool late = how & 4; // between the rounds

		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		reader = dom;
		CHECK_EQ(domain_create(&config, &owner), HV_OK);
		CHECK_EQ(domain_add_ram(owner, gfn(5)), HV_OK);
		mfn_t m = p2m_lookup(&owner->p2m, gfn(5));

		CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN), owner, gfn(5)), HV_OK);
		if (late) {
			CHECK_EQ(migrate_start(dom), HV_OK);
			CHECK_EQ(round_of(), HV_OK);
			CHECK_EQ(page_holds(m), 2);
		}
		CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN + 1), owner, gfn(5)), HV_OK); // late: for the last round to do
		if ((how & 3) == 1)
			CHECK_EQ(physmap_remove(owner, gfn(5)), HV_OK);
		if ((how & 3) == 2) {
			CHECK_EQ(migrate_start(owner), HV_OK);
			CHECK_EQ(migrate_finish(owner, &moved, NULL), HV_OK);
		}
		if (how & 2) {
			CHECK_STR(domain_destroy(owner), NULL);
			owner = moved;
		}
		if (!late)
			CHECK_EQ(migrate_start(dom), HV_OK);
		places_take();
		if (!finish())
			return;
		CHECK_STR(places_differ(), NULL);
		CHECK_EQ(page_holds(m), 2);
		CHECK(dom != reader && host_frame_owned(m));
		CHECK_EQ(physmap_unmap_foreign(dom, gfn(HOLE_GFN)), HV_OK);
		CHECK_EQ(physmap_unmap_foreign(dom, gfn(HOLE_GFN + 1)), HV_OK);
		CHECK_EQ(host_frame_owned(m), (how & 3) == 0);
		if (owner)
			CHECK_STR(domain_destroy(owner), NULL);
		FINISH();
	}
}

static struct domain *lender;

static void unmap_and_give_up(void *context)
{
	*(bool *)context = true;
	CHECK_EQ(physmap_unmap_foreign(dom, gfn(HOLE_GFN)), HV_OK);
	CHECK_EQ(physmap_remove(lender, gfn(5)), HV_OK); // the frame is the heap's, and soon another's
	CHECK_EQ(domain_add_ram(lender, gfn(7)), HV_OK);
	CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN), lender, gfn(6)), HV_OK);
}

// What the window was seen to want may be gone when its turn comes.
TEST(a_foreign_frame_changes_in_the_middle_of_a_round)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 400 && !test_failures; k++) {
		struct domain_config config = { .vcpus = 1 };

		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		CHECK_EQ(domain_create(&config, &lender), HV_OK);
		CHECK_EQ(domain_add_ram(lender, gfn(5)), HV_OK);
		CHECK_EQ(domain_add_ram(lender, gfn(6)), HV_OK);
		CHECK_EQ(physmap_map_foreign(dom, gfn(HOLE_GFN), lender, gfn(5)), HV_OK);
		CHECK_EQ(migrate_start(dom), HV_OK);
		ran = false;
		host_arm_point(k, unmap_and_give_up, &ran);
		CHECK_EQ(round_of(), HV_OK);
		host_arm_point(0, NULL, NULL);
		HEALTHY();
		CHECK_STR(hv_check(lender, true), NULL);
		places_take();
		if (!finish())
			return;
		CHECK_STR(places_differ(), NULL);
		CHECK_EQ(p2m_get(&dom->p2m, gfn(HOLE_GFN)).frame.n, p2m_lookup(&lender->p2m, gfn(ran ? 6 : 5)).n);
		CHECK_STR(domain_destroy(lender), NULL);
		FINISH();
	}
}

// ---- what else there is ----------------------------------------------------------------------------------------------

TEST(what_the_operator_changes_meanwhile_is_carried_over)
{
	for (u32 grows = 0; grows < 2; grows++) {
		CHECK(fixture_paged(2, grows ? 0 : 1000 * HOST_FRAMES / 4096, SHADOW_OPT_ALL));
		CHECK_EQ(migrate_start(dom), HV_OK);
		CHECK_EQ(round_of(), HV_OK);
		CHECK_EQ(hypercall(vc(0), HYPERCALL_POOL, grows ? dom->shadow.total_pages + 90 : 1, 0), HV_OK);
		CHECK_EQ(hypercall(vc(0), HYPERCALL_AUDIT, AUDIT_HASH | AUDIT_P2M, 0), HV_OK);
		u32 pool = dom->shadow.total_pages;

		CHECK(finish());
		CHECK_EQ(dom->shadow.total_pages, pool);
		CHECK_EQ(dom->audit, AUDIT_HASH | AUDIT_P2M);
		CHECK_EQ(dom->shadow.opts, SHADOW_OPT_ALL);
		CHECK_EQ(dom->shadow.modes, MODE_HVM);
		CHECK_EQ(dom->vcpu_count, 2);
		FINISH();
	}
}

TEST(a_dead_guest_does_not_come_to_life)
{
	struct domain *to = NULL;

	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(round_of(), HV_OK);
	domain_crash(dom, "test");
	CHECK_EQ(migrate_finish(dom, &to, NULL), HV_EDEAD);
	CHECK(!to && dom->migration);
	CHECK_EQ(migrate_cancel(dom), HV_OK);
	FINISH();
}

// ---- errors ------------------------------------------------------------------------------------------------------

TEST(out_of_order)
{
	struct domain_config config = { .vcpus = 1, .bare = true };
	struct domain *to, *others[DOMAINS_MAX];

	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(round_of(), HV_ENOENT);
	CHECK_EQ(migrate_finish(dom, &to, NULL), HV_ENOENT);
	CHECK_EQ(migrate_cancel(dom), HV_ENOENT);
	for (u64 step = MIGRATE_ROUND; step < MIGRATE_STEP_COUNT; step++)
		CHECK_EQ(migrate_hypercall(dom, step), step == MIGRATE_FINISH ? HV_EINVAL : HV_ENOENT);
	CHECK_EQ(migrate_hypercall(dom, MIGRATE_STEP_COUNT), HV_EINVAL);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_MIGRATE, MIGRATE_START, 0), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_EBUSY);
	CHECK_EQ(migrate_cancel(dom), HV_OK);
	CHECK_EQ(migrate_cancel(dom), HV_ENOENT);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK_EQ(migrate_start(dom), HV_EBUSY); // somebody else wants the bits
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY_OFF, 0), HV_OK);
	u32 n = 0;

	while (n < DOMAINS_MAX && domain_create(&config, &others[n]) == HV_OK)
		n++;
	CHECK_EQ(n, DOMAINS_MAX - 1);
	CHECK_EQ(migrate_start(dom), HV_ENOMEM); // no place
	CHECK_EQ(migrate_start(others[0]), HV_EINVAL);
	CHECK(!dom->migration && !others[0]->migration);
	while (n--)
		CHECK_STR(domain_destroy(others[n]), NULL);
	FINISH();
}

TEST(log_dirty_belongs_to_the_migration)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(migrate_start(dom), HV_OK);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY, 0), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY_OFF, 0), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_CLEAN, 16), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK, 16), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_OFF, 0), HV_EBUSY);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK, 0), HV_EINVAL);
	CHECK(dom->shadow.dirty.on);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_GET, 0), HV_OK);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_SET, 1), HV_OK);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_BLOW_ALL, 0), HV_OK);
	CHECK(writes(vc(0), page(9), 5));
	places_take();
	CHECK(finish());
	CHECK_STR(places_differ(), NULL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY, 0), HV_OK);
	FINISH();
}

TEST(a_migration_given_up_leaves_nothing)
{
	for (u32 rounds = 0; rounds < 3; rounds++) {
		CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
		CHECK(writes(vc(0), page(9), 1));
		CHECK_EQ(migrate_start(dom), HV_OK);
		for (u32 i = 0; i < rounds; i++) {
			CHECK(writes(vc(1), page(9), i));
			CHECK_EQ(round_of(), HV_OK);
		}
		CHECK(domain_get(1) != NULL);
		if (rounds == 2)
			domain_crash(dom, "test"); // it has nothing to move any more
		CHECK_EQ(migrate_cancel(dom), HV_OK);
		CHECK(!domain_get(1));
		CHECK(!dom->shadow.dirty.on && !dom->shadow.dirty.nodes);
		CHECK_EQ(dom->shadow.modes, MODE_HVM);
		if (rounds < 2)
			CHECK(writes(vc(0), page(9), 1));
		FINISH();
	}
}

TEST(a_domain_is_destroyed_in_the_middle)
{
	for (u32 how = 0; how < 3; how++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		CHECK_EQ(migrate_start(dom), HV_OK);
		if (how)
			CHECK_EQ(round_of(), HV_OK);
		if (how == 2)
			domain_crash(dom, "test");
		CHECK_STR(fixture_end(), NULL);
		CHECK(!domain_get(0) && !domain_get(1));
	}
}

TEST(an_unequal_copy_is_destroyed_and_the_original_goes_on)
{
	for (u32 how = 0; how < 3; how++) {
		struct domain *to = NULL;

		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		CHECK_EQ(migrate_start(dom), HV_OK);
		CHECK_EQ(round_of(), HV_OK);
		raw(9, how == 1 ? 511 : 0, 1); // behind everybody's back
		CHECK_EQ(migrate_finish(dom, &to, NULL), HV_ECHECK);
		CHECK(!to && !domain_get(1) && !dom->migration && !dom->shadow.dirty.on);
		HEALTHY();
		CHECK(writes(vc(0), page(9), 2));
		CHECK_EQ(migrate_start(dom), HV_OK);
		places_take();
		CHECK(finish());
		CHECK_STR(places_differ(), NULL);
		FINISH();
	}
}

// Every step with its k-th fallible part failing: HV_ENOMEM, the guest goes on, and the next attempt works.
TEST(rule_50_steps_fail_without_effect)
{
	u32 refused[MIGRATE_STEP_COUNT] = { 0 };

	for (u32 step = MIGRATE_START; step < MIGRATE_STEP_COUNT; step++) {
		bool failed = true;

		for (u32 k = 1; failed && !test_failures; k++) {
			struct domain *from, *to = NULL;
			enum hv_status status = HV_OK;

			CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
			CHECK(writes(vc(0), page(9), k));
			from = dom;
			u64 used = heap_used();

			for (u32 before = MIGRATE_START; before < step && before < MIGRATE_FINISH; before++)
				CHECK_EQ(migrate_hypercall(dom, before), HV_OK);
			if (step == MIGRATE_FINISH) {
				CHECK(writes(vc(0), page(10), k));
				CHECK_EQ(domain_add_ram(dom, gfn(HOLE_GFN)), HV_OK);
				CHECK_EQ(physmap_identity(dom, gfn(0x100), 5, true), HV_OK);
				CHECK_EQ(domain_resize_pool(dom, dom->shadow.total_pages + 20), HV_OK);
			}
			host_arm_failure(k);
			status = step == MIGRATE_FINISH ? migrate_finish(dom, &to, NULL) : migrate_hypercall(dom, step);
			failed = host_arm_failure(0);
			if (status != HV_OK) {
				refused[step]++;
				CHECK_EQ(status, HV_ENOMEM);
				CHECK(!to && !dom->dead);
				CHECK_EQ(dom->migration != NULL, step != MIGRATE_START);
				if (step == MIGRATE_START) {
					CHECK_EQ(heap_used(), used);
					CHECK(!domain_get(1) && !dom->shadow.dirty.on);
					CHECK_EQ(migrate_start(dom), HV_OK);
				}
				HEALTHY();
				CHECK_STR(hv_check(domain_get(1), true), NULL);
				CHECK(writes(vc(1), page(9), k + 1));
			} else if (step == MIGRATE_FINISH) {
				CHECK_STR(domain_destroy(from), NULL);
				dom = to;
			}
			if (dom->migration) {
				places_take();
				if (!finish())
					return;
				CHECK_STR(places_differ(), NULL);
			}
			CHECK(writes(vc(0), page(9), k));
			FINISH();
		}
	}
	CHECK(refused[MIGRATE_START] > 0);
	CHECK(refused[MIGRATE_ROUND] > FIXTURE_FRAMES);
	CHECK(refused[MIGRATE_FINISH] > 20);
	CHECK_EQ(refused[MIGRATE_CANCEL], 0);
}
