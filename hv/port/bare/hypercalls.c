// SPDX-License-Identifier: GPL-2.0-or-later
// The hypercalls that belong to the port: failures, vcpus and their threads, the last step of a migration, the end. The
// others are the core's; the port says whose donor it is.
//
// A guest begins with one thread, on vcpu 0. HYPERCALL_VCPU takes the calling thread to another vcpu: the control registers
// are that vcpu's, all others go along. HYPERCALL_START makes a second thread. No two threads are ever on the same vcpu.
#include "../../base/mem.h"
#include "../../domain/control.h"
#include "../../domain/hypercall.h"
#include "../../domain/migrate.h"
#include "../../shadow/shadow.h"
#include "run.h"
#include "watchdog.h"

#define VMMCALL_BYTES 3 // 0F 01 D9; prefixes are not part of the ABI

static bool has_thread(const struct guest *g, const struct vcpu *v)
{
	for (u32 i = 0; i < DOMAIN_VCPUS_MAX; i++)
		if (g->thread[i].state != THREAD_NONE && g->thread[i].at == v)
			return true;
	return false;
}

// The control state of `of`, which is accepted as a whole, since it is in use: but for the PDPTEs that a PAE guest's CR3 leads to,
// which are read anew. HV_EINVAL: those raise #GP.
static enum hv_status read_control(const struct vcpu *of, struct vcpu_control *like)
{
	u64 pdpte[SHADOW_SLOTS];
	enum hv_status status = HV_OK;

	domain_lock(of->domain, BOUND_READ);
	*like = of->guest;
	if ((like->cr0 & CR0_PG) && (like->cr4 & CR4_PAE) && !(like->efer & EFER_LMA))
		status = shadow_read_pdptes(of, like->cr3, pdpte);
	domain_unlock(of->domain);
	return status == HV_EINVAL ? HV_EINVAL : HV_OK; // without RAM there the load kills the domain
}

// Give v the control state of `of`. It may have had another one, which it keeps if HV_EINVAL is the answer (unless another vcpu
// writes to the PDPTEs at this moment).
static enum hv_status load_control(struct vcpu *v, const struct vcpu *of)
{
	struct vcpu_control like;
	enum hv_status status = read_control(of, &like);

	if (status == HV_OK && (v->guest.cr0 & CR0_PG))
		status = vcpu_write_cr0(v, CR0_PE);
	if (status == HV_OK)
		status = vcpu_write_efer(v, like.efer); // paging is off: LME may change
	if (status == HV_OK)
		status = vcpu_write_cr4(v, like.cr4);
	if (status == HV_OK)
		status = vcpu_write_cr3(v, like.cr3);
	return status == HV_OK ? vcpu_write_cr0(v, like.cr0) : status;
}

// A vcpu that never ran starts with the control state of vcpu 0. The caller has the guest's lock, so that v stays without a thread.
static enum hv_status continue_on(struct thread *t, struct vcpu *v)
{
	if (has_thread(t->guest, v))
		return HV_EBUSY;
	if (!svm_of(v)->started) {
		enum hv_status status = load_control(v, &t->guest->d->vcpu[0]);

		if (status != HV_OK)
			return status;
	}
	svm_vcpu_continue(t->at, v);
	t->at = v;
	return HV_OK;
}

static enum hv_status switch_vcpu(struct thread *t, u64 n)
{
	struct guest *g = t->guest;

	if (n >= g->d->vcpu_count)
		return HV_EINVAL;
	if (&g->d->vcpu[n] == t->at)
		return HV_OK;
	port_lock(&g->lock, __func__);
	enum hv_status status = continue_on(t, &g->d->vcpu[n]);

	port_unlock(&g->lock);
	return status;
}

// The caller's segments and control registers, all other registers 0, RDI = n. The caller has the guest's lock.
static enum hv_status start_on(struct thread *t, struct vcpu *v, u64 entry)
{
	struct guest *g = t->guest;
	struct svm_vcpu *s = svm_of(v);
	struct thread *new = g->thread;

	if (has_thread(g, v))
		return HV_EBUSY;
	enum hv_status status = load_control(v, t->at);

	if (status != HV_OK)
		return status;
	svm_vcpu_continue(t->at, v);
	mem_zero(s->gpr, sizeof(s->gpr));
	s->gpr[GPR_RDI] = v->id;
	s->interrupted = 0;
	s->vmcb->rip = entry;
	s->vmcb->rflags = RFLAGS_RESERVED;
	s->vmcb->interrupt_shadow = 0;
	s->vmcb->event_inject = 0;
	while (new->state != THREAD_NONE) // as many threads as vcpus, and v has none
		new++;
	new->at = v;
	g->threads++;
	sched_add(new);
	return HV_OK;
}

static enum hv_status start_vcpu(struct thread *t, u64 n, u64 entry)
{
	struct guest *g = t->guest;

	if (n >= g->d->vcpu_count)
		return HV_EINVAL;
	port_lock(&g->lock, __func__);
	enum hv_status status = start_on(t, &g->d->vcpu[n], entry);

	port_unlock(&g->lock);
	return status;
}

static enum hv_status ask_core(struct thread *t, u64 number, u64 arg0, u64 arg1)
{
	bool checks = number == HYPERCALL_CHECK;

	if (number == HYPERCALL_FOREIGN || number == HYPERCALL_DONOR)
		return donor_hypercall(&t->guest->donor, t->at->domain, number, arg0, arg1);
	if (checks)
		watchdog_check_begins();
	enum hv_status status = hypercall(t->at, number, arg0, arg1);

	if (checks)
		watchdog_check_ends();
	return status;
}

// When it is done t is on a vcpu of the copy.
static void finish_migration(struct thread *t)
{
	enum hv_status status;

	if (!guest_migrate_finish(t->guest, 1, &status)) {
		t->pauses = t->asks = true; // it asks again when the other one is done
		return;
	}
	svm_advance(t->at, VMMCALL_BYTES);
	svm_of(t->at)->gpr[GPR_RAX] = status;
}

void hypercall_handle(struct thread *t)
{
	struct vcpu *v = t->at;
	struct svm_vcpu *s = svm_of(v);
	u64 mask = svm_code_bits(v) == 64 ? UINT64_MAX : UINT32_MAX;
	u64 number = s->gpr[GPR_RAX] & mask, arg0 = s->gpr[GPR_RDI] & mask, arg1 = s->gpr[GPR_RSI] & mask;
	enum hv_status status = HV_OK;

	if (s->vmcb->cpl) { // for kernels only
		svm_inject(v, VECTOR_UD, NO_ERROR);
		return;
	}
	if (number == HYPERCALL_MIGRATE && arg0 == MIGRATE_FINISH) {
		finish_migration(t);
		return;
	}
	svm_advance(v, VMMCALL_BYTES);
	switch (number) {
	case HYPERCALL_EXIT:
		guest_line(t->guest, "guest exits with %llu", (unsigned long long)arg0);
		(void)run_end_guest(t->guest, arg0 ? EXIT_FAIL : EXIT_PASS);
		return;
	case HYPERCALL_FAIL:
		t->fail_countdown = arg0;
		break;
	case HYPERCALL_VCPU:
		status = switch_vcpu(t, arg0);
		break;
	case HYPERCALL_START:
		status = start_vcpu(t, arg0, arg1);
		break;
	case HYPERCALL_PAUSE:
		t->pauses = t->asks = true;
		break;
	default:
		status = ask_core(t, number, arg0, arg1);
		break;
	}
	svm_of(t->at)->gpr[GPR_RAX] = status;
}
