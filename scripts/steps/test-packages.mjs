// SPDX-License-Identifier: Apache-2.0
// Debian packages that a test uses on this host, installed when it runs and one is not there.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, withLock } from '../lib/cache.mjs';
import { StepError } from '../lib/run.mjs';
import { hostApt } from './packages.mjs';

/**
 * Installs what is missing.
 * @param {string} title for progress
 * @param {() => string[]} missing names of packages, by a look at the host
 * @throws StepError when one is missing and only root could install it
 */
export async function testPackages(title, missing, progress) {
  if (missing().length === 0) return;
  if (process.getuid?.() !== 0) {
    const names = missing().join(' ');
    throw new StepError(
      `there is no ${names}: as root this test installs it; apt-get install ${names}`,
    );
  }
  progress.begin(title);
  mkdirSync(cacheDir(), { recursive: true });
  // As the bootstrap's own packages: one apt at a time.
  await withLock(join(cacheDir(), 'host.lock'), async () => {
    if (missing().length === 0) return;
    const apt = hostApt();
    const onLine = (line) => progress.tick(line);
    await apt.update({ onLine });
    await apt.install(missing(), onLine);
  });
  progress.end();
}
