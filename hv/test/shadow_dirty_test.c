// SPDX-License-Identifier: GPL-2.0-or-later
// Log-dirty (spec A.18): every writer marks, a byte model of what changed between cleans, ranges that are no multiple of
// anything, failures without effect, branches that are fresh at the smallest pool. D8, D9; B07, B34, B35; rules 35, 48, 49, 51.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

#define FIRST FIXTURE_GFN
#define CANARY 0xa5
#define BITMAP_BYTES 64

// ---- words ---------------------------------------------------------------------------------------------

static u8 bitmap[BITMAP_BYTES];

static enum hv_status start(void)
{
	domain_lock(dom, BOUND_DIRTY);
	enum hv_status status = shadow_dirty_start(dom);

	domain_unlock(dom);
	return status;
}

static void stop(void)
{
	for (bool more = true; more;) {
		domain_lock(dom, BOUND_DIRTY);
		shadow_dirty_stop(dom, &more);
		domain_unlock(dom);
	}
}

// All pieces of a range; what `bitmap` had behind it is CANARY.
static enum hv_status read_range(bool clean, u64 first, u64 pages)
{
	enum hv_status status = HV_OK;
	u32 pieces = 0;

	memset(bitmap, CANARY, sizeof(bitmap));
	for (u64 at = 0, done; at < pages && status == HV_OK && CHECK(pieces++ < 1000); at += done) {
		domain_lock(dom, BOUND_DIRTY);
		status = shadow_dirty_read(dom, clean, first + at, pages - at, bitmap + at / 8, &done);
		domain_unlock(dom);
		CHECK(status == HV_OK ? done % 8 == 0 || at + done == pages : !done);
	}
	return status;
}

static bool bit(u64 n)
{
	return bitmap[n / 8] >> n % 8 & 1;
}

// The bits of f0..f15, as PEEK has them.
static u32 bits_now(void)
{
	CHECK_EQ(read_range(false, FIRST, FIXTURE_FRAMES), HV_OK);
	return bitmap[0] | (u32)bitmap[1] << 8;
}

static void clean_all(void)
{
	CHECK_EQ(read_range(true, FIRST, FIXTURE_FRAMES), HV_OK);
}

static bool logging(u32 vcpus, u32 opts)
{
	return fixture_paged(vcpus, 0, opts) && start() == HV_OK;
}

// A number below `limit`, the same in each run.
static u64 seed;
static u32 pick(u32 limit)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (u32)(seed >> 33) % limit;
}

// ---- each writer ------------------------------------------------------------------------------------------

TEST(a_fresh_bitmap_is_empty_and_reading_changes_nothing)
{
	CHECK(fixture_paged(2, 0, SHADOW_OPT_ALL));
	CHECK(writes(vc(0), page(9), 1));
	CHECK(!dirty_test(dom, fg(9)));
	CHECK_EQ(start(), HV_OK);
	CHECK_EQ(dom->shadow.dirty.count, 0);
	CHECK_EQ(bits_now(), 0);
	CHECK_EQ(dom->shadow.dirty.nodes, 1);
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(bits_now(), 0);
	HEALTHY();
	stop();
	CHECK_EQ(dom->shadow.dirty.nodes, 0);
	FINISH();
}

// Rule 35: the entry becomes writable with the bit, not before.
TEST(B34_a_store_of_the_guest)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(logging(2, opts));
		CHECK(reads(vc(0), page(9)));
		CHECK(!(spte_at(vc(0), page(9), 0).v & PTE_W));
		CHECK(writes(vc(0), page(9), 7));
		CHECK(spte_at(vc(0), page(9), 0).v & PTE_W);
		CHECK_EQ(bits_now(), BIT(9));
		CHECK_EQ(dom->shadow.dirty.count, 1);
		CHECK_EQ(dom->shadow.dirty.marked, 1);
		CHECK(writes(vc(1), page(9), 8));
		CHECK(writes(vc(1), page(10), 8));
		CHECK_EQ(bits_now(), BIT(9) | BIT(10));
		CHECK_EQ(dom->shadow.dirty.marked, 2);
		FINISH();
	}
}

// A guest page of 2 MiB is logged frame by frame.
TEST(B34_a_store_through_a_large_page)
{
	CHECK(logging(1, SHADOW_OPT_ALL));
	poke(2, 1, gfn_gpa(gfn(FIXTURE_GFN)).a | AS_LEAF | PTE_PS);
	clean_all();
	CHECK(writes(vc(0), 0x200000 + page(6), 5));
	CHECK_EQ(bits_now(), BIT(6));
	FINISH();
}

TEST(B34_an_emulated_store_to_a_table)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(logging(1, opts));
		CHECK(reads(vc(0), page(9)));
		CHECK(page_is_table(fm(3)));
		CHECK_EQ(bits_now(), 0);
		CHECK(writes(vc(0), page(3) + 8 * 40, at(7, AS_LEAF)));
		CHECK(bits_now() & BIT(3));
		clean_all();
		CHECK(writes(vc(0), page(3) + 8 * 41, at(7, AS_LEAF)));
		CHECK(bits_now() & BIT(3));
		FINISH();
	}
}

TEST(B34_accessed_and_dirty_bits)
{
	CHECK(logging(1, SHADOW_OPT_ALL));
	poke(3, 20, at(9, AS_LEAF & ~(PTE_A | PTE_D)));
	clean_all();
	CHECK(reads(vc(0), page(20)));
	CHECK_EQ(bits_now(), BIT(3));
	clean_all();
	CHECK(writes(vc(0), page(20), 1));
	CHECK_EQ(bits_now(), BIT(3) | BIT(9));
	poke(0, 1, at(1, AS_TABLE & ~PTE_A));
	clean_all();
	CHECK(reads(vc(0), BIT(39) + page(9))); // the root gets A
	CHECK_EQ(bits_now(), BIT(0));
	FINISH();
}

TEST(B34_the_hypervisor_writes)
{
	u8 bytes[16] = { 1 };

	CHECK(logging(1, SHADOW_OPT_ALL));
	CHECK_EQ(domain_write(dom, gpa(at(9, FRAME_BYTES - 8)), bytes, 16), HV_OK); // over the end of a page
	CHECK_EQ(bits_now(), BIT(9) | BIT(10));
	FINISH();
}

TEST(B34_frames_that_enter_the_physmap)
{
	CHECK(logging(1, SHADOW_OPT_ALL));
	CHECK_EQ(physmap_renew(dom, fg(9)), HV_OK);
	CHECK_EQ(bits_now(), BIT(9));
	CHECK_EQ(physmap_swap(dom, fg(10), fg(11)), HV_OK);
	CHECK_EQ(bits_now(), BIT(9) | BIT(10) | BIT(11));
	CHECK_EQ(physmap_remove(dom, fg(12)), HV_OK);
	clean_all();
	CHECK_EQ(bits_now(), 0);
	CHECK_EQ(domain_add_ram(dom, fg(12)), HV_OK);
	CHECK_EQ(bits_now(), BIT(12));
	FINISH();
}

// An instruction that nobody can decode runs with more rights than the shadows give.
TEST(B34_a_stepped_instruction)
{
	struct cpu_access a = { .kind = CPU_WRITE, .va = page(3) + 8 * 50, .bytes = 8, .unknown = true, .data = { 0 } };
	struct cpu_result r;

	CHECK(logging(1, SHADOW_OPT_ALL));
	CHECK(reads(vc(0), page(9)));
	clean_all();
	a.data[0] = at(7, AS_LEAF);
	host_set_cpu(0);
	cpu_access(vc(0), &a, &r);
	CHECK_EQ(r.end, CPU_DONE);
	CHECK(r.stepped);
	CHECK(bits_now() & BIT(3));
	FINISH();
}

// ---- the byte model ---------------------------------------------------------------------------------------

static void one_guest_write(struct vcpu *v)
{
	struct cpu_access a = { .bytes = (u8)(1u << pick(4)), .pick = pick(2) ? TLB_OLDEST : TLB_FRESH };
	struct cpu_result r;
	u32 n = pick(16);

	a.kind = (enum cpu_kind[]){ CPU_WRITE, CPU_RMW, CPU_PUSH, CPU_CMPXCHG, CPU_READ }[pick(5)];
	a.alu = ALU_ADD;
	a.unknown = pick(6) == 0;
	a.va = page(n) + pick(FRAME_BYTES); // pages are crossed at times
	a.data[0] = pick(1 << 20);
	if (n < 4) { // tables: entries that nothing but page(32) to page(63) goes through
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

static void one_write(void)
{
	u32 n = 5 + pick(11);

	switch (pick(12)) {
	case 0:
		poke(n, pick(512), pick(1000));
		break;
	case 1:
		poke(3, 32 + pick(32), at(n, AS_LEAF & ~(PTE_A | PTE_D)));
		break;
	case 2:
		CHECK_EQ(physmap_renew(dom, fg(n)), HV_OK);
		break;
	case 3:
		CHECK_EQ(physmap_swap(dom, fg(n), fg(5 + pick(11))), HV_OK);
		break;
	default:
		one_guest_write(vc(pick(2)));
	}
}

// guest_ram is the memory as it was when each frame was cleaned last. What differs must be reported (rule 48).
static void compare(u32 first, u32 count, bool cleaned)
{
	for (u32 i = 0; i < count; i++) {
		u8 *was = guest_ram + (first + i) * FRAME_BYTES;
		const void *now = host_frame(fm(first + i));

		if (memcmp(was, now, FRAME_BYTES))
			CHECK(bit(i));
		if (cleaned)
			memcpy(was, now, FRAME_BYTES);
	}
	for (u32 i = count; i < BITMAP_BYTES * 8; i++)
		CHECK_EQ(bit(i), CANARY >> i % 8 & 1);
}

TEST(rule_48_what_changed_since_a_clean_is_reported)
{
	for (u32 round = 0; round < 12; round++) {
		seed = round;
		CHECK(logging(2, round & 1 ? SHADOW_OPT_ALL : pick(SHADOW_OPT_ALL + 1)));
		ram_take();
		for (u32 i = 0; i < 300 && !test_failures; i++) {
			for (u32 n = pick(6); n; n--)
				one_write();
			u32 first = pick(FIXTURE_FRAMES), count = 1 + pick(FIXTURE_FRAMES - first);
			bool clean = pick(2);

			CHECK_EQ(read_range(clean, FIRST + first, count), HV_OK);
			compare(first, count, clean);
			if (clean)
				CHECK_EQ(bits_now() & ((BIT(count) - 1) << first), 0);
			if (i % 16 == 0)
				HEALTHY();
		}
		FINISH();
	}
}

// What was not written to is not reported, once all A and D bits are set.
TEST(rule_48_nothing_but_what_was_written)
{
	u32 model = 0;

	CHECK(logging(2, SHADOW_OPT_ALL));
	seed = 5;
	for (u32 i = 0; i < 400; i++) {
		u32 n = 4 + pick(12), how = pick(8);

		if (how < 5) {
			CHECK(writes(vc(pick(2)), page(n) + 8 * pick(512), i));
			model |= (u32)BIT(n);
		} else if (how < 7) {
			CHECK(reads(vc(pick(2)), page(n)));
		} else {
			CHECK_EQ(read_range(true, FIRST + n, 1), HV_OK);
			CHECK_EQ(bit(0), model >> n & 1);
			model &= ~(u32)BIT(n);
		}
		CHECK_EQ(bits_now(), model);
		CHECK_EQ(dom->shadow.dirty.count, (u32)__builtin_popcount(model));
	}
	FINISH();
}

// ---- the protocol of a clean ------------------------------------------------------------------------------

// B35: a writable translation that a processor held before the clean is of no use after it.
TEST(B35_no_write_through_what_a_tlb_kept)
{
	for (u32 cpu = 0; cpu < 2; cpu++)
		for (u32 n = 0; n < 2; n++) {
			struct cpu_access a = { .kind = CPU_WRITE, .va = page(9), .bytes = 8, .pick = TLB_OLDEST };
			struct cpu_result r;

			CHECK(logging(2, 0));
			CHECK(writes(vc(cpu), page(9), 1));
			CHECK(writes(vc(cpu), page(10), 1));
			CHECK_EQ(read_range(true, FIRST + 9, 1 + n), HV_OK);
			CHECK_EQ(page_writable_count(fm(9)), 0);
			CHECK_EQ(page_writable_count(fm(10)), !n);
			host_set_cpu(cpu);
			cpu_access(vc(cpu), &a, &r);
			CHECK_EQ(r.end, CPU_DONE);
			CHECK(!r.from_tlb[0]);
			CHECK(dirty_test(dom, fg(9)));
			FINISH();
		}
}

// Rule 49: afterwards nothing is left that could be written to unseen.
TEST(rule_49_after_a_clean_of_everything)
{
	CHECK(logging(2, SHADOW_OPT_ALL));
	for (u32 i = 4; i < FIXTURE_FRAMES; i++) {
		CHECK(writes(vc(i & 1), page(i), i));
		poke(3, 16 + i, at(i, AS_LEAF));
		CHECK(writes(vc(i & 1), page(16 + i), i)); // mapped twice
	}
	u32 nodes = dom->shadow.dirty.nodes;

	clean_all();
	CHECK_EQ(dom->shadow.dirty.count, 0);
	CHECK_EQ(dom->shadow.dirty.nodes, nodes);
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		CHECK_EQ(page_writable_count(fm(i)), 0);
	FINISH();
}

// D9: exactly the bits asked for, from anywhere to anywhere, come and go.
TEST(D9_ranges_are_exact)
{
	u32 all = 0x9e37;

	CHECK(logging(1, 0));
	for (u32 first = 0; first < FIXTURE_FRAMES && !test_failures; first++)
		for (u32 count = 1; count <= FIXTURE_FRAMES - first; count++)
			for (u32 clean = 0; clean < 2; clean++) {
				u32 mask = (u32)(BIT(count) - 1) << first, left = all & ~(clean ? mask : 0);

				clean_all();
				domain_lock(dom, BOUND_WRITE);
				for (u32 i = 0; i < FIXTURE_FRAMES; i++)
					if (all >> i & 1)
						dirty_mark(dom, fg(i));
				domain_unlock(dom);
				CHECK_EQ(read_range(clean, FIRST + first, count), HV_OK);
				for (u32 i = 0; i < BITMAP_BYTES * 8; i++)
					CHECK_EQ(bit(i), i < count ? all >> (first + i) & 1 : CANARY >> i % 8 & 1);
				CHECK_EQ(bits_now(), left);
				CHECK_EQ(dom->shadow.dirty.count, (u32)__builtin_popcount(left));
			}
	FINISH();
}

// Each bit in turn, and in between places that the search has got to: bits of one word, of neighbouring and of distant branches.
TEST(next_leads_to_each_bit)
{
	static const u64 marked[] = { 0, 1, 3, 4, 63, 64, 500, 511, 512, 40000, 300000, BIT(26) + 5, BIT(P2M_GFN_BITS) - 1 };
	u32 found = 0, steps = 0;

	CHECK(logging(1, 0));
	CHECK_EQ(domain_resize_pool(dom, 600), HV_OK); // the bitmap takes more than what RAM here needs
	clean_all();
	for (u32 i = 0; i < ARRAY_LEN(marked); i++) {
		domain_lock(dom, BOUND_DIRTY);
		CHECK_EQ(pool_reserve(dom, DIRTY_PATH), HV_OK);
		shadow_ram_added(dom, gfn(marked[i]));
		domain_unlock(dom);
	}
	for (gfn_t g = gfn(0); CHECK(steps++ < 100000); g = gfn(g.n + dirty_test(dom, g))) {
		domain_lock(dom, BOUND_DIRTY);
		g = shadow_dirty_next(dom, g);
		domain_unlock(dom);
		if (gfn_eq(g, GFN_INVALID))
			break;
		CHECK(found < ARRAY_LEN(marked) && g.n <= marked[found]);
		found += dirty_test(dom, g);
	}
	CHECK_EQ(found, ARRAY_LEN(marked));
	CHECK_STR(bound_check(dom), NULL);
	FINISH();
}

TEST(D8_arguments_are_checked_before_anything_happens)
{
	static const struct { u64 first, pages; } wrong[] = {
		{ FIRST, 0 }, { 0, BIT(P2M_GFN_BITS) + 1 }, { 1, BIT(P2M_GFN_BITS) }, { BIT(P2M_GFN_BITS), 1 },
		{ UINT64_MAX, 1 }, { 1, UINT64_MAX }, { BIT(P2M_GFN_BITS) - 1, 2 }, { UINT64_MAX, UINT64_MAX },
	};
	u64 done;

	CHECK(fixture_paged(1, 0, 0));
	domain_lock(dom, BOUND_DIRTY);
	CHECK_EQ(shadow_dirty_read(dom, false, FIRST, 1, bitmap, &done), HV_EINVAL);
	CHECK_EQ(shadow_dirty_start(dom), HV_OK);
	CHECK_EQ(shadow_dirty_start(dom), HV_EINVAL);
	domain_unlock(dom);
	CHECK(writes(vc(0), page(9), 1));
	memset(bitmap, CANARY, sizeof(bitmap));
	domain_lock(dom, BOUND_DIRTY);
	for (u32 i = 0; i < ARRAY_LEN(wrong); i++)
		for (u32 clean = 0; clean < 2; clean++)
			CHECK_EQ(shadow_dirty_read(dom, clean, wrong[i].first, wrong[i].pages, bitmap, &done), HV_EINVAL);
	CHECK_EQ(shadow_dirty_read(dom, true, FIRST, 16, NULL, &done), HV_EINVAL);
	domain_unlock(dom);
	for (u32 i = 0; i < BITMAP_BYTES; i++)
		CHECK_EQ(bitmap[i], CANARY);
	CHECK_EQ(bits_now(), BIT(9));
	FINISH();
}

// The top of the gfn range, and 0.
TEST(the_ends_of_the_gfn_range)
{
	const u64 last = BIT(P2M_GFN_BITS) - 1;
	u64 value = 1;

	CHECK(logging(1, 0));
	CHECK_EQ(domain_add_ram(dom, gfn(last)), HV_OK);
	CHECK_EQ(domain_add_ram(dom, gfn(0)), HV_OK);
	CHECK_EQ(read_range(true, last - 9, 10), HV_OK);
	CHECK(bit(9));
	CHECK_EQ(read_range(false, last, 1), HV_OK);
	CHECK(!bit(0));
	CHECK_EQ(domain_write(dom, gfn_gpa(gfn(last)), &value, 8), HV_OK);
	CHECK(dirty_test(dom, gfn(last)));
	CHECK(dirty_test(dom, gfn(0)));
	CHECK(!dirty_test(dom, gfn(last + 1)));
	CHECK(!dirty_test(dom, GFN_INVALID));
	dirty_mark(dom, GFN_INVALID);
	dirty_mark(dom, gfn(last + 1));
	dirty_mark_frame(dom, MFN_NONE);
	CHECK_EQ(dom->shadow.dirty.count, 2);
	FINISH();
}

// B35: a piece that cannot be handed out leaves its bits, and the earlier ones can be put back.
TEST(B35_a_failed_copy_loses_nothing)
{
	u64 done;

	CHECK(logging(1, 0));
	CHECK(writes(vc(0), page(9), 1));
	u64 marked = dom->shadow.dirty.marked;

	memset(bitmap, CANARY, sizeof(bitmap));
	domain_lock(dom, BOUND_DIRTY);
	host_arm_failure(1);
	CHECK_EQ(shadow_dirty_read(dom, true, FIRST, 16, bitmap, &done), HV_ENOMEM);
	CHECK(host_arm_failure(0));
	domain_unlock(dom);
	CHECK_EQ(bitmap[0], CANARY);
	CHECK_EQ(bits_now(), BIT(9));
	CHECK(page_writable_count(fm(9)) == 1);
	clean_all();
	CHECK_EQ(dom->shadow.dirty.count, 0);
	domain_lock(dom, BOUND_DIRTY);
	for (u32 i = 0; i < 16; i += 8)
		shadow_dirty_put_back(dom, FIRST + i, 8, bitmap + i / 8);
	domain_unlock(dom);
	CHECK_EQ(bits_now(), BIT(9));
	CHECK_EQ(dom->shadow.dirty.marked, marked); // nobody wrote
	FINISH();
}

// Pieces end where they must not cost more: after 8 gfns at the earliest, and with none left out.
TEST(B41_a_piece_of_a_clean_is_bounded)
{
	CHECK(logging(1, 0));
	for (u32 k = 0; k < 20; k++)
		for (u32 i = 0; i < 12; i++)
			poke(3, 32 + 12 * k + i, at(4 + i, AS_LEAF));
	for (u32 i = 0; i < 12 * 20; i++)
		CHECK(writes(vc(0), page(32 + i), 1));
	u32 expect = bits_now();
	u64 done;
	u32 pieces = 0;

	memset(bitmap, 0, sizeof(bitmap));
	for (u64 at = 0; at < FIXTURE_FRAMES; at += done) {
		u64 visits = dom->shadow.stats.visits;

		domain_lock(dom, BOUND_DIRTY);
		CHECK_EQ(shadow_dirty_read(dom, true, FIRST + at, FIXTURE_FRAMES - at, bitmap + at / 8, &done), HV_OK);
		domain_unlock(dom);
		CHECK(dom->shadow.stats.visits - visits <= DIRTY_PIECE_VISITS + 2 * 20 + 2 * FIXTURE_FRAMES);
		if (!CHECK(++pieces < 100))
			break;
	}
	CHECK_EQ(bitmap[0] | (u32)bitmap[1] << 8, expect);
	CHECK_EQ(bits_now(), 0);
	if (DIRTY_PIECE_VISITS < 12 * 20)
		CHECK(pieces > FIXTURE_FRAMES / 8); // some ended early
	FINISH();
}

// ---- memory ------------------------------------------------------------------------------------------------

// B07: each write needs a branch of its own, in the smallest pool, with a whole chain of shadows in the same fault.
TEST(B07_fresh_branches_at_the_smallest_pool)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(logging(1, opts));
		for (u32 i = 0; i < 24; i++) {
			u64 g = (u64)(i + 1) * 0x751234 & (BIT(P2M_GFN_BITS) - 1);

			CHECK_EQ(domain_add_ram(dom, gfn(g)), HV_OK);
			poke(3, 64 + i, g << FRAME_SHIFT | AS_LEAF);
			CHECK(dom->shadow.dirty.nodes <= dom->shadow.dirty.nodes_max);
		}
		stop();
		CHECK_EQ(start(), HV_OK);
		CHECK_EQ(dom->shadow.dirty.nodes, 1);
		for (u32 round = 0; round < 3; round++)
			for (u32 i = 0; i < 24; i++) {
				u64 g = (u64)(i + 1) * 0x751234 & (BIT(P2M_GFN_BITS) - 1);

				CHECK(writes(vc(0), page(64 + i), round));
				CHECK(dirty_test(dom, gfn(g)));
				CHECK(dom->shadow.dirty.nodes <= dom->shadow.dirty.nodes_max);
				if (round)
					CHECK_EQ(read_range(true, g, 1), HV_OK);
			}
		CHECK(!dom->dead);
		FINISH();
	}
}

// Branches stay where RAM has been: the pool keeps pages for those and for the RAM that nobody has written to yet.
TEST(rule_8_branches_where_ram_has_been)
{
	CHECK(logging(1, SHADOW_OPT_ALL));
	for (u32 i = 0; i < 40 && !test_failures; i++) {
		u64 g = (u64)(i + 1) * 0x751234 & (BIT(P2M_GFN_BITS) - 1);

		CHECK_EQ(domain_add_ram(dom, gfn(g)), HV_OK);
		CHECK_EQ(physmap_move(dom, gfn(g), gfn(g ^ BIT(P2M_GFN_BITS - 1))), HV_OK);
		CHECK_EQ(physmap_remove(dom, gfn(g ^ BIT(P2M_GFN_BITS - 1))), HV_OK);
		HEALTHY();
	}
	CHECK_EQ(physmap_balloon(dom, gfn(0x1000000), PHYSMAP_BALLOON_MAX, true), HV_OK);
	CHECK_EQ(domain_resize_pool(dom, 1), HV_OK);
	HEALTHY();
	for (u32 i = 4; i < FIXTURE_FRAMES; i++)
		CHECK(writes(vc(0), page(i), 1));
	CHECK(dom->shadow.total_pages >= shadow_lower_bound(dom));
	FINISH();
}

static struct { u32 left; bool done; } tight;

// A walk that sets A bits in four tables, a chain of shadows and the target's bit, each with a branch of its own, while
// `tight.left` pages of the pool are free.
static void one_fault_in_a_tight_pool(void)
{
	static mfn_t hog[HOST_FRAMES];
	u32 hogs = 0;

	while (dom->shadow.free_pages > tight.left)
		hog[hogs++] = pool_alloc(dom, SHADOW_ROOTS_PAE, 0);
	tight.done = writes(vc(0), BIT(39), 5);
	while (hogs)
		pool_free(dom, hog[--hogs]);
}

TEST(B07_branches_are_part_of_the_reservation)
{
	static const u64 sparse[] = { 0x0123456, 0x3456789, 0x6789012, 0x9012345 }; // tables of levels 2 to 0, and RAM
	u32 killed = 0, done = 0;

	for (tight.left = 0; tight.left < DIRTY_RESERVE + 40 && !test_failures; tight.left++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		poke(0, 1, sparse[0] << FRAME_SHIFT | (AS_TABLE & ~PTE_A));
		for (u32 i = 0; i < 4; i++) {
			u64 entry = sparse[(i + 1) % 4] << FRAME_SHIFT | ((i == 2 ? AS_LEAF : AS_TABLE) & ~(PTE_A | PTE_D));

			CHECK_EQ(domain_add_ram(dom, gfn(sparse[i])), HV_OK);
			CHECK_EQ(domain_write(dom, gfn_gpa(gfn(sparse[i])), &entry, 8), HV_OK);
		}
		CHECK_EQ(start(), HV_OK);
		CHECK_STR(fixture_fatal(one_fault_in_a_tight_pool), NULL);
		if (tight.done) {
			done++;
			CHECK_EQ(dom->shadow.dirty.count, 5);
			HEALTHY();
		} else {
			killed++;
			CHECK_STR(dom->death, "out of shadow memory");
		}
		CHECK_STR(fixture_end(), NULL);
	}
	CHECK(killed > 0 && done > 0);
}

TEST(switching_off_goes_in_pieces_and_on_again_waits)
{
	bool more;

	CHECK(logging(1, 0));
	for (u32 i = 0; i < 70; i++)
		CHECK_EQ(domain_add_ram(dom, gfn((u64)i << 21)), HV_OK);
	u32 total = dom->shadow.total_pages, nodes = dom->shadow.dirty.nodes, pieces = 1;

	CHECK(nodes > DIRTY_FREE_BATCH);
	domain_lock(dom, BOUND_DIRTY);
	shadow_dirty_stop(dom, &more);
	CHECK(more);
	CHECK(dom->shadow.dirty.nodes >= nodes - DIRTY_FREE_BATCH && dom->shadow.dirty.nodes < nodes); // looking for them counts, too
	CHECK(!dirty_test(dom, gfn(0)));
	CHECK_EQ(shadow_dirty_start(dom), HV_EBUSY);
	domain_unlock(dom);
	HEALTHY();
	CHECK(writes(vc(0), page(9), 1)); // nothing is logged
	for (; more; pieces++) {
		domain_lock(dom, BOUND_DIRTY);
		shadow_dirty_stop(dom, &more);
		domain_unlock(dom);
	}
	CHECK(pieces >= (nodes + DIRTY_FREE_BATCH - 1) / DIRTY_FREE_BATCH && pieces <= nodes);
	CHECK_EQ(dom->shadow.total_pages, total);
	CHECK_EQ(start(), HV_OK);
	CHECK_EQ(bits_now(), 0);
	FINISH();
}

// Switching on fails wherever it can, and nothing shows.
TEST(rule_50_a_failed_start_changes_nothing)
{
	bool failed = true;
	u32 refused = 0;

	for (u32 k = 1; failed; k++) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		CHECK(writes(vc(0), page(9), 1));
		u32 total = dom->shadow.total_pages, used = (u32)heap_used();

		host_arm_failure(k);
		enum hv_status status = start();

		failed = host_arm_failure(0);
		if (status != HV_OK) {
			refused++;
			CHECK_EQ(status, HV_ENOMEM);
			CHECK_EQ(dom->shadow.total_pages, total);
			CHECK_EQ(heap_used(), used);
			CHECK(!dom->shadow.dirty.on && !dom->shadow.dirty.nodes);
			CHECK_EQ(dom->shadow.modes, MODE_HVM);
			CHECK(spte_at(vc(0), page(9), 0).v & PTE_W); // no table was blown
		}
		FINISH();
	}
	CHECK(refused > 0);
}

// Destroyed while it is on, or half off.
TEST(rule_52_teardown_frees_the_tree)
{
	for (u32 how = 0; how < 2; how++) {
		bool more = false;

		CHECK(logging(2, SHADOW_OPT_ALL));
		for (u32 i = 0; i < FIXTURE_FRAMES; i++)
			poke(i, 511, 0);
		domain_lock(dom, BOUND_DIRTY);
		if (how)
			shadow_dirty_stop(dom, &more);
		domain_unlock(dom);
		FINISH();
	}
}

// ---- canaries -----------------------------------------------------------------------------------------------

static mfn_t node_at(u32 depth)
{
	mfn_t node = dom->shadow.dirty.root;

	while (depth--) {
		const u32 *entries = (const u32 *)host_frame(node);
		u32 i = 0;

		while (!entries[i])
			i++;
		node = mfn(entries[i]);
	}
	return node;
}

static void expect_rule(const char *rule)
{
	const char *bad = dirty_check(dom);

	CHECK(bad && strncmp(bad, rule, strlen(rule)) == 0);
}

TEST(canaries)
{
	struct shadow_dirty *s;

	CHECK(logging(1, 0));
	CHECK(writes(vc(0), page(9), 1));
	s = &dom->shadow.dirty;
	CHECK_STR(dirty_check(dom), NULL);
	s->count++;
	expect_rule("E1.49");
	s->count--;
	host_frame(node_at(DIRTY_PATH))[0] ^= 2; // a bit that nobody counted: of a leaf
	expect_rule("E1.49");
	host_frame(node_at(DIRTY_PATH))[0] ^= 2;
	if (BIT(DIRTY_LEAF_BITS) < FRAME_BYTES * 8) {
		host_frame(node_at(DIRTY_PATH))[511] = 1; // no gfn's
		expect_rule("E1.49");
		host_frame(node_at(DIRTY_PATH))[511] = 0;
	}
	s->nodes++;
	expect_rule("E1.1 ");
	s->nodes -= 2;
	expect_rule("E1.1 ");
	s->nodes++;
	dom->shadow.modes &= ~MODE_LOGDIRTY;
	expect_rule("E1.51");
	dom->shadow.modes |= MODE_LOGDIRTY;
	s->on = false;
	expect_rule("E1.51");
	s->on = true;
	mfn_t root = s->root;

	s->root = MFN_NONE;
	expect_rule("E1.51");
	s->root = root;
	u32 *entries = (u32 *)host_frame(node_at(DIRTY_PATH - 1)), i = 0;

	while (!entries[i])
		i++;
	u32 leaf = entries[i];

	entries[i] = (u32)fm(5).n;
	expect_rule("E1.51");
	entries[i] = leaf;
	entries[FRAME_BYTES / 4 - 1] = leaf; // behind the last
	expect_rule("E1.51");
	entries[FRAME_BYTES / 4 - 1] = 0;
	FINISH();
}
