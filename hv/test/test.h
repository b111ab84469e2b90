// SPDX-License-Identifier: GPL-2.0-or-later
// The test framework: one program per *_test.c, any number of TESTs in it.
//
//	#include "test.h"
//	TEST(list_starts_empty) { struct list l; list_init(&l); CHECK(list_empty(&l)); }
//
// A TEST registers itself; test.h brings main(). A failed CHECK prints its place, what it saw and
// the command that replays the one test, then the test goes on. The last line is
// `N passed, N failed, N skipped`; the exit status is 1 if any test failed.
//
// Arguments: names of tests to run (all when there are none), or -l to list them.
#ifndef HV_TEST_TEST_H
#define HV_TEST_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};
static struct test_case *test_first, **test_end = &test_first;
static const char *test_name, *test_program;
static unsigned test_failures; // in the running test
static bool test_is_skipped;

#define TEST(name_)                                                                             \
	static void test_##name_(void);                                                         \
	static struct test_case test_case_##name_ = { #name_, test_##name_, 0 };                \
	__attribute__((constructor)) static void test_add_##name_(void)                         \
	{                                                                                       \
		*test_end = &test_case_##name_;                                                 \
		test_end = &test_case_##name_.next;                                             \
	}                                                                                       \
	static void test_##name_(void)

// Many failures of one test are one story: the first ten are told.
#define TEST_TOLD_MAX 10

__attribute__((unused)) static bool test_fail(const char *file, int line)
{
	test_failures++;
	if (test_failures == TEST_TOLD_MAX + 1)
		printf("%s: more failures in %s are not shown\n", file, test_name);
	if (test_failures > TEST_TOLD_MAX)
		return false;
	if (test_failures == 1)
		printf("FAIL %s: replay with `%s %s`\n", test_name, test_program, test_name);
	printf("%s:%d: ", file, line);
	return true;
}

__attribute__((unused)) static bool test_check(bool ok, const char *what, const char *file, int line)
{
	if (!ok && test_fail(file, line))
		printf("not true: %s\n", what);
	return ok;
}

__attribute__((unused)) static bool test_check_eq(uint64_t a, uint64_t b, const char *what, const char *file,
						  int line)
{
	if (a != b && test_fail(file, line))
		printf("%s: 0x%llx (%lld), expected 0x%llx (%lld)\n", what, (unsigned long long)a, (long long)a,
		       (unsigned long long)b, (long long)b);
	return a == b;
}

__attribute__((unused)) static bool test_check_str(const char *a, const char *b, const char *what,
						   const char *file, int line)
{
	bool ok = a && b ? strcmp(a, b) == 0 : a == b;

	if (!ok && test_fail(file, line))
		printf("%s: \"%s\", expected \"%s\"\n", what, a ? a : "(null)", b ? b : "(null)");
	return ok;
}

// Each gives whether the check held, so that a test can stop early: if (!CHECK(p)) return;
#define CHECK(cond) test_check((cond) ? true : false, #cond, __FILE__, __LINE__)
#define CHECK_EQ(seen, expected) \
	test_check_eq((uint64_t)(seen), (uint64_t)(expected), #seen, __FILE__, __LINE__)
#define CHECK_STR(seen, expected) test_check_str((seen), (expected), #seen, __FILE__, __LINE__)
// The test cannot be run here (with a reason): counts as skipped, not passed. Return after it.
#define SKIP(why) (test_is_skipped = true, (void)printf("skip %s: %s\n", test_name, why))

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0, skipped = 0;

	test_program = argv[0];
	setvbuf(stdout, 0, _IOLBF, 0);
	for (struct test_case *t = test_first; t; t = t->next) {
		bool wanted = argc == 1;

		if (argc == 2 && strcmp(argv[1], "-l") == 0) {
			printf("%s\n", t->name);
			continue;
		}
		for (int i = 1; i < argc; i++)
			wanted = wanted || strcmp(argv[i], t->name) == 0;
		if (!wanted)
			continue;
		test_name = t->name;
		test_failures = 0;
		test_is_skipped = false;
		t->run();
		if (test_failures)
			failed++;
		else if (test_is_skipped)
			skipped++;
		else
			passed++;
	}
	if (argc == 2 && strcmp(argv[1], "-l") == 0)
		return 0;
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed != 0;
}

#endif
