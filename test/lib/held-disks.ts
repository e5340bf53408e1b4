// SPDX-License-Identifier: Apache-2.0
/** The disk of a side that died: at a commit, and with all that a client was told of. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { fileSystemIsWhole } from './file-system.ts';
import { redoneBy } from './journal-bytes.ts';
import type { Side } from './pair.ts';

/**
 * The guest's file of requests begins with all that were answered. What follows is of requests
 * that it had not synced: as after any power failure that may be cut short, or zeros, where ext4
 * had committed the file's length and not its last block.
 *
 * @param answered the client has the answers to all requests below this
 */
export function disksHold(dir: string, side: Side, seed: number, answered: number): void {
  const image = join(dir, side, 'disk.raw');
  const own = join(dir, `disk-of-${side}`);
  mkdirSync(own);
  const redone = join(own, 'redone.raw');
  const journal = `${image}.journal`;
  const disk = readFileSync(image);
  // What `understudy backup` would make of it.
  writeFileSync(redone, existsSync(journal) ? redoneBy(readFileSync(journal), disk) : disk);
  const mounted = fileSystemIsWhole(own, redone);
  const file = join(own, 'requests.log');
  execFileSync('debugfs', ['-R', `dump /requests.log ${file}`, mounted], { stdio: 'ignore' });
  const stored = readFileSync(file);
  let at = 0;
  for (let number = 0; number < answered; number += 1) {
    const frame = requestFrame(seed, number);
    const found = stored.subarray(at, at + frame.length);
    assert.ok(
      found.equals(frame),
      `the disk of the ${side}, at ${at} of ${stored.length} bytes: request ${number} of ` +
        `${answered} that were answered is ${found.length === 0 ? 'missing' : 'another'}`,
    );
    at += frame.length;
  }
}
