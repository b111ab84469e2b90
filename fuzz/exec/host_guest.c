// SPDX-License-Identifier: GPL-2.0-or-later
// The guest of a trace on the host: its frames, its kernel's three tables, its control registers.
//
// Parts: what the paging modes differ in; frames; vcpus; the build; guest memory for those who compare it.
//
// Everything goes through the functions that a loader has: domain_create(), domain_add_ram(), domain_write(),
// vcpu_write_*(). Cost: about twenty frames zeroed and one CR3 load per vcpu.
#include "host_run.h"

#include <string.h>

#define TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define LEAF (PTE_P | PTE_W | PTE_A | PTE_D)
#define AT(gfn) ((gfn) << FRAME_SHIFT)

// ---- what the paging modes differ in --------------------------------------------------------------------
// The kernel's tables by mode (K3 to K1 as the model has them):
//   64:  frame[256] -> K3, K3[1] -> K2, K2[0] -> K1
//   pae: frame[256] -> K2 (a page directory, without rights: it is a PDPTE), K2[256] -> K1. K3 is a page of four
//        PDPTEs with K2 in the first: the root that the kernel falls back to
//   32:  entries 512 and 513 of the frame -> K2 (empty), K1
// K1 is the direct map of the trace frames.
u64 host_kernel_word(enum trace_mode mode)
{
	return mode == TRACE_MODE_64    ? AT(MODEL_K3_GFN) | TABLE
	       : mode == TRACE_MODE_PAE ? AT(MODEL_K2_GFN) | PTE_P
					: (AT(MODEL_K1_GFN) | TABLE) << 32 | AT(MODEL_K2_GFN) | TABLE;
}

u64 host_fallback_cr3(void)
{
	return AT(MODEL_K3_GFN);
}

void host_mode_control(enum trace_mode mode, struct vcpu_control *c)
{
	c->cr4 &= ~CR4_PAE;
	c->cr4 |= mode == TRACE_MODE_32 ? CR4_PSE : CR4_PAE;
	c->efer &= ~(EFER_LME | EFER_LMA);
	c->efer |= mode == TRACE_MODE_64 ? EFER_LME : 0;
}

// ---- frames ---------------------------------------------------------------------------------------------
static bool put(struct domain *d, u64 g, u32 index, u64 word)
{
	return domain_write(d, gpa(AT(g) + index * 8), &word, sizeof(word)) == HV_OK;
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

static bool fill_kernel(struct domain *d, enum trace_mode mode)
{
	u32 bytes = trace_entry_bytes(mode);

	for (u32 i = 0; i < TRACE_FRAMES; i++) {
		u64 entry = AT(TRACE_F0_GFN + i) | LEAF;

		if (domain_write(d, gpa(AT(MODEL_K1_GFN) + i * bytes), &entry, bytes) != HV_OK)
			return false;
	}
	switch (mode) {
	case TRACE_MODE_64:
		return put(d, MODEL_K3_GFN, 1, AT(MODEL_K2_GFN) | TABLE) &&
		       put(d, MODEL_K2_GFN, 0, AT(MODEL_K1_GFN) | TABLE);
	case TRACE_MODE_PAE:
		return put(d, MODEL_K3_GFN, 0, AT(MODEL_K2_GFN) | PTE_P) &&
		       put(d, MODEL_K2_GFN, 256, AT(MODEL_K1_GFN) | TABLE);
	default:
		return true;
	}
}

static bool fill_frames(struct domain *d, enum trace_mode mode)
{
	const u64 reserved[2] = { host_kernel_word(mode), TRACE_INT3 };

	for (u32 i = 0; i < TRACE_FRAMES; i++)
		if (domain_write(d, gpa(AT(TRACE_F0_GFN + i) + TRACE_RESERVED_AT), reserved, sizeof(reserved)) != HV_OK)
			return false;
	return fill_kernel(d, mode);
}

// ---- vcpus ----------------------------------------------------------------------------------------------
static bool start_vcpus(struct domain *d, enum trace_mode mode)
{
	struct vcpu_control c = { .efer = EFER_NXE | EFER_SCE };

	host_mode_control(mode, &c);
	for (u32 i = 0; i < d->vcpu_count; i++) {
		struct vcpu *v = &d->vcpu[i];

		host_set_cpu(host_cpu_of(v));
		if (vcpu_write_cr4(v, c.cr4) != HV_OK || vcpu_write_efer(v, c.efer) != HV_OK ||
		    vcpu_write_cr3(v, trace_cr3(mode, 0)) != HV_OK ||
		    vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP) != HV_OK)
			return false;
	}
	host_set_cpu(host_cpu_of(&d->vcpu[0]));
	return true;
}

// ---- the build ------------------------------------------------------------------------------------------
bool host_guest_build(struct host_run *r, const char **step)
{
	struct domain_config config = { .vcpus = r->config.vcpus, .pool_pages = r->config.pool_pages,
					.opts = r->config.opts };

	r->donor = &r->own_donor;
	*step = "domain_create";
	if (domain_create(&config, &r->d) != HV_OK)
		return false;
	*step = "guest RAM";
	if (!add_frames(r->d) || !fill_frames(r->d, host_mode(r)))
		return false;
	// The lower bound depends on how much RAM there is: ask again now.
	*step = "pool";
	if (hypercall(&r->d->vcpu[0], HYPERCALL_POOL, r->config.pool_pages, 0) != HV_OK)
		return false;
	*step = "control registers";
	return start_vcpus(r->d, host_mode(r));
}

// ---- guest memory ---------------------------------------------------------------------------------------
const void *host_guest_frame(void *ctx, u32 i)
{
	const struct domain *d = ctx;

	struct p2m_entry e = p2m_get(&d->p2m, gfn(TRACE_F0_GFN + i));

	return p2m_is_ram(e.type) || e.type == P2M_FOREIGN ? host_frame(e.frame) : NULL;
}

u32 host_guest_types(const struct host_run *r, enum p2m_type type)
{
	u32 mask = 0;

	for (u32 f = 0; f < TRACE_FRAMES; f++)
		mask |= (u32)(p2m_get(&r->d->p2m, gfn(TRACE_F0_GFN + f)).type == type) << f;
	return mask;
}

bool host_guest_whole(const struct host_run *r)
{
	const u64 reserved[2] = { host_kernel_word(host_mode(r)), TRACE_INT3 };
	u32 foreign = host_guest_types(r, P2M_FOREIGN);

	for (u32 f = 0; f < TRACE_FRAMES; f++) {
		const u64 *words = host_guest_frame(r->d, f);

		if (words && !(foreign >> f & 1) && memcmp(words + TRACE_KERNEL_WORD, reserved, sizeof(reserved)))
			return false;
	}
	return true;
}

u64 host_guest_memory(const struct host_run *r)
{
	u64 hash = obs_memory_start();

	for (u32 f = 0; f < TRACE_FRAMES; f++) {
		const u64 *words = host_guest_frame(r->d, f);

		for (u32 i = 0; i < FRAME_BYTES / 8; i++)
			if (i < TRACE_RESERVED_AT / 8 || i >= (TRACE_RESERVED_AT + TRACE_RESERVED_BYTES) / 8)
				hash = obs_memory_add(hash, words ? words[i] : MODEL_HOLE_WORD);
	}
	return hash;
}
