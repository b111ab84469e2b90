// SPDX-License-Identifier: GPL-2.0-or-later
// Frames of other domains: who keeps them, whoever goes first. And every change of the physmap with each fallible step failing
// once, or on a machine without free frames: nothing has changed. Rules 5, 18, 50, 52, 56; spec A.11.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define LARGE_FRAMES BIT(P2M_LARGE_ORDER)
#define DEVICE_GFN UINT64_C(0xfee00)

// Gfns without RAM, outside the run of f0 that a large entry maps.
static gfn_t hole_gfn(u32 n) { return gfn(FIXTURE_GFN + 0x2000 + n); }
static u64 hole_at(u32 n, u64 flags) { return gfn_gpa(hole_gfn(n)).a | flags; }
static u8 type_of(gfn_t g) { return p2m_get(&dom->p2m, g).type; }
static u64 value_at(struct vcpu *v, u64 va) { return go(v, CPU_READ, va, 8, 0, 0).value[0]; }

// ---- frames of other domains ---------------------------------------------------------------------------------

static struct domain *owner, *reader;

static bool two_domains(void)
{
	bool ok = fixture_paged(1, 0, SHADOW_OPT_ALL);

	reader = dom;
	poke(3, 9, hole_at(0, AS_LEAF));
	ok = ok && fixture_another(1, 0, SHADOW_OPT_ALL);
	owner = dom;
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(i, 0, 0xb00 + i);
	dom = reader;
	return ok;
}

#define BOTH_HEALTHY()                                          \
	do {                                                    \
		CHECK_STR(hv_check(owner, true), NULL);         \
		HEALTHY();                                      \
	} while (0)

static void destroy_both(bool owner_first)
{
	CHECK_STR(domain_destroy(owner_first ? owner : reader), NULL);
	CHECK_STR(hv_check(owner_first ? reader : owner, true), NULL);
	dom = owner_first ? reader : owner;
	CHECK_STR(fixture_end(), NULL);
}

TEST(a_foreign_frame_lives_while_it_is_mapped)
{
	CHECK(two_domains());
	mfn_t m = p2m_lookup(&owner->p2m, fg(3));

	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, fg(3)), HV_OK);
	CHECK_EQ(type_of(hole_gfn(0)), P2M_FOREIGN);
	CHECK_EQ(p2m_lookup(&dom->p2m, hole_gfn(0)).n, MFN_NONE.n);
	CHECK_EQ(p2m_gfn_of(m).n, fg(3).n); // the owner's
	CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
	BOTH_HEALTHY();
	CHECK_EQ(physmap_remove(owner, fg(3)), HV_OK);
	CHECK(host_frame_owned(m));
	CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
	BOTH_HEALTHY();
	CHECK_EQ(physmap_renew(owner, fg(3)), HV_OK); // another frame
	CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
	CHECK_EQ(physmap_unmap_foreign(dom, hole_gfn(0)), HV_OK);
	CHECK(!host_frame_owned(m));
	CHECK_EQ(value_at(vc(0), page(9)), HOLE_WORD);
	BOTH_HEALTHY();
	destroy_both(true);
}

TEST(rule_52_either_domain_may_go_first)
{
	for (u32 owner_first = 0; owner_first < 2; owner_first++) {
		CHECK(two_domains());
		mfn_t m = p2m_lookup(&owner->p2m, fg(3));

		CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, fg(3)), HV_OK);
		CHECK_EQ(physmap_map_foreign(dom, hole_gfn(1), owner, fg(3)), HV_OK); // twice
		CHECK_EQ(physmap_map_foreign(dom, hole_gfn(2), owner, fg(4)), HV_OK);
		BOTH_HEALTHY();
		if (owner_first) {
			CHECK_STR(domain_destroy(owner), NULL);
			CHECK(host_frame_owned(m));
			CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
			HEALTHY();
			CHECK(fixture_another(1, 0, 0)); // in the place of the one that went
			owner = dom;
			dom = reader;
			CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
			BOTH_HEALTHY();
			CHECK_EQ(physmap_unmap_foreign(dom, hole_gfn(0)), HV_OK);
			CHECK(host_frame_owned(m));
		}
		destroy_both(owner_first);
	}
}

TEST(two_domains_see_each_other)
{
	CHECK(two_domains());
	CHECK_EQ(physmap_map_foreign(reader, hole_gfn(0), owner, fg(3)), HV_OK);
	CHECK_EQ(physmap_map_foreign(owner, hole_gfn(0), reader, fg(3)), HV_OK);
	BOTH_HEALTHY();
	CHECK_EQ(physmap_map_foreign(owner, hole_gfn(1), reader, hole_gfn(0)), HV_ENOENT); // not the reader's to give
	CHECK_EQ(physmap_make_large(owner, fg(0)), LARGE_FRAMES > FIXTURE_FRAMES ? HV_EINVAL : HV_OK);
	CHECK_EQ(value_at(vc(0), page(9)), 0xb03);
	BOTH_HEALTHY();
	destroy_both(false);
}

TEST(what_cannot_be_mapped_or_unmapped)
{
	CHECK(two_domains());
	CHECK_EQ(physmap_identity(dom, gfn(DEVICE_GFN), 1, true), HV_OK);
	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), dom, fg(3)), HV_EINVAL);
	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, hole_gfn(0)), HV_ENOENT);
	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, GFN_INVALID), HV_ENOENT);
	CHECK_EQ(physmap_map_foreign(dom, GFN_INVALID, owner, fg(3)), HV_EINVAL);
	CHECK_EQ(physmap_map_foreign(dom, fg(3), owner, fg(3)), HV_EBUSY);
	CHECK_EQ(physmap_map_foreign(dom, gfn(DEVICE_GFN), owner, fg(3)), HV_EBUSY);
	CHECK_EQ(page_holds(p2m_lookup(&owner->p2m, fg(3))), 0);
	CHECK_EQ(physmap_unmap_foreign(dom, hole_gfn(0)), HV_ENOENT);
	CHECK_EQ(physmap_unmap_foreign(dom, fg(3)), HV_ENOENT);
	CHECK_EQ(physmap_unmap_foreign(dom, GFN_INVALID), HV_ENOENT);
	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, fg(3)), HV_OK);
	CHECK_EQ(physmap_map_foreign(dom, hole_gfn(0), owner, fg(4)), HV_EBUSY);
	CHECK_EQ(physmap_remove(dom, hole_gfn(0)), HV_ENOENT);
	CHECK_EQ(physmap_renew(dom, hole_gfn(0)), HV_EBUSY);
	CHECK_EQ(physmap_swap(dom, hole_gfn(0), fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, hole_gfn(0), fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, fg(9), hole_gfn(0)), HV_EBUSY);
	CHECK_EQ(physmap_retype(dom, hole_gfn(0), P2M_RAM_RW), HV_ENOENT);
	CHECK_EQ(physmap_balloon(dom, hole_gfn(0), 1, true), HV_EBUSY);
	CHECK_EQ(physmap_balloon(dom, hole_gfn(0), 1, false), HV_EBUSY);
	CHECK_EQ(physmap_identity(dom, hole_gfn(0), 1, true), HV_EBUSY);
	CHECK_EQ(physmap_identity(dom, hole_gfn(0), 1, false), HV_EBUSY);
	CHECK_EQ(domain_add_ram(dom, hole_gfn(0)), HV_EBUSY);
	CHECK_EQ(type_of(hole_gfn(0)), P2M_FOREIGN);
	BOTH_HEALTHY();
	destroy_both(true);
}

// ---- every fallible step fails once ----------------------------------------------------------------------------

static gfn_t far_gfn(u32 n) { return gfn(UINT64_C(0x6000000) + n); }

static enum hv_status op_add(void) { return domain_add_ram(dom, far_gfn(0)); }
static enum hv_status op_remove(void) { return physmap_remove(dom, fg(5)); }
static enum hv_status op_renew(void) { return physmap_renew(dom, fg(9)); }
static enum hv_status op_swap(void) { return physmap_swap(dom, fg(5), fg(9)); }
static enum hv_status op_move_far(void) { return physmap_move(dom, fg(9), far_gfn(0)); }
static enum hv_status op_move(void) { return physmap_move(dom, fg(5), fg(9)); }
static enum hv_status op_retype(void) { return physmap_retype(dom, fg(9), P2M_RAM_RO); }
static enum hv_status op_retype_back(void) { return physmap_retype(dom, fg(10), P2M_RAM_RW); }
static enum hv_status op_balloon_down(void) { return physmap_balloon(dom, fg(5), 8, false); }
static enum hv_status op_balloon_up(void) { return physmap_balloon(dom, far_gfn(0x1234), 9, true); }
static enum hv_status op_identity(void) { return physmap_identity(dom, far_gfn(0x777), 0x12345, true); }
static enum hv_status op_identity_off(void) { return physmap_identity(dom, gfn(DEVICE_GFN + 1), 9, false); }
static enum hv_status op_large(void) { return physmap_make_large(dom, fg(9)); }
static enum hv_status op_map(void) { return physmap_map_foreign(dom, far_gfn(0), owner, fg(3)); }
static enum hv_status op_unmap(void) { return physmap_unmap_foreign(dom, hole_gfn(0)); }

static const struct {
	const char *name;
	enum hv_status (*run)(void);
	bool large; // f9 is in a large entry before
	bool may_kill; // it loads roots
	bool in_steps; // each of which holds when a later one fails
	bool keeps_9;  // page 9 can be written afterwards
} operations[] = {
	{ "add", op_add, false, false, false, true },
	{ "remove", op_remove, false, false, false, true },
	{ "renew", op_renew, false, false, false, true },
	{ "swap", op_swap, false, false, false, true },
	{ "move to a hole", op_move_far, false, false, false, false },
	{ "move", op_move, false, false, false, true },
	{ "retype", op_retype, false, false, false, false },
	{ "retype of a large entry", op_retype, true, false, false, false },
	{ "remove of a large entry", op_remove, true, false, false, true },
	{ "retype back", op_retype_back, false, false, false, true },
	{ "balloon down", op_balloon_down, false, false, false, false },
	{ "balloon down of a large entry", op_balloon_down, true, false, false, false },
	{ "balloon up", op_balloon_up, false, false, false, true },
	{ "identity", op_identity, false, false, false, true },
	{ "identity off", op_identity_off, false, false, false, true },
	{ "large", op_large, false, true, true, true },
	{ "map", op_map, false, false, false, true },
	{ "unmap", op_unmap, false, false, false, true },
};

// Everything that an operation which fails must not have changed.
#define WATCHED (FIXTURE_FRAMES + 64u)
static struct {
	struct p2m_entry entry[3][WATCHED];
	u32 back[HOST_FRAMES];
	u64 mapped, dirty, used, pool, p2m_pages;
} before, now;

// of_guest: only what a guest can see. Pages that got another frame on the way keep it (physmap_make_large()).
static void look(bool of_guest)
{
	memset(&now, 0, sizeof(now));
	for (u32 i = 0; i < WATCHED; i++) {
		now.entry[0][i] = p2m_get(&dom->p2m, fg(i));
		now.entry[1][i] = p2m_get(&dom->p2m, hole_gfn(i));
		now.entry[2][i] = p2m_get(&dom->p2m, gfn(DEVICE_GFN - 4 + i));
	}
	for (u32 k = 0; of_guest && k < ARRAY_LEN(now.entry); k++)
		for (u32 i = 0; i < WATCHED; i++)
			now.entry[k][i].frame = MFN_NONE;
	for (u32 i = 0; !of_guest && i < page_count; i++) {
		gfn_t g = p2m_gfn_of(mfn(page_first + i));

		now.back[i] = page_of(mfn(page_first + i))->owner == dom->owner ? (u32)g.n : BACK_NONE;
	}
	now.mapped = dom->p2m.mapped;
	now.dirty = dom->shadow.dirty.count;
	now.used = heap_used();
	now.pool = dom->shadow.total_pages;
	now.p2m_pages = dom->shadow.p2m_pages;
}

static bool log_dirty_on(void)
{
	domain_lock(dom, BOUND_DIRTY);
	enum hv_status status = shadow_dirty_start(dom);

	domain_unlock(dom);
	return status == HV_OK;
}

// The reader has all there is: a table in f5, read-only RAM in f10, a foreign frame, devices; no page to spare.
static bool prepare(u32 o, bool log_dirty)
{
	bool ok = two_domains() && (!log_dirty || log_dirty_on()), large = operations[o].large;

	for (u64 i = FIXTURE_FRAMES; ok && i < LARGE_FRAMES; i++)
		ok = domain_add_ram(dom, fg((u32)i)) == HV_OK;
	ok = ok && (!large || physmap_make_large(dom, fg(0)) == HV_OK);
	ok = ok && physmap_map_foreign(dom, hole_gfn(0), owner, fg(4)) == HV_OK;
	ok = ok && physmap_identity(dom, gfn(DEVICE_GFN), 16, true) == HV_OK;
	ok = ok && (large || operations[o].run == op_large || physmap_retype(dom, fg(10), P2M_RAM_RO) == HV_OK);
	poke(3, 9, at(9, AS_LEAF));
	poke(2, 1, at(5, AS_TABLE));
	poke(5, 0, at(9, AS_LEAF));
	ok = ok && writes(vc(0), OTHER, 1) && writes(vc(0), page(9), 2) && reads(vc(0), page(10));
	return ok && domain_add_ram(dom, gfn(0)) == HV_OK; // spare p2m pages are used up
}

// With its k-th fallible step failing the operation is refused and nothing has changed, or done. Then it works.
static bool fails_once(u32 o, u32 k, bool log_dirty)
{
	CHECK(prepare(o, log_dirty));
	look(operations[o].in_steps);
	before = now;
	ram_take();
	host_arm_failure(k);
	enum hv_status status = operations[o].run();
	bool failed = host_arm_failure(0);

	CHECK(status == HV_OK || (failed && status == HV_ENOMEM));
	CHECK(!dom->dead || (failed && operations[o].may_kill));
	look(operations[o].in_steps);
	if (status != HV_OK) {
		CHECK(!memcmp(&before, &now, sizeof(now)) && ram_differs() == -1);
		BOTH_HEALTHY();
		CHECK(writes(vc(0), page(9), 3) && writes(vc(0), OTHER, 4));
		CHECK_EQ(word(9, 0), 4);
		CHECK_EQ(operations[o].run(), HV_OK);
	}
	BOTH_HEALTHY();
	CHECK(dom->dead || !operations[o].keeps_9 || writes(vc(0), page(9), 5));
	destroy_both(k & 1);
	if (test_failures)
		printf("operation \"%s\", failure %u\n", operations[o].name, k);
	return failed && !test_failures;
}

TEST(rule_50_failed_changes_change_nothing)
{
	for (u32 o = 0; o < ARRAY_LEN(operations) && !test_failures; o++)
		for (u32 log_dirty = 0; log_dirty < 2; log_dirty++)
			for (u32 k = 1; fails_once(o, k, log_dirty); k += k < 48 ? 0 : 22)
				k++;

}

// The machine has no frame left: the same without anybody's help.
static mfn_t eaten;

static void eat(u32 left)
{
	mfn_t m;

	for (eaten = MFN_NONE; heap_used() + left < page_count && heap_alloc(0, &m) == HV_OK; eaten = m)
		page_of(m)->back = (u32)eaten.n;
}

static void give_back(void)
{
	for (mfn_t next; !mfn_is_none(eaten); eaten = next) {
		next = mfn(page_of(eaten)->back);
		heap_free(eaten);
	}
}

TEST(rule_50_on_a_full_machine)
{
	for (u32 o = 0; o < ARRAY_LEN(operations) && !test_failures; o++)
		for (u32 left = 0; left < 12; left++) {
			CHECK(prepare(o, left & 1));
			eat(left);
			look(operations[o].in_steps);
			before = now;
			ram_take();
			enum hv_status status = operations[o].run();

			CHECK(status == HV_OK || status == HV_ENOMEM);
			CHECK(!dom->dead);
			look(operations[o].in_steps);
			CHECK(status == HV_OK || (!memcmp(&before, &now, sizeof(now)) && ram_differs() == -1));
			BOTH_HEALTHY();
			CHECK((status == HV_OK && !operations[o].keeps_9) || writes(vc(0), page(9), 5));
			give_back();
			destroy_both(left & 1);
			if (test_failures)
				printf("operation \"%s\", %u frames left\n", operations[o].name, left);
		}
}

// ---- holds -------------------------------------------------------------------------------------------------------

TEST(rule_18_holds_are_counted_apart_and_to_their_end)
{
	CHECK(two_domains());
	mfn_t m = fm(9);
	u32 references = page_references(m), holds = 0;

	while (page_hold(m, dom->owner) == HV_OK)
		holds++;
	CHECK_EQ(holds, PAGE_HOLDS_MASK / PAGE_HOLD);
	CHECK_EQ(page_holds(m), holds);
	CHECK_EQ(page_references(m), references + holds);
	CHECK_EQ(page_hold(m, owner->owner), HV_EINVAL); // not its frame
	HEALTHY();
	CHECK_EQ(physmap_map_foreign(owner, hole_gfn(0), dom, fg(9)), HV_ENOMEM);
	CHECK_EQ(type_of(hole_gfn(0)), P2M_HOLE);
	CHECK_EQ(page_get(m, dom->owner), HV_OK); // other references are another matter
	page_put(m);
	CHECK(writes(vc(0), page(10), 1));
	while (holds--)
		page_unhold(m);
	CHECK_EQ(page_references(m), references);
	BOTH_HEALTHY();
	destroy_both(true);
}
