// SPDX-License-Identifier: GPL-2.0-or-later
// Control operations (spec A.18): each row, its errors, and every failure without effect by comparing snapshots. D8, D9, D10,
// D13; B35, B38; rules 49, 50, 51.
// link: hv/test/fixture.c
#include "test.h"

#include "../domain/control.h"
#include "../domain/migrate.h"
#include "fixture.h"

#define CANARY 0xa5
#define ABSENT 3u

// ---- words ---------------------------------------------------------------------------------------------

static u8 bitmap[64];

static enum hv_status op(u32 code, u64 argument)
{
	struct control c = { .code = code, .argument = argument, .first = FIXTURE_GFN, .pages = FIXTURE_FRAMES,
			     .bitmap = bitmap };

	return domain_control(NULL, dom->number, &c);
}

static u64 get(void)
{
	struct control c = { .code = CONTROL_GET };

	CHECK_EQ(domain_control(NULL, dom->number, &c), HV_OK);
	return c.mib;
}

static enum hv_status range(u32 code, u64 first, u64 pages, struct control *c)
{
	*c = (struct control){ .code = code, .first = first, .pages = pages, .bitmap = bitmap };
	memset(bitmap, CANARY, sizeof(bitmap));
	return domain_control(NULL, dom->number, c);
}

static u32 bits_now(void)
{
	struct control c;

	CHECK_EQ(range(CONTROL_PEEK, FIXTURE_GFN, FIXTURE_FRAMES, &c), HV_OK);
	return bitmap[0] | (u32)bitmap[1] << 8;
}

static bool bare_start(void)
{
	struct domain_config config = { .vcpus = 2, .bare = true, .opts = SHADOW_OPT_ALL };

	host_reset(1);
	hv_start();
	dom = NULL;
	return domain_create(&config, &dom) == HV_OK;
}

// A few tables, some of them loaded, pinned and mapped, and four frames written to.
static bool busy_start(void)
{
	if (!fixture_paged(2, 0, SHADOW_OPT_ALL))
		return false;
	poke(2, 1, at(0, AS_LEAF | PTE_PS));
	return writes(vc(0), page(9), 9) && writes(vc(1), page(10), 10) && writes(vc(0), 0x200000 + page(11), 11) &&
	       writes(vc(1), page(12), 12);
}

// ---- snapshots -------------------------------------------------------------------------------------------

static u64 mix(u64 hash, const void *data, size_t bytes)
{
	const u8 *p = data;

	while (bytes--)
		hash = (hash ^ *p++) * UINT64_C(0x100000001b3);
	return hash;
}

static bool is_free_in_pool(const struct page_info *p)
{
	return p->pool && !p->owner && !p->sh.type;
}

// Write access that a clean took away before it failed stays away until the next write: the guest does not see that.
static bool rights_may_go;

// An entry, or a link, of a shadow.
static u64 mix_shadow(u64 hash, const u64 *words)
{
	for (u32 i = 0; i < FRAME_BYTES / sizeof(u64); i++) {
		u64 word = words[i] & (rights_may_go ? ~(PTE_W | PTE_D) : UINT64_MAX);

		hash = mix(hash, &word, sizeof(word));
	}
	return hash;
}

#define MIX(hash, field) ((hash) = mix((hash), &(field), sizeof(field)))

// By field: what lies between them is anything.
static u64 mix_domain(u64 hash)
{
	const struct shadow_domain *s = &dom->shadow;

	for (u32 i = 0; i < dom->vcpu_count; i++) {
		const struct shadow_vcpu *v = &vc(i)->shadow;

		MIX(hash, vc(i)->guest);
		MIX(hash, v->guest_root);
		MIX(hash, v->root);
		MIX(hash, v->pdpte);
		MIX(hash, v->roots_pae);
		MIX(hash, v->mode);
		MIX(hash, v->attached);
	}
	u64 words[] = { dom->dead, dom->audit, dom->migration != NULL, s->enabled, s->modes, s->opts, s->opt_flags,
			s->epoch, s->total_pages, s->free_pages, s->p2m_pages, s->salt, s->shadow_count, s->dirty.on,
			s->dirty.root.n, s->dirty.nodes, s->dirty.count, s->dirty.marked, s->dirty.faults, s->identity.n, s->cpus,
			s->served, s->nxe, s->pse, s->magic_mmio, dom->p2m.root.n, dom->p2m.max_mapped, dom->p2m.mapped };

	MIX(hash, words);
	MIX(hash, s->pinned);
	MIX(hash, s->bucket);
	MIX(hash, dom->p2m.spare);
	MIX(hash, dom->p2m.tables);
	return hash;
}

// Of all that an operation could change: the domain but for statistics and for which pages are free, every frame's descriptor
// but for time stamps, its contents, the physmap by way of those.
static u64 snapshot(void)
{
	u64 hash = heap_used();

	while (dom->shadow.dying.length) { // goes by itself
		domain_lock(dom, BOUND_READ);
		domain_unlock(dom);
	}
	hash = mix_domain(hash);
	for (u64 n = page_first; n < page_first + heap_touched(); n++) {
		struct page_info p = *page_of(mfn(n));

		if ((!p.owner && !p.pool) || is_free_in_pool(&p))
			continue;
		if (p.owner && !(p.count_info & PAGE_IS_TABLE))
			p.stamp = 0;
		if (p.owner && rights_may_go)
			p.type_info = 0;
		hash = mix(mix(hash, &n, sizeof(n)), &p, sizeof(p));
		if (p.owner || p.sh.type == SHADOW_DIRTY_NODE)
			hash = mix(hash, host_frame(mfn(n)), FRAME_BYTES);
		else
			hash = mix_shadow(hash, host_frame(mfn(n)));
	}
	return hash;
}

// The operation with its k-th fallible step failing, for all k, each on a machine of its own that `start` makes. When it
// fails nothing has changed, and it works the next time. The number of failures.
static u32 fails_everywhere(bool (*start)(void), enum hv_status (*run)(void))
{
	u32 refused = 0;
	bool failed = true;

	for (u32 k = 1; failed && !test_failures; k++) {
		CHECK(start());
		u64 before = snapshot();

		host_arm_failure(k);
		enum hv_status status = run();

		failed = host_arm_failure(0);
		if (status != HV_OK) {
			refused++;
			CHECK(failed);
			CHECK_EQ(status, HV_ENOMEM);
			CHECK_EQ(snapshot(), before);
			HEALTHY();
			CHECK_EQ(run(), HV_OK);
		}
		FINISH();
	}
	return refused;
}

static enum hv_status cleaned;

static void clean_it(void *context)
{
	u8 bits[8];
	struct control c = { .code = CONTROL_CLEAN, .first = FIXTURE_GFN, .pages = 16, .bitmap = bits };

	*(bool *)context = true;
	cleaned = domain_control(NULL, dom->number, &c);
}

// Nobody begins to read a bitmap that goes with the last mode.
TEST(a_clean_while_the_last_mode_goes)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 200 && !test_failures; k++) {
		CHECK(bare_start());
		CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
		ran = false;
		host_arm_point(k, clean_it, &ran);
		CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
		host_arm_point(0, NULL, NULL);
		CHECK(!ran || (k <= 3 ? cleaned == HV_OK : cleaned == HV_EBUSY || cleaned == HV_EINVAL));
		CHECK(!dom->shadow.dirty.reading);
		FINISH();
	}
}

// ---- who -------------------------------------------------------------------------------------------------

TEST(absent_own_and_dying_domains)
{
	static const u32 codes[] = { CONTROL_OFF, CONTROL_TEST, CONTROL_LOGDIRTY, CONTROL_TRANSLATE, CONTROL_CLEAN, CONTROL_PEEK,
				     CONTROL_GET, CONTROL_SET, CONTROL_ENABLE, CONTROL_BLOW, CONTROL_BLOW_ALL,
				     CONTROL_LOGDIRTY_OFF };
	struct domain_config config = { .vcpus = 1 };
	struct domain *other;

	CHECK(busy_start());
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
	u64 before = snapshot();

	for (u32 i = 0; i < ARRAY_LEN(codes); i++) {
		struct control c = { .code = codes[i], .argument = 1, .first = FIXTURE_GFN, .pages = 4, .bitmap = bitmap };

		CHECK_EQ(domain_control(NULL, ABSENT, &c), HV_ENOENT);
		CHECK_EQ(domain_control(dom, ABSENT, &c), HV_ENOENT);
		CHECK_EQ(domain_control(NULL, DOMAINS_MAX, &c), HV_ENOENT);
		CHECK_EQ(domain_control(NULL, UINT32_MAX, &c), HV_ENOENT);
		CHECK_EQ(domain_control(dom, dom->number, &c), HV_EINVAL);
	}
	CHECK_EQ(op(1000, 0), HV_EINVAL);
	CHECK_EQ(snapshot(), before);
	CHECK_EQ(domain_create(&config, &other), HV_OK);
	struct control c = { .code = CONTROL_BLOW };

	CHECK_EQ(domain_control(other, dom->number, &c), HV_OK); // a privileged one
	CHECK_STR(domain_destroy(other), NULL);
	CHECK_EQ(domain_control(NULL, 1, &c), HV_ENOENT);
	domain_crash(dom, "test");
	CHECK_EQ(op(CONTROL_GET, 0), HV_ENOENT);
	CHECK_STR(fixture_end(), NULL);
}

// ---- modes -----------------------------------------------------------------------------------------------

// Do the modes of a mask go together (spec A.5)? MODE_ENABLE is implied, and log-dirty goes with all.
static bool goes_together(u64 mask)
{
	return mask < 32 && (!(mask & MODE_TRANSLATE) || (mask & MODE_REFCOUNTS)) &&
	       (!(mask & MODE_EXTERNAL) || (mask & MODE_TRANSLATE));
}

TEST(rule_51_an_hvm_domain_keeps_its_modes)
{
	CHECK(busy_start());
	u64 before = snapshot();

	CHECK_EQ(op(CONTROL_OFF, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_TEST, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_TRANSLATE, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_EINVAL);
	for (u64 mask = 0; mask < 64; mask++) {
		bool log = (mask & MODE_LOGDIRTY) && goes_together(mask); // as CONTROL_LOGDIRTY

		CHECK_EQ(op(CONTROL_ENABLE, mask), log ? HV_OK : HV_EINVAL);
		if (log) {
			CHECK_EQ(dom->shadow.modes, MODE_HVM | MODE_LOGDIRTY);
			CHECK_EQ(op(CONTROL_ENABLE, mask), HV_EINVAL);
			CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
			before = snapshot();
		}
		CHECK_EQ(snapshot(), before);
	}
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_HVM | MODE_LOGDIRTY);
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_OFF, 0), HV_EINVAL); // and yet:
	CHECK_EQ(dom->shadow.modes, MODE_HVM);
	CHECK_EQ(dom->shadow.dirty.nodes, 0);
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_HVM);
	CHECK(writes(vc(0), page(9), 1));
	FINISH();
}

TEST(rule_51_modes_of_a_domain_that_has_none)
{
	for (u64 mask = 0; mask < 64; mask++) {
		bool log = mask < 32 && (mask & MODE_LOGDIRTY);

		CHECK(bare_start());
		u64 before = snapshot();
		enum hv_status status = op(CONTROL_ENABLE, mask);

		CHECK_EQ(status, goes_together(mask) ? HV_OK : HV_EINVAL);
		if (status == HV_OK) {
			CHECK_EQ(dom->shadow.modes, log ? MODE_LOGDIRTY : mask | MODE_ENABLE);
			CHECK_EQ(op(CONTROL_ENABLE, mask), HV_EINVAL);
			CHECK_EQ(op(CONTROL_TEST, mask), HV_EINVAL);
		} else {
			CHECK_EQ(snapshot(), before);
		}
		FINISH();
	}
	CHECK(bare_start());
	CHECK_EQ(op(CONTROL_ENABLE, UINT64_MAX), HV_EINVAL);
	CHECK_EQ(op(CONTROL_ENABLE, BIT(32) | MODE_ENABLE), HV_EINVAL);
	FINISH();
}

TEST(test_mode_and_log_dirty_alone_come_and_go)
{
	CHECK(bare_start());
	u64 before = snapshot();

	CHECK_EQ(op(CONTROL_OFF, 0), HV_OK);
	CHECK_EQ(op(CONTROL_PEEK, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_CLEAN, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_SET, 1), HV_EINVAL);
	CHECK_EQ(op(CONTROL_BLOW, 0), HV_EINVAL); // D10: nobody to unhook
	CHECK_EQ(op(CONTROL_BLOW_ALL, 0), HV_OK);
	CHECK_EQ(get(), 0);
	CHECK_EQ(snapshot(), before);
	CHECK_EQ(op(CONTROL_TEST, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_ENABLE);
	CHECK_EQ(dom->shadow.opt_flags, 0); // for full modes alone
	CHECK_EQ(op(CONTROL_BLOW, 0), HV_OK);
	HEALTHY();
	CHECK_EQ(op(CONTROL_OFF, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, 0);
	CHECK_EQ(heap_used(), 0);
	for (u32 off = 0; off < 2; off++) { // alone: no mode is left
		CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
		CHECK_EQ(dom->shadow.modes, MODE_LOGDIRTY);
		CHECK_EQ(op(CONTROL_TEST, 0), HV_EINVAL);
		CHECK_EQ(bits_now(), 0);
		HEALTHY();
		CHECK_EQ(op(off ? CONTROL_OFF : CONTROL_LOGDIRTY_OFF, 0), HV_OK);
		CHECK_EQ(dom->shadow.modes, 0);
		CHECK_EQ(heap_used(), 0);
		HEALTHY();
	}
	CHECK_EQ(op(CONTROL_TEST, 0), HV_OK);
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_ENABLE | MODE_LOGDIRTY);
	HEALTHY();
	CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_ENABLE); // it was there before
	CHECK_EQ(op(CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK_EQ(op(CONTROL_OFF, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, 0);
	CHECK_EQ(heap_used(), 0);
	CHECK_EQ(op(CONTROL_TRANSLATE, 0), HV_OK);
	CHECK_EQ(dom->shadow.modes, MODE_ENABLE | MODE_REFCOUNTS | MODE_TRANSLATE);
	CHECK_EQ(op(CONTROL_OFF, 0), HV_EINVAL); // for good
	FINISH();
}

// Without a p2m there is no physmap to change, and nothing is taken for it.
TEST(rule_50_no_physmap_without_translate)
{
	static const u64 modes[] = { 0, MODE_ENABLE, MODE_LOGDIRTY, MODE_ENABLE | MODE_REFCOUNTS };
	struct domain_config config = { .vcpus = 1 };
	struct domain *other;

	for (u32 i = 0; i < ARRAY_LEN(modes); i++) {
		CHECK(bare_start());
		CHECK_EQ(domain_create(&config, &other), HV_OK);
		CHECK_EQ(domain_add_ram(other, fg(1)), HV_OK);
		if (modes[i])
			CHECK_EQ(op(CONTROL_ENABLE, modes[i]), HV_OK);
		u64 before = snapshot();

		CHECK_EQ(domain_add_ram(dom, fg(0)), HV_EINVAL);
		CHECK_EQ(physmap_remove(dom, fg(0)), HV_EINVAL);
		CHECK_EQ(physmap_renew(dom, fg(0)), HV_EINVAL);
		CHECK_EQ(physmap_swap(dom, fg(0), fg(1)), HV_EINVAL);
		CHECK_EQ(physmap_move(dom, fg(0), fg(1)), HV_EINVAL);
		CHECK_EQ(physmap_retype(dom, fg(0), P2M_RAM_RO), HV_EINVAL);
		CHECK_EQ(physmap_identity(dom, gfn(1), 1, true), HV_EINVAL);
		CHECK_EQ(physmap_balloon(dom, fg(0), 4, true), HV_EINVAL);
		CHECK_EQ(physmap_make_large(dom, fg(0)), HV_EINVAL);
		CHECK_EQ(physmap_map_foreign(dom, fg(0), other, fg(1)), HV_EINVAL);
		CHECK_EQ(physmap_unmap_foreign(dom, fg(0)), HV_EINVAL);
		CHECK_EQ(physmap_map_foreign(other, fg(0), dom, fg(1)), HV_ENOENT);
		CHECK_EQ(snapshot(), before);
		HEALTHY();
		if (!(modes[i] & MODE_REFCOUNTS))
			CHECK_EQ(op(CONTROL_OFF, 0), HV_OK);
		if (!(modes[i] & MODE_REFCOUNTS))
			CHECK_EQ(op(CONTROL_ENABLE, MODE_HVM), HV_OK);
		HEALTHY();
		CHECK_STR(domain_destroy(other), NULL);
		FINISH();
	}
}

// ---- the pool --------------------------------------------------------------------------------------------

TEST(the_size_of_the_pool_in_mib)
{
	CHECK(busy_start());
	u64 pages = dom->shadow.total_pages + dom->shadow.p2m_pages;

	CHECK_EQ(get(), (pages + 255) / 256);
	for (u32 mib = 2; mib >= 1; mib--) { // grows, shrinks
		CHECK_EQ(op(CONTROL_SET, mib), HV_OK);
		CHECK_EQ(dom->shadow.total_pages + dom->shadow.p2m_pages,
			 mib * 256 > shadow_lower_bound(dom) + dom->shadow.p2m_pages
				 ? mib * 256
				 : shadow_lower_bound(dom) + dom->shadow.p2m_pages);
		HEALTHY();
		CHECK(writes(vc(0), page(9), mib));
	}
	u64 before = snapshot();

	CHECK_EQ(op(CONTROL_SET, 0), HV_EINVAL); // D13
	CHECK_EQ(op(CONTROL_SET, HOST_FRAMES / 256 + 1), HV_ENOMEM);
	CHECK_EQ(op(CONTROL_SET, UINT64_MAX), HV_ENOMEM);
	CHECK_EQ(op(CONTROL_SET, UINT64_MAX / 256 + 2), HV_ENOMEM);
	CHECK_EQ(op(CONTROL_SET, HOST_FRAMES / 256), HV_ENOMEM); // the machine holds more than pools
	CHECK_EQ(snapshot(), before);
	FINISH();
}

static enum hv_status set_3(void) { return op(CONTROL_SET, 3); }
static enum hv_status set_1(void) { return op(CONTROL_SET, 1); }

static bool large_start(void)
{
	return busy_start() && op(CONTROL_SET, 3) == HV_OK;
}

TEST(rule_50_resizing_fails_without_effect)
{
	CHECK(fails_everywhere(busy_start, set_3) > 100);
	CHECK(fails_everywhere(large_start, set_1) > 100);
}

// ---- log-dirty ---------------------------------------------------------------------------------------------

static bool dirty_start(void)
{
	return busy_start() && op(CONTROL_LOGDIRTY, 0) == HV_OK && writes(vc(0), page(9), 1) && writes(vc(0), page(13), 1) &&
	       writes(vc(1), page(4), 1);
}

static enum hv_status log_on(void) { return op(CONTROL_LOGDIRTY, 0); }
static enum hv_status clean(void) { return op(CONTROL_CLEAN, 0); }
static enum hv_status peek(void) { return op(CONTROL_PEEK, 0); }
static enum hv_status enable_all(void) { return op(CONTROL_ENABLE, MODE_HVM); }
static enum hv_status test_on(void) { return op(CONTROL_TEST, 0); }
static enum hv_status translate_on(void) { return op(CONTROL_TRANSLATE, 0); }

TEST(rule_50_operations_fail_without_effect)
{
	CHECK(fails_everywhere(busy_start, log_on) > 0);
	rights_may_go = true;
	CHECK(fails_everywhere(dirty_start, clean) > 0);
	rights_may_go = false;
	CHECK(fails_everywhere(dirty_start, peek) > 0);
	CHECK(fails_everywhere(bare_start, enable_all) > 0);
	CHECK(fails_everywhere(bare_start, test_on) > 0);
	CHECK(fails_everywhere(bare_start, translate_on) > 0);
	CHECK(fails_everywhere(bare_start, log_on) > 0);
}

TEST(rule_49_peek_and_clean)
{
	struct control c;

	CHECK(dirty_start());
	u64 before = snapshot();

	CHECK_EQ(range(CONTROL_PEEK, FIXTURE_GFN, FIXTURE_FRAMES, &c), HV_OK);
	CHECK_EQ(bitmap[0] | (u32)bitmap[1] << 8, BIT(9) | BIT(13) | BIT(4));
	CHECK_EQ(c.dirty_count, 3);
	CHECK(c.fault_count >= 3);
	CHECK_EQ(snapshot(), before);
	CHECK_EQ(range(CONTROL_CLEAN, FIXTURE_GFN + 9, 1, &c), HV_OK);
	CHECK_EQ(bitmap[0], (CANARY & ~1) | 1);
	CHECK_EQ(c.dirty_count, 3);
	CHECK_EQ(dom->shadow.dirty.count, 2);
	CHECK_EQ(range(CONTROL_PEEK, FIXTURE_GFN, FIXTURE_FRAMES, &c), HV_OK);
	CHECK_EQ(c.dirty_count, 0);
	CHECK_EQ(c.fault_count, 0);
	CHECK_EQ(bitmap[0] | (u32)bitmap[1] << 8, BIT(13) | BIT(4));
	for (u32 i = 2; i < sizeof(bitmap); i++)
		CHECK_EQ(bitmap[i], CANARY);
	CHECK(writes(vc(0), page(9), 2));
	CHECK_EQ(range(CONTROL_CLEAN, FIXTURE_GFN, FIXTURE_FRAMES, &c), HV_OK);
	CHECK_EQ(c.dirty_count, 1);
	CHECK_EQ(dom->shadow.dirty.count, 0);
	FINISH();
}

// D9: no size is too odd.
TEST(D9_every_range_at_every_place)
{
	u32 want = (u32)(BIT(9) | BIT(13) | BIT(4));
	struct control c;

	CHECK(dirty_start());
	for (u32 first = 0; first < FIXTURE_FRAMES; first++)
		for (u32 pages = 1; pages <= 40; pages++) {
			CHECK_EQ(range(CONTROL_PEEK, FIXTURE_GFN + first, pages, &c), HV_OK);
			for (u32 i = 0; i < sizeof(bitmap) * 8; i++)
				CHECK_EQ(bitmap[i / 8] >> i % 8 & 1,
					 i < pages ? (u64)want >> (first + i) & 1 : CANARY >> i % 8 & 1);
		}
	FINISH();
}

TEST(D8_a_wrong_range_is_refused_before_anything_happens)
{
	static const struct { u64 first, pages; } wrong[] = {
		{ FIXTURE_GFN, 0 }, { 0, BIT(P2M_GFN_BITS) + 1 }, { 1, BIT(P2M_GFN_BITS) }, { BIT(P2M_GFN_BITS), 1 },
		{ UINT64_MAX, 1 }, { FIXTURE_GFN, UINT64_MAX }, { UINT64_MAX, UINT64_MAX },
	};
	struct control c;

	CHECK(dirty_start());
	u64 before = snapshot();

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		CHECK_EQ(range(CONTROL_PEEK, wrong[i].first, wrong[i].pages, &c), HV_EINVAL);
		CHECK_EQ(range(CONTROL_CLEAN, wrong[i].first, wrong[i].pages, &c), HV_EINVAL);
	}
	c = (struct control){ .code = CONTROL_CLEAN, .first = FIXTURE_GFN, .pages = 16 };
	CHECK_EQ(domain_control(NULL, dom->number, &c), HV_EINVAL);
	CHECK_EQ(snapshot(), before);
	for (u32 i = 0; i < sizeof(bitmap); i++)
		CHECK_EQ(bitmap[i], CANARY);
	CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
	CHECK_EQ(op(CONTROL_PEEK, 0), HV_EINVAL);
	CHECK_EQ(op(CONTROL_CLEAN, 0), HV_EINVAL);
	FINISH();
}

// ---- whatever runs in between -------------------------------------------------------------------------------

static void guest_writes(void *context)
{
	*(bool *)context = true;
	CHECK(writes(vc(1), page(9), 77));
	CHECK(writes(vc(1), page(4), 77));
}

// A write between two pieces of a clean is in what is handed out, or in the bitmap afterwards.
TEST(B35_a_write_between_the_pieces_of_a_clean)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 200; k++) {
		struct control c;

		CHECK(dirty_start());
		CHECK_EQ(op(CONTROL_CLEAN, 0), HV_OK);
		CHECK(writes(vc(0), page(13), 1));
		ran = false;
		host_arm_point(k, guest_writes, &ran);
		enum hv_status status = range(CONTROL_CLEAN, FIXTURE_GFN, FIXTURE_FRAMES, &c);

		host_arm_point(0, NULL, NULL);
		CHECK_EQ(status, HV_OK);
		u32 out = bitmap[0] | (u32)bitmap[1] << 8;

		CHECK(out & BIT(13));
		if (ran)
			CHECK_EQ((out | bits_now()) & (BIT(9) | BIT(4)), BIT(9) | BIT(4));
		host_set_cpu(0);
		FINISH();
	}
}

static void log_goes_off(void *context)
{
	enum hv_status status = op(CONTROL_LOGDIRTY_OFF, 0);

	*(bool *)context = true;
	CHECK(status == HV_OK || status == HV_EBUSY); // while the bitmap is handed out
}

// The mode is looked at again under the lock, and stays while pieces are handed out.
TEST(B35_log_dirty_goes_off_in_the_middle)
{
	bool ran = true;

	for (u32 k = 1; ran && k < 200; k++) {
		struct control c;

		CHECK(dirty_start());
		ran = false;
		host_arm_point(k, log_goes_off, &ran);
		enum hv_status status = range(CONTROL_CLEAN, FIXTURE_GFN, FIXTURE_FRAMES, &c);

		host_arm_point(0, NULL, NULL);
		CHECK(status == HV_OK || (ran && status == HV_EINVAL));
		if (dom->shadow.dirty.on)
			CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
		CHECK_EQ(dom->shadow.dirty.nodes, 0);
		FINISH();
	}
}

static bool by_migration;

static void log_goes_on(void *context)
{
	*(bool *)context = true;
	enum hv_status status = by_migration ? migrate_start(dom) : op(CONTROL_LOGDIRTY, 0);

	CHECK(status == HV_OK || status == HV_EINVAL || status == HV_EBUSY); // EINVAL: before it went off
}

// Switched on again, or by a migration, while the old bitmap is still being taken apart: what is on then stays on.
TEST(log_dirty_goes_off_and_on_at_once)
{
	u32 migrations = 0;
	u32 places = DIRTY_FREE_BATCH < 8 ? 10 : 80; // more branches than go under one hold

	for (u32 k = 1; k < 400; k++) {
		bool ran = false;

		CHECK(dirty_start());
		for (u32 i = 1; i < places; i++)
			CHECK_EQ(domain_add_ram(dom, gfn((u64)i << 21)), HV_OK);
		by_migration = k & 1;
		host_arm_point((k + 1) / 2, log_goes_on, &ran);
		CHECK_EQ(op(CONTROL_LOGDIRTY_OFF, 0), HV_OK);
		host_arm_point(0, NULL, NULL);
		CHECK_EQ(dom->shadow.dirty.on, (dom->shadow.modes & MODE_LOGDIRTY) != 0);
		if (dom->shadow.dirty.on) {
			migrations += dom->migration != NULL;
			CHECK(writes(vc(0), page(9), 5));
			CHECK(dirty_test(dom, fg(9)) && !dirty_test(dom, fg(13)));
		}
		FINISH();
		if (!ran)
			break;
	}
	CHECK(migrations > 0);
}

// ---- one operation inside another ----------------------------------------------------------------------------

static bool test_start(void) { return bare_start() && op(CONTROL_TEST, 0) == HV_OK; }
static bool log_start(void) { return bare_start() && op(CONTROL_LOGDIRTY, 0) == HV_OK; }
static bool both_start(void) { return test_start() && op(CONTROL_LOGDIRTY, 0) == HV_OK; }

struct request {
	u32 code;
	u64 argument;
};

static enum hv_status add_ram(void) { return domain_add_ram(dom, gfn(0x5000000)); }
static enum hv_status resize(void) { return domain_resize_pool(dom, 700); }
static enum hv_status check(void) { return hv_check(dom, true) ? HV_ECHECK : HV_OK; }
static enum hv_status migrate(void)
{
	enum hv_status status = migrate_start(dom);

	return status == HV_OK ? migrate_cancel(dom) : status;
}

static const struct request requests[] = {
	{ CONTROL_OFF, 0 }, { CONTROL_TEST, 0 }, { CONTROL_LOGDIRTY, 0 }, { CONTROL_TRANSLATE, 0 }, { CONTROL_SET, 3 },
	{ CONTROL_SET, 1 }, { CONTROL_ENABLE, MODE_HVM }, { CONTROL_ENABLE, MODE_LOGDIRTY }, { CONTROL_LOGDIRTY_OFF, 0 },
	{ CONTROL_CLEAN, 0 }, { CONTROL_PEEK, 0 }, { CONTROL_GET, 0 }, { CONTROL_BLOW, 0 }, { CONTROL_BLOW_ALL, 0 },
};
#define CHANGING 9u // the first ones, of which one is done at a time
static enum hv_status (*const calls[])(void) = { resize, add_ram, check, migrate };

static u32 inner, sent_away;

static void run_inner(void *context)
{
	enum hv_status status = inner < ARRAY_LEN(requests) ? op(requests[inner].code, requests[inner].argument)
							    : calls[inner - ARRAY_LEN(requests)]();

	*(bool *)context = true;
	CHECK(status != HV_EDEAD && status != HV_ECHECK);
	sent_away += status == HV_EBUSY;
	CHECK(status != HV_EBUSY || inner < CHANGING || inner >= ARRAY_LEN(requests) || dom->shadow.dirty.reading);
}

// Each inside each, wherever the outer one lets go of the lock: nothing is lost, and nothing half-done is seen.
static void each_inside(bool (*start)(void), struct request outer)
{
	for (inner = 0; inner < ARRAY_LEN(requests) + ARRAY_LEN(calls) && !test_failures; inner++) {
		bool ran = true;

		sent_away = 0;
		for (u32 k = 1; ran && !test_failures; k++) {
			CHECK(start());
			ran = false;
			host_arm_point(k, run_inner, &ran);
			enum hv_status status = op(outer.code, outer.argument);

			host_arm_point(0, NULL, NULL);
			CHECK(status == HV_OK || (ran && (status == HV_EINVAL || status == HV_EBUSY)));
			CHECK(dom->shadow.modes || heap_used() == dom->shadow.total_pages); // resize may have given some
			FINISH();
			if (test_failures)
				printf("operation %u, inside it %u, at point %u\n", outer.code, inner, k);
		}
		CHECK(sent_away || (inner >= CHANGING && inner != ARRAY_LEN(requests)));
	}
}

TEST(rule_50_one_operation_at_a_time)
{
	each_inside(test_start, (struct request){ CONTROL_OFF, 0 });
	each_inside(both_start, (struct request){ CONTROL_OFF, 0 });
	each_inside(both_start, (struct request){ CONTROL_LOGDIRTY_OFF, 0 });
	each_inside(log_start, (struct request){ CONTROL_LOGDIRTY_OFF, 0 });
	each_inside(bare_start, (struct request){ CONTROL_TEST, 0 });
	each_inside(bare_start, (struct request){ CONTROL_LOGDIRTY, 0 });
	each_inside(bare_start, (struct request){ CONTROL_ENABLE, MODE_HVM });
	each_inside(test_start, (struct request){ CONTROL_SET, 3 });
	each_inside(busy_start, (struct request){ CONTROL_SET, 3 });
	each_inside(dirty_start, (struct request){ CONTROL_LOGDIRTY_OFF, 0 });
}

// ---- blowing tables ------------------------------------------------------------------------------------------

TEST(blowing_the_tables_of_one_and_of_all)
{
	struct domain_config config = { .vcpus = 1 };
	struct domain *other, *bare;

	CHECK(busy_start());
	CHECK_EQ(domain_create(&config, &other), HV_OK);
	config.bare = true;
	CHECK_EQ(domain_create(&config, &bare), HV_OK);
	u64 epoch = dom->shadow.epoch, others = other->shadow.epoch;

	CHECK_EQ(op(CONTROL_BLOW, 0), HV_OK);
	CHECK_EQ(dom->shadow.epoch, epoch + 1);
	CHECK_EQ(other->shadow.epoch, others);
	CHECK(!spte_present(spte_at(vc(0), page(9), 0)));
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(op(CONTROL_BLOW_ALL, 0), HV_OK);
	CHECK_EQ(other->shadow.epoch, others + 1);
	CHECK(!spte_present(spte_at(vc(0), page(9), 0)));
	CHECK_STR(hv_check(other, true), NULL);
	CHECK_STR(domain_destroy(bare), NULL);
	CHECK_STR(domain_destroy(other), NULL);
	control_blow_all();
	FINISH();
}

// ---- what guests ask for --------------------------------------------------------------------------------------

TEST(the_hypercall)
{
	CHECK(busy_start());
	CHECK_EQ(control_hypercall(vc(0), CONTROL_GET, 0), HV_OK);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_SET, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_GET | CONTROL_BY_ITSELF << 8, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_GET | CONTROL_ABSENT << 8, 0), HV_ENOENT);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_GET | CONTROL_WHO_COUNT << 8, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), UINT64_MAX, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), 255, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_CLEAN, 16), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_LOGDIRTY, 0), HV_OK);
	CHECK(writes(vc(0), page(9), 1));
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK, 0), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK, CONTROL_GUEST_PAGES), HV_OK);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK, CONTROL_GUEST_PAGES + 1), HV_EINVAL);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_PEEK | CONTROL_ABSENT << 8, CONTROL_GUEST_PAGES + 1), HV_ENOENT);
	CHECK_EQ(control_hypercall(vc(0), CONTROL_CLEAN, 9), HV_OK);
	CHECK_EQ(bits_now(), BIT(9));
	CHECK_EQ(control_hypercall(vc(0), CONTROL_CLEAN, 10), HV_OK);
	CHECK_EQ(bits_now(), 0);
	CHECK_EQ(hypercall(vc(0), HYPERCALL_CONTROL, CONTROL_LOGDIRTY_OFF, 0), HV_OK);
	FINISH();
}
