// SPDX-License-Identifier: GPL-2.0-or-later
// Several domains on one machine: created, run and destroyed in any order, each in a paging mode of its own; what happens to one
// is not seen by another. Modes of a domain that begins without any. Rules 42, 50, 51, 52; spec A.5.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define GUESTS 4u // of each paging mode one

static struct domain *all[DOMAINS_MAX];
_Static_assert(GUESTS <= DOMAINS_MAX, "there is a place for each");

// ---- a guest in the n-th domain: unpaged, 2 levels, PAE, 64 bits ------------------------------------------------

static void put(u32 n, u32 index, u64 entry, u32 bytes)
{
	if (domain_write(dom, gpa(at(n, index * bytes)), &entry, bytes) != HV_OK)
		port_fatal("cannot write to a frame");
}

static bool begin(u32 kind, u32 vcpus)
{
	u32 bytes = kind == 1 ? 4 : 8;

	for (u32 i = 0; i < FIXTURE_FRAMES && kind; i++)
		put(3, i, at(i, AS_LEAF), bytes);
	put(0, 0, kind == 3 ? at(1, AS_TABLE) : kind == 2 ? at(2, PTE_P) : at(3, AS_TABLE), bytes);
	put(1, 0, at(2, AS_TABLE), bytes);
	put(2, 0, at(3, AS_TABLE), bytes);
	for (u32 i = 0; i < vcpus && kind; i++) {
		host_set_cpu(host_cpu_of(vc(i)));
		if (vcpu_write_cr4(vc(i), kind == 1 ? CR4_PSE : CR4_PAE) != HV_OK ||
		    vcpu_write_efer(vc(i), kind == 3 ? EFER_LME | EFER_NXE : 0) != HV_OK || load_cr3(vc(i), 0) != HV_OK ||
		    vcpu_write_cr0(vc(i), CR0_PE | CR0_PG | CR0_WP) != HV_OK)
			return false;
	}
	return true;
}

static u64 va_of(u32 kind, u32 n) { return kind ? page(n) : at(n, 0); }

// The n-th of them is of kind n % GUESTS.
static bool begin_many(u32 count, u32 vcpus, u32 opts)
{
	bool ok = true;

	host_reset(1);
	host_set_frames(HOST_FRAMES_MAX); // four large pools
	hv_start();
	for (u32 i = 0; i < count; i++) {
		host_set_cpu(HOST_CPUS - 1); // whoever makes a domain counts as one of its processors
		ok = ok && fixture_another(vcpus, 0, opts) && begin(i % GUESTS, vcpus);
		all[i] = dom;
	}
	return ok;
}

static bool begin_all(u32 vcpus, u32 opts) { return begin_many(GUESTS, vcpus, opts); }

// The value goes to every page of data of the n-th domain and comes back.
static void use(u32 n, u64 value)
{
	dom = all[n];
	for (u32 i = 0; i < dom->vcpu_count; i++)
		for (u32 f = 8; f < FIXTURE_FRAMES; f++) {
			CHECK_EQ(go(vc(i), CPU_WRITE, va_of(n % GUESTS, f) + i * 8, 4, 0, value + f).end, CPU_DONE);
			CHECK_EQ(go(vc(i), CPU_READ, va_of(n % GUESTS, f) + i * 8, 4, 0, 0).value[0], value + f);
			CHECK_EQ(word(f, i) & UINT32_MAX, value + f);
		}
	HEALTHY();
}

// Nobody else has changed it.
static void holds(u32 n, u64 value)
{
	dom = all[n];
	for (u32 i = 0; i < dom->vcpu_count; i++)
		for (u32 f = 8; f < FIXTURE_FRAMES; f++)
			CHECK_EQ(go(vc(i), CPU_READ, va_of(n % GUESTS, f) + i * 8, 4, 0, 0).value[0], value + f);
	HEALTHY();
}

static void end_all(void)
{
	for (u32 i = 0; i < DOMAINS_MAX; i++)
		if (all[i]) {
			dom = all[i];
			CHECK_STR(fixture_problem(), NULL);
			CHECK_STR(domain_destroy(dom), NULL);
			all[i] = NULL;
		}
	CHECK_EQ(host_frames_owned(), 0);
	CHECK_EQ(heap_used(), 0);
	CHECK_EQ(host_maps_outstanding(), 0);
}

// ---- places --------------------------------------------------------------------------------------------------

TEST(as_many_domains_as_there_are_places)
{
	struct domain_config config = { .vcpus = 1 };

	CHECK(begin_many(DOMAINS_MAX, 1, 0));
	for (u32 i = 0; i < DOMAINS_MAX; i++) {
		CHECK_EQ(all[i]->number, i);
		CHECK_EQ(all[i]->owner, i + 1);
		CHECK(domain_get(i) == all[i]);
	}
	struct domain *more = NULL;
	u64 used = heap_used();

	CHECK_EQ(domain_create(&config, &more), HV_EBUSY);
	CHECK(more == NULL);
	CHECK_EQ(heap_used(), used);
	CHECK(domain_get(DOMAINS_MAX) == NULL);
	CHECK(domain_get(UINT32_MAX) == NULL);
	for (u32 i = 0; i < DOMAINS_MAX; i++) { // a place that is given up is the next one's
		CHECK_STR(domain_destroy(all[i]), NULL);
		CHECK(domain_get(i) == NULL);
		CHECK(fixture_another(1, 0, 0) && begin(i % GUESTS, 1));
		CHECK(dom == all[i] && dom->number == i && !dom->dead);
		use(i, 0x100);
	}
	end_all();
}

// All 24 orders.
TEST(rule_52_domains_go_in_any_order)
{
	for (u32 order = 0; order < 24; order++) {
		u32 left[GUESTS] = { 0, 1, 2, 3 }, code = order;

		CHECK(begin_all(2, order & 1 ? SHADOW_OPT_ALL : 0));
		for (u32 n = 0; n < GUESTS; n++)
			use(n, 0x1000 * n);
		for (u32 count = GUESTS; count; count--) {
			u32 pick = code % count, gone = left[pick];

			code /= count;
			left[pick] = left[count - 1];
			u64 used = heap_used();

			CHECK_STR(domain_destroy(all[gone]), NULL);
			CHECK(heap_used() < used);
			all[gone] = NULL;
			for (u32 i = 0; i + 1 < count; i++)
				holds(left[i], 0x1000 * left[i]);
		}
		end_all();
		if (test_failures)
			return;
	}
}

// ---- nothing is shared -----------------------------------------------------------------------------------------

// The same addresses in all of them, in turn.
TEST(rule_47_domains_do_not_see_one_another)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(begin_all(4, opts));
		for (u32 round = 1; round < 4; round++) {
			for (u32 n = 0; n < GUESTS; n++)
				use(n, 0x10000 * round + 0x1000 * n);
			for (u32 n = 0; n < GUESTS; n++)
				holds(n, 0x10000 * round + 0x1000 * n);
		}
		end_all();
	}
}

// All that can be done to a domain, and what the others have to show of it: nothing at all.
static void harm(u32 how)
{
	bool more = true;

	switch (how) {
	case 0: CHECK_EQ(hypercall(vc(0), HYPERCALL_BLOW, 0, 0), HV_OK); break;
	case 1: CHECK_EQ(hypercall(vc(0), HYPERCALL_UNSHADOW, fg(3).n, 0), HV_OK); break;
	case 2: CHECK_EQ(domain_resize_pool(dom, dom->shadow.total_pages + 9), HV_OK); break;
	case 3: CHECK_EQ(physmap_swap(dom, fg(8), fg(9)), HV_OK); break;
	case 4: CHECK_EQ(physmap_renew(dom, fg(9)), HV_OK); break;
	case 5: CHECK_EQ(vcpu_write_efer(vc(0), vc(0)->guest.efer ^ EFER_NXE), HV_OK); break;
	case 6:
		domain_lock(dom, BOUND_DIRTY);
		CHECK_EQ(shadow_dirty_start(dom), HV_OK);
		domain_unlock(dom);
		break;
	case 7:
		domain_lock(dom, BOUND_DIRTY);
		CHECK_EQ(shadow_dirty_start(dom), HV_OK);
		while (more)
			shadow_dirty_stop(dom, &more);
		domain_unlock(dom);
		break;
	case 8: domain_crash(dom, "test"); break;
	default: break;
	}
}

TEST(what_is_done_to_one_domain_is_not_seen_by_another)
{
	for (u32 victim = 0; victim < GUESTS; victim++)
		for (u32 how = 0; how < 9; how++) {
			struct shadow_domain before[GUESTS];
			const struct tlb_entry *first;
			u32 pages[GUESTS];

			CHECK(begin_all(1, SHADOW_OPT_ALL));
			for (u32 n = 0; n < GUESTS; n++)
				use(n, 0x1000 * n);
			for (u32 n = 0; n < GUESTS; n++) {
				before[n] = all[n]->shadow;
				pages[n] = tlb_pages(host_cpu_of(&all[n]->vcpu[0]), &first);
				CHECK(pages[n] > 0);
			}
			dom = all[victim];
			host_set_cpu(host_cpu_of(vc(0)));
			harm(how);
			for (u32 n = 0; n < GUESTS; n++) {
				if (n == victim)
					continue;
				CHECK(!memcmp(&before[n], &all[n]->shadow, sizeof(before[n])));
				CHECK_EQ(tlb_pages(host_cpu_of(&all[n]->vcpu[0]), &first), pages[n]);
				holds(n, 0x1000 * n);
			}
			end_all();
			if (test_failures)
				return;
		}
}

// One is killed for want of shadow memory; it is destroyed, or stays where it is while the others go.
TEST(rule_52_a_killed_domain_is_no_others_concern)
{
	for (u32 last = 0; last < 2; last++) {
		CHECK(begin_all(1, SHADOW_OPT_ALL));
		for (u32 n = 0; n < GUESTS; n++)
			use(n, 0x1000 * n);
		dom = all[3];
		CHECK_EQ(hypercall(vc(0), HYPERCALL_BLOW, 0, 0), HV_OK);
		drain();
		u32 free_pages = dom->shadow.free_pages; // all of them stand for what nothing can reclaim
		struct page_list list = dom->shadow.free;

		dom->shadow.free_pages = 0;
		dom->shadow.free = (struct page_list){ 0 };
		struct cpu_result r = go(vc(0), CPU_READ, page(9), 8, 0, 0);

		CHECK_EQ(r.end, CPU_DEAD);
		CHECK_STR(dom->death, "out of shadow memory");
		CHECK_EQ(vcpu_enter(vc(0)), HV_EDEAD);
		CHECK_EQ(hypercall(vc(0), HYPERCALL_CHECK, 0, 0), HV_EDEAD);
		dom->shadow.free_pages = free_pages;
		dom->shadow.free = list;
		for (u32 n = 0; n < 3; n++) {
			holds(n, 0x1000 * n);
			use(n, 0x2000 * n);
		}
		if (!last) {
			CHECK_STR(domain_destroy(all[3]), NULL);
			all[3] = NULL;
			holds(1, 0x2000);
		}
		end_all();
	}
}

// A domain that cannot be made leaves nothing behind, and the others alone.
TEST(rule_52_a_creation_that_fails_beside_others)
{
	bool failed = true;

	for (u32 k = 1; failed; k++) {
		struct domain_config config = { .vcpus = 2, .opts = SHADOW_OPT_ALL };
		struct domain *late = NULL;

		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		CHECK(writes(vc(0), page(9), k));
		u64 used = heap_used();

		host_arm_failure(k);
		enum hv_status status = domain_create(&config, &late);

		failed = host_arm_failure(0);
		if (status != HV_OK) {
			CHECK(failed && late == NULL);
			CHECK_EQ(heap_used(), used);
			CHECK(domain_get(1) == NULL);
		} else {
			CHECK_STR(domain_destroy(late), NULL);
		}
		CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).value[0], k);
		FINISH();
		if (test_failures)
			return;
	}
}

// ---- modes (spec A.5) ------------------------------------------------------------------------------------------

static bool bare(u32 vcpus)
{
	struct domain_config config = { .vcpus = vcpus, .bare = true };

	host_reset(1);
	hv_start();
	return domain_create(&config, &dom) == HV_OK;
}

// What goes together: log-dirty alone, references without anything, a p2m with references, all that with the hypervisor outside.
static bool goes_together(u32 modes)
{
	return modes == MODE_LOGDIRTY || modes == MODE_ENABLE || modes == (MODE_ENABLE | MODE_REFCOUNTS) ||
	       modes == (MODE_ENABLE | MODE_REFCOUNTS | MODE_TRANSLATE) || modes == MODE_HVM;
}

TEST(rule_51_modes_that_go_together)
{
	for (u32 modes = 0; modes < 0x40; modes++) {
		CHECK(bare(2));
		CHECK_EQ(vcpu_enter(vc(0)), HV_EDEAD);
		HEALTHY();
		bool good = goes_together(modes);

		CHECK_EQ(domain_enable(dom, modes, SHADOW_OPT_ALL, 0), good ? HV_OK : HV_EINVAL);
		CHECK_EQ(dom->shadow.modes, good ? modes : 0);
		CHECK_EQ(dom->shadow.enabled, good);
		CHECK_EQ(dom->shadow.opt_flags, good && (modes & MODE_REFCOUNTS) ? SHADOW_OPT_LINUX_L3 : 0);
		CHECK(good || !host_frames_owned());
		HEALTHY();
		if (good) {
			CHECK_EQ(domain_enable(dom, modes, 0, 0), HV_EINVAL); // they are on
			CHECK(dom->shadow.total_pages >= shadow_lower_bound(dom));
		}
		CHECK_EQ(vcpu_enter(vc(0)), good && (modes & MODE_TRANSLATE) ? HV_OK : HV_EDEAD);
		FINISH();
	}
}

TEST(rule_50_a_failed_enable_changes_nothing)
{
	static const u32 modes[] = { MODE_ENABLE, MODE_ENABLE | MODE_REFCOUNTS, MODE_HVM };

	for (u32 m = 0; m < ARRAY_LEN(modes); m++) {
		bool failed = true;

		for (u32 k = 1; failed; k++) {
			CHECK(bare(3));
			host_arm_failure(k);
			enum hv_status status = domain_enable(dom, modes[m], SHADOW_OPT_ALL, 0);

			failed = host_arm_failure(0);
			if (status != HV_OK) {
				CHECK(failed && !dom->dead);
				CHECK_EQ(host_frames_owned(), 0);
				CHECK_EQ(dom->shadow.modes, 0);
				HEALTHY();
				CHECK_EQ(domain_enable(dom, modes[m], SHADOW_OPT_ALL, 0), HV_OK);
			}
			FINISH();
			if (test_failures)
				return;
		}
	}
}

TEST(a_bare_domain_runs_once_its_modes_are_on)
{
	CHECK(bare(1));
	CHECK_EQ(domain_enable(dom, MODE_HVM, SHADOW_OPT_ALL, 0), HV_OK);
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		CHECK_EQ(domain_add_ram(dom, fg(i)), HV_OK);
	all[3] = dom;
	CHECK(begin(3, 1));
	use(3, 0x10);
	all[3] = NULL;
	FINISH();
}
