// SPDX-License-Identifier: GPL-2.0-or-later
// What the two kernels share. Parts: words; command line; exceptions; start.
// The command line is copied before anything else is written, for it lies in memory that is the kernel's.
#include "kernel.h"

#include "../../hv/base/fmt.h"
#include "../../hv/port/bare/multiboot.h"
#include "../guest/descriptors.h"

#define VECTORS 32
#define TEXT_MAX 256
#define SPINS_MAX 2000u
#define CALL_PAUSE ((enum hypercall_number)20) // hv/domain/hypercall.h

extern const u8 trap_vectors[]; // 16 bytes for each

_Noreturn void kernel_exception(const u64 *frame); // called by trap.S

static struct gate gates[VECTORS];
static char line[TEXT_MAX];
static u64 ram_bytes;

// ---- words --------------------------------------------------------------------------------------
void relax(u32 *spins)
{
	cpu_pause();
	if (++*spins % SPINS_MAX == 0 && world_has_umbra)
		(void)world_hypercall(CALL_PAUSE, 0, 0);
}

void say(const char *format, ...)
{
	static bool busy;
	char text[TEXT_MAX];
	va_list args;
	u32 spins = 0;

	va_start(args, format);
	size_t n = fmt_va(text, sizeof(text) - 1, format, args);
	va_end(args);
	text[n++] = '\n';
	while (__atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
		relax(&spins);
	serial_bytes(text, n);
	__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
}

// ---- command line -------------------------------------------------------------------------------
// Behind `key` where it begins a word of the line, NULL when it does not.
static const char *find(const char *key)
{
	for (const char *at = line; *at; at++) {
		u32 n = 0;

		if (at != line && at[-1] != ' ')
			continue;
		while (key[n] && at[n] == key[n])
			n++;
		if (!key[n])
			return at + n;
	}
	return NULL;
}

u64 option_number(const char *key, u64 standard)
{
	const char *c = find(key);
	u64 value = 0;

	if (!c)
		return standard;
	for (; *c >= '0' && *c <= '9'; c++)
		value = value * 10 + (u64)(*c - '0');
	return value;
}

bool option_is(const char *key, const char *value)
{
	const char *c = find(key);
	u32 n = 0;

	while (c && value[n] && c[n] == value[n])
		n++;
	return c && !value[n] && (c[n] == 0 || c[n] == ' ');
}

// ---- exceptions ---------------------------------------------------------------------------------
// frame: vector, error code, instruction pointer, CS, flags.
_Noreturn void kernel_exception(const u64 *frame)
{
	say("guest: panic: exception vector=%llu err=0x%llx rip=0x%llx cr2=0x%llx cr3=0x%llx", (unsigned long long)frame[0],
	    (unsigned long long)frame[1], (unsigned long long)frame[2], (unsigned long long)cpu_cr2(),
	    (unsigned long long)cpu_cr3());
	guest_exit(EXIT_FAIL);
}

void kernel_load_idt(void)
{
	struct table_pointer idt = { sizeof(gates) - 1, (word_t)gates };

	__asm__ volatile("lidt %0" : : "m"(idt));
}

// ---- start --------------------------------------------------------------------------------------
void kernel_start(u32 magic, u32 information)
{
	const struct multiboot_info *info = (const void *)(word_t)information;
	const char *text;

	serial_init();
	for (u32 n = 0; n < VECTORS; n++) {
		gates[n] = gate_of((word_t)trap_vectors + 16 * n, GATE_INTERRUPT, false);
		gates[n].stack = 0; // the one in use
	}
	kernel_load_idt();
	world_detect();
	if (magic != MULTIBOOT_BOOT_MAGIC)
		guest_panic("not started by a Multiboot loader");
	if (info->flags & MULTIBOOT_INFO_MEMORY)
		ram_bytes = ((u64)info->mem_upper << 10) + 0x100000;
	text = info->flags & MULTIBOOT_INFO_CMDLINE ? (const char *)(word_t)info->cmdline : "";
	for (u32 i = 0; i + 1 < TEXT_MAX && text[i]; i++)
		line[i] = text[i];
}

u64 kernel_ram_bytes(void)
{
	return ram_bytes;
}
