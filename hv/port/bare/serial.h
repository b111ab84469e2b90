// SPDX-License-Identifier: GPL-2.0-or-later
// The serial port of a guest, which it sees as COM1.
#ifndef HV_PORT_BARE_SERIAL_H
#define HV_PORT_BARE_SERIAL_H

#include "../../port.h"

#define SERIAL_FIRST 0x3f8u // COM1: 8 ports
#define SERIAL_PORTS 8u
#define SERIAL_LINE_MAX 224

struct serial {
	struct hv_lock lock; // vcpus write at once
	u16 base;   // of the port of the machine, 0: its lines go to the console
	u32 guest;  // number
	u8 control; // line control register, when there is no port
	u32 length;
	char line[SERIAL_LINE_MAX]; // that has begun
};

// Give guest n its port.
void serial_start(struct serial *s, u32 n);
// The guest reads or writes register 0 to 7.
u8 serial_read(struct serial *s, u32 reg);
void serial_write(struct serial *s, u32 reg, u8 value);
// What is left of a line without an end.
void serial_finish(struct serial *s);

#endif
