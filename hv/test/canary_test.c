// SPDX-License-Identifier: GPL-2.0-or-later
// Canaries: does each checker see what it is there for? A healthy domain with everything in it is broken by
// hand, one rule at a time; the checkers must name the rule, and say nothing after the repair.
//
//  1. all rules of spec E.1, and who watches each: data that the last test of this file checks
//  2. every break is named, with all audits on; what the cheap check sees; which audit looks where
//  3. what the host port itself watches, teardown, and completeness
//
// The domain is made in canary_world.c, the breaks are in canary_breaks.c. Every break runs between a snapshot and its
// restoration: the domain, the table of frames, the frames.
// link: hv/test/fixture.c hv/test/canary_world.c hv/test/canary_breaks.c
#include "test.h"

#include "canary.h"

// ---- 1. who watches which rule ---------------------------------------------------------------------------

enum watcher {
	CHECKER,  // a *_check() of the core: has breaks below
	PORT,     // the host port while it runs: has a canary below
	EXECUTOR, // the lock-step run against the model (fuzz/model); its canaries: fuzz/model/test
	UNIT,     // holds over time, not at one moment: the named unit tests
	NOT_HERE, // cannot be broken in this design: the reason
};

static const struct {
	u32 rule;
	enum watcher watcher;
	const char *where;
} watch[] = {
	{ 1, CHECKER, "pool_check, dirty_check" },
	{ 2, CHECKER, "pool_check, counters in shadow_check. The type of a free page shares storage with its stamp" },
	{ 3, NOT_HERE, "the pool is flat: no buddies; head flags are rule 6" },
	{ 4, CHECKER, "pool_check, p2m_check" },
	{ 5, CHECKER, "p2m_check, ref_check" },
	{ 6, CHECKER, "pool_check, links included" },
	{ 7, UNIT, "asserted in pool_alloc: shadow_pool_test rule_7_and_live_shadows_are_asserted" },
	{ 8, CHECKER, "pool_check" },
	{ 9, CHECKER, "hash_check" },
	{ 10, CHECKER, "hash_check" },
	{ 11, CHECKER, "hash_check" },
	{ 12, CHECKER, "hash_check" },
	{ 13, NOT_HERE, "nothing walks the hash: reverse maps say who names a frame or a shadow" },
	{ 14, CHECKER, "hash_check" },
	{ 15, CHECKER, "ref_check" },
	{ 16, CHECKER, "ref_check; the dying list: pool_check" },
	{ 17, CHECKER, "ref_check" },
	{ 18, CHECKER, "ref_check" },
	{ 19, CHECKER, "ref_check" },
	{ 20, CHECKER, "ref_check with rmap_check: of reverse maps, which stand for `up`" },
	{ 21, NOT_HERE, "void: there is no `up` that may be missing; reverse maps are complete, and rule 20 says so" },
	{ 22, CHECKER, "pin_check" },
	{ 23, CHECKER, "pin_check" },
	{ 24, CHECKER, "pin_check" },
	{ 25, UNIT, "shadow_pin_test the_list_is_an_lru_of_loads, shadow_root_test a_failed_pin_loads_all_the_same" },
	{ 26, UNIT, "shadow_pin_test the_list_is_an_lru_of_loads" },
	{ 27, UNIT, "shadow_pool_test stage_1_unpins_a_suffix_of_the_list_and_no_more_than_needed" },
	{ 28, CHECKER, "counters in shadow_check; the edge: shadow_pin_test rule_28_..." },
	{ 29, UNIT, "shadow_pin_test rule_29_level_3_tables_are_pinned_when_they_are_linked" },
	{ 30, CHECKER, "entry_check" },
	{ 31, CHECKER, "entry_check" },
	{ 32, CHECKER, "ref_check, entry_check; also the soft CPU" },
	{ 33, CHECKER, "entry_check" },
	{ 34, CHECKER, "entry_check" },
	{ 35, CHECKER, "hash_check, entry_check" },
	{ 36, CHECKER, "entry_check" },
	{ 37, CHECKER, "root_check; also the soft CPU" },
	{ 38, CHECKER, "root_check; also the soft CPU" },
	{ 39, CHECKER, "root_check" },
	{ 40, CHECKER, "root_check; ref_check: no child is dying, or older than its parent; also the soft CPU" },
	{ 41, EXECUTOR, "model_follow; also the soft CPU, and late.c for vcpus that are entered without the lock" },
	{ 42, PORT, "tlb_check; also the executor with the model's TLB" },
	{ 43, CHECKER, "bound_check: visits under one hold of the lock; faults: the soft CPU's budget; kills: the executor" },
	{ 44, EXECUTOR, "model_follow" },
	{ 45, EXECUTOR, "model_follow, model_compare_memory; also shadow_write_test" },
	{ 46, EXECUTOR, "model_compare_memory; also pt_walk_test" },
	{ 47, EXECUTOR, "the step options-unseen of ci/test.sh: corpus traces under other options and pool sizes" },
	{ 48, EXECUTOR, "the model's dirty set (fuzz/model/dirty.c) against the bits that are handed out; "
			"shadow_dirty_test rule_48_..., B34_..., B35_..." },
	{ 49, CHECKER, "dirty_check; over time: shadow_dirty_test rule_49_..." },
	{ 50, UNIT, "shadow_pool_test rule_50_..., shadow_dirty_test rule_50_..., domain_test rule_50_..., "
		    "physmap_fail_test rule_50_...; also the executor" },
	{ 51, CHECKER, "counters in shadow_check, dirty_check" },
	{ 52, CHECKER, "heap_check, shadow_check_torn_down" },
	{ 53, PORT, "at each lock and yield point" },
	{ 54, NOT_HERE, "no monitor tables: under SVM the hypervisor has its own CR3, and no linear maps" },
	{ 55, NOT_HERE, "void: there is no hint of a writable leaf; last_written is compared and never followed" },
	{ 56, CHECKER, "p2m_check" },
	{ 57, NOT_HERE, "void: there are no out-of-sync tables" },
};

// The defects of spec A.20 and the tests that are named for them.
static const char *const defects[] = {
	[1] = "not here: there is no `up`; that links and lists share nothing: "
	      "shadow_rmap_test links_lie_at_the_entrys_slot_of_the_companion_page",
	[2] = "shadow_pin_test D2_...",
	[3] = "shadow_pool_test D3_...",
	[4] = "shadow_access_test D4_...",
	[5] = "shadow_root_test D5_...",
	[6] = "shadow_root_test D6_...",
	[7] = "shadow_root_test D7_...: the four roots of unpaged vcpus; shadow_modes_test: those of PAE guests",
	[8] = "shadow_dirty_test D8_...",
	[9] = "shadow_dirty_test D9_...",
	[10] = "shadow_pool_test D10_...",
	[11] = "shadow_write_test D11_...",
	[12] = "shadow_write_test D12_...",
	[13] = "shadow_pool_test D13_..., hypercall_test D13_...",
	[14] = "domain_test D14_...",
	[15] = "shadow_root_test D15_...",
	[16] = "shadow_table_test D16_...",
	[17] = "not here: audits walk all frames, no mask chooses among types",
	[18] = "p2m_test D18_...",
	[19] = "not here: nothing marks without the domain's lock",
	[20] = "pt_walk_test D20_...",
	[21] = "shadow_fault_test D21_...",
	[22] = "shadow_ref_test D22_...",
	[23] = "shadow_write_test D23_...",
};

// ---- 2. the breaks ------------------------------------------------------------------------------------------

static bool starts_with(const char *text, const char *start)
{
	size_t n = strlen(start);

	return text && !strncmp(text, start, n) && (start[n - 1] < '0' || start[n - 1] > '9' || text[n] == ' ');
}

TEST(every_break_is_named_and_every_repair_is_seen)
{
	if (!CHECK(canary_world()))
		return;
	canary_save();
	for (u32 i = 0; i < canary_break_count; i++) {
		const struct canary_break *b = &canary_breaks[i];

		b->act();
		dom->audit = 0; // what a guest wants audited is no affair of hv_check()
		const char *bad = b->check ? b->check(dom) : hv_check(dom, true);

		if (!starts_with(bad, b->expect) && test_fail(__FILE__, __LINE__))
			printf("break %u: \"%s\", expected %s\n", i, bad ? bad : "(nothing)", b->expect);
		canary_restore();
		if (!CHECK_STR(fixture_problem(), NULL))
			break;
	}
	CHECK_STR(canary_world_end(), NULL);
	canary_forget();
}

// What is broken in one domain is no other's fault.
TEST(the_neighbour_is_healthy_whatever_is_broken)
{
	if (!CHECK(canary_world()))
		return;
	canary_save();
	for (u32 i = 0; i < canary_break_count; i++) {
		canary_breaks[i].act();
		const char *bad = hv_check(neighbour, true);

		if (bad && !starts_with(bad, "E1.52") && test_fail(__FILE__, __LINE__)) // the heap is everybody's
			printf("break %u: \"%s\"\n", i, bad);
		canary_restore();
	}
	CHECK_STR(canary_world_end(), NULL);
	canary_forget();
}

// The cheap check sees what it claims to: counters and heads.
TEST(the_cheap_check_sees_counters_and_roots)
{
	void (*cheap[])(void) = { free_count_down, bound_exceeded, pinned_too_many, option_from_nowhere,
				  identity_lost, log_dirty_off, cr3_elsewhere, pdpte_wrong, root_freed };

	if (!CHECK(canary_world()))
		return;
	canary_save();
	for (u32 i = 0; i < ARRAY_LEN(cheap); i++) {
		cheap[i]();
		CHECK(hv_check(dom, false) != NULL);
		dom->audit = 0;
		CHECK(hv_audit(dom) != NULL); // so does every other
		canary_restore();
	}
	CHECK_STR(canary_world_end(), NULL);
	canary_forget();
}

// Each audit (spec A.19) looks where it says, and nowhere else: seen with every combination of bits that has one of `any` and
// all of `all`.
static const struct {
	const char *expect;
	void (*act)(void);
	u32 any, all;
} audited[] = {
	{ "E1.12", count_of_shadows, AUDIT_HASH | AUDIT_HASH_FULL, 0 },
	{ "E1.1", total_up, AUDIT_HASH_FULL, 0 },
	{ "E1.18", reference_unexplained, AUDIT_HASH_FULL, 0 },
	{ "E1.49", dirty_count_up, AUDIT_HASH_FULL, 0 },
	{ "E1.30", root_lost_write, AUDIT_ENTRIES | AUDIT_ENTRIES_FULL, 0 },
	{ "E1.30", guest_lost_write, AUDIT_ENTRIES_FULL, 0 },
	{ "E1.31", root_moved, AUDIT_ENTRIES | AUDIT_ENTRIES_FULL, AUDIT_ENTRIES_MFNS },
	{ "E1.31", guest_moved, AUDIT_ENTRIES_FULL, AUDIT_ENTRIES_MFNS },
	{ "E1.56", p2m_count, AUDIT_P2M, 0 },
};

TEST(each_audit_looks_where_it_says)
{
	if (!CHECK(canary_world()))
		return;
	canary_save();
	for (u32 i = 0; i < ARRAY_LEN(audited); i++) {
		audited[i].act();
		for (u32 mask = 0; mask <= AUDIT_ALL; mask++) {
			bool sees = (mask & audited[i].any) && (mask & audited[i].all) == audited[i].all;

			dom->audit = mask;
			const char *bad = hv_audit(dom);

			if ((sees ? !starts_with(bad, audited[i].expect) : bad != NULL) && test_fail(__FILE__, __LINE__))
				printf("audit 0x%x of %s: \"%s\"\n", mask, audited[i].expect, bad ? bad : "(nothing)");
			CHECK_STR(hv_check(dom, false), NULL);
			CHECK(starts_with(hv_check(dom, true), audited[i].expect)); // whatever is audited
		}
		canary_restore();
	}
	CHECK_STR(canary_world_end(), NULL);
	canary_forget();
}

// ---- 3. the port, teardown, completeness -----------------------------------------------------------------

TEST(E1_53_the_port_watches_locks)
{
	CHECK(fixture_paged(2, 0, 0));
	domain_lock(dom, BOUND_READ);
	domain_lock(dom, BOUND_READ);
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	domain_unlock(dom);
	domain_unlock(dom); // nobody holds it now
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	domain_lock(dom, BOUND_READ);
	port_yield(YIELD_FAULT_WALKED);
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	host_set_cpu(1);
	domain_unlock(dom); // not its holder
	CHECK(starts_with(host_finding_rule(), "E1.53"));
	host_finding_clear();
	host_set_cpu(0);
	FINISH();
}

// The soft CPU gives up on an access that never gets through.
static void never_ends(void *context)
{
	(void)context;
	raw(3, 9, word(3, 9) ^ PTE_AVL); // another vcpu that always gets in between
	host_arm_race(1, never_ends, NULL);
}

TEST(E1_43_the_port_watches_progress)
{
	CHECK(fixture_paged(1, 0, 0));
	host_arm_race(1, never_ends, NULL);
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).end, CPU_STUCK);
	host_arm_race(0, NULL, NULL);
	CHECK(starts_with(host_finding_rule(), "E1.43"));
	host_finding_clear();
	FINISH();
}

static mfn_t leaked;

TEST(E1_52_a_leak_is_told_when_the_domain_is_gone)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(heap_alloc(dom->owner, &leaked), HV_OK);
	CHECK(starts_with(domain_destroy(dom), "E1.52"));
	CHECK(fixture_paged(1, 0, 0));
	CHECK_STR(fixture_end(), NULL);
	dom->shadow.total_pages = 1;
	CHECK(starts_with(shadow_check_torn_down(dom, true), "E1.52"));
	dom->shadow.total_pages = 0;
	CHECK_STR(shadow_check_torn_down(dom, true), NULL);
}

// All rules of the specification have a row; a row that promises a canary has one.
TEST(all_rules_are_accounted_for)
{
	for (u32 i = 0; i < ARRAY_LEN(watch); i++) {
		u32 seen = 0;
		char name[16];

		CHECK_EQ(watch[i].rule, i + 1);
		CHECK(watch[i].where && watch[i].where[0]);
		snprintf(name, sizeof(name), "E1.%u", watch[i].rule);
		for (u32 b = 0; b < canary_break_count; b++)
			seen += starts_with(canary_breaks[b].expect, name) || !strcmp(canary_breaks[b].expect, name);
		if (watch[i].watcher == CHECKER && !CHECK(seen > 0))
			printf("rule %u has no canary\n", watch[i].rule);
		if (watch[i].watcher == UNIT || watch[i].watcher == NOT_HERE)
			CHECK_EQ(seen, 0);
	}
	CHECK_EQ(ARRAY_LEN(watch), 57);
	for (u32 i = 1; i < ARRAY_LEN(defects); i++)
		CHECK(defects[i] != NULL);
	CHECK_EQ(ARRAY_LEN(defects), 24);
}
