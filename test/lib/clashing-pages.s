# A guest of 512 bytes: reads sixteen pages in turn, first ones that lie side by side, then
# ones that are a mebibyte apart, and says which on the serial line.  In a direct-mapped TLB
# of 256 entries the latter are all at one place.  SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdt descriptors
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $8, $flat
    .code32
flat:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl $0x7000, %esp
    movl $PHASES, %esi
again:
    movb $'n', %al
    movl $0x1000, %edi
    call work
    movb $'f', %al
    movl $0x100000, %edi
    call work
    decl %esi
    jnz again
    movb $'n', %al
    call say
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt
work:                        # al: its name; edi: from page to page
    call say
    movl $ROUNDS, %ecx
1:  movl $0x400000, %ebx
    movl $16, %edx
2:  addl (%ebx), %eax
    addl %edi, %ebx
    decl %edx
    jnz 2b
    decl %ecx
    jnz 1b
    ret
say:
    movw $0x3f8, %dx
    outb %al, %dx
    ret
    .balign 8
table:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
descriptors:
    .word 23
    .long table
    .org 510
    .word 0xaa55
