// SPDX-License-Identifier: GPL-2.0-or-later
// Dirty frames under log-dirty (spec E1.48): which ones the hypervisor must report, and which it may.
//
// Parts: noting; switching, asking, cleaning; races; the check.
//
// A frame must be reported when a byte of it has changed since it was last handed out as clean. It may be reported when
// somebody tried to store to it, when it was a table on a walk, which sets accessed and dirty bits, or when it came to
// its place. Nothing else may be. A frame of the donor is nobody's to write to.
//
// Bits are those of the trace's frames. Constant time.
#include "internal.h"

#define ALL_FRAMES ((1u << TRACE_FRAMES) - 1)

// ---- noting ---------------------------------------------------------------------------------------------
void watch_store(struct model *m, int slot)
{
	if (slot < 0)
		return;
	m->touched |= 1u << slot;
	m->manage.marked |= 1u << slot & ALL_FRAMES & ~m->manage.foreign;
}

void watch_change(struct model *m, int slot)
{
	m->manage.changed |= 1u << slot & ALL_FRAMES;
	watch_store(m, slot);
}

// Could the hypervisor let a store to this slot through without hearing of it?
bool watch_lets_through(const struct model *m, int slot)
{
	return !m->manage.watching || slot < 0 || slot >= TRACE_FRAMES || m->manage.marked >> slot & 1;
}

// ---- switching, asking, cleaning ---------------------------------------------------------------------------
void watch_switch(struct model *m, bool on)
{
	m->manage.watching = on;
	m->manage.ask.cleaned = ALL_FRAMES;
	m->manage.changed = m->manage.marked = 0;
}

// `count` gfns from `first` on are handed out. A frame that is gone need not be reported.
void watch_ask(struct model *m, u64 first, u32 count, bool clean)
{
	struct model_ask *ask = &m->manage.ask;
	u32 frames = 0;

	for (u32 i = 0; i < TRACE_FRAMES; i++)
		frames |= (u32)(TRACE_F0_GFN + i >= first && TRACE_F0_GFN + i - first < count) << i;
	ask->count++;
	ask->cleaned |= clean ? frames : 0;
	ask->must = m->manage.changed & m->present & frames;
	ask->may = m->manage.marked & frames;
	m->manage.changed &= ~ask->cleaned;
	m->manage.marked &= ~ask->cleaned;
}

// ---- races ------------------------------------------------------------------------------------------------
// Nobody knows whether what one operation of the pair changed was before or after the other one cleaned, or where a store
// that left no trace went. So every frame may be dirty; and only what is left of earlier changes must be.
void watch_after_race(struct model *m, const struct mark *before)
{
	struct model_ask *ask = &m->manage.ask;

	for (u32 n = m->changes; n != before->changes && m->changes - n < MODEL_CHANGES; n--)
		m->manage.changed &= ~(1u << m->history[n % MODEL_CHANGES].word / MODEL_WORDS & ask->cleaned);
	m->manage.marked = ask->may = ALL_FRAMES;
	ask->must = ask->count > 1 ? 0 : ask->must & before->manage.changed & m->present;
}

// ---- the check --------------------------------------------------------------------------------------------
static u32 lowest(u32 bits)
{
	return (u32)__builtin_ctz(bits);
}

const char *model_check_dirty(struct model *m, u32 reported, bool clean)
{
	const struct model_ask *ask = &m->manage.ask;
	u32 missing = ask->must & ~reported, extra = reported & ~ask->may & ALL_FRAMES;

	if (m->dead || !ask->count)
		return NULL;
	if (missing)
		return finding("E1.48 dirty: f%u has changed since the last clean, and a %s does not report it", lowest(missing),
			       clean ? "clean" : "peek");
	if (extra)
		return finding("E1.48 dirty: a %s reports f%u, which nobody wrote to since the last clean", clean ? "clean" : "peek",
			       lowest(extra));
	return NULL;
}
