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
#define MADT_LOCAL_APIC 0u
#define LOCAL_APIC_ID 3u
#define LOCAL_APIC_FLAGS 4u
#define LOCAL_APIC_ENABLED 1u
#define MADT_IO_APIC 1u
#define IO_APIC_ADDRESS 4u
#define IO_APIC_FIRST 8u // number of its first input, counted over all of them
#define MADT_OVERRIDE 2u // an interrupt of a PC comes in elsewhere than at the input of its number
#define OVERRIDE_SOURCE 3u
#define OVERRIDE_INPUT 4u
#define OVERRIDE_FLAGS 8u
#define OVERRIDE_POLARITY 3u
#define OVERRIDE_ACTIVE_LOW 3u
#define TIMER_INTERRUPT 0u

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

// The next entry of this kind at or behind *at, which goes behind it. NULL: there is no more.
static const u8 *next_entry(const u8 *madt, u32 *at, u32 kind)
{
	static const u8 bytes_of[] = { [MADT_LOCAL_APIC] = 8, [MADT_IO_APIC] = 12, [MADT_OVERRIDE] = 10 };
	u64 end = madt ? field(madt, HEADER_LENGTH, 4) : 0;

	while (*at + 2 <= end && madt[*at + 1] >= 2) {
		const u8 *entry = madt + *at;

		*at += entry[1];
		if (entry[0] == kind && entry[1] >= bytes_of[kind])
			return entry;
	}
	return NULL;
}

u32 acpi_processors(u32 *id, u32 max)
{
	const u8 *madt = find_madt(), *entry;
	u32 count = 0, at = MADT_ENTRIES;

	while (count < max && (entry = next_entry(madt, &at, MADT_LOCAL_APIC)))
		if (field(entry, LOCAL_APIC_FLAGS, 4) & LOCAL_APIC_ENABLED)
			id[count++] = entry[LOCAL_APIC_ID];
	return count;
}

bool acpi_timer_input(struct acpi_input *input)
{
	const u8 *madt = find_madt(), *entry;
	u64 wanted = TIMER_INTERRUPT, first = 0;

	*input = (struct acpi_input){ 0 };
	for (u32 at = MADT_ENTRIES; (entry = next_entry(madt, &at, MADT_OVERRIDE));)
		if (entry[OVERRIDE_SOURCE] == TIMER_INTERRUPT) {
			wanted = field(entry, OVERRIDE_INPUT, 4);
			input->active_low = (field(entry, OVERRIDE_FLAGS, 2) & OVERRIDE_POLARITY) == OVERRIDE_ACTIVE_LOW;
		}
	for (u32 at = MADT_ENTRIES; (entry = next_entry(madt, &at, MADT_IO_APIC));) {
		u64 begins = field(entry, IO_APIC_FIRST, 4);

		if (begins < first || begins > wanted) // it is the last one that begins at or before the input
			continue;
		first = begins;
		input->address = (u32)field(entry, IO_APIC_ADDRESS, 4);
		input->number = (u32)(wanted - begins);
	}
	return input->address >= FRAME_BYTES;
}
