/*
 * A boot sector that sleeps in S3, SLEEPS times, then switches itself off.  It says "s"
 * before each sleep, and when it is woken "R" for the clock's alarm or "P" for the power
 * button.  With ALARM the clock wakes it within a second.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .code16
        .globl  _start
_start: movw    $SLEEPS, %bp
        jmp     go
        .balign 16
resume: cli                             /* its own segment, so IP is 0 */
        ljmp    $0, $woke
woke:   xorw    %ax, %ax
        movw    %ax, %ds
        movw    $0x600, %dx             /* PM1 status */
        inw     %dx, %ax
        movw    %ax, %bx
        movw    $0xffff, %ax
        outw    %ax, %dx
        movb    $'R', %al
        testw   $0x400, %bx
        jnz     1f
        movb    $'P', %al
1:      movw    $0x3f8, %dx
        outb    %al, %dx
        movw    left, %bp
        decw    %bp
        jnz     go
        movw    $0x604, %dx             /* ACPI: off */
        movw    $0x2000, %ax
        outw    %ax, %dx
2:      hlt
        jmp     2b

go:     cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %bp, left
.if ALARM
        movw    $0xc001, %ax            /* any second, minute and hour */
        call    cmos
        movb    $3, %al
        call    cmos
        movb    $5, %al
        call    cmos
        movw    $0x220b, %ax            /* the alarm's interrupt, 24 hours */
        call    cmos
.endif
        movb    $0x0c, %al
        outb    %al, $0x70
        inb     $0x71, %al
        movw    $0x602, %dx             /* PM1: the clock and the button wake */
        movw    $0x500, %ax
        outw    %ax, %dx
        lgdt    gdt
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $flat

cmos:   outb    %al, $0x70
        xchgb   %ah, %al
        outb    %al, $0x71
        xchgb   %ah, %al
        ret

        .code32
flat:   movw    $16, %ax
        movw    %ax, %ds
        movl    $0xdfff0, %esi
1:      addl    $16, %esi
        cmpl    $0x20445352, (%esi)     /* "RSD PTR " */
        jne     1b
        cmpl    $0x20525450, 4(%esi)
        jne     1b
        movl    16(%esi), %esi          /* RSDT */
        addl    $36, %esi
2:      lodsl
        cmpl    $0x50434146, (%eax)     /* "FACP" */
        jne     2b
        movl    36(%eax), %eax          /* FACS */
        movl    $resume, 12(%eax)
        movw    $0x3f8, %dx
        movb    $'s', %al
        outb    %al, %dx
        movw    $0x604, %dx             /* S3 */
        movw    $0x2400, %ax
        outw    %ax, %dx
3:      hlt
        jmp     3b
        .balign 8
table:  .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt:    .word   23
        .long   table
left:   .word   0
        .org    510
        .word   0xaa55
