# A guest of 512 bytes: computes, writes memory, notes when and where each byte
# typed on the serial line interrupted it, switches itself off.  For tests that
# replay often.  SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movw %ax, 0x7e02
    movw $isr, 0x30          # IRQ 4 is interrupt 0x0c
    movw %ax, 0x32
    movw $0x3f9, %dx         # UART: interrupt when a byte came
    movb $1, %al
    outb %al, %dx
    movw $0x3fc, %dx
    movb $0x0b, %al
    outb %al, %dx
    inb $0x21, %al
    andb $0xef, %al
    outb %al, $0x21
    sti
    movw $ready, %si
    movw $0x3f8, %dx
say:
    lodsb
    testb %al, %al
    jz begin
    outb %al, %dx
    jmp say
begin:
    movl $ROUNDS, %ecx
    movl $1, %eax
work:                        # 7 instructions a round
    imull $1664525, %eax
    addl $1013904223, %eax
    movl %eax, %ebx
    shrl $18, %ebx
    movl %eax, 0x8000(%bx)
    decl %ecx
    jnz work
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt
isr:
    pushw %ax
    pushw %bx
    pushw %dx
    pushw %bp
    movw %sp, %bp
    movw 0x7e02, %bx
    movw 8(%bp), %ax         # where
    movw %ax, 0x7f00(%bx)
    addb $2, 0x7e02
    movl %ecx, 0x7e04        # when
    movw $0x3f8, %dx
    inb %dx, %al
    addb %al, 0x7e00         # what
    movb $0x20, %al
    outb %al, $0x20
    popw %bp
    popw %dx
    popw %bx
    popw %ax
    iret
ready:
    .asciz "ready\n"
    .org 510
    .word 0xaa55
