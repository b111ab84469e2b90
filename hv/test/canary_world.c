// SPDX-License-Identifier: GPL-2.0-or-later
// The healthy domain of the canary test, and how it becomes healthy again: a copy of the domain, of the table of frames and
// of the frames themselves.
#include "canary.h"

#include <stdlib.h>
#include <string.h>

struct domain *neighbour;
mfn_t l2, l1, other_l1, freed_frame;

static enum hv_status pae_mode(struct vcpu *v, u32 root)
{
	enum hv_status status = load_cr3(v, root);

	if (status == HV_OK)
		status = vcpu_write_cr4(v, CR4_PAE);
	if (status == HV_OK)
		status = vcpu_write_efer(v, EFER_NXE);
	return status == HV_OK ? vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP) : status;
}

static bool log_dirty(void)
{
	domain_lock(dom, BOUND_DIRTY);
	enum hv_status status = shadow_dirty_start(dom);

	domain_unlock(dom);
	return status == HV_OK;
}

// RAM, read-only RAM, a large entry, a device, a frame of the neighbour.
static bool all_types(void)
{
	struct domain_config config = { .vcpus = 1 };
	bool ok = domain_add_ram(dom, gfn(SPARE_GFN)) == HV_OK && domain_add_ram(dom, gfn(RO_GFN)) == HV_OK;

	ok = ok && physmap_retype(dom, gfn(RO_GFN), P2M_RAM_RO) == HV_OK;
	ok = ok && domain_create(&config, &neighbour) == HV_OK && domain_add_ram(neighbour, fg(0)) == HV_OK;
	ok = ok && physmap_map_foreign(dom, gfn(FOREIGN_GFN), neighbour, fg(0)) == HV_OK;
	ok = ok && physmap_identity(dom, gfn(DEVICE_GFN), 1, true) == HV_OK;
	for (u64 i = 0; ok && i < BIT(P2M_LARGE_ORDER); i++)
		ok = domain_add_ram(dom, gfn(LARGE_GFN + i)) == HV_OK;
	return ok && physmap_make_large(dom, gfn(LARGE_GFN)) == HV_OK;
}

// Tables of all modes: f0 to f3 and f5 of the 64-bit one, f4 another root, f6 and f7 for PAE.
static void tables(void)
{
	fixture_tree();
	poke(3, RO_PAGE, RO_GFN << FRAME_SHIFT | AS_LEAF);
	poke(4, 0, at(1, AS_TABLE));
	poke(5, 0, at(8, AS_LEAF));
	poke(5, 2, hole(0, AS_LEAF)); // f5[1] is absent
	poke(2, 1, at(5, AS_TABLE));
	poke(2, 2, at(0, AS_LEAF | PTE_PS));
	poke(1, 1, at(0, AS_LEAF | PTE_PS));
}

// So far no frame but those of the tables is dirty: the guest makes it so.
static void clean(void)
{
	static u8 bits[FIXTURE_FRAMES / 8];

	domain_lock(dom, BOUND_DIRTY);
	for (u64 at = 0, done; at < FIXTURE_FRAMES; at += done)
		if (shadow_dirty_read(dom, true, fg((u32)at).n, FIXTURE_FRAMES - at, bits, &done) != HV_OK)
			break;
	domain_unlock(dom);
}

bool canary_world(void)
{
	bool ok = fixture_start(4, 160, SHADOW_OPT_ALL & ~SHADOW_OPT_EARLY) && log_dirty() && all_types();

	tables();
	clean();
	ok = ok && long_mode(vc(0), 0) == HV_OK && long_mode(vc(1), 4) == HV_OK;
	ok = ok && reads(vc(0), page(3)) && writes(vc(0), page(9), 1) && reads(vc(0), page(CLEAN_PAGE));
	ok = ok && writes(vc(0), OTHER, 1) && writes(vc(0), SUPER + page(9), 1) && reads(vc(0), page(RO_PAGE));
	ok = ok && writes(vc(0), GIANT + page(10), 1) && reads(vc(0), OTHER + page(2));
	ok = ok && reads(vc(1), page(10));
	poke(6, 0, at(7, PTE_P));
	poke(6, 1, at(7, PTE_P));
	poke(7, 0, at(3, AS_TABLE));
	poke(7, 2, at(0, AS_LEAF | PTE_PS));
	ok = ok && pae_mode(vc(3), 6) == HV_OK && reads(vc(3), page(10)) && reads(vc(3), SUPER + page(10));
	shadow_remove_all(dom, fm(4));
	ok = ok && shadow_root_is_detached(vc(1)) && reads(vc(1), page(10));
	ok = ok && writes(vc(2), gfn_gpa(fg(11)).a, 1) && reads(vc(2), SUPER);
	ok = ok && heap_alloc(0, &freed_frame) == HV_OK;
	heap_free(freed_frame);
	l2 = shadow_of(2, SHADOW_L2_64);
	l1 = shadow_of(3, SHADOW_L1_64);
	other_l1 = shadow_of(5, SHADOW_L1_64);
	ok = ok && spte_is_gnp(shadow_read(dom, other_l1, 1)) && spte_is_mmio(shadow_read(dom, other_l1, 2));
	ok = ok && pinned(shadow_of(1, SHADOW_L3_64)) && map_count(fm(10)) >= 3 && dom->shadow.epoch > 1;
	ok = ok && !(shadow_read(dom, l1, CLEAN_PAGE).v & PTE_W) && !(shadow_read(dom, l1, RO_PAGE).v & PTE_W);
	host_set_cpu(0);
	return ok && !fixture_problem() && !hv_check(neighbour, true);
}

const char *canary_world_end(void)
{
	const char *bad = domain_destroy(dom); // what it holds of its neighbour goes with it

	dom = neighbour;
	return bad ? bad : fixture_end();
}

static struct {
	struct domain domain;
	struct page_info *pages;
	u8 *frames;
} saved;

static u8 *frame_bytes(u64 i)
{
	return (u8 *)host_frame(mfn(page_first + i));
}

void canary_save(void)
{
	saved.domain = *dom;
	saved.pages = malloc(page_count * sizeof(struct page_info));
	memcpy(saved.pages, page_table, page_count * sizeof(struct page_info));
	saved.frames = malloc(heap_touched() * FRAME_BYTES);
	for (u64 i = 0; i < heap_touched(); i++)
		if (frame_bytes(i))
			memcpy(saved.frames + i * FRAME_BYTES, frame_bytes(i), FRAME_BYTES);
}

void canary_restore(void)
{
	*dom = saved.domain;
	memcpy(page_table, saved.pages, page_count * sizeof(struct page_info));
	for (u64 i = 0; i < heap_touched(); i++)
		if (frame_bytes(i))
			memcpy(frame_bytes(i), saved.frames + i * FRAME_BYTES, FRAME_BYTES);
	for (u32 cpu = 0; cpu < dom->vcpu_count; cpu++)
		tlb_drop_all(cpu);
	host_finding_clear();
}

void canary_forget(void)
{
	free(saved.pages);
	free(saved.frames);
}
