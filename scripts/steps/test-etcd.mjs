// SPDX-License-Identifier: Apache-2.0
// etcd for tests: Debian's package, unpacked and not installed, so that no cluster of the
// host's begins to run.

import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ContentHash, readJson } from '../lib/cache.mjs';
import { guestDir } from '../lib/guest-key.mjs';
import { made } from '../lib/made.mjs';
import { run } from '../lib/run.mjs';
import { guestApt } from './guest.mjs';

const PACKAGE = 'etcd-server';

/** Path of the program. */
export function testEtcd(progress) {
  const { suite } = readJson(join(guestDir, 'guest.json'));
  const key = new ContentHash()
    .addFile(fileURLToPath(import.meta.url), 'test-etcd.mjs')
    .add('suite', suite)
    .digest();
  return made('test-etcd', key, 'etcd', 1, progress, (dir) => unpack(dir, suite, progress));
}

async function unpack(dir, suite, progress) {
  const work = mkdtempSync(join(tmpdir(), 'understudy-test-etcd-'));
  try {
    const onLine = (line) => progress.tick(line);
    const apt = guestApt(suite);
    await apt.update({ onLine });
    await apt.download([`${PACKAGE}=${apt.candidate(PACKAGE)}`], work, onLine);
    const deb = readdirSync(work).find((name) => name.endsWith('.deb'));
    await run('dpkg-deb', ['-x', join(work, deb), join(work, 'root')]);
    copyFileSync(join(work, 'root/usr/bin/etcd'), join(dir, 'etcd'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
