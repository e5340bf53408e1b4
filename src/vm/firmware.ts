// SPDX-License-Identifier: Apache-2.0
/**
 * The firmware that QEMU gives a guest: files of the host, which the guest executes. Two
 * sides, and a recording and its replay, must have the same.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodeOf, UnderstudyError } from '../base/errors.ts';
import { copyPrivately } from '../base/private-copy.ts';

/** All that the devices of the whitelist can ask for (QEMU looks nowhere else, patch 0036). */
export const FIRMWARE_FILES = [
  'bios-256k.bin',
  'kvmvapic.bin',
  'linuxboot_dma.bin',
  'multiboot_dma.bin',
  'pvh.bin',
  'vgabios-stdvga.bin',
] as const;

/** sha256 by name; a file that is missing has none. */
export type FirmwareHashes = Readonly<Record<string, string>>;

/** Puts what there is of it into a folder of a recording's own. */
export function copyFirmware(from: string, to: string): void {
  const found = FIRMWARE_FILES.filter((name) => existsSync(join(from, name)));
  if (found.length > 0) mkdirSync(to, { recursive: true });
  for (const name of found) copyPrivately(join(from, name), join(to, name));
}

/** The first file that is not the same, for messages; null: none differs. */
export function firmwareDifference(a: FirmwareHashes, b: FirmwareHashes): string | null {
  return FIRMWARE_FILES.find((name) => a[name] !== b[name]) ?? null;
}

/** "1a2b3c4d5e6f7a8b", "none": of one file. */
export function firmwareHash(hashes: FirmwareHashes, name: string): string {
  return hashes[name]?.slice(0, 16) ?? 'none';
}

/** 300 KB: hashed at each start. */
export function hashFirmware(dir: string): FirmwareHashes {
  const hashes: Record<string, string> = {};
  for (const name of FIRMWARE_FILES) {
    try {
      hashes[name] = createHash('sha256')
        .update(readFileSync(join(dir, name)))
        .digest('hex');
    } catch (cause) {
      if (errorCodeOf(cause) === 'ENOENT') continue;
      throw new UnderstudyError('file-io', `the firmware ${join(dir, name)} cannot be read`, {
        cause,
      });
    }
  }
  return hashes;
}
