// SPDX-License-Identifier: GPL-2.0-or-later
// The state of guest and hypervisor as rows of text with what they lead to: what draw makes a graph of and show prints.
#ifndef FUZZ_TOOL_PICTURE_H
#define FUZZ_TOOL_PICTURE_H

#include <stdio.h>

#include "../exec/picture.h"

// An entry as a trace would write it, "f4 P W U", or its number when it is not one that a trace could name. At most
// PICTURE_TEXT bytes.
#define PICTURE_TEXT 96
void picture_entry_text(char *to, enum trace_mode mode, u64 entry);

// One entry of a table, or a run of entries that say the same or lead to frames in order.
struct picture_row {
	u32 first, last;          // number of the entry; of a shadow: 512 * page + slot
	char index[24];           // that number as people read it: "7", "0..511", "3.1" (second half of guest entry 3)
	char text[PICTURE_TEXT];
	u32 frame, shadow;        // what it leads to, or PICTURE_NONE
	bool broken;              // the finding is about this one
};

// What the finding is about, as far as its text and the place beside it tell.
struct picture_marks {
	u32 frame_entry[PICTURE_FRAMES]; // entry of a frame, PICTURE_NONE if none
	bool frame[PICTURE_FRAMES];
	bool *shadow; // by index, p->shadows of them, malloc'ed
};
void picture_marks(const struct picture *p, const char *finding, struct picture_marks *marks);

// What each frame is a table for: bit n for level n, PICTURE_ROOTS for the four entries that CR3 names in a PAE guest.
#define PICTURE_ROOTS 0x10u
void picture_roles(const struct picture *p, u32 roles[PICTURE_FRAMES]);
// "L3 L1", "PDPTEs L2", "data".
void picture_role_text(char *to, u32 roles);

// Present entries of a frame that has such roles, or of a shadow, up to max rows; returns how many. The rest is left
// out, and the last row says so.
#define PICTURE_ROWS 512
u32 picture_frame_rows(const struct picture *p, u32 frame, u32 roles, const struct picture_marks *marks,
		       struct picture_row rows[PICTURE_ROWS]);
u32 picture_shadow_rows(const struct picture *p, u32 shadow, struct picture_row rows[PICTURE_ROWS]);

// "l1_64 of f3", "fl1_64 at f0", "l2_64 of the kernel's K2".
void picture_shadow_title(char *to, const struct picture *p, u32 shadow);
// Does the shadow belong to the guest kernel's own tables?
bool picture_is_kernels(const struct picture *p, u32 shadow);

// All of it as text.
void picture_print(FILE *to, const struct picture *p, const char *finding);

// draw.c: the same as a graph for dot(1). kernel: with the guest kernel's tables and their shadows.
void draw_graph(FILE *to, const struct picture *p, const char *finding, bool kernel);

#endif
