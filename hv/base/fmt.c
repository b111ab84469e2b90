// SPDX-License-Identifier: GPL-2.0-or-later
// The formatter behind log lines, panics and assertion texts. No floating point, no allocation, linear
// in the output. Not a full printf: precision and left alignment do not exist.
#include "fmt.h"

struct sink {
	char *to;
	size_t size, at;
};

static void put(struct sink *s, char c)
{
	if (s->at + 1 < s->size)
		s->to[s->at++] = c;
}

static void put_number(struct sink *s, u64 value, u32 base, u32 width, char pad, bool negative)
{
	char digits[24];
	u32 n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[n++] = '-';
	for (u32 i = n; i < width; i++)
		put(s, pad);
	while (n)
		put(s, digits[--n]);
}

static u64 take_unsigned(va_list *args, u32 longs)
{
	return longs > 1 ? va_arg(*args, unsigned long long)
	       : longs   ? va_arg(*args, unsigned long)
			 : va_arg(*args, unsigned int);
}

static s64 take_signed(va_list *args, u32 longs)
{
	return longs > 1 ? va_arg(*args, long long) : longs ? va_arg(*args, long) : va_arg(*args, int);
}

size_t fmt_va(char *to, size_t size, const char *format, va_list args_in)
{
	struct sink s = { to, size, 0 };
	va_list args;

	va_copy(args, args_in);
	for (const char *f = format; *f; f++) {
		if (*f != '%') {
			put(&s, *f);
			continue;
		}
		char pad = ' ';
		u32 width = 0, longs = 0;

		f++;
		if (*f == '0')
			pad = *f++;
		while (*f >= '0' && *f <= '9')
			width = width * 10 + (u32)(*f++ - '0');
		while (*f == 'l' || *f == 'z') {
			longs += *f == 'l' ? 1 : 2;
			f++;
		}
		if (*f == 's') {
			const char *text = va_arg(args, const char *);

			for (text = text ? text : "(null)"; *text; text++)
				put(&s, *text);
		} else if (*f == 'c') {
			put(&s, (char)va_arg(args, int));
		} else if (*f == 'x') {
			put_number(&s, take_unsigned(&args, longs), 16, width, pad, false);
		} else if (*f == 'u') {
			put_number(&s, take_unsigned(&args, longs), 10, width, pad, false);
		} else if (*f == 'd') {
			s64 value = take_signed(&args, longs);

			put_number(&s, value < 0 ? 0 - (u64)value : (u64)value, 10, width, pad, value < 0);
		} else if (*f == 'p') {
			put_number(&s, (u64)(uintptr_t)va_arg(args, void *), 16, 16, '0', false);
		} else if (*f == '%') {
			put(&s, '%');
		} else {
			put(&s, '%');
			if (!*f)
				break;
			put(&s, *f);
		}
	}
	va_end(args);
	if (size)
		to[s.at] = 0;
	return s.at;
}

size_t fmt(char *to, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	size_t n = fmt_va(to, size, format, args);

	va_end(args);
	return n;
}
