# A guest of 512 bytes that has REQUESTS writes in flight, each of BYTES over the same memory, through
# virtio-blk's legacy interface, then one of LARGER.  Says the status of the first ones and of the
# last one (0: done, 1: failed), and switches itself off.
# SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start
_start:
    cld
    movw $0x1000, %ax        # the queue is at 0x10000: descriptors, avail, used; the rest behind
    movw %ax, %es
    xorw %ax, %ax
    xorw %di, %di
    movw $0x4000, %cx
    rep stosw
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
find:
    addl $0x800, device
    xorb %cl, %cl
    call config
    cmpl $0x10011af4, %eax   # virtio-blk, transitional
    jne find
    movb $0x10, %cl
    call config
    andb $0xfc, %al
    movw %ax, ports

    movb $1, %es:0x7800      # a write
    movb $8, %es:0x7808      # from this sector on

    movw ports, %dx
    addw $18, %dx            # status
    xorb %al, %al
    outb %al, %dx
    movb $1, %al
    outb %al, %dx
    movb $3, %al
    outb %al, %dx
    subw $14, %dx            # features: none
    xorl %eax, %eax
    outl %eax, %dx
    addw $10, %dx            # queue 0
    outw %ax, %dx
    subw $2, %dx
    inw %dx, %ax             # how many descriptors, of 16 bytes; then so many words
    movw %ax, %bx
    shlw $4, %bx
    movw %bx, avail
    leaw 6 + 4095(%bx), %bx
    addw %ax, %bx
    addw %ax, %bx
    andw $0xf000, %bx
    movw %bx, used
    subw $4, %dx
    movl $0x10, %eax         # its page
    outl %eax, %dx
    addw $10, %dx
    movb $7, %al
    outb %al, %dx

    xorw %di, %di
    xorw %bx, %bx
    movw avail, %si
    addw $4, %si
    movw $REQUESTS, %cx
1:  movw %bx, %es:(%si)
    addw $2, %si
    movl $0x17800, %eax      # header
    movl $16, %edx
    movw $1, %bp
    call describe
    movl $0x100000, %eax     # the same megabytes for all
    movl $BYTES, %edx
    call describe
    movl $0x17810, %eax      # status
    movl $1, %edx
    movw $2, %bp
    call describe
    loop 1b
    movw $REQUESTS, %ax
    call await
    movl $LARGER, %es:24     # the length of the second descriptor
    movw $REQUESTS + 1, %ax  # the slot for it has 0, the first descriptor
    call await
    movb $'\n', %al
    call say
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt

describe:                    # %edx bytes at %eax, flags %bp, the next descriptor behind it
    stosl
    xorl %eax, %eax
    stosl
    movl %edx, %eax
    stosl
    movw %bp, %ax
    stosw
    incw %bx
    movw %bx, %ax
    stosw
    ret

await:                       # offers %ax requests in all, waits for them
    movb $0xff, %es:0x7810
    movw avail, %si
    movw %ax, %es:2(%si)
    movw %ax, %bx
    movw ports, %dx
    addw $16, %dx            # notify
    xorw %ax, %ax
    outw %ax, %dx
    movw used, %si
2:  pause
    cmpw %bx, %es:2(%si)
    jne 2b
    movb %es:0x7810, %al
    addb $'0', %al
say:
    movw $0x3f8, %dx
    outb %al, %dx
    ret

config:                      # %eax: the device's register at %cl
    movl device, %eax
    movb %cl, %al
    movw $0xcf8, %dx
    outl %eax, %dx
    addw $4, %dx
    inl %dx, %eax
    ret

    .balign 4
device:
    .long 0x80000000
ports:
    .word 0
avail:
    .word 0
used:
    .word 0
    .org 510
    .word 0xaa55
