// SPDX-License-Identifier: GPL-2.0-or-later
// The host port: a machine made of software for fuzzing the core. What executors and tests may use. Everything here is
// deterministic and single-threaded: the same calls give the same answers.
//
// Built with HOST_THREADS (the tsan variant) each processor may be a thread of its own: host_set_cpu() says which one the
// calling thread is. What is armed, locks and maps are then the thread's; host_reset() and everything that looks at all
// processors (tlb_check(), tlb_next_news()) is for moments at which no other thread works.
#ifndef HV_PORT_HOST_HOST_H
#define HV_PORT_HOST_HOST_H

#include "../../domain/domain.h"
#include "../../port.h"

// Several threads are processors: set by whoever starts them, before.
#ifdef HOST_THREADS
extern bool host_parallel;
#else
#define host_parallel false
#endif

// ---- machine ------------------------------------------------------------------------------------

// Machine frames: enough for the largest pool, the trace's guest and its p2m, and few enough that
// the core's table of frames stays cheap to build for each trace. host_set_frames() makes a larger machine.
#ifdef HV_GEOMETRY_SMALL
#define HOST_FRAMES 1024
#else
#define HOST_FRAMES 4096
#endif
#define HOST_FRAMES_MAX 16384
#define HOST_FIRST_MFN UINT64_C(0x1000)
#define HOST_PHYS_BITS 40

// Power-on state of the whole port. Call before hv_start(). seed drives port_entropy().
void host_reset(u64 seed);
// The machine has that many frames, 1 to HOST_FRAMES_MAX, until the next host_reset(). Call before hv_start().
void host_set_frames(u32 count);

// The bytes of a machine frame that somebody owns, or NULL.
u64 *host_frame(mfn_t m);
// How often the frame was handed out since host_reset(). A translation made before the last time must
// have been flushed by now: the heap reuses frames only after that.
u32 host_frame_generation(mfn_t m);
bool host_frame_owned(mfn_t m);
u32 host_frames_owned(void);
// Was there a time at which all but a few frames were in use?
bool host_machine_was_full(void);
// port_map() calls without their port_unmap().
u32 host_maps_outstanding(void);

// ---- findings -----------------------------------------------------------------------------------

// A broken rule that the port itself sees. The first one since host_reset() is kept. `rule` must
// outlive the run, so pass literals.
#define HOST_DETAIL_BYTES 160
void host_finding(const char *rule, const char *format, ...) PRINTF_LIKE(2, 3);
const char *host_finding_rule(void);   // NULL when there is none
const char *host_finding_detail(void); // "" when there is none
void host_finding_clear(void);

// Called by port_fatal() before it aborts, when not NULL; may longjmp away. For canary tests.
extern void (*host_fatal_hook)(const char *why);
// What port_fatal() prints in front of its own lines, when not NULL: the run's own words.
extern void (*host_fatal_note)(void);
// Where port_log() lines go; NULL drops them.
extern void (*host_log_sink)(const char *line);

// ---- processors ---------------------------------------------------------------------------------

// Each vcpu of each domain has a processor of its own.
#define HOST_CPUS (DOMAINS_MAX * DOMAIN_VCPUS_MAX)
static inline u32 host_cpu_of(const struct vcpu *v) { return v->domain->number * DOMAIN_VCPUS_MAX + v->id; }
// A domain dies at any time, whoever kills it.
static inline bool host_is_dead(const struct domain *d) { return __atomic_load_n(&d->dead, __ATOMIC_RELAXED); }
static inline const char *host_death(const struct domain *d) { return __atomic_load_n(&d->death, __ATOMIC_RELAXED); }
// What port_cpu() answers from now on.
void host_set_cpu(u32 cpu);

// Locks now held, by any processor. 0 at every quiescent point (E1.53).
u32 host_locks_held(void);

// Arm the scheduler: at the k-th point from now where another processor could come in, `run` is called once. Such points
// are port_yield(), port_lock() before and port_unlock() after it does its work; the latter two only where the processor
// holds no other lock. k == 0 disarms. While `run` is under way nothing else is armed, but it may arm: what it
// leaves armed counts the points after it.
// host_arm_race() counts port_yield() alone: for tests that mean a window of the core. host_arm_other() is a second,
// independent one, for an operation of another domain; where both are due at one point it comes second.
void host_arm_point(u32 k, void (*run)(void *context), void *context);
void host_arm_race(u32 k, void (*run)(void *context), void *context);
void host_arm_other(u32 k, void (*run)(void *context), void *context);

// Arm failure injection: the k-th port_should_fail() question from now is answered with yes. 0
// disarms. Answers whether the last armed failure was delivered.
bool host_arm_failure(u32 k);

// ---- TLB model ----------------------------------------------------------------------------------

// A translation that the processor could hold. Rights are those of the whole walk.
struct tlb_entry {
	u64 va;         // page address; paging-structure cache: start of the 2 MiB region
	u64 mfn;        // frame reached; paging-structure cache: the level-0 table
	u32 generation; // of that frame when the translation was made: see host_frame_generation()
	bool w, u, nx;  // rights accumulated over the walk
	bool dirty;     // the leaf had D: a store needs no second walk
	bool seen;      // a checker has looked at it (tlb_next_news)
};

#define TLB_PAGES_MAX 64
#define TLB_TABLES_MAX 16

// How an access picks among what the TLB holds; values are those of trace ops.
enum tlb_pick { TLB_FRESH, TLB_OLDEST, TLB_NEWEST, TLB_SPURIOUS };

void tlb_reset(void);
void tlb_drop_va(u32 cpu, u64 va);
void tlb_drop_all(u32 cpu);
// Counts what may have taken a translation away. As long as it stays, so does what the processor used last.
u32 tlb_drops(u32 cpu);
// Remember; identical entries collapse and become the newest.
void tlb_add_page(u32 cpu, const struct tlb_entry *e);
void tlb_add_table(u32 cpu, const struct tlb_entry *e);
u32 tlb_pages(u32 cpu, const struct tlb_entry **first);  // oldest first
u32 tlb_tables(u32 cpu, const struct tlb_entry **first); // oldest first
// A page entry that was not asked for before, newest first; NULL when there are no more.
const struct tlb_entry *tlb_next_news(u32 cpu);
// Rule E1.42 for what processor cpu holds: no translation, by leaf or by table, to a frame that has
// had a new owner since; no leaf to a frame that is free; no writable leaf where `forbidden` says so.
// NULL, or the broken rule.
const char *tlb_check(u32 cpu, bool (*forbidden)(mfn_t m));

// ---- soft CPU -----------------------------------------------------------------------------------

// RMW and CMPXCHG read first, over all pages, then write, over all pages: two accesses with a fault of their own each, as
// QEMU's TCG has it, locked or not. CMPXCHG writes the old value back when the compare fails.
enum cpu_kind { CPU_READ, CPU_WRITE, CPU_CMPXCHG, CPU_PUSH, CPU_FETCH, CPU_RMW };

struct cpu_access {
	enum cpu_kind kind;
	u64 va;       // cut to 32 bits outside long mode
	u8 bytes;     // 1, 2, 4, 8; 16 for WRITE and CMPXCHG. CMPXCHG with 16 raises #GP where it is misaligned
	u8 cpl;
	u8 alu;       // RMW: enum insn_alu, the operand is data[0]
	bool ac;      // RFLAGS.AC
	bool unknown; // the core is told that it cannot be decoded
	enum tlb_pick pick;
	u64 data[2];
	u64 expect[2];
	// What the processor executes next, NULL if nothing is known. The core may do it in the same exit when it is a WRITE:
	// see cpu_result.done. What it has not done is left to the caller.
	const struct cpu_access *then;
};

enum cpu_end {
	CPU_DONE,  // value, matched
	CPU_FAULT, // vector, error, cr2: the guest takes an exception
	CPU_DEAD,  // the domain was killed
	CPU_STUCK, // a finding was recorded
};

struct cpu_result {
	enum cpu_end end;
	u8 vector;
	u32 error;
	u64 cr2;
	u64 value[2]; // READ, FETCH: what was loaded. CMPXCHG, RMW: old contents
	bool matched;
	bool emulated; // the core did the access
	bool stepped;  // the core let the processor do it, for this one instruction (FAULT_STEP)
	u32 done;      // CPU_DONE: accesses carried out, this one and those after it in the chain of `then`
	u32 faults;
	u32 walked; // bit k: the core handled a fault on page k, and so walked the guest tables for it
	// Per page of the access: a cached translation was used, and where it led. Slots 0 and 1 are the pages of the only
	// access, or of the load of RMW and CMPXCHG, whose store has 2 and 3.
	bool from_tlb[4];
	u64 tlb_mfn[4];
	u64 tlb_gfn[4]; // and whose frame that was then; with threads nobody knows: 0
};

// Faults that one page of an access may take until it must be done (spec E1.43); RMW and CMPXCHG are two accesses.
#define CPU_FAULTS_PER_PAGE 8
// With threads, other processors undo what the core has done before the access gets at it: so many times more faults. Each fault
// of a row is about ten times rarer than the one before; what never ends is found all the same.
#define CPU_UNDONE 8

// Execute one memory access of a guest instruction on v.
void cpu_access(struct vcpu *v, const struct cpu_access *a, struct cpu_result *r);

// What a hardware walk from v's current root says about one page. Changes A and D bits in the
// shadow when commit is set, as hardware does. RFLAGS.AC is that of v's last access.
struct cpu_walk {
	bool granted;
	u32 error;              // when not granted
	struct tlb_entry page;  // when granted
	struct tlb_entry table; // valid when table.mfn != 0: the level-0 table was reached
};
void cpu_walk(const struct vcpu *v, u64 va, enum cpu_kind kind, u8 cpl, bool commit, struct cpu_walk *w);

// The translation that a processor would make from entry `index` of a level-0 table that its paging-structure
// cache holds. False: none. Changes nothing.
bool cpu_table_entry(const struct tlb_entry *table, u32 index, struct tlb_entry *out);

#endif
