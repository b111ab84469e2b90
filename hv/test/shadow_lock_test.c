// SPDX-License-Identifier: GPL-2.0-or-later
// The paging lock and its bounds: what counts, when a bound is said to be exceeded, and that what a guest can cause does not
// depend on how many shadows there are besides. Rules 43, 53; B41.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// ---- counting ------------------------------------------------------------------------------------------

TEST(each_operation_has_a_bound_that_a_counter_holds)
{
	for (u32 op = 0; op < BOUND_COUNT; op++) {
		CHECK(bound_rows[op].name != NULL);
		CHECK(bound_rows[op].visits > 0 || op == BOUND_READ); // who reads looks at no shadow
		CHECK(bound_rows[op].visits < UINT32_C(1) << 30); // no wrap in the making of it
	}
}

static void hold(enum bound_op op, u64 visits)
{
	domain_lock(dom, op);
	dom->shadow.stats.visits += visits;
	domain_unlock(dom);
}

TEST(a_bound_is_exceeded_by_one_visit_too_many)
{
	for (u32 op = 0; op < BOUND_COUNT; op++) {
		CHECK(fixture_start(1, 0, 0));
		hold((enum bound_op)op, bound_rows[op].visits);
		CHECK_STR(bound_check(dom), NULL);
		hold((enum bound_op)op, bound_rows[op].visits + 1);
		const char *bad = bound_check(dom);

		CHECK(bad && !strncmp(bad, "E1.43 bound: ", 13) && strstr(bad, bound_rows[op].name));
		CHECK_STR(hv_check(dom, false), bad); // among the quick checks
		hold((enum bound_op)op, 0);
		CHECK(bound_check(dom) != NULL); // it is not forgotten
		most_visits();
		FINISH();
	}
}

TEST(only_what_is_done_under_the_lock_counts_and_each_hold_alone)
{
	CHECK(fixture_start(1, 0, 0));
	most_visits();
	dom->shadow.stats.visits += 1000;
	hold(BOUND_DIRTY, 7);
	CHECK_EQ(dom->bound[BOUND_DIRTY].most, 7);
	CHECK_EQ(dom->bound[BOUND_DIRTY].holds, 1);
	hold(BOUND_DIRTY, 3);
	CHECK_EQ(dom->bound[BOUND_DIRTY].most, 7);
	CHECK_EQ(dom->bound[BOUND_DIRTY].holds, 2);
	domain_lock(dom, BOUND_POOL);
	dom->shadow.stats.visits += 20;
	domain_breathe(dom);
	CHECK_EQ(dom->hold.op, BOUND_POOL);
	dom->shadow.stats.visits += 30;
	domain_unlock(dom);
	CHECK_EQ(dom->bound[BOUND_POOL].holds, 2);
	CHECK_EQ(dom->bound[BOUND_POOL].most, 30);
	FINISH();
}

// A step begins as an emulation, and tries again only while the most that a try can cost is left.
TEST(a_hold_is_charged_to_what_it_becomes)
{
	CHECK(fixture_start(1, 0, 0));
	dom->p2m.visits += BIT(40); // of before: none of this hold's affair
	most_visits();
	domain_lock(dom, BOUND_EMULATE);
	domain_charge(dom, BOUND_STEP);
	CHECK(domain_may_retry(dom));
	dom->shadow.stats.visits += bound_rows[BOUND_STEP].visits / 2;
	CHECK(domain_may_retry(dom));
	dom->p2m.visits += bound_rows[BOUND_STEP].visits / 2; // entries of the p2m count, too
	CHECK(!domain_may_retry(dom));
	domain_unlock(dom);
	CHECK_EQ(dom->bound[BOUND_EMULATE].holds, 0);
	CHECK_EQ(dom->bound[BOUND_STEP].most, bound_rows[BOUND_STEP].visits / 2 * 2);
	FINISH();
}

TEST(an_injected_pressure_is_exempt_for_that_hold)
{
	CHECK(fixture_start(1, 0, 0));
	domain_lock(dom, BOUND_READ);
	dom->shadow.stats.visits += bound_rows[BOUND_READ].visits + 1;
	dom->hold.exempt = true;
	domain_unlock(dom);
	CHECK_STR(bound_check(dom), NULL);
	hold(BOUND_READ, bound_rows[BOUND_READ].visits + 1);
	CHECK(bound_check(dom) != NULL);
	most_visits();
	FINISH();
}

// Statistics begin anew when shadow paging is switched on: the hold that does so must not look like one of 2^64 visits.
TEST(switching_on_again_after_a_failure_counts_nothing_wrong)
{
	struct domain_config config = { .vcpus = 4, .bare = true };
	bool failed = true;

	host_reset(1);
	hv_start();
	CHECK_EQ(domain_create(&config, &dom), HV_OK);
	for (u32 k = 1; failed; k++) {
		host_arm_failure(k);
		enum hv_status status = domain_enable(dom, MODE_HVM, SHADOW_OPT_ALL, 0);

		failed = host_arm_failure(0);
		CHECK(status == HV_OK || (failed && (status == HV_ENOMEM || status == HV_EDEAD)));
		CHECK_STR(bound_check(dom), NULL);
		if (status == HV_OK && failed) // a pin: take it all down, or there is nothing to switch on again
			shadow_teardown(dom);
		if (test_failures)
			break;
	}
	FINISH();
}

// A pool that was given before the mode is part of it then (spec A.5).
TEST(a_pool_given_first_is_kept)
{
	struct domain_config config = { .vcpus = 1, .bare = true };

	host_reset(1);
	hv_start();
	CHECK_EQ(domain_create(&config, &dom), HV_OK);
	CHECK_EQ(domain_resize_pool(dom, 700), HV_OK);
	CHECK_EQ(dom->shadow.total_pages, 700);
	bool failed = true;

	for (u32 k = 1; failed && !test_failures; k++) {
		host_arm_failure(k);
		enum hv_status status = domain_enable(dom, MODE_HVM, 0, 0);

		failed = host_arm_failure(0);
		CHECK_EQ(dom->shadow.modes, status == HV_OK ? MODE_HVM : 0);
		CHECK_EQ(dom->shadow.total_pages, 700);
		CHECK_EQ(dom->shadow.p2m_pages, status == HV_OK ? P2M_TABLES_MAX + 1 : 0);
		HEALTHY();
		if (status == HV_OK)
			break;
	}
	FINISH();
}

TEST(a_pool_of_a_domain_without_modes_grows_all_or_not_at_all)
{
	struct domain_config config = { .vcpus = 1, .bare = true };

	host_reset(1);
	hv_start();
	CHECK_EQ(domain_create(&config, &dom), HV_OK);
	for (u32 k = 1; k < 200; k += 33) {
		host_arm_failure(k);
		CHECK_EQ(domain_resize_pool(dom, 300), HV_ENOMEM);
		CHECK(host_arm_failure(0));
		CHECK_EQ(dom->shadow.total_pages, 0);
	}
	FINISH();
}

// ---- independence ---------------------------------------------------------------------------------------

static u32 pending(void)
{
	return dom->shadow.dying.length;
}

// One thing that a guest, or somebody for it, does; everything is as before afterwards. False: it did not work.
struct work {
	const char *name;
	bool (*run)(void);
};


static bool drop_mapping_and_fault(void)
{
	poke(3, 9, 0);
	poke(3, 9, at(9, AS_LEAF));
	return reads(vc(0), page(9));
}

static bool protect(void)
{
	mfn_t m = fm(9);
	bool ok = true;

	for (u32 i = 0; i < 20; i++)
		ok = ok && writes(vc(0), page(64 + i), i); // twenty mappings of f9
	domain_lock(dom, BOUND_UNSHADOW);
	shadow_write_protect(dom, m);
	domain_unlock(dom);
	return ok && !page_writable_count(m);
}

static bool unshadow(void)
{
	bool ok = reads(vc(0), page(9));

	for (u32 n = 2; n <= 3; n++) {
		domain_lock(dom, BOUND_UNSHADOW);
		shadow_remove_all(dom, fm(n));
		domain_unlock(dom);
		ok = ok && !page_is_table(fm(n));
	}
	return ok;
}

static bool load_known_and_new_roots(void)
{
	bool ok = load_cr3(vc(1), 5) == HV_OK && load_cr3(vc(1), 6) == HV_OK && load_cr3(vc(1), 5) == HV_OK;

	domain_lock(dom, BOUND_UNSHADOW);
	shadow_remove_all(dom, fm(6));
	domain_unlock(dom);
	return ok;
}

static bool invlpg(void)
{
	host_set_cpu(0);
	vcpu_invlpg(vc(0), gva(page(9)));
	return true;
}

static bool store_to_a_table(void)
{
	return writes(vc(0), page(3) + 9 * 8, at(9, AS_LEAF)) && writes(vc(0), page(2) + 9 * 8, 0);
}

static bool push_to_a_table(void)
{
	return go(vc(0), CPU_PUSH, page(3) + 30 * 8, 8, 0, 0).end == CPU_DONE && reads(vc(0), page(9));
}

static bool stepped(void)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(3) + 30 * 8, .bytes = 8, .unknown = true };
	struct cpu_result r;

	host_set_cpu(0);
	cpu_access(vc(0), &a, &r);
	return r.end == CPU_DONE;
}

static bool large_page(void)
{
	poke(2, 3, at(0, AS_LEAF | PTE_PS));
	bool ok = writes(vc(0), 3 * UINT64_C(0x200000) + page(9), 1);

	poke(2, 3, 0);
	return ok;
}

static bool renew_ram(void)
{
	return physmap_renew(dom, fg(14)) == HV_OK && writes(vc(0), page(14), 1) && physmap_remove(dom, fg(14)) == HV_OK &&
	       domain_add_ram(dom, fg(14)) == HV_OK && physmap_swap(dom, fg(13), fg(14)) == HV_OK && reads(vc(0), page(13));
}

static bool blow(void)
{
	domain_lock(dom, BOUND_BLOW);
	shadow_blow_tables(dom);
	domain_unlock(dom);
	return true;
}

static bool switch_nx(void)
{
	vc(1)->guest.efer ^= EFER_NXE;
	host_set_cpu(1);
	bool ok = vcpu_enter(vc(1)) == HV_OK;

	vc(1)->guest.efer ^= EFER_NXE;
	ok = ok && vcpu_enter(vc(1)) == HV_OK;
	return ok;
}

static bool dirty_round(void)
{
	u8 bitmap[4096];
	u64 done;
	bool more = true;

	domain_lock(dom, BOUND_DIRTY);
	bool ok = shadow_dirty_start(dom) == HV_OK;
	domain_unlock(dom);
	ok = ok && writes(vc(0), page(9), 1) && writes(vc(0), page(10), 1);
	domain_lock(dom, BOUND_DIRTY);
	ok = ok && shadow_dirty_read(dom, true, FIXTURE_GFN, 16, bitmap, &done) == HV_OK;
	domain_unlock(dom);
	while (more) {
		domain_lock(dom, BOUND_DIRTY);
		shadow_dirty_stop(dom, &more);
		domain_unlock(dom);
	}
	return ok;
}

static const struct work works[] = {
	{ "fault", drop_mapping_and_fault }, { "write removal", protect },      { "unshadow", unshadow },
	{ "CR3", load_known_and_new_roots }, { "INVLPG", invlpg },              { "store", store_to_a_table },
	{ "push", push_to_a_table },         { "step", stepped },               { "large page", large_page },
	{ "physmap", renew_ram },            { "blow", blow },                  { "NX", switch_nx },
	{ "log-dirty", dirty_round },
};

// The most visits of one hold while work `w` is done beside `others` unrelated shadows.
static u64 measure(const struct work *w, u32 others)
{
	CHECK(fixture_paged(2, CROWD_POOL(CROWD_MAX), SHADOW_OPT_ALL & ~SHADOW_OPT_LINUX_L3 & ~SHADOW_OPT_PREFETCH));
	for (u32 i = 0; i < 20; i++)
		poke(3, 64 + i, at(9, AS_LEAF));
	for (u32 i = 4; i < 7; i++) // roots, which nothing maps
		poke(3, i, 0);
	CHECK_EQ(load_cr3(vc(1), 5), HV_OK);
	host_set_cpu(0);
	CHECK(crowd(others));
	drain();
	CHECK(reads(vc(0), page(9)));
	u32 live = dom->shadow.shadow_count;

	CHECK(live >= others);
	most_visits();
	if (!CHECK(w->run()))
		printf("work: %s\n", w->name);
	u64 most = most_visits();

	CHECK_STR(bound_check(dom), NULL);
	while (pending())
		drain();
	FINISH();
	return most;
}

// What dying shadows leave to be done is paid in small change at the end of each hold, and is no part of the comparison.
TEST(visits_do_not_depend_on_unrelated_shadows)
{
	for (u32 i = 0; i < ARRAY_LEN(works); i++) {
		u64 few = measure(&works[i], 10), many = measure(&works[i], CROWD_MAX);

		if (!CHECK(many <= few + SHADOW_REAP_VISITS + 4 * 512))
			printf("%s: %llu visits beside 10, %llu beside %u\n", works[i].name, (unsigned long long)few,
			       (unsigned long long)many, CROWD_MAX);
	}
}
