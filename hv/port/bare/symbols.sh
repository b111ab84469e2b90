#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Turns the output of `nm -n IMAGE` (standard input) into the assembly of the image's symbol table
# (standard output), for backtraces. Without input the table is empty: that is the first link.
#
#   symbol_table: symbol_count entries { .quad address; .quad name }, ascending
#
# The table lies behind all code, so addresses of functions are the same in both links.
set -eu

awk '
BEGIN {
	print "\t.section .symbols, \"a\""
	print "\t.balign 8"
	print "\t.global symbol_table, symbol_count"
	print "symbol_table:"
}
# Functions only; labels of assembly loops and linker marks would only hide the name that helps.
NF == 3 && ($2 == "t" || $2 == "T") && $3 !~ /^image_text/ && $3 !~ /^\./ {
	if ($1 == last)
		next
	last = $1
	printf "\t.quad 0x%s, symbol_name_%d\n", $1, count
	names[count++] = $3
}
END {
	print "symbol_count:"
	printf "\t.quad %d\n", count
	for (i = 0; i < count; i++)
		printf "symbol_name_%d: .asciz \"%s\"\n", i, names[i]
	print "\t.section .note.GNU-stack, \"\", @progbits"
}'
