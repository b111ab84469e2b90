// SPDX-License-Identifier: GPL-2.0-or-later
// Two operations at once: which orders of their steps explain what was seen?
//
// Parts: marks, to which the model can go back; the points between steps; the trial of all orders.
//
// Operation b runs as a whole at one point between two steps of a. Every such point is tried, first
// to last, then every point once more at which a has translated and may throw that away and start
// over (a hypervisor that walks for a fault and then lets the instruction run again), the whole
// instruction or only the access that it was at.
//
// Orders that differ without any visible trace cannot be told apart, so what happened in a race keeps a span of time
// instead of a moment: history has then been as any of the orders would have left it, A and D bits included.
//
// Cost: one execution per point tried; ZERO and COPY have about a thousand points. The first point
// that explains everything wins.
#include "internal.h"

struct model_race {
	const struct trace_op *b;
	const struct obs *seen_b;
	struct obs b_obs;    // what the model says that b sees
	const char *broken;  // by b's use of a TLB
	u32 vcpu;
	u32 at, points;      // run b at this point; points passed so far
	enum redo redo;      // start over after b
	bool a_has_bitmap;   // a hands out the log-dirty bitmap or migrates: b may be told to wait
	bool a_enlarges;     // a makes a large entry: b may be told the same
	bool a_gives;        // a makes the donor do something: the same
	bool a_changes;      // a changes modes or the pool: b, if it does, may be sent away
	bool can_redo[REDO_PART + 1]; // some point allows that
	bool done;
};

// ---- marks ------------------------------------------------------------------------------------------
void mark_set(const struct model *m, struct mark *to)
{
	to->dead = m->dead;
	to->current = m->current;
	to->present = m->present;
	to->changes = m->changes;
	to->now = m->now;
	to->manage = m->manage;
	for (u32 i = 0; i < m->config.vcpus; i++)
		to->vcpu[i] = m->vcpu[i];
}

// Takes back every change of a word since. Time is not taken back. At most MODEL_CHANGES changes may
// have happened since: two operations are far below.
void mark_return(struct model *m, const struct mark *to)
{
	for (; m->changes != to->changes; m->changes--) {
		const struct model_change *c = &m->history[m->changes % MODEL_CHANGES];

		m->word[c->word / MODEL_WORDS][c->word % MODEL_WORDS] = c->old;
		m->newest[c->word / MODEL_WORDS][c->word % MODEL_WORDS] = c->older;
	}
	m->dead = to->dead;
	m->current = to->current;
	m->present = to->present;
	m->manage = to->manage;
	for (u32 i = 0; i < m->config.vcpus; i++)
		m->vcpu[i] = to->vcpu[i];
}

// ---- points -----------------------------------------------------------------------------------------
void race_point_plain(struct model *m)
{
	struct model_race *race = m->race;
	bool disturbed = m->manage.disturbed;
	u32 current = m->current;

	if (!race || race->points++ != race->at)
		return;
	race->done = true;
	m->race = NULL;
	m->current = race->vcpu;
	m->manage.reading = race->a_has_bitmap;
	m->manage.enlarging = race->a_enlarges;
	m->manage.giving = race->a_gives;
	m->manage.changing = race->a_changes;
	m->manage.disturbed = false;
	op_run(m, race->b, race->seen_b, &race->b_obs, &race->broken);
	m->manage.reading = m->manage.enlarging = m->manage.giving = m->manage.changing = false;
	m->manage.disturbed = disturbed;
	m->current = current;
	m->race = race;
}

enum redo race_point(struct model *m, bool later)
{
	struct model_race *race = m->race;

	if (!race)
		return REDO_NOTHING;
	race->can_redo[REDO_ALL] = true;
	race->can_redo[REDO_PART] |= later;
	if (race->points != race->at) {
		race->points++;
		return REDO_NOTHING;
	}
	race_point_plain(m);
	return race->redo == REDO_PART && !later ? REDO_ALL : race->redo;
}

// ---- all orders -------------------------------------------------------------------------------------
static const char *try_order(struct model *m, struct model_race *race, const struct trace_op *a,
			     const struct obs *seen_a)
{
	const char *broken = NULL, *difference;
	struct obs o;

	race->points = 0;
	race->done = false;
	race->broken = NULL;
	m->race = race;
	m->manage.disturbed = manage_moves(race->b);
	op_run(m, a, seen_a, &o, &broken);
	m->manage.disturbed = false;
	m->race = NULL;
	if (!race->done)
		return NULL;
	if (broken || race->broken)
		return broken ? broken : race->broken;
	if (seen_a->kind == OBS_KILLED || race->seen_b->kind == OBS_KILLED) {
		// Which of the two was first to see the end does not matter.
		difference = seen_a->kind == OBS_KILLED ? kill_difference(m, &o, seen_a) : NULL;
		if (difference)
			difference = kill_difference(m, &race->b_obs, seen_a);
		if (!difference && race->seen_b->kind == OBS_KILLED)
			difference = kill_difference(m, &race->b_obs, race->seen_b);
		return difference;
	}
	difference = obs_difference(m, a, &o, seen_a);
	return difference ? difference : obs_difference(m, race->b, &race->b_obs, race->seen_b);
}

void model_know_types(struct model *m, const struct model_types *types)
{
	m->known = *types;
	m->known.known = true;
}

static bool types_explained(const struct model *m)
{
	return !m->known.known ||
	       (m->known.read_only == m->manage.read_only && m->known.identity == m->manage.identity &&
		m->known.given_up == m->manage.given_up && m->known.watching == m->manage.watching);
}

// The pair is explained: none of its changes has a moment of its own.
static void blur(struct model *m, const struct mark *mark)
{
	m->now++;
	for (u32 n = m->changes; n != mark->changes && m->changes - n < MODEL_CHANGES; n--) {
		struct model_change *c = &m->history[n % MODEL_CHANGES];

		c->earliest = mark->now + 1;
		c->time = m->now;
	}
	m->raced = true;
	m->raced_at = mark->now + 1;
	m->raced_changes = mark->changes;
}

const char *model_follow_race_memory(struct model *m, const struct trace_op *a, const struct obs *seen_a,
				     const struct trace_op *b, u32 b_vcpu, const struct obs *seen_b,
				     model_frame_fn *frame, void *ctx)
{
	struct model_race race = { .b = b, .seen_b = seen_b, .vcpu = b_vcpu % m->config.vcpus,
				    .a_has_bitmap = manage_has_bitmap(a), .a_enlarges = a->code == OP_LARGE, .a_gives = manage_gives(a),
				    .a_changes = manage_changes(a) };
	bool killed = seen_a->kind == OBS_KILLED || seen_b->kind == OBS_KILLED;
	const char *broken = NULL;
	struct mark mark;
	u32 guesses = 1;

	if (m->dead)
		return "model: an operation after the domain was killed";
	m->touched = 0;
	m->raced = false;
	m->manage.ask = (struct model_ask){ 0 };
	m->may_fail = a->fail_nth != 0 || b->fail_nth != 0;
	mark_set(m, &mark);
	for (m->guess = 0; m->guess < guesses && m->guess < GUESSES_MAX; m->guess++) {
		for (u32 redo = REDO_NOTHING; redo <= REDO_PART; redo++) {
			if (redo && !race.can_redo[redo])
				continue;
			race.redo = (enum redo)redo;
			for (race.at = 0;; race.at++) {
				m->guesses = 1;
				m->guess_blind = false;
				broken = try_order(m, &race, a, seen_a);
				if (!broken && race.done && frame && !killed)
					broken = memory_unexplained(m, frame, ctx);
				if (!broken && race.done && (killed || types_explained(m)))
					goto explained;
				if (m->guesses > guesses)
					guesses = m->guesses;
				mark_return(m, &mark);
				if (!race.done)
					break;
			}
		}
	}
	// The last trial was past the last point and says nothing. The order "b first" speaks for all.
	race.at = 0;
	race.redo = REDO_NOTHING;
	m->guess = 0;
	m->guesses = 1;
	broken = try_order(m, &race, a, seen_a);
	return broken ? broken : "E1.45 memory: no order of the two raced operations gives this memory, or these types";

explained:
	m->known.known = false;
	if (killed)
		m->dead = true;
	else if (frame)
		model_adopt_memory(m, frame, ctx);
	watch_after_race(m, &mark);
	blur(m, &mark);
	return NULL;
}

const char *model_follow_race(struct model *m, const struct trace_op *a, const struct obs *seen_a,
			      const struct trace_op *b, u32 b_vcpu, const struct obs *seen_b)
{
	return model_follow_race_memory(m, a, seen_a, b, b_vcpu, seen_b, NULL, NULL);
}
