// SPDX-License-Identifier: GPL-2.0-or-later
// Reverse maps: the lists against an array under random changes; every entry of every level in the right list; pairs; who
// gives way when a frame or a shadow has too many entries, and that the guest sees none of it; pages of links. Rule 20; B19, B41.
// link: hv/test/fixture.c
#include "test.h"

#include "../shadow/control.h"
#include "fixture.h"

static u64 random_state;

static u32 random_below(u32 n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (u32)(random_state >> 33) % n;
}

// ---- against an array ------------------------------------------------------------------------------------

#define PAGES 3
#define TARGETS 4
#define SLOTS (PAGES * 512)

static mfn_t table[PAGES], target[TARGETS];
static u32 model[TARGETS][SLOTS], length[TARGETS]; // entries, newest first

static u32 number(u32 slot)
{
	return rmap_number(table[slot / 512], slot % 512);
}

static void same_as_model(void)
{
	for (u32 t = 0; t < TARGETS; t++) {
		u32 count = 0, i = 0;

		CHECK_STR(rmap_check(target[t], length[t], &count), NULL);
		CHECK_EQ(count, length[t]);
		for (u32 entry = page_of(target[t])->maps; entry && i < length[t]; entry = rmap_next(entry))
			CHECK_EQ(entry, model[t][i++]);
		CHECK_EQ(i, length[t]);
		if (length[t])
			CHECK_EQ(rmap_oldest(target[t]), model[t][length[t] - 1]);
	}
}

static void add(u32 t, u32 slot)
{
	host_frame(table[slot / 512])[slot % 512] = mfn_mpa(target[t]).a | PTE_P;
	rmap_add(target[t], number(slot));
	memmove(model[t] + 1, model[t], length[t]++ * sizeof(u32));
	model[t][0] = number(slot);
}

static void take(u32 t, u32 place)
{
	u32 entry = model[t][place];

	rmap_remove(target[t], entry);
	host_frame(rmap_page(entry))[rmap_slot(entry)] = 0;
	memmove(model[t] + place, model[t] + place + 1, (--length[t] - place) * sizeof(u32));
}

// Lists of 0 to some hundred elements, the ends more often than the middle.
TEST(lists_are_what_an_array_is)
{
	for (u32 seed = 1; seed <= 4; seed++) {
		static bool used[SLOTS];
		u32 keep = seed * seed * 4; // about how long the lists get

		memset(used, 0, sizeof(used));
		memset(length, 0, sizeof(length));
		random_state = seed;
		CHECK(fixture_start(1, 128, 0));
		for (u32 i = 0; i < PAGES; i++)
			table[i] = pool_alloc(dom, SHADOW_FL1_64, 0);
		for (u32 t = 0; t < TARGETS; t++)
			target[t] = fm(5 + t);
		for (u32 step = 0; step < 3000; step++) {
			u32 t = random_below(TARGETS), slot = random_below(SLOTS), n = length[t];

			if (!used[slot] && random_below(2 * keep) >= n) {
				add(t, slot);
				used[slot] = true;
			} else if (n) {
				u32 place = step % 4 == 0 ? 0 : step % 4 == 1 ? n - 1 : random_below(n), entry = model[t][place];

				for (u32 k = 0; k < SLOTS; k++)
					used[k] = used[k] && number(k) != entry;
				take(t, place);
			}
			if (step % 16 == 0)
				same_as_model();
			if (test_failures)
				return;
		}
		for (u32 t = 0; t < TARGETS; t++)
			while (length[t])
				take(t, random_below(length[t]));
		same_as_model();
		for (u32 t = 0; t < TARGETS; t++)
			CHECK_EQ(page_of(target[t])->maps, 0);
		for (u32 i = 0; i < PAGES; i++)
			pool_free(dom, table[i]);
		FINISH();
	}
}

TEST(links_lie_at_the_entrys_slot_of_the_companion_page)
{
	CHECK(fixture_start(1, 64, 0));
	table[0] = pool_alloc(dom, SHADOW_FL1_64, 0);
	target[0] = fm(5);
	length[0] = 0;
	mfn_t links = mfn(page_of(table[0])->links);

	for (u32 i = 0; i < 3; i++)
		add(0, i * 200);
	// next in the low half, prev in the high one; prev of the first is the last.
	CHECK_EQ(host_frame(links)[400], (u64)number(0) << 32 | number(200));
	CHECK_EQ(host_frame(links)[200], (u64)number(400) << 32 | number(0));
	CHECK_EQ(host_frame(links)[0], (u64)number(200) << 32);
	while (length[0])
		take(0, 0);
	pool_free(dom, table[0]);
	FINISH();
}

// ---- a broken list is told ---------------------------------------------------------------------------------

static const char *broken_by(u32 slot, u64 value)
{
	u64 *at_slot = &host_frame(mfn(page_of(table[0])->links))[slot], was = *at_slot;
	u32 count;

	*at_slot = value;
	const char *bad = rmap_check(target[0], 3, &count);

	*at_slot = was;
	return bad && !strncmp(bad, "E1.20 reverse map", 17) ? NULL : "not told";
}

TEST(a_broken_list_is_told)
{
	u32 count;

	CHECK(fixture_start(1, 64, 0));
	table[0] = pool_alloc(dom, SHADOW_FL1_64, 0);
	target[0] = fm(5);
	length[0] = 0;
	for (u32 i = 0; i < 3; i++)
		add(0, i);
	CHECK_STR(rmap_check(target[0], 3, &count), NULL);
	CHECK(rmap_check(target[0], 2, &count) != NULL);                              // too many
	CHECK_STR(broken_by(0, (u64)number(1) << 32 | number(2)), NULL);              // a ring
	CHECK_STR(broken_by(1, (u64)number(0) << 32 | number(0)), NULL);              // back link
	CHECK_STR(broken_by(2, (u64)number(1) << 32 | number(1)), NULL);              // not the last
	CHECK_STR(broken_by(1, (u64)number(2) << 32 | number(9)), NULL);              // an empty entry
	CHECK_STR(broken_by(1, (u64)number(2) << 32 | 77), NULL);                     // no frame
	CHECK_STR(broken_by(1, (u64)number(2) << 32 | rmap_number(fm(6), 0)), NULL); // no shadow
	host_frame(table[0])[1] = mfn_mpa(fm(6)).a | PTE_P;                           // another frame
	CHECK(rmap_check(target[0], 3, &count) != NULL);
	host_frame(table[0])[1] = mfn_mpa(fm(5)).a | PTE_P;
	while (length[0])
		take(0, 0);
	pool_free(dom, table[0]);
	FINISH();
}

// ---- every entry ----------------------------------------------------------------------------------------------

// All present entries of all shadows are in the list of what they name, once; and nothing else is in any list. The result is
// their number.
static u32 census(void)
{
	u32 entries = 0, listed = 0;

	for_each_shadow(dom, s) {
		u32 fanout = shadow_fanout(shadow_row(shadow_type_of(mfn(s))));

		for (u32 n = (u32)s; n; n = page_of(mfn(n))->sibling)
			for (u32 slot = 0; slot < 512; slot += fanout) {
				spte_t e = { host_frame(mfn(n))[slot] };
				u32 times = 0;

				if (!spte_present(e))
					continue;
				entries++;
				for (u32 m = page_of(spte_mfn(e))->maps; m; m = rmap_next(m))
					times += m == rmap_number(mfn(n), slot);
				CHECK_EQ(times, 1);
			}
	}
	for (u64 n = page_first; n < page_first + heap_touched(); n++)
		if (host_frame_owned(mfn(n)))
			listed += map_count(mfn(n));
	CHECK_EQ(listed, entries);
	return entries;
}

TEST(every_entry_of_four_levels_is_in_the_right_list)
{
	CHECK(fixture_paged(2, 128, SHADOW_OPT_ALL));
	poke(2, 1, at(0, AS_LEAF | PTE_PS)); // 2 MiB, 1 GiB, a second way to f2, f0 in itself
	poke(1, 1, at(0, AS_LEAF | PTE_PS));
	poke(1, 2, at(2, AS_TABLE));
	poke(0, 511, at(0, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++) {
		CHECK(reads(vc(i & 1), page(i)));
		CHECK(reads(vc(0), UINT64_C(0x200000) + page(i)));
		CHECK(reads(vc(1), UINT64_C(0x40000000) + page(i)));
		CHECK(reads(vc(0), UINT64_C(0x80000000) + page(i)));
	}
	CHECK(reads(vc(0), UINT64_C(0xfffffffffffff000)));
	CHECK(census() > 2 * FIXTURE_FRAMES);
	mfn_t l1 = shadow_of(3, SHADOW_L1_64), l2 = shadow_of(2, SHADOW_L2_64), l3 = shadow_of(1, SHADOW_L3_64);

	CHECK(is_mapped_by(fm(9), l1, 9));
	CHECK(is_mapped_by(l1, l2, 0) && map_count(l1) == 1);
	CHECK(is_mapped_by(l2, l3, 0) && is_mapped_by(l2, l3, 2));
	CHECK(is_mapped_by(l3, shadow_of(0, SHADOW_L4_64), 0));
	CHECK_EQ(map_count(shadow_of(0, SHADOW_L4_64)), 0); // slots are no entries
	HEALTHY();
	poke(1, 2, 0);
	poke(3, 9, at(9, AS_LEAF & ~PTE_W)); // fewer rights: the same place in the list
	census();
	shadow_remove_all(dom, fm(3));
	census();
	drain();
	census();
	FINISH();
}

// spec A.2: two shadow entries for one of the guest: the first is in the list of the child's first page.
TEST(of_a_pair_the_first_entry_is_listed)
{
	CHECK(fixture_start(1, 128, 0));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		CHECK(reads(vc(0), gfn_gpa(fg(i)).a)); // through the identity table, 4 MiB pages
	mfn_t fl1 = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_32), l2 = vc(0)->shadow.root[0];

	CHECK(census() >= FIXTURE_FRAMES);
	CHECK_EQ(map_count(fl1), 1);
	CHECK(is_mapped_by(fl1, l2, 0x40000000 >> 22));
	CHECK_EQ(page_of(mfn(page_of(fl1)->sibling))->maps, 0);
	CHECK_EQ(page_of(fl1)->maps % 2, 0);
	access_remove_entries(dom, fl1); // both halves, and the shadow goes
	tlb_flush(dom->shadow.cpus);
	u32 slot;
	const u64 *at_l2 = host_frame(shadow_page_of(l2, 0x40000000 >> 22, &slot));

	CHECK_EQ(at_l2[slot] | at_l2[slot + 1], 0);
	CHECK(shadow_is_dying(fl1));
	census();
	CHECK(reads(vc(0), gfn_gpa(fg(3)).a));
	FINISH();
}

// Both halves of a 4 MiB region have entries of the level-0 shadow's two pages in lists.
TEST(entries_on_all_pages_of_a_shadow_are_listed)
{
	CHECK(fixture_start(1, 128, 0));
	CHECK_EQ(domain_add_ram(dom, gfn(0x40001)), HV_EBUSY);
	CHECK_EQ(domain_add_ram(dom, gfn(0x40201)), HV_OK); // 2 MiB further on: the second page
	CHECK(writes(vc(0), UINT64_C(0x40201000), 1));
	CHECK(writes(vc(0), UINT64_C(0x40001000), 1));
	mfn_t fl1 = hash_find(dom, (u32)fg(0).n, SHADOW_FL1_32), m = p2m_lookup(&dom->p2m, gfn(0x40201));

	CHECK_EQ(page_of(m)->maps, rmap_number(mfn(page_of(fl1)->sibling), 1));
	CHECK_EQ(page_of(fm(1))->maps, rmap_number(fl1, 1));
	census();
	FINISH();
}

// B19: the same slot is a table's first and a large page's then; where the new one is listed the old one is no more.
TEST(B19_an_entry_that_changes_its_kind_changes_lists)
{
	CHECK(fixture_paged(1, 128, SHADOW_OPT_ALL));
	poke(2, 1, at(3, AS_TABLE));
	for (u32 i = 0; i < 20; i++) {
		CHECK(reads(vc(0), UINT64_C(0x200000) + page(9)));
		census();
		poke(2, 1, i & 1 ? at(3, AS_TABLE) : at(0, AS_LEAF | PTE_PS));
		census();
		HEALTHY();
	}
	FINISH();
}

// ---- too many mappings -----------------------------------------------------------------------------------------

// Tables of level 1 at CROWD, all entries of which map f9 (but the first, which maps its table).
static void many_of_f9(u32 wanted, u64 flags)
{
	u32 tables = wanted / 511 + 1;

	CHECK(fixture_paged(1, CROWD_POOL(tables), 0));
	poke(3, 9, 0);
	CHECK(crowd(tables));
	for (u32 t = 0; t < tables; t++)
		for (u32 i = 1; i < 512; i++)
			host_frame(crowd_frame(t))[i] = at(9, flags); // absent so far: nobody need be told
}

static u64 place(u32 n)
{
	return CROWD + (u64)(n / 511) * 0x200000 + (u64)(n % 511 + 1) * FRAME_BYTES;
}

TEST(a_frame_has_so_many_mappings_and_the_oldest_gives_way)
{
	u32 others = 0, most = 0, limit = SHADOW_MAPS_MAX + 60;

	many_of_f9(limit, AS_LEAF);
	others = page_references(fm(9));
	CHECK_EQ(map_count(fm(9)), 0);
	for (u32 n = 0; n < limit; n++) {
		CHECK(writes(vc(0), place(n), n));
		CHECK_EQ(word(9, 0), n);
		u32 maps = n + 1 < SHADOW_MAPS_MAX - others ? n + 1 : SHADOW_MAPS_MAX - others;

		if (n < 100 || n > limit - 100) // as they get longer, lists take longer to count
			CHECK_EQ(map_count(fm(9)), maps);
		CHECK_EQ(page_writable_count(fm(9)), maps);
		CHECK_EQ(page_references(fm(9)), maps + others);
		most = maps;
		if (test_failures)
			return;
	}
	CHECK_EQ(dom->shadow.stats.evicted, limit - most);
	CHECK_EQ(spte_at(vc(0), place(limit - most - 1), 0).v, 0); // the oldest, in order
	CHECK(spte_present(spte_at(vc(0), place(limit - most), 0)));
	CHECK(spte_present(spte_at(vc(0), place(limit - 1), 0)));
	HEALTHY();
	for (u32 n = 0; n < limit; n++) { // the guest sees nothing of it
		struct cpu_result r = go(vc(0), CPU_READ, place(n), 8, 0, 0);

		CHECK(r.end == CPU_DONE && r.value[0] == limit - 1);
	}
	FINISH();
}

// What gave way may still be in a TLB: whoever takes write access away later must know.
TEST(an_evicted_writable_mapping_is_flushed_for)
{
	u32 limit = SHADOW_MAPS_MAX + 10;
	const struct tlb_entry *first;
	mfn_t smfn;

	many_of_f9(limit, AS_LEAF & ~(PTE_W | PTE_D));
	host_frame(crowd_frame(0))[1] = at(9, AS_LEAF);
	CHECK(writes(vc(0), place(0), 1));
	for (u32 n = 1; n < limit; n++)
		CHECK(reads(vc(0), place(n)));
	CHECK_EQ(spte_at(vc(0), place(0), 0).v, 0);
	CHECK_EQ(page_writable_count(fm(9)), 0);
	CHECK(tlb_stale_mask(1, page_of(fm(9))->stamp) != 0);
	CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(9).n, MFN_NONE, &smfn), HV_OK);
	CHECK_EQ(tlb_pages(0, &first), 0);
	table_destroy(dom, smfn);
	FINISH();
}

// All of them go when the frame leaves, and the lists of others stay.
TEST(a_frame_with_all_its_mappings_leaves)
{
	many_of_f9(SHADOW_MAPS_MAX, AS_LEAF);
	for (u32 n = 0; n < SHADOW_MAPS_MAX; n++)
		CHECK(writes(vc(0), place(n), n));
	mfn_t was = fm(9);

	CHECK_EQ(physmap_remove(dom, fg(9)), HV_OK);
	CHECK(!host_frame_owned(was));
	census();
	HEALTHY();
	CHECK_EQ(domain_add_ram(dom, fg(9)), HV_OK);
	CHECK(writes(vc(0), place(3), 3));
	FINISH();
}

// ---- too many parents -------------------------------------------------------------------------------------------

// f3 is named by all entries of `tables` tables of level 2, which hang in f1 from entry 1 on.
static u64 parent_place(u32 n)
{
	return CROWD + (u64)(n / 512) * 0x40000000 + (u64)(n % 512) * 0x200000 + page(9);
}

// Small geometry, which has a counter so narrow that its end is reached.
static void the_counter_ends_first(void)
{
	CHECK(fixture_paged(1, 128, 0));
	for (u32 i = 1; i <= SHADOW_COUNT_MAX; i++)
		poke(2, i, at(3, AS_TABLE));
	for (u32 i = 1; i < SHADOW_COUNT_MAX; i++)
		CHECK(reads(vc(0), i * UINT64_C(0x200000) + page(9)));
	CHECK(reads(vc(0), page(9)));
	CHECK_EQ(refs(shadow_of(3, SHADOW_L1_64)), SHADOW_COUNT_MAX);
	CHECK_EQ(map_count(shadow_of(3, SHADOW_L1_64)), SHADOW_COUNT_MAX);
	CHECK_EQ(go(vc(0), CPU_READ, SHADOW_COUNT_MAX * UINT64_C(0x200000) + page(9), 8, 0, 0).end, CPU_DEAD);
	CHECK_STR(dom->death, "shadow references");
	FINISH();
}

TEST(a_shadow_has_so_many_parents_and_the_oldest_gives_way)
{
	u32 limit = SHADOW_PARENTS_MAX + 40, tables = limit / 512 + 1;

	if (SHADOW_PARENTS_MAX >= SHADOW_COUNT_MAX) { // so few that the counter ends before
		the_counter_ends_first();
		return;
	}
	CHECK(fixture_paged(1, 2 * tables + 200, 0));
	for (u32 t = 0; t < tables; t++) {
		CHECK_EQ(domain_add_ram(dom, gfn(CROWD_GFN + t)), HV_OK);
		poke(1, 1 + t, gfn_gpa(gfn(CROWD_GFN + t)).a | AS_TABLE);
		for (u32 i = 0; i < 512; i++)
			host_frame(crowd_frame(t))[i] = at(3, AS_TABLE);
	}
	for (u32 n = 0; n < limit; n++) {
		u32 clock = tlb_clock();

		CHECK(writes(vc(0), parent_place(n), n));
		CHECK_EQ(word(9, 0), n);
		mfn_t l1 = shadow_of(3, SHADOW_L1_64);
		u32 count = n + 1 < SHADOW_PARENTS_MAX ? n + 1 : SHADOW_PARENTS_MAX;

		CHECK_EQ(refs(l1), count);
		if (n >= SHADOW_PARENTS_MAX)
			CHECK(tlb_clock() > clock); // an upper entry goes: flushed at once
		if (test_failures)
			return;
	}
	CHECK_EQ(dom->shadow.stats.evicted, limit - SHADOW_PARENTS_MAX);
	CHECK_EQ(map_count(shadow_of(3, SHADOW_L1_64)), SHADOW_PARENTS_MAX);
	CHECK_EQ(spte_at(vc(0), parent_place(39), 1).v, 0);
	CHECK(spte_present(spte_at(vc(0), parent_place(40), 1)));
	HEALTHY();
	for (u32 n = 0; n < limit; n += 7)
		CHECK(writes(vc(0), parent_place(n), n) && word(9, 0) == n);
	shadow_remove_all(dom, fm(3)); // all parents at once
	CHECK(!page_is_table(fm(3)));
	CHECK(writes(vc(0), parent_place(1), 7) && word(9, 0) == 7);
	FINISH();
}

// ---- what makes room, and what must not ---------------------------------------------------------------------------

// As if so many references were held that `room` mappings of f9 are left; and back.
static u32 leave_room(u32 room)
{
	u32 extra = SHADOW_MAPS_MAX - room - page_references(fm(9));

	page_of(fm(9))->count_info += extra;
	return extra;
}

// Prefetching neighbours that map the same frame must not push out the entry that the guest waits for.
TEST(prefetch_does_not_push_out_what_was_asked_for)
{
	for (u32 room = 1; room < 40; room += 6) {
		CHECK(fixture_paged(1, 0, SHADOW_OPT_ALL));
		for (u32 i = 64; i < 140; i++)
			poke(3, i, at(9, AS_LEAF));
		u32 extra = leave_room(room);

		for (u32 i = 64; i < 140; i++) {
			CHECK(writes(vc(0), page(i), i));
			CHECK(spte_present(spte_at(vc(0), page(i), 0)));
			CHECK(map_count(fm(9)) <= room);
			if (test_failures)
				return;
		}
		page_of(fm(9))->count_info -= extra;
		FINISH();
	}
}

// The oldest may be in the very table that gets the new entry, or be the only one.
TEST(the_one_that_gives_way_may_be_a_neighbour)
{
	CHECK(fixture_paged(1, 0, 0));
	for (u32 i = 64; i < 70; i++)
		poke(3, i, at(9, AS_LEAF));
	u32 extra = leave_room(1);

	for (u32 round = 0; round < 3; round++)
		for (u32 i = 64; i < 70; i++) {
			CHECK(writes(vc(0), page(i), i));
			u32 index;

			CHECK_EQ(page_of(fm(9))->maps, rmap_number(table_at(vc(0), page(i), 0, &index), i));
			CHECK_EQ(map_count(fm(9)), 1);
			tlb_flush(1); // or the next access needs no entry
		}
	page_of(fm(9))->count_info -= extra;
	FINISH();
}

// The oldest may be in a table that is dying.
TEST(the_one_that_gives_way_may_be_dying)
{
	CHECK(fixture_paged(1, 200, 0));
	poke(2, 1, at(5, AS_TABLE));
	poke(5, 0, at(9, AS_LEAF));
	CHECK(writes(vc(0), page(9), 1));
	mfn_t l1 = shadow_of(3, SHADOW_L1_64), l2 = shadow_of(2, SHADOW_L2_64);
	spte_t entry = shadow_read(dom, l1, 9), other;

	CHECK(reads(vc(0), UINT64_C(0x200000)));
	other = shadow_read(dom, shadow_of(5, SHADOW_L1_64), 0);
	CHECK_EQ(spte_mfn(other).n, fm(9).n);
	domain_lock(dom, BOUND_UNSHADOW);
	CHECK(shadow_set(dom, shadow_of(5, SHADOW_L1_64), 0, SPTE_EMPTY) == ENTRY_CHANGED);
	CHECK(shadow_set(dom, l2, 0, SPTE_EMPTY) & ENTRY_FLUSH);
	tlb_flush(1);
	CHECK(shadow_is_dying(l1));
	u32 extra = leave_room(0);

	CHECK_EQ(shadow_set(dom, shadow_of(5, SHADOW_L1_64), 0, other), ENTRY_CHANGED);
	CHECK_EQ(shadow_read(dom, l1, 9).v, 0);
	CHECK_EQ(page_of(fm(9))->maps, rmap_number(shadow_of(5, SHADOW_L1_64), 0));
	page_of(fm(9))->count_info -= extra;
	CHECK(entry.v != 0);
	CHECK_STR(shadow_check(dom, AUDIT_ALL), NULL);
	domain_unlock(dom);
	FINISH();
}

// ---- numbers -------------------------------------------------------------------------------------------------------

static void too_much_memory(void)
{
	page_first = RMAP_FRAMES_MAX;
	page_count = 1;
	ref_check_start();
}

TEST(entries_have_numbers_of_their_own)
{
	mfn_t last = mfn(RMAP_FRAMES_MAX - 1);

	CHECK_EQ(rmap_page(rmap_number(last, 511)).n, last.n);
	CHECK_EQ(rmap_slot(rmap_number(last, 511)), 511);
	CHECK_EQ(rmap_number(last, 511), UINT32_MAX);
	CHECK(rmap_number(mfn(1), 0) != 0);
	CHECK(fixture_start(1, 0, 0));
	CHECK(fixture_fatal(too_much_memory)); // a machine with frames that have none
	CHECK(fixture_start(1, 0, 0));
	FINISH();
}
