// SPDX-License-Identifier: GPL-2.0-or-later
// Log-dirty (spec A.18): one bit for each gfn that was written to since it was cleaned last.
//
// The bits are leaves of a radix tree over gfns whose nodes are pool pages, made when a bit below them is set for the first
// time and kept while the mode is on:
//
//   root --> inner --> ... --> leaf     entry of an inner node: frame number of the node below, 0 for none
//   gfn: |  9 bits |  9 bits | 15 bits: one page of bits |        (DIRTY_FAN_BITS, DIRTY_LEAF_BITS)
//
// A frame whose bit is clear is mapped read-only (entry.c), so that its next write faults; the fault sets the bit and lets the
// next one through. What the hypervisor writes for the guest marks by itself. Order of a clean: write access goes, TLBs are
// flushed, then the bits are handed out and cleared, all under one hold of the lock: no write falls in between.
//
// Parts: the tree; marking; on and off; reading and cleaning; checks.
//
// Invariants (E.1): 35 writable entries name frames whose bit is set; 48 every frame written to has its bit; 49 count is the
// number of bits; 51 the mode is on while there is a root; 1 nodes is the number of pages of the tree; 8 nodes_max, for which
// the pool keeps pages, is never below it.
// Marking and testing are O(levels) and never fail: pool_reserve() puts DIRTY_RESERVE pages aside. Reading is done in pieces of
// at most DIRTY_PIECE gfns, 64 of them a visit, twice for a clean; which ends early when taking write access away has cost
// DIRTY_PIECE_VISITS, and so adds that and the mappings of one frame at most. Stopping ends early by the same measure.
#include "../base/report.h"
#include "../mem/tlb.h"
#include "private.h"

#define TOP ((P2M_GFN_BITS - DIRTY_LEAF_BITS + DIRTY_FAN_BITS - 1) / DIRTY_FAN_BITS) // level of the root; leaves have 0
#define FAN (UINT32_C(1) << DIRTY_FAN_BITS)
#define WORD_BITS 64u
_Static_assert(FAN * sizeof(u32) <= FRAME_BYTES, "entries of an inner node");
_Static_assert(BIT(DIRTY_LEAF_BITS) <= FRAME_BYTES * 8, "bits of a leaf");
_Static_assert(TOP >= 1 && TOP == DIRTY_PATH, "nodes that a mark can need beside the root");
// Between two reservations, beside what is there for RAM that is added: a step may write to eight pages, and four tables get A bits.
_Static_assert((SHADOW_STEP_PAGES + PT_LEVELS_MAX) * DIRTY_PATH <= DIRTY_RESERVE, "each mark needs a branch of its own");
_Static_assert(DIRTY_PIECE % 8 == 0, "where a piece ends the caller's next byte begins");
_Static_assert(DIRTY_FREE_BATCH >= 1, "stopping goes on");

// ---- the tree --------------------------------------------------------------------------------------

// Of the gfns that one entry of a node stands for, log2 of the number.
static u32 shift_of(u32 level)
{
	return level ? DIRTY_LEAF_BITS + (level - 1) * DIRTY_FAN_BITS : 0;
}

static u32 index_in(gfn_t g, u32 level)
{
	u32 bits = level ? DIRTY_FAN_BITS : DIRTY_LEAF_BITS;

	return (u32)(g.n >> shift_of(level)) & ((UINT32_C(1) << bits) - 1);
}

static mfn_t node_new(struct domain *d)
{
	d->shadow.dirty.nodes++;
	return pool_alloc(d, SHADOW_DIRTY_NODE, 0); // cannot run out: the pages have been reserved
}

static mfn_t node_below(mfn_t node, u32 index)
{
	const u32 *entries = port_map(node);
	mfn_t below = mfn(entries[index]);

	port_unmap(entries);
	return below;
}

// The first entry in use of a node of that level, from that for *g on; *g moves on to the first gfn behind what is not there.
// FAN: there is none, and *g stays.
static u32 first_below(struct domain *d, mfn_t node, u32 level, gfn_t *g)
{
	const u32 *entries = port_map(node);
	u32 from = index_in(*g, level), i = from;

	while (i < FAN && !entries[i])
		i++;
	port_unmap(entries);
	d->shadow.stats.visits += 1 + i - from;
	if (i != from && i < FAN)
		*g = gfn(((g->n >> shift_of(level)) - from + i) << shift_of(level));
	return i;
}

static void node_link(mfn_t node, u32 index, mfn_t below)
{
	u32 *entries = port_map(node);

	entries[index] = (u32)below.n;
	port_unmap(entries);
}

// The leaf that has the bit of g; MFN_NONE if there is none yet.
static mfn_t leaf_find(const struct domain *d, gfn_t g)
{
	mfn_t node = d->shadow.dirty.root;

	for (u32 level = TOP; level && !mfn_is_none(node); level--)
		node = node_below(node, index_in(g, level));
	return node;
}

static mfn_t leaf_make(struct domain *d, gfn_t g)
{
	mfn_t node = d->shadow.dirty.root;

	for (u32 level = TOP; level; level--) {
		u32 index = index_in(g, level);
		mfn_t below = node_below(node, index);

		if (mfn_is_none(below)) {
			below = node_new(d);
			node_link(node, index, below);
		}
		node = below;
	}
	return node;
}

// Nodes of a tree with bits of all RAM. RAM is known by regions: the gfns of one level-0 table of the p2m, or of one
// large entry.
static u32 nodes_for_ram(const struct domain *d)
{
	u64 tables = d->p2m.tables.length, mapped = d->p2m.mapped;
	u64 regions = (tables > P2M_LEVELS ? tables - (P2M_LEVELS - 1) : 1) + (mapped >> P2M_LEVEL_BITS), nodes = 1;

	for (u32 level = 0; level < TOP; level++) {
		u32 shift = shift_of(level + 1); // log2 of the gfns below such a node
		u64 most = regions << (shift < P2M_LEVEL_BITS ? P2M_LEVEL_BITS - shift : 0);

		if (most > mapped)
			most = mapped;
		nodes += most < BIT(P2M_GFN_BITS - shift) ? most : BIT(P2M_GFN_BITS - shift);
	}
	return (u32)nodes;
}

// ---- marking ---------------------------------------------------------------------------------------

static u64 *word_map(mfn_t leaf, gfn_t g)
{
	return (u64 *)port_map(leaf) + index_in(g, 0) / WORD_BITS;
}

// False: the bit was set.
static bool set_bit(struct domain *d, gfn_t g)
{
	u64 *word = word_map(leaf_make(d, g), g), bit = BIT(g.n % WORD_BITS);
	bool fresh = !(*word & bit);

	*word |= bit;
	port_unmap(word);
	d->shadow.dirty.count += fresh;
	return fresh;
}

void dirty_mark(struct domain *d, gfn_t g)
{
	struct shadow_dirty *s = &d->shadow.dirty;

	if (s->on && gfn_in_range(g) && set_bit(d, g))
		s->marked++;
}

// Its nodes are made at once: those that can be needed later are no more than for the RAM of the beginning.
void dirty_ram_added(struct domain *d, gfn_t g)
{
	struct shadow_dirty *s = &d->shadow.dirty;
	u32 before = s->nodes;

	dirty_mark(d, g);
	s->nodes_max += s->nodes - before;
}

void dirty_mark_frame(struct domain *d, mfn_t m)
{
	if (d->shadow.dirty.on && !mfn_is_none(m))
		dirty_mark(d, p2m_gfn_of(m)); // no gfn: it has left the p2m, or never was in it
}

bool dirty_test(const struct domain *d, gfn_t g)
{
	mfn_t leaf = d->shadow.dirty.on && gfn_in_range(g) ? leaf_find(d, g) : MFN_NONE;

	if (mfn_is_none(leaf))
		return false;
	const u64 *word = word_map(leaf, g);
	bool set = (*word & BIT(g.n % WORD_BITS)) != 0;

	port_unmap(word);
	return set;
}

// ---- on and off ------------------------------------------------------------------------------------

enum hv_status shadow_dirty_start(struct domain *d)
{
	struct shadow_dirty *s = &d->shadow.dirty;

	if (s->on)
		return HV_EINVAL;
	if (!mfn_is_none(s->root)) // the last one is still being taken apart
		return HV_EBUSY;
	enum hv_status status = pool_reserve(d, 1);
	u32 nodes_max = nodes_for_ram(d);

	if (status == HV_OK)
		status = pool_keep(d, 0, nodes_max + DIRTY_RESERVE);
	if (status != HV_OK)
		return status;
	*s = (struct shadow_dirty){ .on = true, .nodes_max = nodes_max };
	s->root = node_new(d);
	d->shadow.modes |= MODE_LOGDIRTY;
	shadow_blow_tables(d); // no mapping is left, so none that could be written through; flushes
	return HV_OK;
}

// Let go of one node without others below it: the first that leads to a gfn at or above s->freed.
static void free_one(struct domain *d)
{
	struct shadow_dirty *s = &d->shadow.dirty;
	mfn_t node = s->root, above = MFN_NONE;
	u32 index = 0;

	for (u32 level = TOP; level; level--) {
		u32 i = first_below(d, node, level, &s->freed);

		if (i == FAN)
			break;
		above = node;
		index = i;
		node = node_below(node, i);
	}
	if (mfn_is_none(above))
		s->root = MFN_NONE;
	else
		node_link(above, index, MFN_NONE);
	pool_free(d, node);
	s->nodes--;
}

void shadow_dirty_stop(struct domain *d, bool *more)
{
	struct shadow_dirty *s = &d->shadow.dirty;
	u64 until = d->shadow.stats.visits + DIRTY_PIECE_VISITS;

	s->on = false; // entries become writable again when they fault
	s->count = 0;
	d->shadow.modes &= ~MODE_LOGDIRTY;
	for (u32 i = 0; i < DIRTY_FREE_BATCH && d->shadow.stats.visits < until && !mfn_is_none(s->root); i++)
		free_one(d);
	*more = !mfn_is_none(s->root);
}

// ---- reading and cleaning --------------------------------------------------------------------------

// How many of `left` bits from g on lie in the same word.
static u32 run(gfn_t g, u64 left)
{
	u32 bits = DIRTY_LEAF_BITS < 6 ? UINT32_C(1) << DIRTY_LEAF_BITS : WORD_BITS, room = bits - (u32)g.n % bits;

	return left < room ? (u32)left : room;
}

static u64 low_bits(u32 count)
{
	return count < WORD_BITS ? BIT(count) - 1 : UINT64_MAX;
}

// Those bits; clean: they are cleared.
static u64 take_bits(struct domain *d, gfn_t g, u32 count, bool clean)
{
	mfn_t leaf = leaf_find(d, g);

	d->shadow.stats.visits++;
	if (mfn_is_none(leaf))
		return 0;
	u64 *word = word_map(leaf, g), mask = low_bits(count) << g.n % WORD_BITS, bits = *word & mask;

	if (clean) {
		*word &= ~mask;
		d->shadow.dirty.count -= (u32)__builtin_popcountll(bits);
	}
	port_unmap(word);
	return bits >> g.n % WORD_BITS;
}

// Bits [at, at + count) of a bitmap; all others keep their values.
static void put_bits(u8 *bitmap, u64 at, u32 count, u64 bits)
{
	for (u32 n; count; at += n, count -= n, bits >>= n) {
		u32 shift = at % 8;

		n = count < 8 - shift ? count : 8 - shift;
		u8 mask = (u8)(low_bits(n) << shift);

		bitmap[at / 8] = (u8)((bitmap[at / 8] & ~mask) | ((bits << shift) & mask));
	}
}

// Bits [at, at + count) of a bitmap.
static u64 get_bits(const u8 *bitmap, u64 at, u32 count)
{
	u64 bits = 0;

	for (u32 i = 0; i < count; i++)
		bits |= (u64)(bitmap[(at + i) / 8] >> (at + i) % 8 & 1) << i;
	return bits;
}

// From here on the guest shows us its next write to each of the `pages` gfns whose bit is set. The result is of how many of the
// gfns that is so now: all, or a multiple of 8. What has been done for more of them makes the next piece shorter.
static u64 revoke(struct domain *d, u64 first, u64 pages)
{
	u64 until = d->shadow.stats.visits + DIRTY_PIECE_VISITS;
	bool stale = false, any = false;

	for (u64 i = 0, n; i < pages; i += n) {
		n = run(gfn(first + i), pages - i);
		for (u64 bits = take_bits(d, gfn(first + i), (u32)n, false); bits; bits &= bits - 1) {
			u64 at = i + (u32)__builtin_ctzll(bits);
			mfn_t m = domain_frame(d, gfn(first + at));

			if (mfn_is_none(m))
				continue;
			if (page_writable_count(m) && any && d->shadow.stats.visits >= until) {
				pages = at & ~UINT64_C(7);
				break;
			}
			any |= page_writable_count(m) != 0;
			stale |= access_remove_write(d, m);
		}
	}
	if (stale)
		tlb_flush(d->shadow.cpus);
	return pages;
}

enum hv_status shadow_dirty_read(struct domain *d, bool clean, u64 first, u64 pages, u8 *bitmap, u64 *done)
{
	*done = 0;
	if (!d->shadow.dirty.on || !bitmap || !pages || pages > BIT(P2M_GFN_BITS) || first > BIT(P2M_GFN_BITS) - pages)
		return HV_EINVAL;
	if (port_should_fail(FAIL_COPY))
		return HV_ENOMEM;
	pages = pages < DIRTY_PIECE ? pages : DIRTY_PIECE;
	if (clean)
		pages = revoke(d, first, pages);
	for (u64 i = 0; i < pages;) {
		u32 n = run(gfn(first + i), pages - i);

		put_bits(bitmap, i, n, take_bits(d, gfn(first + i), n, clean));
		i += n;
	}
	*done = pages;
	return HV_OK;
}

// Move *g on to the first set bit of its leaf, or behind that. True: there is one.
static bool next_bit(mfn_t leaf, gfn_t *g)
{
	const u64 *word = word_map(leaf, *g);
	u64 end = (g->n | (BIT(DIRTY_LEAF_BITS) - 1)) + 1, at = g->n - g->n % WORD_BITS;
	u64 bits = *word & ~low_bits(g->n % WORD_BITS);

	for (u32 i = 1; !bits && (at += WORD_BITS) < end; i++)
		bits = word[i];
	port_unmap(word);
	*g = gfn(bits ? at + (u32)__builtin_ctzll(bits) : end);
	return bits != 0;
}

gfn_t shadow_dirty_next(struct domain *d, gfn_t g)
{
	u64 *visits = &d->shadow.stats.visits, until = *visits + DIRTY_PIECE_VISITS;

	while (gfn_in_range(g) && *visits < until) {
		mfn_t node = d->shadow.dirty.root;
		u32 level = TOP;

		for (u32 i; level; level--) {
			i = first_below(d, node, level, &g);
			if (i == FAN) {
				g = gfn(((g.n >> shift_of(level + 1)) + 1) << shift_of(level + 1)); // behind the node
				break;
			}
			node = node_below(node, i);
		}
		if (level)
			continue;
		u64 was = g.n;
		bool found = next_bit(node, &g);

		*visits += 1 + (g.n - was) / WORD_BITS;
		if (found)
			return g;
	}
	return gfn_in_range(g) ? g : GFN_INVALID;
}

void shadow_dirty_put_back(struct domain *d, u64 first, u64 pages, const u8 *bitmap)
{
	if (!d->shadow.dirty.on)
		return;
	hv_assert(pages <= DIRTY_PIECE);
	// Needs no memory: the nodes are those that the bits were taken from. Where there is none log-dirty has been off in between,
	// and the next write shows itself anyway.
	for (u64 i = 0, n; i < pages; i += n) {
		n = run(gfn(first + i), pages - i);
		u64 bits = get_bits(bitmap, i, (u32)n);
		mfn_t leaf = bits ? leaf_find(d, gfn(first + i)) : MFN_NONE;

		d->shadow.stats.visits++;
		if (mfn_is_none(leaf))
			continue;
		u64 *word = word_map(leaf, gfn(first + i));

		bits = bits << (first + i) % WORD_BITS & ~*word;
		*word |= bits;
		port_unmap(word);
		d->shadow.dirty.count += (u32)__builtin_popcountll(bits);
	}
}

// ---- checks ----------------------------------------------------------------------------------------

struct census {
	u32 nodes;
	u64 bits;
};

// Count what hangs below the node. One call for each level: as deep as the tree.
static const char *count_node(const struct domain *d, u32 n, u32 level, struct census *c)
{
	const char *bad = NULL;

	if (!mfn_valid(mfn(n)) || page_owner(mfn(n)) || page_pool(mfn(n)) != d->owner ||
	    shadow_type_of(mfn(n)) != SHADOW_DIRTY_NODE)
		return broken("E1.51 log-dirty: 0x%x is no node", n);
	if (++c->nodes > d->shadow.dirty.nodes)
		return broken("E1.1 log-dirty: more than %u nodes", d->shadow.dirty.nodes);
	const void *page = port_map(mfn(n));
	const u64 *words = page;
	const u32 *entries = page;

	for (u32 i = 0; !level && i < FRAME_BYTES / sizeof(u64); i++) {
		c->bits += (u32)__builtin_popcountll(words[i]);
		if (i * WORD_BITS >= BIT(DIRTY_LEAF_BITS) && words[i])
			bad = report_at(broken("E1.49 log-dirty: bits behind the end of a leaf"), n, i);
	}
	for (u32 i = 0; level && !bad && i < FRAME_BYTES / sizeof(u32); i++)
		if (entries[i])
			bad = i < FAN ? count_node(d, entries[i], level - 1, c)
				      : report_at(broken("E1.51 log-dirty: entries behind the end of a node"), n, i / 2);
	port_unmap(page);
	return bad;
}

const char *dirty_check_mode(const struct domain *d)
{
	const struct shadow_dirty *s = &d->shadow.dirty;

	if (s->on != ((d->shadow.modes & MODE_LOGDIRTY) != 0) || (s->on && mfn_is_none(s->root)))
		return broken("E1.51 log-dirty is %s, modes 0x%x, root 0x%llx", s->on ? "on" : "off", d->shadow.modes,
			      (unsigned long long)s->root.n);
	return NULL;
}

const char *dirty_check(const struct domain *d)
{
	const struct shadow_dirty *s = &d->shadow.dirty;
	struct census c = { 0 };
	const char *bad = dirty_check_mode(d);

	if (bad)
		return bad;
	if (!mfn_is_none(s->root))
		bad = count_node(d, (u32)s->root.n, TOP, &c);
	if (bad)
		return bad;
	if (c.nodes != s->nodes)
		return broken("E1.1 log-dirty: %u nodes, counted %u", s->nodes, c.nodes);
	if (s->on && s->nodes > s->nodes_max)
		return broken("E1.8 log-dirty: %u nodes, the pool keeps %u", s->nodes, s->nodes_max);
	if (s->count != (s->on ? c.bits : 0))
		return broken("E1.49 log-dirty: %llu bits, counted %llu", (unsigned long long)s->count,
			      (unsigned long long)c.bits);
	return NULL;
}
