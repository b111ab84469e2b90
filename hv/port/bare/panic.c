// SPDX-License-Identifier: GPL-2.0-or-later
// The panic screen: what happened, what was going on, registers, and a backtrace with names.
//
// The first processor to panic stops the others with a non-maskable interrupt, says what it has to say, and then has each
// of them say where it was, one after the other. A processor that does not even take that interrupt is named.
//
// Parts: names; backtrace; registers; stopping the others; the ways in (an exception, port_fatal(), the watchdog).
// Everything is compiled with frame pointers, so a backtrace is a walk over saved RBPs. The walk reads
// only memory that is mapped (the first 4 GiB but page 0) and upward, so it ends whatever is on the
// stack. A panic inside a panic says one line and leaves.
#include "panic.h"

#include "apic.h"
#include "console.h"
#include "exit.h"
#include "symbols.h"

#define BACKTRACE_MAX 32
#define MAPPED_END BIT(32)

#define ANSWER_TRIES 100000000u // about a second

void (*panic_context)(const struct cpu *c);
static u32 panicking;  // processor + 1 that panicked first
static u32 turn;       // processor + 1 that may speak

static const char *const vector_names[] = {
	"divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode",
	"device not available", "double fault", "coprocessor overrun", "invalid TSS", "segment not present",
	"stack fault", "general protection", "page fault", "exception 15", "x87 fault", "alignment check",
	"machine check", "SIMD fault", "virtualization", "control protection",
};

// clang numbers the checks of -fsanitize-trap in the operand of the UD1 that it emits.
static const char *const ubsan_names[] = {
	"add overflow", "builtin unreachable", "control flow check", "division or remainder overflow",
	"dynamic type cache miss", "float cast overflow", "function type mismatch", "implicit conversion",
	"invalid builtin", "invalid objc cast", "load of invalid value", "missing return", "multiply overflow",
	"negate overflow", "nullability argument", "nullability return", "nonnull argument",
	"nonnull return", "out of bounds", "pointer overflow", "shift out of bounds", "subtract overflow",
	"type mismatch", "alignment assumption", "vla bound not positive",
};

static void print_address(const char *prefix, u64 address)
{
	u64 low = 0, high = symbol_count;
	extern const u8 image_start[], image_text_end[];

	while (low < high) { // first symbol above the address
		u64 middle = low + (high - low) / 2;

		if (symbol_table[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || address < (u64)(uintptr_t)image_start || address >= (u64)(uintptr_t)image_text_end)
		console_line("%s%016llx", prefix, (unsigned long long)address);
	else
		console_line("%s%016llx %s+0x%llx", prefix, (unsigned long long)address,
			     symbol_table[low - 1].name,
			     (unsigned long long)(address - symbol_table[low - 1].address));
}

static bool readable(u64 at)
{
	return at >= FRAME_BYTES && at < MAPPED_END - 16 && at % 8 == 0;
}

static void print_backtrace(u64 frame)
{
	console_line("backtrace:");
	for (u32 i = 0; i < BACKTRACE_MAX && readable(frame); i++) {
		const u64 *saved = (const u64 *)(uintptr_t)frame;

		if (!saved[1])
			return;
		print_address("  ", saved[1]);
		if (saved[0] <= frame)
			return;
		frame = saved[0];
	}
}

static void print_registers(const struct trap_frame *f)
{
	static const char names[15][4] = { "rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8 ",
					   "r9 ", "r10", "r11", "r12", "r13", "r14", "r15" };

	for (u32 i = 0; i < 15; i += 3)
		console_line("%s=%016llx %s=%016llx %s=%016llx", names[i], (unsigned long long)f->gpr[i],
			     names[i + 1], (unsigned long long)f->gpr[i + 1], names[i + 2],
			     (unsigned long long)f->gpr[i + 2]);
	console_line("rsp=%016llx cr2=%016llx cr3=%016llx", (unsigned long long)f->rsp,
		     (unsigned long long)cr2_read(), (unsigned long long)cr3_read());
	console_line("rflags=%08llx cs=%02llx ss=%02llx", (unsigned long long)f->rflags,
		     (unsigned long long)f->cs, (unsigned long long)f->ss);
}

// Where f was taken.
static void print_frame(const struct trap_frame *f)
{
	print_address("rip=", f->rip);
	print_registers(f);
	print_backtrace(f->gpr[4]);
}

// ---- stopping the others -----------------------------------------------------------------------------

static void print_cpu(const struct cpu *c)
{
	const struct hv_lock *wants = c->wants;

	console_line("processor %u: %s, heartbeat %llu%s", c->index, c->thread ? "has a guest" : "idle",
		     (unsigned long long)c->beats, c->in_guest ? ", in the guest" : "");
	if (wants)
		console_line("waits in %s for the lock of processor %d, taken by %s", c->wants_where,
			     (int)wants->holder - 1, wants->where ? wants->where : "nobody");
	if (panic_context)
		panic_context(c);
}

// Never returns to what was interrupted.
static _Noreturn void stop_here(void)
{
	__atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
	cpu_halt();
}

void panic_nmi(const struct trap_frame *f)
{
	struct cpu *me = this_cpu();

	if (!__atomic_load_n(&panicking, __ATOMIC_ACQUIRE) || panicking == me->index + 1)
		return;
	__atomic_store_n(&me->stopped, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != me->index + 1)
		cpu_pause();
	print_cpu(me);
	print_frame(f);
	stop_here();
}

static bool comes_true(const u32 *word, u32 value)
{
	for (u32 i = 0; i < ANSWER_TRIES; i++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
			return true;
		cpu_pause();
	}
	return false;
}

static void stop_others(const struct cpu *me)
{
	for (u32 i = 0; i < cpu_count; i++)
		if (i != me->index)
			apic_send_nmi(cpus[i].apic_id);
	for (u32 i = 0; i < cpu_count; i++)
		if (i != me->index)
			(void)comes_true(&cpus[i].stopped, 1);
}

static void let_others_speak(const struct cpu *me)
{
	for (u32 i = 0; i < cpu_count; i++) {
		if (i == me->index)
			continue;
		if (!__atomic_load_n(&cpus[i].stopped, __ATOMIC_ACQUIRE)) {
			console_line("processor %u does not stop", i);
			print_cpu(&cpus[i]);
			continue;
		}
		__atomic_store_n(&turn, i + 1, __ATOMIC_RELEASE);
		(void)comes_true(&turn, 0);
	}
}

// Is this processor the one that panics, from now on or already? *first: it is from now on.
static bool claim(const struct cpu *me, bool *first)
{
	u32 who = 0;

	*first = __atomic_compare_exchange_n(&panicking, &who, me->index + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return *first || who == me->index + 1;
}

// From here on this processor is alone.
static void open_screen(const struct cpu *me, const char *what)
{
	stop_others(me);
	console_unlock();
	console_use_screen();
	console_line("umbra: panic: %s", what);
	print_cpu(me);
}

static void panic_open(const char *what)
{
	const struct cpu *me = this_cpu();
	bool first;

	while (!claim(me, &first)) // another one has: its interrupt comes
		cpu_pause();
	if (!first) {
		console_line("umbra: panic inside a panic: %s", what);
		exit_machine(EXIT_PANIC);
	}
	open_screen(me, what);
}

static _Noreturn void panic_close(void)
{
	let_others_speak(this_cpu());
	exit_machine(EXIT_PANIC);
}

// ---- the ways in -------------------------------------------------------------------------------------

// UD1 with an 8-bit displacement: 67 0f b9 40 NN.
static const char *ubsan_check(const struct trap_frame *f)
{
	const u8 *code = (const u8 *)(uintptr_t)f->rip;

	if (f->vector != 6 || f->rip < FRAME_BYTES || f->rip >= MAPPED_END - 16)
		return NULL;
	if (code[0] != 0x67 || code[1] != 0x0f || code[2] != 0xb9 || code[3] != 0x40)
		return NULL;
	return code[4] < ARRAY_LEN(ubsan_names) ? ubsan_names[code[4]] : "unknown check";
}

_Noreturn void panic_trap(const struct trap_frame *f)
{
	const char *check = ubsan_check(f);

	panic_open(check                                     ? "undefined behaviour"
		   : f->vector < ARRAY_LEN(vector_names) ? vector_names[f->vector]
							 : "exception");
	if (check)
		console_line("check: %s", check);
	console_line("vector=%llu error=0x%llx", (unsigned long long)f->vector, (unsigned long long)f->error);
	print_frame(f);
	panic_close();
}

void panic_stuck(const struct trap_frame *f, const char *why)
{
	const struct cpu *me = this_cpu();
	bool first;

	if (!claim(me, &first))
		panic_nmi(f); // another one has, and its interrupt is held off while this one is handled
	if (!first)
		return; // it is stuck because it panics
	open_screen(me, why);
	print_frame(f);
	panic_close();
}

_Noreturn void port_fatal(const char *why)
{
	panic_open(why);
	print_backtrace((u64)(uintptr_t)__builtin_frame_address(0));
	panic_close();
}
