// SPDX-License-Identifier: GPL-2.0-or-later
// The guest of the core's tests: see fixture.h. Everything starts from power-on, so tests cannot disturb
// each other. It checks nothing by itself: callers look at what it returns.
#include "fixture.h"

#include <setjmp.h>

struct domain *dom;

// ---- beginning and end -----------------------------------------------------------------------------

bool fixture_another(u32 vcpus, u32 pool, u32 opts)
{
	struct domain_config config = { .vcpus = vcpus, .pool_pages = pool, .opts = opts };

	if (domain_create(&config, &dom) != HV_OK)
		return false;
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		if (domain_add_ram(dom, fg(i)) != HV_OK)
			return false;
	return true;
}

bool fixture_start(u32 vcpus, u32 pool, u32 opts)
{
	host_reset(1);
	hv_start();
	dom = NULL;
	return fixture_another(vcpus, pool, opts);
}

bool fixture_paged(u32 vcpus, u32 pool, u32 opts)
{
	if (!fixture_start(vcpus, pool, opts))
		return false;
	fixture_tree();
	for (u32 i = 0; i < vcpus; i++)
		if (long_mode(vc(i), 0) != HV_OK)
			return false;
	drain(); // of the root without paging
	host_set_cpu(0);
	return true;
}

const char *fixture_problem(void)
{
	if (host_finding_rule())
		return host_finding_rule();
	if (host_locks_held())
		return "a lock is held";
	if (host_maps_outstanding())
		return "a frame is still mapped";
	const char *bad = hv_check(dom, false);

	return bad ? bad : hv_check(dom, true);
}

const char *fixture_end(void)
{
	const char *bad = domain_destroy(dom);

	if (!bad && host_maps_outstanding())
		bad = "a frame is still mapped";
	if (!bad && host_frames_owned())
		bad = "a frame is not back";
	return bad;
}

static jmp_buf fatal_return;
static const char *fatal_words;

static void fatal_caught(const char *why)
{
	fatal_words = why;
	longjmp(fatal_return, 1);
}

const char *fixture_fatal(void (*fn)(void))
{
	fatal_words = NULL;
	host_fatal_hook = fatal_caught;
	if (!setjmp(fatal_return))
		fn();
	host_fatal_hook = NULL;
	return fatal_words;
}

// ---- guest memory ----------------------------------------------------------------------------------

gfn_t fg(u32 n)
{
	return gfn(FIXTURE_GFN + n);
}

mfn_t fm(u32 n)
{
	return p2m_lookup(&dom->p2m, fg(n));
}

u64 at(u32 n, u64 flags)
{
	return gfn_gpa(fg(n)).a | flags;
}

u64 hole(u32 n, u64 flags)
{
	return (HOLE_GFN + n) << FRAME_SHIFT | flags;
}

u64 word(u32 n, u32 index)
{
	return host_frame(fm(n))[index];
}

void poke(u32 n, u32 index, u64 value)
{
	if (domain_write(dom, gpa(at(n, index * 8)), &value, sizeof(value)) != HV_OK)
		port_fatal("fixture: poke into a hole");
}

void raw(u32 n, u32 index, u64 value)
{
	host_frame(fm(n))[index] = value;
}

void fixture_tree(void)
{
	poke(0, 0, at(1, AS_TABLE));
	poke(1, 0, at(2, AS_TABLE));
	poke(2, 0, at(3, AS_TABLE));
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		poke(3, i, at(i, AS_LEAF));
}

bool fixture_spare_table(u32 vcpus, u32 opts)
{
	if (!fixture_paged(vcpus, 64, opts))
		return false;
	poke(3, 16, at(6, AS_LEAF));
	poke(3, 17, hole(0, AS_LEAF));
	poke(3, 18, at(9, AS_LEAF & ~(PTE_W | PTE_D)));
	for (u32 i = 0; i < 32; i++)
		poke(5, i, at(i % FIXTURE_FRAMES, AS_LEAF));
	poke(2, 1, at(5, AS_TABLE));
	return reads(vc(0), OTHER + page(9)) && page_is_table(fm(5));
}

u8 guest_ram[FIXTURE_FRAMES * FRAME_BYTES];

void ram_take(void)
{
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		mem_copy(guest_ram + i * FRAME_BYTES, host_frame(fm(i)), FRAME_BYTES);
}

int ram_differs(void)
{
	for (u32 i = 0; i < FIXTURE_FRAMES; i++)
		if (__builtin_memcmp(guest_ram + i * FRAME_BYTES, host_frame(fm(i)), FRAME_BYTES))
			return (int)i;
	return -1;
}

enum hv_status load_cr3(struct vcpu *v, u32 root)
{
	host_set_cpu(cpu_of(v));
	return vcpu_write_cr3(v, at(root, 0));
}

enum hv_status long_mode(struct vcpu *v, u32 root)
{
	enum hv_status status = load_cr3(v, root);

	if (status == HV_OK)
		status = vcpu_write_cr4(v, CR4_PAE);
	if (status == HV_OK)
		status = vcpu_write_efer(v, EFER_LME | EFER_NXE | EFER_SCE);
	if (status == HV_OK)
		status = vcpu_write_cr0(v, CR0_PE | CR0_PG | CR0_WP);
	return status;
}

// ---- accesses --------------------------------------------------------------------------------------

struct cpu_result go(struct vcpu *v, enum cpu_kind kind, u64 va, u32 bytes, u8 cpl, u64 data)
{
	struct cpu_access a = { .kind = kind, .va = va, .bytes = (u8)bytes, .cpl = cpl, .data = { data } };
	struct cpu_result r;

	host_set_cpu(cpu_of(v));
	cpu_access(v, &a, &r);
	return r;
}

struct cpu_result go_pair(struct vcpu *v, u64 va, u32 bytes, u64 expect0, u64 expect1, u64 data0, u64 data1)
{
	struct cpu_access a = { .kind = CPU_CMPXCHG, .va = va, .bytes = (u8)bytes,
				.data = { data0, data1 }, .expect = { expect0, expect1 } };
	struct cpu_result r;

	host_set_cpu(cpu_of(v));
	cpu_access(v, &a, &r);
	return r;
}

bool reads(struct vcpu *v, u64 va)
{
	return go(v, CPU_READ, va, 8, 0, 0).end == CPU_DONE;
}

bool writes(struct vcpu *v, u64 va, u64 value)
{
	return go(v, CPU_WRITE, va, 8, 0, value).end == CPU_DONE;
}

enum fault_result fault(struct vcpu *v, u64 va, u32 *error)
{
	struct hv_insn insn = { .kind = INSN_UNKNOWN };
	gva_t cr2;

	host_set_cpu(cpu_of(v));
	return vcpu_page_fault(v, gva(va), error, &cr2, &insn);
}

// ---- shadows ---------------------------------------------------------------------------------------

mfn_t shadow_of(u32 n, u32 type)
{
	return hash_find(dom, (u32)fm(n).n, type);
}

mfn_t table_at(struct vcpu *v, u64 va, u32 level, u32 *index)
{
	mfn_t smfn = shadow_root_of(v, gva(va));

	while (!mfn_is_none(smfn)) {
		const struct shadow_row *row = shadow_row(shadow_type_of(smfn));

		*index = pt_index(row_guest(row), row->level, va);
		if (row->level == level)
			return smfn;
		spte_t entry = shadow_read(dom, smfn, *index);

		if (!spte_present(entry))
			return MFN_NONE;
		smfn = spte_mfn(entry);
	}
	return MFN_NONE;
}

spte_t spte_at(struct vcpu *v, u64 va, u32 level)
{
	u32 index;
	mfn_t smfn = table_at(v, va, level, &index);

	return mfn_is_none(smfn) ? SPTE_EMPTY : shadow_read(dom, smfn, index);
}

spte_t spte_raw(mfn_t smfn, u32 index, spte_t value)
{
	u32 slot;
	u64 *table = host_frame(shadow_page_of(smfn, index, &slot));
	spte_t old = { table[slot] };

	table[slot] = value.v;
	return old;
}

u32 pinned_at(u32 place)
{
	u32 n = dom->shadow.pinned.head;

	while (n && place--)
		n = page_of(mfn(n))->list.next;
	return n;
}

u32 maps_of(mfn_t target, u32 *entries, u32 room)
{
	u32 n = 0;

	for (u32 entry = page_of(target)->maps; entry; entry = rmap_next(entry), n++)
		if (n < room)
			entries[n] = entry;
	return n;
}

bool is_mapped_by(mfn_t target, mfn_t smfn, u32 index)
{
	u32 slot, times = 0;
	mfn_t at = shadow_page_of(smfn, index, &slot);

	for (u32 entry = page_of(target)->maps; entry; entry = rmap_next(entry))
		times += entry == rmap_number(at, slot);
	return times == 1;
}

// ---- many shadows ------------------------------------------------------------------------------------

mfn_t crowd_frame(u32 i)
{
	return p2m_lookup(&dom->p2m, gfn(CROWD_GFN + i));
}

static bool write_entry(gfn_t table, u32 index, u64 value)
{
	return domain_write(dom, gpa(gfn_gpa(table).a + index * 8), &value, sizeof(value)) == HV_OK;
}

// Tables of level 2 come behind those of level 1, and hang in f1.
bool crowd(u32 count)
{
	bool ok = count <= CROWD_MAX;

	for (u32 i = 0; ok && i < count; i++) {
		gfn_t table = gfn(CROWD_GFN + i), parent = gfn(CROWD_GFN + CROWD_MAX + i / 512);

		if (i % 512 == 0) {
			ok = domain_add_ram(dom, parent) == HV_OK;
			poke(1, 1 + i / 512, gfn_gpa(parent).a | AS_TABLE);
		}
		ok = ok && domain_add_ram(dom, table) == HV_OK && write_entry(table, 0, gfn_gpa(table).a | AS_LEAF) &&
		     write_entry(parent, i % 512, gfn_gpa(table).a | AS_TABLE) &&
		     reads(vc(0), CROWD + i * UINT64_C(0x200000)) && page_is_table(crowd_frame(i));
	}
	return ok;
}

// ---- under the lock ----------------------------------------------------------------------------------

void drain(void)
{
	while (dom->shadow.dying.length) {
		domain_lock(dom, BOUND_TEARDOWN);
		pool_reap(dom, 64 * SPTES_PER_PAGE);
		domain_unlock(dom);
	}
}

u64 most_visits(void)
{
	u64 most = 0;

	for (u32 op = 0; op < BOUND_COUNT; op++) {
		most = dom->bound[op].most > most ? dom->bound[op].most : most;
		dom->bound[op] = (struct bound_use){ 0 };
	}
	return most;
}
