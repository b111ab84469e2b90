// SPDX-License-Identifier: GPL-2.0-or-later
// The state of guest and hypervisor as rows of text.
//
// Parts: entries; what a finding is about; roles of frames; rows of a guest table; rows of a shadow; all as text.
//
// Tables hold up to 1024 entries, mostly alike: neighbours that say the same make one row. Nothing here trusts what it
// reads: the state may be broken.
#include "picture.h"

#include <stdlib.h>
#include <string.h>

#include "../trace/text.h"

#define P BIT(0)
#define W BIT(1)
#define U BIT(2)
#define A BIT(5)
#define D BIT(6)
#define PS BIT(7)
#define NX BIT(63)
#define CR4_PSE BIT(4)
#define ADDRESS UINT64_C(0x000ffffffffff000)
#define SLOTS 512u

// ---- entries --------------------------------------------------------------------------------------------
void picture_entry_text(char *to, enum trace_mode mode, u64 entry)
{
	struct trace_op op = { .mode = (u8)mode, .code = OP_PTE };
	char text[TRACE_TEXT_MAX];
	int best = 64;

	snprintf(to, PICTURE_TEXT, "0x%llx", (unsigned long long)entry);
	for (u32 target = 0; target < TRACE_TARGET_COUNT; target++) {
		u64 flags = entry ^ trace_target_gfn(mode, target) << FRAME_SHIFT;
		u32 raw;

		op.target = (u8)target;
		if (__builtin_popcountll(flags) >= best ||
		    !trace_arg_encode(&op, &trace_ops[OP_PTE].arg[3], flags, &raw))
			continue;
		best = __builtin_popcountll(flags);
		op.flags = flags;
		trace_print_op(text, &op);
		snprintf(to, PICTURE_TEXT, "%s", strchr(text, '=') + 2);
	}
}

static u64 entry_at(const struct picture_frame *f, enum trace_mode mode, u32 index)
{
	u64 entry = 0;

	if (f->bytes)
		memcpy(&entry, (const u8 *)f->bytes + (size_t)index * trace_entry_bytes(mode), trace_entry_bytes(mode));
	return entry;
}

static u32 frame_at_gfn(const struct picture *p, u64 gfn)
{
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		if (p->frame[i].gfn == gfn)
			return i;
	return PICTURE_NONE;
}

static u32 frame_at_mfn(const struct picture *p, u64 mfn)
{
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		if (p->frame[i].bytes && p->frame[i].mfn == mfn)
			return i;
	return PICTURE_NONE;
}

// Which shadow has this page, and as its how manieth.
static u32 shadow_at(const struct picture *p, u64 mfn, u32 *page)
{
	for (u32 i = 0; i < p->shadows; i++)
		for (*page = 0; *page < p->shadow[i].pages; ++*page)
			if (p->shadow[i].page[*page].mfn == mfn)
				return i;
	return PICTURE_NONE;
}

// A large page, as far as the mode has them at this level.
static bool is_leaf(const struct picture *p, u32 level, u64 entry)
{
	if (level == 0)
		return true;
	if (p->mode == TRACE_MODE_32 && !(p->vcpu[p->current].cr4 & CR4_PSE))
		return false;
	return (entry & PS) && level <= (p->mode == TRACE_MODE_64 ? 2u : 1u);
}

// ---- what a finding is about ----------------------------------------------------------------------------
// Texts name shadows and frames by machine frame, guest frames by gfn, and entries of frames as f3[7].
static void mark_number(const struct picture *p, u64 n, struct picture_marks *marks)
{
	u32 page, shadow = shadow_at(p, n, &page), frame = frame_at_mfn(p, n);

	if (frame == PICTURE_NONE)
		frame = frame_at_gfn(p, n);
	if (shadow != PICTURE_NONE)
		marks->shadow[shadow] = true;
	else if (frame != PICTURE_NONE)
		marks->frame[frame] = true;
}

static void mark_text(const struct picture *p, const char *text, struct picture_marks *marks)
{
	for (const char *c = text; *c; c++) {
		u32 frame, index;

		if (c[0] == '0' && c[1] == 'x')
			mark_number(p, strtoull(c, NULL, 16), marks);
		else if (c[0] == 'f' && sscanf(c, "f%u[%u]", &frame, &index) == 2 && frame < TRACE_FRAMES) {
			marks->frame_entry[frame] = index;
			marks->frame[frame] = true;
		}
	}
}

void picture_marks(const struct picture *p, const char *finding, struct picture_marks *marks)
{
	u32 page, frame, shadow;

	*marks = (struct picture_marks){ .shadow = calloc(p->shadows + 1, sizeof(bool)) };
	if (!marks->shadow)
		abort();
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		marks->frame_entry[i] = PICTURE_NONE;
	if (!finding)
		return;
	mark_text(p, finding, marks);
	if (!p->place_mfn)
		return;
	shadow = shadow_at(p, p->place_mfn, &page);
	frame = frame_at_mfn(p, p->place_mfn);
	if (shadow != PICTURE_NONE)
		marks->shadow[shadow] = true;
	if (frame == PICTURE_NONE)
		return;
	marks->frame[frame] = true;
	if (p->place_slot < SLOTS)
		marks->frame_entry[frame] = p->place_slot * 8 / trace_entry_bytes(p->mode);
}

// ---- roles of frames ------------------------------------------------------------------------------------
// Is the entry part of the bytes of a frame that belong to the guest's kernel?
static bool is_reserved(enum trace_mode mode, u32 index)
{
	u32 at = index * trace_entry_bytes(mode);

	return at >= TRACE_RESERVED_AT && at < TRACE_RESERVED_AT + TRACE_RESERVED_BYTES;
}

static void add_role(const struct picture *p, u32 roles[PICTURE_FRAMES], u32 frame, u32 level)
{
	u32 top = p->mode == TRACE_MODE_64 ? 3 : 1;

	if (frame == PICTURE_NONE || (roles[frame] & 1u << level))
		return;
	roles[frame] |= 1u << level;
	for (u32 i = 0; level && i < FRAME_BYTES / trace_entry_bytes(p->mode); i++) {
		u64 entry = entry_at(&p->frame[frame], p->mode, i);

		if (level != top && frame < PICTURE_KERNEL && is_reserved(p->mode, i))
			continue; // the way to the kernel is one in a root only
		if ((entry & P) && !is_leaf(p, level, entry))
			add_role(p, roles, frame_at_gfn(p, (entry & ADDRESS) >> FRAME_SHIFT), level - 1);
	}
}

void picture_roles(const struct picture *p, u32 roles[PICTURE_FRAMES])
{
	memset(roles, 0, PICTURE_FRAMES * sizeof(roles[0]));
	for (u32 n = 0; n < p->vcpus; n++) {
		const struct picture_vcpu *v = &p->vcpu[n];

		if (p->mode != TRACE_MODE_PAE) {
			add_role(p, roles, v->cr3_frame, p->mode == TRACE_MODE_64 ? 3 : 1);
			continue;
		}
		if (v->cr3_frame != PICTURE_NONE)
			roles[v->cr3_frame] |= PICTURE_ROOTS;
		for (u32 i = 0; i < PICTURE_SLOTS; i++)
			if (v->pdpte[i] & P)
				add_role(p, roles, frame_at_gfn(p, (v->pdpte[i] & ADDRESS) >> FRAME_SHIFT), 1);
	}
	for (u32 i = 0; i < p->shadows; i++)
		if (p->shadow[i].mode == p->mode)
			add_role(p, roles, p->shadow[i].frame, p->shadow[i].level);
}

void picture_role_text(char *to, u32 roles)
{
	static const char *const names[] = { "L1", "L2", "L3", "L4", "PDPTEs" };

	strcpy(to, roles ? "" : "data");
	for (u32 i = ARRAY_LEN(names); i-- > 0;)
		if (roles >> i & 1) {
			strcat(to, *to ? " " : "");
			strcat(to, names[i]);
		}
}

// ---- rows -----------------------------------------------------------------------------------------------
struct rows {
	struct picture_row *row;
	u32 count;
	u64 previous; // raw value of the entry that the last row ends with
};

// One more entry. Joins the last row if it is the next one and says the same, or leads one frame further: then the row ends
// in dots.
static void add_row(struct rows *r, const struct picture_row *new, u64 raw)
{
	struct picture_row *last = r->count ? &r->row[r->count - 1] : NULL;
	bool magic = raw >> 32 == UINT32_MAX; // holds the frame number from bit 4 on
	bool next = raw == r->previous + (magic ? 16 : FRAME_BYTES);
	bool plain = last && !last->broken && !new->broken && last->shadow == PICTURE_NONE && new->shadow == PICTURE_NONE;

	if (plain && last->last + 1 == new->first && (raw == r->previous || next)) {
		if (next && last->last == last->first)
			strncat(last->text, " ...", sizeof(last->text) - strlen(last->text) - 1);
		last->last = new->first;
	} else if (r->count == PICTURE_ROWS) {
		snprintf(last->text, sizeof(last->text), "and more");
	} else {
		r->row[r->count++] = *new;
	}
	r->previous = raw;
}

// In a PAE root the four words from TRACE_KERNEL_WORD on are roots.
static u32 root_number(u32 roles, u32 index)
{
	return (roles & PICTURE_ROOTS) && index - TRACE_KERNEL_WORD < PICTURE_SLOTS ? index - TRACE_KERNEL_WORD
										    : PICTURE_NONE;
}

u32 picture_frame_rows(const struct picture *p, u32 frame, u32 roles, const struct picture_marks *marks,
		       struct picture_row rows[PICTURE_ROWS])
{
	const struct picture_frame *f = &p->frame[frame];
	struct rows r = { .row = rows };

	for (u32 i = 0; f->bytes && i < FRAME_BYTES / trace_entry_bytes(p->mode); i++) {
		u64 entry = entry_at(f, p->mode, i);
		u32 root = root_number(roles, i);
		bool broken = marks->frame_entry[frame] == i;
		bool table = (roles & ~PICTURE_ROOTS) || root != PICTURE_NONE;
		struct picture_row row = { .first = i, .last = i, .frame = PICTURE_NONE, .shadow = PICTURE_NONE,
					   .broken = broken };

		if (!broken && (!table || !(entry & P) || (frame < PICTURE_KERNEL && is_reserved(p->mode, i))))
			continue;
		picture_entry_text(row.text, p->mode, entry);
		if (entry & P)
			row.frame = frame_at_gfn(p, (entry & ADDRESS) >> FRAME_SHIFT);
		add_row(&r, &row, entry);
	}
	for (u32 i = 0; i < r.count; i++) {
		u32 root = root_number(roles, rows[i].first);

		if (root != PICTURE_NONE)
			snprintf(rows[i].index, sizeof(rows[i].index), "PDPTE %u", root);
		else if (rows[i].first == rows[i].last)
			snprintf(rows[i].index, sizeof(rows[i].index), "%u", rows[i].first);
		else
			snprintf(rows[i].index, sizeof(rows[i].index), "%u..%u", rows[i].first, rows[i].last);
	}
	return r.count;
}

// ---- rows of a shadow -----------------------------------------------------------------------------------
static void flags_text(char *to, size_t room, u64 entry)
{
	snprintf(to, room, "%s%s%s%s%s%s", entry & P ? " P" : "", entry & W ? " W" : "", entry & U ? " U" : "",
		 entry & A ? " A" : "", entry & D ? " D" : "", entry & NX ? " NX" : "");
}

// Magic entries have their upper half all ones; so does the one for "not present".
static void shadow_entry_text(const struct picture *p, u32 level, u64 entry, struct picture_row *row)
{
	u64 mfn = (entry & ADDRESS) >> FRAME_SHIFT;
	char flags[32];
	u32 page;

	flags_text(flags, sizeof(flags), entry);
	if (entry == UINT64_MAX) {
		snprintf(row->text, sizeof(row->text), "magic: guest not present");
	} else if (entry >> 32 == UINT32_MAX) {
		snprintf(row->text, sizeof(row->text), "magic: hole gfn 0x%llx%s%s",
			 (unsigned long long)(entry & UINT32_MAX) >> 4, entry & W ? " W" : "", entry & U ? " U" : "");
	} else if (!(entry & P)) {
		snprintf(row->text, sizeof(row->text), entry ? "0x%llx" : "empty", (unsigned long long)entry);
	} else if (level == 0) {
		row->frame = frame_at_mfn(p, mfn);
		if (row->frame == PICTURE_NONE)
			snprintf(row->text, sizeof(row->text), "0x%llx%s", (unsigned long long)mfn, flags);
		else
			snprintf(row->text, sizeof(row->text), "%s%s", p->frame[row->frame].name, flags);
	} else {
		row->shadow = shadow_at(p, mfn, &page);
		if (row->shadow == PICTURE_NONE)
			snprintf(row->text, sizeof(row->text), "0x%llx, no shadow%s", (unsigned long long)mfn, flags);
		else
			snprintf(row->text, sizeof(row->text), "%s 0x%llx%s", p->shadow[row->shadow].type,
				 (unsigned long long)mfn, flags);
	}
}

static void shadow_index_text(const struct picture_shadow *s, struct picture_row *row)
{
	u32 first = row->first / s->fanout, last = row->last / s->fanout;

	if (first != last)
		snprintf(row->index, sizeof(row->index), "%u..%u", first, last);
	else if (s->fanout > 1)
		snprintf(row->index, sizeof(row->index), "%u.%u", first, row->first % s->fanout);
	else
		snprintf(row->index, sizeof(row->index), "%u", first);
}

u32 picture_shadow_rows(const struct picture *p, u32 shadow, struct picture_row rows[PICTURE_ROWS])
{
	const struct picture_shadow *s = &p->shadow[shadow];
	struct rows r = { .row = rows };

	for (u32 page = 0; page < s->pages; page++)
		for (u32 i = 0; s->page[page].words && i < SLOTS; i++) {
			u64 entry = s->page[page].words[i];
			struct picture_row row = { .first = page * SLOTS + i,
						   .last = page * SLOTS + i,
						   .frame = PICTURE_NONE,
						   .shadow = PICTURE_NONE,
						   .broken = p->place_mfn == s->page[page].mfn && p->place_slot == i };

			if (!entry && !row.broken)
				continue;
			shadow_entry_text(p, s->level, entry, &row);
			add_row(&r, &row, entry);
		}
	for (u32 i = 0; i < r.count; i++)
		shadow_index_text(s, &rows[i]);
	return r.count;
}

void picture_shadow_title(char *to, const struct picture *p, u32 shadow)
{
	const struct picture_shadow *s = &p->shadow[shadow];
	u32 frame = s->fake ? frame_at_gfn(p, s->gfn) : s->frame;

	if (frame != PICTURE_NONE)
		snprintf(to, PICTURE_TEXT, "%s %s %s", s->type, s->fake ? "at" : "of", p->frame[frame].name);
	else
		snprintf(to, PICTURE_TEXT, "%s %s gfn 0x%llx", s->type, s->fake ? "at" : "of",
			 (unsigned long long)s->gfn);
}

bool picture_is_kernels(const struct picture *p, u32 shadow)
{
	u32 frame = p->shadow[shadow].frame;

	return frame != PICTURE_NONE && frame >= PICTURE_KERNEL;
}

// ---- all as text ----------------------------------------------------------------------------------------
static void print_rows(FILE *to, const struct picture_row *rows, u32 count)
{
	for (u32 i = 0; i < count; i++)
		fprintf(to, "  %s [%s] %s\n", rows[i].broken ? ">" : " ", rows[i].index, rows[i].text);
}

static void print_shadow(FILE *to, const struct picture *p, u32 i, const struct picture_marks *marks)
{
	static struct picture_row rows[PICTURE_ROWS];
	const struct picture_shadow *s = &p->shadow[i];
	char title[PICTURE_TEXT];

	picture_shadow_title(title, p, i);
	fprintf(to, "%s shadow 0x%llx: %s, %u references", marks->shadow[i] ? ">" : " ", (unsigned long long)s->mfn,
		title, s->count);
	if (s->pinned)
		fprintf(to, ", pinned as number %u", s->pinned);
	if (s->pages > 1)
		fprintf(to, ", %u pages", s->pages);
	if (s->up_mfn)
		fprintf(to, ", up to 0x%llx[%u]", (unsigned long long)s->up_mfn, s->up_slot);
	fputc('\n', to);
	print_rows(to, rows, picture_shadow_rows(p, i, rows));
}

void picture_print(FILE *to, const struct picture *p, const char *finding)
{
	static struct picture_row rows[PICTURE_ROWS];
	u32 roles[PICTURE_FRAMES];
	struct picture_marks marks;
	char text[PICTURE_TEXT];

	picture_roles(p, roles);
	picture_marks(p, finding, &marks);
	for (u32 i = 0; i < PICTURE_FRAMES; i++) {
		const struct picture_frame *f = &p->frame[i];

		picture_role_text(text, roles[i]);
		fprintf(to, "%s %s: ", marks.frame[i] ? ">" : " ", f->name);
		if (!f->bytes)
			fputs("removed\n", to);
		else
			fprintf(to, "%s, frame 0x%llx, %u references, %u writable%s%s\n", text,
				(unsigned long long)f->mfn, f->references, f->writable,
				*f->types ? ", shadowed as " : "", f->types);
		print_rows(to, rows, picture_frame_rows(p, i, roles[i], &marks, rows));
	}
	for (u32 i = 0; i < p->shadows; i++)
		print_shadow(to, p, i, &marks);
	free(marks.shadow);
}
