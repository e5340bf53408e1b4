// SPDX-License-Identifier: Apache-2.0
/**
 * A disk as an installer leaves it: an MBR with GRUB, and one ext2 partition with
 * GRUB's modules, its grub.cfg, a kernel and an initrd. Made without a loop device.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  cpSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGrub } from '../../scripts/steps/test-grub.mjs';

const SECTOR = 512;
const PARTITION_SECTOR = 2048; // as every partitioner aligns it
const PARTITION_SECTORS = 48 * 2048;
/** Bytes of code in the first sector, before the disk's signature and the partitions. */
const BOOT_CODE_BYTES = 440;
const PARTITION_TABLE = 446;
const LINUX = 0x83;

export interface GrubGuest {
  readonly vmlinuz: string;
  readonly initrd: string;
  /** The kernel's command line. */
  readonly append: string;
  /** Whether the menu is drawn in a graphics mode, as Debian's own is. */
  readonly graphical: boolean;
}

/** What GRUB prints of its terminals, in the list of those that are active. */
export const GRUB_TEXT = 'serial console';
export const GRUB_GRAPHICAL = 'gfxterm serial';

/** Makes `image`, with its scratch files beside it. */
export async function makeGrubDisk(image: string, guest: GrubGuest): Promise<void> {
  const grub = await testGrub(new Progress({ quietDone: true }));
  const tree = `${image}.tree`;
  const folder = join(tree, 'boot/grub');
  mkdirSync(folder, { recursive: true });
  try {
    copyFileSync(guest.vmlinuz, join(tree, 'boot/vmlinuz'));
    copyFileSync(guest.initrd, join(tree, 'boot/initrd.gz'));
    cpSync(grub.modules, join(folder, 'i386-pc'), { recursive: true });
    copyFileSync(grub.font, join(folder, 'font.pf2'));
    writeFileSync(join(folder, 'grub.cfg'), grubConfig(guest));
    writeImage(image, grub, ext2Of(tree));
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

function grubConfig({ append, graphical }: GrubGuest): string {
  const screen = graphical
    ? ['loadfont $prefix/font.pf2', 'set gfxmode=640x480', 'insmod all_video', 'insmod gfxterm']
    : [];
  return [
    'insmod serial',
    'serial --unit=0 --speed=115200',
    ...screen,
    'terminal_input serial console',
    `terminal_output serial ${graphical ? 'gfxterm' : 'console'}`,
    'set timeout=1',
    "menuentry 'Linux' {",
    '  terminal_output', // says which are active
    `  linux /boot/vmlinuz ${append}`,
    '  initrd /boot/initrd.gz',
    '}',
    '',
  ].join('\n');
}

/** An ext2 with the tree's files. */
function ext2Of(tree: string): Buffer {
  const file = `${tree}.ext2`;
  const size = `${(PARTITION_SECTORS * SECTOR) / 1024}k`;
  try {
    execFileSync('mke2fs', ['-q', '-t', 'ext2', '-F', '-d', tree, file, size], {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return readFileSync(file);
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * GRUB's two images fit together as they are: boot.img loads what is in sector 1
 * (`kernel_sector`, grub-core/boot/i386/pc/boot.S), the first sector of core.img
 * the rest of itself from sector 2 on (`blocklist_default_start`, diskboot.S).
 */
function writeImage(image: string, grub: { boot: string; core: string }, partition: Buffer): void {
  const core = readFileSync(grub.core);
  if (core.length > (PARTITION_SECTOR - 1) * SECTOR) throw new Error('core.img is too long');
  const file = openSync(image, 'w');
  try {
    ftruncateSync(file, (PARTITION_SECTOR + PARTITION_SECTORS) * SECTOR);
    writeSync(file, firstSector(readFileSync(grub.boot)), 0, SECTOR, 0);
    writeSync(file, core, 0, core.length, SECTOR);
    writeSync(file, partition, 0, partition.length, PARTITION_SECTOR * SECTOR);
  } finally {
    closeSync(file);
  }
}

function firstSector(boot: Buffer): Buffer {
  const sector = Buffer.alloc(SECTOR);
  boot.copy(sector, 0, 0, BOOT_CODE_BYTES);
  const entry = sector.subarray(PARTITION_TABLE);
  const beyondCylinders = [0xfe, 0xff, 0xff]; // the place is in its sector number
  entry.set([0x80, ...beyondCylinders, LINUX, ...beyondCylinders]);
  entry.writeUInt32LE(PARTITION_SECTOR, 8);
  entry.writeUInt32LE(PARTITION_SECTORS, 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
