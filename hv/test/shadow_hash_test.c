// SPDX-License-Identifier: GPL-2.0-or-later
// Finding shadows: chains of fake tables built from colliding keys, order after hits, removal, the limit of a chain; shadows
// that hang on their frame. Most are made by hand from pool pages and leave by hand. Rules 9, 12.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

// More than a chain holds when the core makes them: by hand any number goes.
#define SAME_BUCKET 5

static u32 keys[SAME_BUCKET];
static mfn_t smfn[SAME_BUCKET];

// The bucket that a key lands in, seen from outside.
static u32 bucket_of_key(u32 key)
{
	mfn_t probe = pool_alloc(dom, SHADOW_FL1_64, key);

	hash_insert(dom, key, SHADOW_FL1_64, probe);
	u32 b = 0;

	while (dom->shadow.bucket[b] != probe.n)
		b++;
	hash_remove(dom, key, SHADOW_FL1_64, probe);
	pool_free(dom, probe);
	return b;
}

// Superpage keys that collide, inserted in order: the last stands first.
static void collide(void)
{
	u32 n = 0, bucket = 0;

	fixture_start(1, 64, 0);
	for (u32 key = 0x10000; n < SAME_BUCKET; key += 512) {
		u32 b = bucket_of_key(key);

		if (n == 0)
			bucket = b;
		if (b == bucket)
			keys[n++] = key;
	}
	for (u32 i = 0; i < SAME_BUCKET; i++) {
		smfn[i] = pool_alloc(dom, SHADOW_FL1_64, keys[i]);
		hash_insert(dom, keys[i], SHADOW_FL1_64, smfn[i]);
	}
}

static void leave(void)
{
	for (u32 i = 0; i < SAME_BUCKET; i++) {
		if (mfn_is_none(hash_find(dom, keys[i], SHADOW_FL1_64)))
			continue;
		hash_remove(dom, keys[i], SHADOW_FL1_64, smfn[i]);
		pool_free(dom, smfn[i]);
	}
	FINISH();
}

// Entries of the chain of our keys, in order, as indexes into keys[]; ends with SAME_BUCKET. The unpaged
// root of the fixture may be somewhere in the same chain.
static void order(u32 *out)
{
	u32 n = 0;

	for (u32 b = 0; b < SHADOW_HASH_BUCKETS; b++)
		for (u32 m = dom->shadow.bucket[b]; m; m = page_of(mfn(m))->next_shadow)
			for (u32 i = 0; i < SAME_BUCKET; i++)
				if (m == smfn[i].n)
					out[n++] = i;
	while (n <= SAME_BUCKET)
		out[n++] = SAME_BUCKET;
}

TEST(collisions_are_found_and_move_to_the_front)
{
	u32 now[SAME_BUCKET + 1];

	collide();
	order(now);
	for (u32 i = 0; i < SAME_BUCKET; i++)
		CHECK_EQ(now[i], SAME_BUCKET - 1 - i);
	for (u32 i = 0; i < SAME_BUCKET; i++) {
		CHECK_EQ(hash_find(dom, keys[i], SHADOW_FL1_64).n, smfn[i].n);
		order(now);
		CHECK_EQ(now[0], i);
		CHECK_STR(hash_check(dom), NULL);
	}
	leave();
}

TEST(key_and_type_both_count)
{
	collide();
	CHECK(mfn_is_none(hash_find(dom, keys[0], SHADOW_FL2_64)));
	CHECK(mfn_is_none(hash_find(dom, keys[0], SHADOW_FL1_PAE)));
	CHECK(mfn_is_none(hash_find(dom, keys[0] + 512 * 4096, SHADOW_FL1_64)));
	leave();
}

TEST(removal_from_every_place_of_a_chain)
{
	for (u32 gone = 0; gone < SAME_BUCKET; gone++) {
		collide();
		u32 before = dom->shadow.shadow_count;

		hash_remove(dom, keys[gone], SHADOW_FL1_64, smfn[gone]);
		CHECK_EQ(dom->shadow.shadow_count, before - 1);
		CHECK_EQ(page_of(smfn[gone])->next_shadow, 0);
		pool_free(dom, smfn[gone]);
		for (u32 i = 0; i < SAME_BUCKET; i++)
			CHECK_EQ(hash_find(dom, keys[i], SHADOW_FL1_64).n, i == gone ? 0 : smfn[i].n);
		CHECK_STR(hash_check(dom), NULL);
		leave();
	}
}

// The shadows of one frame go without a search, too: taking a table apart lets go of 512 such.
TEST(removal_from_a_frame_takes_no_steps)
{
	static const u32 types[] = { SHADOW_L1_32, SHADOW_L1_PAE, SHADOW_L1_64, SHADOW_L2_64, SHADOW_L3_64, SHADOW_DETACHED_64 };
	mfn_t of[ARRAY_LEN(types)];

	for (u32 gone = 0; gone < ARRAY_LEN(types); gone++) {
		CHECK(fixture_start(1, 64, 0));
		u32 key = (u32)fm(9).n;

		for (u32 i = 0; i < ARRAY_LEN(types); i++) {
			of[i] = pool_alloc(dom, types[i], key);
			hash_insert(dom, key, types[i], of[i]);
		}
		for (u32 n = 0; n < ARRAY_LEN(types); n++) {
			u32 i = (gone + n) % ARRAY_LEN(types);
			u64 visits = dom->shadow.stats.visits;

			hash_remove(dom, key, types[i], of[i]);
			CHECK_EQ(dom->shadow.stats.visits, visits);
			CHECK(mfn_is_none(hash_find(dom, key, types[i])));
			for (u32 k = n + 1; k < ARRAY_LEN(types); k++) // the others move to the front
				CHECK(!mfn_is_none(hash_find(dom, key, types[(gone + k) % ARRAY_LEN(types)])));
			pool_free(dom, of[i]);
		}
		CHECK_EQ(page_of(fm(9))->shadows, 0);
		FINISH();
	}
}

static void remove_a_stranger(void)
{
	hash_remove(dom, keys[0], SHADOW_FL1_64, pool_alloc(dom, SHADOW_FL1_64, keys[0]));
}

static void remove_a_strange_table(void)
{
	hash_remove(dom, (u32)fm(9).n, SHADOW_L1_64, pool_alloc(dom, SHADOW_L1_64, (u32)fm(9).n));
}

TEST(removal_must_find)
{
	collide();
	CHECK(fixture_fatal(remove_a_stranger));
	collide();
	CHECK(fixture_fatal(remove_a_strange_table));
}

// A chain that runs into a ring behind its start must be told, not followed for ever.
TEST(a_ring_in_a_chain_is_told)
{
	collide();
	mfn_t last = smfn[0];

	u32 was = page_of(last)->next_shadow;

	page_of(last)->next_shadow = (u32)smfn[SAME_BUCKET - 2].n;
	const char *bad = hash_check(dom);

	CHECK(bad && !strncmp(bad, "E1.12 ", 6));
	page_of(last)->next_shadow = was;
	u32 *before = &page_of(mfn(page_of(last)->links))->back; // and the way back

	*before = 0;
	bad = hash_check(dom);
	CHECK(bad && !strncmp(bad, "E1.12 ", 6));
	*before = (u32)smfn[1].n;
	CHECK_STR(hash_check(dom), NULL);
	leave();
}

// ---- frames ---------------------------------------------------------------------------------------------

// The shadows of a frame hang on it, however many others there are.
TEST(the_shadows_of_a_frame_are_found_through_it_alone)
{
	static const u32 types[] = { SHADOW_L1_32, SHADOW_L1_PAE, SHADOW_L1_64, SHADOW_L2_64, SHADOW_L3_64 };
	mfn_t made[ARRAY_LEN(types)], other;

	CHECK(fixture_paged(1, 128, 0));
	for (u32 i = 0; i < ARRAY_LEN(types); i++)
		CHECK_EQ(table_get(dom, types[i], (u32)fm(9).n, MFN_NONE, &made[i]), HV_OK);
	for (u32 i = 10; i < 14; i++)
		CHECK_EQ(table_get(dom, SHADOW_L1_64, (u32)fm(i).n, MFN_NONE, &other), HV_OK);
	for (u32 round = 0; round < 3; round++)
		for (u32 i = 0; i < ARRAY_LEN(types); i++) {
			u64 visits = dom->shadow.stats.visits;

			CHECK_EQ(shadow_of(9, types[i]).n, made[i].n);
			CHECK_EQ(page_of(fm(9))->shadows, made[i].n); // a hit moves to the front
			CHECK(dom->shadow.stats.visits - visits <= ARRAY_LEN(types));
		}
	CHECK(mfn_is_none(shadow_of(9, SHADOW_L4_64)));
	CHECK_STR(hash_check(dom), NULL);
	for (u32 i = 10; i < 14; i++)
		table_destroy(dom, shadow_of(i, SHADOW_L1_64));
	for (u32 i = ARRAY_LEN(types); i-- > 0;) { // out of the middle, from the end
		table_destroy(dom, made[i * 2 % ARRAY_LEN(types)]);
		CHECK(mfn_is_none(shadow_of(9, types[i * 2 % ARRAY_LEN(types)])));
		CHECK_STR(hash_check(dom), NULL);
	}
	CHECK_EQ(page_of(fm(9))->shadows, 0);
	FINISH();
}

// ---- chains that are full ---------------------------------------------------------------------------------

// Key of the n-th large page whose fl1 shadow lands in the same chain.
static u32 crowded_key(u32 n)
{
	static u32 found[SHADOW_CHAIN_MAX + 8], known, bucket, next;

	if (n == 0)
		known = next = 0;
	while (known <= n) {
		u32 key = next++ * 512, b = bucket_of_key(key);

		if (!known)
			bucket = b;
		if (b == bucket)
			found[known++] = key;
	}
	return found[n];
}

// A fake table as the fault path makes it, with an entry of l2 that names it.
static mfn_t make_fake(mfn_t l2, u32 n, mfn_t spare)
{
	u32 key = crowded_key(n);
	mfn_t made = MFN_NONE;

	CHECK_EQ(table_get(dom, SHADOW_FL1_64, key, spare, &made), HV_OK);
	CHECK(shadow_set(dom, l2, 100 + n, (spte_t){ mfn_mpa(made).a | AS_LEAF }) & ENTRY_CHANGED);
	return made;
}

static u32 chain_length(mfn_t one)
{
	for (u32 b = 0; b < SHADOW_HASH_BUCKETS; b++) {
		u32 length = 0;
		bool ours = false;

		for (u32 n = dom->shadow.bucket[b]; n; n = page_of(mfn(n))->next_shadow, length++)
			ours = ours || n == one.n;
		if (ours)
			return length;
	}
	return 0;
}

static void full_chain(mfn_t *l2, mfn_t made[SHADOW_CHAIN_MAX])
{
	CHECK(fixture_paged(1, 4 * SHADOW_CHAIN_MAX + 100, 0));
	CHECK(reads(vc(0), page(9)));
	*l2 = shadow_of(2, SHADOW_L2_64);
	crowded_key(0);
	for (u32 i = 0; i < SHADOW_CHAIN_MAX; i++)
		made[i] = make_fake(*l2, i, MFN_NONE);
	CHECK_EQ(chain_length(made[0]), SHADOW_CHAIN_MAX);
	CHECK_EQ(dom->shadow.stats.evicted, 0);
}

// The one that was not asked for the longest goes: it loses its entries, and what they held.
TEST(the_coldest_of_a_full_chain_gives_way)
{
	mfn_t l2, made[SHADOW_CHAIN_MAX];

	full_chain(&l2, made);
	CHECK_EQ(hash_find(dom, crowded_key(0), SHADOW_FL1_64).n, made[0].n); // asked for: made[1] is the coldest now
	u32 clock = tlb_clock();
	mfn_t fresh = make_fake(l2, SHADOW_CHAIN_MAX, MFN_NONE);

	CHECK_EQ(dom->shadow.stats.evicted, 1);
	CHECK_EQ(chain_length(fresh), SHADOW_CHAIN_MAX);
	CHECK(mfn_is_none(hash_find(dom, crowded_key(1), SHADOW_FL1_64)));
	CHECK_EQ(shadow_read(dom, l2, 101).v, 0);
	CHECK(shadow_is_dying(made[1]));
	CHECK(tlb_clock() > clock);                   // flushed
	CHECK(dom->shadow.splinter_stamp >= clock); // and INVLPG of one address is not enough for now
	for (u32 i = 0; i < SHADOW_CHAIN_MAX; i++)
		if (i != 1)
			CHECK_EQ(hash_find(dom, crowded_key(i), SHADOW_FL1_64).n, made[i].n);
	shadow_clear(dom, l2);
	tlb_flush(dom->shadow.cpus);
	FINISH();
}

// The table that the new one is for stands in the same chain: it stays, however cold it is.
TEST(spare_never_gives_way)
{
	for (u32 spare = 0; spare < SHADOW_CHAIN_MAX; spare++) {
		mfn_t l2, made[SHADOW_CHAIN_MAX];

		full_chain(&l2, made);
		mfn_t coldest = hash_crowded(dom, crowded_key(SHADOW_CHAIN_MAX), SHADOW_FL1_64, made[spare]);

		CHECK_EQ(coldest.n, made[spare ? 0 : 1].n);
		make_fake(l2, SHADOW_CHAIN_MAX, made[spare]);
		CHECK_EQ(hash_find(dom, crowded_key(spare), SHADOW_FL1_64).n, made[spare].n);
		CHECK_EQ(chain_length(made[spare]), SHADOW_CHAIN_MAX);
		CHECK(shadow_is_dying(coldest));
		shadow_clear(dom, l2);
		tlb_flush(dom->shadow.cpus);
		FINISH();
	}
}

TEST(a_chain_with_room_takes_one_more)
{
	mfn_t l2, made[SHADOW_CHAIN_MAX];

	full_chain(&l2, made);
	CHECK(!mfn_is_none(hash_crowded(dom, crowded_key(SHADOW_CHAIN_MAX), SHADOW_FL1_64, MFN_NONE)));
	CHECK(shadow_set(dom, l2, 100, SPTE_EMPTY) & ENTRY_FLUSH);
	tlb_flush(dom->shadow.cpus);
	CHECK(mfn_is_none(hash_crowded(dom, crowded_key(SHADOW_CHAIN_MAX), SHADOW_FL1_64, MFN_NONE)));
	shadow_clear(dom, l2);
	tlb_flush(dom->shadow.cpus);
	FINISH();
}

// 1 GiB pages whose parts collide: the guest sees none of it, whatever the salt.
TEST(full_chains_do_not_show)
{
	for (u32 opts = 0; opts <= SHADOW_OPT_ALL; opts += SHADOW_OPT_ALL) {
		CHECK(fixture_paged(1, 500, opts));
		for (u32 i = 1; i < 200; i++)
			poke(2, i, at(0, AS_LEAF | PTE_PS) + (i & 7) * UINT64_C(0x200000));
		poke(1, 1, at(0, AS_LEAF | PTE_PS));
		for (u32 round = 0; round < 2; round++)
			for (u32 i = 1; i < 200; i++) {
				u64 part = (u64)i * 0x200000 % UINT64_C(0x40000000);

				CHECK(reads(vc(0), i * UINT64_C(0x200000) + page(9)));
				CHECK(reads(vc(0), UINT64_C(0x40000000) + part + page(9)));
				CHECK(writes(vc(0), UINT64_C(0x40000000) + page(10), i));
				CHECK_EQ(word(10, 0), i);
			}
		if (SHADOW_HASH_BUCKETS * SHADOW_CHAIN_MAX < 200)
			CHECK(dom->shadow.stats.evicted > 0);
		FINISH();
	}
}
