// SPDX-License-Identifier: GPL-2.0-or-later
// RSDP -> RSDT or XSDT -> MADT (ACPI 6.4, 5.2.5 to 5.2.12), and nothing else of ACPI.
//
// The tables are the firmware's: each is used only when its checksum is right and it lies in the first 4 GiB, which are
// mapped. Packed structures, so fields are read by offset. Cost: one look at each 16 bytes of 128 KiB + 64 KiB.
#include "acpi.h"

#include "../../base/mem.h"

#define RSDP_SIGNATURE "RSD PTR "
#define RSDP_BYTES 20u
#define RSDP_RSDT 16u
#define RSDP_REVISION 15u
#define RSDP_XSDT 24u
#define HEADER_BYTES 36u
#define HEADER_LENGTH 4u
#define TABLE_BYTES_MAX 0x100000u
#define MADT_ENTRIES 44u
#define MADT_LOCAL_APIC 0
#define LOCAL_APIC_ID 3u
#define LOCAL_APIC_FLAGS 4u
#define LOCAL_APIC_ENABLED 1u

static u64 field(const u8 *table, u32 at, u32 bytes)
{
	u64 value = 0;

	mem_copy(&value, table + at, bytes);
	return value;
}

static bool sums_to_zero(const u8 *at, u32 bytes)
{
	u8 sum = 0;

	for (u32 i = 0; i < bytes; i++)
		sum = (u8)(sum + at[i]);
	return sum == 0;
}

static bool has_name(const u8 *at, const char *name)
{
	for (u32 i = 0; name[i]; i++)
		if (at[i] != (u8)name[i])
			return false;
	return true;
}

// The table at `address` if it is one called `name`, with all of it mapped; NULL.
static const u8 *table_at(u64 address, const char *name)
{
	const u8 *table = (const u8 *)(uintptr_t)address;

	if (address < FRAME_BYTES || address > UINT32_MAX - TABLE_BYTES_MAX || !has_name(table, name))
		return NULL;
	u64 bytes = field(table, HEADER_LENGTH, 4);

	return bytes >= HEADER_BYTES && bytes <= TABLE_BYTES_MAX && sums_to_zero(table, (u32)bytes) ? table : NULL;
}

static const u8 *find_rsdp(u64 from, u64 to)
{
	for (u64 at = from; at < to; at += 16) {
		const u8 *p = (const u8 *)(uintptr_t)at;

		if (has_name(p, RSDP_SIGNATURE) && sums_to_zero(p, RSDP_BYTES))
			return p;
	}
	return NULL;
}

static const u8 *find_madt(void)
{
	const u8 *rsdp = find_rsdp(0xe0000, 0x100000);

	if (!rsdp)
		rsdp = find_rsdp(0x90000, 0xa0000); // the extended BIOS data area lies there
	if (!rsdp)
		return NULL;
	u32 entry_bytes = 4;
	const u8 *root = table_at(field(rsdp, RSDP_RSDT, 4), "RSDT");

	if (!root && rsdp[RSDP_REVISION] >= 2) {
		entry_bytes = 8;
		root = table_at(field(rsdp, RSDP_XSDT, 8), "XSDT");
	}
	if (!root)
		return NULL;
	for (u32 at = HEADER_BYTES; at + entry_bytes <= field(root, HEADER_LENGTH, 4); at += entry_bytes) {
		const u8 *madt = table_at(field(root, at, entry_bytes), "APIC");

		if (madt)
			return madt;
	}
	return NULL;
}

u32 acpi_processors(u32 *id, u32 max)
{
	const u8 *madt = find_madt();
	u32 count = 0, bytes = madt ? (u32)field(madt, HEADER_LENGTH, 4) : 0;

	for (u32 at = MADT_ENTRIES; at + 2 <= bytes && count < max; at += madt[at + 1]) {
		const u8 *entry = madt + at;

		if (entry[1] < 2)
			break;
		if (entry[0] == MADT_LOCAL_APIC && entry[1] >= 8 && (field(entry, LOCAL_APIC_FLAGS, 4) & LOCAL_APIC_ENABLED))
			id[count++] = entry[LOCAL_APIC_ID];
	}
	return count;
}
