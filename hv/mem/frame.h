// SPDX-License-Identifier: GPL-2.0-or-later
// Frame numbers and addresses. One-member structs: mixing them does not compile.
#ifndef HV_MEM_FRAME_H
#define HV_MEM_FRAME_H

#include "../base/types.h"

typedef struct { u64 n; } gfn_t; // guest-physical frame number
typedef struct { u64 n; } mfn_t; // machine frame number
typedef struct { u64 a; } gva_t; // guest-virtual address
typedef struct { u64 a; } gpa_t; // guest-physical address
typedef struct { u64 a; } mpa_t; // machine address

#define MFN_NONE ((mfn_t){ 0 })              // machine frame 0 is never handed out
#define GFN_INVALID ((gfn_t){ ~UINT64_C(0) })

static inline gfn_t gfn(u64 n) { return (gfn_t){ n }; }
static inline mfn_t mfn(u64 n) { return (mfn_t){ n }; }
static inline gva_t gva(u64 a) { return (gva_t){ a }; }
static inline gpa_t gpa(u64 a) { return (gpa_t){ a }; }
static inline mpa_t mpa(u64 a) { return (mpa_t){ a }; }

static inline bool mfn_is_none(mfn_t m) { return m.n == 0; }
static inline bool mfn_eq(mfn_t a, mfn_t b) { return a.n == b.n; }
static inline bool gfn_eq(gfn_t a, gfn_t b) { return a.n == b.n; }
static inline gfn_t gpa_gfn(gpa_t p) { return gfn(p.a >> FRAME_SHIFT); }
static inline mfn_t mpa_mfn(mpa_t p) { return mfn(p.a >> FRAME_SHIFT); }
static inline gpa_t gfn_gpa(gfn_t g) { return gpa(g.n << FRAME_SHIFT); }
static inline mpa_t mfn_mpa(mfn_t m) { return mpa(m.n << FRAME_SHIFT); }

#endif
