// SPDX-License-Identifier: GPL-2.0-or-later
// What the generator believes about the guest: contents of the frames, roots, control bits.
//
// Parts: words of frames; walks; whether an op goes through; stores; what ops do.
//
// This is no oracle: fuzz/model is. It knows as much as makes a random access find a page more often than not, in
// constant time for each op, those that fill or exchange frames a page for each.
#include "gen.h"

#define P BIT(0)
#define W BIT(1)
#define U BIT(2)
#define PS BIT(7)
#define NX BIT(63)
#define ADDRESS (((UINT64_C(1) << 52) - 1) & ~(u64)(FRAME_BYTES - 1))
#define ABOVE ((BIT(52) - 1) & ~(BIT(TRACE_PHYS_BITS) - 1)) // address bits that do not exist
#define PDPTE_RESERVED (UINT64_C(0x1e6) | NX | (BIT(63) - BIT(52)) | ABOVE)

void picture_start(struct trace_picture *p, const struct trace_config *config)
{
	*p = (struct trace_picture){ .mode = (u8)config->kind, .vcpus = (u8)config->vcpus };
	p->ctl[CTL_WP] = true;
	p->ctl[CTL_NXE] = true;
	p->ctl[CTL_PSE] = config->kind == TRACE_HVM32;
}

// ---- words of frames -------------------------------------------------------------
u64 picture_entry(const struct trace_picture *p, enum trace_mode mode, u32 frame, u32 index)
{
	u32 at = index * trace_entry_bytes(mode);
	u64 word = p->word[frame][at / 8];

	if (p->removed >> frame & 1)
		return 0;
	return mode == TRACE_MODE_32 ? (u32)(word >> (8 * (at & 4))) : word;
}

// A store of the guest.
static void put_bytes(struct trace_picture *p, u32 frame, u32 at, u32 bytes, u64 value)
{
	for (u32 i = 0; i < bytes && i < 8 && !(p->read_only >> frame & 1); i++) {
		u32 shift = 8 * ((at + i) & 7);
		u64 *word = &p->word[frame][(at + i) / 8];

		*word = (*word & ~(UINT64_C(0xff) << shift)) | (value >> (8 * i) & 0xff) << shift;
	}
}

static bool is_ram(const struct trace_picture *p, u64 gfn)
{
	return gfn >= TRACE_F0_GFN && gfn < TRACE_F0_GFN + TRACE_FRAMES && !(p->removed >> (gfn - TRACE_F0_GFN) & 1);
}

// ---- walks -------------------------------------------------------------
struct access {
	enum trace_mode mode;
	u32 root;
	const u64 *pdpte; // latched ones, NULL: those in memory
	bool write, fetch, user, ac;
};

static bool reserved(const struct trace_picture *p, enum trace_mode mode, u32 level, u64 entry, bool leaf)
{
	if (mode == TRACE_MODE_32)
		return leaf && level == 1 && entry & BIT(21);
	if (mode == TRACE_MODE_PAE && level == 2)
		return entry & PDPTE_RESERVED;
	return entry & ABOVE || (entry & NX && !p->ctl[CTL_NXE]) ||
	       (mode == TRACE_MODE_PAE && entry & (BIT(63) - BIT(52))) || (level == 3 && entry & PS) ||
	       (leaf && level && entry & ((BIT(12 + 9 * level) - 1) & ~(BIT(13) - 1)));
}

static bool is_leaf(const struct trace_picture *p, enum trace_mode mode, bool visit, u32 level, u64 entry)
{
	if (level == 0)
		return true;
	if (!(entry & PS) || level == 3 || (mode == TRACE_MODE_PAE && level == 2))
		return false;
	return mode != TRACE_MODE_32 || visit || p->ctl[CTL_PSE];
}

static bool allowed(const struct trace_picture *p, const struct access *a, u64 rights, bool nx)
{
	if (a->write && !(rights & W) && (a->user || p->ctl[CTL_WP]))
		return false;
	if (a->user)
		return rights & U && !(a->fetch && nx);
	if (a->fetch)
		return !nx && !(rights & U && p->ctl[CTL_SMEP]);
	return !(rights & U && p->ctl[CTL_SMAP] && !a->ac);
}

// The frame that va leads to, if the access goes through.
static bool walk(const struct trace_picture *p, const struct access *a, u64 va, u64 *gfn)
{
	const struct trace_mode_info *info = &trace_modes[a->mode];
	u64 table = TRACE_F0_GFN + a->root, rights = W | U;
	bool nx = false;

	for (u32 i = 0;; i++) {
		u32 level = info->va_parts - 2u - i, shift = info->va[i].shift, index = va >> shift & info->va[i].mask;
		bool pdpte = a->mode == TRACE_MODE_PAE && level == 2, leaf;
		u64 entry = 0;

		if (pdpte && index >= 2 && a->pdpte)
			entry = a->pdpte[index - 2];
		else if (is_ram(p, table))
			entry = picture_entry(p, a->mode, (u32)(table - TRACE_F0_GFN), pdpte ? 256 + index : index);
		leaf = is_leaf(p, a->mode, !a->pdpte, level, entry);
		if (!(entry & P) || reserved(p, a->mode, level, entry, leaf))
			return false;
		rights &= pdpte ? W | U : entry;
		nx = nx || (entry & NX && a->mode != TRACE_MODE_32);
		table = (entry & ADDRESS & (BIT(TRACE_PHYS_BITS) - 1)) >> FRAME_SHIFT;
		if (!leaf)
			continue;
		if (a->mode == TRACE_MODE_32 && level)
			table = entry >> 22 << 10 | (entry >> 13 & 0xff) << 20;
		table &= ~((BIT(shift) - 1) >> FRAME_SHIFT);
		*gfn = table | ((va & (BIT(shift) - 1)) >> FRAME_SHIFT);
		return allowed(p, a, rights, nx);
	}
}

// ---- whether an op goes through -------------------------------------------------------------
static bool is_access(u32 code)
{
	return code == OP_READ || code == OP_WRITE || code == OP_SET || code == OP_PUSH || code == OP_EXEC ||
	       code == OP_SWEEP || code == OP_ALTER || code == OP_VISIT;
}

static u32 bytes_of(const struct trace_op *op)
{
	switch (op->code) {
	case OP_SET:
		return trace_entry_bytes((enum trace_mode)op->mode);
	case OP_PUSH:
		return trace_push_bytes((enum trace_mode)op->mode);
	case OP_EXEC:
		return 1;
	case OP_SWEEP:
		return (op->count - 1u) * FRAME_BYTES + 1;
	case OP_ALTER:
		return op->insn == INS_REP_STOS || op->insn == INS_REP_MOVS ? TRACE_REP * op->bytes : op->bytes;
	default:
		return op->bytes;
	}
}

static bool access_of(const struct trace_picture *p, const struct trace_op *op, struct access *a)
{
	*a = (struct access){
		.mode = (enum trace_mode)op->mode, .root = p->cr3[p->current], .pdpte = p->pdpte[p->current],
		.write = op->code == OP_WRITE || op->code == OP_SET || op->code == OP_PUSH || op->code == OP_ALTER,
		.fetch = op->code == OP_EXEC, .user = op->cpl == 3, .ac = op->ac,
	};
	if (op->code == OP_VISIT) {
		a->root = op->frame;
		a->pdpte = NULL;
		a->write = op->on;
		return !(p->removed >> op->frame & 1);
	}
	return a->root != PICTURE_NO_ROOT;
}

bool picture_allows(const struct trace_picture *p, const struct trace_op *op)
{
	struct access a;
	u64 last = op->va + bytes_of(op) - 1, gfn;

	if (!is_access(op->code))
		return true;
	if (!access_of(p, op, &a))
		return false;
	if (op->code == OP_ALTER && op->bytes == 16 && op->va & 15 && op->insn != INS_SSE)
		return false;
	for (u64 va = op->va & ~(u64)(FRAME_BYTES - 1); va <= last; va += FRAME_BYTES)
		if (!walk(p, &a, va, &gfn) || (a.fetch && !is_ram(p, gfn)))
			return false;
	return true;
}

// ---- stores -------------------------------------------------------------
static void store(struct trace_picture *p, const struct access *a, u64 va, u32 bytes, u64 value)
{
	for (u32 i = 0; i < bytes; i++) {
		u64 gfn;

		if (walk(p, a, va + i, &gfn) && is_ram(p, gfn))
			put_bytes(p, (u32)(gfn - TRACE_F0_GFN), (u32)(va + i) & (FRAME_BYTES - 1), 1,
				  value >> (8 * (i & 7)));
	}
}

static u64 load(const struct trace_picture *p, const struct access *a, u64 va, u32 bytes)
{
	u64 value = 0, gfn;

	for (u32 i = 0; i < bytes && i < 8; i++)
		if (walk(p, a, va + i, &gfn) && is_ram(p, gfn)) {
			u32 at = (u32)(va + i) & (FRAME_BYTES - 1);

			value |= (p->word[gfn - TRACE_F0_GFN][at / 8] >> (8 * (at & 7)) & 0xff) << (8 * i);
		}
	return value;
}

static u64 altered(u32 insn, u64 old, u64 operand)
{
	u32 plain = insn >= INS_LOCK_CAS && insn <= INS_LOCK_BTC ? insn - INS_LOCK_CAS + INS_CAS : insn;

	switch (plain) {
	case INS_AND:
		return old & operand;
	case INS_OR:
		return old | operand;
	case INS_XOR:
		return old ^ operand;
	case INS_ADD:
	case INS_INC:
	case INS_XADD:
		return old + operand;
	case INS_SUB:
	case INS_DEC:
		return old - operand;
	case INS_BTS:
		return old | BIT(operand);
	case INS_BTR:
		return old & ~BIT(operand);
	case INS_BTC:
		return old ^ BIT(operand);
	case INS_CAS:
		return old ? old : operand;
	default:
		return operand;
	}
}

static void apply_access(struct trace_picture *p, const struct trace_op *op)
{
	u32 bytes = bytes_of(op);
	struct access a;

	if (!picture_allows(p, op) || !access_of(p, op, &a) || !a.write)
		return;
	if (op->code == OP_SET)
		store(p, &a, op->va, bytes, trace_entry(op));
	else if (op->code != OP_ALTER)
		store(p, &a, op->va, bytes, op->value);
	else if (trace_alter_reads(op))
		store(p, &a, op->va, bytes, altered(op->insn, load(p, &a, op->va, bytes), trace_alter_value(op)));
	else
		for (u32 at = 0; at < bytes; at += op->bytes)
			store(p, &a, op->va + at, op->bytes, trace_alter_value(op));
}

// ---- what ops do -------------------------------------------------------------
static bool pdptes_valid(const struct trace_picture *p, u32 frame)
{
	for (u32 i = 258; i < 260; i++) {
		u64 entry = picture_entry(p, TRACE_MODE_PAE, frame, i);

		if (entry & P && entry & PDPTE_RESERVED)
			return false;
	}
	return true;
}

static void read_pdptes(struct trace_picture *p)
{
	u32 frame = p->cr3[p->current];

	for (u32 i = 0; i < 2; i++)
		p->pdpte[p->current][i] =
			frame == PICTURE_NO_ROOT ? 0 : picture_entry(p, TRACE_MODE_PAE, frame, 258 + i);
}

static void load_root(struct trace_picture *p, u32 frame)
{
	if (p->mode == TRACE_MODE_PAE && frame != PICTURE_NO_ROOT && !pdptes_valid(p, frame))
		return;
	p->cr3[p->current] = (u8)frame;
	read_pdptes(p);
}

// Paging went off, and on with this root.
static void enter_root(struct trace_picture *p, u32 frame)
{
	bool valid = p->mode != TRACE_MODE_PAE || frame == PICTURE_NO_ROOT || pdptes_valid(p, frame);

	p->cr3[p->current] = (u8)(valid ? frame : PICTURE_NO_ROOT);
	read_pdptes(p);
}

static void come_home(struct trace_picture *p)
{
	enter_root(p, p->cr3[p->current]);
}

bool picture_root_is_old(const struct trace_picture *p)
{
	u32 frame = p->cr3[p->current];
	const u64 *latched = p->pdpte[p->current];

	return p->mode == TRACE_MODE_PAE && frame != PICTURE_NO_ROOT &&
	       (latched[0] != picture_entry(p, TRACE_MODE_PAE, frame, 258) ||
		latched[1] != picture_entry(p, TRACE_MODE_PAE, frame, 259));
}

static bool is_root(const struct trace_picture *p, u32 frame)
{
	for (u32 i = 0; i < p->vcpus; i++)
		if (p->cr3[i] == frame)
			return true;
	return false;
}

static void apply_entry(struct trace_picture *p, const struct trace_op *op)
{
	u32 bytes = trace_entry_bytes((enum trace_mode)op->mode), at = op->index * bytes;
	u64 entry = trace_entry(op);

	if (op->code == OP_HALF) {
		bytes /= 2;
		at += op->on ? bytes : 0;
		entry = op->on ? entry >> (8 * bytes) : entry;
	} else if (op->code == OP_CAS) {
		if (!op->on)
			return;
		if (op->bytes > bytes)
			put_bytes(p, op->frame, at + bytes, bytes, entry);
		else
			bytes = op->bytes;
	}
	put_bytes(p, op->frame, at, bytes, entry);
}

// ZERO and COPY.
static void apply_page(struct trace_picture *p, const struct trace_op *op)
{
	for (u32 i = 0; i < PICTURE_WORDS && !(p->read_only >> op->frame & 1); i++)
		p->word[op->frame][i] = op->code == OP_COPY ? p->word[op->from][i] : 0;
}

static void set_bit(u32 *mask, u32 frame, bool on)
{
	*mask = on ? *mask | 1u << frame : *mask & ~(1u << frame);
}

// What is behind a becomes what was behind b.
static void exchange(struct trace_picture *p, u32 a, u32 b)
{
	bool read_only = p->read_only >> a & 1, removed = p->removed >> a & 1;

	for (u32 i = 0; i < PICTURE_WORDS; i++) {
		u64 held = p->word[a][i];

		p->word[a][i] = p->word[b][i];
		p->word[b][i] = held;
	}
	set_bit(&p->read_only, a, p->read_only >> b & 1);
	set_bit(&p->read_only, b, read_only);
	set_bit(&p->removed, a, p->removed >> b & 1);
	set_bit(&p->removed, b, removed);
}

// A zeroed frame, or a hole.
static void replace(struct trace_picture *p, u32 frame, bool by_hole)
{
	for (u32 i = 0; i < PICTURE_WORDS; i++)
		p->word[frame][i] = 0;
	set_bit(&p->removed, frame, by_hole);
	set_bit(&p->read_only, frame, false);
}

static void apply_balloon(struct trace_picture *p, const struct trace_op *op)
{
	if (op->frame + op->count > TRACE_FRAMES)
		return;
	for (u32 i = op->frame; i < op->frame + op->count; i++)
		if (op->on ? p->foreign >> i & 1 : is_root(p, i))
			return;
	for (u32 i = op->frame; i < op->frame + op->count; i++)
		if (!op->on || p->removed >> i & 1)
			replace(p, i, !op->on);
}

static void apply_physmap(struct trace_picture *p, const struct trace_op *op)
{
	bool two = op->code == OP_SWAP || op->code == OP_MOVE, absent = p->removed >> op->frame & 1;

	if (op->code == OP_BALLOON) {
		apply_balloon(p, op);
		return;
	}
	if (is_root(p, op->frame) || (two && is_root(p, op->from)))
		return;
	if ((op->code == OP_RENEW && p->foreign >> op->frame & 1) || (op->code == OP_MOVE && p->foreign >> op->from & 1))
		return;
	switch (op->code) {
	case OP_SWAP:
		if (!absent && !(p->removed >> op->from & 1))
			exchange(p, op->frame, op->from);
		break;
	case OP_MOVE:
		if (absent || op->frame == op->from)
			return;
		exchange(p, op->frame, op->from);
		replace(p, op->frame, true);
		break;
	default:
		replace(p, op->frame, op->code == OP_REMOVE);
		break;
	}
}

static void apply_management(struct trace_picture *p, const struct trace_op *op)
{
	if (op->code == OP_FOREIGN && p->removed >> op->frame & 1)
		set_bit(&p->foreign, op->frame, op->what != GIFT_NONE);
	if (op->code == OP_RETYPE && !(p->removed >> op->frame & 1))
		set_bit(&p->read_only, op->frame, op->what == TYPE_RO);
	else if (op->code == OP_MIGRATE && (op->what == TRACE_STEP_START ? !p->watching : trace_step(op) != TRACE_STEP_ROUND))
		p->migrating = op->what == TRACE_STEP_START;
	else if (op->code == OP_CONTROL && op->who == WHO_OPERATOR && !p->migrating &&
		 (op->what == ASK_LOGDIRTY || op->what == ASK_LOGDIRTY_OFF || op->what == ASK_OFF))
		p->watching = op->what == ASK_LOGDIRTY;
}

void picture_apply(struct trace_picture *p, const struct trace_op *op)
{
	switch (op->code) {
	case OP_PTE:
	case OP_HALF:
	case OP_CAS:
	case OP_PHYS:
	case OP_REAL:
		apply_entry(p, op);
		if (op->code == OP_PHYS || op->code == OP_REAL)
			come_home(p);
		break;
	case OP_ZERO:
	case OP_COPY:
		apply_page(p, op);
		break;
	case OP_SWAP:
	case OP_RENEW:
	case OP_REMOVE:
	case OP_MOVE:
	case OP_BALLOON:
		apply_physmap(p, op);
		break;
	case OP_CONTROL:
	case OP_MIGRATE:
	case OP_RETYPE:
	case OP_FOREIGN:
		apply_management(p, op);
		break;
	case OP_CR3:
		if (op->target < TRACE_FRAMES)
			load_root(p, op->target);
		else if (trace_root_is_high(op->target) && p->mode != TRACE_MODE_64)
			enter_root(p, op->target - TRACE_TARGET_COUNT);
		break;
	case OP_RELOAD:
		load_root(p, p->cr3[p->current]);
		break;
	case OP_CTL:
		p->ctl[op->ctl] = op->on;
		break;
	case OP_VCPU:
		p->current = op->vcpu % p->vcpus;
		break;
	default:
		if (is_access(op->code))
			apply_access(p, op);
		if (op->code == OP_VISIT)
			come_home(p);
		break;
	}
}
