// SPDX-License-Identifier: GPL-2.0-or-later
// umbra draw: guest tables, shadows, slots, pins and up-pointers after an op, as a picture.
//
// Parts: text in HTML-like labels; a table as a node; edges; the graph; dot; the command.
//
// Left to right: vcpus, the guest's frames, the shadows. Every table is a node with one row for each present entry:
//
//   vcpu --cr3--> f0 ...> f1            guest entry -> frame
//   vcpu --slot-> l4_64 ---> l3_64      shadow entry -> shadow; dashed back: up-pointer
//   l3_64 .......> f1                   dotted: which frame it is the shadow of
//   pinned: 1 -> l4_64, 2 -> l3_64      the pinned list in order
//
// What a finding is about is red. The picture itself is made by Graphviz.
#define _POSIX_C_SOURCE 200809L
#include "picture.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../exec/exec.h"
#include "tool.h"

#define RED "#c00000"
#define ROWS_DRAWN 40u // a node does not get more rows than this

// ---- text -----------------------------------------------------------------------------------------------
static void put_html(FILE *to, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*text, to);
		}
}

static void cell(FILE *to, const char *attributes, bool red, const char *text)
{
	fprintf(to, "<td align=\"left\"%s%s>", *attributes ? " " : "", attributes);
	if (red)
		fputs("<font color=\"" RED "\"><b>", to);
	put_html(to, *text ? text : " ");
	if (red)
		fputs("</b></font>", to);
	fputs("</td>", to);
}

// ---- a table as a node ----------------------------------------------------------------------------------
static void node_open(FILE *to, const char *kind, u32 number, const char *colour, bool red)
{
	fprintf(to, "\t\t%s%u [label=<<table border=\"%d\" cellborder=\"1\" cellspacing=\"0\" color=\"%s\">\n", kind,
		number, red ? 3 : 1, red ? RED : "black");
	fprintf(to, "\t\t\t<tr><td colspan=\"2\" port=\"top\" bgcolor=\"%s\">", colour);
}

static bool row_is_drawn(const struct picture_row *rows, u32 i)
{
	return i < ROWS_DRAWN || rows[i].broken;
}

static void node_rows(FILE *to, const struct picture_row *rows, u32 count)
{
	char port[32];

	for (u32 i = 0; i < count; i++) {
		if (!row_is_drawn(rows, i))
			continue;
		snprintf(port, sizeof(port), "port=\"e%u\"%s", rows[i].first,
			 rows[i].broken ? " bgcolor=\"#ffd0d0\"" : "");
		fputs("\t\t\t<tr>", to);
		cell(to, "", rows[i].broken, rows[i].index);
		cell(to, port, rows[i].broken, rows[i].text);
		fputs("</tr>\n", to);
	}
	if (count > ROWS_DRAWN)
		fprintf(to, "\t\t\t<tr><td colspan=\"2\">%u rows in all</td></tr>\n", count);
	fputs("\t\t</table>>];\n", to);
}

static void frame_node(FILE *to, const struct picture *p, u32 i, u32 roles, const struct picture_marks *marks,
		       const struct picture_row *rows, u32 count)
{
	const struct picture_frame *f = &p->frame[i];
	char role[PICTURE_TEXT];

	picture_role_text(role, roles);
	node_open(to, "f", i, roles ? "#d8e8ff" : "#f4f4f4", marks->frame[i]);
	fprintf(to, "<b>%s</b> %s", f->name, f->bytes ? role : "removed");
	if (*f->types)
		fprintf(to, "<br/>shadowed as %s", f->types);
	if (f->bytes)
		fprintf(to, "<br/>frame 0x%llx, %u references, %u writable", (unsigned long long)f->mfn, f->references,
			f->writable);
	fputs("</td></tr>\n", to);
	node_rows(to, rows, count);
}

static void shadow_node(FILE *to, const struct picture *p, u32 i, const struct picture_marks *marks,
			const struct picture_row *rows, u32 count)
{
	const struct picture_shadow *s = &p->shadow[i];
	char title[PICTURE_TEXT];

	picture_shadow_title(title, p, i);
	node_open(to, "s", i, s->fake ? "#f4ecd0" : "#fff4c0", marks->shadow[i]);
	fprintf(to, "<b>%s</b><br/>0x%llx, %u references", title, (unsigned long long)s->mfn, s->count);
	if (s->pinned)
		fprintf(to, ", pinned as %u", s->pinned);
	if (s->pages > 1) {
		fputs("<br/>pages", to);
		for (u32 k = 0; k < s->pages; k++)
			fprintf(to, "%s 0x%llx", k ? " &rarr;" : "", (unsigned long long)s->page[k].mfn);
	}
	fputs("</td></tr>\n", to);
	node_rows(to, rows, count);
}

// ---- edges ----------------------------------------------------------------------------------------------
static void row_edges(FILE *to, const char *kind, u32 number, const struct picture_row *rows, u32 count,
		      const bool *drawn_frame, const bool *drawn_shadow)
{
	for (u32 i = 0; i < count; i++) {
		const char *colour = rows[i].broken ? RED : *kind == 'f' ? "#4060a0" : "#806000";

		if (!row_is_drawn(rows, i))
			continue;
		if (rows[i].frame != PICTURE_NONE && drawn_frame[rows[i].frame] && *kind == 'f')
			fprintf(to, "\tf%u:e%u -> f%u:top [color=\"%s\"];\n", number, rows[i].first, rows[i].frame,
				colour);
		if (rows[i].shadow != PICTURE_NONE && drawn_shadow[rows[i].shadow])
			fprintf(to, "\ts%u:e%u -> s%u:top [color=\"%s\"];\n", number, rows[i].first, rows[i].shadow,
				colour);
	}
}

// Which shadow holds the parent entry.
static u32 up_shadow(const struct picture *p, const struct picture_shadow *s)
{
	for (u32 i = 0; i < p->shadows; i++)
		for (u32 k = 0; k < p->shadow[i].pages; k++)
			if (p->shadow[i].page[k].mfn == s->up_mfn)
				return i;
	return PICTURE_NONE;
}

static void shadow_edges(FILE *to, const struct picture *p, u32 i, const bool *drawn_frame, const bool *drawn_shadow)
{
	const struct picture_shadow *s = &p->shadow[i];
	u32 up = s->up_mfn ? up_shadow(p, s) : PICTURE_NONE;

	if (s->frame != PICTURE_NONE && drawn_frame[s->frame])
		fprintf(to, "\tf%u:top -> s%u:top [style=dotted, dir=none, color=gray, constraint=false];\n", s->frame,
			i);
	if (up != PICTURE_NONE && drawn_shadow[up])
		fprintf(to,
			"\ts%u:top -> s%u:top [style=dashed, color=\"#408040\", label=\"up [%u]\", fontcolor=\"#408040\", "
			"constraint=false];\n",
			i, up, s->up_slot);
}

static void vcpu_node(FILE *to, const struct picture *p, u32 n, const bool *drawn_frame, const bool *drawn_shadow)
{
	const struct picture_vcpu *v = &p->vcpu[n];

	fprintf(to, "\tv%u [label=<<table border=\"1\" cellborder=\"0\" cellspacing=\"0\">"
		    "<tr><td bgcolor=\"#e0ffe0\" port=\"top\"><b>vcpu %u%s</b><br/>cr3 0x%llx<br/>cr0 0x%llx cr4 0x%llx efer 0x%llx</td></tr>",
		n, n, n == p->current ? ", current" : "", (unsigned long long)v->cr3, (unsigned long long)v->cr0,
		(unsigned long long)v->cr4, (unsigned long long)v->efer);
	for (u32 i = 0; i < v->slots; i++) {
		fprintf(to, "<tr><td port=\"slot%u\">slot %u", i, i);
		if (v->slots > 1)
			fprintf(to, ", PDPTE 0x%llx", (unsigned long long)v->pdpte[i]);
		fprintf(to, "%s</td></tr>", v->root[i] == PICTURE_NONE ? ", empty" : "");
	}
	fputs("</table>>];\n", to);
	if (v->cr3_frame != PICTURE_NONE && drawn_frame[v->cr3_frame])
		fprintf(to, "\tv%u:top -> f%u:top [label=\"cr3\", color=\"#208020\"];\n", n, v->cr3_frame);
	for (u32 i = 0; i < v->slots; i++)
		if (v->root[i] != PICTURE_NONE && drawn_shadow[v->root[i]])
			fprintf(to, "\tv%u:slot%u -> s%u:top [color=\"#208020\", penwidth=2];\n", n, i, v->root[i]);
}

static void pinned_list(FILE *to, const struct picture *p, const bool *drawn_shadow)
{
	u32 pinned = 0;

	for (u32 i = 0; i < p->shadows; i++)
		pinned += p->shadow[i].pinned != 0;
	if (!pinned)
		return;
	fputs("\tpinned [label=<<table border=\"1\" cellborder=\"0\" cellspacing=\"0\"><tr><td bgcolor=\"#f0e0ff\">"
	      "<b>pinned, last loaded first</b></td></tr>",
	      to);
	for (u32 place = 1; place <= p->shadows; place++)
		for (u32 i = 0; i < p->shadows; i++)
			if (p->shadow[i].pinned == place) {
				fprintf(to, "<tr><td port=\"p%u\">%u: %s 0x%llx</td></tr>", place, place,
					p->shadow[i].type, (unsigned long long)p->shadow[i].mfn);
			}
	fputs("</table>>];\n", to);
	for (u32 i = 0; i < p->shadows; i++)
		if (p->shadow[i].pinned && drawn_shadow[i])
			fprintf(to, "\tpinned:p%u -> s%u:top [style=dotted, color=\"#8040a0\"];\n", p->shadow[i].pinned,
				i);
}

// ---- the graph ------------------------------------------------------------------------------------------
// One set of rows for each node.
struct graph {
	const struct picture *p;
	struct picture_marks marks;
	u32 roles[PICTURE_FRAMES];
	u32 frame_rows[PICTURE_FRAMES], *shadow_rows;
	struct picture_row (*frame)[PICTURE_ROWS], (*shadow)[PICTURE_ROWS];
	bool drawn_frame[PICTURE_FRAMES], *drawn_shadow;
};

static void *allocate(size_t count, size_t bytes)
{
	void *p = calloc(count ? count : 1, bytes);

	if (!p) {
		fputs("umbra: out of memory\n", stderr);
		exit(TOOL_INTERNAL);
	}
	return p;
}

// Tables are drawn, what they lead to, and what the finding is about.
static void choose(struct graph *g, bool kernel)
{
	const struct picture *p = g->p;

	for (u32 i = 0; i < PICTURE_FRAMES; i++) {
		bool mine = i < PICTURE_KERNEL || kernel;

		if ((g->roles[i] && mine) || g->marks.frame[i])
			g->drawn_frame[i] = true;
		for (u32 k = 0; mine && k < g->frame_rows[i]; k++)
			if (g->frame[i][k].frame != PICTURE_NONE && (g->frame[i][k].frame < PICTURE_KERNEL || kernel))
				g->drawn_frame[g->frame[i][k].frame] = true;
	}
	for (u32 i = 0; i < p->shadows; i++)
		g->drawn_shadow[i] = kernel || !picture_is_kernels(p, i) || g->marks.shadow[i];
}

static void take(struct graph *g, const char *finding)
{
	const struct picture *p = g->p;

	picture_marks(p, finding, &g->marks);
	picture_roles(p, g->roles);
	g->frame = allocate(PICTURE_FRAMES, sizeof(*g->frame));
	g->shadow = allocate(p->shadows, sizeof(*g->shadow));
	g->shadow_rows = allocate(p->shadows, sizeof(*g->shadow_rows));
	g->drawn_shadow = allocate(p->shadows, sizeof(*g->drawn_shadow));
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		g->frame_rows[i] = picture_frame_rows(p, i, g->roles[i], &g->marks, g->frame[i]);
	for (u32 i = 0; i < p->shadows; i++)
		g->shadow_rows[i] = picture_shadow_rows(p, i, g->shadow[i]);
}

static void print_caption(FILE *to, const struct picture *p, const char *finding)
{
	fprintf(to, "\tlabel=<after op %u, mode %s%s", p->ops, trace_modes[p->mode].name,
		p->killed ? ": killed, " : "");
	put_html(to, p->killed ? p->killed : "");
	if (finding) {
		fputs("<br/><font color=\"" RED "\"><b>", to);
		put_html(to, finding);
		fputs("</b></font>", to);
	}
	fputs(">;\n", to);
}

void draw_graph(FILE *to, const struct picture *p, const char *finding, bool kernel)
{
	struct graph g = { .p = p };

	take(&g, finding);
	choose(&g, kernel);
	fputs("digraph umbra {\n\trankdir=LR; labelloc=t; fontname=\"monospace\";\n"
	      "\tnode [shape=plaintext, fontname=\"monospace\", fontsize=10];\n\tedge [fontname=\"monospace\", fontsize=9];\n",
	      to);
	print_caption(to, p, finding);
	fputs("\tsubgraph cluster_guest {\n\t\tlabel=\"guest memory\"; color=\"#4060a0\";\n", to);
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		if (g.drawn_frame[i])
			frame_node(to, p, i, g.roles[i], &g.marks, g.frame[i], g.frame_rows[i]);
	fputs("\t}\n\tsubgraph cluster_shadows {\n\t\tlabel=\"shadows\"; color=\"#806000\";\n", to);
	for (u32 i = 0; i < p->shadows; i++)
		if (g.drawn_shadow[i])
			shadow_node(to, p, i, &g.marks, g.shadow[i], g.shadow_rows[i]);
	fputs("\t}\n", to);
	for (u32 n = 0; n < p->vcpus; n++)
		vcpu_node(to, p, n, g.drawn_frame, g.drawn_shadow);
	pinned_list(to, p, g.drawn_shadow);
	for (u32 i = 0; i < PICTURE_FRAMES; i++)
		if (g.drawn_frame[i])
			row_edges(to, "f", i, g.frame[i], g.frame_rows[i], g.drawn_frame, g.drawn_shadow);
	for (u32 i = 0; i < p->shadows; i++)
		if (g.drawn_shadow[i]) {
			row_edges(to, "s", i, g.shadow[i], g.shadow_rows[i], g.drawn_frame, g.drawn_shadow);
			shadow_edges(to, p, i, g.drawn_frame, g.drawn_shadow);
		}
	fputs("}\n", to);
	free(g.marks.shadow);
	free(g.frame);
	free(g.shadow);
	free(g.shadow_rows);
	free(g.drawn_shadow);
}

// ---- dot ------------------------------------------------------------------------------------------------
// Graphviz reads the graph from a file that has no name any more and writes the picture to path, or to standard output.
static int run_dot(FILE *graph, const char *path)
{
	int status;
	pid_t pid;

	fflush(NULL);
	rewind(graph);
	pid = fork();
	if (pid == 0) {
		if (dup2(fileno(graph), 0) < 0)
			_exit(126);
		if (path)
			execlp("dot", "dot", "-Tsvg", "-o", path, (char *)NULL);
		else
			execlp("dot", "dot", "-Tsvg", (char *)NULL);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		fprintf(stderr, "umbra: cannot run dot: %s\n", strerror(errno));
		return TOOL_INTERNAL;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return TOOL_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fputs("umbra: dot is missing: install it with `apt-get install graphviz`, or use --dot\n", stderr);
	else
		fprintf(stderr, "umbra: dot could not make the picture%s%s\n", path ? " in " : "", path ? path : "");
	return TOOL_INTERNAL;
}

// ---- the command ----------------------------------------------------------------------------------------
struct draw {
	u32 at;
	const char *path; // NULL: standard output
	bool dot, kernel;
};

static int output(const struct draw *how, const struct picture *p, const char *finding)
{
	FILE *to = how->dot && !how->path ? stdout : how->dot ? fopen(how->path, "w") : tmpfile();
	int code = TOOL_OK;

	if (!to) {
		fprintf(stderr, "umbra: cannot write %s: %s\n", how->path ? how->path : "a temporary file",
			strerror(errno));
		return TOOL_INTERNAL;
	}
	draw_graph(to, p, finding, how->kernel);
	if (!how->dot)
		code = run_dot(to, how->path);
	if (to != stdout && fclose(to) && code == TOOL_OK) {
		fprintf(stderr, "umbra: cannot write the graph: %s\n", strerror(errno));
		code = TOOL_INTERNAL;
	}
	return code;
}

static int draw(const struct trace *t, const struct draw *how)
{
	struct exec_options options = { .quiet = true, .stop_after = how->at, .check_each_full = true };
	struct exec_result result = { 0 };
	const struct picture *p;
	size_t bytes;
	u8 *data = trace_encode(t, &bytes);
	int status = exec_host(data, bytes, &options, NULL, NULL, &result);

	free(data);
	if (status) {
		fprintf(stderr, "umbra: the executor failed (%d)\n", status);
		return TOOL_INTERNAL;
	}
	if (result.finding)
		fprintf(stderr, "finding: op %u: %s\n", result.op, result.finding);
	p = exec_host_picture();
	if (!p) {
		fputs("umbra: the domain is gone, there is nothing to draw\n", stderr);
		return TOOL_INTERNAL;
	}
	status = output(how, p, result.finding);
	return status ? status : result.finding ? TOOL_FOUND : TOOL_OK;
}

static int draw_run(const struct tool_command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "at", required_argument, NULL, 'n' },
		{ "op", required_argument, NULL, 'n' }, // as show calls it
		{ "dot", no_argument, NULL, 'd' },
		{ "kernel", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *number = NULL;
	struct draw how = { 0 };
	struct trace t = { 0 };
	int option, code;
	u64 at;

	while ((option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (option == 'n')
			number = optarg;
		else if (option == 'o')
			how.path = strcmp(optarg, "-") ? optarg : NULL;
		else if (option == 'd')
			how.dot = true;
		else if (option == 'k')
			how.kernel = true;
		else
			return tool_option(self, option);
	}
	code = tool_load_at(self, argc - optind, argv + optind, "--at", number, &t, &at);
	if (code == TOOL_OK) {
		how.at = (u32)at;
		code = draw(&t, &how);
	}
	trace_free(&t);
	return code;
}

const struct tool_command tool_draw = {
	"draw", "draw the page tables of guest and hypervisor after an op",
	"usage: umbra draw TRACE [--at N] [-o FILE.svg] [--dot] [--kernel]\n"
	"\n"
	"Run a trace on the host executor up to op N (the first is 1; all without --at) and draw what there is then: the\n"
	"guest's tables with their present entries, the shadows with type, references and pins, what the vcpus have\n"
	"loaded, the pinned list. If a rule is broken, the entry or the table that it names is red. `umbra show` prints the\n"
	"same as text.\n"
	"\n"
	"  -o FILE    write there instead of to standard output\n"
	"  --dot      print the graph for dot(1) instead of the picture\n"
	"  --kernel   with the tables of the guest's kernel and their shadows\n"
	"\n"
	"The picture is SVG, made by Graphviz. Exit status 1 if the run had a finding.\n",
	draw_run,
};
