# A guest of 512 bytes: writes ROUNDS times 32 KiB through the BIOS, flushes if
# FLUSH (IDE), reads them back.  Says for each write w or E (it failed), for
# each read e, if it failed, and a sum; switches itself off.
# SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
    movw $0x1000, %ax
    movw %ax, %es
    cld
    movw $ROUNDS, %bp
write:
    movw %bp, %ax
    xorw %di, %di
    movw $16384, %cx
1:  addw $0x9e37, %ax
    stosw
    loop 1b
    movw $0x4300, %ax
    call disk
    movb $'w', %al
    jnc 2f
    movb $'E', %al
2:  call say
    decw %bp
    jnz write
.if FLUSH
    movw $0x1f7, %dx
    movb $0xe7, %al
    outb %al, %dx
3:  inb %dx, %al
    testb $0x80, %al
    jnz 3b
    andb $1, %al             # f, or g: it failed
    addb $'f', %al
    call say
.endif
    movl $FIRST, lba
    movw $ROUNDS, %bp
read:
    xorw %ax, %ax
    xorw %di, %di
    movw $16384, %cx
    rep stosw
    movw $0x4200, %ax
    call disk
    jnc 4f
    movb $'e', %al
    call say
4:  xorw %ax, %ax
    xorw %di, %di
    movw $16384, %cx
5:  addw %es:(%di), %ax
    rolw $3, %ax
    addw $2, %di
    loop 5b
    pushw %ax
    andb $0x1f, %al
    addb $0x30, %al
    call say
    popw %ax
    movb %ah, %al
    andb $0x1f, %al
    addb $0x30, %al
    call say
    decw %bp
    jnz read
    movb $'\n', %al
    call say
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt

disk:                        # the next 64 sectors
    movb drive, %dl
    movw $64, packet + 2     # the BIOS counts what it did
    movw $packet, %si
    int $0x13
    pushfw
    addl $64, lba
    popfw
    ret

say:
    movw $0x3f8, %dx
    outb %al, %dx
    ret

drive:
    .byte 0
    .balign 4
packet:
    .byte 16, 0
    .word 64
    .word 0, 0x1000          # offset, segment
lba:
    .long FIRST, 0
    .org 510
    .word 0xaa55
