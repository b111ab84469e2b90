// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a running domain's physmap: moves, types, balloons, identity ranges, large entries. What remove, renew and swap do
// to shadows is in domain_test.c, what types mean to the guest in physmap_access_test.c, frames of other domains and failures
// in physmap_fail_test.c. Rules 18, 20, 42, 56; spec A.11.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define LARGE_FRAMES BIT(P2M_LARGE_ORDER)
#define DEVICE_GFN UINT64_C(0xfee00)

static u8 type_of(gfn_t g) { return p2m_get(&dom->p2m, g).type; }
// Gfns without RAM, outside the run of f0 that a large entry maps.
static gfn_t hole_gfn(u32 n) { return gfn(FIXTURE_GFN + 0x2000 + n); }
static u64 hole_at(u32 n, u64 flags) { return gfn_gpa(hole_gfn(n)).a | flags; }

static u64 value_at(struct vcpu *v, u64 va) { return go(v, CPU_READ, va, 8, 0, 0).value[0]; }

// ---- moves -------------------------------------------------------------------------------------------------

TEST(a_moved_frame_takes_its_contents_and_its_type_along)
{
	static const enum p2m_type types[] = { P2M_RAM_RW, P2M_RAM_RO, P2M_RAM_LOGDIRTY };

	for (u32 t = 0; t < ARRAY_LEN(types); t++)
		for (u32 to_ram = 0; to_ram < 2; to_ram++) {
			CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
			gfn_t to = to_ram ? fg(10) : hole_gfn(0);
			mfn_t there = p2m_lookup(&dom->p2m, to);
			u64 mapped = dom->p2m.mapped;

			poke(3, 16, gfn_gpa(to).a | AS_LEAF);
			poke(9, 5, 0x99);
			CHECK_EQ(physmap_retype(dom, fg(9), types[t]), HV_OK);
			CHECK(reads(vc(0), page(9)) && reads(vc(1), page(16)));
			mfn_t m = fm(9);

			CHECK_EQ(physmap_move(dom, fg(9), to), HV_OK);
			HEALTHY();
			CHECK_EQ(p2m_lookup(&dom->p2m, to).n, m.n);
			CHECK_EQ(type_of(to), types[t]);
			CHECK_EQ(type_of(fg(9)), P2M_HOLE);
			CHECK_EQ(p2m_gfn_of(m).n, to.n);
			CHECK_EQ(dom->p2m.mapped, mapped - to_ram);
			CHECK(!to_ram || !host_frame_owned(there));
			CHECK_EQ(value_at(vc(1), page(16) + 40), 0x99);
			CHECK_EQ(value_at(vc(0), page(9) + 40), HOLE_WORD);
			CHECK(writes(vc(0), page(16) + 40, 0x9a));
			CHECK_EQ(host_frame(m)[5], types[t] == P2M_RAM_RO ? 0x99 : 0x9a);
			FINISH();
		}
}

// A frame has one gfn: whoever gives it a second one takes the first away, round and round.
TEST(rule_56_an_alias_is_a_move)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	mfn_t m = fm(9);

	for (u32 i = 0; i < 6; i++)
		poke(3, 16 + i, hole_at(i, AS_LEAF));
	CHECK_EQ(physmap_move(dom, fg(9), hole_gfn(0)), HV_OK);
	for (u32 i = 0; i < 5; i++) {
		CHECK(writes(vc(0), page(16 + i), i));
		CHECK_EQ(physmap_move(dom, hole_gfn(i), hole_gfn(i + 1)), HV_OK);
		CHECK_EQ(p2m_gfn_of(m).n, hole_gfn(i + 1).n);
		CHECK_EQ(value_at(vc(0), page(16 + i + 1)), i);
		CHECK_EQ(value_at(vc(0), page(16 + i)), HOLE_WORD);
		HEALTHY();
	}
	CHECK_EQ(physmap_move(dom, hole_gfn(5), fg(9)), HV_OK);
	CHECK_EQ(fm(9).n, m.n);
	FINISH();
}

TEST(a_moved_table_takes_its_role_along)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(fixture_spare_table(2, opts));
		poke(2, 2, hole_at(0, AS_TABLE)); // so far without a table
		CHECK(writes(vc(1), OTHER + page(9), 1));
		CHECK_EQ(go(vc(0), CPU_READ, 2 * OTHER + page(9), 8, 0, 0).end, CPU_FAULT);
		mfn_t m = fm(5);

		CHECK_EQ(physmap_move(dom, fg(5), hole_gfn(0)), HV_OK);
		CHECK(!page_is_table(m));
		HEALTHY();
		CHECK(writes(vc(0), 2 * OTHER + page(9), 2));
		CHECK_EQ(word(9, 0), 2);
		CHECK(page_is_table(m));
		CHECK_EQ(go(vc(1), CPU_READ, OTHER + page(9), 8, 0, 0).end, CPU_FAULT); // a table of zeroes now
		FINISH();
	}
}

TEST(what_cannot_be_moved)
{
	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	CHECK_EQ(physmap_identity(dom, gfn(DEVICE_GFN), 1, true), HV_OK);
	CHECK_EQ(physmap_move(dom, fg(9), fg(9)), HV_OK);
	CHECK_EQ(physmap_move(dom, hole_gfn(0), fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, hole_gfn(0), hole_gfn(0)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, GFN_INVALID, fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, fg(9), gfn(BIT(P2M_GFN_BITS))), HV_EINVAL);
	CHECK_EQ(physmap_move(dom, fg(9), GFN_INVALID), HV_EINVAL);
	CHECK_EQ(physmap_move(dom, fg(0), fg(9)), HV_EBUSY);
	CHECK_EQ(physmap_move(dom, fg(9), fg(0)), HV_EBUSY);
	CHECK_EQ(physmap_move(dom, fg(9), gfn(DEVICE_GFN)), HV_EBUSY);
	CHECK_EQ(physmap_move(dom, gfn(DEVICE_GFN), fg(9)), HV_ENOENT);
	CHECK_EQ(physmap_move(dom, fg(9), gfn(BIT(P2M_GFN_BITS) - 1)), HV_OK);
	CHECK_EQ(physmap_move(dom, gfn(BIT(P2M_GFN_BITS) - 1), gfn(0)), HV_OK);
	FINISH();
}

// A CR3 above 4 GiB outlives long mode. In 2-level mode its low half names the root, which must stay.
TEST(a_root_below_a_cr3_from_long_mode_cannot_be_taken_away)
{
	gfn_t high = gfn(BIT(20) + fg(0).n);
	u64 entry = at(1, AS_TABLE);

	CHECK(fixture_start(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(domain_add_ram(dom, high), HV_OK);
	CHECK_EQ(domain_write(dom, gfn_gpa(high), &entry, sizeof(entry)), HV_OK);
	CHECK_EQ(vcpu_write_cr4(vc(0), CR4_PAE), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(0), EFER_LME), HV_OK);
	CHECK_EQ(vcpu_write_cr3(vc(0), gfn_gpa(high).a), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
	CHECK_EQ(physmap_remove(dom, high), HV_EBUSY);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(0), 0), HV_OK);
	CHECK_EQ(vcpu_write_cr4(vc(0), 0), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(0), CR0_PE | CR0_PG), HV_OK);
	CHECK(gfn_eq(shadow_cr3_gfn(vc(0)), fg(0)));
	CHECK_EQ(physmap_remove(dom, fg(0)), HV_EBUSY);
	CHECK_EQ(physmap_remove(dom, high), HV_OK);
	FINISH();
}

// The tables that PDPTEs name are not what CR3 names: they may go, and come back.
static bool pae(u32 root, u32 table)
{
	return load_cr3(vc(0), root) == HV_OK && vcpu_write_cr4(vc(0), CR4_PAE) == HV_OK &&
	       vcpu_write_efer(vc(0), EFER_NXE) == HV_OK && vcpu_write_cr0(vc(0), CR0_PE | CR0_PG | CR0_WP) == HV_OK &&
	       !mfn_is_none(shadow_of(table, SHADOW_L2_PAE));
}

static void pae_tables(void)
{
	poke(6, 0, at(7, PTE_P));
	poke(7, 0, at(3, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(3, i, at(i, AS_LEAF));
}

TEST(a_table_that_a_pdpte_names_moves_away_and_back)
{
	CHECK(fixture_start(1, 0, SHADOW_OPT_ALL));
	pae_tables();
	CHECK(pae(6, 7));
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(physmap_move(dom, fg(7), hole_gfn(0)), HV_OK);
	CHECK(mfn_is_none(vc(0)->shadow.root[0]));
	HEALTHY();
	CHECK_EQ(go(vc(0), CPU_READ, page(9), 8, 0, 0).end, CPU_FAULT);
	CHECK_EQ(physmap_move(dom, hole_gfn(0), fg(7)), HV_OK);
	CHECK(!mfn_is_none(vc(0)->shadow.root[0]));
	HEALTHY();
	CHECK(writes(vc(0), page(9), 2));
	CHECK_EQ(word(9, 0), 2);
	FINISH();
}

// Several of them at once need as many shadows. With pages for two the balloon stays where it is.
TEST(tables_that_pdptes_name_come_back_together)
{
	mfn_t held[HOST_FRAMES];
	u32 count = 0;

	CHECK(fixture_start(1, 0, SHADOW_OPT_ALL));
	pae_tables();
	for (u32 i = 0; i < SHADOW_SLOTS; i++)
		poke(6, i, at(7 + i, PTE_P));
	CHECK(pae(6, 7));
	CHECK_EQ(physmap_balloon(dom, fg(7), SHADOW_SLOTS, false), HV_OK);
	CHECK(mfn_is_none(vc(0)->shadow.root[0]) && mfn_is_none(vc(0)->shadow.root[3]));
	drain();
	while (dom->shadow.free_pages > 4)
		held[count++] = pool_alloc(dom, SHADOW_DIRTY_NODE, 0);
	CHECK_EQ(physmap_balloon(dom, fg(7), SHADOW_SLOTS, true), HV_ENOMEM);
	CHECK_EQ(type_of(fg(7)), P2M_HOLE);
	CHECK(mfn_is_none(vc(0)->shadow.root[0]));
	while (count--)
		pool_free(dom, held[count]);
	HEALTHY();
	CHECK_EQ(physmap_balloon(dom, fg(7), SHADOW_SLOTS, true), HV_OK);
	CHECK(!mfn_is_none(vc(0)->shadow.root[0]) && !mfn_is_none(vc(0)->shadow.root[3]));
	FINISH();
}

TEST(swapping_exchanges_types_too)
{
	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	CHECK_EQ(physmap_retype(dom, fg(9), P2M_RAM_RO), HV_OK);
	CHECK(writes(vc(0), page(10), 1) && reads(vc(0), page(9)));
	CHECK_EQ(physmap_swap(dom, fg(9), fg(10)), HV_OK);
	CHECK_EQ(type_of(fg(9)), P2M_RAM_RW);
	CHECK_EQ(type_of(fg(10)), P2M_RAM_RO);
	CHECK(writes(vc(0), page(9), 2) && writes(vc(0), page(10), 3));
	CHECK_EQ(word(9, 0), 2);
	CHECK_EQ(word(10, 0), 0);
	CHECK_EQ(physmap_renew(dom, fg(10)), HV_OK);
	CHECK_EQ(type_of(fg(10)), P2M_RAM_RW); // a fresh frame is ordinary
	FINISH();
}

TEST(what_can_be_retyped)
{
	CHECK(fixture_paged(1, 0, 0));
	for (u32 type = 0; type <= P2M_TYPE_COUNT; type++) {
		bool ram = type == P2M_RAM_RW || type == P2M_RAM_RO || type == P2M_RAM_LOGDIRTY;

		CHECK_EQ(physmap_retype(dom, fg(9), (enum p2m_type)type), ram ? HV_OK : HV_EINVAL);
		CHECK_EQ(physmap_retype(dom, hole_gfn(0), (enum p2m_type)type), ram ? HV_ENOENT : HV_EINVAL);
		CHECK_EQ(physmap_retype(dom, GFN_INVALID, (enum p2m_type)type), ram ? HV_ENOENT : HV_EINVAL);
	}
	CHECK_EQ(physmap_retype(dom, fg(0), P2M_RAM_RO), HV_OK); // a root: its contents stay
	CHECK(writes(vc(0), page(0), 0));
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(word(0, 0), at(1, AS_TABLE));
	FINISH();
}

// ---- balloons ------------------------------------------------------------------------------------------------

TEST(a_balloon_takes_ram_and_gives_zeroes)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(fixture_spare_table(2, opts));
		u32 owned = host_frames_owned();

		for (u32 i = 9; i < 13; i++)
			CHECK(writes(vc(i & 1), page(i), i));
		CHECK_EQ(physmap_remove(dom, fg(10)), HV_OK);
		CHECK_EQ(physmap_balloon(dom, fg(9), 4, false), HV_OK); // a hole among them
		HEALTHY();
		CHECK_EQ(host_frames_owned(), owned - 4);
		for (u32 i = 9; i < 13; i++) {
			CHECK_EQ(type_of(fg(i)), P2M_HOLE);
			CHECK_EQ(value_at(vc(0), page(i)), HOLE_WORD);
		}
		CHECK_EQ(physmap_balloon(dom, fg(8), 6, true), HV_OK); // RAM at both ends
		HEALTHY();
		CHECK_EQ(host_frames_owned(), owned);
		for (u32 i = 9; i < 13; i++) {
			CHECK_EQ(value_at(vc(1), page(i)), 0);
			CHECK(writes(vc(0), page(i), i) && word(i, 0) == i);
		}
		CHECK_EQ(physmap_balloon(dom, fg(5), 1, false), HV_OK); // a table in use
		CHECK_EQ(go(vc(1), CPU_READ, OTHER + page(9), 8, 0, 0).end, CPU_FAULT);
		FINISH();
	}
}

TEST(a_balloon_is_all_or_nothing)
{
	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	poke(4, 0, at(1, AS_TABLE));
	CHECK_EQ(load_cr3(vc(1), 4), HV_OK);
	CHECK_EQ(physmap_balloon(dom, fg(2), 4, false), HV_EBUSY); // f4 is loaded
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		CHECK_EQ(type_of(fg(i)), P2M_RAM_RW);
	CHECK_EQ(physmap_balloon(dom, fg(2), 4, true), HV_OK); // nothing to do for what is there
	CHECK_EQ(physmap_identity(dom, gfn(DEVICE_GFN + 3), 1, true), HV_OK);
	CHECK_EQ(physmap_balloon(dom, gfn(DEVICE_GFN), 8, true), HV_EBUSY);
	for (u32 i = 0; i < 8; i++)
		CHECK_EQ(type_of(gfn(DEVICE_GFN + i)), i == 3 ? P2M_MMIO_DIRECT : P2M_HOLE);
	HEALTHY();
	CHECK_EQ(domain_add_ram(dom, gfn(DEVICE_GFN + 1)), HV_OK);
	CHECK_EQ(physmap_balloon(dom, gfn(DEVICE_GFN), 8, false), HV_EBUSY); // neither the one way nor the other
	CHECK_EQ(type_of(gfn(DEVICE_GFN + 1)), P2M_RAM_RW);
	CHECK_EQ(type_of(gfn(DEVICE_GFN + 3)), P2M_MMIO_DIRECT);
	FINISH();
}

TEST(sizes_of_balloons)
{
	u64 end = BIT(P2M_GFN_BITS);

	CHECK(fixture_paged(1, 0, 0));
	for (u32 up = 0; up < 2; up++) {
		CHECK_EQ(physmap_balloon(dom, fg(9), 0, up), HV_OK);
		CHECK_EQ(physmap_balloon(dom, fg(9), PHYSMAP_BALLOON_MAX + 1, up), HV_EINVAL);
		CHECK_EQ(physmap_balloon(dom, fg(9), UINT32_MAX, up), HV_EINVAL);
		CHECK_EQ(physmap_balloon(dom, gfn(end), 1, up), HV_EINVAL);
		CHECK_EQ(physmap_balloon(dom, GFN_INVALID, 1, up), HV_EINVAL);
		CHECK_EQ(physmap_balloon(dom, gfn(end - 4), 5, up), HV_EINVAL);
	}
	CHECK_EQ(physmap_balloon(dom, hole_gfn(0), PHYSMAP_BALLOON_MAX, true), HV_OK);
	CHECK_EQ(physmap_balloon(dom, hole_gfn(0), PHYSMAP_BALLOON_MAX, false), HV_OK);
	CHECK_EQ(dom->p2m.mapped, FIXTURE_FRAMES);
	FINISH();
}

// The last gfns there are. fuzz/bugs/B46.patch, B47.patch: ends that are counted wrongly.
TEST(the_last_gfns_can_be_ballooned)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(physmap_balloon(dom, gfn(BIT(P2M_GFN_BITS) - 4), 4, true), HV_OK);
	CHECK_EQ(type_of(gfn(BIT(P2M_GFN_BITS) - 1)), P2M_RAM_RW);
	CHECK_EQ(physmap_balloon(dom, gfn(BIT(P2M_GFN_BITS) - 4), 4, false), HV_OK);
	FINISH();
}

// ---- identity ranges -----------------------------------------------------------------------------------------

TEST(B46_identity_ranges_end_before_their_end)
{
	static const u32 counts[] = { 0, 1, 2, 3, 15, 16, 17, 33, 512, 513 };

	for (u32 c = 0; c < ARRAY_LEN(counts); c++)
		for (u32 shift = 0; shift < 4; shift++) {
			u64 first = DEVICE_GFN + shift, end = first + counts[c];

			CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
			CHECK_EQ(physmap_identity(dom, gfn(first), counts[c], true), HV_OK);
			for (u64 g = first - 4; g < end + 4; g++) {
				struct p2m_entry e = p2m_get(&dom->p2m, gfn(g));

				CHECK_EQ(e.type, g >= first && g < end ? P2M_MMIO_DIRECT : P2M_HOLE);
				CHECK(e.type == P2M_HOLE || e.frame.n == g);
			}
			HEALTHY();
			if (counts[c] > 2) { // the middle goes, both ends stay
				CHECK_EQ(physmap_identity(dom, gfn(first + 1), counts[c] - 2, false), HV_OK);
				CHECK_EQ(type_of(gfn(first)), P2M_MMIO_DIRECT);
				CHECK_EQ(type_of(gfn(first + 1)), P2M_HOLE);
				CHECK_EQ(type_of(gfn(end - 2)), P2M_HOLE);
				CHECK_EQ(type_of(gfn(end - 1)), P2M_MMIO_DIRECT);
			}
			FINISH();
		}
}

TEST(identity_stays_off_ram_and_off_the_machines_memory)
{
	CHECK(fixture_paged(1, 0, 0));
	CHECK_EQ(physmap_identity(dom, gfn(FIXTURE_GFN - 2), 2, true), HV_OK);
	CHECK_EQ(physmap_identity(dom, gfn(FIXTURE_GFN - 2), 3, true), HV_EBUSY);
	CHECK_EQ(physmap_identity(dom, fg(15), 2, true), HV_EBUSY);
	CHECK_EQ(type_of(gfn(FIXTURE_GFN + 16)), P2M_HOLE); // nothing of it has happened
	CHECK_EQ(physmap_identity(dom, fg(FIXTURE_FRAMES), 2, true), HV_OK);
	CHECK_EQ(physmap_identity(dom, fg(15), 2, false), HV_EBUSY);
	CHECK_EQ(physmap_identity(dom, gfn(page_first), 1, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, gfn(page_first - 1), 1, true), HV_OK);
	CHECK_EQ(physmap_identity(dom, gfn(page_first - 1), 2, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, gfn(page_first + page_count - 1), 1, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, gfn(page_first + page_count), 1, true), HV_OK);
	CHECK_EQ(physmap_identity(dom, gfn(BIT(P2M_GFN_BITS)), 1, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, gfn(0), BIT(P2M_GFN_BITS) + 1, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, gfn(0), UINT64_MAX, true), HV_EINVAL);
	CHECK_EQ(physmap_identity(dom, GFN_INVALID, 1, true), HV_EINVAL);
	CHECK_EQ(domain_add_ram(dom, gfn(FIXTURE_GFN - 1)), HV_EBUSY);
	FINISH();
}

// What lies above the gfn range is cut off.
TEST(B47_identity_up_to_the_last_gfn)
{
	u64 end = BIT(P2M_GFN_BITS);

	CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
	for (u32 beyond = 0; beyond < 3; beyond++) {
		CHECK_EQ(physmap_identity(dom, gfn(end - 2), 2 + beyond, true), HV_OK);
		CHECK_EQ(type_of(gfn(end - 3)), P2M_HOLE);
		CHECK_EQ(type_of(gfn(end - 2)), P2M_MMIO_DIRECT);
		CHECK_EQ(type_of(gfn(end - 1)), P2M_MMIO_DIRECT);
		HEALTHY();
		CHECK_EQ(physmap_identity(dom, gfn(end - 2), 2 + beyond, false), HV_OK);
	}
	CHECK_EQ(physmap_identity(dom, gfn(end / 2), end / 2, true), HV_OK); // half of all gfns, few tables
	CHECK_EQ(type_of(gfn(end - 1)), P2M_MMIO_DIRECT);
	FINISH();
}

// ---- large entries -------------------------------------------------------------------------------------------

// f0 to f15 and what else there is in their aligned run, with words of their own.
static bool large_run(u32 vcpus)
{
	bool ok = fixture_paged(vcpus, 0, SHADOW_OPT_ALL);

	_Static_assert(FIXTURE_GFN % (UINT64_C(1) << P2M_LARGE_ORDER) == 0, "f0 begins a run");
	for (u64 i = FIXTURE_FRAMES; ok && i < LARGE_FRAMES; i++)
		ok = domain_add_ram(dom, fg((u32)i)) == HV_OK;
	for (u32 i = 4; i < FIXTURE_FRAMES; i++)
		poke(i, 7, 0x700 + i);
	return ok;
}

static void is_large(bool large)
{
	for (u32 i = 0; i < LARGE_FRAMES; i++) {
		struct p2m_entry e = p2m_get(&dom->p2m, fg(i));

		CHECK_EQ(e.type, P2M_RAM_RW);
		CHECK_EQ(e.order, large ? P2M_LARGE_ORDER : 0);
		CHECK(!large || e.frame.n == fm(0).n + i);
	}
}

TEST(a_large_entry_is_invisible)
{
	for (u32 g = 0; g < LARGE_FRAMES; g += LARGE_FRAMES - 1) {
		CHECK(large_run(2));
		u32 owned = host_frames_owned();

		CHECK(writes(vc(0), page(9), 1) && writes(vc(1), page(10), 2));
		ram_take();
		CHECK_EQ(physmap_make_large(dom, fg(g)), HV_OK);
		is_large(true);
		HEALTHY();
		CHECK_EQ(ram_differs(), -1);
		CHECK(host_frames_owned() <= owned + P2M_TABLES_MAX);
		CHECK_EQ(physmap_make_large(dom, fg(g)), HV_OK); // it is
		for (u32 i = 0; i < 2; i++) {
			CHECK(writes(vc(i), page(9), 3 + i));
			CHECK_EQ(word(9, 0), 3 + i);
			CHECK_EQ(value_at(vc(i), page(12) + 56), 0x70c);
		}
		FINISH();
	}
}

// Roots that are loaded move with their frames, in every paging mode, detached or not.
TEST(make_large_takes_loaded_roots_along)
{
	CHECK(large_run(4));
	pae_tables();
	CHECK_EQ(vcpu_write_cr0(vc(1), CR0_PE), HV_OK); // unpaged
	CHECK_EQ(vcpu_write_cr0(vc(2), CR0_PE), HV_OK);
	CHECK_EQ(vcpu_write_efer(vc(2), EFER_NXE), HV_OK);
	CHECK_EQ(load_cr3(vc(2), 6), HV_OK);
	CHECK_EQ(vcpu_write_cr0(vc(2), CR0_PE | CR0_PG | CR0_WP), HV_OK); // PAE: f7 is what its PDPTE names
	CHECK_EQ(vc(2)->shadow.mode, PT_MODE_PAE);
	shadow_remove_all(dom, fm(0)); // those of vcpus 0 and 3
	CHECK(shadow_root_is_detached(vc(0)));
	CHECK(writes(vc(0), page(9), 1) && writes(vc(1), at(9, 8), 1) && writes(vc(2), page(9) + 16, 1));
	CHECK_EQ(physmap_make_large(dom, fg(5)), HV_OK);
	HEALTHY();
	is_large(true);
	CHECK_EQ(vc(2)->shadow.guest_root[0].n, fm(7).n);
	CHECK(writes(vc(0), page(9), 2) && writes(vc(1), at(9, 8), 3) && writes(vc(2), page(9) + 16, 4));
	CHECK(writes(vc(3), page(9) + 24, 5));
	for (u32 i = 0; i < 4; i++)
		CHECK_EQ(word(9, i), 2 + i);
	FINISH();
}

// PDPTEs are latched when CR3 is loaded (spec A.17): what has become of them in memory since does not count.
TEST(make_large_leaves_latched_pdptes_alone)
{
	CHECK(fixture_start(1, 0, 0));
	pae_tables();
	CHECK(pae(6, 7));
	for (u64 i = FIXTURE_FRAMES; i < LARGE_FRAMES; i++)
		CHECK_EQ(domain_add_ram(dom, fg((u32)i)), HV_OK);
	poke(6, 0, 0); // CR3's table does not name f7 any more
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(physmap_make_large(dom, fg(0)), HV_OK);
	HEALTHY();
	CHECK_EQ(vc(0)->shadow.pdpte[0], at(7, PTE_P));
	CHECK(writes(vc(0), page(9), 2));
	CHECK_EQ(word(9, 0), 2);
	FINISH();
}

TEST(what_cannot_be_made_large)
{
	CHECK(large_run(1));
	CHECK_EQ(physmap_make_large(dom, hole_gfn(0)), HV_EINVAL);
	FINISH();
	for (u32 how = 0; how < 4; how++) {
		CHECK(large_run(1));
		if (how == 0)
			CHECK_EQ(physmap_remove(dom, fg(9)), HV_OK);
		if (how == 1)
			CHECK_EQ(physmap_retype(dom, fg(9), P2M_RAM_RO), HV_OK);
		if (how == 2)
			CHECK_EQ(physmap_retype(dom, fg((u32)LARGE_FRAMES - 1), P2M_RAM_LOGDIRTY), HV_OK);
		gfn_t g = how == 3 ? GFN_INVALID : fg(0);

		CHECK_EQ(physmap_make_large(dom, g), HV_EINVAL);
		CHECK_EQ(physmap_make_large(dom, gfn(BIT(P2M_GFN_BITS))), HV_EINVAL);
		FINISH();
	}
}

// Whatever changes one page of it leaves the others as they are. fuzz/bugs/B46.patch.
TEST(B46_a_large_entry_is_shattered_by_any_change)
{
	for (u32 how = 0; how < 6; how++) {
		CHECK(large_run(1));
		CHECK_EQ(domain_add_ram(dom, hole_gfn(0)), HV_OK);
		CHECK_EQ(physmap_make_large(dom, fg(0)), HV_OK);
		CHECK(writes(vc(0), page(9), 1));
		mfn_t first = fm(0);
		enum hv_status status = HV_ECHECK;

		switch (how) {
		case 0: status = physmap_remove(dom, fg(9)); break;
		case 1: status = physmap_renew(dom, fg(9)); break;
		case 2: status = physmap_retype(dom, fg(9), P2M_RAM_RO); break;
		case 3: status = physmap_swap(dom, fg(9), hole_gfn(0)); break;
		case 4: status = physmap_move(dom, fg(9), hole_gfn(1)); break;
		case 5: status = physmap_balloon(dom, fg(9), 1, false); break;
		}
		CHECK_EQ(status, HV_OK);
		HEALTHY();
		for (u32 i = 0; i < LARGE_FRAMES; i++)
			CHECK(i == 9 || (fm(i).n == first.n + i && p2m_get(&dom->p2m, fg(i)).order == 0));
		CHECK(writes(vc(0), page(10), 5));
		if (how == 2 || how == 3)
			CHECK_EQ(physmap_retype(dom, fg(9), P2M_RAM_RW), HV_OK);
		if (how == 2) {
			CHECK_EQ(physmap_make_large(dom, fg(0)), HV_OK); // large again
			is_large(true);
		}
		FINISH();
	}
}

// ---- large entries: the lock is free between two pages ---------------------------------------------------------

enum disturbance { D_STORE, D_RENEW, D_REMOVE, D_SWAP, D_SWAP_BACK, D_RETYPE, D_LARGE, D_CR3, D_BLOW, D_DIRTY, D_DEATH, D_COUNT };
static struct disturbed {
	enum disturbance kind;
	bool ran;
	enum hv_status status;
} disturbed;

static void disturb(void *context)
{
	struct disturbed *x = context;

	x->ran = true;
	x->status = HV_OK;
	switch (x->kind) {
	case D_STORE: CHECK(writes(vc(1), page(9), 0x99)); break;
	case D_RENEW: x->status = physmap_renew(dom, fg(9)); break;
	case D_REMOVE: x->status = physmap_remove(dom, fg(9)); break;
	case D_SWAP_BACK:
	case D_SWAP: x->status = physmap_swap(dom, fg(9), hole_gfn(0)); break;
	case D_RETYPE: x->status = physmap_retype(dom, fg(9), P2M_RAM_RO); break;
	case D_LARGE: x->status = physmap_make_large(dom, fg(12)); break;
	case D_CR3: x->status = load_cr3(vc(1), 6); break;
	case D_BLOW: x->status = hypercall(vc(1), HYPERCALL_BLOW, 0, 0); break;
	case D_DIRTY:
		domain_lock(dom, BOUND_DIRTY);
		x->status = shadow_dirty_start(dom);
		domain_unlock(dom);
		break;
	case D_DEATH: domain_crash(dom, "test"); break;
	case D_COUNT: break;
	}
	if (x->kind == D_SWAP_BACK && x->status == HV_OK)
		x->status = physmap_swap(dom, fg(9), hole_gfn(0));
	host_set_cpu(0);
}

static void disturb_large(enum disturbance kind, u32 k)
{
	bool first = k == 1; // before the lock is taken for the first time

	CHECK(large_run(2));
	poke(6, 0, at(1, AS_TABLE)); // a root like f0
	CHECK_EQ(domain_add_ram(dom, hole_gfn(0)), HV_OK);
	CHECK(writes(vc(0), page(9), 1) && writes(vc(1), page(10), 2));
	disturbed = (struct disturbed){ .kind = kind };
	host_arm_point(k, disturb, &disturbed);
	enum hv_status status = physmap_make_large(dom, fg(0));
	bool changes = kind == D_RENEW || kind == D_REMOVE || kind == D_SWAP || kind == D_RETYPE;

	host_arm_point(0, NULL, NULL);
	if (!disturbed.ran)
		changes = false;
	CHECK(disturbed.status == HV_OK || (kind == D_LARGE && disturbed.status == HV_EBUSY));
	if (kind == D_DEATH)
		CHECK(status == (disturbed.ran ? HV_EDEAD : HV_OK) || (status == HV_OK && dom->dead)); // at the very end
	else if (first && (kind == D_REMOVE || kind == D_RETYPE))
		CHECK_EQ(status, HV_EINVAL);
	else
		CHECK(status == HV_OK || (status == HV_EBUSY && changes));
	// No frame of the chunk is lost, whoever it went to.
	CHECK_EQ(heap_used() - dom->shadow.total_pages - dom->shadow.p2m_pages, dom->p2m.mapped + 1);
	CHECK(!dom->enlarging);
	HEALTHY();
	for (u32 i = 4; i < FIXTURE_FRAMES; i++)
		CHECK(i == 9 || word(i, 7) == 0x700 + i);
	CHECK_EQ(word(10, 0), 2);
	CHECK(changes || word(9, 0) == (kind == D_STORE && disturbed.ran ? 0x99 : 1));
	if (kind == D_REMOVE && disturbed.ran)
		CHECK_EQ(domain_add_ram(dom, fg(9)), HV_OK);
	if (kind == D_RETYPE && disturbed.ran)
		CHECK_EQ(physmap_retype(dom, fg(9), P2M_RAM_RW), HV_OK);
	if (!dom->dead) {
		CHECK(writes(vc(0), page(9), 3) && writes(vc(1), page(10), 4));
		CHECK_EQ(physmap_make_large(dom, fg(0)), HV_OK);
		is_large(true);
		CHECK_EQ(word(9, 0), 3);
		CHECK_EQ(word(10, 0), 4);
	}
	FINISH();
	if (test_failures)
		printf("disturbance %d at point %u\n", (int)kind, k);
}

TEST(make_large_with_others_in_between)
{
	for (u32 kind = 0; kind < D_COUNT; kind++) {
		disturbed.ran = true;
		for (u32 k = 1; disturbed.ran && !test_failures; k += k < 8 || LARGE_FRAMES < 64 ? 1 : 41)
			disturb_large((enum disturbance)kind, k);
	}
}

static void new_region(void *context)
{
	*(bool *)context = true;
	CHECK_EQ(physmap_renew(dom, gfn(BIT(26))), HV_OK);
	host_set_cpu(0);
}

// What the pool has got since is not given back below what others rely on by now.
TEST(rule_8_a_large_entry_that_fails_leaves_what_others_need)
{
	u32 refused = 0;

	for (u32 n = 0; n < 80 && !test_failures; n++) {
		u32 regions = n % 4;
		bool more, ran = false;

		CHECK(large_run(2));
		for (u32 i = 1; i <= regions; i++)
			CHECK_EQ(domain_add_ram(dom, gfn(BIT(26) + i * BIT(20))), HV_OK);
		domain_lock(dom, BOUND_DIRTY);
		CHECK_EQ(shadow_dirty_start(dom), HV_OK);
		domain_unlock(dom);
		do {
			domain_lock(dom, BOUND_POOL);
			CHECK_EQ(shadow_resize(dom, 1, &more), HV_OK);
			domain_unlock(dom);
		} while (more);
		host_arm_point(5, new_region, &ran);
		(void)host_arm_failure(2 + n / 4);
		refused += physmap_make_large(dom, fg(0)) == HV_ENOMEM && ran;
		host_arm_point(0, NULL, NULL);
		(void)host_arm_failure(0);
		FINISH();
	}
	CHECK(refused >= 8);
}

// Whoever asks a second time while the first call is at it is sent away, and the first one gets there.
TEST(one_large_entry_is_made_at_a_time)
{
	u32 sent_away = 0;

	for (u32 k = 1; k == 1 || disturbed.ran; k += k < 8 || LARGE_FRAMES < 64 ? 1 : 41) {
		disturb_large(D_LARGE, k);
		sent_away += disturbed.status == HV_EBUSY;
	}
	CHECK(sent_away >= 8);
}
