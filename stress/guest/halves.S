// SPDX-License-Identifier: GPL-2.0-or-later
// The flattened 32-bit halves as parts of the image.
	.section .half32, "aw"
	.incbin "build/guest/half32.bin"
	.section .halfpae, "aw"
	.incbin "build/guest/halfpae.bin"
