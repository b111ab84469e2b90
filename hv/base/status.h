// SPDX-License-Identifier: GPL-2.0-or-later
// Result of every fallible function. A guest sees the same numbers as hypercall results.
#ifndef HV_BASE_STATUS_H
#define HV_BASE_STATUS_H

enum hv_status {
	HV_OK = 0,
	HV_EINVAL = 1, // an argument is out of range or of the wrong kind
	HV_ENOMEM = 2, // no frame, no pool page, or a counter would overflow
	HV_EBUSY = 3,  // the object is in use in a way that forbids the operation
	HV_ENOENT = 4, // nothing there: a hole in the p2m, an unknown number
	HV_ECHECK = 5, // a checker found a broken invariant
	HV_EDEAD = 6,  // the domain has been killed
	HV_STATUS_COUNT
};

// Short lower-case name ("ok", "einval", ...), the word observation logs use.
static inline const char *hv_status_name(enum hv_status status)
{
	static const char *const names[HV_STATUS_COUNT] = {
		"ok", "einval", "enomem", "ebusy", "enoent", "echeck", "edead",
	};
	return (unsigned)status < HV_STATUS_COUNT ? names[status] : "?";
}

#endif
