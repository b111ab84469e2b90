// SPDX-License-Identifier: GPL-2.0-or-later
// The guest of a trace on the host: its frames, its kernel's three tables, its control registers.
//
// Everything goes through the functions that a loader has: domain_create(), domain_add_ram(),
// domain_write(), vcpu_write_*(). Cost: about twenty frames zeroed and one CR3 load per vcpu.
#include "host_run.h"

#define TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF (PTE_P | PTE_W | PTE_A | PTE_D)

static bool put(struct domain *d, u64 g, u32 index, u64 word)
{
	return domain_write(d, gpa((g << FRAME_SHIFT) + index * 8), &word, sizeof(word)) == HV_OK;
}

static bool add_frames(struct domain *d)
{
	for (u64 g = MODEL_K3_GFN; g <= MODEL_K1_GFN; g++)
		if (domain_add_ram(d, gfn(g)) != HV_OK)
			return false;
	for (u32 i = 0; i < TRACE_FRAMES; i++)
		if (domain_add_ram(d, gfn(TRACE_F0_GFN + i)) != HV_OK)
			return false;
	return true;
}

static bool fill_frames(struct domain *d)
{
	static const u64 reserved[2] = { MODEL_K3_GFN << FRAME_SHIFT | TABLE, TRACE_INT3 };
	u64 map[TRACE_FRAMES];

	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		u64 at = (TRACE_F0_GFN + i) << FRAME_SHIFT;

		map[i] = at | LEAF;
		if (domain_write(d, gpa(at + TRACE_RESERVED_AT), reserved, sizeof(reserved)) != HV_OK)
			return false;
	}
	return put(d, MODEL_K3_GFN, 1, MODEL_K2_GFN << FRAME_SHIFT | TABLE) &&
	       put(d, MODEL_K2_GFN, 0, MODEL_K1_GFN << FRAME_SHIFT | TABLE) &&
	       domain_write(d, gpa(MODEL_K1_GFN << FRAME_SHIFT), map, sizeof(map)) == HV_OK;
}

static bool start_vcpus(struct domain *d)
{
	for (u32 i = 0; i < d->vcpu_count; i++) {
		struct vcpu *v = &d->vcpu[i];

		host_set_cpu(i);
		if (vcpu_write_cr4(v, CR4_PAE) != HV_OK ||
		    vcpu_write_efer(v, EFER_LME | EFER_NXE | EFER_SCE) != HV_OK ||
		    vcpu_write_cr3(v, TRACE_F0_GFN << FRAME_SHIFT) != HV_OK ||
		    vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP) != HV_OK)
			return false;
	}
	host_set_cpu(0);
	return true;
}

bool host_guest_build(struct host_run *r, const char **step)
{
	struct domain_config config = { .vcpus = r->config.vcpus, .pool_pages = r->config.pool_pages,
					.opts = r->config.opts };

	hv_start();
	*step = "domain_create";
	if (domain_create(&config, &r->d) != HV_OK)
		return false;
	*step = "guest RAM";
	if (!add_frames(r->d) || !fill_frames(r->d))
		return false;
	// The lower bound depends on how much RAM there is: ask again now.
	*step = "pool";
	if (hypercall(&r->d->vcpu[0], HYPERCALL_POOL, r->config.pool_pages, 0) != HV_OK)
		return false;
	*step = "control registers";
	return start_vcpus(r->d);
}

const void *host_guest_frame(void *ctx, u32 i)
{
	const struct domain *d = ctx;

	return host_frame(p2m_lookup(&d->p2m, gfn(TRACE_F0_GFN + i)));
}

u64 host_guest_memory(const struct host_run *r)
{
	u64 hash = obs_memory_start();

	for (u32 f = 0; f < TRACE_FRAMES; f++) {
		const u64 *words = host_guest_frame(r->d, f);

		for (u32 i = 0; i < MODEL_WORDS; i++)
			if (i < TRACE_RESERVED_AT / 8 || i >= (TRACE_RESERVED_AT + TRACE_RESERVED_BYTES) / 8)
				hash = obs_memory_add(hash, words ? words[i] : MODEL_HOLE_WORD);
	}
	return hash;
}
