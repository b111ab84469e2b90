// SPDX-License-Identifier: GPL-2.0-or-later
// The hash of shadows: chains built from colliding keys, order after hits, walking, removal. The shadows
// are made by hand from pool pages and leave by hand. D17; rule 12.
// link: hv/test/fixture.c
#include "test.h"

#include "fixture.h"

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
	CHECK(mfn_is_none(hash_find(dom, keys[0], SHADOW_L1_64)));
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

static bool count_one(struct domain *d, mfn_t m, void *context)
{
	u32 *counts = context;

	CHECK(d->shadow.hash_walking);
	for (u32 i = 0; i < SAME_BUCKET; i++)
		counts[i] += mfn_eq(m, smfn[i]);
	for (u32 i = 0; i < SAME_BUCKET; i++) // lookups inside do not reorder the chain under the walk
		CHECK_EQ(hash_find(d, keys[i], SHADOW_FL1_64).n, smfn[i].n);
	return false;
}

static bool take_it_out(struct domain *d, mfn_t m, void *context)
{
	u32 *left = context;

	if (--*left)
		return false;
	for (u32 i = 0; i < SAME_BUCKET; i++)
		if (mfn_eq(m, smfn[i])) {
			hash_remove(d, keys[i], SHADOW_FL1_64, m);
			pool_free(d, m);
		}
	return true;
}

TEST(D17_a_walk_visits_each_shadow_of_the_mask_once_and_reorders_nothing)
{
	u32 counts[SAME_BUCKET] = { 0 }, before[SAME_BUCKET + 1], after[SAME_BUCKET + 1];

	collide();
	order(before);
	CHECK(!hash_foreach(dom, BIT(SHADOW_FL1_64), count_one, counts));
	for (u32 i = 0; i < SAME_BUCKET; i++)
		CHECK_EQ(counts[i], 1);
	order(after);
	CHECK(!memcmp(before, after, sizeof(before)));
	CHECK(!dom->shadow.hash_walking);
	CHECK(!hash_foreach(dom, SHADOW_MASK_ALL & ~BIT(SHADOW_FL1_64), count_one, counts)); // D17: the mask
	for (u32 i = 0; i < SAME_BUCKET; i++)
		CHECK_EQ(counts[i], 1);
	leave();
}

TEST(a_visit_may_remove_and_stop)
{
	for (u32 which = 1; which <= SAME_BUCKET; which++) {
		u32 left = which;

		collide();
		u32 before = dom->shadow.shadow_count;

		CHECK(hash_foreach(dom, BIT(SHADOW_FL1_64), take_it_out, &left));
		CHECK(!dom->shadow.hash_walking);
		CHECK_EQ(dom->shadow.shadow_count, before - 1);
		CHECK_STR(hash_check(dom), NULL);
		leave();
	}
}

static bool walk_again(struct domain *d, mfn_t m, void *context)
{
	(void)m;
	return hash_foreach(d, SHADOW_MASK_ALL, walk_again, context);
}

static void walk_in_a_walk(void)
{
	hash_foreach(dom, SHADOW_MASK_ALL, walk_again, NULL);
}

static void remove_a_stranger(void)
{
	hash_remove(dom, keys[0] + 512 * 8192, SHADOW_FL1_64, smfn[0]);
}

TEST(walks_do_not_nest_and_removal_must_find)
{
	collide();
	CHECK(fixture_fatal(walk_in_a_walk));
	collide();
	CHECK(fixture_fatal(remove_a_stranger));
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
	leave();
}
