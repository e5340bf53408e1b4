# A guest of 512 bytes whose words are written by the CPU first, and then by a disk, by
# fw_cfg, by REP MOVS, REP STOS and REP INS.  For tests of `understudy debug`: each word
# has an innocent store before the one that counts.
# SPDX-License-Identifier: Apache-2.0
    .code16
    .globl _start, ask, moves, stores, inputs, innocent
    .set DISK, 0x9000        # a sector is read to here
    .set FW_CFG, 0x9200
    .set ACCESS, 0x9300
    .set MOVED, 0x9400
    .set STORED, 0x9600
    .set INPUT, 0x9800
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    movl $0x11111111, %eax
innocent:
    movl %eax, DISK
    movl %eax, FW_CFG
    movl %eax, MOVED + 0x20
    movl %eax, STORED + 0x20
    movl %eax, INPUT + 0x20
    movb $0x42, %ah          # read a sector
    movw $packet, %si
    int $0x13
    movl $0x0a000000, ACCESS # fw_cfg: select item 0, read
    movl $0x04000000, ACCESS + 4
    movl $0, ACCESS + 8
    movl $0x00920000, ACCESS + 12
    movw $0x518, %dx
    movl $0x00930000, %eax
ask:
    outl %eax, %dx
    movw $DISK, %si
    movw $MOVED, %di
    movw $64, %cx
moves:
    rep movsb
    movl $0x22222222, %eax
    movw $STORED, %di
    movw $16, %cx
stores:
    rep stosl
    movw $0x61, %dx          # a port that can be read for nothing
    movw $INPUT, %di
    movw $64, %cx
inputs:
    rep insb
    movw $1000, %cx
1:  loop 1b
    movw $0x604, %dx         # ACPI: soft off
    movw $0x2000, %ax
    outw %ax, %dx
    hlt
packet:
    .byte 16, 0
    .word 1, DISK, 0         # how many, to where
    .quad 1                  # from where
    .org 510
    .word 0xaa55
    .fill 512, 1, 0x55
