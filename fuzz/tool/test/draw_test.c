// SPDX-License-Identifier: GPL-2.0-or-later
// Pictures of the host executor's state: what is in them, in every mode, and that what a checker complains about is
// red. Canaries: an entry of a shadow is broken by hand, and the graph has to show that very entry.
// link: fuzz/tool/draw.c fuzz/tool/picture.c fuzz/tool/file.c
#include <stdlib.h>

#include "../../../hv/test/test.h"

#include "../../exec/host_run.h"
#include "../../trace/text.h"
#include "../picture.h"

#define RED_ROW "bgcolor=\"#ffd0d0\""

static char *graph;

// The graph, or the text, of a picture.
static const char *rendered(const char *finding, bool as_text)
{
	size_t bytes;
	FILE *to;

	free(graph);
	graph = NULL;
	to = open_memstream(&graph, &bytes);
	if (as_text)
		picture_print(to, exec_host_picture(), finding);
	else
		draw_graph(to, exec_host_picture(), finding, false);
	fclose(to);
	return graph;
}

// Run a trace to its last op and keep the state.
static bool run(const char *text)
{
	struct exec_options options = { .quiet = true };
	struct exec_result result;
	struct trace t = { 0 };
	struct trace_error error;
	size_t bytes;
	u8 *data;

	if (!trace_parse(&t, text, strlen(text), &error)) {
		printf("line %zu: %s\n", error.line, error.text);
		return false;
	}
	options.stop_after = (u32)t.count;
	data = trace_encode(&t, &bytes);
	trace_free(&t);
	bool ok = exec_host(data, bytes, &options, NULL, NULL, &result) == 0 && !result.finding;

	free(data);
	return ok;
}

static const struct guest {
	const char *trace, *l1, *top, *fake;
} guests[] = {
	{ "domain hvm64\npte f0[0] = f1 P W U A\npte f1[0] = f2 P W U A\npte f2[0] = f3 P W U A\npte f2[1] = f0 P W U A D PS\n"
	  "pte f3[4] = f4 P W U A D\nwrite 0.0.0.4+0x8 u4 = 0x5a5a5a5a\nread 0.0.1.4 u4\n",
	  "l1_64", "l4_64", "fl1_64" },
	{ "domain hvmpae\npte f0[258] = f1 P\npte f1[0] = f2 P W U A\npte f1[1] = f0 P W U A D PS\npte f2[4] = f4 P W U A D\n"
	  "reload\nwrite 2.0.4+0x8 u4 = 0x5a5a5a5a\nread 2.1.4 u4\n",
	  "l1_pae", "l2_pae", "fl1_pae" },
	{ "domain hvm32\npte f0[0] = f1 P W U A\npte f0[1] = f0 P W U A D PS\npte f1[4] = f4 P W U A D\n"
	  "write 0.4+0x8 u4 = 0x5a5a5a5a\nread 1.4 u4\n",
	  "l1_32", "l2_32", "fl1_32" },
};

static bool has(const char *text, const char *format, const char *word)
{
	char want[128];

	snprintf(want, sizeof(want), format, word);
	if (strstr(text, want))
		return true;
	printf("no '%s' in:\n%s\n", want, text);
	return false;
}

TEST(tables_and_shadows_of_every_mode_are_in_the_graph)
{
	for (u32 i = 0; i < ARRAY_LEN(guests); i++) {
		if (!CHECK(run(guests[i].trace)))
			continue;
		const char *text = rendered(NULL, false);

		CHECK(has(text, "<b>%s of f", guests[i].l1));
		CHECK(has(text, "<b>%s of f", guests[i].top));
		CHECK(has(text, "<b>%s at f0", guests[i].fake));
		CHECK(has(text, "%s", ">f4 P W U A D</td>"));
		CHECK(has(text, "%s", "pinned, last loaded first"));
		CHECK(has(text, "%s", "v0:slot"));
		CHECK(has(text, "%s", "[label=\"cr3\""));
		CHECK(strstr(text, RED_ROW) == NULL);
		text = rendered(NULL, true);
		CHECK(has(text, "%s of f", guests[i].l1));
		CHECK(has(text, "%s", "[4] f4 P W U A D"));
	}
}

TEST(a_chain_of_pages_and_up_pointers_are_shown)
{
	if (CHECK(run(guests[2].trace)))
		CHECK(has(rendered(NULL, false), "%s", "<br/>pages 0x"));
	if (CHECK(run(guests[0].trace)))
		CHECK(has(rendered(NULL, false), "%s", "style=dashed"));
}

// The first present entry of a shadow of this type.
static u64 *entry_of(const char *type, u32 *row)
{
	const struct picture *p = exec_host_picture();

	for (u32 i = 0; i < p->shadows; i++) {
		const struct picture_shadow *s = &p->shadow[i];

		if (strcmp(s->type, type) || picture_is_kernels(p, i))
			continue;
		for (u32 page = 0; page < s->pages; page++)
			for (u32 slot = 0; slot < 512; slot++)
				if (s->page[page].words[slot] & 1 && s->page[page].words[slot] >> 32 != UINT32_MAX) {
					*row = page * 512 + slot;
					return host_frame(mfn(s->page[page].mfn)) + slot;
				}
	}
	return NULL;
}

TEST(an_entry_that_breaks_a_rule_is_red)
{
	for (u32 i = 0; i < ARRAY_LEN(guests); i++) {
		struct host_run *r;
		char red[64];
		u64 *entry;
		u32 row;

		if (!CHECK(run(guests[i].trace)))
			continue;
		entry = entry_of(guests[i].l1, &row);
		if (!CHECK(entry != NULL))
			continue;
		*entry ^= BIT(2); // user or not: no longer as the guest's entry says
		r = host_run_last();
		host_run_check(r);
		if (!CHECK(strncmp(r->finding, "E1.30 ", 6) == 0))
			continue;
		snprintf(red, sizeof(red), "port=\"e%u\" " RED_ROW, row);
		CHECK(has(rendered(r->finding, false), "%s", red));
		CHECK(has(rendered(r->finding, false), "%s", "<b>E1.30 "));
		CHECK(has(rendered(r->finding, true), "%s", "  > ["));
	}
}

TEST(halves_that_differ_are_red)
{
	struct host_run *r;
	char red[64];
	u64 *entry;
	u32 row;

	if (!CHECK(run(guests[2].trace)))
		return;
	entry = entry_of("l2_32", &row);
	if (!CHECK(entry != NULL))
		return;
	entry[1] ^= BIT(2);
	r = host_run_last();
	host_run_check(r);
	CHECK(strncmp(r->finding, "E1.36 ", 6) == 0);
	snprintf(red, sizeof(red), "port=\"e%u\" " RED_ROW, row);
	CHECK(has(rendered(r->finding, false), "%s", red));
}

TEST(texts_that_name_frames_and_shadows_mark_them)
{
	struct picture_marks marks;
	const struct picture *p;
	char text[96];

	if (!CHECK(run(guests[1].trace)))
		return;
	p = exec_host_picture();
	picture_marks(p, "E1.46 memory: f2[4] is 0x1, model has 0x2", &marks);
	CHECK_EQ(marks.frame_entry[2], 4);
	CHECK(marks.frame[2] && !marks.frame[4]);
	free(marks.shadow);
	snprintf(text, sizeof(text), "E1.15 refcount: x 0x%llx has 3, expected 2",
		 (unsigned long long)p->shadow[0].mfn);
	picture_marks(p, text, &marks);
	CHECK(marks.shadow[0] && !marks.shadow[1]);
	free(marks.shadow);
	picture_marks(p, "E1.41 soundness: vcpu 0 holds 0x80004000 -> gfn 0x40004 W", &marks);
	CHECK(marks.frame[4]);
	free(marks.shadow);
}

TEST(entries_read_as_in_a_trace)
{
	static const struct {
		enum trace_mode mode;
		u64 entry;
		const char *text;
	} rows[] = {
		{ TRACE_MODE_64, UINT64_C(0x80000000400030e7), "f3 P W U A D PS NX" },
		{ TRACE_MODE_64, UINT64_C(0x0008000040000001), "f0 P R51" },
		{ TRACE_MODE_32, 0x40001067, "f1 P W U A D" },
		{ TRACE_MODE_32, 0x402000e7, "f0 P W U A D PS R21" },
		{ TRACE_MODE_PAE, 0x50000003, "hole0 P W" },
		{ TRACE_MODE_PAE, 0x21a41027, "0x21a41027" },
	};
	char text[PICTURE_TEXT];

	for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
		picture_entry_text(text, rows[i].mode, rows[i].entry);
		CHECK_STR(text, rows[i].text);
	}
}
