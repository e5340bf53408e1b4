/*
 * A boot sector that says "hangs" and then makes no progress, or hardly any, in one of
 * these ways (HOW):
 *  0  its handler of #UD begins with an invalid instruction
 *  1  a jump to itself, interrupts off
 *  2  halted, interrupts off
 *  3  one REP over a device's memory, four thousand million times
 *  4  a triple fault: it is reset, and says so again and again
 *  5  its handler of #GP begins with an instruction that raises #GP, and does not count
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .code16
        .globl  _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7000, %sp
        movw    $ready, %si
        movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
2:
.if HOW == 0
        movw    $0x2000, %ax            /* a stack that may wrap */
        movw    %ax, %ss
        movw    $undef, 6 * 4
        movw    $0, 6 * 4 + 2
undef:  ud2
.elseif HOW == 1
3:      jmp     3b
.elseif HOW == 2
3:      hlt
        jmp     3b
.elseif HOW == 3
        lgdt    gdt
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $flat
        .code32
flat:   movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movl    $0xfee00390, %esi
        movl    $0x8000, %edi
        movl    $0xfffffff0, %ecx
4:      rep lodsb
        jmp     4b
        .code16
.elseif HOW == 4
        lidt    none
        ud2
.endif
.if HOW == 5
        movw    $0x2000, %ax
        movw    %ax, %ss
        movw    $gp, 13 * 4
        movw    $0, 13 * 4 + 2
        movl    $0xffffffff, %eax
gp:     movl    %eax, %cr4
.endif
none:   .word   0
        .long   0
        .balign 8
table:  .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt:    .word   23
        .long   table
ready:  .asciz  "hangs\n"
        .org    510
        .word   0xaa55
