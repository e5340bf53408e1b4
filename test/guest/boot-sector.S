/*
 * A boot sector: the BIOS loads it from the disk; it reads and writes the disk
 * through the BIOS and says what it read on the serial port.  What it says
 * depends on the disk and on how far it got between two timer interrupts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive
        movw    $16, rounds
again:  movb    $0x42, %ah              /* read 16 sectors */
        call    disk
        movw    $0x1000, %ax
        movw    %ax, %es
        xorw    %di, %di
        movw    $4096, %cx
        movw    0x46c, %bx              /* ticks since the BIOS began */
1:      addw    %es:(%di), %bx
        rolw    $3, %bx
        incw    %di
        incw    %di
        loop    1b
        movw    0x46c, %si              /* count until the next tick */
2:      incw    %bx
        movb    %bl, %es:(%bx)
        cmpw    0x46c, %si
        je      2b
        movw    %bx, %es:0
        movb    $0x43, %ah              /* write them back */
        xorb    %al, %al
        call    disk
        movb    %bl, %al
        andb    $0x3f, %al
        addb    $0x30, %al
        call    say
        addl    $24, lba
        decw    rounds
        jnz     again
        movb    $'\n', %al
        call    say
        movw    $0x604, %dx             /* ACPI: off */
        movw    $0x2000, %ax
        outw    %ax, %dx
3:      hlt
        jmp     3b

disk:   pushw   %bx
        movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        popw    %bx
        jnc     4f
        movb    $'!', %al
        call    say
4:      ret

say:    pushw   %ax
        movw    $0x3fd, %dx
5:      inb     %dx, %al
        testb   $0x20, %al
        jz      5b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

drive:  .byte   0
rounds: .word   0
        .balign 4
packet: .byte   16, 0
        .word   16
        .word   0, 0x1000               /* offset, segment */
lba:    .long   8, 0
        .org    510
        .word   0xaa55
