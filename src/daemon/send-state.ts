// SPDX-License-Identifier: Apache-2.0
/** What every join sends: files by the addon, and how far that is. */
import type { StateSender } from '../../native/kvm-exit-log/index.ts';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { BLOCK_BYTES } from '../wire/joining.ts';

/**
 * The blocks of each image that the peer has otherwise.
 * @param have xxh64 of each block of each disk, as the peer has them
 * @returns false: closed meanwhile
 * @throws UnderstudyError file-io
 */
export async function sendDisks(
  sender: StateSender,
  images: readonly string[],
  have: readonly BigUint64Array[],
  progress: (percent: number) => void,
): Promise<boolean> {
  const totals = have.map((hashes) => hashes.length * BLOCK_BYTES);
  const done = progressOf(totals, progress);
  for (const [disk, image] of images.entries()) {
    const how = { blockBytes: BLOCK_BYTES, have: have[disk] ?? null };
    if (!(await sent(sender, disk, image, how, done(disk)))) return false;
  }
  return true;
}

/** @throws UnderstudyError file-io */
export async function sent(
  sender: StateSender,
  part: number,
  path: string,
  how: Parameters<StateSender['send']>[2],
  progress: (bytes: number) => void,
): Promise<boolean> {
  try {
    return await sender.send(part, path, how, progress);
  } catch (cause) {
    throw new UnderstudyError('file-io', messageOf(cause), { cause });
  }
}

/** Told bytes of one of several files, tells percent of all. */
export function progressOf(totals: readonly number[], progress: (percent: number) => void) {
  const total = totals.reduce((sum, bytes) => sum + bytes, 0);
  return (index: number) => {
    const before = totals.slice(0, index).reduce((sum, bytes) => sum + bytes, 0);
    return (bytes: number): void => progress(total === 0 ? 100 : (100 * (before + bytes)) / total);
  };
}
