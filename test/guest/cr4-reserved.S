/*
 * A boot sector that writes reserved bits of CR4, which raises #GP, and says at each
 * #GP whether it finds the registers as they were just before: "GGG", then "S" at each
 * tick of the clock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7000, %sp
        movw    $gp, 13 * 4
        movw    %ax, 13 * 4 + 2
        movw    $tick, 0x1c * 4
        movw    %ax, 0x1c * 4 + 2
        xorl    %ecx, %ecx
again:  incw    %cx
        leal    0x5a00(%ecx), %ebx      /* still in a register of the host */
        movl    $0xffffffff, %eax
        movl    %eax, %cr4
        hlt                             /* with interrupts off: for ever */
gp:     leal    0x5a00(%ecx), %edx
        cmpl    %edx, %ebx
        movb    $'!', %al
        jne     1f
        movb    $'G', %al
1:      movw    $0x3f8, %dx
        outb    %al, %dx
        addw    $6, %sp
        cmpw    $3, %cx
        jb      again
        sti
2:      hlt
        jmp     2b

tick:   pushw   %ax
        pushw   %dx
        movw    $0x3f8, %dx
        movb    $'S', %al
        outb    %al, %dx
        popw    %dx
        popw    %ax
        iret
        .org    510
        .word   0xaa55
