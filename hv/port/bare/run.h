// SPDX-License-Identifier: GPL-2.0-or-later
// The life of the guests, from their first instruction to the exit of the machine.
#ifndef HV_PORT_BARE_RUN_H
#define HV_PORT_BARE_RUN_H

#include "../../domain/donor.h"
#include "exit.h"
#include "sched.h"
#include "serial.h"
#include "svm.h"

// The port's part of a domain.
struct guest {
	struct domain *d; // NULL: it has been taken apart. Changes while nobody else is inside
	struct donor donor; // whose frames it may map
	u32 number;
	struct hv_lock lock; // for which threads there are, and `over`
	u32 threads;         // that have not ended
	u32 inside;          // threads in the run loop, which may enter the guest and ask the core, and the operator: d stays meanwhile
	bool paused;         // nobody may come in, whoever is inside leaves
	u64 paused_at;       // TSC
	bool over;           // all threads are to end
	enum exit_code code;
	struct thread thread[DOMAIN_VCPUS_MAX];
	struct serial serial;
};
extern struct guest guests[GUESTS_MAX];
extern u32 guest_count;

// One line on the console, that says which guest it is about when there are several.
void guest_line(const struct guest *g, const char *format, ...) PRINTF_LIKE(2, 3);

// Originals of migrations that are still to be destroyed: the machine does not end before.
extern u32 run_burials;

// d has been created and loaded: it is a guest, and vcpu 0 is ready to run.
void run_add(struct domain *d);
// Run guests on this processor for ever. When the last one is over, the processor that ended it checks everything, reports,
// and leaves through exit_machine(). The first processor calls run_start() before the others go: heap_before: frames in use
// before the first domain was created; check_every: run all checkers every so many exits of a guest, 0 only at its end.
void run_start(u64 heap_before, u32 check_every);
_Noreturn void run_guests(void);

// The guest's state, for a panic or because its end needs an explanation. t may be running.
void run_log_thread(const struct thread *t);

// ---- hypercalls.c --------------------------------------------------------------------------------------

// t has executed VMMCALL.
void hypercall_handle(struct thread *t);
// The guest is done, and ends when its threads have noticed. False: it was so before.
bool run_end_guest(struct guest *g, enum exit_code code);
// Make all other processors leave their guests and look around.
void run_kick_others(void);

// ---- pause.c -------------------------------------------------------------------------------------------

// The guest stays the domain that it is, until guest_go_out(). False: it is paused. The caller is not inside.
bool guest_come_in(struct guest *g) MUST_CHECK;
// The same, but waits. Nobody may wait for the caller to leave another guest, or to give back a lock.
void guest_wait_to_come_in(struct guest *g);
void guest_go_out(struct guest *g);
bool guest_is_paused(const struct guest *g);
// Wait until no vcpu of g runs or is in the middle of anything. mine: 1 when the caller is the thread of one and inside, else
// 0. False: somebody else is at it, and waits for the caller if that is inside.
bool guest_pause(struct guest *g, u32 mine) MUST_CHECK;
void guest_resume(struct guest *g);
// Ends the migration of g: while it stands still the last round, the comparison and the move into the copy, then the end of the
// original (hv/domain/migrate.h). mine: as above. *status: as migrate_finish() says, HV_ENOENT if g is over. False: somebody else
// has g stand still, ask again.
bool guest_migrate_finish(struct guest *g, u32 mine, enum hv_status *status) MUST_CHECK;

// ---- exits.c -----------------------------------------------------------------------------------------

// Handle the exit that t has just taken, all but hypercalls and the end of the guest.
void exit_handle(struct thread *t);
const char *exit_name(u32 reason);

#endif
