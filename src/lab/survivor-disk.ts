// SPDX-License-Identifier: Apache-2.0
/** The survivor's disk after the end: is it sound, and does it hold what was answered? */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FrameReader, requestFrame } from './frames.ts';

const execute = promisify(execFile);

export interface DiskVerdict {
  /** `e2fsck -fn` has nothing to say. */
  readonly clean: boolean;
  /** Whole, right requests in the log; each number counted once. */
  readonly stored: number;
  /** Acknowledged to the client, and not in the log. */
  readonly missing: number;
  /** Stored twice. */
  readonly duplicated: number;
  /** Stored with other bytes than were sent, or not in the order of their numbers. */
  readonly damaged: number;
  /** What is wrong, for people; '' when all is well. */
  readonly problem: string;
}

/**
 * Reads the image without mounting it, and never changes it.
 * @param acknowledged the client has the answers to all numbers below this
 */
export async function checkDisk(
  image: string,
  dir: string,
  seed: number,
  acknowledged: number,
): Promise<DiskVerdict> {
  const problems: string[] = [];
  const clean = await execute('e2fsck', ['-fn', image]).then(
    () => true,
    (error: { stdout?: string; message: string }) => {
      problems.push(`e2fsck: ${error.stdout?.trim() || error.message}`);
      return false;
    },
  );
  const copy = join(dir, 'requests.log');
  let bytes = Buffer.alloc(0);
  try {
    await execute('debugfs', ['-R', `dump /requests.log ${copy}`, image]);
    bytes = readFileSync(copy);
  } catch (error) {
    problems.push(`the request log cannot be read: ${(error as Error).message}`);
  }
  const reader = new FrameReader();
  const seen = new Set<number>();
  let duplicated = 0;
  let damaged = 0;
  let expected = 0;
  for (const frame of reader.push(bytes)) {
    if (seen.has(frame.number)) duplicated += 1;
    else if (frame.number !== expected) damaged += 1;
    else if (!requestFrame(seed, frame.number).equals(frame.bytes)) damaged += 1;
    seen.add(frame.number);
    expected = Math.max(expected, frame.number + 1);
  }
  if (reader.garbage) damaged += 1;
  let missing = 0;
  for (let number = 0; number < acknowledged; number += 1) if (!seen.has(number)) missing += 1;
  if (missing > 0) problems.push(`${missing} acknowledged requests are not on the disk`);
  if (damaged > 0) problems.push(`${damaged} stored requests are damaged`);
  if (duplicated > 0) problems.push(`${duplicated} requests are stored twice`);
  const problem = problems.join('; ');
  return { clean, stored: seen.size, missing, duplicated, damaged, problem };
}
