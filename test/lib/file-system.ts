// SPDX-License-Identifier: Apache-2.0
/** A guest's file system on an image whose VM did not end in order. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

/**
 * As after any power failure: its own journal is replayed, then there is nothing to mend.
 * @returns a copy in `dir`, with its journal replayed
 */
export function fileSystemIsWhole(dir: string, image: string): string {
  const copy = join(dir, 'fsck.raw');
  execFileSync('cp', ['--sparse=always', image, copy]);
  spawnSync('e2fsck', ['-fy', '-E', 'journal_only', copy]);
  const { status, stdout } = spawnSync('e2fsck', ['-fn', copy], { encoding: 'utf8' });
  assert.is(status, 0, stdout);
  return copy;
}
