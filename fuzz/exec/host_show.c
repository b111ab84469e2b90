// SPDX-License-Identifier: GPL-2.0-or-later
// What is left after a run of the host executor, for people: as a picture (plain data) and as text.
//
// Parts: frames; shadows; vcpus; the picture; the text.
//
// Reads the core's structures without changing anything. They may be broken, that is why somebody looks: every frame
// number is checked before it is followed, every list has an end.
#include "host_run.h"
#include "picture.h"

#include <stdlib.h>
#include <string.h>

#include "../../hv/shadow/private.h"

#define SHADOWS_MAX HOST_FRAMES

static struct picture picture;
static struct picture_shadow shadows[SHADOWS_MAX];

// ---- frames ---------------------------------------------------------------------------------------------
static u32 frame_of_gfn(u64 g)
{
	if (g - TRACE_F0_GFN < TRACE_FRAMES)
		return (u32)(g - TRACE_F0_GFN);
	return g - MODEL_K3_GFN < PICTURE_FRAMES - PICTURE_KERNEL ? PICTURE_KERNEL + (u32)(g - MODEL_K3_GFN)
								  : PICTURE_NONE;
}

static void add_word(char *to, size_t room, const char *word)
{
	size_t n = strlen(to);

	snprintf(to + n, room - n, "%s%s", n ? " " : "", word);
}

static void take_frame(const struct domain *d, u32 i)
{
	static const char *const names[PICTURE_FRAMES] = { "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9",
							   "f10", "f11", "f12", "f13", "f14", "f15", "K3", "K2", "K1" };
	struct picture_frame *f = &picture.frame[i];
	mfn_t m;

	*f = (struct picture_frame){ .name = names[i], .gfn = i < PICTURE_KERNEL ? TRACE_F0_GFN + i
										  : MODEL_K3_GFN + i - PICTURE_KERNEL };
	m = p2m_lookup(&d->p2m, gfn(f->gfn));
	f->mfn = m.n;
	f->bytes = host_frame(m);
	if (!f->bytes)
		return;
	f->references = page_references(m);
	f->writable = page_writable_count(m);
	for (u32 type = 1; page_is_table(m) && type < SHADOW_TYPE_COUNT; type++)
		if ((page_of(m)->shadow_flags >> type & 1) && shadow_rows[type].name)
			add_word(f->types, sizeof(f->types), shadow_rows[type].name);
}

// ---- shadows --------------------------------------------------------------------------------------------
static u8 mode_of(u32 pt_mode)
{
	return pt_mode == PT_MODE_64 ? TRACE_MODE_64 : pt_mode == PT_MODE_PAE ? TRACE_MODE_PAE : TRACE_MODE_32;
}

static void take_pages(struct picture_shadow *s)
{
	for (u32 n = (u32)s->mfn; n && s->pages < PICTURE_PAGES && host_frame_owned(mfn(n));
	     n = page_of(mfn(n))->sibling) {
		s->page[s->pages].mfn = n;
		s->page[s->pages++].words = host_frame(mfn(n));
	}
}

static void take_shadow(mfn_t m)
{
	const struct page_info *page = page_of(m);
	const struct shadow_row *row = &shadow_rows[page->sh.type];
	struct picture_shadow *s = &shadows[picture.shadows++];

	*s = (struct picture_shadow){ .mfn = m.n, .type = row->name, .mode = mode_of(row->guest_mode), .level = row->level,
				      .fanout = (u8)shadow_fanout(row), .fake = row->fake, .count = page->sh.count };
	s->gfn = row->fake ? page->back : mfn_valid(mfn(page->back)) ? p2m_gfn_of(mfn(page->back)).n : page->back;
	s->frame = row->fake ? PICTURE_NONE : frame_of_gfn(s->gfn);
	take_pages(s);
	if (page->maps) { // its newest parent
		s->up_mfn = rmap_page(page->maps).n;
		s->up_slot = rmap_slot(page->maps);
	}
}

static bool is_shadow(mfn_t m)
{
	const struct page_info *page = page_of(m);

	return host_frame_owned(m) && !page->owner && page->sh.head && page->sh.type < SHADOW_TYPE_COUNT &&
	       shadow_rows[page->sh.type].name;
}

static u32 shadow_at(u64 m)
{
	for (u32 i = 0; i < picture.shadows; i++)
		if (shadows[i].mfn == m)
			return i;
	return PICTURE_NONE;
}

static void take_shadows(const struct domain *d)
{
	u32 place = 0;

	picture.shadow = shadows;
	picture.shadows = 0;
	for (u64 n = page_first; n < page_first + page_count && picture.shadows < SHADOWS_MAX; n++)
		if (is_shadow(mfn(n)))
			take_shadow(mfn(n));
	for (u32 n = d->shadow.pinned.head; n && place < picture.shadows && mfn_valid(mfn(n));
	     n = page_of(mfn(n))->list.next) {
		u32 i = shadow_at(n);

		place++;
		if (i != PICTURE_NONE)
			shadows[i].pinned = place;
	}
}

// ---- vcpus ----------------------------------------------------------------------------------------------
static void take_vcpu(const struct domain *d, u32 n)
{
	const struct vcpu *v = &d->vcpu[n];
	struct picture_vcpu *to = &picture.vcpu[n];
	u64 address = v->guest.cr3 & (picture.mode == TRACE_MODE_64 ? PTE_ADDR : UINT64_C(0xfffff000));

	*to = (struct picture_vcpu){ .cr0 = v->guest.cr0, .cr3 = v->guest.cr3, .cr4 = v->guest.cr4, .efer = v->guest.efer,
				     .hardware_cr3 = v->shadow.attached ? vcpu_hw_cr3(v) : 0,
				     .cr3_frame = frame_of_gfn(address >> FRAME_SHIFT),
				     .slots = picture.mode == TRACE_MODE_PAE ? PICTURE_SLOTS : 1 };
	for (u32 i = 0; i < PICTURE_SLOTS; i++) {
		mfn_t guest = v->shadow.guest_root[i];

		to->pdpte[i] = v->shadow.pdpte[i];
		to->root[i] = mfn_is_none(v->shadow.root[i]) ? PICTURE_NONE : shadow_at(v->shadow.root[i].n);
		to->guest[i] =
			mfn_is_none(guest) || !mfn_valid(guest) ? PICTURE_NONE : frame_of_gfn(p2m_gfn_of(guest).n);
	}
}

// ---- the picture ----------------------------------------------------------------------------------------
const struct picture *exec_host_picture(void)
{
	const struct host_run *r = host_run_last();

	if (!r)
		return NULL;
	picture = (struct picture){ .mode = host_mode(r), .ops = r->number, .vcpus = r->d->vcpu_count, .current = r->current,
				    .killed = r->d->dead ? r->d->death : NULL, .place_mfn = r->place.mfn,
				    .place_slot = r->place.slot };
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		take_frame(r->d, i);
	take_shadows(r->d);
	for (u32 i = 0; i < picture.vcpus; i++)
		take_vcpu(r->d, i);
	return &picture;
}

// ---- the text -------------------------------------------------------------------------------------------
static void dump_vcpu(FILE *to, const struct picture_vcpu *v, u32 n)
{
	const struct tlb_entry *e;

	fprintf(to, "vcpu %u: cr0=0x%llx cr3=0x%llx cr4=0x%llx efer=0x%llx, hardware cr3=0x%llx%s\n", n,
		(unsigned long long)v->cr0, (unsigned long long)v->cr3, (unsigned long long)v->cr4,
		(unsigned long long)v->efer, (unsigned long long)v->hardware_cr3,
		shadow_root_is_detached(&host_run_last()->d->vcpu[n]) ? " (detached)" : "");
	for (u32 i = 0; i < v->slots; i++) {
		fprintf(to, "  slot %u: ", i);
		if (v->slots > 1)
			fprintf(to, "pdpte 0x%llx, ", (unsigned long long)v->pdpte[i]);
		if (v->root[i] == PICTURE_NONE)
			fputs("empty\n", to);
		else
			fprintf(to, "%s 0x%llx\n", shadows[v->root[i]].type,
				(unsigned long long)shadows[v->root[i]].mfn);
	}
	for (u32 i = 0, count = tlb_pages(host_cpu_of(&host_run_last()->d->vcpu[n]), &e); i < count; i++)
		fprintf(to, "  tlb 0x%llx -> 0x%llx%s%s%s%s\n", (unsigned long long)e[i].va,
			(unsigned long long)e[i].mfn, e[i].w ? " W" : "", e[i].u ? " U" : "", e[i].nx ? " NX" : "",
			e[i].dirty ? " D" : "");
}

void exec_host_dump(FILE *to)
{
	const struct picture *p = exec_host_picture();
	const struct shadow_domain *s;

	if (!p) {
		fputs("no domain: the last run came to its end\n", to);
		return;
	}
	s = &host_run_last()->d->shadow;
	fprintf(to, "after op %u: %s, vcpu %u current\n", p->ops, p->killed ? p->killed : "alive", p->current);
	fprintf(to, "pool: %u pages, %u free, %u for the p2m; %u shadows, %u pinned\n", s->total_pages, s->free_pages,
		s->p2m_pages, s->shadow_count, s->pinned.length);
	for (u32 i = 0; i < p->vcpus; i++)
		dump_vcpu(to, &p->vcpu[i], i);
}
