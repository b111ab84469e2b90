// SPDX-License-Identifier: GPL-2.0-or-later
// The formatter of hv/base/fmt.c against libc's snprintf on everything both know, and its own edges: sizes
// 0 and 1, truncation, unknown conversions.
#include "test.h"

#include "../base/fmt.h"

#define SAME(...)                                                             \
	do {                                                                  \
		char ours[128], libc[128];                                    \
		size_t n = fmt(ours, sizeof(ours), __VA_ARGS__);              \
		int m = snprintf(libc, sizeof(libc), __VA_ARGS__);            \
		CHECK_STR(ours, libc);                                        \
		CHECK_EQ(n, m);                                               \
	} while (0)

TEST(conversions_are_those_of_libc)
{
	static const unsigned long long values[] = { 0, 1, 9, 10, 15, 16, 255, 0x7fffffff, 0x80000000, 0xffffffff };

	SAME("plain");
	SAME("%s and %c, %%", "text", 'x');
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		SAME("%u|%5u|%05u", (unsigned)values[i], (unsigned)values[i], (unsigned)values[i]);
		SAME("%x|%3x|%08x", (unsigned)values[i], (unsigned)values[i], (unsigned)values[i]);
		SAME("%d", (int)values[i]);
		SAME("%lu %lx", (unsigned long)values[i] << 31, (unsigned long)values[i] << 31);
		SAME("%llu %llx", values[i] * values[i], ~values[i]);
		SAME("%lld", -(long long)values[i]);
		SAME("%zu", (size_t)values[i]);
	}
	SAME("%lld", (long long)INT64_MIN);
	SAME("%d", INT32_MIN);
	SAME("%llx", ~0ull);
}

TEST(pointers_have_sixteen_digits)
{
	char text[32];

	fmt(text, sizeof(text), "%p", (void *)(uintptr_t)0x1234);
	CHECK_STR(text, "0000000000001234");
}

TEST(output_is_cut_to_the_buffer)
{
	char text[8] = "#######";

	CHECK_EQ(fmt(text, 0, "abc"), 0);
	CHECK_EQ(text[0], '#');
	CHECK_EQ(fmt(text, 1, "abc"), 0);
	CHECK_EQ(text[0], 0);
	CHECK_EQ(text[1], '#');
	for (size_t size = 1; size <= 7; size++) {
		size_t n = fmt(text, size, "%u", 123456);

		CHECK_EQ(n, size - 1 < 6 ? size - 1 : 6);
		CHECK_EQ(text[n], 0);
	}
}

TEST(what_it_does_not_know_stays)
{
	char text[32];
	const char *format = "%q %"; // not a literal: the compiler would complain, rightly

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
	fmt(text, sizeof(text), format);
#pragma clang diagnostic pop
	CHECK_STR(text, "%q %");
	const char *none = NULL;

	fmt(text, sizeof(text), "%s", none);
	CHECK_STR(text, "(null)");
}
