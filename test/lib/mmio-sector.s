# A guest of 512 bytes: reads 8 KiB of its disk into the screen's memory through the
# BIOS, writes them back to another place from there, reads those into RAM, and says
# a sum of each; with BMDMA the same again, by two IDE channels at once, into the
# screen.  Switches itself off.  SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
    cld
    movw $0x42, %cx          # read into the screen
    movw $0xb800, %bx
    call disk
    movl $4096, lba
    movw $0x43, %cx          # write from there
    call disk
    movw $0x42, %cx          # read into RAM
    movw $0x1000, %bx
    call disk
.if BMDMA
    cli
    movl $0x80000904, %eax   # 00:01.1, command: I/O, memory, bus master
    movw $0xcf8, %dx
    outl %eax, %dx
    movw $0xcfc, %dx
    movw $7, %ax
    outw %ax, %dx
    movl $0x80000920, %eax   # BAR 4
    movw $0xcf8, %dx
    outl %eax, %dx
    movw $0xcfc, %dx
    inw %dx, %ax
    andw $0xfff0, %ax
    movw %ax, %si
    xorw %bx, %bx            # first channel
    movw $0x1f0, %di
    call prepare
    movw $8, %bx
    movw $0x170, %di
    call prepare
    movw $0x1f7, %dx
    call go
    movw $0x177, %dx
    call go
    movw $2, %dx
    call finish
    movw $10, %dx
    call finish
    movw $0xb800, %ax
    call sum
.endif
    movb $'\n', %al
    call say
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt

.if BMDMA
prepare:                     # channel at %di, its bus master at %si + %bx
    leaw 0x206(%di), %dx     # no interrupts
    movb $2, %al
    outb %al, %dx
    leaw 6(%di), %dx
    movb $0xe0, %al
    outb %al, %dx
    leaw 2(%di), %dx
    movb $16, %al
    outb %al, %dx
    incw %dx                 # LBA 0x80, of each
    movb $0x80, %al
    outb %al, %dx
    incw %dx
    xorb %al, %al
    outb %al, %dx
    incw %dx
    outb %al, %dx
    leaw 4(%si), %dx
    addw %bx, %dx
    movl $prd, %eax
    outl %eax, %dx
    leaw (%bx,%si), %dx
    movb $9, %al             # to memory; begin
    outb %al, %dx
    ret

go: movb $0xc8, %al          # READ DMA
    outb %al, %dx
    ret

finish:                      # until it is not active any more
    addw %si, %dx
1:  inb %dx, %al
    testb $1, %al
    jnz 1b
    ret

    .balign 4
prd:
    .long 0xb8000, 0x80002000
.endif

disk:                        # 16 sectors at lba, to or from %bx:0
    movw %bx, packet + 6
    movb %cl, %ah
    xorb %al, %al
    movb drive, %dl
    movw $packet, %si
    int $0x13
    movw %bx, %ax
    jnc sum
    movb $'e', %al
    jmp say

sum:
    movw %ax, %es
    xorw %ax, %ax
    xorw %di, %di
    movw $4096, %cx
2:  addw %es:(%di), %ax
    rolw $3, %ax
    addw $2, %di
    loop 2b
    pushw %ax
    andb $0x1f, %al
    addb $0x30, %al
    call say
    popw %ax
    movb %ah, %al
    andb $0x1f, %al
    addb $0x30, %al
say:
    movw $0x3f8, %dx
    outb %al, %dx
    ret

drive:
    .byte 0
    .balign 4
packet:
    .byte 16, 0
    .word 16
    .word 0, 0               # offset, segment
lba:
    .long 2048, 0
    .org 510
    .word 0xaa55
