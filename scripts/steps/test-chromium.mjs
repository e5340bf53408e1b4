// SPDX-License-Identifier: Apache-2.0
// Chromium for the test that looks at a timeline page: Debian's package, installed
// when that test runs and no browser is there.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, withLock } from '../lib/cache.mjs';
import { hostApt } from './packages.mjs';

const BINARY = '/usr/bin/chromium';

/** Its path; undefined when it is missing and only root could install it. */
export async function testChromium(progress) {
  if (existsSync(BINARY)) return BINARY;
  if (process.getuid?.() !== 0) return undefined;
  progress.begin('Chromium for tests');
  mkdirSync(cacheDir(), { recursive: true });
  // As the bootstrap's own packages: one apt at a time.
  await withLock(join(cacheDir(), 'host.lock'), async () => {
    if (existsSync(BINARY)) return;
    const apt = hostApt();
    const onLine = (line) => progress.tick(line);
    await apt.update({ onLine });
    await apt.install(['chromium'], onLine);
  });
  progress.end();
  return BINARY;
}
