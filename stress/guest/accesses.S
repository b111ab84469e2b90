// SPDX-License-Identifier: GPL-2.0-or-later
// The accesses of a trace, one real instruction each. The page is seen twice: by the kernel where it is linked, in
// ring 3 at USER_BASE. INT3 tells the kernel that the code got through.
//
// DI is the address. Data to store is in BX (8 bytes in 32-bit code: XMM0), loaded data comes back in AX (8 bytes in
// 32-bit code: XMM0). What the instructions of ALTER use besides is said in alter.c.
#include "layout.h"

#if GUEST_MODE == MODE_64
#define AX %rax
#define BX %rbx
#define DI %rdi
#define WORD_64(instruction...) instruction
#define WORD_32(instruction...)
	.code64
#else
#define AX %eax
#define BX %ebx
#define DI %edi
#define WORD_64(instruction...)
#define WORD_32(instruction...) instruction
	.code32
#endif

	.section .user, "aw"
user_start:
// What MOVS copies, for both rings.
	.globl operand
operand:
	.skip 32

	.macro access name
	.globl code_\name
code_\name:
	.endm

	access read1
	movb (DI), %al
	int3
	access read2
	movw (DI), %ax
	int3
	access read4
	movl (DI), %eax
	int3
	access read8
	WORD_64(movq (%rdi), %rax)
	WORD_32(movq (%edi), %xmm0)
	int3
	access write1
	movb %bl, (DI)
	int3
	access write2
	movw %bx, (DI)
	int3
	access write4
	movl %ebx, (DI)
	int3
	access write8
	WORD_64(movq %rbx, (%rdi))
	WORD_32(movq %xmm0, (%edi))
	int3
	access push
	push BX
	int3
	access jump
	jmp *DI
// Ring 0 only; the value is in AX, for an MSR its high half is in DX and its number in CX.
	access cr0
	mov AX, %cr0
	int3
	access cr3
	mov AX, %cr3
	int3
	access cr4
	mov AX, %cr4
	int3
	access msr
	wrmsr
	int3

// ---- alter ------------------------------------------------------------------------------------------
// A row for each instruction and size: number of the instruction, size, where its code starts and where its INT3
// lies, from user_start. `insn` is said in the order of enum trace_insn (fuzz/trace/trace.h).
	.set insn_number, -1
	.macro insn name
	.set insn_number, insn_number + 1
	.endm

	.macro piece bytes, text:vararg
1:	\text
2:	int3
	.pushsection .rodata.pieces, "a"
	.byte insn_number, \bytes
	.short 1b - user_start, 2b - user_start
	.popsection
	.endm

	.section .rodata.pieces, "a"
	.balign 4
	.globl pieces
pieces:
	.section .user, "aw"

// With BX as operand; on memory alone; with an immediate byte, the operand, that alter.c fills in.
	.macro with_register prefix, name
	piece 1, \prefix \name\()b %bl, (DI)
	piece 2, \prefix \name\()w %bx, (DI)
	piece 4, \prefix \name\()l %ebx, (DI)
	WORD_64(piece 8, \prefix \name\()q %rbx, (DI))
	.endm
	.macro with_memory prefix, name
	piece 1, \prefix \name\()b (DI)
	piece 2, \prefix \name\()w (DI)
	piece 4, \prefix \name\()l (DI)
	WORD_64(piece 8, \prefix \name\()q (DI))
	.endm
	.macro with_immediate prefix, name
	piece 2, \prefix \name\()w $0, (DI)
	piece 4, \prefix \name\()l $0, (DI)
	WORD_64(piece 8, \prefix \name\()q $0, (DI))
	.endm
	.macro string prefix, name
	piece 1, \prefix \name\()b
	piece 2, \prefix \name\()w
	piece 4, \prefix \name\()l
	WORD_64(piece 8, \prefix \name\()q)
	.endm
	.macro compare prefix
	with_register \prefix, cmpxchg
	WORD_32(piece 8, \prefix cmpxchg8b (DI))
	WORD_64(piece 16, \prefix cmpxchg16b (DI))
	.endm

	insn mov
	with_register , mov
	insn stos
	string , stos
	insn rep_stos
	string rep, stos
	insn movs
	string , movs
	insn rep_movs
	string rep, movs
	insn movnti
	piece 4, movnti %ebx, (DI)
	WORD_64(piece 8, movnti %rbx, (DI))
	insn sse
	piece 4, movd %xmm0, (DI)
	piece 8, movq %xmm0, (DI)
	piece 16, movups %xmm0, (DI)
	insn xchg
	with_register , xchg
	insn cas
	compare
	insn and
	with_register , and
	insn or
	with_register , or
	insn xor
	with_register , xor
	insn add
	with_register , add
	insn sub
	with_register , sub
	insn inc
	with_memory , inc
	insn dec
	with_memory , dec
	insn bts
	with_immediate , bts
	insn btr
	with_immediate , btr
	insn btc
	with_immediate , btc
	insn lock_cas
	compare lock
	insn lock_and
	with_register lock, and
	insn lock_or
	with_register lock, or
	insn lock_xor
	with_register lock, xor
	insn lock_add
	with_register lock, add
	insn lock_sub
	with_register lock, sub
	insn lock_inc
	with_memory lock, inc
	insn lock_dec
	with_memory lock, dec
	insn lock_bts
	with_immediate lock, bts
	insn lock_btr
	with_immediate lock, btr
	insn lock_btc
	with_immediate lock, btc
	insn xadd
	with_register , xadd

	.section .rodata.pieces, "a"
	.globl pieces_end
pieces_end:
	.if insn_number + 1 != 31 // INS_COUNT: alter.c is sure of it
	.error "an instruction is missing here, or in enum trace_insn"
	.endif
