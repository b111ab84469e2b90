// SPDX-License-Identifier: GPL-2.0-or-later
// Domains: creation and destruction, each with every fallible step failing once and nothing left behind;
// RAM, holes and swaps under shadows; memory from outside; hv_check(). D14; rules 50, 52, 56. Several of them: see
// domain_several_test.c.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// ---- creation -----------------------------------------------------------------------------------------

TEST(arguments_are_checked)
{
	static const u32 wrong[] = { 0, DOMAIN_VCPUS_MAX + 1, UINT32_MAX };
	struct domain *d = NULL;

	host_reset(1);
	hv_start();
	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		struct domain_config config = { .vcpus = wrong[i] };

		CHECK_EQ(domain_create(&config, &d), HV_EINVAL);
		CHECK(d == NULL);
	}
	CHECK_EQ(host_frames_owned(), 0);
}

TEST(a_fresh_domain_is_unpaged_and_empty)
{
	struct domain_config config = { .vcpus = 4, .opts = ~0u };

	host_reset(1);
	hv_start();
	CHECK_EQ(domain_create(&config, &dom), HV_OK);
	CHECK_EQ(dom->shadow.opts, SHADOW_OPT_ALL);
	CHECK_EQ(dom->shadow.opt_flags, SHADOW_OPT_LINUX_L3);
	CHECK_EQ(dom->p2m.mapped, 0);
	for (u32 i = 0; i < 4; i++) {
		CHECK_EQ(vc(i)->guest.cr0 & (CR0_PE | CR0_PG), CR0_PE);
		CHECK(vc(i)->shadow.attached);
		CHECK_EQ(vc(i)->id, i);
	}
	FINISH();
}

// domain_create with its k-th fallible step failing, k = 1, 2, ... until none is left: the same state as
// before, and a next attempt that works.
TEST(rule_52_creation_undoes_itself_wherever_it_fails)
{
	for (u32 vcpus = 1; vcpus <= DOMAIN_VCPUS_MAX; vcpus += 3) {
		bool failed = true, pin_ignored = false;
		u32 k = 1;

		for (; failed; k++) {
			struct domain_config config = { .vcpus = vcpus, .pool_pages = 0, .opts = SHADOW_OPT_ALL };

			host_reset(1);
			hv_start();
			host_arm_failure(k);
			enum hv_status status = domain_create(&config, &dom);

			failed = host_arm_failure(0);
			if (status == HV_OK) {
				pin_ignored = pin_ignored || failed; // a pin that fails is no failure (D2)
				FINISH();
				continue;
			}
			CHECK(failed);
			CHECK(status == HV_ENOMEM || status == HV_EDEAD);
			CHECK_EQ(host_frames_owned(), 0);
			CHECK_EQ(heap_used(), 0);
			CHECK_EQ(host_maps_outstanding(), 0);
			CHECK_EQ(host_locks_held(), 0);
			CHECK_STR(heap_check(), NULL);
			CHECK_EQ(domain_create(&config, &dom), HV_OK);
			FINISH();
			if (test_failures)
				return;
		}
		CHECK(k > SHADOW_MIN_BASE + SHADOW_MIN_PER_VCPU * vcpus);
		CHECK(pin_ignored);
	}
}

TEST(a_pool_larger_than_memory_is_refused)
{
	struct domain_config config = { .vcpus = 1, .pool_pages = HOST_FRAMES + 1 };

	host_reset(1);
	hv_start();
	CHECK_EQ(domain_create(&config, &dom), HV_ENOMEM);
	CHECK_EQ(host_frames_owned(), 0);
}

// Destruction out of any state: busy tables, detached roots, killed in the middle.
TEST(rule_52_nothing_is_left_of_a_busy_domain)
{
	for (u32 how = 0; how < 4; how++) {
		CHECK(fixture_paged(3, 0, SHADOW_OPT_ALL));
		poke(2, 1, at(0, AS_LEAF | PTE_PS));
		poke(1, 1, at(0, AS_LEAF | PTE_PS));
		poke(0, 511, at(0, AS_LEAF));
		for (u32 i = 0; i < 3; i++) {
			CHECK(writes(vc(i), page(9), 1));
			CHECK(writes(vc(i), UINT64_C(0x200000) + page(10), 1));
			CHECK(writes(vc(i), UINT64_C(0x40000000) + page(11), 1));
			CHECK(reads(vc(i), UINT64_C(0xfffffffffffff000)));
		}
		if (how == 1)
			shadow_remove_all(dom, fm(0));
		if (how == 2)
			CHECK_EQ(vcpu_write_cr3(vc(1), hole(0, 0)), HV_EDEAD);
		if (how == 3)
			domain_crash(dom, "test");
		CHECK_STR(fixture_end(), NULL);
	}
}

// A guest fault with its k-th fallible step failing: invisible to the guest, or the domain is killed for
// want of shadow memory. Nothing leaks either way.
TEST(faults_with_each_step_failing)
{
	bool failed = true;
	u32 killed = 0, survived = 0;

	for (u32 k = 1; failed; k++) {
		CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
		host_arm_failure(k);
		struct cpu_result r = go(vc(0), CPU_WRITE, page(9), 8, 0, 0x77);

		if (r.end == CPU_DONE)
			r = go(vc(0), CPU_WRITE, page(3) + 8 * 20, 8, 0, at(9, AS_LEAF));
		if (r.end == CPU_DONE)
			r = go(vc(0), CPU_WRITE, page(20), 8, 0, 0x78);
		failed = host_arm_failure(0);
		if (r.end == CPU_DONE) {
			survived++;
			CHECK_EQ(word(9, 0), 0x78);
		} else {
			killed++;
			CHECK_EQ(r.end, CPU_DEAD);
			CHECK_STR(dom->death, "out of shadow memory");
		}
		CHECK_EQ(host_locks_held(), 0);
		CHECK_EQ(host_maps_outstanding(), 0);
		CHECK(!host_finding_rule());
		CHECK_STR(fixture_end(), NULL);
	}
	CHECK(killed > 0 && survived > 1);
}

// ---- RAM --------------------------------------------------------------------------------------------

TEST(ram_is_added_once_and_zero)
{
	fixture_start(1, 0, 0);
	CHECK_EQ(domain_add_ram(dom, fg(3)), HV_EBUSY);
	CHECK_EQ(domain_add_ram(dom, gfn(BIT(P2M_GFN_BITS))), HV_EINVAL);
	CHECK_EQ(domain_add_ram(dom, GFN_INVALID), HV_EINVAL);
	CHECK_EQ(domain_add_ram(dom, gfn(BIT(P2M_GFN_BITS) - 1)), HV_OK);
	for (u32 i = 0; i < 512; i++)
		CHECK_EQ(word(3, i), 0);
	FINISH();
}

// D14: entries for a hole, magic or not, are gone when RAM fills it.
TEST(D14_a_filled_hole_is_ram_at_once)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL)
		for (u32 how = 0; how < 2; how++) {
			CHECK(fixture_paged(2, 0, opts));
			poke(3, 20, hole(0, AS_LEAF));
			CHECK_EQ(go(vc(0), CPU_READ, page(20), 8, 0, 0).value[0], HOLE_WORD);
			CHECK(writes(vc(1), page(20), 5));
			gfn_t g = gfn(HOLE_GFN);

			CHECK_EQ(how ? physmap_renew(dom, g) : domain_add_ram(dom, g), HV_OK);
			HEALTHY();
			CHECK(!dom->shadow.magic_mmio);
			CHECK(writes(vc(0), page(20), 0x1234));
			u64 value = 0;

			CHECK_EQ(domain_read(dom, gfn_gpa(g), &value, 8), HV_OK);
			CHECK_EQ(value, 0x1234);
			CHECK_EQ(go(vc(1), CPU_READ, page(20), 8, 0, 0).value[0], 0x1234);
			FINISH();
		}
}

TEST(a_removed_frame_is_a_hole_and_nobody_holds_it)
{
	const struct tlb_entry *first;

	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	poke(2, 1, at(5, AS_TABLE));
	poke(5, 0, at(9, AS_LEAF));
	CHECK(writes(vc(0), page(9), 1));
	CHECK(writes(vc(1), UINT64_C(0x200000), 2));
	mfn_t m = fm(9), table = fm(5);

	CHECK_EQ(physmap_remove(dom, fg(9)), HV_OK);
	CHECK(!host_frame_owned(m));
	CHECK_EQ(tlb_pages(0, &first) + tlb_pages(1, &first), 0);
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).value[0], HOLE_WORD);
	HEALTHY();
	CHECK_EQ(physmap_remove(dom, fg(5)), HV_OK); // a table that is in use
	CHECK(!host_frame_owned(table));
	CHECK_EQ(go(vc(1), CPU_READ, UINT64_C(0x200000), 8, 0, 0).end, HOLE_WORD & PTE_P ? CPU_DONE : CPU_FAULT);
	CHECK_EQ(physmap_remove(dom, fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_remove(dom, gfn(BIT(40))), HV_ENOENT);
	FINISH();
}

TEST(what_a_cr3_names_stays)
{
	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	poke(4, 0, at(1, AS_TABLE));
	CHECK_EQ(load_cr3(vc(1), 4), HV_OK);
	for (u32 i = 0; i <= 4; i += 4) {
		mfn_t m = fm(i);

		CHECK_EQ(physmap_remove(dom, fg(i)), HV_EBUSY);
		CHECK_EQ(physmap_renew(dom, fg(i)), HV_EBUSY);
		CHECK_EQ(physmap_swap(dom, fg(i), fg(9)), HV_EBUSY);
		CHECK_EQ(physmap_swap(dom, fg(9), fg(i)), HV_EBUSY);
		CHECK_EQ(fm(i).n, m.n);
	}
	shadow_remove_all(dom, fm(4)); // detached or not: CR3 still names it
	CHECK_EQ(physmap_remove(dom, fg(4)), HV_EBUSY);
	FINISH();
}

TEST(swapping_moves_contents_roles_and_tables)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	poke(2, 1, at(5, AS_TABLE));
	poke(5, 0, at(9, AS_LEAF));
	poke(6, 0, at(10, AS_LEAF));
	CHECK(writes(vc(0), UINT64_C(0x200000), 0x99));
	CHECK_EQ(word(9, 0), 0x99);
	mfn_t a = fm(5), b = fm(6);

	CHECK_EQ(physmap_swap(dom, fg(5), fg(6)), HV_OK);
	CHECK_EQ(fm(5).n, b.n);
	CHECK_EQ(fm(6).n, a.n);
	HEALTHY();
	CHECK(writes(vc(0), UINT64_C(0x200000), 0xaa)); // through the other table now
	CHECK_EQ(word(10, 0), 0xaa);
	CHECK_EQ(physmap_swap(dom, fg(5), fg(5)), HV_OK);
	CHECK_EQ(fm(5).n, b.n);
	CHECK_EQ(physmap_swap(dom, fg(5), gfn(HOLE_GFN)), HV_ENOENT);
	CHECK_EQ(physmap_swap(dom, gfn(HOLE_GFN), gfn(HOLE_GFN)), HV_ENOENT);
	FINISH();
}

TEST(renewing_gives_a_zeroed_frame)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK(writes(vc(0), page(9), 0x99));
	CHECK_EQ(physmap_renew(dom, fg(9)), HV_OK);
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).value[0], 0);
	CHECK_EQ(physmap_renew(dom, gfn(BIT(P2M_GFN_BITS))), HV_EINVAL);
	FINISH();
}

// ---- rule 50 -------------------------------------------------------------------------------------------

static enum hv_status control(u32 op)
{
	switch (op) {
	case 0:
		return physmap_renew(dom, fg(9));
	case 1:
		return physmap_swap(dom, fg(5), fg(9));
	case 2:
		return physmap_remove(dom, fg(5));
	case 3:
		return domain_add_ram(dom, gfn(0x8000000));
	default:
		return domain_resize_pool(dom, dom->shadow.total_pages + 3);
	}
}

// Each control operation with its k-th fallible step failing: it says so and nothing has changed, or it
// succeeds and has done all of it. The domain lives.
TEST(rule_50_failed_control_operations_change_nothing)
{
	for (u32 op = 0; op < 5; op++) {
		bool failed = true;

		for (u32 k = 1; failed; k++) {
			mfn_t before[FIXTURE_FRAMES];

			CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
			CHECK_EQ(domain_add_ram(dom, gfn(0)), HV_OK); // spare p2m pages are used up
			poke(2, 1, at(5, AS_TABLE));
			poke(5, 0, at(9, AS_LEAF));
			CHECK(writes(vc(0), UINT64_C(0x200000), 1));
			CHECK(writes(vc(0), page(9), 2));
			for (u32 i = 0; i < FIXTURE_FRAMES; i++)
				before[i] = fm(i);
			u32 pages = dom->shadow.total_pages + dom->shadow.p2m_pages;
			u64 mapped = dom->p2m.mapped;

			host_arm_failure(k);
			enum hv_status status = control(op);

			failed = host_arm_failure(0);
			CHECK(status == HV_OK || (failed && status == HV_ENOMEM));
			if (status != HV_OK) {
				for (u32 i = 0; i < FIXTURE_FRAMES; i++)
					CHECK_EQ(fm(i).n, before[i].n);
				CHECK_EQ(dom->p2m.mapped, mapped);
				CHECK(dom->shadow.total_pages + dom->shadow.p2m_pages >= pages);
			}
			if (!CHECK(!dom->dead))
				printf("operation %u dies of failure %u: %s\n", op, k, dom->death);
			else
				CHECK(op == 2 || writes(vc(0), page(9), 3));
			CHECK_STR(fixture_end(), NULL);
		}
	}
}

// Tearing down must not depend on anything that can fail.
static void destroy(void)
{
	CHECK_STR(fixture_end(), NULL);
}

TEST(rule_52_destruction_cannot_fail)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	host_arm_failure(1);
	CHECK_STR(fixture_fatal(destroy), NULL);
	host_arm_failure(0);
}

// ---- from outside ------------------------------------------------------------------------------------------

TEST(memory_from_outside)
{
	u8 out[64], in[64];

	fixture_start(1, 0, 0);
	for (u32 i = 0; i < sizeof(out); i++)
		out[i] = (u8)(i * 7 + 1);
	for (u32 n = 1; n <= sizeof(out); n += 9) {
		gpa_t where = gpa(at(8, 0) - n / 2);

		CHECK_EQ(domain_write(dom, where, out, n), HV_OK);
		memset(in, 0, sizeof(in));
		CHECK_EQ(domain_read(dom, where, in, n), HV_OK);
		CHECK(!memcmp(in, out, n));
	}
	CHECK_EQ(domain_read(dom, gpa(hole(0, 0)), in, 1), HV_ENOENT);
	CHECK_EQ(domain_write(dom, gpa(at(FIXTURE_FRAMES, 0) - 4), out, 8), HV_ENOENT); // past the RAM's end
	CHECK_EQ(domain_read(dom, gpa(at(FIXTURE_FRAMES, 0) - 4), in, 4), HV_OK);
	FINISH();
}

// Nothing changes but the lock's own books, even where dying tables wait for the next who comes.
TEST(checking_is_read_only)
{
	static struct domain before, after;
	static u8 frames[HOST_FRAMES * sizeof(struct page_info)];

	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	CHECK(writes(vc(0), page(9), 1));
	CHECK(reads(vc(1), page(20)) || true);
	poke(0, 0, 0);
	shadow_remove_all(dom, fm(1)); // without the lock: who gives it back next finds what is dying
	CHECK(dom->shadow.dying.length > 0);
	before = *dom;
	memcpy(frames, page_table, page_count * sizeof(struct page_info));
	CHECK_STR(hv_check(dom, true), NULL);
	after = *dom;
	after.hold = before.hold;
	memcpy(after.bound, before.bound, sizeof(after.bound));
	after.lock = before.lock;
	CHECK(!memcmp(&before, &after, sizeof(before)));
	CHECK(!memcmp(frames, page_table, page_count * sizeof(struct page_info)));
	FINISH();
}
