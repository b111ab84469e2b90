// SPDX-License-Identifier: GPL-2.0-or-later
// Keys of the operator, on the console's serial port.
#ifndef HV_PORT_BARE_OPERATOR_H
#define HV_PORT_BARE_OPERATOR_H

// Do what keys ask for that have come in: S drops all shadows of all guests, C runs all checkers, D says how each vcpu is,
// M migrates each guest. Called with no lock held, by one processor, which may have a thread but is not in its guest.
void operator_poll(void);

#endif
