// SPDX-License-Identifier: GPL-2.0-or-later
// Guest translations that go when another processor says so.
#ifndef HV_PORT_BARE_FLUSH_H
#define HV_PORT_BARE_FLUSH_H

#include "percpu.h"

// This processor drops its guest translations at its next VMRUN, and what we remember of them now.
static inline void flush_here(struct cpu *me)
{
	me->flush = true;
	me->code_page = 0;
}

// Has another processor asked for a flush that this one has not answered?
static inline bool flush_is_wanted(const struct cpu *me)
{
	return __atomic_load_n(&me->flush_wanted, __ATOMIC_SEQ_CST) != me->flush_done;
}

// Answer all requests. Interrupts are held off, the guest is not running.
void flush_answer(struct cpu *me);

// About to enter a guest. False: a request has come in, the guest must not be entered before its state has been looked
// at again. Otherwise a request that comes from now on makes VMRUN exit at once.
bool flush_enter_guest(struct cpu *me) MUST_CHECK;
static inline void flush_left_guest(struct cpu *me)
{
	__atomic_store_n(&me->in_guest, false, __ATOMIC_RELEASE);
}

#endif
