/*
 * A boot sector that writes 1 to each register of virtio queues that its disk does not
 * have, through the window in PCI configuration space (queue 9) and through the legacy
 * I/O ports (the vector of queue 10), says "w", waits TICKS ticks of the PIT, and says
 * what it reads in each.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .code16
        .globl  _start
_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld

find:   addl    $0x800, device          /* virtio-blk, transitional */
        movb    $0, %cl
        call    config
        inl     %dx, %eax
        cmpl    $0x10011af4, %eax
        jne     find
        movb    $0x10, %cl
        call    config
        inl     %dx, %eax
        andw    $0xfffc, %ax
        movw    %ax, ports
        movb    $0x34, %cl
        call    config
        inl     %dx, %eax
        movb    %al, %cl
next:   call    config
        inl     %dx, %eax
        cmpb    $0x11, %al              /* MSI-X */
        jne     1f
        orl     $0x80000000, %eax       /* on: only then are there legacy vectors */
        outl    %eax, %dx
1:      movl    %eax, %ebp
        shrl    $24, %ebp
        cmpw    $5, %bp                 /* the window */
        jne     2f
        cmpb    $9, %al
        jne     2f
        movb    %cl, window
2:      movb    %ah, %cl
        testb   %cl, %cl
        jnz     next

        call    select
3:      call    reg
        movl    $1, %eax
        outl    %eax, %dx
        cmpw    $end, %bx
        jne     3b
        call    legacy
        movw    $1, %ax
        outw    %ax, %dx

        movb    $'w', %al
        call    say
        movw    $TICKS, %cx
        sti
4:      hlt
        loop    4b

        call    select
5:      call    reg
        inl     %dx, %eax
        call    hex
        cmpw    $end, %bx
        jne     5b
        call    legacy
        inw     %dx, %ax
        call    hex
        movb    $'\n', %al
        call    say
        movw    $0x604, %dx             /* ACPI: off */
        movw    $0x2000, %ax
        outw    %ax, %dx
6:      hlt
        jmp     6b

config: movl    device, %eax            /* %dx: the port of its register at %cl */
        movb    %cl, %al
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfc, %dx
        ret

select: movw    $queue, %bx             /* queue 9 */
        call    reg
        movl    $9, %eax
        outl    %eax, %dx
        ret

reg:    movb    window, %cl             /* %dx: the common register at (%bx), 2 or 4 bytes */
        addb    $8, %cl
        call    config
        movzbl  (%bx), %eax
        outl    %eax, %dx
        addb    $4, %cl
        call    config
        movl    $2, %eax
        cmpb    $32, (%bx)
        jb      7f
        movb    $4, %al
7:      outl    %eax, %dx
        addb    $4, %cl
        incw    %bx
        jmp     config

legacy: movw    ports, %dx              /* %dx: the vector of queue 10 */
        addw    $14, %dx
        movw    $10, %ax
        outw    %ax, %dx
        addw    $8, %dx
        ret

hex:    movw    $4, %cx                 /* %ax and a space */
8:      rolw    $4, %ax
        pushw   %ax
        andb    $15, %al
        cmpb    $10, %al
        jb      9f
        addb    $'a' - '0' - 10, %al
9:      addb    $'0', %al
        call    say
        popw    %ax
        loop    8b
        movb    $' ', %al
say:    movw    $0x3f8, %dx
        outb    %al, %dx
        ret

device: .long   0x80000000
ports:  .word   0
window: .byte   0
queue:  .byte   22
        .byte   24, 26, 32, 36, 40, 44, 48, 52, 28      /* size, vector, addresses, enable */
end:
        .org    510
        .word   0xaa55
