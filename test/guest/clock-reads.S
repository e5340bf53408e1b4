/*
 * A disk that boots and reads the local APIC's timer, which counts, with all sorts of
 * instructions and in the middle of blocks: by MMIO, then as an MSR.  It mixes what it
 * reads, says the sum as digits, ROUNDS times, and switches itself off.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .set    COUNT, 0xfee00390
        .set    TRAPS, 0x1000           /* the IDT */
        .set    ROOM, 0x2000

        .macro  fold value
        roll    $5, %ebx
        xorl    \value, %ebx
        .endm

        .macro  trap number
        movl    $1f, resume             /* where its handler goes on */
        .endm

        .code16
        .globl  _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7000, %sp
        movb    $0x42, %ah              /* read the rest of this */
        movw    $packet, %si
        int     $0x13
        lgdt    gdt
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $flat
        .balign 4
packet: .byte   16, 0
        .word   8
        .word   0x7e00, 0
        .long   1, 0
        .balign 8
table:  .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt:    .word   23
        .long   table
idt:    .word   32 * 8 - 1
        .long   TRAPS
resume: .long   0
        .org    510
        .word   0xaa55

        .code32
flat:   movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7000, %esp
        movl    $TRAPS, %edi            /* every trap has one handler */
        movl    $32, %ecx
1:      movl    $0x80000 + trapped, (%edi)
        movl    $0x8e00, 4(%edi)
        addl    $8, %edi
        loop    1b
        lidt    idt
        movl    %cr4, %eax
        orl     $0x600, %eax            /* SSE */
        movl    %eax, %cr4
        movl    %cr0, %eax
        andl    $~4, %eax
        orl     $0x22, %eax
        movl    %eax, %cr0
        fninit
        movl    $0x1ff, 0xfee000f0
        movl    $0xb, 0xfee003e0        /* as fast as it goes, periodic, masked */
        movl    $0x30030, 0xfee00320
        movl    $0x7fffff00, 0xfee00380
        xorl    %ebx, %ebx
        movl    $ROUNDS, %ebp
round:  call    reads
        call    say
        decl    %ebp
        jnz     round
        movl    $0x1b, %ecx             /* x2APIC */
        rdmsr
        orl     $0xc00, %eax
        wrmsr
        movl    $ROUNDS, %ebp
2:      call    msrs
        call    say
        decl    %ebp
        jnz     2b
        movw    $0x3f8, %dx
        movb    $'\n', %al
        outb    %al, %dx
        movw    $0x604, %dx             /* ACPI: off */
        movw    $0x2000, %ax
        outw    %ax, %dx
3:      hlt
        jmp     3b

say:    movw    $0x3f8, %dx
        movb    %bl, %al
        andb    $0x3f, %al
        addb    $0x30, %al
        outb    %al, %dx
        ret

trapped:                                /* of #BR and INTO: no error code */
        popl    %eax
        fold    %eax
        pushl   resume
        iret

msrs:   movl    $0x839, %ecx
        nop
        rdmsr
        fold    %eax
        rdmsr
        fold    %eax
        movl    $0x10, %ecx
        rdmsr
        movl    $0x838, %ecx
        movl    $0x7fffff00, %eax
        xorl    %edx, %edx
        wrmsr
        incl    %ecx
        rdmsr
        fold    %eax
        rdtsc
        fold    %eax
        incl    %ebx
        ret

reads:  movl    $COUNT, %esi
        movl    (%esi), %eax
        fold    %eax
        addl    (%esi), %ebx
        xorl    (%esi), %ebx
        cmpl    (%esi), %ebx
        adcl    $3, %ebx
        testl   %eax, (%esi)
        sbbl    $7, %ebx
        pushl   (%esi)
        popl    %eax
        fold    %eax
        xaddl   %eax, (%esi)
        fold    %eax
        lock
        xaddl   %eax, (%esi)
        fold    %eax
        cmpxchgl %ebx, (%esi)
        fold    %eax
        lock
        cmpxchgl %ebx, (%esi)
        fold    %eax
        lock
        cmpxchg8b (%esi)
        fold    %eax
        xchgl   %eax, (%esi)
        fold    %eax
        lock
        addl    $1, (%esi)
        adcl    $0, %ebx
        negl    (%esi)
        rcll    $1, %ebx
        shll    $3, (%esi)
        rcll    $1, %ebx
        imull   (%esi), %eax
        fold    %eax
        bsfl    (%esi), %eax
        fold    %eax
        btsl    $3, (%esi)
        adcl    $0, %ebx
        movl    $1, %ecx
        shldl   %cl, %ebx, (%esi)
        cmovnzl (%esi), %eax
        fold    %eax
        bswapl  %eax
        crc32l  (%esi), %ebx
        flds    (%esi)
        fiaddl  (%esi)
        fildl   (%esi)
        fistpll ROOM
        fstps   ROOM + 8
        fold    ROOM
        fold    ROOM + 8
        movups  (%esi), %xmm0
        movlps  (%esi), %xmm1
        cvtsi2ssl (%esi), %xmm2
        paddd   %xmm1, %xmm0
        movups  %xmm0, ROOM
        movss   %xmm2, ROOM + 16
        fold    ROOM
        fold    ROOM + 16
        movnti  %eax, (%esi)
        fldenv  (%esi)
        fninit
        fldt    (%esi)
        fstpt   ROOM
        fold    ROOM
        movl    $ROOM, %edi
        movsl
        movl    $COUNT, %esi
        lodsl
        fold    %eax
        movl    $COUNT, %esi
        movl    $4, %ecx
        rep     movsl
        fold    ROOM + 4
        fold    ROOM + 16
        movl    $COUNT, %esi
        cmpsl
        adcl    $0, %ebx
        movl    $COUNT, %edi
        movl    $4, %ecx
        repne   scasl
        adcl    %ecx, %ebx
        movl    $COUNT, %esi
        /* a stack of registers, and a frame */
        movl    %ebp, ROOM + 32
        movl    %ebx, ROOM + 36
        movl    %esp, ROOM + 40
        movl    $0xfee00380, %esp
        popal
        movl    ROOM + 40, %esp
        movl    ROOM + 36, %ebx
        fold    %eax
        fold    %ecx
        movl    $COUNT + 8, %ebp
        enter   $8, $3
        movl    4(%esp), %eax
        fold    %eax
        movl    ROOM + 40, %esp
        movl    ROOM + 32, %ebp
        movl    $COUNT, %esi
        trap
        boundl  %eax, (%esi)
1:      fold    %eax
        trap
        movb    $0x7f, %al
        addb    $1, %al
        into
        nop
        fold    %eax
1:      movl    (%esi), %eax
        fold    %eax
        incl    %ebx
        ret
        .org    0x1200
