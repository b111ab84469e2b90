// SPDX-License-Identifier: GPL-2.0-or-later
// The local APIC of a processor: interrupts between processors, and its timer. Non-maskable interrupts from an I/O APIC.
#ifndef HV_PORT_BARE_APIC_H
#define HV_PORT_BARE_APIC_H

#include "acpi.h"

#define VECTOR_KICK 0x20u     // look at what is wanted of you
#define VECTOR_TIMER 0x21u
#define VECTOR_SPURIOUS 0x2fu // old ones want the low four bits set

// Switch that of this processor, number `index`, on, its timer stopped. The first call finds where they are.
void apic_start(u32 index);
u32 apic_id(void);
void apic_end_of_interrupt(void);

void apic_send(u32 to, u32 vector);
void apic_send_nmi(u32 to);
void apic_send_init(u32 to);
void apic_send_startup(u32 to, u32 page); // page: number of the 4 KiB page where it starts in real mode

// Interrupt this processor every so often. ms == 0: seldom, without a measured clock; for what is not urgent.
void apic_timer(u32 ms);
// Each edge at that input is a non-maskable interrupt of the processors 0 to count - 1, all of which have started their APICs.
void apic_route_nmi(struct acpi_input input, u32 count);

#endif
