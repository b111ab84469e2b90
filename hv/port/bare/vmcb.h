// SPDX-License-Identifier: GPL-2.0-or-later
// The virtual machine control block (APM vol. 2, appendix B): what VMRUN loads and #VMEXIT stores.
#ifndef HV_PORT_BARE_VMCB_H
#define HV_PORT_BARE_VMCB_H

#include "../../base/types.h"

struct vmcb_segment {
	u16 selector;
	u16 attributes; // descriptor bits 40-47 and 52-55
	u32 limit;
	u64 base;
};
// Attribute bits.
#define SEGMENT_TYPE_MASK 0x00fu
#define SEGMENT_PRESENT 0x080u
#define SEGMENT_L 0x200u // 64-bit code
#define SEGMENT_DB 0x400u // 32-bit

struct vmcb {
	// Control area.
	u16 intercept_cr_read, intercept_cr_write;
	u16 intercept_dr_read, intercept_dr_write;
	u32 intercept_exception;
	u32 intercept1, intercept2;
	u8 zero0[0x40 - 0x14];
	u64 iopm, msrpm, tsc_offset;
	u32 asid, tlb_control;
	u64 virtual_interrupt;
	u64 interrupt_shadow;
	u64 exit_code, exit_info1, exit_info2, exit_int_info;
	u64 nested_paging;
	u8 zero1[0xa8 - 0x98];
	u64 event_inject;
	u64 nested_cr3, lbr_control, clean, next_rip;
	u8 fetched_bytes, fetched[15];
	u8 zero2[0x400 - 0xe0];
	// Save area.
	union {
		struct vmcb_segment segment[6]; // by number: enum decode_segment
		struct {
			struct vmcb_segment es, cs, ss, ds, fs, gs;
		};
	};
	struct vmcb_segment gdtr, ldtr, idtr, tr;
	u8 zero3[0x4cb - 0x4a0];
	u8 cpl;
	u32 zero4;
	u64 efer;
	u8 zero5[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 zero6[0x5d8 - 0x580];
	u64 rsp;
	u8 zero7[0x5f8 - 0x5e0];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 cr2;
	u8 zero8[0x668 - 0x648];
	u64 pat;
	u8 zero9[0x1000 - 0x670];
};
#define VMCB_AT(field, offset) _Static_assert(offsetof(struct vmcb, field) == (offset), #field)
VMCB_AT(intercept2, 0x10);
VMCB_AT(iopm, 0x40);
VMCB_AT(asid, 0x58);
VMCB_AT(interrupt_shadow, 0x68);
VMCB_AT(exit_code, 0x70);
VMCB_AT(exit_int_info, 0x88);
VMCB_AT(nested_paging, 0x90);
VMCB_AT(event_inject, 0xa8);
VMCB_AT(next_rip, 0xc8);
VMCB_AT(es, 0x400);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(cr2, 0x640);
VMCB_AT(pat, 0x668);
_Static_assert(sizeof(struct vmcb) == 0x1000, "a VMCB is one page");

// intercept1
#define INTERCEPT_INTR BIT(0)
#define INTERCEPT_NMI BIT(1)
#define INTERCEPT_SMI BIT(2)
#define INTERCEPT_INIT BIT(3)
#define INTERCEPT_RDPMC BIT(15)
#define INTERCEPT_CPUID BIT(18)
#define INTERCEPT_IRET BIT(20)
#define INTERCEPT_INTN BIT(21)
#define INTERCEPT_INVD BIT(22)
#define INTERCEPT_HLT BIT(24)
#define INTERCEPT_INVLPG BIT(25)
#define INTERCEPT_INVLPGA BIT(26)
#define INTERCEPT_IOIO BIT(27)
#define INTERCEPT_MSR BIT(28)
#define INTERCEPT_TASK_SWITCH BIT(29)
#define INTERCEPT_SHUTDOWN BIT(31)
// intercept2
#define INTERCEPT_VMRUN BIT(0)
#define INTERCEPT_VMMCALL BIT(1)
#define INTERCEPT_VMLOAD BIT(2)
#define INTERCEPT_VMSAVE BIT(3)
#define INTERCEPT_STGI BIT(4)
#define INTERCEPT_CLGI BIT(5)
#define INTERCEPT_SKINIT BIT(6)
#define INTERCEPT_WBINVD BIT(9)
#define INTERCEPT_MONITOR BIT(10)
#define INTERCEPT_MWAIT BIT(11)
#define INTERCEPT_MWAIT_ARMED BIT(12)
#define INTERCEPT_XSETBV BIT(13)

enum exit_reason {
	VMEXIT_CR0_READ = 0x00, VMEXIT_CR3_READ = 0x03, VMEXIT_CR4_READ = 0x04,
	VMEXIT_CR0_WRITE = 0x10, VMEXIT_CR3_WRITE = 0x13, VMEXIT_CR4_WRITE = 0x14,
	VMEXIT_EXCEPTION = 0x40, // and the vector, to 0x5f
	VMEXIT_DEBUG = 0x41,
	VMEXIT_PAGE_FAULT = 0x4e,
	VMEXIT_MACHINE_CHECK = 0x52,
	VMEXIT_INTR = 0x60, VMEXIT_NMI = 0x61, VMEXIT_SMI = 0x62, VMEXIT_INIT = 0x63,
	VMEXIT_RDPMC = 0x6f, VMEXIT_CPUID = 0x72, VMEXIT_IRET = 0x74, VMEXIT_INTN = 0x75, VMEXIT_INVD = 0x76, VMEXIT_HLT = 0x78,
	VMEXIT_INVLPG = 0x79, VMEXIT_INVLPGA = 0x7a, VMEXIT_IOIO = 0x7b, VMEXIT_MSR = 0x7c,
	VMEXIT_TASK_SWITCH = 0x7d, VMEXIT_SHUTDOWN = 0x7f,
	VMEXIT_VMRUN = 0x80, VMEXIT_VMMCALL = 0x81, VMEXIT_VMLOAD = 0x82, VMEXIT_VMSAVE = 0x83,
	VMEXIT_STGI = 0x84, VMEXIT_CLGI = 0x85, VMEXIT_SKINIT = 0x86,
	VMEXIT_WBINVD = 0x89, VMEXIT_MONITOR = 0x8a, VMEXIT_MWAIT = 0x8b, VMEXIT_MWAIT_ARMED = 0x8c,
	VMEXIT_XSETBV = 0x8d,
	VMEXIT_COUNT
};
#define VMEXIT_INVALID (~UINT64_C(0)) // VMRUN refused the VMCB
#define VMEXIT_INVALID_QEMU UINT64_C(0xffffffff) // and what QEMU stores then

// EVENTINJ and EXITINTINFO: vector, type, flags, error code in the high half.
#define EVENT_VECTOR(event) ((u32)(event) & 0xffu)
#define EVENT_TYPE(event) ((u32)(event) >> 8 & 7u)
#define EVENT_TYPE_INTERRUPT 0u
#define EVENT_TYPE_NMI 2u
#define EVENT_TYPE_EXCEPTION 3u
#define EVENT_TYPE_SOFTWARE 4u
#define EVENT_HAS_ERROR BIT(11)
#define EVENT_VALID BIT(31)

// IOIO exits, exit_info1; exit_info2 is the address of the next instruction.
#define IOIO_IN BIT(0)
#define IOIO_STRING BIT(2)
#define IOIO_REP BIT(3)
#define IOIO_BYTES(info) ((u32)((info) >> 4) & 7u)
#define IOIO_PORT(info) ((u16)((info) >> 16))

#define TLB_CONTROL_FLUSH_ALL 1u
#define VIRTUAL_INTR_MASKING BIT(24)

#endif
