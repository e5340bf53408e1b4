// SPDX-License-Identifier: Apache-2.0
// A Debian system's folder as a disk: one ext4, without what nobody reads in a guest.

import { execFileSync } from 'node:child_process';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.mjs';

const MIB = 2 ** 20;
/** mke2fs's options, with which the image has the same bytes whenever it is made. */
const EXT4 = ['-q', '-t', 'ext4', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard'];
const UNREAD = ['doc', 'man', 'locale', 'info', 'lintian'];

/** Makes `image`, a sparse file; the folder loses its manuals. Needs root: owners are kept. */
export async function treeImage(tree, image) {
  for (const name of UNREAD) {
    rmSync(join(tree, 'usr/share', name), { recursive: true, force: true });
  }
  const used = Number(execFileSync('du', ['-sm', tree], { encoding: 'utf8' }).split('\t')[0]);
  writeFileSync(image, '');
  // Room for inodes, the journal and what the guest writes.
  truncateSync(image, Math.ceil((used * 1.25 + 192) / 64) * 64 * MIB);
  // A plain user's PATH may not name mke2fs's folder.
  const env = { MKE2FS_CONFIG: '/dev/null', PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  await run('mke2fs', [...EXT4, '-d', tree, image], { env });
}
