// SPDX-License-Identifier: Apache-2.0
/** The disk of a side that died: at a commit, and with all that a client was told of. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { checkDisk } from '../../src/lab/survivor-disk.ts';
import { fileSystemIsWhole } from './file-system.ts';
import { redoneBy } from './journal-bytes.ts';
import type { Side } from './pair.ts';

/** @param answered the client has the answers to all requests below this */
export async function disksHold(
  dir: string,
  side: Side,
  seed: number,
  answered: number,
): Promise<void> {
  const image = join(dir, side, 'disk.raw');
  const own = join(dir, `disk-of-${side}`);
  mkdirSync(own);
  const redone = join(own, 'redone.raw');
  const journal = `${image}.journal`;
  const disk = readFileSync(image);
  // What `understudy backup` would make of it.
  writeFileSync(redone, existsSync(journal) ? redoneBy(readFileSync(journal), disk) : disk);
  const mounted = fileSystemIsWhole(own, redone);
  const verdict = await checkDisk(mounted, own, seed, answered);
  assert.ok(verdict.problem === '', `the disk of the ${side}: ${verdict.problem}`);
}
